//! Scripted peers: the harness plays every server but S0, message by message.
//!
//! Kit-owned. This is how a single rule is tested, and how a run is made that chance would hardly bring
//! about. Scripts speak to the student's server over the wire, never to its functions, so they know
//! nothing of how it is built. What it has not written yet stops it only where the script gets there.

mod peers;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use labgrading::Class;
use labraft::{
    ApplyMsg, Bytes, Command, Index, PersistentState, Persister, Raft, RaftServer, RequestVoteArgs, ServerId,
    Started, Term,
};
use labrpc::channel::Receiver;
use labrpc::sync::{Arc, Mutex};
use labrpc::{Disk, InFlight, Moment, Peer, Purpose, RuleId, Services, Stream, World, thread};

use self::peers::Peers;
use crate::checks::Request;
use crate::finding::{Finding, Findings, end_run};
use crate::heard::{Heard, Reason};
use crate::limits::{AGREED_WITHIN, CALLS_RETURN_WITHIN, SCRIPT_POLL};
use crate::server::{Server, node_of};

/// The student's server in every script.
const S0: ServerId = 0;

/// A request of S0's that has reached a scripted peer.
#[derive(Clone, Debug)]
pub struct Arrived {
    /// When.
    pub at: Duration,
    /// At which peer.
    pub peer: ServerId,
    /// The request.
    pub request: Request,
}

impl Arrived {
    /// True for a vote request of a term after `term`.
    pub fn is_candidacy_after(&self, term: Term) -> bool {
        matches!(&self.request, Request::Vote(args) if args.term > term)
    }
}

/// The service above S0: it takes what arrives, and does what the script has told it to.
#[derive(Default)]
struct Above {
    applied: RefCell<Vec<ApplyMsg>>,
    /// After which command it makes a snapshot at once; 0 for none.
    snapshot_at: Cell<Index>,
    /// At which message it is slow, and how slow.
    slow_at: Cell<(Index, Duration)>,
}

/// The student's server S0 among scripted peers.
pub struct Script {
    world: World,
    findings: Findings,
    server: Server,
    servers: usize,
    above: Rc<Above>,
    heard: Rc<Heard>,
    peers: Arc<Mutex<Peers>>,
    random: Stream,
    /// The rules that hold a peer's replies.
    holding: RefCell<BTreeMap<ServerId, RuleId>>,
    /// How much of what has arrived the script has read.
    read: usize,
    measures: BTreeMap<String, f64>,
}

impl Script {
    /// Starts S0 and its `servers - 1` scripted peers, which refuse votes and accept every leader until
    /// they are told otherwise.
    pub(crate) fn new(world: World, servers: usize, findings: Findings) -> Script {
        (0..servers).for_each(|server| assert_eq!(world.add_node(&format!("S{server}")), node_of(server)));
        let peers = Arc::new(Mutex::new(Peers::default()));
        (1..servers).for_each(|peer| peers::start_peer(&world, peer, &peers));
        let random = world.stream(Purpose::Faults, 0);
        let server = Server::new(S0);
        let measures = BTreeMap::new();
        let (above, holding) = (Rc::default(), RefCell::default());
        let heard = Heard::new(servers);
        world.observe(heard.clone());
        let script = Script {
            world,
            findings,
            server,
            servers,
            above,
            heard,
            peers,
            random,
            holding,
            read: 0,
            measures,
        };
        script.boot();
        script
    }

    fn boot(&self) {
        let above = self.above.clone();
        let world = self.world.clone();
        let serve = move |raft: &Arc<Raft>, messages: Receiver<ApplyMsg>, _| {
            let raft = raft.clone();
            world.spawn_on(node_of(S0), "service", move || {
                for message in messages.iter() {
                    let index = index_of(&message);
                    above.applied.borrow_mut().push(message);
                    let (slow_at, span) = above.slow_at.get();
                    if index == slow_at {
                        thread::sleep(span);
                    }
                    if index == above.snapshot_at.get() {
                        raft.snapshot(index, snapshot_at(index));
                    }
                }
            });
            Services::new()
        };
        match self.server.start(&self.world, self.servers, serve) {
            Ok(true) => {}
            Ok(false) => self.fail(Finding::new(
                Class::NotJudged,
                "scripted peers speak in the messages of the paper",
                "a server that does so too",
                "not judged: this server has messages of its own, which no scripted peer speaks",
            )),
            Err(finding) => self.fail(finding),
        }
    }

