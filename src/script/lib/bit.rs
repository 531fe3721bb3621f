//! `bit`: operations on 32 bits, with the results and error texts of the library that Redis has (Lua BitOp 1.0.2).
//!
//! An argument is taken modulo 2^32 and a fraction is rounded to the nearest integer, halves to the even one; a result
//! is signed.

use super::args::{Args, function};
use mlua::{Lua, Result, Table};

/// What becomes of two numbers.
type Operation = fn(u32, u32) -> u32;

/// The library's table.
///
/// # Errors
/// No memory.
pub fn open(lua: &Lua) -> Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("tobit", function(lua, |args| Ok(signed(bits(args, 1)?)))?)?;
    table.raw_set("bnot", function(lua, |args| Ok(signed(!bits(args, 1)?)))?)?;
    table.raw_set("bswap", function(lua, |args| Ok(signed(bits(args, 1)?.swap_bytes())))?)?;
    table.raw_set("tohex", function(lua, to_hex)?)?;
    let folds: [(&str, Operation); 3] = [
        ("band", |left, right| left & right),
        ("bor", |left, right| left | right),
        ("bxor", |left, right| left ^ right),
    ];
    for (name, operation) in folds {
        table.raw_set(name, function(lua, move |args| fold(args, operation))?)?;
    }
    let shifts: [(&str, Operation); 5] = [
        ("lshift", |bits, by| bits << by),
        ("rshift", |bits, by| bits >> by),
        ("arshift", |bits, by| (bits.cast_signed() >> by).cast_unsigned()),
        ("rol", u32::rotate_left),
        ("ror", u32::rotate_right),
    ];
    for (name, operation) in shifts {
        let shift = move |args: &Args<'_>| {
            let value = bits(args, 1)?;
            Ok(signed(operation(value, bits(args, 2)? & 31)))
        };
        table.raw_set(name, function(lua, shift)?)?;
    }
    Ok(table)
}

fn signed(bits: u32) -> i64 {
    i64::from(bits.cast_signed())
}

/// The lowest 32 bits of a number.
fn bits_of(number: f64) -> u32 {
    /// 2^52 + 2^51: what is added to it leaves its integer part in the lowest bits.
    const ALIGNED: f64 = 6_755_399_441_055_744.0;
    (number + ALIGNED).to_bits() as u32
}

fn bits(args: &Args<'_>, position: usize) -> Result<u32> {
    args.number(position).map(bits_of)
}

fn fold(args: &Args<'_>, operation: Operation) -> Result<i64> {
    let mut result = bits(args, 1)?;
    for position in (2..=args.count()).rev() {
        result = operation(result, bits(args, position)?);
    }
    Ok(signed(result))
}

/// The lowest digits of a number, as many as the second argument says, in capitals where that is negative.
fn to_hex(args: &Args<'_>) -> Result<String> {
    const DIGITS_MAX: usize = 8;
    let value = bits(args, 1)?;
    let width = if args.count() < 2 { DIGITS_MAX as i32 } else { bits(args, 2)?.cast_signed() };
    let digits = if width < 0 { format!("{value:08X}") } else { format!("{value:08x}") };
    let shown = (width.unsigned_abs() as usize).min(DIGITS_MAX);
    Ok(digits[DIGITS_MAX - shown..].to_owned())
}

#[cfg(test)]
mod tests {
    use super::{bits_of, open};
    use mlua::Lua;
    use proptest::{prop_assert_eq, proptest};

    fn lua() -> Lua {
        let lua = Lua::new();
        lua.globals().raw_set("bit", open(&lua).unwrap()).unwrap();
        lua
    }

    #[test]
    fn results_are_those_of_redis() {
        let lua = lua();
        for (expression, expected) in [
            ("bit.tobit(0xffffffff)", "-1"),
            ("bit.tobit(2^32 + 5)", "5"),
            ("bit.tobit('0x10')", "16"),
            ("bit.tobit(1.5)", "2"),
            ("bit.tobit(2.5)", "2"),
            ("bit.bnot(0)", "-1"),
            ("bit.band(0x12345678, 0xff)", "120"),
            ("bit.bor(1, 2, 4, 8)", "15"),
            ("bit.bxor(0xa5a5f0f0, 0xaa55ff00)", "267390960"),
            ("bit.lshift(1, 31)", "-2147483648"),
            ("bit.lshift(1, 32)", "1"),
            ("bit.rshift(-256, 8)", "16777215"),
            ("bit.arshift(-256, 8)", "-1"),
            ("bit.rol(0x12345678, 12)", "1164411171"),
            ("bit.ror(0x12345678, 12)", "1736516421"),
            ("bit.bswap(0x12345678)", "2018915346"),
            ("bit.tohex(1)", "00000001"),
            ("bit.tohex(-1, 4)", "ffff"),
            ("bit.tohex(0xabcdef, -6)", "ABCDEF"),
            ("bit.tohex(1, 0)", ""),
            ("bit.tohex(1, -2147483648)", "00000001"),
        ] {
            let script = format!("return tostring({expression})");
            assert_eq!(lua.load(&script).eval::<String>().unwrap(), expected, "{expression}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        let lua = lua();
        for (expression, expected) in [
            ("bit.band()", "bad argument #1 to 'band' (number expected, got no value)"),
            ("bit.band(1, {}, 'x')", "bad argument #3 to 'band' (number expected, got string)"),
            ("bit.tohex(1, nil)", "bad argument #2 to 'tohex' (number expected, got nil)"),
        ] {
            let error = lua.load(expression).set_name("=here").exec().unwrap_err().to_string();
            assert!(error.contains(&format!("here:1: {expected}")), "{expression}: {error}");
        }
    }

    proptest! {
        #[test]
        fn integers_are_taken_modulo_two_to_the_32(number in -(1_i64 << 51)..(1_i64 << 51)) {
            prop_assert_eq!(bits_of(number as f64), number as u32);
        }
    }
}
