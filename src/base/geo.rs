//! Geohashes as Redis computes them: places on the earth as 52-bit numbers whose order keeps near places together.
//!
//! A hash halves the ranges of longitude and latitude in turn, one bit each: every even number of leading bits names a
//! cell of a grid. Latitudes end at those of the web's maps; the earth is a sphere. All formulas are evaluated in Redis's
//! order, so that results are equal to the last bit wherever the C library's functions are.

use std::f64::consts::PI;

/// Longitudes that can be hashed, in degrees.
pub const LONGITUDE_MAX: f64 = 180.0;
/// Latitudes that can be hashed, in degrees.
pub const LATITUDE_MAX: f64 = 85.05112878;
/// Halvings of either range in a full hash.
pub const STEPS_MAX: u8 = 26;
/// Radius of the sphere in metres.
const EARTH_RADIUS: f64 = 6372797.560856;
/// Half of the equator's length in metres, as maps have it.
const MERCATOR_MAX: f64 = 20037726.37;
/// Latitudes in standard geohash texts.
const STANDARD_LATITUDE_MAX: f64 = 90.0;
/// Bits of longitudes and of latitudes in a hash.
const LONGITUDE_BITS: u64 = 0xAAAA_AAAA_AAAA_AAAA;
const LATITUDE_BITS: u64 = 0x5555_5555_5555_5555;
/// Digits of a standard geohash text.
const TEXT_DIGITS: usize = 11;

/// A place, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// East of Greenwich.
    pub longitude: f64,
    /// North of the equator.
    pub latitude: f64,
}

/// A cell of the grid that so many steps make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    bits: u64,
    step: u8,
}

/// What a cell covers, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Area {
    longitude: (f64, f64),
    latitude: (f64, f64),
}

/// A figure around a point; lengths in metres.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// All within this distance.
    Circle {
        /// The distance.
        radius: f64,
    },
    /// All within half the width and half the height.
    Box {
        /// Length from west to east.
        width: f64,
        /// Length from south to north.
        height: f64,
    },
}

fn radians(degrees: f64) -> f64 {
    degrees * (PI / 180.0)
}

fn degrees(radians: f64) -> f64 {
    radians / (PI / 180.0)
}

/// The distance along a meridian, in metres.
fn latitude_distance(from: f64, to: f64) -> f64 {
    EARTH_RADIUS * (radians(to) - radians(from)).abs()
}

/// The distance of two places, in metres.
pub fn distance(from: Point, to: Point) -> f64 {
    let v = ((radians(to.longitude) - radians(from.longitude)) / 2.0).sin();
    let (from_latitude, to_latitude) = (radians(from.latitude), radians(to.latitude));
    let u = ((to_latitude - from_latitude) / 2.0).sin();
    let a = u * u + from_latitude.cos() * to_latitude.cos() * v * v;
    2.0 * EARTH_RADIUS * a.sqrt().asin()
}

/// Spreads the bits of a number out to every second place.
fn spread(number: u32) -> u64 {
    let mut bits = u64::from(number);
    for (shift, mask) in [
        (16, 0x0000_FFFF_0000_FFFF),
        (8, 0x00FF_00FF_00FF_00FF),
        (4, 0x0F0F_0F0F_0F0F_0F0F),
        (2, 0x3333_3333_3333_3333),
        (1, LATITUDE_BITS),
    ] {
        bits = (bits | bits << shift) & mask;
    }
    bits
}

/// Takes every second bit, from the lowest on.
fn gather(bits: u64) -> u32 {
    let mut bits = bits & LATITUDE_BITS;
    for (shift, mask) in [
        (1, 0x3333_3333_3333_3333),
        (2, 0x0F0F_0F0F_0F0F_0F0F),
        (4, 0x00FF_00FF_00FF_00FF),
        (8, 0x0000_FFFF_0000_FFFF),
        (16, 0x0000_0000_FFFF_FFFF),
    ] {
        bits = (bits | bits >> shift) & mask;
    }
    bits as u32
}

fn encode(point: Point, latitude_max: f64, step: u8) -> Cell {
    let scale = (1u64 << step) as f64;
    let offset = |value: f64, max: f64| ((value + max) / (2.0 * max) * scale) as u32;
    let latitude = offset(point.latitude, latitude_max);
    let longitude = offset(point.longitude, LONGITUDE_MAX);
    Cell { bits: spread(latitude) | spread(longitude) << 1, step }
}

/// Whether a place can be hashed.
pub fn is_valid(point: Point) -> bool {
    point.longitude.abs() <= LONGITUDE_MAX && point.latitude.abs() <= LATITUDE_MAX
}

/// The full hash of a place that can be hashed.
pub fn hash(point: Point) -> u64 {
    encode(point, LATITUDE_MAX, STEPS_MAX).bits
}

/// The middle of the cell that a full hash names.
pub fn place(hash: u64) -> Point {
    let area = Cell { bits: hash, step: STEPS_MAX }.area();
    let middle = |(min, max): (f64, f64), limit: f64| ((min + max) / 2.0).clamp(-limit, limit);
    Point { longitude: middle(area.longitude, LONGITUDE_MAX), latitude: middle(area.latitude, LATITUDE_MAX) }
}

