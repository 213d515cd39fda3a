//! What a follower makes of its leader's entries (Raft 5.3, the receiver of AppendEntries).
//!
//! Staff-owned.

use super::State;
use crate::{AppendEntriesArgs, AppendEntriesReply};

impl State {
    /// The receiver of AppendEntries (Raft Figure 2).
    pub(super) fn append_entries(&mut self, args: AppendEntriesArgs) -> AppendEntriesReply {
        self.observe_term(args.term);
        let term = self.persistent.current_term;
        if args.term < term {
            return AppendEntriesReply { term, success: false, conflict: None };
        }
        self.follow();
        if !self.persistent.matches(args.prev_log_index, args.prev_log_term) {
            let conflict = Some(self.persistent.conflict_at(args.prev_log_index));
            return AppendEntriesReply { term, success: false, conflict };
        }
        self.store(&args);
        // Only up to here is the log known to be the leader's; what follows may be left over from another.
        let last_new = args.prev_log_index + args.entries.len();
        self.commit_index = self.commit_index.max(args.leader_commit.min(last_new));
        AppendEntriesReply { term, success: true, conflict: None }
    }

    /// Brings the log in line with the leader's entries. What is there already stays, and all that follows
    /// it: this message may be older than others that have arrived. Only an entry of another term shows
    /// that the rest is not the leader's.
    fn store(&mut self, args: &AppendEntriesArgs) {
        let Some(first) = self.persistent.first_new(args.prev_log_index, &args.entries) else { return };
        let index = args.prev_log_index + 1 + first;
        assert!(index > self.commit_index, "entry {index} is committed, and a leader has another");
        self.persistent_mut().replace_from(index, &args.entries[first..]);
    }
}
