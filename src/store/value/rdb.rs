//! Values in the format of Redis's RDB: a type byte and a body. DUMP and RESTORE use it, and values that travel between
//! nodes.
//!
//! ```text
//! write    the forms that Redis 7.0 loads, or those of our own nodes       read    every form that Redis ever wrote
//! parts    large collections, part by part                                 stream_parts  streams in this way
//! lzf      compressed strings     ziplist  the packed forms before listpacks     streams  streams and their groups
//! ```
//! Bytes to be read may come from anybody: every length and every packed form is checked, nothing panics, no length
//! allocates before its bytes are there, and what compressed strings unfold to is bounded ([`INFLATED_MAX_BYTES`]).

mod lzf;
mod parts;
mod read;
mod stream_parts;
mod streams;
mod write;
mod ziplist;

pub use parts::{Start, encode_part, has_parts, join};
pub use read::{INFLATED_MAX_BYTES, Malformed, decode, take_text};
pub use write::{encode, text as put_text};

/// Which readers must understand what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Redis 7.0 and later; a hash whose fields are due at some time takes Redis 7.4.
    Redis,
    /// This version and later ones: nothing is lost.
    Own,
}

/// The type byte of a body.
mod kind {
    /// One string.
    pub const STRING: u8 = 0;
    /// Number of elements, elements.
    pub const LIST: u8 = 1;
    /// Number of members, members.
    pub const SET: u8 = 2;
    /// Members and scores as text.
    pub const ZSET: u8 = 3;
    /// Fields and values.
    pub const HASH: u8 = 4;
    /// Members and binary scores.
    pub const ZSET_2: u8 = 5;
    /// A zipmap.
    pub const HASH_ZIPMAP: u8 = 9;
    /// A ziplist.
    pub const LIST_ZIPLIST: u8 = 10;
    /// An intset.
    pub const SET_INTSET: u8 = 11;
    /// A ziplist of members and scores.
    pub const ZSET_ZIPLIST: u8 = 12;
    /// A ziplist of fields and values.
    pub const HASH_ZIPLIST: u8 = 13;
    /// Ziplists.
    pub const LIST_QUICKLIST: u8 = 14;
    /// The first form of streams.
    pub const STREAM_LISTPACKS: u8 = 15;
    /// A listpack of fields and values.
    pub const HASH_LISTPACK: u8 = 16;
    /// A listpack of members and scores.
    pub const ZSET_LISTPACK: u8 = 17;
    /// Listpacks and single elements.
    pub const LIST_QUICKLIST_2: u8 = 18;
    /// Streams with more marks.
    pub const STREAM_LISTPACKS_2: u8 = 19;
    /// A listpack of members.
    pub const SET_LISTPACK: u8 = 20;
    /// Streams whose consumers have two times.
    pub const STREAM_LISTPACKS_3: u8 = 21;
    /// Fields and values with due times.
    pub const HASH_METADATA: u8 = 24;
    /// A listpack of fields, values and due times.
    pub const HASH_LISTPACK_EX: u8 = 25;
    /// Groups of a stream, or a part of them: among our own nodes alone, and no value by itself. Beyond the types of
    /// Redis and before the marks of its files.
    pub const STREAM_GROUPS: u8 = 200;
}

/// Marks of a length's first byte.
mod mark {
    /// Of the two highest bits: what the lower ones are.
    pub const KIND: u8 = 0b1100_0000;
    /// The lower bits are the length.
    pub const SIX_BITS: u8 = 0;
    /// They are the upper bits of one of fourteen.
    pub const FOURTEEN_BITS: u8 = 0b0100_0000;
    /// Four bytes follow, the highest first.
    pub const FOUR_BYTES: u8 = 0x80;
    /// Eight bytes follow, the highest first.
    pub const EIGHT_BYTES: u8 = 0x81;
    /// They say how a string is encoded.
    pub const ENCODED: u8 = 0b1100_0000;
}

/// Encodings of a string.
mod string {
    /// One byte.
    pub const INT8: u8 = 0;
    /// Two bytes.
    pub const INT16: u8 = 1;
    /// Four bytes.
    pub const INT32: u8 = 2;
    /// Compressed.
    pub const LZF: u8 = 3;
}

/// How an element of a list stands in its body.
mod container {
    /// Alone.
    pub const PLAIN: u64 = 1;
    /// In a listpack with others.
    pub const PACKED: u64 = 2;
}

/// The RDB version from which on the type of `body` is known to Redis; what DUMP writes behind it.
pub fn version_of(body: &[u8]) -> u16 {
    match body.first() {
        Some(&(kind::HASH_METADATA | kind::HASH_LISTPACK_EX)) => 12,
        Some(&(kind::SET_LISTPACK | kind::STREAM_LISTPACKS_3)) => 11,
        _ => 10,
    }
}

/// The latest RDB version that can be read.
pub const VERSION_MAX: u16 = 12;

#[cfg(test)]
mod tests;
