//! The COMMAND family, and HELP for every family: prints the rows of the table in Redis's reply shapes.
//!
//! Clients read these replies to find keys (redis-py, go-redis) and redis-cli asserts their types, so shapes are
//! exact: ten elements a command, names and map keys as bulk strings, flags and categories as simple strings.

use crate::base::glob;
use crate::command::context::Cx;
use crate::command::keys;
use crate::command::spec::arg::Arg;
use crate::command::spec::category::{self, Categories};
use crate::command::spec::flags::{FLAG_NAMES, LOADING, NO_MANDATORY_KEYS, STALE};
use crate::command::spec::key_spec::{BeginSearch, FindKeys, KEY_FLAG_NAMES, KeyFlags, KeySpec};
use crate::command::spec::{Group, Spec};
use crate::command::table::{self, Entry};
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::reply::Reply;
use crate::resp::shape::Shape;

/// The COMMAND family.
pub const COMMANDS: &[Spec] = &[Spec::new("command", info_all)
    .subcommands(SUBCOMMANDS)
    .arity(-1)
    .flags(LOADING | STALE)
    .categories_exactly(category::CONNECTION)
    .tips(&["nondeterministic_output_order"])
    .group(Group::Server)
    .since("2.8.13")
    .complexity("O(N), N the number of commands.")
    .summary("Describes every command: arity, flags, keys, categories, subcommands.")
    .reply(Shape::Array(&DESCRIPTION))
    .finish()];

const SUBCOMMANDS: &[Spec] = &[
    Spec::new("count", count)
        .arity(2)
        .flags(LOADING | STALE)
        .categories_exactly(category::CONNECTION)
        .group(Group::Server)
        .since("2.8.13")
        .complexity("O(1).")
        .summary("Counts the commands, without subcommands.")
        .reply(Shape::Integer)
        .finish(),
    Spec::new("info", info)
        .arity(-2)
        .flags(LOADING | STALE)
        .categories_exactly(category::CONNECTION)
        .tips(&["nondeterministic_output_order"])
        .group(Group::Server)
        .since("2.8.13")
        .complexity("O(N), N the number of commands asked for.")
        .summary("Describes some commands, or all; a name that does not exist gives null.")
        .history(&[("7.0.0", "Names no longer have to be given.")])
        .args(&[Arg::string("command-name").optional().multiple()])
        .reply(Shape::Array(&Shape::OneOf(&[DESCRIPTION, Shape::Null])))
        .finish(),
    Spec::new("docs", docs)
        .arity(-2)
        .flags(LOADING | STALE)
        .categories_exactly(category::CONNECTION)
        .tips(&["nondeterministic_output_order"])
        .group(Group::Server)
        .since("7.0.0")
        .complexity("O(N), N the number of commands asked for.")
        .summary("Documents some commands, or all: summary, arguments, history, subcommands.")
        .args(&[Arg::string("command-name").optional().multiple()])
        .reply(Shape::Map(&Shape::Bulk, &DOCUMENTATION))
        .finish(),
    Spec::new("list", list)
        .arity(-2)
        .flags(LOADING | STALE)
        .categories_exactly(category::CONNECTION)
        .tips(&["nondeterministic_output_order"])
        .group(Group::Server)
        .since("7.0.0")
        .complexity("O(N), N the number of commands.")
        .summary("Lists the names of all commands and subcommands, or of those that a filter lets pass.")
        .args(&[Arg::one_of(
            "filterby",
            &[
                Arg::string("module-name").token("MODULE"),
                Arg::string("category").token("ACLCAT"),
                Arg::pattern("pattern").token("PATTERN"),
            ],
        )
        .token("FILTERBY")
        .optional()])
        .reply(Shape::Array(&Shape::Bulk))
        .finish(),
    Spec::new("getkeys", get_keys)
        .arity(-3)
        .flags(LOADING | STALE)
        .categories_exactly(category::CONNECTION)
        .group(Group::Server)
        .since("2.8.13")
        .complexity("O(N), N the number of arguments.")
        .summary("Tells which arguments of a request are keys.")
        .args(&FULL_COMMAND)
        .reply(Shape::Array(&Shape::Bulk))
        .finish(),
    Spec::new("getkeysandflags", get_keys_and_flags)
        .arity(-3)
        .flags(LOADING | STALE)
        .categories_exactly(category::CONNECTION)
        .group(Group::Server)
        .since("7.0.0")
        .complexity("O(N), N the number of arguments.")
        .summary("Tells which arguments of a request are keys, and what is done with each.")
        .args(&FULL_COMMAND)
        .reply(Shape::Array(&Shape::Tuple(&[Shape::Bulk, Shape::Set(&Shape::Simple)])))
        .finish(),
    help_row("5.0.0", Group::Server, category::CONNECTION),
];

