//! A simulated, unreliable and fully deterministic world for code that blocks.
//!
//! Kit-owned. Code under test is ordinary Rust: it spawns threads, takes locks, waits on condition
//! variables and channels, sleeps, calls other nodes and saves to disk, all through this crate. Inside
//! [`run`] one seed decides what happens to it, time is virtual, and equal seeds give equal runs.
//! Outside, the same code runs on the real thing.
//!
//! # A map of the code
//!
//! For code under test: [`thread`], [`sync`], [`channel`], [`time`], [`rng`], and [`Peer::call`].
//!
//! For tests: [`run`] and [`World`] (start here), [`Rule`] for faults of the network, [`Observer`] for
//! watching, [`Trace`] for reading what happened, [`Stream`] for drawing a plan.
//!
//! For those who change the kit: `kernel/` decides who runs and when, `net/` what becomes of messages,
//! `disk.rs` what survives a crash, `record/` what is taken down. This crate knows nothing of Raft.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//!
//! use labrpc::{Config, Peer, Request, Services, thread};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Debug, Serialize, Deserialize)]
//! struct Double(u64);
//!
//! impl Request for Double {
//!     type Reply = u64;
//!     const KIND: &'static str = "Double";
//! }
//!
//! let report = labrpc::run(&Config::new(7), |world| {
//!     let server = world.add_node("server");
//!     let started = world.start(server, Duration::from_secs(1), || {
//!         Services::new().with(|Double(x)| {
//!             thread::sleep(Duration::from_secs(60));
//!             2 * x
//!         })
//!     });
//!     assert_eq!(started, Ok(()));
//!     let answer = Peer::simulated(server).call(&Double(21));
//!     world.crash(server);
//!     (answer, Peer::simulated(server).call(&Double(21)))
//! });
//! assert_eq!(report.outcome, Ok((Some(42), None)));
//! assert!(report.virtual_time > Duration::from_secs(60));
//! ```

pub mod channel;
pub mod codec;
pub mod constants;
pub mod rng;
pub mod sync;
pub mod thread;
pub mod time;

mod disk;
mod kernel;
mod net;
mod record;
mod rpc;
mod sim;
mod streams;

pub use self::disk::{Bytes, Content, Disk, Write};
pub use self::kernel::{Cause, Failure, Fatal, InFlight, Moment, NodeId, Place, Stalls, Stuck, on_fatal};
pub use self::net::{Effect, HeldMessage, Kinds, Links, Rule, RuleId, Traffic, long_reordering, unreliable};
pub use self::record::{
    Address, Body, Event, Leg, LossReason, Message, Observer, Row, RowKind, Stall, Trace, What,
};
pub use self::rpc::{Peer, Request, Services, Transport};
pub use self::sim::{Config, NoResult, Report, Schedule, World, run};
pub use self::streams::{Purpose, Stream};
