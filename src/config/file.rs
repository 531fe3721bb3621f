//! The configuration file: TOML, one `name = value` line for each parameter, no tables.
//!
//! Reading reports the first thing wrong with file, line and what was expected. Writing never leaves a half-written
//! file: a temporary file beside it is synced and then renamed over it.

use crate::config::param::{self, Kind, Param};
use crate::config::params::{Config, PARAMS};
use crate::config::sources::Setting;
use std::fs::{self, File};
use std::io::Write;
use std::ops::Range;
use std::path::Path;
use toml_edit::{Document, DocumentMut, Item, Value};

/// Longest configuration file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Line length that comments are wrapped to.
const COMMENT_WIDTH: usize = 110;

/// Reads the settings of the file at `path`.
pub fn read(path: &Path) -> Result<Vec<Setting>, String> {
    let name = path.display().to_string();
    parse(&name, &contents(path)?)
}

fn contents(path: &Path) -> Result<String, String> {
    let cannot =
        |why: &dyn std::fmt::Display| format!("cannot read the configuration file {}: {why}", path.display());
    let size = fs::metadata(path).map_err(|error| cannot(&error))?.len();
    if size > FILE_BYTES_MAX {
        return Err(cannot(&format!("longer than {FILE_BYTES_MAX} bytes")));
    }
    fs::read_to_string(path).map_err(|error| cannot(&error))
}

/// Reads settings out of `text`; `name` is what errors call the file.
pub fn parse(name: &str, text: &str) -> Result<Vec<Setting>, String> {
    let document = Document::parse(text).map_err(|error| {
        let line = line_of(text, error.span());
        let what = error.message().lines().next().unwrap_or("not TOML");
        format!("{name}:{line}: {what}; expected lines such as `port = 6379` (TOML)")
    })?;
    let mut settings: Vec<Setting> = Vec::new();
    for (key, item) in document.iter() {
        let span = document.key(key).and_then(|key| key.span());
        let origin = format!("{name}:{}", line_of(text, span.or_else(|| item.span())));
        let Some(param) = param::find(key) else {
            return Err(format!("{origin}: {}", param::unknown(key)));
        };
        if let Some(earlier) = settings.iter().find(|known| known.param.name == param.name) {
            return Err(format!(
                "{origin}: '{key}' sets the same parameter as {}; keep one of the two",
                earlier.origin
            ));
        }
        let text = words(item)
            .ok_or_else(|| format!("{origin}: {key}: expected {}, not a table", param.expects()))?;
        settings.push(Setting { param, text, origin });
    }
    Ok(settings)
}

/// The number of the line that `span` begins in, from 1.
fn line_of(text: &str, span: Option<Range<usize>>) -> usize {
    let start = span.map_or(0, |span| span.start.min(text.len()));
    1 + text.as_bytes()[..start].iter().filter(|&&byte| byte == b'\n').count()
}

/// A TOML value as the words that CONFIG SET would take; `None` for tables and dates.
fn words(item: &Item) -> Option<String> {
    match item.as_value()? {
        Value::Array(list) => {
            let words: Option<Vec<String>> = list.iter().map(word).collect();
            words.map(|words| words.join(" "))
        }
        value => word(value),
    }
}

fn word(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.value().clone()),
        Value::Integer(number) => Some(number.value().to_string()),
        Value::Float(number) => Some(number.value().to_string()),
        Value::Boolean(flag) => Some(String::from(if *flag.value() { "yes" } else { "no" })),
        Value::Datetime(_) | Value::Array(_) | Value::InlineTable(_) => None,
    }
}

/// A complete file that holds `config`, with each parameter's documentation. What has no effect, and stands at its
/// default, is commented out.
pub fn render(config: &Config) -> String {
    let defaults = Config::default();
    let mut text = String::from(
        "# Larder's configuration. Every parameter is here; this text comes from `larder --print-config`.\n\
         # A command-line flag (--maxmemory 1gb) goes before an environment variable (LARDER_MAXMEMORY=1gb), that before\n\
         # this file, and this file before the default. `larder --check-config FILE` checks a file and starts nothing.\n",
    );
    let mut section = "";
    for param in PARAMS {
        if param.section != section {
            section = param.section;
            text.push_str(&format!("\n# ==== {section} ====\n"));
        }
        let value = param.toml(config);
        let idle = !param.effective && value.to_string() == param.toml(&defaults).to_string();
        text.push('\n');
        for line in wrapped(&about(param, &value)) {
            text.push_str(&format!("# {line}\n"));
        }
        let mark = if idle { "#" } else { "" };
        text.push_str(&format!("{mark}{} = {value}\n", param.name));
    }
    text
}

/// The comment above a parameter; what the value shows by itself is not said.
fn about(param: &Param, value: &Value) -> String {
    let expects = param.expects();
    let plain = value.is_bool() || expects == "text" || matches!(param.kind, Kind::Only { .. });
    let takes = if plain { String::new() } else { format!(" Takes {expects}.") };
    let when = if param.mutable { "" } else { " Fixed while the server runs." };
    format!("{}{takes}{when}", param.doc())
}

/// `text` in lines of at most [`COMMENT_WIDTH`] bytes, words kept whole.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= COMMENT_WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(String::from(word)),
        }
    }
    lines
}

