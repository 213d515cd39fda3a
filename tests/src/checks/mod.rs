//! The checks that watch every run.
//!
//! Kit-owned. Each check is told everything that crosses the wire, in the order in which it happens, and
//! answers with a [`Finding`] the moment a rule is broken. The rules are worded so that no correct Raft
//! breaks them: they judge promises that have left a server, never its state in between. A message
//! *leaves* when the call is made or the handler returns; it is *delivered* when the handler begins or
//! the call returns.

mod causality;
mod commits;
mod completeness;
mod facts;
mod hints;
mod knowledge;
mod leaders;
mod ledger;
mod log_book;
mod promises;
mod restriction;
mod snapshots;
mod stream;
mod terms;
mod votes;

use labraft::{
    AppendEntriesArgs, AppendEntriesReply, ApplyMsg, Bytes, Command, Index, InstallSnapshotArgs,
    InstallSnapshotReply, PersistentState, RequestVoteArgs, RequestVoteReply, ServerId, Started, Term,
};

pub(crate) use self::causality::Stamp;
use self::facts::Facts;
pub(crate) use self::knowledge::Knowledge;
use crate::finding::Finding;

/// What a stage may judge: what its chapter asks for, and all before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// 2A: votes, terms and leaders.
    Elections,
    /// 2B: also logs and commits, as the wire shows them. No server crashes.
    Logs,
    /// 2C: also disks.
    Disk,
    /// 2D: also snapshots.
    Snapshots,
    /// 3A and 3B: all of it below a service whose calls of its server are not seen.
    Service,
}

impl Scope {
    /// What the tests of a stage may judge.
    pub(crate) fn of_stage(stage: &str) -> Scope {
        match stage {
            "2a" => Scope::Elections,
            "2b" => Scope::Logs,
            "2c" => Scope::Disk,
            "2d" => Scope::Snapshots,
            _ => Scope::Service,
        }
    }
}

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
    /// `get_state`, called beside other calls, has said that the server leads.
    Claimed {
        of: Life,
        term: Term,
    },
    /// `start` has returned.
    Started {
        of: Life,
        started: Started,
        command: &'a Command,
    },
    /// A server begins a life, with what is on its disk.
    Booted {
        life: Life,
    },
    /// A life has ended.
    Crashed {
        life: Life,
    },
    /// A save is on disk; with the new snapshot, if it had one. The first `kept` entries of its log were there
    /// before.
    Saved {
        by: Life,
        state: &'a PersistentState,
        kept: usize,
        snapshot: Option<&'a Bytes>,
    },
    /// A service has received this.
    Applied {
        by: Life,
        message: &'a ApplyMsg,
    },
    /// A service passes this to `snapshot`; which one is not known of a tested service.
    Snapshotted {
        by: Option<Life>,
        index: Index,
        snapshot: &'a Bytes,
    },
}

trait Check {
    /// Judges one event by the facts as they were before it.
    fn see(&mut self, seen: &Seen<'_>, facts: &Facts) -> Result<(), Finding>;

    /// Looks at the facts after an event by which something was committed.
    fn after_commit(&mut self, _facts: &Facts) -> Result<(), Finding> {
        Ok(())
    }
}

/// All checks of a run, and what they know in common.
pub(crate) struct Checks {
    facts: Facts,
    checks: Vec<Box<dyn Check>>,
}

impl Checks {
    /// The checks for a cluster of `servers` servers. `is_readable` tells whether the servers speak in the
    /// kit's messages: where they do not, only what their services see can be judged.
    pub(crate) fn new(servers: usize, scope: Scope, is_readable: bool) -> Checks {
        let mut checks: Vec<Box<dyn Check>> = vec![
            Box::new(leaders::OneLeader::default()),
            Box::new(terms::TermsNeverFall::default()),
            Box::new(stream::ApplyStream::default()),
        ];
        if is_readable {
            checks.push(Box::new(votes::OneVote::default()));
            checks.push(Box::new(leaders::JustifiedWin::new(servers)));
        }
        if is_readable && scope >= Scope::Logs {
            checks.push(Box::new(restriction::VoteRestriction::default()));
            checks.push(Box::new(completeness::LeaderCompleteness::default()));
            checks.push(Box::new(promises::TrueMatch::default()));
            checks.push(Box::new(hints::HintInRange::new(servers)));
        }
        if is_readable && scope >= Scope::Disk {
            checks.push(Box::new(promises::PromisesSaved::default()));
        }
        if is_readable && scope >= Scope::Snapshots {
            checks.push(Box::new(snapshots::WholeStates::default()));
        }
        Checks { facts: Facts::new(servers, scope, is_readable), checks }
    }

    /// What was committed last, as its index and the term of the leader that committed it; `None` as its term
    /// where it counts because all servers have it.
    pub(crate) fn last_committed(&self) -> Option<(Index, Option<Term>)> {
        let last = self.facts.ledger.last();
        self.facts.ledger.at(last).map(|committed| (last, committed.in_term))
    }

    pub(crate) fn see(&mut self, seen: &Seen<'_>) -> Result<(), Finding> {
        self.checks.iter_mut().try_for_each(|check| check.see(seen, &self.facts))?;
        let committed = self.facts.ledger.last();
        self.facts.see(seen)?;
        if self.facts.ledger.last() == committed {
            return Ok(());
        }
        self.checks.iter_mut().try_for_each(|check| check.after_commit(&self.facts))
    }
}

/// How many servers are more than half of `servers`.
pub(crate) fn majority(servers: usize) -> usize {
    servers / 2 + 1
}

/// `S0, S2`, or `nobody`.
pub(crate) fn names(servers: &[ServerId]) -> String {
    let names: Vec<String> = servers.iter().map(|server| format!("S{server}")).collect();
    if names.is_empty() { "nobody".into() } else { names.join(", ") }
}