/// One command in COMMAND: name, arity, flags, first, last, step, categories, tips, key specs, subcommands.
const DESCRIPTION: Shape = Shape::Tuple(&[
    Shape::Bulk,
    Shape::Integer,
    Shape::Set(&Shape::Simple),
    Shape::Integer,
    Shape::Integer,
    Shape::Integer,
    Shape::Set(&Shape::Simple),
    Shape::Set(&Shape::Bulk),
    Shape::Set(&Shape::Map(&Shape::Bulk, &Shape::Any)),
    // Nested descriptions; Redis writes their absence as an empty set.
    Shape::OneOf(&[Shape::Array(&Shape::Any), Shape::Set(&Shape::Any)]),
]);

/// One command in COMMAND DOCS: what is documented, under its name.
const DOCUMENTATION: Shape = Shape::Map(&Shape::Bulk, &Shape::Any);

const FULL_COMMAND: [Arg; 2] = [Arg::string("command"), Arg::string("arg").optional().multiple()];

/// The HELP row of a container in `group`, with the categories that its sisters have; it prints their syntax and
/// summaries.
pub const fn help_row(since: &'static str, group: Group, categories: Categories) -> Spec {
    Spec::new("help", help)
        .arity(2)
        .flags(LOADING | STALE)
        .categories_exactly(categories)
        .group(group)
        .since(since)
        .complexity("O(1).")
        .summary("Prints the subcommands and what they do.")
        .reply(Shape::Array(&Shape::Simple))
        .finish()
}

