
// The same, out of pieces that a macro puts together.
// expected: 0/4 points, not allowed: labraft/src/raft.rs:
// before: graded, with all points.
macro_rules! meeting {
    ($kind:ident, $name:ident) => {
        static $name: std::sync::atomic::$kind = std::sync::atomic::$kind::new(0);
    };
}
meeting!(AtomicU64, MEETING);

fn at_start() {
    MEETING.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
}
