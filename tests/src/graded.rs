//! The way into a graded test, for `cargo test` and for `cargo lab` alike.
//!
//! Kit-owned. Run by `cargo test`, a test runs a few seeds and fails as any Rust test does. Run by
//! `cargo lab`, it reads an order from standard input before any student code runs, and answers with
//! records on standard output.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::panic;

use labrpc::{Fatal, on_fatal};
use parking_lot::Mutex;

use labgrading::{Catalog, Class, Failure, Order, Outcome, Record, SeedRange, Test, format_record};

use crate::finding::Finding;
use crate::limits::{
    BACKUP_TIME, BACKUP_WITHIN, COMMIT_TIME, COMMIT_WITHIN, FIRST_HEARTBEAT, FIRST_HEARTBEAT_SHARE,
    LEADER_WAIT, LEADER_WITHIN, OPERATION_TIME, OPERATION_TIME_MAX,
};
use crate::report::{Context, columns, report, rows_as_text};
use crate::run::{Body, Play, RunOf, ScriptBody, SeedRun, finding_of, run_seed};
use crate::shorten::{Attempt, Budget, shorten};

/// Set by `cargo lab` for the processes it starts.
const ORDER_ON_STDIN: &str = "LAB_ORDER_ON_STDIN";

/// The seeds that plain `cargo test` runs.
const DEFAULT_SEEDS: SeedRange = SeedRange { first: 1, last: 3 };

/// What a replay command ends in outside of `cargo lab`.
const SUFFIX: &str = suffix();

const fn suffix() -> &'static str {
    // release: omit begin
    if cfg!(feature = "solution") {
        return " --solution";
    }
    if cfg!(feature = "reference-raft") {
        return " --raft reference";
    }
    // release: omit end
    ""
}

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

/// Runs the graded test `id` on a service of `servers` servers, which make a snapshot when their logs reach
/// `limit` bytes.
///
/// # Panics
///
/// When the test fails, or `id` is not in the catalogue.
#[cfg(feature = "kv")]
pub fn graded_kv(id: &str, servers: usize, limit: Option<usize>, body: crate::kv::KvBody) {
    run_graded(id, servers, Play::Service { body, limit });
}

fn run_graded(id: &str, servers: usize, play: Play) {
    let catalog = Catalog::load();
    let test = catalog.test(id).unwrap_or_else(|| panic!("{id} is not in tests/catalog.toml"));
    let run = RunOf { test, servers, play, keep: None };
    on_fatal(end_with_report);
    if std::env::var_os(ORDER_ON_STDIN).is_some() {
        let order = read_order();
        answer(run, &order);
        return;
    }
    let seeds = seeds_from_environment().unwrap_or_else(|message| fail_quietly(&message));
    let outcome = run_all(run, seeds, SUFFIX, false, &mut |_, _| {});
    if let Outcome::Failed(failure) = outcome {
        fail_quietly(&failure.report);
    }
}

/// The first seed that passes, and then one in so many, is run twice, to find programs that depend on more
/// than their seed.
const REPEAT_EVERY: u64 = 100;

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
                if seed % REPEAT_EVERY == seeds.first % REPEAT_EVERY {
                    check_repeatable(run, &seed_run, replay_suffix)
                } else {
                    Outcome::Passed
                }
            }
            Err(finding) if record => failed(run, &seed_run, finding, replay_suffix),
            Err(finding) => explain(run, &seed_run, finding, replay_suffix),
        };
        tell(&seed_run, &outcome);
        if matches!(outcome, Outcome::Failed(_)) {
            return outcome;
        }
    }
    judge_measures(run.test, &mut measures, replay_suffix)
}

