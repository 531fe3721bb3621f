//! Random numbers for scripts: the generator that Redis has, so that a seed gives the same numbers here.

/// A linear congruential generator of 48 bits, of which each number shows the upper 31.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Random(u64);

const MULTIPLIER: u64 = 0x5_DEEC_E66D;
const INCREMENT: u64 = 0xB;
const MASK: u64 = (1 << 48) - 1;
/// The lower bits of a state that was seeded.
const SEED_LOW: u64 = 0x330E;
/// One more than the largest number that counts.
const RANGE: u64 = i32::MAX as u64;

impl Random {
    /// The generator that `math.randomseed(seed)` makes.
    pub fn new(seed: u32) -> Self {
        Self(u64::from(seed) << 16 | SEED_LOW)
    }

    /// The next number, at least 0 and below 1.
    pub fn next_fraction(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT) & MASK;
        ((self.0 >> 17) % RANGE) as f64 / RANGE as f64
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn a_seed_gives_the_numbers_that_redis_gives() {
        let mut random = Random::new(1);
        assert_eq!(format!("{:.14}", random.next_fraction()), "0.04163034448476");
        assert_eq!((random.next_fraction() * 10.0).floor() + 1.0, 5.0);
        assert_eq!((random.next_fraction() * 4.0).floor() + 5.0, 8.0);
    }
}
