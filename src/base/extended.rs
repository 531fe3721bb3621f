//! The arithmetic of INCRBYFLOAT and HINCRBYFLOAT: decimal texts added as Redis adds them.
//!
//! Redis computes in the x87 `long double` (64 bits of mantissa) and prints with 17 decimals, trailing zeros cut off.
//! Its results show that rounding (5 + 1000000.1 = 1000005.10000000000002274), so equal texts need equal arithmetic:
//! this is that format in integers, rounded to nearest even at each step. It does not know infinities or NaN: reading
//! one gives `Infinite`, and a sum out of range is refused. Cost is bounded by the length of the text
//! ([`DOUBLE_TEXT_MAX`]); texts of at most 19 digits take the same few steps.

use crate::base::num::DOUBLE_TEXT_MAX;

/// Decimals after the point that Redis prints.
const DECIMALS: u32 = 17;
/// Largest binary exponent of a finite value `m × 2^e`, m < 2^64.
const EXPONENT_MAX: i32 = 16_384 - 64;
/// Exponents in a text beyond this overflow, or underflow, whatever the digits are (a text holds ≤ 5,120 of those, of
/// four bits if they are hexadecimal).
const TEXT_EXPONENT_MAX: i32 = 40_000;
/// A finite value has at most this many decimal digits before its point.
const MAGNITUDE_MAX: i32 = 4_933;
/// A value with more zeros behind its point prints as 0 and changes no sum that prints as anything else.
const MAGNITUDE_TINY: i32 = -60;
/// The same for powers of two.
const BINARY_MAGNITUDE_TINY: i32 = -300;
/// Half of the smallest value that the format has is 2 to this power.
const BINARY_MAGNITUDE_MIN: i32 = -16_446;
/// What stands for any tiny value: 2^-300.
const TINY: (u64, i32) = (1 << 63, -363);
/// Half of the smallest value that the format has is 0.1822… × 10 to this power; what is not above it underflows.
const MAGNITUDE_MIN: i32 = -4_950;
/// The digits of that half.
const UNDERFLOW_DIGITS: [u8; 16] = [1, 8, 2, 2, 5, 9, 9, 7, 6, 5, 9, 4, 1, 2, 3, 7];
/// Digits that are computed with; of those beyond, only whether any is non-zero matters.
const DIGITS_MAX: usize = 800;
/// Spare low bits kept while adding: the larger mantissa is shifted up by this much inside a `u128`.
const GUARD_BITS: u32 = 62;

/// A finite number `±mantissa × 2^exponent` with 64 bits of mantissa (top bit set unless zero).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extended {
    negative: bool,
    mantissa: u64,
    exponent: i32,
}

/// Why an addition of texts gave no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddError {
    /// One of the texts is not a number.
    NotAFloat,
    /// A text says infinity, or the sum leaves the range.
    Infinite,
}

/// What a text says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A finite number.
    Finite(Extended),
    /// `inf` or `infinity`, of either sign.
    Infinite,
}

/// Adds two decimal texts and writes the sum as Redis prints it.
///
/// # Errors
/// [`AddError::NotAFloat`] if either text is refused by [`parse`], [`AddError::Infinite`] if the sum is not finite.
pub fn add_texts(left: &[u8], right: &[u8]) -> Result<String, AddError> {
    let left = parse(left).ok_or(AddError::NotAFloat)?;
    let right = parse(right).ok_or(AddError::NotAFloat)?;
    let (Parsed::Finite(left), Parsed::Finite(right)) = (left, right) else {
        return Err(AddError::Infinite);
    };
    let sum = left.add(right).ok_or(AddError::Infinite)?;
    Ok(sum.text())
}

/// Reads a decimal text: optional sign, digits with an optional point, optional exponent; a hexadecimal one, `0x` before
/// its digits and `p` before its exponent; or an infinity.
/// `None` for anything else, spaces included, and for what overflows or underflows to zero.
pub fn parse(text: &[u8]) -> Option<Parsed> {
    if text.len() >= DOUBLE_TEXT_MAX {
        return None;
    }
    let (negative, body) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if body.eq_ignore_ascii_case(b"inf") || body.eq_ignore_ascii_case(b"infinity") {
        return Some(Parsed::Infinite);
    }
    let (mantissa, exponent) = if let [b'0', b'x' | b'X', digits @ ..] = body {
        read_hexadecimal(digits)?
    } else {
        let (digits, scale) = split_decimal(body)?;
        to_binary(&digits, scale)?
    };
    Some(Parsed::Finite(Extended { negative, mantissa, exponent }))
}

