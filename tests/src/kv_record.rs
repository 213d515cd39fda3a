//! What clients of the service did, and what they saw.
//!
//! Kit-owned. Events are recorded in the order in which they happen in the simulation: two of them at one
//! virtual time still have an order. Every value that is written is unlike all others of the run, so that the
//! checker can tell from a value what was written before it was read.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::rc::Rc;
use std::time::Duration;

use labcheck::{KvHistory, KvOp, KvWitness, OpId, Verdict, check_kv, report_kv_with};
use labgrading::Class;
use labrpc::NodeId;

use crate::finding::Finding;
use crate::kv_calls::{Asked, Calls};
use crate::kv_cause::{Told, background};

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Get,
    Put,
    Append,
}

/// One operation of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Operation {
    pub(crate) client: usize,
    pub(crate) action: Action,
    pub(crate) key: String,
    /// What is written; empty for a get.
    pub(crate) value: String,
}

impl Operation {
    /// What is called, whoever calls it.
    pub(crate) fn call(&self) -> String {
        let Operation { action, key, value, .. } = self;
        match action {
            Action::Get => format!("get({key:?})"),
            Action::Put => format!("put({key:?}, {value:?})"),
            Action::Append => format!("append({key:?}, {value:?})"),
        }
    }
}

impl Display for Operation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "C{} {}", self.client, self.call())
    }
}

/// The record of a run.
pub(crate) struct Record {
    history: KvHistory,
    /// What passed between clients and servers.
    calls: Rc<Calls>,
    /// For each operation its client's node, and how many requests all clients had sent when it began, and
    /// when it returned.
    requests: BTreeMap<OpId, (NodeId, usize, usize)>,
    /// For each client, its last operation.
    last: BTreeMap<usize, OpId>,
    /// The operations that have not returned, each with the time when it began.
    open: BTreeMap<OpId, (Operation, Duration)>,
    /// When each operation has returned.
    returned: BTreeMap<OpId, Duration>,
    keys: Vec<String>,
    /// How many values were made up.
    values: u64,
}

impl Record {
    /// An empty record of a run, whose `calls` are looked at when something is wrong.
    pub(crate) fn new(calls: Rc<Calls>) -> Record {
        Record {
            history: KvHistory::default(),
            calls,
            requests: BTreeMap::new(),
            last: BTreeMap::new(),
            open: BTreeMap::new(),
            returned: BTreeMap::new(),
            keys: Vec::new(),
            values: 0,
        }
    }

    /// An operation that is still to be carried out; what it writes is unlike all that was written before.
    pub(crate) fn new_operation(&mut self, client: usize, action: Action, key: &str) -> Operation {
        if !self.keys.iter().any(|known| known == key) {
            self.keys.push(key.into());
        }
        let value = match action {
            Action::Get => String::new(),
            Action::Put | Action::Append => {
                self.values += 1;
                format!("x {client} {} y", self.values)
            }
        };
        Operation { client, action, key: key.into(), value }
    }

    /// All keys that were used, in the order of their first use.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.keys.clone()
    }

    /// A client begins an operation now, on its node.
    pub(crate) fn invoked(&mut self, operation: &Operation, node: NodeId, now: Duration) -> OpId {
        let Operation { client, action, key, value } = operation.clone();
        let what = match action {
            Action::Get => KvOp::Get { key },
            Action::Put => KvOp::Put { key, value },
            Action::Append => KvOp::Append { key, value },
        };
        self.history.stamp(stamp(now));
        let id = self.history.invoke(client as u64, what);
        self.open.insert(id, (operation.clone(), now));
        self.requests.insert(id, (node, self.calls.count(), usize::MAX));
        self.last.insert(client, id);
        id
    }

    /// It returns now, to a get with this value.
    pub(crate) fn returned(&mut self, id: OpId, value: Option<String>, now: Duration) {
        self.history.stamp(stamp(now));
        self.history.ok(id, value);
        self.open.remove(&id);
        self.returned.insert(id, now);
        if let Some((_, _, end)) = self.requests.get_mut(&id) {
            *end = self.calls.count();
        }
    }

    /// The operations that have not returned, and when each began.
    pub(crate) fn open(&self) -> impl Iterator<Item = (OpId, Operation, Duration)> + '_ {
        self.open.iter().map(|(&id, (operation, begun))| (id, operation.clone(), *begun))
    }

    /// The operation that a client has begun last.
    pub(crate) fn last_of(&self, client: usize) -> Option<OpId> {
        self.last.get(&client).copied()
    }

    /// What a client has asked for an operation.
    pub(crate) fn asked(&self, id: OpId) -> Vec<Asked> {
        let Some(&(node, from, to)) = self.requests.get(&id) else { return Vec::new() };
        self.calls.of_client(node, from, to)
    }

    /// What is wrong with what clients have seen, if anything is.
    pub(crate) fn judge(&self) -> Option<Finding> {
        let verdict = check_kv(&self.history);
        let expected = "the operations in an order in which a single store could do them, none before one that was over when it began";
        let checked = "clients cannot tell the service from a single copy of the store (linearizability)";
        match &verdict {
            Verdict::Linearizable => None,
            Verdict::Illegal(witness) => {
                let end = self.seen_at(witness);
                let told: Vec<Told<'_>> = witness.operations.iter().filter_map(|&id| self.told(id)).collect();
                let known = background(witness, &told, &self.calls, end);
                let report = report_kv_with(&self.history, &verdict, known.as_ref());
                let finding = Finding::safety(checked, expected, report.trim_end());
                Some(Finding { at: end, ..finding })
            }
            // Values that are all different are decided without a search.
            Verdict::Unknown(why) => {
                let seen = format!("the checker has no verdict, {why}: please report this with the seed");
                Some(Finding::new(Class::KitFault, checked, "a verdict", seen))
            }
        }
    }

    fn told(&self, id: OpId) -> Option<Told<'_>> {
        Some(Told { id, operation: self.history.get(id)?, asked: self.asked(id) })
    }

    /// When the last of the operations that prove it has returned.
    fn seen_at(&self, witness: &KvWitness) -> Duration {
        let times = witness.operations.iter().filter_map(|id| self.returned.get(id));
        times.max().copied().unwrap_or_default()
    }
}

fn stamp(now: Duration) -> String {
    format!("{:.3} s", now.as_secs_f64())
}
