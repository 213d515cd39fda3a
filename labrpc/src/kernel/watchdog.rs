//! Notices when a simulation neither goes on nor ends.
//!
//! Kit-owned. One OS thread of the process looks after all simulations. It never judges by wall time: a
//! simulation is stuck when its OS thread has used much CPU time without coming back to the kit (an
//! endless loop), or has been asleep in the operating system at every look, using none (a real lock, held
//! across a call that lets another thread run). Only Linux tells these things about another thread; on
//! other platforms nothing is noticed, and such a program hangs.
//!
//! What is stuck cannot be unwound, so the process ends: the report goes to the hook that
//! [`on_fatal`] was given.

// Elsewhere only the pulse is kept, and nobody feels it.
#![cfg_attr(not(target_os = "linux"), allow(dead_code, unused_imports))]

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once, OnceLock, PoisonError};
use std::time::Duration;

use super::report::Failure;

/// How often the watchdog looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// At so many looks in a row the thread must be asleep before it counts as blocked: three seconds on an
/// idle machine, more on a busy one.
const ASLEEP_LOOKS: u32 = 30;

/// How long a stuck thread has to report on itself before the watchdog does it.
const REPORT_WITHIN: Duration = Duration::from_secs(3);

/// What the exit code of a process is that ended so.
const EXIT_CODE: i32 = 101;

/// A failure that ends the process.
#[derive(Clone, Debug)]
pub struct Fatal {
    /// The label of the run, from its configuration.
    pub label: String,
    /// What happened.
    pub failure: Failure,
}

type Hook = Box<dyn Fn(&Fatal) + Send + Sync>;

static HOOK: OnceLock<Hook> = OnceLock::new();

/// Has `hook` told of failures that end the process: endless loops, real locks, stack overflows. The
/// process ends when it returns. Only the first hook counts; without one the failure goes to standard
/// error.
pub fn on_fatal(hook: impl Fn(&Fatal) + Send + Sync + 'static) {
    let _ = HOOK.set(Box::new(hook));
}

/// Reports a fatal failure and ends the process.
pub(super) fn end_process(fatal: &Fatal) -> ! {
    match HOOK.get() {
        Some(hook) => hook(fatal),
        None => eprintln!("{}: {}", fatal.label, fatal.failure),
    }
    std::process::exit(EXIT_CODE);
}

/// Why the watchdog asks a simulation to report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Suspicion {
    Loops = 1,
    Blocked = 2,
}

/// A simulation's sign of life.
#[derive(Debug)]
pub(crate) struct Pulse {
    label: String,
    steps: AtomicU64,
    suspicion: AtomicU8,
    cpu_limit: Duration,
    #[cfg(target_os = "linux")]
    thread: super::signals::OsThread,
}

impl Pulse {
    /// The pulse of the simulation that runs on the present OS thread.
    pub(crate) fn new(label: &str, cpu_limit: Duration) -> Pulse {
        Pulse {
            label: label.into(),
            steps: AtomicU64::new(0),
            suspicion: AtomicU8::new(0),
            cpu_limit,
            #[cfg(target_os = "linux")]
            thread: super::signals::OsThread::current(),
        }
    }

    pub(super) fn label(&self) -> &str {
        &self.label
    }

