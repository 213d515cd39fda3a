//! How threads are destroyed: when their node crashes, and when the run is over.
//!
//! Kit-owned. A crash unwinds every thread of the node from wherever it stands, so destructors run and
//! locks are released, and none of its code runs again. The unwinding is the kit's own: the thread is
//! resumed with an order to die, and its pending operation raises a [`KillToken`], which is no panic
//! (no hook, no message) and ends at the bottom of the thread's stack.

use std::panic::{self, Location};

use super::Kernel;
use super::context::{Resume, Yielded};
use super::report::{Cause, Place};
use super::scheduler::Mode;
use super::threads::{Holder, NodeId, State, ThreadId, ThreadName};
use crate::constants::SWALLOWED_CRASHES_MAX;
use crate::record::{Leg, What};

/// The payload that unwinds a crashed thread.
pub(super) struct KillToken;

/// What becomes of messages that a crashed node has sent and that have not arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InFlight {
    /// They are lost with it.
    Dropped,
    /// They arrive as if nothing had happened.
    Delivered,
}

/// A moment in the life of a node at which a test can make it crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Just before a disk write becomes durable: what was to be saved is not.
    BeforeSave,
    /// Just after a disk write became durable, before the code that asked for it learns so.
    AfterSave,
    /// Just after a message of this kind was sent, before the sender does anything else.
    Sent {
        /// A request, or the reply to one.
        leg: Leg,
        /// The kind of the request.
        kind: &'static str,
    },
    /// Just after any message was sent, of whatever kind, be it a request or a reply.
    SentAny,
    /// Just after the first message since a disk write was sent: what was saved may be known to others.
    SentAfterSave,
}

/// A crash that awaits its moment.
pub(super) struct CrashPoint {
    node: NodeId,
    moment: Moment,
    /// How many such moments are still to pass without a crash.
    to_pass: u32,
    in_flight: InFlight,
}

impl Kernel {
    /// Makes `node` crash when it has come to `moment` for the `nth` time from now, counted from 1.
    pub(crate) fn crash_at(&self, node: NodeId, moment: Moment, nth: u32, in_flight: InFlight) {
        assert!(nth > 0, "moments are counted from 1");
        self.crash_points.borrow_mut().push(CrashPoint { node, moment, to_pass: nth - 1, in_flight });
    }

    /// Forgets the crashes of `node` that have not come.
    pub(crate) fn forget_crashes(&self, node: NodeId) {
        self.crash_points.borrow_mut().retain(|point| point.node != node);
    }

    /// The running thread has come to `moment`. Does not return when its node was to crash there.
    pub(crate) fn reach(&self, moment: &Moment) {
        if self.crash_points.borrow().is_empty() || self.killed.get() {
            return;
        }
        let node = self.my_node();
        let mut due = None;
        self.crash_points.borrow_mut().retain_mut(|point| {
            if point.node != node || point.moment != *moment || due.is_some() {
                return true;
            }
            if point.to_pass > 0 {
                point.to_pass -= 1;
                return true;
            }
            due = Some(point.in_flight);
            false
        });
        if let Some(in_flight) = due {
            self.crash(node, in_flight);
        }
    }

    /// Crashes `node` on behalf of the running thread. When that is a thread of the node itself, this
    /// does not return.
    pub(crate) fn crash(&self, node: NodeId, in_flight: InFlight) {
        assert!(node != NodeId::TESTER, "the tester's own node cannot crash");
        self.nodes.borrow_mut()[node.0 as usize].in_flight_at_crash = in_flight;
        self.suspend(Yielded::Crash(node));
    }

    /// Destroys the node's threads. Called by the scheduler, between two threads.
    pub(super) fn crash_now(&self, node: NodeId) {
        let (incarnation, services) = {
            let mut nodes = self.nodes.borrow_mut();
            let found = &mut nodes[node.0 as usize];
            if !found.up {
                return;
            }
            let services = found.crash();
            (found.incarnation, services)
        };
        // They may own the last handle to something whose destructor takes a lock or wakes a thread. So they
        // go with a thread of the node, which dies with the others, and not from the scheduler's own stack.
        self.spawn(node, ThreadName::Given("services".into()), move || drop(services));
        self.note_impairments();
        self.emit(&What::NodeCrashed { node, incarnation });
        self.destroy(|candidate| candidate == node);
        self.net.node_crashed(self, node);
    }

    /// Destroys all threads, the tester's last.
    pub(super) fn destroy_all_threads(&self) {
        self.closing.set(true);
        self.destroy(|node| node != NodeId::TESTER);
        self.destroy(|_| true);
    }

    fn destroy(&self, is_doomed: impl Fn(NodeId) -> bool) {
        let doomed: Vec<ThreadId> = {
            let threads = self.threads.borrow();
            threads
                .by_age()
                .into_iter()
                .filter(|thread| is_doomed(thread.node))
                .map(|thread| thread.id)
                .collect()
        };
        {
            // None of them may be picked or woken any more, before the first of them unwinds.
            let mut threads = self.threads.borrow_mut();
            for &thread in &doomed {
                threads.get_mut(thread).expect("collected just now").state = State::Killed;
            }
            self.ready.borrow_mut().retain(|ready| {
                threads.get(*ready).is_some_and(|thread| !matches!(thread.state, State::Killed))
            });
        }
        for thread in doomed {
            self.resume(thread, Resume::Kill);
        }
    }

    /// Unwinds the running thread, which was told to die.
    pub(super) fn raise_kill(&self) -> ! {
        let raised = self.swallowed.get() + 1;
        self.swallowed.set(raised);
        if raised > SWALLOWED_CRASHES_MAX {
            let place = Place::new(self.describe_me(), self.at.get());
            self.fail(Cause::SwallowedCrash { place, times: raised - 1 });
            self.abandon();
        }
        panic::resume_unwind(Box::new(KillToken));
    }

    /// An operation of a thread that is being killed: part of a destructor, or of code that went on
    /// after catching the crash. The latter is unwound again.
    pub(super) fn step_while_killed(&self) -> Mode {
        if std::thread::panicking() { Mode::Unwinding } else { self.raise_kill() }
    }

    /// Called by an unwinding thread whose destructor needs a lock that somebody holds. Returns when
    /// it is worth trying the lock again.
    pub(crate) fn clear_the_way(&self, holder: Option<Holder>, at: &'static Location<'static>) {
        let my_node = self.my_node();
        let killed_neighbours: Vec<ThreadId> = {
            let threads = self.threads.borrow();
            let can_unwind = |thread: &&super::threads::SimThread| {
                thread.node == my_node && thread.context.is_some() && matches!(thread.state, State::Killed)
            };
            threads.by_age().into_iter().filter(can_unwind).map(|thread| thread.id).collect()
        };
        if self.killed.get() && !killed_neighbours.is_empty() {
            for thread in killed_neighbours {
                self.resume(thread, Resume::Kill);
            }
            return;
        }
        let place = Place::new(self.describe_me(), at);
        let holder = holder.map(|holder| Place::new(self.describe(holder.thread), holder.at));
        self.fail(Cause::LockNeededByDrop { place, holder });
        self.abandon();
    }

    /// Leaks the running thread and ends the run. The thread can neither wait nor unwind further.
    fn abandon(&self) -> ! {
        self.over.set(true);
        loop {
            self.gate.suspend(Yielded::Abandoned);
        }
    }
}
