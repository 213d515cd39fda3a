//! The single rules of stage 2B, one checkpoint each, in the order in which a student meets them.
//!
//! Kit-owned. S0 is the student's server, all others are played by the harness: see `src/script.rs`. In
//! the comments a log is written as the terms of its entries, so [1, 1, 2] has entry 3 of term 2.

mod acknowledgements;
mod refusals;

use std::time::Duration;

use labraft::{AppendEntriesArgs, AppendEntriesReply, ApplyMsg, RequestVoteArgs, RequestVoteReply, Term};
use tests::{
    Arrived, Finding, FollowerLog, HeardOften, Request, SILENCE_MAX, Script, append, command, entries,
    graded_script, heartbeat, vote_request,
};

/// Why, what the entries follow (index and term), their terms, and whether they are to be accepted.
type Row = (&'static str, (usize, Term), &'static [Term], bool);

const CONSISTENCY: &str =
    "a server accepts entries only after one that it has (Raft 5.3, AppendEntries consistency check)";
const UP_TO_DATE: &str =
    "a server votes only for a candidate whose log is at least as up to date as its own (Raft 5.4.1)";
const COMMITTED: &str = "an entry is committed when a majority of all servers has stored it (Raft 5.3)";
const FIGURE_8: &str =
    "an entry of an earlier term is not committed by counting copies (Raft 5.4.2, Figure 8)";
const BACKS_UP: &str = "a leader goes back until the two logs meet (Raft 5.3)";

/// `start` takes a command on a leader, and on nobody else.
#[test]
fn start_appends() {
    graded_script("2b::start_appends", 3, |script| {
        if let Some(started) = script.start(&command("early")) {
            script.fail(Finding::safety(
                "only a leader takes commands (Raft 5.3)",
                "S0, which has not been elected, refuses",
                format!("S0's `start` returned index {} in term {}", started.index, started.term),
            ));
        }
        let term = script.elect();
        for index in 1..=3 {
            let started = script.start_as_leader(&command(&format!("c{index}")));
            if (started.index, started.term) != (index, term) {
                script.fail(Finding::safety(
                    "`start` returns where the command stands in the log (Raft 5.3)",
                    format!("index {index} in term {term}"),
                    format!("index {} in term {}", started.index, started.term),
                ));
            }
        }
    });
}

/// The leader sends each entry, right after the one before it, and applies it when it is committed.
#[test]
fn sends_entries() {
    graded_script("2b::sends_entries", 3, |script| {
        script.answer_appends_truthfully(&[FollowerLog::default(), FollowerLog::default()]);
        let term = script.elect();
        for index in 1..=3 {
            let text = format!("c{index}");
            script.start_as_leader(&command(&text));
            let applied = script.wait_applied(index);
            let expected = ApplyMsg::Command { index, command: command(&text) };
            if applied[index - 1] != expected {
                script.fail(Finding::safety(
                    "a service receives every committed command once, in the order of the log (Raft 5.3)",
                    format!("{expected:?}"),
                    format!("{:?}", applied[index - 1]),
                ));
            }
        }
        for arrived in script.arrived() {
            let Request::Append(args) = &arrived.request else { continue };
            let is_sound = args.term == term
                && args.leader_id == 0
                && (args.prev_log_index > 0 || args.prev_log_term == 0);
            if !is_sound {
                script.fail(Finding::safety(
                    "AppendEntries carries term, leader and what stands before its entries (Raft Figure 2)",
                    format!("term {term}, leader 0, and (0, 0) before the first entry"),
                    format!("{args:?}"),
                ));
            }
        }
    });
}

/// Accepts or refuses entries, row by row, as the log that it has by then matches or not.
#[test]
fn append_table() {
    graded_script("2b::append_table", 3, |script| {
        let rows: [Row; 10] = [
            ("the first entries follow nothing", (0, 0), &[1, 1], true),
            ("the next ones follow the last", (2, 1), &[1], true),
            ("what is there already does no harm", (0, 0), &[1, 1, 1], true),
            ("there is nothing at index 4, right after the end, to follow", (4, 1), &[1], false),
            ("a heartbeat after the end does not match either", (4, 1), &[], false),
            ("there is nothing at index 5 to follow", (5, 1), &[1], false),
            ("a heartbeat after a gap does not match either", (5, 1), &[], false),
            ("entry 3 is not of term 2", (3, 2), &[3], false),
            ("a heartbeat after an entry of another term does not match either", (3, 2), &[], false),
            ("entry 3 is of term 1", (3, 1), &[3], true),
        ];
        for (why, previous, terms, accepted) in rows {
            let reply = script.append_entries(1, append(5, 1, previous, terms, 0));
            if reply.success != accepted {
                let seen = if accepted { "refused" } else { "accepted" };
                script.fail(Finding::safety(
                    CONSISTENCY,
                    why,
                    format!(
                        "S0 {seen} entries of terms {terms:?} after entry {} of term {}",
                        previous.0, previous.1
                    ),
                ));
            }
        }
    });
}

