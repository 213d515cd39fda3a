//! A hint in a refusal names a place where its leader can go on (end of Raft 5.3).
//!
//! Kit-owned. A follower's log is shorter than `prev_log_index`, so the index after its last entry is no later
//! than that; or it has another term there, and the first index of that term is no later either. What lies
//! under a follower's snapshot is another matter: it may say that it has all of that, and where its log begins.
//! A refusal of an earlier term says nothing about logs.

use labraft::{ApplyMsg, Index, ServerId};

use super::facts::Facts;
use super::{Check, Reply, Request, Seen};
use crate::finding::Finding;

/// A hint names an index from 1 to `prev_log_index`.
pub(super) struct HintInRange {
    /// For each server, up to where a snapshot of it can reach: its service was given so much, or it was sent a
    /// leader's snapshot up to there, or has saved one.
    covered: Vec<Index>,
}

impl HintInRange {
    pub(super) fn new(servers: usize) -> HintInRange {
        HintInRange { covered: vec![0; servers] }
    }

    fn cover(&mut self, server: ServerId, index: Index) {
        let covered = &mut self.covered[server];
        *covered = index.max(*covered);
    }
}

impl Check for HintInRange {
    fn see(&mut self, seen: &Seen<'_>, _facts: &Facts) -> Result<(), Finding> {
        match *seen {
            Seen::Applied { by, message } => {
                let (ApplyMsg::Command { index, .. } | ApplyMsg::Snapshot { index, .. }) = message;
                self.cover(by.server, *index);
            }
            Seen::RequestDelivered { to, request: Request::Snapshot(args), .. } => {
                self.cover(to.server, args.last_included_index);
            }
            Seen::Saved { by, state, .. } => self.cover(by.server, state.last_included.0),
            Seen::ReplyLeft { from, request: Request::Append(args), reply: Reply::Append(reply), .. }
                if !reply.success && reply.term == args.term =>
            {
                let covered = self.covered[from.server];
                let Some(hint) = reply.conflict else { return Ok(()) };
                let (server, previous) = (from.server, args.prev_log_index);
                if previous > covered && !(1..=previous).contains(&hint.index) {
                    return Err(Finding::safety(
                        "a hint names an index up to where the logs did not match, counted from 1 (end of Raft 5.3)",
                        format!(
                            "S{server}, which refuses to go on after entry {previous} of term {}, hints at an index from 1 to {previous}",
                            args.prev_log_term
                        ),
                        format!("S{server}'s hint names index {}", hint.index),
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
