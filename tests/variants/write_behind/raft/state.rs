//! What becomes of memory: by messages that come in, by snapshots, and by deliveries.
//!
//! Staff-owned; a part of `../raft.rs`. Nothing here waits for the disk.

use super::{Follower, OnDisk, Role, State, next_election};
use crate::{
    AppendEntriesArgs, AppendEntriesReply, ApplyMsg, Bytes, ConflictHint, Index, InstallSnapshotArgs,
    InstallSnapshotReply, PersistentState, RequestVoteArgs, RequestVoteReply, Term,
};

/// What comes in, as it changes memory.
impl State {
    /// Adopts a higher term. Returns whether it is one.
    pub(super) fn observe(&mut self, term: Term) -> bool {
        let is_higher = term > self.memory.current_term;
        if is_higher {
            if let Role::Leader { .. } = self.role {
                self.election_due = next_election();
            }
            self.memory.current_term = term;
            self.memory.voted_for = None;
            self.version += 1;
            self.role = Role::Follower;
        }
        is_higher
    }

    pub(super) fn request_vote(&mut self, args: &RequestVoteArgs) -> RequestVoteReply {
        self.observe(args.term);
        let term = self.memory.current_term;
        let is_free = self.memory.voted_for.is_none_or(|candidate| candidate == args.candidate_id);
        let is_complete = (args.last_log_term, args.last_log_index) >= (self.last_term(), self.last_index());
        let vote_granted = args.term == term && is_free && is_complete;
        if vote_granted {
            self.memory.voted_for = Some(args.candidate_id);
            self.version += 1;
            self.election_due = next_election();
        }
        RequestVoteReply { term, vote_granted }
    }

    pub(super) fn append_entries(&mut self, args: AppendEntriesArgs) -> AppendEntriesReply {
        let is_current = self.follow(args.term);
        let (term, prev) = (self.memory.current_term, args.prev_log_index);
        let found = self.term_at(prev);
        if !is_current {
            return AppendEntriesReply { term, success: false, conflict: None };
        }
        // What the snapshot covers is committed, so all leaders have it.
        if prev > self.memory.last_included.0 && found != Some(args.prev_log_term) {
            let before = |index: &Index| self.term_at(*index) == found;
            let index = match found {
                Some(_) => prev - (1..prev).rev().take_while(before).count(),
                None => self.last_index() + 1,
            };
            let conflict = Some(ConflictHint { term: found, index });
            return AppendEntriesReply { term, success: false, conflict };
        }
        let end = prev + args.entries.len();
        for (index, entry) in (prev + 1..).zip(args.entries) {
            // Only an entry that differs makes what follows it invalid.
            if index > self.memory.last_included.0 && self.term_at(index) != Some(entry.term) {
                self.memory.log.truncate(index - self.memory.last_included.0 - 1);
                self.memory.log.push(entry);
                self.version += 1;
            }
        }
        self.commit_index = self.commit_index.max(args.leader_commit.min(end));
        AppendEntriesReply { term, success: true, conflict: None }
    }

    pub(super) fn install_snapshot(&mut self, args: InstallSnapshotArgs) -> InstallSnapshotReply {
        if self.follow(args.term) && args.last_included_index > self.commit_index {
            self.commit_index = args.last_included_index;
            self.adopt_snapshot((args.last_included_index, args.last_included_term), args.snapshot);
        }
        InstallSnapshotReply { term: self.memory.current_term }
    }

    /// A leader of `term` has been heard of. Returns whether to follow it.
    fn follow(&mut self, term: Term) -> bool {
        self.observe(term);
        let is_current = term == self.memory.current_term;
        if is_current {
            self.role = Role::Follower;
            self.election_due = next_election();
        }
        is_current
    }
}

/// The log, and what has been applied of it.
impl State {
    pub(super) fn last_index(&self) -> Index {
        self.memory.last_included.0 + self.memory.log.len()
    }

    pub(super) fn last_term(&self) -> Term {
        self.memory.log.last().map_or(self.memory.last_included.1, |entry| entry.term)
    }

    /// The term at `index`, where it is in the log or the last that the snapshot covers.
    pub(super) fn term_at(&self, index: Index) -> Option<Term> {
        let (covered, term) = self.memory.last_included;
        match index.checked_sub(covered)? {
            0 => Some(term),
            place => self.memory.log.get(place - 1).map(|entry| entry.term),
        }
    }

    /// Replaces the log up to `last` by a snapshot, and all of it if it is not that of the snapshot.
    pub(super) fn adopt_snapshot(&mut self, last: (Index, Term), snapshot: Bytes) {
        let covered = match self.term_at(last.0) == Some(last.1) {
            true => last.0 - self.memory.last_included.0,
            false => self.memory.log.len(),
        };
        self.memory.log.drain(..covered);
        self.memory.last_included = last;
        self.snapshot = snapshot;
        self.is_snapshot_new = true;
        self.version += 1;
    }

    /// What the service is to get next. To be called when it lacks something that is committed.
    pub(super) fn next_delivery(&mut self) -> ApplyMsg {
        let (covered, term) = self.memory.last_included;
        if self.applied < covered {
            self.applied = covered;
            return ApplyMsg::Snapshot { index: covered, term, snapshot: self.snapshot.clone() };
        }
        let command = self.memory.log[self.applied - covered].command.clone();
        self.applied += 1;
        ApplyMsg::Command { index: self.applied, command }
    }

    /// What the leader of `term` knows of a peer, if this server still is that leader.
    pub(super) fn follower(&mut self, peer: usize, term: Term) -> Option<&mut Follower> {
        match &mut self.role {
            Role::Leader { followers, .. } if self.memory.current_term == term => Some(&mut followers[peer]),
            _ => None,
        }
    }
}

impl Follower {
    /// Something was lost on the way: begins again where the logs are known to agree.
    pub(super) fn lose_track(&mut self) {
        self.is_pipelined = false;
        self.next = self.matched + 1;
    }
}

impl OnDisk {
    pub(super) fn of(memory: &PersistentState, version: u64) -> OnDisk {
        OnDisk {
            version,
            vote: (memory.current_term, memory.voted_for),
            last_index: memory.last_included.0 + memory.log.len(),
        }
    }
}
