//! The grading suite's harness.
//!
//! Kit-owned. Tests stand one directory up, one file per stage; read `raft_2a.rs` first, then
//! `cluster.rs`, which is the vocabulary they are written in. Every run is watched: `watch.rs` turns the
//! world's events into words of Raft, and the modules under `checks/` judge them. In `script.rs` the harness
//! plays all servers but one. `graded.rs` runs a test over its seeds and `report.rs` says what failed.

mod checks;
mod cluster;
mod elections;
mod finding;
mod graded;
mod limits;
mod report;
mod run;
mod script;
mod server;
mod watch;

pub use self::checks::{Reply, Request};
pub use self::cluster::Cluster;
pub use self::finding::Finding;
pub use self::graded::{graded, graded_script, repeat_report};
pub use self::limits::*;
pub use self::run::{Body, ScriptBody, run_unjudged};
pub use self::script::{Arrived, Script, heartbeat, vote_request};
pub use self::server::{node_of, server_of};
