//! What a server has promised is on its disk when the answer leaves, and stays there (Raft 5, Figure 2:
//! "updated on stable storage before responding to RPCs").
//!
//! Kit-owned. Only answers count, never the state in between: one save may cover several handlers, and an
//! answer may be given from what was stored long ago. A vote binds for ever. Stored entries bind until a
//! leader of a later term has spoken, and for ever once they are committed.

use std::collections::BTreeMap;

use labraft::{AppendEntriesArgs, Index, PersistentState, ServerId, Term};

use super::facts::{Facts, holds};
use super::{Check, Life, Reply, Request, Scope, Seen};
use crate::finding::Finding;

const ON_DISK: &str =
    "a server answers only when what it answers is on disk (Raft Figure 2, persistent state)";

/// Votes and stored entries are saved before the answer leaves, and by every later save.
#[derive(Default)]
pub(super) struct PromisesSaved {
    /// For each server, its vote in the latest term in which it gave one to another.
    votes: BTreeMap<ServerId, (Term, ServerId)>,
    /// For each server, the last entry it has said to have stored, with the term that binds it.
    stored: BTreeMap<ServerId, (Term, Index)>,
}

impl PromisesSaved {
    fn judge_vote(
        server: ServerId,
        state: &PersistentState,
        vote: (Term, ServerId),
        when: &str,
    ) -> Result<(), Finding> {
        let (term, candidate) = vote;
        let holds =
            state.current_term > term || (state.current_term == term && state.voted_for == Some(candidate));
        if holds {
            return Ok(());
        }
        let has = match state.voted_for {
            Some(other) => format!("a vote for S{other}"),
            None => "no vote".into(),
        };
        Err(Finding::safety(
            ON_DISK,
            format!("S{server}'s vote for S{candidate} in term {term} is on its disk"),
            format!(
                "S{server} voted for S{candidate} in term {term}, but {when} its disk has term {} and {has}",
                state.current_term
            ),
        ))
    }

    fn judge_entries(server: ServerId, facts: &Facts, args: &AppendEntriesArgs) -> Result<(), Finding> {
        let disk = &facts.disks[server];
        let missing = |what: String| {
            Err(Finding::safety(
                ON_DISK,
                format!("{what} is on S{server}'s disk, as it says that it has stored the entries"),
                format!(
                    "S{server} answered success to AppendEntries of term {} up to entry {}, but its disk has {:?}",
                    args.term,
                    args.prev_log_index + args.entries.len(),
                    disk.state
                ),
            ))
        };
        if disk.state.current_term < args.term {
            return missing(format!("term {}", args.term));
        }
        if args.prev_log_index > 0 && !disk.holds(args.prev_log_index, args.prev_log_term) {
            return missing(format!("entry {} of term {}", args.prev_log_index, args.prev_log_term));
        }
        let mut carried = (args.prev_log_index + 1..).zip(&args.entries);
        match carried.find(|(index, entry)| !disk.holds(*index, entry.term)) {
            Some((index, entry)) => missing(format!("entry {index} of term {}", entry.term)),
            None => Ok(()),
        }
    }

    fn judge_save(&self, server: ServerId, state: &PersistentState, facts: &Facts) -> Result<(), Finding> {
        if let Some(&vote) = self.votes.get(&server) {
            Self::judge_vote(server, state, vote, "now")?;
        }
        if let Some(&(term, index)) = self.stored.get(&server)
            && !facts.has_lapsed(server, term)
            && !(state.current_term >= term && holds(state, index, term))
        {
            return Err(lost(server, index, term, state, "it had answered that it was stored"));
        }
        let kept = facts.ledger.kept_by(server);
        if let Some(committed) = facts.ledger.at(kept)
            && !holds(state, kept, committed.term)
        {
            return Err(lost(
                server,
                kept,
                committed.term,
                state,
                "it is committed, with this server's copy",
            ));
        }
        Ok(())
    }
}

fn lost(server: ServerId, index: Index, term: Term, state: &PersistentState, why: &str) -> Finding {
    Finding::safety(
        "a server keeps what it has answered to have stored (Raft 5.3, 5.4, Figure 2)",
        format!("entry {index} of term {term} stays on S{server}'s disk: {why}"),
        format!("S{server} saved a state without entry {index} of term {term}: {state:?}"),
    )
}

