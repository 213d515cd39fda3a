//! The single rules of stage 2D, one checkpoint each, in the order in which a student meets them.
//!
//! Kit-owned. S0 is the student's server, all others are played by the harness: see `src/script.rs`. In
//! the comments a log is written as the terms of its entries, so [1, 1, 2] has entry 3 of term 2.

mod late;

use std::time::Duration;

use labraft::{ApplyMsg, InstallSnapshotArgs, RequestVoteArgs, Term};
use labrpc::Moment;
use tests::{
    Arrived, Finding, FollowerLog, HeardOften, Request, Script, append, command, graded_script, heartbeat,
    snapshot, vote_request,
};

/// Why, what the entries follow (index and term), their terms, and whether they are to be accepted.
type Row = (&'static str, (usize, Term), &'static [Term], bool);

const CUT: &str = "a log is cut when a snapshot covers its beginning (Raft 7)";
const INSTALLED: &str = "a follower takes over a snapshot that is ahead of it (Raft 7, Figure 13)";
const NOT_BACK: &str = "a service never goes back to an older snapshot (Raft 7)";
const SUFFIX: &str =
    "entries after those that a snapshot covers stay when the logs match there (Raft 7, Figure 13, 6)";
const REPLACED: &str =
    "a snapshot replaces the whole log where the logs conflict at its last entry (Raft 7, Figure 13, 7)";
const INDEXES: &str = "indexes do not change when the beginning of the log is cut (Raft 7)";
const KEEPS: &str = "a server keeps what it has answered to have stored (Raft 5.3, 5.4, Figure 2)";

/// The service's snapshot takes the place of the entries it covers, on disk too.
#[test]
fn snapshot_cuts_log() {
    graded_script("2d::snapshot_cuts_log", 3, |script| {
        take_snapshot(script);
        let disk = script.disk();
        if disk.last_included != (3, 2) || terms(script) != [2, 2] {
            script.fail(Finding::safety(
                CUT,
                "the snapshot covers entries up to 3 of term 2, and entries 4 and 5 of term 2 remain",
                format!("on disk: {disk:?}"),
            ));
        }
    });
}

/// With its beginning cut the log is used as before: indexes do not change.
#[test]
fn indexes_after_cut() {
    graded_script("2d::indexes_after_cut", 3, |script| {
        take_snapshot(script);
        let rows: [Row; 5] = [
            ("entry 5 of term 2 is the last", (5, 2), &[3], true),
            ("entry 3 of term 2 is the snapshot's last", (3, 2), &[2, 2, 3], true),
            ("entry 4 is not of term 1", (4, 1), &[], false),
            ("there is no entry 9", (9, 3), &[], false),
            ("entry 6 of term 3 has been added", (6, 3), &[3], true),
        ];
        for (why, previous, terms, accepted) in rows {
            if script.append_entries(1, append(5, 1, previous, terms, 0)).success != accepted {
                let seen = if accepted { "refused" } else { "accepted" };
                script.fail(Finding::safety(
                    "a server accepts entries only after one that it has (Raft 5.3, AppendEntries consistency check)",
                    why,
                    format!("S0, whose snapshot covers entries up to 3, {seen} entries after {} of term {}", previous.0, previous.1),
                ));
            }
        }
        check_last(script, INDEXES, (7, 3));
    });
}

/// Entries that the snapshot covers come again, late: they match, and nothing moves.
#[test]
fn entries_under_snapshot() {
    graded_script("2d::entries_under_snapshot", 3, |script| {
        take_snapshot(script);
        let reply = script.append_entries(1, append(5, 1, (1, 1), &[1, 2, 2, 2, 4], 0));
        if reply.success && terms(script) != [2, 2, 4] {
            script.fail(Finding::safety(
                "entries are stored at their own indexes (Raft 5.3, 7)",
                "after the snapshot up to 3: entries 4 and 5 of term 2, entry 6 of term 4",
                format!("after the snapshot up to 3: entries of terms {:?}", terms(script)),
            ));
        }
        script.append_entries(1, append(5, 1, (0, 0), &[1], 0));
        if !terms(script).starts_with(&[2, 2]) {
            script.fail(Finding::safety(
                KEEPS,
                "entries 4 and 5 stay",
                format!("entries of terms {:?}", terms(script)),
            ));
        }
    });
}

