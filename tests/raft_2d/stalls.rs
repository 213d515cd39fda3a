//! Snapshots of servers whose threads are held up now and then: stage 2D.
//!
//! Kit-owned.

use std::time::Duration;

use labrpc::Stalls;
use tests::Cluster;

/// Longer than it takes to commit the two commands after which there is a newer snapshot.
const STALLS: Stalls = Stalls { one_in: 30, span: Duration::from_millis(5)..Duration::from_millis(100) };

/// A follower that is far behind gets a snapshot while newer ones are being made, and threads are held up.
pub(crate) fn snapshots(cluster: &mut Cluster) {
    cluster.snapshot_every(2);
    cluster.one(3);
    for _ in 0..5 {
        let leader = cluster.check_settled();
        let behind = (leader + 1) % 3;
        cluster.disconnect(behind);
        cluster.start_with_leaders(6);
        cluster.one(2);
        cluster.stall_all(&STALLS);
        cluster.connect(behind);
        for _ in 0..12 {
            cluster.start_with_leaders(2);
            let span = Duration::from_millis(cluster.faults().range(1..25));
            cluster.sleep(span);
        }
        cluster.end_stalls();
        cluster.check_committed_is_applied();
    }
    cluster.one(3);
}
