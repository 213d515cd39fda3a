//! Checkpoints of stage 2A about roles: what makes a candidate follow, what leaves a leader where it is, and
//! what a leader leaves behind when it goes.
//!
//! Kit-owned. S0 may have stood for election by itself: the scripts go on in terms far above its own.

use std::time::Duration;

use labgrading::Class;
use labraft::{RequestVoteReply, ServerId, Term};
use tests::{Arrived, DEPOSED_WITHIN, Finding, POLL_INTERVAL, SILENCE_MAX, Script, heartbeat, vote_request};

use super::ONE_VOTE;

/// A term far above any that S0 can have stood in by itself.
const TERM: Term = 1_000;

/// A server that stands so soon after a heartbeat has not begun its time-out anew: the shortest time-outs in
/// use are twice as long.
const SOON: Duration = Duration::from_millis(75);

/// S0 stands, and hears of the leader of its own term at about the moment at which it would stand again. With
/// time-outs of 300 to 600 ms, one that leaves its timer alone stands soon after that in every fourth try;
/// with 1,000 to 2,000 ms in every thirteenth. A thread that had found the election due just before the
/// heartbeat came is no mistake: it takes two tries to tell.
pub(super) fn candidate_follows(script: &mut Script) {
    const CHECKED: &str =
        "a candidate that hears from the leader of its own term becomes its follower (Raft 5.2)";
    script.append_entries(1, heartbeat(TERM, 1));
    let (mut stood, mut term) = stands_after(script, TERM);
    let mut gaps = Vec::new();
    for _ in 0..9 {
        let (next, next_term) = stands_after(script, term);
        gaps.push(next.saturating_sub(stood));
        (stood, term) = (next, next_term);
    }
    gaps.sort_unstable();
    let usual = gaps[gaps.len() / 2];
    let mut was_soon = false;
    for _ in 0..20 {
        script.sleep((stood + usual).saturating_sub(script.now() + SOON / 2));
        // Before the heartbeat leaves: however long it takes, a correct server waits longer than from here.
        let sent = script.now();
        let reply = script.append_entries(2, heartbeat(term, 2));
        if reply.term == term && !reply.success {
            script.fail(Finding::safety(
                CHECKED,
                format!("S0, a candidate in term {term}, accepts a heartbeat of S2, which has won that term"),
                format!("S0 refused a heartbeat of term {term}, the term in which it stands itself"),
            ));
        }
        let (next, next_term) = stands_after(script, term);
        let waited = next.saturating_sub(sent);
        if reply.term == term && waited < SOON {
            if was_soon {
                script.fail(Finding::liveness(
                    CHECKED,
                    format!(
                        "S0, a candidate in term {term}, begins a whole time-out when S2's heartbeat of that term arrives"
                    ),
                    format!(
                        "S0 stood in term {next_term} only {} ms after the heartbeat, and had done so once before: its timer went on as if no leader had spoken",
                        waited.as_millis()
                    ),
                ));
            }
            was_soon = true;
        }
        (stood, term) = (next, next_term);
    }
}

pub(super) fn refused_candidate_adopts(script: &mut Script) {
    script.append_entries(1, heartbeat(TERM, 1));
    let (_, term) = stands_after(script, TERM);
    let later = term + 1_000;
    script.answer_votes(move |_, args| RequestVoteReply { term: later.max(args.term), vote_granted: false });
    let deadline = script.now() + DEPOSED_WITHIN;
    loop {
        let (now, _) = script.get_state();
        if now >= later {
            return;
        }
        if script.now() > deadline {
            script.fail(Finding::liveness(
                "a server that learns of a later term by a request or a reply adopts it (Raft 5.1)",
                format!("S0 in term {later} or later, as S1 and S2 refuse their votes with that term"),
                format!(
                    "S0 says that it is in term {now}: it ignores the later term in replies to RequestVote"
                ),
            ));
        }
        script.sleep(POLL_INTERVAL);
    }
}

