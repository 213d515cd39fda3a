//! Crashes at any instant: every destructor runs, nothing leaks, nobody is woken twice.

use std::sync::atomic::{AtomicU64, Ordering};

use labrpc::channel::{self, Receiver, Sender};
use labrpc::sync::{Arc, Condvar, Mutex};
use labrpc::{InFlight, Moment, Purpose, Services, World, rng, thread};

use crate::{Echo, echo_server, ms, run, start_plain};

/// What all threads of a node under test share.
struct Shared {
    /// Destructors that have yet to run.
    alive: AtomicU64,
    /// Destructors that have run.
    dropped: AtomicU64,
    lock: Mutex<u64>,
    /// Signals sent, and signals taken.
    signals: Mutex<(u64, u64)>,
    signalled: Condvar,
}

/// A value whose destructor takes a lock that others hold across sleeps.
struct Contender(Arc<Shared>);

impl Contender {
    fn new(shared: &Arc<Shared>) -> Contender {
        shared.alive.fetch_add(1, Ordering::Relaxed);
        Contender(shared.clone())
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        // Counted first: a thread that waits for the lock below when its node crashes is unwound out of
        // this destructor, which has run then as far as it ever will.
        self.0.dropped.fetch_add(1, Ordering::Relaxed);
        self.0.alive.fetch_sub(1, Ordering::Relaxed);
        *self.0.lock.lock() += 1;
    }
}

impl Shared {
    fn new() -> Arc<Shared> {
        Arc::new(Shared {
            alive: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            lock: Mutex::new(0),
            signals: Mutex::new((0, 0)),
            signalled: Condvar::new(),
        })
    }
}

/// Six threads that between them are blocked in every way there is, most of the time.
fn busy_node(shared: &Arc<Shared>, in_channel: &Arc<Shared>) {
    let (full, slow): (Sender<Contender>, Receiver<Contender>) = channel::bounded(2);
    let (meeting, meet): (Sender<Contender>, Receiver<Contender>) = channel::bounded(0);
    let spawn = |body: fn(&Arc<Shared>)| {
        let shared = shared.clone();
        thread::spawn(move || {
            let _held = Contender::new(&shared);
            loop {
                body(&shared);
            }
        });
    };
    spawn(|shared| {
        let mut guard = shared.lock.lock();
        *guard += 1;
        thread::sleep(rng::duration(ms(0)..ms(3)));
    });
    spawn(|shared| {
        let mut signals = shared.signals.lock();
        shared.signalled.wait_while(&mut signals, |signals| signals.0 == signals.1);
        signals.1 += 1;
        assert!(signals.1 <= signals.0, "woken without a signal");
    });
    spawn(|shared| {
        thread::sleep(rng::duration(ms(0)..ms(2)));
        shared.signals.lock().0 += 1;
        shared.signalled.notify_one();
        let _nested = thread::spawn({
            let shared = shared.clone();
            move || drop(Contender::new(&shared))
        });
    });
    let (one, two, three) = (in_channel.clone(), in_channel.clone(), shared.clone());
    thread::spawn(move || {
        while full.send(Contender::new(&one)).is_ok() {
            let _ = meeting.send(Contender::new(&one));
        }
    });
    thread::spawn(move || {
        for contender in slow.iter() {
            thread::sleep(rng::duration(ms(0)..ms(2)));
            drop(contender);
        }
    });
    thread::spawn(move || {
        let _both = (Contender::new(&two), Contender::new(&three));
        meet.iter().for_each(drop);
    });
}

/// Crashes a busy node at a random instant, several times in a row.
fn crash_somewhere(world: &World) {
    let mut faults = world.stream(Purpose::Faults, 0);
    let server = echo_server(world, "echo");
    let node = world.add_node("busy");
    for life in 1..=3 {
        let (shared, in_channel) = (Shared::new(), Shared::new());
        let (theirs, channels) = (shared.clone(), in_channel.clone());
        start_plain(world, node, move || {
            busy_node(&theirs, &channels);
            thread::spawn(move || {
                let _held = Contender::new(&theirs);
                loop {
                    labrpc::Peer::simulated(server).call(&Echo(1));
                }
            });
        });
        thread::sleep(faults.duration(&(ms(0)..ms(20))));
        world.crash(node);
        assert_eq!(world.incarnation(node), life);
        for (name, shared) in [("threads", &shared), ("channels", &in_channel)] {
            assert_eq!(shared.alive.load(Ordering::Relaxed), 0, "{name}: a destructor did not run");
            assert_eq!(Arc::strong_count(shared), 1, "{name}: something leaked");
        }
        let before = shared.dropped.load(Ordering::Relaxed);
        let (sent, taken) = *shared.signals.lock();
        assert!(taken <= sent);
        // Nothing of the node runs any more: the locks are free, and stay as they are.
        let count = *shared.lock.lock();
        thread::sleep(ms(50));
        assert_eq!(*shared.lock.lock(), count);
        assert_eq!(shared.dropped.load(Ordering::Relaxed), before);
    }
}

