//! Programs that depend on more than the seed: each is made to depend on the seed, or found out.

use std::collections::{BTreeSet, HashSet};

use insta::assert_snapshot;
use labrpc::{Config, Disk, Write, thread};

use crate::{failure, ms, run, start_plain};

/// A program whose course may depend on something else than its seed.
type Program = fn() -> Vec<u64>;

/// Notes what `program` returns where the run's hash covers it.
fn hash_of(seed: u64, program: Program) -> u64 {
    let report = labrpc::run(&Config::new(seed), move |world| {
        let node = world.add_node("S0");
        start_plain(&world, node, move || {
            let header: Vec<u8> = program().iter().flat_map(|number| number.to_le_bytes()).collect();
            Disk::simulated(node).write(Write { header, ..Write::default() }, &());
        });
    });
    assert_eq!(report.outcome, Ok(()));
    report.trace_hash
}

/// The order of a hash set, which std seeds from the operating system.
fn hash_order() -> Vec<u64> {
    (0..20).collect::<HashSet<u64>>().into_iter().collect()
}

/// std's clocks.
fn real_clock() -> Vec<u64> {
    let start = std::time::Instant::now();
    thread::sleep(ms(7));
    let today = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    vec![start.elapsed().as_nanos() as u64, today.expect("time does not run backwards").as_nanos() as u64]
}

/// Random numbers straight from the operating system, as std uses them for its hash maps.
fn system_randomness() -> Vec<u64> {
    use std::hash::{BuildHasher, RandomState};
    (0..4).map(|_| RandomState::new().hash_one(1)).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn what_the_operating_system_says_is_a_function_of_the_seed() {
    for program in [hash_order as Program, real_clock, system_randomness] {
        for seed in 0..20 {
            assert_eq!(hash_of(seed, program), hash_of(seed, program), "seed {seed}");
        }
    }
    for program in [hash_order as Program, system_randomness] {
        assert_ne!(hash_of(1, program), hash_of(2, program));
    }
    run(1, |_| assert!((7_000_000..7_010_000).contains(&real_clock()[0])));
}

#[cfg(target_os = "linux")]
#[test]
fn a_real_thread_is_refused_by_name() {
    let text = failure(1, |world| {
        let node = world.add_node("S0");
        start_plain(&world, node, || drop(std::thread::spawn(|| ())));
    });
    assert_snapshot!(text);
}

/// Addresses cannot be hidden. A program that orders by them runs differently when it is repeated, which
/// is how the grader finds it out.
#[test]
fn an_order_by_address_differs_between_runs() {
    fn by_address() -> Vec<u64> {
        let boxes: BTreeSet<*const u64> =
            (0..8_u64).map(|n| Box::into_raw(Box::new(n)).cast_const()).collect();
        boxes.into_iter().map(|address| address as u64).collect()
    }
    let hashes: BTreeSet<u64> = (0..5).map(|_| hash_of(1, by_address)).collect();
    assert!(hashes.len() > 1);
}