/// Prints the syntax and summary of every subcommand of `args[0]`.
pub fn help(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let Some(entry) = table::find(&args[0]) else {
        return Err(Error::InvalidCommand);
    };
    let name = entry.full_name.to_ascii_uppercase();
    let mut lines = vec![format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")];
    for sub in table::subcommands(entry) {
        let syntax = sub.syntax().unwrap_or_default();
        let own = syntax.strip_prefix(&name).unwrap_or(&syntax);
        lines.push(own.trim_start().to_owned());
        lines.push(format!("    {}", sub.spec.summary));
    }
    cx.reply.array(lines.len());
    for line in &lines {
        cx.reply.simple(line);
    }
    Ok(())
}

fn info_all(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    cx.reply.array(table::command_count());
    for entry in table::commands() {
        write_info(cx.reply, entry);
    }
    Ok(())
}

fn count(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    cx.reply.integer(table::command_count() as i64);
    Ok(())
}

fn info(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    if args.len() == 2 {
        return info_all(cx, args);
    }
    cx.reply.array(args.len() - 2);
    for name in args.iter().skip(2) {
        match table::find_full(name) {
            Some(entry) => write_info(cx.reply, entry),
            None => cx.reply.null_array(),
        }
    }
    Ok(())
}

fn docs(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let wanted: Vec<&Entry> = if args.len() == 2 {
        table::commands().collect()
    } else {
        let names = args.iter().skip(2);
        names.filter_map(table::find_full).collect()
    };
    write_docs_map(cx.reply, wanted.len(), wanted.into_iter());
    Ok(())
}

fn list(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let filter = Filter::parse(args)?;
    let entries = table::entries().iter();
    let names: Vec<&str> =
        entries.filter(|entry| filter.keeps(entry)).map(|entry| entry.full_name.as_str()).collect();
    cx.reply.array(names.len());
    for name in names {
        cx.reply.bulk_str(name);
    }
    Ok(())
}

/// What COMMAND LIST lets pass.
enum Filter<'a> {
    All,
    /// Those of a module: none, for there are no modules.
    Module,
    /// Those in this category; an unknown one is 0.
    Category(Categories),
    Pattern(&'a [u8]),
}

impl<'a> Filter<'a> {
    fn parse(args: Args<'a>) -> Result<Self, Error> {
        if args.len() == 2 {
            return Ok(Self::All);
        }
        let (5, Some(word), Some(kind), Some(value)) = (args.len(), args.get(2), args.get(3), args.get(4))
        else {
            return Err(Error::Syntax);
        };
        if !word.eq_ignore_ascii_case(b"filterby") {
            return Err(Error::Syntax);
        }
        match kind.to_ascii_lowercase().as_slice() {
            b"module" => Ok(Self::Module),
            b"aclcat" => Ok(Self::Category(category::by_name(value).unwrap_or(0))),
            b"pattern" => Ok(Self::Pattern(value)),
            _ => Err(Error::Syntax),
        }
    }

    fn keeps(&self, entry: &Entry) -> bool {
        match self {
            Self::All => true,
            Self::Module => false,
            Self::Category(bits) => entry.spec.categories & bits != 0,
            Self::Pattern(pattern) => glob::matches(pattern, entry.full_name.as_bytes(), true),
        }
    }
}

fn get_keys(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let request = args.from(2);
    let found = request_keys(request)?;
    cx.reply.array(found.len());
    for (at, _) in found {
        cx.reply.bulk(&request[at]);
    }
    Ok(())
}

fn get_keys_and_flags(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let request = args.from(2);
    let found = request_keys(request)?;
    cx.reply.array(found.len());
    for (at, flags) in found {
        cx.reply.array(2);
        cx.reply.bulk(&request[at]);
        write_key_flags(cx.reply, flags);
    }
    Ok(())
}

/// Positions and flags of the keys of `request`.
fn request_keys(request: Args<'_>) -> Result<Vec<(usize, KeyFlags)>, Error> {
    let Ok(entry) = table::resolve_name(request) else {
        return Err(Error::InvalidCommand);
    };
    if !entry.spec.has_keys() {
        return Err(Error::NoKeyArguments);
    }
    if !entry.spec.accepts(request.len()) {
        return Err(Error::InvalidCommandArity);
    }
    let mut found = Vec::new();
    let all = keys::for_each_key(entry.spec, request, |at, flags| found.push((at, flags)));
    if all.is_err() {
        found.clear();
    }
    if found.is_empty() && !entry.spec.has(NO_MANDATORY_KEYS) {
        return Err(Error::InvalidCommandArguments);
    }
    Ok(found)
}

/// One command as COMMAND describes it: exactly ten elements.
fn write_info(reply: &mut Reply, entry: &Entry) {
    let spec = entry.spec;
    reply.array(10);
    reply.bulk_str(&entry.full_name);
    reply.integer(i64::from(spec.arity));
    let flags = FLAG_NAMES.iter().filter(|(bit, _)| spec.has(*bit));
    write_names(reply, flags.map(|(_, name)| *name), "");
    reply.integer(i64::from(spec.legacy_keys.first));
    reply.integer(i64::from(spec.legacy_keys.last));
    reply.integer(i64::from(spec.legacy_keys.step));
    let categories = category::NAMES.iter();
    let categories = categories.filter(|(bit, _)| spec.categories & bit != 0);
    write_names(reply, categories.map(|(_, name)| *name), "@");
    reply.set(spec.tips.len());
    for tip in spec.tips {
        reply.bulk_str(tip);
    }
    reply.set(spec.key_specs.len());
    for rule in spec.key_specs {
        write_key_spec(reply, rule);
    }
    let subcommands = table::subcommands(entry);
    if subcommands.is_empty() {
        // Redis writes the empty list as a set.
        reply.set(0);
        return;
    }
    reply.array(subcommands.len());
    for subcommand in subcommands {
        write_info(reply, subcommand);
    }
}

/// A set of simple strings, each with `prefix`.
fn write_names(reply: &mut Reply, names: impl Iterator<Item = &'static str> + Clone, prefix: &str) {
    reply.set(names.clone().count());
    for name in names {
        reply.simple(&format!("{prefix}{name}"));
    }
}

fn write_key_flags(reply: &mut Reply, flags: KeyFlags) {
    let set = KEY_FLAG_NAMES.iter();
    let set = set.filter(|(bit, _)| flags & bit != 0);
    write_names(reply, set.map(|(_, name)| *name), "");
}

fn write_key_spec(reply: &mut Reply, rule: &KeySpec) {
    reply.map(if rule.notes.is_empty() { 3 } else { 4 });
    if !rule.notes.is_empty() {
        write_text(reply, "notes", rule.notes);
    }
    reply.bulk_str("flags");
    write_key_flags(reply, rule.flags);
    reply.bulk_str("begin_search");
    reply.map(2);
    match rule.begin_search {
        BeginSearch::Index(index) => {
            write_rule(reply, "index", &[("index", index)]);
        }
        BeginSearch::Keyword { word, start_from } => {
            write_text(reply, "type", "keyword");
            reply.bulk_str("spec");
            reply.map(2);
            write_text(reply, "keyword", word);
            reply.bulk_str("startfrom");
            reply.integer(i64::from(start_from));
        }
        BeginSearch::Unknown => write_rule(reply, "unknown", &[]),
    }
    reply.bulk_str("find_keys");
    reply.map(2);
    match rule.find_keys {
        FindKeys::Range { last_key, step, limit } => {
            write_rule(reply, "range", &[("lastkey", last_key), ("keystep", step), ("limit", limit)])
        }
        FindKeys::KeyNum { key_num_index, first_key, step } => write_rule(
            reply,
            "keynum",
            &[("keynumidx", key_num_index), ("firstkey", first_key), ("keystep", step)],
        ),
        FindKeys::Unknown => write_rule(reply, "unknown", &[]),
    }
}

/// The two pairs `type` and `spec` of half a key spec.
fn write_rule(reply: &mut Reply, kind: &str, numbers: &[(&str, i32)]) {
    write_text(reply, "type", kind);
    reply.bulk_str("spec");
    reply.map(numbers.len());
    for (name, number) in numbers {
        reply.bulk_str(name);
        reply.integer(i64::from(*number));
    }
}

/// A pair of bulk strings in a map.
fn write_text(reply: &mut Reply, name: &str, text: &str) {
    reply.bulk_str(name);
    reply.bulk_str(text);
}

fn write_docs_map<'a>(reply: &mut Reply, len: usize, entries: impl Iterator<Item = &'a Entry>) {
    reply.map(len);
    for entry in entries {
        reply.bulk_str(&entry.full_name);
        write_docs(reply, entry);
    }
}

