//! The types of values. They know no RESP, no configuration and no clock.
//!
//! Small collections are *packed*: plain bytes in one of Redis's own formats ([`Form`]), which live in their key's entry
//! or in one allocation. Large ones are structures. Each type is a pair: an owned one for changing (`Hash`) and a
//! borrowed one for reading (`HashRef`), which reads both a structure and packed bytes wherever they lie.
//!
//! A type is added by its file, by [`Collection`] for it there, and by one line in `types!` below.

pub mod hash;
pub mod hll;
pub mod intset;
pub mod list;
pub mod listpack;
pub mod ranked;
pub mod rdb;
pub mod set;
pub mod sorted;
pub mod stream;
pub mod table;
pub mod text;

use std::fmt::Debug;

use bytes::Bytes;

use super::object::size_class;

/// The sizes at which packed collections turn into big ones, by the names of Redis's directives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Most fields of a packed hash.
    pub hash_max_listpack_entries: usize,
    /// Longest field or value of a packed hash, in bytes.
    pub hash_max_listpack_value: usize,
    /// Bound of one chunk of a list: a positive number counts elements, -1 to -5 stand for 4 to 64 KiB.
    pub list_max_listpack_size: i64,
    /// Accepted and without effect: chunks are never compressed.
    pub list_compress_depth: u32,
    /// Most members of a set of integers that is kept sorted in one piece.
    pub set_max_intset_entries: usize,
    /// Most members of a packed set.
    pub set_max_listpack_entries: usize,
    /// Longest member of a packed set, in bytes.
    pub set_max_listpack_value: usize,
    /// Most members of a packed sorted set.
    pub zset_max_listpack_entries: usize,
    /// Longest member of a packed sorted set, in bytes.
    pub zset_max_listpack_value: usize,
    /// Most bytes of one node of a stream; 0 for no bound.
    pub stream_node_max_bytes: usize,
    /// Most entries of one node of a stream; 0 for no bound.
    pub stream_node_max_entries: usize,
    /// Longest sparse HyperLogLog, in bytes.
    pub hll_sparse_max_bytes: usize,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            hash_max_listpack_entries: 512,
            hash_max_listpack_value: 64,
            list_max_listpack_size: -2,
            list_compress_depth: 0,
            set_max_intset_entries: 512,
            set_max_listpack_entries: 128,
            set_max_listpack_value: 64,
            zset_max_listpack_entries: 128,
            zset_max_listpack_value: 64,
            stream_node_max_bytes: 4096,
            stream_node_max_entries: 100,
            hll_sparse_max_bytes: 3000,
        }
    }
}

/// The forms of packed values; the numbers stand in entries and travel between nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Form {
    /// A listpack of elements.
    List = 1,
    /// A listpack of fields and values.
    Hash = 2,
    /// A listpack of fields, values and due times.
    HashDue = 3,
    /// A listpack of members.
    Set = 4,
    /// An intset.
    Ints = 5,
    /// A listpack of members and scores.
    SortedSet = 6,
}

impl Form {
    /// The form of this number; whatever is no form's number counts as the last one's.
    #[inline]
    pub fn of(number: u8) -> Self {
        Self::known(number).unwrap_or(Self::SortedSet)
    }

    /// The form of this number, if it is one's.
    #[inline]
    pub fn known(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::List,
            2 => Self::Hash,
            3 => Self::HashDue,
            4 => Self::Set,
            5 => Self::Ints,
            6 => Self::SortedSet,
            _ => return None,
        })
    }

    /// The type of values of this form.
    #[inline]
    pub fn value_type(self) -> ValueType {
        match self {
            Self::List => ValueType::List,
            Self::Hash | Self::HashDue => ValueType::Hash,
            Self::Set | Self::Ints => ValueType::Set,
            Self::SortedSet => ValueType::SortedSet,
        }
    }
}

/// The types, by their names in Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// A string.
    String,
    /// A list.
    List,
    /// A set.
    Set,
    /// A sorted set.
    SortedSet,
    /// A hash.
    Hash,
    /// A stream.
    Stream,
}

impl ValueType {
    /// The type that TYPE names so, in any case.
    pub fn named(name: &[u8]) -> Option<Self> {
        let all = [Self::String, Self::List, Self::Set, Self::SortedSet, Self::Hash, Self::Stream];
        all.into_iter().find(|one| name.eq_ignore_ascii_case(one.name().as_bytes()))
    }

    /// What TYPE answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::List => "list",
            Self::Set => "set",
            Self::SortedSet => "zset",
            Self::Hash => "hash",
            Self::Stream => "stream",
        }
    }
}

/// What every type but strings is able to; see the module.
pub trait Collection: Clone + Debug + Default {
    /// Its borrowed form.
    type Ref<'a>: Copy;
    /// Its type.
    const TYPE: ValueType;

