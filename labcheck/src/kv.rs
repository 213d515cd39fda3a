//! Judges the history of a key-value store: key by key, with the engine that fits.
//!
//! Kit-owned. Read `history.rs` and `operations.rs` first, then `unique/mod.rs` and `search/mod.rs`.

use crate::explain;
use crate::history::{KvHistory, KvOp, KvOperation, OpId, Outcome};
use crate::operations::{Event, KeyOps, Kind, NEVER, Op};
use crate::proof::Proof;
use crate::search::{self, FastMap, KvCall, KvModel, Operation};
use crate::unique::{self, Decision};
use crate::verdict::{KvVerdict, KvWitness, Limits, Undecided, Verdict};

/// Judges a history, within the default [`Limits`].
///
/// Keys whose written values are unique are decided exactly and in no time, whatever their number and
/// overlap. Unique here means that no value is empty, written twice, or the beginning of another one; the
/// last only matters on a key that is appended to. Other keys are searched, all of them in turn, so that one
/// hard key does not hide what is wrong with another.
///
/// ```
/// use labcheck::{Anomaly, KvHistory, KvOp, Verdict, check_kv, report_kv};
///
/// let mut history = KvHistory::new();
/// let write = history.invoke(1, KvOp::Append { key: "x".into(), value: "a;".into() });
/// history.ok(write, None);
/// let read = history.invoke(2, KvOp::Get { key: "x".into() });
/// history.ok(read, Some("a;a;".into()));
///
/// let verdict = check_kv(&history);
/// assert_eq!(verdict.witness().map(|witness| witness.anomaly), Some(Anomaly::DuplicateAppend));
/// println!("{}", report_kv(&history, &verdict));
/// ```
pub fn check_kv(history: &KvHistory) -> KvVerdict {
    check_kv_within(history, Limits::default())
}

/// Judges a history within limits of your own. See [`check_kv`].
pub fn check_kv_within(history: &KvHistory, limits: Limits) -> KvVerdict {
    judge_keys(&split(history), limits)
}

/// The operations of each key, keys in the order of their first use.
pub(crate) fn split(history: &KvHistory) -> Vec<(&str, KeyOps<'_>)> {
    let mut numbers: FastMap<&str, usize> = FastMap::default();
    let mut keys: Vec<(&str, KeyOps<'_>)> = Vec::new();
    // At each event, the key and the operation there that it belongs to; `None` if it tells nothing.
    let mut events: Vec<Option<(u32, Event)>> = vec![None; history.events() as usize];
    for (place, operation) in history.operations().enumerate() {
        let number = *numbers.entry(operation.op.key()).or_insert(keys.len());
        if number == keys.len() {
            keys.push((operation.op.key(), KeyOps::default()));
        }
        if let Some(op) = relevant(operation, place) {
            let ops = &mut keys[number].1.ops;
            events[op.called as usize] = Some((number as u32, Event::call(ops.len())));
            if op.is_complete() {
                events[op.returned as usize] = Some((number as u32, Event::ret(ops.len())));
            }
            ops.push(op);
        }
    }
    for (number, event) in events.into_iter().flatten() {
        keys[number as usize].1.events.push(event);
    }
    keys
}

/// Judges keys that were split before.
fn judge_keys(keys: &[(&str, KeyOps<'_>)], limits: Limits) -> KvVerdict {
    let mut earliest: Option<(OpId, &str, Proof)> = None;
    let mut undecided = None;
    let mut to_search = Vec::new();
    for (key, ops) in keys {
        match unique::decide(ops) {
            Decision::Linearizable => {}
            Decision::Illegal(proof) => {
                // Of several faults, the one that was there first is the one to start from.
                let last = proof.operations().last().copied().unwrap_or_else(|| OpId::at(0));
                if earliest.as_ref().is_none_or(|(other, ..)| last < *other) {
                    earliest = Some((last, key, proof));
                }
            }
            Decision::NotApplicable => to_search.push((*key, ops)),
            Decision::NotCertified(reason) => undecided = Some(Undecided::NotCertified { reason }),
        }
    }
    match (earliest, undecided) {
        (Some((_, key, proof)), _) => illegal(key, proof),
        (None, Some(undecided)) => Verdict::Unknown(undecided),
        (None, None) => search_in_turn(&to_search, limits),
    }
}

/// Judges one key.
pub(crate) fn judge_key(ops: &KeyOps<'_>, limits: Limits) -> KvVerdict {
    match unique::decide(ops) {
        Decision::Linearizable => Verdict::Linearizable,
        Decision::Illegal(proof) => illegal("", proof),
        Decision::NotCertified(reason) => Verdict::Unknown(Undecided::NotCertified { reason }),
        Decision::NotApplicable => search_in_turn(&[("", ops)], limits),
    }
}

/// The operations of a key as engine B reads them.
fn for_search<'a>(ops: &[Op<'a>]) -> Vec<Operation<KvCall<'a>, &'a str>> {
    let translate = |op: &Op<'a>| Operation {
        input: match op.kind {
            Kind::Get => KvCall::Get,
            Kind::Put => KvCall::Put(op.value),
            Kind::Append => KvCall::Append(op.value),
        },
        called: op.called.into(),
        outcome: op
            .is_complete()
            .then(|| (op.returned.into(), if op.kind == Kind::Get { op.value } else { "" })),
    };
    ops.iter().map(translate).collect()
}

/// What an operation tells, if it tells anything: one that failed did not happen, and a get without an
/// answer changed nothing.
fn relevant(operation: &KvOperation, place: usize) -> Option<Op<'_>> {
    let returned = match (&operation.outcome, operation.returned) {
        (Outcome::Failed, _) => return None,
        (Outcome::Ok(_), Some(event)) => event as u32,
        _ => NEVER,
    };
    let (kind, value) = match (&operation.op, &operation.outcome) {
        (KvOp::Get { .. }, Outcome::Ok(value)) => (Kind::Get, value.as_deref().unwrap_or_default()),
        (KvOp::Get { .. }, _) => return None,
        (KvOp::Put { value, .. }, _) => (Kind::Put, value.as_str()),
        (KvOp::Append { value, .. }, _) => (Kind::Append, value.as_str()),
    };
    Some(Op { kind, value, called: operation.called as u32, returned, place: place as u32 })
}

/// Searches all keys, in turn.
fn search_in_turn(keys: &[(&str, &KeyOps<'_>)], limits: Limits) -> KvVerdict {
    let histories: Vec<_> = keys.iter().map(|(_, ops)| for_search(&ops.ops)).collect();
    let histories: Vec<_> = histories.iter().map(Vec::as_slice).collect();
    match search::check_in_turn(&histories, &KvModel::default(), limits) {
        Verdict::Linearizable => Verdict::Linearizable,
        Verdict::Unknown(reason) => Verdict::Unknown(reason),
        Verdict::Illegal(found) => {
            let (number, core) = *found;
            let (key, ops) = keys[number];
            illegal(key, explain::of_key(&ops.ops, &core.operations))
        }
    }
}

fn illegal(key: &str, proof: Proof) -> KvVerdict {
    let (anomaly, operations) = (proof.anomaly(), proof.operations());
    Verdict::Illegal(Box::new(KvWitness { key: key.to_owned(), anomaly, operations, proof }))
}
