//! The log: entries with and without a command, and how places in it and the service's indexes go together.
//!
//! Staff-owned. Each item knows how many commands there are up to it, so the index that the service knows is
//! at hand wherever the item is. On disk the first record says at which place the log begins, as the contract
//! has `last_included` count as the service does.

use labrpc::codec::{decode, encode};
use serde::{Deserialize, Serialize};

use crate::{Bytes, Command, Entry, Index, PersistentState, Term};

/// A place in the log, from 1. Unlike the service's index it counts entries without a command too.
pub(super) type Place = usize;

/// A place together with its term.
pub(super) type Position = (Place, Term);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Item {
    pub(super) term: Term,
    /// How many commands there are up to here.
    pub(super) index: Index,
    pub(super) command: Option<Command>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    /// The last place under the snapshot, its term, and the service's index there.
    pub(super) base: Position,
    pub(super) base_index: Index,
    pub(super) items: Vec<Item>,
}

impl Log {
    pub(super) fn load(state: &PersistentState) -> Log {
        let (base_index, base_term) = state.last_included;
        let Some((first, rest)) = state.log.split_first() else { return Log::default() };
        let base: Place = decode(&first.command.0).expect("it was saved so");
        let item = |entry: &Entry| decode(&entry.command.0).expect("it was saved so");
        Log { base: (base, base_term), base_index, items: rest.iter().map(item).collect() }
    }

    /// The log as it is saved, and what it says of the snapshot.
    pub(super) fn to_save(&self) -> (Vec<Entry>, (Index, Term)) {
        let entry = |term, bytes: Vec<u8>| Entry { term, command: Command(bytes.into()) };
        let first = entry(self.base.1, encode(&self.base.0));
        let rest = self.items.iter().map(|item| entry(item.term, encode(item)));
        ([first].into_iter().chain(rest).collect(), (self.base_index, self.base.1))
    }

    pub(super) fn last(&self) -> Position {
        (self.base.0 + self.items.len(), self.items.last().map_or(self.base.1, |item| item.term))
    }

    /// How many commands there are up to a place.
    pub(super) fn index_at(&self, place: Place) -> Index {
        match place.checked_sub(self.base.0 + 1) {
            Some(item) => self.items[item].index,
            None => self.base_index,
        }
    }

    /// The term at a place, where it is in the log or the last under the snapshot.
    pub(super) fn term_at(&self, place: Place) -> Option<Term> {
        match place.checked_sub(self.base.0)? {
            0 => Some(self.base.1),
            item => self.items.get(item - 1).map(|item| item.term),
        }
    }

    /// What comes after a place, or after the snapshot if that is later.
    pub(super) fn after(&self, place: Place) -> &[Item] {
        &self.items[place.max(self.base.0) - self.base.0..]
    }

    pub(super) fn push(&mut self, term: Term, command: Option<Command>) -> Index {
        let index = self.index_at(self.last().0) + usize::from(command.is_some());
        self.items.push(Item { term, index, command });
        index
    }

    /// Drops everything from a place on.
    pub(super) fn truncate(&mut self, place: Place) {
        self.items.truncate(place - self.base.0 - 1);
    }

    /// The place of the command with this index, if it is in the log.
    pub(super) fn place_of(&self, index: Index) -> Option<Place> {
        let item = self.items.iter().position(|item| item.index == index && item.command.is_some())?;
        Some(self.base.0 + 1 + item)
    }

    /// Begins after `base`, up to which there are `index` commands. What follows stays if it is known to.
    pub(super) fn cover(&mut self, base: Position, index: Index) {
        if self.term_at(base.0) == Some(base.1) {
            self.items.drain(..base.0 - self.base.0);
        } else {
            self.items.clear();
        }
        (self.base, self.base_index) = (base, index);
    }
}

/// A snapshot, and where it belongs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Snapshot {
    pub(super) base: Position,
    pub(super) index: Index,
    pub(super) bytes: Bytes,
}
