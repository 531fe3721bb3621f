//! What a script or function says of itself.

/// Flags of a script or function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    /// It changes no data, and may be run where that is asked for.
    pub const NO_WRITES: Self = Self(1);
    /// It may be run, and may write, when memory is short.
    pub const ALLOW_OOM: Self = Self(1 << 1);
    /// It may be run where data may be stale; nothing here is.
    pub const ALLOW_STALE: Self = Self(1 << 2);
    /// It may not be run in a cluster.
    pub const NO_CLUSTER: Self = Self(1 << 3);
    /// It may use keys of several slots.
    pub const ALLOW_CROSS_SLOT_KEYS: Self = Self(1 << 4);

    const NAMES: [(Self, &'static str); 5] = [
        (Self::NO_WRITES, "no-writes"),
        (Self::ALLOW_OOM, "allow-oom"),
        (Self::ALLOW_STALE, "allow-stale"),
        (Self::NO_CLUSTER, "no-cluster"),
        (Self::ALLOW_CROSS_SLOT_KEYS, "allow-cross-slot-keys"),
    ];

    /// The flag of this name, in any case.
    pub fn named(name: &[u8]) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(_, known)| name.eq_ignore_ascii_case(known.as_bytes()))
            .map(|(flag, _)| *flag)
    }

    /// Sets what `other` has set.
    pub fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Whether all that `other` has set is set.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The names of what is set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(flag, _)| self.has(*flag)).map(|(_, name)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::Flags;

    #[test]
    fn flags_have_names() {
        let mut flags = Flags::named(b"Allow-OOM").unwrap();
        flags.add(Flags::NO_WRITES);
        assert!(flags.has(Flags::ALLOW_OOM) && !flags.has(Flags::NO_CLUSTER));
        assert_eq!(flags.names().collect::<Vec<_>>(), ["no-writes", "allow-oom"]);
        assert_eq!(Flags::named(b"allow"), None);
    }
}
