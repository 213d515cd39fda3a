//! What agreement costs: messages, bytes and time.
//!
//! Kit-owned.

use std::time::Duration;

use labgrading::Class;

use crate::cluster::Cluster;
use crate::finding::Finding;
use crate::limits::POLL_INTERVAL;
use crate::server::node_of;

impl Cluster {
    /// How many messages the servers have sent so far: requests and replies alike, so that it does not matter
    /// whether an answer is a reply or a request of its own. Empty ones say nothing and do not count.
    pub fn messages_sent(&self) -> u64 {
        (0..self.len()).map(|server| self.world().traffic(node_of(server)).messages_sent).sum()
    }

    /// How many bytes the servers have sent so far.
    pub fn bytes_sent(&self) -> u64 {
        (0..self.len()).map(|server| self.world().traffic(node_of(server)).bytes_sent).sum()
    }

    /// Fails the run if more than `limit` messages were sent since there were `before`.
    pub fn check_messages(&mut self, before: u64, limit: u64, what: &str) {
        let sent = self.messages_sent() - before;
        if sent > limit {
            self.fail(Finding::new(
                Class::Performance,
                "a leader sends about ten heartbeats a second, and new entries once (Raft 5.2, 5.3)",
                format!("at most {limit} messages for {what}, requests and replies"),
                format!("too many messages: {sent} for {what}"),
            ));
        }
    }

    /// How long a command takes until `servers` services have it. When that is longer than a few polls,
    /// it is how long a correct cluster may take at most, or the run has failed.
    pub fn time_commit(&mut self, servers: usize) -> Duration {
        let leader = self.check_one_leader();
        let command = self.fresh_command();
        let begun = self.now();
        let Some(started) = self.start(leader, &command) else { return Duration::ZERO };
        while self.n_committed(started.index) < servers {
            if self.now() - begun > POLL_INTERVAL * 4 {
                self.wait_in_term(started.index, started.term, servers);
                break;
            }
            self.sleep(Duration::from_micros(500));
        }
        self.now() - begun
    }
}