/// The significant digits (values 0–9, no leading or trailing zero) and the power of ten of the last one.
fn split_decimal(body: &[u8]) -> Option<(Vec<u8>, i32)> {
    let end = body.iter().position(|byte| byte.eq_ignore_ascii_case(&b'e')).unwrap_or(body.len());
    let mut scale = match body.get(end + 1..) {
        Some(exponent) => parse_exponent(exponent)?,
        None => 0,
    };
    let mut digits = Vec::with_capacity(end);
    let mut after_point = false;
    let mut any = false;
    for &byte in &body[..end] {
        match byte {
            b'.' if !after_point => after_point = true,
            b'0'..=b'9' => {
                any = true;
                scale -= i32::from(after_point);
                if byte != b'0' || !digits.is_empty() {
                    digits.push(byte - b'0');
                }
            }
            _ => return None,
        }
    }
    while digits.last() == Some(&0) {
        digits.pop();
        scale += 1;
    }
    if digits.len() > DIGITS_MAX {
        scale += (digits.len() - DIGITS_MAX - 1) as i32;
        digits.truncate(DIGITS_MAX);
        digits.push(1);
    }
    any.then_some((digits, scale))
}

/// Hexadecimal digits with an optional point and an optional binary exponent, rounded to 64 bits of mantissa.
fn read_hexadecimal(body: &[u8]) -> Option<(u64, i32)> {
    let end = body.iter().position(|byte| byte.eq_ignore_ascii_case(&b'p')).unwrap_or(body.len());
    let mut exponent = match body.get(end + 1..) {
        Some(exponent) => parse_exponent(exponent)?,
        None => 0,
    };
    let mut value = 0u128;
    let mut lost = false;
    let mut after_point = false;
    let mut any = false;
    for &byte in &body[..end] {
        if byte == b'.' && !after_point {
            after_point = true;
            continue;
        }
        let digit = char::from(byte).to_digit(16)?;
        any = true;
        exponent -= if after_point { 4 } else { 0 };
        if value.leading_zeros() >= 4 {
            value = value << 4 | u128::from(digit);
        } else {
            lost |= digit != 0;
            exponent += 4;
        }
    }
    if value == 0 {
        return any.then_some((0, 0));
    }
    let zeros = value.leading_zeros();
    let (top, exponent) = (value << zeros, exponent - zeros as i32);
    let magnitude = exponent + 127;
    let underflows = magnitude == BINARY_MAGNITUDE_MIN && top.is_power_of_two() && !lost;
    if magnitude < BINARY_MAGNITUDE_MIN || underflows {
        None
    } else if magnitude < BINARY_MAGNITUDE_TINY {
        Some(TINY)
    } else {
        round(top, exponent, lost)
    }
}

/// A decimal exponent, held within ±[`TEXT_EXPONENT_MAX`], where it decides the outcome already.
fn parse_exponent(text: &[u8]) -> Option<i32> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let magnitude =
        digits.iter().fold(0i32, |value, byte| (value * 10 + i32::from(byte - b'0')).min(TEXT_EXPONENT_MAX));
    Some(if negative { -magnitude } else { magnitude })
}

/// `digits × 10^scale` rounded to 64 bits of mantissa; `None` where that overflows or rounds to zero.
fn to_binary(digits: &[u8], scale: i32) -> Option<(u64, i32)> {
    if digits.is_empty() {
        return Some((0, 0));
    }
    let magnitude = scale + digits.len() as i32;
    if magnitude > MAGNITUDE_MAX || (magnitude, digits) < (MAGNITUDE_MIN, &UNDERFLOW_DIGITS[..]) {
        return None;
    }
    if magnitude < MAGNITUDE_TINY {
        return Some(TINY);
    }
    let mut number = Natural::from_digits(digits);
    let mut exponent = 0;
    let mut inexact = false;
    if scale >= 0 {
        number.multiply_by_power_of_ten(scale as u32);
    } else {
        // Enough extra low bits that the quotient keeps at least 66: 10^n < 2^(3.33 n).
        let extra = 66 + (scale.unsigned_abs() * 10).div_ceil(3);
        number.shift_left(extra);
        exponent = -(extra as i32);
        inexact = number.divide_by_power_of_ten(scale.unsigned_abs());
    }
    let (top, dropped, lost) = number.top_bits();
    round(top, exponent + dropped, inexact || lost)
}

