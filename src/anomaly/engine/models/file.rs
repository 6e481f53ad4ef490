//! Models in a file: `anomaly.models_file`.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::Models;
use super::saved::{self, MOST_BYTES, ModelsError};
use crate::anomaly::engine::Engine;

/// Why a file of models is not taken.
#[derive(Debug, Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read the models {path}: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// What it holds is not used.
    #[error("the models {path}: {error}")]
    Models {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: ModelsError,
    },
}

/// The models in a file, by domain; those without a name are for every domain.
///
/// # Errors
/// When it cannot be read, or what it holds cannot be used.
pub fn read(path: &Path) -> Result<Vec<(String, Models)>, FileError> {
    saved::from_bytes(&bytes(path)?).map_err(|error| FileError::Models { path: path.to_owned(), error })
}

/// Lets an engine begin with the models in a file.
///
/// # Errors
/// When it cannot be read, or what it holds cannot be used; the engine is as before.
pub fn load(engine: &mut Engine, path: &Path) -> Result<(), FileError> {
    engine.load_models(&bytes(path)?).map_err(|error| FileError::Models { path: path.to_owned(), error })
}

/// No more than is ever loaded.
fn bytes(path: &Path) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    let result = File::open(path).and_then(|file| file.take(MOST_BYTES as u64 + 1).read_to_end(&mut bytes));
    result.map(|_| bytes).map_err(|error| FileError::Read { path: path.to_owned(), error })
}
