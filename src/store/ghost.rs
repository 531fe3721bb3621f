//! Fingerprints of entries that were evicted: what tells a returning key from a new one.
//!
//! Buckets of eight 16-bit fingerprints; within a bucket the oldest goes first, which over many buckets comes close to
//! one FIFO queue at 2.2 bytes an entry. A false match (8 in 65,536) makes a new key look like a returning one once.
//!
//! Fingerprints cannot be dealt out anew when the number of buckets changes. So the buckets of the former size are kept
//! for reading until as many fingerprints have come in as the new ones are to hold: nothing is forgotten early.

const WAYS: usize = 8;

/// A bounded memory of evicted keys.
#[derive(Debug, Default)]
pub struct Ghost {
    /// Fingerprints, newest first within a bucket; 0 is empty.
    buckets: Buckets,
    /// The buckets of the former size, only read, and the insertions after which they go.
    former: Buckets,
    former_left: usize,
    held: usize,
    former_held: usize,
}

type Buckets = Box<[[u16; WAYS]]>;

impl Ghost {
    /// Fingerprints held.
    pub fn entries(&self) -> usize {
        self.held + self.former_held
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        (self.buckets.len() + self.former.len()) * size_of::<[u16; WAYS]>()
    }

    /// Makes room for about `entries` fingerprints if the present size is off by more than a quarter.
    pub fn fit(&mut self, entries: usize) {
        let wanted = entries.div_ceil(WAYS).max(1);
        let present = self.buckets.len();
        if wanted > present + present / 4 || wanted + wanted / 2 < present {
            let buckets = vec![[0; WAYS]; wanted + wanted / 8].into_boxed_slice();
            self.former = std::mem::replace(&mut self.buckets, buckets);
            self.former_left = entries;
            self.former_held = std::mem::take(&mut self.held);
        }
    }

    /// Remembers a key by its hash.
    pub fn insert(&mut self, hash: u64) {
        let Some(bucket) = bucket(&mut self.buckets, hash) else { return };
        let dropped = bucket[WAYS - 1];
        bucket.copy_within(0..WAYS - 1, 1);
        bucket[0] = fingerprint(hash);
        self.held += usize::from(dropped == 0);
        if !self.former.is_empty() {
            self.former_left = self.former_left.saturating_sub(1);
            if self.former_left == 0 {
                self.former_held = 0;
                self.former = Buckets::default();
            }
        }
    }

    /// Whether the key is remembered; it is forgotten by this.
    pub fn take(&mut self, hash: u64) -> bool {
        if take_from(&mut self.buckets, hash) {
            self.held -= 1;
            return true;
        }
        let taken = take_from(&mut self.former, hash);
        self.former_held -= usize::from(taken);
        taken
    }
}

fn take_from(buckets: &mut Buckets, hash: u64) -> bool {
    let Some(bucket) = bucket(buckets, hash) else { return false };
    let Some(at) = bucket.iter().position(|&found| found == fingerprint(hash)) else { return false };
    bucket.copy_within(at + 1.., at);
    bucket[WAYS - 1] = 0;
    true
}

fn bucket(buckets: &mut Buckets, hash: u64) -> Option<&mut [u16; WAYS]> {
    let at = (u128::from(hash.rotate_left(32)) * buckets.len() as u128) >> 64;
    buckets.get_mut(at as usize)
}

/// Bits that have no part in the choice of the bucket.
fn fingerprint(hash: u64) -> u16 {
    ((hash >> 32) as u16).max(1)
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

    #[test]
    fn a_new_size_forgets_nothing_early() {
        let mut ghost = Ghost::default();
        let mut rng = Rng::seeded(4);
        let hashes: Vec<u64> = (0..40_000).map(|_| rng.next_u64()).collect();
        for (number, &hash) in hashes.iter().enumerate() {
            ghost.fit(4000 + number / 10);
            ghost.insert(hash);
            assert!(ghost.entries() >= number.min(4000) * 8 / 10, "{} after {number}", ghost.entries());
        }
        let remembered = hashes[36_000..].iter().filter(|&&hash| ghost.take(hash)).count();
        assert!(remembered > 3_600, "{remembered}");
        (0..20_000).for_each(|_| {
            ghost.fit(8000);
            ghost.insert(rng.next_u64());
        });
        assert!(
            ghost.entries() <= 9_100 && ghost.bytes() < 8000 * 5 / 2,
            "{} {}",
            ghost.entries(),
            ghost.bytes()
        );
    }
}
