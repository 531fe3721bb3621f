//! ACL, as far as it is true of a server with one user: `default`, who may do everything, with the password of
//! `requirepass` or without. Rules cannot be changed; subcommands that would do so do not exist.
//!
//! The password's hash is never shown.

use crate::command::context::Cx;
use crate::command::docs::help_row;
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{ADMIN, Flags, LOADING, NOSCRIPT, STALE};
use crate::command::spec::{Group, Spec, category};
use crate::command::table;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;

/// The only user.
const USER: &str = "default";
/// Stands where Redis shows the password's hash.
const HIDDEN_HASH: &str = "(hidden)";
const FLAGS: Flags = ADMIN | NOSCRIPT | LOADING | STALE;

/// The family's rows.
pub const COMMANDS: &[Spec] = &[Spec::container("acl", SUBCOMMANDS)
    .group(Group::Server)
    .since("6.0.0")
    .complexity("Depends on the subcommand.")
    .summary("Looks at users and what they may do.")
    .finish()];

const SUBCOMMANDS: &[Spec] = &[
    Spec::new("whoami", whoami)
        .arity(2)
        .flags(NOSCRIPT | LOADING | STALE)
        .group(Group::Server)
        .since("6.0.0")
        .complexity("O(1).")
        .summary("Tells the user of this connection.")
        .reply(Shape::Bulk)
        .finish(),
    Spec::new("cat", cat)
        .arity(-2)
        .flags(NOSCRIPT | LOADING | STALE)
        .group(Group::Server)
        .since("6.0.0")
        .complexity("O(N), N the number of categories or commands.")
        .summary("Lists the categories of commands, or the commands of one of them.")
        .args(&[Arg::string("categoryname").display("category").optional()])
        .reply(Shape::Array(&Shape::Bulk))
        .finish(),
    Spec::new("users", users)
        .arity(2)
        .flags(FLAGS)
        .group(Group::Server)
        .since("6.0.0")
        .complexity("O(1).")
        .summary("Lists the users: there is one.")
        .reply(Shape::Array(&Shape::Bulk))
        .finish(),
    Spec::new("list", list)
        .arity(2)
        .flags(FLAGS)
        .group(Group::Server)
        .since("6.0.0")
        .complexity("O(1).")
        .summary("Lists the users with their rules.")
        .reply(Shape::Array(&Shape::Bulk))
        .finish(),
    Spec::new("getuser", getuser)
        .arity(3)
        .flags(FLAGS)
        .group(Group::Server)
        .since("6.0.0")
        .complexity("O(1).")
        .summary("Describes a user: flags, passwords (hidden), commands, keys, channels.")
        .history(&[("6.2.0", "Added channels."), ("7.0.0", "Added selectors; patterns are given as rules.")])
        .args(&[Arg::string("username")])
        .reply(Shape::OneOf(&[Shape::Map(&Shape::Bulk, &Shape::Any), Shape::Null]))
        .finish(),
    help_row("6.0.0", Group::Server, 0),
];

fn whoami(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    let user = cx.session.client.labels().user;
    cx.reply.bulk_str(&user);
    Ok(())
}

fn cat(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let Some(name) = args.get(2) else {
        cx.reply.array(category::NAMES.len());
        category::NAMES.iter().for_each(|(_, name)| cx.reply.bulk_str(name));
        return Ok(());
    };
    if args.len() > 3 {
        return Err(Error::bad_subcommand("acl", &args[1]));
    }
    let Some(wanted) = category::by_name(name) else {
        return Err(Error::err(format_args!("Unknown category '{}'", String::from_utf8_lossy(name))));
    };
    let mark = cx.reply.deferred_array();
    let mut count = 0;
    for entry in table::entries().iter().filter(|entry| entry.spec.categories & wanted != 0) {
        cx.reply.bulk_str(&entry.full_name);
        count += 1;
    }
    cx.reply.close_array(mark, count);
    Ok(())
}

fn users(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    cx.reply.array(1);
    cx.reply.bulk_str(USER);
    Ok(())
}

fn has_password(cx: &mut Cx<'_>) -> bool {
    !cx.worker.config().requirepass.expose().is_empty()
}

fn list(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    let password = if has_password(cx) { format!("#{HIDDEN_HASH}") } else { "nopass".to_owned() };
    cx.reply.array(1);
    cx.reply.bulk_str(&format!("user {USER} on {password} ~* &* +@all"));
    Ok(())
}

fn getuser(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    if args[2] != *USER.as_bytes() {
        cx.reply.null();
        return Ok(());
    }
    let has_password = has_password(cx);
    let reply = &mut *cx.reply;
    reply.map(6);
    reply.bulk_str("flags");
    let flags: &[&str] = if has_password { &["on"] } else { &["on", "nopass"] };
    reply.set(flags.len());
    flags.iter().for_each(|flag| reply.bulk_str(flag));
    reply.bulk_str("passwords");
    let passwords: &[&str] = if has_password { &[HIDDEN_HASH] } else { &[] };
    reply.array(passwords.len());
    passwords.iter().for_each(|hash| reply.bulk_str(hash));
    for (name, rule) in [("commands", "+@all"), ("keys", "~*"), ("channels", "&*")] {
        reply.bulk_str(name);
        reply.bulk_str(rule);
    }
    reply.bulk_str("selectors");
    reply.array(0);
    Ok(())
}
