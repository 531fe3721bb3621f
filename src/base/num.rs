//! Numbers as Redis reads and writes them: integers, doubles and their texts.
//!
//! Reading is strict: a text either is a number from its first byte to its last, or it is refused; nothing is trimmed.
//! Nothing here allocates. The extended-precision arithmetic of INCRBYFLOAT is in [`crate::base::extended`].

/// Longest text of an `i64`: a sign and 19 digits.
const INTEGER_TEXT_MAX: usize = 20;
/// Longest text that is tried as a double; Redis copies into a buffer of this size and refuses what does not fit.
pub const DOUBLE_TEXT_MAX: usize = 5 * 1024;
/// Room for the text of any double: sign, 17 digits, point, and either 7 zeros or an exponent of 5 bytes.
const DOUBLE_BUFFER: usize = 32;
/// Most digits that the shortest text of a double needs.
const DOUBLE_DIGITS_MAX: usize = 17;

/// Reads a decimal `i64`. Refused: an empty text, spaces, a leading `+`, leading zeros, `-0`, anything out of range.
#[inline]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    if digits.is_empty() || text.len() > INTEGER_TEXT_MAX {
        return None;
    }
    if digits[0] == b'0' {
        return (text.len() == 1).then_some(0);
    }
    let mut magnitude = 0u64;
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        magnitude = magnitude.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    if negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// Reads a decimal `u64` by the rules of [`parse_i64`] (no sign at all); SCAN cursors are such numbers.
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    if text == b"0" {
        return Some(0);
    }
    if text.is_empty() || text.len() > INTEGER_TEXT_MAX || text[0] == b'0' {
        return None;
    }
    text.iter().try_fold(0u64, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// Reads a double: decimal digits with an optional sign, point and exponent, or `inf`/`infinity` in any case.
/// Refused: spaces, NaN, hexadecimal, and what overflows to infinity or underflows to zero.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    if text.is_empty() || text.len() >= DOUBLE_TEXT_MAX {
        return None;
    }
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    if value.is_nan() {
        return None;
    }
    if value.is_infinite() && text.iter().any(u8::is_ascii_digit) {
        return None;
    }
    if value == 0.0 && has_nonzero_mantissa(text) {
        return None;
    }
    Some(value)
}

fn has_nonzero_mantissa(text: &[u8]) -> bool {
    text.iter().take_while(|byte| !byte.eq_ignore_ascii_case(&b'e')).any(|byte| (b'1'..=b'9').contains(byte))
}

/// Room for the text of one integer; lives on the caller's stack.
#[derive(Default)]
pub struct IntegerText(itoa::Buffer);

impl IntegerText {
    /// An empty buffer.
    #[inline]
    pub fn new() -> Self {
        Self(itoa::Buffer::new())
    }

    /// The decimal text of `value`, kept in this buffer.
    #[inline]
    pub fn format(&mut self, value: i64) -> &[u8] {
        self.0.format(value).as_bytes()
    }

    /// The decimal text of an unsigned `value`, kept in this buffer.
    #[inline]
    pub fn format_u64(&mut self, value: u64) -> &[u8] {
        self.0.format(value).as_bytes()
    }
}

/// Room for the text of one double; lives on the caller's stack.
#[derive(Debug)]
pub struct DoubleText {
    bytes: [u8; DOUBLE_BUFFER],
    len: usize,
}

impl Default for DoubleText {
    fn default() -> Self {
        Self::new()
    }
}

impl DoubleText {
    /// An empty buffer.
    pub fn new() -> Self {
        Self { bytes: [0; DOUBLE_BUFFER], len: 0 }
    }

