//! Snapshots: the service's state in place of the log that led to it (Raft 7).
//!
//! Staff-owned.

use super::State;
use crate::{Index, InstallSnapshotArgs, InstallSnapshotReply};

impl State {
    /// The service has made a snapshot up to `index`: the log up to there goes. False when a later
    /// snapshot, by now, covers it anyway.
    pub(super) fn compact(&mut self, index: Index) -> bool {
        if index <= self.persistent.last_included.0 {
            return false;
        }
        assert!(index <= self.last_applied, "the service snapshots only what it was given");
        let term = self.persistent.term_at(index).expect("what was applied after the snapshot is in the log");
        self.persistent_mut().discard_through(index, term);
        true
    }

    /// The receiver of InstallSnapshot (Raft Figure 13). The second value tells whether the snapshot is
    /// new to this server, and so has to be saved.
    pub(super) fn install_snapshot(&mut self, args: InstallSnapshotArgs) -> (InstallSnapshotReply, bool) {
        self.observe_term(args.term);
        let reply = InstallSnapshotReply { term: self.persistent.current_term };
        if args.term < reply.term {
            return (reply, false);
        }
        self.follow();
        if args.last_included_index <= self.commit_index {
            // Late or sent twice. The service has this much, or will get it from the log.
            return (reply, false);
        }
        self.persistent_mut().discard_through(args.last_included_index, args.last_included_term);
        self.commit_index = args.last_included_index;
        self.received_snapshot = Some(args.snapshot);
        (reply, true)
    }
}
