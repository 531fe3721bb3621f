//! A message for many clients: encoded at most once for each protocol, shared by all that get it.
//!
//! It is an array of bulk strings in RESP2 and a push message of them in RESP3; a number may stand at its end. It must never be encoded per client.

use std::cell::OnceCell;

use bytes::Bytes;

use crate::base::num::IntegerText;

/// Longest head of an element: its kind, 20 digits, a line end.
const HEAD_MAX_BYTES: usize = 23;

/// A message; see the module. Belongs to one thread, its frames to all.
pub struct Message<'a> {
    elements: &'a [&'a [u8]],
    number: Option<i64>,
    resp2: OnceCell<Bytes>,
    resp3: OnceCell<Bytes>,
}

impl<'a> Message<'a> {
    /// A message of these elements; encodes nothing yet.
    pub fn new(elements: &'a [&'a [u8]]) -> Self {
        Self { elements, number: None, resp2: OnceCell::new(), resp3: OnceCell::new() }
    }

    /// The same with a number behind the elements.
    pub fn with_number(self, number: i64) -> Self {
        Self { number: Some(number), ..self }
    }

    /// The frame for a protocol, 2 or 3.
    pub fn frame(&self, protocol: u8) -> Bytes {
        let (cell, kind) = if protocol == 3 { (&self.resp3, b'>') } else { (&self.resp2, b'*') };
        cell.get_or_init(|| self.encode(kind)).clone()
    }

    fn encode(&self, kind: u8) -> Bytes {
        let length: usize = self.elements.iter().map(|element| element.len() + HEAD_MAX_BYTES + 2).sum();
        let mut out = Vec::with_capacity(length + 2 * HEAD_MAX_BYTES);
        head(&mut out, kind, self.elements.len() as i64 + i64::from(self.number.is_some()));
        for element in self.elements {
            head(&mut out, b'$', element.len() as i64);
            out.extend_from_slice(element);
            out.extend_from_slice(b"\r\n");
        }
        if let Some(number) = self.number {
            head(&mut out, b':', number);
        }
        Bytes::from(out)
    }
}

fn head(out: &mut Vec<u8>, kind: u8, number: i64) {
    out.push(kind);
    out.extend_from_slice(IntegerText::new().format(number));
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::Message;

    #[test]
    fn a_message_has_one_frame_for_each_protocol() {
        let message = Message::new(&[b"message", b"news", b""]);
        let resp2 = message.frame(2);
        assert_eq!(&*resp2, b"*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$0\r\n\r\n");
        assert_eq!(message.frame(3)[..], [b">", &resp2[1..]].concat());
        assert!(message.frame(2).as_ptr() == resp2.as_ptr(), "shared");
        let counted = Message::new(&[b"x"]).with_number(-7);
        assert_eq!(&*counted.frame(3), b">2\r\n$1\r\nx\r\n:-7\r\n");
    }
}
