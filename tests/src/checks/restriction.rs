//! Votes go only to candidates whose log is at least as up to date as the voter's (Raft 5.4.1).
//!
//! Kit-owned. The voter's log is what it has on disk, or, while disks do not count, what it has shown to
//! hold, by messages and acceptances that have left it: that `start` has returned shows nothing, because a
//! leader may append later, and never if it is deposed before. It is looked at both when the request arrives and when the vote leaves: between the two it may
//! have grown, or a leader may have cut it. So nothing is said of a voter that a leader spoke to
//! meanwhile, or that had yet to answer one.

use std::collections::{BTreeMap, BTreeSet};

use labraft::{Index, ServerId, Term};

use super::facts::{Facts, end_of};
use super::{Check, Life, Reply, Request, Scope, Seen};
use crate::finding::Finding;

/// Term and index of a log's last entry; greater is more up to date.
type Last = (Term, Index);

#[derive(Default)]
pub(super) struct VoteRestriction {
    /// For each vote request that was delivered: the voter's last entry then.
    asked: BTreeMap<u64, (Life, Last)>,
    /// Messages of leaders that were delivered and not yet answered.
    unanswered: BTreeSet<(Life, u64)>,
    shown: BTreeMap<ServerId, Shown>,
}

/// What a server has shown to hold.
#[derive(Clone, Copy, Default)]
struct Shown {
    /// In which term: what it holds may be cut once a leader of a later one speaks.
    term: Term,
    last: Last,
}

impl VoteRestriction {
    fn last_of(&self, voter: ServerId, facts: &Facts) -> Last {
        if facts.scope >= Scope::Disk {
            return facts.disks[voter].last();
        }
        match self.shown.get(&voter) {
            Some(shown) if !facts.has_lapsed(voter, shown.term) => shown.last,
            _ => (0, 0),
        }
    }

    fn show(&mut self, server: ServerId, term: Term, last: Last) {
        let shown = self.shown.entry(server).or_default();
        if term > shown.term {
            *shown = Shown { term, last };
        } else if term == shown.term {
            shown.last = shown.last.max(last);
        }
    }

    fn judge(
        &self,
        delivery: u64,
        voter: Life,
        candidate: ServerId,
        request: &Request,
        facts: &Facts,
    ) -> Result<(), Finding> {
        let (Request::Vote(args), Some(&(_, at_delivery))) = (request, self.asked.get(&delivery)) else {
            return Ok(());
        };
        let ours = at_delivery.min(self.last_of(voter.server, facts));
        if (args.last_log_term, args.last_log_index) >= ours {
            return Ok(());
        }
        Err(Finding::safety(
            "a server votes only for a candidate whose log is at least as up to date as its own (Raft 5.4.1)",
            format!(
                "S{} refuses S{candidate}: its own last entry is {} of term {}",
                voter.server, ours.1, ours.0
            ),
            format!(
                "S{} voted in term {} for S{candidate}, whose last entry is {} of term {}",
                voter.server, args.term, args.last_log_index, args.last_log_term
            ),
        ))
    }
}

impl Check for VoteRestriction {
    fn see(&mut self, seen: &Seen<'_>, facts: &Facts) -> Result<(), Finding> {
        match *seen {
            Seen::RequestDelivered { to, request, delivery } if request.is_leaders() => {
                self.asked.retain(|_, (voter, _)| *voter != to);
                self.unanswered.insert((to, delivery));
            }
            Seen::RequestDelivered { to, request: Request::Vote(_), delivery } => {
                let is_settled = self.unanswered.range((to, 0)..=(to, u64::MAX)).next().is_none();
                if is_settled {
                    self.asked.insert(delivery, (to, self.last_of(to.server, facts)));
                }
            }
            Seen::ReplyLeft { from, asker, request, reply, delivery } => {
                self.unanswered.remove(&(from, delivery));
                if reply.grants_vote() {
                    self.judge(delivery, from, asker, request, facts)?;
                }
                self.asked.remove(&delivery);
                if let (Request::Append(args), Reply::Append(reply)) = (request, reply)
                    && reply.success
                {
                    let (index, term) = end_of(args);
                    self.show(from.server, args.term, (term, index));
                }
            }
            Seen::RequestLeft { from, request: Request::Append(args) } => {
                let (index, term) = end_of(args);
                self.show(from.server, args.term, (term, index));
            }
            _ => {}
        }
        Ok(())
    }
}
