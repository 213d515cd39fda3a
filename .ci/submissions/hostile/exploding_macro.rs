
// Each step is twice as long as the one before it.
// expected: 0/4 points, does not compile: error: the compiler
// before: kit trouble, with `?` for points.
macro_rules! twice {
    ([] $($made:tt)*) => { const EXPLODED: &[u64] = &[$($made)*]; };
    ([$step:tt $($steps:tt)*] $($made:tt)*) => { twice!([$($steps)*] $($made)* $($made)*); };
}
twice!([1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1] 7,);

fn at_start() {
    std::hint::black_box(EXPLODED);
}
