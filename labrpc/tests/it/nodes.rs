//! Nodes: pausing, slowing, drifting clocks, disks and crash points.

use labrpc::sync::{Arc, Mutex};
use labrpc::time::Instant;
use labrpc::{Bytes, Disk, InFlight, Leg, Moment, NoResult, Peer, Services, Write, thread};

use crate::{Echo, echo, echo_server, ms, run, start_echo, start_plain};

#[test]
fn a_paused_node_stands_still_and_loses_nothing() {
    for seed in 0..20 {
        run(seed, |world| {
            let node = echo_server(&world, "S0");
            world.pause(node);
            let calling = thread::spawn(move || echo(node, 5));
            thread::sleep(ms(500));
            assert!(!calling.is_finished());
            world.resume(node);
            assert_eq!(calling.join().unwrap(), Some(5));
        });
    }
}

#[test]
fn a_slow_node_answers_late() {
    run(1, |world| {
        let node = echo_server(&world, "S0");
        world.slow(node, ms(100)..ms(101));
        let start = Instant::now();
        assert_eq!(echo(node, 5), Some(5));
        assert!(start.elapsed() >= ms(100));
        world.slow(node, ms(0)..ms(0));
        let start = Instant::now();
        assert_eq!(echo(node, 6), Some(6));
        assert!(start.elapsed() < ms(10));
    });
}

#[test]
fn a_fast_clock_makes_sleeps_short_and_never_jumps() {
    run(1, |world| {
        let node = world.add_node("S0");
        start_plain(&world, node, || ());
        world.set_clock_rate(node, 2_000_000);
        let start = world.now();
        let shown = world.on(node, ms(1_000_000), || {
            let before = Instant::now();
            thread::sleep(ms(1000));
            before.elapsed()
        });
        let shown = shown.expect("the node is up");
        let passed = world.now() - start;
        assert!(passed >= ms(500) && passed < ms(501), "{passed:?}");
        assert!(shown >= ms(1000) && shown < ms(1001), "{shown:?}");
        let before = world.on(node, ms(1), Instant::now).expect("the node is up");
        world.set_clock_rate(node, 500_000);
        let after = world.on(node, ms(1), Instant::now).expect("the node is up");
        assert!(after >= before && after - before < ms(1));
    });
}

fn header(text: &str) -> Write {
    Write { header: text.into(), ..Write::default() }
}

#[test]
fn a_disk_survives_a_crash_and_writes_change_what_they_name() {
    run(1, |world| {
        let node = world.add_node("S0");
        let record = |text: &str| Bytes::from(text.as_bytes());
        start_plain(&world, node, move || {
            let append = vec![record("a"), record("b"), record("c")];
            Disk::simulated(node).write(Write { append, blob: Some(record("blob")), ..header("1") }, &());
        });
        world.crash(node);
        start_plain(&world, node, move || {
            let disk = Disk::simulated(node);
            assert_eq!(disk.read().header, b"1");
            disk.write(Write { drop_front: 1, drop_back: 1, append: vec![record("d")], ..header("2") }, &());
        });
        let content = Disk::simulated(node).read();
        assert_eq!(content.header, b"2");
        assert!(content.records.iter().map(|record| &record[..]).eq([&b"b"[..], b"d"]));
        assert_eq!(&content.blob[..], b"blob");
    });
}

#[test]
fn a_crash_point_falls_before_or_after_the_save_and_nowhere_else() {
    for (moment, kept) in [(Moment::BeforeSave, "2"), (Moment::AfterSave, "3")] {
        run(1, move |world| {
            let node = world.add_node("S0");
            start_plain(&world, node, || ());
            world.crash_at(node, moment, 3, InFlight::Dropped);
            let gone_on = Arc::new(Mutex::new(0));
            let count = gone_on.clone();
            let result = world.on(node, ms(1000), move || {
                for text in ["1", "2", "3", "4"] {
                    Disk::simulated(node).write(header(text), &());
                    *count.lock() += 1;
                }
            });
            assert_eq!(result, Err(NoResult::Down));
            assert_eq!(*gone_on.lock(), 2);
            assert_eq!(Disk::simulated(node).read().header, kept.as_bytes());
        });
    }
}

#[test]
fn a_slow_disk_delays_and_a_crash_meanwhile_keeps_the_old_state() {
    run(1, |world| {
        let node = world.add_node("S0");
        start_plain(&world, node, move || Disk::simulated(node).write(header("old"), &()));
        world.set_disk_delay(node, ms(50)..ms(51));
        let writing = world.on(node, ms(10), move || Disk::simulated(node).write(header("new"), &()));
        assert_eq!(writing, Err(NoResult::TimedOut));
        world.crash(node);
        thread::sleep(ms(100));
        assert_eq!(Disk::simulated(node).read().header, b"old");
    });
}

#[test]
fn a_server_can_crash_between_sending_two_messages() {
    for (in_flight, arrives) in [(InFlight::Delivered, 1), (InFlight::Dropped, 0)] {
        run(1, move |world| {
            let received = Arc::new(Mutex::new(0));
            let count = received.clone();
            let server = world.add_node("server");
            let started = world.start(server, ms(1000), move || {
                Services::new().with(move |Echo(n)| {
                    *count.lock() += 1;
                    n
                })
            });
            assert_eq!(started, Ok(()));
            let client = world.add_node("client");
            world.crash_at(client, Moment::Sent { leg: Leg::Request, kind: "Echo" }, 1, in_flight);
            start_plain(&world, client, move || {
                for n in 0..2 {
                    thread::spawn(move || Peer::simulated(server).call(&Echo(n)));
                }
            });
            thread::sleep(ms(100));
            assert!(!world.is_up(client));
            assert_eq!(*received.lock(), arrives);
        });
    }
}

#[test]
fn a_node_that_comes_back_answers_again() {
    run(1, |world| {
        let node = echo_server(&world, "S0");
        world.crash(node);
        assert_eq!(echo(node, 1), None);
        start_echo(&world, node);
        assert_eq!(echo(node, 2), Some(2));
        assert_eq!(world.incarnation(node), 2);
    });
}
