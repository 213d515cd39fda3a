//! The way into a graded test, for `cargo test` and for `cargo lab` alike.
//!
//! Kit-owned. Run by `cargo test`, a test runs a few seeds and fails as any Rust test does. Run by
//! `cargo lab`, it reads an order from standard input before any student code runs, and answers with
//! records on standard output.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::panic;

use labgrading::{Catalog, Class, Failure, Order, Outcome, Record, SeedRange, Test, format_record};

use crate::finding::Finding;
use crate::limits::{FIRST_HEARTBEAT, FIRST_HEARTBEAT_SHARE, LEADER_WAIT, LEADER_WITHIN};
use crate::report::{columns, report};
use crate::run::{Body, Play, RunOf, ScriptBody, SeedRun, run_seed};

/// Set by `cargo lab` for the processes it starts.
const ORDER_ON_STDIN: &str = "LAB_ORDER_ON_STDIN";

/// The seeds that plain `cargo test` runs.
const DEFAULT_SEEDS: SeedRange = SeedRange { first: 1, last: 3 };

/// Runs the graded test `id` on clusters of `servers` servers.
///
/// # Panics
///
/// When the test fails, or `id` is not in the catalogue.
pub fn graded(id: &str, servers: usize, body: Body) {
    run_graded(id, servers, Play::Cluster(body));
}

/// Runs the graded test `id` on one real server among `servers - 1` scripted peers.
///
/// # Panics
///
/// When the test fails, or `id` is not in the catalogue.
pub fn graded_script(id: &str, servers: usize, body: ScriptBody) {
    run_graded(id, servers, Play::Script(body));
}

fn run_graded(id: &str, servers: usize, play: Play) {
    let catalog = Catalog::load();
    let test = catalog.test(id).unwrap_or_else(|| panic!("{id} is not in tests/catalog.toml"));
    let run = RunOf { test, servers, play };
    if std::env::var_os(ORDER_ON_STDIN).is_some() {
        let order = read_order();
        answer(run, &order);
        return;
    }
    let seeds = seeds_from_environment().unwrap_or_else(|message| fail_quietly(&message));
    let suffix = if cfg!(feature = "solution") { " --solution" } else { "" };
    let outcome = run_all(run, seeds, suffix, false, &mut |_, _| {});
    if let Outcome::Failed(failure) = outcome {
        fail_quietly(&failure.report);
    }
}

/// Runs seeds up to the first that fails, and judges what was measured in all of them. Tells `tell` of
/// every seed. Records every run if asked to; otherwise only that of a failure, by running it again.
fn run_all(
    run: RunOf<'_>,
    seeds: SeedRange,
    replay_suffix: &str,
    record: bool,
    tell: &mut dyn FnMut(&SeedRun, &Outcome),
) -> Outcome {
    let mut measures: BTreeMap<String, Vec<(f64, u64)>> = BTreeMap::new();
    for seed in seeds.first..=seeds.last {
        let seed_run = run_seed(run, seed, record);
        let outcome = match &seed_run.outcome {
            Ok(measured) => {
                for (name, value) in measured {
                    measures.entry(name.clone()).or_default().push((*value, seed));
                }
                Outcome::Passed
            }
            Err(finding) if record => failed(run.test, &seed_run, finding, replay_suffix),
            Err(finding) => explain(run, &seed_run, finding, replay_suffix),
        };
        tell(&seed_run, &outcome);
        if matches!(outcome, Outcome::Failed(_)) {
            return outcome;
        }
    }
    judge_measures(run.test, &mut measures, replay_suffix)
}

/// Runs a failed seed again, recording, and reports. A run that takes another course the second time is
/// reported as such: nothing else that can be said of it would hold.
fn explain(run: RunOf<'_>, first: &SeedRun, finding: &Finding, replay_suffix: &str) -> Outcome {
    let again = run_seed(run, first.seed, true);
    let outcome = failed(run.test, &again, finding, replay_suffix);
    match outcome {
        Outcome::Failed(mut failure) if again.trace_hash != first.trace_hash => {
            failure.report.push_str(
                "  The run went differently when it was repeated. Something in it depends on more than the\n  \
                 seed, such as the order of a std HashMap, the real clock, or a real thread.\n",
            );
            Outcome::Failed(failure)
        }
        outcome => outcome,
    }
}

