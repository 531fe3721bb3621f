//! The house rules that no compiler checks, held on every source file: layers, lengths, heads, banned calls, names at
//! the top of the repository.
//!
//! It reads text with comments and strings blanked out; it knows no macros and no types, so a rule here is one that
//! plain text decides. Lists of exceptions name what they except and may only shrink: an exception that is no longer
//! needed fails the test too.

use larder::command::table;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Longest function, from its `fn` line to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;
/// Longest file, tests included.
const FILE_LINES_MAX: usize = 700;

/// Functions that are longer: file, name, length.
const LONG_FUNCTIONS: &[(&str, &str, usize)] = &[];
/// Files that are longer: file, length.
const LONG_FILES: &[(&str, usize)] = &[];

/// Every module at the top of `src`, with its layer. A module uses lower layers only.
const LAYERS: &[(&str, u8)] = &[
    ("main", 7),
    ("app", 6),
    ("cli", 6),
    ("server", 5),
    ("peer", 5),
    ("command", 4),
    ("hub", 3),
    ("cluster", 2),
    ("persist", 2),
    ("script", 2),
    ("resp", 1),
    ("store", 1),
    ("config", 1),
    ("metrics", 1),
    ("base", 0),
];

/// What may stand at the top of the repository; the last four are made by building and are not in it.
const TOP_LEVEL: &[&str] = &[
    ".cargo",
    ".ci",
    ".rustfmt.toml",
    ".clippy.toml",
    ".dockerignore",
    ".gitignore",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "config",
    "docker",
    "src",
    "tests",
    ".git",
    ".venv",
    "target",
];

/// A word that may not be used, where, and what stands in its place.
struct Ban {
    words: &'static [&'static str],
    within: &'static [&'static str],
    except: &'static [&'static str],
    instead: &'static str,
}

const BANS: &[Ban] = &[
    Ban {
        words: &["Instant::now", "SystemTime::now", "quanta"],
        within: &["src/"],
        except: &["src/base/clock.rs"],
        instead: "take the time from base::clock, so that tests own it",
    },
    Ban {
        words: &["rand", "thread_rng", "getrandom", "fastrand"],
        within: &["src/"],
        except: &["src/base/rng.rs"],
        instead: "take random numbers from base::rng, so that a seed repeats them",
    },
    Ban {
        words: &["std::sync::Mutex", "std::sync::RwLock", "std::sync::Condvar", "parking_lot"],
        within: &["src/"],
        except: &["src/base/lock.rs"],
        instead: "use base::lock",
    },
    Ban {
        words: &["unsafe"],
        within: &["src/", "tests/"],
        except: &["src/store/prefetch.rs", "src/lib.rs"],
        instead: "it belongs into the store, with a measured gain",
    },
    Ban {
        words: &["todo!", "unimplemented!", "dbg!"],
        within: &["src/", "tests/"],
        except: &[],
        instead: "finish it, or open an issue",
    },
    Ban {
        words: &["println!", "print!", "eprintln!", "eprint!"],
        within: &["src/"],
        except: &["src/main.rs", "src/cli.rs"],
        instead: "log with tracing, or return the text to main",
    },
    Ban {
        words: &["crate::*", "larder::*"],
        within: &["src/", "tests/"],
        except: &[],
        instead: "name what is imported",
    },
    Ban {
        words: &["tokio", "async", "await"],
        within: &["src/base/", "src/cluster", "src/command", "src/store", "src/resp", "src/config"],
        except: &[],
        instead: "these layers are synchronous; sockets and tasks live in server",
    },
];

/// Words that may not even stand in a comment, split so that this file does not hold them.
const UNFINISHED: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];

