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

/// How often the harness looks at the servers while it waits for something.
pub const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A call that was under way when the network changed has returned after this long, unless its handler
/// hangs: the longest a call to an unreachable server takes, and some.
pub const CALLS_RETURN_WITHIN: Duration = Duration::from_secs(8);

/// How often a script looks whether the server has done something.
pub(crate) const SCRIPT_POLL: Duration = Duration::from_millis(1);
