//! Numbers as C writes them with `%g` and reads them with `strtod`: any text yields a number and how long it was, or
//! none.

/// Appends `value` as `%.<precision>g` writes it. `precision` is from 1 to 17.
pub(super) fn write_general(value: f64, precision: usize, out: &mut Vec<u8>) {
    /// Integers below this are the same in every precision of 14 or more, and need no rounding.
    const PLAIN_BELOW: f64 = 1e14;
    if value.is_nan() {
        let sign = if value.is_sign_negative() { "-" } else { "" };
        out.extend_from_slice(format!("{sign}nan").as_bytes());
        return;
    }
    if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"inf" } else { b"-inf" });
        return;
    }
    if precision >= 14 && value.abs() < PLAIN_BELOW && value.trunc() == value && !is_negative_zero(value) {
        out.extend_from_slice(itoa::Buffer::new().format(value as i64).as_bytes());
        return;
    }
    let digits = precision.max(1);
    let scientific = format!("{value:.*e}", digits - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..digits as i32).contains(&exponent) {
        let decimals = (digits as i32 - 1 - exponent).max(0) as usize;
        out.extend_from_slice(without_zeros(&format!("{value:.decimals$}")).as_bytes());
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        let text = format!("{}e{sign}{:02}", without_zeros(mantissa), exponent.abs());
        out.extend_from_slice(text.as_bytes());
    }
}

fn is_negative_zero(value: f64) -> bool {
    value == 0.0 && value.is_sign_negative()
}

/// Without the zeros behind a point that mean nothing.
fn without_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

/// The number at the start of `text`, and how many bytes it takes: decimal or hexadecimal, with an exponent or not, an
/// infinity, or not a number. No space is skipped.
pub(super) fn read(text: &[u8]) -> Option<(f64, usize)> {
    let sign = usize::from(matches!(text.first(), Some(b'+' | b'-')));
    let is_negative = text.first() == Some(&b'-');
    let unsigned = text.get(sign..)?;
    let (value, length) =
        read_word(unsigned).or_else(|| read_hexadecimal(unsigned)).or_else(|| read_decimal(unsigned))?;
    Some((if is_negative { -value } else { value }, sign + length))
}

fn starts_with_word(text: &[u8], word: &[u8]) -> bool {
    text.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word))
}

fn read_word(text: &[u8]) -> Option<(f64, usize)> {
    if starts_with_word(text, b"infinity") {
        return Some((f64::INFINITY, 8));
    }
    if starts_with_word(text, b"inf") {
        return Some((f64::INFINITY, 3));
    }
    if !starts_with_word(text, b"nan") {
        return None;
    }
    let behind = text.get(3..).unwrap_or_default();
    let payload = behind.strip_prefix(b"(").map(|inside| {
        let length = inside.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
        (length, inside.get(length) == Some(&b')'))
    });
    match payload {
        Some((length, true)) => Some((f64::NAN, 3 + 1 + length + 1)),
        _ => Some((f64::NAN, 3)),
    }
}

fn digits_at(text: &[u8], at: usize) -> usize {
    text.get(at..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_digit()).count()
}

fn read_decimal(text: &[u8]) -> Option<(f64, usize)> {
    let whole = digits_at(text, 0);
    let mut end = whole;
    let mut digits = whole;
    if text.get(end) == Some(&b'.') {
        let fraction = digits_at(text, end + 1);
        digits += fraction;
        end += 1 + fraction;
    }
    if digits == 0 {
        return None;
    }
    end += exponent_length(text, end, [b'e', b'E']);
    let text = std::str::from_utf8(text.get(..end)?).ok()?;
    Some((text.parse().ok()?, end))
}

/// How many bytes the exponent at `at` takes; none where no digit follows the letter.
fn exponent_length(text: &[u8], at: usize, letters: [u8; 2]) -> usize {
    if !text.get(at).is_some_and(|letter| letters.contains(letter)) {
        return 0;
    }
    let sign = usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
    match digits_at(text, at + 1 + sign) {
        0 => 0,
        digits => 1 + sign + digits,
    }
}

/// A hexadecimal number behind `0x`; a `0x` with no digit behind it is none (it is read as a decimal 0).
fn read_hexadecimal(text: &[u8]) -> Option<(f64, usize)> {
    if !starts_with_word(text, b"0x") {
        return None;
    }
    let mut mantissa = 0_u64;
    let mut exponent = 0_i64;
    let mut digits = 0;
    let mut is_fraction = false;
    let mut end = 2;
    while let Some(byte) = text.get(end) {
        let Some(digit) = char::from(*byte).to_digit(16) else {
            if *byte != b'.' || is_fraction {
                break;
            }
            is_fraction = true;
            end += 1;
            continue;
        };
        digits += 1;
        end += 1;
        if mantissa >> 60 == 0 {
            mantissa = mantissa << 4 | u64::from(digit);
            exponent -= if is_fraction { 4 } else { 0 };
        } else {
            // Beyond what the mantissa holds: it counts for rounding only.
            mantissa |= u64::from(digit != 0);
            exponent += if is_fraction { 0 } else { 4 };
        }
    }
    if digits == 0 {
        return None;
    }
    let length = exponent_length(text, end, [b'p', b'P']);
    if length > 0 {
        exponent = exponent.saturating_add(clamped_integer(text.get(end + 1..end + length)?));
    }
    Some((scaled(mantissa, exponent), end + length))
}