struct Source {
    /// Relative to the repository, with `/`.
    path: String,
    text: String,
    /// The text with comments, strings and character literals blanked; same lines.
    code: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    for top in ["src", "tests"] {
        collect(&root().join(top), &mut files);
    }
    files.sort();
    assert!(files.len() > 5, "only {} source files found", files.len());
    files.iter().map(|file| read(file)).collect()
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn read(file: &Path) -> Source {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let path = file.strip_prefix(root()).unwrap_or(file).to_string_lossy().replace('\\', "/");
    source(&path, &text)
}

fn source(path: &str, text: &str) -> Source {
    Source { path: path.to_owned(), text: text.to_owned(), code: blank(text) }
}

#[track_caller]
fn assert_none(rule: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{rule}\n  {}", found.join("\n  "));
}

#[test]
fn modules_use_lower_layers_only() {
    let found = sources().iter().flat_map(layer_faults).collect();
    assert_none("a module uses lower layers only, and no sibling:", found);
}

#[test]
fn functions_are_short() {
    let mut found = Vec::new();
    let mut excused = BTreeSet::new();
    for source in sources() {
        for (name, line, lines) in functions(&source.code) {
            if lines <= FUNCTION_LINES_MAX {
                continue;
            }
            let exception = (source.path.as_str(), name.as_str(), lines);
            if LONG_FUNCTIONS.contains(&exception) {
                excused.insert((source.path.clone(), name));
            } else {
                found.push(format!("{}:{line} {name}: {lines} lines", source.path));
            }
        }
    }
    assert_none("functions of more than 70 lines:", found);
    assert_eq!(excused.len(), LONG_FUNCTIONS.len(), "LONG_FUNCTIONS names more than is long");
}

#[test]
fn files_are_short() {
    let mut found = Vec::new();
    let mut excused = 0;
    for source in sources() {
        let lines = source.text.lines().count();
        if LONG_FILES.contains(&(source.path.as_str(), lines)) {
            excused += 1;
        } else if lines > FILE_LINES_MAX {
            found.push(format!("{}: {lines} lines", source.path));
        }
    }
    assert_none("files of more than 700 lines:", found);
    assert_eq!(excused, LONG_FILES.len(), "LONG_FILES names more than is long");
}

#[test]
fn every_file_says_what_it_is() {
    let found = sources()
        .iter()
        .filter(|source| !source.text.starts_with("//! "))
        .map(|source| source.path.clone())
        .collect();
    assert_none("files that do not open with `//!`:", found);
}

#[test]
fn banned_words_stay_out() {
    let found = sources().iter().flat_map(ban_faults).collect();
    assert_none("banned:", found);
}

#[test]
fn nothing_is_left_unfinished() {
    let found = sources().iter().flat_map(unfinished_faults).collect();
    assert_none("finish it, or open an issue:", found);
}

#[test]
fn the_top_of_the_repository_is_as_drawn() {
    let entries = fs::read_dir(root()).unwrap_or_else(|error| panic!("{error}"));
    let found = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| !TOP_LEVEL.contains(&name.as_str()))
        .collect();
    assert_none("names that do not belong at the top:", found);
}

#[test]
fn every_command_has_a_test() {
    let tests: Vec<Source> = sources().into_iter().filter(is_command_test).collect();
    let found = table::entries()
        .iter()
        .filter(|entry| entry.spec.handler.is_some())
        .map(|entry| entry.full_name.replace('|', " ").to_ascii_uppercase())
        .filter(|name| !tests.iter().any(|source| sends(&source.text, name)))
        .collect();
    assert_none("commands that no test sends and judges the reply of:", found);
}

/// Not those that send commands without knowing the reply.
fn is_command_test(source: &Source) -> bool {
    const OTHERS: &[&str] = &[
        "tests/oracle/",
        "tests/tidy.rs",
        "tests/interop.rs",
        "tests/bench/",
        "tests/fuzz/",
        "tests/support/",
    ];
    source.path.starts_with("tests/") && !OTHERS.iter().any(|other| source.path.starts_with(other))
}

/// Whether a command line with `name` is written in `text`: behind a quote or at the start of a script's line.
fn sends(text: &str, name: &str) -> bool {
    text.lines().any(|line| {
        let sent = |rest: &str| {
            let head = rest.get(..name.len()).unwrap_or_default();
            let behind = rest[head.len()..].bytes().next();
            head.eq_ignore_ascii_case(name) && !behind.is_some_and(|byte| is_name(byte) || byte == b'|')
        };
        let listed = line.replace("\", \"", " ");
        sent(line.trim_start()) || listed.match_indices('"').any(|(at, _)| sent(&listed[at + 1..]))
    })
}

