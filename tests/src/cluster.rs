//! A cluster of Raft servers, in the classic vocabulary of the labs.
//!
//! Kit-owned. Tests are written in these words. A method that waits for something fails the run, with
//! an explanation, when a correct Raft would have done it by then.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use labraft::{ServerId, Term};
use labrpc::{HeldMessage, Purpose, Rule, Stream, World, thread};

use crate::checks::Life;
use crate::finding::Finding;
use crate::limits::{
    CALLS_RETURN_WITHIN, FAILED_ELECTIONS_MAX, LEADER_AT_LAST, LEADER_WAIT, POLL_INTERVAL, QUIET_AFTER,
    SILENCE_MAX,
};
use crate::server::{Server, node_of, server_of};
use crate::watch::Watch;

/// A running cluster, and the hands on its cables.
pub struct Cluster {
    world: World,
    watch: Rc<Watch>,
    members: Vec<Member>,
    faults: Stream,
    /// When a fault was last made or mended, and the number of the last call made before.
    changed: (Duration, u64),
    /// When the window began in which the cluster can be expected to make progress.
    fair_since: Option<Duration>,
    measures: BTreeMap<String, f64>,
}

struct Member {
    server: Server,
    is_connected: bool,
}

/// What a poll of the connected servers showed.
struct Poll {
    highest_term: Term,
    leaders: Vec<(Term, ServerId)>,
}

impl Cluster {
    /// Starts `servers` servers on a reliable network.
    pub(crate) fn new(world: World, servers: usize, watch: Rc<Watch>) -> Cluster {
        for server in 0..servers {
            let node = world.add_node(&format!("S{server}"));
            assert_eq!(node, node_of(server), "servers are the first nodes of their world");
        }
        let faults = world.stream(Purpose::Faults, 0);
        let members = (0..servers).map(|id| Member { server: Server::new(id), is_connected: true }).collect();
        let changed = (Duration::ZERO, 0);
        let mut cluster =
            Cluster { world, watch, members, faults, changed, fair_since: None, measures: BTreeMap::new() };
        (0..cluster.len()).for_each(|server| cluster.start1(server));
        cluster
    }

    /// How many servers there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Never: a cluster has servers.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The world in which the cluster runs.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The stream from which a test draws its faults.
    pub fn faults(&mut self) -> &mut Stream {
        &mut self.faults
    }

    /// Lets virtual time pass.
    pub fn sleep(&self, span: Duration) {
        thread::sleep(span);
    }

    /// Ends the run with a finding.
    pub fn fail(&self, finding: Finding) -> ! {
        self.watch.fail(finding)
    }

    pub(crate) fn into_measures(self) -> BTreeMap<String, f64> {
        self.measures
    }

    fn start1(&mut self, server: ServerId) {
        if let Err(finding) = self.members[server].server.start(&self.world, self.len()) {
            self.fail(finding);
        }
    }

    /// What a server says of itself; `None` when it is down.
    pub fn get_state(&self, server: ServerId) -> Option<(Term, bool)> {
        match self.members[server].server.get_state(&self.world) {
            Err(finding) => self.fail(finding),
            Ok(state) => {
                if let Some((term, is_leader)) = state {
                    let of = Life { server, incarnation: self.world.incarnation(node_of(server)) };
                    self.watch.state(of, term, is_leader);
                }
                state
            }
        }
    }
}

/// Faults.
impl Cluster {
    /// Cuts a server off from all others, in both directions.
    pub fn disconnect(&mut self, server: ServerId) {
        self.set_connected(server, false);
        self.world.note_network(&format!("S{server} is cut off"));
    }

    /// Reconnects a server to all others that are connected.
    pub fn connect(&mut self, server: ServerId) {
        self.set_connected(server, true);
        self.world.note_network(&format!("S{server} is connected"));
    }

    /// The servers that are not cut off.
    pub fn connected(&self) -> Vec<ServerId> {
        (0..self.len()).filter(|&server| self.members[server].is_connected).collect()
    }

    /// Divides the cluster into groups whose servers reach each other and nobody else. A server that is
    /// in no group is alone.
    pub fn partition(&mut self, groups: &[&[ServerId]]) {
        for from in 0..self.len() {
            for to in 0..self.len() {
                let together = groups.iter().any(|group| group.contains(&from) && group.contains(&to));
                self.set_cut(from, to, !together);
            }
        }
        self.world.note_network(&format!("divided into {groups:?}"));
        self.note_change();
    }

