//! Request traces for miss-ratio benchmarks: which key is asked for next.
//!
//! Every trace is decided by its seed alone, so that two programs (or two servers) see the same requests. Ranks are
//! drawn by the exact inverse of the cumulative Zipf distribution over [`RANKS`] ranks, not by an approximation: the
//! miss ratios that these traces are compared with were measured that way.
//! It must never read a clock or the operating system's randomness.

/// Distinct keys that the Zipf part of a trace draws from.
pub const RANKS: u32 = 1_000_000;
/// Requests between two scans, and between two shifts of a drifting trace.
const PERIOD: u32 = 100_000;
/// Keys in one scan; none is ever asked for again.
const SCAN_KEYS: u32 = 50_000;
/// Ranks by which a drifting trace moves at each shift.
const DRIFT_RANKS: u32 = 1_000;
/// Share of one-hit requests in a one-hit trace, in percent.
const ONE_HIT_PERCENT: u64 = 30;

/// What a trace adds to plain Zipf requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Nothing.
    Plain,
    /// After every 100,000 requests, 50,000 keys that never come back.
    Scan,
    /// 30 % of the requests are for keys that never come back.
    OneHit,
    /// The popular keys change: ranks move by 1,000 after every 100,000 requests.
    Drifting,
}

/// One trace, by name.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// How tables and the command line call it.
    pub name: &'static str,
    /// Exponent of the Zipf distribution.
    pub skew: f64,
    /// What is mixed into it.
    pub pattern: Pattern,
    /// Decides every request.
    pub seed: u64,
}

/// The traces of the miss-ratio goals.
pub const SPECS: [Spec; 6] = [
    Spec { name: "zipf-0.7", skew: 0.7, pattern: Pattern::Plain, seed: 1 },
    Spec { name: "zipf-0.99", skew: 0.99, pattern: Pattern::Plain, seed: 2 },
    Spec { name: "zipf-1.1", skew: 1.1, pattern: Pattern::Plain, seed: 3 },
    Spec { name: "scan", skew: 0.99, pattern: Pattern::Scan, seed: 4 },
    Spec { name: "one-hit", skew: 0.99, pattern: Pattern::OneHit, seed: 5 },
    Spec { name: "drifting", skew: 0.99, pattern: Pattern::Drifting, seed: 6 },
];

/// A seeded generator (SplitMix64). Kept here so that a change of the server's own generator cannot change a trace.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// A generator whose sequence is decided by `seed`.
    pub fn seeded(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number in `0..bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in `0.0..1.0`.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Ranks by the exact inverse of the cumulative Zipf distribution.
struct Zipf {
    /// Probability that a rank is at most the index.
    cumulative: Vec<f64>,
    /// First rank whose cumulative probability exceeds `index / len`: the search starts there.
    guide: Vec<u32>,
}

impl Zipf {
    fn new(skew: f64) -> Self {
        let weights = (1..=RANKS).map(|rank| f64::from(rank).powf(-skew));
        let mut total = 0.0;
        let mut cumulative: Vec<f64> = weights
            .map(|weight| {
                total += weight;
                total
            })
            .collect();
        cumulative.iter_mut().for_each(|sum| *sum /= total);
        let mut rank = 0;
        let guide = (0..RANKS)
            .map(|step| {
                while cumulative[rank as usize] <= f64::from(step) / f64::from(RANKS) && rank < RANKS - 1 {
                    rank += 1;
                }
                rank
            })
            .collect();
        Self { cumulative, guide }
    }

    /// The rank that a uniform draw in `0.0..1.0` falls on, from 0 (most popular).
    fn rank(&self, draw: f64) -> u32 {
        let mut rank = self.guide[(draw * f64::from(RANKS)) as usize];
        while self.cumulative[rank as usize] <= draw && rank < RANKS - 1 {
            rank += 1;
        }
        rank
    }
}

/// The requests of one [`Spec`], without end: ten million make the traces that the goals were measured on.
pub struct Trace {
    zipf: Zipf,
    random: Random,
    pattern: Pattern,
    /// Zipf requests so far in this period (every request counts in a drifting or one-hit trace).
    in_period: u32,
    /// Requests of the running scan still to come.
    scan_left: u32,
    shift: u32,
    next_unique: u32,
}

impl Trace {
    /// The trace from its first request.
    pub fn new(spec: &Spec) -> Self {
        Self {
            zipf: Zipf::new(spec.skew),
            random: Random::seeded(spec.seed),
            pattern: spec.pattern,
            in_period: 0,
            scan_left: 0,
            shift: 0,
            next_unique: RANKS,
        }
    }

    fn unique(&mut self) -> u32 {
        self.next_unique += 1;
        self.next_unique - 1
    }
}

impl Iterator for Trace {
    type Item = u32;

    /// The number of the next key. A drifting trace goes beyond [`RANKS`] by its shift; in the others the numbers below
    /// [`RANKS`] may repeat and those above never do.
    fn next(&mut self) -> Option<u32> {
        if self.scan_left > 0 {
            self.scan_left -= 1;
            return Some(self.unique());
        }
        self.in_period += 1;
        if self.in_period > PERIOD {
            self.in_period = 1;
            self.shift += DRIFT_RANKS;
            if self.pattern == Pattern::Scan {
                self.scan_left = SCAN_KEYS - 1;
                self.in_period = 0;
                return Some(self.unique());
            }
        }
        if self.pattern == Pattern::OneHit && self.random.below(100) < ONE_HIT_PERCENT {
            return Some(self.unique());
        }
        let draw = self.random.unit();
        let rank = self.zipf.rank(draw);
        Some(if self.pattern == Pattern::Drifting { rank + self.shift } else { rank })
    }
}
