//! The single rules of stage 2A, one checkpoint each, in the order in which a student meets them.
//!
//! Kit-owned. S0 is the student's server, all others are played by the harness: see `src/script.rs`.
//! A checkpoint needs `make`, and beyond that only what its rule is about; a `todo!` that a thread comes
//! to elsewhere does it no harm.

mod roles;

use std::time::Duration;

use labraft::{RequestVoteReply, Term};
use tests::{
    Arrived, DEPOSED_WITHIN, FIRST_HEARTBEAT, Finding, HeardOften, POLL_INTERVAL, SILENCE_MAX, Script,
    graded_script, heartbeat, vote_request,
};

const ONE_VOTE: &str = "a server votes for at most one candidate in a term (Raft 5.2)";
const OLD_TERM: &str = "a server rejects requests of a term below its own (Raft 5.1)";

/// Grants or refuses a vote, row by row: the first candidate of a term gets it, also when it asks again;
/// another one does not; a later term frees the vote, an earlier one is refused.
#[test]
fn vote_table() {
    graded_script("2a::vote_table", 3, |script| {
        let rows = [
            (10, 1, true, "the first candidate of a term gets the vote"),
            (10, 1, true, "the same candidate that asks again gets the same answer"),
            (10, 2, false, "another candidate of the same term does not"),
            (9, 2, false, "a candidate of an earlier term does not"),
            (20, 2, true, "a later term frees the vote"),
            (20, 1, false, "another candidate of that term does not get it"),
            (15, 1, false, "nor does one of an earlier term"),
        ];
        let mut current = 0;
        for (term, candidate, granted, why) in rows {
            let reply = script.request_vote(candidate, vote_request(term, candidate));
            current = current.max(term);
            if reply.vote_granted != granted {
                let seen = if granted { "refused its vote to" } else { "granted its vote to" };
                script.fail(Finding::safety(
                    ONE_VOTE,
                    why,
                    format!("S0, in term {current}, {seen} S{candidate} in term {term}"),
                ));
            }
            check_reply_term(script, reply.term, current);
        }
    });
}

/// A heartbeat of the current term is accepted, and one of an earlier term is not.
#[test]
fn old_leader_rejected() {
    graded_script("2a::old_leader_rejected", 3, |script| {
        let mut current = 0;
        for (term, accepted) in [(10, true), (10, true), (9, false), (30, true), (29, false)] {
            current = current.max(term);
            let reply = script.append_entries(1, heartbeat(term, 1));
            if reply.success != accepted {
                let seen = if accepted { "rejected" } else { "accepted" };
                script.fail(Finding::safety(
                    OLD_TERM,
                    "AppendEntries of the current or a later term are accepted, earlier ones are not",
                    format!("S0 {seen} a heartbeat of term {term}"),
                ));
            }
            check_reply_term(script, reply.term, current);
        }
    });
}

/// Whatever brings a higher term, the server adopts it at once and follows.
#[test]
fn higher_term_adopted() {
    graded_script("2a::higher_term_adopted", 3, |script| {
        script.append_entries(1, heartbeat(10, 1));
        check_state(script, 10);
        script.request_vote(2, vote_request(20, 2));
        check_state(script, 20);
    });
}

/// A heartbeat leaves the vote of its term as it was.
#[test]
fn heartbeat_keeps_vote() {
    graded_script("2a::heartbeat_keeps_vote", 3, |script| {
        let reply = script.request_vote(2, vote_request(10, 2));
        let accepted = script.append_entries(2, heartbeat(10, 2));
        if !reply.vote_granted || !accepted.success {
            script.fail(Finding::safety(
                ONE_VOTE,
                "S0 votes for S2 in term 10 and then accepts it as leader",
                "S0 refused the first candidate of a term, or its heartbeat",
            ));
        }
        if script.request_vote(1, vote_request(10, 1)).vote_granted {
            script.fail(Finding::safety(
                ONE_VOTE,
                "a heartbeat of the same term does not free the vote",
                "S0 voted for S2 and, after a heartbeat, for S1 in term 10",
            ));
        }
    });
}