#[test]
fn each_rule_sees_its_breach() {
    let layer = |path: &str, text: &str| layer_faults(&source(path, text)).len();
    assert_eq!(layer("src/store/table.rs", "use crate::base::slot::Slot;"), 0);
    assert_eq!(layer("src/store/table.rs", "use crate::store::entry::Entry;"), 0);
    assert_eq!(layer("src/store/table.rs", "use crate::resp::reply::Reply;"), 1, "sibling");
    assert_eq!(layer("src/store/table.rs", "fn f() { crate::hub::x() }"), 1, "upward");
    assert_eq!(layer("src/resp/a.rs", "use crate::{base::num, server::{a, b}};"), 2, "grouped");
    assert_eq!(layer("src/resp/a.rs", "// crate::server\nlet a = \"crate::server\";"), 0);
    assert_eq!(layer("src/nowhere/a.rs", ""), 1, "unknown module");

    let ban = |path: &str, text: &str| ban_faults(&source(path, text)).len();
    assert_eq!(ban("src/hub/a.rs", "let now = Instant::now();"), 1);
    assert_eq!(ban("src/hub/a.rs", "use std::sync::{Arc, Mutex};"), 1);
    assert_eq!(ban("src/hub/a.rs", "use std::sync::{Arc, atomic::AtomicU64};"), 0);
    assert_eq!(ban("src/base/lock.rs", "type M = parking_lot::Mutex<()>;"), 0);
    assert_eq!(ban("src/command/a.rs", "async fn f() {}"), 1);
    assert_eq!(ban("src/server/a.rs", "let operand = 1; async fn f() {}"), 0);
    assert_eq!(unfinished_faults(&source("src/a.rs", &format!("// {}: later", UNFINISHED[0]))).len(), 1);

    assert!(sends("client.check(\"SET k v\", \"OK\");", "SET"));
    assert!(sends("client.cmd(&[\"CLIENT\", \"ID\"]);", "CLIENT ID"));
    assert!(sends("    SET k v => OK", "SET"));
    assert!(!sends("client.check(\"SETNX k v\", \"1\");", "SET"));

    let body = "    let a = '{';\n".repeat(80);
    let long = format!("impl A {{\nfn short() {{}}\nfn long(a: [u8; 2]) -> u8 {{\n{body}}}\n}}");
    let lengths: Vec<_> =
        functions(&blank(&long)).into_iter().map(|(name, _, lines)| (name, lines)).collect();
    assert_eq!(lengths, [("short".to_owned(), 1), ("long".to_owned(), 82)]);
}

#[test]
fn blanking_keeps_code_and_drops_the_rest() {
    for (text, code) in [
        ("a // b\nc", "a     \nc"),
        ("a /* b /* c */ d */ e", "a                   e"),
        (r#"a("b\"c") d"#, "a(      ) d"),
        (r###"a(r#"b"c"#) d"###, "a(        ) d"),
        (r"a('\'', 'b', '{') &'c d", "a(    ,    ,    ) &'c d"),
    ] {
        assert_eq!(blank(text), code);
    }
}

// ---- the rules -------------------------------------------------------------------------------------------------

fn layer_faults(source: &Source) -> Vec<String> {
    let Some(inside) = source.path.strip_prefix("src/") else {
        return Vec::new();
    };
    let module = inside.split(['/', '.']).next().unwrap_or_default();
    if module == "lib" {
        return Vec::new();
    }
    let Some(layer) = layer_of(module) else {
        return vec![format!("{}: module {module} has no layer in tests/tidy.rs", source.path)];
    };
    let mut found = Vec::new();
    for (line, path) in paths(&source.code) {
        let mut parts = path.split("::");
        if !matches!(parts.next(), Some("crate" | "larder")) {
            continue;
        }
        let used = parts.next().unwrap_or_default();
        if used != module && layer_of(used).is_none_or(|below| below >= layer) {
            found.push(format!("{}:{line} {module} uses {path}", source.path));
        }
    }
    found
}

fn layer_of(module: &str) -> Option<u8> {
    LAYERS.iter().find(|(name, _)| *name == module).map(|(_, layer)| *layer)
}

fn ban_faults(source: &Source) -> Vec<String> {
    let mut lines: Vec<(usize, String)> =
        numbered(&source.code).map(|(at, line)| (at, line.to_owned())).collect();
    lines.extend(paths(&source.code));
    let mut found = BTreeSet::new();
    for ban in BANS {
        let applies = ban.within.iter().any(|prefix| source.path.starts_with(prefix));
        if !applies || ban.except.contains(&source.path.as_str()) {
            continue;
        }
        for (line, text) in &lines {
            for word in ban.words.iter().filter(|word| has_word(text, word)) {
                found.insert(format!("{}:{line} {word}: {}", source.path, ban.instead));
            }
        }
    }
    found.into_iter().collect()
}

fn unfinished_faults(source: &Source) -> Vec<String> {
    numbered(&source.text)
        .filter(|(_, line)| UNFINISHED.iter().any(|word| has_word(line, word)))
        .map(|(at, line)| format!("{}:{at} {}", source.path, line.trim()))
        .collect()
}

// ---- reading code ----------------------------------------------------------------------------------------------

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn has_word(text: &str, word: &str) -> bool {
    word_positions(text, word).next().is_some()
}

/// Where `word` stands with no letter, digit or underscore touching it.
fn word_positions<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let bytes = text.as_bytes();
    text.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = at.checked_sub(1).map(|index| bytes[index]);
        let after = bytes.get(at + word.len()).copied();
        let ends_open = word.as_bytes().last().copied().is_some_and(is_name);
        !(before.is_some_and(is_name) || ends_open && after.is_some_and(is_name))
    })
}