/// A snapshot that is ahead of the server reaches its service, and its disk.
#[test]
fn snapshot_is_installed() {
    graded_script("2d::snapshot_is_installed", 3, |script| {
        script.append_entries(1, append(2, 1, (0, 0), &[1, 1], 1));
        script.wait_applied(1);
        let sent = snapshot(3, 1, (10, 3));
        script.install_snapshot(1, sent.clone());
        let applied = script.wait_applied(2);
        let expected = ApplyMsg::Snapshot { index: 10, term: 3, snapshot: sent.snapshot };
        if applied.last() != Some(&expected) {
            script.fail(Finding::safety(
                INSTALLED,
                "the service receives the snapshot up to entry 10",
                format!("it receives {:?}", applied.last()),
            ));
        }
        let disk = script.disk();
        if disk.last_included != (10, 3) || !disk.log.is_empty() {
            script.fail(Finding::safety(
                INSTALLED,
                "the snapshot up to entry 10 of term 3 on disk, and no log",
                format!("on disk: {disk:?}"),
            ));
        }
        // Entries go on after it.
        if !script.append_entries(1, append(3, 1, (10, 3), &[3], 11)).success {
            script.fail(Finding::safety(
                INSTALLED,
                "entry 11 follows the snapshot's entry 10 of term 3",
                "S0 refused it",
            ));
        }
        script.wait_applied(3);
    });
}

/// A snapshot that the server has passed already changes nothing.
#[test]
fn old_snapshot_ignored() {
    graded_script("2d::old_snapshot_ignored", 3, |script| {
        script.snapshot_at(7);
        script.append_entries(1, append(3, 1, (0, 0), &[3; 6], 5));
        script.wait_applied(5);
        script.install_snapshot(1, snapshot(3, 1, (2, 3)));
        script.sleep(Duration::from_millis(200));
        // A server with short time-outs has stood meanwhile.
        let term = script.lead(1);
        script.append_entries(1, append(term, 1, (6, 3), &[term], 7));
        let applied = script.wait_applied(7);
        let indexes: Vec<usize> = applied.iter().map(index_of).collect();
        if indexes != [1, 2, 3, 4, 5, 6, 7] {
            script.fail(Finding::safety(
                NOT_BACK,
                "entries 1 to 7, in order",
                format!("the service received {indexes:?}"),
            ));
        }
        script.wait_for_cut(7);
        script.restart();
        check_old_snapshot_after_restart(script);
    });
}

/// S0 has come back with a snapshot up to entry 7, and knows no more: that much is committed for certain.
fn check_old_snapshot_after_restart(script: &Script) {
    let before = script.disk_snapshot();
    let term = script.lead(1);
    script.install_snapshot(1, snapshot(term, 1, (5, 3)));
    script.sleep(Duration::from_millis(50));
    let covered = script.disk().last_included.0;
    let older: Vec<usize> = script.applied().iter().map(index_of).filter(|&index| index < 7).collect();
    if covered != 7 || script.disk_snapshot() != before || !older.is_empty() {
        script.fail(Finding::safety(
            NOT_BACK,
            "S0, which has come back with a snapshot up to entry 7, ignores one up to entry 5",
            format!("S0's disk has a snapshot up to entry {covered}, and its service received {older:?}"),
        ));
    }
}

/// A leader that sends its snapshot holds elections off like one that sends entries, also when the snapshot brings
/// nothing new.
#[test]
fn snapshots_hold_off() {
    graded_script("2d::snapshots_hold_off", 3, |script| {
        script.check_holds_off(
            "a snapshot of the current leader resets the election timer (Raft 5.2, 7)",
            &HeardOften {
                happens: "its leader sends its snapshot",
                meanwhile: ", while its leader was sending it a snapshot",
            },
            |script, term| {
                script.install_snapshot(1, snapshot(term, 1, (4, term)));
            },
        );
    });
}

/// A snapshot within the log, late: what follows it in the log was acknowledged, and stays.
#[test]
fn snapshot_keeps_suffix() {
    graded_script("2d::snapshot_keeps_suffix", 3, |script| {
        // S0 has acknowledged entries 1 to 6, and knows only the first to be committed.
        script.append_entries(1, append(3, 1, (0, 0), &[3; 6], 1));
        script.wait_applied(1);
        script.install_snapshot(1, snapshot(3, 1, (4, 3)));
        script.sleep(Duration::from_millis(50));
        let disk = script.disk();
        let last = disk.last_included.0 + disk.log.len();
        if last != 6 {
            script.fail(Finding::safety(
                SUFFIX,
                "entries 5 and 6, which S0 has acknowledged, stay on disk",
                format!("on disk: {disk:?}"),
            ));
        }
        check_last(script, SUFFIX, (6, 3));
    });
}

