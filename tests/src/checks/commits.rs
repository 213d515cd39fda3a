//! A commit is justified (Raft 5.3, 5.4.2), and what is applied was committed (State Machine Safety).
//!
//! Kit-owned. Judged at the first sign of a commit that others can see: a leader's `leader_commit`, or a
//! command that reaches the service.

use labraft::{AppendEntriesArgs, Command, Index, ServerId, Term};

use super::facts::{Facts, end_of};
use super::{majority, names};
use crate::finding::Finding;

impl Facts {
    /// A leader says how far the log is committed.
    pub(super) fn judge_leaders_commit(
        &mut self,
        leader: ServerId,
        args: &AppendEntriesArgs,
    ) -> Result<(), Finding> {
        let index = args.leader_commit;
        if index <= self.ledger.last() || self.commit_what_all_have(index)? {
            return Ok(());
        }
        let who = format!("S{leader}, leading term {}, counts", args.term);
        let term = self.term_in_log_of(leader, args, index);
        Err(self.unjustified(&who, index, term))
    }

    /// A service has received a command.
    pub(super) fn judge_applied(
        &mut self,
        server: ServerId,
        index: Index,
        command: &Command,
    ) -> Result<(), Finding> {
        if index > self.ledger.last() && !self.commit_what_all_have(index)? {
            let term = self.book.terms_of(index, command).last().copied();
            let who = match self.latest_leader {
                Some((now, leader)) if leader == server => format!("S{server}, leading term {now}, applied"),
                Some((now, leader)) => format!("S{server}, while S{leader} leads term {now}, applied"),
                None => format!("S{server} applied"),
            };
            return Err(self.unjustified(&who, index, term));
        }
        let Some(committed) = self.ledger.at(index) else { return Ok(()) };
        match self.book.command(index, committed.term) {
            Some(right) if right != command => Err(Finding::safety(
                "all servers apply the same command at the same index (Raft 5.4.3, State Machine Safety)",
                format!(
                    "S{server} applies {right:?} as entry {index}, which is committed with term {}",
                    committed.term
                ),
                format!("S{server} applied {command:?} as entry {index}"),
            )),
            _ => Ok(()),
        }
    }

    /// The term of entry `index` in the log of the leader that `args` come from, as far as that has been
    /// shown: by `args` and what is known to stand before them, by an entry that was made in the leader's
    /// own term, which nobody else makes, or by its disk.
    fn term_in_log_of(&self, leader: ServerId, args: &AppendEntriesArgs, index: Index) -> Option<Term> {
        let (end, last_term) = end_of(args);
        if end < index {
            let is_its_own = self.book.command(index, args.term).is_some();
            return is_its_own.then_some(args.term).or_else(|| self.term_on_disk(leader, index));
        }
        let mut term = last_term;
        for at in (index + 1..=end).rev() {
            term = self.book.predecessor(at, term)?;
        }
        Some(term)
    }

    fn unjustified(&self, who: &str, index: Index, term: Option<Term>) -> Finding {
        let needed = majority(self.servers);
        let Some(term) = term else {
            return Finding::safety(
                STORED_BY_MAJORITY,
                format!("{needed} of {} servers store entry {index} before that", self.servers),
                format!("{who} entry {index} as committed, but no server is known to have such an entry"),
            );
        };
        let accepted = self.ledger.accepted_in(term, index);
        let copies: Vec<ServerId> =
            self.holders(index, term).into_iter().filter(|server| !accepted.contains(server)).collect();
        let by = if accepted.len() == 1 { "only " } else { "" };
        let seen = format!(
            "{who} entry {index} of term {term} as committed, but {by}{} had stored it in term {term}",
            names(&accepted)
        );
        if copies.is_empty() {
            return Finding::safety(
                STORED_BY_MAJORITY,
                format!(
                    "{needed} of {} servers store entry {index}, or a later one, before that",
                    self.servers
                ),
                seen,
            );
        }
        Finding::safety(
            NOT_BY_COPIES,
            format!(
                "{needed} of {} servers store entry {index}, or a later one, in that entry's own term",
                self.servers
            ),
            format!("{seen}; {} stored a copy in other terms, which does not count", names(&copies)),
        )
    }
}

const STORED_BY_MAJORITY: &str =
    "an entry is committed once a majority of all servers has stored it, or a later one (Raft 5.3)";
const NOT_BY_COPIES: &str = "an entry is committed once a majority has stored it, or a later one, in the term of the leader that sent it; an entry of an earlier term is not committed by counting copies (Raft 5.3, 5.4.2, Figure 8)";
