//! What has happened so far, as far as more than one check needs it.
//!
//! Kit-owned. The checks look at these facts as they were before an event; then the event becomes one of
//! them.

use std::collections::BTreeMap;

use labraft::{AppendEntriesArgs, ApplyMsg, Bytes, Entry, Index, PersistentState, ServerId, Term};

use super::ledger::Ledger;
use super::log_book::LogBook;
use super::{Life, Reply, Request, Scope, Seen};
use crate::finding::Finding;

/// The facts of a run.
pub(crate) struct Facts {
    pub(crate) servers: usize,
    pub(crate) scope: Scope,
    /// False when the servers have messages of their own, so that nothing is known of commits.
    is_readable: bool,
    pub(crate) book: LogBook,
    pub(crate) ledger: Ledger,
    /// What is on each server's disk.
    pub(crate) disks: Vec<DiskImage>,
    /// The latest term of a leader's message that was delivered to each server, in any of its lives.
    heard: Vec<Term>,
    /// For each term, up to where each server's log was last said to match the leader's.
    matched: BTreeMap<Term, Vec<(Index, Term)>>,
    /// The latest term whose leader has spoken, and that leader.
    pub(crate) latest_leader: Option<(Term, ServerId)>,
}

/// A server's disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct DiskImage {
    pub(crate) state: PersistentState,
    pub(crate) snapshot: Bytes,
}

impl DiskImage {
    /// True when the disk holds this entry, in its log or under its snapshot.
    pub(crate) fn holds(&self, index: Index, term: Term) -> bool {
        holds(&self.state, index, term)
    }

    /// Term and index of the last entry.
    pub(crate) fn last(&self) -> (Term, Index) {
        let (covered, covered_term) = self.state.last_included;
        let term = self.state.log.last().map_or(covered_term, |entry| entry.term);
        (term, covered + self.state.log.len())
    }

    /// Takes over what was saved. The first `kept` entries of its log are those that were there before.
    fn update(&mut self, state: &PersistentState, kept: usize, snapshot: Option<&Bytes>) {
        let known = &mut self.state;
        known.current_term = state.current_term;
        known.voted_for = state.voted_for;
        if kept == 0 {
            known.log.clear();
        } else {
            known.log.drain(..state.last_included.0 - known.last_included.0);
            known.log.truncate(kept);
        }
        known.log.extend_from_slice(&state.log[kept..]);
        known.last_included = state.last_included;
        if let Some(snapshot) = snapshot {
            self.snapshot = snapshot.clone();
        }
    }
}

/// True when a state holds this entry, in its log or under its snapshot.
pub(crate) fn holds(state: &PersistentState, index: Index, term: Term) -> bool {
    index <= state.last_included.0 || term_at(state, index) == Some(term)
}

/// The term of an entry in a state's log; `None` past its end and under its snapshot.
fn term_at(state: &PersistentState, index: Index) -> Option<Term> {
    let place = index.checked_sub(state.last_included.0 + 1)?;
    state.log.get(place).map(|entry| entry.term)
}

/// Index and term of the last entry that AppendEntries carries, or of the one before it when it is empty.
pub(crate) fn end_of(args: &AppendEntriesArgs) -> (Index, Term) {
    let term = args.entries.last().map_or(args.prev_log_term, |entry| entry.term);
    (args.prev_log_index.saturating_add(args.entries.len()), term)
}

impl Facts {
    pub(crate) fn new(servers: usize, scope: Scope, is_readable: bool) -> Facts {
        Facts {
            servers,
            scope,
            is_readable,
            book: LogBook::default(),
            ledger: Ledger::new(servers),
            disks: vec![DiskImage::default(); servers],
            heard: vec![0; servers],
            matched: BTreeMap::new(),
            latest_leader: None,
        }
    }

    /// True when every snapshot is seen before it can reach another server. A tested service passes its own to a
    /// server unseen, and a server that writes behind may send it on, unsaved, in messages of its own.
    pub(crate) fn knows_snapshots(&self) -> bool {
        self.is_readable || self.scope < Scope::Service
    }

    /// True once a leader of a later term has spoken to the server: only then may a correct one give up
    /// what it accepted in `term`.
    pub(crate) fn has_lapsed(&self, server: ServerId, term: Term) -> bool {
        self.heard[server] > term
    }

    /// True when a positive answer to `args` binds the server: it stands for entries that the leader is
    /// about to commit, in the leader's own term.
    pub(crate) fn binds(&self, server: ServerId, args: &AppendEntriesArgs) -> bool {
        let (index, term) = end_of(args);
        !args.entries.is_empty()
            && term == args.term
            && !self.has_lapsed(server, term)
            && !self.ledger.holds(index, term)
    }

