//! Elections among servers whose threads are held up now and then: stage 2A.
//!
//! Kit-owned.

use std::time::Duration;

use labrpc::Stalls;
use tests::Cluster;

/// Long enough for a candidate to be overtaken by a later term between two steps.
const STALLS: Stalls = Stalls { one_in: 60, span: Duration::from_millis(1)..Duration::from_millis(700) };

/// Leaders are cut off and come back, and servers that stood in vain meanwhile bring their later terms with them,
/// while threads are held up; everybody is asked all the time who leads.
pub(crate) fn elections(cluster: &mut Cluster) {
    cluster.check_settled();
    for _ in 0..4 {
        cluster.stall_all(&STALLS);
        let asking = cluster.keep_asking();
        for _ in 0..4 {
            let cut_off = cluster.faults().below(3) as usize;
            cluster.disconnect(cut_off);
            let span = Duration::from_millis(cluster.faults().range(300..1_200));
            cluster.sleep(span);
            cluster.connect(cut_off);
            let span = Duration::from_millis(cluster.faults().range(0..300));
            cluster.sleep(span);
        }
        drop(asking);
        cluster.end_stalls();
        cluster.check_settled();
    }
}
