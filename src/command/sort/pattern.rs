//! The patterns of BY and GET: how a key, and perhaps a field, is made of an element, and what stands there.

use crate::base::num::IntegerText;
use crate::command::context::Data;
use crate::store::key::Key;
use crate::store::value::ValueRef;
use crate::store::value::listpack::Element;

/// Longest text of an integer.
const INTEGER_TEXT_MAX: usize = 20;

/// A text that is borrowed, or that of a number, which no value holds as a text.
#[derive(Clone, Copy)]
pub enum Word<'a> {
    /// Borrowed from a value.
    Bytes(&'a [u8]),
    /// The text and its length.
    Number([u8; INTEGER_TEXT_MAX], u8),
}

impl Word<'_> {
    /// The text.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Number(text, len) => text.get(..usize::from(*len)).unwrap_or_default(),
        }
    }
}

impl<'a> From<Element<'a>> for Word<'a> {
    fn from(element: Element<'a>) -> Self {
        match element {
            Element::Bytes(bytes) => Self::Bytes(bytes),
            Element::Int(value) => {
                let mut number = IntegerText::new();
                let text = number.format(value);
                let mut kept = [0; INTEGER_TEXT_MAX];
                kept[..text.len()].copy_from_slice(text);
                Self::Number(kept, text.len() as u8)
            }
        }
    }
}

/// A pattern of BY or GET.
#[derive(Clone, Copy)]
pub enum Pattern<'a> {
    /// `#`: the element itself.
    Itself,
    /// No `*`: nothing ever stands there.
    Nothing,
    /// A key around the element, and a field if what stands there is to be a hash.
    Key {
        /// Before the element.
        prefix: &'a [u8],
        /// Behind it.
        suffix: &'a [u8],
        /// The field.
        field: Option<&'a [u8]>,
    },
}

impl<'a> Pattern<'a> {
    /// Reads a pattern; every text is one.
    pub fn parse(text: &'a [u8]) -> Self {
        if text == b"#" {
            return Self::Itself;
        }
        let Some(star) = text.iter().position(|&byte| byte == b'*') else {
            return Self::Nothing;
        };
        let (prefix, behind) = (&text[..star], &text[star + 1..]);
        // An arrow with nothing behind it belongs to the key.
        match behind.windows(2).position(|pair| pair == b"->").filter(|arrow| arrow + 2 < behind.len()) {
            Some(arrow) => Self::Key { prefix, suffix: &behind[..arrow], field: behind.get(arrow + 2..) },
            None => Self::Key { prefix, suffix: behind, field: None },
        }
    }
}

/// Looks up what stands under patterns, and counts.
#[derive(Default)]
pub struct Lookups {
    name: Vec<u8>,
    /// Keys that were there.
    pub hits: u64,
    /// Keys that were not.
    pub misses: u64,
}

impl Lookups {
    /// What stands under a pattern for an element.
    pub fn find<'d>(
        &mut self,
        data: &'d Data<'_>,
        pattern: Pattern<'_>,
        element: Word<'d>,
    ) -> Option<Word<'d>> {
        let (prefix, suffix, field) = match pattern {
            Pattern::Itself => return Some(element),
            Pattern::Nothing => return None,
            Pattern::Key { prefix, suffix, field } => (prefix, suffix, field),
        };
        self.name.clear();
        for part in [prefix, element.bytes(), suffix] {
            self.name.extend_from_slice(part);
        }
        let Some(value) = value_under(data, &data.key(&self.name)) else {
            self.misses += 1;
            return None;
        };
        self.hits += 1;
        match (value, field) {
            (ValueRef::Str(bytes), None) => Some(Word::Bytes(bytes)),
            (ValueRef::Hash(hash), Some(field)) => hash.get(field, data.now_ms()).map(Word::from),
            _ => None,
        }
    }
}

/// The value under a key whose shard is locked.
pub fn value_under<'d>(data: &'d Data<'_>, key: &Key<'_>) -> Option<ValueRef<'d>> {
    let db = data.db_if_any(key)?;
    let found = db.find_keeping(key, data.now_ms())?;
    Some(db.value(found))
}
