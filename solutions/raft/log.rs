//! The log, and the indexes into it (Raft 5.3; 7 for the part that a snapshot has replaced).
//!
//! Staff-owned. Indexes count from 1 and never change; `log[0]` is the first entry that the snapshot does
//! not cover. Nobody outside this file turns an index into a place in the vector.

use super::{Entry, Index, PersistentState, Term};
use crate::ConflictHint;

impl PersistentState {
    /// The index of the last entry, be it in the log or under the snapshot; 0 without one.
    pub(super) fn last_index(&self) -> Index {
        self.last_included.0 + self.log.len()
    }

    /// The term of the last entry; 0 without one.
    pub(super) fn last_term(&self) -> Term {
        self.log.last().map_or(self.last_included.1, |entry| entry.term)
    }

    /// The term of the entry at `index`; `None` past the end of the log and where the snapshot hides it.
    /// The snapshot's own last entry is known, and so is the beginning of an empty log: (0, 0).
    pub(super) fn term_at(&self, index: Index) -> Option<Term> {
        if index == self.last_included.0 {
            return Some(self.last_included.1);
        }
        (index > self.last_included.0).then(|| self.log.get(self.place(index)))?.map(|entry| entry.term)
    }

    /// The entries from `index` on, which the snapshot must not cover.
    pub(super) fn entries_from(&self, index: Index) -> &[Entry] {
        &self.log[self.place(index)..]
    }

    /// True if the log matches a leader's at (`index`, `term`). What the snapshot covers is committed, so
    /// it matches every leader's.
    pub(super) fn matches(&self, index: Index, term: Term) -> bool {
        index < self.last_included.0 || self.term_at(index) == Some(term)
    }

    /// What to tell a leader whose log does not match at `index`: where it may go on searching.
    pub(super) fn conflict_at(&self, index: Index) -> ConflictHint {
        match self.term_at(index) {
            None => ConflictHint { term: None, index: self.last_index() + 1 },
            Some(term) => {
                let of_term = self.log.partition_point(|entry| entry.term < term);
                ConflictHint { term: Some(term), index: self.last_included.0 + 1 + of_term }
            }
        }
    }

    /// The last index of `term` in the log, if there is any.
    pub(super) fn last_index_of(&self, term: Term) -> Option<Index> {
        let up_to_term = self.log.partition_point(|entry| entry.term <= term);
        let index = self.last_included.0 + up_to_term;
        (self.term_at(index) == Some(term)).then_some(index)
    }

    /// The first of `entries`, which follow `prev`, that the log lacks or has otherwise. Entries under
    /// the snapshot are not lacking.
    pub(super) fn first_new(&self, prev: Index, entries: &[Entry]) -> Option<usize> {
        let covered = self.last_included.0.saturating_sub(prev);
        (covered..entries.len()).find(|&place| self.term_at(prev + 1 + place) != Some(entries[place].term))
    }

    /// Deletes what is in the log from `index` on and puts `entries` there.
    pub(super) fn replace_from(&mut self, index: Index, entries: &[Entry]) {
        let place = self.place(index);
        self.log.truncate(place);
        self.log.extend_from_slice(entries);
    }

    /// Drops the log up to `index`, whose entry is of `term`, as a snapshot covers it now. When the log
    /// has no such entry, nothing in it is worth keeping.
    pub(super) fn discard_through(&mut self, index: Index, term: Term) {
        if self.term_at(index) == Some(term) {
            self.log.drain(..self.place(index + 1));
        } else {
            self.log.clear();
        }
        self.last_included = (index, term);
    }

    fn place(&self, index: Index) -> usize {
        index - self.last_included.0 - 1
    }
}
