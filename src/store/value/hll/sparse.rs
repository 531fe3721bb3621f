//! Sparse registers of a HyperLogLog: runs of equal ones, one or two bytes each.
//!
//! ```text
//! 00xxxxxx           x + 1 registers are 0
//! 01xxxxxx yyyyyyyy  xy + 1 registers are 0
//! 1vvvvvxx           x + 1 registers are v + 1
//! ```
//! Every change leaves the very bytes that Redis would leave, so that values travel between both.

use super::{Corrupted, HEADER_BYTES, REGISTERS};
use std::fmt::Write;

/// Greatest value of a register in a run.
const VALUE_MAX: u8 = 32;
/// Most registers of a run that are not 0.
const VALUE_RUN_MAX: usize = 4;
/// Most registers of a run of one byte that are 0.
const ZEROS_MAX: usize = 64;
/// Runs that are looked at after a change for neighbours that can be one.
const MERGE_RUNS: usize = 5;

/// A run of equal registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// So many are 0.
    Zeros(usize),
    /// Value, and how many.
    Value(u8, usize),
}

impl Run {
    fn length(self) -> usize {
        match self {
            Self::Zeros(length) | Self::Value(_, length) => length,
        }
    }
}

/// The run at the start of `bytes`, and how many bytes it takes; one that is cut off counts as going on in zeros.
#[inline]
fn read(bytes: &[u8]) -> Option<(Run, usize)> {
    let first = *bytes.first()?;
    Some(match first {
        0x00..0x40 => (Run::Zeros(usize::from(first) + 1), 1),
        0x40..0x80 => {
            let second = bytes.get(1).copied().unwrap_or(0);
            (Run::Zeros((usize::from(first & 0x3F) << 8 | usize::from(second)) + 1), 2)
        }
        _ => (Run::Value((first >> 2 & 0x1F) + 1, usize::from(first & 3) + 1), 1),
    })
}

fn value_byte(value: u8, length: usize) -> u8 {
    0x80 | (value - 1) << 2 | (length - 1) as u8
}

/// Appends a run of 1 to 16384 zeros.
pub fn push_zeros(bytes: &mut impl Extend<u8>, length: usize) {
    let stored = length - 1;
    if length > ZEROS_MAX {
        bytes.extend([0x40 | (stored >> 8) as u8, stored as u8]);
    } else {
        bytes.extend([stored as u8]);
    }
}

/// Visits every run of a sparse HyperLogLog with the number of its first register.
///
/// # Errors
/// The runs do not make up all registers exactly. Some may have been visited by then, none beyond the last register.
pub fn walk(bytes: &[u8], mut visit: impl FnMut(Run, usize)) -> Result<(), Corrupted> {
    let mut rest = bytes.get(HEADER_BYTES..).unwrap_or_default();
    let mut index = 0;
    while let Some((run, taken)) = read(rest) {
        if index + run.length() > REGISTERS {
            return Err(Corrupted);
        }
        visit(run, index);
        index += run.length();
        rest = rest.get(taken..).unwrap_or_default();
    }
    if index == REGISTERS { Ok(()) } else { Err(Corrupted) }
}

/// The runs as PFDEBUG DECODE prints them, as far as they can be read.
pub fn decode(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut rest = bytes.get(HEADER_BYTES..).unwrap_or_default();
    while let Some((run, taken)) = read(rest) {
        // Writing to memory cannot fail.
        let _ = match run {
            Run::Zeros(length) if taken == 1 => write!(text, "z:{length} "),
            Run::Zeros(length) => write!(text, "Z:{length} "),
            Run::Value(value, length) => write!(text, "v:{value},{length} "),
        };
        rest = rest.get(taken..).unwrap_or_default();
    }
    text.truncate(text.trim_end().len());
    text
}

/// What became of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raised {
    /// It has been great enough before.
    No,
    /// It was raised.
    Yes,
    /// It has to be raised, but the runs cannot say it, or not in so few bytes.
    TooMuch,
}

/// Raises one register of a sparse HyperLogLog that may become `bytes_max` long.
///
/// # Errors
/// No run holds the register.
pub fn raise(bytes: &mut Vec<u8>, index: usize, value: u8, bytes_max: usize) -> Result<Raised, Corrupted> {
    if value > VALUE_MAX {
        return Ok(Raised::TooMuch);
    }
    let (mut at, mut before, mut first) = (HEADER_BYTES, HEADER_BYTES, 0);
    let (run, taken) = loop {
        let (run, taken) = bytes.get(at..).and_then(read).ok_or(Corrupted)?;
        if index < first + run.length() {
            break (run, taken);
        }
        before = at;
        at += taken;
        first += run.length();
    };
    if at + taken > bytes.len() {
        return Err(Corrupted);
    }
    let (left, right) = (index - first, first + run.length() - 1 - index);
    let mut runs = Bytes::default();
    match run {
        Run::Value(present, _) if present >= value => return Ok(Raised::No),
        Run::Value(present, _) => {
            runs.push_value(present, left);
            runs.push_value(value, 1);
            runs.push_value(present, right);
        }
        Run::Zeros(_) => {
            runs.push_zeros(left);
            runs.push_value(value, 1);
            runs.push_zeros(right);
        }
    }
    if runs.len > taken && bytes.len() + runs.len - taken > bytes_max {
        return Ok(Raised::TooMuch);
    }
    bytes.splice(at..at + taken, runs.bytes.into_iter().take(runs.len));
    join_equal(bytes, before);
    Ok(Raised::Yes)
}

/// Makes neighbouring runs of one value one, from the run at `at` on.
fn join_equal(bytes: &mut Vec<u8>, mut at: usize) {
    for _ in 0..MERGE_RUNS {
        let Some((run, taken)) = bytes.get(at..).and_then(read) else { return };
        let next = bytes.get(at + taken..).and_then(read);
        match (run, next) {
            (Run::Value(value, length), Some((Run::Value(other, more), _)))
                if value == other && length + more <= VALUE_RUN_MAX =>
            {
                bytes.remove(at);
                bytes[at] = value_byte(value, length + more);
            }
            _ => at += taken,
        }
    }
}

/// The runs that take the place of one: three, five bytes at most.
#[derive(Default)]
struct Bytes {
    bytes: [u8; 5],
    len: usize,
}

impl Bytes {
    fn push_value(&mut self, value: u8, length: usize) {
        if length > 0 {
            self.extend([value_byte(value, length)]);
        }
    }

    fn push_zeros(&mut self, length: usize) {
        if length > 0 {
            push_zeros(self, length);
        }
    }
}

impl Extend<u8> for Bytes {
    fn extend<I: IntoIterator<Item = u8>>(&mut self, bytes: I) {
        for byte in bytes {
            if let Some(place) = self.bytes.get_mut(self.len) {
                *place = byte;
                self.len += 1;
            }
        }
    }
}