/// The standard geohash text of a place; its last digit has too few bits left, and is always 0.
pub fn text(point: Point) -> [u8; TEXT_DIGITS] {
    const ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
    let bits = encode(point, STANDARD_LATITUDE_MAX, STEPS_MAX).bits;
    let mut text = [b'0'; TEXT_DIGITS];
    for (at, digit) in text.iter_mut().take(TEXT_DIGITS - 1).enumerate() {
        *digit = ALPHABET[(bits >> (2 * usize::from(STEPS_MAX) - (at + 1) * 5)) as usize & 0x1F];
    }
    text
}

impl Cell {
    fn area(self) -> Area {
        let scale = (1u64 << self.step) as f64;
        let side = |number: u32, max: f64| {
            let end = |number: f64| -max + number / scale * (2.0 * max);
            (end(f64::from(number)), end(f64::from(number.wrapping_add(1))))
        };
        Area {
            longitude: side(gather(self.bits >> 1), LONGITUDE_MAX),
            latitude: side(gather(self.bits), LATITUDE_MAX),
        }
    }

    /// The cell so many columns east and rows north, each -1, 0 or 1; the grid's edges meet.
    fn beside(self, east: i8, north: i8) -> Self {
        let unused = 64 - 2 * u32::from(self.step);
        // A carry passes over the other direction's bits where these are all set.
        let moved = |bits: u64, own: u64, other: u64, by: i8| match by {
            0 => bits & own,
            1.. => (bits & own).wrapping_add((other >> unused) + 1) & (own >> unused),
            _ => (bits & own | other >> unused).wrapping_sub((other >> unused) + 1) & (own >> unused),
        };
        let longitude = moved(self.bits, LONGITUDE_BITS, LATITUDE_BITS, east);
        let latitude = moved(self.bits, LATITUDE_BITS, LONGITUDE_BITS, north);
        Self { bits: longitude | latitude, step: self.step }
    }

    /// The full hashes of the cell's places: from the first one, below the second one.
    pub fn hashes(self) -> (u64, u64) {
        let shift = 2 * (STEPS_MAX - self.step);
        (self.bits << shift, (self.bits + 1) << shift)
    }
}

/// The grid's depth at which nine cells cover what is within so many metres, or nearly so.
fn steps_for(radius: f64, latitude: f64) -> u8 {
    if radius == 0.0 {
        return STEPS_MAX;
    }
    let mut radius = radius;
    let mut step = 1i32;
    while radius < MERCATOR_MAX {
        radius *= 2.0;
        step += 1;
    }
    // Cells are narrower towards the poles.
    step -= 2 + i32::from(latitude.abs() > 66.0) + i32::from(latitude.abs() > 80.0);
    step.clamp(1, i32::from(STEPS_MAX)) as u8
}

impl Shape {
    /// What the shape reaches around a point: west, south, east and north end, in degrees.
    fn bounds(self, center: Point) -> (f64, f64, f64, f64) {
        let (half_width, half_height) = match self {
            Self::Circle { radius } => (radius, radius),
            Self::Box { width, height } => (width / 2.0, height / 2.0),
        };
        let latitude_delta = degrees(half_height / EARTH_RADIUS);
        // The side that is nearer to a pole spans more degrees.
        let far = if center.latitude < 0.0 { -latitude_delta } else { latitude_delta };
        let longitude_delta = degrees(half_width / EARTH_RADIUS / radians(center.latitude + far).cos());
        (
            center.longitude - longitude_delta,
            center.latitude - latitude_delta,
            center.longitude + longitude_delta,
            center.latitude + latitude_delta,
        )
    }

    /// How far it reaches at most, in metres.
    fn reach(self) -> f64 {
        match self {
            Self::Circle { radius } => radius,
            Self::Box { width, height } => {
                let (half_width, half_height) = (width / 2.0, height / 2.0);
                (half_width * half_width + half_height * half_height).sqrt()
            }
        }
    }

    /// The distance of a place from the center, in metres, if it is inside.
    pub fn distance_inside(self, center: Point, place: Point) -> Option<f64> {
        match self {
            Self::Circle { radius } => Some(distance(center, place)).filter(|distance| *distance <= radius),
            Self::Box { width, height } => {
                if latitude_distance(place.latitude, center.latitude) > height / 2.0 {
                    return None;
                }
                let below = Point { longitude: center.longitude, latitude: place.latitude };
                if distance(place, below) > width / 2.0 {
                    return None;
                }
                Some(distance(center, place))
            }
        }
    }