/// Rounds 128 bits (the top one set) times `2^exponent` to 64 bits, half to even; `sticky` says that non-zero bits
/// were cut off below. `None` if the result is out of range.
fn round(top: u128, exponent: i32, sticky: bool) -> Option<(u64, i32)> {
    let kept = top >> 64;
    let rest = top << 64;
    let half = 1u128 << 127;
    let up = rest > half || (rest == half && (sticky || kept & 1 == 1));
    let mut mantissa = kept + u128::from(up);
    let mut exponent = exponent + 64;
    if mantissa >> 64 != 0 {
        mantissa >>= 1;
        exponent += 1;
    }
    (exponent <= EXPONENT_MAX).then_some((mantissa as u64, exponent))
}

impl Extended {
    /// The nearest double, or infinity.
    pub fn to_f64(self) -> f64 {
        // In two steps: one alone would lose what is near the ends of the range.
        let half = self.exponent / 2;
        let magnitude = self.mantissa as f64 * 2f64.powi(half) * 2f64.powi(self.exponent - half);
        if self.negative { -magnitude } else { magnitude }
    }

    /// The sum, rounded to nearest even; `None` if it is out of range.
    fn add(self, other: Self) -> Option<Self> {
        if self.mantissa == 0 || other.mantissa == 0 {
            return Some(if self.mantissa == 0 { other } else { self });
        }
        let (large, small) = if (self.exponent, self.mantissa) >= (other.exponent, other.mantissa) {
            (self, other)
        } else {
            (other, self)
        };
        let distance = large.exponent.abs_diff(small.exponent);
        let high = u128::from(large.mantissa) << GUARD_BITS;
        let full = u128::from(small.mantissa) << GUARD_BITS;
        let low = full.checked_shr(distance).unwrap_or(0);
        // What was shifted out is remembered in the lowest bit, far below the rounding position.
        let low = low | u128::from(low.checked_shl(distance).unwrap_or(0) != full);
        let sum = if large.negative == small.negative { high + low } else { high - low };
        if sum == 0 {
            return Some(Self { negative: false, mantissa: 0, exponent: 0 });
        }
        let zeros = sum.leading_zeros();
        let exponent = large.exponent - GUARD_BITS as i32 - zeros as i32;
        let (mantissa, exponent) = round(sum << zeros, exponent, false)?;
        Some(Self { negative: large.negative, mantissa, exponent })
    }

    /// The text: 17 decimals rounded half to even, trailing zeros and a bare point removed, never `-0`.
    pub fn text(self) -> String {
        let mut text = if self.exponent >= 0 {
            let mut number = Natural::from(u128::from(self.mantissa));
            number.shift_left(self.exponent as u32);
            number.into_decimal()
        } else {
            self.text_with_decimals()
        };
        if text.contains('.') {
            text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
        }
        if self.negative && text != "0" {
            text.insert(0, '-');
        }
        text
    }

    fn text_with_decimals(self) -> String {
        let unit = 10u128.pow(DECIMALS);
        // Below 2^121, so nothing overflows.
        let scaled = u128::from(self.mantissa) * unit;
        let shift = self.exponent.unsigned_abs();
        let kept = scaled.checked_shr(shift).unwrap_or(0);
        let rest = scaled - kept.checked_shl(shift).unwrap_or(0);
        let half = 1u128.checked_shl(shift - 1).unwrap_or(u128::MAX);
        let up = rest > half || (rest == half && kept & 1 == 1);
        let rounded = kept + u128::from(up);
        format!("{}.{:0width$}", rounded / unit, rounded % unit, width = DECIMALS as usize)
    }
}

/// A natural number of any size: 32-bit limbs, least significant first, no zero limb at the top.
struct Natural {
    limbs: Vec<u32>,
}

/// Ten to this power is the largest that fits a limb.
const LIMB_DECIMALS: u32 = 9;

impl From<u128> for Natural {
    fn from(value: u128) -> Self {
        let mut number = Self { limbs: (0..4).map(|limb| (value >> (32 * limb)) as u32).collect() };
        number.trim();
        number
    }
}

impl Natural {
    fn from_digits(digits: &[u8]) -> Self {
        let mut number = Self { limbs: Vec::new() };
        for chunk in digits.chunks(LIMB_DECIMALS as usize) {
            let value = chunk.iter().fold(0, |value, &digit| value * 10 + u32::from(digit));
            number.multiply_add(10u32.pow(chunk.len() as u32), value);
        }
        number
    }

    fn trim(&mut self) {
        while self.limbs.last() == Some(&0) {
            self.limbs.pop();
        }
    }

