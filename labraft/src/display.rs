//! How messages and state read in traces and reports: short, in the words of the paper.
//!
//! Kit-owned. `5@2` is the entry, or the place in the log, with index 5 and term 2.

use std::fmt::{Debug, Formatter, Result};

use crate::{
    AppendEntriesArgs, AppendEntriesReply, Command, ConflictHint, Entry, InstallSnapshotArgs,
    InstallSnapshotReply, PersistentState, RequestVoteArgs, RequestVoteReply,
};

/// Longer lists of entries show their first and their last ones.
const ENTRIES_SHOWN: usize = 6;

impl Debug for Command {
    /// Text where the bytes are short text, their number and a few of them otherwise.
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        const SHOWN: usize = 24;
        match std::str::from_utf8(&self.0) {
            Ok(text) if text.len() <= SHOWN && !text.chars().any(char::is_control) => write!(f, "{text:?}"),
            _ => {
                write!(f, "{} bytes ", self.0.len())?;
                self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))?;
                if self.0.len() > 4 { f.write_str("..") } else { Ok(()) }
            }
        }
    }
}

impl Debug for Entry {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "@{} {:?}", self.term, self.command)
    }
}

impl Debug for PersistentState {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "term {}, ", self.current_term)?;
        match self.voted_for {
            Some(candidate) => write!(f, "voted for S{candidate}, ")?,
            None => f.write_str("no vote, ")?,
        }
        if self.last_included.0 > 0 {
            write!(f, "snapshot to {}@{}, ", self.last_included.0, self.last_included.1)?;
        }
        f.write_str("log ")?;
        write_entries(f, self.last_included.0 + 1, &self.log)
    }
}

impl Debug for RequestVoteArgs {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let RequestVoteArgs { term, candidate_id, last_log_index, last_log_term } = self;
        write!(f, "RequestVote(term {term}, for S{candidate_id}, last {last_log_index}@{last_log_term})")
    }
}

impl Debug for RequestVoteReply {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let answer = if self.vote_granted { "granted" } else { "refused" };
        write!(f, "vote {answer}, term {}", self.term)
    }
}

impl Debug for AppendEntriesArgs {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let AppendEntriesArgs { term, leader_id, prev_log_index, prev_log_term, entries, leader_commit } =
            self;
        write!(f, "AppendEntries(term {term}, from S{leader_id}, prev {prev_log_index}@{prev_log_term}, ")?;
        write_entries(f, prev_log_index.saturating_add(1), entries)?;
        write!(f, ", commit {leader_commit})")
    }
}

impl Debug for AppendEntriesReply {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let answer = if self.success { "stored" } else { "refused" };
        write!(f, "entries {answer}, term {}", self.term)?;
        self.conflict.map_or(Ok(()), |hint| write!(f, ", conflict {hint:?}"))
    }
}

impl Debug for ConflictHint {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self.term {
            Some(term) => write!(f, "from {}@{term}", self.index),
            None => write!(f, "from {}, log too short", self.index),
        }
    }
}

impl Debug for InstallSnapshotArgs {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let (term, leader, bytes) = (self.term, self.leader_id, self.snapshot.len());
        let (index, of_term) = (self.last_included_index, self.last_included_term);
        write!(f, "InstallSnapshot(term {term}, from S{leader}, to {index}@{of_term}, {bytes} bytes)")
    }
}

impl Debug for InstallSnapshotReply {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "snapshot received, term {}", self.term)
    }
}

/// Writes `entries`, the first of which has index `first`.
fn write_entries(f: &mut Formatter<'_>, first: usize, entries: &[Entry]) -> Result {
    f.write_str("[")?;
    for (place, entry) in entries.iter().enumerate() {
        let from_end = entries.len() - place;
        if entries.len() > ENTRIES_SHOWN && place >= ENTRIES_SHOWN / 2 && from_end > ENTRIES_SHOWN / 2 {
            if place == ENTRIES_SHOWN / 2 {
                f.write_str(" ..")?;
            }
            continue;
        }
        let space = if place == 0 { "" } else { " " };
        write!(f, "{space}{}{entry:?}", first.saturating_add(place))?;
    }
    f.write_str("]")
}
