//! Channels of every capacity, and waiting for several.

use labrpc::channel::{self, RecvTimeoutError, Select, SendTimeoutError, TryRecvError, TrySendError};
use labrpc::thread;
use labrpc::time::Instant;

use crate::{ms, run};

#[test]
fn messages_arrive_once_and_in_order_at_every_capacity() {
    for capacity in [Some(0), Some(1), Some(3), None] {
        for seed in 0..20 {
            run(seed, move |_| {
                let (sender, receiver) = capacity.map_or_else(channel::unbounded, channel::bounded);
                thread::spawn(move || (0..50).for_each(|i| sender.send(i).unwrap()));
                assert!(receiver.iter().eq(0..50));
                assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
            });
        }
    }
}

#[test]
fn a_rendezvous_send_returns_only_when_its_message_was_taken() {
    for seed in 0..50 {
        run(seed, |_| {
            let (sender, receiver) = channel::bounded(0);
            let receiving = thread::spawn(move || {
                thread::sleep(ms(10));
                let first = receiver.recv();
                thread::sleep(ms(10));
                (first, receiver.recv())
            });
            let start = Instant::now();
            sender.send('a').unwrap();
            assert!(start.elapsed() >= ms(10));
            sender.send('b').unwrap();
            assert!(start.elapsed() >= ms(20));
            assert_eq!(receiving.join().unwrap(), (Ok('a'), Ok('b')));
        });
    }
}

#[test]
fn a_rendezvous_try_send_needs_a_receiver_that_waits() {
    run(1, |_| {
        let (sender, receiver) = channel::bounded(0);
        assert_eq!(sender.try_send(1), Err(TrySendError::Full(1)));
        let receiving = thread::spawn(move || receiver.recv());
        thread::sleep(ms(1));
        assert_eq!(sender.try_send(2), Ok(()));
        assert_eq!(receiving.join().unwrap(), Ok(2));
        assert_eq!(sender.try_send(3), Err(TrySendError::Disconnected(3)));
    });
}

#[test]
fn limits_of_send_and_receive_hold_and_give_the_message_back() {
    for seed in 0..20 {
        run(seed, |_| {
            for capacity in [0, 1] {
                let (sender, receiver) = channel::bounded(capacity);
                (0..capacity).for_each(|_| sender.send(7).unwrap());
                let start = Instant::now();
                assert_eq!(sender.send_timeout(8, ms(5)), Err(SendTimeoutError::Timeout(8)));
                assert!(start.elapsed() >= ms(5));
                (0..capacity).for_each(|_| assert_eq!(receiver.recv(), Ok(7)));
                assert_eq!(receiver.recv_timeout(ms(5)), Err(RecvTimeoutError::Timeout));
                assert!(receiver.is_empty());
                drop(sender);
                assert_eq!(receiver.recv_timeout(ms(5)), Err(RecvTimeoutError::Disconnected));
            }
        });
    }
}

#[test]
fn a_sender_learns_that_the_last_receiver_is_gone() {
    for seed in 0..20 {
        run(seed, |_| {
            for capacity in [0, 1] {
                let (sender, receiver) = channel::bounded(capacity);
                (0..capacity).for_each(|_| sender.send(0).unwrap());
                let sending = thread::spawn(move || sender.send(1));
                thread::sleep(ms(1));
                drop(receiver);
                assert_eq!(sending.join().unwrap().map_err(|error| error.0), Err(1));
            }
        });
    }
}

#[test]
fn many_receivers_share_the_messages_out() {
    for seed in 0..20 {
        run(seed, |_| {
            let (sender, receiver) = channel::bounded(2);
            let receivers: Vec<_> = (0..3)
                .map(|_| {
                    let receiver = receiver.clone();
                    thread::spawn(move || receiver.iter().collect::<Vec<u32>>())
                })
                .collect();
            drop(receiver);
            (0..30).for_each(|i| sender.send(i).unwrap());
            drop(sender);
            let mut all: Vec<u32> = receivers.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
            all.sort_unstable();
            assert!(all.into_iter().eq(0..30));
        });
    }
}

#[test]
fn select_finds_what_is_ready_and_waits_for_what_is_not() {
    for seed in 0..50 {
        run(seed, |_| {
            let (fast, from_fast) = channel::unbounded();
            let (meeting, from_meeting) = channel::bounded(0);
            let (full, from_full) = channel::bounded(1);
            full.send(0).unwrap();
            // What the thread returns stays open as long as the handle: a closed channel is ready too.
            let _open = thread::spawn(move || {
                thread::sleep(ms(1));
                fast.send(1).unwrap();
                thread::sleep(ms(1));
                meeting.send(2).unwrap();
                thread::sleep(ms(1));
                from_full.recv().unwrap();
                (fast, meeting, from_full)
            });
            let mut seen = Vec::new();
            while seen.len() < 3 {
                let mut select = Select::new();
                assert_eq!(select.recv(&from_fast), 0);
                assert_eq!(select.recv(&from_meeting), 1);
                assert_eq!(select.send(&full), 2);
                match select.ready() {
                    0 => seen.extend(from_fast.try_recv()),
                    1 => seen.extend(from_meeting.try_recv()),
                    _ => seen.extend(full.try_send(3).map(|()| 3)),
                }
            }
            seen.sort_unstable();
            assert_eq!(seen, [1, 2, 3]);
        });
    }
}

#[test]
fn select_times_out_and_a_select_meets_a_rendezvous_sender() {
    run(1, |_| {
        let (sender, receiver) = channel::bounded::<u32>(0);
        let mut select = Select::new();
        select.recv(&receiver);
        assert!(select.try_ready().is_err());
        let start = Instant::now();
        assert!(select.ready_timeout(ms(3)).is_err());
        assert!(start.elapsed() >= ms(3));
        let sending = thread::spawn(move || {
            thread::sleep(ms(1));
            sender.try_send(5)
        });
        assert_eq!(select.ready(), 0);
        assert_eq!(receiver.recv(), Ok(5));
        assert_eq!(sending.join().unwrap(), Ok(()));
    });
}
