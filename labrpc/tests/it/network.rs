//! The network: links, rules, counters.

use std::time::Duration;

use labrpc::sync::{Arc, Mutex};
use labrpc::{
    Config, Effect, Kinds, Leg, Links, NodeId, Rule, Services, World, long_reordering, thread, unreliable,
};

use crate::{Echo, echo, echo_server, ms, run};

const TESTER: NodeId = NodeId::TESTER;

/// Makes `count` calls one after another and returns how many were answered.
fn answered(server: NodeId, count: u64) -> u64 {
    (0..count).filter(|&n| echo(server, n) == Some(n)).count() as u64
}

fn rule(leg: Option<Leg>, effect: Effect) -> Rule {
    Rule { links: Links::All, kinds: Kinds::All, leg, effect }
}

#[test]
fn a_reliable_link_answers_every_call_in_1_to_4_ms() {
    run(1, |world| {
        let server = echo_server(&world, "S0");
        for n in 0..100 {
            let start = world.now();
            assert_eq!(echo(server, n), Some(n));
            let took = world.now() - start;
            assert!(took >= ms(1) && took < ms(5), "{took:?}");
        }
    });
}

#[test]
fn an_unreliable_link_loses_a_tenth_each_way() {
    run(1, |world| {
        let server = echo_server(&world, "S0");
        unreliable().into_iter().for_each(|rule| {
            world.add_rule(rule);
        });
        let share = answered(server, 5_000) as f64 / 5_000.0;
        assert!((share - 0.81).abs() < 0.02, "{share} of the calls were answered, not 0.9 * 0.9");
    });
}

#[test]
fn long_reordering_holds_two_thirds_back() {
    run(1, |world| {
        let server = echo_server(&world, "S0");
        world.add_rule(long_reordering(Leg::Reply));
        let late = (0..1_000)
            .filter(|&n| {
                let start = world.now();
                assert_eq!(echo(server, n), Some(n));
                world.now() - start >= ms(200)
            })
            .count();
        assert!((late as f64 / 1_000.0 - 2.0 / 3.0).abs() < 0.05, "{late} of 1000");
    });
}

#[test]
fn a_cut_in_one_direction_stops_requests_or_replies_only() {
    run(1, |world| {
        let handled = Arc::new(Mutex::new(0));
        let count = handled.clone();
        let server = world.add_node("S0");
        let started = world.start(server, ms(1000), move || {
            Services::new().with(move |Echo(n)| {
                *count.lock() += 1;
                n
            })
        });
        assert_eq!(started, Ok(()));
        world.cut(TESTER, server);
        assert_eq!((echo(server, 1), *handled.lock()), (None, 0));
        world.mend(TESTER, server);
        world.cut(server, TESTER);
        assert_eq!((echo(server, 2), *handled.lock()), (None, 1));
        world.mend(server, TESTER);
        assert_eq!((echo(server, 3), *handled.lock()), (Some(3), 2));
    });
}

#[test]
fn a_call_to_an_unreachable_server_takes_up_to_seven_seconds() {
    run(1, |world| {
        let server = world.add_node("down");
        let times: Vec<Duration> = (0..100)
            .map(|n| {
                let start = world.now();
                assert_eq!(echo(server, n), None);
                world.now() - start
            })
            .collect();
        assert!(times.iter().all(|time| *time < ms(7_010)));
        assert!(times.iter().any(|time| *time > ms(6_000)) && times.iter().any(|time| *time < ms(1_000)));
    });
}

