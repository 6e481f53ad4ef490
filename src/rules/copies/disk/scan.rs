//! Reads the file from its start to its end.

use std::io::{self, BufReader, Read};
use std::path::Path;

use bytes::Bytes;

use super::{DiskError, Loaded, failed};
use crate::rules::copies::codec::{Broken, CopyError, Pieces, Place, Reader, RuleCopy, Seal};
use crate::rules::repository::Record;

/// Which records are handed over; the seals of the others are checked.
#[derive(Default)]
pub(super) struct Wanted<'a> {
    pub(super) parts: Option<&'a mut dyn FnMut(Record)>,
    pub(super) changes: Option<&'a mut dyn FnMut(Record)>,
}

/// What was found.
pub(super) struct Scan {
    pub(super) loaded: Loaded,
    /// How many parts the full copy has.
    pub(super) parts: u32,
    /// Where the changes begin.
    pub(super) copy_bytes: u64,
    /// Where the last good one ends.
    pub(super) bytes: u64,
}

/// Why nothing was found.
pub(super) enum Trouble {
    Io(io::Error),
    Copy(CopyError),
}

impl Trouble {
    pub(super) fn at(self, path: &Path) -> DiskError {
        match self {
            Self::Io(error) => failed(path, "read it", error),
            Self::Copy(error) => DiskError::Copy { path: path.to_owned(), error },
        }
    }
}

impl From<CopyError> for Trouble {
    fn from(error: CopyError) -> Self {
        Self::Copy(error)
    }
}

/// Reads all of it. Changes end where one is refused.
pub(super) fn scan(source: impl Read, seal: &Seal, mut wanted: Wanted<'_>) -> Result<Scan, Trouble> {
    let mut pieces = Pieces::new(BufReader::new(source));
    let title = piece(&mut pieces, Place::Title)?.ok_or(CopyError::Truncated(Place::Title))?;
    let mut reader = Reader::new(seal, title)?;
    let mut part = 0;
    while !reader.has_all_parts() {
        let place = Place::Part(part);
        let piece = piece(&mut pieces, place)?.ok_or(CopyError::Truncated(place))?;
        match &mut wanted.parts {
            Some(each) => reader.part(piece, each)?,
            None => reader.check_part(piece)?,
        }
        part += 1;
    }
    reader.whole()?;
    let copy_bytes = pieces.position();
    let (mut bytes, mut rest) = (copy_bytes, None);
    for change in 0.. {
        let read = match piece(&mut pieces, Place::Change(change)) {
            Ok(None) => break,
            Ok(Some(piece)) => match &mut wanted.changes {
                Some(each) => reader.change(piece, each),
                None => reader.check_change(piece),
            },
            Err(Trouble::Copy(error)) => Err(error),
            Err(trouble) => return Err(trouble),
        };
        if let Err(error) = read {
            rest = Some(error);
            break;
        }
        bytes = pieces.position();
    }
    Ok(Scan { loaded: Loaded { standing: reader.standing(), rest }, parts: part, copy_bytes, bytes })
}

/// Reads all of it into memory, as it is written.
pub(super) fn read(source: impl Read, seal: &Seal, parts: u32, copy_bytes: u64) -> Result<RuleCopy, Trouble> {
    let mut pieces = Pieces::new(BufReader::new(source));
    let title = piece(&mut pieces, Place::Title)?.map(Bytes::copy_from_slice);
    let title = title.ok_or(CopyError::Truncated(Place::Title))?;
    let (mut all, mut changes) = (Vec::with_capacity(parts as usize), Vec::new());
    while let Some(piece) = piece(&mut pieces, Place::Part(parts))?.map(Bytes::copy_from_slice) {
        if pieces.position() <= copy_bytes { all.push(piece) } else { changes.push(piece) }
    }
    Ok(RuleCopy::from_pieces(seal, title, all, changes)?)
}

fn piece<R: Read>(pieces: &mut Pieces<R>, place: Place) -> Result<Option<&[u8]>, Trouble> {
    pieces.read().map_err(|broken| match broken {
        Broken::Io(error) => Trouble::Io(error),
        Broken::Truncated => CopyError::Truncated(place).into(),
        Broken::Damaged => CopyError::Damaged(place).into(),
    })
}
