//! Commands for servers whose threads are held up now and then: stage 2B.
//!
//! Kit-owned.

use std::time::Duration;

use labrpc::Stalls;
use tests::Cluster;

/// Long enough for a whole log to be replaced between two steps.
const WHILE_DEPOSED: Stalls =
    Stalls { one_in: 20, span: Duration::from_millis(1)..Duration::from_millis(200) };

/// Longer than the round trip after which a command is committed.
const WHILE_BUSY: Stalls = Stalls { one_in: 40, span: Duration::from_millis(2)..Duration::from_millis(60) };

/// A leader that is cut off takes commands that come to nothing. When it comes back, it is still asked for more,
/// while the new leader replaces its log.
pub(crate) fn starts(cluster: &mut Cluster) {
    cluster.one(3);
    for _ in 0..4 {
        let old = cluster.check_settled();
        cluster.disconnect(old);
        cluster.start_many(old, 8);
        cluster.one(2);
        cluster.stall(old, WHILE_DEPOSED);
        for _ in 0..4 {
            let command = cluster.fresh_command();
            cluster.begin_start(old, &command);
        }
        cluster.connect(old);
        for _ in 0..10 {
            let command = cluster.fresh_command();
            cluster.begin_start(old, &command);
            let span = Duration::from_millis(cluster.faults().range(1..25));
            cluster.sleep(span);
        }
        cluster.end_stalls();
        cluster.check_settled();
    }
    cluster.one(3);
}

/// Commands come while threads are held up, then no more: whatever is committed is applied all the same.
pub(crate) fn applies(cluster: &mut Cluster) {
    cluster.one(3);
    for _ in 0..8 {
        cluster.stall_all(&WHILE_BUSY);
        for _ in 0..4 {
            cluster.start_with_leaders(1);
            let span = Duration::from_millis(cluster.faults().range(1..30));
            cluster.sleep(span);
        }
        cluster.end_stalls();
        cluster.check_committed_is_applied();
    }
    cluster.one(3);
}
