//! Fingerprints of entries that were evicted: what tells a returning key from a new one.
//!
//! Buckets of eight 16-bit fingerprints; within a bucket the oldest goes first, which over many buckets comes close to
//! one FIFO queue at 2.2 bytes an entry. A false match (8 in 65,536) makes a new key look like a returning one once.

const WAYS: usize = 8;

/// A bounded memory of evicted keys.
#[derive(Debug, Default)]
pub struct Ghost {
    /// Fingerprints, newest first within a bucket; 0 is empty.
    buckets: Box<[[u16; WAYS]]>,
    held: usize,
}

impl Ghost {
    /// Fingerprints held.
    pub fn entries(&self) -> usize {
        self.held
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.buckets.len() * WAYS * size_of::<u16>()
    }

    /// Makes room for about `entries` fingerprints. Changing the size forgets what is held, so it is only done when
    /// the present size is off by more than a quarter.
    pub fn fit(&mut self, entries: usize) {
        let wanted = entries.div_ceil(WAYS).max(1);
        let present = self.buckets.len();
        if wanted > present + present / 4 || wanted + wanted / 2 < present {
            self.buckets = vec![[0; WAYS]; wanted + wanted / 8].into_boxed_slice();
            self.held = 0;
        }
    }

    /// Remembers a key by its hash.
    pub fn insert(&mut self, hash: u64) {
        let Some(bucket) = self.bucket(hash) else { return };
        let dropped = bucket[WAYS - 1];
        bucket.copy_within(0..WAYS - 1, 1);
        bucket[0] = fingerprint(hash);
        self.held += usize::from(dropped == 0);
    }

    /// Whether the key is remembered; it is forgotten by this.
    pub fn take(&mut self, hash: u64) -> bool {
        if self.held == 0 {
            return false;
        }
        let Some(bucket) = self.bucket(hash) else { return false };
        let Some(at) = bucket.iter().position(|&found| found == fingerprint(hash)) else { return false };
        bucket.copy_within(at + 1.., at);
        bucket[WAYS - 1] = 0;
        self.held -= 1;
        true
    }

    fn bucket(&mut self, hash: u64) -> Option<&mut [u16; WAYS]> {
        let at = (u128::from(hash.rotate_left(32)) * self.buckets.len() as u128) >> 64;
        self.buckets.get_mut(at as usize)
    }
}

fn fingerprint(hash: u64) -> u16 {
    (hash as u16).max(1)
}

#[cfg(test)]
mod tests {
    use super::Ghost;
    use crate::base::rng::Rng;

    #[test]
    fn remembers_the_recent_and_forgets_the_old() {
        let mut ghost = Ghost::default();
        ghost.fit(8000);
        let mut rng = Rng::seeded(3);
        let hashes: Vec<u64> = (0..20_000).map(|_| rng.next_u64()).collect();
        hashes.iter().for_each(|&hash| ghost.insert(hash));
        let recent = hashes[17_000..].iter().filter(|&&hash| ghost.take(hash)).count();
        assert!(recent > 2_700, "{recent}");
        let old = hashes[..5_000].iter().filter(|&&hash| ghost.take(hash)).count();
        assert!(old < 250, "{old}");
    }
}
