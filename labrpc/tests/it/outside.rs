//! The same code on real threads, and where a simulation begins and ends.

use std::collections::BTreeMap;
use std::sync::Arc as StdArc;

use labrpc::channel::{self, Select};
use labrpc::sync::{Arc, Condvar, Mutex, RwLock};
use labrpc::time::Instant;
use labrpc::{Config, Disk, Peer, Services, Transport, Write, rng, thread};

use crate::{Echo, ms, run};

/// A small program of several threads: workers take jobs from a channel, add up under a lock, and say
/// when they are done; a reporter waits for that with a condition variable.
fn word_count() -> (BTreeMap<&'static str, usize>, usize) {
    let (jobs, job) = channel::bounded::<&str>(2);
    let (results, result) = channel::bounded(0);
    let (_stop, stopped) = channel::unbounded::<()>();
    let counts = Arc::new(RwLock::new(BTreeMap::new()));
    let done = Arc::new((Mutex::new(0), Condvar::new()));
    let workers: Vec<_> = (0..3)
        .map(|_| {
            let (job, results, counts, done) = (job.clone(), results.clone(), counts.clone(), done.clone());
            thread::Builder::new()
                .name("worker")
                .spawn(move || {
                    for word in job.iter() {
                        thread::sleep(rng::duration(ms(0)..ms(2)));
                        *counts.write().entry(word).or_insert(0) += 1;
                        results.send(word.len()).expect("somebody listens");
                    }
                    *done.0.lock() += 1;
                    done.1.notify_all();
                })
                .expect("a thread can be started")
        })
        .collect();
    drop((job, results));
    thread::spawn(move || {
        let text = "one two three two three three";
        text.split(' ').for_each(|word| jobs.send(word).expect("somebody works"));
    });
    let mut letters = 0;
    for _ in 0..6 {
        let mut select = Select::new();
        select.recv(&stopped);
        assert_eq!((select.recv(&result), select.ready()), (1, 1));
        letters += result.recv().expect("a worker has a result");
    }
    let mut finished = done.0.lock();
    done.1.wait_while(&mut finished, |finished| *finished < 3);
    drop(finished);
    workers.into_iter().for_each(|worker| worker.join().expect("a worker does not panic"));
    let counts = counts.read().clone();
    (counts, letters)
}

fn expected() -> (BTreeMap<&'static str, usize>, usize) {
    (BTreeMap::from([("one", 1), ("two", 2), ("three", 3)]), 24)
}

#[test]
fn one_program_runs_on_real_threads() {
    let start = Instant::now();
    assert_eq!(word_count(), expected());
    assert!(start.elapsed() > ms(0));
}

#[test]
fn and_the_same_program_in_a_simulation() {
    for seed in 0..50 {
        assert_eq!(run(seed, |_| word_count()), expected());
    }
}

#[test]
fn limits_hold_on_real_threads_too() {
    let (sender, receiver) = channel::bounded::<u8>(1);
    assert!(receiver.recv_timeout(ms(1)).is_err());
    sender.send(1).expect("there is room");
    assert!(sender.send_timeout(2, ms(1)).is_err() && sender.try_send(2).is_err());
    assert_eq!((sender.len(), receiver.try_recv()), (1, Ok(1)));
    let (lock, condvar) = (Mutex::new(()), Condvar::new());
    assert!(condvar.wait_for(&mut lock.lock(), ms(1)).timed_out());
    assert!(lock.try_lock().is_some());
    assert!(Select::new().try_ready().is_err());
}

/// Requests and replies as bytes, as a real network would carry them.
struct Loopback(Services);

impl Transport for Loopback {
    fn call(&self, kind: &str, request: &[u8]) -> Option<Vec<u8>> {
        self.0.dispatch(kind, request)
    }
}

#[test]
fn handlers_and_disks_work_without_a_simulation() {
    let peer = Peer::remote(StdArc::new(Loopback(Services::new().with(|Echo(n)| n + 1))));
    assert_eq!(peer.call(&Echo(1)), Some(2));
    let disk = Disk::in_memory();
    disk.write(Write { header: vec![7], ..Write::default() }, &());
    assert_eq!(disk.read().header, [7]);
}

#[test]
fn a_mutex_made_outside_can_be_used_inside_and_after() {
    static TOTAL: Mutex<u64> = Mutex::new(0);
    for seed in 0..10 {
        run(seed, |_| {
            let threads: Vec<_> = (0..3).map(|_| thread::spawn(|| *TOTAL.lock() += 1)).collect();
            threads.into_iter().for_each(|thread| thread.join().expect("it ends"));
        });
    }
    assert_eq!(*TOTAL.lock(), 30);
}

#[test]
fn a_simulation_inside_a_simulation_is_refused() {
    let outcome = labrpc::run(&Config::new(1), |_| labrpc::run(&Config::new(2), |_| ()).trace_hash).outcome;
    let text = outcome.expect_err("it is refused").to_string();
    assert!(text.contains("a simulation cannot be started inside a simulation"), "{text}");
}
