//! Every entry that anyone has shown, and what came before it (Raft 5.3, Log Matching).
//!
//! Kit-owned. Entries show themselves in AppendEntries, in saved logs, and as what `start` has returned.
//! A pair of index and term that comes without a command, as the one before the entries of a message
//! does, shows nothing about what stands before it, and stale leaders may well name pairs that are gone.

use std::collections::BTreeSet;

use labraft::{Command, Entry, Index, ServerId, Term};

use crate::finding::Finding;

/// What is known of an entry.
#[derive(Debug)]
struct Known {
    term: Term,
    command: Command,
    /// The term of the entry before it; `None` while only `start` has told of the entry.
    predecessor: Option<Term>,
    /// Who showed it first.
    by: ServerId,
}

/// All entries shown so far.
#[derive(Debug, Default)]
pub(crate) struct LogBook {
    /// Those of index i are at i - 1.
    known: Vec<Vec<Known>>,
    /// What `start` has returned.
    started: BTreeSet<(Index, Term)>,
}

impl LogBook {
    /// The command of an entry that was shown.
    pub(crate) fn command(&self, index: Index, term: Term) -> Option<&Command> {
        self.find(index, term).map(|known| &known.command)
    }

    /// The term of the entry before one that was shown in a log.
    pub(crate) fn predecessor(&self, index: Index, term: Term) -> Option<Term> {
        self.find(index, term).and_then(|known| known.predecessor)
    }

    /// The terms of the entries with this index and command.
    pub(crate) fn terms_of(&self, index: Index, command: &Command) -> Vec<Term> {
        let known = index.checked_sub(1).and_then(|place| self.known.get(place));
        known
            .into_iter()
            .flatten()
            .filter(|known| known.command == *command)
            .map(|known| known.term)
            .collect()
    }

    /// `by` shows `entries`, which follow the entry `previous`, in a message or a saved log.
    pub(crate) fn learn(
        &mut self,
        by: ServerId,
        previous: (Index, Term),
        entries: &[Entry],
    ) -> Result<(), Finding> {
        let (mut index, mut predecessor) = previous;
        if index == 0 {
            predecessor = 0;
        }
        for entry in entries {
            index += 1;
            if entry.term < predecessor {
                return Err(Finding::safety(
                    "terms never fall along a log (Raft 5.3)",
                    format!("entry {index} is of term {predecessor} or a later one"),
                    format!(
                        "S{by} has entry {} of term {predecessor} and entry {index} of term {}",
                        index - 1,
                        entry.term
                    ),
                ));
            }
            self.learn_one(by, index, entry, Some(predecessor))?;
            predecessor = entry.term;
        }
        Ok(())
    }

    /// `by`'s `start` has returned for this entry.
    pub(crate) fn learn_started(&mut self, by: ServerId, index: Index, entry: &Entry) -> Result<(), Finding> {
        if !self.started.insert((index, entry.term)) {
            return Err(untrue_start(
                format!("an index and term of its own for {:?}", entry.command),
                format!(
                    "S{by}'s `start` returned index {index} in term {} twice, for {:?} too",
                    entry.term, entry.command
                ),
            ));
        }
        if let Some(known) = self.find(index, entry.term)
            && known.command != entry.command
        {
            return Err(untrue_start(
                format!(
                    "entry {index} of term {} is {:?}, as S{by}'s `start` said",
                    entry.term, entry.command
                ),
                format!("entry {index} of term {} is {:?}", entry.term, known.command),
            ));
        }
        self.learn_one(by, index, entry, None)
    }

    fn learn_one(
        &mut self,
        by: ServerId,
        index: Index,
        entry: &Entry,
        predecessor: Option<Term>,
    ) -> Result<(), Finding> {
        if self.known.len() < index {
            self.known.resize_with(index, Vec::new);
        }
        let was_started = self.started.contains(&(index, entry.term));
        let here = &mut self.known[index - 1];
        let Some(known) = here.iter_mut().find(|known| known.term == entry.term) else {
            here.push(Known { term: entry.term, command: entry.command.clone(), predecessor, by });
            return Ok(());
        };
        if known.command != entry.command {
            let what = format!("entry {index} of term {}", entry.term);
            if was_started {
                return Err(untrue_start(
                    format!("{what} is {:?}, as `start` said", known.command),
                    format!("S{by} has {:?} as {what}", entry.command),
                ));
            }
            return Err(Finding::safety(
                LOG_MATCHING,
                format!("{what} is {:?} in every log, as in S{}'s", known.command, known.by),
                format!("S{by} has {:?} as {what}", entry.command),
            ));
        }
        match (known.predecessor, predecessor) {
            (None, _) => known.predecessor = predecessor,
            (Some(first), Some(second)) if first != second => {
                let (term, other, before) = (entry.term, known.by, index - 1);
                return Err(Finding::safety(
                    LOG_MATCHING,
                    format!(
                        "logs that have entry {index} of term {term} have the same entry {before} before it"
                    ),
                    format!("before it S{other} has an entry of term {first}, S{by} one of term {second}"),
                ));
            }
            _ => {}
        }
        Ok(())
    }

    fn find(&self, index: Index, term: Term) -> Option<&Known> {
        self.known.get(index.checked_sub(1)?)?.iter().find(|known| known.term == term)
    }
}

const LOG_MATCHING: &str =
    "logs that have an entry of the same index and term are the same up to it (Raft 5.3, Log Matching)";

fn untrue_start(expected: String, seen: String) -> Finding {
    Finding::safety("`start` returns where the command stands in the log (Raft 5.3)", expected, seen)
}
