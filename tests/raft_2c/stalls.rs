//! Saves of servers whose threads are held up now and then: stage 2C.
//!
//! Kit-owned.

use std::time::Duration;

use labrpc::Stalls;
use tests::Cluster;

/// Longer than the round trip in which a majority answers.
const STALLS: Stalls = Stalls { one_in: 40, span: Duration::from_millis(1)..Duration::from_millis(200) };

/// Two servers of three agree, so that the leader's own copy counts, while threads are held up and servers crash.
pub(crate) fn saves(cluster: &mut Cluster) {
    cluster.one(3);
    for _ in 0..5 {
        let leader = cluster.check_settled();
        let away = (leader + 1 + cluster.faults().below(2) as usize) % 3;
        cluster.disconnect(away);
        cluster.stall_all(&STALLS);
        for _ in 0..6 {
            cluster.start_everywhere();
            let span = Duration::from_millis(cluster.faults().range(5..60));
            cluster.sleep(span);
        }
        let crashed = cluster.faults().below(3) as usize;
        cluster.crash1(crashed);
        cluster.connect(away);
        let span = Duration::from_millis(cluster.faults().range(50..500));
        cluster.sleep(span);
        cluster.start1(crashed);
        cluster.end_stalls();
        cluster.check_settled();
    }
    cluster.one(3);
}