fn failed(test: &Test, recorded: &SeedRun, finding: &Finding, replay_suffix: &str) -> Outcome {
    let report = report(test, recorded.seed, finding, recorded.trace.as_ref(), replay_suffix);
    Outcome::Failed(Failure { class: finding.class, summary: finding.seen.clone(), report })
}

/// A limit that holds for the median over the seeds, because chance alone can break it on one.
struct MedianLimit {
    measure: &'static str,
    at_most: f64,
    checked: &'static str,
    expected: &'static str,
    seen: &'static str,
}

const MEDIAN_LIMITS: [MedianLimit; 2] = [
    MedianLimit {
        measure: LEADER_WAIT,
        at_most: LEADER_WITHIN.as_secs_f64(),
        checked: "a leader is elected quickly (median over all seeds)",
        expected: "a leader within 5 s",
        seen: "half of the runs waited this many seconds or more for a leader:",
    },
    MedianLimit {
        measure: FIRST_HEARTBEAT,
        at_most: FIRST_HEARTBEAT_SHARE,
        checked: "a new leader sends heartbeats at once (Raft 5.2; median over all seeds)",
        expected: "the first AppendEntries well before the next heartbeat would be due",
        seen: "in half of the runs the first AppendEntries after a win took this share of a heartbeat interval or more:",
    },
];

fn judge_measures(
    test: &Test,
    measures: &mut BTreeMap<String, Vec<(f64, u64)>>,
    replay_suffix: &str,
) -> Outcome {
    for limit in &MEDIAN_LIMITS {
        let Some(values) = measures.get_mut(limit.measure) else { continue };
        values.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let (median, seed) = values[values.len() / 2];
        if median > limit.at_most {
            let seen = format!("{} {median:.2}", limit.seen);
            let finding = Finding::new(Class::Performance, limit.checked, limit.expected, seen);
            let report = report(test, seed, &finding, None, replay_suffix);
            return Outcome::Failed(Failure { class: finding.class, summary: finding.seen, report });
        }
    }
    Outcome::Passed
}

fn read_order() -> Order {
    let mut line = String::new();
    io::stdin().read_line(&mut line).expect("cargo lab sends an order");
    serde_json::from_str(&line).expect("cargo lab and the tests agree on what an order is")
}

fn answer(run: RunOf<'_>, order: &Order) {
    let send = |record: &Record| {
        let mut out = io::stdout().lock();
        // When nobody reads any more there is nobody to tell.
        let _ = out.write_all(format_record(&order.nonce, record).as_bytes()).and_then(|()| out.flush());
    };
    let outcome = run_all(run, order.seeds, &order.replay_suffix, order.trace, &mut |seed_run, outcome| {
        if let Some(trace) = &seed_run.trace {
            send(&Record::Trace { text: columns(trace) });
        }
        send(&Record::Seed {
            seed: seed_run.seed,
            outcome: outcome.clone(),
            trace_hash: format!("{:016x}", seed_run.trace_hash),
            virtual_ms: seed_run.virtual_time.as_millis() as u64,
            measures: seed_run.outcome.clone().unwrap_or_default(),
        });
    });
    send(&Record::Finished { outcome, source: labraft::SOURCE_HASH.into() });
}

/// The seeds that `LAB_SEED` or `LAB_SEEDS` ask for.
fn seeds_from_environment() -> Result<SeedRange, String> {
    let number = |name: &str| match std::env::var(name) {
        Err(_) => Ok(None),
        Ok(text) => match text.parse::<u64>() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(format!("{name} must be a whole number, not '{text}'\n")),
        },
    };
    match (number("LAB_SEED")?, number("LAB_SEEDS")?) {
        (Some(_), Some(_)) => {
            Err("set LAB_SEED for one seed or LAB_SEEDS for seeds 1 to N, not both\n".into())
        }
        (Some(seed), None) => Ok(SeedRange { first: seed, last: seed }),
        (None, Some(0)) => Err("LAB_SEEDS must be at least 1\n".into()),
        (None, Some(count)) => Ok(SeedRange { first: 1, last: count }),
        (None, None) => Ok(DEFAULT_SEEDS),
    }
}

/// Fails the running test with a text, without the word "panicked" and a backtrace around it.
fn fail_quietly(text: &str) -> ! {
    eprint!("{text}");
    panic::resume_unwind(Box::new("the test failed"));
}
