//! Watches a run: turns the world's events into words of Raft and has every check judge them.
//!
//! Kit-owned.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use labraft::{
    AppendEntriesArgs, AppendEntriesReply, ApplyMsg, Bytes, Command, Index, InstallSnapshotArgs,
    InstallSnapshotReply, PersistentState, RequestVoteArgs, RequestVoteReply, ServerId, Started, Term,
};
use labrpc::{Address, Body, Event, Leg, Message, NodeId, Observer, What, World};

use crate::checks::{Checks, Knowledge, Life, Reply, Request, Scope, Seen, Stamp};
use crate::elections::Elections;
use crate::finding::{Finding, Findings, end_run};
use crate::server::{node_of, server_of};

/// The observer of a run.
pub(crate) struct Watch {
    world: World,
    servers: usize,
    scope: Scope,
    findings: Findings,
    inner: RefCell<Inner>,
    is_readable: Cell<bool>,
    is_on: Cell<bool>,
    /// How many times `start` has returned where a command stands.
    started: Cell<usize>,
    /// Other observers, which see every event before it is judged.
    before: RefCell<Vec<Rc<dyn Observer>>>,
}

struct Inner {
    checks: Checks,
    /// Looks at no message's meaning, so it judges servers that are not readable too.
    knowledge: Knowledge,
    elections: Elections,
    /// The requests of all calls so far; the call numbered n is at n - 1.
    requests: Vec<Option<Rc<Request>>>,
}

impl Watch {
    /// A watch over a cluster of `servers` servers, of a stage that may judge `scope`.
    pub(crate) fn new(world: World, servers: usize, scope: Scope, findings: Findings) -> Watch {
        let inner = Inner {
            checks: Checks::new(servers, scope, true),
            knowledge: Knowledge::new(servers, scope),
            elections: Elections::default(),
            requests: Vec::new(),
        };
        Watch {
            world,
            servers,
            scope,
            findings,
            inner: RefCell::new(inner),
            is_readable: Cell::new(true),
            is_on: Cell::new(true),
            started: Cell::default(),
            before: RefCell::default(),
        }
    }

    /// Has `observer` see every event from now on, before it is judged.
    #[cfg(feature = "kv")]
    pub(crate) fn show_first(&self, observer: Rc<dyn Observer>) {
        self.before.borrow_mut().push(observer);
    }

    /// Judges nothing from now on.
    pub(crate) fn turn_off(&self) {
        self.is_on.set(false);
    }

    /// The servers have messages of their own. To be called before any is sent.
    pub(crate) fn cannot_read_messages(&self) {
        if self.is_readable.replace(false) {
            self.inner.borrow_mut().checks = Checks::new(self.servers, self.scope, false);
        }
    }

    /// True when the servers speak in the kit's messages.
    pub(crate) fn is_readable(&self) -> bool {
        self.is_readable.get()
    }

    /// What may be judged.
    pub(crate) fn scope(&self) -> Scope {
        self.scope
    }

    /// Ends the run with a finding.
    pub(crate) fn fail(&self, finding: Finding) -> ! {
        end_run(&self.world, &self.findings, finding)
    }

    /// A server is about to be asked for its state. To be handed on when it has answered.
    pub(crate) fn asked(&self, server: ServerId) -> Option<Stamp> {
        self.moment_of(node_of(server))
    }

    /// `get_state`, called beside other calls of the harness, has said that the server leads.
    pub(crate) fn claimed(&self, of: Life, term: Term) {
        self.judge(&Seen::Claimed { of, term });
    }

    /// What was committed last, as its index and the term of the leader that committed it.
    pub(crate) fn last_committed(&self) -> Option<(Index, Option<Term>)> {
        self.inner.borrow().checks.last_committed()
    }

    /// `get_state`, which was called at `asked`, has returned.
    pub(crate) fn state(&self, of: Life, asked: Option<Stamp>, term: Term, is_leader: bool) {
        self.judge(&Seen::State { of, term, is_leader });
        self.inner.borrow_mut().knowledge.answered(of.server, asked, term);
    }

