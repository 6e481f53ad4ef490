//! Things found by name, of which there are only so many.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hasher;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use siphasher::sip128::{Hasher128, SipHasher13};

/// Parts of the table; two threads meet on a lock only for names in the same part.
const PARTS: usize = 64;

/// An append-only map from names to shared values. Finding takes the read lock of one of 64 parts; only a new name
/// takes a write lock. Names are known by a keyed 128-bit hash, so that finding allocates nothing and nobody can
/// craft two names that meet.
#[derive(Debug)]
pub(super) struct Table<T> {
    keys: (u64, u64),
    parts: [RwLock<HashMap<u128, Arc<T>, foldhash::fast::RandomState>>; PARTS],
    size: AtomicUsize,
    listed: RwLock<Vec<Arc<T>>>,
}

impl<T> Table<T> {
    pub(super) fn new() -> Self {
        Self {
            keys: (fastrand::u64(..), fastrand::u64(..)),
            parts: std::array::from_fn(|_| RwLock::default()),
            size: AtomicUsize::new(0),
            listed: RwLock::default(),
        }
    }

    /// The hash of a name made of parts; where one part ends and the next begins counts.
    fn key(&self, name: &[&str]) -> u128 {
        let mut hasher = SipHasher13::new_with_keys(self.keys.0, self.keys.1);
        for part in name {
            hasher.write_u64(part.len() as u64);
            hasher.write(part.as_bytes());
        }
        hasher.finish128().as_u128()
    }

    fn part(&self, key: u128) -> Option<&RwLock<HashMap<u128, Arc<T>, foldhash::fast::RandomState>>> {
        self.parts.get((key as usize) % PARTS)
    }

    pub(super) fn get(&self, name: &[&str]) -> Option<Arc<T>> {
        let key = self.key(name);
        self.part(key)?.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned()
    }

    /// The value of that name, made by `make` if there is none yet and the table holds less than `cap`.
    pub(super) fn get_or_insert(&self, name: &[&str], cap: usize, make: impl FnOnce() -> T) -> Option<Arc<T>> {
        if let Some(found) = self.get(name) {
            return Some(found);
        }
        if self.len() >= cap {
            return None;
        }
        let key = self.key(name);
        let mut part = self.part(key)?.write().unwrap_or_else(PoisonError::into_inner);
        match part.entry(key) {
            Entry::Occupied(entry) => Some(Arc::clone(entry.get())),
            Entry::Vacant(entry) => {
                // Other parts insert at the same time: the place is taken first, so that the cap holds.
                self.size.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < cap).then_some(n + 1)).ok()?;
                let value = Arc::clone(entry.insert(Arc::new(make())));
                self.listed.write().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&value));
                Some(value)
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.size.load(Ordering::Relaxed)
    }

    /// Every value, in the order of their making.
    pub(super) fn all(&self) -> Vec<Arc<T>> {
        self.listed.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