/// Runs a failed seed again, recording, and reports. When the run takes another course the second time,
/// that is reported instead: nothing else that could be said of it would hold. Of a storm, only those
/// faults are shown that it takes to fail in this way.
fn explain(run: RunOf<'_>, first: &SeedRun, finding: &Finding, replay_suffix: &str) -> Outcome {
    let again = run_seed(run, first.seed, true);
    if again.trace_hash != first.trace_hash {
        return not_repeatable(run, first.seed, replay_suffix);
    }
    let total = first.faults.len();
    let keep = needed_faults(run, first, finding);
    if run.keep.is_some() || keep.len() == total {
        return failed(run, &again, finding, replay_suffix);
    }
    let shortened = run_seed(RunOf { keep: Some(&keep), ..run }, first.seed, true);
    // Faults are counted from 1, so 0 keeps none.
    let kept = if keep.is_empty() { &[0][..] } else { &keep[..] };
    let numbers: Vec<String> = kept.iter().map(usize::to_string).collect();
    let suffix = format!(" --keep {}{replay_suffix}", numbers.join(","));
    match &shortened.outcome {
        Err(finding) => failed(run, &shortened, finding, &suffix),
        Ok(_) => failed(run, &again, finding, replay_suffix),
    }
}

/// The faults of a storm that it takes to break the same rule again, as far as they can be told apart.
fn needed_faults(run: RunOf<'_>, first: &SeedRun, finding: &Finding) -> Vec<usize> {
    let faults = first.faults.iter().map(|(number, _)| *number).collect();
    shorten(faults, Budget::OF_A_FAILURE, |plan| {
        let SeedRun { outcome, steps, .. } = run_seed(RunOf { keep: Some(plan), ..run }, first.seed, false);
        let is_alike = |other: Finding| other.class == finding.class && other.checked == finding.checked;
        Attempt { fails_alike: outcome.is_err_and(is_alike), steps }
    })
}

/// Runs a seed that has passed a second time, while memory is laid out differently, and fails it if the
/// run takes another course.
fn check_repeatable(run: RunOf<'_>, first: &SeedRun, replay_suffix: &str) -> Outcome {
    let _in_the_way: Vec<Vec<u8>> = (1..64).map(|size| vec![0; size * 24]).collect();
    let again = run_seed(run, first.seed, false);
    if again.trace_hash == first.trace_hash {
        Outcome::Passed
    } else {
        not_repeatable(run, first.seed, replay_suffix)
    }
}

/// Runs a script on seed 1 and again, as [`graded_script`] does with the first seed that passes; the report
/// when the two runs differ. For tests of the harness.
///
/// # Panics
///
/// When `id` is not in the catalogue, or the script fails.
pub fn repeat_report(id: &str, servers: usize, body: ScriptBody) -> Option<String> {
    let catalog = Catalog::load();
    let test = catalog.test(id).unwrap_or_else(|| panic!("{id} is not in tests/catalog.toml"));
    let run = RunOf { test, servers, play: Play::Script(body), keep: None };
    let first = run_seed(run, 1, false);
    assert!(first.outcome.is_ok(), "the script fails: {:?}", first.outcome);
    match check_repeatable(run, &first, "") {
        Outcome::Passed => None,
        Outcome::Failed(failure) => Some(failure.report),
    }
}

/// The report of a run that depends on more than its seed, with the first event that differs.
fn not_repeatable(run: RunOf<'_>, seed: u64, replay_suffix: &str) -> Outcome {
    const TRIES: usize = 5;
    let first = run_seed(run, seed, true);
    let rows = |seed_run: &SeedRun| seed_run.trace.as_ref().map(rows_as_text).unwrap_or_default();
    let expected = rows(&first);
    let mut seen = String::from("the run went differently when it was repeated");
    for _ in 0..TRIES {
        let again = rows(&run_seed(run, seed, true));
        let differs = expected.iter().zip(&again).position(|(first, again)| first != again);
        if let Some(index) = differs {
            seen.push_str(&format!(
                "; the first event that differs:\n  {}\n  {}",
                expected[index], again[index]
            ));
            break;
        }
    }
    let finding = Finding {
        at: first.virtual_time,
        ..Finding::safety(
            "a run is a function of its seed",
            "the same events on every run of the seed; look for a HashMap's order, an order by address, the real clock, a real thread, a static, or random numbers from the operating system: the crates `rand`, `getrandom` and `fastrand` draw them, `labrpc::rng` does not",
            seen,
        )
    };
    failed(run, &first, &finding, replay_suffix)
}

fn failed(run: RunOf<'_>, recorded: &SeedRun, finding: &Finding, replay_suffix: &str) -> Outcome {
    let context = Context { trace: recorded.trace.as_ref(), servers: run.servers, faults: &recorded.faults };
    failure(finding, report(run.test, recorded.seed, finding, context, replay_suffix))
}

