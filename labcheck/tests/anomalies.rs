//! Each fault has its name, its witness and its report.
//!
//! Kit-owned. The reports are what students see: after a change, `INSTA_UPDATE=always` writes them anew, and
//! every one of them is to be read.

mod common;

use common::script::history;
use common::store::{Fault, Plan, Values};
use common::{Rng, store};
use insta::assert_snapshot;
use labcheck::{
    Anomaly, Background, KvHistory, KvOp, Limits, Undecided, Verdict, check_kv, check_kv_within, report_kv,
    report_kv_with,
};

/// Checks the name and the numbers of the operations, and gives the report.
#[track_caller]
fn report(history: &KvHistory, anomaly: Anomaly, operations: &[usize]) -> String {
    let verdict = check_kv(history);
    let witness = verdict.witness().unwrap_or_else(|| panic!("{verdict:?}"));
    let numbers: Vec<usize> = witness.operations.iter().map(|id| id.number()).collect();
    assert_eq!((witness.anomaly, &numbers[..]), (anomaly, operations), "{}", report_kv(history, &verdict));
    let report = report_kv(history, &verdict);
    assert_fits(&report);
    report
}

#[track_caller]
fn assert_fits(report: &str) {
    assert!(report.lines().count() <= 25, "{report}");
    assert!(report.lines().all(|line| line.chars().count() <= 100), "{report}");
}

#[test]
fn value_never_written() {
    let history = history(
        "1 put a;
         1 ok
         2 append b;
         2 fail
         1 get
         1 ok a;b;",
    );
    assert_snapshot!(report(&history, Anomaly::NeverWritten, &[3]));
}

#[test]
fn duplicate_append() {
    let history = history(
        "1 put x_1_0_y
         2 append x_2_1_y
         1 ok
         1 append x_1_2_y
         1 ok
         2 ok
         3 get
         3 ok x_1_0_yx_2_1_yx_1_2_yx_2_1_y",
    );
    assert_snapshot!(report(&history, Anomaly::DuplicateAppend, &[2, 4]));
}

#[test]
fn put_inside() {
    let history = history(
        "1 append a;
         1 ok
         2 put b;
         2 ok
         1 get
         1 ok a;b;",
    );
    assert_snapshot!(report(&history, Anomaly::PutInside, &[2, 3]));
}

#[test]
fn gets_disagree() {
    let history = history(
        "1 append a;
         2 append b;
         1 ok
         2 ok
         1 get
         2 get
         1 ok a;b;
         2 ok b;a;",
    );
    assert_snapshot!(report(&history, Anomaly::Disagreement, &[1, 2, 3, 4]));
}

#[test]
fn executed_again_after_a_put() {
    let history = history(
        "1 append a;
         2 get
         2 ok a;
         2 put b;
         2 ok
         2 get
         2 ok b;a;
         1 ok",
    );
    assert_snapshot!(report(&history, Anomaly::ExecutedAgain, &[1, 2, 4]));
}

#[test]
fn stale_read_of_what_was_acknowledged() {
    let history = history(
        "1 put x_1_0_y
         1 ok
         2 append x_2_1_y
         2 ok
         3 append x_3_2_y
         2 get
         2 ok x_1_0_y
         1 get
         3 ok
         1 ok x_1_0_yx_2_1_yx_3_2_y",
    );
    assert_snapshot!(report(&history, Anomaly::StaleRead, &[2, 4, 5]));
}

#[test]
fn stale_read_of_what_was_seen() {
    let mut timed = KvHistory::new();
    timed.stamp("1.000 s".into());
    let write = timed.invoke(1, KvOp::Append { key: "0".into(), value: "x 1 0 y".into() });
    timed.stamp("1.004 s".into());
    let first = timed.invoke(2, KvOp::Get { key: "0".into() });
    timed.stamp("1.010 s".into());
    timed.ok(first, Some("x 1 0 y".into()));
    timed.stamp("1.011 s".into());
    let second = timed.invoke(3, KvOp::Get { key: "0".into() });
    timed.stamp("1.020 s".into());
    timed.ok(second, Some(String::new()));
    timed.unknown(write);
    assert_snapshot!(report(&timed, Anomaly::StaleRead, &[1, 2, 3]));
}

