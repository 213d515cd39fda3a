//! Running a simulation, and steering it from a test.
//!
//! Kit-owned. Start with [`run`]; what a test can do to the world are the methods of [`World`].

use std::cell::RefCell;
use std::ops::Range;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::constants::{DEFAULT_STEP_LIMIT, DEFAULT_TIME_LIMIT, STUCK_AFTER, UNREACHABLE_LAB2};
#[cfg(target_os = "linux")]
use crate::kernel::HandlerStack;
use crate::kernel::{
    Cause, Entered, Failure, InFlight, Kernel, KernelRef, Mode, Moment, NodeId, Stalls, Stuck, ThreadName,
    Waiting, Watched, Woken, current, install_panic_hook,
};
use crate::net::{HeldMessage, Rule, RuleId, Traffic};
use crate::record::{Observer, Trace, What, listen};
use crate::rpc::Services;
use crate::streams::{Purpose, Stream, nanos};
use crate::sync::WaitQueue;

/// What a run depends on. Two runs of one program with equal configurations are equal.
#[derive(Clone, Debug)]
pub struct Config {
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// Virtual time after which the run is failed.
    pub time_limit: Duration,
    /// Operations of the facade after which the run is failed.
    pub step_limit: u64,
    /// Whether to record a trace. It changes nothing else.
    pub record: bool,
    /// How long a call to a server that cannot be reached takes to come back.
    pub unreachable: Range<Duration>,
    /// Mean number of operations between preemptions; `None` lets the seed choose.
    pub preemption_mean: Option<u32>,
    /// By what the thread is chosen that runs next.
    pub schedule: Schedule,
    /// What reports call the run when it ends the whole process.
    pub label: String,
    /// CPU time after which a thread that does not come back to the kit counts as stuck.
    pub stuck_after: Duration,
    /// Whether a `todo!` ends only the thread that comes to it, instead of the run. The places are then
    /// in [`Report::unwritten`].
    pub allow_unwritten: bool,
}

impl Config {
    /// The usual configuration, without a trace.
    pub fn new(seed: u64) -> Config {
        Config {
            seed,
            time_limit: DEFAULT_TIME_LIMIT,
            step_limit: DEFAULT_STEP_LIMIT,
            record: false,
            unreachable: UNREACHABLE_LAB2,
            preemption_mean: None,
            schedule: Schedule::BySeed,
            label: format!("seed {seed}"),
            stuck_after: STUCK_AFTER,
            allow_unwritten: false,
        }
    }
}

/// By what the thread is chosen that runs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// In one way or the other, as the seed has it: by priorities in every fourth of them.
    BySeed,
    /// By chance, anew each time.
    Random,
    /// By priorities, which change at a few random moments.
    Priorities,
}

/// How a run went.
#[derive(Clone, Debug)]
pub struct Report<T> {
    /// What the test returned, or why the run ended before it did.
    pub outcome: Result<T, Failure>,
    /// A hash over every scheduling decision, message, save and fault, with its virtual time.
    pub trace_hash: u64,
    /// Virtual time at the end.
    pub virtual_time: Duration,
    /// Operations of the facade, to within one preemption interval.
    pub steps: u64,
    /// Thread switches.
    pub switches: u64,
    /// Threads spawned.
    pub threads: u32,
    /// The trace, when one was recorded.
    pub trace: Option<Trace>,
    /// Each `todo!` that a thread came to, in order, where the configuration allows them.
    pub unwritten: Vec<Failure>,
}

/// Runs `test` in a simulated world of its own, on an OS thread of its own, and waits for it to end.
///
/// The run is over when `test` returns, whatever other threads still do; they are then destroyed, their
/// destructors included.
///
/// # Panics
///
/// When called inside a simulation, or when the kit itself is at fault.
pub fn run<T: Send + 'static>(config: &Config, test: impl FnOnce(World) -> T + Send + 'static) -> Report<T> {
    assert!(current().is_none(), "a simulation cannot be started inside a simulation");
    install_panic_hook();
    // A fresh OS thread for each run: thread-local state, such as the keys of std's hash maps or the
    // count of panics, must not pass from one run to the next.
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("simulation".into());
        let spawned = thread.spawn_scoped(scope, || run_here(config, test));
        let joined = spawned.expect("the operating system can start one more thread").join();
        joined.unwrap_or_else(|payload| std::panic::resume_unwind(payload))
    })
}

