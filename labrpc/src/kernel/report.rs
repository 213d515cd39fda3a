//! What went wrong in a run, in words: panics, deadlocks, limits.
//!
//! Kit-owned. Every text names node, thread and virtual time, and the line in the student's file. The
//! wording is part of the kit's interface: golden tests pin it.

use std::any::Any;
use std::fmt::{self, Display};
use std::panic::{self, Location};
use std::sync::Once;
use std::time::Duration;

use super::threads::{Holder, NodeId, SimThread, State, ThreadId, ThreadName, Waiting};
use super::{Kernel, current};

/// Why a run ended before its test did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Virtual time at which it happened.
    pub at: Duration,
    /// What happened.
    pub cause: Cause,
}

/// What can end a run early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A thread panicked.
    Panic {
        /// The thread, and the line that panicked.
        place: Place,
        /// The panic's message.
        message: String,
    },
    /// No thread can ever run again, or some wait for each other's locks in a circle.
    Deadlock {
        /// True for a circle: other threads may still have been running.
        circle: bool,
        /// The threads that wait.
        waiting: Vec<Stuck>,
    },
    /// A crashed thread went on and on, catching its own crash.
    SwallowedCrash {
        /// The thread, and the operation at which it was last told.
        place: Place,
        /// How often it caught the crash.
        times: u32,
    },
    /// A destructor that ran during a crash or a panic needs a lock that a living thread holds.
    LockNeededByDrop {
        /// The unwinding thread, and where it asked for the lock.
        place: Place,
        /// The thread that holds the lock, and where it took it.
        holder: Option<Place>,
    },
    /// The run's limit of virtual time passed.
    TimeLimit {
        /// That limit.
        limit: Duration,
    },
    /// The run's limit of operations was used up.
    StepLimit {
        /// That limit.
        limit: u64,
        /// The thread that was running, and its last operation.
        place: Place,
    },
    /// The process was ended: a thread neither came back to the kit nor ended.
    Stuck {
        /// The thread, and its last operation of the facade.
        place: Place,
        /// True when it is asleep in the operating system, false when it computes.
        blocked: bool,
        /// Where it is, the innermost place first, as far as that is known.
        frames: Vec<String>,
    },
    /// The process was ended: a thread used up its stack.
    StackOverflow {
        /// The thread, and its last operation of the facade.
        place: Place,
        /// The size of its stack in KiB.
        kib: usize,
        /// Where it is, the innermost place first, as far as that is known.
        frames: Vec<String>,
    },
    /// The test ended the run, through [`crate::World::fail`].
    Stopped {
        /// The test's own words.
        message: String,
    },
}

/// A thread, and a line of source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Such as `node S1 thread 'ticker'`.
    pub thread: String,
    /// Such as `labraft/src/raft.rs:41:9`.
    pub line: String,
}

/// A thread that waits for something that cannot happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// The thread, and the line at which it waits.
    pub place: Place,
    /// What it waits for, such as `a lock`.
    pub waiting_for: String,
    /// For a lock: who holds it, and where it was taken.
    pub holder: Option<Place>,
    /// Virtual time since when it has waited.
    pub since: Duration,
}

impl Cause {
    /// What is still to be written, when the cause is a panic by `todo!`.
    pub fn unwritten(&self) -> Option<&str> {
        let Cause::Panic { message, .. } = self else { return None };
        let rest = message.strip_prefix("not yet implemented")?;
        Some(rest.strip_prefix(": ").unwrap_or("this function"))
    }
}

impl Place {
    pub(crate) fn new(thread: String, at: &Location<'_>) -> Place {
        Place { thread, line: line(at) }
    }
}

impl Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.thread, self.line)
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[t={:.6}s] {}", self.at.as_secs_f64(), self.cause)
    }
}