    /// The cells that cover the shape around a point, the one of the point first, in the order in which Redis looks into
    /// them.
    pub fn cells(self, center: Point) -> Vec<Cell> {
        let (west, south, east, north) = self.bounds(center);
        let mut step = steps_for(self.reach(), center.latitude);
        let mut cell = encode(center, LATITUDE_MAX, step);
        let is_short = cell.beside(0, 1).area().latitude.1 < north
            || cell.beside(0, -1).area().latitude.0 > south
            || cell.beside(1, 0).area().longitude.1 < east
            || cell.beside(-1, 0).area().longitude.0 > west;
        if step > 1 && is_short {
            step -= 1;
            cell = encode(center, LATITUDE_MAX, step);
        }
        let area = cell.area();
        let leaves_out = |to_east: i8, to_north: i8| {
            step >= 2
                && (area.latitude.0 < south && to_north < 0
                    || area.latitude.1 > north && to_north > 0
                    || area.longitude.0 < west && to_east < 0
                    || area.longitude.1 > east && to_east > 0)
        };
        let around = [(0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)];
        let mut cells = vec![cell];
        for (to_east, to_north) in around {
            let other = cell.beside(to_east, to_north);
            // With few steps, neighbours are often the same cell. The first is not looked at again for that, as in Redis.
            let is_repeated = cells.len() > 1 && cells.last() == Some(&other);
            if !leaves_out(to_east, to_north) && !is_repeated {
                cells.push(other);
            }
        }
        cells
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Cell, LATITUDE_MAX, Point, Shape, distance, encode, gather, hash, is_valid, place, spread, text,
    };
    use crate::base::rng::Rng;

    fn point(longitude: f64, latitude: f64) -> Point {
        Point { longitude, latitude }
    }

    fn random_point(rng: &mut Rng, latitude_max: f64) -> Point {
        let unit = |rng: &mut Rng| rng.below(1 << 52) as f64 / (1u64 << 51) as f64 - 1.0;
        point(unit(rng) * 180.0, unit(rng) * latitude_max)
    }

    /// As redis-server 7.0 has them.
    #[test]
    fn known_hashes() {
        let palermo = point(13.361389, 38.115556);
        let catania = point(15.087269, 37.502669);
        assert_eq!(hash(palermo), 3479099956230698);
        assert_eq!(hash(catania), 3479447370796909);
        assert_eq!(&text(place(hash(palermo))), b"sqc8b49rny0");
        assert_eq!(&text(place(hash(catania))), b"sqdtr74hyu0");
        assert_eq!(&text(place(hash(point(-5.6, 42.6)))), b"ezs42e44yx0");
        let found = distance(place(hash(palermo)), place(hash(catania)));
        assert_eq!(format!("{found:.4}"), "166274.1516");
        assert_eq!(format!("{:.17}", place(hash(palermo)).longitude), "13.36138933897018433");
    }

    #[test]
    fn bits_are_spread_and_gathered() {
        let mut rng = Rng::seeded(1);
        for _ in 0..1000 {
            let number = rng.next_u64() as u32;
            assert_eq!(gather(spread(number)), number);
            assert_eq!(gather(spread(number) << 1), 0);
        }
    }

    #[test]
    fn a_hash_names_a_place_nearby() {
        let mut rng = Rng::seeded(2);
        for _ in 0..2000 {
            let point = random_point(&mut rng, LATITUDE_MAX);
            assert!(is_valid(point));
            assert!(distance(point, place(hash(point))) < 0.6, "{point:?}");
            let (first, behind) = encode(point, LATITUDE_MAX, 9).hashes();
            assert!((first..behind).contains(&hash(point)));
        }
        assert!(!is_valid(point(180.1, 0.0)) && !is_valid(point(0.0, -85.06)));
    }

    #[test]
    fn neighbours_lead_back() {
        let mut rng = Rng::seeded(3);
        for step in 1..=26 {
            let cell = encode(random_point(&mut rng, LATITUDE_MAX), LATITUDE_MAX, step);
            for (east, north) in [(1, 0), (0, 1), (1, 1), (-1, 1)] {
                assert_eq!(cell.beside(east, north).beside(-east, -north), cell);
            }
        }
        // Over the edge, on the other side.
        assert_eq!(Cell { bits: 0, step: 1 }.beside(-1, 0), Cell { bits: 2, step: 1 });
    }

    #[test]
    fn cells_cover_what_is_inside() {
        let mut rng = Rng::seeded(4);
        for _ in 0..3000 {
            let center = random_point(&mut rng, 70.0);
            let reach = 10f64.powf(rng.below(55) as f64 / 10.0 + 0.5);
            let shape = if rng.below(2) == 0 {
                Shape::Circle { radius: reach }
            } else {
                Shape::Box { width: reach, height: reach * 1.5 }
            };
            let turn = rng.below(360) as f64;
            let far = rng.below(1000) as f64 / 1000.0 * reach / 111_000.0;
            let place = point(
                center.longitude + far * turn.to_radians().cos(),
                center.latitude + far * turn.to_radians().sin(),
            );
            if !is_valid(place) || shape.distance_inside(center, place).is_none() {
                continue;
            }
            let cells = shape.cells(center);
            let covers = |cell: &Cell| {
                let (first, behind) = cell.hashes();
                (first..behind).contains(&hash(place))
            };
            assert!(cells.iter().any(covers), "{shape:?} around {center:?} misses {place:?}");
        }
    }
}
