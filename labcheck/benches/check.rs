//! What a check costs: short runs, long ones, a hot key, and histories that need a search.
//!
//! Kit-owned. `cargo bench -p labcheck` measures in release, with `--profile dev` as `cargo lab` runs it.
//! A verdict includes the witness, a report is extra. CPU time, the median and the best of several rounds.

#[path = "../../labrpc/benches/support/cpu_time.rs"]
mod cpu_time;

#[path = "../tests/common/mod.rs"]
mod common;

use std::hint::black_box;

use common::store::{Fault, Plan, Values};
use common::{Rng, store};
use cpu_time::cpu_time;
use labcheck::{
    KvHistory, Limits, Operation, RegisterCall, RegisterModel, Verdict, check_kv, check_model, report_kv,
};

type RegisterOperation = Operation<RegisterCall, Option<i64>>;

const ROUNDS: usize = 9;

fn main() {
    println!("{:<56} {:>8} {:>8} {:>10} {:>10}", "", "ok", "illegal", "median ms", "best ms");
    let short = Plan { operations: 150, keys: 2, ..PLAN };
    kv("1,000 runs of 150 operations", &runs(1_000, short));
    kv("the same, with stale reads", &runs(1_000, Plan { fault: Some(Fault::StaleRead), ..short }));
    let long = Plan { clients: 20, operations: 100_000, keys: 10, ..PLAN };
    kv("100,000 operations on 10 keys", &runs(1, long));
    kv("the same, with a stale read", &[with_stale_read(long)]);
    let hot = Plan { clients: 15, operations: 2_000, puts: 0, ..PLAN };
    kv("one key, appends only, 15 clients, 2,000 operations", &runs(1, hot));
    kv("the same, with a stale read", &[with_stale_read(hot)]);
    let wide = Plan { clients: 50, operations: 1_700, ..PLAN };
    let restarting = Plan { values: Values::Restarting, rests: 6, ..wide };
    kv_each("50 clients, 1,700 operations, values repeat", restarting);
    kv_each("the same, with a stale read", late(Fault::StaleRead, restarting));
    kv_each("the same, with a duplicate append", late(Fault::DuplicateAppend, restarting));
    let few = Plan { values: Values::Few, puts: 10, ..wide };
    kv_each("the same, puts of 4 values", few);
    kv_each("the same, puts of 4 values, with a stale read", late(Fault::StaleRead, few));
    for (name, rests, unknown, faulty) in [
        ("register, 50 clients, 1,700 operations", 6, 0, false),
        ("the same, 1 of 50 outcomes unknown", 6, 50, false),
        ("the same, 1 of 10 outcomes unknown", 6, 10, false),
        ("the same, with wrong reads", 6, 0, true),
        ("the same, 1 of 50 unknown, with wrong reads", 6, 50, true),
        ("register, 50 clients that never rest", 1, 0, false),
        ("the same, 1 of 50 outcomes unknown", 1, 50, false),
    ] {
        registers(name, |rng| register_history(rng, rests, unknown, faulty));
    }
    report(&with_stale_read(long));
}

const PLAN: Plan = Plan {
    clients: 5,
    rests: 1,
    operations: 0,
    keys: 1,
    values: Values::Unique,
    gets: 5,
    puts: 2,
    unknown: 50,
    failed: 0,
    fault: None,
    late_fault: false,
};

fn runs(count: u64, plan: Plan) -> Vec<KvHistory> {
    (0..count).map(|seed| store::run(&mut Rng::new(seed), plan)).collect()
}

/// A fault that strikes once, near the end.
fn late(fault: Fault, plan: Plan) -> Plan {
    Plan { fault: Some(fault), late_fault: true, ..plan }
}

fn with_stale_read(plan: Plan) -> KvHistory {
    store::run(&mut Rng::new(7), late(Fault::StaleRead, plan))
}

/// All histories together.
fn kv(name: &str, histories: &[KvHistory]) {
    let verdicts: Vec<_> = histories.iter().map(check_kv).collect();
    let ok = verdicts.iter().filter(|verdict| verdict.is_linearizable()).count();
    let illegal = verdicts.iter().filter(|verdict| verdict.is_illegal()).count();
    let times = rounds(|| histories.iter().map(check_kv).filter(Verdict::is_illegal).count());
    row(name, ok, illegal, &times);
}

