//! Scripted peers: the harness plays every server but S0, message by message.
//!
//! Kit-owned. This is how a single rule is tested, and how a run is made that chance would hardly bring
//! about. Scripts speak to the student's server over the wire, never to its functions, so they know
//! nothing of how it is built. What it has not written yet stops it only where the script gets there.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use labgrading::Class;
use labraft::{
    AppendEntriesArgs, AppendEntriesReply, ApplyMsg, Bytes, Command, Index, InstallSnapshotArgs,
    InstallSnapshotReply, PersistentState, Persister, Raft, RaftServer, RequestVoteArgs, RequestVoteReply,
    ServerId, Started, Term,
};
use labrpc::channel::Receiver;
use labrpc::sync::{Arc, Mutex};
use labrpc::{
    Disk, Effect, InFlight, Kinds, Leg, Links, Moment, Peer, Purpose, Rule, RuleId, Services, Stream, World,
    thread,
};

use crate::checks::Request;
use crate::finding::{Finding, Findings, end_run};
use crate::heard::{Heard, Reason};
use crate::limits::{AGREED_WITHIN, ANSWER_WITHIN, CALLS_RETURN_WITHIN, SCRIPT_POLL};
use crate::parts::FollowerLog;
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

type AnswerVote = dyn Fn(ServerId, &RequestVoteArgs) -> RequestVoteReply + Send;
type AnswerAppend = dyn FnMut(ServerId, &AppendEntriesArgs) -> AppendEntriesReply + Send;

/// What the scripted peers share.
struct Peers {
    arrived: Vec<Arrived>,
    vote: Box<AnswerVote>,
    append: Box<AnswerAppend>,
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
        let peers = Arc::new(Mutex::new(Peers {
            arrived: Vec::new(),
            vote: Box::new(|_, args| RequestVoteReply { term: args.term, vote_granted: false }),
            append: Box::new(|_, args| AppendEntriesReply { term: args.term, success: true, conflict: None }),
        }));
        (1..servers).for_each(|peer| start_peer(&world, peer, &peers));
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

/// What the peers do.
impl Script {
    /// From now on the peers answer vote requests like this.
    pub fn answer_votes(
        &self,
        answer: impl Fn(ServerId, &RequestVoteArgs) -> RequestVoteReply + Send + 'static,
    ) {
        self.peers.lock().vote = Box::new(answer);
    }

    /// From now on the peers answer AppendEntries like this.
    pub fn answer_appends(
        &self,
        answer: impl FnMut(ServerId, &AppendEntriesArgs) -> AppendEntriesReply + Send + 'static,
    ) {
        self.peers.lock().append = Box::new(answer);
    }

    /// From now on the peers S1, S2, ... answer AppendEntries as correct followers with these logs do. The
    /// logs are returned, to be looked at and changed.
    pub fn answer_appends_truthfully(&self, logs: &[FollowerLog]) -> Arc<Mutex<Vec<FollowerLog>>> {
        let logs = Arc::new(Mutex::new(logs.to_vec()));
        let answering = logs.clone();
        self.answer_appends(move |peer, args| answering.lock()[peer - 1].append_entries(args));
        logs
    }

    /// From now on the peers grant every vote.
    pub fn grant_votes(&self) {
        self.answer_votes(|_, args| RequestVoteReply { term: args.term, vote_granted: true });
    }

    /// From now on `peer`'s replies to S0 are lost. What it is asked still arrives.
    pub fn silence(&self, peer: ServerId) {
        self.reply_rule(peer, Effect::Lose(1.0));
    }

    /// From now on `peer` cannot send to S0. What it is asked still arrives, and S0's calls take as long to fail as
    /// calls to a server that is gone.
    pub fn cut_replies(&self, peer: ServerId) {
        self.world.cut(node_of(peer), node_of(S0));
    }

    /// From now on the network holds `peer`'s replies to S0 until [`Script::release`].
    pub fn hold_replies(&self, peer: ServerId) {
        let rule = self.reply_rule(peer, Effect::Hold);
        self.holding.borrow_mut().insert(peer, rule);
    }

