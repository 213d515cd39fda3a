//! The kernel of a simulation: one seed decides every switch, every delay and every fault.
//!
//! Kit-owned. Start with `scheduler.rs` (who runs, and when time moves), then `crash.rs` (how a node's
//! threads are destroyed). The facade modules of the crate call into this one and nothing else does.
//!
//! Rules that keep a run a function of its seed: nothing here iterates a hash map, compares addresses
//! or reads a clock of the machine; threads are visited in the order of their spawning; timers due at
//! one instant fire in the order in which they were set; and a number is drawn only where the simulated
//! world itself has a choice.

mod context;
mod crash;
mod current;
#[cfg(target_os = "linux")]
mod interpose;
mod nodes;
mod priorities;
mod report;
mod scheduler;
#[cfg(target_os = "linux")]
mod signals;
mod stalls;
mod threads;
mod timers;
mod watchdog;

use std::cell::{Cell, OnceCell, RefCell};
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;

use self::context::{Gate, StackPool};
use self::priorities::Priorities;
use self::threads::ThreadTable;
use self::timers::Timers;
use crate::constants::PREEMPTION_MEANS;
use crate::net::Network;
use crate::record::{Event, Observer, Recorder, What};
use crate::sim::{Config, Schedule};
use crate::streams::{Purpose, Stream, nanos};

pub use self::crash::{InFlight, Moment};
pub(crate) use self::current::{Entered, KernelRef, current};
pub(crate) use self::nodes::Node;
pub(crate) use self::report::install_panic_hook;
pub use self::report::{Cause, Failure, Place, Stuck};
pub(crate) use self::scheduler::Mode;
#[cfg(target_os = "linux")]
pub(crate) use self::signals::HandlerStack;
pub(crate) use self::stalls::Chance;
pub use self::stalls::Stalls;
pub use self::threads::NodeId;
pub(crate) use self::threads::{Holder, ThreadId, ThreadName, Waiting, Woken};
pub(crate) use self::timers::Nanos;
pub use self::watchdog::{Fatal, on_fatal};
pub(crate) use self::watchdog::{Pulse, Watched};

/// Everything a simulation consists of. It lives on one OS thread and is used by no other.
pub(crate) struct Kernel {
    pub(crate) seed: u64,
    time_limit: Nanos,
    step_limit: u64,
    now: Cell<Nanos>,

    // The running thread.
    current: Cell<Option<ThreadId>>,
    node: Cell<NodeId>,
    gate: Gate,
    /// Operations left until the running thread may be preempted; 1 forever while it unwinds.
    until_preempted: Cell<u32>,
    /// True while the running thread is being killed.
    killed: Cell<bool>,
    /// How often the running thread caught its own crash.
    swallowed: Cell<u32>,
    /// Where the last operation of the facade was called.
    at: Cell<&'static Location<'static>>,

    /// The lowest address of the running thread's stack, where its guard page is.
    stack_limit: Cell<usize>,
    /// Tells the watchdog that the simulation goes on.
    pub(crate) pulse: Arc<Pulse>,

    // Everybody else.
    threads: RefCell<ThreadTable>,
    ready: RefCell<Vec<ThreadId>>,
    timers: RefCell<Timers>,
    stacks: StackPool,
    random: RefCell<Stream>,
    /// What code that asks the operating system for random numbers gets instead.
    #[cfg(target_os = "linux")]
    system_random: RefCell<Stream>,
    /// Where code in the simulation has tried to start a real thread.
    real_thread: RefCell<Option<String>>,
    preemption_mean: u32,
    /// The scheduler by priorities, where the run has that.
    priorities: Option<Priorities>,
    nodes: RefCell<Vec<Node>>,
    crash_points: RefCell<Vec<crash::CrashPoint>>,
    /// True while some node is paused or slow, so that waking a thread has to ask.
    impaired: Cell<bool>,
    /// True while threads of some node may be held up by stalls, so that operations have to ask.
    stalling: Cell<bool>,
    /// How many stalls are recorded of which it is not known yet what the thread did next.
    stalls_noted: Cell<usize>,

    // What the run amounts to.
    over: Cell<bool>,
    /// True once threads are being destroyed because the run is over; nothing is recorded any more.
    closing: Cell<bool>,
    failure: RefCell<Option<Failure>>,
    panicked: RefCell<Option<report::PanicNote>>,
    /// Where threads came to a `todo!`, when that does not end the run.
    unwritten: Option<RefCell<Vec<Failure>>>,
    steps: Cell<u64>,
    switches: Cell<u64>,
    events: Cell<u64>,

    pub(crate) net: Network,
    pub(crate) recorder: Recorder,
    observer: OnceCell<Rc<dyn Observer>>,
    /// True while the observer looks at an event: it runs on the stack of whoever caused that, and nothing may
    /// happen meanwhile.
    observing: Cell<bool>,
}

