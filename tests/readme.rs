//! The README's generated parts are what the program says: parameters and commands.
//!
//! `LARDER_WRITE_README=1 cargo test --test readme` writes them anew.

use larder::command::table;
use larder::config::Config;
use std::env;
use std::fs;
use std::path::PathBuf;

fn readme() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("README.md")
}

/// What stands between the two markers of `part`, with its place in `text`.
fn between<'a>(text: &'a str, part: &str) -> (usize, &'a str) {
    let begin = format!("<!-- {part}: begin");
    let end = format!("<!-- {part}: end -->");
    let opening = text.find(&begin).unwrap_or_else(|| panic!("README.md has no {begin}"));
    let start = opening + text[opening..].find('\n').map_or(0, |line| line + 1);
    let length = text[start..].find(&end).unwrap_or_else(|| panic!("README.md has no {end}"));
    (start, &text[start..start + length])
}

#[track_caller]
fn hold(part: &str, expected: &str) {
    let text = fs::read_to_string(readme()).unwrap_or_else(|error| panic!("README.md: {error}"));
    let (start, found) = between(&text, part);
    if found == expected {
        return;
    }
    if env::var("LARDER_WRITE_README").is_ok() {
        let written = format!("{}{expected}{}", &text[..start], &text[start + found.len()..]);
        fs::write(readme(), written).unwrap_or_else(|error| panic!("README.md: {error}"));
        return;
    }
    let differs = expected.lines().zip(found.lines()).find(|(a, b)| a != b);
    panic!(
        "README.md, {part}: not as the program says; LARDER_WRITE_README=1 cargo test --test readme writes it.\n\
         first difference (program, README): {differs:#?}"
    );
}

#[test]
fn parameters_are_as_in_the_table() {
    hold("parameters", &Config::markdown());
}

#[test]
fn commands_are_as_in_the_table() {
    hold("commands", &table::markdown());
}
