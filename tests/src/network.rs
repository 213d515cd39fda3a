//! What befalls a cluster: cut cables, rules, crashes, slow and paused servers.
//!
//! Kit-owned.

use std::ops::Range;
use std::time::Duration;

use labraft::ServerId;
use labrpc::{Effect, HeldMessage, InFlight, Kinds, Leg, Moment, Rule, RuleId, unreliable};

use crate::cluster::Cluster;
use crate::server::{node_of, server_of};

/// A longer delay than this is a fault: a server may take the silence for a failure.
const FAIR_DELAY: Duration = Duration::from_millis(10);

/// The network.
impl Cluster {
    /// Cuts a server off from all others, in both directions.
    pub fn disconnect(&mut self, server: ServerId) {
        self.set_connected(server, false);
        self.world().note_network(&format!("S{server} is cut off"));
    }

    /// Reconnects a server to all others that are connected.
    pub fn connect(&mut self, server: ServerId) {
        self.set_connected(server, true);
        self.world().note_network(&format!("S{server} is connected"));
    }

    /// The servers that are up and not cut off.
    pub fn connected(&self) -> Vec<ServerId> {
        let is_connected = |&server: &ServerId| self.members[server].is_connected && self.is_up(server);
        (0..self.len()).filter(is_connected).collect()
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
        self.world().note_network(&format!("divided into {groups:?}"));
        self.note_change();
    }

    /// Connects everybody with everybody, lifts every rule, and lets slow and paused servers recover. Held
    /// messages stay held, and servers that have crashed stay down.
    pub fn heal(&mut self) {
        self.world().clear_rules();
        self.lossy_rules.clear();
        for server in 0..self.len() {
            self.members[server].is_connected = true;
            (0..self.len()).for_each(|peer| self.set_cut(server, peer, false));
            if self.members[server].is_paused {
                self.resume(server);
            }
            if self.members[server].is_slow {
                self.slow(server, Duration::ZERO..Duration::ZERO);
                self.slow_disk(server, Duration::ZERO..Duration::ZERO);
            }
        }
        self.end_stalls();
        self.world().note_network("healed");
        self.note_change();
    }

    /// Cuts the link on which `from` sends to `to`.
    pub fn cut(&mut self, from: ServerId, to: ServerId) {
        self.set_cut(from, to, true);
        self.world().note_network(&format!("S{from} cannot send to S{to}"));
        self.note_change();
    }

    /// Mends the link on which `from` sends to `to`.
    pub fn mend(&mut self, from: ServerId, to: ServerId) {
        self.set_cut(from, to, false);
        self.world().note_network(&format!("S{from} can send to S{to} again"));
        self.note_change();
    }

    /// Adds a rule to the network.
    pub fn add_rule(&mut self, rule: Rule) -> RuleId {
        let name = |node| match server_of(node).checked_sub(self.len()) {
            None => format!("S{}", server_of(node)),
            Some(client) => format!("C{client}"),
        };
        self.world().note_network(&rule.describe(name));
        let is_fair = match &rule.effect {
            Effect::Delay(range) => range.end <= FAIR_DELAY,
            Effect::Duplicate { .. } => true,
            Effect::ExtraDelay { .. } | Effect::Lose(_) | Effect::Hold => false,
        };
        let id = self.world().add_rule(rule);
        if !is_fair {
            self.lossy_rules.push(id);
        }
        self.note_change();
        id
    }

    /// Makes every link unreliable: requests take up to 26 ms, and each way a tenth is lost.
    pub fn make_unreliable(&mut self) {
        for rule in unreliable() {
            self.add_rule(rule);
        }
    }

    /// Removes a rule. Messages it held stay held.
    pub fn remove_rule(&mut self, rule: RuleId) {
        self.world().remove_rule(rule);
        self.lossy_rules.retain(|&lossy| lossy != rule);
        self.note_change();
    }

