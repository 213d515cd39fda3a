//! A cluster of servers of the key-value service, and its clients.
//!
//! Kit-owned. Tests of lab 3 are written in these words, and in those of `cluster.rs` for the servers. All that
//! clients do is recorded, and at the end of every test the checker says whether the service could have been a
//! single copy of the store: no test compares a value with what it expects.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::rc::Rc;
use std::time::Duration;

use labcheck::OpId;
use labkv::{KvClient, KvServer, KvService};
use labraft::{ApplyMsg, Persister, ServerId};
use labrpc::channel::{self, Receiver, RecvTimeoutError};
use labrpc::sync::{Arc, Mutex};
use labrpc::{Disk, Effect, InFlight, Kinds, Leg, Links, Moment, NodeId, Peer, Rule, Services, Stuck, World};

use crate::cluster::{Above, Cluster};
use crate::finding::Finding;
use crate::kv_calls::{Asked, Calls, End, tally};
use crate::kv_limits::SnapshotCount;
use crate::kv_record::{Action, Operation, Record};
use crate::limits::{ANSWER_WITHIN, OPERATION_WITHIN, POLL_INTERVAL};
use crate::server::node_of;
use crate::storm::StormOrder;
use crate::watch::Watch;

/// What a test does with the service.
pub type KvBody = fn(&mut KvCluster);

/// A running service.
pub struct KvCluster {
    /// Its servers. What befalls them is said to them.
    pub servers: Cluster,
    clients: Vec<ClientNode>,
    pub(crate) record: Rc<RefCell<Record>>,
    /// What passes between clients and servers.
    calls: Rc<Calls>,
    /// At how many bytes of log servers make a snapshot.
    pub(crate) limit: Option<usize>,
    /// The snapshots that servers make.
    pub(crate) snapshots: Rc<SnapshotCount>,
    /// What a test does that matters when its history is not linearizable.
    story: &'static str,
    /// How many times clients were set to work.
    pub(crate) turns: u64,
}

/// One of the clients of a [`KvCluster`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client(usize);

/// An operation that may still be going on.
#[derive(Debug)]
pub struct Pending {
    operation: Operation,
    returned: Receiver<Option<String>>,
}

impl Pending {
    /// What is going on.
    pub(crate) fn operation(&self) -> &Operation {
        &self.operation
    }

    /// True when its client has its answer.
    pub(crate) fn is_over(&self) -> bool {
        !self.returned.is_empty()
    }
}

/// A client, on a node of its own.
#[derive(Clone)]
pub(crate) struct ClientNode {
    node: NodeId,
    watch: Rc<Watch>,
    number: usize,
    code: Arc<Mutex<Option<Arc<labkv::Client>>>>,
    /// Whether it reaches so many servers that its operations have to return.
    reaches_majority: bool,
}

impl KvCluster {
    /// Starts a service of `servers` servers that make a snapshot when their logs reach `limit` bytes.
    pub(crate) fn new(
        world: World,
        servers: usize,
        watch: Rc<Watch>,
        storm: StormOrder,
        limit: Option<usize>,
    ) -> KvCluster {
        let calls = Calls::new(servers);
        watch.show_first(calls.clone());
        let snapshots = Rc::new(SnapshotCount::new(servers, limit.unwrap_or(0)));
        watch.show_first(snapshots.clone());
        let serve = service(world.clone(), watch.clone(), snapshots.clone(), limit);
        let servers = Cluster::new(world, servers, watch, storm, Above::Tested(Rc::new(serve)));
        let record = Rc::new(RefCell::new(Record::new(calls.clone())));
        KvCluster { servers, clients: Vec::new(), record, calls, limit, snapshots, story: "", turns: 0 }
    }

    fn world(&self) -> &World {
        self.servers.world()
    }

    /// Bytes of a server's snapshot.
    pub fn snapshot_bytes(&self, server: ServerId) -> usize {
        Disk::simulated(node_of(server)).read_blob().len()
    }

    /// Makes everything well, as [`Cluster::heal`] does, starts the servers that are down, and lets every
    /// client reach every server.
    pub fn heal(&mut self) {
        self.servers.heal();
        let all: Vec<ServerId> = (0..self.servers.len()).collect();
        all.iter().for_each(|&server| self.servers.start1(server));
        self.servers.release(|_| true);
        (0..self.clients.len()).for_each(|client| self.connect_client(Client(client), &all));
    }

