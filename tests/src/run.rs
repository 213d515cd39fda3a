//! Running one test on one seed.
//!
//! Kit-owned.

use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use labgrading::{Class, Test};
use labrpc::constants::{UNREACHABLE_LAB2, UNREACHABLE_LAB3};
use labrpc::{Cause, Config, Failure, Report, Trace, World};
use parking_lot::Mutex;

use crate::checks::Scope;
use crate::cluster::{Above, Cluster};
use crate::finding::{Finding, Findings};
use crate::script::Script;
use crate::storm::StormOrder;
use crate::watch::Watch;

/// What a test does with its cluster.
pub type Body = fn(&mut Cluster);

/// What a test does with one server among scripted peers.
pub type ScriptBody = fn(&mut Script);

/// What a test does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Play {
    /// With a cluster of real servers, watched by all checks.
    Cluster(Body),
    /// With one real server.
    Script(ScriptBody),
    /// With a service on a cluster, and its clients.
    #[cfg(feature = "kv")]
    Service {
        body: crate::kv::KvBody,
        /// At how many bytes of log servers make a snapshot.
        limit: Option<usize>,
    },
}

/// What there is to run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunOf<'a> {
    /// The test, from the catalogue.
    pub(crate) test: &'a Test,
    /// How many servers its cluster has.
    pub(crate) servers: usize,
    /// What it does.
    pub(crate) play: Play,
    /// Which faults of its storm to keep; all when `None`.
    pub(crate) keep: Option<&'a [usize]>,
}

/// How one seed went.
#[derive(Clone, Debug)]
pub(crate) struct SeedRun {
    /// The seed.
    pub(crate) seed: u64,
    /// What was measured, or what was found.
    pub(crate) outcome: Result<BTreeMap<String, f64>, Finding>,
    /// The hash of the run's trace.
    pub(crate) trace_hash: u64,
    /// Virtual time at the end.
    pub(crate) virtual_time: Duration,
    /// How many steps the simulation took.
    pub(crate) steps: u64,
    /// The trace, when one was recorded.
    pub(crate) trace: Option<Trace>,
    /// The faults of its storm, by number.
    pub(crate) faults: Vec<(usize, String)>,
}

/// Runs a test on a seed.
pub(crate) fn run_seed(run: RunOf<'_>, seed: u64, record: bool) -> SeedRun {
    let scope = Scope::of_stage(run.test.stage());
    let config = Config {
        unreachable: if scope == Scope::Service { UNREACHABLE_LAB3 } else { UNREACHABLE_LAB2 },
        time_limit: run.test.time_limit(),
        step_limit: run.test.step_limit,
        record,
        label: format!("{} {seed}", run.test.id),
        allow_unwritten: matches!(run.play, Play::Script(_)),
        ..Config::new(seed)
    };
    let findings: Findings = Arc::new(Mutex::new(None));
    let found = findings.clone();
    let RunOf { servers, play, keep, .. } = run;
    let storm = StormOrder { keep: keep.map(<[usize]>::to_vec), ..StormOrder::default() };
    let faults = storm.faults.clone();
    let report = panic::catch_unwind(AssertUnwindSafe(|| {
        labrpc::run(&config, move |world| match play {
            Play::Cluster(body) => {
                let watch = watch(&world, servers, scope, found);
                let mut cluster = Cluster::new(world, servers, watch, storm, Above::Counter);
                body(&mut cluster);
                cluster.into_measures()
            }
            #[cfg(feature = "kv")]
            Play::Service { body, limit } => {
                let watch = watch(&world, servers, scope, found);
                let mut service = crate::kv::KvCluster::new(world, servers, watch, storm, limit);
                body(&mut service);
                service.finish()
            }
            Play::Script(body) => {
                let mut script = Script::new(world, servers, found);
                body(&mut script);
                script.into_measures()
            }
        })
    }));
    let found = findings.lock().take();
    let faults = std::mem::take(&mut *faults.lock());
    match report {
        Ok(Report { outcome, trace_hash, virtual_time, steps, trace, unwritten, .. }) => {
            let outcome = outcome.map_err(|failure| {
                let finding = found.unwrap_or_else(|| finding_of(&failure));
                not_started(&finding, &unwritten).unwrap_or(finding)
            });
            SeedRun { seed, outcome, trace_hash, virtual_time, steps, trace, faults }
        }
        Err(_) => SeedRun {
            seed,
            outcome: Err(Finding::new(
                Class::KitFault,
                "the kit itself",
                "the simulation runs to its end",
                "the simulation panicked; please report this with the seed",
            )),
            trace_hash: 0,
            virtual_time: Duration::ZERO,
            steps: 0,
            trace: None,
            faults,
        },
    }
}

