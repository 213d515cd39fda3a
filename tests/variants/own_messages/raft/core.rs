//! Raft as a machine: it is told what happened, and leaves behind what is to be saved, sent and delivered.
//!
//! Staff-owned; a part of `../raft.rs`, which does all that and tells it nothing else before it is done.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use labrpc::rng;
use labrpc::time::Instant;

use super::{Agreement, Ballot, Install, Outgoing, Position, PreVote, Replicate, Vote};
use crate::{ApplyMsg, Bytes, Command, Entry, Index, NotLeader, PersistentState, ServerId, Started, Term};

const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(90);
const ELECTION_TIMEOUT: Range<Duration> = Duration::from_millis(300)..Duration::from_millis(600);

/// Nobody would vote against a leader that was heard of so recently.
const LOYALTY: Duration = Duration::from_millis(250);

/// A snapshot is not sent again before this time is over.
const INSTALL_INTERVAL: Duration = Duration::from_millis(300);

/// The most entries that a message carries.
const MESSAGE_LIMIT: usize = 64;

pub(super) struct Core {
    me: ServerId,
    servers: usize,
    /// Term, vote and log, and the snapshot that belongs to them.
    kept: PersistentState,
    snapshot: Bytes,
    is_unsaved: bool,
    is_snapshot_unsaved: bool,
    role: Role,
    /// The next heartbeat of a leader, the next attempt of anybody else to become one.
    due: Instant,
    heard_of_leader: Option<Instant>,
    commit: Index,
    delivered: Index,
    outgoing: Vec<(ServerId, Outgoing)>,
}

enum Role {
    Follower,
    /// Would stand in the next term, if these and some more are for it.
    Asking(BTreeSet<ServerId>),
    Candidate(BTreeSet<ServerId>),
    Leader(Vec<Progress>),
}

#[derive(Clone)]
struct Progress {
    /// The highest index up to which the logs agree for certain.
    agreed: Index,
    /// The index from which on entries are sent.
    next: Index,
    installed_at: Option<Instant>,
}

/// What the server's surroundings ask of the machine.
impl Core {
    pub(super) fn new(me: ServerId, servers: usize, kept: PersistentState, snapshot: Bytes) -> Core {
        Core {
            me,
            servers,
            commit: kept.last_included.0,
            delivered: kept.last_included.0,
            kept,
            snapshot,
            is_unsaved: false,
            is_snapshot_unsaved: false,
            role: Role::Follower,
            due: Instant::now() + rng::duration(ELECTION_TIMEOUT),
            heard_of_leader: None,
            outgoing: Vec::new(),
        }
    }

    pub(super) fn state(&self) -> (Term, bool) {
        (self.kept.current_term, matches!(self.role, Role::Leader(_)))
    }

    pub(super) fn start(&mut self, command: Command) -> Result<Started, NotLeader> {
        let Role::Leader(_) = self.role else { return Err(NotLeader) };
        let term = self.kept.current_term;
        self.kept.log.push(Entry { term, command });
        self.is_unsaved = true;
        self.others().for_each(|follower| self.feed(follower));
        self.advance_commit();
        Ok(Started { index: self.last().0, term })
    }

    pub(super) fn compact(&mut self, index: Index, snapshot: Bytes) {
        if self.kept.last_included.0 < index && index <= self.delivered {
            let term = self.term_at(index).expect("what was delivered is in the log");
            self.cover((index, term), snapshot);
        }
    }

    pub(super) fn tick(&mut self) {
        let now = Instant::now();
        if now < self.due {
            return;
        }
        if let Role::Leader(_) = self.role {
            self.send_heartbeats();
            return;
        }
        self.due = now + rng::duration(ELECTION_TIMEOUT);
        self.role = Role::Asking(BTreeSet::from([self.me]));
        let question = PreVote { term: self.kept.current_term + 1, last: self.last() };
        self.send_all(|| Outgoing::PreVote(question.clone()));
        self.count();
    }

    /// What has to be saved before anything else is done.
    pub(super) fn take_unsaved(&mut self) -> Option<(&PersistentState, Option<Bytes>)> {
        let is_snapshot_unsaved = std::mem::take(&mut self.is_snapshot_unsaved);
        let is_unsaved = std::mem::take(&mut self.is_unsaved) || is_snapshot_unsaved;
        is_unsaved.then(|| (&self.kept, is_snapshot_unsaved.then(|| self.snapshot.clone())))
    }

    /// What is to be sent then, and whether there is something to deliver.
    pub(super) fn take_outgoing(&mut self) -> (Vec<(ServerId, Outgoing)>, bool) {
        (std::mem::take(&mut self.outgoing), self.delivered < self.commit)
    }

    pub(super) fn next_delivery(&mut self) -> Option<ApplyMsg> {
        let (covered, term) = self.kept.last_included;
        if self.delivered < covered {
            self.delivered = covered;
            return Some(ApplyMsg::Snapshot { index: covered, term, snapshot: self.snapshot.clone() });
        }
        if self.delivered == self.commit {
            return None;
        }
        let command = self.kept.log[self.delivered - covered].command.clone();
        self.delivered += 1;
        Some(ApplyMsg::Command { index: self.delivered, command })
    }
}

