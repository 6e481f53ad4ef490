//! What an engine knows, as bytes, so that another can go on where it stopped: what is usual, who is known, what was found
//! and is being done, and the models.
//!
//! A header of 50 bytes: `TGAC`; the version of the form, 2 bytes; a fingerprint of the features and of how names are
//! hashed, 8 bytes; how long the rest is when unpacked, 4 bytes, all little endian; the SHA-256 of the rest. The rest is
//! postcard's, packed by LZ4. Nothing of damaged bytes is used, and what passed the checksum is still looked at before it
//! is let in, because it comes from where others may write.

mod image;

use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::fast::FixedState;
use lz4_flex::block;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use self::image::{Image, Loaded};
use super::time::Timeline;
use super::{Engine, SEED};
use crate::anomaly::bounded;
use crate::anomaly::features::list::Feature;
use crate::anomaly::incidents::MOST_ID;
use crate::anomaly::surge::profile::{AGES, BINS, PATHS, TRAITS};
use crate::config::anomaly::Anomaly;
use crate::core::clock::Micros;

const MAGIC: &[u8; 4] = b"TGAC";
const VERSION: u16 = 1;
/// Clients of a domain take at most so many bytes, and those of all domains together.
const CLIENTS: usize = 16 << 20;
const ALL_CLIENTS: usize = 64 << 20;
/// A checkpoint is never larger when it is unpacked.
pub const MOST_BYTES: usize = 512 << 20;
/// As many domains can be watched.
const MOST_DOMAINS: usize = 1_000;
/// An absence counts as so long at most: short-lived counts have faded by then, and what is usual is still known.
const AWAY: Micros = Micros::from_secs(600);

/// Why an engine cannot go on from a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Something else, or its beginning is damaged.
    #[error("these bytes are no checkpoint of the anomaly worker")]
    NotACheckpoint,
    /// Of a later or earlier Tidegate.
    #[error("a checkpoint of the anomaly worker in version {found} of the form, this Tidegate reads version {VERSION}")]
    Version {
        /// What came.
        found: u16,
    },
    /// Its features are others than those in use.
    #[error("a checkpoint of an anomaly worker with other features")]
    OtherFeatures,
    /// Larger than any that was made.
    #[error("a checkpoint of {found} bytes, at most {MOST_BYTES} are possible")]
    TooLarge {
        /// What came.
        found: usize,
    },
    /// It is not what was left.
    #[error("a checkpoint of the anomaly worker is damaged: {0}")]
    Damaged(&'static str),
}

#[derive(Serialize)]
struct Saved<'a> {
    time: Timeline,
    next_incident: u64,
    unwatched: u64,
    domains: Vec<Image<'a>>,
    models: Vec<u8>,
}

#[derive(Deserialize)]
struct Read {
    time: Timeline,
    next_incident: u64,
    unwatched: u64,
    #[serde(deserialize_with = "bounded::list::<_, Loaded, _, MOST_DOMAINS>")]
    domains: Vec<Loaded>,
    #[serde(deserialize_with = "bounded::list::<_, u8, _, MOST_BYTES>")]
    models: Vec<u8>,
}

/// Where an engine goes on from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Left {
    /// Until when it had seen everything.
    time: Timeline,
}

impl Engine {
    /// What it knows: what is usual, who is known, what is done. Clients of a domain take at most 16 MiB before they are
    /// packed, those of all together 64 MiB; the least active are left out.
    #[must_use]
    pub fn checkpoint(&self) -> Vec<u8> {
        let most = CLIENTS.min(ALL_CLIENTS / self.domains.len().max(1));
        let mut domains: Vec<_> = self.domains.values().collect();
        domains.sort_unstable_by(|a, b| a.name().cmp(b.name()));
        let saved = Saved {
            time: self.time,
            next_incident: self.next_incident,
            unwatched: self.unwatched,
            domains: domains.into_iter().map(|domain| Image::of(domain, self.time.steady, most)).collect(),
            models: self.models(),
        };
        // Nothing that is kept has a form that cannot be written; were there any, the checkpoint would be refused.
        let body = postcard::to_allocvec(&saved).unwrap_or_default();
        let packed = block::compress(&body);
        let mut bytes = Vec::with_capacity(packed.len() + 50);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&fingerprint().to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(&Sha256::digest(&packed));
        bytes.extend_from_slice(&packed);
        bytes
    }

