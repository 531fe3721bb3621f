//! Values of all types in a database: reading them, editing them in place, replacing them, with accounting kept in step.
//!
//! A packed value of at most [`PACKED_INLINE_MAX`] bytes lives in its key's own entry, behind the key: it is copied into
//! a buffer to be edited and written back, which costs less than a pointer to follow and an allocation to pay for.
//! Larger ones, and whatever is no longer packed, are objects, edited where they are. An object never goes back into
//! its entry.
//!
//! An edit that leaves the value empty removes the key; one that says it changed nothing leaves no trace but an access.

use super::arena::{Full, Handle};
use super::db::{Db, Due, Found};
use super::entry::{self, Content, INLINE_KEY_MAX, Kind};
use super::key::Key;
use super::value::{Form, Typed, Value, ValueRef, ValueType};
use super::watch::State;

/// Longest packed value that lives in its key's entry: beyond it an object costs less than copying.
pub const PACKED_INLINE_MAX: usize = 1024;
/// Buffer that is kept for the next edit, at most.
const SCRATCH_MAX_BYTES: usize = 64 * 1024;

/// What an edit came to.
#[derive(Clone, Copy, Debug)]
pub struct Edited<R> {
    result: R,
    changed: bool,
    /// Nobody who watches the key is told.
    apart: bool,
}

impl<R> Edited<R> {
    /// The value was changed.
    pub fn yes(result: R) -> Self {
        Self { result, changed: true, apart: false }
    }

    /// It was not.
    pub fn no(result: R) -> Self {
        Self { result, changed: false, apart: false }
    }

    /// It was changed if `changed` says so.
    pub fn when(changed: bool, result: R) -> Self {
        Self { result, changed, apart: false }
    }

    /// What was changed is no part of what transactions watch: WATCH holds on. For values that are objects.
    pub fn unwatched(self) -> Self {
        Self { apart: true, ..self }
    }
}

/// What became of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is as it was.
    Untouched,
    /// It was changed.
    Changed,
    /// It was made.
    Created,
    /// It was removed, as nothing was left.
    Removed,
}

/// Why a value was not edited; nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EditError {
    /// It is of another type.
    WrongType,
    /// The store has no room for entries left.
    Full,
}

impl From<Full> for EditError {
    fn from(_: Full) -> Self {
        Self::Full
    }
}

impl Db {
    /// The type of an entry's value.
    #[inline]
    pub fn value_type(&self, found: Found) -> ValueType {
        self.type_at(found.handle)
    }

    #[inline]
    pub(super) fn type_at(&self, handle: Handle) -> ValueType {
        let slot = self.arena.slot(handle);
        match entry::kind(slot) {
            Kind::Inline => ValueType::String,
            Kind::Packed => packed(slot).0.value_type(),
            Kind::Object => {
                self.object_of(slot).map_or(ValueType::String, |object| object.value.value_type())
            }
        }
    }

