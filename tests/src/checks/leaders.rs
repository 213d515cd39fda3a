//! One leader per term, and only after a majority of votes (Raft 5.2, Election Safety).
//!
//! Kit-owned.

use std::collections::{BTreeMap, BTreeSet};

use labraft::{ServerId, Term};

use super::{Check, Life, Request, Seen, majority};
use crate::finding::Finding;

/// Who led which term: the sender of its AppendEntries or InstallSnapshot, and whoever said so through
/// `get_state`. A late message of a deposed leader has the same sender and term, and does no harm.
#[derive(Default)]
pub(super) struct OneLeader {
    leaders: BTreeMap<Term, ServerId>,
}

impl Check for OneLeader {
    fn see(&mut self, seen: &Seen<'_>) -> Result<(), Finding> {
        let (server, term) = match *seen {
            Seen::RequestLeft { from, request } if request.is_leaders() => (from.server, request.term()),
            Seen::State { of, term, is_leader: true } => (of.server, term),
            _ => return Ok(()),
        };
        let first = *self.leaders.entry(term).or_insert(server);
        if first == server {
            return Ok(());
        }
        Err(Finding::safety(
            "a term has at most one leader (Raft 5.2, Election Safety)",
            format!("only S{first} leads term {term}"),
            format!("term {term} has 2 (>1) leaders: S{first} and S{server}"),
        ))
    }
}

/// A leader has the votes of a majority of *all* servers, asked for in that term: those that were
/// delivered to its present life, and its own.
pub(super) struct JustifiedWin {
    servers: usize,
    votes: BTreeMap<(Life, Term), BTreeSet<ServerId>>,
    judged: BTreeSet<(Life, Term)>,
}

impl JustifiedWin {
    pub(super) fn new(servers: usize) -> JustifiedWin {
        JustifiedWin { servers, votes: BTreeMap::new(), judged: BTreeSet::new() }
    }
}

impl Check for JustifiedWin {
    fn see(&mut self, seen: &Seen<'_>) -> Result<(), Finding> {
        match *seen {
            Seen::ReplyDelivered { from, to, request: Request::Vote(args), reply } if reply.grants_vote() => {
                self.votes.entry((to, args.term)).or_default().insert(from.server);
                Ok(())
            }
            Seen::RequestLeft { from, request } if request.is_leaders() => {
                let term = request.term();
                if !self.judged.insert((from, term)) {
                    return Ok(());
                }
                let mut voters = self.votes.get(&(from, term)).cloned().unwrap_or_default();
                voters.insert(from.server);
                if voters.len() >= majority(self.servers) {
                    return Ok(());
                }
                let names: Vec<String> = voters.iter().map(|voter| format!("S{voter}")).collect();
                Err(Finding::safety(
                    "a leader has the votes of a majority of all servers in its term (Raft 5.2)",
                    format!("at least {} of {} votes in term {term}", majority(self.servers), self.servers),
                    format!("S{} leads term {term} with the votes of {} only", from.server, names.join(", ")),
                ))
            }
            _ => Ok(()),
        }
    }
}