/// Every path that is imported or written out from a crate root, with its line; groups are taken apart.
fn paths(code: &str) -> Vec<(usize, String)> {
    let line_at = |at: usize| code[..at].matches('\n').count() + 1;
    let mut found = Vec::new();
    for at in word_positions(code, "use") {
        let rest = &code[at + 3..];
        let tree: String = rest[..rest.find(';').unwrap_or(0)].split_whitespace().collect();
        let mut flat = Vec::new();
        flatten("", &tree, &mut flat);
        found.extend(flat.into_iter().map(|path| (line_at(at), path)));
    }
    for root in ["crate::", "larder::"] {
        for at in word_positions(code, root) {
            let path = |byte: &u8| is_name(*byte) || *byte == b':';
            let length = code.as_bytes()[at..].iter().take_while(|byte| path(byte)).count();
            if !code[at..at + length].ends_with(':') {
                found.push((line_at(at), code[at..at + length].to_owned()));
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

fn flatten(prefix: &str, tree: &str, flat: &mut Vec<String>) {
    let Some((head, group)) = tree.split_once('{') else {
        flat.push(format!("{prefix}{tree}"));
        return;
    };
    let prefix = format!("{prefix}{head}");
    let mut depth = 0;
    let mut start = 0;
    let group = group.strip_suffix('}').unwrap_or(group);
    for (at, byte) in group.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            b',' if depth == 0 => {
                flatten(&prefix, &group[start..at], flat);
                start = at + 1;
            }
            _ => {}
        }
    }
    if start < group.len() {
        flatten(&prefix, &group[start..], flat);
    }
}

/// Name, first line and length in lines of every function that has a body.
fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    for at in word_positions(code, "fn") {
        let name: String =
            code[at + 2..].trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if name.is_empty() {
            continue;
        }
        if let Some(end) = body_end(code.as_bytes(), at) {
            let line = code[..at].matches('\n').count() + 1;
            found.push((name, line, code[at..end].matches('\n').count() + 1));
        }
    }
    found
}

/// The end of the braces that follow `start`; `None` for a declaration without a body.
fn body_end(code: &[u8], start: usize) -> Option<usize> {
    let mut brackets = 0;
    let mut braces = 0;
    for (at, byte) in code.iter().enumerate().skip(start) {
        match byte {
            b'(' | b'[' => brackets += 1,
            b')' | b']' => brackets -= 1,
            b';' if brackets == 0 && braces == 0 => return None,
            b'{' => braces += 1,
            b'}' => {
                braces -= 1;
                if braces == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// `text` with spaces for comments, strings and character literals.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_end(bytes, at).unwrap_or(at);
        if end == at {
            out.push(bytes[at]);
            at += 1;
            continue;
        }
        out.extend(bytes[at..end].iter().map(|byte| if *byte == b'\n' { b'\n' } else { b' ' }));
        at = end;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The end of the comment or literal that starts at `at`; `None` where none starts.
fn literal_end(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    let line = |rest: &[u8]| rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    match rest[0] {
        b'/' if rest.starts_with(b"//") => Some(at + line(rest)),
        b'/' if rest.starts_with(b"/*") => Some(block_comment_end(bytes, at)),
        b'"' => Some(escaped_end(bytes, at + 1, b'"')),
        b'r' => {
            let prefix = at.checked_sub(1).map(|before| bytes[before]);
            let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
            let opens = rest.get(1 + hashes) == Some(&b'"');
            let inside_name = prefix.is_some_and(|byte| is_name(byte) && byte != b'b' && byte != b'c');
            (opens && !inside_name).then(|| raw_end(bytes, at + 2 + hashes, hashes))
        }
        b'\'' if rest.get(1) == Some(&b'\\') => Some(escaped_end(bytes, at + 1, b'\'')),
        b'\'' => {
            let width = rest.iter().skip(2).take_while(|byte| **byte & 0xC0 == 0x80).count();
            (rest.get(2 + width) == Some(&b'\'')).then_some(at + 3 + width)
        }
        _ => None,
    }
}

fn block_comment_end(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0;
    let mut at = start;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    at.min(bytes.len())
}

fn escaped_end(bytes: &[u8], start: usize, quote: u8) -> usize {
    let mut at = start;
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

fn raw_end(bytes: &[u8], start: usize, hashes: usize) -> usize {
    let closing = format!("\"{}", "#".repeat(hashes));
    let length = bytes[start..].windows(closing.len()).position(|window| window == closing.as_bytes());
    length.map_or(bytes.len(), |length| start + length + closing.len())
}
