//! When servers of the service make snapshots, how long their logs get, and how long they keep a client waiting.
//!
//! Kit-owned.

use std::cell::RefCell;
use std::time::Duration;

use labgrading::Class;
use labraft::ServerId;
use labrpc::{Disk, Event, Observer, What};

use crate::finding::Finding;
use crate::kv::{KvCluster, Pending};
use crate::limits::{LET_GO_WITHIN, POLL_INTERVAL};
use crate::server::server_of;

/// By then every server has applied what there is: a follower hears of it with the next heartbeat.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// A log may be so many times as long as the limit at which a snapshot is made, as in the classic tests.
const LOG_FACTOR_MAX: usize = 8;

/// A server that makes so many snapshots in a row, while its log stays below half of the limit, does not look at
/// the limit. One that does may be late, or ask for several before the first is on disk: a few, and not again
/// and again.
const NEEDLESS_MAX: usize = 20;

/// Counts the snapshots that servers make while their logs are short.
#[derive(Default)]
pub(crate) struct SnapshotCount {
    limit: usize,
    servers: RefCell<Vec<Counted>>,
}

#[derive(Clone, Default)]
struct Counted {
    /// Bytes of log on the disk.
    log_bytes: usize,
    /// Snapshots in a row since the log last had half of the limit.
    in_a_row: usize,
    most: usize,
}

impl SnapshotCount {
    /// Counts those of `servers` servers, which are to make one when the log has `limit` bytes.
    pub(crate) fn new(servers: usize, limit: usize) -> SnapshotCount {
        SnapshotCount { limit, servers: RefCell::new(vec![Counted::default(); servers]) }
    }

    /// The server's service has got a snapshot from another one, which was saved like its own.
    pub(crate) fn installed(&self, server: ServerId) {
        self.servers.borrow_mut()[server].in_a_row = 0;
    }
}

impl Observer for SnapshotCount {
    fn observe(&self, event: &Event<'_>) {
        let What::Saved { node, blob, .. } = event.what else { return };
        let mut servers = self.servers.borrow_mut();
        let Some(counted) = servers.get_mut(server_of(*node)) else { return };
        let before = counted.log_bytes;
        counted.log_bytes = Disk::simulated(*node).bytes_without_blob();
        if before.max(counted.log_bytes) >= self.limit / 2 {
            counted.in_a_row = 0;
        } else if blob.is_some() {
            counted.in_a_row += 1;
            counted.most = counted.most.max(counted.in_a_row);
        }
    }
}

/// Snapshots and logs.
impl KvCluster {
    /// Checks that logs are short, where servers make snapshots.
    pub fn check_log_sizes(&mut self) {
        let Some(limit) = self.limit else { return };
        self.servers.sleep(SETTLED_AFTER);
        for server in 0..self.servers.len() {
            let bytes = self.servers.log_bytes(server);
            if bytes > LOG_FACTOR_MAX * limit {
                self.servers.fail(Finding::safety(
                    "a server makes a snapshot when its log has reached the limit, whether it leads or not",
                    format!("at most {LOG_FACTOR_MAX} times the limit of {limit} bytes"),
                    format!("log size too large: S{server} has {bytes} bytes of log on its disk"),
                ));
            }
        }
    }

    /// Checks that no server makes snapshots all the time, whatever the size of its log.
    pub fn check_snapshots_needed(&self) {
        let limit = self.snapshots.limit;
        for (server, counted) in self.snapshots.servers.borrow().iter().enumerate() {
            if counted.most >= NEEDLESS_MAX {
                self.servers.fail(Finding::new(
                    Class::Performance,
                    "a server makes a snapshot when its log has reached the limit, and not before",
                    format!("S{server} makes one when `log_bytes()` is no longer below the limit of {limit}"),
                    format!(
                        "too many snapshots: S{server} made {} in a row, while its log never had half of the limit",
                        counted.most
                    ),
                ));
            }
        }
    }

    /// Checks that no server has made a snapshot where none is to be made.
    pub(crate) fn check_no_snapshots(&self) {
        if self.limit.is_some() {
            return;
        }
        for server in 0..self.servers.len() {
            let bytes = self.snapshot_bytes(server);
            if bytes > 0 {
                self.servers.fail(Finding::new(
                    Class::Performance,
                    "with `None` for `limit` a server never makes a snapshot",
                    format!("S{server}, made with `None`, never calls `snapshot`, however long its log is"),
                    format!("S{server} has made snapshots: the one on its disk has {bytes} bytes"),
                ));
            }
        }
    }
}

/// Waiting.
impl KvCluster {
    /// Checks that an operation returns which was sent to `server`, a leader that is cut off from all other
    /// servers, and whose client reaches these now.
    pub fn check_let_go(&mut self, pending: &Pending, server: ServerId) {
        let begun = self.servers.now();
        while !pending.is_over() {
            let waited = self.servers.now() - begun;
            if waited > LET_GO_WITHIN {
                // A client that waits for another call since then has been let go.
                let call = format!("call to S{server}");
                let threads = self.threads_of(pending.operation());
                let mut calls = threads.iter().filter(|thread| thread.waiting_for.ends_with(&call));
                let Some(call) = calls.find(|thread| thread.since <= begun) else { break };
                self.servers.fail(Finding::liveness(
                    "a handler gives up after some hundred milliseconds, whatever its server believes (handout 3A, waiting)",
                    format!(
                        "S{server} answers WrongLeader in the end, and {} is carried out by the others",
                        pending.operation()
                    ),
                    format!(
                        "{} was sent to S{server}, which leads as far as it knows and reaches no other server; it has not answered for {} s:\n  {call}",
                        pending.operation(),
                        waited.as_secs()
                    ),
                ));
            }
            self.servers.sleep(POLL_INTERVAL);
        }
        self.wait(pending);
    }

    /// Waits until an operation is over, but no longer than `limit`: nothing is said of one that is not.
    pub fn give_time(&mut self, pending: &Pending, limit: Duration) {
        let deadline = self.servers.now() + limit;
        while !pending.is_over() && self.servers.now() < deadline {
            self.servers.sleep(POLL_INTERVAL);
        }
    }
}