#[test]
fn held_messages_wait_for_the_test() {
    for leg in [Leg::Request, Leg::Reply] {
        run(1, move |world| {
            let server = echo_server(&world, "S0");
            let hold = world.add_rule(rule(Some(leg), Effect::Hold));
            let calls: Vec<_> = (0..3).map(|n| thread::spawn(move || echo(server, n))).collect();
            thread::sleep(Duration::from_secs(60));
            let held = world.held();
            assert_eq!(held.len(), 3);
            assert!(held.iter().all(|message| message.leg == leg && message.kind == "Echo"));
            assert!(world.remove_rule(hold));
            assert!(!world.remove_rule(hold));
            let first = held[0].call;
            assert_eq!(world.drop_held(|message| message.call == first), 1);
            assert_eq!(world.release(|_| true), 2);
            let answers: Vec<_> = calls.into_iter().map(|call| call.join().unwrap()).collect();
            assert_eq!(answers.iter().flatten().count(), 2);
            assert!(world.held().is_empty());
        });
    }
}

#[test]
fn a_duplicated_request_is_handled_twice_and_answered_once() {
    for seed in 0..20 {
        run(seed, |world| {
            let handled = Arc::new(Mutex::new(Vec::new()));
            let seen = handled.clone();
            let server = world.add_node("S0");
            let started = world.start(server, ms(1000), move || {
                Services::new().with(move |Echo(n)| {
                    seen.lock().push(n);
                    n
                })
            });
            assert_eq!(started, Ok(()));
            world.add_rule(rule(None, Effect::Duplicate { chance: 1.0, delay: ms(0)..ms(20) }));
            assert_eq!(echo(server, 7), Some(7));
            thread::sleep(ms(100));
            assert_eq!(*handled.lock(), [7, 7]);
            assert_eq!(world.oldest_call(), None);
        });
    }
}

#[test]
fn rules_apply_to_their_links_and_kinds_only() {
    run(1, |world| {
        let (first, second) = (echo_server(&world, "S0"), echo_server(&world, "S1"));
        let lose = |links, kinds| Rule { links, kinds, leg: None, effect: Effect::Lose(1.0) };
        let rules = [
            (lose(Links::To(first), Kinds::All), [None, Some(1)]),
            (lose(Links::From(second), Kinds::All), [Some(1), None]),
            (lose(Links::One(TESTER, second), Kinds::Only("Echo")), [Some(1), None]),
            (lose(Links::All, Kinds::Only("Other")), [Some(1), Some(1)]),
            (lose(Links::All, Kinds::All), [None, None]),
        ];
        for (rule, expected) in rules {
            let id = world.add_rule(rule.clone());
            assert_eq!([echo(first, 1), echo(second, 1)], expected, "{rule:?}");
            world.remove_rule(id);
        }
    });
}

#[test]
fn calls_and_bytes_are_counted() {
    run(1, |world| {
        let server = echo_server(&world, "S0");
        assert_eq!(answered(server, 10), 10);
        let (mine, its) = (world.traffic(TESTER), world.traffic(server));
        assert_eq!((mine.calls_made, its.calls_received, its.calls_made), (10, 10, 0));
        // Numbers below 251 are one byte each.
        assert_eq!((mine.bytes_sent, its.bytes_sent), (10, 10));
        assert_eq!(world.calls_made(), 10);
    });
}

/// Takes one fault out of a run: what happens on other links, and what other streams draw, stays.
#[test]
fn removing_a_fault_on_one_link_leaves_the_others_alone() {
    let times = |faulty: bool| {
        let test = move |world: World| {
            let (first, second) = (echo_server(&world, "S0"), echo_server(&world, "S1"));
            if faulty {
                let effect = Effect::Duplicate { chance: 0.5, delay: ms(0)..ms(1) };
                world.add_rule(Rule { links: Links::To(first), kinds: Kinds::All, leg: None, effect });
            }
            let delays_of = |server| {
                (0..50)
                    .map(|n| {
                        let start = world.now();
                        echo(server, n);
                        // Less the costs of operations, which depend on who else runs.
                        (world.now() - start).as_micros() / 20
                    })
                    .collect::<Vec<_>>()
            };
            delays_of(first);
            thread::sleep(ms(100));
            delays_of(second)
        };
        let config = Config { preemption_mean: Some(1_000_000), ..Config::new(1) };
        labrpc::run(&config, test).outcome.expect("it ends")
    };
    assert_eq!(times(false), times(true));
}
