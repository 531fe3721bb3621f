//! The bytes of one entry: header, due time, key, value, in one slot of the [`super::arena`].
//!
//! ```text
//! 0      kind (2 bits) · form of the due time (2 bits) · raw encoding · optional fields · queue (2 bits)
//! 1      slack: unused bytes at the end (6 bits; 63 says that the slot's last two bytes hold the number) · frequency (2 bits)
//! 2      length of the key; the keys above 255 bytes live in the object
//! 3–4    access clock: seconds, wrapping after 18 hours; for OBJECT IDLETIME alone
//! 5      stamp: the group of the queue in which the entry stands
//! 6–     due time: none, 4, 5 or 8 bytes; then key; then value or object number
//! ```
//! The bit for optional fields is unused as yet: stale window, write stamp, tags, version and rule id will stand
//! between due time and key, so that an entry without them pays nothing for them.

use std::sync::OnceLock;

use super::arena::SLOT_BYTES_MAX;

/// Bytes before the due time.
pub const HEADER_BYTES: usize = 6;
/// Longest key that is stored in the entry itself.
pub const INLINE_KEY_MAX: usize = 255;
/// Highest frequency that is counted.
pub const FREQUENCY_MAX: u8 = 3;

const KIND_MASK: u8 = 0b11;
const RAW: u8 = 1 << 4;
const QUEUE_SHIFT: u8 = 6;
const SLACK_MASK: u8 = 0b11_1111;
const FREQUENCY_SHIFT: u8 = 6;

/// 2026-01-01T00:00:00Z in Unix ms.
const DUE_EPOCH_MS: u64 = 1_767_225_600_000;

const _: () = assert!(super::arena::class_bytes(super::arena::CLASS_COUNT - 1) == SLOT_BYTES_MAX);
const _: () = assert!(SLOT_BYTES_MAX <= u16::MAX as usize);

/// What the bytes after the key are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The string itself.
    Inline = 1,
    /// The number of an object (4 bytes).
    Object = 2,
    /// A packed value of another type, and its form's number behind it.
    Packed = 3,
}

/// The queue an entry stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Queue {
    /// None: the policy does not evict it.
    None = 0,
    /// The small queue, where new entries prove themselves.
    Small = 1,
    /// The main queue.
    Main = 2,
}

/// The forms of a due time, by their flags: the nearest by far costs least.
const FORM_MASK: u8 = 0b11 << 2;
/// 4 bytes, ms since the origin that [`set_due_origin`] chose: 49 days from there.
const FORM_NEAR: u8 = 1 << 2;
/// 5 bytes, ms since 2026: until 2060.
const FORM_FAR: u8 = 1 << 3;
/// 8 bytes, Unix ms.
const FORM_WIDE: u8 = FORM_MASK;

static DUE_ORIGIN_MS: OnceLock<u64> = OnceLock::new();

/// Chooses the origin of near due times, once for the process: when it started. Entries that are due more than 49 days
/// after that take a byte more.
pub fn set_due_origin(now_ms: u64) {
    // Entries may stand already: whoever comes second keeps to what the first has chosen.
    let _ = DUE_ORIGIN_MS.set(now_ms);
}

#[inline]
fn due_origin_ms() -> u64 {
    DUE_ORIGIN_MS.get().copied().unwrap_or(DUE_EPOCH_MS)
}

/// Bytes of a due time.
#[inline]
fn due_bytes(flags: u8) -> usize {
    match flags & FORM_MASK {
        0 => 0,
        FORM_NEAR => 4,
        FORM_FAR => 5,
        _ => 8,
    }
}

/// The form of a due time, and the number that is stored of it.
fn due_form(due_ms: Option<u64>) -> (u8, u64) {
    let Some(due_ms) = due_ms else { return (0, 0) };
    let near = due_ms.wrapping_sub(due_origin_ms());
    let far = due_ms.wrapping_sub(DUE_EPOCH_MS);
    if near < 1 << 32 {
        (FORM_NEAR, near)
    } else if far < 1 << 40 {
        (FORM_FAR, far)
    } else {
        (FORM_WIDE, due_ms)
    }
}

/// Bytes that an entry needs.
pub fn entry_bytes(key_bytes: usize, due_ms: Option<u64>, payload_bytes: usize) -> usize {
    HEADER_BYTES + due_bytes(due_form(due_ms).0) + key_bytes + payload_bytes
}

