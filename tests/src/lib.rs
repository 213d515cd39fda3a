//! The grading suite's harness.
//!
//! Kit-owned. Tests stand one directory up, one file per stage; read `raft_2a.rs` first, then
//! `cluster.rs`, which is the vocabulary they are written in. Every run is watched: `watch.rs` turns the
//! world's events into words of Raft, and the modules under `checks/` judge them. In `script.rs` the harness
//! plays all servers but one. Lab 3 is in `kv.rs` and beside it: the service's clients, and their record. `graded.rs` runs a test over its seeds and `report.rs` says what failed.

mod agreement;
mod budgets;
mod catch_up;
mod checks;
mod cluster;
mod elections;
mod finding;
mod graded;
mod heard;
#[cfg(feature = "kv")]
mod kv;
#[cfg(feature = "kv")]
mod kv_calls;
#[cfg(feature = "kv")]
mod kv_cause;
#[cfg(feature = "kv")]
mod kv_limits;
#[cfg(feature = "kv")]
mod kv_load;
#[cfg(feature = "kv")]
mod kv_record;
mod leadership;
mod limits;
mod network;
mod parts;
mod report;
mod run;
mod script;
mod server;
mod service;
mod shorten;
mod stalls;
mod storm;
mod timer;
mod watch;

pub use self::agreement::Everywhere;
pub use self::checks::{Reply, Request};
pub use self::cluster::Cluster;
pub use self::finding::Finding;
#[cfg(feature = "kv")]
pub use self::graded::graded_kv;
pub use self::graded::{graded, graded_script, repeat_report};
#[cfg(feature = "kv")]
pub use self::kv::{Client, KvBody, KvCluster, Pending};
#[cfg(feature = "kv")]
pub use self::kv_load::{Busy, Load, Use};
pub use self::limits::*;
pub use self::parts::{FollowerLog, append, command, entries, heartbeat, snapshot, vote_request};
pub use self::run::{Body, ScriptBody, run_unjudged};
pub use self::script::{Arrived, Script};
pub use self::server::{node_of, server_of};
pub use self::storm::Mix;
pub use self::timer::{HeardOften, TimeOuts};
