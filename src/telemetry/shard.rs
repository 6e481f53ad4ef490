//! Which shard of the metrics a thread counts in.
//!
//! Every worker has a shard of its own, so that counting never moves a cache line between cores; every other thread
//! uses the last shard together. A scrape adds the shards up.

use std::cell::Cell;

thread_local! {
    static INDEX: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Gives this thread the shard `index`; workers do so once, at their start, counting from 0. An index beyond the
/// last shard means the last.
pub fn set(index: usize) {
    INDEX.set(index);
}

/// This thread's of `shards` shards.
#[must_use]
pub fn current(shards: usize) -> usize {
    INDEX.get().min(shards.saturating_sub(1))
}

/// A shard for each worker, and one for all other threads.
#[must_use]
pub const fn count(workers: usize) -> usize {
    workers + 1
}