impl Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Panic { place, message } => {
                write!(f, "{} panicked at {}: {message}", place.thread, place.line)
            }
            Cause::Deadlock { circle, waiting } => {
                f.write_str(match (circle, waiting.len()) {
                    (true, 1) => "deadlock: this thread waits for itself",
                    (true, _) => "deadlock: these threads wait for each other",
                    (false, _) => "deadlock: every thread waits, and nothing is left that could wake one",
                })?;
                waiting.iter().try_for_each(|stuck| write!(f, "\n  {stuck}"))
            }
            Cause::SwallowedCrash { place, times } => write!(
                f,
                "{} swallowed the crash of its node {times} times with catch_unwind, last at {}",
                place.thread, place.line
            ),
            Cause::LockNeededByDrop { place, holder } => {
                write!(
                    f,
                    "a Drop of {} needs a lock at {} while the thread is being unwound",
                    place.thread, place.line
                )?;
                match holder {
                    Some(holder) => {
                        write!(f, "; the lock is held by {}, which took it at {}", holder.thread, holder.line)
                    }
                    None => Ok(()),
                }
            }
            Cause::TimeLimit { limit } => {
                write!(f, "the run's limit of {} s of virtual time passed", limit.as_secs_f64())
            }
            Cause::StepLimit { limit, place } => write!(
                f,
                "the run's limit of {limit} operations was used up; {} was running, at {}; does it poll without a sleep?",
                place.thread, place.line
            ),
            Cause::Stuck { place, blocked: false, frames } => {
                write!(f, "{} loops without end{}", place.thread, at_frames(frames))?;
                write!(f, "\n  its last call into the kit was at {}", place.line)
            }
            Cause::Stuck { place, blocked: true, frames } => {
                write!(f, "{} is blocked outside of the simulation{}", place.thread, at_frames(frames))?;
                write!(f, "\n  its last call into the kit was at {}", place.line)?;
                f.write_str("\n  does it wait for a std or parking_lot lock that is held across a sleep, a call or a send? Use labrpc::sync")
            }
            Cause::StackOverflow { place, kib, frames } => {
                write!(f, "{} used up its stack of {kib} KiB{}", place.thread, at_frames(frames))?;
                write!(f, "\n  its last call into the kit was at {}", place.line)
            }
            Cause::Stopped { message } => f.write_str(message),
        }
    }
}

impl Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stuck { place, waiting_for, holder, since } = self;
        write!(
            f,
            "{} waits for {waiting_for} at {} since t={:.6}s",
            place.thread,
            place.line,
            since.as_secs_f64()
        )?;
        match holder {
            Some(holder) if holder.thread == place.thread => {
                write!(f, " (it holds that lock itself: it took it at {})", holder.line)
            }
            Some(holder) => write!(f, " (held by {}, which took it at {})", holder.thread, holder.line),
            None => Ok(()),
        }
    }
}

fn at_frames(frames: &[String]) -> String {
    match frames {
        [] => String::new(),
        [first, outer @ ..] => {
            let outer: String = outer.iter().map(|frame| format!("\n  called at {frame}")).collect();
            format!(", at {first}{outer}")
        }
    }
}

/// A panic as the hook saw it, kept until the unwinding reaches the bottom of the thread's stack.
pub(super) struct PanicNote {
    place: Place,
    message: String,
}

impl Kernel {
    /// Ends the run. The first reason counts. Returns: the caller decides what its thread does.
    pub(crate) fn fail(&self, cause: Cause) {
        self.over.set(true);
        let at = Duration::from_nanos(self.now());
        self.failure.borrow_mut().get_or_insert(Failure { at, cause });
    }

    /// Called at the bottom of a thread's stack, which a panic has unwound.
    pub(super) fn fail_by_panic(&self, payload: &(dyn Any + Send)) {
        let note = self.panicked.borrow_mut().take();
        let note = note.unwrap_or_else(|| PanicNote {
            place: Place::new(self.describe_me(), self.at.get()),
            message: message_of(payload),
        });
        let cause = match self.real_thread.take() {
            None => Cause::Panic { place: note.place, message: note.message },
            Some(line) => {
                let place = Place { thread: note.place.thread, line };
                Cause::Panic { place, message: REAL_THREAD.into() }
            }
        };
        match &self.unwritten {
            Some(unwritten) if cause.unwritten().is_some() => {
                unwritten.borrow_mut().push(Failure { at: Duration::from_nanos(self.now()), cause });
            }
            _ => self.fail(cause),
        }
    }

    /// The threads of a run in which nothing can happen any more.
    pub(super) fn deadlock(&self) -> Cause {
        let threads = self.threads.borrow();
        let waiting = threads.by_age().into_iter().filter_map(|thread| self.stuck(thread)).collect();
        Cause::Deadlock { circle: false, waiting }
    }

    /// Fails the run if the running thread, about to wait for a lock of `holders`, would wait for
    /// itself, directly or through the locks that others wait for.
    pub(crate) fn check_for_circle(&self, holders: &[Holder], at: &'static Location<'static>) {
        let me = self.me();
        let mut circle = Vec::new();
        if !holders.iter().any(|holder| self.leads_to(holder.thread, me, &mut circle)) {
            return;
        }
        let first = circle.last().copied().unwrap_or(me);
        let entry = holders.iter().find(|holder| holder.thread == first);
        let threads = self.threads.borrow();
        let mut waiting = vec![Stuck {
            place: Place::new(self.describe_me(), at),
            waiting_for: "a lock".into(),
            holder: entry.map(|holder| self.place(*holder)),
            since: Duration::from_nanos(self.now()),
        }];
        waiting.extend(
            circle.iter().rev().filter_map(|&id| threads.get(id).and_then(|thread| self.stuck(thread))),
        );
        drop(threads);
        self.fail(Cause::Deadlock { circle: true, waiting });
        self.wait_for_the_end();
    }