#[test]
fn stale_read_of_an_older_put() {
    let history = history(
        "1 put a;
         1 ok
         2 put b;
         3 get
         3 ok b;
         1 get
         1 ok a;
         2 ok",
    );
    assert_snapshot!(report(&history, Anomaly::StaleRead, &[1, 2, 3, 4]));
}

#[test]
fn stale_read_from_before_any_put() {
    let history = history(
        "1 put a;
         1 ok
         2 get
         3 get
         2 ok
         3 ok a;",
    );
    assert_snapshot!(report(&history, Anomaly::StaleRead, &[1, 2]));
}

#[test]
fn read_from_the_future() {
    let history = history(
        "1 get
         1 ok a;
         2 put a;
         2 ok",
    );
    assert_snapshot!(report(&history, Anomaly::FutureRead, &[1, 2]));
}

#[test]
fn writes_out_of_order() {
    let history = history(
        "1 append a;
         1 ok
         2 append b;
         2 ok
         1 get
         1 ok b;a;",
    );
    assert_snapshot!(report(&history, Anomaly::WriteOrder, &[1, 2, 3]));
}

#[test]
fn lost_write() {
    let history = history(
        "1 put a;
         1 ok
         2 append b;
         2 ok
         3 append c;
         3 ok
         1 get
         1 ok a;c;",
    );
    assert_snapshot!(report(&history, Anomaly::LostWrite, &[1, 2, 4]));
}

#[test]
fn stale_read_of_what_nobody_saw() {
    let history = history(
        "1 append a;
         1 ok
         2 get
         2 ok",
    );
    assert_snapshot!(report(&history, Anomaly::StaleRead, &[1, 2]));
}

/// Two writes that were answered, of which a read finds only the second.
const LOST_AT_THE_START: &str = "1 append a;
         1 ok
         2 append b;
         2 ok
         2 get
         2 ok b;";

#[test]
fn lost_write_at_the_start() {
    let history = history(LOST_AT_THE_START);
    assert_snapshot!(report(&history, Anomaly::LostWrite, &[1, 3]));
}

#[test]
fn what_is_known_beyond_the_history_takes_the_place_of_the_usual_cause() {
    let history = history(LOST_AT_THE_START);
    let verdict = check_kv(&history);
    let culprit = verdict.witness().and_then(|witness| witness.culprit());
    assert_eq!(culprit.map(|id| id.number()), Some(1), "the write that was lost");
    let known = Background { seen: "nobody answered #1.".into(), cause: "the client gave up.".into() };
    let report = report_kv_with(&history, &verdict, Some(&known));
    assert_fits(&report);
    let (before, after) = report.split_once("\nSeen besides: ").unwrap_or_else(|| panic!("{report}"));
    assert_eq!(after, "nobody answered #1.\nLikely cause: the client gave up.\n");
    let usual = report_kv(&history, &verdict);
    assert_eq!(
        usual.split_once("\nUsual cause: ").map(|parts| parts.0),
        Some(before),
        "the rest is the same"
    );
}

#[test]
fn epochs_interleave() {
    let history = history(
        "1 put a;
         2 put b;
         1 ok
         2 ok
         1 append c;
         2 append d;
         1 ok
         2 ok
         3 get
         4 get
         3 ok a;c;
         4 ok b;d;",
    );
    assert_snapshot!(report(&history, Anomaly::Interleaved, &[1, 2, 5, 6]));
}

#[test]
fn no_order_with_repeated_values() {
    let history = history(
        "1 put a
         2 put b
         1 ok
         2 ok
         1 get
         1 ok a
         2 get
         2 ok b
         1 get
         1 ok a
         3 put a
         3 ok",
    );
    let report = report(&history, Anomaly::StaleRead, &[2, 3, 4]);
    assert_snapshot!(report);
}

#[test]
fn stale_read_with_repeated_values() {
    let history = history(
        "1 put a
         1 ok
         1 put b
         1 ok
         2 get
         2 ok a
         1 put b
         1 ok",
    );
    assert_snapshot!(report(&history, Anomaly::StaleRead, &[1, 2, 3]));
}

#[test]
fn value_never_written_with_repeated_values() {
    let history = history(
        "1 put a
         1 ok
         1 put a
         1 ok
         2 get
         2 ok c",
    );
    assert_snapshot!(report(&history, Anomaly::NeverWritten, &[3]));
}

