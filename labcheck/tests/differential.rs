//! Both engines against a judge that tries every order, on many small histories.
//!
//! Kit-owned.

mod common;

use common::store::{FAULTS, Plan, Values};
use common::{Rng, brute, store};
use labcheck::{
    Anomaly, KvCall, KvHistory, KvModel, KvOp, Limits, Operation, Outcome, RegisterCall, RegisterModel,
    Verdict, check_kv, check_kv_within, check_model,
};

/// Without steps, only engine A can decide.
const NO_SEARCH: Limits = Limits { steps: 0, bytes: 0 };

/// How often each verdict was reached.
#[derive(Debug, Default)]
struct Counts {
    linearizable: usize,
    illegal: usize,
    by_engine_a: usize,
}

impl Counts {
    /// A test of which nearly all cases end alike shows little.
    fn assert_both_are_frequent(&self) {
        println!("{self:?}");
        let all = self.linearizable + self.illegal;
        assert!(self.linearizable * 10 > all && self.illegal * 10 > all, "{self:?}");
    }
}

#[test]
fn both_engines_agree_with_trying_every_order_where_values_are_unique() {
    let mut counts = Counts::default();
    for seed in 0..160_000 {
        let mut rng = Rng::new(seed);
        let plan = plan(&mut rng, Values::Unique);
        compare(&store::run(&mut rng, plan), seed, &mut counts);
    }
    counts.assert_both_are_frequent();
    assert_eq!(counts.by_engine_a, counts.linearizable + counts.illegal);
}

#[test]
fn engine_b_agrees_with_trying_every_order_where_values_repeat() {
    let mut counts = Counts::default();
    for seed in 0..80_000 {
        let mut rng = Rng::new(seed);
        let plan = plan(&mut rng, Values::Few);
        compare(&store::run(&mut rng, plan), seed, &mut counts);
    }
    counts.assert_both_are_frequent();
}

/// Longer histories, with more of everything at once than could be tried in every order.
#[test]
fn both_engines_agree_on_longer_histories() {
    let mut counts = Counts::default();
    for seed in 0..8_000 {
        let mut rng = Rng::new(seed);
        let plan = Plan {
            clients: 2 + rng.below(5),
            operations: 30 + rng.below(50),
            late_fault: true,
            ..plan(&mut rng, Values::Unique)
        };
        let history = store::run(&mut rng, plan);
        let verdict = check_kv(&history);
        assert!(!verdict.is_unknown(), "seed {seed}: {verdict:?}");
        // Some of them are too hard for a search.
        let Some(expected) = searched(&history, Limits { steps: 20_000, ..Limits::default() }) else {
            continue;
        };
        assert_eq!(verdict.is_linearizable(), expected, "seed {seed}: {verdict:?} {history:#?}");
        counts.linearizable += usize::from(verdict.is_linearizable());
        counts.illegal += usize::from(verdict.is_illegal());
    }
    counts.assert_both_are_frequent();
    assert!(counts.linearizable + counts.illegal > 6_000, "{counts:?}");
}

#[test]
fn engine_b_agrees_with_trying_every_order_on_registers() {
    let mut counts = Counts::default();
    for seed in 0..80_000 {
        let history = register_history(&mut Rng::new(seed));
        let verdict = check_model(&history, &RegisterModel, Limits::default());
        let expected = brute::is_linearizable(&register_actions(&history), None);
        assert_eq!(verdict.is_linearizable(), expected, "seed {seed}: {history:#?}");
        assert!(!verdict.is_unknown(), "seed {seed}");
        if let Verdict::Illegal(core) = verdict {
            // What the core says must hold without all other reads, and with all writes.
            let is_core = |(place, operation): &(usize, &Operation<_, _>)| {
                core.operations.contains(place) || operation.input != RegisterCall::Read
            };
            let rest: Vec<_> =
                history.iter().enumerate().filter(is_core).map(|(_, operation)| operation.clone()).collect();
            assert!(!brute::is_linearizable(&register_actions(&rest), None), "seed {seed}: {core:?}");
            counts.illegal += 1;
        } else {
            counts.linearizable += 1;
        }
    }
    counts.assert_both_are_frequent();
}

fn plan(rng: &mut Rng, values: Values) -> Plan {
    Plan {
        clients: 1 + rng.below(4),
        rests: 1 + rng.below(3),
        operations: 3 + rng.below(7),
        keys: if rng.one_in(8) { 2 } else { 1 },
        values,
        gets: *rng.pick(&[3, 5, 7]),
        puts: *rng.pick(&[0, 3, 6, 10]),
        unknown: *rng.pick(&[0, 4, 8]),
        failed: *rng.pick(&[0, 0, 6]),
        fault: (!rng.one_in(6)).then(|| *rng.pick(&FAULTS)),
        late_fault: false,
    }
}