/// Without a leader the server stands again and again, in ever later terms, and not at fixed intervals.
#[test]
fn stands_for_election() {
    graded_script("2a::stands_for_election", 3, |script| {
        let mut stands: Vec<(Duration, Term)> = Vec::new();
        while stands.len() < 8 {
            let (at, args) = script.wait_for_candidate(0);
            if args.candidate_id != 0 {
                script.fail(Finding::safety(
                    "a candidate asks for votes in its own name (Raft 5.2)",
                    "candidate_id 0 in requests of S0",
                    format!("S0 asked for votes for S{}", args.candidate_id),
                ));
            }
            // Each candidacy counts once, by the first of its requests to arrive.
            if stands.last().is_none_or(|&(_, last)| args.term > last) {
                stands.push((at, args.term));
            }
        }
        let gaps: Vec<Duration> = stands.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        let (shortest, longest) = (gaps.iter().min().copied(), gaps.iter().max().copied());
        // Messages take 0.5 to 2 ms, so equal time-outs can look up to 1.5 ms apart.
        let (shortest, longest) = (shortest.unwrap_or_default(), longest.unwrap_or_default());
        if longest - shortest < Duration::from_millis(3) {
            script.fail(Finding::liveness(
                "election time-outs are random, or votes split again and again (Raft 5.2)",
                EQUAL_BY_CHANCE,
                format!(
                    "S0 stood {} times, at intervals of {} to {} ms",
                    stands.len(),
                    shortest.as_millis(),
                    longest.as_millis()
                ),
            ));
        }
        check_asks_everybody(script);
    });
}

/// A candidate cannot know who is going to vote for it.
fn check_asks_everybody(script: &mut Script) {
    for peer in [1, 2] {
        let asked = |arrived: &Arrived| arrived.peer == peer && arrived.is_candidacy_after(0);
        if script.next_request(SILENCE_MAX, asked).is_none() {
            script.fail(Finding::liveness(
                "a candidate asks all other servers for their votes (Raft 5.2)",
                "S0, which stands again and again, asks S1 and S2 each time",
                format!("S0 has not asked S{peer} for {} s", SILENCE_MAX.as_secs()),
            ));
        }
    }
}

/// What is to be expected of seven time-outs, and how likely it is that they look equal all the same: of
/// `n` values from a range of width `w`, all lie within `r` in `n (r/w)^(n-1) - (n-1) (r/w)^n` of all cases.
const EQUAL_BY_CHANCE: &str = "intervals that differ by 3 ms or more; by chance, time-outs from a range of 45 ms \
    look equal in one run of a million, and two fixed ones drawn by lot in one of 64";

/// Two votes of five are no majority, however few servers answer; three are.
#[test]
fn counts_votes() {
    graded_script("2a::counts_votes", 5, |script| {
        script.answer_votes(|peer, args| RequestVoteReply { term: args.term, vote_granted: peer == 1 });
        script.silence(3);
        script.silence(4);
        let (_, first) = script.wait_for_candidate(0);
        script.sleep(Duration::from_secs(3));
        if let Some(claim) = leaders_claim(script) {
            script.fail(Finding::safety(
                "a leader has the votes of a majority of all servers in its term (Raft 5.2)",
                "no leader with the votes of S0 and S1 only, of five",
                format!("S0 leads term {} with two votes of five", claim.request.term()),
            ));
        }
        script.answer_votes(|peer, args| RequestVoteReply { term: args.term, vote_granted: peer <= 2 });
        let limit = SILENCE_MAX;
        if script.next_request(limit, |arrived| arrived.request.is_leaders()).is_none() {
            script.fail(Finding::liveness(
                "a candidate with a majority of votes becomes leader (Raft 5.2)",
                "S0 becomes leader with the votes of S0, S1 and S2, of five",
                format!("S0 stood since term {}, got three votes of five, and does not lead", first.term),
            ));
        }
    });
}

