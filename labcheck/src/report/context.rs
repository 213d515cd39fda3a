//! What was still right: how far the history of a key has an order, and what the key could hold then.
//!
//! Kit-owned. Read `mod.rs` first.

use super::values::Tokens;
use crate::kv;
use crate::operations::{KeyOps, Kind, Op};
use crate::verdict::{Limits, Verdict};

/// A report must not take longer than the check.
const LIMITS: Limits = Limits { steps: 50_000, bytes: 64 << 20 };
const LIMITS_OF_STATE: Limits = Limits { steps: 2_000, bytes: 64 << 20 };
/// How many states are shown, and how many are tried.
const SHOWN_STATES: usize = 5;
const TRIED_STATES: usize = 60;

/// Two sentences; none where the search takes too long. `label` names an event.
pub(super) fn of_key(key: &KeyOps<'_>, tokens: &Tokens<'_>, label: impl Fn(u64) -> String) -> Vec<String> {
    let returns = key.returns();
    let (mut right, mut wrong) = (0, returns.len());
    // What is wrong stays wrong whatever comes later, so that there is one border, and halving finds it.
    while right < wrong {
        let middle = right.midpoint(wrong);
        match kv::judge_key(&key.cut(returns[middle] + 1), LIMITS) {
            Verdict::Illegal(_) => wrong = middle,
            Verdict::Linearizable => right = middle + 1,
            Verdict::Unknown(_) => return Vec::new(),
        }
    }
    let Some(&end) = returns.get(wrong) else { return Vec::new() };
    let mut sentences = vec![format!(
        "The longest linearizable prefix ends just before {}: {wrong} of {} returns on this key.",
        label(end.into()),
        returns.len()
    )];
    let states = possible_states(&key.cut(end), end);
    if !states.is_empty() {
        let shown: Vec<String> = states.iter().map(|state| tokens.elided(state, 30)).collect();
        sentences.push(format!("What the key could hold then: {}", shown.join(" | ")));
    }
    sentences
}

/// Some states that the key could be in at the end of a linearizable history: those that a get called then
/// could return.
fn possible_states(key: &KeyOps<'_>, now: u32) -> Vec<String> {
    let mut possible = Vec::new();
    for state in likely_states(key).into_iter().take(TRIED_STATES) {
        if possible.len() < SHOWN_STATES && could_return(key, now, &state) {
            possible.push(state);
        }
    }
    possible
}

fn could_return(key: &KeyOps<'_>, now: u32, state: &str) -> bool {
    let mut longer = KeyOps { ops: key.ops.clone(), events: key.events.clone() };
    longer.call(Op { kind: Kind::Get, value: state, called: now, returned: now + 1, place: u32::MAX - 1 });
    longer.close_last();
    kv::judge_key(&longer, LIMITS_OF_STATE).is_linearizable()
}

/// What was read or put last, alone and with one or two of the latest appends.
fn likely_states(key: &KeyOps<'_>) -> Vec<String> {
    let latest = |wanted: fn(&Op<'_>) -> bool, many: usize| {
        let mut ops: Vec<&Op<'_>> = key.ops.iter().filter(|op| wanted(op)).collect();
        ops.sort_by_key(|op| std::cmp::Reverse(op.returned));
        ops.truncate(many);
        ops
    };
    let mut bases: Vec<&str> = latest(|op| op.kind == Kind::Get, 3).iter().map(|op| op.value).collect();
    bases.extend(latest(|op| op.kind == Kind::Put, 4).iter().map(|op| op.value));
    bases.push("");
    let appends = latest(|op| op.kind == Kind::Append, 4);
    let mut states: Vec<String> = bases.iter().map(|&base| base.to_owned()).collect();
    for base in bases {
        for one in &appends {
            states.push(format!("{base}{}", one.value));
            let others = appends.iter().filter(|other| other.place != one.place);
            states.extend(others.map(|other| format!("{base}{}{}", one.value, other.value)));
        }
    }
    let mut distinct: Vec<String> = Vec::new();
    for state in states {
        if !distinct.contains(&state) {
            distinct.push(state);
        }
    }
    distinct
}
