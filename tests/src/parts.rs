//! Parts of scripts: messages of scripted peers, and a peer that answers as a correct follower would.
//!
//! Kit-owned.

use labraft::{
    AppendEntriesArgs, AppendEntriesReply, Command, ConflictHint, Entry, Index, InstallSnapshotArgs,
    RequestVoteArgs, ServerId, Term,
};

/// A command of a script, by its text.
pub fn command(text: &str) -> Command {
    Command(text.as_bytes().into())
}

/// One entry for each term, with commands that tell index and term: `3@2` is the third entry, of term 2.
pub fn entries(first: Index, terms: &[Term]) -> Vec<Entry> {
    let entry = |(index, &term): (Index, &Term)| Entry { term, command: command(&format!("{index}@{term}")) };
    (first..).zip(terms).map(entry).collect()
}

/// A vote request of a candidate with an empty log.
pub fn vote_request(term: Term, candidate_id: ServerId) -> RequestVoteArgs {
    RequestVoteArgs { term, candidate_id, last_log_index: 0, last_log_term: 0 }
}

/// A heartbeat of a leader with an empty log.
pub fn heartbeat(term: Term, leader_id: ServerId) -> AppendEntriesArgs {
    append(term, leader_id, (0, 0), &[], 0)
}

/// Entries of the given terms, after the entry `previous` (index and term).
pub fn append(
    term: Term,
    leader_id: ServerId,
    previous: (Index, Term),
    terms: &[Term],
    leader_commit: Index,
) -> AppendEntriesArgs {
    let (prev_log_index, prev_log_term) = previous;
    let entries = entries(prev_log_index + 1, terms);
    AppendEntriesArgs { term, leader_id, prev_log_index, prev_log_term, entries, leader_commit }
}

/// A leader's snapshot up to an entry (index and term).
pub fn snapshot(term: Term, leader_id: ServerId, last: (Index, Term)) -> InstallSnapshotArgs {
    let (last_included_index, last_included_term) = last;
    let snapshot = format!("state at {last_included_index}").into_bytes().into();
    InstallSnapshotArgs { term, leader_id, last_included_index, last_included_term, snapshot }
}

/// A scripted peer's log, answering as a correct follower does.
#[derive(Clone, Debug, Default)]
pub struct FollowerLog {
    /// The terms of its entries, from index 1 on.
    pub terms: Vec<Term>,
    /// Whether its refusals tell where the leader may go on.
    pub hints: bool,
}

impl FollowerLog {
    /// A follower with entries of these terms.
    pub fn new(terms: &[Term], hints: bool) -> FollowerLog {
        FollowerLog { terms: terms.to_vec(), hints }
    }

    /// The answer of the receiver of AppendEntries (Raft Figure 2).
    pub fn append_entries(&mut self, args: &AppendEntriesArgs) -> AppendEntriesReply {
        let term = args.term;
        let of_previous = match args.prev_log_index {
            0 => Some(0),
            index => self.terms.get(index - 1).copied(),
        };
        if of_previous != Some(args.prev_log_term) {
            let conflict = self.hints.then(|| self.hint(of_previous));
            return AppendEntriesReply { term, success: false, conflict };
        }
        for (place, entry) in (args.prev_log_index..).zip(&args.entries) {
            if self.terms.get(place) != Some(&entry.term) {
                self.terms.truncate(place);
                self.terms.push(entry.term);
            }
        }
        AppendEntriesReply { term, success: true, conflict: None }
    }

    fn hint(&self, of_previous: Option<Term>) -> ConflictHint {
        match of_previous {
            None => ConflictHint { term: None, index: self.terms.len() + 1 },
            Some(term) => {
                let first = self.terms.iter().position(|&other| other == term).unwrap_or(0);
                ConflictHint { term: Some(term), index: first + 1 }
            }
        }
    }
}
