//! What the simulated world costs, operation by operation.
//!
//! `cargo bench -p labrpc` prints nanoseconds of CPU time per operation: the minimum and the median of
//! several rounds. With `-- --once NAME` one round of one row runs and nothing is timed, so that an
//! instruction counter can be put around it:
//! `valgrind --tool=callgrind target/release/deps/runtime-* --once rpc`.

#[path = "support/cpu_time.rs"]
mod cpu_time;

use std::hint::black_box;
use std::time::Duration;

use cpu_time::cpu_time;
use labrpc::sync::{Arc, Mutex};
use labrpc::{Config, Peer, Request, Schedule, Services, World, channel, thread};
use serde::{Deserialize, Serialize};

/// A row of the table: its name, how many operations a round has, and what runs them.
struct Row {
    name: &'static str,
    operations: u64,
    round: fn(u64),
}

const ROWS: &[Row] = &[
    Row { name: "switch", operations: 400_000, round: |n| switches(n, 2) },
    Row { name: "switch_64", operations: 400_000, round: |n| switches(n, 64) },
    Row { name: "spawn", operations: 200_000, round: spawns },
    Row { name: "lock_parking_lot", operations: 4_000_000, round: bare_locks },
    Row { name: "lock_outside", operations: 4_000_000, round: locks },
    Row { name: "lock", operations: 4_000_000, round: |n| simulated(16, move |_| locks(n)) },
    Row { name: "lock_preempted", operations: 4_000_000, round: preempted_locks },
    Row { name: "sleep", operations: 400_000, round: sleeps },
    Row { name: "ping_pong", operations: 200_000, round: ping_pongs },
    Row { name: "rpc", operations: 100_000, round: rpcs },
    Row { name: "empty_simulation", operations: 2_000, round: empty_simulations },
];

const ROUNDS: usize = 9;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => ROWS.iter().for_each(measure),
        ["--once", name] => match ROWS.iter().find(|row| row.name == name) {
            Some(row) => (row.round)(row.operations),
            None => eprintln!("no row is called {name}"),
        },
        _ => eprintln!("usage: runtime [--once NAME]"),
    }
}

fn measure(row: &Row) {
    let mut costs: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let before = cpu_time();
            (row.round)(row.operations);
            (cpu_time() - before).as_nanos() as f64 / row.operations as f64
        })
        .collect();
    costs.sort_by(f64::total_cmp);
    println!("{:<18} {:>9.1} ns min {:>9.1} ns median", row.name, costs[0], costs[ROUNDS / 2]);
}

/// Runs `test` in a simulation that preempts every `mean` operations.
fn simulated(mean: u32, test: impl FnOnce(World) + Send + 'static) {
    let config = Config {
        preemption_mean: Some(mean),
        schedule: Schedule::Random,
        time_limit: Duration::from_secs(1_000_000),
        step_limit: u64::MAX,
        ..Config::new(1)
    };
    let report = labrpc::run(&config, test);
    report.outcome.expect("a benchmark does not fail");
}

fn switches(n: u64, threads: u64) {
    simulated(64, move |_| {
        let each = n / threads;
        let run = move || (0..each).for_each(|_| thread::yield_now());
        let threads: Vec<_> = (0..threads).map(|_| thread::spawn(run)).collect();
        threads.into_iter().for_each(|thread| thread.join().expect("it ends"));
    });
}

fn spawns(n: u64) {
    simulated(64, move |_| {
        (0..n).for_each(|i| assert_eq!(thread::spawn(move || i).join().ok(), Some(i)));
    });
}

/// What the lock beneath costs on this machine, for comparison.
fn bare_locks(n: u64) {
    let mutex = parking_lot::Mutex::new(0u64);
    for _ in 0..n {
        *black_box(&mutex).lock() += 1;
    }
    assert_eq!(*mutex.lock(), n);
}

fn locks(n: u64) {
    let mutex = Mutex::new(0u64);
    for _ in 0..n {
        *black_box(&mutex).lock() += 1;
    }
    assert_eq!(*mutex.lock(), n);
}

fn preempted_locks(n: u64) {
    simulated(16, move |_| {
        let mutexes = Arc::new([Mutex::new(0u64), Mutex::new(0u64)]);
        let threads: Vec<_> = (0..2)
            .map(|which| {
                let mutexes = mutexes.clone();
                thread::spawn(move || (0..n / 2).for_each(|_| *mutexes[which].lock() += 1))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().expect("it ends"));
    });
}

fn sleeps(n: u64) {
    simulated(64, move |_| (0..n).for_each(|_| thread::sleep(Duration::from_millis(1))));
}

fn ping_pongs(n: u64) {
    simulated(64, move |_| {
        let (ping, pinged) = channel::unbounded();
        let (pong, ponged) = channel::unbounded();
        thread::spawn(move || pinged.iter().for_each(|i: u64| pong.send(i).expect("somebody listens")));
        for i in 0..n {
            ping.send(i).expect("somebody listens");
            assert_eq!(ponged.recv(), Ok(i));
        }
    });
}

/// A request of the size and shape of a Raft heartbeat.
#[derive(Debug, Serialize, Deserialize)]
struct Ask {
    term: u64,
    leader_id: usize,
    prev_log_index: usize,
    prev_log_term: u64,
    entries: Vec<(u64, Vec<u8>)>,
    leader_commit: usize,
}

#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    term: u64,
    success: bool,
    conflict: Option<(u64, usize)>,
}

impl Request for Ask {
    type Reply = Answer;
    const KIND: &'static str = "Ask";
}

fn rpcs(n: u64) {
    simulated(64, move |world| {
        let server = world.add_node("server");
        let started = world.start(server, Duration::from_secs(1), || {
            Services::new().with(|ask: Ask| Answer { term: ask.term, success: true, conflict: None })
        });
        assert_eq!(started, Ok(()));
        let peer = Peer::simulated(server);
        for term in 0..n {
            let ask = Ask {
                term,
                leader_id: 1,
                prev_log_index: 7,
                prev_log_term: 2,
                entries: vec![(2, vec![1, 2, 3])],
                leader_commit: 7,
            };
            let answer = peer.call(&ask).expect("the network is reliable");
            assert_eq!((answer.term, answer.success, answer.conflict), (term, true, None));
        }
    });
}

fn empty_simulations(n: u64) {
    (0..n).for_each(|_| simulated(64, |_| ()));
}
