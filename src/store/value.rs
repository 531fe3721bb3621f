//! The values of keys: collections, and when a small one turns into a big one.
//!
//! Small collections are *packed*: plain bytes that can live in the key's own entry; big ones are structures on the
//! heap. Values know neither protocol nor configuration nor time: limits, randomness and `now_ms` are handed in.

pub mod listpack;
pub mod table;
pub mod text;

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
