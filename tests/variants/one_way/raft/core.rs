//! Raft as a machine: it receives messages, and leaves behind what is to be saved, sent and delivered.
//!
//! Staff-owned; a part of `../raft.rs`. A message that promises something, a vote or an acknowledgement or a
//! candidacy, waits in `promises` until what it rests on is on disk; a leader's messages are ready at once.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use labrpc::rng;
use labrpc::time::Instant;
use serde::{Deserialize, Serialize};

use super::log::{Item, Log, Place, Position, Snapshot};
use crate::{ApplyMsg, Bytes, Command, Index, NotLeader, PersistentState, ServerId, Started, Term};

const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(80);
const ELECTION_TIMEOUT: Range<Duration> = Duration::from_millis(350)..Duration::from_millis(750);

/// The most items that a message carries.
const MESSAGE_LIMIT: usize = 64;

/// What servers say to each other. Each has its sender's term.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Message {
    term: Term,
    what: What,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum What {
    /// Asks for a vote, with the end of the candidate's log.
    Stand(Position),
    Vote,
    /// The items after a place, and up to where everything is committed.
    Append {
        prev: Position,
        items: Vec<Item>,
        commit: Place,
    },
    Install(Snapshot),
    /// The logs agree up to here.
    Agreed(Place),
    /// The follower's log differs at the place that was asked about, and may agree up to `hint`.
    Differs {
        asked: Place,
        hint: Place,
    },
    /// The answer to a message of an earlier term; its term says it all.
    Late,
}

/// Something to be saved, and the messages that wait for it.
pub(super) struct Work {
    /// `None` where all is on disk that the messages rest on.
    pub(super) state: Option<PersistentState>,
    pub(super) snapshot: Option<Bytes>,
    pub(super) promises: Vec<(ServerId, Message)>,
    last: Place,
    cuts: u64,
}

pub(super) struct Core {
    me: ServerId,
    servers: usize,
    term: Term,
    voted_for: Option<ServerId>,
    log: Log,
    snapshot: Bytes,
    is_unsaved: bool,
    is_snapshot_unsaved: bool,
    /// Up to where the log is on disk.
    saved: Place,
    /// How often the end of the log was dropped.
    cuts: u64,
    role: Role,
    due: Instant,
    commit: Place,
    delivered: Place,
    ready: Vec<(ServerId, Message)>,
    promises: Vec<(ServerId, Message)>,
}

enum Role {
    Follower,
    Candidate(BTreeSet<ServerId>),
    Leader(Vec<Progress>),
}

#[derive(Clone)]
struct Progress {
    agreed: Place,
    /// What was sent up to here is on its way, for all that is known.
    next: Place,
}

/// What the server's surroundings ask of the machine.
impl Core {
    pub(super) fn new(me: ServerId, servers: usize, state: PersistentState, snapshot: Bytes) -> Core {
        let log = Log::load(&state);
        let base = log.base.0;
        Core {
            me,
            servers,
            term: state.current_term,
            voted_for: state.voted_for,
            saved: log.last().0,
            log,
            snapshot,
            is_unsaved: false,
            is_snapshot_unsaved: false,
            cuts: 0,
            role: Role::Follower,
            due: Instant::now() + rng::duration(ELECTION_TIMEOUT),
            commit: base,
            delivered: base,
            ready: Vec::new(),
            promises: Vec::new(),
        }
    }

    pub(super) fn state(&self) -> (Term, bool) {
        (self.term, matches!(self.role, Role::Leader(_)))
    }

    pub(super) fn start(&mut self, command: Command) -> Result<Started, NotLeader> {
        let Role::Leader(_) = self.role else { return Err(NotLeader) };
        let index = self.log.push(self.term, Some(command));
        self.is_unsaved = true;
        self.others().for_each(|follower| self.feed(follower));
        Ok(Started { index, term: self.term })
    }

    pub(super) fn compact(&mut self, index: Index, snapshot: Bytes) {
        let place = self.log.place_of(index).filter(|place| *place <= self.delivered);
        if let Some(place) = place {
            let term = self.log.term_at(place).expect("it is in the log");
            self.cover(Snapshot { base: (place, term), index, bytes: snapshot });
        }
    }

    pub(super) fn tick(&mut self) {
        let now = Instant::now();
        if now < self.due {
            return;
        }
        if let Role::Leader(_) = self.role {
            self.due = now + HEARTBEAT_INTERVAL;
            self.others().for_each(|follower| self.append(follower));
            return;
        }
        self.enter(self.term + 1);
        self.voted_for = Some(self.me);
        self.role = Role::Candidate(BTreeSet::new());
        self.due = now + rng::duration(ELECTION_TIMEOUT);
        let last = self.log.last();
        self.others().for_each(|voter| self.promise(voter, What::Stand(last)));
        // Its own vote counts once it is saved, as any other: it comes to itself the same way.
        self.promise(self.me, What::Vote);
    }

