//! Scripted peers: the harness plays every server but S0, message by message.
//!
//! Kit-owned. This is how a single rule is tested, and how a run is made that chance would hardly bring
//! about. Scripts speak to the student's server over the wire, never to its functions, so they know
//! nothing of how it is built. What it has not written yet stops it only where the script gets there.

use std::collections::BTreeMap;
use std::time::Duration;

use labraft::{AppendEntriesArgs, AppendEntriesReply, RequestVoteArgs, RequestVoteReply, ServerId, Term};
use labrpc::sync::{Arc, Mutex};
use labrpc::{Effect, Kinds, Leg, Links, Peer, Purpose, Rule, Services, Stream, World, thread};

use crate::checks::Request;
use crate::finding::{Finding, Findings, end_run};
use crate::limits::{ANSWER_WITHIN, SCRIPT_POLL};
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
type AnswerAppend = dyn Fn(ServerId, &AppendEntriesArgs) -> AppendEntriesReply + Send;

/// What the scripted peers share.
struct Peers {
    arrived: Vec<Arrived>,
    vote: Box<AnswerVote>,
    append: Box<AnswerAppend>,
}

/// The student's server S0 among scripted peers.
pub struct Script {
    world: World,
    findings: Findings,
    server: Server,
    peers: Arc<Mutex<Peers>>,
    random: Stream,
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
        let script = Script { world, findings, server, peers, random, read: 0, measures };
        if let Err(finding) = script.server.start(&script.world, servers) {
            script.fail(finding);
        }
        script
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
        answer: impl Fn(ServerId, &AppendEntriesArgs) -> AppendEntriesReply + Send + 'static,
    ) {
        self.peers.lock().append = Box::new(answer);
    }

    /// From now on the peers grant every vote.
    pub fn grant_votes(&self) {
        self.answer_votes(|_, args| RequestVoteReply { term: args.term, vote_granted: true });
    }

    /// From now on `peer`'s replies to S0 are lost. What it is asked still arrives.
    pub fn silence(&self, peer: ServerId) {
        self.reply_rule(peer, Effect::Lose(1.0));
    }

    /// From now on the network holds `peer`'s replies to S0 until [`Script::release`].
    pub fn hold_replies(&self, peer: ServerId) {
        self.reply_rule(peer, Effect::Hold);
    }

    /// Lets go of what is held, and holds nothing more.
    pub fn release(&self) {
        self.world.clear_rules();
        self.world.release(|_| true);
    }

    /// `peer` asks S0 for its vote.
    pub fn request_vote(&self, peer: ServerId, args: RequestVoteArgs) -> RequestVoteReply {
        self.ask(peer, args)
    }

    /// `peer`, as a leader, sends AppendEntries to S0.
    pub fn append_entries(&self, peer: ServerId, args: AppendEntriesArgs) -> AppendEntriesReply {
        self.ask(peer, args)
    }

    fn reply_rule(&self, peer: ServerId, effect: Effect) {
        let links = Links::One(node_of(peer), node_of(S0));
        self.world.add_rule(Rule { links, kinds: Kinds::All, leg: Some(Leg::Reply), effect });
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
        self.grant_votes();
        self.forget();
        let (_, args) = self.wait_for_candidate(0);
        let wanted = |arrived: &Arrived| arrived.request.is_leaders();
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

/// A server that hears nothing stands within this time, whatever its time-outs are in practice.
pub(crate) const STANDS_WITHIN: Duration = crate::limits::SILENCE_MAX;

/// A vote request of a candidate with an empty log.
pub fn vote_request(term: Term, candidate_id: ServerId) -> RequestVoteArgs {
    RequestVoteArgs { term, candidate_id, last_log_index: 0, last_log_term: 0 }
}

/// A heartbeat of a leader with an empty log.
pub fn heartbeat(term: Term, leader_id: ServerId) -> AppendEntriesArgs {
    AppendEntriesArgs {
        term,
        leader_id,
        prev_log_index: 0,
        prev_log_term: 0,
        entries: vec![],
        leader_commit: 0,
    }
}

fn start_peer(world: &World, peer: ServerId, peers: &Arc<Mutex<Peers>>) {
    let (votes, appends) = (peers.clone(), peers.clone());
    let clock = world.clone();
    let also = world.clone();
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
    });
    assert_eq!(started, Ok(()), "a scripted peer starts at once");
}
