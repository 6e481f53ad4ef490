//! One database.

use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use maxminddb::{MaxMindDbError, PathElement, Reader};

/// The largest database, in bytes. GeoLite2 City has some 60 MiB.
pub const MAX_BYTES: u64 = 512 << 20;
/// Networks that are looked at to find out what a database tells.
const PROBED: usize = 10_000;

/// What a database is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tells {
    what: &'static str,
    path: &'static [PathElement<'static>],
    example: &'static str,
}

pub(super) const COUNTRY: Tells = Tells {
    what: "countries",
    path: &[PathElement::Key("country"), PathElement::Key("iso_code")],
    example: "GeoLite2-Country.mmdb",
};
pub(super) const ASN: Tells = Tells {
    what: "autonomous systems",
    path: &[PathElement::Key("autonomous_system_number")],
    example: "GeoLite2-ASN.mmdb",
};

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The file is too large.
    #[error("{} is larger than {} MiB", path.display(), MAX_BYTES >> 20)]
    Large {
        /// The file.
        path: PathBuf,
    },
    /// The file is something else, or damaged.
    #[error("{} is no database that can be used; it must be in MaxMind's format, .mmdb: {error}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: MaxMindDbError,
    },
    /// It is a database of something else.
    #[error("{} is of the kind {kind} and tells no {wanted}; write one that does, such as {example}", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
        /// What it says that it is.
        kind: String,
        /// What it should tell.
        wanted: &'static str,
        /// A database that does.
        example: &'static str,
    },
}

/// A database in memory.
#[derive(Debug)]
pub(super) struct Database(Reader<Vec<u8>>);

impl Database {
    /// Reads a file, and makes sure that it tells what it is wanted for.
    pub(super) fn load(path: &Path, tells: Tells) -> Result<Self, DatabaseError> {
        let bytes = read(path)?;
        let format = |error| DatabaseError::Format { path: path.to_owned(), error };
        let reader = Reader::from_source(bytes).map_err(format)?;
        for found in reader.networks(Default::default()).map_err(format)?.take(PROBED) {
            let value = found.and_then(|network| network.decode_path::<serde::de::IgnoredAny>(tells.path));
            if value.map_err(format)?.is_some() {
                return Ok(Self(reader));
            }
        }
        let kind = reader.metadata().database_type.clone();
        Err(DatabaseError::Kind { path: path.to_owned(), kind, wanted: tells.what, example: tells.example })
    }

    pub(super) fn describe(&self) -> String {
        let metadata = self.0.metadata();
        let built = i64::try_from(metadata.build_epoch).ok().and_then(|epoch| jiff::Timestamp::from_second(epoch).ok());
        format!("{} of {}", metadata.database_type, built.unwrap_or_default())
    }

    pub(super) fn country(&self, address: IpAddr) -> Option<[u8; 2]> {
        let code: &str = self.find(address, COUNTRY)?;
        let code: [u8; 2] = code.as_bytes().try_into().ok()?;
        code.iter().all(u8::is_ascii_alphabetic).then(|| code.map(|letter| letter.to_ascii_uppercase()))
    }

    pub(super) fn asn(&self, address: IpAddr) -> Option<u32> {
        self.find(address, ASN)
    }

    /// What is damaged, or not there for addresses of a kind, is not known.
    fn find<'a, T: serde::Deserialize<'a>>(&'a self, address: IpAddr, tells: Tells) -> Option<T> {
        self.0.lookup(address.to_canonical()).ok()?.decode_path(tells.path).ok()?
    }
}

fn read(path: &Path) -> Result<Vec<u8>, DatabaseError> {
    let failed = |error| DatabaseError::Read { path: path.to_owned(), error };
    let file = File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len().min(MAX_BYTES);
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(DatabaseError::Large { path: path.to_owned() });
    }
    Ok(bytes)
}