/// A snapshot of another history: what follows in the log goes.
#[test]
fn snapshot_replaces_log() {
    graded_script("2d::snapshot_replaces_log", 3, |script| {
        script.append_entries(1, append(1, 1, (0, 0), &[1; 6], 0));
        script.install_snapshot(2, snapshot(3, 2, (4, 2)));
        script.wait_applied(1);
        let kept = terms(script);
        if !kept.is_empty() {
            script.fail(Finding::safety(
                REPLACED,
                "S0's own entry 4 is of term 1 and the snapshot's last, entry 4, of term 2: they conflict, so the whole log goes",
                format!("after the snapshot S0's disk still has its own entries of terms {kept:?}, which no leader may have"),
            ));
        }
        check_last(script, REPLACED, (4, 2));
    });
}

/// A late AppendEntries tells of an older commit index. What is committed stays so, and an old snapshot changes
/// nothing then either.
#[test]
fn commit_index_stays() {
    graded_script("2d::commit_index_stays", 3, late::commit_index_stays);
}

/// A snapshot is installed while the service makes one of its own, which is older and comes later.
#[test]
fn newer_snapshot_stays() {
    graded_script("2d::newer_snapshot_stays", 3, late::newer_snapshot_stays);
}

/// A snapshot is installed while entries are on their way to a slow service.
#[test]
fn snapshot_overtakes_entries() {
    graded_script("2d::snapshot_overtakes_entries", 3, late::snapshot_overtakes_entries);
}

/// A leader that has cut the entries a follower needs sends its snapshot, and then what follows.
#[test]
fn leader_sends_snapshot() {
    graded_script("2d::leader_sends_snapshot", 3, |script| {
        // What the snapshot covers S0 has as a follower, so no message that it has sent holds any of it.
        script.snapshot_at(4);
        script.append_entries(2, append(2, 2, (0, 0), &[2; 6], 6));
        script.wait_applied(6);
        script.wait_for_cut(4);
        script.answer_appends_truthfully(&[FollowerLog::new(&[], true), FollowerLog::new(&[2; 6], true)]);
        let term = script.elect_after(2);
        check_snapshot_sent(script, "everything up to 4", term);
        let tells = |arrived: &Arrived| matches!(&arrived.request, Request::Append(args) if arrived.peer == 1 && args.prev_log_index >= 4);
        if script.next_request(Duration::from_secs(2), tells).is_none() {
            script.fail(Finding::liveness(
                "after its snapshot a leader sends what follows (Raft 7)",
                "AppendEntries to S1 after entry 4",
                "S1 got the snapshot, and nothing after it",
            ));
        }
    });
}

/// After a restart the snapshot is still there: the service gets only what follows it, and a follower gets
/// the same bytes.
#[test]
fn snapshot_survives() {
    graded_script("2d::snapshot_survives", 3, |script| {
        let term = lead_with_snapshot(script);
        script.restart();
        // The others know nothing of the snapshot, as their services are only played; so S1 needs it.
        script.answer_appends_truthfully(&[FollowerLog::new(&[], true), FollowerLog::new(&[term; 6], true)]);
        script.forget();
        let next = script.elect_after(term);
        check_snapshot_sent(script, "everything up to 4", next);
        script.start_as_leader(&command("after"));
        let applied = script.wait_applied(1);
        let first = applied.iter().map(index_of).next();
        if !matches!(applied[0], ApplyMsg::Snapshot { index: 4, .. }) && first != Some(5) {
            script.fail(Finding::safety(
                "after a restart a service receives what follows its snapshot (Raft 7)",
                "entry 5 first, as the snapshot covers entries up to 4",
                format!("{:?}", applied[0]),
            ));
        }
    });
}

/// A crash while a snapshot is being installed, after any of its saves: what is on disk fits together, and
/// the server goes on from it.
#[test]
fn crash_in_install() {
    graded_script("2d::crash_in_install", 3, |script| {
        script.append_entries(1, append(3, 1, (0, 0), &[3; 4], 2));
        script.wait_applied(2);
        let nth = 1 + script.random().below(2) as u32;
        script.crash_at(Moment::AfterSave, nth);
        let sent = snapshot(3, 1, (8, 3));
        script.try_ask(1, sent.clone());
        script.restart();
        let (disk, snapshot) = (script.disk(), script.disk_snapshot());
        let covered = if snapshot == sent.snapshot { 8 } else { 0 };
        if disk.last_included.0 > covered {
            script.fail(Finding::safety(
                "what is saved covers every entry from the first on, by the snapshot or by the log (Raft 7)",
                "the log and the snapshot that it follows, both new or both old",
                format!(
                    "a log that begins at entry {}, beside a snapshot up to {covered}",
                    disk.last_included.0 + 1
                ),
            ));
        }
        let term = script.lead(1);
        script.install_snapshot(1, InstallSnapshotArgs { term, ..sent });
        script.append_entries(1, append(term, 1, (8, 3), &[3], 9));
        let deadline = script.now() + Duration::from_secs(2);
        while !script.applied().iter().any(|message| index_of(message) == 9) {
            if script.now() > deadline {
                script.fail(Finding::liveness(
                    INSTALLED,
                    "after the crash S0 goes on, up to entry 9",
                    format!("its service has received {:?}", script.applied()),
                ));
            }
            script.sleep(Duration::from_millis(10));
        }
    });
}