    /// A server is about to be offered a command. To be handed on if it takes it.
    pub(crate) fn offered(&self, to: ServerId, command: &Command) -> Option<Stamp> {
        self.inner.borrow_mut().knowledge.offered(to, command)
    }

    /// `start`, which was called at `asked`, has returned.
    pub(crate) fn started(&self, of: Life, asked: Option<Stamp>, started: Started, command: &Command) {
        self.started.set(self.started.get() + 1);
        self.judge(&Seen::Started { of, started, command });
        self.inner.borrow_mut().knowledge.answered(of.server, asked, started.term);
    }

    /// A moment of a node that nobody else can know of yet.
    pub(crate) fn moment_of(&self, node: NodeId) -> Option<Stamp> {
        self.inner.borrow_mut().knowledge.moment_of(node)
    }

    /// A write that a client began at `begun` is over.
    #[cfg(feature = "kv")]
    pub(crate) fn written(&self, client: NodeId, begun: Option<Stamp>, what: &impl std::fmt::Display) {
        let Some(begun) = begun else { return };
        let verdict = self.inner.borrow().knowledge.written(client, begun, what);
        if let Err(finding) = verdict {
            self.fail(finding);
        }
    }

    /// How many times `start` has returned where a command stands.
    pub(crate) fn n_started(&self) -> usize {
        self.started.get()
    }

    /// A service has received a message.
    pub(crate) fn applied(&self, by: Life, message: &ApplyMsg) {
        self.judge(&Seen::Applied { by, message });
    }

    /// A service is about to pass a snapshot to its server.
    pub(crate) fn snapshotted(&self, by: Option<Life>, index: Index, snapshot: &Bytes) {
        self.judge(&Seen::Snapshotted { by, index, snapshot });
    }

    /// Looks at the elections so far.
    pub(crate) fn elections<R>(&self, f: impl FnOnce(&Elections) -> R) -> R {
        f(&self.inner.borrow().elections)
    }

    /// A tested service's own calls are not seen: what a server saves as a new snapshot, or sends to another, is
    /// what it got from its service, or from another server that got it there. It may send it before the save
    /// is over, as all that a snapshot covers is committed.
    fn note_snapshot(&self, index: Index, snapshot: &Bytes) {
        if self.scope == Scope::Service && !snapshot.is_empty() {
            self.snapshotted(None, index, snapshot);
        }
    }

    fn judge(&self, seen: &Seen<'_>) {
        if !self.is_on.get() {
            return;
        }
        let verdict = {
            let mut inner = self.inner.borrow_mut();
            inner.elections.see(self.world.now(), seen);
            // What is known by more than hearsay is told first: it says more.
            inner.checks.see(seen).and_then(|()| inner.knowledge.see(seen))
        };
        if let Err(finding) = verdict {
            self.fail(finding);
        }
    }

    fn sent(&self, message: &Message<'_>) {
        self.inner.borrow_mut().knowledge.sent(message);
        let Some(from) = self.life(message.from) else { return };
        match message.leg {
            Leg::Request => {
                let request = message.body.and_then(request_of).map(Rc::new);
                {
                    let requests = &mut self.inner.borrow_mut().requests;
                    requests.resize(message.call as usize, None);
                    requests[message.call as usize - 1] = request.clone();
                }
                if let Some(request) = request {
                    if let Request::Snapshot(args) = &*request {
                        self.note_snapshot(args.last_included_index, &args.snapshot);
                    }
                    self.judge(&Seen::RequestLeft { from, request: &request });
                }
            }
            Leg::Reply => {
                let Some((request, reply)) = self.exchange(message) else { return };
                // Who asked is the network's knowledge, not a field of the request.
                let asker = server_of(message.to);
                self.judge(&Seen::ReplyLeft {
                    from,
                    asker,
                    request: &request,
                    reply: &reply,
                    delivery: message.delivery,
                });
            }
        }
    }