    /// From now on no request of S0's arrives anywhere.
    pub fn lose_requests(&self) {
        self.request_rule(Links::From(node_of(S0)));
    }

    /// From now on no request of S0's arrives at `peer`.
    pub fn lose_requests_to(&self, peer: ServerId) {
        self.request_rule(Links::One(node_of(S0), node_of(peer)));
    }

    /// From now on the network loses and holds nothing more. What it holds stays held.
    pub fn end_rules(&self) {
        self.world.clear_rules();
    }

    /// Lets go of what is held.
    pub fn release_held(&self) {
        self.world.release(|_| true);
    }

    /// Lets go of what is held, and holds `peer`'s replies no more.
    pub fn stop_holding(&self, peer: ServerId) {
        if let Some(rule) = self.holding.borrow_mut().remove(&peer) {
            self.world.remove_rule(rule);
        }
        self.release_held();
    }

    /// Lets go of what is held, and holds and loses nothing more.
    pub fn release(&self) {
        self.end_rules();
        self.release_held();
    }

    /// `peer` asks S0 for its vote.
    pub fn request_vote(&self, peer: ServerId, args: RequestVoteArgs) -> RequestVoteReply {
        self.ask(peer, args)
    }

    /// `peer`, as a leader, sends AppendEntries to S0.
    pub fn append_entries(&self, peer: ServerId, args: AppendEntriesArgs) -> AppendEntriesReply {
        self.ask(peer, args)
    }

    /// `peer`, as a leader, sends its snapshot to S0.
    pub fn install_snapshot(&self, peer: ServerId, args: InstallSnapshotArgs) -> InstallSnapshotReply {
        self.ask(peer, args)
    }

    fn request_rule(&self, links: Links) {
        let effect = Effect::Lose(1.0);
        self.world.add_rule(Rule { links, kinds: Kinds::All, leg: Some(Leg::Request), effect });
    }

    fn reply_rule(&self, peer: ServerId, effect: Effect) -> RuleId {
        let links = Links::One(node_of(peer), node_of(S0));
        self.world.add_rule(Rule { links, kinds: Kinds::All, leg: Some(Leg::Reply), effect })
    }

    fn ask<R: labrpc::Request>(&self, peer: ServerId, args: R) -> R::Reply {
        let text = format!("{args:?}");
        let call = move || Peer::simulated(node_of(S0)).call(&args);
        match self.world.on(node_of(peer), ANSWER_WITHIN, call) {
            Ok(Some(reply)) => reply,
            _ => self.fail(Finding::liveness(
                "a server answers every request",
                format!("S0 answers S{peer}'s {}", R::KIND),
                format!("S0 has not answered for {} s: {text}", ANSWER_WITHIN.as_secs()),
            )),
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

fn start_peer(world: &World, peer: ServerId, peers: &Arc<Mutex<Peers>>) {
    let (votes, appends, snapshots) = (peers.clone(), peers.clone(), peers.clone());
    let (clock, also, too) = (world.clone(), world.clone(), world.clone());
    let started = world.start(node_of(peer), ANSWER_WITHIN, move || {
        Services::new()
            .with(move |args: RequestVoteArgs| {
                let mut peers = votes.lock();
                let request = Request::Vote(args.clone());
                peers.arrived.push(Arrived { at: clock.now(), peer, request });
                (peers.vote)(peer, &args)
            })
            .with(move |args: AppendEntriesArgs| {
                let mut peers = appends.lock();
                let request = Request::Append(args.clone());
                peers.arrived.push(Arrived { at: also.now(), peer, request });
                (peers.append)(peer, &args)
            })
            .with(move |args: InstallSnapshotArgs| {
                let mut peers = snapshots.lock();
                let request = Request::Snapshot(args.clone());
                peers.arrived.push(Arrived { at: too.now(), peer, request });
                InstallSnapshotReply { term: args.term }
            })
    });
    assert_eq!(started, Ok(()), "a scripted peer starts at once");
}
