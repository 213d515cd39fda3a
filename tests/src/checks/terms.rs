//! Terms never fall, and an old term gets no positive answer (Raft 5.1).
//!
//! Kit-owned. Requests are not compared with each other: a preempted thread may send one of an old term
//! late, which is harmless. What counts is what a server had let others know before a request reached
//! it.

use std::collections::BTreeMap;

use labraft::{ServerId, Term};

use super::facts::Facts;
use super::{Check, Life, Reply, Request, Seen};
use crate::finding::Finding;

/// The highest term that each server has let others know of.
#[derive(Default)]
pub(super) struct TermsNeverFall {
    /// By promises that bind the server beyond a crash: votes, entries stored, and messages of a leader.
    promised: BTreeMap<ServerId, Term>,
    /// By words that bind it only for the present life: standing, and `get_state`.
    spoken: BTreeMap<Life, Term>,
    /// What `get_state` said last.
    stated: BTreeMap<Life, Term>,
    /// For each delivery of a request, by its number, the highest term its receiver had let others know of.
    floors: Vec<Term>,
}

impl TermsNeverFall {
    fn floor(&self, of: Life) -> Term {
        let promised = self.promised.get(&of.server).copied().unwrap_or(0);
        promised.max(self.spoken.get(&of).copied().unwrap_or(0))
    }

    fn promise(&mut self, server: ServerId, term: Term) {
        let promised = self.promised.entry(server).or_default();
        *promised = term.max(*promised);
    }

    fn speak(&mut self, life: Life, term: Term) {
        let spoken = self.spoken.entry(life).or_default();
        *spoken = term.max(*spoken);
    }
}

impl Check for TermsNeverFall {
    fn see(&mut self, seen: &Seen<'_>, facts: &Facts) -> Result<(), Finding> {
        match *seen {
            Seen::RequestLeft { from, request: Request::Vote(args) } => self.speak(from, args.term),
            Seen::RequestLeft { from, request } => self.promise(from.server, request.term()),
            Seen::RequestDelivered { to, delivery, .. } => {
                let delivery = delivery as usize;
                self.floors.resize(self.floors.len().max(delivery + 1), 0);
                self.floors[delivery] = self.floor(to);
            }
            Seen::ReplyLeft { from, request, reply, delivery, .. } => {
                let floor = self.floors.get(delivery as usize).copied().unwrap_or(0);
                if reply.term() < floor {
                    return Err(fallen(from.server, floor, reply.term(), "answered with"));
                }
                if reply.is_positive() && request.term() < floor {
                    return Err(Finding::safety(
                        "a server rejects requests of a term below its own (Raft 5.1)",
                        format!(
                            "S{}, known to be in term {floor}, rejects a request of term {}",
                            from.server,
                            request.term()
                        ),
                        format!("S{} agreed to a request of term {}", from.server, request.term()),
                    ));
                }
                let binds = match (request, reply) {
                    (Request::Append(args), Reply::Append(reply)) => {
                        reply.success && facts.binds(from.server, args)
                    }
                    _ => reply.grants_vote(),
                };
                if binds {
                    self.promise(from.server, request.term());
                }
            }
            Seen::State { of, term, .. } => {
                let before = self.stated.insert(of, term).unwrap_or(0);
                if term < before {
                    return Err(fallen(of.server, before, term, "says through get_state that it is in"));
                }
                self.speak(of, term);
            }
            Seen::Started { of, started, .. } => self.speak(of, started.term),
            _ => {}
        }
        Ok(())
    }
}

fn fallen(server: ServerId, before: Term, after: Term, how: &str) -> Finding {
    Finding::safety(
        "a server's term never falls (Raft 5.1)",
        format!("S{server}, known to be in term {before}, is in that term or a later one"),
        format!("S{server} {how} term {after}"),
    )
}
