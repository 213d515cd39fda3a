//! A cluster of Raft servers, in the classic vocabulary of the labs.
//!
//! Kit-owned. Tests are written in these words. What befalls the cluster is in `network.rs`, how it elects
//! leaders in `leadership.rs`, and how it agrees on commands in `agreement.rs`. A method that waits for
//! something fails the run, with an explanation, when a correct Raft would have done it by then.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use labgrading::OWN_MESSAGES;
use labraft::{ApplyMsg, Persister, Raft, ServerId, Term};
use labrpc::channel::Receiver;
use labrpc::sync::Arc;
use labrpc::{Purpose, RuleId, Stream, World, thread};

use crate::checks::{Life, Scope};
use crate::finding::Finding;
use crate::limits::CALLS_RETURN_WITHIN;
use crate::server::{Server, node_of};
use crate::service::{self, Services};
use crate::storm::StormOrder;
use crate::watch::Watch;

/// A running cluster, and the hands on its cables.
pub struct Cluster {
    world: World,
    pub(crate) watch: Rc<Watch>,
    pub(crate) services: Rc<Services>,
    above: Above,
    pub(crate) members: Vec<Member>,
    faults: Stream,
    /// The rules of the network under which no progress can be asked for.
    pub(crate) lossy_rules: Vec<RuleId>,
    /// When a fault was last made or mended, and the number of the last call made before.
    changed: (Duration, u64),
    /// When the window began in which the cluster can be expected to make progress.
    fair_since: Option<Duration>,
    /// How many commands were started so far, to tell them apart.
    pub(crate) commands: u64,
    pub(crate) storm_order: StormOrder,
    measures: BTreeMap<String, f64>,
}

/// What stands on each server and takes what it applies.
#[derive(Clone)]
pub(crate) enum Above {
    /// The kit's own service, which only counts.
    Counter,
    /// A service that is part of what is tested. Called on the server's node, in each of its lives.
    Tested(Rc<Serve>),
}

/// Starts a service and returns what it offers to others.
pub(crate) type Serve = dyn Fn(Life, &Arc<Raft>, Receiver<ApplyMsg>, Persister) -> labrpc::Services;

pub(crate) struct Member {
    pub(crate) server: Server,
    pub(crate) is_connected: bool,
    pub(crate) is_paused: bool,
    pub(crate) is_slow: bool,
    pub(crate) has_stalls: bool,
}

impl Cluster {
    /// Starts `servers` servers on a reliable network.
    pub(crate) fn new(
        world: World,
        servers: usize,
        watch: Rc<Watch>,
        storm: StormOrder,
        above: Above,
    ) -> Cluster {
        for server in 0..servers {
            let node = world.add_node(&format!("S{server}"));
            assert_eq!(node, node_of(server), "servers are the first nodes of their world");
        }
        let faults = world.stream(Purpose::Faults, 0);
        let member = |id| Member {
            server: Server::new(id),
            is_connected: true,
            is_paused: false,
            is_slow: false,
            has_stalls: false,
        };
        let mut cluster = Cluster {
            world,
            watch,
            services: Rc::new(Services::new(servers)),
            above,
            members: (0..servers).map(member).collect(),
            faults,
            lossy_rules: Vec::new(),
            changed: (Duration::ZERO, 0),
            fair_since: None,
            commands: 0,
            storm_order: storm,
            measures: BTreeMap::new(),
        };
        (0..servers).for_each(|server| cluster.boot(server));
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

    /// True when the servers speak in the kit's messages; false when they have messages of their own.
    pub fn is_readable(&self) -> bool {
        self.watch.is_readable()
    }

    /// The stream from which a test draws its faults.
    pub fn faults(&mut self) -> &mut Stream {
        &mut self.faults
    }

    /// Virtual time.
    pub fn now(&self) -> Duration {
        self.world.now()
    }

    /// Lets virtual time pass.
    pub fn sleep(&self, span: Duration) {
        thread::sleep(span);
    }

    /// True in stages in which the tests themselves start commands.
    pub(crate) fn has_commands(&self) -> bool {
        (Scope::Logs..=Scope::Snapshots).contains(&self.watch.scope())
    }

    /// Ends the run with a finding.
    pub fn fail(&self, finding: Finding) -> ! {
        self.watch.fail(finding)
    }

    /// Notes a number that is judged over all seeds of the test. Of several, the greatest counts.
    pub fn measure(&mut self, name: &str, value: f64) {
        let greatest = self.measures.entry(name.into()).or_insert(value);
        *greatest = greatest.max(value);
    }

    pub(crate) fn into_measures(mut self) -> BTreeMap<String, f64> {
        if !self.watch.is_readable() {
            self.measures.insert(OWN_MESSAGES.into(), 1.0);
        }
        self.measures
    }

    /// What a server says of itself; `None` when it is down.
    pub fn get_state(&self, server: ServerId) -> Option<(Term, bool)> {
        // Asked of this life, whatever becomes of it meanwhile.
        let of = self.life(server);
        let asked = self.watch.asked(server);
        match self.members[server].server.get_state(&self.world) {
            Err(finding) => self.fail(finding),
            Ok(state) => {
                if let Some((term, is_leader)) = state {
                    self.watch.state(of, asked, term, is_leader);
                }
                state
            }
        }
    }

    pub(crate) fn life(&self, server: ServerId) -> Life {
        Life { server, incarnation: self.world.incarnation(node_of(server)) }
    }

    /// Starts a server that is down.
    pub(crate) fn boot(&mut self, server: ServerId) {
        let (world, services, watch) = (self.world.clone(), self.services.clone(), self.watch.clone());
        let above = self.above.clone();
        let serve = move |raft: &_, messages, persister| {
            let life = Life { server, incarnation: world.incarnation(node_of(server)) };
            match above {
                Above::Counter => service::start(&world, &services, &watch, life, raft, messages),
                Above::Tested(serve) => return serve(life, raft, messages, persister),
            }
            labrpc::Services::new()
        };
        match self.members[server].server.start(&self.world, self.members.len(), serve) {
            Err(finding) => self.fail(finding),
            Ok(true) => {}
            Ok(false) => self.watch.cannot_read_messages(),
        }
    }

    /// The present fair window is over: something has changed.
    pub(crate) fn note_change(&mut self) {
        self.changed = (self.world.now(), self.world.calls_made());
        self.fair_since = None;
    }

    /// When the present fair window began: there are no faults that could keep a correct cluster from
    /// going on, no message is held, and every call that was under way at the last change has returned.
    /// `None` while it has not begun.
    pub(crate) fn fair_window(&mut self) -> Option<Duration> {
        let is_impaired = |member: &Member| member.is_paused || member.is_slow;
        if !self.lossy_rules.is_empty()
            || self.members.iter().any(is_impaired)
            || !self.world.held().is_empty()
            || self.stalls_go_on()
        {
            self.fair_since = None;
            return None;
        }
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
