//! The last good set on local disk, from which the next start begins, in case the xDS server is away then: one file,
//! `xds.copy`, a seal and the set as it was sent. It is written beside and takes the old one's place by renaming.
//!
//! Everything here blocks.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use envoy_types::pb::envoy::service::discovery::v3::DiscoveryResponse;
use envoy_types::pb::google::protobuf::Any;
use prost::Message as _;

use crate::rules::copies::codec::Seal;

const FILE: &str = "xds.copy";
const NEW: &str = "xds.copy.new";
/// Begins what is sealed, and tells the format.
const MAGIC: &[u8] = b"TGX1";
/// What a file has besides the set, at most.
const OVERHEAD: u64 = 4_096;

/// Why the copy could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The file system.
    #[error("{path:?}: cannot {doing}: {error}")]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// What could not be done.
        doing: &'static str,
        /// Why.
        error: io::Error,
    },
    /// The copy that is there is refused.
    #[error("{path:?} is refused: {reason}")]
    Refused {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: &'static str,
    },
}

/// Where the copy is. Each process needs a directory of its own.
#[derive(Clone, Debug)]
pub struct SetCopy {
    directory: PathBuf,
    seal: Seal,
    max_bytes: u64,
}

impl SetCopy {
    /// Uses a directory, and makes it if it is not there. Sets larger than `max_bytes` are not read.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn open(directory: &Path, seal: Seal, max_bytes: usize) -> Result<Self, CopyError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(|error| failed(directory, "make the directory", error))?;
        Ok(Self { directory: directory.to_owned(), seal, max_bytes: max_bytes as u64 + OVERHEAD })
    }

    /// The set that is there, and the server's name for it; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be read, or is refused.
    pub fn read(&self) -> Result<Option<(String, Vec<Any>)>, CopyError> {
        let path = self.directory.join(FILE);
        let mut bytes = Vec::new();
        match File::open(&path).and_then(|file| file.take(self.max_bytes + 1).read_to_end(&mut bytes)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(&path, "read it", error)),
            Ok(_) => {}
        }
        let refused = |reason| CopyError::Refused { path: path.clone(), reason };
        if bytes.len() as u64 > self.max_bytes {
            return Err(refused("it is larger than rules.xds.max_message_bytes allows"));
        }
        let (tag, sealed) = bytes.split_first_chunk().ok_or_else(|| refused("it ends too early"))?;
        if !self.seal.holds(sealed, tag) {
            return Err(refused("it is damaged, or was sealed with another key than that in rules.copy_key_file"));
        }
        let content = sealed.strip_prefix(MAGIC).ok_or_else(|| refused("it is of a format that this version lacks"))?;
        let set = DiscoveryResponse::decode(content).map_err(|_| refused("there is no set in it"))?;
        Ok(Some((set.version_info, set.resources)))
    }

    /// Puts a set in the place of what is there.
    ///
    /// # Errors
    /// When it cannot be written; what was there stays.
    pub fn write(&self, version: String, resources: Vec<Any>) -> Result<(), CopyError> {
        let set = DiscoveryResponse { version_info: version, resources, ..DiscoveryResponse::default() };
        let sealed = [MAGIC, &set.encode_to_vec()].concat();
        let tag = self.seal.tag(&sealed);
        let (new, path) = (self.directory.join(NEW), self.directory.join(FILE));
        let open = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&new);
        let mut file = open.map_err(|error| failed(&new, "make it", error))?;
        let written = file.write_all(&tag).and_then(|()| file.write_all(&sealed)).and_then(|()| file.sync_all());
        written.map_err(|error| failed(&new, "write the copy", error))?;
        fs::rename(&new, &path).map_err(|error| failed(&path, "put the new copy in its place", error))?;
        let synced = File::open(&self.directory).and_then(|directory| directory.sync_all());
        synced.map_err(|error| failed(&self.directory, "bring the directory to the disk", error))
    }
}

fn failed(path: &Path, doing: &'static str, error: io::Error) -> CopyError {
    CopyError::Io { path: path.to_owned(), doing, error }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn set() -> Vec<Any> {
        vec![Any { type_url: "a".to_owned(), value: vec![1, 2, 3] }]
    }

    #[test]
    fn what_is_written_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let below = directory.path().join("a/b");
        let copy = SetCopy::open(&below, Seal::CHECKSUM, 1_024).unwrap();
        assert_eq!(copy.read().unwrap(), None);
        copy.write("1".to_owned(), Vec::new()).unwrap();
        copy.write("2".to_owned(), set()).unwrap();
        assert_eq!(copy.read().unwrap(), Some(("2".to_owned(), set())));
        assert_eq!(fs::metadata(below.join(FILE)).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!below.join(NEW).exists());
    }

    #[test]
    fn what_is_damaged_too_large_or_not_ours_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let open = |seal, max| SetCopy::open(directory.path(), seal, max).unwrap();
        let refused = |copy: &SetCopy| copy.read().unwrap_err().to_string();
        let key = Seal::keyed(&[7; 32]);
        open(Seal::CHECKSUM, 1_024).write("1".to_owned(), set()).unwrap();
        assert!(refused(&open(key.clone(), 1_024)).contains("another key"));
        open(key.clone(), 1_024).write("1".to_owned(), set()).unwrap();
        assert!(open(key, 1_024).read().is_ok());
        assert!(refused(&open(Seal::CHECKSUM, 1_024)).contains("another key"));
        open(Seal::CHECKSUM, 1_024).write("1".to_owned(), set()).unwrap();
        let file = directory.path().join(FILE);
        let whole = fs::read(&file).unwrap();
        for end in 0..whole.len() {
            fs::write(&file, &whole[..end]).unwrap();
            assert!(open(Seal::CHECKSUM, 1_024).read().is_err(), "{end}");
        }
        fs::write(&file, vec![0; 8_192]).unwrap();
        assert!(refused(&open(Seal::CHECKSUM, 1_024)).contains("max_message_bytes"));
    }
}