#[test]
fn long_values_are_shown_with_their_ends() {
    let mut long = KvHistory::new();
    let mut value = String::new();
    let append = |history: &mut KvHistory, number: usize| {
        let value = format!("x 0 {number} y");
        let id = history.invoke(0, KvOp::Append { key: "0".into(), value: value.clone() });
        history.ok(id, None);
        value
    };
    for number in 0..40 {
        value.push_str(&append(&mut long, number));
    }
    let missing = value.clone();
    value.push_str(&append(&mut long, 40));
    for (client, value) in [(1, value), (2, missing)] {
        let id = long.invoke(client, KvOp::Get { key: "0".into() });
        long.ok(id, Some(value));
    }
    assert_snapshot!(report(&long, Anomaly::StaleRead, &[41, 42, 43]));
}

#[test]
fn a_linearizable_history_is_one_line() {
    let history = history("1 put a\n 2 get\n 2 ok a");
    assert_snapshot!(report_kv(&history, &check_kv(&history)), @"KV history is linearizable: 2 operations, 1 key.");
}

#[test]
fn a_search_without_steps_is_undecided() {
    let history = history("1 put a\n 1 ok\n 1 put a\n 1 ok\n 2 get\n 2 ok a");
    let verdict = check_kv_within(&history, Limits { steps: 0, ..Limits::default() });
    assert_eq!(verdict, Verdict::Unknown(Undecided::LimitReached { steps: 0 }));
    assert_snapshot!(report_kv(&history, &verdict), @r"
    KV history is UNDECIDED: the search reached its limit after 0 steps.
    This is not a pass, and no proof of a fault.
    ");
}

#[test]
fn a_witness_of_another_history_is_no_panic() {
    let other = history("1 put a;\n 1 ok\n 2 get\n 2 ok b;");
    let verdict = check_kv(&other);
    assert_fits(&report_kv(&KvHistory::new(), &verdict));
}

/// Faults put into runs get the name of what they are, as far as others cannot tell them apart from something
/// else.
#[test]
fn injected_faults_are_named() {
    use Anomaly::{Disagreement, DuplicateAppend, FutureRead, Interleaved, LostWrite, StaleRead};
    // What is read too early may never be written, or be written elsewhere. What is shown in a wrong order
    // may contradict real time, or begin with the wrong put. A write after which nothing was written is lost, or
    // the read after it stale.
    const OTHERS: &[Anomaly] = &[
        Anomaly::NeverWritten,
        Anomaly::PutInside,
        Anomaly::Disagreement,
        Anomaly::ExecutedAgain,
        Anomaly::StaleRead,
        Anomaly::WriteOrder,
        Anomaly::LostWrite,
        Anomaly::Interleaved,
    ];
    // Each fault, its name, what else it may look like, and in how many of a hundred it must be named.
    for (fault, name, others, percent) in [
        (Fault::DuplicateAppend, DuplicateAppend, &[][..], 100),
        (Fault::LostWrite, LostWrite, &[StaleRead], 90),
        (Fault::StaleRead, StaleRead, &[LostWrite, Interleaved], 99),
        (Fault::FutureRead, FutureRead, OTHERS, 30),
        (Fault::Reordered, Disagreement, OTHERS, 30),
    ] {
        let (mut named, mut illegal) = (0, 0);
        for seed in 0..2_000 {
            let plan = Plan {
                clients: 3,
                rests: 1,
                operations: 60,
                keys: 1,
                values: Values::Unique,
                gets: 5,
                puts: 1,
                unknown: 0,
                failed: 0,
                fault: Some(fault),
                late_fault: true,
            };
            let history = store::run(&mut Rng::new(seed), plan);
            let verdict = check_kv(&history);
            let Some(witness) = verdict.witness() else { continue };
            illegal += 1;
            assert!(
                witness.anomaly == name || others.contains(&witness.anomaly),
                "{fault:?} {seed}: {witness:?}"
            );
            assert_fits(&report_kv(&history, &verdict));
            named += usize::from(witness.anomaly == name);
        }
        println!("{fault:?}: {illegal} illegal, {named} named {name:?}");
        assert!(illegal > 500 && named * 100 >= illegal * percent, "{fault:?}: {named} of {illegal}");
    }
}
