//! Checkpoints of stage 2B about refusals: what a server that refuses leaves as it was, what it may say
//! beside its refusal, and what it does when the refused request brings a later term.
//!
//! Kit-owned. S0 may have stood for election by itself: the scripts go on in terms far above its own.

use std::time::Duration;

use labraft::{AppendEntriesArgs, ConflictHint, Index, RequestVoteReply, Term};
use tests::{
    DEPOSED_WITHIN, Finding, FollowerLog, POLL_INTERVAL, Script, append, command, heartbeat, vote_request,
};

use super::{CONSISTENCY, UP_TO_DATE};

/// A term far above any that S0 can have stood in by itself.
const TERM: Term = 1_000;

const UNCHANGED: &str =
    "AppendEntries that is refused adds no entry and commits nothing (Raft 5.1, 5.3, Figure 2)";

/// S0 has [1000, 1000, 1010], of which entry 1 is committed. Three messages come that it must refuse. It may
/// cut entry 3 off when the second one shows that this is not the leader's.
pub(super) fn refusal_changes_nothing(script: &mut Script) {
    let (stale, current) = (TERM + 5, TERM + 20);
    script.append_entries(1, append(TERM + 10, 1, (0, 0), &[TERM, TERM, TERM + 10], 1));
    script.wait_applied(1);
    let rows = [
        (append(stale, 2, (2, TERM), &[stale], 2), "it comes from a leader of an earlier term"),
        (append(current, 1, (3, current), &[current], 3), "entry 3 is of another term"),
        (append(current, 1, (6, current), &[current], 6), "there is no entry 6"),
    ];
    for (args, why) in &rows {
        refuse(script, args, why);
        script.sleep(Duration::from_millis(30));
        if let Some(message) = script.applied().get(1) {
            script.fail(Finding::safety(
                UNCHANGED,
                format!("S0's commit index stays at 1 when it refuses {args:?}: {why}"),
                format!("S0 refused it, and then applied {message:?}"),
            ));
        }
    }
    script.forget();
    let (_, args) = script.wait_for_candidate(current);
    let last = (args.last_log_index, args.last_log_term);
    if ![(3, TERM + 10), (2, TERM)].contains(&last) {
        let cause = match last.1 {
            term if term == stale => ", which came in a message that it refused as one of an earlier term",
            term if term == current => ", which came in a message that it refused as its log did not match",
            _ => "",
        };
        script.fail(Finding::safety(
            UNCHANGED,
            format!(
                "S0's last entry is still 3 of term {}, or 2 of term {TERM} if it cut its log at entry 3",
                TERM + 10
            ),
            format!("S0's last entry is {} of term {}{cause}", last.0, last.1),
        ));
    }
}

/// S0 has [1000, 1000, 1000, 1010, 1010]. A leader with other entries looks for where the logs meet, from the
/// end to the beginning. S0 may cut its log at each of these places.
pub(super) fn hints_are_in_range(script: &mut Script) {
    let current = TERM + 20;
    let theirs = [TERM, TERM, TERM, TERM + 10, TERM + 10];
    script.append_entries(1, append(TERM + 10, 1, (0, 0), &theirs, 0));
    let probes = [(9, current), (6, current), (5, TERM + 15), (4, TERM + 15), (2, TERM - 10), (1, TERM - 10)];
    for previous in probes {
        let args = append(current, 2, previous, &[], 0);
        let Some(hint) = refuse(script, &args, "S0 has no such entry") else { continue };
        check_hint(script, &theirs, previous, hint);
    }
}

/// S0 leads with an entry, so it refuses its vote to a candidate without any, and a leader that goes on after
/// an entry 5. Both are of later terms.
pub(super) fn refusing_leader_steps_down(script: &mut Script) {
    script.answer_appends_truthfully(&[FollowerLog::default(), FollowerLog::default()]);
    script.append_entries(1, heartbeat(TERM, 1));

    let term = lead(script, TERM);
    let later = term + 10;
    if script.request_vote(2, vote_request(later, 2)).vote_granted {
        script.fail(Finding::safety(
            UP_TO_DATE,
            "S0, which has an entry, refuses an empty log",
            "S0 voted for an empty log",
        ));
    }
    check_steps_down(script, term, later, "its vote to S2");

    let term = lead(script, later);
    let later = term + 10;
    refuse(script, &append(later, 2, (5, later), &[], 0), "there is no entry 5");
    check_steps_down(script, term, later, "AppendEntries of S2");
}

/// Has S0 lead a term after `after` with a committed entry of that term; nobody votes for it after that.
fn lead(script: &mut Script, after: Term) -> Term {
    let term = script.elect_after(after);
    let before = script.applied().len();
    script.start_as_leader(&command(&format!("of term {term}")));
    script.wait_applied(before + 1);
    script.answer_votes(|_, args| RequestVoteReply { term: args.term, vote_granted: false });
    term
}

fn check_steps_down(script: &Script, term: Term, later: Term, what: &str) {
    const STEPS_DOWN: &str =
        "a leader that learns of a later term steps down, also when it refuses what brought it (Raft 5.1)";
    let deadline = script.now() + DEPOSED_WITHIN;
    loop {
        let (now, is_leader) = script.get_state();
        if now >= later && !is_leader {
            return;
        }
        let expected = format!("S0, which led term {term} and refused {what}, follows in term {later}");
        if now >= later {
            let seen = format!("S0 says that it leads term {now}, in which nobody has voted for it");
            script.fail(Finding::safety(STEPS_DOWN, expected, seen));
        }
        if script.now() > deadline {
            let seen = format!("S0 says that it is in term {now}, leader: {is_leader}");
            script.fail(Finding::liveness(STEPS_DOWN, expected, seen));
        }
        script.sleep(POLL_INTERVAL);
    }
}

/// Sends S0 AppendEntries that it has to refuse, and returns its hint, if it gives one in the request's term.
fn refuse(script: &Script, args: &AppendEntriesArgs, why: &str) -> Option<ConflictHint> {
    let reply = script.append_entries(args.leader_id, args.clone());
    if reply.success {
        script.fail(Finding::safety(
            CONSISTENCY,
            format!("S0 refuses {args:?}: {why}"),
            "S0 answered success".to_string(),
        ));
    }
    reply.conflict.filter(|_| reply.term == args.term)
}

fn check_hint(script: &Script, theirs: &[Term], previous: (Index, Term), hint: ConflictHint) {
    let (index, term) = previous;
    if !(1..=index).contains(&hint.index) {
        script.fail(Finding::safety(
            "a hint names an index up to where the logs did not match, counted from 1 (end of Raft 5.3)",
            format!("S0, with entries of terms {theirs:?}, refuses to go on after entry {index} of term {term} with a hint from 1 to {index}, or with none"),
            format!("S0's hint names index {}", hint.index),
        ));
    }
}
