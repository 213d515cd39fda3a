//! An account of the elections of a run, kept from what servers say on the wire.
//!
//! Kit-owned. The harness does not know a student's time-outs, so whether a cluster is getting anywhere
//! is judged by what its servers do: whether they stand, and whether anyone wins.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use labraft::{ServerId, Term};

use crate::checks::{Request, Seen};

/// Who stood and who led, and when.
#[derive(Debug, Default)]
pub(crate) struct Elections {
    /// For each server and term, when it first asked for votes.
    stood: BTreeMap<(Term, ServerId), Duration>,
    /// When any server last asked for votes or spoke as a leader, by server.
    last_sign: BTreeMap<ServerId, Duration>,
    /// The terms in which a leader spoke.
    led: BTreeSet<Term>,
}

impl Elections {
    pub(crate) fn see(&mut self, at: Duration, seen: &Seen<'_>) {
        let Seen::RequestLeft { from, request } = *seen else { return };
        self.last_sign.insert(from.server, at);
        match request {
            Request::Vote(args) => {
                self.stood.entry((args.term, from.server)).or_insert(at);
            }
            _ => {
                self.led.insert(request.term());
            }
        }
    }

    /// The terms after the last one that had a leader in which one of `servers` stood since `start`.
    pub(crate) fn failed_since(&self, start: Duration, servers: &[ServerId]) -> Vec<Term> {
        let last_led = self.led.last().copied().unwrap_or(0);
        let in_vain = |(&(term, server), &at): (&(Term, ServerId), &Duration)| {
            (term > last_led && at >= start && servers.contains(&server)).then_some(term)
        };
        let mut terms: Vec<Term> = self.stood.iter().filter_map(in_vain).collect();
        terms.dedup();
        terms
    }

    /// When one of `servers` last stood or led.
    pub(crate) fn last_sign_of(&self, servers: &[ServerId]) -> Duration {
        servers.iter().filter_map(|server| self.last_sign.get(server)).max().copied().unwrap_or_default()
    }

    /// The first candidacy of one of `servers` that began after `start`.
    pub(crate) fn stand_after(
        &self,
        start: Duration,
        servers: &[ServerId],
    ) -> Option<(Duration, ServerId, Term)> {
        let after = self.stood.iter().filter(|((_, server), at)| **at > start && servers.contains(server));
        after.map(|(&(term, server), &at)| (at, server, term)).min()
    }
}
