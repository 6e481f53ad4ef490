//! Observations on their way from decisions to whoever makes something of them.
//!
//! Every worker writes what it decides into a buffer of its own, as compact bytes ([`record`]); all other threads share
//! one. Somebody on another thread takes the buffers away, full ones for empty ones, and reads them at leisure. A
//! decision never waits: where its buffer is full, or is just being taken, the observation is lost and counted. Nothing
//! is written, and no memory held, until somebody wants to read.

pub mod batch;
mod record;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use super::observation::Observation;
use crate::telemetry::shard;

/// The bytes of one worker's buffer; there are two of them for each while somebody reads, and one more. An observation
/// takes 100 to 200, so that one buffer holds some 25 000 of them.
pub const BUFFER_BYTES: usize = 4 << 20;

/// One worker's buffer. It has cache lines of its own, since its worker writes with every request.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    records: Mutex<Vec<u8>>,
    lost: AtomicU64,
}

/// The buffers.
#[derive(Debug)]
pub struct Observations {
    shards: Box<[Shard]>,
    wanted: AtomicBool,
    taken: AtomicU64,
}

impl Observations {
    /// Buffers for so many threads that have one of their own or share the last, see [`shard::count`].
    #[must_use]
    pub fn new(shards: usize) -> Self {
        Self {
            shards: (0..shards.max(1)).map(|_| Shard::default()).collect(),
            wanted: AtomicBool::new(false),
            taken: AtomicU64::new(0),
        }
    }

    /// Whether somebody reads.
    #[must_use]
    pub fn are_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    /// Leaves an observation, if there is room.
    pub fn record(&self, observation: &Observation<'_>) {
        let Some(shard) = self.shards.get(shard::current(self.shards.len())) else { return };
        let mut records = match shard.records.try_lock() {
            Ok(records) => records,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                shard.lost.fetch_add(1, Ordering::Relaxed);
                return;
            }
        };
        if records.capacity() - records.len() < record::most_bytes(observation) {
            shard.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        record::write(&mut records, observation);
    }

    /// Begins to read; `None` while somebody else does.
    #[must_use]
    pub fn read(self: &Arc<Self>) -> Option<Reader> {
        if self.wanted.swap(true, Ordering::AcqRel) {
            return None;
        }
        for shard in &self.shards {
            *shard.records.lock().unwrap_or_else(PoisonError::into_inner) = Vec::with_capacity(BUFFER_BYTES);
        }
        Some(Reader { observations: Arc::clone(self), spare: Vec::with_capacity(BUFFER_BYTES) })
    }

    /// Observations that were lost so far.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.shards.iter().map(|shard| shard.lost.load(Ordering::Relaxed)).sum()
    }

    /// So many that were read were given up after all: they count as lost.
    pub fn give_up(&self, count: u64) {
        self.taken.fetch_sub(count, Ordering::Relaxed);
        if let Some(shard) = self.shards.last() {
            shard.lost.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Observations that were read so far.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}

/// Reads observations; when it goes, none are left any more.
#[derive(Debug)]
pub struct Reader {
    observations: Arc<Observations>,
    /// Empty, and as large as those that are in use.
    spare: Vec<u8>,
}

impl Reader {
    /// So many of those that were handed over were given up after all.
    pub fn give_up(&self, count: u64) {
        self.observations.give_up(count);
    }

    /// Hands over everything that has been left since the last time, worker by worker, those of one in their order. To be
    /// called several times a second, beside all requests; returns how many there were.
    pub fn drain(&mut self, mut each: impl FnMut(&Observation<'_>)) -> u64 {
        let mut count = 0;
        for shard in &self.observations.shards {
            self.spare.clear();
            let mut records = shard.records.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::swap(&mut *records, &mut self.spare);
            drop(records);
            let mut rest = &self.spare[..];
            while let Some((observation, after)) = record::read(rest) {
                each(&observation);
                count += 1;
                rest = after;
            }
        }
        self.observations.taken.fetch_add(count, Ordering::Relaxed);
        count
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        for shard in &self.observations.shards {
            *shard.records.lock().unwrap_or_else(PoisonError::into_inner) = Vec::new();
        }
        self.observations.wanted.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::clock::Micros;

    fn at(micros: u64) -> Observation<'static> {
        Observation { at: Micros(micros), domain: "edge", path: "/a", ..Observation::default() }
    }

    fn times(reader: &mut Reader) -> Vec<u64> {
        let mut times = Vec::new();
        reader.drain(|observation| times.push(observation.at.0));
        times
    }

    #[test]
    fn nothing_is_kept_until_somebody_reads() {
        let observations = Arc::new(Observations::new(2));
        assert!(!observations.are_wanted());
        let mut reader = observations.read().unwrap();
        assert!(observations.are_wanted() && observations.read().is_none(), "there is one reader");
        observations.record(&at(1));
        observations.record(&at(2));
        assert_eq!(times(&mut reader), [1, 2]);
        assert_eq!(times(&mut reader), [0; 0]);
        observations.record(&at(3));
        drop(reader);
        assert!(!observations.are_wanted());
        let mut reader = observations.read().unwrap();
        observations.record(&at(4));
        assert_eq!(times(&mut reader), [4]);
        assert_eq!((observations.taken(), observations.lost()), (3, 0));
    }

    #[test]
    fn what_finds_no_room_is_lost_and_counted() {
        let observations = Arc::new(Observations::new(1));
        let mut reader = observations.read().unwrap();
        for micros in 0..300_000 {
            observations.record(&at(micros));
        }
        let kept = times(&mut reader);
        assert!(kept.len() > 50_000 && kept.len() < 300_000, "{}", kept.len());
        assert!(kept.iter().copied().eq(0..kept.len() as u64), "the first ones are kept");
        assert_eq!(observations.lost(), 300_000 - kept.len() as u64);
        observations.record(&at(7));
        assert_eq!(times(&mut reader), [7], "there is room again");
    }

    #[test]
    fn none_are_lost_or_made_up_between_threads_that_write_and_one_that_reads() {
        let observations = Arc::new(Observations::new(4));
        let mut reader = observations.read().unwrap();
        let (mut seen, mut sum) = (0, 0);
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..3)
                .map(|index| {
                    let observations = &observations;
                    scope.spawn(move || {
                        shard::set(index);
                        (1..=20_000).for_each(|micros| observations.record(&at(micros)));
                    })
                })
                .collect();
            while writers.iter().any(|writer| !writer.is_finished()) {
                seen += reader.drain(|observation| sum += observation.at.0);
            }
        });
        seen += reader.drain(|observation| sum += observation.at.0);
        assert_eq!(seen + observations.lost(), 60_000);
        assert!(seen > 0 && sum <= 3 * 20_000 * 20_001 / 2);
    }
}