/// Votes that arrive when the candidate is already in a later term do not count in it.
#[test]
fn late_votes() {
    graded_script("2a::late_votes", 3, |script| {
        let (_, first) = script.wait_for_candidate(0);
        // Whoever is asked in the next term grants, but the answers are held until S0 has gone on.
        let granted = first.term + 1;
        script.answer_votes(move |_, args| RequestVoteReply {
            term: args.term,
            vote_granted: args.term == granted,
        });
        script.hold_replies(1);
        script.hold_replies(2);
        script.wait_for_candidate(granted);
        script.sleep(Duration::from_millis(5));
        script.forget();
        script.release();
        script.sleep(Duration::from_secs(2));
        if let Some(claim) = leaders_claim(script) {
            script.fail(Finding::safety(
                "a vote counts in the term in which it was asked for, and in no other (Raft 5.2)",
                format!("no leader, as both votes were for term {granted} and came too late"),
                format!("S0 leads term {} with votes of term {granted}", claim.request.term()),
            ));
        }
        // Votes that arrive in time do count.
        script.elect();
    });
}

/// A leader that is refused because of a later term steps down at once.
#[test]
fn leader_steps_down() {
    graded_script("2a::leader_steps_down", 3, |script| {
        let term = script.elect();
        let later = term + 5;
        script.answer_votes(|_, args| RequestVoteReply { term: args.term, vote_granted: false });
        script.answer_appends(move |_, _| labraft::AppendEntriesReply {
            term: later,
            success: false,
            conflict: None,
        });
        let deadline = script.now() + DEPOSED_WITHIN;
        while script.get_state() == (term, true) {
            if script.now() > deadline {
                script.fail(Finding::liveness(
                    "a leader that learns of a later term steps down (Raft 5.1)",
                    format!("S0 follows term {later} once its heartbeats are refused with that term"),
                    format!("S0 still says that it leads term {term}"),
                ));
            }
            script.sleep(POLL_INTERVAL);
        }
        let (now, is_leader) = script.get_state();
        if now < later || is_leader {
            script.fail(Finding::safety(
                "a server that learns of a later term adopts it (Raft 5.1)",
                format!("S0 in term {later} or later, not leading"),
                format!("S0 says that it is in term {now}, leader: {is_leader}"),
            ));
        }
        // And like any follower it stands when it hears nothing.
        script.wait_for_candidate(later);
    });
}

/// Only a later term makes a leader step down: a late candidate of its own term does not.
#[test]
fn leader_stays() {
    graded_script("2a::leader_stays", 5, roles::leader_stays);
}

/// A candidate that hears from the leader of its own term follows it, and begins its time-out anew.
#[test]
fn candidate_follows() {
    graded_script("2a::candidate_follows", 3, roles::candidate_follows);
}

/// A candidate whose vote requests are refused with a later term adopts that term.
#[test]
fn refused_candidate_adopts() {
    graded_script("2a::refused_candidate_adopts", 3, roles::refused_candidate_adopts);
}

/// As long as the leader's heartbeats come, the server does not stand.
#[test]
fn heartbeats_hold_off() {
    graded_script("2a::heartbeats_hold_off", 3, |script| {
        script.check_holds_off(
            "a server that hears its leader does not stand for election (Raft 5.2)",
            &HeardOften { happens: "a heartbeat comes", meanwhile: "" },
            |script, term| {
                script.append_entries(1, heartbeat(term, 1));
            },
        );
    });
}

/// Whoever grants a vote gives the candidate a whole time-out to win: candidate after candidate asks, each in
/// a later term and long before a time-out has passed since the one before, and S0 does not stand itself.
#[test]
fn timer_after_grant() {
    graded_script("2a::timer_after_grant", 3, |script| {
        let time_outs = script.watch_time_outs();
        let (interval, first) = (time_outs.interval(), time_outs.term + 10);
        script.append_entries(1, heartbeat(first, 1));
        script.forget();
        for round in 1..=time_outs.rounds() {
            script.sleep(interval);
            let term = first + 10 * Term::from(round);
            let reply = script.request_vote(2, vote_request(term, 2));
            if let Some(stand) = candidacy_after(script, first) {
                script.fail(Finding::liveness(
                    "granting a vote resets the election timer (Raft 5.2, Figure 2)",
                    format!("S0 does not stand, as it grants a vote every {interval:.0?}"),
                    format!(
                        "S0 stood for election in term {}, less than {:.0?} after a grant",
                        stand.request.term(),
                        2 * interval
                    ),
                ));
            }
            if !reply.vote_granted {
                script.fail(Finding::liveness(
                    ONE_VOTE,
                    "the first candidate of a later term gets the vote",
                    format!("S0 refused its vote to S2 in term {term}"),
                ));
            }
        }
    });
}

