//! Whole runs, pinned. A change here means that seeds mean something else from now on, which the
//! changelog has to say.

use insta::assert_snapshot;
use labrpc::channel;
use labrpc::sync::{Arc, Mutex};
use labrpc::{Config, Disk, Report, World, Write, rng, thread, unreliable};

use crate::{echo, echo_server, ms, start_echo, start_plain};

fn recorded(seed: u64, test: impl FnOnce(World) + Send + 'static) -> String {
    let config = Config { record: true, ..Config::new(seed) };
    let report: Report<()> = labrpc::run(&config, test);
    let trace = report.trace.expect("it was recorded");
    format!("{trace}hash {:016x}, {} switches", report.trace_hash, report.switches)
}

/// Two threads race for a lock and a channel; their notes show who came when.
fn race(world: World) {
    let node = world.add_node("S0");
    start_plain(&world, node, || {
        let (sender, receiver) = channel::bounded(1);
        let lock = Arc::new(Mutex::new(0));
        for name in ["a", "b"] {
            let (sender, lock) = (sender.clone(), lock.clone());
            thread::spawn(move || {
                for _ in 0..3 {
                    let turn = {
                        let mut turns = lock.lock();
                        *turns += 1;
                        *turns
                    };
                    thread::sleep(rng::duration(ms(1)..ms(3)));
                    sender.send((name, turn)).expect("somebody listens");
                }
            });
        }
        thread::spawn(move || receiver.iter().for_each(|(name, turn)| tracing::info!(turn, "{name}")));
    });
    thread::sleep(ms(20));
}

/// Calls over an unreliable network to a server that crashes and comes back.
fn calls_and_a_crash(world: World) {
    let server = echo_server(&world, "S0");
    unreliable().into_iter().for_each(|rule| {
        world.add_rule(rule);
    });
    for n in 0..6 {
        echo(server, n);
    }
    world
        .on(server, ms(1000), move || {
            Disk::simulated(server).write(Write { header: vec![1], ..Write::default() }, &"one")
        })
        .expect("the server is up");
    world.crash(server);
    echo(server, 6);
    start_echo(&world, server);
    world.clear_rules();
    world.note("now reliable");
    echo(server, 7);
}

#[test]
fn threads_that_race() {
    assert_snapshot!(recorded(1, race));
}

#[test]
fn calls_that_get_lost_and_a_server_that_crashes() {
    assert_snapshot!(recorded(5, calls_and_a_crash));
}

#[test]
fn a_run_is_the_same_with_and_without_a_trace_and_differs_by_seed() {
    for test in [race, calls_and_a_crash] {
        let hash = |seed, record| labrpc::run(&Config { record, ..Config::new(seed) }, test).trace_hash;
        let hashes: Vec<u64> = (0..200).map(|seed| hash(seed, false)).collect();
        for (seed, expected) in hashes.iter().enumerate() {
            assert_eq!(hash(seed as u64, true), *expected, "seed {seed}");
        }
        let mut distinct = hashes.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), hashes.len());
    }
}

#[test]
fn runs_side_by_side_do_not_disturb_each_other() {
    let hash = |seed| labrpc::run(&Config::new(seed), race).trace_hash;
    let alone: Vec<u64> = (0..100).map(hash).collect();
    let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(move || (0..100).map(hash).collect())).collect();
    for thread in threads {
        let beside: Vec<u64> = thread.join().expect("it does not panic");
        assert_eq!(beside, alone);
    }
}