    /// The simulation has come back to the kit.
    #[inline]
    pub(super) fn beat(&self) {
        // Nobody else writes, so a plain addition is enough.
        self.steps.store(self.steps.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    pub(super) fn suspicion(&self) -> Option<Suspicion> {
        match self.suspicion.load(Ordering::Relaxed) {
            1 => Some(Suspicion::Loops),
            2 => Some(Suspicion::Blocked),
            _ => None,
        }
    }
}

static WATCHED: Mutex<Vec<Arc<Pulse>>> = Mutex::new(Vec::new());

/// A simulation that is being watched, until dropped.
pub(crate) struct Watched(Arc<Pulse>);

impl Watched {
    pub(crate) fn new(pulse: Arc<Pulse>) -> Watched {
        start();
        WATCHED.lock().unwrap_or_else(PoisonError::into_inner).push(pulse.clone());
        Watched(pulse)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
        watched.retain(|pulse| !Arc::ptr_eq(pulse, &self.0));
    }
}

#[cfg(not(target_os = "linux"))]
fn start() {}

#[cfg(target_os = "linux")]
fn start() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        super::signals::install();
        let thread = std::thread::Builder::new().name("watchdog".into());
        thread.spawn(linux::watch).expect("the operating system can start one more thread");
    });
}

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::BTreeMap;
    use std::fs;
    use std::sync::atomic::Ordering;
    use std::sync::{Arc, PoisonError};
    use std::thread;
    use std::time::{Duration, Instant};

    use super::{ASLEEP_LOOKS, Fatal, LOOK_EVERY, Pulse, REPORT_WITHIN, Suspicion, WATCHED, end_process};
    use crate::kernel::report::{Cause, Failure, Place};

    /// What was seen of a simulation since it last came back to the kit.
    struct Look {
        steps: u64,
        cpu_then: Duration,
        cpu_last: Duration,
        asleep: u32,
    }

    pub(super) fn watch() {
        let mut looks: BTreeMap<i32, Look> = BTreeMap::new();
        loop {
            thread::sleep(LOOK_EVERY);
            let watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner).clone();
            looks.retain(|id, _| watched.iter().any(|pulse| pulse.thread.id() == *id));
            for pulse in watched {
                if let Some(suspicion) = look(&pulse, &mut looks) {
                    ask_to_report(&pulse, suspicion);
                }
            }
        }
    }

    fn look(pulse: &Arc<Pulse>, looks: &mut BTreeMap<i32, Look>) -> Option<Suspicion> {
        let id = pulse.thread.id();
        let (cpu, is_asleep) = thread_times(id)?;
        let steps = pulse.steps.load(Ordering::Relaxed);
        let fresh = Look { steps, cpu_then: cpu, cpu_last: cpu, asleep: 0 };
        let seen = looks.entry(id).or_insert(fresh);
        if seen.steps != steps {
            *seen = Look { steps, cpu_then: cpu, cpu_last: cpu, asleep: 0 };
            return None;
        }
        seen.asleep = if is_asleep && cpu == seen.cpu_last { seen.asleep + 1 } else { 0 };
        seen.cpu_last = cpu;
        if cpu - seen.cpu_then >= pulse.cpu_limit {
            Some(Suspicion::Loops)
        } else if seen.asleep >= ASLEEP_LOOKS {
            Some(Suspicion::Blocked)
        } else {
            None
        }
    }

    /// The CPU time of a thread of this process, and whether it is asleep now.
    fn thread_times(id: i32) -> Option<(Duration, bool)> {
        let stat = fs::read_to_string(format!("/proc/self/task/{id}/stat")).ok()?;
        // The second field is the thread's name in parentheses, and may hold anything.
        let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
        let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
        // The kernel counts these in hundredths of a second on every platform Rust supports.
        Some((Duration::from_millis(ticks * 10), *fields.first()? == "S"))
    }

    /// Has the thread report on itself, as only it can tell where it is. Does not return.
    fn ask_to_report(pulse: &Arc<Pulse>, suspicion: Suspicion) {
        pulse.suspicion.store(suspicion as u8, Ordering::Relaxed);
        pulse.thread.interrupt();
        let asked = Instant::now();
        while asked.elapsed() < REPORT_WITHIN {
            thread::sleep(LOOK_EVERY);
        }
        let place = Place { thread: "a thread of the simulation".into(), line: "an unknown line".into() };
        let cause = Cause::Stuck { place, blocked: suspicion == Suspicion::Blocked, frames: Vec::new() };
        end_process(&Fatal { label: pulse.label.clone(), failure: Failure { at: Duration::ZERO, cause } });
    }
}
