//! Geospatial indexes: sorted sets whose scores are 52-bit geohashes. Rows and handlers, a file for each kind of command,
//! and what they share.
//!
//! The arithmetic is in [`crate::base::geo`]. Lengths are metres inside; units are only read and written.

use crate::base::geo::{self, Point};
use crate::command::sorted::number;
use crate::command::spec::arg::Arg;
use crate::command::spec::key_spec::KeySpec;
use crate::resp::error::Error;
use crate::resp::reply::Reply;

pub mod add;
pub mod read;
pub mod search;

/// The single key of most commands, to be given its flags.
const KEY: KeySpec = KeySpec::at(1);

/// The units, as arguments.
const UNIT: Arg = Arg::one_of("unit", UNITS);
const UNITS: &[Arg] =
    &[Arg::flag("m", "M"), Arg::flag("km", "KM"), Arg::flag("ft", "FT"), Arg::flag("mi", "MI")];

/// Reads a unit: its length in metres.
///
/// # Errors
/// There is no such unit.
fn unit(text: &[u8]) -> Result<f64, Error> {
    let is = |name: &[u8]| text.eq_ignore_ascii_case(name);
    if is(b"m") {
        Ok(1.0)
    } else if is(b"km") {
        Ok(1000.0)
    } else if is(b"ft") {
        Ok(0.3048)
    } else if is(b"mi") {
        Ok(1609.34)
    } else {
        Err(Error::Fixed("ERR unsupported unit provided. please use M, KM, FT, MI"))
    }
}

/// Reads a place that can be hashed.
///
/// # Errors
/// No numbers, or a place outside of what is mapped.
fn point(longitude: &[u8], latitude: &[u8]) -> Result<Point, Error> {
    let degrees = |text| number(text).ok_or(Error::NotAFloat);
    let point = Point { longitude: degrees(longitude)?, latitude: degrees(latitude)? };
    if geo::is_valid(point) {
        return Ok(point);
    }
    let Point { longitude, latitude } = point;
    Err(Error::err(format_args!("invalid longitude,latitude pair {longitude:.6},{latitude:.6}")))
}

/// The hash that a score is. What is no geohash is one all the same, as in Redis: negative numbers by their bits.
fn hash_of(score: f64) -> u64 {
    if score < 0.0 { (score as i64).cast_unsigned() } else { score as u64 }
}

/// The place that a score stands for.
fn place_of(score: f64) -> Point {
    geo::place(hash_of(score))
}

/// Writes a place as two numbers.
fn write_point(reply: &mut Reply, point: Point) {
    reply.array(2);
    for degrees in [point.longitude, point.latitude] {
        let text = format!("{degrees:.17}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        reply.double_text(if text == "-0" { b"0" } else { text.as_bytes() });
    }
}

/// Writes a length with four decimals, as a bulk in both protocols.
fn write_length(reply: &mut Reply, length: f64) {
    reply.bulk_display(format_args!("{length:.4}"));
}
