//! Declared reply shapes: what a command may answer, as `const` data in its row, and the check that tests apply to
//! every reply they see. One shape stands for both protocols: a map is a flat array in RESP2, a set an array, a double
//! its text, a boolean 0 or 1, a verbatim text a bulk. Errors are always allowed and not part of a shape.

use crate::base::num;
use crate::resp::frame::Frame;
use crate::resp::reply::Proto;

/// The shape of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `+OK`
    Ok,
    /// Any simple string.
    Simple,
    /// This simple string.
    Exactly(&'static str),
    /// An integer.
    Integer,
    /// A bulk string.
    Bulk,
    /// A bulk string or null.
    BulkOrNull,
    /// Null, of any kind.
    Null,
    /// An array of any length of elements of one shape.
    Array(&'static Shape),
    /// Such an array, or null.
    ArrayOrNull(&'static Shape),
    /// An array of exactly these elements.
    Tuple(&'static [Shape]),
    /// Pairs of keys and values; in RESP2 a flat array.
    Map(&'static Shape, &'static Shape),
    /// A set; in RESP2 an array.
    Set(&'static Shape),
    /// A push message of exactly these elements; in RESP2 an array.
    Push(&'static [Shape]),
    /// A double; in RESP2 its text.
    Double,
    /// A double or null.
    DoubleOrNull,
    /// A boolean; in RESP2 0 or 1.
    Boolean,
    /// Text for people; in RESP2 a bulk string.
    Verbatim,
    /// One of several shapes.
    OneOf(&'static [Shape]),
    /// Anything.
    Any,
    /// No reply at all.
    Nothing,
}

impl Shape {
    /// Says whether `frame`, sent under `proto`, has this shape; errors have every shape.
    ///
    /// # Errors
    /// What was expected, and what stands there instead.
    pub fn check(&self, frame: &Frame, proto: Proto) -> Result<(), String> {
        if matches!(frame, Frame::Error(_)) || self.fits(frame, proto) {
            return Ok(());
        }
        Err(format!("expected {self:?} under {proto:?}, got {frame:?}"))
    }

    fn fits(&self, frame: &Frame, proto: Proto) -> bool {
        let resp3 = proto == Proto::Resp3;
        match (self, frame) {
            (Self::Any, _) | (Self::Simple, Frame::Simple(_)) => true,
            (Self::Ok, Frame::Simple(text)) => text == b"OK",
            (Self::Exactly(expected), Frame::Simple(text)) => text == expected.as_bytes(),
            (Self::Integer, Frame::Integer(_)) => true,
            (Self::Bulk | Self::BulkOrNull, Frame::Bulk(_)) => true,
            (Self::Null | Self::BulkOrNull | Self::DoubleOrNull, Frame::Null) => true,
            (Self::ArrayOrNull(_), Frame::Null) => true,
            (Self::Array(each) | Self::ArrayOrNull(each), Frame::Array(frames)) => {
                all_fit(each, frames, proto)
            }
            (Self::Tuple(shapes), Frame::Array(frames)) => each_fits(shapes, frames, proto),
            (Self::Map(key, value), Frame::Map(pairs)) if resp3 => {
                pairs.iter().all(|pair| key.fits(&pair.0, proto) && value.fits(&pair.1, proto))
            }
            (Self::Map(key, value), Frame::Array(frames)) if !resp3 => {
                frames.len().is_multiple_of(2)
                    && frames.chunks(2).all(|pair| key.fits(&pair[0], proto) && value.fits(&pair[1], proto))
            }
            (Self::Set(each), Frame::Set(frames)) if resp3 => all_fit(each, frames, proto),
            (Self::Set(each), Frame::Array(frames)) if !resp3 => all_fit(each, frames, proto),
            (Self::Push(shapes), Frame::Push(frames)) if resp3 => each_fits(shapes, frames, proto),
            (Self::Push(shapes), Frame::Array(frames)) if !resp3 => each_fits(shapes, frames, proto),
            (Self::Double | Self::DoubleOrNull, Frame::Double(_)) => resp3,
            (Self::Double | Self::DoubleOrNull, Frame::Bulk(text)) => {
                !resp3 && (text == b"nan" || num::parse_f64(text).is_some())
            }
            (Self::Boolean, Frame::Boolean(_)) => resp3,
            (Self::Boolean, Frame::Integer(value)) => !resp3 && matches!(value, 0 | 1),
            (Self::Verbatim, Frame::Verbatim { .. }) => resp3,
            (Self::Verbatim, Frame::Bulk(_)) => !resp3,
            (Self::OneOf(shapes), _) => shapes.iter().any(|shape| shape.fits(frame, proto)),
            _ => false,
        }
    }
}

fn all_fit(shape: &Shape, frames: &[Frame], proto: Proto) -> bool {
    frames.iter().all(|frame| shape.fits(frame, proto))
}

fn each_fits(shapes: &[Shape], frames: &[Frame], proto: Proto) -> bool {
    shapes.len() == frames.len() && shapes.iter().zip(frames).all(|(shape, frame)| shape.fits(frame, proto))
}

#[cfg(test)]
mod tests {
    use super::Shape;
    use crate::resp::frame::decode;
    use crate::resp::reply::Proto::{self, Resp2, Resp3};

    fn fits(shape: &Shape, bytes: &[u8], proto: Proto) -> bool {
        let (frame, length) = decode(bytes).expect("well-formed").expect("whole");
        assert_eq!(length, bytes.len());
        shape.check(&frame, proto).is_ok()
    }

    #[test]
    fn shapes_differ_by_protocol() {
        const COUNTS: Shape = Shape::Map(&Shape::Bulk, &Shape::Integer);
        let cases: &[(&Shape, &[u8], bool, bool)] = &[
            (&Shape::Ok, b"+OK\r\n", true, true),
            (&Shape::Ok, b"+QUEUED\r\n", false, false),
            (&Shape::Ok, b"-ERR no\r\n", true, true),
            (&Shape::Exactly("PONG"), b"+PONG\r\n", true, true),
            (&COUNTS, b"*2\r\n$1\r\na\r\n:1\r\n", true, false),
            (&COUNTS, b"%1\r\n$1\r\na\r\n:1\r\n", false, true),
            (&COUNTS, b"*1\r\n$1\r\na\r\n", false, false),
            (&Shape::Double, b"$3\r\n1.5\r\n", true, false),
            (&Shape::Double, b",1.5\r\n", false, true),
            (&Shape::Boolean, b":1\r\n", true, false),
            (&Shape::Boolean, b":2\r\n", false, false),
            (&Shape::Verbatim, b"=5\r\ntxt:a\r\n", false, true),
            (&Shape::Set(&Shape::Bulk), b"~0\r\n", false, true),
            (&Shape::BulkOrNull, b"$-1\r\n", true, true),
            (&Shape::Bulk, b"_\r\n", false, false),
            (
                &Shape::Tuple(&[Shape::Bulk, Shape::Array(&Shape::Integer)]),
                b"*2\r\n$0\r\n\r\n*1\r\n:1\r\n",
                true,
                true,
            ),
            (&Shape::OneOf(&[Shape::Integer, Shape::Null]), b":1\r\n", true, true),
            (&Shape::Nothing, b":1\r\n", false, false),
        ];
        for (shape, bytes, resp2, resp3) in cases {
            let name = format!("{shape:?} {}", bytes.escape_ascii());
            assert_eq!(fits(shape, bytes, Resp2), *resp2, "{name} in RESP2");
            assert_eq!(fits(shape, bytes, Resp3), *resp3, "{name} in RESP3");
        }
    }
}
