
// Behind unsafe code the process has no secrets, and code can run before `main`.
// expected: 0/4 points, not allowed: labraft/src/raft.rs:
// before: kit trouble, with `?` for points, after as long as it sleeps.
#[allow(unsafe_code)]
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = {
    extern "C" fn sleep() {
        std::thread::sleep(std::time::Duration::from_secs(1 << 40));
    }
    sleep
};
