//! A judge that tries every order. Slow and simple: what the engines are compared with.
//!
//! Kit-owned.

use std::collections::HashSet;
use std::hash::Hash;

use labcheck::{KvHistory, KvOp, Outcome, RegisterCall};

/// An operation on a single object, with what it does to a state.
pub(crate) struct Action<S> {
    pub(crate) called: u64,
    pub(crate) returned: Option<u64>,
    pub(crate) apply: Apply<S>,
}

/// The state after an action, if it can happen in the state before.
pub(crate) type Apply<S> = Box<dyn Fn(&S) -> Option<S>>;

/// Whether some order of all completed actions, and of any of the others, can be executed from `initial`.
pub(crate) fn is_linearizable<S: Clone + Eq + Hash>(actions: &[Action<S>], initial: S) -> bool {
    assert!(actions.len() <= 32);
    search(actions, 0, initial, &mut HashSet::new())
}

fn search<S: Clone + Eq + Hash>(
    actions: &[Action<S>],
    placed: u32,
    state: S,
    tried: &mut HashSet<(u32, S)>,
) -> bool {
    let open = || actions.iter().enumerate().filter(|(index, _)| placed & 1 << index == 0);
    if open().all(|(_, action)| action.returned.is_none()) {
        return true;
    }
    if !tried.insert((placed, state.clone())) {
        return false;
    }
    for (index, action) in open() {
        let comes_too_late = open().any(|(_, other)| other.returned.is_some_and(|time| time < action.called));
        if comes_too_late {
            continue;
        }
        if let Some(next) = (action.apply)(&state)
            && search(actions, placed | 1 << index, next, tried)
        {
            return true;
        }
    }
    false
}

/// Whether each key of a history is linearizable.
pub(crate) fn kv(history: &KvHistory) -> bool {
    let mut keys: Vec<&str> = history.operations().map(|operation| operation.op.key()).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.into_iter().all(|key| is_linearizable(&actions_on(history, key), String::new()))
}

fn actions_on(history: &KvHistory, key: &str) -> Vec<Action<String>> {
    let mut actions = Vec::new();
    for operation in history.operations().filter(|operation| operation.op.key() == key) {
        let returned = match operation.outcome {
            Outcome::Failed => continue,
            Outcome::Ok(_) => operation.returned,
            Outcome::Open | Outcome::Unknown => None,
        };
        let apply: Apply<String> = match (operation.op.clone(), &operation.outcome) {
            (KvOp::Get { .. }, Outcome::Ok(value)) => {
                let value = value.clone().unwrap_or_default();
                Box::new(move |state| (*state == value).then(|| state.clone()))
            }
            (KvOp::Get { .. }, _) => continue,
            (KvOp::Put { value, .. }, _) => Box::new(move |_| Some(value.clone())),
            (KvOp::Append { value, .. }, _) => Box::new(move |state| Some(format!("{state}{value}"))),
        };
        actions.push(Action { called: operation.called, returned, apply });
    }
    actions
}

/// What a register does, for [`is_linearizable`].
pub(crate) fn register(call: RegisterCall, output: Option<Option<i64>>) -> Apply<Option<i64>> {
    Box::new(move |state| match call {
        RegisterCall::Read => output.is_none_or(|value| value == *state).then_some(*state),
        RegisterCall::Write(value) => Some(Some(value)),
        RegisterCall::Cas(old, new) => (*state == Some(old)).then_some(Some(new)),
    })
}