fn run_here<T: Send + 'static>(config: &Config, test: impl FnOnce(World) -> T + 'static) -> Report<T> {
    let kernel = Kernel::new(config);
    let entered = Entered::new(&kernel);
    let watched = Watched::new(kernel.pulse.clone());
    #[cfg(target_os = "linux")]
    let _handler_stack = HandlerStack::new();
    let listening = config.record.then(listen);
    let result = Arc::new(Mutex::new(None));
    let slot = result.clone();
    let main = kernel.spawn(NodeId::TESTER, ThreadName::Given("test".into()), move || {
        let value = test(World { _private: () });
        *slot.lock() = Some(value);
    });
    kernel.run(main);
    drop((listening, watched, entered));
    let outcome = match kernel.take_failure() {
        Some(failure) => Err(failure),
        None => Ok(result.lock().take().expect("the test returned, as nothing failed")),
    };
    Report {
        outcome,
        trace_hash: kernel.recorder.hash(),
        virtual_time: Duration::from_nanos(kernel.now()),
        steps: kernel.steps(),
        switches: kernel.switches(),
        threads: kernel.spawned(),
        unwritten: kernel.take_unwritten(),
        trace: kernel
            .recorder
            .take_rows()
            .map(|(rows, stalls)| Trace::new(kernel.node_names(), rows, stalls)),
    }
}

/// The world, as the test that runs in it can steer it.
///
/// Every method panics when called outside the simulation.
#[derive(Clone, Debug)]
pub struct World {
    _private: (),
}

impl World {
    fn kernel(&self) -> KernelRef {
        current().expect("a world can only be steered from inside its simulation")
    }

    /// The seed of the run.
    pub fn seed(&self) -> u64 {
        self.kernel().seed
    }

    /// A stream of random numbers for the test's own use, the same in every run of the seed.
    pub fn stream(&self, purpose: Purpose, index: u64) -> Stream {
        Stream::new(self.seed(), purpose, index)
    }

    /// Virtual time on the world's own clock.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.kernel().now())
    }

    /// Makes `observer` see every event from now on.
    ///
    /// # Panics
    ///
    /// When the run has an observer already.
    pub fn observe(&self, observer: Rc<dyn Observer>) {
        self.kernel().observe(observer);
    }

    /// Ends the run as failed, for the reason `message`, and never returns. May be called by an
    /// [`Observer`] too.
    pub fn fail(&self, message: impl Into<String>) -> ! {
        let kernel = self.kernel();
        kernel.fail(Cause::Stopped { message: message.into() });
        kernel.wait_for_the_end();
    }

    /// Writes a line into the trace, in the tester's column.
    pub fn note(&self, text: &str) {
        self.kernel().emit(&What::Note { node: NodeId::TESTER, text });
    }

    /// Writes a line into the trace, in the column of a node.
    pub fn note_of(&self, node: NodeId, text: &str) {
        self.kernel().emit(&What::Note { node, text });
    }

    /// True when a trace is being recorded.
    pub fn is_recording(&self) -> bool {
        self.kernel().recorder.is_recording()
    }
}

/// Nodes.
impl World {
    /// Adds a node, which is down until it is started. Reports call it `name`.
    pub fn add_node(&self, name: &str) -> NodeId {
        self.kernel().add_node(name)
    }

    /// Starts a node, for the first time or again after a crash.
    ///
    /// `main` runs on a thread of the node and returns the services the node offers; this waits for
    /// it, no longer than `limit`. Threads that `main` spawns belong to the node.
    ///
    /// # Errors
    ///
    /// When the limit passes, or the node crashes meanwhile.
    ///
    /// # Panics
    ///
    /// When the node is up.
    #[track_caller]
    pub fn start(
        &self,
        node: NodeId,
        limit: Duration,
        main: impl FnOnce() -> Services + 'static,
    ) -> Result<(), NoResult> {
        self.kernel().start_node(node);
        self.run_on(node, "main", limit, Location::caller(), move || {
            let services = Rc::new(main());
            let kernel = current().expect("a node runs in its simulation");
            kernel.with_node(node, |node| node.services = Some(services));
        })
    }

    /// The threads of a node that wait for something, oldest first.
    pub fn waiting_threads(&self, node: NodeId) -> Vec<Stuck> {
        self.kernel().waiting_on(node)
    }