/// An AppendEntries that arrives after a newer, longer one takes nothing away.
#[test]
fn old_append_after_newer() {
    graded_script("2b::old_append_after_newer", 3, |script| {
        append_accepted(script, append(5, 1, (0, 0), &[5, 5, 5, 5], 0), "entries 1 to 4");
        append_accepted(script, append(5, 1, (0, 0), &[5, 5], 0), "the older message with entries 1 and 2");
        append_accepted(script, append(5, 1, (1, 5), &[], 0), "an old heartbeat after entry 1");
        let causes = [
            ((2, 5), "the older message, with entries 1 and 2 only, has taken 3 and 4 away"),
            ((1, 5), "the old heartbeat after entry 1 has taken entries 2 to 4 away"),
            ((6, 5), "the two entries of the older message were added a second time"),
        ];
        check_last(script, (4, 5), &causes);
    });
}

/// An entry that conflicts goes with all that follow it.
#[test]
fn conflict_cuts_tail() {
    graded_script("2b::conflict_cuts_tail", 3, |script| {
        script.append_entries(1, append(1, 1, (0, 0), &[1, 1, 1, 1], 0));
        let reply = script.append_entries(2, append(2, 2, (1, 1), &[2], 0));
        if !reply.success {
            script.fail(Finding::safety(
                "an entry that conflicts with the leader's is replaced (Raft 5.3)",
                "S0 replaces entry 2 of term 1 by that of term 2",
                "S0 refused",
            ));
        }
        let causes = [
            ((4, 1), "entries 3 and 4, which followed the one that was to be replaced, have stayed"),
            ((2, 1), "entry 2 of term 1 is still there, though what followed it was cut off"),
            ((1, 1), "entry 2 of term 1 was cut off, and that of term 2 not stored"),
            ((5, 2), "the leader's entry 2 was put behind the entries that it conflicts with"),
        ];
        check_last(script, (2, 2), &causes);
    });
}

/// Votes for logs that are at least as up to date as the server's own [1, 1, 2], and for no others: first
/// the term of the last entry counts, then the length.
#[test]
fn vote_restriction() {
    graded_script("2b::vote_restriction", 3, |script| {
        let rows = [
            (1, 2, false, "a candidate whose last entry is of an earlier term"),
            (9, 1, false, "a longer log whose last entry is of an earlier term"),
            (2, 2, false, "a shorter log with a last entry of the same term"),
            (0, 0, false, "an empty log"),
            (3, 2, true, "an equal log"),
            (4, 2, true, "a longer log with a last entry of the same term"),
            (1, 3, true, "a shorter log whose last entry is of a later term"),
        ];
        script.append_entries(1, append(2, 1, (0, 0), &[1, 1, 2], 0));
        let mut term = 10;
        for (last_log_index, last_log_term, granted, what) in rows {
            term += 10;
            let args = RequestVoteArgs { last_log_index, last_log_term, ..vote_request(term, 2) };
            let reply = script.request_vote(2, args);
            if reply.vote_granted != granted {
                let (class, seen) =
                    if granted { ("grants its vote to", "refused") } else { ("refuses", "voted for") };
                script.fail(Finding::safety(
                    UP_TO_DATE,
                    format!("S0 {class} {what}"),
                    format!("S0 {seen} {what}: last entry {last_log_index} of term {last_log_term}"),
                ));
            }
        }
    });
}

/// Of five servers three commit an entry, and two do not.
#[test]
fn commits_by_majority() {
    graded_script("2b::commits_by_majority", 5, |script| {
        script.elect();
        [2, 3, 4].iter().for_each(|&peer| script.silence(peer));
        script.start_as_leader(&command("a"));
        script.sleep(Duration::from_secs(1));
        check_applied_up_to(script, 0, COMMITTED, "only S0 and S1, of five, have stored entry 1");
        script.release();
        [3, 4].iter().for_each(|&peer| script.silence(peer));
        script.wait_applied(1);
    });
}