/// One command as COMMAND DOCS documents it.
fn write_docs(reply: &mut Reply, entry: &Entry) {
    let spec = entry.spec;
    let deprecated = !spec.deprecated_since.is_empty();
    let replaced = !spec.replaced_by.is_empty();
    let marked = deprecated || spec.system;
    let optional = [
        marked,
        deprecated,
        replaced,
        !spec.history.is_empty(),
        !spec.args.is_empty(),
        !spec.subcommands.is_empty(),
    ];
    reply.map(4 + optional.iter().filter(|&&present| present).count());
    write_text(reply, "summary", spec.summary);
    write_text(reply, "since", spec.since);
    write_text(reply, "group", spec.group.name());
    write_text(reply, "complexity", spec.complexity);
    if marked {
        reply.bulk_str("doc_flags");
        let marks = [(deprecated, "deprecated"), (spec.system, "syscmd")];
        write_marks(reply, &marks);
    }
    if deprecated {
        write_text(reply, "deprecated_since", spec.deprecated_since);
    }
    if replaced {
        write_text(reply, "replaced_by", spec.replaced_by);
    }
    if !spec.history.is_empty() {
        reply.bulk_str("history");
        reply.set(spec.history.len());
        for (version, change) in spec.history {
            reply.array(2);
            write_text(reply, version, change);
        }
    }
    if !spec.args.is_empty() {
        write_args(reply, spec.args);
    }
    if !spec.subcommands.is_empty() {
        reply.bulk_str("subcommands");
        let subcommands = table::subcommands(entry);
        write_docs_map(reply, subcommands.len(), subcommands.iter());
    }
}