    fn multiply_add(&mut self, factor: u32, addend: u32) {
        let mut carry = u64::from(addend);
        for limb in &mut self.limbs {
            let product = u64::from(*limb) * u64::from(factor) + carry;
            *limb = product as u32;
            carry = product >> 32;
        }
        if carry != 0 {
            self.limbs.push(carry as u32);
        }
    }

    /// Divides in place and returns the remainder.
    fn divide(&mut self, divisor: u32) -> u32 {
        let mut remainder = 0u64;
        for limb in self.limbs.iter_mut().rev() {
            let dividend = remainder << 32 | u64::from(*limb);
            *limb = (dividend / u64::from(divisor)) as u32;
            remainder = dividend % u64::from(divisor);
        }
        self.trim();
        remainder as u32
    }

    fn multiply_by_power_of_ten(&mut self, power: u32) {
        for step in power_steps(power) {
            self.multiply_add(10u32.pow(step), 0);
        }
    }

    /// Divides in place, rounding down; says whether anything was cut off.
    fn divide_by_power_of_ten(&mut self, power: u32) -> bool {
        let mut inexact = false;
        for step in power_steps(power) {
            inexact |= self.divide(10u32.pow(step)) != 0;
        }
        inexact
    }

    fn shift_left(&mut self, bits: u32) {
        self.multiply_add(1 << (bits % 32), 0);
        let zeros = std::iter::repeat_n(0, (bits / 32) as usize);
        if !self.limbs.is_empty() {
            self.limbs.splice(0..0, zeros);
        }
    }

    /// The top 128 bits (top bit set), how many bits lie below them (negative if there are fewer than 128), and
    /// whether any of those is set.
    fn top_bits(&self) -> (u128, i32, bool) {
        let zeros = self.limbs.last().map_or(0, |limb| limb.leading_zeros());
        let total = 32 * self.limbs.len() as i32 - zeros as i32;
        let mut descending = self.limbs.iter().rev().copied();
        let mut bits = 0u128;
        for _ in 0..4 {
            bits = bits << 32 | u128::from(descending.next().unwrap_or(0));
        }
        // The fifth limb fills the room that the leading zeros of the first one leave.
        let fifth = u64::from(descending.next().unwrap_or(0)) << zeros;
        let bits = bits << zeros | u128::from(fifth >> 32);
        let lost = fifth as u32 != 0 || descending.any(|limb| limb != 0);
        (bits, total - 128, lost)
    }

    fn into_decimal(mut self) -> String {
        let mut chunks = Vec::new();
        while !self.limbs.is_empty() {
            chunks.push(self.divide(10u32.pow(LIMB_DECIMALS)));
        }
        let mut text = chunks.pop().unwrap_or(0).to_string();
        for chunk in chunks.iter().rev() {
            text.push_str(&format!("{chunk:09}"));
        }
        text
    }
}

fn power_steps(power: u32) -> impl Iterator<Item = u32> {
    let whole = std::iter::repeat_n(LIMB_DECIMALS, (power / LIMB_DECIMALS) as usize);
    whole.chain(Some(power % LIMB_DECIMALS).filter(|&rest| rest > 0))
}

#[cfg(test)]
mod tests {
    use super::{AddError, add_texts};
    use crate::base::clock::Clock;
    use crate::base::rng::Rng;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::process::{Child, Command, Stdio};

    fn added(left: &str, right: &str) -> String {
        match add_texts(left.as_bytes(), right.as_bytes()) {
            Ok(text) => text,
            Err(AddError::NotAFloat) => "not a float".to_owned(),
            Err(AddError::Infinite) => "infinite".to_owned(),
        }
    }

    /// Sums as redis-server 7.0.15 on x86-64 gave them.
    const KNOWN: &[(&str, &str, &str)] = &[
        ("3.0", "1.1", "4.1"),
        ("10.50", "0.1", "10.6"),
        ("5.0e3", "2.0e2", "5200"),
        ("5", "1000000.1", "1000005.10000000000002274"),
        ("0", "1e30", "1000000000000000000024696061952"),
        ("1", "-1", "0"),
        ("-1", "-0.5", "-1.5"),
        ("0", "-1e-30", "0"),
        ("0", "1e-4950", "0"),
        ("10.6", "-5", "5.6"),
        ("+1", ".5", "1.5"),
        ("5.", "0", "5"),
        ("1", "1e-400", "1"),
        ("-0.5", "-1e-70", "-0.5"),
        ("0", "1.9e-4951", "0"),
        ("1", "0x10", "17"),
        ("0", "-0xAp+1", "-20"),
        ("0", "0X1.8P-3", "0.1875"),
        ("0", "0x1p-16445", "0"),
        ("0", "0x1.01p-16446", "0"),
        ("0", "0x0p99999", "0"),
        ("0", "0x10000000000000000000000000000000000000001p-160", "1"),
        ("0", "0x1.0000000000000001p63", "9223372036854775808"),
        ("0", "0x1.000000000000000100000000000000000000000000000001p63", "9223372036854775809"),
        ("0", "0x1.0000000000000003p63", "9223372036854775810"),
    ];

