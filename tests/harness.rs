//! Tests of the harness itself, on the reference.
//!
//! Kit-owned. Needs the feature `solution`.

use std::time::Duration;

use tests::{Script, repeat_report};

/// A test that depends on an address: how long it sleeps is a matter of where a box lies.
fn sleeps_by_address(script: &mut Script) {
    let address = Box::into_raw(Box::new(0_u64)) as usize;
    script.sleep(Duration::from_micros((address as u64 >> 4) % 1_000_000));
    script.request_vote(1, tests::vote_request(1_000, 1));
}

#[test]
fn a_run_that_does_not_repeat_is_reported_with_the_first_event_that_differs() {
    let report =
        repeat_report("2a::vote_table", 3, sleeps_by_address).expect("the run differs from its repetition");
    let lines: Vec<&str> = report.lines().map(str::trim).collect();
    assert_eq!(lines[1], "the run went differently when it was repeated; the first event that differs:");
    assert!(lines[2].starts_with("t=") && lines[3].starts_with("t=") && lines[2] != lines[3], "{report}");
    assert_eq!(lines[4], "checked   a run is a function of its seed");
}

#[test]
fn a_run_that_repeats_is_not_reported() {
    fn asks_once(script: &mut Script) {
        script.request_vote(1, tests::vote_request(1_000, 1));
    }
    assert_eq!(repeat_report("2a::vote_table", 3, asks_once), None);
}
