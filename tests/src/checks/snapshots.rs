//! Saved states and snapshots fit together (Raft 7).
//!
//! Kit-owned. On from stage 2D.

use std::collections::BTreeMap;

use labraft::{ApplyMsg, Bytes, Index, PersistentState, ServerId, Term};

use super::facts::Facts;
use super::{Check, Request, Scope, Seen};
use crate::finding::Finding;

/// What is saved covers every index from 1 to the last, by the snapshot or the log; and the term of a
/// snapshot's last entry is that of the entry that was committed there.
#[derive(Default)]
pub(super) struct WholeStates {
    /// The index of each snapshot that a service has made; the last one, should several be the same bytes.
    made: BTreeMap<Bytes, Index>,
}

impl WholeStates {
    fn judge_save(
        &self,
        server: ServerId,
        state: &PersistentState,
        snapshot: &Bytes,
        facts: &Facts,
    ) -> Result<(), Finding> {
        let (index, term) = state.last_included;
        let covered = self.made.get(snapshot).copied().unwrap_or(0);
        if covered < index {
            let has = match covered {
                0 => "no snapshot that a service has made".to_owned(),
                covered => format!("a snapshot that covers them up to {covered}"),
            };
            return Err(Finding::safety(
                "what is saved covers every entry from the first on, by the snapshot or by the log (Raft 7)",
                format!(
                    "a snapshot on S{server}'s disk that covers entries up to {index}, as its log begins after that"
                ),
                format!("S{server} saved a log that begins at entry {}, beside {has}", index + 1),
            ));
        }
        judge_term(server, "saved", index, term, facts)
    }
}

impl WholeStates {
    /// A leader sends a snapshot: as what it says it is. The kit's own service names the index in its snapshots; one
    /// that is tested may make the same bytes for two indexes.
    fn judge_sent(
        &self,
        server: ServerId,
        index: Index,
        snapshot: &Bytes,
        facts: &Facts,
    ) -> Result<(), Finding> {
        if facts.scope == Scope::Service {
            return Ok(());
        }
        match self.made.get(snapshot) {
            Some(&made) if made != index => Err(Finding::safety(
                "a snapshot is sent with the index up to which it goes (Raft 7, Figure 13)",
                format!("the snapshot that goes up to entry {index}, or index {made} beside this one"),
                format!("S{server} sent the snapshot up to entry {made} as the one up to entry {index}"),
            )),
            _ => Ok(()),
        }
    }
}

fn judge_term(server: ServerId, how: &str, index: Index, term: Term, facts: &Facts) -> Result<(), Finding> {
    match facts.ledger.at(index) {
        Some(committed) if committed.term != term => Err(Finding::safety(
            "a snapshot carries the term of the last entry it covers (Raft 7, Figure 13)",
            format!("term {} with index {index}, as that entry was committed", committed.term),
            format!("S{server} {how} a snapshot up to entry {index} with term {term}"),
        )),
        _ => Ok(()),
    }
}

impl Check for WholeStates {
    fn see(&mut self, seen: &Seen<'_>, facts: &Facts) -> Result<(), Finding> {
        match *seen {
            Seen::Snapshotted { index, snapshot, .. } => {
                let last = self.made.entry(snapshot.clone()).or_default();
                *last = index.max(*last);
                Ok(())
            }
            Seen::Saved { by, state, snapshot, .. } => {
                let on_disk = snapshot.unwrap_or(&facts.disks[by.server].snapshot);
                self.judge_save(by.server, state, on_disk, facts)
            }
            Seen::Applied { by, message: ApplyMsg::Snapshot { index, term, .. } } => {
                judge_term(by.server, "delivered", *index, *term, facts)
            }
            Seen::RequestLeft { from, request: Request::Snapshot(args) } => {
                self.judge_sent(from.server, args.last_included_index, &args.snapshot, facts)?;
                judge_term(from.server, "sent", args.last_included_index, args.last_included_term, facts)
            }
            _ => Ok(()),
        }
    }
}
