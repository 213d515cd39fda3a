//! The checks that watch every run.
//!
//! Kit-owned. Each check is told everything that crosses the wire, in the order in which it happens, and
//! answers with a [`Finding`] the moment a rule is broken. The rules are worded so that no correct Raft
//! breaks them: they judge promises that have left a server, never its state in between. A message
//! *leaves* when the call is made or the handler returns; it is *delivered* when the handler begins or
//! the call returns.

mod leaders;
mod terms;
mod votes;

use labraft::{
    AppendEntriesArgs, AppendEntriesReply, InstallSnapshotArgs, InstallSnapshotReply, RequestVoteArgs,
    RequestVoteReply, ServerId, Term,
};

use crate::finding::Finding;

/// One life of a server: it ends with a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Life {
    pub(crate) server: ServerId,
    pub(crate) incarnation: u32,
}

/// A request between servers.
#[derive(Clone, Debug)]
pub enum Request {
    /// RequestVote.
    Vote(RequestVoteArgs),
    /// AppendEntries.
    Append(AppendEntriesArgs),
    /// InstallSnapshot.
    Snapshot(InstallSnapshotArgs),
}

/// The reply to a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// To RequestVote.
    Vote(RequestVoteReply),
    /// To AppendEntries.
    Append(AppendEntriesReply),
    /// To InstallSnapshot.
    Snapshot(InstallSnapshotReply),
}

impl Request {
    /// The sender's term.
    pub fn term(&self) -> Term {
        match self {
            Request::Vote(args) => args.term,
            Request::Append(args) => args.term,
            Request::Snapshot(args) => args.term,
        }
    }

    /// True for the requests that only a leader sends.
    pub fn is_leaders(&self) -> bool {
        matches!(self, Request::Append(_) | Request::Snapshot(_))
    }
}

impl Reply {
    /// The answering server's term.
    pub fn term(&self) -> Term {
        match self {
            Reply::Vote(reply) => reply.term,
            Reply::Append(reply) => reply.term,
            Reply::Snapshot(reply) => reply.term,
        }
    }

    /// True for a granted vote.
    pub fn grants_vote(&self) -> bool {
        matches!(self, Reply::Vote(reply) if reply.vote_granted)
    }

    /// True for a granted vote and for accepted entries.
    pub fn is_positive(&self) -> bool {
        match self {
            Reply::Vote(reply) => reply.vote_granted,
            Reply::Append(reply) => reply.success,
            Reply::Snapshot(_) => false,
        }
    }
}

/// Something a check is told.
#[derive(Debug)]
pub(crate) enum Seen<'a> {
    RequestLeft {
        from: Life,
        request: &'a Request,
    },
    RequestDelivered {
        to: Life,
        request: &'a Request,
        delivery: u64,
    },
    ReplyLeft {
        from: Life,
        asker: ServerId,
        request: &'a Request,
        reply: &'a Reply,
        delivery: u64,
    },
    ReplyDelivered {
        from: Life,
        to: Life,
        request: &'a Request,
        reply: &'a Reply,
    },
    /// `get_state` has returned.
    State {
        of: Life,
        term: Term,
        is_leader: bool,
    },
}

trait Check {
    /// Judges one event.
    fn see(&mut self, seen: &Seen<'_>) -> Result<(), Finding>;
}

/// All checks of a run.
pub(crate) struct Checks(Vec<Box<dyn Check>>);

impl Checks {
    /// The checks for a cluster of `servers` servers.
    pub(crate) fn new(servers: usize) -> Checks {
        Checks(vec![
            Box::new(votes::OneVote::default()),
            Box::new(leaders::OneLeader::default()),
            Box::new(leaders::JustifiedWin::new(servers)),
            Box::new(terms::TermsNeverFall::default()),
        ])
    }

    pub(crate) fn see(&mut self, seen: &Seen<'_>) -> Result<(), Finding> {
        self.0.iter_mut().try_for_each(|check| check.see(seen))
    }
}

/// How many servers are more than half of `servers`.
pub(crate) fn majority(servers: usize) -> usize {
    servers / 2 + 1
}