    /// True when `from` waits, through held locks, for `target`. Notes the threads on the way, the last
    /// one first.
    fn leads_to(&self, from: ThreadId, target: ThreadId, way: &mut Vec<ThreadId>) -> bool {
        if from == target {
            return true;
        }
        let holder = match self.threads.borrow().get(from).map(|thread| thread.state) {
            Some(State::Blocked { waiting: Waiting::Lock { holder: Some(holder) }, .. }) => holder,
            _ => return false,
        };
        let found = self.leads_to(holder.thread, target, way);
        if found {
            way.push(from);
        }
        found
    }

    /// The threads of `node` that wait, and for what.
    pub(crate) fn waiting_on(&self, node: NodeId) -> Vec<Stuck> {
        let threads = self.threads.borrow();
        let of_node = threads.by_age().into_iter().filter(|thread| thread.node == node);
        of_node.filter_map(|thread| self.stuck(thread)).collect()
    }

    fn stuck(&self, thread: &SimThread) -> Option<Stuck> {
        let ((waiting_for, holder), at, since) = match thread.state {
            State::Blocked { waiting, at, since } => (self.words_for(waiting), at, since),
            State::Stalled { at, since } => {
                (("a core, as the operating system holds it up".to_owned(), None), at, since)
            }
            State::Ready | State::Killed => return None,
        };
        Some(Stuck {
            place: Place::new(self.describe_thread(thread), at),
            waiting_for,
            holder: holder.map(|holder| self.place(holder)),
            since: Duration::from_nanos(since),
        })
    }

    /// What a thread waits for, in words; for a lock, with who holds it.
    fn words_for(&self, waiting: Waiting) -> (String, Option<Holder>) {
        match waiting {
            Waiting::Lock { holder } => ("a lock".to_owned(), holder),
            Waiting::Sleep => ("its sleep to end".to_owned(), None),
            Waiting::Condvar => ("a condition variable".to_owned(), None),
            Waiting::Send => ("room in a channel".to_owned(), None),
            Waiting::Receive => ("a message on a channel".to_owned(), None),
            Waiting::Select => ("one of several channels".to_owned(), None),
            Waiting::Join => ("another thread to end".to_owned(), None),
            Waiting::Call { kind, to } => (
                format!("the answer to its {kind} call to {}", self.nodes.borrow()[to.0 as usize].name),
                None,
            ),
            Waiting::Disk => ("its disk".to_owned(), None),
        }
    }

    fn place(&self, holder: Holder) -> Place {
        Place::new(self.describe(holder.thread), holder.at)
    }

    /// The running thread, as reports call it.
    pub(super) fn describe_me(&self) -> String {
        self.describe(self.me())
    }

    pub(super) fn describe(&self, thread: ThreadId) -> String {
        match self.threads.borrow().get(thread) {
            Some(thread) => self.describe_thread(thread),
            None => "a thread that has ended".into(),
        }
    }

    fn describe_thread(&self, thread: &SimThread) -> String {
        format!("node {} thread {}", self.nodes.borrow()[thread.node.0 as usize].name, thread.name)
    }

    /// What a thread is called on its node.
    pub(super) fn name_of(&self, thread: ThreadId) -> String {
        self.threads.borrow().get(thread).map(|found| found.name.to_string()).unwrap_or_default()
    }
}

impl Display for ThreadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ThreadName::Given(name) => write!(f, "'{name}'"),
            ThreadName::Handler(kind) => write!(f, "'{kind} handler'"),
            ThreadName::SpawnedAt(at) => write!(f, "spawned at {}", line(at)),
        }
    }
}

/// What is said instead of std's own words when it could not start a thread.
const REAL_THREAD: &str =
    "std::thread::spawn starts a real thread, outside of the simulation; use labrpc::thread::spawn";

impl Kernel {
    /// Code in the simulation tries to start a real thread, and std is about to panic because it cannot.
    #[cfg(target_os = "linux")]
    pub(super) fn note_real_thread(&self) {
        let line = super::signals::students_frames().into_iter().next();
        *self.real_thread.borrow_mut() = Some(line.unwrap_or_else(|| "an unknown line".into()));
    }
}

/// Has panics inside simulations noted instead of printed. Panics elsewhere go to the hook that was
/// there before.
pub(crate) fn install_panic_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| match current() {
            Some(kernel) if !kernel.gate.is_closed() => {
                let here = info.location().map_or_else(|| "an unknown line".into(), line);
                let place = Place { thread: kernel.describe_me(), line: here };
                let message = message_of(info.payload());
                kernel.panicked.borrow_mut().get_or_insert(PanicNote { place, message });
                kernel.note_unwinding();
            }
            _ => previous(info),
        }));
    });
}

fn message_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "(no message)".into())
}

/// A line of source as `path:line:column`.
pub(crate) fn line(at: &Location<'_>) -> String {
    format!("{}:{}:{}", tidy(at.file()), at.line(), at.column())
}

/// A path with `a/../b` made `b`.
pub(super) fn tidy(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split(['/', '\\']) {
        match part {
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}