    /// The world's time.
    pub fn now(&self) -> Duration {
        self.world.now()
    }

    /// The stream from which a script draws.
    pub fn random(&mut self) -> &mut Stream {
        &mut self.random
    }

    /// Lets virtual time pass.
    pub fn sleep(&self, span: Duration) {
        thread::sleep(span);
    }

    /// Ends the run with a finding.
    pub fn fail(&self, finding: Finding) -> ! {
        end_run(&self.world, &self.findings, finding)
    }

    /// Notes a number that is judged over all seeds of the test.
    pub fn measure(&mut self, name: &str, value: f64) {
        self.measures.insert(name.into(), value);
    }

    pub(crate) fn into_measures(self) -> BTreeMap<String, f64> {
        self.measures
    }

    /// What S0 says of itself.
    pub fn get_state(&self) -> (Term, bool) {
        match self.server.get_state(&self.world) {
            Ok(Some(state)) => state,
            Ok(None) => (0, false),
            Err(finding) => self.fail(finding),
        }
    }
}

/// What S0 does.
impl Script {
    /// Forgets what has arrived so far.
    pub fn forget(&mut self) {
        self.read = self.peers.lock().arrived.len();
    }

    /// What has arrived at the peers since it was last looked at.
    pub fn arrived(&mut self) -> Vec<Arrived> {
        let peers = self.peers.lock();
        let news = peers.arrived[self.read..].to_vec();
        self.read = peers.arrived.len();
        news
    }

    /// Waits, no longer than `limit`, for a request of S0's that `wanted` picks. Requests before it are
    /// skipped.
    pub fn next_request(&mut self, limit: Duration, wanted: impl Fn(&Arrived) -> bool) -> Option<Arrived> {
        let deadline = self.now() + limit;
        loop {
            let found = {
                let peers = self.peers.lock();
                let position = peers.arrived[self.read..].iter().position(&wanted);
                position
                    .map(|position| (self.read + position + 1, peers.arrived[self.read + position].clone()))
            };
            if let Some((read, arrived)) = found {
                self.read = read;
                return Some(arrived);
            }
            if self.now() >= deadline {
                return None;
            }
            self.sleep(SCRIPT_POLL);
        }
    }

    /// Waits until S0 stands for election in a term after `after`, and returns the first request for a
    /// vote of that candidacy to arrive. Requests of earlier terms may still be on their way: a thread
    /// may have been slow to send them. Fails the run when S0 does not stand for ten seconds.
    pub fn wait_for_candidate(&mut self, after: Term) -> (Duration, RequestVoteArgs) {
        let limit = STANDS_WITHIN;
        let stood = self.next_request(limit, |arrived| arrived.is_candidacy_after(after));
        match stood {
            Some(Arrived { at, request: Request::Vote(args), .. }) => (at, args),
            _ => self.fail(Finding::liveness(
                "a server that hears of no leader stands for election (Raft 5.2)",
                format!("S0 asks for votes within {:.1} s", limit.as_secs_f64()),
                "S0 does not stand for election, though it hears of no leader".to_string(),
            )),
        }
    }

    /// Has S0 elected: every peer grants its vote. Returns the term. Fails the run when S0 does not become
    /// leader.
    pub fn elect(&mut self) -> Term {
        self.elect_after(0)
    }

    /// The same, in a term after `after`.
    pub fn elect_after(&mut self, after: Term) -> Term {
        self.grant_votes();
        self.forget();
        let (_, args) = self.wait_for_candidate(after);
        let wanted = |arrived: &Arrived| arrived.request.is_leaders() && arrived.request.term() > after;
        match self.next_request(STANDS_WITHIN, wanted) {
            Some(arrived) => arrived.request.term(),
            None => self.fail(Finding::liveness(
                "a candidate with a majority of votes becomes leader and says so (Raft 5.2)",
                format!("S0 leads term {} and sends AppendEntries", args.term),
                "S0 got every vote, but sends no AppendEntries".to_string(),
            )),
        }
    }
}

/// S0's log, service and disk.
impl Script {
    /// Has S0 start agreement on `command`; `None` when it says that it is not the leader.
    pub fn start(&self, command: &Command) -> Option<Started> {
        match self.server.start_command(&self.world, command.clone()) {
            Ok(started) => started,
            Err(finding) => self.fail(finding),
        }
    }