/// The set of the names whose mark is true, as simple strings.
fn write_marks(reply: &mut Reply, marks: &[(bool, &str)]) {
    let present = marks.iter().filter(|(present, _)| *present);
    reply.set(present.clone().count());
    for (_, name) in present {
        reply.simple(name);
    }
}

/// The pair `arguments`: an argument tree.
fn write_args(reply: &mut Reply, args: &[Arg]) {
    reply.bulk_str("arguments");
    reply.array(args.len());
    for arg in args {
        write_arg(reply, arg);
    }
}

fn write_arg(reply: &mut Reply, arg: &Arg) {
    let texts = [
        ("token", arg.token),
        ("summary", arg.summary),
        ("since", arg.since),
        ("deprecated_since", arg.deprecated_since),
    ];
    let marks =
        [(arg.optional, "optional"), (arg.multiple, "multiple"), (arg.multiple_token, "multiple_token")];
    let marked = marks.iter().any(|(present, _)| *present);
    let texts = texts.iter().filter(|(_, text)| !text.is_empty());
    // Parts have names to show; the whole has none.
    let whole = !arg.args.is_empty();
    let pairs = 3 + texts.clone().count() + usize::from(arg.key_spec_index.is_some());
    reply.map(pairs + usize::from(marked));
    write_text(reply, "name", arg.name);
    write_text(reply, "type", arg.kind.name());
    if !whole {
        write_text(reply, "display_text", arg.display_text());
    }
    if let Some(index) = arg.key_spec_index {
        reply.bulk_str("key_spec_index");
        reply.integer(index as i64);
    }
    for (name, text) in texts {
        write_text(reply, name, text);
    }
    if marked {
        reply.bulk_str("flags");
        write_marks(reply, &marks);
    }
    if whole {
        write_args(reply, arg.args);
    }
}

#[cfg(test)]
mod tests {
    use super::{DESCRIPTION, Filter, request_keys, write_docs_map, write_info};
    use crate::command::spec::category;
    use crate::command::table;
    use crate::resp::args::OwnedArgs;
    use crate::resp::frame::{Frame, decode};
    use crate::resp::reply::{Proto, Reply};
    use std::io::IoSlice;

    /// The one frame that `write` writes.
    fn written(proto: Proto, write: impl FnOnce(&mut Reply)) -> Frame {
        let mut reply = Reply::new(proto);
        write(&mut reply);
        let mut slices = [IoSlice::new(&[]); 64];
        let filled = reply.slices(&mut slices);
        let bytes = slices[..filled].iter().flat_map(|part| part.to_vec()).collect::<Vec<u8>>();
        let (frame, length) = decode(&bytes).expect("well-formed").expect("whole");
        assert_eq!(length, bytes.len(), "more than one reply");
        frame
    }

    /// The pairs of a RESP3 map whose keys are bulk strings, as redis-cli demands.
    fn pairs(frame: &Frame) -> Vec<(String, &Frame)> {
        let Frame::Map(pairs) = frame else {
            panic!("no map: {frame:?}");
        };
        let name = |key: &Frame| match key {
            Frame::Bulk(name) => String::from_utf8_lossy(name).into_owned(),
            other => panic!("a key is no bulk string: {other:?}"),
        };
        pairs.iter().map(|(key, value)| (name(key), value)).collect()
    }

