//! The copy on local disk: one file, `rules.copy`, in a directory of its own. A full copy is at its start, and behind it
//! stand the changes since.
//!
//! **Crashes.** A full copy is written beside and takes the old one's place by renaming. A change is appended; what a
//! crash leaves of it at the end is no whole piece, is not read, and is cut off before the next one is written. Either
//! counts only once it is on the disk itself. When the disk is full, what was there stays.
//!
//! **Several processes.** Whoever holds the lock of `rules.copy.lock` writes, everybody else can only read. The lock ends
//! with its process; then the next one that wants to write gets it.
//!
//! Everything here blocks.

mod scan;

use std::collections::HashMap;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use self::scan::{Scan, Wanted, scan};
use super::codec::{CopyBuilder, CopyError, LogEntry, RuleCopy, Seal, Standing};
use crate::rules::repository::Record;

const FILE: &str = "rules.copy";
const NEW: &str = "rules.copy.new";
const LOCK: &str = "rules.copy.lock";

/// The log is too long when it is larger than this share of the full copy, and than this: a smaller one costs nothing.
const LOG_SHARE: u64 = 4;
const SHORT_LOG: u64 = 256 * 1024;
/// A log so many times too long is not made any longer.
const FAR_TOO_LONG: u64 = 4;

/// Why the copy on disk could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
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
    #[error("{path:?}: {error}")]
    Copy {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: CopyError,
    },
    /// Another process writes there.
    #[error("{path:?} is locked by another process, which writes there; give each its own rules.copy_directory")]
    Locked {
        /// The lock.
        path: PathBuf,
    },
}

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// What it leads to.
    pub standing: Standing,
    /// Why what stands behind that was not read: a change that was being written when the process ended, or damage.
    pub rest: Option<CopyError>,
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is on the disk.
    Done,
    /// It was there already.
    Known,
    /// It cannot follow on what is there (another epoch, changes missing in between, no copy that can be read, far too
    /// long a log): a full copy is needed.
    NeedsCopy,
}

/// The copy on disk.
#[derive(Debug)]
pub struct Disk {
    directory: PathBuf,
    seal: Seal,
    lock: File,
    is_owner: bool,
    /// Where the next change goes; unknown at first, and after trouble.
    end: Option<End>,
}

#[derive(Debug)]
struct End {
    file: File,
    standing: Standing,
    copy_bytes: u64,
    bytes: u64,
}

impl End {
    const fn allowance(&self) -> u64 {
        let share = self.copy_bytes / LOG_SHARE;
        if share > SHORT_LOG { share } else { SHORT_LOG }
    }

    const fn log_bytes(&self) -> u64 {
        self.bytes - self.copy_bytes
    }
}