    /// What to say after a history that is not linearizable: what this test does that may have brought it about.
    pub fn explain(&mut self, story: &'static str) {
        self.story = story;
    }

    /// Ends a test: reads every key once more, and has the checker judge all that clients have seen.
    pub(crate) fn finish(mut self) -> BTreeMap<String, f64> {
        self.heal();
        let reader = self.new_client();
        let keys = self.record.borrow().keys();
        for key in keys {
            self.get(reader, &key);
        }
        let illegal = self.record.borrow().judge();
        if let Some(finding) = illegal {
            let parts = [finding.seen.as_str(), self.story];
            let seen = parts.map(str::trim).join("\n\n");
            self.servers.fail(Finding { seen: seen.trim_end().into(), ..finding });
        }
        self.check_no_snapshots();
        self.servers.into_measures()
    }
}

/// Clients.
impl KvCluster {
    /// A new client, which reaches all servers.
    pub fn new_client(&mut self) -> Client {
        let number = self.clients.len();
        let node = self.world().add_node(&format!("C{number}"));
        let watch = self.servers.watch.clone();
        let client = ClientNode { node, watch, number, code: Arc::default(), reaches_majority: true };
        let peers = (0..self.servers.len()).map(|server| Peer::simulated(node_of(server))).collect();
        let code = client.code.clone();
        let started = self.world().start(node, ANSWER_WITHIN, move || {
            *code.lock() = Some(Arc::new(labkv::Client::make(peers)));
            Services::new()
        });
        if started.is_err() {
            self.servers.fail(Finding::liveness(
                "`make` returns at once",
                format!("C{number}'s `make` returns"),
                format!("C{number}'s `make` has not returned for {} s", ANSWER_WITHIN.as_secs()),
            ));
        }
        self.clients.push(client);
        Client(number)
    }

    /// Several new clients.
    pub fn new_clients(&mut self, count: usize) -> Vec<Client> {
        (0..count).map(|_| self.new_client()).collect()
    }

    /// Lets a client reach these servers and no others.
    pub fn connect_client(&mut self, client: Client, servers: &[ServerId]) {
        let node = self.clients[client.0].node;
        for server in 0..self.servers.len() {
            let change = if servers.contains(&server) { World::mend } else { World::cut };
            change(self.world(), node, node_of(server));
            change(self.world(), node_of(server), node);
        }
        self.clients[client.0].reaches_majority = servers.len() > self.servers.len() / 2;
        self.world().note_network(&format!("C{} reaches {servers:?}", client.0));
        self.servers.note_change();
    }

    /// Lets no answer come to a client, until everything is made well.
    pub fn keep_answers_from(&mut self, client: Client) {
        let links = Links::To(self.clients[client.0].node);
        let effect = Effect::Lose(1.0);
        self.servers.add_rule(Rule { links, kinds: Kinds::All, leg: Some(Leg::Reply), effect });
    }

    /// Makes a client stop for ever right after it has sent its `nth` request to write from now on: nobody
    /// learns what became of it.
    pub fn give_up_after(&mut self, client: Client, nth: u32) {
        let moment = Moment::Sent { leg: Leg::Request, kind: "PutAppend" };
        self.world().crash_at(self.clients[client.0].node, moment, nth, InFlight::Delivered);
    }

    /// The value of `key`, as `client` reads it.
    pub fn get(&mut self, client: Client, key: &str) -> String {
        let pending = self.begin(client, Action::Get, key);
        self.wait(&pending).unwrap_or_default()
    }

    /// Has `client` put a value unlike all others of the run, and waits for it.
    pub fn put(&mut self, client: Client, key: &str) {
        let pending = self.begin_put(client, key);
        self.wait(&pending);
    }

    /// Has `client` append a value unlike all others of the run, and waits for it.
    pub fn append(&mut self, client: Client, key: &str) {
        let pending = self.begin_append(client, key);
        self.wait(&pending);
    }

    /// Has `client` begin to read.
    pub fn begin_get(&mut self, client: Client, key: &str) -> Pending {
        self.begin(client, Action::Get, key)
    }

    /// Has `client` begin to put a value unlike all others of the run.
    pub fn begin_put(&mut self, client: Client, key: &str) -> Pending {
        self.begin(client, Action::Put, key)
    }

    /// Has `client` begin to append a value unlike all others of the run.
    pub fn begin_append(&mut self, client: Client, key: &str) -> Pending {
        self.begin(client, Action::Append, key)
    }

