//! The single rules of stage 2C, one checkpoint each, in the order in which a student meets them.
//!
//! Kit-owned. S0 is the student's server, all others are played by the harness: see `src/script.rs`. In
//! the comments a log is written as the terms of its entries, so [1, 1, 2] has entry 3 of term 2.

use std::time::Duration;

use labraft::{ApplyMsg, PersistentState, RequestVoteArgs, Term};
use labrpc::{Leg, Moment};
use tests::{Finding, FollowerLog, Script, append, command, graded_script, heartbeat, vote_request};

const ON_DISK: &str =
    "a server answers only when what it answers is on disk (Raft Figure 2, persistent state)";
const ONE_VOTE: &str = "a server votes for at most one candidate in a term (Raft 5.2)";
const KEEPS: &str = "a server keeps what it has answered to have stored (Raft 5.3, 5.4, Figure 2)";

/// Term and vote are on disk when the vote is given.
#[test]
fn vote_is_saved() {
    graded_script("2c::vote_is_saved", 3, |script| {
        let granted = script.request_vote(2, vote_request(10, 2)).vote_granted;
        let disk = script.disk();
        if !granted || disk.current_term != 10 || disk.voted_for != Some(2) {
            script.fail(Finding::safety(
                ON_DISK,
                "S0 votes for S2 in term 10, and saves both",
                format!("granted: {granted}, and on disk: {disk:?}"),
            ));
        }
    });
}

/// A server that has voted, crashes and comes back has voted.
#[test]
fn vote_survives() {
    graded_script("2c::vote_survives", 3, |script| {
        script.request_vote(2, vote_request(10, 2));
        script.restart();
        if script.request_vote(1, vote_request(10, 1)).vote_granted {
            script.fail(Finding::safety(
                ONE_VOTE,
                "the vote of term 10, for S2, survives a crash",
                "S0 voted for S2 and, after a crash, for S1 in term 10",
            ));
        }
        let again = script.request_vote(2, vote_request(10, 2));
        if again.term == 10 && !again.vote_granted {
            script.fail(Finding::liveness(
                ONE_VOTE,
                "S2, which has the vote of term 10, gets it again when it asks again",
                "S0 refused",
            ));
        }
        // S0 may have stood meanwhile, in a term of its own; in a later one it votes again.
        let later = script.lead(1) + 1;
        if !script.request_vote(1, vote_request(later, 1)).vote_granted {
            script.fail(Finding::liveness(
                ONE_VOTE,
                format!("after a crash S0 has a vote for the first candidate of term {later}"),
                "S0 refused",
            ));
        }
    });
}

/// A server that comes back is in the term in which it was.
#[test]
fn term_survives() {
    graded_script("2c::term_survives", 3, |script| {
        script.append_entries(1, heartbeat(10, 1));
        // The first entry of the term makes the term a promise.
        script.append_entries(1, append(10, 1, (0, 0), &[10], 0));
        script.restart();
        let (term, _) = script.get_state();
        let reply = script.append_entries(2, heartbeat(9, 2));
        if term < 10 || reply.success {
            script.fail(Finding::safety(
                "a server's term never falls (Raft 5.1)",
                "after a crash S0 is in term 10 or later, and refuses a leader of term 9",
                format!("S0 is in term {term}, and accepted a leader of term 9: {}", reply.success),
            ));
        }
    });
}

/// Entries are on disk when the follower answers, and after a crash it still has them.
#[test]
fn entries_survive() {
    graded_script("2c::entries_survive", 3, |script| {
        script.append_entries(1, append(5, 1, (0, 0), &[4, 5], 0));
        check_log(script, &[4, 5]);
        script.append_entries(1, append(5, 1, (2, 5), &[5], 0));
        check_log(script, &[4, 5, 5]);
        script.restart();
        let term = script.lead(1);
        if !script.append_entries(1, append(term, 1, (3, 5), &[5], 0)).success {
            script.fail(Finding::safety(
                KEEPS,
                "S0 still has entry 3 of term 5 after a crash",
                "S0 refused an entry that follows it",
            ));
        }
    });
}

