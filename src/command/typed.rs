//! Values of all types as handlers see them: read, edited, replaced and removed under their keys, with `WRONGTYPE` where
//! a key holds another type; and what happened to keys.
//!
//! A handler that needs several values at once looks its keys up first ([`Data::read`]), which may remove what is due,
//! and then borrows the values together ([`Data::view`]).

use crate::command::context::{Cx, Data};
use crate::config::Config;
use crate::hub::events::{self, Change, Class};
use crate::resp::error::Error;
use crate::store::db::Due;
use crate::store::key::Key;
use crate::store::typed::{EditError, Edited, Fate};
use crate::store::value::{Thresholds, Typed, Value};

/// Whether an edit makes a key that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Create {
    /// It does.
    Yes,
    /// It does nothing then.
    No,
}

impl From<EditError> for Error {
    fn from(error: EditError) -> Self {
        match error {
            EditError::WrongType => Self::WrongType,
            EditError::Full => Self::OutOfMemory,
        }
    }
}

impl Cx<'_> {
    /// Edits the value under a key, an empty one where there is none and `create` says so; what is left empty goes. Gives
    /// what `edit` made of it and what became of the key; nothing if there was no key.
    ///
    /// # Errors
    /// `WRONGTYPE`; `OOM` where the store has no room left for entries. Nothing is changed then.
    #[inline]
    pub fn edit<T: Typed, R>(
        &mut self,
        key: &Key<'_>,
        create: Create,
        edit: impl FnOnce(&mut T, &Thresholds) -> Edited<R>,
    ) -> Result<Option<(R, Fate)>, Error> {
        let thresholds = self.thresholds();
        self.data.edit(key, create, |value| edit(value, &thresholds))
    }

    /// The bounds of packed forms, as configured.
    pub fn thresholds(&mut self) -> Thresholds {
        thresholds(self.worker.config())
    }
}

impl Data<'_> {
    /// As [`Cx::edit`], for an edit that writes what it takes out into the reply, or that needs no thresholds.
    ///
    /// # Errors
    /// As [`Cx::edit`]; whatever was written must be taken back then.
    #[inline]
    pub fn edit<T: Typed, R>(
        &mut self,
        key: &Key<'_>,
        create: Create,
        edit: impl FnOnce(&mut T) -> Edited<R>,
    ) -> Result<Option<(R, Fate)>, Error> {
        let (now_ms, keeps_due) = (self.now_ms(), self.keeps_due);
        let db = self.db(key);
        let found = if keeps_due { db.find_keeping(key, now_ms) } else { db.find(key, now_ms) };
        if found.is_none() && create == Create::No {
            return Ok(None);
        }
        Ok(Some(db.edit_value(key, found, now_ms, edit)?))
    }

    /// The key's value, for reading it: counts as hit or miss, and as an access.
    ///
    /// # Errors
    /// `WRONGTYPE`
    #[inline]
    pub fn read_value<T: Typed>(&mut self, key: &Key<'_>) -> Result<Option<T::Ref<'_>>, Error> {
        let Some(found) = self.read(key) else { return Ok(None) };
        T::of_ref(self.db(key).value(found)).map(Some).ok_or(Error::WrongType)
    }

    /// The key's value unless it is due; counts as nothing. To be asked for after [`Data::read`] or [`Data::find`].
    ///
    /// # Errors
    /// `WRONGTYPE`
    pub fn view<T: Typed>(&self, key: &Key<'_>) -> Result<Option<T::Ref<'_>>, Error> {
        let Some(db) = self.db_if_any(key) else { return Ok(None) };
        let Some(found) = db.find_keeping(key, self.now_ms()) else { return Ok(None) };
        T::of_ref(db.value(found)).map(Some).ok_or(Error::WrongType)
    }

    /// Puts a value under a key, in the place of whatever is there, without a due time.
    ///
    /// # Errors
    /// `OOM` where the store has no room left for entries.
    pub fn store_value(&mut self, key: &Key<'_>, value: Value) -> Result<(), Error> {
        let (found, now_ms) = (self.find(key), self.now_ms());
        self.db(key).set_value(key, found, value, Due::Never, now_ms).map_err(|_| Error::OutOfMemory)
    }

    /// Removes a key; says whether it was there.
    pub fn remove_key(&mut self, key: &Key<'_>) -> bool {
        let Some(found) = self.find(key) else { return false };
        self.db(key).remove(key.hashed, found);
        true
    }

    /// Says what happened to a key of the session's database.
    #[inline]
    pub fn event(&mut self, class: Class, event: &'static str, key: &[u8]) {
        self.event_in(self.db, class, event, key);
    }

    /// Says what happened to a key of another database.
    #[inline]
    pub fn event_in(&mut self, db: usize, class: Class, event: &'static str, key: &[u8]) {
        if self.wanted & class as u32 != 0 {
            self.changes.push(Change { class, event, db, key: key.into() });
        }
    }

    /// Everything that happened to keys, what the store did first; nothing where nobody listens.
    pub(super) fn take_changes(&mut self) -> Vec<Change> {
        if self.wanted & events::FROM_STORE == 0 {
            return std::mem::take(&mut self.changes);
        }
        let mut told = Vec::new();
        self.each_locked(|_, shard| told.extend(shard.take_told()));
        let mut all: Vec<Change> =
            told.into_iter().map(Change::from).filter(|change| self.wants(change)).collect();
        all.append(&mut self.changes);
        all
    }

    fn wants(&self, change: &Change) -> bool {
        self.wanted & change.class as u32 != 0
    }
}

fn thresholds(config: &Config) -> Thresholds {
    let length = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    Thresholds {
        hash_max_listpack_entries: length(config.hash_max_listpack_entries),
        hash_max_listpack_value: length(config.hash_max_listpack_value),
        list_max_listpack_size: config.list_max_listpack_size,
        list_compress_depth: 0,
        set_max_intset_entries: length(config.set_max_intset_entries),
        set_max_listpack_entries: length(config.set_max_listpack_entries),
        set_max_listpack_value: length(config.set_max_listpack_value),
        zset_max_listpack_entries: length(config.zset_max_listpack_entries),
        zset_max_listpack_value: length(config.zset_max_listpack_value),
        stream_node_max_bytes: length(config.stream_node_max_bytes),
        stream_node_max_entries: length(config.stream_node_max_entries),
        hll_sparse_max_bytes: length(config.hll_sparse_max_bytes),
    }
}
