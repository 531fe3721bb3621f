//! Models of the cluster's rules, explored state by state: with all rules nothing bad may be reachable, and without any
//! one of them something bad must be, or the model sees nothing.
//!
//! Bounded here, so that all of it takes seconds: the first [`STATES_MAX`] states of each, breadth first. All states, to
//! a number of ticks of the clock, by the command below. 0 took four minutes for leases and moves: 40.5 million states,
//! none of them bad. 3 lets a lease run out; that was not run to its end.
//! ```text
//! LARDER_MODEL_DEPTH=3 cargo test --profile checks --test model -- --nocapture --test-threads 1 all_rules
//! ```

#[path = "model/cold_start.rs"]
mod cold_start;
#[path = "model/leases.rs"]
mod leases;

use std::fmt::Debug;
use std::hash::Hash;
use std::time::Instant;

use cold_start::ColdStart;
use leases::Leases;
use stateright::{Checker, Expectation, HasDiscoveries, Model};

/// States that an exploration generates at most, those included that it has seen before.
const STATES_MAX: usize = 1_500_000;
/// Time that a bounded exploration covers, in the model's ticks: long enough for a lease to run out on a slow clock.
const TICKS: u8 = 3;

/// The ticks of an exploration without bounds, if one was asked for.
fn depth() -> Option<u8> {
    let text = std::env::var("LARDER_MODEL_DEPTH").ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("LARDER_MODEL_DEPTH {text}: {error}")))
}

/// Explores `model`, and returns what it broke, with the way there, and what should have been reached and was not.
fn explore<M>(name: &str, model: M, states_max: Option<usize>) -> (Option<String>, Vec<&'static str>)
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + Debug + PartialEq,
{
    let begun = Instant::now();
    let builder = model.checker().finish_when(HasDiscoveries::AnyFailures);
    let builder = match states_max {
        Some(states_max) => builder.target_state_count(states_max),
        None => builder,
    };
    let checker = builder.spawn_bfs().join();
    let found = checker.discoveries();
    let mut broken = None;
    let mut unreached = Vec::new();
    for property in checker.model().properties() {
        match (property.expectation, found.get(property.name)) {
            (Expectation::Always, Some(path)) => {
                broken = Some(format!("{}: {:?}", property.name, path.clone().into_actions()));
            }
            (Expectation::Sometimes, None) => unreached.push(property.name),
            _ => {}
        }
    }
    let (unique, generated) = (checker.unique_state_count(), checker.state_count());
    println!(
        "{name}: {unique} states, {generated} generated, depth {}, {:?}",
        checker.max_depth(),
        begun.elapsed()
    );
    (broken, unreached)
}

/// Nothing bad is reachable, and what the model is about is.
fn holds<M>(name: &str, model: M)
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + Debug + PartialEq,
{
    let bound = depth().is_none().then_some(STATES_MAX);
    let (broken, unreached) = explore(name, model, bound);
    assert_eq!(broken, None, "{name}");
    assert!(unreached.is_empty() || bound.is_some(), "{name}: never {unreached:?}");
}

/// Something bad is reachable.
fn breaks<M>(name: &str, model: M)
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + Debug + PartialEq,
{
    let (broken, _) = explore(name, model, Some(20 * STATES_MAX));
    assert!(broken.is_some(), "without {name} nothing breaks: the model does not see it");
}

#[test]
fn leases_and_moves_hold_with_all_rules() {
    let all = |ticks, restarts, moves| Leases { without: None, ticks, restarts, moves };
    match depth() {
        Some(ticks) => holds("leases and moves", all(ticks, 1, true)),
        None => {
            holds("leases", all(TICKS, 0, false));
            holds("moves", all(0, 0, true));
            holds("moves and a restart", all(0, 1, true));
            holds("leases, moves and a restart", all(TICKS, 1, true));
        }
    }
}

#[test]
fn leases_need_each_rule() {
    use leases::Rule;
    let without = |rule, ticks, restarts, moves| {
        let model = Leases { without: Some(rule), ticks, restarts, moves };
        breaks(&format!("{rule:?}"), model);
    };
    without(Rule::LeaseCheck, TICKS, 0, false);
    without(Rule::Margin, TICKS, 0, false);
    without(Rule::StampAtSend, TICKS, 0, false);
    without(Rule::ConfirmedGrant, TICKS, 0, false);
    without(Rule::VersionInGrant, TICKS, 0, false);
    without(Rule::NewLeaderWaits, TICKS, 0, false);
    without(Rule::ClearBeforeServe, TICKS, 0, false);
    without(Rule::HoldBeforeCommit, 0, 0, true);
    without(Rule::ResumeByLog, 0, 0, true);
    without(Rule::Incarnation, 0, 1, false);
}

const DISKS: &[bool] = &[true; 3];
const NO_DISKS: &[bool] = &[false; 3];
const MIXED: &[bool] = &[true, true, false];
/// Five, so that a majority can leave out one who knows.
const ONE_WITHOUT_DISK: &[bool] = &[false, true, true, true, true];

#[test]
fn cold_start_founds_one_with_all_rules() {
    let all = |durable, expect, restarts, rounds| {
        let name = format!("cold start, disks {durable:?}, {expect} expected, {restarts} restarts");
        holds(&name, ColdStart { without: None, durable, expect, restarts, rounds, founded: false });
    };
    all(DISKS, 3, 0, 2);
    all(DISKS, 1, 1, 1);
    all(NO_DISKS, 3, 1, 1);
    all(MIXED, 1, 1, 1);
    let model = ColdStart {
        without: None,
        durable: ONE_WITHOUT_DISK,
        expect: 1,
        restarts: 1,
        rounds: 1,
        founded: true,
    };
    holds("cold start, already founded", model);
}

#[test]
fn cold_start_needs_each_rule() {
    use cold_start::Rule;
    let without = |rule, durable, expect, restarts, rounds, founded| {
        let model = ColdStart { without: Some(rule), durable, expect, restarts, rounds, founded };
        breaks(&format!("{rule:?}"), model);
    };
    without(Rule::OnePromise, DISKS, 3, 0, 2, false);
    without(Rule::FreedByAsker, DISKS, 3, 0, 2, false);
    without(Rule::CurrentRound, DISKS, 3, 0, 2, false);
    without(Rule::SeedsMajority, DISKS, 1, 0, 1, false);
    without(Rule::LastingMajority, NO_DISKS, 3, 1, 1, false);
    without(Rule::AskTheDisk, DISKS, 3, 1, 1, false);
    without(Rule::Doubt, ONE_WITHOUT_DISK, 1, 1, 1, true);
}