/// A conflicting entry replaces what was there on disk too.
#[test]
fn replaced_entries_survive() {
    graded_script("2c::replaced_entries_survive", 3, |script| {
        script.append_entries(1, append(1, 1, (0, 0), &[1, 1, 1], 0));
        script.append_entries(2, append(2, 2, (1, 1), &[2], 0));
        script.restart();
        check_log(script, &[1, 2]);
        let longer = RequestVoteArgs { last_log_index: 3, last_log_term: 1, ..vote_request(9, 1) };
        if script.request_vote(1, longer).vote_granted {
            script.fail(Finding::safety(
                KEEPS,
                "S0 has entry 2 of term 2 after a crash, and so refuses a candidate that ends in term 1",
                "S0 voted for it",
            ));
        }
        check_replaced_by_as_many(script);
    });
}

/// The log is as long as before, and other entries are in it.
fn check_replaced_by_as_many(script: &Script) {
    let term = script.lead(2);
    script.append_entries(2, append(term, 2, (1, 1), &[term], 0));
    check_log(script, &[1, term]);
    script.restart();
    check_log(script, &[1, term]);
}

/// What a leader counts itself for is on its own disk too.
#[test]
fn start_is_saved() {
    graded_script("2c::start_is_saved", 3, |script| {
        script.answer_appends_truthfully(&[FollowerLog::default(), FollowerLog::default()]);
        script.elect();
        script.silence(2);
        let started = script.start_as_leader(&command("a"));
        script.wait_applied(1);
        check_log(script, &[started.term]);
        script.restart();
        check_log(script, &[started.term]);
    });
}

/// A candidate has saved its new term and its vote for itself before it leads.
#[test]
fn candidacy_is_saved() {
    graded_script("2c::candidacy_is_saved", 3, |script| {
        let term = script.elect();
        let disk = script.disk();
        if disk.current_term != term || disk.voted_for != Some(0) {
            script.fail(Finding::safety(
                ON_DISK,
                format!("S0, which leads term {term}, has saved that term and its vote for itself"),
                format!("on its disk: {disk:?}"),
            ));
        }
        script.restart();
        script.answer_votes(|_, args| labraft::RequestVoteReply { term: args.term, vote_granted: false });
        if script
            .request_vote(
                1,
                RequestVoteArgs { last_log_index: 9, last_log_term: term, ..vote_request(term, 1) },
            )
            .vote_granted
        {
            script.fail(Finding::safety(
                ONE_VOTE,
                format!("S0, which has led term {term}, has no vote left in it"),
                format!("after a crash S0 voted for S1 in term {term}"),
            ));
        }
    });
}

/// A crash right after a vote has left: what was said holds.
#[test]
fn crash_after_vote() {
    graded_script("2c::crash_after_vote", 3, |script| {
        script.crash_at(Moment::Sent { leg: Leg::Reply, kind: "RequestVote" }, 1);
        let answered = script.try_ask(2, vote_request(10, 2)).is_some_and(|reply| reply.vote_granted);
        script.restart();
        let again = script.request_vote(1, vote_request(10, 1)).vote_granted;
        if answered && again {
            script.fail(Finding::safety(
                ONE_VOTE,
                "the vote for S2 was saved before it left",
                "S0 voted for S2 in term 10, crashed, and voted for S1 in term 10",
            ));
        }
    });
}

/// A crash right after entries were acknowledged: they are there.
#[test]
fn crash_after_ack() {
    graded_script("2c::crash_after_ack", 3, |script| {
        script.append_entries(1, heartbeat(3, 1));
        script.crash_at(Moment::Sent { leg: Leg::Reply, kind: "AppendEntries" }, 1);
        let answered = script.try_ask(1, append(3, 1, (0, 0), &[3, 3], 0)).is_some_and(|reply| reply.success);
        script.restart();
        if answered {
            check_log(script, &[3, 3]);
        }
    });
}

/// A crash between the save and the answer: the leader knows nothing and sends again, and the entries do
/// not come twice.
#[test]
fn save_without_answer() {
    graded_script("2c::save_without_answer", 3, |script| {
        script.append_entries(1, heartbeat(3, 1));
        script.crash_at(Moment::AfterSave, 1);
        script.try_ask(1, append(3, 1, (0, 0), &[3, 3], 0));
        script.restart();
        let term = script.lead(1);
        let reply = script.append_entries(1, append(term, 1, (0, 0), &[3, 3], 2));
        if !reply.success {
            script.fail(Finding::liveness(
                KEEPS,
                "S0 accepts entries that it has saved already",
                "S0 refused them",
            ));
        }
        check_log(script, &[3, 3]);
        script.wait_applied(2);
    });
}