    fn begin(&mut self, client: Client, action: Action, key: &str) -> Pending {
        let operation = self.record.borrow_mut().new_operation(client.0, action, key);
        let (done, returned) = channel::bounded(1);
        let (node, record, world) =
            (self.clients[client.0].clone(), self.record.clone(), self.world().clone());
        let (by, run) = (node.node, operation.clone());
        self.world().spawn_on(by, "client", move || {
            let value = node.perform(&world, &record, &run);
            // A test that does not wait for it has dropped the other end.
            let _ = done.send(value);
        });
        Pending { operation, returned }
    }

    /// Waits until an operation is over. Returns what it has read, if it reads.
    pub fn wait(&mut self, pending: &Pending) -> Option<String> {
        loop {
            match pending.returned.recv_timeout(POLL_INTERVAL) {
                Ok(value) => return value,
                Err(RecvTimeoutError::Timeout) => self.check_operations(),
                // Its client has given up.
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// Waits until a server has begun on a client's request, then holds its handlers up for `span`. A server that
    /// answers at once has nothing to hold up.
    pub fn hold_handlers_up(&mut self, server: ServerId, span: Duration) {
        /// As long as a client tries each server once that it does not reach.
        const COMES_WITHIN: Duration = Duration::from_secs(1);
        /// Enough to start an operation; far less than a handler waits.
        const BEGUN: Duration = Duration::from_millis(30);
        let from = self.servers.now();
        while !self.calls.is_at_work(server) && self.servers.now() - from < COMES_WITHIN {
            self.servers.sleep(Duration::from_millis(1));
        }
        self.servers.sleep(BEGUN);
        for kind in ["Get", "PutAppend"] {
            self.world().stall_handlers(node_of(server), kind, span);
        }
    }

    /// Checks that an operation which no majority can have carried out is not over.
    pub fn check_not_over(&self, pending: &Pending) {
        if !pending.is_over() {
            return;
        }
        let Pending { operation, .. } = pending;
        let asked = {
            let record = self.record.borrow();
            record.last_of(operation.client).map_or_else(Vec::new, |id| record.asked(id))
        };
        let answer = asked.iter().rev().find(|asked| matches!(asked.end, End::Ok { .. }));
        let (rule, why) = match answer {
            Some(Asked { server, .. }) => (
                "without a majority no operation is carried out, and no get answered (Raft 8)",
                format!("S{server} answered Ok, though it reaches no majority"),
            ),
            None => (
                "an operation returns when a server has answered that it was carried out (Raft 8)",
                format!("though no server has answered Ok: {}", tally(&asked)),
            ),
        };
        self.servers.fail(Finding::safety(
            rule,
            format!("{operation} does not return before a majority can be reached"),
            format!("{operation} has returned: {why}"),
        ));
    }

    /// Fails the run if an operation would be over by now in a correct service. To be called again and
    /// again by whoever waits for one.
    pub(crate) fn check_operations(&mut self) {
        let Some(fair) = self.servers.fair_window() else { return };
        let now = self.servers.now();
        let is_late = |(_, operation, begun): &(OpId, Operation, Duration)| {
            let client = &self.clients[operation.client];
            client.reaches_majority
                && self.world().is_up(client.node)
                && now - fair.max(*begun) > OPERATION_WITHIN
        };
        let late = self.record.borrow().open().find(is_late);
        if let Some((id, operation, begun)) = late {
            let asked = self.record.borrow().asked(id);
            self.servers.fail(self.never_over(&operation, begun, &asked));
        }
    }

    fn never_over(&self, operation: &Operation, begun: Duration, asked: &[Asked]) -> Finding {
        let mut shown = self.threads_of(operation);
        shown.extend(self.in_the_way(asked));
        let lines: String = shown.iter().map(|stuck| format!("\n  {stuck}")).collect();
        Finding::liveness(
            "an operation returns when its client can reach a majority whose servers reach each other (Raft 8)",
            format!("{operation}, begun at {:.3} s, returns", begun.as_secs_f64()),
            format!(
                "{operation} has not returned, though nothing has been wrong for {} s; {}. Its client, who serves it, and what is in the way:{lines}",
                OPERATION_WITHIN.as_secs(),
                tally(asked)
            ),
        )
    }

    /// The threads of servers that keep these requests from being answered: those that serve them, and those
    /// that wait for what another thread does not give free. When there are none of either kind, what else has
    /// waited for long on the servers that were asked.
    fn in_the_way(&self, asked: &[Asked]) -> Vec<Stuck> {
        const SHOWN: usize = 6;
        /// Threads of a server that are at work do not wait as long as this.
        const LONG: Duration = Duration::from_secs(1);
        let waiting = |server: ServerId| self.world().waiting_threads(node_of(server));
        let mut shown: Vec<Stuck> = Vec::new();
        for asked in asked.iter().filter(|asked| asked.end == End::Open) {
            let name = format!("'{} handler'", asked.kind);
            let handlers: Vec<Stuck> = waiting(asked.server)
                .into_iter()
                .filter(|stuck| stuck.place.thread.ends_with(&name))
                .collect();
            match self.calls.place_at_work(asked) {
                // Handlers are as old as their requests' deliveries. One that runs just now is not listed.
                Some((place, all)) if all == handlers.len() => shown.push(handlers[place].clone()),
                _ => shown.extend(handlers),
            }
        }
        let is_long = |stuck: &Stuck| self.servers.now() - stuck.since > LONG;
        let blocks = |stuck: &Stuck| matches!(stuck.waiting_for.as_str(), "a lock" | "room in a channel");
        let all = (0..self.servers.len()).flat_map(waiting).filter(is_long);
        for stuck in all.filter(blocks) {
            if !shown.contains(&stuck) {
                shown.push(stuck);
            }
        }
        if shown.is_empty() {
            let servers: BTreeSet<ServerId> = asked.iter().map(|asked| asked.server).collect();
            shown = servers.into_iter().flat_map(waiting).filter(is_long).collect();
            shown.retain(|stuck| !stuck.place.thread.ends_with("'apply channel'"));
        }
        shown.truncate(SHOWN);
        shown
    }

    /// The threads of an operation's client that wait for something.
    pub(crate) fn threads_of(&self, operation: &Operation) -> Vec<Stuck> {
        self.world().waiting_threads(self.clients[operation.client].node)
    }

    pub(crate) fn client_node(&self, client: Client) -> ClientNode {
        self.clients[client.0].clone()
    }
}

impl ClientNode {
    /// The node.
    pub(crate) fn node(&self) -> NodeId {
        self.node
    }

    /// Its number.
    pub(crate) fn number(&self) -> usize {
        self.number
    }

    /// Carries out an operation, on a thread of the client, and records it.
    pub(crate) fn perform(
        &self,
        world: &World,
        record: &RefCell<Record>,
        operation: &Operation,
    ) -> Option<String> {
        let code = self.code.lock().clone().expect("a client that was started has code");
        self.note(world, operation, "");
        let begun = self.watch.moment_of(self.node);
        let id = record.borrow_mut().invoked(operation, self.node, world.now());
        let value = match &operation.action {
            Action::Get => Some(code.get(&operation.key)),
            Action::Put => {
                code.put(&operation.key, &operation.value);
                None
            }
            Action::Append => {
                code.append(&operation.key, &operation.value);
                None
            }
        };
        record.borrow_mut().returned(id, value.clone(), world.now());
        if value.is_none() {
            self.watch.written(self.node, begun, operation);
        }
        match &value {
            Some(value) => self.note(world, operation, format_args!(" -> {value:?}")),
            None => self.note(world, operation, " done"),
        }
        value
    }

    fn note(&self, world: &World, operation: &Operation, outcome: impl Display) {
        if world.is_recording() {
            world.note_of(self.node, &format!("{}{outcome}", operation.call()));
        }
    }
}

/// Starts a server of the service above a Raft server. What it applies is looked at on its way.
fn service(
    world: World,
    watch: Rc<Watch>,
    snapshots: Rc<SnapshotCount>,
    limit: Option<usize>,
) -> impl Fn(crate::checks::Life, &Arc<labraft::Raft>, Receiver<ApplyMsg>, Persister) -> Services {
    move |life, raft, messages, persister| {
        let (forward, applied) = channel::bounded(0);
        let (watch, snapshots) = (watch.clone(), snapshots.clone());
        world.spawn_on(node_of(life.server), "apply channel", move || {
            for message in messages.iter() {
                watch.applied(life, &message);
                if matches!(message, ApplyMsg::Snapshot { .. }) {
                    snapshots.installed(life.server);
                }
                if forward.send(message).is_err() {
                    return;
                }
            }
        });
        KvServer::make(raft.clone(), applied, persister, limit).services()
    }
}
