//! Holds a reply against the shape that its command's row declares.
//!
//! The one place here that reads the crate under test: its table says what may be answered.

use larder::command::table;
use larder::resp::args::OwnedArgs;
use larder::resp::frame;
use larder::resp::reply::Proto;

/// Panics when `raw`, the reply to `command`, has not the shape of the command's row. Errors and `QUEUED` have every
/// shape, and so has the reply to what is no command.
#[track_caller]
pub fn hold<A: AsRef<[u8]>>(command: &[A], raw: &[u8], resp3: bool) {
    if raw == b"+QUEUED\r\n" || command.is_empty() {
        return;
    }
    let arguments = OwnedArgs::from_slices(command);
    let Ok(entry) = table::resolve(arguments.as_args()) else {
        return;
    };
    let proto = if resp3 { Proto::Resp3 } else { Proto::Resp2 };
    let (frame, _) = match frame::decode(raw) {
        Ok(Some(decoded)) => decoded,
        other => panic!("{}: not a reply: {other:?}", entry.full_name),
    };
    let Some(shape) = entry.spec.reply else {
        panic!("{} answers, and its row declares no reply", entry.full_name);
    };
    if let Err(why) = shape.check(&frame, proto) {
        panic!("{}: reply unlike its row: {why}", entry.full_name);
    }
}
