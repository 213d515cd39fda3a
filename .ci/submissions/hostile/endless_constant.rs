
// The compiler computes this for ever.
// expected: 0/4 points, does not compile: error: the compiler has used
// before: the grader waited for ever.
#[allow(long_running_const_eval)]
const ENDLESS: u64 = {
    let mut x = 1_u64;
    while x != 0 {
        x = x.wrapping_mul(3);
    }
    x
};

fn at_start() {
    std::hint::black_box(ENDLESS);
}
