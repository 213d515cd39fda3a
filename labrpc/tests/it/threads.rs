//! Threads, locks and condition variables.

use std::time::Duration;

use labrpc::sync::{Arc, Condvar, Mutex, RwLock};
use labrpc::time::Instant;
use labrpc::{rng, thread};

use crate::{ms, run};

#[test]
fn a_mutex_keeps_threads_apart() {
    for seed in 0..50 {
        let total = run(seed, |_| {
            let counter = Arc::new(Mutex::new(0u64));
            let threads: Vec<_> = (0..5)
                .map(|_| {
                    let counter = counter.clone();
                    thread::spawn(move || {
                        for _ in 0..20 {
                            let mut guard = counter.lock();
                            let seen = *guard;
                            thread::yield_now();
                            *guard = seen + 1;
                        }
                    })
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            *counter.lock()
        });
        assert_eq!(total, 100);
    }
}

#[test]
fn a_thread_takes_a_closure_of_any_size_and_returns_as_much() {
    let (sum, first) = run(1, |_| {
        let (kilobyte, page) = ([1_u8; 1_024], [2_u64; 4_096]);
        let sum = thread::spawn(move || page.iter().sum::<u64>() + u64::from(kilobyte[1_023]));
        let named = thread::Builder::new().name("large").spawn(move || page).unwrap();
        (sum.join().unwrap(), named.join().unwrap()[0])
    });
    assert_eq!((sum, first), (2 * 4_096 + 1, 2));
}

#[test]
fn without_a_lock_updates_get_lost_on_some_seed() {
    let totals: Vec<u64> = (0..50)
        .map(|seed| {
            run(seed, |_| {
                let counter = Arc::new(Mutex::new(0u64));
                let threads: Vec<_> = (0..3)
                    .map(|_| {
                        let counter = counter.clone();
                        thread::spawn(move || {
                            let seen = *counter.lock();
                            *counter.lock() = seen + 1;
                        })
                    })
                    .collect();
                threads.into_iter().for_each(|thread| thread.join().unwrap());
                *counter.lock()
            })
        })
        .collect();
    assert!(totals.contains(&3) && totals.iter().any(|&total| total < 3), "{totals:?}");
}

#[test]
fn sleep_takes_exactly_as_long_as_asked_for() {
    run(1, |_| {
        let before = Instant::now();
        thread::sleep(Duration::from_secs(3600));
        let slept = before.elapsed();
        assert!(slept >= Duration::from_secs(3600) && slept < Duration::from_secs(3600) + ms(1), "{slept:?}");
    });
}

#[test]
fn readers_share_and_writers_do_not() {
    for seed in 0..20 {
        run(seed, |_| {
            let lock = Arc::new(RwLock::new((0u64, 0u64)));
            let first = lock.read();
            assert_eq!(*lock.read(), *first);
            drop(first);
            let writers = (0..3).map(|_| {
                let lock = lock.clone();
                thread::spawn(move || {
                    let mut pair = lock.write();
                    pair.0 += 1;
                    thread::sleep(ms(1));
                    pair.1 += 1;
                })
            });
            let readers = (0..3).map(|_| {
                let lock = lock.clone();
                thread::spawn(move || {
                    let pair = lock.read();
                    thread::yield_now();
                    assert_eq!(pair.0, pair.1);
                })
            });
            let threads: Vec<_> = writers.chain(readers).collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            assert_eq!(*lock.read(), (3, 3));
        });
    }
}

#[test]
fn notify_one_wakes_one_and_notify_all_the_rest() {
    for seed in 0..50 {
        run(seed, |_| {
            let shared = Arc::new((Mutex::new(0), Condvar::new()));
            for _ in 0..4 {
                let shared = shared.clone();
                thread::spawn(move || {
                    let mut woken = shared.0.lock();
                    shared.1.wait(&mut woken);
                    *woken += 1;
                });
            }
            thread::sleep(ms(1));
            shared.1.notify_one();
            thread::sleep(ms(1));
            assert_eq!(*shared.0.lock(), 1);
            shared.1.notify_all();
            thread::sleep(ms(1));
            assert_eq!(*shared.0.lock(), 4);
        });
    }
}

#[test]
fn a_wait_with_a_limit_ends_by_notification_or_by_the_limit() {
    for seed in 0..50 {
        run(seed, |_| {
            let shared = Arc::new((Mutex::new(false), Condvar::new()));
            let notifier = {
                let shared = shared.clone();
                thread::spawn(move || {
                    thread::sleep(ms(10));
                    *shared.0.lock() = true;
                    shared.1.notify_all();
                })
            };
            let mut done = shared.0.lock();
            assert!(shared.1.wait_while_for(&mut done, |done| !*done, ms(5)).timed_out());
            assert!(!shared.1.wait_while_for(&mut done, |done| !*done, ms(50)).timed_out());
            assert!(*done);
            assert!(shared.1.wait_for(&mut done, ms(1)).timed_out());
            drop(done);
            notifier.join().unwrap();
        });
    }
}

#[test]
fn random_numbers_stay_in_range_and_differ_by_seed() {
    let draw = |seed| {
        run(seed, |_| {
            let numbers: Vec<u64> = (0..100).map(|_| rng::range(5..10)).collect();
            assert!(numbers.iter().all(|number| (5..10).contains(number)));
            assert!((5..10).all(|wanted| numbers.contains(&wanted)));
            let span = rng::duration(ms(1)..ms(2));
            assert!((ms(1)..ms(2)).contains(&span));
            assert!(rng::chance(1.0) && !rng::chance(0.0));
            numbers
        })
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
}