/// A crash before the save: what was not answered may be gone, and nothing else.
#[test]
fn crash_before_save() {
    graded_script("2c::crash_before_save", 3, |script| {
        script.append_entries(1, append(3, 1, (0, 0), &[3, 3], 0));
        script.crash_at(Moment::BeforeSave, 1);
        script.try_ask(1, append(3, 1, (2, 3), &[3], 0));
        script.restart();
        let disk = script.disk();
        let terms: Vec<Term> = disk.log.iter().map(|entry| entry.term).collect();
        if !terms.starts_with(&[3, 3]) || disk.current_term < 3 {
            script.fail(Finding::safety(
                KEEPS,
                "entries 1 and 2 of term 3 are on disk",
                format!("on disk: {disk:?}"),
            ));
        }
        let term = script.lead(1);
        if !script.append_entries(1, append(term, 1, (2, 3), &[3], 0)).success {
            script.fail(Finding::safety(KEEPS, "S0 takes entry 3 when it is sent again", "S0 refused it"));
        }
    });
}

/// After a crash the service begins anew, so it gets everything again from the first entry on.
#[test]
fn applies_again() {
    graded_script("2c::applies_again", 3, |script| {
        script.append_entries(1, append(3, 1, (0, 0), &[3, 3, 3], 2));
        script.wait_applied(2);
        script.restart();
        let term = script.lead(1);
        script.append_entries(1, append(term, 1, (3, 3), &[], 3));
        let applied = script.wait_applied(3);
        let indexes: Vec<usize> = applied.iter().map(index_of).collect();
        if indexes != [1, 2, 3] {
            script.fail(Finding::safety(
                "after a restart a service without a snapshot receives every command again (Raft 5.3)",
                "entries 1, 2 and 3",
                format!("entries {indexes:?}"),
            ));
        }
    });
}

/// A leader that crashed is no leader when it comes back; with its log it can become one again, and then
/// commits what it had.
#[test]
fn leader_comes_back() {
    graded_script("2c::leader_comes_back", 3, |script| {
        let logs = script.answer_appends_truthfully(&[FollowerLog::default(), FollowerLog::default()]);
        let first = script.elect();
        script.lose_requests();
        script.start_as_leader(&command("a"));
        // `start` promises nothing, so a server may save the entry a moment later, or lose it.
        script.sleep(Duration::from_millis(100));
        let terms: Vec<Term> = script.disk().log.iter().map(|entry| entry.term).collect();
        script.restart();
        script.end_rules();
        // It may have stood and won again by now, but in a later term.
        if script.get_state() == (first, true) {
            script.fail(Finding::safety(
                "a server begins each life as a follower (Raft 5.2)",
                "S0 does not lead after a crash",
                format!("S0 says that it leads term {first}"),
            ));
        }
        let second = script.elect_after(first);
        script.start_as_leader(&command("b"));
        script.wait_applied(terms.len() + 1);
        script.sleep(Duration::from_secs(1));
        let expected = [terms, vec![second]].concat();
        let log = logs.lock()[0].terms.clone();
        if log != expected {
            script.fail(Finding::safety(
                KEEPS,
                format!("S1 gets entries of terms {expected:?}, as S0 had saved all but the last"),
                format!("S1's log has entries of terms {log:?}"),
            ));
        }
    });
}

fn index_of(message: &ApplyMsg) -> usize {
    match message {
        ApplyMsg::Command { index, .. } | ApplyMsg::Snapshot { index, .. } => *index,
    }
}

fn check_log(script: &Script, terms: &[Term]) {
    let disk: PersistentState = script.disk();
    let saved: Vec<Term> = disk.log.iter().map(|entry| entry.term).collect();
    if saved != terms {
        script.fail(Finding::safety(
            ON_DISK,
            format!("entries of terms {terms:?} on S0's disk"),
            format!("S0's disk has entries of terms {saved:?}"),
        ));
    }
}