    /// Whether nothing is in it, so that its key must go.
    fn is_empty(&self) -> bool;
    /// Bytes that the allocator holds for it beside the value itself. O(1).
    fn heap_bytes(&self) -> usize;
    /// The packed bytes, if it is packed.
    fn packed(&self) -> Option<(Form, &[u8])>;
    /// The buffer of the packed bytes, if it is packed.
    fn into_packed(self) -> Option<Vec<u8>>;
    /// A packed value of a form of this type, whose bytes are trusted.
    fn from_packed(form: Form, bytes: Vec<u8>) -> Self;
    /// Whether bytes that came from elsewhere are a value of this form, so that they may be trusted.
    fn check(form: Form, bytes: &[u8]) -> bool;
    /// Gives back what the buffer of a packed value has to spare.
    fn shrink(&mut self);
    /// Its borrowed form.
    fn reference(&self) -> Self::Ref<'_>;
    /// The borrowed form of packed bytes, which are trusted.
    fn packed_reference(form: Form, bytes: &[u8]) -> Self::Ref<'_>;
    /// The name that OBJECT ENCODING has for it.
    fn encoding(reference: Self::Ref<'_>) -> &'static str;
}

/// A type in its place among the others.
pub trait Typed: Collection {
    /// As a value.
    fn wrap(self) -> Value;
    /// The value, if it is of this type.
    fn of(value: &mut Value) -> Option<&mut Self>;
    /// The borrowed value, if it is of this type.
    fn of_ref(value: ValueRef<'_>) -> Option<Self::Ref<'_>>;
}

macro_rules! types {
    ($($(#[doc = $doc:literal])+ $name:ident: $owned:ty;)*) => {
        /// A value.
        #[derive(Clone, Debug)]
        pub enum Value {
            /// A string; shared with replies that are on their way, never changed while it is.
            Str(Bytes),
            $($(#[doc = $doc])+ $name($owned),)*
        }

        /// A value to be read.
        #[derive(Clone, Copy)]
        pub enum ValueRef<'a> {
            /// A string.
            Str(&'a [u8]),
            $($(#[doc = $doc])+ $name(<$owned as Collection>::Ref<'a>),)*
        }

        impl Value {
            /// To be read.
            #[inline]
            pub fn as_ref(&self) -> ValueRef<'_> {
                match self {
                    Self::Str(bytes) => ValueRef::Str(bytes),
                    $(Self::$name(value) => ValueRef::$name(value.reference()),)*
                }
            }

            /// Its type.
            #[inline]
            pub fn value_type(&self) -> ValueType {
                match self {
                    Self::Str(_) => ValueType::String,
                    $(Self::$name(_) => ValueType::$name,)*
                }
            }

            /// Bytes that the allocator holds for it beside the value itself. O(1).
            #[inline]
            pub fn heap_bytes(&self) -> usize {
                match self {
                    Self::Str(bytes) => size_class(bytes.len()),
                    $(Self::$name(value) => value.heap_bytes(),)*
                }
            }

            /// The packed bytes, if it is packed.
            #[inline]
            pub fn packed(&self) -> Option<(Form, &[u8])> {
                match self {
                    Self::Str(_) => None,
                    $(Self::$name(value) => value.packed(),)*
                }
            }

            /// The buffer of the packed bytes, if it is packed.
            #[inline]
            pub fn into_packed(self) -> Option<Vec<u8>> {
                match self {
                    Self::Str(_) => None,
                    $(Self::$name(value) => value.into_packed(),)*
                }
            }

            /// A packed value, whose bytes are trusted.
            #[inline]
            pub fn from_packed(form: Form, bytes: Vec<u8>) -> Self {
                match form.value_type() {
                    $(ValueType::$name => <$owned>::from_packed(form, bytes).wrap(),)*
                    _ => Self::Str(bytes.into()),
                }
            }

            /// A packed value of bytes that came from elsewhere; nothing if they are none.
            pub fn checked(form: Form, bytes: &[u8]) -> Option<Self> {
                let is_one = match form.value_type() {
                    $(ValueType::$name => <$owned>::check(form, bytes),)*
                    _ => false,
                };
                is_one.then(|| Self::from_packed(form, bytes.to_vec()))
            }

            /// The same with no more memory than it needs.
            pub fn without_slack(mut self) -> Self {
                match &mut self {
                    Self::Str(_) => {}
                    $(Self::$name(value) => value.shrink(),)*
                }
                self
            }
        }

        impl<'a> ValueRef<'a> {
            /// A packed value, whose bytes are trusted.
            #[inline]
            pub fn from_packed(form: Form, bytes: &'a [u8]) -> Self {
                match form.value_type() {
                    $(ValueType::$name => Self::$name(<$owned>::packed_reference(form, bytes)),)*
                    _ => Self::Str(bytes),
                }
            }

            /// Its type.
            #[inline]
            pub fn value_type(self) -> ValueType {
                match self {
                    Self::Str(_) => ValueType::String,
                    $(Self::$name(_) => ValueType::$name,)*
                }
            }

            /// The name that OBJECT ENCODING has for it; that of a string is for others to say.
            pub fn encoding(self) -> &'static str {
                match self {
                    Self::Str(_) => "raw",
                    $(Self::$name(value) => <$owned>::encoding(value),)*
                }
            }
        }

        $(impl Typed for $owned {
            #[inline]
            fn wrap(self) -> Value {
                Value::$name(self)
            }

            #[inline]
            fn of(value: &mut Value) -> Option<&mut Self> {
                match value {
                    Value::$name(value) => Some(value),
                    _ => None,
                }
            }

            #[inline]
            fn of_ref(value: ValueRef<'_>) -> Option<Self::Ref<'_>> {
                match value {
                    ValueRef::$name(value) => Some(value),
                    _ => None,
                }
            }
        })*
    };
}

types! {
    /// A list.
    List: list::List;
    /// A sorted set.
    SortedSet: sorted::SortedSet;
    /// A hash.
    Hash: hash::Hash;
    /// A stream.
    Stream: Box<stream::Stream>;
    /// A set.
    Set: set::Set;
}

impl Value {
    /// The value as it travels to another node where it is not packed: in RDB's format, with nothing lost.
    pub fn dump(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        rdb::encode(self.as_ref(), rdb::Dialect::Own, &mut bytes);
        bytes
    }

    /// The value that [`Value::dump`] has written so; nothing if the bytes are none.
    pub fn restore(bytes: &[u8]) -> Option<Self> {
        rdb::decode(bytes, &Thresholds::default()).ok()
    }
}