    /// Crashes a node at this instant: every thread of it is destroyed wherever it stands, messages it
    /// has sent and that have not arrived are lost. Only its disk survives. Does nothing when the node
    /// is down.
    pub fn crash(&self, node: NodeId) {
        self.kernel().crash(node, InFlight::Dropped);
    }

    /// Crashes a node as [`World::crash`] does, with a choice of what becomes of its messages.
    pub fn crash_with(&self, node: NodeId, in_flight: InFlight) {
        self.kernel().crash(node, in_flight);
    }

    /// Makes a node crash when it comes to `moment` for the `nth` time from now, counted from 1.
    pub fn crash_at(&self, node: NodeId, moment: Moment, nth: u32, in_flight: InFlight) {
        self.kernel().crash_at(node, moment, nth, in_flight);
    }

    /// Forgets every crash that [`World::crash_at`] has ordered for the node and that has not come.
    pub fn forget_crashes(&self, node: NodeId) {
        self.kernel().forget_crashes(node);
    }

    /// The node's how many-th life this is, from 1; 0 before its first start.
    pub fn incarnation(&self, node: NodeId) -> u32 {
        self.kernel().with_node(node, |node| node.incarnation)
    }

    /// True while the node is up.
    pub fn is_up(&self, node: NodeId) -> bool {
        self.kernel().with_node(node, |node| node.up)
    }

    /// Stops all threads of a node where they stand, until [`World::resume`].
    pub fn pause(&self, node: NodeId) {
        self.kernel().set_paused(node, true);
    }

    /// Lets the threads of a paused node go on.
    pub fn resume(&self, node: NodeId) {
        self.kernel().set_paused(node, false);
    }

    /// Makes every wake-up of the node's threads late by a draw from `lateness`; an empty range ends it.
    pub fn slow(&self, node: NodeId, lateness: Range<Duration>) {
        self.kernel().set_lateness(node, lateness);
    }

    /// Has the node's threads held up now and then, wherever they stand, as by an operating system that takes
    /// the core away; `None` ends it. A thread that is held up stays so until its time has come.
    pub fn stall(&self, node: NodeId, stalls: Option<Stalls>) {
        self.kernel().set_stalls(node, stalls);
    }

    /// Holds up, for `span`, those of the node's threads that handle a request of that kind now, each at its next
    /// operation. Until they come to one, [`World::stalled_threads`] does not count them.
    pub fn stall_handlers(&self, node: NodeId, kind: &'static str, span: Duration) {
        self.kernel().stall_handlers(node, kind, span);
    }

    /// True while threads of the node may be held up by stalls, or still are.
    pub fn has_stalls(&self, node: NodeId) -> bool {
        self.kernel().has_stalls(node) || self.stalled_threads(node) > 0
    }

    /// How many threads of the node are held up by a stall now.
    pub fn stalled_threads(&self, node: NodeId) -> usize {
        self.kernel().stalled_on(node)
    }

    /// Makes the node's clock show `rate` nanoseconds for each millisecond of the world from now on.
    /// 1,000,000 is exact, 1,010,000 runs 1 % fast.
    pub fn set_clock_rate(&self, node: NodeId, rate: u64) {
        self.kernel().set_clock_rate(node, rate);
    }

    /// Makes every write to the node's disk take a draw from `delay`; an empty range ends it.
    pub fn set_disk_delay(&self, node: NodeId, delay: Range<Duration>) {
        self.kernel().with_node(node, |node| node.disk.set_delay(delay));
    }

    /// Starts a thread of the node and does not wait for it. Does nothing when the node is down.
    pub fn spawn_on(&self, node: NodeId, name: &str, f: impl FnOnce() + 'static) {
        if self.is_up(node) {
            self.kernel().spawn(node, ThreadName::Given(name.into()), f);
        }
    }