impl Check for PromisesSaved {
    fn see(&mut self, seen: &Seen<'_>, facts: &Facts) -> Result<(), Finding> {
        match *seen {
            Seen::ReplyLeft { from, asker, request, reply, .. } if reply.grants_vote() => {
                let (server, vote) = (from.server, (request.term(), asker));
                Self::judge_vote(server, &facts.disks[server].state, vote, "when the vote left")?;
                let latest = self.votes.entry(server).or_insert(vote);
                if vote.0 > latest.0 {
                    *latest = vote;
                }
                Ok(())
            }
            Seen::ReplyLeft { from, request: Request::Append(args), reply: Reply::Append(reply), .. }
                if reply.success && facts.binds(from.server, args) =>
            {
                Self::judge_entries(from.server, facts, args)?;
                let promise = (args.term, args.prev_log_index + args.entries.len());
                let latest = self.stored.entry(from.server).or_insert(promise);
                *latest = promise.max(*latest);
                Ok(())
            }
            Seen::Saved { by, state, .. } => self.judge_save(by.server, state, facts),
            _ => Ok(()),
        }
    }
}

/// Whoever answers that its log matched at `prev_log_index` has that entry (Raft 5.3): on disk since the
/// request arrived, or because a leader's message brought it, or because it sent or started it itself.
#[derive(Default)]
pub(super) struct TrueMatch {
    /// The deliveries of AppendEntries that are not answered yet.
    asked: Vec<Asked>,
    /// For each life, the entries it has got or sent, as terms by index.
    carried: BTreeMap<Life, Vec<Vec<Term>>>,
    /// For each life, the last index of a snapshot that was sent to it.
    covered: BTreeMap<Life, Index>,
}

struct Asked {
    delivery: u64,
    to: Life,
    /// What comes before the entries.
    previous: (Index, Term),
    /// The disk has had that since.
    on_disk: bool,
}

impl TrueMatch {
    /// The life has got or sent entries of these terms, the first of them at `index`.
    fn carry(&mut self, life: Life, index: Index, terms: impl ExactSizeIterator<Item = Term>) {
        if terms.len() == 0 {
            return;
        }
        let carried = self.carried.entry(life).or_default();
        let end = index - 1 + terms.len();
        if carried.len() < end {
            carried.resize_with(end, Vec::new);
        }
        for (here, term) in carried[index - 1..end].iter_mut().zip(terms) {
            if !here.contains(&term) {
                here.push(term);
            }
        }
    }

    fn carry_all(&mut self, life: Life, args: &AppendEntriesArgs) {
        self.carry(life, args.prev_log_index + 1, args.entries.iter().map(|entry| entry.term));
    }

    fn has_carried(&self, life: Life, (index, term): (Index, Term)) -> bool {
        let of_index = self.carried.get(&life).and_then(|carried| carried.get(index - 1));
        of_index.is_some_and(|terms| terms.contains(&term))
    }
}

impl Check for TrueMatch {
    fn see(&mut self, seen: &Seen<'_>, facts: &Facts) -> Result<(), Finding> {
        match *seen {
            Seen::RequestLeft { from, request: Request::Append(args) } => self.carry_all(from, args),
            Seen::Started { of, started, .. } => {
                self.carry(of, started.index, [started.term].into_iter());
            }
            Seen::RequestDelivered { to, request: Request::Append(args), delivery } => {
                self.carry_all(to, args);
                let previous = (args.prev_log_index, args.prev_log_term);
                let on_disk =
                    facts.scope >= Scope::Disk && facts.disks[to.server].holds(previous.0, previous.1);
                if previous.0 > 0 {
                    self.asked.push(Asked { delivery, to, previous, on_disk });
                }
            }
            Seen::RequestDelivered { to, request: Request::Snapshot(args), .. } => {
                let covered = self.covered.entry(to).or_default();
                *covered = args.last_included_index.max(*covered);
            }
            Seen::Saved { by, state, .. } if facts.scope >= Scope::Disk => {
                for asked in self.asked.iter_mut().filter(|asked| asked.to == by) {
                    asked.on_disk |= holds(state, asked.previous.0, asked.previous.1);
                }
            }
            Seen::Crashed { life } => self.asked.retain(|asked| asked.to != life),
            Seen::ReplyLeft { from, request: Request::Append(args), reply, delivery, .. } => {
                let Some(place) = self.asked.iter().position(|asked| asked.delivery == delivery) else {
                    return Ok(());
                };
                let Asked { previous, on_disk, .. } = self.asked.swap_remove(place);
                let is_true = !reply.is_positive()
                    || facts.has_lapsed(from.server, args.term)
                    || on_disk
                    || self.has_carried(from, previous)
                    || self.covered.get(&from).is_some_and(|&covered| covered >= previous.0);
                if !is_true {
                    let (server, (index, term)) = (from.server, previous);
                    return Err(Finding::safety(
                        "a server accepts entries only after one that it has (Raft 5.3, AppendEntries consistency check)",
                        format!("S{server} refuses, as it has no entry {index} of term {term}"),
                        format!(
                            "S{server} answered success to AppendEntries of term {} after entry {index} of term {term}",
                            args.term
                        ),
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
