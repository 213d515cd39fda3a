//! The log: what a server asks of it and does to it, as leader and as follower.
//!
//! Staff-owned; a part of `../raft.rs`.

use crate::{ConflictHint, Entry, Index, PersistentState, Term};

/// `log[0]` has the index after that of the snapshot, which is called the base here.
impl PersistentState {
    pub(super) fn base(&self) -> Index {
        self.last_included.0
    }

    pub(super) fn last_index(&self) -> Index {
        self.base() + self.log.len()
    }

    pub(super) fn last_term(&self) -> Term {
        self.log.last().map_or(self.last_included.1, |entry| entry.term)
    }

    /// The term of the entry at `index`; `None` where that is covered by the snapshot or not there yet.
    pub(super) fn term_at(&self, index: Index) -> Option<Term> {
        if index == self.base() {
            Some(self.last_included.1)
        } else {
            self.entry(index).map(|entry| entry.term)
        }
    }

    pub(super) fn entry(&self, index: Index) -> Option<&Entry> {
        self.log.get(index.checked_sub(self.base() + 1)?)
    }

    /// At most `limit` entries from the one after `prev` on, which is not before the base.
    pub(super) fn entries_after(&self, prev: Index, limit: usize) -> Vec<Entry> {
        self.log[prev - self.base()..].iter().take(limit).cloned().collect()
    }

    /// Where this log begins to differ from that of a leader with a `prev_term` at `prev`, if it does there.
    pub(super) fn conflict(&self, prev: Index, prev_term: Term) -> Option<ConflictHint> {
        match self.term_at(prev) {
            // What a snapshot covers is committed, so the leader has the same.
            _ if prev <= self.base() => None,
            Some(term) if term == prev_term => None,
            Some(term) => {
                Some(ConflictHint { term: Some(term), index: self.first_index_of(term).unwrap_or(prev) })
            }
            None => Some(ConflictHint { term: None, index: self.last_index() + 1 }),
        }
    }

    /// From where on a leader sends when a follower refused what comes after `prev`: back before the whole
    /// term in which the follower's log differs, as far as that is known.
    pub(super) fn back_up(&self, prev: Index, hint: Option<ConflictHint>) -> Index {
        match hint {
            Some(ConflictHint { term: None, index }) => index,
            Some(ConflictHint { term: Some(term), index }) => {
                let shared = self.indexes().rfind(|&mine| mine < prev && self.term_at(mine) == Some(term));
                shared.map_or(index, |shared| shared + 1)
            }
            None => self.term_at(prev).and_then(|term| self.first_index_of(term)).unwrap_or(prev),
        }
    }

    /// Stores what comes after `prev`, up to which the logs agree. Returns whether that changed anything.
    pub(super) fn store(&mut self, prev: Index, entries: Vec<Entry>) -> bool {
        let mut changed = false;
        for (index, entry) in (prev + 1..).zip(entries) {
            // An entry that is there already proves nothing against those after it.
            if index > self.base() && self.term_at(index) != Some(entry.term) {
                self.log.truncate(index - self.base() - 1);
                self.log.push(entry);
                changed = true;
            }
        }
        changed
    }

    /// Drops the log up to `index`, an entry of it, in favour of a snapshot.
    pub(super) fn compact(&mut self, index: Index) {
        let covered = self.log.drain(..index - self.last_included.0);
        self.last_included = (index, covered.last().expect("it covers an entry").term);
    }

    fn first_index_of(&self, term: Term) -> Option<Index> {
        self.indexes().find(|&index| self.term_at(index) == Some(term))
    }

    fn indexes(&self) -> impl DoubleEndedIterator<Item = Index> + use<> {
        self.base() + 1..self.last_index() + 1
    }
}