    /// Sends on the held messages that `select` picks.
    pub fn release(&mut self, select: impl Fn(&HeldMessage) -> bool) -> usize {
        let released = self.world().release(select);
        self.world().note_network(&format!("{released} held messages released"));
        self.note_change();
        released
    }

    /// The messages of this kind; those of all kinds where servers have messages of their own.
    pub fn kinds(&self, kind: &'static str) -> Kinds {
        if self.is_readable() { Kinds::Only(kind) } else { Kinds::All }
    }

    /// This leg; both where servers have messages of their own, as an answer may be a request there.
    pub fn leg(&self, leg: Leg) -> Option<Leg> {
        self.is_readable().then_some(leg)
    }

    /// The moment after a server has sent this. Where servers have messages of their own it is told by what
    /// the message does.
    pub fn sent(&self, leg: Leg, kind: &'static str) -> Moment {
        if self.is_readable() { Moment::Sent { leg, kind } } else { sent_by_deed(leg) }
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
            self.world().cut(node_of(from), node_of(to));
        } else {
            self.world().mend(node_of(from), node_of(to));
        }
    }
}

/// The servers.
impl Cluster {
    /// True while the server has not crashed.
    pub fn is_up(&self, server: ServerId) -> bool {
        self.world().is_up(node_of(server))
    }

    /// Crashes a server: what it has not saved is gone, and so are its messages on their way.
    pub fn crash1(&mut self, server: ServerId) {
        self.crash_with(server, InFlight::Dropped);
    }

    /// Crashes a server, with a choice of what becomes of its messages on their way.
    pub fn crash_with(&mut self, server: ServerId, in_flight: InFlight) {
        self.world().forget_crashes(node_of(server));
        self.world().crash_with(node_of(server), in_flight);
        self.members[server].server.forget();
        self.note_change();
    }

    /// Makes a server crash when it comes to `moment` for the `nth` time from now, counted from 1.
    pub fn crash_at(&mut self, server: ServerId, moment: Moment, nth: u32, in_flight: InFlight) {
        self.world().crash_at(node_of(server), moment, nth, in_flight);
        self.note_change();
    }

    /// Starts a server that is down, from what it has saved. Does nothing when it is up.
    pub fn start1(&mut self, server: ServerId) {
        self.world().forget_crashes(node_of(server));
        if !self.is_up(server) {
            self.members[server].server.forget();
            self.boot(server);
            self.note_change();
        }
    }

    /// Crashes a server and starts it again at once.
    pub fn restart(&mut self, server: ServerId) {
        self.crash1(server);
        self.start1(server);
    }

    /// Stops the threads of a server where they stand, until [`Cluster::resume`].
    pub fn pause(&mut self, server: ServerId) {
        self.world().pause(node_of(server));
        self.members[server].is_paused = true;
        self.note_change();
    }

    /// Lets a paused server go on.
    pub fn resume(&mut self, server: ServerId) {
        self.world().resume(node_of(server));
        self.members[server].is_paused = false;
        self.note_change();
    }

    /// Makes a server's threads wake up late by a draw from `lateness`; an empty range ends it.
    pub fn slow(&mut self, server: ServerId, lateness: Range<Duration>) {
        self.members[server].is_slow = !lateness.is_empty();
        self.world().slow(node_of(server), lateness);
        self.note_change();
    }

    /// Makes every save of a server take a draw from `delay`; an empty range ends it.
    pub fn slow_disk(&mut self, server: ServerId, delay: Range<Duration>) {
        self.members[server].is_slow |= !delay.is_empty();
        self.world().set_disk_delay(node_of(server), delay);
        self.note_change();
    }
}

/// The moment after a server has sent a message that the test cannot name: a reply between servers is a promise, and
/// follows a save.
pub(crate) fn sent_by_deed(leg: Leg) -> Moment {
    match leg {
        Leg::Reply => Moment::SentAfterSave,
        Leg::Request => Moment::SentAny,
    }
}