/// A follower applies what its leader has committed, and not more than it knows to be the leader's: what
/// is left over from another leader stays where it is.
#[test]
fn commits_with_leader() {
    graded_script("2b::commits_with_leader", 3, |script| {
        script.append_entries(1, append(1, 1, (0, 0), &[1, 1, 1], 1));
        script.wait_applied(1);
        // The leader of term 2 has other entries 3 and 4, and both committed, but does not send them yet.
        script.append_entries(2, append(2, 2, (2, 1), &[], 4));
        script.wait_applied(2);
        // The leader stays in touch, or S0 would stand against it.
        for _ in 0..3 {
            script.sleep(Duration::from_millis(100));
            script.append_entries(2, append(2, 2, (2, 1), &[], 4));
        }
        check_applied_up_to(
            script,
            2,
            "a follower commits no further than the last entry it knows to be its leader's (Raft Figure 2, AppendEntries 5)",
            "entry 3 of term 1 may not be the leader's",
        );
        script.append_entries(2, append(2, 2, (2, 1), &[2, 2], 4));
        let applied = script.wait_applied(4);
        let expected = entries(3, &[2, 2]);
        for (message, entry) in applied[2..].iter().zip(&expected) {
            if !matches!(message, ApplyMsg::Command { command, .. } if *command == entry.command) {
                script.fail(Finding::safety(
                    "all servers apply the same command at the same index (Raft 5.4.3, State Machine Safety)",
                    format!("{entry:?}"),
                    format!("{message:?}"),
                ));
            }
        }
    });
}

/// A heartbeat brings the commit index to followers, without a further command.
#[test]
fn commit_travels() {
    graded_script("2b::commit_travels", 3, |script| {
        script.answer_appends_truthfully(&[FollowerLog::default(), FollowerLog::default()]);
        script.elect();
        script.start_as_leader(&command("a"));
        script.wait_applied(1);
        script.forget();
        let tells =
            |arrived: &Arrived| matches!(&arrived.request, Request::Append(args) if args.leader_commit == 1);
        if script.next_request(Duration::from_secs(1), tells).is_none() {
            script.fail(Finding::liveness(
                "followers learn from the next message what is committed (Raft 5.3)",
                "AppendEntries with leader_commit 1 within a second",
                "S0 has committed entry 1, and no message tells so",
            ));
        }
    });
}

/// What was lost on the way is sent again, without a further command.
#[test]
fn resends() {
    graded_script("2b::resends", 3, |script| {
        script.answer_appends_truthfully(&[FollowerLog::default(), FollowerLog::default()]);
        script.elect();
        script.lose_requests();
        script.start_as_leader(&command("a"));
        script.sleep(Duration::from_millis(20));
        script.end_rules();
        script.wait_applied(1);
    });
}

