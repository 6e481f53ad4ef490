//! What a counter is filed under in this process: a keyed 128-bit hash of its identity.
//!
//! Clients choose the values. With a secret random key nobody can make two counters meet, neither in one fingerprint
//! nor in one shard or slot; by chance, among a million counters, it takes 10^26 tries.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use siphasher::sip128::{Hasher128, SipHasher13};

use super::CounterKey;

/// A counter's fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint {
    /// Chooses the shard.
    pub high: u64,
    /// Chooses the slot in the shard.
    pub low: u64,
}

/// Makes fingerprints with a secret key.
#[derive(Clone, Debug)]
pub struct Fingerprints {
    secret: [u64; 2],
}

impl Fingerprints {
    /// With a known secret, for tests that must repeat exactly.
    #[must_use]
    pub const fn with_secret(secret: [u64; 2]) -> Self {
        Self { secret }
    }

    /// With a secret of this process, from the system's source of randomness.
    #[must_use]
    pub fn random() -> Self {
        Self::with_secret([0; 2].map(|_: u64| RandomState::new().build_hasher().finish()))
    }

    /// Of a counter.
    #[must_use]
    pub fn of(&self, key: &CounterKey<'_>) -> Fingerprint {
        self.hash(key.space, &key.values)
    }

    /// Of the counter that the keys of a space share when there is no room for their own.
    #[must_use]
    pub fn of_space(&self, space: u128) -> Fingerprint {
        self.hash(space, &[])
    }

    /// Each value follows its length, so that no two lists of values are the same bytes.
    fn hash(&self, space: u128, values: &[&[u8]]) -> Fingerprint {
        let mut hasher = SipHasher13::new_with_keys(self.secret[0], self.secret[1]);
        hasher.write(&space.to_le_bytes());
        for value in values {
            hasher.write(&(value.len() as u64).to_le_bytes());
            hasher.write(value);
        }
        let hash = hasher.finish128();
        Fingerprint { high: hash.h1, low: hash.h2 }
    }
}