    /// An entry's value.
    #[inline]
    pub fn value(&self, found: Found) -> ValueRef<'_> {
        let slot = self.arena.slot(found.handle);
        match entry::kind(slot) {
            Kind::Inline => ValueRef::Str(entry::payload(slot)),
            Kind::Packed => {
                let (form, bytes) = packed(slot);
                ValueRef::from_packed(form, bytes)
            }
            Kind::Object => self
                .objects
                .get(entry::object(slot))
                .map_or(ValueRef::Str(&[]), |object| object.value.as_ref()),
        }
    }

    /// A copy of an entry's value, for another key.
    pub(super) fn duplicate(&self, found: Found) -> Value {
        let slot = self.arena.slot(found.handle);
        match entry::kind(slot) {
            Kind::Inline => Value::Str(bytes::Bytes::copy_from_slice(entry::payload(slot))),
            Kind::Packed => {
                let (form, bytes) = packed(slot);
                Value::from_packed(form, bytes.to_vec())
            }
            Kind::Object => self
                .objects
                .get(entry::object(slot))
                .map_or(Value::Str(bytes::Bytes::new()), |object| object.value.clone()),
        }
    }

    /// Whether an entry holds a string that lies in it.
    pub(super) fn is_inline(&self, found: Found) -> bool {
        entry::kind(self.arena.slot(found.handle)) == Kind::Inline
    }

    /// Takes the value out of an entry's object, which is to be removed next; nothing if it is in none.
    pub(super) fn take_value(&mut self, found: Found) -> Option<Value> {
        let slot = self.arena.slot(found.handle);
        if entry::kind(slot) != Kind::Object {
            return None;
        }
        let number = entry::object(slot);
        self.forget_fields(found.handle, self.fields_due(found.handle));
        let (value, before, after) = self.objects.edit(number, |object| {
            object.spare_bytes = 0;
            std::mem::replace(&mut object.value, Value::Str(bytes::Bytes::new()))
        })?;
        self.queues.resized(&self.arena, found.handle, before, after);
        Some(value)
    }

    /// Edits the value of type `T` under a key, or a new one where there is no entry; `found` is the key's present entry,
    /// from [`Db::find`] in this same call. The due time stays.
    pub fn edit_value<T: Typed, R>(
        &mut self,
        key: &Key<'_>,
        found: Option<Found>,
        now_ms: u64,
        edit: impl FnOnce(&mut T) -> Edited<R>,
    ) -> Result<(R, Fate), EditError> {
        let Some(found) = found else {
            let mut value = T::default();
            let edited = edit(&mut value);
            if !edited.changed || value.is_empty() {
                return Ok((edited.result, Fate::Untouched));
            }
            self.store_value(key, None, value.wrap(), None, now_ms)?;
            return Ok((edited.result, Fate::Created));
        };
        match entry::kind(self.arena.slot(found.handle)) {
            Kind::Inline => Err(EditError::WrongType),
            Kind::Packed => self.edit_packed(key, found, now_ms, edit),
            Kind::Object => self.edit_owned(key, found, now_ms, edit),
        }
    }

    fn edit_packed<T: Typed, R>(
        &mut self,
        key: &Key<'_>,
        found: Found,
        now_ms: u64,
        edit: impl FnOnce(&mut T) -> Edited<R>,
    ) -> Result<(R, Fate), EditError> {
        let slot = self.arena.slot(found.handle);
        let (form, bytes) = packed(slot);
        if form.value_type() != T::TYPE {
            return Err(EditError::WrongType);
        }
        let due_ms = entry::due_ms(slot);
        let mut buffer = std::mem::take(&mut self.scratch);
        buffer.clear();
        buffer.extend_from_slice(bytes);
        let mut value = T::from_packed(form, buffer);
        let edited = edit(&mut value);
        if !edited.changed {
            self.touch(found, now_ms);
            self.recycle(value.wrap());
            return Ok((edited.result, Fate::Untouched));
        }
        if value.is_empty() {
            self.remove(key.hashed, found);
            self.recycle(value.wrap());
            return Ok((edited.result, Fate::Removed));
        }
        self.store_value(key, Some(found), value.wrap(), due_ms, now_ms)?;
        Ok((edited.result, Fate::Changed))
    }

    /// Keeps a packed value's buffer for the next edit.
    fn recycle(&mut self, value: Value) {
        if let Some(buffer) = value.into_packed()
            && buffer.capacity() <= SCRATCH_MAX_BYTES
        {
            self.scratch = buffer;
        }
    }

    fn edit_owned<T: Typed, R>(
        &mut self,
        key: &Key<'_>,
        found: Found,
        now_ms: u64,
        edit: impl FnOnce(&mut T) -> Edited<R>,
    ) -> Result<(R, Fate), EditError> {
        let slot = self.arena.slot(found.handle);
        let (number, state) = (entry::object(slot), State::of(entry::due_ms(slot)));
        let has_fields = T::TYPE == ValueType::Hash;
        let fields_ms = if has_fields { self.fields_due(found.handle) } else { None };
        let edited = self.objects.edit(number, |object| {
            let value = T::of(&mut object.value)?;
            let edited = edit(value);
            Some((edited, value.is_empty()))
        });
        let (edited, before, after) = edited.ok_or(EditError::WrongType)?;
        let (edited, is_empty) = edited.ok_or(EditError::WrongType)?;
        if has_fields {
            self.reschedule_fields(found.handle, fields_ms, found.handle);
        }
        // Most edits find room in what is allocated: then there is nothing to publish when the lock is released, which
        // would cost as much as the edit of a list.
        if after != before {
            self.changed = true;
            self.queues.resized(&self.arena, found.handle, before, after);
        }
        if !edited.changed {
            self.touch(found, now_ms);
            return Ok((edited.result, Fate::Untouched));
        }
        if is_empty {
            self.remove(key.hashed, found);
            return Ok((edited.result, Fate::Removed));
        }
        self.touch(found, now_ms);
        if edited.apart {
            self.note_apart(key.hashed.slot, key.bytes, state, state);
        } else {
            self.note(key.hashed.slot, key.bytes, state, state);
        }
        Ok((edited.result, Fate::Changed))
    }

    /// Stores a value under a key, in the place of what is there.
    pub fn set_value(
        &mut self,
        key: &Key<'_>,
        found: Option<Found>,
        value: Value,
        due: Due,
        now_ms: u64,
    ) -> Result<(), Full> {
        let due_ms = self.due_after(found, due);
        self.store_value(key, found, value, due_ms, now_ms)
    }

    pub(super) fn store_value(
        &mut self,
        key: &Key<'_>,
        found: Option<Found>,
        value: Value,
        due_ms: Option<u64>,
        now_ms: u64,
    ) -> Result<(), Full> {
        let fits = key.bytes.len() <= INLINE_KEY_MAX
            && value.packed().is_some_and(|(_, bytes)| bytes.len() < PACKED_INLINE_MAX);
        let form = value.packed().map(|(form, _)| form);
        let (Some(form), true) = (form, fits) else {
            return self.set_object(key, found, value.without_slack(), due_ms, false, now_ms);
        };
        let mut payload = value.into_packed().unwrap_or_default();
        payload.push(form as u8);
        let content = Content { kind: Kind::Packed, key: key.bytes, due_ms, payload: &payload, raw: false };
        let result = self.put(key, found, content, now_ms);
        if payload.capacity() <= SCRATCH_MAX_BYTES {
            self.scratch = payload;
        }
        result
    }
}

/// The form and the bytes of an entry of [`Kind::Packed`]: the form's number stands last.
#[inline]
pub(super) fn packed(slot: &[u8]) -> (Form, &[u8]) {
    match entry::payload(slot).split_last() {
        Some((&form, bytes)) => (Form::of(form), bytes),
        // Not reached: a packed payload is never empty.
        None => (Form::List, &[]),
    }
}
