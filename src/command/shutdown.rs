//! SHUTDOWN: orders the tasks above to stop the server.

use crate::command::context::Cx;
use crate::command::session::Closing;
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{ADMIN, ALLOW_BUSY, LOADING, NO_MULTI, NOSCRIPT, STALE};
use crate::command::spec::{Group, Spec};
use crate::hub::orders::Shutdown;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;

/// The family's rows.
pub const COMMANDS: &[Spec] = &[Spec::new("shutdown", shutdown)
    .arity(-1)
    .flags(ADMIN | NOSCRIPT | LOADING | STALE | NO_MULTI | ALLOW_BUSY)
    .group(Group::Server)
    .since("1.0.0")
    .complexity("O(N), N the number of connected clients.")
    .summary("Stops the server once clients have their replies, or at once.")
    .history(&[("7.0.0", "Added NOW, FORCE and ABORT.")])
    .args(&[
        Arg::one_of("save-selector", &[Arg::flag("nosave", "NOSAVE"), Arg::flag("save", "SAVE")]).optional(),
        Arg::flag("now", "NOW").optional().since("7.0.0"),
        Arg::flag("force", "FORCE").optional().since("7.0.0"),
        Arg::flag("abort", "ABORT").optional().since("7.0.0"),
    ])
    .reply(Shape::Ok)
    .finish()];

/// What a request asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    no_save: bool,
    save: bool,
    now: bool,
    force: bool,
    abort: bool,
}

fn parse(args: Args<'_>) -> Result<Options, Error> {
    let mut options = Options::default();
    for word in args.from(1).iter() {
        let option = match word.to_ascii_lowercase().as_slice() {
            b"nosave" => &mut options.no_save,
            b"save" => &mut options.save,
            b"now" => &mut options.now,
            b"force" => &mut options.force,
            b"abort" => &mut options.abort,
            _ => return Err(Error::Syntax),
        };
        *option = true;
    }
    let Options { no_save, save, now, force, abort } = options;
    if (save && no_save) || (abort && (save || no_save || now || force)) {
        return Err(Error::Syntax);
    }
    Ok(options)
}

fn shutdown(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let options = parse(args)?;
    if options.abort {
        if !cx.hub.orders.abort() {
            return Err(Error::err("No shutdown in progress."));
        }
        cx.reply.ok();
        return Ok(());
    }
    if options.save && !options.force {
        return Err(Error::err("there is nothing to save to: all data is in memory, use SHUTDOWN NOSAVE"));
    }
    cx.hub.orders.shut_down(if options.now { Shutdown::Immediate } else { Shutdown::Graceful });
    // As in Redis, success is told by closing the connection, not by a reply.
    cx.session.closing = Some(Closing::AfterReply);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Options, parse};
    use crate::resp::args::OwnedArgs;
    use crate::resp::error::Error;

    #[test]
    fn options_that_contradict_each_other_are_refused() {
        let parsed = |words: &[&str]| parse(OwnedArgs::from_slices(words).as_args());
        assert_eq!(
            parsed(&["shutdown", "NoSave", "now"]),
            Ok(Options { no_save: true, now: true, ..Options::default() })
        );
        for wrong in [&["shutdown", "save", "nosave"][..], &["shutdown", "abort", "now"], &["shutdown", "x"]]
        {
            assert_eq!(parsed(wrong), Err(Error::Syntax));
        }
    }
}
