//! Stalls: threads that are held up wherever they stand.

use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use labrpc::sync::{Arc, Condvar, Mutex};
use labrpc::{
    Config, Disk, Event, NodeId, Observer, Request, Services, Stalls, What, World, Write, channel, thread,
};

use crate::{Echo, echo, ms, run, start_plain};

fn often(span: Range<Duration>) -> Option<Stalls> {
    Some(Stalls { one_in: 4, span })
}

/// A node with two counters under locks of their own, and a thread that copies the first into the second: it
/// looks, unlocks, locks and writes. Another one counts every millisecond.
fn look_unlock_act(world: &World) -> (NodeId, Arc<Mutex<u64>>, Arc<Mutex<u64>>) {
    let node = world.add_node("S0");
    let (source, copy) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(0)));
    let (counted, read, written) = (source.clone(), source.clone(), copy.clone());
    start_plain(world, node, move || {
        thread::spawn(move || {
            loop {
                let seen = *read.lock();
                *written.lock() = seen;
                thread::sleep(ms(1));
            }
        });
    });
    thread::spawn(move || {
        loop {
            thread::sleep(ms(1));
            *counted.lock() += 1;
        }
    });
    (node, source, copy)
}

/// By how much the copy lags behind at most, looked at each half millisecond.
fn greatest_lag(world: &World, stalls: Option<Stalls>) -> u64 {
    let (node, source, copy) = look_unlock_act(world);
    world.stall(node, stalls);
    let lag = |_| {
        thread::sleep(Duration::from_micros(500));
        let copied = *copy.lock();
        *source.lock() - copied
    };
    (0..1_000).map(lag).max().unwrap_or(0)
}

#[test]
fn a_thread_is_held_up_between_an_unlock_and_the_next_lock() {
    run(1, |world| assert!(greatest_lag(&world, None) <= 2));
    run(1, |world| {
        let lag = greatest_lag(&world, often(ms(20)..ms(40)));
        assert!(lag >= 19, "{lag}");
    });
}

#[test]
fn stalls_end_when_they_are_turned_off() {
    run(3, |world| {
        let (node, source, copy) = look_unlock_act(&world);
        world.stall(node, often(ms(20)..ms(40)));
        thread::sleep(ms(500));
        world.stall(node, None);
        thread::sleep(ms(50));
        assert_eq!(world.stalled_threads(node), 0);
        let copied = *copy.lock();
        assert!(*source.lock() - copied <= 2);
    });
}

#[test]
fn a_thread_that_is_held_up_can_be_crashed_and_does_nothing_after_that() {
    for seed in 0..300 {
        run(seed, |world| {
            let (node, _, copy) = look_unlock_act(&world);
            world.stall(node, often(ms(5)..ms(50)));
            while world.stalled_threads(node) == 0 {
                thread::sleep(ms(1));
            }
            world.crash(node);
            let last = *copy.lock();
            thread::sleep(ms(200));
            assert_eq!(*copy.lock(), last);
            assert_eq!(world.stalled_threads(node), 0);
        });
    }
}

#[test]
fn a_node_that_is_paused_when_a_stall_ends_goes_on_when_it_is_resumed() {
    run(1, |world| {
        let (node, _, copy) = look_unlock_act(&world);
        world.stall(node, often(ms(5)..ms(6)));
        while world.stalled_threads(node) == 0 {
            thread::sleep(ms(1));
        }
        world.stall(node, None);
        world.pause(node);
        let before = *copy.lock();
        thread::sleep(ms(100));
        assert_eq!(*copy.lock(), before);
        world.resume(node);
        thread::sleep(ms(10));
        assert!(*copy.lock() > before + 90);
    });
}

#[test]
fn a_notification_does_not_end_a_stall_and_is_not_lost_by_one() {
    for seed in 0..100 {
        run(seed, |world| {
            let node = world.add_node("S0");
            let shared = Arc::new((Mutex::new(0), Condvar::new()));
            let (waiter, done) = (shared.clone(), Arc::new(Mutex::new(false)));
            let finished = done.clone();
            start_plain(&world, node, move || {
                thread::spawn(move || {
                    let mut count = waiter.0.lock();
                    while *count < 50 {
                        waiter.1.wait(&mut count);
                    }
                    drop(count);
                    *finished.lock() = true;
                });
            });
            world.stall(node, often(ms(1)..ms(30)));
            for _ in 0..50 {
                *shared.0.lock() += 1;
                shared.1.notify_all();
                thread::sleep(ms(1));
            }
            world.stall(node, None);
            thread::sleep(ms(60));
            assert!(*done.lock());
        });
    }
}

