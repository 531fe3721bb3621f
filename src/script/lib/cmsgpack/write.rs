//! What `cmsgpack.pack` writes: each kind of value in the shortest form that keeps it.
//!
//! Tables deeper than [`NESTING_MAX`] are written as nil, so that a table which holds itself ends; the walk may use the
//! native stack for so few.

use super::super::TOO_LONG;
use super::super::args::{Args, Problem, Steps};
use mlua::{Error, Table, Value};

/// How deep tables are written.
const NESTING_MAX: usize = 16;

/// Bytes that are being written.
pub(super) struct Writer<'a> {
    /// What is written.
    pub out: Vec<u8>,
    max_bytes: usize,
    steps: Steps<'a>,
}

impl<'a> Writer<'a> {
    /// A writer for the call `args`.
    pub(super) fn new(args: &Args<'a>) -> Self {
        Self { out: Vec::new(), max_bytes: args.output_max(), steps: args.steps() }
    }

    /// Appends `value`, which is `level` tables deep.
    ///
    /// # Errors
    /// The output is too long, or no memory.
    pub(super) fn value(&mut self, value: &Value, level: usize) -> Result<(), Problem> {
        self.steps.step()?;
        match value {
            Value::String(text) => write_text(&text.as_bytes(), &mut self.out),
            Value::Boolean(is_true) => self.out.push(if *is_true { 0xc3 } else { 0xc2 }),
            Value::Integer(number) => write_number(*number as f64, &mut self.out),
            Value::Number(number) => write_number(*number, &mut self.out),
            Value::Table(table) if level < NESTING_MAX => self.table(table, level)?,
            _ => self.out.push(0xc0),
        }
        if self.out.len() > self.max_bytes { Err(Problem::Text(TOO_LONG.to_owned())) } else { Ok(()) }
    }

    fn table(&mut self, table: &Table, level: usize) -> Result<(), Problem> {
        let mut count = 0_u32;
        let mut highest = 0_i32;
        let mut is_array = true;
        table.for_each(|key: Value, _: Value| {
            count = count.saturating_add(1);
            match key {
                Value::Integer(index) if (1..=i64::from(i32::MAX)).contains(&index) => {
                    highest = highest.max(index as i32);
                }
                _ => is_array = false,
            }
            Ok(())
        })?;
        if is_array && i64::from(highest) == i64::from(count) {
            write_head(count, 0x90, [0xdc, 0xdd], &mut self.out);
            for index in 1..=i64::from(count) {
                self.value(&table.raw_get(index)?, level + 1)?;
            }
            return Ok(());
        }
        write_head(count, 0x80, [0xde, 0xdf], &mut self.out);
        let mut problem = None;
        let walked = table.for_each(|key: Value, value: Value| {
            let written = self.value(&key, level + 1).and_then(|()| self.value(&value, level + 1));
            written.map_err(|why| {
                problem = Some(why);
                // Ends the walk; `problem` says why.
                Error::StackError
            })
        });
        match problem {
            Some(why) => Err(why),
            None => Ok(walked?),
        }
    }
}

/// The head of an array or map: `few` with up to 15 items within, or one of `long` in front of 16 or 32 bits.
fn write_head(count: u32, few: u8, long: [u8; 2], out: &mut Vec<u8>) {
    if count <= 15 {
        out.push(few | count as u8);
    } else if let Ok(count) = u16::try_from(count) {
        out.push(long[0]);
        out.extend_from_slice(&count.to_be_bytes());
    } else {
        out.push(long[1]);
        out.extend_from_slice(&count.to_be_bytes());
    }
}

/// Appends bytes.
pub(super) fn write_text(text: &[u8], out: &mut Vec<u8>) {
    // No string of the interpreter is longer than 32 bits tell; the lowest 32 are what Redis writes.
    let length = text.len() as u32;
    if length < 32 {
        out.push(0xa0 | length as u8);
    } else if let Ok(length) = u8::try_from(length) {
        out.extend_from_slice(&[0xd9, length]);
    } else if let Ok(length) = u16::try_from(length) {
        out.push(0xda);
        out.extend_from_slice(&length.to_be_bytes());
    } else {
        out.push(0xdb);
        out.extend_from_slice(&length.to_be_bytes());
    }
    out.extend_from_slice(text);
}

