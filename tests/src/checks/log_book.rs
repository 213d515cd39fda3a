//! Every entry that anyone has shown, and what came before it (Raft 5.3, Log Matching).
//!
//! Kit-owned. Entries show themselves in AppendEntries, in saved logs, and as what `start` has returned.
//! A pair of index and term that comes without a command, as the one before the entries of a message
//! does, shows nothing about what stands before it, and stale leaders may well name pairs that are gone.

use std::collections::{BTreeMap, BTreeSet};

use labraft::{Command, Entry, Index, ServerId, Term};
use labrpc::sync::Arc;

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
    /// Who leads each term, of those whose leaders have spoken.
    leaders: BTreeMap<Term, ServerId>,
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
            .filter(|known| is_same(&known.command, command))
            .map(|known| known.term)
            .collect()
    }

    /// `leader` has spoken as the leader of `term`: nobody else makes entries of that term.
    pub(crate) fn note_leader(&mut self, term: Term, leader: ServerId) -> Result<(), Finding> {
        if self.leaders.contains_key(&term) {
            return Ok(());
        }
        self.leaders.insert(term, leader);
        let of_others = |known: &&Known| known.term == term && known.by != leader;
        let made_up = self
            .known
            .iter()
            .zip(1..)
            .find_map(|(here, index)| here.iter().find(of_others).map(|known| (known.by, index)));
        match made_up {
            Some((by, index)) => Err(not_of_leader(by, index, term, leader)),
            None => Ok(()),
        }
    }

    /// The leader of `term`, if that is known and not `server`.
    fn other_leader(&self, term: Term, server: ServerId) -> Option<ServerId> {
        self.leaders.get(&term).copied().filter(|leader| *leader != server)
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
        if let Some(leader) = self.other_leader(entry.term, by) {
            return Err(Finding::safety(
                LEADER_APPENDS,
                format!("S{by}'s `start` refuses, as S{by} does not lead term {}", entry.term),
                format!(
                    "S{by}'s `start` took {:?} as entry {index} of term {}, but the leader of term {} is S{leader}",
                    entry.command, entry.term, entry.term
                ),
            ));
        }
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
        let here = &mut self.known[index - 1];
        let Some(known) = here.iter_mut().find(|known| known.term == entry.term) else {
            if let Some(leader) = self.other_leader(entry.term, by) {
                return Err(not_of_leader(by, index, entry.term, leader));
            }
            let known = Known { term: entry.term, command: entry.command.clone(), predecessor, by };
            self.known[index - 1].push(known);
            return Ok(());
        };
        if !is_same(&known.command, &entry.command) {
            let what = format!("entry {index} of term {}", entry.term);
            if self.started.contains(&(index, entry.term)) {
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

/// Commands that were only cloned share their bytes, which spares looking into them.
fn is_same(one: &Command, other: &Command) -> bool {
    Arc::ptr_eq(&one.0, &other.0) || one == other
}

const LOG_MATCHING: &str =
    "logs that have an entry of the same index and term are the same up to it (Raft 5.3, Log Matching)";

const LEADER_APPENDS: &str = "only the leader of a term adds entries of that term to a log, and the others get them from it (Raft 5.3)";

fn not_of_leader(by: ServerId, index: Index, term: Term, leader: ServerId) -> Finding {
    Finding::safety(
        LEADER_APPENDS,
        format!("S{by} has entries of term {term} only as S{leader}, the leader of that term, sends them"),
        format!(
            "S{by} has an entry {index} of term {term}, which S{leader}, the leader of that term, has sent to nobody"
        ),
    )
}

fn untrue_start(expected: String, seen: String) -> Finding {
    Finding::safety("`start` returns where the command stands in the log (Raft 5.3)", expected, seen)
}