/// What `write` puts into a slot.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// What `payload` is.
    pub kind: Kind,
    /// The key; empty if the object holds it.
    pub key: &'a [u8],
    /// When the entry is due, in Unix ms.
    pub due_ms: Option<u64>,
    /// The bytes after the key.
    pub payload: &'a [u8],
    /// The string was edited in place, and its encoding is "raw" whatever it holds.
    pub raw: bool,
}

/// Writes everything but queue, frequency, access clock and stamp, which stay as they are.
pub fn write(slot: &mut [u8], content: Content<'_>) {
    let (due_flags, stored) = due_form(content.due_ms);
    let due_bytes = due_bytes(due_flags);
    let key_at = HEADER_BYTES + due_bytes;
    let payload_at = key_at + content.key.len();
    let end = payload_at + content.payload.len();
    let raw = if content.raw { RAW } else { 0 };
    slot[0] = (slot[0] & (0b11 << QUEUE_SHIFT)) | content.kind as u8 | due_flags | raw;
    set_length(slot, end);
    slot[2] = content.key.len() as u8;
    slot[HEADER_BYTES..key_at].copy_from_slice(&stored.to_le_bytes()[..due_bytes]);
    slot[key_at..payload_at].copy_from_slice(content.key);
    slot[payload_at..end].copy_from_slice(content.payload);
}

/// Clears queue and frequency of a slot that was just allocated.
pub fn reset(slot: &mut [u8], clock: u16) {
    slot[0] = 0;
    slot[1] = 0;
    slot[3..5].copy_from_slice(&clock.to_le_bytes());
}

/// Takes over queue, frequency, access clock and stamp from another entry's slot.
pub fn adopt(slot: &mut [u8], from: &[u8; HEADER_BYTES]) {
    slot[0] = from[0] & (0b11 << QUEUE_SHIFT);
    slot[1] = from[1] & !SLACK_MASK;
    slot[3..HEADER_BYTES].copy_from_slice(&from[3..HEADER_BYTES]);
}

/// The header's bytes.
pub fn header(slot: &[u8]) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header.copy_from_slice(&slot[..HEADER_BYTES]);
    header
}

/// What the payload is.
#[inline]
pub fn kind(slot: &[u8]) -> Kind {
    match slot[0] & KIND_MASK {
        1 => Kind::Inline,
        2 => Kind::Object,
        _ => Kind::Packed,
    }
}

/// The key as far as the entry holds it; empty means that the object holds it (or that the key is empty).
#[inline]
pub fn key(slot: &[u8]) -> &[u8] {
    let at = HEADER_BYTES + due_bytes(slot[0]);
    &slot[at..at + slot[2] as usize]
}

/// The bytes after the key.
#[inline]
pub fn payload(slot: &[u8]) -> &[u8] {
    let at = HEADER_BYTES + due_bytes(slot[0]) + slot[2] as usize;
    &slot[at..length(slot)]
}

/// Bytes of the slot that the entry uses.
#[inline]
pub fn length(slot: &[u8]) -> usize {
    let slack = slot[1] & SLACK_MASK;
    if slack < SLACK_MASK {
        return slot.len() - slack as usize;
    }
    let at = slot.len() - size_of::<u16>();
    slot.len() - u16::from_le_bytes([slot[at], slot[at + 1]]) as usize
}

/// Says how many bytes of the slot the entry uses.
pub fn set_length(slot: &mut [u8], bytes: usize) {
    let slack = slot.len() - bytes;
    slot[1] = (slot[1] & !SLACK_MASK) | slack.min(SLACK_MASK as usize) as u8;
    if slack >= SLACK_MASK as usize {
        let at = slot.len() - size_of::<u16>();
        slot[at..].copy_from_slice(&(slack as u16).to_le_bytes());
    }
}

/// The bytes after the key, to be changed without changing their number.
#[inline]
pub fn payload_mut(slot: &mut [u8]) -> &mut [u8] {
    let at = HEADER_BYTES + due_bytes(slot[0]) + slot[2] as usize;
    let end = length(slot);
    &mut slot[at..end]
}

/// The object's number, of an entry of [`Kind::Object`].
#[inline]
pub fn object(slot: &[u8]) -> u32 {
    let at = HEADER_BYTES + due_bytes(slot[0]) + slot[2] as usize;
    let payload = &slot[at..at + size_of::<u32>()];
    u32::from_le_bytes([payload[0], payload[1], payload[2], payload[3]])
}

