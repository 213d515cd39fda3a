//! How one follower gets what all others have already.
//!
//! Kit-owned.

use std::time::Duration;

use labraft::{Index, ServerId, Term};

use crate::cluster::Cluster;
use crate::finding::Finding;
use crate::limits::{AGREED_AT_LAST, AGREED_POLL, AGREED_WITHIN, PER_ENTRY_OF_CONFLICT, POLL_INTERVAL};

/// How waiting for a follower ended.
enum Waited {
    Reached,
    /// Its leader is gone, and may have been before it could send the entry.
    LeaderChanged,
    /// All others have the entry, and this one should have.
    Behind,
    /// The entry is not committed, which is no matter of this follower.
    NotCommitted,
}

impl Cluster {
    /// Has the cluster agree on fresh commands until `follower` has one, too. When a leader reaches all others
    /// and not this one, `explain` makes the finding of what its service has and what all others have.
    pub fn check_catches_up(&mut self, follower: ServerId, explain: impl Fn(Index, Index) -> Finding) {
        let begun = self.now();
        while self.now() - begun < AGREED_AT_LAST {
            let connected = self.connected();
            let command = self.fresh_command();
            let leader = self.latest_leader_of(&connected);
            let Some(started) = leader.and_then(|leader| self.start(leader, &command)) else {
                self.check_progress_of(&connected);
                self.sleep(POLL_INTERVAL);
                continue;
            };
            let leader = leader.expect("it took a command");
            match self.wait_for_follower(follower, leader, (started.index, started.term)) {
                Waited::Reached => return,
                Waited::LeaderChanged => {}
                Waited::Behind => self.fail(explain(self.applied(follower), started.index)),
                Waited::NotCommitted => break,
            }
        }
        // Says what is wrong in general.
        self.one(self.len());
    }

    fn wait_for_follower(&mut self, follower: ServerId, leader: ServerId, entry: (Index, Term)) -> Waited {
        let (index, term) = entry;
        let begun = self.now();
        let bound: Duration = AGREED_WITHIN + PER_ENTRY_OF_CONFLICT * index as u32;
        loop {
            if self.applied(follower) >= index {
                return Waited::Reached;
            }
            if self.get_state(leader) != Some((term, true)) {
                return Waited::LeaderChanged;
            }
            let fair = self.fair_window().map(|fair| fair.max(begun));
            if fair.is_some_and(|since| self.now() - since > bound) {
                let others = self.n_committed(index);
                return if others + 1 == self.len() { Waited::Behind } else { Waited::NotCommitted };
            }
            self.sleep(AGREED_POLL);
        }
    }
}
