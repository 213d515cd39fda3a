//! The servers that a script plays: what they answer, what they ask, and what the network does with it.
//!
//! Kit-owned; a part of `../script.rs`.

use labraft::{
    AppendEntriesArgs, AppendEntriesReply, InstallSnapshotArgs, InstallSnapshotReply, RequestVoteArgs,
    RequestVoteReply, ServerId,
};
use labrpc::sync::{Arc, Mutex};
use labrpc::{Effect, Kinds, Leg, Links, Peer, Rule, RuleId, Services, World};

use super::{Arrived, S0, Script};
use crate::checks::Request;
use crate::finding::Finding;
use crate::limits::ANSWER_WITHIN;
use crate::parts::FollowerLog;
use crate::server::node_of;

/// What the scripted peers share.
pub(super) struct Peers {
    pub(super) arrived: Vec<Arrived>,
    pub(super) vote: Box<AnswerVote>,
    pub(super) append: Box<AnswerAppend>,
}

type AnswerVote = dyn Fn(ServerId, &RequestVoteArgs) -> RequestVoteReply + Send;
type AnswerAppend = dyn FnMut(ServerId, &AppendEntriesArgs) -> AppendEntriesReply + Send;

impl Default for Peers {
    /// They refuse votes and accept every leader.
    fn default() -> Peers {
        Peers {
            arrived: Vec::new(),
            vote: Box::new(|_, args| RequestVoteReply { term: args.term, vote_granted: false }),
            append: Box::new(|_, args| AppendEntriesReply { term: args.term, success: true, conflict: None }),
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

/// Starts a peer that notes what it is asked, and answers as it is told to.
pub(super) fn start_peer(world: &World, peer: ServerId, peers: &Arc<Mutex<Peers>>) {
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