impl Disk {
    /// Uses a directory, and makes it if it is not there.
    ///
    /// # Errors
    /// When the directory cannot be made or used.
    pub fn open(directory: &Path, seal: Seal) -> Result<Self, DiskError> {
        let directory = directory.to_owned();
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&directory);
        made.map_err(|error| failed(&directory, "make the directory", error))?;
        let path = directory.join(LOCK);
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let lock = lock.map_err(|error| failed(&path, "open it", error))?;
        let mut disk = Self { directory, seal, lock, is_owner: false, end: None };
        match disk.own() {
            Ok(()) | Err(DiskError::Locked { .. }) => Ok(disk),
            Err(error) => Err(error),
        }
    }

    /// Whether this process writes here.
    #[must_use]
    pub const fn is_owner(&self) -> bool {
        self.is_owner
    }

    /// What is there, with all seals checked; `None` when there is nothing.
    ///
    /// # Errors
    /// When it cannot be read, or the full copy is refused.
    pub fn look(&self) -> Result<Option<Loaded>, DiskError> {
        Ok(self.scan(Wanted::default())?.map(|scan| scan.loaded))
    }

    /// Hands over every record, then those that changed, deleted ones too. Each may come again, newer.
    ///
    /// # Errors
    /// As [`Disk::look`]. What was handed over until then is not a state that ever was.
    pub fn load(&self, each: &mut dyn FnMut(Record)) -> Result<Option<Loaded>, DiskError> {
        let each = std::cell::RefCell::new(each);
        let (mut part, mut change) = (|record| each.borrow_mut()(record), |record| each.borrow_mut()(record));
        let wanted = Wanted { parts: Some(&mut part), changes: Some(&mut change) };
        Ok(self.scan(wanted)?.map(|scan| scan.loaded))
    }

    /// What is there, as it is written, to be passed on.
    ///
    /// # Errors
    /// As [`Disk::look`].
    pub fn read(&self) -> Result<Option<RuleCopy>, DiskError> {
        let path = self.path();
        let Some(Scan { copy_bytes, bytes, parts, .. }) = self.scan(Wanted::default())? else { return Ok(None) };
        let Some(file) = self.file()? else { return Ok(None) };
        scan::read(file.take(bytes), &self.seal, parts, copy_bytes).map(Some).map_err(|error| error.at(&path))
    }

    /// Puts a copy in the place of what is there, whatever that is.
    ///
    /// # Errors
    /// When it cannot be written, or another process writes here; what was there stays.
    pub fn write(&mut self, copy: &RuleCopy) -> Result<(), DiskError> {
        self.own()?;
        let new = self.directory.join(NEW);
        let written = self.write_beside(copy, &new);
        if written.is_err() {
            // As it is of no use any more, it should not take up the room either. What cannot be done now is done when
            // the next copy is written.
            let _ = std::fs::remove_file(&new);
        }
        let file = written?;
        // From here on the old file may be gone.
        self.end = None;
        let path = self.path();
        std::fs::rename(&new, &path).map_err(|error| failed(&path, "put the new copy in its place", error))?;
        self.sync_directory()?;
        let copy_bytes = copy.pieces().map(|piece| piece.len() as u64).sum();
        self.end = Some(End { file, standing: copy.standing(), copy_bytes, bytes: copy.bytes() });
        Ok(())
    }

    fn write_beside(&self, copy: &RuleCopy, new: &Path) -> Result<File, DiskError> {
        match std::fs::remove_file(new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed(new, "remove what is left of an earlier attempt", error));
            }
            _ => {}
        }
        let open = OpenOptions::new().create_new(true).append(true).read(true).mode(0o600).open(new);
        let mut file = open.map_err(|error| failed(new, "make it", error))?;
        for piece in copy.pieces().chain(copy.changes()) {
            file.write_all(piece).map_err(|error| failed(new, "write the copy", error))?;
        }
        file.sync_all().map_err(|error| failed(new, "bring the copy to the disk", error))?;
        Ok(file)
    }

    fn sync_directory(&self) -> Result<(), DiskError> {
        let synced = File::open(&self.directory).and_then(|directory| directory.sync_all());
        synced.map_err(|error| failed(&self.directory, "bring the directory to the disk", error))
    }

    /// Writes a change behind what is there, when it follows on it.
    ///
    /// # Errors
    /// When it cannot be written, or another process writes here; what was there stays.
    pub fn append(&mut self, entry: &LogEntry) -> Result<Appended, DiskError> {
        self.own()?;
        if self.end.is_none() {
            self.end = self.find_end()?;
        }
        let path = self.path();
        let Some(end) = &mut self.end else { return Ok(Appended::NeedsCopy) };
        let at = end.standing.head;
        if at.epoch != entry.head.epoch || entry.from > at.revision {
            return Ok(Appended::NeedsCopy);
        }
        if entry.head.revision <= at.revision {
            return Ok(Appended::Known);
        }
        if end.log_bytes() > FAR_TOO_LONG * end.allowance() {
            return Ok(Appended::NeedsCopy);
        }
        let written = end.file.write_all(&entry.piece).and_then(|()| end.file.sync_data());
        if let Err(error) = written {
            // The end as it was; if even that fails, it is looked for next time.
            if end.file.set_len(end.bytes).is_err() {
                self.end = None;
            }
            return Err(failed(&path, "write a change", error));
        }
        end.bytes += entry.piece.len() as u64;
        end.standing = Standing { head: entry.head, made: entry.made };
        Ok(Appended::Done)
    }

    /// Where what is there stands; `None` when there is nothing that can be read.
    pub fn standing(&mut self) -> Option<Standing> {
        if self.end.is_none() {
            self.end = self.find_end().ok().flatten();
        }
        self.end.as_ref().map(|end| end.standing)
    }

    /// Whether the log has become so long that [`Disk::compact`] is due.
    #[must_use]
    pub fn is_long(&self) -> bool {
        self.end.as_ref().is_some_and(|end| end.log_bytes() > end.allowance())
    }

    /// Writes a full copy of what is there, changes included, in its place. Holds the changed records and the new
    /// copy in memory, compressed, not the others.
    ///
    /// # Errors
    /// When it cannot be read or written; what was there stays.
    pub fn compact(&mut self) -> Result<(), DiskError> {
        self.own()?;
        let mut changed = HashMap::new();
        let mut change = |record: Record| drop(changed.insert(record.subject.clone(), record));
        let Some(found) = self.scan(Wanted { parts: None, changes: Some(&mut change) })? else { return Ok(()) };
        let (mut builder, mut trouble) = (CopyBuilder::new(&self.seal), Ok(()));
        let mut part = |record: Record| {
            if trouble.is_ok() && !changed.contains_key(&record.subject) {
                trouble = builder.push(&record);
            }
        };
        self.scan(Wanted { parts: Some(&mut part), changes: None })?;
        let rest = changed.values().try_for_each(|record| builder.push(record));
        let Standing { head, made } = found.loaded.standing;
        let copy = trouble.and(rest).and_then(|()| builder.finish(head, made));
        self.write(&copy.map_err(|error| DiskError::Copy { path: self.path(), error })?)
    }

    fn path(&self) -> PathBuf {
        self.directory.join(FILE)
    }

    /// Gets the lock, unless it is there already.
    fn own(&mut self) -> Result<(), DiskError> {
        if self.is_owner {
            return Ok(());
        }
        let path = self.directory.join(LOCK);
        match self.lock.try_lock() {
            Ok(()) => {
                self.is_owner = true;
                Ok(())
            }
            Err(TryLockError::WouldBlock) => Err(DiskError::Locked { path }),
            Err(TryLockError::Error(error)) => Err(failed(&path, "lock it", error)),
        }
    }

    /// Where the next change goes; nowhere when there is no copy that can be read.
    fn find_end(&self) -> Result<Option<End>, DiskError> {
        let found = match self.scan(Wanted::default()) {
            Ok(found) => found,
            Err(DiskError::Copy { .. }) => None,
            Err(error) => return Err(error),
        };
        let Some(Scan { loaded, copy_bytes, bytes, .. }) = found else { return Ok(None) };
        let path = self.path();
        let cut = || {
            let file = OpenOptions::new().append(true).read(true).open(&path)?;
            if file.metadata()?.len() > bytes {
                file.set_len(bytes)?;
                file.sync_all()?;
            }
            Ok(file)
        };
        let file = cut().map_err(|error| failed(&path, "cut off what is left of a change", error))?;
        Ok(Some(End { file, standing: loaded.standing, copy_bytes, bytes }))
    }

    fn file(&self) -> Result<Option<File>, DiskError> {
        match File::open(self.path()) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&self.path(), "open it", error)),
        }
    }

    fn scan(&self, wanted: Wanted<'_>) -> Result<Option<Scan>, DiskError> {
        let Some(file) = self.file()? else { return Ok(None) };
        scan(file, &self.seal, wanted).map(Some).map_err(|error| error.at(&self.path()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Closing is not enough: a process that is just being started has the same file open for a moment.
        if self.is_owner {
            let _ = self.lock.unlock();
        }
    }
}

fn failed(path: &Path, doing: &'static str, error: io::Error) -> DiskError {
    DiskError::Io { path: path.to_owned(), doing, error }
}