    pub(super) fn take_ready(&mut self) -> Vec<(ServerId, Message)> {
        std::mem::take(&mut self.ready)
    }

    pub(super) fn has_unsaved(&self) -> bool {
        self.is_unsaved || !self.promises.is_empty()
    }

    /// What to save next; `None` when there is nothing.
    pub(super) fn take_unsaved(&mut self) -> Option<Work> {
        if !self.has_unsaved() {
            return None;
        }
        let state = std::mem::take(&mut self.is_unsaved).then(|| {
            let (log, last_included) = self.log.to_save();
            PersistentState { current_term: self.term, voted_for: self.voted_for, log, last_included }
        });
        let snapshot = std::mem::take(&mut self.is_snapshot_unsaved).then(|| self.snapshot.clone());
        let promises = std::mem::take(&mut self.promises);
        Some(Work { state, snapshot, promises, last: self.log.last().0, cuts: self.cuts })
    }

    /// That is on disk now.
    pub(super) fn saved(&mut self, work: &Work) {
        if work.cuts == self.cuts {
            self.saved = self.saved.max(work.last);
        }
        let is_own_vote = |(to, message): &&(ServerId, Message)| *to == self.me && message.term == self.term;
        if work.promises.iter().any(|promise| is_own_vote(&promise)) {
            self.count(self.me);
        }
        self.advance_commit();
    }

    pub(super) fn has_deliveries(&self) -> bool {
        self.delivered < self.commit
    }

    pub(super) fn next_delivery(&mut self) -> Option<ApplyMsg> {
        if self.delivered < self.log.base.0 {
            self.delivered = self.log.base.0;
            let (index, term) = (self.log.base_index, self.log.base.1);
            return Some(ApplyMsg::Snapshot { index, term, snapshot: self.snapshot.clone() });
        }
        while self.delivered < self.commit {
            let item = &self.log.after(self.delivered)[0];
            self.delivered += 1;
            // Entries without a command are no business of the service.
            if let Some(command) = item.command.clone() {
                return Some(ApplyMsg::Command { index: item.index, command });
            }
        }
        None
    }
}

/// What others say.
impl Core {
    pub(super) fn receive(&mut self, from: ServerId, message: Message) {
        let Message { term, what } = message;
        if term > self.term {
            self.enter(term);
        }
        if term < self.term {
            if let What::Stand(_) | What::Append { .. } | What::Install(_) = what {
                self.promise(from, What::Late);
            }
            return;
        }
        match what {
            What::Stand(last) => self.asked_for_vote(from, last),
            What::Vote => self.count(from),
            What::Append { prev, items, commit } => {
                self.follow();
                self.append_items(from, prev, items, commit);
            }
            What::Install(snapshot) => {
                self.follow();
                if snapshot.base.0 > self.commit {
                    self.commit = snapshot.base.0;
                    self.cover(snapshot);
                }
                self.promise(from, What::Agreed(self.commit));
            }
            What::Agreed(place) => self.agreed(from, place),
            What::Differs { asked, hint } => self.differs(from, asked, hint),
            What::Late => {}
        }
    }

    fn enter(&mut self, term: Term) {
        if let Role::Leader(_) = self.role {
            self.due = Instant::now() + rng::duration(ELECTION_TIMEOUT);
        }
        self.term = term;
        self.voted_for = None;
        self.role = Role::Follower;
        self.is_unsaved = true;
    }

    fn asked_for_vote(&mut self, candidate: ServerId, last: Position) {
        let (place, term) = self.log.last();
        let is_up_to_date = (last.1, last.0) >= (term, place);
        if is_up_to_date && [None, Some(candidate)].contains(&self.voted_for) {
            self.voted_for = Some(candidate);
            self.is_unsaved = true;
            self.due = Instant::now() + rng::duration(ELECTION_TIMEOUT);
            self.promise(candidate, What::Vote);
        }
    }

    /// A vote of this term has come.
    fn count(&mut self, voter: ServerId) {
        let Role::Candidate(voters) = &mut self.role else { return };
        voters.insert(voter);
        if voters.len() <= self.servers / 2 {
            return;
        }
        let next = self.log.last().0 + 1;
        self.role = Role::Leader(vec![Progress { agreed: 0, next }; self.servers]);
        self.due = Instant::now() + HEARTBEAT_INTERVAL;
        self.log.push(self.term, None);
        self.is_unsaved = true;
        self.others().for_each(|follower| self.append(follower));
    }

    fn follow(&mut self) {
        self.role = Role::Follower;
        self.due = Instant::now() + rng::duration(ELECTION_TIMEOUT);
    }

