//! The trace of a run as rows of text, one column per node.
//!
//! Kit-owned.

use std::fmt::{self, Display};
use std::rc::Rc;
use std::time::Duration;

use super::event::{Event, Leg, Message, What};
use crate::kernel::NodeId;

/// One line of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Virtual time.
    pub at: Duration,
    /// In whose column it stands.
    pub node: NodeId,
    kind: RowKind,
    text: Text,
}

/// What kind of thing a row tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowKind {
    /// Something that can change what the node knows: a message that arrives, a save, a start or a crash.
    Change,
    /// A thread is held up; see [`Trace::stalls`].
    Stall,
    /// All else.
    Other,
}

impl RowKind {
    fn of(what: &What<'_>) -> RowKind {
        match what {
            What::Delivered(_) | What::Saved { .. } | What::NodeStarted { .. } | What::NodeCrashed { .. } => {
                RowKind::Change
            }
            _ => RowKind::Other,
        }
    }
}

/// What a row says; names of other nodes are filled in when it is written out.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Text {
    Plain(String),
    /// Before the other node's name, that node, after its name.
    Other(&'static str, NodeId, String),
}

/// A thread that was held up, and where; see [`crate::Stalls`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stall {
    /// Its node.
    pub node: NodeId,
    /// What the thread is called, such as `'ticker'` or `spawned at labraft/src/raft.rs:41:9`.
    pub thread: String,
    /// At what it was held up, such as `after it unlocked what it had locked at`.
    pub after: &'static str,
    /// The line that completes this, such as `labraft/src/raft.rs:41:9`.
    pub line: String,
    /// Virtual time at which it was held up.
    pub from: Duration,
    /// Virtual time at which it could go on.
    pub until: Duration,
    /// Where it asked next for something of the kit; `None` when it did not, or was crashed before.
    pub then: Option<String>,
}

/// Everything that happened in a recorded run, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    names: Vec<String>,
    rows: Vec<Row>,
    stalls: Vec<Stall>,
}

impl Trace {
    pub(crate) fn new(names: Vec<Rc<str>>, rows: Vec<Row>, stalls: Vec<Stall>) -> Trace {
        Trace { names: names.iter().map(|name| name.to_string()).collect(), rows, stalls }
    }

    /// The threads that were held up, in the order in which that began.
    pub fn stalls(&self) -> &[Stall] {
        &self.stalls
    }

    /// All rows.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The names of the nodes, by number; the tester's is the first.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// What a row says.
    pub fn text(&self, row: &Row) -> String {
        match &row.text {
            Text::Plain(text) => text.clone(),
            Text::Other(before, node, after) => format!("{before}{}{after}", self.names[node.0 as usize]),
        }
    }
}

impl Display for Trace {
    /// One row a line: time, node, text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rows.iter().try_for_each(|row| {
            let name = &self.names[row.node.0 as usize];
            writeln!(f, "{:>12.6}  {name:<6}  {}", row.at.as_secs_f64(), self.text(row))
        })
    }
}

impl Row {
    pub(super) fn of(event: &Event<'_>) -> Row {
        let (node, text) = text_of(event.what);
        Row { at: event.at, node, kind: RowKind::of(event.what), text }
    }

    pub(super) fn of_stall(stall: &Stall) -> Row {
        let Stall { node, thread, after, line, from, until, .. } = stall;
        let text = format!("{thread} is held up for {:.1?} {after} {line}", *until - *from);
        Row { at: *from, node: *node, kind: RowKind::Stall, text: Text::Plain(text) }
    }

    /// What kind of thing it tells.
    pub fn kind(&self) -> RowKind {
        self.kind
    }
}

fn text_of(what: &What<'_>) -> (NodeId, Text) {
    let plain = |node, text: String| (node, Text::Plain(text));
    match *what {
        What::Sent(message) => {
            (message.from.node, Text::Other("-> ", message.to, format!(" {}", described(message))))
        }
        What::Delivered(message) => {
            (message.to, Text::Other("<- ", message.from.node, format!(" {}", described(message))))
        }
        What::Lost(message, why) => {
            (message.from.node, Text::Other("-x ", message.to, format!(" {} {why}", named(message))))
        }
        What::Held(message) => {
            (message.from.node, Text::Other("-| ", message.to, format!(" {} held", named(message))))
        }
        What::Unanswered { from, to, call, kind } => {
            (from.node, Text::Other("no answer from ", to, format!(" to {kind} #{call}")))
        }
        What::Saved { node, body, .. } => plain(node, format!("saved {body:?}")),
        What::NodeStarted { node, incarnation: 1 } => plain(node, "started".into()),
        What::NodeStarted { node, incarnation } => plain(node, format!("restarted (life {incarnation})")),
        What::NodeCrashed { node, .. } => plain(node, "CRASHED".into()),
        What::NodePaused { node } => plain(node, "paused".into()),
        What::NodeResumed { node } => plain(node, "resumed".into()),
        What::NodeSlowed { node, lateness } => plain(node, format!("slow: wakes up to {lateness:?} late")),
        What::NodeStalls { node, stalls: None } => plain(node, "no more stalls".into()),
        What::NodeStalls { node, stalls: Some(stalls) } => plain(
            node,
            format!("stalls: threads are held up for {:?} to {:?}", stalls.span.start, stalls.span.end),
        ),
        What::ClockRate { node, rate } => plain(node, format!("clock shows {rate} ns per ms")),
        What::Network { text } => plain(NodeId::TESTER, format!("network: {text}")),
        What::Note { node, text } => plain(node, text.to_owned()),
    }
}

fn named(message: &Message<'_>) -> String {
    match message.leg {
        Leg::Request => format!("{} #{}", message.kind, message.call),
        Leg::Reply => format!("reply to {} #{}", message.kind, message.call),
    }
}

fn described(message: &Message<'_>) -> String {
    match message.body {
        Some(body) => format!("#{} {body:?}", message.call),
        None => named(message),
    }
}
