//! How a leader spreads its log, and learns how far it is committed (Raft 5.3, 5.4).
//!
//! Staff-owned.

use std::time::Duration;

use labrpc::sync::Arc;

use super::{Raft, Role, State, spawn};
use crate::{
    AppendEntriesArgs, AppendEntriesReply, Command, Entry, Index, InstallSnapshotArgs, ServerId, Started,
    Term,
};

/// Time between two heartbeats: ten a second, a third of the shortest election timeout.
const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(100);

impl Raft {
    /// Brings every other server up to date, at once, then whenever there is something new, and at least
    /// as often as heartbeats are due, until the term is over.
    pub(super) fn replicate(self: Arc<Self>, term: Term) {
        while let Some(mut state) = self.lock_in_term(term, State::is_leader) {
            for follower in self.others() {
                let raft = self.clone();
                spawn("replication", move || raft.update(follower, term));
            }
            self.appended.wait_for(&mut state, HEARTBEAT_INTERVAL);
        }
    }

    /// Sends `follower` what it lacks. Goes on while the two logs do not meet, so that a follower far
    /// behind need not wait for the next heartbeat.
    fn update(&self, follower: ServerId, term: Term) {
        while let Some(state) = self.lock_in_term(term, State::is_leader) {
            let is_behind_snapshot = state.next_index(follower) <= state.persistent.last_included.0;
            let met = if is_behind_snapshot {
                let args = state.snapshot_for(self.me, self.persister.snapshot());
                drop(state);
                self.send_snapshot(follower, &args)
            } else {
                let args = state.entries_for(self.me, follower);
                drop(state);
                self.send_entries(follower, &args)
            };
            if met {
                return;
            }
        }
    }

    /// False when it is worth trying again at once.
    fn send_entries(&self, follower: ServerId, args: &AppendEntriesArgs) -> bool {
        let Some(reply) = self.peers[follower].call(args) else { return true };
        self.observe_reply(reply.term);
        // The answer counts only for the leader that asked: in that term, and in no other.
        let Some(mut state) = self.lock_in_term(args.term, State::is_leader) else { return true };
        if !reply.success {
            return !state.back_up(follower, args, &reply);
        }
        // Not the last index of today: entries may have been added since.
        state.note_match(follower, args.prev_log_index + args.entries.len());
        self.advance_commit_index(&mut state);
        true
    }

    /// False when entries after the snapshot can follow at once.
    fn send_snapshot(&self, follower: ServerId, args: &InstallSnapshotArgs) -> bool {
        let Some(reply) = self.peers[follower].call(args) else { return true };
        self.observe_reply(reply.term);
        let Some(mut state) = self.lock_in_term(args.term, State::is_leader) else { return true };
        state.note_match(follower, args.last_included_index);
        false
    }

    /// Commits what a majority has stored, and tells the applier.
    pub(super) fn advance_commit_index(&self, state: &mut State) {
        if state.advance_commit_index() {
            self.committed.notify_all();
        }
    }
}

impl State {
    /// Appends a command to a leader's log; `None` on any other server.
    pub(super) fn append(&mut self, me: ServerId, command: Command) -> Option<Started> {
        let Role::Leader { match_index, .. } = &mut self.role else { return None };
        let term = self.persistent.current_term;
        let index = self.persistent.last_index() + 1;
        match_index[me] = index;
        self.persistent_mut().log.push(Entry { term, command });
        Some(Started { index, term })
    }

    /// The leader's message to a follower: everything from `next_index` on, as a heartbeat when that is
    /// nothing.
    fn entries_for(&self, me: ServerId, follower: ServerId) -> AppendEntriesArgs {
        let prev_log_index = self.next_index(follower) - 1;
        AppendEntriesArgs {
            term: self.persistent.current_term,
            leader_id: me,
            prev_log_index,
            prev_log_term: self.persistent.term_at(prev_log_index).expect("the log reaches back that far"),
            entries: self.persistent.entries_from(prev_log_index + 1).to_vec(),
            leader_commit: self.commit_index,
        }
    }

    /// The leader's message to a follower that lacks entries which exist under the snapshot only.
    fn snapshot_for(&self, me: ServerId, snapshot: crate::Bytes) -> InstallSnapshotArgs {
        let (last_included_index, last_included_term) = self.persistent.last_included;
        let term = self.persistent.current_term;
        InstallSnapshotArgs { term, leader_id: me, last_included_index, last_included_term, snapshot }
    }

    fn next_index(&self, follower: ServerId) -> Index {
        match &self.role {
            Role::Leader { next_index, .. } => next_index[follower],
            _ => unreachable!("only a leader keeps the others' indexes"),
        }
    }

    /// `follower` has stored everything up to `index`. An answer may be overtaken by later ones.
    fn note_match(&mut self, follower: ServerId, index: Index) {
        if let Role::Leader { next_index, match_index } = &mut self.role {
            match_index[follower] = match_index[follower].max(index);
            next_index[follower] = next_index[follower].max(match_index[follower] + 1);
        }
    }

    /// The logs did not match where `args` was to go: go back to where they may (end of 5.3). False for an
    /// answer to an attempt that is out of date.
    fn back_up(&mut self, follower: ServerId, args: &AppendEntriesArgs, reply: &AppendEntriesReply) -> bool {
        let suggested = match reply.conflict {
            None => args.prev_log_index,
            Some(hint) => match hint.term.and_then(|term| self.persistent.last_index_of(term)) {
                Some(last) => last + 1,
                None => hint.index,
            },
        };
        let Role::Leader { next_index, match_index } = &mut self.role else { return false };
        if next_index[follower] != args.prev_log_index + 1 || args.prev_log_index <= match_index[follower] {
            return false;
        }
        next_index[follower] = suggested.min(args.prev_log_index).max(match_index[follower] + 1);
        true
    }

    /// Commits the highest index that a majority has stored, if its entry is of the leader's own term:
    /// an older one may be stored by a majority and still be overwritten (Raft 5.4.2, Figure 8). Tells
    /// whether anything was committed.
    fn advance_commit_index(&mut self) -> bool {
        let Role::Leader { match_index, .. } = &self.role else { return false };
        let mut stored = match_index.clone();
        stored.sort_unstable();
        // All servers from this place on, which are more than half, have stored at least as much.
        let by_majority = stored[(stored.len() - 1) / 2];
        let is_of_term = self.persistent.term_at(by_majority) == Some(self.persistent.current_term);
        let is_new = by_majority > self.commit_index && is_of_term;
        if is_new {
            self.commit_index = by_majority;
        }
        is_new
    }
}