#[test]
fn a_disk_may_have_changed_between_a_decision_and_the_look() {
    run(1, |world| {
        let node = world.add_node("S0");
        let found = Arc::new(Mutex::new(None));
        let seen = found.clone();
        start_plain(&world, node, || ());
        world.stall(node, Some(Stalls { one_in: 1, span: ms(20)..ms(21) }));
        world.spawn_on(node, "reader", move || *seen.lock() = Some(Disk::simulated(node).read().header));
        thread::sleep(ms(1));
        world.stall(node, None);
        world
            .on(node, ms(10), move || {
                Disk::simulated(node).write(Write { header: vec![7], ..Write::default() }, &())
            })
            .expect("the node is up");
        thread::sleep(ms(100));
        assert_eq!(*found.lock(), Some(vec![7]));
    });
}

#[test]
fn a_recorded_run_tells_who_was_held_up_where_and_what_it_did_next() {
    let hash = |record| {
        let config = Config { record, ..Config::new(5) };
        labrpc::run(&config, |world| greatest_lag(&world, often(ms(20)..ms(40))))
    };
    let (plain, recorded) = (hash(false), hash(true));
    assert_eq!(plain.trace_hash, recorded.trace_hash);
    let trace = recorded.trace.expect("it was recorded");
    let held_up =
        trace.stalls().iter().find(|stall| stall.after.starts_with("after it unlocked")).expect("some");
    assert!(held_up.thread.starts_with("spawned at labrpc/tests/it/stalls.rs:"), "{}", held_up.thread);
    assert!(held_up.until - held_up.from >= ms(20));
    assert!(held_up.then.as_ref().expect("it went on").starts_with("labrpc/tests/it/stalls.rs:"));
    assert!(trace.to_string().contains("is held up for "));
}

/// Looks at a disk whenever something is saved on it, and notes how long the look took.
struct Looks {
    world: World,
    longest: Rc<Cell<Duration>>,
}

impl Observer for Looks {
    fn observe(&self, event: &Event<'_>) {
        if let What::Saved { node, .. } = event.what {
            Disk::simulated(*node).read();
            self.longest.set(self.longest.get().max(self.world.now() - event.at));
        }
    }
}

#[test]
fn an_observer_that_looks_at_a_disk_is_not_held_up() {
    run(1, |world| {
        let node = world.add_node("S0");
        start_plain(&world, node, || ());
        let longest = Rc::new(Cell::new(Duration::ZERO));
        world.observe(Rc::new(Looks { world: world.clone(), longest: longest.clone() }));
        world.stall(node, Some(Stalls { one_in: 1, span: ms(1)..ms(2) }));
        let begun = world.now();
        world
            .on(node, ms(1_000), move || {
                let disk = Disk::simulated(node);
                (0..20).for_each(|_| disk.write(Write { header: vec![1], ..Write::default() }, &()));
            })
            .expect("the node is up");
        assert!(world.now() - begun >= ms(20));
        assert_eq!(longest.get(), Duration::ZERO);
    });
}

#[test]
fn only_the_handlers_that_are_at_work_are_held_up() {
    run(1, |world| {
        let node = world.add_node("S0");
        let services = || {
            Services::new().with(|Echo(n)| {
                thread::sleep(ms(n));
                thread::sleep(ms(1));
                n
            })
        };
        assert_eq!(world.start(node, Duration::from_secs(1), services), Ok(()));
        let (tell, told) = channel::unbounded();
        thread::spawn(move || tell.send(echo(node, 30)));
        thread::sleep(ms(10));
        world.stall_handlers(node, "Another", ms(1_000));
        world.stall_handlers(node, Echo::KIND, ms(200));
        // A request that comes later is served meanwhile.
        let begun = world.now();
        assert_eq!(echo(node, 50), Some(50));
        assert!(world.now() - begun < ms(100));
        assert!(told.is_empty() && world.stalled_threads(node) == 1);
        assert_eq!(told.recv(), Ok(Some(30)));
        assert!(world.now() - begun > ms(200));
        assert_eq!(world.stalled_threads(node), 0);
    });
}