/// Every history by itself, as they differ.
fn kv_each(name: &str, plan: Plan) {
    let histories = runs(20, plan);
    each(name, &histories, |history| {
        let verdict = check_kv(history);
        (verdict.is_linearizable(), verdict.is_illegal())
    });
}

fn registers(name: &str, run: impl Fn(&mut Rng) -> Vec<RegisterOperation>) {
    let histories: Vec<_> = (0..20).map(|seed| run(&mut Rng::new(seed))).collect();
    each(name, &histories, |history| {
        let verdict = check_model(history, &RegisterModel, Limits::default());
        (verdict.is_linearizable(), verdict.is_illegal())
    });
}

fn each<T>(name: &str, histories: &[T], check: impl Fn(&T) -> (bool, bool)) {
    let (mut ok, mut illegal, mut times) = (0, 0, Vec::new());
    for history in histories {
        let before = cpu_time();
        let (is_ok, is_illegal) = check(history);
        times.push((cpu_time() - before).as_secs_f64() * 1e3);
        ok += usize::from(is_ok);
        illegal += usize::from(is_illegal);
    }
    times.sort_by(f64::total_cmp);
    row(name, ok, illegal, &times);
    println!("{:<56} {:>39.2}", "    the slowest", times[times.len() - 1]);
}

fn report(history: &KvHistory) {
    let verdict = check_kv(history);
    let times = rounds(|| report_kv(history, &verdict).len());
    row("report on 100,000 operations", 0, 1, &times);
}

fn rounds<T>(run: impl Fn() -> T) -> Vec<f64> {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let before = cpu_time();
        black_box(run());
        times.push((cpu_time() - before).as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    times
}

fn row(name: &str, ok: usize, illegal: usize, times: &[f64]) {
    println!("{name:<56} {ok:>8} {illegal:>8} {:>10.2} {:>10.2}", times[times.len() / 2], times[0]);
}

/// A register with 50 clients and values from 0 to 4. The more a client `rests`, the fewer operations overlap;
/// `unknown` as in [`Plan`].
fn register_history(rng: &mut Rng, rests: usize, unknown: usize, faulty: bool) -> Vec<RegisterOperation> {
    let mut value = None;
    let mut history: Vec<RegisterOperation> = Vec::new();
    let mut open: Vec<Option<(usize, bool)>> = vec![None; 50];
    let mut time = 0;
    let wrong = 1_300 + rng.below(300);
    while history.len() < 1_700 || open.iter().any(Option::is_some) {
        time += 1;
        let client = rng.below(open.len());
        match open[client] {
            None if history.len() < 1_700 && rng.one_in(rests) => {
                let input = match rng.below(3) {
                    0 => RegisterCall::Read,
                    1 => RegisterCall::Write(rng.below(5) as i64),
                    _ => RegisterCall::Cas(rng.below(5) as i64, rng.below(5) as i64),
                };
                open[client] = Some((history.len(), false));
                history.push(Operation { input, called: time, outcome: None });
            }
            None => {}
            Some((at, false)) => {
                let is_lost = unknown > 0 && rng.one_in(unknown);
                let output = match history[at].input {
                    RegisterCall::Read if faulty && at >= wrong && at < wrong + 8 => {
                        Some(value.map_or(0, |value: i64| (value + 1) % 5))
                    }
                    RegisterCall::Read => value,
                    RegisterCall::Write(new) => {
                        value = if is_lost && rng.one_in(2) { value } else { Some(new) };
                        None
                    }
                    RegisterCall::Cas(old, new) if value == Some(old) => {
                        value = Some(new);
                        None
                    }
                    // Failed: left out below.
                    RegisterCall::Cas(..) => {
                        history[at].input = RegisterCall::Read;
                        history[at].outcome = None;
                        open[client] = None;
                        continue;
                    }
                };
                if is_lost {
                    open[client] = None;
                } else {
                    history[at].outcome = Some((0, output));
                    open[client] = Some((at, true));
                }
            }
            Some((at, true)) => {
                if let Some((returned, _)) = &mut history[at].outcome {
                    *returned = time;
                }
                open[client] = None;
            }
        }
    }
    history.retain(|operation| operation.outcome.is_some() || operation.input != RegisterCall::Read);
    history
}