/// Heartbeats of a deposed leader, of an earlier term, do not keep the server from standing.
#[test]
fn stale_leader_ignored() {
    graded_script("2a::stale_leader_ignored", 3, |script| {
        let time_outs = script.watch_time_outs();
        let (current, stale) = (time_outs.term + 20, time_outs.term + 10);
        script.append_entries(1, heartbeat(current, 1));
        script.forget();
        let deadline = script.now() + SILENCE_MAX;
        while script.now() < deadline {
            script.append_entries(2, heartbeat(stale, 2));
            script.sleep(time_outs.interval());
            if candidacy_after(script, current).is_some() {
                return;
            }
        }
        script.fail(Finding::liveness(
            "only the leader of the current term resets the election timer (Raft 5.2)",
            format!("S0 stands, as all it hears are heartbeats of the earlier term {stale}"),
            format!("S0, in term {current}, has not stood for {} s", SILENCE_MAX.as_secs()),
        ));
    });
}

/// A new leader says so at once: the others are about to stand themselves.
#[test]
fn first_heartbeat() {
    graded_script("2a::first_heartbeat", 3, |script| {
        script.grant_votes();
        let (granted, _) = script.wait_for_candidate(0);
        let leads_at_1 = |arrived: &Arrived| arrived.request.is_leaders() && arrived.peer == 1;
        let mut heard = Vec::new();
        while heard.len() < HEARTBEATS {
            let Some(arrived) = script.next_request(SILENCE_MAX, leads_at_1) else {
                script.fail(Finding::liveness(
                    "a leader sends heartbeats to all other servers (Raft 5.2)",
                    format!("{HEARTBEATS} heartbeats from S0 at S1, which answers each"),
                    format!("S0 got every vote, but S1 has heard from it only {} times", heard.len()),
                ));
            };
            heard.push(arrived.at);
        }
        let longest = heard.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
        let share = (heard[0] - granted).as_secs_f64() / longest.as_secs_f64();
        script.measure(FIRST_HEARTBEAT, share);
    });
}

/// So many messages of a new leader show how long it waits between heartbeats, even if it sends several at
/// once: the longest time between two of them.
const HEARTBEATS: usize = 12;

/// Votes beyond the majority do not make a leader once more.
#[test]
fn wins_once() {
    graded_script("2a::wins_once", 9, roles::wins_once);
}

/// Whatever a leader does for its term ends with the term.
#[test]
fn leadership_ends() {
    graded_script("2a::leadership_ends", 3, roles::leadership_ends);
}

fn candidacy_after(script: &mut Script, term: Term) -> Option<Arrived> {
    script.arrived().into_iter().find(|arrived| arrived.is_candidacy_after(term))
}

fn leaders_claim(script: &mut Script) -> Option<Arrived> {
    script.arrived().into_iter().find(|arrived| arrived.request.is_leaders())
}

fn check_reply_term(script: &Script, term: Term, at_least: Term) {
    if term < at_least {
        script.fail(Finding::safety(
            "a reply carries the server's current term (Raft 5.1, Figure 2)",
            format!("term {at_least} or later"),
            format!("S0 replied with term {term}"),
        ));
    }
}

fn check_state(script: &Script, at_least: Term) {
    let (term, is_leader) = script.get_state();
    if term < at_least || (is_leader && term == at_least) {
        script.fail(Finding::safety(
            "a server that learns of a later term adopts it and follows (Raft 5.1)",
            format!("S0 in term {at_least} or later, not leading term {at_least}"),
            format!("S0 says that it is in term {term}, leader: {is_leader}"),
        ));
    }
}
