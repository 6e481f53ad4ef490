//! Opening the file, or making it.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use redb::backends::{FileBackend, InMemoryBackend};
use redb::{Builder, Database, DatabaseError, StorageError, TableError};
use ring::rand::{SecureRandom as _, SystemRandom};

use super::tables::{FORMAT, FORMAT_NAME, META, initialise};
use crate::rules::repository::{Epoch, RepositoryError};

/// Memory for pages. Rules are read as a whole, and then one by one: little is gained by more.
const CACHE_BYTES: usize = 32 << 20;

/// A database that is gone with the process.
pub(super) fn in_memory() -> Result<Database, RepositoryError> {
    let name = Path::new("in memory");
    let database = Builder::new()
        .set_cache_size(CACHE_BYTES)
        .create_with_backend(InMemoryBackend::new())
        .map_err(|error| refused(name, error))?;
    initialise(&database, new_epoch()?)?;
    Ok(database)
}

/// The database in a file, and the lock that keeps other processes away from it: a file of its own, so that it can be
/// held while there is no database yet.
pub(super) fn open(path: &Path) -> Result<(Database, File), RepositoryError> {
    let lock = lock(path).map_err(|error| unusable(path, error))?;
    let lock = lock.ok_or_else(|| in_use(path))?;
    if !path.try_exists().map_err(|error| unusable(path, error))? {
        create(path)?;
    }
    Ok((reopen(path)?, lock))
}

/// The database in a file that is there, by who has the lock.
pub(super) fn reopen(path: &Path) -> Result<Database, RepositoryError> {
    let database = Builder::new()
        .set_cache_size(CACHE_BYTES)
        // Every page's checksum is looked at: damage is found now, not by a rule that reads otherwise one day.
        .set_check_integrity_on_open(true)
        .open(path)
        .map_err(|error| refused(path, error))?;
    check_format(&database, path)?;
    Ok(database)
}

fn lock(path: &Path) -> io::Result<Option<File>> {
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let lock = private().create(true).truncate(false).open(beside(path, ".lock"))?;
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Makes the file under another name, so that one of this name is always complete.
fn create(path: &Path) -> Result<(), RepositoryError> {
    let unfinished = beside(path, ".new");
    let make = || {
        // What a process left that was killed here. The lock is ours.
        fs::remove_file(&unfinished).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
        private().create_new(true).open(&unfinished)
    };
    let file = make().map_err(|error| unusable(path, error))?;
    let backend = FileBackend::new(file).map_err(|error| refused(path, error))?;
    let database = Builder::new()
        .set_cache_size(CACHE_BYTES)
        .create_with_backend(backend)
        .map_err(|error| refused(path, error))?;
    initialise(&database, new_epoch()?)?;
    drop(database);
    let publish = || {
        fs::rename(&unfinished, path)?;
        let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    };
    publish().map_err(|error| unusable(path, error))
}

fn check_format(database: &Database, path: &Path) -> Result<(), RepositoryError> {
    let transaction = redb::ReadableDatabase::begin_read(database)?;
    let foreign = || RepositoryError::Unusable(format!("{} is no rule store; name another file", path.display()));
    let meta = match transaction.open_table(META) {
        Err(TableError::Storage(error)) => return Err(error.into()),
        Err(_) => return Err(foreign()),
        Ok(meta) => meta,
    };
    let format = redb::ReadableTable::get(&meta, FORMAT_NAME)?.ok_or_else(foreign)?;
    match format.value().parse::<u32>() {
        Ok(FORMAT) => Ok(()),
        Ok(newer) if newer > FORMAT => Err(RepositoryError::Unusable(format!(
            "{} was written by a newer version of Tidegate (its format is {newer}, this version knows {FORMAT}); run \
             that version, or name another file",
            path.display()
        ))),
        _ => Err(foreign()),
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

pub(super) fn new_epoch() -> Result<Epoch, RepositoryError> {
    let mut bytes = [0; 16];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| RepositoryError::Unusable("the system has no random numbers".to_owned()))?;
    Ok(Epoch(u128::from_ne_bytes(bytes)))
}

fn unusable(path: &Path, error: impl std::fmt::Display) -> RepositoryError {
    RepositoryError::Unusable(format!("the rule store {}: {error}", path.display()))
}

fn in_use(path: &Path) -> RepositoryError {
    let path = path.display();
    RepositoryError::Unusable(format!(
        "the rule store {path} is in use by another process; a file serves one at a time, several servers share rules \
         through Postgres"
    ))
}

fn refused(path: &Path, error: DatabaseError) -> RepositoryError {
    let damaged = |reason: &dyn std::fmt::Display| {
        RepositoryError::Unusable(format!(
            "{} is damaged, or no rule store ({reason}); it is left as it is: put a copy in its place, or name another \
             file",
            path.display()
        ))
    };
    match error {
        DatabaseError::DatabaseAlreadyOpen => in_use(path),
        DatabaseError::UpgradeRequired(version) => damaged(&format_args!("redb format {version}")),
        DatabaseError::Storage(StorageError::Corrupted(reason)) => damaged(&reason),
        DatabaseError::Storage(StorageError::Io(error))
            if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
        {
            damaged(&error)
        }
        DatabaseError::RepairAborted => damaged(&"its repair was aborted"),
        error => unusable(path, error),
    }
}