/// A decimal integer with a sign, held to what no exponent needs to exceed.
fn clamped_integer(text: &[u8]) -> i64 {
    const ENOUGH: i64 = 1_000_000_000;
    let is_negative = text.first() == Some(&b'-');
    let digits = text.iter().filter(|byte| byte.is_ascii_digit());
    let size = digits.fold(0_i64, |sum, digit| (sum * 10 + i64::from(digit - b'0')).min(ENOUGH));
    if is_negative { -size } else { size }
}

/// `mantissa` times two to the `exponent`, in steps that neither overflow nor underflow before the last.
fn scaled(mantissa: u64, exponent: i64) -> f64 {
    /// Beyond these every mantissa is infinite or zero.
    const BEYOND: i64 = 2_300;
    const STEP: i64 = 500;
    let mut value = mantissa as f64;
    let mut left = exponent.clamp(-BEYOND, BEYOND);
    while left != 0 {
        let step = left.clamp(-STEP, STEP);
        value *= 2_f64.powi(step as i32);
        left -= step;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::{read, write_general};
    use proptest::{prop_assert_eq, proptest};

    fn general(value: f64, precision: usize) -> String {
        let mut out = Vec::new();
        write_general(value, precision, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_written_as_c_does() {
        for (value, precision, text) in [
            (0.0, 14, "0"),
            (-0.0, 14, "-0"),
            (1.0, 14, "1"),
            (-15.5, 14, "-15.5"),
            (0.1, 14, "0.1"),
            (1.0 / 3.0, 14, "0.33333333333333"),
            (1.0 / 3.0, 3, "0.333"),
            (99999999999999.0, 14, "99999999999999"),
            (1e14, 14, "1e+14"),
            (123456789012345678.0, 14, "1.2345678901235e+17"),
            (0.0001, 14, "0.0001"),
            (0.00001, 14, "1e-05"),
            (1e300, 14, "1e+300"),
            (999.5, 3, "1e+03"),
            (1234.0, 3, "1.23e+03"),
            (f64::INFINITY, 14, "inf"),
            (f64::NEG_INFINITY, 14, "-inf"),
        ] {
            assert_eq!(general(value, precision), text, "{value:e} with {precision} digits");
        }
    }

    #[test]
    fn numbers_are_read_as_c_does() {
        for (text, value, length) in [
            ("0", 0.0, 1),
            ("-0x10", -16.0, 5),
            ("0x1.8p1z", 3.0, 7),
            ("0x", 0.0, 1),
            ("0x.8", 0.5, 4),
            ("0xffffffffffffffffff", 4722366482869645213695.0, 20),
            ("1.", 1.0, 2),
            ("1.5e", 1.5, 3),
            ("1.5e+", 1.5, 3),
            ("1.5e+2,", 150.0, 6),
            ("+.5", 0.5, 3),
            ("1e999", f64::INFINITY, 5),
            ("-inFx", f64::NEG_INFINITY, 4),
            ("infinity", f64::INFINITY, 8),
            ("0x1p-1074", 5e-324, 9),
            ("0x1p99999999999", f64::INFINITY, 15),
        ] {
            assert_eq!(read(text.as_bytes()), Some((value, length)), "{text}");
        }
        for text in ["", "-", "+", ".", "e5", "-.e5", "x", "in"] {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
        assert_eq!(read(b"nan(a_1)b").map(|(value, length)| (value.is_nan(), length)), Some((true, 8)));
        assert_eq!(read(b"-nan(a").map(|(value, length)| (value.is_nan(), length)), Some((true, 4)));
    }

    proptest! {
        #[test]
        fn what_is_written_in_full_is_read_back(bits: u64) {
            let value = f64::from_bits(bits);
            let text = general(value, 17);
            let (back, length) = read(text.as_bytes()).unwrap();
            prop_assert_eq!(length, text.len());
            prop_assert_eq!(back.is_nan(), value.is_nan());
            if !value.is_nan() {
                prop_assert_eq!(back.to_bits(), value.to_bits());
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text: Vec<u8>) {
            if let Some((_, length)) = read(&text) {
                prop_assert_eq!(length.min(text.len()), length);
            }
        }
    }
}
