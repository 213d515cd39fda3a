//! How a cluster elects leaders, and whether it gets anywhere with it.
//!
//! Kit-owned.

use std::time::Duration;

use labraft::{ServerId, Term};

use crate::cluster::Cluster;
use crate::finding::Finding;
use crate::limits::{
    FAILED_ELECTIONS_MAX, LEADER_AT_LAST, LEADER_WAIT, POLL_INTERVAL, QUIET_AFTER, SILENCE_MAX,
};

/// What a poll of the connected servers showed.
struct Poll {
    highest_term: Term,
    leaders: Vec<(Term, ServerId)>,
}

/// Leaders.
impl Cluster {
    /// Waits until exactly one connected server leads the highest term among them, and returns it.
    pub fn check_one_leader(&mut self) -> ServerId {
        let asked = self.now();
        loop {
            let poll = self.poll();
            if let Some(&(_, leader)) = poll.leaders.iter().find(|(term, _)| *term == poll.highest_term) {
                let waited = (self.now() - asked).as_secs_f64();
                self.measure(LEADER_WAIT, waited);
                return leader;
            }
            let connected = self.connected();
            self.check_progress_of(&connected);
            self.sleep(POLL_INTERVAL);
        }
    }

    /// Checks that the connected servers are in one term, and returns it.
    pub fn check_terms(&mut self) -> Term {
        let mut common: Option<(Term, ServerId)> = None;
        for server in self.connected() {
            let Some((term, _)) = self.get_state(server) else { continue };
            match common {
                Some((other, earlier)) if other != term => self.fail(Finding::liveness(
                    "servers that hear from a leader are in its term (Raft 5.1)",
                    "all connected servers in the same term",
                    format!(
                        "servers disagree on term: S{earlier} is in term {other}, S{server} in term {term}"
                    ),
                )),
                _ => common = Some((term, server)),
            }
        }
        common.map_or(0, |(term, _)| term)
    }

    /// Checks that no connected server believes itself to be leader.
    pub fn check_no_leader(&mut self) {
        for server in self.connected() {
            if let Some((term, true)) = self.get_state(server) {
                self.fail(Finding::safety(
                    "without a majority nobody becomes leader (Raft 5.2)",
                    "no leader among the connected servers",
                    format!("S{server} says that it leads term {term}"),
                ));
            }
        }
    }

    /// Waits until all connected servers follow one leader, gives late messages time to die down, and
    /// then checks for `span` that nobody stands for election.
    pub fn check_quiet(&mut self, span: Duration) {
        self.check_settled();
        self.sleep(QUIET_AFTER);
        let start = self.now();
        let term = self.check_terms();
        self.sleep(span);
        let connected = self.connected();
        let stand = self.watch.elections(|elections| elections.stand_after(start, &connected));
        if let Some((at, server, new_term)) = stand {
            self.fail(Finding::liveness(
                "while the leader is well, nobody stands for election (Raft 5.2)",
                format!("term {term} lasts, as there were no failures"),
                format!(
                    "S{server} stood for election in term {new_term} at t={:.3}s, although there were no failures",
                    at.as_secs_f64()
                ),
            ));
        }
    }

    /// Waits until one connected server leads and all others are in its term.
    pub fn check_settled(&mut self) -> ServerId {
        let asked = self.now();
        loop {
            let leader = self.check_one_leader();
            let states: Vec<_> =
                self.connected().iter().filter_map(|&server| self.get_state(server)).collect();
            let one_term = states.iter().all(|state| state.0 == states[0].0);
            if one_term && states.iter().filter(|state| state.1).count() == 1 {
                return leader;
            }
            if self.now() - asked > LEADER_AT_LAST {
                self.fail(Finding::liveness(
                    "servers that hear from a leader follow it (Raft 5.1)",
                    "all connected servers in the leader's term",
                    format!("S{leader} leads, but the connected servers do not settle in one term"),
                ));
            }
            self.sleep(POLL_INTERVAL);
        }
    }

    /// Which of `servers` leads the latest term, as far as any of them says that it leads.
    pub(crate) fn latest_leader_of(&self, servers: &[ServerId]) -> Option<ServerId> {
        let leads = |&server: &ServerId| match self.get_state(server) {
            Some((term, true)) => Some((term, server)),
            _ => None,
        };
        servers.iter().filter_map(leads).max().map(|(_, leader)| leader)
    }

    fn poll(&mut self) -> Poll {
        let mut poll = Poll { highest_term: 0, leaders: Vec::new() };
        for server in self.connected() {
            if let Some((term, is_leader)) = self.get_state(server) {
                poll.highest_term = term.max(poll.highest_term);
                if is_leader {
                    poll.leaders.push((term, server));
                }
            }
        }
        poll
    }

    /// Fails the run if `servers`, a majority that can reach each other, would have a leader by now if
    /// they were correct. To be called again and again while none is there.
    pub fn check_progress_of(&mut self, servers: &[ServerId]) {
        let Some(start) = self.fair_window() else { return };
        let (failed, last_sign) = self
            .watch
            .elections(|elections| (elections.failed_since(start, servers), elections.last_sign_of(servers)));
        let now = self.now();
        let is_heard = self.watch.is_readable();
        let reason = if is_heard && failed.len() >= FAILED_ELECTIONS_MAX {
            format!("servers stood in {} terms in a row and nobody won", failed.len())
        } else if is_heard && now - last_sign.max(start) >= SILENCE_MAX {
            format!("nobody has stood for election for {} s", SILENCE_MAX.as_secs())
        } else if now - start >= LEADER_AT_LAST {
            format!("{} s have passed", LEADER_AT_LAST.as_secs())
        } else {
            return;
        };
        self.fail(Finding::liveness(
            "servers that reach each other elect a leader (Raft 5.2)",
            "one leader among the connected servers",
            format!("expected one leader, got none: {reason}"),
        ));
    }
}