    /// One that goes on from a checkpoint, with settings that may differ: where less is allowed, the least active give way.
    ///
    /// After an absence of more than ten minutes (or half of `history`) it still knows what is usual, ends what was open,
    /// and learns for `warm_up` before it judges again.
    ///
    /// # Errors
    /// [`CheckpointError`], with what is wrong.
    pub fn resume(settings: &Anomaly, checkpoint: &[u8]) -> Result<Self, CheckpointError> {
        let Read { time, next_incident, unwatched, mut domains, models } = read(checkpoint)?;
        if !time.is_sound() || next_incident > MOST_ID {
            return Err(CheckpointError::Damaged("its times or numbers are out of range"));
        }
        let mut engine = Self::new(settings);
        if domains.len() > engine.max_domains {
            domains.sort_by(|a, b| b.requests().total_cmp(&a.requests()));
            domains.truncate(engine.max_domains);
        }
        for loaded in domains {
            let domain = loaded.into_domain(&engine.settings, time.steady)?;
            engine.domains.insert(domain.name().into(), domain);
        }
        // Without models it trains some from what else it knows.
        if engine.load_models(&models).is_ok() {
            engine.domains.values_mut().for_each(|domain| domain.models.are_own());
        }
        (engine.next_incident, engine.unwatched) = (next_incident.max(1), unwatched);
        if !time.is_fresh() {
            engine.go_on_from(time);
        }
        Ok(engine)
    }

    /// What comes next comes after an absence.
    pub(super) fn go_on_from(&mut self, time: Timeline) {
        let away = AWAY.min(Micros(self.settings.history.0 / 2));
        self.time = time.go_on(away);
        self.left = Some(Left { time });
    }
}

impl Left {
    /// How long the absence was that ends at this time, which the engine counts as `now`; how much of it was not counted,
    /// and what the engine's time was before.
    pub(super) fn absence(&self, wall: Micros, now: Micros) -> (Micros, Micros, Micros) {
        let absence = wall - self.time.wall;
        (absence, absence - (now - self.time.steady), self.time.steady)
    }
}

fn read(bytes: &[u8]) -> Result<Read, CheckpointError> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(CheckpointError::NotACheckpoint)?;
    let (version, rest) = rest.split_first_chunk().ok_or(CheckpointError::NotACheckpoint)?;
    let found = u16::from_le_bytes(*version);
    if found != VERSION {
        return Err(CheckpointError::Version { found });
    }
    let early = CheckpointError::Damaged("it ends too early");
    let (features, rest) = rest.split_first_chunk().ok_or(early)?;
    if u64::from_le_bytes(*features) != fingerprint() {
        return Err(CheckpointError::OtherFeatures);
    }
    let (length, rest) = rest.split_first_chunk().ok_or(early)?;
    let found = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    if found > MOST_BYTES {
        return Err(CheckpointError::TooLarge { found });
    }
    let (checksum, packed) = rest.split_first_chunk::<32>().ok_or(early)?;
    if Sha256::digest(packed)[..] != checksum[..] {
        return Err(CheckpointError::Damaged("its checksum is another"));
    }
    // LZ4 packs no more than 255 bytes into one, so a few bytes do not claim much memory.
    if found / 256 > packed.len() {
        return Err(CheckpointError::Damaged("it is shorter than it says"));
    }
    let body = block::decompress(packed, found).map_err(|_| CheckpointError::Damaged("it cannot be unpacked"))?;
    let (read, rest) =
        postcard::take_from_bytes::<Read>(&body).map_err(|_| CheckpointError::Damaged("it cannot be read"))?;
    if !rest.is_empty() {
        return Err(CheckpointError::Damaged("there is more behind its end"));
    }
    Ok(read)
}

/// Tells checkpoints apart that mean different things: by the features and what clients are compared by, and by how names
/// become numbers.
fn fingerprint() -> u64 {
    let mut hash = Sha256::new();
    for feature in Feature::ALL {
        hash.update(feature.name());
        hash.update([0]);
    }
    for age in AGES {
        hash.update(age.0.to_le_bytes());
    }
    for count in [TRAITS, BINS, PATHS] {
        hash.update(count.to_le_bytes());
    }
    let mut name = FixedState::with_seed(SEED).build_hasher();
    "who".hash(&mut name);
    std::net::IpAddr::from([192, 0, 2, 1]).hash(&mut name);
    hash.update(name.finish().to_le_bytes());
    hash.finalize().first_chunk().copied().map(u64::from_le_bytes).unwrap_or_default()
}