/// A leader of an earlier term has no snapshot to give.
#[test]
fn old_leaders_snapshot() {
    graded_script("2d::old_leaders_snapshot", 3, |script| {
        script.append_entries(1, append(5, 1, (0, 0), &[5], 0));
        let reply = script.install_snapshot(2, snapshot(4, 2, (10, 4)));
        script.sleep(Duration::from_millis(100));
        if reply.term < 5 || !script.applied().is_empty() {
            script.fail(Finding::safety(
                "a server rejects requests of a term below its own (Raft 5.1, Figure 13, 1)",
                "S0, in term 5, ignores a snapshot of term 4",
                format!("S0 replied with term {} and applied {:?}", reply.term, script.applied()),
            ));
        }
        script.append_entries(1, heartbeat(5, 1));
    });
}

/// S0 gets entries [1, 1, 2, 2, 2], all committed, and its service makes a snapshot up to entry 3.
fn take_snapshot(script: &Script) {
    script.snapshot_at(3);
    script.append_entries(1, append(2, 1, (0, 0), &[1, 1, 2, 2, 2], 5));
    script.wait_applied(5);
    script.wait_for_cut(3);
}

/// S0 leads, with six entries and a snapshot up to entry 4; S1, which was silent, has none of them.
/// Returns its term.
fn lead_with_snapshot(script: &mut Script) -> Term {
    script.snapshot_at(4);
    script.answer_appends_truthfully(&[FollowerLog::new(&[], true), FollowerLog::new(&[], true)]);
    script.lose_requests_to(1);
    script.grant_votes();
    let term = script.elect();
    for index in 1..=6 {
        script.start_as_leader(&command(&format!("c{index}")));
    }
    script.wait_applied(6);
    script.wait_for_cut(4);
    script.forget();
    script.end_rules();
    term
}

/// Waits until S1 has got the snapshot up to entry 4, and looks at it.
fn check_snapshot_sent(script: &mut Script, bytes: &str, term: Term) {
    let at_1 = |arrived: &Arrived| arrived.peer == 1 && matches!(&arrived.request, Request::Snapshot(_));
    let Some(Arrived { request: Request::Snapshot(args), .. }) =
        script.next_request(Duration::from_secs(3), at_1)
    else {
        script.fail(Finding::liveness(
            "a leader that has cut the entries a follower needs sends its snapshot (Raft 7)",
            "InstallSnapshot to S1, which has nothing",
            "S0 has a snapshot up to entry 4, and does not send it to S1",
        ));
    };
    let is_whole = &*args.snapshot == bytes.as_bytes();
    if !is_whole || args.last_included_index != 4 || args.last_included_term == 0 || args.term != term {
        script.fail(Finding::safety(
            "a leader sends the snapshot that it has, with the index and term of its last entry (Raft 7, Figure 13)",
            format!("the service's bytes, up to entry 4, in term {term}"),
            format!("{args:?}, with the service's bytes: {is_whole}"),
        ));
    }
}

fn terms(script: &Script) -> Vec<Term> {
    script.disk().log.iter().map(|entry| entry.term).collect()
}

/// Asks S0 for votes, first with a log just too short and then with one as long: what it answers shows its
/// last entry (index, term), as far as it judges by that (Raft 5.4.1). `rule` has made that entry the last.
fn check_last(script: &Script, rule: &str, (index, term): (usize, Term)) {
    let ask = |asked_in, last_log_index, last_log_term| {
        let args = RequestVoteArgs { last_log_index, last_log_term, ..vote_request(asked_in, 2) };
        script.request_vote(2, args).vote_granted
    };
    let shorter = ask(100, index - 1, term);
    let equal = ask(200, index, term);
    let shown = match (shorter, equal) {
        (false, true) => return,
        (true, _) => format!(
            "S0 voted for a log that ends with entry {} of term {term}, as if its own ended there or before",
            index - 1
        ),
        (false, false) => format!(
            "S0 refused its vote to a log that ends with entry {index} of term {term}, as if its own went on after that, or ended in a later term"
        ),
    };
    script.fail(Finding::safety(rule, format!("S0's last entry is {index} of term {term}"), shown));
}

fn index_of(message: &ApplyMsg) -> usize {
    match message {
        ApplyMsg::Command { index, .. } | ApplyMsg::Snapshot { index, .. } => *index,
    }
}
