//! What S0 of a script has heard, from which follows what it must have committed.
//!
//! Kit-owned. When nothing reaches S0's service, a report has to say why that is wrong: because S0 itself
//! says that more is committed, because a majority has answered, because its leader has told it so, or because
//! S0 has not got its entries to the others.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use labraft::{
    AppendEntriesArgs, AppendEntriesReply, Index, InstallSnapshotArgs, InstallSnapshotReply, ServerId, Term,
};
use labrpc::{Body, Event, Leg, Message, NodeId, Observer, What};

use crate::checks::{majority, names};
use crate::server::{node_of, server_of};

/// Listens to all that S0, the first of `servers`, sends and hears.
pub(crate) struct Heard {
    servers: usize,
    by: NodeId,
    facts: RefCell<Facts>,
}

/// Of the present life of S0.
#[derive(Default)]
struct Facts {
    /// The requests of calls to and from S0.
    requests: BTreeMap<u64, Request>,
    led: Option<Led>,
    /// The last AppendEntries of another leader that S0 has answered.
    followed: Option<Followed>,
}

enum Request {
    Append(AppendEntriesArgs),
    /// Its term, and up to where the snapshot goes.
    Snapshot(Term, Index),
}

/// The latest term in which S0 has spoken as a leader.
struct Led {
    term: Term,
    /// Up to where it has said that its log is committed.
    commit: Index,
    /// The last entry that it has sent.
    sent: Index,
    /// What each peer has answered to have stored, as index and term of the last such entry.
    stored: BTreeMap<ServerId, (Index, Term)>,
}

struct Followed {
    leader: ServerId,
    args: AppendEntriesArgs,
    success: bool,
    /// Up to where leaders have told S0 that the log is committed, in messages that it has accepted.
    commit: Index,
}

/// Why more than what was applied should be there.
pub(crate) struct Reason {
    /// The rule that says so.
    pub(crate) rule: &'static str,
    /// What was seen.
    pub(crate) seen: String,
}

impl Heard {
    pub(crate) fn new(servers: usize) -> Rc<Heard> {
        Rc::new(Heard { servers, by: node_of(0), facts: RefCell::default() })
    }

    /// Why S0's service should have got more than the entries up to `applied`.
    pub(crate) fn reason(&self, applied: Index) -> Reason {
        let facts = self.facts.borrow();
        let followed_in = facts.followed.as_ref().map_or(0, |followed| followed.args.term);
        match (&facts.led, &facts.followed) {
            (Some(led), _) if led.term >= followed_in => self.reason_as_leader(led, applied),
            (_, Some(followed)) => reason_as_follower(followed, applied),
            _ => Reason {
                rule: "what is committed reaches the service (Raft 5.3)",
                seen: "S0 has not led, and answered no leader".into(),
            },
        }
    }

    fn reason_as_leader(&self, led: &Led, applied: Index) -> Reason {
        let Led { term, commit, sent, stored } = led;
        if *commit > applied {
            return Reason {
                rule: "what is committed reaches the service (Raft 5.3)",
                seen: format!(
                    "S0, leading term {term}, says in its messages that entries up to {commit} are committed"
                ),
            };
        }
        let have = |index: Index| -> Vec<ServerId> {
            let of_term = stored.iter().filter(|(_, end)| end.1 == *term && end.0 >= index);
            of_term.map(|(&peer, _)| peer).collect()
        };
        let others = majority(self.servers) - 1;
        let stored_by_majority = (applied + 1..=*sent).rev().find(|&index| have(index).len() >= others);
        if let Some(index) = stored_by_majority {
            return Reason {
                rule: "a leader commits an entry of its own term once a majority of all servers, itself included, has stored it (Raft 5.3)",
                seen: format!(
                    "S0, leading term {term}, has heard from {} that entry {index} is stored; that makes {} of {} servers, but S0's messages say that no more than entry {commit} is committed",
                    names(&have(index)),
                    have(index).len() + 1,
                    self.servers
                ),
            };
        }
        let answered: Vec<String> = (1..self.servers)
            .map(|peer| match stored.get(&peer) {
                Some((index, _)) if *index > 0 => format!("S{peer} up to {index}"),
                _ => format!("S{peer} nothing"),
            })
            .collect();
        let has_sent = match sent {
            0 => "no entries".into(),
            last => format!("entries up to {last}"),
        };
        Reason {
            rule: "a leader sends each entry to every follower, again and again until it is stored (Raft 5.3)",
            seen: format!(
                "S0, leading term {term}, has sent {has_sent}; it has heard that the others have stored: {}",
                answered.join(", ")
            ),
        }
    }