/// Elections.
impl Core {
    pub(super) fn pre_vote(&self, question: &PreVote) -> Ballot {
        let is_loyal = self.heard_of_leader.is_some_and(|heard| heard.elapsed() < LOYALTY);
        let is_leader = matches!(self.role, Role::Leader(_));
        let is_granted = question.term > self.kept.current_term
            && self.is_up_to_date(question.last)
            && !is_loyal
            && !is_leader;
        Ballot { term: self.kept.current_term, is_granted }
    }

    pub(super) fn vote(&mut self, question: &Vote) -> Ballot {
        self.observe(question.term);
        let term = self.kept.current_term;
        let is_free = [None, Some(question.candidate)].contains(&self.kept.voted_for);
        let is_granted = question.term == term && is_free && self.is_up_to_date(question.last);
        if is_granted {
            self.kept.voted_for = Some(question.candidate);
            self.is_unsaved = true;
            self.due = Instant::now() + rng::duration(ELECTION_TIMEOUT);
        }
        Ballot { term, is_granted }
    }

    pub(super) fn pre_voted(&mut self, voter: ServerId, term: Term, ballot: &Ballot) {
        self.observe(ballot.term);
        if let Role::Asking(voters) = &mut self.role
            && term == self.kept.current_term + 1
            && ballot.is_granted
        {
            voters.insert(voter);
            self.count();
        }
    }

    pub(super) fn voted(&mut self, voter: ServerId, term: Term, ballot: &Ballot) {
        self.observe(ballot.term);
        if let Role::Candidate(voters) = &mut self.role
            && term == self.kept.current_term
            && ballot.is_granted
        {
            voters.insert(voter);
            self.count();
        }
    }

    /// Takes the next step on the way to leadership if a majority is for it.
    fn count(&mut self) {
        let majority = self.servers / 2 + 1;
        match &self.role {
            Role::Asking(voters) if voters.len() >= majority => self.stand(),
            Role::Candidate(voters) if voters.len() >= majority => {
                let progress = Progress { agreed: 0, next: self.last().0 + 1, installed_at: None };
                self.role = Role::Leader(vec![progress; self.servers]);
                self.send_heartbeats();
            }
            _ => {}
        }
    }

    fn stand(&mut self) {
        self.kept.current_term += 1;
        self.kept.voted_for = Some(self.me);
        self.is_unsaved = true;
        self.role = Role::Candidate(BTreeSet::from([self.me]));
        self.due = Instant::now() + rng::duration(ELECTION_TIMEOUT);
        let question = Vote { term: self.kept.current_term, candidate: self.me, last: self.last() };
        self.send_all(|| Outgoing::Vote(question.clone()));
        self.count();
    }

    fn observe(&mut self, term: Term) {
        if term > self.kept.current_term {
            self.kept.current_term = term;
            self.kept.voted_for = None;
            self.is_unsaved = true;
            if let Role::Leader(_) = self.role {
                self.due = Instant::now() + rng::duration(ELECTION_TIMEOUT);
            }
            self.role = Role::Follower;
        }
    }

    /// Whether a log that ends with `last` has at least all that this one has, as far as can be known.
    fn is_up_to_date(&self, last: Position) -> bool {
        let (index, term) = self.last();
        (last.1, last.0) >= (term, index)
    }
}

/// The follower.
impl Core {
    pub(super) fn replicate(&mut self, message: Replicate) -> Agreement {
        if !self.follow(message.term) {
            return Agreement { term: self.kept.current_term, is_reached: false, index: 0 };
        }
        let (prev, covered) = (message.prev.0, self.kept.last_included.0);
        // Whatever is committed every later leader has, so there is no use in looking below that.
        let is_reached = prev <= self.commit || self.term_at(prev) == Some(message.prev.1);
        let index = if is_reached {
            let end = prev + message.entries.len();
            let fresh = message.entries.into_iter().zip(prev + 1..);
            for (entry, index) in fresh.skip_while(|(_, index)| *index <= covered) {
                // The message may be an old one, so what agrees with it stays, and what follows.
                if self.term_at(index) != Some(entry.term) {
                    self.kept.log.truncate(index - covered - 1);
                    self.kept.log.push(entry);
                    self.is_unsaved = true;
                }
            }
            self.commit = self.commit.max(message.commit.min(end));
            self.commit.max(end)
        } else {
            let highest = self.last().0.min(prev - 1);
            let differing = self.term_at(prev);
            let differs = |index: &Index| differing.is_some() && self.term_at(*index) == differing;
            highest - (self.commit + 1..highest + 1).rev().take_while(differs).count()
        };
        Agreement { term: self.kept.current_term, is_reached, index }
    }

