//! What clients asked, and what servers answered.
//!
//! Kit-owned. A history holds what clients' functions returned. Where that is wrong, or nothing is returned at
//! all, a report has to say what passed between the client and the servers.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use labkv::{GetArgs, GetReply, PutAppendArgs, PutAppendReply};
use labraft::{AppendEntriesArgs, InstallSnapshotArgs, ServerId, Term};
use labrpc::{Body, Event, Leg, Message, NodeId, Observer, What};

use crate::server::server_of;

/// All requests of clients of a service with `servers` servers.
#[derive(Debug)]
pub(crate) struct Calls {
    servers: usize,
    seen: RefCell<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// In the order of their calls' numbers.
    asked: Vec<Asked>,
    /// The requests that have come to a server and that it has not answered, in the order of delivery.
    at_work: Vec<AtWork>,
    /// When the leader of each term, but for those that came too late, has first spoken.
    leaders: Vec<Leads>,
}

/// A request that a client has sent.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) client: NodeId,
    pub(crate) server: ServerId,
    pub(crate) kind: &'static str,
    pub(crate) call: u64,
    /// What the client has numbered it with.
    pub(crate) number: u64,
    pub(crate) end: End,
}

/// What has become of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The client still waits.
    Open,
    /// Its call has returned without an answer.
    Unanswered,
    /// The server was not the leader.
    Refused,
    /// The server has carried it out. With the value, for a get.
    Ok { value: Option<String>, at: Duration },
}

#[derive(Clone, Copy, Debug)]
struct AtWork {
    server: ServerId,
    kind: &'static str,
    call: u64,
    delivery: u64,
}

/// A server has become leader.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leads {
    pub(crate) at: Duration,
    pub(crate) term: Term,
    pub(crate) server: ServerId,
}

impl Calls {
    pub(crate) fn new(servers: usize) -> Rc<Calls> {
        Rc::new(Calls { servers, seen: RefCell::default() })
    }

    /// How many requests clients have sent so far.
    pub(crate) fn count(&self) -> usize {
        self.seen.borrow().asked.len()
    }

    /// The requests of a client from the one with number `from` on, in the order of all.
    pub(crate) fn of_client(&self, client: NodeId, from: usize, to: usize) -> Vec<Asked> {
        let seen = self.seen.borrow();
        let asked = seen.asked.get(from..to.min(seen.asked.len())).unwrap_or_default();
        asked.iter().filter(|asked| asked.client == client).cloned().collect()
    }

    /// The leader at some time, as far as its messages can be read.
    pub(crate) fn leader_at(&self, at: Duration) -> Option<Leads> {
        self.seen.borrow().leaders.iter().rev().find(|leads| leads.at <= at).copied()
    }

    /// The first change of leader after `from`, up to `to`.
    pub(crate) fn next_leader(&self, from: Duration, to: Duration) -> Option<Leads> {
        self.seen.borrow().leaders.iter().find(|leads| leads.at > from && leads.at <= to).copied()
    }

    /// How many requests of this kind the server is at work on, and which of them this call is, from 0, the
    /// oldest, on.
    pub(crate) fn place_at_work(&self, asked: &Asked) -> Option<(usize, usize)> {
        let seen = self.seen.borrow();
        let of_kind = |work: &&AtWork| work.server == asked.server && work.kind == asked.kind;
        let place = seen.at_work.iter().filter(of_kind).position(|work| work.call == asked.call)?;
        Some((place, seen.at_work.iter().filter(of_kind).count()))
    }

    /// True while the server is at work on a client's request.
    pub(crate) fn is_at_work(&self, server: ServerId) -> bool {
        self.seen.borrow().at_work.iter().any(|work| work.server == server)
    }

    fn is_server(&self, node: NodeId) -> bool {
        node != NodeId::TESTER && server_of(node) < self.servers
    }

    fn is_client(&self, node: NodeId) -> bool {
        node != NodeId::TESTER && !self.is_server(node)
    }