    fn sent(&self, message: &Message<'_>) {
        let mut facts = self.facts.borrow_mut();
        let from_s0 = message.from.node == self.by;
        let Some(body) = message.body else { return };
        match message.leg {
            Leg::Request => {
                let Some(request) = request_of(body) else { return };
                if from_s0 {
                    facts.leads(&request);
                }
                facts.requests.insert(message.call, request);
            }
            Leg::Reply if from_s0 => {
                let leader = server_of(message.to);
                let Some(reply) = body.as_any().downcast_ref::<AppendEntriesReply>() else { return };
                let Some(Request::Append(args)) = facts.requests.get(&message.call) else { return };
                let args = args.clone();
                facts.follows(leader, args, reply.success);
            }
            Leg::Reply => {}
        }
    }

    fn delivered(&self, message: &Message<'_>) {
        if message.leg != Leg::Reply || message.to != self.by {
            return;
        }
        let mut facts = self.facts.borrow_mut();
        let Facts { requests, led: Some(led), .. } = &mut *facts else { return };
        let peer = server_of(message.from.node);
        let end = match (requests.get(&message.call), message.body) {
            (Some(Request::Append(args)), Some(body)) if args.term == led.term && is_success(body) => {
                let term = args.entries.last().map_or(args.prev_log_term, |entry| entry.term);
                (end_of(args), term)
            }
            (Some(&Request::Snapshot(term, index)), Some(body)) if term == led.term && is_received(body) => {
                (index, 0)
            }
            _ => return,
        };
        let last = led.stored.entry(peer).or_default();
        *last = end.max(*last);
    }
}

fn reason_as_follower(followed: &Followed, applied: Index) -> Reason {
    let Followed { leader, args, success, commit } = followed;
    if *commit > applied {
        return Reason {
            rule: "a follower commits, and applies, what its leader has committed (Raft 5.3, Figure 2, AppendEntries 5)",
            seen: format!(
                "S0 has accepted messages by which entries up to {commit} are committed, the last one from S{leader}: {args:?}"
            ),
        };
    }
    let (rule, answer) = if *success {
        ("what is committed reaches the service (Raft 5.3)", "accepted")
    } else {
        (
            "a server accepts entries after one that it has, and then commits with its leader (Raft 5.3)",
            "refused",
        )
    };
    Reason { rule, seen: format!("S0 {answer} the last message of its leader S{leader}: {args:?}") }
}

impl Facts {
    fn leads(&mut self, request: &Request) {
        let term = match request {
            Request::Append(args) => args.term,
            Request::Snapshot(term, _) => *term,
        };
        if self.led.as_ref().is_none_or(|led| led.term < term) {
            self.led = Some(Led { term, commit: 0, sent: 0, stored: BTreeMap::new() });
        }
        let Some(led) = self.led.as_mut().filter(|led| led.term == term) else { return };
        if let Request::Append(args) = request {
            led.commit = led.commit.max(args.leader_commit);
            led.sent = led.sent.max(end_of(args));
        }
    }

    fn follows(&mut self, leader: ServerId, args: AppendEntriesArgs, success: bool) {
        let before = self.followed.as_ref().map_or(0, |followed| followed.commit);
        let told = args.leader_commit.min(end_of(&args));
        let commit = if success { told.max(before) } else { before };
        self.followed = Some(Followed { leader, args, success, commit });
    }
}

impl Observer for Heard {
    fn observe(&self, event: &Event<'_>) {
        match event.what {
            What::Sent(message) => self.sent(message),
            What::Delivered(message) => self.delivered(message),
            What::NodeCrashed { node, .. } if *node == self.by => {
                *self.facts.borrow_mut() = Facts::default();
            }
            _ => {}
        }
    }
}

fn request_of(body: &dyn Body) -> Option<Request> {
    let body = body.as_any();
    if let Some(args) = body.downcast_ref::<AppendEntriesArgs>() {
        return Some(Request::Append(args.clone()));
    }
    let args = body.downcast_ref::<InstallSnapshotArgs>()?;
    Some(Request::Snapshot(args.term, args.last_included_index))
}

/// Up to where a message brings entries; a wrong one may name any index as the one before them.
fn end_of(args: &AppendEntriesArgs) -> Index {
    args.prev_log_index.saturating_add(args.entries.len())
}

fn is_success(body: &dyn Body) -> bool {
    body.as_any().downcast_ref::<AppendEntriesReply>().is_some_and(|reply| reply.success)
}

fn is_received(body: &dyn Body) -> bool {
    body.as_any().is::<InstallSnapshotReply>()
}
