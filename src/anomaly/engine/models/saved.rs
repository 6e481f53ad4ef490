//! Models of all domains as bytes.
//!
//! `TGDM`; the version of the form, 2 bytes, little endian; the SHA-256 of the rest. The rest is postcard's: of each domain
//! its name, what the models are, and themselves as [`crate::anomaly::model::saved`] writes and checks them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::rows::schema;
use super::{Models, Version};
use crate::anomaly::engine::Engine;
use crate::anomaly::model::ensemble::Ensemble;
use crate::anomaly::model::saved::LoadError;
use crate::core::clock::Micros;

const MAGIC: &[u8; 4] = b"TGDM";
const FORM: u16 = 1;
/// Saved models of all domains are never larger.
pub const MOST_BYTES: usize = 256 << 20;
/// And no more domains than may be watched.
const MOST_DOMAINS: usize = 1_000;

/// Why saved models are not taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ModelsError {
    /// Something else.
    #[error("these bytes are no saved models of domains")]
    NotModels,
    /// Of a later or earlier Tidegate.
    #[error(
        "models of domains saved in version {found} of the form, this Tidegate reads version {FORM}; train them anew"
    )]
    Version {
        /// What came.
        found: u16,
    },
    /// Larger than any that were saved.
    #[error("saved models of {found} bytes, at most {MOST_BYTES} are possible")]
    TooLarge {
        /// What came.
        found: usize,
    },
    /// They are not what was saved.
    #[error("saved models of domains are damaged: {0}; load another copy or train them anew")]
    Damaged(&'static str),
    /// Those of one domain are refused.
    #[error("domain `{domain}`: {error}")]
    Domain {
        /// Its name; empty for models that any domain may use.
        domain: String,
        /// What is wrong with them.
        #[source]
        error: LoadError,
    },
}

/// Models of a domain; without a name, of any that has none of its own.
#[derive(Serialize, Deserialize)]
struct Saved {
    domain: String,
    number: u64,
    trained: u64,
    vectors: u64,
    labels: u64,
    models: Vec<u8>,
}

/// Writes models of domains. What cannot be written is left out: larger than is ever loaded.
#[must_use]
pub fn to_bytes<'a>(models: impl Iterator<Item = (&'a str, &'a Models)>) -> Vec<u8> {
    let saved = |(domain, models): (&str, &Models)| {
        let Version { number, trained, vectors, labels } = models.version;
        let bytes = models.ensemble.to_bytes().ok()?;
        let (vectors, labels) = (vectors as u64, labels as u64);
        Some(Saved { domain: domain.to_owned(), number, trained: trained.0, vectors, labels, models: bytes })
    };
    let saved: Vec<Saved> = models.filter_map(saved).collect();
    let Ok(body) = postcard::to_allocvec(&saved) else { return Vec::new() };
    let mut bytes = Vec::with_capacity(body.len() + 38);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&FORM.to_le_bytes());
    bytes.extend_from_slice(&Sha256::digest(&body));
    bytes.extend_from_slice(&body);
    bytes
}

/// Reads what [`to_bytes`] wrote: names of domains, and their models.
///
/// # Errors
/// When any of them cannot be used.
pub fn from_bytes(bytes: &[u8]) -> Result<Vec<(String, Models)>, ModelsError> {
    if bytes.len() > MOST_BYTES {
        return Err(ModelsError::TooLarge { found: bytes.len() });
    }
    let rest = bytes.strip_prefix(MAGIC).ok_or(ModelsError::NotModels)?;
    let (form, rest) = rest.split_first_chunk().ok_or(ModelsError::NotModels)?;
    let found = u16::from_le_bytes(*form);
    if found != FORM {
        return Err(ModelsError::Version { found });
    }
    let (checksum, body) = rest.split_first_chunk::<32>().ok_or(ModelsError::Damaged("they end too early"))?;
    if Sha256::digest(body)[..] != checksum[..] {
        return Err(ModelsError::Damaged("their checksum is another"));
    }
    let saved: Vec<Saved> = postcard::from_bytes(body).map_err(|_| ModelsError::Damaged("they cannot be read"))?;
    if saved.len() > MOST_DOMAINS {
        return Err(ModelsError::Damaged("they are of too many domains"));
    }
    let schema = schema();
    let load = |saved: Saved| {
        let count = |count: u64| usize::try_from(count).map_err(|_| ModelsError::Damaged("a count is too large"));
        let (vectors, labels) = (count(saved.vectors)?, count(saved.labels)?);
        let version = Version { number: saved.number, trained: Micros(saved.trained), vectors, labels };
        match Ensemble::from_bytes(&saved.models, &schema) {
            Ok(ensemble) => Ok((saved.domain, Models { version, ensemble })),
            Err(error) => Err(ModelsError::Domain { domain: saved.domain, error }),
        }
    };
    saved.into_iter().map(load).collect()
}

impl Engine {
    /// The models in force as bytes, to be kept with a checkpoint or in a file.
    #[must_use]
    pub fn models(&self) -> Vec<u8> {
        let mut models: Vec<(&str, &Models)> = self.waiting.iter().map(|(name, models)| (&**name, &**models)).collect();
        let watched = self.domains.values();
        models.extend(watched.filter_map(|domain| Some((domain.name(), &**domain.models.models()?))));
        models.sort_by_key(|(domain, _)| *domain);
        to_bytes(models.into_iter())
    }

    /// Puts saved models into force, each in its domain; those without a domain serve all that have none of their own, until
    /// they have trained them. All or none.
    ///
    /// # Errors
    /// When they are damaged, or were trained on other features than those in use.
    pub fn load_models(&mut self, bytes: &[u8]) -> Result<(), ModelsError> {
        let now = self.time.last().map_or(Micros::ZERO, |(now, _)| now);
        for (name, models) in from_bytes(bytes)? {
            let models = Arc::new(models);
            if name.is_empty() {
                let without = self.domains.values_mut().filter(|domain| domain.models.models().is_none());
                without.for_each(|domain| domain.models.load(Arc::clone(&models), now));
            }
            if let Some(domain) = self.domains.get_mut(name.as_str()) {
                domain.models.load(models, now);
            } else if self.waiting.len() <= self.max_domains {
                self.waiting.insert(name.into(), models);
            }
        }
        Ok(())
    }

    /// Models that a domain which is new begins with.
    pub(in crate::anomaly::engine) fn waiting_for(&mut self, domain: &str) -> Option<Arc<Models>> {
        self.waiting.remove(domain).or_else(|| self.waiting.get("").cloned())
    }
}
