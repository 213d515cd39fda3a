//! Every leader's log holds all that was committed in earlier terms (Raft 5.4, Leader Completeness).
//!
//! Kit-owned. Judged when a leader first speaks, before it can overwrite anything, and again when it
//! turns out later that something had been committed in an earlier term.

use std::collections::BTreeMap;

use labraft::{Index, PersistentState, ServerId, Term};

use super::facts::{Facts, holds};
use super::ledger::Committed;
use super::{Check, Request, Scope, Seen};
use crate::finding::Finding;

#[derive(Default)]
pub(super) struct LeaderCompleteness {
    /// What each term's leader had when it first spoke.
    leaders: BTreeMap<Term, Leader>,
    /// The last entry that a candidate has claimed to have, as term and index.
    claims: BTreeMap<(Term, ServerId), (Term, Index)>,
    /// How much of the ledger has been held against the leaders.
    judged: Index,
}

struct Leader {
    server: ServerId,
    log: Log,
}

/// What is known of a leader's log.
enum Log {
    /// All of it.
    Saved(PersistentState),
    /// Term and index of its last entry.
    Last(Term, Index),
}

impl Leader {
    fn has(&self, index: Index, term: Term) -> bool {
        match &self.log {
            Log::Saved(state) => holds(state, index, term),
            Log::Last(last_term, last_index) => (*last_term, *last_index) >= (term, index),
        }
    }

    fn judge(&self, leads: Term, facts: &Facts, entries: impl Iterator<Item = Index>) -> Result<(), Finding> {
        for index in entries {
            let Some(committed) = facts.ledger.at(index) else { continue };
            if committed.in_term.is_some_and(|in_term| in_term < leads) && !self.has(index, committed.term) {
                let by = match self.log {
                    Log::Saved(_) => String::new(),
                    Log::Last(last_term, last_index) => {
                        format!(
                            ": it asked for votes with entry {last_index} of term {last_term} as its last"
                        )
                    }
                };
                return Err(incomplete(self.server, leads, index, &committed, &by));
            }
        }
        Ok(())
    }
}

impl LeaderCompleteness {
    fn first_word(&mut self, leader: ServerId, term: Term, facts: &Facts) -> Result<(), Finding> {
        if self.leaders.contains_key(&term) {
            return Ok(());
        }
        let log = if facts.scope >= Scope::Disk {
            Log::Saved(facts.disks[leader].state.clone())
        } else {
            let (last_term, last_index) = self.claims.get(&(term, leader)).copied().unwrap_or((Term::MAX, 0));
            Log::Last(last_term, last_index)
        };
        let leader = Leader { server: leader, log };
        leader.judge(term, facts, 1..=facts.ledger.last())?;
        self.leaders.insert(term, leader);
        Ok(())
    }
}

impl Check for LeaderCompleteness {
    fn see(&mut self, seen: &Seen<'_>, facts: &Facts) -> Result<(), Finding> {
        let Seen::RequestLeft { from, request } = *seen else { return Ok(()) };
        if let Request::Vote(args) = request {
            self.claims.insert((args.term, from.server), (args.last_log_term, args.last_log_index));
            return Ok(());
        }
        self.first_word(from.server, request.term(), facts)?;
        let Request::Append(args) = request else { return Ok(()) };
        if facts.scope >= Scope::Disk {
            return Ok(());
        }
        let shown = (args.prev_log_index + 1..).zip(args.entries.iter().map(|entry| entry.term));
        for (index, term) in std::iter::once((args.prev_log_index, args.prev_log_term)).chain(shown) {
            if let Some(committed) = facts.ledger.at(index)
                && committed.term != term
                && committed.in_term.is_some_and(|in_term| in_term < args.term)
            {
                let by = format!(": by what it sends, it has one of term {term} there");
                return Err(incomplete(from.server, args.term, index, &committed, &by));
            }
        }
        Ok(())
    }

    fn after_commit(&mut self, facts: &Facts) -> Result<(), Finding> {
        let new = self.judged + 1..=facts.ledger.last();
        self.judged = facts.ledger.last();
        self.leaders.iter().try_for_each(|(&term, leader)| leader.judge(term, facts, new.clone()))
    }
}

/// What `leader` lacks, and `by` what it is known.
fn incomplete(leader: ServerId, leads: Term, index: Index, committed: &Committed, by: &str) -> Finding {
    let term = committed.term;
    let in_term = committed.in_term.unwrap_or(term);
    Finding::safety(
        "the log of every leader holds all entries committed in earlier terms (Raft 5.4, Leader Completeness)",
        format!(
            "S{leader}, leading term {leads}, has entry {index} of term {term}, which was committed in term {in_term}"
        ),
        format!("S{leader} leads term {leads} without committed entry {index} of term {term}{by}"),
    )
}
