//! What the binary is made of may be given away with it: every dependency's licence is one that we have read.
//!
//! Reads the lock file's packages through `cargo tree --offline`, so it needs no network and sees what is compiled for
//! this platform. It knows nothing of security advisories: their database is fetched from the network (`cargo deny
//! check advisories` where that is allowed).

use std::process::Command;

/// Licences that may be used; each asks for no more than its text being passed on.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates that may not come in by a side door, with the reason.
const BANNED: &[(&str, &str)] = &[
    ("openssl-sys", "the binary is static and links no system library"),
    ("native-tls", "the binary is static and links no system library"),
];

/// Name and licence expression of every package that is compiled here.
fn packages() -> Vec<(String, String)> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--edges", "normal,build,dev"])
        .args(["--prefix", "none", "--no-dedupe", "--format", "{p}\t{l}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap_or_else(|error| panic!("cargo tree: {error}"));
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut found: Vec<(String, String)> = text
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(package, licence)| (package.to_owned(), licence.to_owned()))
        .collect();
    found.sort();
    found.dedup();
    found
}

/// Whether an SPDX expression can be met with [`ALLOWED`]: one branch of each `OR`, all parts of each `AND`. Parentheses
/// are honoured by taking `AND` as the outer operator where it stands outside them, as it does in all crates seen.
fn is_allowed(expression: &str) -> bool {
    let expression = expression.trim();
    if let Some((left, right)) = split_outside(expression, " AND ") {
        return is_allowed(left) && is_allowed(right);
    }
    if let Some((left, right)) = split_outside(expression, " OR ").or_else(|| split_outside(expression, "/"))
    {
        return is_allowed(left) || is_allowed(right);
    }
    match expression.strip_prefix('(').and_then(|inside| inside.strip_suffix(')')) {
        Some(inside) => is_allowed(inside),
        None => ALLOWED.contains(&expression),
    }
}

fn split_outside<'a>(text: &'a str, operator: &str) -> Option<(&'a str, &'a str)> {
    text.match_indices(operator)
        .map(|(at, _)| (&text[..at], &text[at + operator.len()..]))
        .find(|(left, _)| left.matches('(').count() == left.matches(')').count())
}

#[test]
fn every_licence_is_allowed() {
    let packages = packages();
    assert!(packages.len() > 20, "cargo tree printed {} packages", packages.len());
    let refused: Vec<_> = packages.iter().filter(|(_, licence)| !is_allowed(licence)).collect();
    assert!(refused.is_empty(), "licences not in the list: {refused:#?}");
}

#[test]
fn no_banned_crate_comes_in() {
    let packages = packages();
    for (banned, reason) in BANNED {
        let prefix = format!("{banned} ");
        let found: Vec<_> = packages.iter().filter(|(package, _)| package.starts_with(&prefix)).collect();
        assert!(found.is_empty(), "{found:?}: {reason}");
    }
}

#[test]
fn expressions_are_read_as_meant() {
    for (expression, allowed) in [
        ("MIT", true),
        ("GPL-3.0-only", false),
        ("MIT OR GPL-3.0-only", true),
        ("MIT AND GPL-3.0-only", false),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("(MIT OR Apache-2.0) AND GPL-2.0", false),
        ("MIT/Apache-2.0", true),
        ("Apache-2.0 / MIT", true),
        ("Apache-2.0 WITH LLVM-exception OR MIT", true),
        ("", false),
    ] {
        assert_eq!(is_allowed(expression), allowed, "{expression}");
    }
}