    /// Connects everybody with everybody and lifts every rule. Held messages stay held.
    pub fn heal(&mut self) {
        self.world.clear_rules();
        for server in 0..self.len() {
            self.members[server].is_connected = true;
            (0..self.len()).for_each(|peer| self.set_cut(server, peer, false));
        }
        self.world.note_network("healed");
        self.note_change();
    }

    /// Cuts the link on which `from` sends to `to`.
    pub fn cut(&mut self, from: ServerId, to: ServerId) {
        self.set_cut(from, to, true);
        self.world.note_network(&format!("S{from} cannot send to S{to}"));
        self.note_change();
    }

    /// Adds a rule to the network.
    pub fn add_rule(&mut self, rule: Rule) {
        self.world.note_network(&rule.describe(|node| format!("S{}", server_of(node))));
        self.world.add_rule(rule);
        self.note_change();
    }

    /// Sends on the held messages that `select` picks.
    pub fn release(&mut self, select: impl Fn(&HeldMessage) -> bool) -> usize {
        let released = self.world.release(select);
        self.world.note_network(&format!("{released} held messages released"));
        self.note_change();
        released
    }

    fn set_connected(&mut self, server: ServerId, is_connected: bool) {
        self.members[server].is_connected = is_connected;
        for peer in 0..self.len() {
            let cut = !(is_connected && self.members[peer].is_connected);
            self.set_cut(server, peer, cut);
            self.set_cut(peer, server, cut);
        }
        self.note_change();
    }

    fn set_cut(&self, from: ServerId, to: ServerId, cut: bool) {
        if from == to {
            return;
        }
        if cut {
            self.world.cut(node_of(from), node_of(to));
        } else {
            self.world.mend(node_of(from), node_of(to));
        }
    }

    fn note_change(&mut self) {
        self.changed = (self.world.now(), self.world.calls_made());
        self.fair_since = None;
    }
}

/// Checks.
impl Cluster {
    /// Waits until exactly one connected server leads the highest term among them, and returns it.
    pub fn check_one_leader(&mut self) -> ServerId {
        let asked = self.world.now();
        loop {
            let poll = self.poll();
            if let Some(&(_, leader)) = poll.leaders.iter().find(|(term, _)| *term == poll.highest_term) {
                let waited = (self.world.now() - asked).as_secs_f64();
                let longest = self.measures.entry(LEADER_WAIT.into()).or_default();
                *longest = longest.max(waited);
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
        let start = self.world.now();
        let term = self.check_terms();
        self.sleep(span);
        let stand = self.watch.elections(|elections| elections.stand_after(start));
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
        let asked = self.world.now();
        loop {
            let leader = self.check_one_leader();
            let states: Vec<_> =
                self.connected().iter().filter_map(|&server| self.get_state(server)).collect();
            let one_term = states.iter().all(|state| state.0 == states[0].0);
            if one_term && states.iter().filter(|state| state.1).count() == 1 {
                return leader;
            }
            if self.world.now() - asked > LEADER_AT_LAST {
                self.fail(Finding::liveness(
                    "servers that hear from a leader follow it (Raft 5.1)",
                    "all connected servers in the leader's term",
                    format!("S{leader} leads, but the connected servers do not settle in one term"),
                ));
            }
            self.sleep(POLL_INTERVAL);
        }
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
        let now = self.world.now();
        let reason = if failed.len() >= FAILED_ELECTIONS_MAX {
            format!("servers stood in {} terms in a row and nobody won", failed.len())
        } else if now - last_sign.max(start) >= SILENCE_MAX {
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

    /// When the present fair window began: the network has been left alone, and every call that was
    /// under way at the last change has returned. `None` while it has not begun.
    fn fair_window(&mut self) -> Option<Duration> {
        if self.fair_since.is_none() {
            let (changed_at, last_call) = self.changed;
            let now = self.world.now();
            let settled = self.world.oldest_call().is_none_or(|oldest| oldest > last_call);
            if settled || now - changed_at >= CALLS_RETURN_WITHIN {
                self.fair_since = Some(now);
            }
        }
        self.fair_since
    }
}