/// S1 and S2 have elected S0, of five. S4 stood in the same term, and its request comes late.
pub(super) fn leader_stays(script: &mut Script) {
    script.append_entries(1, heartbeat(TERM, 1));
    let term = elect_by(script, 2, TERM);
    if script.request_vote(4, vote_request(term, 4)).vote_granted {
        script.fail(Finding::safety(
            ONE_VOTE,
            format!("S0, which leads term {term} by its own vote, refuses S4"),
            format!("S0 granted its vote in term {term} to S4"),
        ));
    }
    let deadline = script.now() + Duration::from_secs(1);
    while script.now() < deadline {
        let (now, is_leader) = script.get_state();
        if (now, is_leader) != (term, true) {
            script.fail(Finding::liveness(
                "only a later term makes a leader step down (Raft 5.1, Figure 2)",
                format!("S0 goes on leading term {term} after S4 has asked for its vote in that same term"),
                format!("S0 says that it is in term {now}, leader: {is_leader}"),
            ));
        }
        script.sleep(Duration::from_millis(10));
    }
}

/// S0 sends as much when all of nine vote for it as when just enough do. What is compared are two numbers of
/// one and the same server, so it does not matter how often it sends; a leader that is made again with each of
/// the four votes that were not needed sends five times as much. All vote first: what a leadership leaves behind
/// is another rule.
pub(super) fn wins_once(script: &mut Script) {
    script.append_entries(1, heartbeat(TERM, 1));
    let term = elect_by(script, 8, TERM);
    let by_all = idle_requests(script);
    script.append_entries(8, heartbeat(term + 10, 8));
    elect_by(script, 4, term + 10);
    let by_majority = idle_requests(script);
    if by_all > 2 * by_majority {
        script.fail(Finding::new(
            Class::Performance,
            "a candidate becomes leader once, when it has a majority; further votes change nothing (Raft 5.2)",
            format!("as many requests in {IDLE_S} idle seconds as when only five of nine vote for S0, which were {by_majority}"),
            format!("S0 sent {by_all} when all nine had voted for it: does each further vote make it leader again?"),
        ));
    }
}

/// S0 leads nine terms, and sends no more in the last of them than in the first: twice as much would do no
/// harm, but threads of all nine terms send nine times as much.
pub(super) fn leadership_ends(script: &mut Script) {
    script.append_entries(1, heartbeat(TERM, 1));
    let mut term = elect_by(script, 2, TERM);
    let first = idle_requests(script);
    for _ in 0..8 {
        script.append_entries(2, heartbeat(term + 10, 2));
        term = elect_by(script, 2, term + 10);
    }
    let last = idle_requests(script);
    if last > 2 * first {
        script.fail(Finding::new(
            Class::Performance,
            "what a leader does for its term ends with the term (Raft 5.1, 5.2)",
            format!("as many requests in {IDLE_S} idle seconds of S0's ninth term as leader as in its first, which were {first}"),
            format!("S0 sent {last} in its ninth: do threads of the terms that it led before still send?"),
        ));
    }
}

/// How long requests are counted, in seconds.
const IDLE_S: u64 = 2;

/// What S0, which leads, sends while nothing happens.
fn idle_requests(script: &mut Script) -> usize {
    script.sleep(Duration::from_secs(1));
    script.forget();
    script.sleep(Duration::from_secs(IDLE_S));
    script.arrived().len()
}

/// When S0 stands in a term after `term`, and in which.
fn stands_after(script: &mut Script, term: Term) -> (Duration, Term) {
    let (at, args) = script.wait_for_candidate(term);
    (at, args.term)
}

/// Has S0 elected in a term after `after`, by the votes of S1 up to the server `last` and its own.
fn elect_by(script: &mut Script, last: ServerId, after: Term) -> Term {
    script.answer_votes(move |peer, args| RequestVoteReply { term: args.term, vote_granted: peer <= last });
    script.forget();
    let leads = |arrived: &Arrived| arrived.request.is_leaders() && arrived.request.term() > after;
    match script.next_request(SILENCE_MAX * 2, leads) {
        Some(arrived) => arrived.request.term(),
        None => script.fail(Finding::liveness(
            "a candidate with a majority of votes becomes leader and says so (Raft 5.2)",
            format!("S0 leads a term after {after} and sends AppendEntries, as S1 to S{last} vote for it"),
            "S0 sends no AppendEntries",
        )),
    }
}
