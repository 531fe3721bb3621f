//! Access-control categories. Most follow from a row's flags and group; a row names only what does not
//! (`Draft::categories`, `Draft::categories_exactly`).

/// A set of categories.
pub type Categories = u32;

macro_rules! categories {
    ($($bit:literal $constant:ident $name:literal $doc:literal;)*) => {
        $(#[doc = $doc] pub const $constant: Categories = 1 << $bit;)*
        /// Categories in the order in which COMMAND and ACL CAT print them, without the `@`.
        pub const NAMES: &[(Categories, &str)] = &[$(($constant, $name)),*];
    };
}

categories! {
    0 KEYSPACE "keyspace" "Keys, whatever their type.";
    1 READ "read" "Reads keys.";
    2 WRITE "write" "Writes keys.";
    3 SET "set" "Sets.";
    4 SORTEDSET "sortedset" "Sorted sets.";
    5 LIST "list" "Lists.";
    6 HASH "hash" "Hashes.";
    7 STRING "string" "Strings.";
    8 BITMAP "bitmap" "Bitmaps.";
    9 HYPERLOGLOG "hyperloglog" "HyperLogLogs.";
    10 GEO "geo" "Geospatial indexes.";
    11 STREAM "stream" "Streams.";
    12 PUBSUB "pubsub" "Publish and subscribe.";
    13 ADMIN "admin" "Administration.";
    14 FAST "fast" "Constant or logarithmic time.";
    15 SLOW "slow" "Everything that is not fast.";
    16 BLOCKING "blocking" "May make the client wait.";
    17 DANGEROUS "dangerous" "Harmful in the wrong hands.";
    18 CONNECTION "connection" "Concerns the connection.";
    19 TRANSACTION "transaction" "Transactions.";
    20 SCRIPTING "scripting" "Scripts.";
}

/// The category of this name, in any case and without the `@`.
pub fn by_name(name: &[u8]) -> Option<Categories> {
    let mut known = NAMES.iter();
    let found = known.find(|(_, known)| name.eq_ignore_ascii_case(known.as_bytes()))?;
    Some(found.0)
}