fn compare(history: &KvHistory, seed: u64, counts: &mut Counts) {
    let expected = brute::kv(history);
    let verdict = check_kv(history);
    assert!(!verdict.is_unknown(), "seed {seed}: {verdict:?}");
    assert_eq!(verdict.is_linearizable(), expected, "seed {seed}: {verdict:?} {history:#?}");
    let fast = check_kv_within(history, NO_SEARCH);
    assert!(fast.is_unknown() || fast.is_linearizable() == expected, "seed {seed}");
    counts.by_engine_a += usize::from(!fast.is_unknown());
    assert_eq!(searched(history, Limits::default()), Some(expected), "seed {seed}: {history:#?}");
    match verdict.witness() {
        None => counts.linearizable += 1,
        Some(witness) => {
            counts.illegal += 1;
            let count = witness.operations.len();
            let range = match witness.anomaly {
                Anomaly::NeverWritten => 1..=1,
                Anomaly::NoOrder => 1..=8,
                Anomaly::Interleaved => 2..=6,
                _ => 2..=4,
            };
            assert!(range.contains(&count), "seed {seed}: {witness:?} {history:#?}");
            for &id in &witness.operations {
                let operation = history.get(id).expect("the witness is of this history");
                assert_eq!(operation.op.key(), witness.key, "seed {seed}");
            }
            assert_witness_is_enough(history, &witness.operations, seed);
        }
    }
}

/// Without all gets that are not in the witness, the history must still be illegal.
fn assert_witness_is_enough(history: &KvHistory, witness: &[labcheck::OpId], seed: u64) {
    let mut events = Vec::new();
    for (place, operation) in history.operations().enumerate() {
        events.push((operation.called, place, true));
        events.extend(operation.returned.map(|event| (event, place, false)));
    }
    events.sort_unstable();
    let operations: Vec<_> = history.operations().collect();
    let mut ids = vec![None; operations.len()];
    let mut rest = KvHistory::new();
    for (_, place, is_call) in events {
        let operation = operations[place];
        let named = witness.iter().any(|id| id.number() == place + 1);
        if matches!(operation.op, KvOp::Get { .. }) && !named {
            continue;
        }
        match (ids[place], is_call, &operation.outcome) {
            (None, true, _) => ids[place] = Some(rest.invoke(operation.client, operation.op.clone())),
            (Some(id), false, Outcome::Ok(value)) => rest.ok(id, value.clone()),
            (Some(id), false, Outcome::Failed) => rest.fail(id),
            (Some(id), false, _) => rest.unknown(id),
            _ => {}
        }
    }
    assert!(!brute::kv(&rest), "seed {seed}: {witness:?} is not enough: {history:#?}");
}

/// The verdict of engine B, key by key; `None` if it has none.
fn searched(history: &KvHistory, limits: Limits) -> Option<bool> {
    let mut all = true;
    for key in ["0", "1"] {
        let mut operations = Vec::new();
        for operation in history.operations().filter(|operation| operation.op.key() == key) {
            let input = match &operation.op {
                KvOp::Get { .. } => KvCall::Get,
                KvOp::Put { value, .. } => KvCall::Put(value),
                KvOp::Append { value, .. } => KvCall::Append(value),
            };
            let outcome = match &operation.outcome {
                Outcome::Failed => continue,
                Outcome::Ok(value) => {
                    operation.returned.map(|event| (event, value.as_deref().unwrap_or_default()))
                }
                Outcome::Open | Outcome::Unknown => None,
            };
            operations.push(Operation { input, called: operation.called, outcome });
        }
        match check_model(&operations, &KvModel::default(), limits) {
            Verdict::Linearizable => {}
            Verdict::Illegal(_) => all = false,
            Verdict::Unknown(_) => return None,
        }
    }
    Some(all)
}

type RegisterOperation = Operation<RegisterCall, Option<i64>>;

/// A register with clients; some histories have reads that return anything. Times may be equal.
fn register_history(rng: &mut Rng) -> Vec<RegisterOperation> {
    let (mut time, mut value, mut history) = (0, None, Vec::new());
    let count = 2 + rng.below(7);
    let (faulty, width) = (!rng.one_in(3), 1 + rng.below(6) as u64);
    for _ in 0..count {
        let called = time;
        let call = match rng.below(10) {
            0..4 => RegisterCall::Read,
            4..7 => RegisterCall::Write(rng.below(3) as i64),
            _ => RegisterCall::Cas(rng.below(3) as i64, rng.below(3) as i64),
        };
        time += rng.below(3) as u64;
        let unknown = rng.one_in(6);
        let mut output = None;
        match call {
            _ if unknown && rng.one_in(2) => {}
            RegisterCall::Read if faulty && rng.one_in(3) => {
                output = (!rng.one_in(4)).then(|| rng.below(3) as i64);
            }
            RegisterCall::Read => output = value,
            RegisterCall::Write(new) => value = Some(new),
            RegisterCall::Cas(old, new) if value == Some(old) => value = Some(new),
            // It failed, and did not happen.
            RegisterCall::Cas(..) if !faulty || !rng.one_in(4) => continue,
            RegisterCall::Cas(..) => {}
        }
        let returned = called + rng.below(width as usize * 3) as u64;
        history.push(Operation { input: call, called, outcome: (!unknown).then_some((returned, output)) });
    }
    history
}

fn register_actions(history: &[RegisterOperation]) -> Vec<brute::Action<Option<i64>>> {
    let action = |operation: &RegisterOperation| brute::Action {
        called: operation.called,
        returned: operation.outcome.map(|(time, _)| time),
        apply: brute::register(operation.input, operation.outcome.map(|(_, output)| output)),
    };
    history.iter().map(action).collect()
}
