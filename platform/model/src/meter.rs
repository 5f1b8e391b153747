//! How many entities a change looks at, for the tests that bound it: whoever looks at or copies an entity that exists
//! already (a leaf of a [`crate::trie`], an element of a list, an entry of the router) says so here.
//!
//! Counted per thread in builds with debug assertions; in others [`visited`] is nothing and [`take`] always 0.

#[cfg(debug_assertions)]
thread_local! {
    static VISITED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Adds to the count.
#[cfg(debug_assertions)]
pub fn visited(entities: usize) {
    VISITED.set(VISITED.get() + entities);
}

/// Adds to the count.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn visited(_: usize) {}

/// This thread's count since the last call.
pub fn take() -> usize {
    #[cfg(debug_assertions)]
    return VISITED.take();
    #[cfg(not(debug_assertions))]
    return 0;
}
