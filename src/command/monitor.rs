//! MONITOR: a line for every command that the server runs, to every client that asked for it.
//!
//! Costs nothing while nobody asks (one atomic load a command, in `execute`). Passwords are blanked.

use std::fmt::Write;

use bytes::Bytes;

use crate::command::context::Cx;
use crate::command::secret::{REDACTED, is_secret};
use crate::command::session::Session;
use crate::command::spec::flags::{ADMIN, LOADING, NO_MULTI, NOSCRIPT, STALE};
use crate::command::spec::{Group, Spec};
use crate::hub::Hub;
use crate::hub::clients::OutputLimit;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;

/// The family's rows.
pub const COMMANDS: &[Spec] = &[Spec::new("monitor", monitor)
    .arity(1)
    .flags(ADMIN | NOSCRIPT | LOADING | STALE | NO_MULTI)
    .group(Group::Server)
    .since("1.0.0")
    .complexity("O(1), and then a line for every command that the server runs.")
    .summary("Streams every command that the server runs to this connection.")
    .reply(Shape::Ok)
    .finish()];

fn monitor(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    cx.hub.clients.set_monitor(&cx.session.client, true);
    cx.reply.ok();
    Ok(())
}

/// Sends a command to all monitors.
#[cold]
pub fn feed(hub: &Hub, session: &Session, args: Args<'_>, limit: OutputLimit, now_us: u64) {
    let client = &session.client;
    let peer = if session.in_script || client.peer.is_empty() { "lua" } else { client.peer.as_str() };
    let mut line = format!("+{}.{:06} [{} {peer}]", now_us / 1_000_000, now_us % 1_000_000, session.db);
    for (at, arg) in args.iter().enumerate() {
        line.push(' ');
        if is_secret(args, at) {
            quote(&mut line, REDACTED.as_bytes());
        } else {
            quote(&mut line, arg);
        }
    }
    line.push_str("\r\n");
    hub.clients.feed_monitors(&Bytes::from(line), limit, now_us / 1000);
}

/// Appends an argument between double quotes, with everything unprintable escaped as redis-cli does.
fn quote(line: &mut String, arg: &[u8]) {
    line.push('"');
    for &byte in arg {
        match byte {
            b'"' | b'\\' => {
                line.push('\\');
                line.push(byte as char);
            }
            b'\n' => line.push_str("\\n"),
            b'\r' => line.push_str("\\r"),
            b'\t' => line.push_str("\\t"),
            7 => line.push_str("\\a"),
            8 => line.push_str("\\b"),
            b' '..=b'~' => line.push(byte as char),
            // Writing to a string cannot fail.
            _ => drop(write!(line, "\\x{byte:02x}")),
        }
    }
    line.push('"');
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn arguments_are_escaped() {
        let mut line = String::new();
        quote(&mut line, b"a\"\\\n\x01\xff");
        assert_eq!(line, "\"a\\\"\\\\\\n\\x01\\xff\"");
    }
}