    /// Runs `f` on a thread of the node and waits for its result, no longer than `limit`. A thread that
    /// takes longer goes on.
    ///
    /// # Errors
    ///
    /// When the limit passes, or the node is down or crashes meanwhile.
    #[track_caller]
    pub fn on<T: 'static>(
        &self,
        node: NodeId,
        limit: Duration,
        f: impl FnOnce() -> T + 'static,
    ) -> Result<T, NoResult> {
        self.run_on(node, "test", limit, Location::caller(), f)
    }

    /// Runs `f` as [`World::on`] does, on a thread that reports and traces call `name`.
    ///
    /// # Errors
    ///
    /// As [`World::on`].
    #[track_caller]
    pub fn on_named<T: 'static>(
        &self,
        node: NodeId,
        name: &str,
        limit: Duration,
        f: impl FnOnce() -> T + 'static,
    ) -> Result<T, NoResult> {
        self.run_on(node, name, limit, Location::caller(), f)
    }

    fn run_on<T: 'static>(
        &self,
        node: NodeId,
        name: &str,
        limit: Duration,
        at: &'static Location<'static>,
        f: impl FnOnce() -> T + 'static,
    ) -> Result<T, NoResult> {
        let kernel = self.kernel();
        if kernel.step(at) == Mode::Unwinding || !self.is_up(node) {
            return Err(NoResult::Down);
        }
        let result = Rc::new(RefCell::new(None));
        let ended = WakeOnDrop(Rc::new(WaitQueue::new()));
        let (slot, wake) = (result.clone(), ended.0.clone());
        let thread = kernel.spawn(node, ThreadName::Given(name.into()), move || {
            let _ended = ended;
            let value = f();
            *slot.borrow_mut() = Some(value);
        });
        let deadline = kernel.now().saturating_add(nanos(limit));
        while kernel.is_alive(thread) {
            if wake.wait(&kernel, Waiting::Join, at, Some(deadline)) == Woken::TimedOut {
                return Err(NoResult::TimedOut);
            }
        }
        result.take().ok_or(NoResult::Down)
    }
}

/// Why [`World::on`] or [`World::start`] has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoResult {
    /// The node is down.
    Down,
    /// It took too long.
    TimedOut,
}

/// Wakes whoever waits for a thread to end, also when it ends by being destroyed.
struct WakeOnDrop(Rc<WaitQueue>);

impl Drop for WakeOnDrop {
    fn drop(&mut self) {
        if let Some(kernel) = current() {
            self.0.wake_all(&kernel);
        }
    }
}

/// The network.
impl World {
    /// Cuts the link on which `from` sends to `to`. Messages on their way are lost; the other direction
    /// is not touched.
    pub fn cut(&self, from: NodeId, to: NodeId) {
        self.kernel().net.set_cut(from, to, true);
    }

    /// Mends the link on which `from` sends to `to`.
    pub fn mend(&self, from: NodeId, to: NodeId) {
        self.kernel().net.set_cut(from, to, false);
    }

    /// True when the link on which `from` sends to `to` is cut.
    pub fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.kernel().net.is_cut(from, to)
    }

    /// Writes a line about the network into the trace.
    pub fn note_network(&self, text: &str) {
        self.kernel().emit(&What::Network { text });
    }

    /// Adds a rule, which is applied after those added before.
    pub fn add_rule(&self, rule: Rule) -> RuleId {
        self.kernel().net.add_rule(rule)
    }

    /// Removes a rule; false when it is gone already. Messages it held stay held.
    pub fn remove_rule(&self, rule: RuleId) -> bool {
        self.kernel().net.remove_rule(rule)
    }

    /// Removes all rules: every link that is not cut is reliable.
    pub fn clear_rules(&self) {
        self.kernel().net.clear_rules();
    }

    /// The messages that rules hold, in the order in which they were sent.
    pub fn held(&self) -> Vec<HeldMessage> {
        self.kernel().net.held()
    }

    /// Sends on those held messages that `select` picks, with a fresh delay each. Returns how many.
    pub fn release(&self, select: impl Fn(&HeldMessage) -> bool) -> usize {
        let kernel = self.kernel();
        kernel.net.settle_held(&kernel, true, select)
    }

    /// Drops those held messages that `select` picks. Returns how many.
    pub fn drop_held(&self, select: impl Fn(&HeldMessage) -> bool) -> usize {
        let kernel = self.kernel();
        kernel.net.settle_held(&kernel, false, select)
    }

    /// What the node sent and was sent so far.
    pub fn traffic(&self, node: NodeId) -> Traffic {
        self.kernel().net.traffic(node)
    }

    /// How many calls were made so far. Calls are numbered from 1, so the last one has this number.
    pub fn calls_made(&self) -> u64 {
        self.kernel().net.calls_made()
    }

    /// The number of the oldest call that has not returned yet.
    pub fn oldest_call(&self) -> Option<u64> {
        self.kernel().net.oldest_call()
    }
}