    fn delivered(&self, message: &Message<'_>, to: Life) {
        match message.leg {
            Leg::Request => {
                if let Some(request) = self.request(message.call) {
                    self.judge(&Seen::RequestDelivered { to, request: &request, delivery: message.delivery });
                }
            }
            Leg::Reply => {
                let (Some((request, reply)), Some(from)) = (self.exchange(message), self.life(message.from))
                else {
                    return;
                };
                self.judge(&Seen::ReplyDelivered { from, to, request: &request, reply: &reply });
            }
        }
    }

    /// The life of a server; `None` for the tester and for clients.
    fn life(&self, address: Address) -> Option<Life> {
        let is_server = address.node != NodeId::TESTER && server_of(address.node) < self.servers;
        is_server.then(|| Life { server: server_of(address.node), incarnation: address.incarnation })
    }

    fn request(&self, call: u64) -> Option<Rc<Request>> {
        self.inner.borrow().requests.get(call as usize - 1).cloned().flatten()
    }

    fn exchange(&self, message: &Message<'_>) -> Option<(Rc<Request>, Reply)> {
        Some((self.request(message.call)?, reply_of(message.body?)?))
    }
}

impl Observer for Watch {
    fn observe(&self, event: &Event<'_>) {
        self.before.borrow().iter().for_each(|observer| observer.observe(event));
        match event.what {
            What::Sent(message) => self.sent(message),
            What::Delivered(message) => {
                self.inner.borrow_mut().knowledge.delivered(message);
                let incarnation = self.world.incarnation(message.to);
                if let Some(to) = self.life(Address { node: message.to, incarnation }) {
                    self.delivered(message, to);
                }
            }
            What::Saved { node, incarnation, kept, body, blob, .. } => {
                self.inner.borrow_mut().knowledge.saved(*node);
                let by = self.life(Address { node: *node, incarnation: *incarnation });
                if let (Some(by), Some(state)) = (by, state_of(*body)) {
                    if let Some(snapshot) = blob {
                        self.note_snapshot(state.last_included.0, snapshot);
                    }
                    self.judge(&Seen::Saved { by, state, kept: *kept, snapshot: *blob });
                }
            }
            What::NodeStarted { node, incarnation } => {
                self.inner.borrow_mut().knowledge.booted(*node);
                if let Some(life) = self.life(Address { node: *node, incarnation: *incarnation }) {
                    self.judge(&Seen::Booted { life });
                }
            }
            What::NodeCrashed { node, incarnation } => {
                if let Some(life) = self.life(Address { node: *node, incarnation: *incarnation }) {
                    self.judge(&Seen::Crashed { life });
                }
            }
            _ => {}
        }
    }
}

fn state_of(body: &dyn Body) -> Option<&PersistentState> {
    body.as_any().downcast_ref()
}

fn request_of(body: &dyn Body) -> Option<Request> {
    let body = body.as_any();
    if let Some(args) = body.downcast_ref::<AppendEntriesArgs>() {
        return Some(Request::Append(args.clone()));
    }
    if let Some(args) = body.downcast_ref::<RequestVoteArgs>() {
        return Some(Request::Vote(args.clone()));
    }
    body.downcast_ref::<InstallSnapshotArgs>().map(|args| Request::Snapshot(args.clone()))
}

fn reply_of(body: &dyn Body) -> Option<Reply> {
    let body = body.as_any();
    if let Some(reply) = body.downcast_ref::<AppendEntriesReply>() {
        return Some(Reply::Append(reply.clone()));
    }
    if let Some(reply) = body.downcast_ref::<RequestVoteReply>() {
        return Some(Reply::Vote(reply.clone()));
    }
    body.downcast_ref::<InstallSnapshotReply>().map(|reply| Reply::Snapshot(reply.clone()))
}