impl Kernel {
    pub(crate) fn new(config: &Config) -> Kernel {
        let mut random = Stream::new(config.seed, Purpose::Scheduler, 0);
        let mean =
            config.preemption_mean.unwrap_or_else(|| *random.pick(&PREEMPTION_MEANS).expect("not empty"));
        Kernel {
            seed: config.seed,
            time_limit: nanos(config.time_limit),
            step_limit: config.step_limit,
            now: Cell::new(0),
            current: Cell::new(None),
            node: Cell::new(NodeId::TESTER),
            gate: Gate::closed(),
            until_preempted: Cell::new(mean.max(1)),
            killed: Cell::new(false),
            swallowed: Cell::new(0),
            at: Cell::new(Location::caller()),
            stack_limit: Cell::new(0),
            pulse: Arc::new(Pulse::new(&config.label, config.stuck_after)),
            threads: RefCell::default(),
            ready: RefCell::default(),
            timers: RefCell::default(),
            stacks: StackPool::new(),
            random: RefCell::new(random),
            #[cfg(target_os = "linux")]
            system_random: RefCell::new(Stream::new(config.seed, Purpose::System, 0)),
            real_thread: RefCell::default(),
            preemption_mean: mean.max(1),
            priorities: match config.schedule {
                Schedule::BySeed => Priorities::chosen_by(config.seed),
                Schedule::Random => None,
                Schedule::Priorities => Some(Priorities::of_seed(config.seed)),
            },
            nodes: RefCell::new(vec![Node::new(config.seed, NodeId::TESTER, "tester".into())]),
            crash_points: RefCell::default(),
            impaired: Cell::new(false),
            stalling: Cell::new(false),
            stalls_noted: Cell::new(0),
            over: Cell::new(false),
            closing: Cell::new(false),
            failure: RefCell::default(),
            panicked: RefCell::default(),
            unwritten: config.allow_unwritten.then(RefCell::default),
            steps: Cell::new(0),
            switches: Cell::new(0),
            events: Cell::new(0),
            net: Network::new(config),
            recorder: Recorder::new(config.record),
            observer: OnceCell::new(),
            observing: Cell::new(false),
        }
    }

    /// Virtual time since the simulation began, on the world's own clock.
    #[inline]
    pub(crate) fn now(&self) -> Nanos {
        self.now.get()
    }

    /// The running thread.
    ///
    /// # Panics
    ///
    /// When the kernel itself is running.
    #[inline]
    pub(crate) fn me(&self) -> ThreadId {
        self.current.get().expect("a simulated thread is running")
    }

    /// The node of the running thread.
    #[inline]
    pub(crate) fn my_node(&self) -> NodeId {
        self.node.get()
    }

    /// True for an address in the guard page of the running thread's stack.
    #[cfg(target_os = "linux")]
    fn is_in_guard(&self, address: usize) -> bool {
        const PAGE: usize = 4096;
        let limit = self.stack_limit.get();
        limit != 0 && (limit..limit + PAGE).contains(&address)
    }

    /// Random bytes for code that asks the operating system for them.
    #[cfg(target_os = "linux")]
    fn fill_random(&self, bytes: &mut [u8]) {
        let mut random = self.system_random.borrow_mut();
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&random.next_u64().to_le_bytes()[..chunk.len()]);
        }
    }

    /// True until the thread has ended.
    pub(crate) fn is_alive(&self, thread: ThreadId) -> bool {
        self.threads.borrow().get(thread).is_some()
    }

    /// Facade operations so far, to within one preemption interval.
    pub(crate) fn steps(&self) -> u64 {
        self.steps.get()
    }

    /// Thread switches so far.
    pub(crate) fn switches(&self) -> u64 {
        self.switches.get()
    }

    /// Threads spawned so far.
    pub(crate) fn spawned(&self) -> u32 {
        self.threads.borrow().spawned()
    }

    /// Draws from the scheduler's own stream.
    pub(crate) fn choose(&self, bound: usize) -> usize {
        if bound == 1 { 0 } else { self.random.borrow_mut().below(bound as u64) as usize }
    }

    /// Makes `observer` see every event from now on; a run has at most one.
    pub(crate) fn observe(&self, observer: Rc<dyn Observer>) {
        assert!(self.observer.set(observer).is_ok(), "a simulation has at most one observer");
    }

    /// Tells the trace and the observer that something happened.
    pub(crate) fn emit(&self, what: &What<'_>) {
        if self.closing.get() {
            return;
        }
        let sequence = self.events.get();
        self.events.set(sequence + 1);
        let event = Event { at: std::time::Duration::from_nanos(self.now()), sequence, what };
        self.recorder.take(&event);
        if let Some(observer) = self.observer.get() {
            self.observing.set(true);
            observer.observe(&event);
            self.observing.set(false);
        }
    }

    pub(crate) fn take_unwritten(&self) -> Vec<Failure> {
        self.unwritten.as_ref().map(RefCell::take).unwrap_or_default()
    }

    /// What made the run fail, if anything did.
    pub(crate) fn take_failure(&self) -> Option<Failure> {
        self.failure.borrow_mut().take()
    }
}