    fn sent(&self, message: &Message<'_>, at: Duration) {
        let mut seen = self.seen.borrow_mut();
        let sender = message.from.node;
        match message.leg {
            Leg::Request if self.is_server(sender) => {
                let server = server_of(sender);
                if let Some(term) = message.body.and_then(term_of_leader)
                    && seen.leaders.last().is_none_or(|last| last.term < term)
                {
                    seen.leaders.push(Leads { at, term, server });
                }
            }
            Leg::Request if self.is_client(sender) && self.is_server(message.to) => {
                seen.asked.push(Asked {
                    client: sender,
                    server: server_of(message.to),
                    kind: message.kind,
                    call: message.call,
                    number: message.body.and_then(number_of).unwrap_or(0),
                    end: End::Open,
                });
            }
            Leg::Reply if self.is_client(message.to) => {
                seen.at_work.retain(|work| work.delivery != message.delivery);
            }
            _ => {}
        }
    }

    fn delivered(&self, message: &Message<'_>, at: Duration) {
        let client = match message.leg {
            Leg::Request => message.from.node,
            Leg::Reply => message.to,
        };
        if !self.is_client(client) {
            return;
        }
        let mut seen = self.seen.borrow_mut();
        match message.leg {
            Leg::Request => {
                let Message { kind, call, delivery, .. } = *message;
                seen.at_work.push(AtWork { server: server_of(message.to), kind, call, delivery });
            }
            Leg::Reply => {
                if let Some(end) = message.body.and_then(|body| end_of(body, at)) {
                    seen.end(message.call, end);
                }
            }
        }
    }
}

impl Seen {
    fn end(&mut self, call: u64, end: End) {
        if let Ok(place) = self.asked.binary_search_by_key(&call, |asked| asked.call) {
            self.asked[place].end = end;
        }
    }
}

impl Observer for Calls {
    fn observe(&self, event: &Event<'_>) {
        match event.what {
            What::Sent(message) => self.sent(message, event.at),
            What::Delivered(message) => self.delivered(message, event.at),
            What::Unanswered { call, .. } => self.seen.borrow_mut().end(*call, End::Unanswered),
            What::NodeCrashed { node, .. } if self.is_server(*node) => {
                let server = server_of(*node);
                self.seen.borrow_mut().at_work.retain(|work| work.server != server);
            }
            _ => {}
        }
    }
}

/// `C1 asked 5 times: S0 refused 2 times, S2 did not answer once`.
pub(crate) fn tally(asked: &[Asked]) -> String {
    let mut servers: BTreeMap<ServerId, [usize; 4]> = BTreeMap::new();
    for one in asked {
        let place = match one.end {
            End::Ok { .. } => 0,
            End::Refused => 1,
            End::Unanswered => 2,
            End::Open => 3,
        };
        servers.entry(one.server).or_default()[place] += 1;
    }
    const DID: [&str; 4] = ["answered Ok", "refused", "did not answer", "has not answered yet"];
    let said = servers.iter().flat_map(|(server, counts)| {
        let counts = counts.iter().zip(DID).filter(|(count, _)| **count > 0);
        counts.map(move |(&count, did)| match count {
            1 => format!("S{server} {did}"),
            _ => format!("S{server} {did} ({count} times)"),
        })
    });
    let said: Vec<String> = said.collect();
    match asked.len() {
        0 => "it sent no request".into(),
        1 => format!("it sent one request, and {}", said.join(", ")),
        count => format!("it sent {count} requests: {}", said.join(", ")),
    }
}

fn term_of_leader(body: &dyn Body) -> Option<Term> {
    let body = body.as_any();
    let append = body.downcast_ref::<AppendEntriesArgs>().map(|args| args.term);
    append.or_else(|| body.downcast_ref::<InstallSnapshotArgs>().map(|args| args.term))
}

fn number_of(body: &dyn Body) -> Option<u64> {
    let body = body.as_any();
    let get = body.downcast_ref::<GetArgs>().map(|args| args.number);
    get.or_else(|| body.downcast_ref::<PutAppendArgs>().map(|args| args.number))
}

fn end_of(body: &dyn Body, at: Duration) -> Option<End> {
    let body = body.as_any();
    let value = match (body.downcast_ref::<GetReply>(), body.downcast_ref::<PutAppendReply>()) {
        (Some(Ok(value)), _) => Some(value.clone()),
        (_, Some(Ok(()))) => None,
        (None, None) => return None,
        _ => return Some(End::Refused),
    };
    Some(End::Ok { value, at })
}
