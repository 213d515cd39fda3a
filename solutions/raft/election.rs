//! Leader election (Raft 5.2, 5.4.1): the timer, the candidate, and the voter.
//!
//! Staff-owned.

use std::ops::Range;
use std::time::Duration;

use labrpc::sync::Arc;
use labrpc::time::Instant;
use labrpc::{rng, thread};

use super::{Raft, Role, State, spawn};
use crate::{RequestVoteArgs, RequestVoteReply, ServerId};

/// How long a server waits for a leader before it stands itself. The spread makes it likely that one
/// server stands and wins before the next one wakes up; the least value leaves room for two lost
/// heartbeats.
const ELECTION_TIMEOUT: Range<Duration> = Duration::from_millis(300)..Duration::from_millis(600);

/// When an election is due if no leader is heard of from now on. Drawn anew each time, or servers that
/// split a vote once would split it for ever.
pub(super) fn draw_election_due() -> Instant {
    Instant::now() + rng::duration(ELECTION_TIMEOUT)
}

impl Raft {
    /// Starts an election whenever one is due. Runs as long as the server.
    pub(super) fn election_timer(self: Arc<Self>) {
        loop {
            let wait = {
                let mut state = self.state.lock();
                if state.election_due <= Instant::now() {
                    state.election_due = draw_election_due();
                    if !state.is_leader() {
                        self.start_election(&mut state);
                    }
                }
                state.election_due - Instant::now()
            };
            thread::sleep(wait);
        }
    }

    /// Stands for election in a new term and asks everybody for their vote at once.
    fn start_election(self: &Arc<Self>, state: &mut State) {
        state.become_candidate(self.me, self.peers.len());
        self.persist(state);
        if state.has_majority() {
            self.win(state);
            return;
        }
        let args = RequestVoteArgs {
            term: state.persistent.current_term,
            candidate_id: self.me,
            last_log_index: state.persistent.last_index(),
            last_log_term: state.persistent.last_term(),
        };
        for voter in self.others() {
            let (raft, args) = (self.clone(), args.clone());
            spawn("vote request", move || raft.ask_for_vote(voter, &args));
        }
    }

    fn ask_for_vote(self: &Arc<Self>, voter: ServerId, args: &RequestVoteArgs) {
        let Some(reply) = self.peers[voter].call(args) else { return };
        self.observe_reply(reply.term);
        if !reply.vote_granted {
            return;
        }
        // A vote counts in the term it was asked for, and in no other.
        let Some(mut state) = self.lock_in_term(args.term, State::is_candidate) else { return };
        state.count_vote(voter);
        if state.has_majority() {
            self.win(&mut state);
        }
    }

    fn win(self: &Arc<Self>, state: &mut State) {
        state.become_leader(self.me);
        let (raft, term) = (self.clone(), state.persistent.current_term);
        spawn("leader", move || raft.replicate(term));
    }
}

impl State {
    /// The receiver of RequestVote (Raft Figure 2).
    pub(super) fn request_vote(&mut self, args: &RequestVoteArgs) -> RequestVoteReply {
        self.observe_term(args.term);
        let State { persistent, .. } = self;
        let current_term = persistent.current_term;
        let may_vote = persistent.voted_for.is_none_or(|candidate| candidate == args.candidate_id);
        // Whoever has stored less than this server might lack something that is committed (5.4.1).
        let ours = (persistent.last_term(), persistent.last_index());
        let is_up_to_date = (args.last_log_term, args.last_log_index) >= ours;
        let vote_granted = args.term == current_term && may_vote && is_up_to_date;
        if vote_granted {
            self.persistent_mut().voted_for = Some(args.candidate_id);
            self.election_due = draw_election_due();
        }
        RequestVoteReply { term: current_term, vote_granted }
    }

    /// Begins a new term with a vote for itself.
    fn become_candidate(&mut self, me: ServerId, servers: usize) {
        assert!(!self.is_leader(), "a leader does not stand against itself");
        let persistent = self.persistent_mut();
        persistent.current_term += 1;
        persistent.voted_for = Some(me);
        let mut votes = vec![false; servers];
        votes[me] = true;
        self.role = Role::Candidate { votes };
    }

    fn become_leader(&mut self, me: ServerId) {
        assert!(self.has_majority(), "only a candidate with a majority of votes becomes leader");
        assert_eq!(self.persistent.voted_for, Some(me), "a leader has its own vote");
        assert!(self.is_saved, "a leader has saved its vote before it speaks");
        let Role::Candidate { votes } = &self.role else { unreachable!("it has a majority") };
        let last_index = self.persistent.last_index();
        let next_index = vec![last_index + 1; votes.len()];
        let mut match_index = vec![0; votes.len()];
        match_index[me] = last_index;
        self.role = Role::Leader { next_index, match_index };
    }

    fn count_vote(&mut self, voter: ServerId) {
        if let Role::Candidate { votes } = &mut self.role {
            votes[voter] = true;
        }
    }

    /// True for a candidate with the votes of more than half of all servers, whether they live or not.
    fn has_majority(&self) -> bool {
        match &self.role {
            Role::Candidate { votes } => votes.iter().filter(|&&granted| granted).count() > votes.len() / 2,
            _ => false,
        }
    }
}