#[test]
fn three_thousand_crashes_leave_nothing_behind() {
    for seed in 0..3_000 {
        run(seed, |world| crash_somewhere(&world));
    }
}

/// Services that own the last handle to what a thread of the node waits for, and a value whose destructor
/// takes a lock.
#[test]
fn what_only_services_own_is_destroyed_with_their_node() {
    let dropped = run(3, |world| {
        let shared = Arc::new(Shared {
            alive: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            lock: Mutex::new(0),
            signals: Mutex::new((0, 0)),
            signalled: Condvar::new(),
        });
        let (contender, node) = (Contender::new(&shared), world.add_node("server"));
        let started = world.start(node, ms(1_000), move || {
            let (sender, receiver): (Sender<u64>, Receiver<u64>) = channel::unbounded();
            thread::spawn(move || while receiver.recv().is_ok() {});
            Services::new().with(move |Echo(n)| {
                let _ = (&contender, sender.send(n));
                n
            })
        });
        assert_eq!(started, Ok(()));
        thread::sleep(ms(10));
        world.crash(node);
        shared.dropped.load(Ordering::Relaxed)
    });
    assert_eq!(dropped, 1);
}

#[test]
fn the_end_of_a_run_destroys_what_still_runs() {
    for seed in 0..100 {
        let shared = Shared::new();
        let theirs = shared.clone();
        run(seed, move |world| {
            let node = world.add_node("busy");
            start_plain(&world, node, move || busy_node(&theirs, &Shared::new()));
            thread::sleep(ms(5));
        });
        assert_eq!(shared.alive.load(Ordering::Relaxed), 0);
        assert_eq!(Arc::strong_count(&shared), 1);
    }
}

#[test]
fn a_thread_of_a_crashed_node_is_joined_as_destroyed() {
    run(1, |world| {
        let node = world.add_node("S0");
        let handle = Arc::new(Mutex::new(None));
        let slot = handle.clone();
        start_plain(&world, node, move || {
            *slot.lock() = Some(thread::spawn(|| thread::sleep(ms(1000))));
        });
        world.crash(node);
        let handle = handle.lock().take().expect("the node has spawned it");
        assert!(handle.is_finished());
        assert!(handle.join().is_err());
    });
}

/// A node that sends, saves, sends and sends again, over and over.
fn saves_and_sends(world: &World, moment: Moment, nth: u32) -> Vec<&'static str> {
    let server = echo_server(world, "echo");
    let node = world.add_node("S0");
    let done = Arc::new(Mutex::new(Vec::new()));
    let log = done.clone();
    start_plain(world, node, move || {
        let disk = labrpc::Disk::simulated(node);
        let peer = labrpc::Peer::simulated(server);
        thread::spawn(move || {
            loop {
                log.lock().push("send");
                peer.call(&Echo(1));
                log.lock().push("save");
                disk.write(labrpc::Write::default(), &());
                log.lock().push("send");
                peer.call(&Echo(2));
            }
        });
    });
    world.crash_at(node, moment, nth, InFlight::Dropped);
    thread::sleep(ms(1_000));
    assert!(!world.is_up(node), "the moment has come");
    done.lock().clone()
}

#[test]
fn a_node_can_crash_after_it_has_sent_whatever_it_sends() {
    let after_any = run(1, |world| saves_and_sends(&world, Moment::SentAny, 2));
    assert_eq!(after_any, ["send", "save", "send"]);
    let after_save = run(1, |world| saves_and_sends(&world, Moment::SentAfterSave, 2));
    assert_eq!(after_save, ["send", "save", "send", "send", "save", "send"]);
}
