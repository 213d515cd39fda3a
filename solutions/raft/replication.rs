//! What a leader tells its followers (Raft 5.2, 5.3). So far that is only that it leads.
//!
//! Staff-owned.

use std::time::Duration;

use labrpc::sync::Arc;
use labrpc::thread;

use super::election::draw_election_due;
use super::{Raft, Role, State, spawn};
use crate::{AppendEntriesArgs, AppendEntriesReply, ServerId, Term};

/// Time between two heartbeats: ten a second, a third of the shortest election timeout.
const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(100);

impl Raft {
    /// Lets every other server hear of this leader, at once and then regularly, until its term is over.
    pub(super) fn send_heartbeats(self: Arc<Self>, term: Term) {
        while self.lock_in_term(term, State::is_leader).is_some() {
            for follower in self.others() {
                let raft = self.clone();
                spawn("heartbeat", move || raft.send_append_entries(follower, term));
            }
            thread::sleep(HEARTBEAT_INTERVAL);
        }
    }

    fn send_append_entries(&self, follower: ServerId, term: Term) {
        let args = AppendEntriesArgs {
            term,
            leader_id: self.me,
            prev_log_index: 0,
            prev_log_term: 0,
            entries: Vec::new(),
            leader_commit: 0,
        };
        if let Some(reply) = self.peers[follower].call(&args) {
            self.state.lock().observe_term(reply.term);
        }
    }
}

impl State {
    /// The receiver of AppendEntries (Raft Figure 2).
    pub(super) fn append_entries(&mut self, args: &AppendEntriesArgs) -> AppendEntriesReply {
        self.observe_term(args.term);
        let current_term = self.persistent.current_term;
        let success = args.term == current_term;
        if success {
            // Somebody else has won this term's election. Only its leader may put ours off.
            assert!(!self.is_leader(), "two leaders in term {current_term}");
            self.role = Role::Follower;
            self.election_due = draw_election_due();
        }
        AppendEntriesReply { term: current_term, success, conflict: None }
    }
}
