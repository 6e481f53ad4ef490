//! Changes behind a full copy.

use std::collections::HashMap;

use bytes::Bytes;
use jiff::Timestamp;

use super::full::{Fields, write_head};
use super::piece::{self, Kind, MAX_PIECE, MAX_TEXT};
use super::reader::records;
use super::{CopyError, Place, Seal, line};
use crate::rules::repository::{Changes, Head, Record, Revision};

/// What led from one revision to a later one, sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// The revision that it leads away from.
    pub from: Revision,
    /// The one that it leads to.
    pub head: Head,
    /// When it was written.
    pub made: Timestamp,
    /// How many records it has.
    pub records: u32,
    /// All of it.
    pub piece: Bytes,
}

impl LogEntry {
    /// Seals what changed behind `from`.
    ///
    /// # Errors
    /// [`CopyError::TooLarge`]: then a full copy is due.
    pub fn new(seal: &Seal, from: Revision, changes: &Changes, now: Timestamp) -> Result<Self, CopyError> {
        let place = Place::Change(0);
        let head = changes.head;
        let too_large = |bytes, most| CopyError::TooLarge {
            what: format!("the changes from {from} to {}", head.revision),
            bytes,
            most,
        };
        let mut text = Vec::new();
        for record in &changes.records {
            line::write(&mut text, record).map_err(|reason| CopyError::Content { place, reason })?;
            if text.len() > MAX_TEXT {
                return Err(too_large(text.len(), MAX_TEXT));
            }
        }
        // No record is shorter than a byte, so there are no more than fit.
        let records = u32::try_from(changes.records.len()).unwrap_or(u32::MAX);
        let content: &[&[u8]] = &[
            &write_head(head),
            &from.0.to_le_bytes(),
            &now.as_nanosecond().to_le_bytes(),
            &records.to_le_bytes(),
            &piece::compress(&text),
        ];
        let piece = piece::seal(seal, Kind::Change, content);
        if piece.len() > MAX_PIECE {
            return Err(too_large(piece.len(), MAX_PIECE));
        }
        Ok(Self { from, head, made: now, records, piece })
    }

    /// Reads a change, all but its records.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn read(seal: &Seal, place: Place, piece: &Bytes) -> Result<Self, CopyError> {
        let Parsed { from, head, made, records, .. } = Parsed::new(seal, place, piece)?;
        Ok(Self { from, head, made, records, piece: piece.clone() })
    }
}

/// A change whose seal holds.
pub(super) struct Parsed<'a> {
    pub(super) from: Revision,
    pub(super) head: Head,
    pub(super) made: Timestamp,
    pub(super) records: u32,
    pub(super) compressed: &'a [u8],
}

impl<'a> Parsed<'a> {
    pub(super) fn new(seal: &Seal, place: Place, piece: &'a [u8]) -> Result<Self, CopyError> {
        let mut content = Fields { place, rest: piece::open(seal, Kind::Change, place, piece)? };
        let head = content.head()?;
        let from = Revision(u64::from_le_bytes(content.take()?));
        let made = content.time()?;
        let records = u32::from_le_bytes(content.take()?);
        if head.revision <= from {
            let reason = format!("leads from revision {from} to {}", head.revision);
            return Err(CopyError::Content { place, reason });
        }
        Ok(Self { from, head, made, records, compressed: content.rest })
    }
}

/// What changes lead from a revision to the last of them: the newest version of each record; `None` when there is a gap
/// before or between them. Those that are known at `head` already are left out.
///
/// # Errors
/// When one is refused.
pub fn follow(seal: &Seal, head: Head, entries: &[Bytes]) -> Result<Option<Changes>, CopyError> {
    let (mut at, mut newest) = (head, HashMap::new());
    for (entry, number) in entries.iter().zip(0..) {
        let place = Place::Change(number);
        let entry = Parsed::new(seal, place, entry)?;
        if entry.head.epoch != head.epoch {
            return Err(CopyError::Misplaced(place));
        }
        if entry.from > at.revision {
            return Ok(None);
        }
        if entry.head.revision > at.revision {
            let mut each = |record: Record| drop(newest.insert(record.subject.clone(), record));
            records(place, entry.compressed, entry.records, &mut each)?;
            at = entry.head;
        }
    }
    let mut records: Vec<_> = newest.into_values().collect();
    records.sort_by(|a, b| (a.revision, &a.subject).cmp(&(b.revision, &b.subject)));
    Ok(Some(Changes { head: at, records }))
}