    /// The text that Redis 7.4 replies for `value`: whole numbers without a point, otherwise the fewest digits that
    /// read back as the same double, in plain notation unless that is much longer than with an exponent.
    pub fn format(&mut self, value: f64) -> &[u8] {
        self.len = 0;
        if value.is_nan() {
            self.push(b"nan");
        } else if value.is_infinite() {
            self.push(if value < 0.0 { b"-inf" } else { b"inf" });
        } else if value == 0.0 {
            self.push(if value.is_sign_negative() { b"-0" } else { b"0" });
        } else if value.abs() <= (i64::MAX / 2) as f64 && value.trunc() == value {
            self.push(itoa::Buffer::new().format(value as i64).as_bytes());
        } else {
            self.format_shortest(value);
        }
        &self.bytes[..self.len]
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn push_zeros(&mut self, count: usize) {
        for _ in 0..count {
            self.push(b"0");
        }
    }

    /// Lays out the shortest digits `d₁…dₙ × 10^scale` of a finite, non-zero value.
    fn format_shortest(&mut self, value: f64) {
        let (digits, count, scale) = shortest_digits(value.abs());
        let digits = &digits[..count];
        // The exponent that scientific notation would show.
        let exponent = scale + count as i32 - 1;
        if value < 0.0 {
            self.push(b"-");
        }
        if scale >= 0 && exponent.unsigned_abs() < count as u32 + 7 {
            self.push(digits);
            self.push_zeros(scale as usize);
        } else if scale < 0 && (scale > -7 || exponent.unsigned_abs() < 4) {
            let whole = count as i32 + scale;
            if whole <= 0 {
                self.push(b"0.");
                self.push_zeros(whole.unsigned_abs() as usize);
                self.push(digits);
            } else {
                self.push(&digits[..whole as usize]);
                self.push(b".");
                self.push(&digits[whole as usize..]);
            }
        } else {
            self.push(&digits[..1]);
            if count > 1 {
                self.push(b".");
                self.push(&digits[1..]);
            }
            self.push(if exponent < 0 { b"e-" } else { b"e+" });
            self.push(itoa::Buffer::new().format(exponent.unsigned_abs()).as_bytes());
        }
    }
}

/// The shortest digits of a finite positive double and the power of ten of the last one: `(digits, count, scale)`.
fn shortest_digits(value: f64) -> ([u8; DOUBLE_DIGITS_MAX], usize, i32) {
    let mut buffer = ryu::Buffer::new();
    let text = buffer.format_finite(value);
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let mut scale: i32 = exponent.parse().unwrap_or(0);
    let mut digits = [0; DOUBLE_DIGITS_MAX];
    let mut count = 0;
    let mut zeros = 0;
    let mut after_point = false;
    for byte in mantissa.bytes() {
        if byte == b'.' {
            after_point = true;
            continue;
        }
        scale -= i32::from(after_point);
        if byte == b'0' {
            // Zeros count only once a digit follows them, and never before the first one.
            zeros += usize::from(count > 0);
            continue;
        }
        digits[count..count + zeros].fill(b'0');
        count += zeros;
        zeros = 0;
        digits[count] = byte;
        count += 1;
    }
    (digits, count, scale + zeros as i32)
}

#[cfg(test)]
mod tests {
    use super::{DoubleText, IntegerText, parse_f64, parse_i64, parse_u64};
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    #[test]
    fn integers_are_read_as_redis_reads_them() {
        let accepted: &[(&str, i64)] = &[
            ("0", 0),
            ("7", 7),
            ("-7", -7),
            ("10", 10),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
        ];
        for &(text, value) in accepted {
            assert_eq!(parse_i64(text.as_bytes()), Some(value), "{text}");
        }
        for text in [
            "",
            "-",
            "-0",
            "+1",
            "01",
            "-01",
            "00",
            " 1",
            "1 ",
            "1.0",
            "1e3",
            "0x10",
            "9223372036854775808",
            "-9223372036854775809",
            "18446744073709551616",
            "99999999999999999999",
            "111111111111111111111",
        ] {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn cursors_are_unsigned() {
        assert_eq!(parse_u64(b"0"), Some(0));
        assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
        for text in ["", "-1", "+1", "01", "18446744073709551616", "1x"] {
            assert_eq!(parse_u64(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn doubles_are_read_as_redis_reads_them() {
        let accepted: &[(&str, f64)] = &[
            ("0", 0.0),
            ("-0", -0.0),
            ("+1.5", 1.5),
            (".5", 0.5),
            ("5.", 5.0),
            ("1e3", 1000.0),
            ("1E-3", 0.001),
            ("inf", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            ("0e-999", 0.0),
        ];
        for &(text, value) in accepted {
            assert_eq!(parse_f64(text.as_bytes()), Some(value), "{text}");
        }
        for text in ["", " 1", "1 ", "nan", "-NaN", "1e400", "-1e400", "1e-400", ".", "e5", "1e", "1x", "--1"]
        {
            assert_eq!(parse_f64(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse_f64(b"\xff"), None);
    }

    #[test]
    fn doubles_are_written_as_redis_writes_them() {
        let cases: &[(f64, &str)] = &[
            (0.0, "0"),
            (-0.0, "-0"),
            (3.0, "3"),
            (-3.0, "-3"),
            (0.1, "0.1"),
            (1.5, "1.5"),
            (-1.25, "-1.25"),
            (1e17, "100000000000000000"),
            (4e18, "4000000000000000000"),
            (1e20, "1e+20"),
            (1.5e300, "1.5e+300"),
            (123456789012345680000.0, "123456789012345680000"),
            (0.000123, "0.000123"),
            (0.000001, "0.000001"),
            (1e-7, "1e-7"),
            (1.5e-10, "1.5e-10"),
            (2.141592653589793, "2.141592653589793"),
            (12345.6789012, "1.23456789012e+4"),
            (1234.56789012, "1234.56789012"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
            (f64::MAX, "1.7976931348623157e+308"),
            (-f64::MIN_POSITIVE, "-2.2250738585072014e-308"),
        ];
        for &(value, text) in cases {
            let mut buffer = DoubleText::new();
            assert_eq!(buffer.format(value), text.as_bytes(), "{value:e}");
        }
    }

    proptest! {
        #[test]
        fn integers_read_back(value in any::<i64>()) {
            let mut buffer = IntegerText::new();
            prop_assert_eq!(parse_i64(buffer.format(value)), Some(value));
        }

        #[test]
        fn integer_texts_are_the_canonical_ones(text in "[-+0-9]{0,21}") {
            if let Some(value) = parse_i64(text.as_bytes()) {
                prop_assert_eq!(value.to_string(), text);
            } else {
                prop_assert!(text.parse::<i64>().map_or(true, |value| value.to_string() != text));
            }
        }

        #[test]
        fn doubles_read_back(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            if !value.is_nan() {
                let mut buffer = DoubleText::new();
                prop_assert_eq!(parse_f64(buffer.format(value)), Some(value));
            }
        }
    }
}
