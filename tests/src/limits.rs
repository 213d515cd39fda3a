//! The times and counts that tests hold a Raft to, and why no correct one misses them.
//!
//! Kit-owned. All times are virtual.

use std::time::Duration;

/// A new leader is expected within this time; judged on the median over the seeds of a test, as class
/// *performance*, because a single election may need several rounds in any correct Raft.
pub const LEADER_WITHIN: Duration = Duration::from_secs(5);

/// The measure that [`LEADER_WITHIN`] limits: the longest wait for a leader in a run, in seconds.
pub const LEADER_WAIT: &str = "leader_wait_s";

/// The measure that [`FIRST_HEARTBEAT_SHARE`] limits: the time from the deciding vote to the first
/// AppendEntries, as a share of the time between two heartbeats.
pub const FIRST_HEARTBEAT: &str = "first_heartbeat_share";

/// A leader that sends its first heartbeat with the next tick takes half an interval on average; one that
/// sends it at once takes next to nothing. Judged on the median over the seeds.
pub const FIRST_HEARTBEAT_SHARE: f64 = 0.25;

/// The measure that [`COMMIT_WITHIN`] limits: from `start` until the leader's service has the command, in
/// seconds; the longest of a run.
pub const COMMIT_TIME: &str = "commit_s";

/// A leader that sends entries at once, and commits when a majority has answered, takes two or three
/// message delays, 3 to 6 ms; one that waits for a tick a twentieth of a second and more. Judged on the
/// median over the seeds.
pub const COMMIT_WITHIN: Duration = Duration::from_millis(25);

/// The measure that [`BACKUP_WITHIN`] limits: how long a follower with forty wrong entries takes to catch
/// up, in seconds.
pub const BACKUP_TIME: &str = "backup_s";

/// Going back entry by entry takes forty round trips of 2.5 ms, after a heartbeat has found the follower,
/// or an election that it causes; with a heartbeat's wait for each entry it takes four seconds. Judged on
/// the median over the seeds.
pub const BACKUP_WITHIN: Duration = Duration::from_millis(2_500);

/// So many terms in a row in which servers stood and nobody won are a failure. When one round in two
/// ends in a split vote, which is a poor Raft, this happens to one election in 30 million.
pub const FAILED_ELECTIONS_MAX: usize = 25;

/// A cluster in which nobody stands for election and no leader is heard of for this long is dead.
pub const SILENCE_MAX: Duration = Duration::from_secs(10);

/// However it goes about it, a cluster that has no leader after this long will not have one: it is
/// twenty-five rounds of more than two seconds each.
pub const LEADER_AT_LAST: Duration = Duration::from_secs(60);

/// Once all servers agree on a leader, late messages of earlier elections may trouble them this long.
pub const QUIET_AFTER: Duration = Duration::from_secs(1);

/// A deposed leader that can be reached follows the new one within this time: thirty heartbeats at the
/// slowest rate in use.
pub const DEPOSED_WITHIN: Duration = Duration::from_secs(5);

/// `make` and `get_state` do nothing that takes time; after this long they never return.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// While a server's threads are held up now and then, it may take this long to answer the harness.
pub const STALLED_ANSWER_WITHIN: Duration = Duration::from_secs(120);

/// How often the harness looks at the servers while it waits for something.
pub const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A call that was under way when the network changed has returned after this long, unless its handler
/// hangs: the longest a call to an unreachable server takes, and some.
pub const CALLS_RETURN_WITHIN: Duration = Duration::from_secs(8);

/// A command that a leader takes is applied everywhere within this time and four round trips for each
/// entry in which logs may differ: a heartbeat at the slowest rate in use, and some.
pub const AGREED_WITHIN: Duration = Duration::from_secs(2);

/// Four round trips under a fair network, in which a message takes up to 2 ms, and the threads' share.
pub const PER_ENTRY_OF_CONFLICT: Duration = Duration::from_millis(40);

/// However often leaders change, agreement comes in this time: it is far more elections than
/// [`FAILED_ELECTIONS_MAX`].
pub const AGREED_AT_LAST: Duration = Duration::from_secs(120);

/// An operation of a client returns within this time under a fair network: the longest that an election may
/// take, a hundred calls of 0.1 s to servers that do not answer, and 20 s for a server or a client that
/// waits a while before it tries something else.
pub const OPERATION_WITHIN: Duration = Duration::from_secs(90);

/// A handler that gives up after some hundred milliseconds lets go of its client within this time, and a client
/// that pauses for some seconds has found the leader by then.
pub const LET_GO_WITHIN: Duration = Duration::from_secs(30);

/// The measure that [`OPERATION_TIME_MAX`] limits: how long the operations of one client take that has the
/// service to itself, on average, in seconds.
pub const OPERATION_TIME: &str = "operation_s";

/// A third of a heartbeat's interval, as in the classic test: a service that does one operation with each
/// heartbeat takes three times as long. Judged on the median over the seeds.
pub const OPERATION_TIME_MAX: Duration = Duration::from_millis(33);

/// An entry that the leader has committed in its own term is applied by all whom it reaches within this time,
/// even if no further command comes: tens of heartbeats at the slowest rate in use.
pub const APPLIED_WITHIN: Duration = Duration::from_secs(10);

/// How often the harness looks whether a command was applied.
pub(crate) const AGREED_POLL: Duration = Duration::from_millis(10);

/// How often a script looks whether the server has done something.
pub(crate) const SCRIPT_POLL: Duration = Duration::from_millis(1);