    #[test]
    fn known_sums() {
        for &(left, right, sum) in KNOWN {
            assert_eq!(added(left, right), sum, "{left} + {right}");
        }
    }

    #[test]
    fn what_is_not_a_number_is_refused() {
        for text in [
            "",
            " 1",
            "1 ",
            "abc",
            "1e",
            "e1",
            ".",
            "1.2.3",
            "nan",
            "1e5000",
            "1e-4960",
            "1.8e-4951",
            "1.2e4932",
            "--1",
        ] {
            assert_eq!(added("1", text), "not a float", "{text}");
        }
        for text in ["0x", "0x.", "0x1p", "0xg", "0x1.2.3", "0x-1", "0x1p16384", "0x1p-16446"] {
            assert_eq!(added("1", text), "not a float", "{text}");
        }
        assert_eq!(added("1", "inf"), "infinite");
        assert_eq!(added("1", "-Infinity"), "infinite");
        assert_eq!(added("1e4932", "9e4931"), "infinite");
    }

    #[test]
    fn a_text_at_the_length_bound_is_computed() {
        let long = format!("0.{}1", "0".repeat(5000));
        assert_eq!(added("1", &long), "not a float");
        let long = format!("0.1{}1", "0".repeat(5000));
        assert_eq!(added("1", &long), "1.1");
        assert_eq!(added("1", &"1".repeat(6000)), "not a float");
    }

    #[test]
    fn sums_of_doubles_that_fit_are_exact() {
        let mut rng = Rng::seeded(7);
        for _ in 0..2000 {
            let (left, right) = (rng.below(1 << 40) as i64, rng.below(1 << 40) as i64 - (1 << 39));
            let text = |value: i64| format!("{:.10}", value as f64 / 16.0);
            let expected = (left + right) as f64 / 16.0;
            assert_eq!(added(&text(left), &text(right)), expected.to_string());
        }
    }

    /// Longest that redis-server may take to listen.
    const START_LIMIT_NS: u64 = 10_000_000_000;

    /// Stops the server when the test ends, however it ends.
    struct Server(Child);

    impl Drop for Server {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    /// Compares with the redis-server of this machine: `cargo test --lib extended -- --ignored`.
    #[test]
    #[ignore = "needs redis-server"]
    fn sums_equal_those_of_redis() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("redis.sock");
        let child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--unixsocket"])
            .arg(&path)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server starts");
        let _server = Server(child);
        let mut stream = connect(&path);
        let mut rng = Rng::seeded(11);
        for _ in 0..20_000 {
            let (left, right) = (random_number(&mut rng), random_number(&mut rng));
            write!(stream, "SET k {left}\r\nINCRBYFLOAT k {right}\r\n").expect("written");
            assert_eq!(read_line(&mut stream), "+OK");
            let header = read_line(&mut stream);
            let expected = match header.as_bytes() {
                [b'$', ..] => read_line(&mut stream),
                _ => "not a float".to_owned(),
            };
            assert_eq!(added(&left, &right), expected, "{left} + {right}");
        }
    }

    fn connect(path: &std::path::Path) -> UnixStream {
        let clock = Clock::system();
        loop {
            match UnixStream::connect(path) {
                Ok(stream) => return stream,
                Err(error) => assert!(clock.mono_ns() < START_LIMIT_NS, "{error}"),
            }
            std::thread::yield_now();
        }
    }

    fn read_line(stream: &mut UnixStream) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("a reply");
            line.push(byte[0]);
        }
        String::from_utf8(line).expect("text").trim_end().to_owned()
    }

    fn random_number(rng: &mut Rng) -> String {
        let sign = ["", "-"][rng.below(2) as usize];
        let limit = 10u64.pow(rng.below(20) as u32);
        let whole = rng.below(limit);
        match rng.below(4) {
            0 => format!("{sign}{whole}"),
            1 => format!("{sign}{whole}.{}", rng.below(limit)),
            2 => format!("{sign}{whole}.{}e{}", rng.below(limit), rng.below(60) as i64 - 30),
            _ => format!("{sign}{whole}e{}", rng.below(10_200) as i64 - 5100),
        }
    }
}