    #[test]
    fn every_description_has_ten_elements_of_the_declared_shapes() {
        for proto in [Proto::Resp2, Proto::Resp3] {
            for entry in table::entries() {
                let frame = written(proto, |reply| write_info(reply, entry));
                assert_eq!(DESCRIPTION.check(&frame, proto), Ok(()), "{}", entry.full_name);
            }
        }
    }

    #[test]
    fn every_documentation_has_what_redis_cli_asserts() {
        let all = written(Proto::Resp3, |reply| {
            write_docs_map(reply, table::command_count(), table::commands());
        });
        let mut documented = 0;
        let mut waiting = vec![&all];
        while let Some(map) = waiting.pop() {
            for (name, value) in pairs(map) {
                documented += 1;
                let fields = pairs(value);
                for (field, mandatory) in fields.iter().zip(["summary", "since", "group", "complexity"]) {
                    assert_eq!(field.0, mandatory, "{name}");
                }
                for (field, value) in fields {
                    match field.as_str() {
                        "subcommands" => waiting.push(value),
                        "arguments" => check_arguments(&name, value),
                        _ => {}
                    }
                }
            }
        }
        assert_eq!(documented, table::count());
    }

    fn check_arguments(command: &str, frame: &Frame) {
        let Frame::Array(arguments) = frame else {
            panic!("{command}: arguments are no array");
        };
        for argument in arguments {
            for (field, value) in pairs(argument) {
                let fits = match field.as_str() {
                    "arguments" => {
                        check_arguments(command, value);
                        true
                    }
                    "flags" => matches!(value, Frame::Set(flags)
                        if flags.iter().all(|flag| matches!(flag, Frame::Simple(_)))),
                    "key_spec_index" => matches!(value, Frame::Integer(_)),
                    _ => matches!(value, Frame::Bulk(_)),
                };
                assert!(fits, "{command}: {field} is {value:?}");
            }
        }
    }

    #[test]
    fn list_filters_by_category_pattern_and_module() {
        let kept = |words: &[&str]| {
            let owned = OwnedArgs::from_slices(words);
            let filter = Filter::parse(owned.as_args()).map_err(|error| error.to_string())?;
            Ok::<_, String>(table::entries().iter().filter(|entry| filter.keeps(entry)).count())
        };
        let connection = table::entries().iter();
        let connection = connection.filter(|entry| entry.spec.categories & category::CONNECTION != 0);
        assert_eq!(kept(&["command", "list"]), Ok(table::count()));
        assert_eq!(kept(&["command", "list", "FilterBy", "aclcat", "CONNECTION"]), Ok(connection.count()));
        assert_eq!(kept(&["command", "list", "filterby", "aclcat", "nosuch"]), Ok(0));
        assert_eq!(kept(&["command", "list", "filterby", "aclcat", "@connection"]), Ok(0));
        assert_eq!(kept(&["command", "list", "filterby", "pattern", "COMMAND|getkeys*"]), Ok(2));
        assert_eq!(kept(&["command", "list", "filterby", "module", "json"]), Ok(0));
        for words in [
            &["command", "list", "filterby"][..],
            &["command", "list", "filterby", "nosuch", "x"],
            &["command", "list", "filterby", "pattern", "x", "y"],
            &["command", "list", "without", "pattern", "x"],
        ] {
            assert_eq!(kept(words), Err("ERR syntax error".to_owned()), "{words:?}");
        }
    }

    #[test]
    fn keys_of_a_request_or_why_there_are_none() {
        let keys = |words: &[&str]| {
            request_keys(OwnedArgs::from_slices(words).as_args()).map_err(|error| error.to_string())
        };
        assert_eq!(keys(&["nosuch", "a"]), Err("ERR Invalid command specified".to_owned()));
        assert_eq!(keys(&["command", "nosuch"]), Err("ERR Invalid command specified".to_owned()));
        assert_eq!(keys(&["command", "count"]), Err("ERR The command has no key arguments".to_owned()));
    }
}
