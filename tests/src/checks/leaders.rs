//! One leader per term, and only after a majority of votes (Raft 5.2, Election Safety).
//!
//! Kit-owned.

use std::collections::{BTreeMap, BTreeSet};

use labraft::{ServerId, Term};

use super::facts::Facts;
use super::{Check, Life, Request, Scope, Seen, majority, names};
use crate::finding::Finding;

/// Who led which term: the sender of its AppendEntries or InstallSnapshot, and whoever said so through
/// `get_state`. A late message of a deposed leader has the same sender and term, and does no harm.
#[derive(Default)]
pub(super) struct OneLeader {
    leaders: BTreeMap<Term, ServerId>,
}

impl Check for OneLeader {
    fn see(&mut self, seen: &Seen<'_>, _facts: &Facts) -> Result<(), Finding> {
        let (server, term) = match *seen {
            Seen::RequestLeft { from, request } if request.is_leaders() => (from.server, request.term()),
            Seen::State { of, term, is_leader: true } => (of.server, term),
            Seen::Claimed { of, term } => (of.server, term),
            Seen::Started { of, started, .. } => (of.server, started.term),
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
/// delivered to its present life, and its own, once that is saved. It has also saved the term that it
/// leads: a leader that forgot it in a crash could win the same term again, with other entries.
pub(super) struct JustifiedWin {
    servers: usize,
    votes: BTreeMap<(Life, Term), BTreeSet<ServerId>>,
    judged: BTreeSet<(Life, Term)>,
    /// The terms that each server has saved, and whether with a vote for itself.
    saved: BTreeMap<(ServerId, Term), bool>,
}

impl JustifiedWin {
    pub(super) fn new(servers: usize) -> JustifiedWin {
        JustifiedWin { servers, votes: BTreeMap::new(), judged: BTreeSet::new(), saved: BTreeMap::new() }
    }
}

impl Check for JustifiedWin {
    fn see(&mut self, seen: &Seen<'_>, facts: &Facts) -> Result<(), Finding> {
        match *seen {
            Seen::ReplyDelivered { from, to, request: Request::Vote(args), reply } if reply.grants_vote() => {
                self.votes.entry((to, args.term)).or_default().insert(from.server);
                Ok(())
            }
            Seen::Saved { by, state, .. } => {
                let votes_for_itself = state.voted_for == Some(by.server);
                *self.saved.entry((by.server, state.current_term)).or_default() |= votes_for_itself;
                Ok(())
            }
            Seen::RequestLeft { from, request } if request.is_leaders() => {
                let term = request.term();
                if !self.judged.insert((from, term)) {
                    return Ok(());
                }
                let mut voters = self.votes.get(&(from, term)).cloned().unwrap_or_default();
                let saved = self.saved.get(&(from.server, term)).copied();
                if facts.scope < Scope::Disk || saved == Some(true) {
                    voters.insert(from.server);
                }
                if saved.is_none() && facts.scope >= Scope::Disk {
                    return Err(Finding::safety(
                        "a leader has saved the term it leads before it speaks (Raft Figure 2, persistent state)",
                        format!("S{} has saved term {term}", from.server),
                        format!("S{} leads term {term}, which was never on its disk", from.server),
                    ));
                }
                if voters.len() >= majority(self.servers) {
                    return Ok(());
                }
                let voters: Vec<ServerId> = voters.into_iter().collect();
                Err(Finding::safety(
                    "a leader has the votes of a majority of all servers in its term (Raft 5.2)",
                    format!("at least {} of {} votes in term {term}", majority(self.servers), self.servers),
                    format!("S{} leads term {term} with the votes of {} only", from.server, names(&voters)),
                ))
            }
            _ => Ok(()),
        }
    }
}
