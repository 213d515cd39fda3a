//! The scheduler by priorities.

use std::collections::BTreeSet;

use labrpc::sync::{Arc, Mutex};
use labrpc::{Config, Schedule, channel, thread};

use crate::ms;

fn by_priorities(seed: u64) -> Config {
    Config { schedule: Schedule::Priorities, ..Config::new(seed) }
}

#[test]
fn a_thread_that_polls_keeps_no_other_from_running() {
    /// What a thread does that waits for a number to grow.
    type Poll = fn(&Mutex<u64>) -> bool;
    let polls: [Poll; 3] = [
        |number| *number.lock() >= 100,
        |number| number.try_lock().is_some_and(|number| *number >= 100),
        |number| {
            thread::yield_now();
            *number.lock() >= 100
        },
    ];
    for seed in 0..100 {
        for poll in polls {
            let report = labrpc::run(&by_priorities(seed), move |world| {
                let number = Arc::new(Mutex::new(0));
                let pollers: Vec<_> = (0..3)
                    .map(|_| {
                        let number = number.clone();
                        thread::spawn(move || while !poll(&number) {})
                    })
                    .collect();
                for _ in 0..100 {
                    *number.lock() += 1;
                    thread::sleep(ms(1));
                }
                pollers.into_iter().for_each(|poller| poller.join().expect("it ends"));
                world.now()
            });
            let took = report.outcome.expect("it comes to its end");
            // A hundred times a millisecond's sleep, and a turn for each of the three.
            assert!(took < ms(100 * 5), "seed {seed}: {took:?}");
        }
    }
}

#[test]
fn a_run_by_priorities_is_a_function_of_its_seed_and_seeds_differ() {
    let hash = |seed| {
        let report = labrpc::run(&by_priorities(seed), |_| {
            let (sender, receiver) = channel::unbounded();
            for number in 0..8_u64 {
                let sender = sender.clone();
                thread::spawn(move || (0..50).for_each(|_| sender.send(number).expect("somebody listens")));
            }
            drop(sender);
            receiver.iter().collect::<Vec<u64>>()
        });
        (report.trace_hash, report.outcome.expect("it comes to its end"))
    };
    let runs: Vec<_> = (0..50).map(hash).collect();
    assert!((0..50).zip(&runs).all(|(seed, first)| hash(seed) == *first));
    assert_eq!(runs.iter().map(|run| run.0).collect::<BTreeSet<_>>().len(), 50);
    // One thread that lags behind all others is what this scheduler is for.
    let is_last_alone = |order: &Vec<u64>| {
        let last = order[order.len() - 1];
        order.iter().rev().take_while(|number| **number == last).count() == 50
    };
    assert!(runs.iter().filter(|run| is_last_alone(&run.1)).count() >= 10);
}

#[test]
fn every_fourth_seed_is_run_by_priorities() {
    let test = |_| {
        let threads: Vec<_> =
            (0..4).map(|_| thread::spawn(|| (0..20).for_each(|_| thread::yield_now()))).collect();
        threads.into_iter().for_each(|thread| thread.join().expect("it ends"));
    };
    let hash = |schedule, seed| labrpc::run(&Config { schedule, ..Config::new(seed) }, test).trace_hash;
    let has_priorities = |&seed: &u64| hash(Schedule::BySeed, seed) == hash(Schedule::Priorities, seed);
    let chosen: Vec<u64> = (0..41).filter(has_priorities).collect();
    assert_eq!(chosen, [0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40]);
}