/// Has all checks watch the world.
fn watch(world: &World, servers: usize, scope: Scope, findings: Findings) -> Rc<Watch> {
    let watch = Rc::new(Watch::new(world.clone(), servers, scope, findings));
    world.observe(watch.clone());
    watch
}

/// Runs a cluster outside of any test, for benchmarks; with or without the checks. Returns the virtual
/// time it took.
///
/// # Panics
///
/// When the run fails.
pub fn run_unjudged(servers: usize, seed: u64, is_watched: bool, body: Body) -> Duration {
    let config = Config { time_limit: Duration::MAX, step_limit: u64::MAX, ..Config::new(seed) };
    let report = labrpc::run(&config, move |world| {
        let watch = Rc::new(Watch::new(world.clone(), servers, Scope::Snapshots, Findings::default()));
        if is_watched {
            world.observe(watch.clone());
        } else {
            watch.turn_off();
        }
        body(&mut Cluster::new(world, servers, watch, StormOrder::default(), Above::Counter));
    });
    if let Err(failure) = report.outcome {
        panic!("a benchmark does not fail: {failure}");
    }
    report.virtual_time
}

/// When a server that has come to a `todo!` fails to do something, that `todo!` is the reason: one in a
/// handler if there is one, as that is where a script was kept waiting.
fn not_started(finding: &Finding, unwritten: &[Failure]) -> Option<Finding> {
    let is_handlers = |failure: &&Failure| matches!(&failure.cause, Cause::Panic { place, .. } if place.thread.ends_with("handler'"));
    let reason = unwritten.iter().find(is_handlers).or(unwritten.first())?;
    (finding.class == Class::Liveness).then(|| finding_of(reason))
}

/// What the world's own failures mean for a student.
pub(crate) fn finding_of(failure: &Failure) -> Finding {
    let finding = match &failure.cause {
        Cause::Panic { place, .. } => match failure.cause.unwritten() {
            Some(what) => Finding::new(
                Class::NotStarted,
                "every function of the stage is written",
                "no `todo!` is reached",
                format!("write this next, in {}: {what}", place.line),
            ),
            None if place.thread.starts_with("node tester ") => Finding::new(
                Class::KitFault,
                "the kit itself",
                "the test does not panic",
                failure.cause.to_string(),
            ),
            None => Finding::safety("no thread panics", "the servers run", failure.cause.to_string()),
        },
        Cause::Deadlock { .. } | Cause::TimeLimit { .. } => {
            Finding::liveness("the cluster goes on", "the test comes to its end", failure.cause.to_string())
        }
        Cause::Stuck { .. } => Finding::new(
            Class::Stuck,
            "every thread goes on, waits through labrpc, or ends",
            "the test comes to its end",
            failure.cause.to_string(),
        ),
        Cause::StackOverflow { .. } => {
            Finding::safety("no thread panics or overflows", "the servers run", failure.cause.to_string())
        }
        Cause::StepLimit { .. } => Finding::new(
            Class::Performance,
            "threads wait without polling",
            "the test comes to its end",
            failure.cause.to_string(),
        ),
        Cause::SwallowedCrash { .. } | Cause::LockNeededByDrop { .. } => Finding::safety(
            "a server can crash at any moment",
            "its threads unwind",
            failure.cause.to_string(),
        ),
        Cause::Stopped { message } => Finding::new(Class::KitFault, "the kit itself", "a finding", message),
    };
    Finding { at: failure.at, ..finding }
}
