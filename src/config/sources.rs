//! Where values come from, and which goes first: flag, then environment, then file, then default.
//!
//! Parsing the command line itself belongs to `cli`; here a flag is already a [`Setting`].

use crate::config::file;
use crate::config::param::{self, Param};
use crate::config::params::{Config, PARAMS};
use std::path::Path;

/// Prefix of the environment variables that set parameters.
const PREFIX: &str = "LARDER_";
/// The variable that names the configuration file.
const FILE_VARIABLE: &str = "LARDER_CONFIG";
/// Beginnings of variables that are not ours: tests and benchmarks, and what Kubernetes and Docker put into the
/// environment of every container next to a service that is called "larder".
const FOREIGN: [&str; 8] = [
    "LARDER_TEST_",
    "LARDER_WRITE_",
    "LARDER_FUZZ_",
    "LARDER_BENCH_",
    "LARDER_SERVICE_",
    "LARDER_PORT_",
    "LARDER_NAME",
    "LARDER_ENV_",
];

/// A value for a parameter and where it was written.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The parameter.
    pub param: &'static Param,
    /// The value as words.
    pub text: String,
    /// Where it comes from, for errors: `larder.toml:3`, `LARDER_PORT`, `--port`.
    pub origin: String,
}

/// What the environment says: the parameters, and the configuration file's path if it names one.
#[derive(Debug, Default)]
pub struct Environment {
    /// Parameters set by variables.
    pub settings: Vec<Setting>,
    /// The value of `LARDER_CONFIG`.
    pub file: Option<String>,
}

/// Picks our variables out of the environment. A `LARDER_` variable that names no parameter is an error.
pub fn environment(variables: impl Iterator<Item = (String, String)>) -> Result<Environment, String> {
    let mut found = Environment::default();
    for (variable, value) in variables {
        let Some(name) = variable.strip_prefix(PREFIX) else {
            continue;
        };
        if variable == FILE_VARIABLE {
            found.file = Some(value).filter(|path| !path.is_empty());
            continue;
        }
        let linked = variable == "LARDER_PORT" && value.contains("://");
        if linked || FOREIGN.iter().any(|foreign| variable.starts_with(foreign)) {
            continue;
        }
        let name = name.to_ascii_lowercase().replace('_', "-");
        let Some(param) = param::find(&name) else {
            return Err(format!("{variable}: {}", param::unknown(&name)));
        };
        found.settings.push(Setting { param, text: value, origin: variable });
    }
    Ok(found)
}

/// Stores each setting; the first one that is wrong ends it, with its origin and what was expected.
pub fn apply(config: &mut Config, settings: &[Setting]) -> Result<(), String> {
    for Setting { param, text, origin } in settings {
        param.assign(config, text).map_err(|why| {
            let named = origin.trim_start_matches('-').eq_ignore_ascii_case(param.name);
            let name = if named { String::new() } else { format!("{}: ", param.name) };
            let got = if param.secret { "something else" } else { text };
            format!("{origin}: {name}{why}; expected {}, got '{got}'", param.expects())
        })?;
    }
    Ok(())
}

/// The configuration that results from all sources.
pub fn load(file: Option<&Path>, environment: &[Setting], flags: &[Setting]) -> Result<Config, String> {
    let mut config = Config::default();
    if let Some(path) = file {
        apply(&mut config, &file::read(path)?)?;
    }
    apply(&mut config, environment)?;
    apply(&mut config, flags)?;
    config.reconcile();
    Ok(config)
}

/// Every environment variable that sets a parameter, in the table's order.
pub fn variables() -> impl Iterator<Item = (String, &'static Param)> {
    PARAMS.iter().map(|param| (param.variable(), param))
}

#[cfg(test)]
mod tests {
    use super::{environment, load};
    use crate::config::param;

    fn variables(list: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
        let owned: Vec<(String, String)> =
            list.iter().map(|&(name, value)| (String::from(name), String::from(value))).collect();
        owned.into_iter()
    }

    #[test]
    fn only_our_variables_count() {
        let list = [
            ("HOME", "/"),
            ("LARDER_MAXMEMORY_POLICY", "noeviction"),
            ("LARDER_CONFIG", "/etc/larder.toml"),
            ("LARDER_PORT", "tcp://10.0.0.7:6379"),
            ("LARDER_PORT_6379_TCP_ADDR", "10.0.0.7"),
            ("LARDER_SERVICE_HOST", "10.0.0.7"),
            ("LARDER_TEST_SERVER", "x"),
        ];
        let found = environment(variables(&list)).expect("all of them are fine");
        assert_eq!(found.file.as_deref(), Some("/etc/larder.toml"));
        let names: Vec<&str> = found.settings.iter().map(|setting| setting.param.name).collect();
        assert_eq!(names, ["maxmemory-policy"]);
    }

    #[test]
    fn an_unknown_variable_and_a_wrong_value_are_named() {
        let wrong = environment(variables(&[("LARDER_MAXMEMRY", "1")])).expect_err("no such name");
        assert_eq!(wrong, "LARDER_MAXMEMRY: unknown parameter 'maxmemry'; did you mean 'maxmemory'?");
        let found = environment(variables(&[("LARDER_HZ", "fast")])).expect("a known name");
        let why = load(None, &found.settings, &[]).expect_err("no number");
        assert_eq!(
            why,
            "LARDER_HZ: hz: argument couldn't be parsed into an integer; expected an integer from 1 to 500, got 'fast'"
        );
    }

    #[test]
    fn every_parameter_has_a_variable_that_finds_it() {
        for (variable, param) in super::variables() {
            let found = environment(variables(&[(&variable, param.default)])).expect(param.name);
            assert_eq!(found.settings[0].param.name, param.name);
            assert!(param::find(param.name).is_some());
        }
    }
}
