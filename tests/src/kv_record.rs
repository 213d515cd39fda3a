//! What clients of the service did, and what they saw.
//!
//! Kit-owned. Events are recorded in the order in which they happen in the simulation: two of them at one
//! virtual time still have an order. Every value that is written is unlike all others of the run, so that the
//! checker can tell from a value what was written before it was read.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use labcheck::{KvHistory, KvOp, KvWitness, OpId, Verdict, check_kv, report_kv};

use labgrading::Class;

use crate::finding::Finding;

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
#[derive(Default)]
pub(crate) struct Record {
    history: KvHistory,
    /// The operations that have not returned, each with the time when it began.
    open: BTreeMap<OpId, (Operation, Duration)>,
    /// When each operation has returned.
    returned: BTreeMap<OpId, Duration>,
    keys: Vec<String>,
    /// How many values were made up.
    values: u64,
}

impl Record {
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

    /// A client begins an operation now.
    pub(crate) fn invoked(&mut self, operation: &Operation, now: Duration) -> OpId {
        let Operation { client, action, key, value } = operation.clone();
        let what = match action {
            Action::Get => KvOp::Get { key },
            Action::Put => KvOp::Put { key, value },
            Action::Append => KvOp::Append { key, value },
        };
        self.history.stamp(stamp(now));
        let id = self.history.invoke(client as u64, what);
        self.open.insert(id, (operation.clone(), now));
        id
    }

    /// It returns now, to a get with this value.
    pub(crate) fn returned(&mut self, id: OpId, value: Option<String>, now: Duration) {
        self.history.stamp(stamp(now));
        self.history.ok(id, value);
        self.open.remove(&id);
        self.returned.insert(id, now);
    }

    /// The operations that have not returned, and when each began.
    pub(crate) fn open(&self) -> impl Iterator<Item = (Operation, Duration)> + '_ {
        self.open.values().cloned()
    }

    /// What is wrong with what clients have seen, if anything is.
    pub(crate) fn judge(&self) -> Option<Finding> {
        let verdict = check_kv(&self.history);
        let expected = "the operations in an order in which a single store could do them, none before one that was over when it began";
        let checked = "clients cannot tell the service from a single copy of the store (linearizability)";
        match &verdict {
            Verdict::Linearizable => None,
            Verdict::Illegal(witness) => {
                let report = report_kv(&self.history, &verdict);
                let finding = Finding::safety(checked, expected, report.trim_end());
                Some(Finding { at: self.seen_at(witness), ..finding })
            }
            // Values that are all different are decided without a search.
            Verdict::Unknown(why) => {
                let seen = format!("the checker has no verdict, {why}: please report this with the seed");
                Some(Finding::new(Class::KitFault, checked, "a verdict", seen))
            }
        }
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
