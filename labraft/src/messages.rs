//! The words of Raft as types: terms, entries, the messages of Figure 2, and what is on disk.
//!
//! Kit-owned. Read beside Figures 2 and 13 of the Raft paper; the fields have the paper's names.

use std::fmt;

use labrpc::{Bytes, Request};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A server's number, from 0.
pub type ServerId = usize;

/// A term: Raft's logical clock. The first election is that of term 1; 0 means none yet.
pub type Term = u64;

/// A place in the log. The first entry has index 1; 0 means none.
pub type Index = usize;

/// What a client asks the service to do, as bytes that mean nothing to Raft. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Command(#[serde(with = "as_bytes")] pub Bytes);

/// One entry of the log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The term in which a leader received the command.
    pub term: Term,
    /// The command.
    pub command: Command,
}

/// What a server must not forget in a crash (Raft Figure 2, persistent state on all servers).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PersistentState {
    /// The latest term this server has seen; 0 at first boot, never falls.
    pub current_term: Term,
    /// The candidate that got this server's vote in `current_term`.
    pub voted_for: Option<ServerId>,
    /// The log after the snapshot: `log[0]` has index `last_included.0 + 1`. From 2B on.
    pub log: Vec<Entry>,
    /// Index and term of the last entry the snapshot covers; (0, 0) without one. From 2D on. The index is the
    /// service's, the one that it passed to [`RaftServer::snapshot`](crate::RaftServer::snapshot), however a
    /// log counts that holds more than commands: it says which command the service receives next.
    pub last_included: (Index, Term),
}

/// A candidate asks for a vote (5.2).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestVoteArgs {
    /// The candidate's term.
    pub term: Term,
    /// The candidate.
    pub candidate_id: ServerId,
    /// Index of the candidate's last entry, 0 without one (5.4). From 2B on.
    pub last_log_index: Index,
    /// Term of the candidate's last entry, 0 without one (5.4). From 2B on.
    pub last_log_term: Term,
}

/// The answer to [`RequestVoteArgs`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestVoteReply {
    /// The answering server's current term, for the candidate to update itself.
    pub term: Term,
    /// Whether the candidate got the vote.
    pub vote_granted: bool,
}

/// A leader sends entries, or none as a heartbeat (5.2, 5.3).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppendEntriesArgs {
    /// The leader's term.
    pub term: Term,
    /// The leader.
    pub leader_id: ServerId,
    /// Index of the entry right before the new ones. From 2B on.
    pub prev_log_index: Index,
    /// Term of the entry at `prev_log_index`. From 2B on.
    pub prev_log_term: Term,
    /// Entries to store; empty for a heartbeat.
    pub entries: Vec<Entry>,
    /// The leader's commit index. From 2B on.
    pub leader_commit: Index,
}

/// The answer to [`AppendEntriesArgs`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppendEntriesReply {
    /// The answering server's current term, for the leader to update itself.
    pub term: Term,
    /// True if the server's log matched at `prev_log_index` and holds all of the entries now.
    pub success: bool,
    /// After a mismatch, optionally, where the leader may go on searching (end of 5.3).
    pub conflict: Option<ConflictHint>,
}

/// Where two logs may begin to differ, so that a leader can go back by more than one entry.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictHint {
    /// The term of the follower's entry at `prev_log_index`; `None` when its log is shorter.
    pub term: Option<Term>,
    /// The follower's first index of that term, or the index after its last entry.
    pub index: Index,
}

/// A leader sends its snapshot, whole (7). From 2D on.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstallSnapshotArgs {
    /// The leader's term.
    pub term: Term,
    /// The leader.
    pub leader_id: ServerId,
    /// The last index the snapshot covers.
    pub last_included_index: Index,
    /// The term of the entry at that index.
    pub last_included_term: Term,
    /// The snapshot.
    #[serde(with = "as_bytes")]
    pub snapshot: Bytes,
}

/// The answer to [`InstallSnapshotArgs`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstallSnapshotReply {
    /// The answering server's current term, for the leader to update itself.
    pub term: Term,
}

impl Request for RequestVoteArgs {
    type Reply = RequestVoteReply;
    const KIND: &'static str = "RequestVote";
}

impl Request for AppendEntriesArgs {
    type Reply = AppendEntriesReply;
    const KIND: &'static str = "AppendEntries";
}

impl Request for InstallSnapshotArgs {
    type Reply = InstallSnapshotReply;
    const KIND: &'static str = "InstallSnapshot";
}

/// Bytes are encoded as one piece, not one by one.
mod as_bytes {
    use super::*;

    pub(super) fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        struct BytesVisitor;

        impl Visitor<'_> for BytesVisitor {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(bytes.into())
            }

            fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
                Ok(bytes.into())
            }
        }

        deserializer.deserialize_byte_buf(BytesVisitor)
    }
}