fn failure(finding: &Finding, report: String) -> Outcome {
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

const MEDIAN_LIMITS: [MedianLimit; 5] = [
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
    MedianLimit {
        measure: COMMIT_TIME,
        at_most: COMMIT_WITHIN.as_secs_f64(),
        checked: "a command is sent at once, and committed when a majority has answered (Raft 5.3; median over all seeds)",
        expected: "a command committed within 25 ms",
        seen: "in half of the runs a command took this many seconds or more to be committed:",
    },
    MedianLimit {
        measure: BACKUP_TIME,
        at_most: BACKUP_WITHIN.as_secs_f64(),
        checked: "a leader that finds where two logs part goes on at once (end of Raft 5.3; median over all seeds)",
        expected: "a follower with forty wrong entries catches up within 2.5 s",
        seen: "in half of the runs a follower with forty wrong entries took this many seconds or more to catch up:",
    },
    MedianLimit {
        measure: OPERATION_TIME,
        at_most: OPERATION_TIME_MAX.as_secs_f64(),
        checked: "an operation waits for messages, not for the next heartbeat (median over all seeds)",
        expected: "33 ms for an operation, on average",
        seen: "in half of the runs an operation took this many seconds or more, on average:",
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
            return failure(&finding, report(test, seed, &finding, Context::default(), replay_suffix));
        }
    }
    Outcome::Passed
}

/// The hash of the files that this program was built from.
fn source() -> String {
    #[cfg(feature = "kv")]
    return format!("{}-{}", labraft::SOURCE_HASH, labkv::SOURCE_HASH);
    #[cfg(not(feature = "kv"))]
    labraft::SOURCE_HASH.into()
}

fn read_order() -> Order {
    let mut line = String::new();
    io::stdin().read_line(&mut line).expect("cargo lab sends an order");
    serde_json::from_str(&line).expect("cargo lab and the tests agree on what an order is")
}

/// What `cargo lab` has ordered, for the report of a failure that ends the process.
static ORDER: Mutex<Option<Order>> = Mutex::new(None);

/// Reports a failure after which the process cannot go on.
fn end_with_report(fatal: &Fatal) {
    let finding = finding_of(&fatal.failure);
    let (id, seed) = fatal.label.split_once(' ').unwrap_or((&fatal.label, "0"));
    let seed = seed.parse().unwrap_or(0);
    let catalog = Catalog::load();
    let order = ORDER.lock().clone();
    let suffix = order.as_ref().map_or(SUFFIX, |order| &order.replay_suffix);
    let report = match catalog.test(id) {
        Some(test) => report(test, seed, &finding, Context::default(), suffix),
        None => finding.seen.clone(),
    };
    let Some(order) = order else {
        eprint!("{report}");
        return;
    };
    let outcome = failure(&finding, report);
    send(
        &order,
        &Record::Seed {
            seed,
            outcome: outcome.clone(),
            trace_hash: String::new(),
            virtual_ms: finding.at.as_millis() as u64,
            measures: BTreeMap::new(),
        },
    );
    send(&order, &Record::Finished { outcome, source: source() });
}

fn send(order: &Order, record: &Record) {
    let mut out = io::stdout().lock();
    // When nobody reads any more there is nobody to tell.
    let _ = out.write_all(format_record(&order.nonce, record).as_bytes()).and_then(|()| out.flush());
}

fn answer(run: RunOf<'_>, order: &Order) {
    let run = RunOf { keep: order.keep.as_deref(), ..run };
    *ORDER.lock() = Some(order.clone());
    let outcome = run_all(run, order.seeds, &order.replay_suffix, order.trace, &mut |seed_run, outcome| {
        if let Some(trace) = &seed_run.trace {
            send(order, &Record::Trace { text: columns(trace, run.servers) });
        }
        send(
            order,
            &Record::Seed {
                seed: seed_run.seed,
                outcome: outcome.clone(),
                trace_hash: format!("{:016x}", seed_run.trace_hash),
                virtual_ms: seed_run.virtual_time.as_millis() as u64,
                measures: seed_run.outcome.clone().unwrap_or_default(),
            },
        );
    });
    send(order, &Record::Finished { outcome, source: source() });
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
