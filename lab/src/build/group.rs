//! Cargo and its compilers: one group of processes, which ends as one and within limits.
//!
//! Kit-owned. A compiler that outlived cargo would go on writing while the next build does. So cargo is started
//! as the first of a group of its own: Ctrl-C in a terminal does not reach it, `interrupt.rs` ends all of it, and
//! nobody goes on before the last compiler is gone. Groups and limits are Unix's; elsewhere cargo is ended alone,
//! and its compilers end when they find it gone.

use std::io::{self, Write};
use std::process::{Child, Command};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::interrupt;

/// CPU time that each compiler may take, in seconds. The largest crate of the kit takes a tenth of it.
const CPU_SECONDS: u64 = 300;

/// Another number of seconds, from the environment.
const CPU_SECONDS_VARIABLE: &str = "LAB_COMPILER_SECONDS";

/// Address space that each compiler may take, in bytes. The largest crate of the kit takes a fifth of it.
#[cfg(target_os = "linux")]
const MEMORY: u64 = 4 << 30;

/// A build that is far beyond every limit of its own waits for something that will never come.
const WALL_TIME: Duration = Duration::from_secs(3600);

/// How long those who are told to end may take.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long compilers that nobody has told to end may still be busy with a crate.
const PATIENCE: Duration = Duration::from_secs(120);

/// The group that is building now.
static BUILDING: Mutex<Option<u32>> = Mutex::new(None);

/// A build under way.
pub(super) struct Group {
    pub(super) cargo: Child,
    /// Dropped when it is over.
    _over: Sender<()>,
}

impl Group {
    /// Starts cargo.
    pub(super) fn start(mut cargo: Command) -> io::Result<Group> {
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut cargo, 0);
        let cargo = cargo.spawn()?;
        let id = cargo.id();
        limit(id);
        *BUILDING.lock().unwrap_or_else(PoisonError::into_inner) = Some(id);
        let (over, is_over) = mpsc::channel::<()>();
        thread::spawn(move || {
            if is_over.recv_timeout(WALL_TIME) == Err(RecvTimeoutError::Timeout) {
                tell(id, Farewell::Ask);
            }
        });
        Ok(Group { cargo, _over: over })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        *BUILDING.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// CPU seconds that each compiler may take.
pub(super) fn cpu_seconds() -> u64 {
    let said = std::env::var(CPU_SECONDS_VARIABLE).ok();
    said.and_then(|text| text.parse().ok()).unwrap_or(CPU_SECONDS)
}

/// Tells the build that is under way, if one is, to end.
pub(crate) fn end() {
    if let Some(id) = *BUILDING.lock().unwrap_or_else(PoisonError::into_inner) {
        tell(id, Farewell::Ask);
    }
}

/// Ends a group of this process's own, and waits until nobody of it is left.
pub(super) fn see_off(id: u32) {
    if !is_gone_within(id, FAREWELL, false) {
        tell(id, Farewell::Kill);
        // Where nobody buries the dead they still count as members, so there is an end to this.
        is_gone_within(id, FAREWELL, false);
    }
}

/// Waits for a group of which only the number is left. It is not killed: another one may have that number by now.
pub(super) fn wait_for(id: u32) {
    if !is_gone_within(id, FAREWELL, true) {
        // Where standard error is closed nobody wants to know.
        let _ = writeln!(anstream::stderr(), "waiting for the compilers of a build that was cut off");
        is_gone_within(id, PATIENCE, true);
    }
}

fn is_gone_within(id: u32, time: Duration, until_interrupted: bool) -> bool {
    let start = Instant::now();
    while is_there(id) {
        if start.elapsed() > time || (until_interrupted && interrupt::requested()) {
            return false;
        }
        thread::sleep(Duration::from_millis(10));
    }
    true
}

/// Kills all of a group, if it is there.
pub(crate) fn kill(id: u32) {
    tell(id, Farewell::Kill);
}

#[derive(Clone, Copy)]
enum Farewell {
    Ask,
    Kill,
}

#[cfg(unix)]
fn tell(id: u32, farewell: Farewell) {
    use rustix::process::{Pid, Signal, kill_process_group};

    let signal = match farewell {
        Farewell::Ask => Signal::TERM,
        Farewell::Kill => Signal::KILL,
    };
    if let Some(group) = i32::try_from(id).ok().and_then(Pid::from_raw) {
        // A group that is gone needs no signal.
        let _ = kill_process_group(group, signal);
    }
}

#[cfg(unix)]
fn is_there(id: u32) -> bool {
    use rustix::process::{Pid, test_kill_process_group};

    let group = i32::try_from(id).ok().and_then(Pid::from_raw);
    group.is_some_and(|group| test_kill_process_group(group).is_ok())
}

#[cfg(not(unix))]
fn tell(_id: u32, _farewell: Farewell) {}

#[cfg(not(unix))]
fn is_there(_id: u32) -> bool {
    false
}

/// Gives a process, and all that it starts, limits of their own.
#[cfg(target_os = "linux")]
fn limit(id: u32) {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};

    let process = i32::try_from(id).ok().and_then(Pid::from_raw);
    for (resource, limit) in [(Resource::Cpu, cpu_seconds()), (Resource::As, MEMORY)] {
        // At the maximum it would be killed, without a word on why.
        let limit = Rlimit { current: Some(limit), maximum: Some(limit + limit / 10 + 1) };
        // Where the machine has stricter limits, those hold.
        let _ = prlimit(process, resource, limit);
    }
}

#[cfg(not(target_os = "linux"))]
fn limit(_id: u32) {}