    /// The same, where S0 is known to lead. Fails the run when it says that it does not.
    pub fn start_as_leader(&self, command: &Command) -> Started {
        self.start(command).unwrap_or_else(|| {
            self.fail(Finding::liveness(
                "`start` on a leader appends the command to its log (Raft 5.3)",
                format!("S0, which leads, takes {command:?}"),
                "S0's `start` says that it is not the leader",
            ))
        })
    }

    /// What S0's service has received so far.
    pub fn applied(&self) -> Vec<ApplyMsg> {
        self.above.applied.borrow().clone()
    }

    /// Has the service make a snapshot as soon as it has received `index`.
    pub fn snapshot_at(&self, index: Index) {
        self.above.snapshot_at.set(index);
    }

    /// Has the service take `span` over what it receives at `index`: before it makes a snapshot there, and
    /// before it receives more.
    pub fn slow_at(&self, index: Index, span: Duration) {
        self.above.slow_at.set((index, span));
    }

    /// Waits, no longer than a fair window allows, until S0's service has received so many messages, and
    /// returns all it has received. Fails the run when they do not come.
    pub fn wait_applied(&self, messages: usize) -> Vec<ApplyMsg> {
        let deadline = self.now() + AGREED_WITHIN;
        loop {
            let applied = self.applied();
            if applied.len() >= messages {
                return applied;
            }
            if self.now() > deadline {
                let last = applied.last().map_or(0, index_of);
                let has = match applied.len() {
                    0 => "nothing".into(),
                    count => format!("only {count} of {messages} messages, up to entry {last}"),
                };
                let Reason { rule, seen } = self.heard.reason(last);
                let seconds = AGREED_WITHIN.as_secs();
                self.fail(Finding::liveness(
                    rule,
                    format!("S0's service receives {messages} messages within {seconds} s"),
                    format!("S0's service has received {has}.\n{seen}"),
                ));
            }
            self.sleep(SCRIPT_POLL);
        }
    }

    /// Waits, no longer than a fair window allows, until the log on S0's disk begins after `index`.
    pub fn wait_for_cut(&self, index: Index) {
        let deadline = self.now() + AGREED_WITHIN;
        while self.disk().last_included.0 != index {
            if self.now() > deadline {
                self.fail(Finding::liveness(
                    "a log is cut when a snapshot covers its beginning (Raft 7)",
                    format!("S0 saves a state whose snapshot covers entries up to {index}"),
                    format!("on disk: {:?}", self.disk()),
                ));
            }
            self.sleep(Duration::from_millis(5));
        }
    }

    /// What is on S0's disk.
    pub fn disk(&self) -> PersistentState {
        Persister::new(Disk::simulated(node_of(S0))).load()
    }

    /// The snapshot on S0's disk.
    pub fn disk_snapshot(&self) -> Bytes {
        Disk::simulated(node_of(S0)).read_blob()
    }

    /// Crashes S0 when it comes to `moment` for the `nth` time from now; what it has sent by then arrives.
    pub fn crash_at(&self, moment: Moment, nth: u32) {
        self.world.crash_at(node_of(S0), moment, nth, InFlight::Delivered);
    }

    /// Crashes S0, unless it is down.
    pub fn crash(&self) {
        self.world.forget_crashes(node_of(S0));
        self.world.crash(node_of(S0));
    }

    /// Starts S0 again from what it has saved; crashes it first if it is up.
    pub fn restart(&self) {
        self.crash();
        self.server.forget();
        self.above.applied.borrow_mut().clear();
        self.boot();
    }

    /// True while S0 has not crashed.
    pub fn is_up(&self) -> bool {
        self.world.is_up(node_of(S0))
    }

    /// `peer` sends `args` to S0, which may crash over it: the reply, if there is one.
    pub fn try_ask<R: labrpc::Request>(&self, peer: ServerId, args: R) -> Option<R::Reply> {
        let call = move || Peer::simulated(node_of(S0)).call(&args);
        self.world.on(node_of(peer), CALLS_RETURN_WITHIN, call).ok().flatten()
    }
}

fn index_of(message: &ApplyMsg) -> Index {
    match message {
        ApplyMsg::Command { index, .. } | ApplyMsg::Snapshot { index, .. } => *index,
    }
}

/// The snapshot that S0's service makes.
fn snapshot_at(index: Index) -> Bytes {
    format!("everything up to {index}").into_bytes().into()
}

/// A server that hears nothing stands within this time, whatever its time-outs are in practice.
pub(crate) const STANDS_WITHIN: Duration = crate::limits::SILENCE_MAX;
