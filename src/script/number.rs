//! Doubles as C's `printf("%.<n>g")` writes them: what scripts and their libraries turn numbers into text by.

/// Digits that a double is told apart by; more are never asked for.
const DIGITS_MAX: usize = 17;

/// Appends `value` as `%.<digits>g` does; `digits` beyond 17 count as 17, none as one.
pub fn format_g(value: f64, digits: usize, out: &mut Vec<u8>) {
    let digits = digits.clamp(1, DIGITS_MAX);
    if value.is_nan() {
        out.extend_from_slice(if value.is_sign_negative() { b"-nan" } else { b"nan" });
        return;
    }
    if value.is_infinite() {
        out.extend_from_slice(if value < 0.0 { b"-inf" } else { b"inf" });
        return;
    }
    // Integers that fit are the usual case, and need no rounding.
    if value == value.trunc() && value.abs() < INTEGERS_BELOW[digits.min(INTEGERS_BELOW.len() - 1)] {
        if value == 0.0 && value.is_sign_negative() {
            out.extend_from_slice(b"-0");
            return;
        }
        let mut text = itoa::Buffer::new();
        out.extend_from_slice(text.format(value as i64).as_bytes());
        return;
    }
    let text = format!("{value:.*e}", digits - 1);
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    let plain: String = mantissa.chars().filter(|one| *one != '.').collect();
    let plain = plain.trim_end_matches('0');
    let plain = if plain.is_empty() { "0" } else { plain };
    out.extend_from_slice(sign.as_bytes());
    if exponent < -4 || exponent >= digits as i32 {
        push_scientific(plain, exponent, out);
    } else {
        push_fixed(plain, exponent, out);
    }
}

/// Integers below `INTEGERS_BELOW[n]` have at most `n` digits.
const INTEGERS_BELOW: [f64; 16] =
    [0.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

fn push_scientific(digits: &str, exponent: i32, out: &mut Vec<u8>) {
    let (first, rest) = digits.split_at(1);
    out.extend_from_slice(first.as_bytes());
    if !rest.is_empty() {
        out.push(b'.');
        out.extend_from_slice(rest.as_bytes());
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    out.extend_from_slice(format!("e{sign}{:02}", exponent.unsigned_abs()).as_bytes());
}

fn push_fixed(digits: &str, exponent: i32, out: &mut Vec<u8>) {
    if exponent < 0 {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', exponent.unsigned_abs() as usize - 1));
        out.extend_from_slice(digits.as_bytes());
        return;
    }
    let whole = exponent as usize + 1;
    if digits.len() <= whole {
        out.extend_from_slice(digits.as_bytes());
        out.extend(std::iter::repeat_n(b'0', whole - digits.len()));
    } else {
        let (before, after) = digits.split_at(whole);
        out.extend_from_slice(before.as_bytes());
        out.push(b'.');
        out.extend_from_slice(after.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::format_g;

    #[test]
    fn doubles_are_written_as_c_writes_them() {
        let cases: [(f64, usize, &str); 19] = [
            (0.1, 17, "0.10000000000000001"),
            (0.1, 14, "0.1"),
            (1.0, 17, "1"),
            (-0.0, 17, "-0"),
            (1e15, 17, "1000000000000000"),
            (1e16, 17, "10000000000000000"),
            (1e16, 14, "1e+16"),
            (123456789012345678.0, 17, "1.2345678901234568e+17"),
            (1e100, 17, "1e+100"),
            (1e-5, 17, "1.0000000000000001e-05"),
            (1e-4, 14, "0.0001"),
            (0.00012345, 14, "0.00012345"),
            (1.5, 1, "2"),
            (9.99, 2, "10"),
            (1e14, 14, "1e+14"),
            (99999999999999.0, 14, "99999999999999"),
            (7.16938473625184, 14, "7.1693847362518"),
            (f64::NEG_INFINITY, 14, "-inf"),
            (f64::NAN, 14, "nan"),
        ];
        for (value, digits, text) in cases {
            let mut out = Vec::new();
            format_g(value, digits, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), text, "{value:?} with {digits}");
        }
    }
}
