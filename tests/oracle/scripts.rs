//! Scripts' libraries and functions beside redis-server's: the same expressions have the same results, and the same
//! commands the same replies, errors word for word.

use crate::support::client::Client;
use crate::support::frame::Frame;
use crate::support::server::Server;
use crate::support::tool;

/// What the libraries make, an expression a line.
const EXPRESSIONS: &str = include_str!("expressions.txt");

/// All results of an expression with their types; addresses are left out.
const SHOW: &str = "local function show(...) local t = {} for i = 1, select('#', ...) do local v = select(i, ...) \
    t[i] = type(v) .. '=' .. tostring(v) end return table.concat(t, ';') end ";

/// Sources of libraries, most of them wrong somewhere, separated by empty lines.
const LIBRARIES: &str = include_str!("libraries.txt");

/// Commands about the library that is loaded last.
const COMMANDS: &[&[&str]] = &[
    &["FUNCTION", "LIST", "LIBRARYNAME", "x"],
    &["FUNCTION", "LIST", "x"],
    &["FUNCTION", "LIST", "LIBRARYNAME"],
    &["FUNCTION", "LIST", "WITHCODE", "WITHCODE"],
    &["FUNCTION", "LIST", "LIBRARYNAME", "a", "LIBRARYNAME", "a"],
    &["FUNCTION", "STATS"],
    &["FUNCTION", "STATS", "x"],
    &["FUNCTION", "KILL"],
    &["FUNCTION", "DUMP", "x"],
    &["FUNCTION", "RESTORE"],
    &["FUNCTION", "RESTORE", "x"],
    &["FUNCTION", "RESTORE", "x", "y"],
    &["FUNCTION", "RESTORE", "x", "APPEND", "y"],
    &["FUNCTION", "DELETE", "none"],
    &["FUNCTION", "FLUSH", "x"],
    &["FUNCTION", "FLUSH", "SYNC", "x"],
    &["FUNCTION", "LOAD"],
    &["FUNCTION", "LOAD", "REPLACE"],
    &["FUNCTION", "LOAD", "x", "y"],
    &["FUNCTION", "LOAD", "#!lua name=last\nx"],
    &["FUNCTION", "LOAD", "#!lua name=other\nredis.register_function('SHOWN', function() end)"],
    &["FUNCTION", "x"],
    &["FCALL", "shown"],
    &["FCALL", "none", "0"],
    &["FCALL", "none", "x"],
    &["FCALL", "shown", "x"],
    &["FCALL", "shown", "-1"],
    &["FCALL", "shown", "2", "a"],
    &["FCALL", "shown", "99999999999999999999"],
    &["FCALL", "Shown", "1", "key", "one", "two"],
    &["FCALL", "shown", "0"],
    &["FCALL_RO", "shown", "0"],
    &["FCALL_RO", "reads", "1", "key"],
    &["FCALL_RO", "writes", "1", "key"],
    &["FCALL", "writes", "1", "key"],
    &["FCALL", "fails", "0"],
    &["FCALL", "raises", "0"],
    &["FCALL", "tables", "0"],
    &["FCALL", "keys_of_eval", "0"],
    &["FCALL", "global", "0"],
    &["FCALL", "late", "0"],
    &["FCALL", "library", "0"],
    &["FCALL", "members", "0"],
    &["FCALL", "replies", "0"],
    &["FCALL", "commands", "1", "key"],
    &["COMMAND", "GETKEYS", "FCALL", "f", "2", "a", "b", "c"],
    &["COMMAND", "GETKEYS", "FCALL_RO", "f", "1", "a"],
];

fn servers() -> Option<(Server, Server)> {
    let is_there = tool::is_installed("redis-server", &["--version"]);
    is_there.then(|| (Server::start(&[]), Server::start_program("redis-server", &[])))
}

/// Sends a command to both; what differs, if anything does.
fn compare(ours: &mut Client, theirs: &mut Client, command: &[&str]) -> Option<String> {
    let (our, their) = (ours.cmd(command).to_string(), theirs.cmd(command).to_string());
    (our != their).then(|| format!("{command:?}\n  ours  {our}\n  redis {their}"))
}

#[track_caller]
fn assert_equal(differences: Vec<String>) {
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn libraries_give_what_they_give_in_redis() {
    let Some((ours, theirs)) = servers() else { return };
    let (mut ours, mut theirs) = (ours.connect(), theirs.connect());
    let differences = EXPRESSIONS.lines().filter_map(|expression| {
        let script = format!("{SHOW}\nreturn (string.gsub(show({expression}), '0x%x+', '0x'))");
        compare(&mut ours, &mut theirs, &["EVAL", &script, "0"])
    });
    assert_equal(differences.collect());
}

#[test]
fn libraries_of_functions_load_as_in_redis() {
    let Some((ours, theirs)) = servers() else { return };
    let (mut ours, mut theirs) = (ours.connect(), theirs.connect());
    let mut differences = Vec::new();
    for source in LIBRARIES.split("\n\n") {
        let source = source.replace("<CR>", "\r");
        differences.extend(compare(&mut ours, &mut theirs, &["FUNCTION", "LOAD", "REPLACE", &source]));
        // Functions of one library come in no particular order.
        if !source.starts_with("#!lua name=last") {
            differences.extend(compare(&mut ours, &mut theirs, &["FUNCTION", "LIST", "WITHCODE"]));
        }
        differences.extend(compare(&mut ours, &mut theirs, &["FUNCTION", "FLUSH"]));
    }
    assert_equal(differences);
}

#[test]
fn functions_answer_as_in_redis() {
    let Some((ours, theirs)) = servers() else { return };
    let library = LIBRARIES.rsplit("\n\n").next().unwrap_or_default();
    for resp3 in [false, true] {
        let (mut ours, mut theirs) = (ours.connect(), theirs.connect());
        if resp3 {
            (ours, theirs) = (ours.hello3(), theirs.hello3());
        }
        let load: &[&str] = &["FUNCTION", "LOAD", "REPLACE", library];
        let commands = [load].into_iter().chain(COMMANDS.iter().copied());
        assert_equal(commands.filter_map(|command| compare(&mut ours, &mut theirs, command)).collect());
    }
}

#[test]
fn what_one_dumps_the_other_restores() {
    let Some((ours, theirs)) = servers() else { return };
    let (mut ours, mut theirs) = (ours.connect(), theirs.connect());
    let long = format!(
        "#!lua name=long\n--{}\nredis.register_function('g', function() return 2 end)",
        "ab".repeat(5000)
    );
    let short = "#!lua name=short\nredis.register_function('f', function() return 1 end)";
    hand_over(&mut ours, &mut theirs, &[short, &long]);
    hand_over(&mut theirs, &mut ours, &[short, &long]);
}

fn hand_over(source: &mut Client, target: &mut Client, libraries: &[&str]) {
    for client in [&mut *source, &mut *target] {
        client.check("FUNCTION FLUSH", "OK");
    }
    for library in libraries {
        assert!(!source.cmd(&["FUNCTION", "LOAD", library]).is_error());
    }
    let Frame::Bulk(payload) = source.cmd(&["FUNCTION", "DUMP"]) else { panic!("no payload") };
    let restore = [b"FUNCTION".as_slice(), b"RESTORE", &payload];
    assert_eq!(target.cmd(&restore).to_string(), "OK");
    assert!(target.cmd(&restore).to_string().contains("already exists"));
    target.check_all("FCALL f 0 => 1\nFCALL g 0 => 2");
    let list = "FUNCTION LIST LIBRARYNAME long";
    target.check(list, &source.line(list).to_string());
}