/// Writes `config` into the file at `path`: values that the file has are replaced where they differ, values that it
/// lacks are added at its end where they are not the default. Comments, order and the file's permissions stay.
pub fn rewrite(path: &Path, config: &Config) -> Result<(), String> {
    // A link stays a link: what it points to is replaced.
    let path = fs::canonicalize(path).map_err(|error| error.to_string())?;
    let text = contents(&path)?;
    let document: DocumentMut =
        text.parse().map_err(|_| String::from("the file is no longer valid TOML; repair it first"))?;
    replace(&path, &updated(document, config)).map_err(|error| error.to_string())
}

fn updated(mut document: DocumentMut, config: &Config) -> String {
    let defaults = Config::default();
    for param in PARAMS {
        let value = param.toml(config);
        let present = document.iter().map(|(key, _)| String::from(key)).find(|key| param.is_named(key));
        match present {
            Some(key) => {
                let Some(Item::Value(old)) = document.get_mut(&key) else {
                    continue;
                };
                if reading(param, old) != Some(param.print(config)) {
                    let decor = old.decor().clone();
                    *old = value;
                    *old.decor_mut() = decor;
                }
            }
            None if param.print(config) != param.print(&defaults) => {
                document.insert(param.name, Item::Value(value));
            }
            None => {}
        }
    }
    document.to_string()
}

/// What CONFIG GET would show if the file's value were in use; `None` if it cannot be.
fn reading(param: &Param, value: &Value) -> Option<String> {
    let mut config = Config::default();
    let text = words(&Item::Value(value.clone()))?;
    param.assign(&mut config, &text).ok()?;
    Some(param.print(&config))
}

/// Replaces the file at `path` as a whole, or not at all.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let temporary = path.with_extension(format!("rewrite-{}", std::process::id()));
    let written = File::create(&temporary).and_then(|mut file| {
        file.set_permissions(fs::metadata(path)?.permissions())?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    });
    if written.is_err() {
        // The error that matters is the one above.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::{parse, render, rewrite};
    use crate::config::params::{Config, PARAMS};
    use crate::config::sources;
    use std::fs;

    fn complaint(text: &str) -> String {
        let parsed =
            parse("f.toml", text).and_then(|settings| sources::apply(&mut Config::default(), &settings));
        parsed.expect_err("the text is wrong")
    }

    #[test]
    fn errors_say_where_what_and_what_was_expected() {
        for (text, wanted) in [
            (
                "port = 1\n\nmaxmemry = 5\n",
                "f.toml:3: unknown parameter 'maxmemry'; did you mean 'maxmemory'?",
            ),
            (
                "# x\nport = \"high\"\n",
                "f.toml:2: port: argument couldn't be parsed into an integer; expected an integer from 0 to 65535, got 'high'",
            ),
            (
                "port = 70000\n",
                "f.toml:1: port: argument must be between 0 and 65535 inclusive; expected an integer from 0 to 65535, got '70000'",
            ),
            ("hz = 1\nhz = 2\n", "f.toml:2: "),
            (
                "lua-time-limit = 1\nbusy-reply-threshold = 2\n",
                "f.toml:2: 'busy-reply-threshold' sets the same parameter as f.toml:1; keep one of the two",
            ),
            ("port 6379\n", "f.toml:1: "),
            ("[port]\nx = 1\n", "f.toml:1: port: expected an integer from 0 to 65535, not a table"),
            ("bind = [[1]]\n", "f.toml:1: bind: expected"),
        ] {
            let got = complaint(text);
            assert!(got.starts_with(wanted), "{text:?} gave {got:?}");
            assert!(!got.contains('\n'), "{got:?}");
        }
    }

    #[test]
    fn what_is_rendered_reads_back_as_the_same_configuration() {
        let mut config = Config::default();
        for (name, text) in [
            ("bind", "* -::*"),
            ("maxmemory", "100mb"),
            ("appendfsync", "always"),
            ("requirepass", "a \"quoted\" # word\\"),
            ("latency-tracking-info-percentiles", "0 99.99"),
        ] {
            let param = crate::config::param::find(name).expect(name);
            param.assign(&mut config, text).expect(name);
        }
        let mut read = Config::default();
        let settings = parse("f", &render(&config)).expect("our own file");
        sources::apply(&mut read, &settings).expect("our own values");
        assert_eq!(read, config);
    }

    #[test]
    fn rewrite_keeps_comments_order_and_permissions() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("larder.toml");
        let text = "# top\nhz = 20 # often\n\n# memory\nmaxmemory = \"1gb\"\nslave-read-only = true\n# end\n";
        fs::write(&path, text).expect("a file");
        let mut config = Config::default();
        let settings = parse("f", text).expect("settings");
        sources::apply(&mut config, &settings).expect("values");
        rewrite(&path, &config).expect("nothing to change");
        assert_eq!(fs::read_to_string(&path).expect("text"), text);
        config.hz = 30;
        config.replica_read_only = false;
        config.timeout = 7;
        rewrite(&path, &config).expect("three changes");
        let after = fs::read_to_string(&path).expect("text");
        for line in [
            "# top",
            "hz = 30 # often",
            "# memory",
            "maxmemory = \"1gb\"",
            "slave-read-only = false",
            "timeout = 7",
            "# end",
        ] {
            assert!(after.lines().any(|known| known == line), "{line} not in\n{after}");
        }
        let mut read = Config::default();
        sources::apply(&mut read, &parse("f", &after).expect("settings")).expect("values");
        assert_eq!(read, config);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }

    #[test]
    fn every_parameter_is_in_the_file() {
        let text = render(&Config::default());
        for param in PARAMS {
            let line = format!("{} = ", param.name);
            assert!(text.lines().any(|known| known.trim_start_matches('#').starts_with(&line)), "{line}");
        }
        assert!(text.lines().all(|line| line.len() <= 120));
    }
}
