//! What ends the whole process: endless loops, real locks, stack overflows. Each hazard runs in a child
//! process, and the text is what a student sees.
//!
//! Only Linux can tell where another thread is; elsewhere these programs hang or crash unnamed.

#![cfg(target_os = "linux")]

use std::hint::black_box;
use std::process::Command;
use std::time::Duration;

use insta::assert_snapshot;
use labrpc::{Config, thread};

use crate::{ms, start_plain};

/// Says which hazard a child process is to run.
const HAZARD: &str = "LABRPC_HAZARD";

/// What a process that runs `hazard` says when it is ended.
fn last_words(hazard: &str) -> String {
    let program = std::env::current_exe().expect("this program has a path");
    let output = Command::new(program)
        .args(["--exact", "hazards::child", "--nocapture"])
        .env(HAZARD, hazard)
        .output()
        .expect("this program can be run");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(101), "{text}");
    text
}

/// Runs the hazard that the environment names; does nothing when it names none.
#[test]
fn child() {
    let Ok(hazard) = std::env::var(HAZARD) else { return };
    let body: fn() = match hazard.as_str() {
        "loop" => endless_loop,
        "std_lock" => std_lock,
        "parking_lot_lock" => parking_lot_lock,
        "overflow" => || assert_ne!(depth(black_box(0)), 1),
        other => panic!("there is no hazard called {other}"),
    };
    let config = Config { stuck_after: Duration::from_millis(500), label: "hazard".into(), ..Config::new(1) };
    let report = labrpc::run(&config, move |world| {
        let node = world.add_node("S2");
        start_plain(&world, node, move || {
            thread::Builder::new().name("ticker").spawn(body).expect("a thread can be started");
        });
        thread::sleep(ms(1_000_000));
    });
    panic!("the run came to an end: {:?}", report.outcome);
}

fn endless_loop() {
    thread::sleep(ms(5));
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

fn std_lock() {
    let lock = std::sync::Arc::new(std::sync::Mutex::new(0));
    let same = lock.clone();
    let _held = lock.lock();
    thread::spawn(move || *same.lock().expect("nobody panics") += 1);
    thread::sleep(ms(5));
}

fn parking_lot_lock() {
    let lock = std::sync::Arc::new(parking_lot::Mutex::new(0));
    let same = lock.clone();
    let _held = lock.lock();
    thread::spawn(move || *same.lock() += 1);
    thread::sleep(ms(5));
}

fn depth(n: u64) -> u64 {
    let frame = black_box([n; 32]);
    if n == u64::MAX { frame[0] } else { depth(n + 1) + black_box(frame)[31] }
}

#[test]
fn a_loop_without_a_call_into_the_kit_is_named() {
    // Where in the loop the thread was is a matter of chance: only the line is certain.
    let text = last_words("loop");
    let without_column = |line: &str| match line.rsplit_once(':') {
        Some((place, _)) if line.contains("loops without end") => place.to_owned(),
        _ => line.to_owned(),
    };
    assert_snapshot!(text.lines().map(without_column).collect::<Vec<_>>().join("\n"));
}

#[test]
fn a_real_lock_held_across_a_sleep_is_named() {
    assert_snapshot!(last_words("std_lock"));
}

#[test]
fn so_is_one_of_parking_lot() {
    assert_snapshot!(last_words("parking_lot_lock"));
}

#[test]
fn a_stack_overflow_is_named() {
    assert_snapshot!(last_words("overflow"));
}
