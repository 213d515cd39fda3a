//! The grading suite's harness.
//!
//! Kit-owned. Tests stand one directory up, one file per stage; read `raft_2a.rs` first, then
//! `cluster.rs`, which is the vocabulary they are written in. Every run is watched: `watch.rs` turns the
//! world's events into words of Raft, and the modules under `checks/` judge them. `graded.rs` runs a
//! test over its seeds and `report.rs` says what failed.

mod checks;
mod cluster;
mod elections;
mod finding;
mod graded;
mod limits;
mod report;
mod run;
mod watch;

pub use self::cluster::{Cluster, node_of, server_of};
pub use self::finding::Finding;
pub use self::graded::graded;
pub use self::limits::*;
pub use self::run::{Body, run_unjudged};