    fn append_items(&mut self, leader: ServerId, prev: Position, items: Vec<Item>, commit: Place) {
        // Whatever is committed every later leader has, so there is no use in looking below that.
        if prev.0 > self.commit && self.log.term_at(prev.0) != Some(prev.1) {
            let highest = self.log.last().0.min(prev.0 - 1);
            let differing = self.log.term_at(prev.0);
            let differs = |place: &Place| differing.is_some() && self.log.term_at(*place) == differing;
            let differing = (self.commit + 1..highest + 1).rev().take_while(differs).count();
            self.promise(leader, What::Differs { asked: prev.0, hint: highest - differing });
            return;
        }
        let end = prev.0 + items.len();
        for (item, place) in items.into_iter().zip(prev.0 + 1..) {
            // The message may be an old one, so what agrees with it stays, and what follows.
            if place > self.log.base.0 && self.log.term_at(place) != Some(item.term) {
                if place <= self.log.last().0 {
                    self.log.truncate(place);
                    self.saved = self.saved.min(place - 1);
                    self.cuts += 1;
                }
                self.log.items.push(item);
                self.is_unsaved = true;
            }
        }
        self.commit = self.commit.max(commit.min(end));
        self.promise(leader, What::Agreed(self.commit.max(end)));
    }
}

/// The leader.
impl Core {
    /// Sends a follower what was not sent yet, if there is any.
    fn feed(&mut self, follower: ServerId) {
        let last = self.log.last().0;
        let has_news = |progress: &[Progress]| progress[follower].next <= last;
        if matches!(&self.role, Role::Leader(progress) if has_news(progress)) {
            self.append(follower);
        }
    }

    /// Sends a follower what was not sent yet, be it nothing; or the snapshot if that is not in the log any
    /// more.
    fn append(&mut self, follower: ServerId) {
        let Role::Leader(progress) = &mut self.role else { return };
        let Progress { next, .. } = &mut progress[follower];
        let what = if *next <= self.log.base.0 {
            *next = self.log.base.0 + 1;
            let (base, index) = (self.log.base, self.log.base_index);
            What::Install(Snapshot { base, index, bytes: self.snapshot.clone() })
        } else {
            let prev = *next - 1;
            let items: Vec<Item> = self.log.after(prev).iter().take(MESSAGE_LIMIT).cloned().collect();
            *next += items.len();
            let prev = (prev, self.log.term_at(prev).expect("it is in the log or just before it"));
            What::Append { prev, items, commit: self.commit }
        };
        self.ready.push((follower, Message { term: self.term, what }));
    }

    fn agreed(&mut self, follower: ServerId, place: Place) {
        let last = self.log.last().0;
        let Role::Leader(progress) = &mut self.role else { return };
        let Progress { agreed, next } = &mut progress[follower];
        *agreed = (*agreed).max(place.min(last));
        *next = (*next).max(*agreed + 1);
        self.advance_commit();
        self.feed(follower);
    }

    fn differs(&mut self, follower: ServerId, asked: Place, hint: Place) {
        let Role::Leader(progress) = &mut self.role else { return };
        let Progress { agreed, next } = &mut progress[follower];
        // Late news: it has agreed up to there since, or was asked about an earlier place since.
        if asked <= *agreed || asked >= *next {
            return;
        }
        *next = hint.max(*agreed) + 1;
        self.append(follower);
    }

    /// Commits what a majority has on disk, if it is of this term: other entries only along with such a one.
    fn advance_commit(&mut self) {
        let Role::Leader(progress) = &self.role else { return };
        let has = |server: ServerId| if server == self.me { self.saved } else { progress[server].agreed };
        let mut places: Vec<Place> = (0..self.servers).map(has).collect();
        places.sort_unstable_by(|a, b| b.cmp(a));
        let place = places[self.servers / 2];
        if place > self.commit && self.log.term_at(place) == Some(self.term) {
            self.commit = place;
        }
    }

    fn others(&self) -> impl Iterator<Item = ServerId> + use<> {
        let me = self.me;
        (0..self.servers).filter(move |&server| server != me)
    }

    /// Sends a message once everything is on disk that holds now.
    fn promise(&mut self, to: ServerId, what: What) {
        self.promises.push((to, Message { term: self.term, what }));
    }

    fn cover(&mut self, snapshot: Snapshot) {
        let last = self.log.last().0;
        self.log.cover(snapshot.base, snapshot.index);
        if self.log.last().0 < last {
            self.cuts += 1;
        }
        self.saved = self.saved.clamp(self.log.base.0, self.log.last().0);
        self.snapshot = snapshot.bytes;
        self.is_snapshot_unsaved = true;
        self.is_unsaved = true;
    }
}
