//! What can happen in a simulated world, as tests and traces see it.
//!
//! Kit-owned. Read `net/calls.rs` for when each message event occurs.

use std::any::Any;
use std::fmt::{self, Debug, Display};
use std::time::Duration;

use super::Recorder;
use crate::disk::Bytes;
use crate::kernel::{NodeId, Stalls};
use crate::streams::nanos;

/// A value that travels or is saved, still typed: a test can look into it without decoding.
pub trait Body: Any + Debug {
    /// The value itself, for downcasting.
    fn as_any(&self) -> &dyn Any;
}

impl<T: Any + Debug> Body for T {
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Sees every event of a run at the moment it happens.
///
/// It runs on the stack of the thread that caused the event (or of the kernel), so it may look and
/// remember and call [`crate::World::fail`], and must not block.
pub trait Observer {
    /// Called once for each event, in order.
    fn observe(&self, event: &Event<'_>);
}

/// One thing that happened.
#[derive(Debug)]
pub struct Event<'a> {
    /// Virtual time on the world's own clock.
    pub at: Duration,
    /// Counts the events of the run, from 0.
    pub sequence: u64,
    /// What happened.
    pub what: &'a What<'a>,
}

/// What happened.
#[derive(Debug)]
pub enum What<'a> {
    /// A request left its caller, or a reply its handler.
    Sent(&'a Message<'a>),
    /// A request reached its handler, or a reply its caller.
    Delivered(&'a Message<'a>),
    /// A message will not arrive.
    Lost(&'a Message<'a>, LossReason),
    /// A message is kept by the network until the test lets it go.
    Held(&'a Message<'a>),
    /// A call returned `None`.
    Unanswered {
        /// The caller.
        from: Address,
        /// Whom it called.
        to: NodeId,
        /// The number of the call.
        call: u64,
        /// The kind of its request.
        kind: &'static str,
    },
    /// A disk write became durable.
    Saved {
        /// Whose disk.
        node: NodeId,
        /// In which of its lives.
        incarnation: u32,
        /// Bytes that this write added.
        bytes: usize,
        /// How many records were on the disk before and stay there.
        kept: usize,
        /// What was saved, as the caller gave it.
        body: &'a dyn Body,
        /// The new blob, where the write had one.
        blob: Option<&'a Bytes>,
    },
    /// A node came up.
    NodeStarted {
        /// Which.
        node: NodeId,
        /// Its how many-th life this is, from 1.
        incarnation: u32,
    },
    /// A node crashed.
    NodeCrashed {
        /// Which.
        node: NodeId,
        /// The life that ended.
        incarnation: u32,
    },
    /// A node's threads stopped running.
    NodePaused {
        /// Which.
        node: NodeId,
    },
    /// A paused node's threads run again.
    NodeResumed {
        /// Which.
        node: NodeId,
    },
    /// A node's threads now wake up late.
    NodeSlowed {
        /// Which.
        node: NodeId,
        /// By how much at most; zero ends it.
        lateness: Duration,
    },
    /// A node's threads are now held up now and then.
    NodeStalls {
        /// Which.
        node: NodeId,
        /// How often and for how long; `None` ends it.
        stalls: Option<&'a Stalls>,
    },
    /// A node's clock changed its rate.
    ClockRate {
        /// Which.
        node: NodeId,
        /// Nanoseconds shown per millisecond.
        rate: u64,
    },
    /// The network's rules changed, in the test's words.
    Network {
        /// What changed.
        text: &'a str,
    },
    /// A line for the trace: from the code on a node, or from the test.
    Note {
        /// Who wrote it; [`NodeId::TESTER`] for the test.
        node: NodeId,
        /// The line.
        text: &'a str,
    },
}

/// One life of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// The node.
    pub node: NodeId,
    /// Its how many-th life, from 1.
    pub incarnation: u32,
}

/// The two halves of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leg {
    /// From the caller to the handler.
    Request,
    /// From the handler back.
    Reply,
}

/// One message on its way.
#[derive(Debug)]
pub struct Message<'a> {
    /// The number of the call, from 1. Its request, its reply and all their duplicates share it.
    pub call: u64,
    /// Request or reply.
    pub leg: Leg,
    /// The kind of the call's request.
    pub kind: &'static str,
    /// Who sent the message, in which life.
    pub from: Address,
    /// To which node it goes.
    pub to: NodeId,
    /// Counts deliveries of requests, from 1. A reply has the number of the delivery it answers; a
    /// request that has not been delivered has 0.
    pub delivery: u64,
    /// The message as it was encoded.
    pub bytes: &'a [u8],
    /// The message as the sender gave it or the receiver decoded it; `None` where only the network has
    /// it in hand.
    pub body: Option<&'a dyn Body>,
}

/// Why a message did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossReason {
    /// By chance.
    Chance,
    /// The link was cut.
    Cut,
    /// The receiver was down, or offers no such service.
    Down,
    /// The sender had crashed while the message was on its way.
    SenderCrashed,
    /// The call had returned before, or its caller was gone.
    NobodyWaits,
    /// The test dropped it while it was held.
    Dropped,
}

impl Display for LossReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LossReason::Chance => "lost",
            LossReason::Cut => "lost: the link is cut",
            LossReason::Down => "lost: the receiver is down",
            LossReason::SenderCrashed => "lost: its sender has crashed",
            LossReason::NobodyWaits => "not needed: the call is over",
            LossReason::Dropped => "dropped while held",
        })
    }
}

impl What<'_> {
    /// Mixes what identifies the event into the run's hash.
    pub(super) fn mix_into(&self, recorder: &Recorder) {
        let message = |tag: u64, message: &Message<'_>| {
            recorder.mix(tag << 56 | (message.leg as u64) << 48 | message.call);
            recorder.mix(u64::from(message.from.node.0) << 32 | u64::from(message.to.0));
        };
        let node = |tag: u64, node: NodeId, detail: u64| {
            recorder.mix(tag << 56 | u64::from(node.0));
            recorder.mix(detail);
        };
        match *self {
            What::Sent(sent) => {
                message(1, sent);
                recorder.mix_bytes(sent.bytes);
            }
            What::Delivered(delivered) => message(2, delivered),
            What::Lost(lost, why) => message(3 + ((why as u64) << 4), lost),
            What::Held(held) => message(4, held),
            What::Unanswered { from, call, .. } => node(5, from.node, call),
            What::Saved { node: saver, bytes, .. } => node(6, saver, bytes as u64),
            What::NodeStarted { node: started, incarnation } => node(7, started, u64::from(incarnation)),
            What::NodeCrashed { node: crashed, incarnation } => node(8, crashed, u64::from(incarnation)),
            What::NodePaused { node: paused } => node(9, paused, 0),
            What::NodeResumed { node: resumed } => node(10, resumed, 0),
            What::NodeSlowed { node: slow, lateness } => node(11, slow, lateness.as_nanos() as u64),
            What::NodeStalls { node: stalling, stalls } => {
                node(13, stalling, stalls.map_or(0, |stalls| u64::from(stalls.one_in)));
                let span = stalls.map(|stalls| stalls.span.clone()).unwrap_or_default();
                recorder.mix(nanos(span.start) ^ nanos(span.end).rotate_left(32));
            }
            What::ClockRate { node: drifting, rate } => node(12, drifting, rate),
            What::Network { text } => recorder.mix_bytes(text.as_bytes()),
            What::Note { .. } => {}
        }
    }
}
