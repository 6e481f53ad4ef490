//! Models as bytes, to be kept in Redis, in Postgres or on disk.
//!
//! A header of 46 bytes: `TGAM`; the version of the form, 2 bytes; the fingerprint of the features, 8 bytes, both little
//! endian; the SHA-256 of the rest. The rest is postcard's. Of labels, the vectors are kept and the forest is grown anew.
//! Nothing of damaged bytes is used, and what passed the checksum is still looked at before it is let in.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::FitError;
use super::ensemble::{Ensemble, Trained};
use super::labels::{Labelled, Labels, MOST_LABELS};
use super::schema::FeatureSchema;

const MAGIC: &[u8; 4] = b"TGAM";
const VERSION: u16 = 1;
const HEADER: usize = 46;

/// Saved models are never larger.
pub const MOST_BYTES: usize = 64 << 20;

/// Why saved models are not loaded.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LoadError {
    /// Something else, or its beginning is damaged.
    #[error("these bytes are no saved models")]
    NotModels,
    /// Of a later or earlier Tidegate.
    #[error("models saved in version {found} of the form, this Tidegate reads version {VERSION}; train them anew")]
    Version {
        /// What came.
        found: u16,
    },
    /// Trained on other features.
    #[error("models that were trained on other features than those in use; train them anew")]
    OtherFeatures,
    /// Larger than any that were saved.
    #[error("saved models of {found} bytes, at most {MOST_BYTES} are possible")]
    TooLarge {
        /// What came.
        found: usize,
    },
    /// They are not what was saved.
    #[error("saved models are damaged: {0}; load another copy or train them anew")]
    Damaged(&'static str),
    /// The forest of the labels does not grow again.
    #[error("the labels of saved models: {0}")]
    Labels(FitError),
}

#[derive(Deserialize)]
struct Loaded {
    trained: Trained,
    labelled: Option<Labelled>,
}

#[derive(Serialize)]
struct Saved<'a> {
    trained: &'a Trained,
    labelled: Option<&'a Labelled>,
}

impl Ensemble {
    /// The models as bytes.
    ///
    /// # Errors
    /// When they are larger than is ever loaded; settings within their ranges keep them below.
    pub fn to_bytes(&self) -> Result<Vec<u8>, LoadError> {
        let saved = Saved { trained: &self.trained, labelled: self.labels.as_ref().map(Labels::labelled) };
        let body = postcard::to_allocvec(&saved).map_err(|_| LoadError::Damaged("they cannot be written"))?;
        let found = HEADER + body.len();
        if found > MOST_BYTES {
            return Err(LoadError::TooLarge { found });
        }
        let mut bytes = Vec::with_capacity(found);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.schema.to_le_bytes());
        bytes.extend_from_slice(&Sha256::digest(&body));
        bytes.extend_from_slice(&body);
        Ok(bytes)
    }

    /// Models that [`Ensemble::to_bytes`] saved, to score vectors of `schema`.
    ///
    /// # Errors
    /// When they are of another version or other features, or are not what was saved.
    pub fn from_bytes(bytes: &[u8], schema: &FeatureSchema) -> Result<Self, LoadError> {
        if bytes.len() > MOST_BYTES {
            return Err(LoadError::TooLarge { found: bytes.len() });
        }
        let rest = bytes.strip_prefix(MAGIC).ok_or(LoadError::NotModels)?;
        let (version, rest) = rest.split_first_chunk().ok_or(LoadError::NotModels)?;
        let found = u16::from_le_bytes(*version);
        if found != VERSION {
            return Err(LoadError::Version { found });
        }
        let (features, rest) = rest.split_first_chunk().ok_or(LoadError::Damaged("they end too early"))?;
        let fingerprint = u64::from_le_bytes(*features);
        if fingerprint != schema.fingerprint() {
            return Err(LoadError::OtherFeatures);
        }
        let (checksum, body) = rest.split_first_chunk::<32>().ok_or(LoadError::Damaged("they end too early"))?;
        if Sha256::digest(body)[..] != checksum[..] {
            return Err(LoadError::Damaged("their checksum is another"));
        }
        let loaded: Loaded = postcard::from_bytes(body).map_err(|_| LoadError::Damaged("they cannot be read"))?;
        let width = schema.width();
        let labelled = loaded.labelled;
        let sound = labelled.as_ref().is_none_or(|labelled| {
            labelled.vectors.is_sound(width, MOST_LABELS) && labelled.vectors.len() == labelled.confirmed.len()
        });
        if !(sound && loaded.trained.is_sound(width)) {
            return Err(LoadError::Damaged("their parts do not fit together"));
        }
        let labels = labelled.map(Labels::fit).transpose().map_err(LoadError::Labels)?;
        Ok(Self { schema: fingerprint, trained: loaded.trained, labels })
    }
}