    /// Makes `seen` one of the facts.
    pub(crate) fn see(&mut self, seen: &Seen<'_>) -> Result<(), Finding> {
        if self.scope < Scope::Logs {
            return Ok(());
        }
        if !self.is_readable {
            return self.see_blind(seen);
        }
        match *seen {
            Seen::RequestLeft { from, request: Request::Snapshot(args) } => {
                self.book.note_leader(args.term, from.server)
            }
            Seen::RequestLeft { from, request: Request::Append(args) } => {
                self.entries_left(from, args)?;
                self.judge_leaders_commit(from.server, args)
            }
            Seen::RequestDelivered { to, request, .. } if request.is_leaders() => {
                let heard = &mut self.heard[to.server];
                *heard = request.term().max(*heard);
                Ok(())
            }
            Seen::ReplyLeft { from, request: Request::Append(args), reply: Reply::Append(reply), .. }
                if reply.success =>
            {
                self.entries_accepted(from.server, args)
            }
            Seen::Started { of, started, command } => {
                let entry = Entry { term: started.term, command: command.clone() };
                self.book.learn_started(of.server, started.index, &entry)?;
                if self.scope < Scope::Disk {
                    // Nobody saves anything yet: a leader has accepted what it has appended.
                    return self.accept(of.server, started.index, started.term);
                }
                Ok(())
            }
            Seen::Applied { by, message: ApplyMsg::Command { index, command } } => {
                self.judge_applied(by.server, *index, command)
            }
            Seen::Saved { by, state, kept, snapshot } if self.scope >= Scope::Disk => {
                self.saved(by.server, state, kept, snapshot)
            }
            _ => Ok(()),
        }
    }

    /// What counts when the servers have messages of their own: what `start` returned, and on which index
    /// a life begins.
    fn see_blind(&mut self, seen: &Seen<'_>) -> Result<(), Finding> {
        match *seen {
            Seen::Started { of, started, command } => {
                let entry = Entry { term: started.term, command: command.clone() };
                self.book.learn_started(of.server, started.index, &entry)
            }
            Seen::Saved { by, state, kept, snapshot } if self.scope >= Scope::Disk => {
                self.disks[by.server].update(state, kept, snapshot);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn entries_left(&mut self, from: Life, args: &AppendEntriesArgs) -> Result<(), Finding> {
        self.latest_leader = self.latest_leader.max(Some((args.term, from.server)));
        self.book.note_leader(args.term, from.server)?;
        self.book.learn(from.server, (args.prev_log_index, args.prev_log_term), &args.entries)?;
        let (index, term) = end_of(args);
        if self.scope < Scope::Disk && term == args.term {
            // The message may leave before `start` returns.
            self.accept(from.server, index, term)?;
        }
        Ok(())
    }

    fn entries_accepted(&mut self, server: ServerId, args: &AppendEntriesArgs) -> Result<(), Finding> {
        let (index, term) = end_of(args);
        let ends = self.matched.entry(args.term).or_insert_with(|| vec![(0, 0); self.servers]);
        ends[server] = ends[server].max((index, term));
        if term != args.term {
            return Ok(());
        }
        let is_stored =
            self.disks[server].state.current_term >= term && self.disks[server].holds(index, term);
        let is_past =
            self.has_lapsed(server, term) && !args.entries.is_empty() && !self.ledger.holds(index, term);
        if self.scope < Scope::Disk || is_stored || is_past {
            return self.accept(server, index, term);
        }
        Ok(())
    }

    fn saved(
        &mut self,
        server: ServerId,
        state: &PersistentState,
        kept: usize,
        snapshot: Option<&Bytes>,
    ) -> Result<(), Finding> {
        self.disks[server].update(state, kept, snapshot);
        let (covered, covered_term) = state.last_included;
        let previous = match kept.checked_sub(1) {
            Some(last) => (covered + kept, state.log[last].term),
            None => (covered, covered_term),
        };
        self.book.learn(server, previous, &state.log[kept..])?;
        let (term, index) = self.disks[server].last();
        if term == state.current_term && index > 0 {
            return self.accept(server, index, term);
        }
        Ok(())
    }

    fn accept(&mut self, server: ServerId, index: Index, term: Term) -> Result<(), Finding> {
        self.ledger.accept(&self.book, server, index, term)
    }

    /// Tries to justify a commit of everything up to `index` by the fact that *all* servers have stored it,
    /// which is safe whatever the terms are (Raft 5.4.2), and enters it.
    pub(crate) fn commit_what_all_have(&mut self, index: Index) -> Result<bool, Finding> {
        if self.scope >= Scope::Disk {
            for index in self.ledger.last() + 1..=index {
                let terms: Vec<Option<Term>> =
                    self.disks.iter().map(|disk| term_at(&disk.state, index)).collect();
                let Some(term) = terms[0].filter(|_| terms.iter().all(|term| *term == terms[0])) else {
                    return Ok(false);
                };
                if !self.ledger.enter(&self.book, index, term, None)? {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        let by_all = |ends: &Vec<(Index, Term)>| {
            let mut others: Vec<(Index, Term)> = ends.clone();
            // One of them is the leader, which does not answer itself.
            others.sort_unstable();
            others.get(1).copied().filter(|&(last, _)| last >= index)
        };
        let found = self.matched.values().find_map(by_all);
        match found {
            Some((last, term)) => self.ledger.enter(&self.book, last, term, None),
            None => Ok(false),
        }
    }

    /// The term of an entry in the log on a server's disk, where disks count.
    pub(crate) fn term_on_disk(&self, server: ServerId, index: Index) -> Option<Term> {
        let disk = self.disks.get(server).filter(|_| self.scope >= Scope::Disk)?;
        term_at(&disk.state, index)
    }

    /// The servers that are known to store an entry: on disk, or, while disks do not count, by what they
    /// have answered.
    pub(crate) fn holders(&self, index: Index, term: Term) -> Vec<ServerId> {
        let stores = |server: &ServerId| {
            if self.scope >= Scope::Disk {
                self.disks[*server].holds(index, term)
            } else {
                self.matched.values().any(|ends| ends[*server].0 >= index)
            }
        };
        (0..self.servers).filter(stores).collect()
    }
}
