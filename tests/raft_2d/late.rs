//! Checkpoints of stage 2D in which something comes late: an older commit index, an older snapshot, a service
//! that is slow.
//!
//! Kit-owned. The scripts go on in terms far above S0's own, which may have stood for election meanwhile.

use std::time::Duration;

use labraft::{ApplyMsg, Term};
use tests::{Finding, Script, append, snapshot};

use super::{NOT_BACK, index_of};

/// The leader's term, far above any that S0 can have stood in by itself.
const TERM: Term = 100;

/// The term of the leader that goes on after a while.
const NEXT: Term = 200;

/// How long a slow service takes: time enough for a message or two, and too short for an election.
const SLOW: Duration = Duration::from_millis(60);

pub(super) fn commit_index_stays(script: &mut Script) {
    script.append_entries(1, append(TERM, 1, (0, 0), &[TERM; 6], 6));
    script.wait_applied(6);
    // A server that goes back to any old snapshot shows it here.
    script.install_snapshot(1, snapshot(TERM, 1, (2, TERM)));
    script.sleep(Duration::from_millis(20));
    check_not_back(script, NOT_BACK, "S0, which has committed entry 6, ignores a snapshot up to entry 2");
    // Sent when only entry 3 was committed, and overtaken by what came first.
    script.append_entries(1, append(TERM, 1, (0, 0), &[TERM; 3], 3));
    script.install_snapshot(1, snapshot(TERM, 1, (5, TERM)));
    script.append_entries(1, append(NEXT, 1, (6, TERM), &[NEXT], 7));
    wait_for(script, 7, "entry 7, which is committed");
    check_not_back(
        script,
        "`commit_index` never falls (Raft Figure 2, AppendEntries 5: only if leaderCommit > commitIndex)",
        "S0, which knows entry 6 to be committed, gets an older AppendEntries with leader_commit 3; it still ignores a snapshot up to entry 5",
    );
}

pub(super) fn newer_snapshot_stays(script: &mut Script) {
    const CHECKED: &str = "a saved snapshot gives way to a newer one only (Raft 7)";
    script.slow_at(4, SLOW);
    script.snapshot_at(4);
    script.append_entries(1, append(TERM, 1, (0, 0), &[TERM; 6], 4));
    script.wait_applied(4);
    // The service is busy with its snapshot up to entry 4.
    let newer = snapshot(TERM, 1, (10, TERM));
    script.install_snapshot(1, newer.clone());
    wait_for(script, 10, "the snapshot up to entry 10");
    script.sleep(SLOW * 2);
    let check = |late: &str| {
        let (disk, bytes) = (script.disk(), script.disk_snapshot());
        if disk.last_included != (10, TERM) || bytes != newer.snapshot {
            script.fail(Finding::safety(
                CHECKED,
                format!("S0 has installed a snapshot up to entry 10; then comes {late}, and changes nothing"),
                format!(
                    "S0's disk holds the snapshot {:?}, beside a log that begins at entry {}: what lies between is lost",
                    String::from_utf8_lossy(&bytes),
                    disk.last_included.0 + 1
                ),
            ));
        }
    };
    check("the call of `snapshot` with index 4, as its service took a while over it");
    script.install_snapshot(1, snapshot(NEXT, 1, (8, TERM)));
    script.sleep(SLOW * 2);
    check("an InstallSnapshot up to entry 8");
}

pub(super) fn snapshot_overtakes_entries(script: &mut Script) {
    script.slow_at(1, SLOW);
    script.append_entries(1, append(TERM, 1, (0, 0), &[TERM; 8], 8));
    script.wait_applied(1);
    // Entry 1 keeps the service busy, and entries 2 to 8 are committed.
    script.install_snapshot(1, snapshot(TERM, 1, (12, TERM)));
    wait_for(script, 12, "the snapshot up to entry 12");
    script.append_entries(1, append(NEXT, 1, (12, TERM), &[NEXT], 13));
    wait_for(script, 13, "entry 13, which is committed");
    check_not_back(
        script,
        "what a service gets is in the order of the log: after a snapshot, no entry that it covers (Raft 7)",
        "entries that wait for a slow service when a snapshot up to entry 12 is installed come before it, or not at all",
    );
}

/// Waits until the service has received `index`.
fn wait_for(script: &Script, index: usize, what: &str) {
    let deadline = script.now() + Duration::from_secs(2);
    while !script.applied().iter().any(|message| index_of(message) == index) {
        if script.now() > deadline {
            script.fail(Finding::liveness(
                "what is committed reaches the service, by entries or in a snapshot (Raft 5.3, 7)",
                format!("S0's service receives {what}"),
                format!("S0's service has received {}", told(&script.applied())),
            ));
        }
        script.sleep(Duration::from_millis(5));
    }
}

/// Checks that each message goes on where the one before has ended.
fn check_not_back(script: &Script, checked: &str, expected: &str) {
    let applied = script.applied();
    let mut last = 0;
    for message in &applied {
        let index = index_of(message);
        let goes_on = match message {
            ApplyMsg::Command { .. } => index == last + 1,
            ApplyMsg::Snapshot { .. } => index > last,
        };
        if !goes_on {
            script.fail(Finding::safety(
                checked,
                expected,
                format!(
                    "S0's service received {} when it had {last} already; all it received: {}",
                    told(std::slice::from_ref(message)),
                    told(&applied)
                ),
            ));
        }
        last = index;
    }
}

/// Messages in a few words.
fn told(messages: &[ApplyMsg]) -> String {
    let word = |message: &ApplyMsg| match message {
        ApplyMsg::Command { index, .. } => format!("entry {index}"),
        ApplyMsg::Snapshot { index, .. } => format!("a snapshot up to {index}"),
    };
    match messages {
        [] => "nothing".into(),
        some => some.iter().map(word).collect::<Vec<_>>().join(", "),
    }
}