/// When the entry is due, in Unix ms.
#[inline]
pub fn due_ms(slot: &[u8]) -> Option<u64> {
    let form = slot[0] & FORM_MASK;
    if form == 0 {
        return None;
    }
    let mut stored = [0; 8];
    let bytes = due_bytes(form);
    stored[..bytes].copy_from_slice(&slot[HEADER_BYTES..HEADER_BYTES + bytes]);
    let stored = u64::from_le_bytes(stored);
    Some(match form {
        FORM_NEAR => stored + due_origin_ms(),
        FORM_FAR => stored + DUE_EPOCH_MS,
        _ => stored,
    })
}

/// Says that the string was edited in place.
pub fn set_raw(slot: &mut [u8]) {
    slot[0] |= RAW;
}

/// Whether the string was edited in place.
pub fn is_raw(slot: &[u8]) -> bool {
    slot[0] & RAW != 0
}

/// The queue the entry stands in.
#[inline]
pub fn queue(slot: &[u8]) -> Queue {
    match slot[0] >> QUEUE_SHIFT {
        1 => Queue::Small,
        2 => Queue::Main,
        _ => Queue::None,
    }
}

/// Says which queue the entry stands in.
#[inline]
pub fn set_queue(slot: &mut [u8], queue: Queue) {
    slot[0] = (slot[0] & !(0b11 << QUEUE_SHIFT)) | ((queue as u8) << QUEUE_SHIFT);
}

/// How often the entry was hit since it was last weighed, up to [`FREQUENCY_MAX`].
#[inline]
pub fn frequency(slot: &[u8]) -> u8 {
    slot[1] >> FREQUENCY_SHIFT
}

/// Sets the frequency.
#[inline]
pub fn set_frequency(slot: &mut [u8], frequency: u8) {
    slot[1] = (slot[1] & SLACK_MASK) | (frequency << FREQUENCY_SHIFT);
}

/// Notes an access: frequency up by one, access clock set.
#[inline]
pub fn touch(slot: &mut [u8], clock: u16) {
    if frequency(slot) < FREQUENCY_MAX {
        slot[1] += 1 << FREQUENCY_SHIFT;
    }
    slot[3..5].copy_from_slice(&clock.to_le_bytes());
}

/// Says when the entry was last used.
pub fn set_access_clock(slot: &mut [u8], clock: u16) {
    slot[3..5].copy_from_slice(&clock.to_le_bytes());
}

/// The access clock.
pub fn access_clock(slot: &[u8]) -> u16 {
    u16::from_le_bytes([slot[3], slot[4]])
}

/// The group of its queue in which the entry stands; means nothing for one in no queue.
#[inline]
pub fn stamp(slot: &[u8]) -> u8 {
    slot[5]
}

/// Says in which group of its queue the entry stands.
#[inline]
pub fn set_stamp(slot: &mut [u8], stamp: u8) {
    slot[5] = stamp;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for due in [
            None,
            Some(5),
            Some(DUE_EPOCH_MS),
            Some(DUE_EPOCH_MS + (1 << 32)),
            Some(DUE_EPOCH_MS + (1 << 40)),
            Some(1_800_000_000_123),
        ] {
            for slack in [0, 1, 62, 63, 64, 1000] {
                let mut slot = vec![0xAA; entry_bytes(3, due, 5) + slack];
                reset(&mut slot, 77);
                set_queue(&mut slot, Queue::Main);
                set_frequency(&mut slot, 2);
                set_stamp(&mut slot, 200);
                write(
                    &mut slot,
                    Content { kind: Kind::Inline, key: b"abc", due_ms: due, payload: b"12345", raw: true },
                );
                assert_eq!((key(&slot), payload(&slot), due_ms(&slot)), (&b"abc"[..], &b"12345"[..], due));
                assert_eq!(
                    (kind(&slot), queue(&slot), frequency(&slot), is_raw(&slot)),
                    (Kind::Inline, Queue::Main, 2, true)
                );
                assert_eq!((stamp(&slot), access_clock(&slot)), (200, 77));
                touch(&mut slot, 78);
                touch(&mut slot, 79);
                assert_eq!((frequency(&slot), access_clock(&slot), payload(&slot)), (3, 79, &b"12345"[..]));
                assert_eq!(length(&slot), slot.len() - slack);
            }
        }
    }
}
