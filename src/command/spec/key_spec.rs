//! Key specs: rules that say which arguments of a request are keys. Data only; `keys` applies them.

/// Key flags: a set of bits that says what the command does with the keys of one key spec.
pub type KeyFlags = u16;

/// Reads the value, does not change it.
pub const RO: KeyFlags = 1 << 0;
/// Reads and changes the value.
pub const RW: KeyFlags = 1 << 1;
/// Overwrites the value without reading it.
pub const OW: KeyFlags = 1 << 2;
/// Removes the value.
pub const RM: KeyFlags = 1 << 3;
/// Returns, copies or uses the user's data in the value.
pub const ACCESS: KeyFlags = 1 << 4;
/// Changes data in the value.
pub const UPDATE: KeyFlags = 1 << 5;
/// Adds data and does not change what is there.
pub const INSERT: KeyFlags = 1 << 6;
/// Deletes data explicitly.
pub const DELETE: KeyFlags = 1 << 7;
/// Looks like a key to routing but is none (a channel of sharded publish, for example).
pub const NOT_KEY: KeyFlags = 1 << 8;
/// The spec may miss some keys of the request.
pub const INCOMPLETE: KeyFlags = 1 << 9;
/// Some arguments change the flags: see the row's key finder.
pub const VARIABLE_FLAGS: KeyFlags = 1 << 10;

/// Key flags in the order in which COMMAND prints them, with their printed names.
pub const KEY_FLAG_NAMES: &[(KeyFlags, &str)] = &[
    (RO, "RO"),
    (RW, "RW"),
    (OW, "OW"),
    (RM, "RM"),
    (ACCESS, "access"),
    (UPDATE, "update"),
    (INSERT, "insert"),
    (DELETE, "delete"),
    (NOT_KEY, "not_key"),
    (INCOMPLETE, "incomplete"),
    (VARIABLE_FLAGS, "variable_flags"),
];

/// Where a key spec starts to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeginSearch {
    /// At this position of the request (0 is the command's name).
    Index(i32),
    /// Behind this word (in any case), searched from `start_from`; negative: from the end, backwards.
    Keyword {
        /// The word, upper case.
        word: &'static str,
        /// Position to start from; negative counts from the end.
        start_from: i32,
    },
    /// Not describable; the row needs a key finder.
    Unknown,
}

/// Which arguments from there are keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindKeys {
    /// From the start to `last_key`, every `step`-th.
    Range {
        /// Offset of the last key from the start, or, if negative, its position from the end of the request.
        last_key: i32,
        /// Distance between keys.
        step: i32,
        /// With `last_key` -1: only the first 1/limit of the remaining arguments; 0 and 1 mean all.
        limit: i32,
    },
    /// A number of keys stands in the request.
    KeyNum {
        /// Offset of the number from the start.
        key_num_index: i32,
        /// Offset of the first key from the start.
        first_key: i32,
        /// Distance between keys.
        step: i32,
    },
    /// Not describable; the row needs a key finder.
    Unknown,
}

/// One rule that finds keys in a request: where to begin, which arguments to take, what is done with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// Where to begin.
    pub begin_search: BeginSearch,
    /// Which arguments to take from there.
    pub find_keys: FindKeys,
    /// What the command does with these keys.
    pub flags: KeyFlags,
    /// A remark for readers of COMMAND, empty if there is none.
    pub notes: &'static str,
}

impl KeySpec {
    /// Exactly one key, at `index`.
    pub const fn at(index: i32) -> Self {
        Self::range(index, 0, 1)
    }

    /// Keys from `index`, every `step`-th, to `last_key` (offset from `index`, or negative: from the end).
    pub const fn range(index: i32, last_key: i32, step: i32) -> Self {
        Self::new(BeginSearch::Index(index)).find_range(last_key, step, 0)
    }

    /// From `index`: the number of keys at offset `key_num_index`, the first key at offset `first_key`, and so on
    /// every `step`.
    pub const fn key_num(index: i32, key_num_index: i32, first_key: i32, step: i32) -> Self {
        Self::new(BeginSearch::Index(index)).find_key_num(key_num_index, first_key, step)
    }

    /// Keys behind `word`, searched from position `start_from`; finish with [`find_range`](Self::find_range) or
    /// [`find_key_num`](Self::find_key_num).
    pub const fn keyword(word: &'static str, start_from: i32) -> Self {
        Self::new(BeginSearch::Keyword { word, start_from })
    }

    /// Keys that no rule can find; the row needs a key finder.
    pub const fn unknown() -> Self {
        Self::new(BeginSearch::Unknown)
    }

    const fn new(begin_search: BeginSearch) -> Self {
        Self { begin_search, find_keys: FindKeys::Unknown, flags: 0, notes: "" }
    }

    /// Takes a range of arguments; see [`FindKeys::Range`].
    pub const fn find_range(mut self, last_key: i32, step: i32, limit: i32) -> Self {
        self.find_keys = FindKeys::Range { last_key, step, limit };
        self
    }

    /// Takes as many keys as the request says; see [`FindKeys::KeyNum`].
    pub const fn find_key_num(mut self, key_num_index: i32, first_key: i32, step: i32) -> Self {
        self.find_keys = FindKeys::KeyNum { key_num_index, first_key, step };
        self
    }

    /// Says what is done with the keys: one of `RO RW OW RM`, and what fits of the others.
    pub const fn flags(mut self, flags: KeyFlags) -> Self {
        self.flags = flags;
        self
    }

    /// Adds a remark.
    pub const fn notes(mut self, notes: &'static str) -> Self {
        self.notes = notes;
        self
    }

    /// Whether all these bits are set.
    pub const fn has(&self, flags: KeyFlags) -> bool {
        self.flags & flags == flags
    }
}