/// A leader finds where a follower's log parts from its own, with hints and without, and repairs it.
#[test]
fn backs_up() {
    graded_script("2b::backs_up", 3, |script| {
        // The catalogue of conflicts: Figure 7 of the paper, and a term that only the follower has.
        let leaders: &[Term] = &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
        let followers: [&[Term]; 7] = [
            &[1, 1, 1, 4, 4, 5, 5, 6, 6],
            &[1, 1, 1, 4],
            &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
            &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
            &[1, 1, 1, 4, 4, 4, 4],
            &[1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
            &[],
        ];
        let which = script.random().below(7) as usize;
        let hints = script.random().chance(0.5);
        script.append_entries(1, append(6, 1, (0, 0), leaders, 0));
        // S0's own term is to come after the one that S1 has and nobody else.
        script.append_entries(1, append(8, 1, (10, 6), &[], 0));
        let logs = script.answer_appends_truthfully(&[
            FollowerLog::new(followers[which], hints),
            FollowerLog::new(leaders, hints),
        ]);
        let term = script.elect();
        script.start_as_leader(&command("a"));
        let wanted: Vec<Term> = leaders.iter().copied().chain([term]).collect();
        let deadline = script.now() + Duration::from_secs(5);
        loop {
            let log = logs.lock()[0].terms.clone();
            if log == wanted {
                return;
            }
            if script.now() > deadline {
                script.fail(Finding::liveness(
                    BACKS_UP,
                    format!("S1's log becomes {wanted:?}"),
                    format!(
                        "S1 began with {:?}, with hints: {hints}, and after 5 s has {log:?}",
                        followers[which]
                    ),
                ));
            }
            script.sleep(Duration::from_millis(10));
        }
    });
}

/// Many refusals that arrive late and at once do not send a leader back past the beginning.
#[test]
fn late_refusals() {
    graded_script("2b::late_refusals", 3, |script| {
        script.append_entries(1, append(1, 1, (0, 0), &[1], 0));
        // S1's log is empty, so it refuses every heartbeat; S0 hears of that only later.
        let logs = script.answer_appends_truthfully(&[FollowerLog::default(), FollowerLog::new(&[1], false)]);
        script.hold_replies(1);
        let term = script.elect();
        script.sleep(Duration::from_secs(1));
        script.release();
        script.sleep(Duration::from_millis(50));
        script.start_as_leader(&command("a"));
        script.wait_applied(2);
        script.sleep(Duration::from_secs(1));
        let log = logs.lock()[0].terms.clone();
        if log != [1, term] {
            script.fail(Finding::liveness(
                BACKS_UP,
                format!("S1's log becomes [1, {term}]"),
                format!("S1's log is {log:?}"),
            ));
        }
    });
}

/// Figure 8 on one server: S0 leads with an entry of an earlier term. A majority stores that, and still it
/// is not committed; one of S0's own term commits both.
#[test]
fn figure_8_rule() {
    graded_script("2b::figure_8_rule", 5, |script| {
        // (a) S0 has [1, 2]: entry 2 came from the leader of term 2, who is gone.
        script.append_entries(4, append(2, 4, (0, 0), &[1, 2], 1));
        script.wait_applied(1);
        // (b) Others have led since, up to term 3. (c) S0 wins a later term and copies entry 2 around.
        script.append_entries(3, heartbeat(3, 3));
        let short = FollowerLog::new(&[1], true);
        let logs = script.answer_appends_truthfully(&[short.clone(), short.clone(), short.clone(), short]);
        // Not to S4: what all have stored a leader may take for committed (5.4.2).
        script.lose_requests_to(4);
        let term = script.elect();
        script.sleep(Duration::from_secs(2));
        let stored = logs.lock().iter().filter(|log| log.terms.get(1) == Some(&2)).count();
        let claim = commit_claimed(script, 2);
        let applied = script.applied().len() > 1;
        if claim.is_some() || applied {
            script.fail(Finding::safety(
                FIGURE_8,
                format!("S0, leading term {term}, does not commit entry 2 of term 2, whoever has stored it: a server with an entry of term 3 could still win and overwrite it"),
                format!("S0, leading term {term}, committed entry 2 of term 2, which {stored} of S1, S2, S3, S4 had stored"),
            ));
        }
        // (e) An entry of S0's own term commits everything before it.
        script.start_as_leader(&command("own"));
        script.wait_applied(3);
    });
}

/// An answer counts for what was sent, not for what the leader's log has become since.
#[test]
fn ack_for_what_was_sent() {
    graded_script("2b::ack_for_what_was_sent", 3, acknowledgements::ack_for_what_was_sent);
}

/// An answer from a term that S0 led earlier says nothing about the log that it leads with now.
#[test]
fn ack_of_earlier_term() {
    graded_script("2b::ack_of_earlier_term", 5, acknowledgements::ack_of_earlier_term);
}

/// A leader that is refused because of a later term steps down, and does not go on looking for the place
/// where the logs meet.
#[test]
fn refused_by_later_term() {
    graded_script("2b::refused_by_later_term", 3, |script| {
        let term = script.elect();
        script.start_as_leader(&command("a"));
        let later = term + 7;
        script.answer_votes(|_, args| RequestVoteReply { term: args.term, vote_granted: false });
        script.answer_appends(move |_, _| AppendEntriesReply { term: later, success: false, conflict: None });
        script.sleep(Duration::from_secs(1));
        let (now, is_leader) = script.get_state();
        if now < later || (is_leader && now == term) {
            script.fail(Finding::liveness(
                "a leader that learns of a later term steps down at once (Raft 5.1)",
                format!("S0 in term {later} or later, not leading term {term}"),
                format!("S0 says that it is in term {now}, leader: {is_leader}, a second after it was refused because of term {later}"),
            ));
        }
    });
}

/// Candidates whose logs are too short do not keep a server with a better one from standing.
#[test]
fn refused_votes_keep_timer() {
    graded_script("2b::refused_votes_keep_timer", 3, |script| {
        let time_outs = script.watch_time_outs();
        let term = time_outs.term + 10;
        script.append_entries(1, append(term, 1, (0, 0), &[term], 0));
        // The first request raises the term, and may well reset a timer. The others, of the same term, must
        // not.
        let asking = term + 10;
        script.request_vote(2, vote_request(asking, 2));
        script.forget();
        let deadline = script.now() + SILENCE_MAX;
        while script.now() < deadline {
            let reply = script.request_vote(2, vote_request(asking, 2));
            if reply.vote_granted {
                script.fail(Finding::safety(
                    UP_TO_DATE,
                    "S0, which has an entry, refuses an empty log",
                    "S0 voted for an empty log",
                ));
            }
            script.sleep(time_outs.interval());
            if script.arrived().iter().any(|arrived| arrived.is_candidacy_after(asking)) {
                return;
            }
        }
        script.fail(Finding::liveness(
            "a vote that is refused does not reset the election timer (Raft 5.2, Figure 2)",
            "S0 stands, as all it hears are candidates whom it refuses",
            format!(
                "S0, asked again and again in term {asking}, has not stood for {} s",
                SILENCE_MAX.as_secs()
            ),
        ));
    });
}

/// A leader whose entries do not match yet is still the leader: its messages hold elections off.
#[test]
fn rejected_appends_hold_off() {
    graded_script("2b::rejected_appends_hold_off", 3, |script| {
        script.check_holds_off(
            "a message of the current leader resets the election timer, whether its entries match or not (Raft 5.2)",
            &HeardOften {
                happens: "its leader speaks",
                meanwhile: ", while its leader was looking for where their logs meet",
            },
            |script, term| {
                script.append_entries(1, append(term, 1, (5, 1), &[], 0));
            },
        );
    });
}

/// A message that is refused adds no entry and commits nothing, whatever it was refused for.
#[test]
fn refusal_changes_nothing() {
    graded_script("2b::refusal_changes_nothing", 3, refusals::refusal_changes_nothing);
}

/// A hint, where there is one, names a place from which the leader can go on.
#[test]
fn hints_are_in_range() {
    graded_script("2b::hints_are_in_range", 3, refusals::hints_are_in_range);
}

/// A leader that learns of a later term by a request that it refuses steps down all the same.
#[test]
fn refusing_leader_steps_down() {
    graded_script("2b::refusing_leader_steps_down", 3, refusals::refusing_leader_steps_down);
}

/// What a follower acknowledged counts in that term only: a new leadership begins with nothing.
#[test]
fn match_of_earlier_term() {
    graded_script("2b::match_of_earlier_term", 5, acknowledgements::match_of_earlier_term);
}

/// A follower that has acknowledged its entries does not get them again, though it falls silent at times.
#[test]
fn acknowledged_once() {
    graded_script("2b::acknowledged_once", 3, acknowledgements::acknowledged_once);
}

/// A follower that does not answer gets no more and more messages.
#[test]
fn silent_follower() {
    graded_script("2b::silent_follower", 3, acknowledgements::silent_follower);
}

/// S1, as a leader, sends `args`, and S0 has to accept them: `what` says what they are.
fn append_accepted(script: &Script, args: AppendEntriesArgs, what: &str) {
    let text = format!("{args:?}");
    if !script.append_entries(1, args).success {
        script.fail(Finding::safety(
            CONSISTENCY,
            format!("S0 accepts {what}, as its log matches before them"),
            format!("S0 refused {text}"),
        ));
    }
}

/// Has S0 stand, and compares the last entry it claims with (index, term). `causes` tells for some other
/// entries what they show.
fn check_last(script: &mut Script, expected: (usize, Term), causes: &[((usize, Term), &str)]) {
    script.forget();
    let (_, args) = script.wait_for_candidate(0);
    let last = (args.last_log_index, args.last_log_term);
    if last != expected {
        let cause = causes.iter().find(|(shown, _)| *shown == last);
        let cause = cause.map_or(String::new(), |(_, cause)| format!(": {cause}"));
        script.fail(Finding::safety(
            "only an entry that conflicts with the leader's goes, with all that follow it (Raft Figure 2, AppendEntries 3)",
            format!("S0 asks for votes with entry {} of term {} as its last", expected.0, expected.1),
            format!("S0 asked for votes with entry {} of term {} as its last{cause}", last.0, last.1),
        ));
    }
}

fn check_applied_up_to(script: &Script, most: usize, rule: &str, why: &str) {
    let applied = script.applied();
    if applied.len() > most {
        let what = if most == 0 { "nothing".into() } else { format!("nothing after entry {most}") };
        script.fail(Finding::safety(
            rule,
            format!("{what} is applied, as {why}"),
            format!("S0 applied {:?}", applied[most]),
        ));
    }
}

/// A message by which S0 says that `index` is committed.
fn commit_claimed(script: &mut Script, index: usize) -> Option<Arrived> {
    let claims =
        |arrived: &Arrived| matches!(&arrived.request, Request::Append(args) if args.leader_commit >= index);
    script.arrived().into_iter().find(claims)
}
