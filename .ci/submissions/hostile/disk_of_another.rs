
// The kit's own door to any server's disk.
// expected: 0/4 points, not allowed: labraft/src/raft.rs:
// before: graded, with all points.
fn at_start() {
    let others = crate::Persister::new(labrpc::Disk::simulated(labrpc::NodeId(2)));
    let _ = others.load();
}
