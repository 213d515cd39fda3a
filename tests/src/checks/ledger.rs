//! What is committed, and by whom (Raft 5.3, 5.4.2).
//!
//! Kit-owned. A leader commits an entry when a majority of servers has accepted it, or a later entry,
//! *in the leader's own term*; with it, all entries before it. That servers happen to store an entry of an
//! earlier term is not enough, which is what Figure 8 of the paper is about. The ledger is history: what
//! has been committed stays so, whatever becomes of the servers.

use std::collections::BTreeMap;

use labraft::{Index, ServerId, Term};

use super::log_book::LogBook;
use super::majority;
use crate::finding::Finding;

/// An entry that is committed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Committed {
    /// The term of the entry.
    pub(crate) term: Term,
    /// The term in which a majority accepted it; `None` when all servers stored it without that.
    pub(crate) in_term: Option<Term>,
}

/// All entries that are committed, from index 1 on without a gap.
#[derive(Debug)]
pub(crate) struct Ledger {
    entries: Vec<Committed>,
    /// For each term, the last entry that each server has accepted in it.
    accepted: BTreeMap<Term, Vec<Index>>,
    /// The last entry that a majority has accepted in each term.
    committed_in: BTreeMap<Term, Index>,
    /// For each server, the last committed entry among those it has accepted in its term.
    kept: Vec<Index>,
}

impl Ledger {
    pub(crate) fn new(servers: usize) -> Ledger {
        Ledger {
            entries: Vec::new(),
            accepted: BTreeMap::new(),
            committed_in: BTreeMap::new(),
            kept: vec![0; servers],
        }
    }

    /// The last committed index.
    pub(crate) fn last(&self) -> Index {
        self.entries.len()
    }

    /// What is committed at `index`.
    pub(crate) fn at(&self, index: Index) -> Option<Committed> {
        self.entries.get(index.checked_sub(1)?).copied()
    }

    /// True when exactly this entry is committed.
    pub(crate) fn holds(&self, index: Index, term: Term) -> bool {
        self.at(index).is_some_and(|committed| committed.term == term)
    }

    /// The last committed entry that `server` has accepted in the term in which it was committed. It must
    /// never lose that any more.
    pub(crate) fn kept_by(&self, server: ServerId) -> Index {
        self.kept[server]
    }

    /// The servers that have accepted entry `index` or a later one in `term`.
    pub(crate) fn accepted_in(&self, term: Term, index: Index) -> Vec<ServerId> {
        let lasts = self.accepted.get(&term).map_or(&[][..], Vec::as_slice);
        (0..lasts.len()).filter(|server| lasts[*server] >= index).collect()
    }

    /// `server` has accepted entry `index` of `term` in that term.
    pub(crate) fn accept(
        &mut self,
        book: &LogBook,
        server: ServerId,
        index: Index,
        term: Term,
    ) -> Result<(), Finding> {
        let servers = self.kept.len();
        let lasts = self.accepted.entry(term).or_insert_with(|| vec![0; servers]);
        if lasts[server] >= index {
            return Ok(());
        }
        lasts[server] = index;
        let has_majority =
            |last: &&Index| lasts.iter().filter(|other| other >= last).count() >= majority(servers);
        let by_majority = lasts.iter().filter(has_majority).max().copied().unwrap_or(0);
        let committed = self.committed_in.get(&term).copied().unwrap_or(0);
        if by_majority > committed && self.enter(book, by_majority, term, Some(term))? {
            self.committed_in.insert(term, by_majority);
            for (kept, last) in self.kept.iter_mut().zip(&self.accepted[&term]) {
                *kept = by_majority.min(*last).max(*kept);
            }
        } else {
            self.kept[server] = self.kept[server].max(index.min(committed));
        }
        Ok(())
    }

    /// Enters entry `index` of `term` and all before it. False while it is not known what they are.
    pub(crate) fn enter(
        &mut self,
        book: &LogBook,
        index: Index,
        term: Term,
        in_term: Option<Term>,
    ) -> Result<bool, Finding> {
        let mut chain = Vec::new();
        let (mut index, mut term) = (index, term);
        while index > 0 {
            match self.at(index) {
                Some(committed) if committed.term == term => break,
                Some(committed) => return Err(committed_twice(index, committed, term)),
                None => chain.push(Committed { term, in_term }),
            }
            let Some(before) = book.predecessor(index, term) else { return Ok(false) };
            index -= 1;
            term = before;
        }
        self.entries.extend(chain.into_iter().rev());
        Ok(true)
    }
}

fn committed_twice(index: Index, committed: Committed, term: Term) -> Finding {
    let how = match committed.in_term {
        Some(in_term) => format!("a majority had accepted it in term {in_term}"),
        None => "all servers had stored it".into(),
    };
    Finding::safety(
        "what is committed stays in the log of every later leader (Raft 5.4, Leader Completeness)",
        format!("entry {index} of term {} stays: {how}", committed.term),
        format!("a majority has now accepted a log with another entry {index}, of term {term}"),
    )
}