/// Appends a number: as an integer if it is one of 64 bits, else in single precision if that keeps it.
pub(super) fn write_number(number: f64, out: &mut Vec<u8>) {
    let is_integer = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&number)
        && number.trunc() == number;
    if is_integer {
        return write_integer(number as i64, out);
    }
    let single = number as f32;
    if f64::from(single) == number {
        out.push(0xca);
        out.extend_from_slice(&single.to_be_bytes());
    } else {
        out.push(0xcb);
        out.extend_from_slice(&number.to_be_bytes());
    }
}

fn write_integer(number: i64, out: &mut Vec<u8>) {
    if let Ok(small) = u8::try_from(number) {
        if small > 0x7f {
            out.push(0xcc);
        }
        out.push(small);
    } else if let Ok(unsigned) = u16::try_from(number) {
        out.push(0xcd);
        out.extend_from_slice(&unsigned.to_be_bytes());
    } else if let Ok(unsigned) = u32::try_from(number) {
        out.push(0xce);
        out.extend_from_slice(&unsigned.to_be_bytes());
    } else if number >= 0 {
        out.push(0xcf);
        out.extend_from_slice(&number.to_be_bytes());
    } else if let Ok(small) = i8::try_from(number) {
        if small < -32 {
            out.push(0xd0);
        }
        out.push(small.cast_unsigned());
    } else if let Ok(signed) = i16::try_from(number) {
        out.push(0xd1);
        out.extend_from_slice(&signed.to_be_bytes());
    } else if let Ok(signed) = i32::try_from(number) {
        out.push(0xd2);
        out.extend_from_slice(&signed.to_be_bytes());
    } else {
        out.push(0xd3);
        out.extend_from_slice(&number.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::super::read::{Item, Reader};
    use super::{write_number, write_text};
    use proptest::{prop_assert, prop_assert_eq, proptest};

    fn number(value: f64) -> Vec<u8> {
        let mut out = Vec::new();
        write_number(value, &mut out);
        out
    }

    #[test]
    fn numbers_take_the_shortest_form() {
        for (value, length) in [
            (0.0, 1),
            (-0.0, 1),
            (127.0, 1),
            (128.0, 2),
            (255.0, 2),
            (256.0, 3),
            (65536.0, 5),
            (4294967296.0, 9),
            (-32.0, 1),
            (-33.0, 2),
            (-128.0, 2),
            (-129.0, 3),
            (-32769.0, 5),
            (-2147483649.0, 9),
            (0.5, 5),
            (0.1, 9),
            (1e300, 9),
            (f64::INFINITY, 5),
            (f64::NAN, 9),
            (9223372036854775808.0, 5),
        ] {
            assert_eq!(number(value).len(), length, "{value}");
        }
    }

    proptest! {
        #[test]
        fn numbers_come_back(bits: u64, integer: i64) {
            for value in [f64::from_bits(bits), integer as f64, (integer >> 33) as f64] {
                let written = number(value);
                let back = match Reader::new(&written).next_item() {
                    Ok(Item::Integer(integer)) => integer as f64,
                    Ok(Item::Number(back)) => back,
                    other => panic!("{other:?}"),
                };
                prop_assert!(back == value || back.is_nan() && value.is_nan());
            }
        }

        #[test]
        fn texts_come_back(text: Vec<u8>, times in 0..900_usize) {
            let text = text.repeat(times % 9);
            let mut written = Vec::new();
            write_text(&text, &mut written);
            let mut reader = Reader::new(&written);
            prop_assert_eq!(reader.next_item(), Ok(Item::Text(&text)));
            prop_assert_eq!(reader.left(), 0);
        }
    }
}
