//! Tests of the simulated world through its public face.
//!
//! Kit-owned. One module per subject; `golden.rs` pins whole traces, so that a change in the order in
//! which numbers are drawn is seen.

mod channels;
mod crash;
mod determinism;
mod diagnostics;
mod golden;
mod hazards;
mod network;
mod nodes;
mod outside;
mod priorities;
mod stalls;
mod threads;

use std::time::Duration;

use labrpc::{Config, NodeId, Peer, Report, Request, Services, World};
use serde::{Deserialize, Serialize};

/// A request that the tests' servers answer with the same number.
#[derive(Debug, Serialize, Deserialize)]
struct Echo(u64);

impl Request for Echo {
    type Reply = u64;
    const KIND: &'static str = "Echo";
}

/// Runs `test` on `seed` and expects it to come to its end.
fn run<T: Send + 'static>(seed: u64, test: impl FnOnce(World) -> T + Send + 'static) -> T {
    let config = Config { time_limit: Duration::from_secs(100_000), ..Config::new(seed) };
    let report = labrpc::run(&config, test);
    report.outcome.unwrap_or_else(|failure| panic!("seed {seed}: {failure}"))
}

/// Runs `test` on `seed` and expects it to fail; returns what is said about it.
fn failure(seed: u64, test: impl FnOnce(World) + Send + 'static) -> String {
    let report: Report<()> = labrpc::run(&Config::new(seed), test);
    report.outcome.expect_err("the run fails").to_string()
}

/// A node that echoes.
fn echo_server(world: &World, name: &str) -> NodeId {
    let node = world.add_node(name);
    start_echo(world, node);
    node
}

fn start_echo(world: &World, node: NodeId) {
    let started = world.start(node, Duration::from_secs(1), || Services::new().with(|Echo(n)| n));
    assert_eq!(started, Ok(()));
}

/// A node without services, which runs `main`.
fn start_plain(world: &World, node: NodeId, main: impl FnOnce() + 'static) {
    let started = world.start(node, Duration::from_secs(1), || {
        main();
        Services::new()
    });
    assert_eq!(started, Ok(()));
}

fn echo(server: NodeId, n: u64) -> Option<u64> {
    Peer::simulated(server).call(&Echo(n))
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
