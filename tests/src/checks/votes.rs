//! One vote per voter and term (Raft 5.2).
//!
//! Kit-owned.

use std::collections::{BTreeMap, BTreeSet};

use labraft::{ServerId, Term};

use super::facts::Facts;
use super::{Check, Life, Request, Seen};
use crate::finding::Finding;

/// What a server promised about its vote in a term.
///
/// A granted reply is a vote for the candidate that asked, in the *request's* term. Leading a term is a
/// vote for oneself. Standing is one too, but only in the present life (a server may ask for votes while
/// its own is still being saved, crash, and vote for another) and only until it has heard of the term's
/// leader (it cannot win that term any more, so it harms nobody).
#[derive(Default)]
pub(super) struct OneVote {
    granted: BTreeMap<(ServerId, Term), ServerId>,
    led: BTreeSet<(ServerId, Term)>,
    stood: BTreeSet<(Life, Term)>,
    heard_leader: BTreeSet<(Life, Term)>,
}

impl OneVote {
    fn promises_itself(&self, voter: Life, term: Term) -> bool {
        let candidate = self.stood.contains(&(voter, term)) && !self.heard_leader.contains(&(voter, term));
        candidate || self.led.contains(&(voter.server, term))
    }

    /// The voter has just made a promise to itself.
    fn judge_own(&self, voter: Life, term: Term) -> Result<(), Finding> {
        match self.granted.get(&(voter.server, term)) {
            Some(&other) if other != voter.server => Err(two_votes(voter.server, term, other, voter.server)),
            _ => Ok(()),
        }
    }
}

impl Check for OneVote {
    fn see(&mut self, seen: &Seen<'_>, _facts: &Facts) -> Result<(), Finding> {
        match *seen {
            Seen::RequestLeft { from, request } if request.is_leaders() => {
                self.led.insert((from.server, request.term()));
                self.judge_own(from, request.term())
            }
            Seen::RequestLeft { from, request: Request::Vote(args) } => {
                self.stood.insert((from, args.term));
                if self.heard_leader.contains(&(from, args.term)) {
                    return Ok(());
                }
                self.judge_own(from, args.term)
            }
            Seen::RequestDelivered { to, request, .. } if request.is_leaders() => {
                self.heard_leader.insert((to, request.term()));
                Ok(())
            }
            Seen::ReplyLeft { from, asker, request, reply, .. } if reply.grants_vote() => {
                let term = request.term();
                if asker != from.server && self.promises_itself(from, term) {
                    return Err(two_votes(from.server, term, from.server, asker));
                }
                match self.granted.insert((from.server, term), asker) {
                    Some(earlier) if earlier != asker => Err(two_votes(from.server, term, earlier, asker)),
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}

fn two_votes(voter: ServerId, term: Term, first: ServerId, second: ServerId) -> Finding {
    Finding::safety(
        "a server votes for at most one candidate in a term (Raft 5.2)",
        format!("S{voter} votes for S{first} or for S{second} in term {term}, not for both"),
        format!("S{voter} voted for S{first} and for S{second} in term {term}"),
    )
}