    pub(super) fn install(&mut self, message: Install) -> Agreement {
        let is_reached = self.follow(message.term);
        if is_reached && message.last.0 > self.commit {
            self.commit = message.last.0;
            self.cover(message.last, message.snapshot);
        }
        Agreement { term: self.kept.current_term, is_reached, index: self.commit }
    }

    /// The leader of `term` has been heard of. Returns whether this server follows it.
    fn follow(&mut self, term: Term) -> bool {
        self.observe(term);
        let is_current = term == self.kept.current_term;
        if is_current {
            let now = Instant::now();
            self.role = Role::Follower;
            self.heard_of_leader = Some(now);
            self.due = now + rng::duration(ELECTION_TIMEOUT);
        }
        is_current
    }
}

/// The leader.
impl Core {
    fn send_heartbeats(&mut self) {
        self.due = Instant::now() + HEARTBEAT_INTERVAL;
        self.others().for_each(|follower| self.feed(follower));
    }

    /// Sends a follower what it has not acknowledged, or the snapshot if that is not in the log any more.
    fn feed(&mut self, follower: ServerId) {
        let ((covered, _), term) = (self.kept.last_included, self.kept.current_term);
        let Role::Leader(progress) = &mut self.role else { return };
        let Progress { next, installed_at, .. } = &mut progress[follower];
        let next = *next;
        if next <= covered && installed_at.is_none_or(|at| at.elapsed() >= INSTALL_INTERVAL) {
            *installed_at = Some(Instant::now());
            let message = Install { term, last: self.kept.last_included, snapshot: self.snapshot.clone() };
            self.outgoing.push((follower, Outgoing::Install(message)));
            return;
        }
        // A follower that is busy with a snapshot still has to hear of its leader.
        let limit = if next <= covered { 0 } else { MESSAGE_LIMIT };
        let prev = covered.max(next - 1);
        let entries = self.kept.log[prev - covered..].iter().take(limit).cloned().collect();
        let prev = (prev, self.term_at(prev).expect("it is in the log or just before it"));
        let message = Replicate { term, prev, entries, commit: self.commit };
        self.outgoing.push((follower, Outgoing::Replicate(message)));
    }

    /// A follower has answered what was sent to it in `term`; `prev` is 0 for a snapshot.
    pub(super) fn agreed(&mut self, follower: ServerId, term: Term, prev: Index, agreement: &Agreement) {
        self.observe(agreement.term);
        let last = self.last().0;
        let Role::Leader(progress) = &mut self.role else { return };
        if term != self.kept.current_term {
            return;
        }
        let Progress { agreed, next, .. } = &mut progress[follower];
        let before = *next;
        if agreement.is_reached {
            *agreed = (*agreed).max(agreement.index.min(last));
            *next = (*next).max(*agreed + 1);
        } else if prev + 1 == *next && prev > *agreed {
            *next = (agreement.index + 1).clamp(*agreed + 1, prev);
        }
        let next = *next;
        self.advance_commit();
        // Goes on at once where this was news; what was lost the next heartbeat repeats.
        if next != before && next <= last {
            self.feed(follower);
        }
    }

    /// Commits what a majority has, if it is of this term: other entries only along with such a one.
    fn advance_commit(&mut self) {
        let Role::Leader(progress) = &self.role else { return };
        let has = |server: ServerId| if server == self.me { self.last().0 } else { progress[server].agreed };
        let holders = |index: Index| (0..self.servers).filter(|&server| has(server) >= index).count();
        let reached = (0..self.servers).map(has).filter(|&index| holders(index) > self.servers / 2).max();
        if let Some(index) = reached
            && index > self.commit
            && self.term_at(index) == Some(self.kept.current_term)
        {
            self.commit = index;
        }
    }

    fn send_all(&mut self, message: impl Fn() -> Outgoing) {
        self.outgoing.extend(self.others().map(|server| (server, message())));
    }

    fn others(&self) -> impl Iterator<Item = ServerId> + use<> {
        let me = self.me;
        (0..self.servers).filter(move |&server| server != me)
    }
}

/// The log.
impl Core {
    /// The last position of the log, be it under the snapshot.
    fn last(&self) -> Position {
        let (covered, term) = self.kept.last_included;
        (covered + self.kept.log.len(), self.kept.log.last().map_or(term, |entry| entry.term))
    }

    /// The term at `index`, where it is in the log or the last that the snapshot covers.
    fn term_at(&self, index: Index) -> Option<Term> {
        let (covered, term) = self.kept.last_included;
        match index.checked_sub(covered)? {
            0 => Some(term),
            place => self.kept.log.get(place - 1).map(|entry| entry.term),
        }
    }

    /// Replaces the log up to `last` by a snapshot. What follows stays if it is known to.
    fn cover(&mut self, last: Position, snapshot: Bytes) {
        if self.term_at(last.0) == Some(last.1) {
            self.kept.log.drain(..last.0 - self.kept.last_included.0);
        } else {
            self.kept.log.clear();
        }
        self.kept.last_included = last;
        self.snapshot = snapshot;
        self.is_snapshot_unsaved = true;
    }
}
