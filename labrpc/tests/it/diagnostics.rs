//! What is said when code under test goes wrong. The texts are what a student sees.

use std::panic;

use insta::assert_snapshot;
use labrpc::sync::{Arc, Mutex, RwLock};
use labrpc::{Config, Report, channel, thread};

use crate::{failure, ms, run, start_plain};

fn named(name: &str, body: impl FnOnce() + Send + 'static) {
    thread::Builder::new().name(name).spawn(body).expect("a thread can be started");
}

#[test]
fn a_panic_names_node_thread_time_and_line() {
    let text = failure(7, |world| {
        let node = world.add_node("S3");
        start_plain(&world, node, || {
            named("ticker", || {
                thread::sleep(ms(1234));
                let empty: [u8; 0] = [];
                let index = empty.len() + 5;
                panic!("index out of bounds: the len is {} but the index is {index}", empty.len());
            });
        });
        thread::sleep(ms(100_000));
    });
    assert_snapshot!(text);
}

#[test]
fn two_threads_that_wait_for_each_other_are_a_deadlock() {
    let text = failure(1, |world| {
        let node = world.add_node("S0");
        start_plain(&world, node, || {
            let locks = Arc::new((Mutex::new(()), Mutex::new(())));
            let same = locks.clone();
            named("t1", move || {
                let _first = locks.0.lock();
                thread::sleep(ms(5));
                let _second = locks.1.lock();
            });
            named("t2", move || {
                let _second = same.1.lock();
                thread::sleep(ms(6));
                let _first = same.0.lock();
            });
        });
        // The test itself goes on: the circle is found all the same.
        thread::sleep(ms(1_000_000));
    });
    assert_snapshot!(text);
}

#[test]
fn locking_twice_is_a_deadlock_of_one() {
    let text = failure(1, |world| {
        let node = world.add_node("S0");
        start_plain(&world, node, || {
            named("ticker", || {
                let state = Mutex::new(0);
                let _guard = state.lock();
                *state.lock() += 1;
            });
        });
        thread::sleep(ms(1_000_000));
    });
    assert_snapshot!(text);
}

#[test]
fn writing_while_reading_is_a_deadlock_of_one() {
    let text = failure(1, |_| {
        let state = RwLock::new(0);
        let _reading = state.read();
        *state.write() += 1;
    });
    assert_snapshot!(text);
}

#[test]
fn a_run_in_which_nothing_can_happen_is_a_deadlock() {
    let text = failure(1, |world| {
        let node = world.add_node("S0");
        let (sender, receiver) = channel::bounded::<u8>(1);
        start_plain(&world, node, move || {
            named("reader", move || {
                let _ = receiver.recv();
            });
        });
        let (_keep, ever) = channel::bounded::<u8>(1);
        let _ = ever.recv();
        drop(sender);
    });
    assert_snapshot!(text);
}

#[test]
fn a_run_has_limits_of_time_and_of_operations() {
    let config = Config { time_limit: ms(5_000), ..Config::new(1) };
    let report: Report<()> = labrpc::run(&config, |_| {
        loop {
            thread::sleep(ms(10));
        }
    });
    assert_snapshot!(report.outcome.expect_err("it never ends"), @"[t=4.990100s] the run's limit of 5 s of virtual time passed");

    let config = Config { step_limit: 10_000, ..Config::new(1) };
    let report = labrpc::run(&config, |_| {
        let busy = Mutex::new(true);
        while *busy.lock() {}
    });
    assert_snapshot!(report.outcome.expect_err("it never ends"), @"[t=0.002003s] the run's limit of 10000 operations was used up; node tester thread 'test' was running, at labrpc/tests/it/diagnostics.rs:112:21; does it poll without a sleep?");
}

#[test]
fn a_crash_that_is_caught_again_and_again_is_reported() {
    let text = failure(1, |world| {
        let node = world.add_node("S2");
        start_plain(&world, node, || {
            named("stubborn", || {
                loop {
                    let _ = panic::catch_unwind(|| thread::sleep(ms(1)));
                }
            });
        });
        thread::sleep(ms(10));
        world.crash(node);
    });
    assert_snapshot!(text);
}

#[test]
fn a_crash_that_is_caught_once_goes_on() {
    run(1, |world| {
        let node = world.add_node("S2");
        let reached = Arc::new(Mutex::new(false));
        let theirs = reached.clone();
        start_plain(&world, node, move || {
            named("careless", move || {
                let _ = panic::catch_unwind(|| thread::sleep(ms(1000)));
                thread::sleep(ms(1));
                *theirs.lock() = true;
            });
        });
        thread::sleep(ms(10));
        world.crash(node);
        thread::sleep(ms(10_000));
        assert!(!*reached.lock());
    });
}

#[test]
fn a_drop_that_needs_a_lock_of_a_living_thread_is_reported() {
    struct NeedsLock(Arc<Mutex<()>>);

    impl Drop for NeedsLock {
        fn drop(&mut self) {
            drop(self.0.lock());
        }
    }

    let text = failure(1, |world| {
        let node = world.add_node("S1");
        let lock = Arc::new(Mutex::new(()));
        let theirs = lock.clone();
        start_plain(&world, node, move || {
            named("ticker", move || {
                let _needs = NeedsLock(theirs);
                thread::sleep(ms(1000));
            });
        });
        let _held = lock.lock();
        thread::sleep(ms(10));
        world.crash(node);
    });
    assert_snapshot!(text);
}

#[test]
fn the_first_failure_counts_and_destructors_run_after_it() {
    let dropped = Arc::new(Mutex::new(false));
    struct Note(Arc<Mutex<bool>>);
    impl Drop for Note {
        fn drop(&mut self) {
            *self.0.lock() = true;
        }
    }
    let note = Note(dropped.clone());
    let text = failure(1, |world| {
        named("other", move || {
            let _note = note;
            thread::sleep(ms(1000));
        });
        thread::sleep(ms(1));
        world.fail("the test says so");
    });
    assert_snapshot!(text, @"[t=0.001000s] the test says so");
    assert!(*dropped.lock());
}
