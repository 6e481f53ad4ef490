//! Reads a copy piece by piece, in order, and holds each piece to the ones before it.

use super::entry::Parsed;
use super::full::Fields;
use super::piece::{self, Kind};
use super::{CopyError, Place, Seal, Standing, Title, line};
use crate::rules::repository::Record;

/// Where the reading of a copy stands. A piece that is refused changes nothing.
#[derive(Debug)]
pub struct Reader<'a> {
    seal: &'a Seal,
    title: Title,
    parts: u32,
    records: u64,
    changes: u32,
    standing: Standing,
}

impl<'a> Reader<'a> {
    /// Begins with the title.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn new(seal: &'a Seal, title: &[u8]) -> Result<Self, CopyError> {
        let title = Title::read(seal, title)?;
        let standing = Standing { head: title.head, made: title.made };
        Ok(Self { seal, title, parts: 0, records: 0, changes: 0, standing })
    }

    /// The title.
    #[must_use]
    pub const fn title(&self) -> &Title {
        &self.title
    }

    /// Whether all parts were read, and changes follow.
    #[must_use]
    pub const fn has_all_parts(&self) -> bool {
        self.parts == self.title.parts
    }

    /// What was read leads to.
    #[must_use]
    pub const fn standing(&self) -> Standing {
        self.standing
    }

    /// The next part's records.
    ///
    /// # Errors
    /// Why it is refused; none of its records is handed over then.
    pub fn part(&mut self, piece: &[u8], each: &mut dyn FnMut(Record)) -> Result<(), CopyError> {
        let place = Place::Part(self.parts);
        let (count, compressed) = self.open_part(piece)?;
        records(place, compressed, count, each)?;
        self.took_part(count);
        Ok(())
    }

    /// The same, without its records.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn check_part(&mut self, piece: &[u8]) -> Result<(), CopyError> {
        let (count, _) = self.open_part(piece)?;
        self.took_part(count);
        Ok(())
    }

    fn open_part<'p>(&self, piece: &'p [u8]) -> Result<(u32, &'p [u8]), CopyError> {
        let place = Place::Part(self.parts);
        let mut content = Fields { place, rest: piece::open(self.seal, Kind::Part, place, piece)? };
        let id = u128::from_le_bytes(content.take()?);
        let number = u32::from_le_bytes(content.take()?);
        if id != self.title.id || number != self.parts || self.has_all_parts() {
            return Err(CopyError::Misplaced(place));
        }
        Ok((u32::from_le_bytes(content.take()?), content.rest))
    }

    fn took_part(&mut self, count: u32) {
        self.parts += 1;
        self.records += u64::from(count);
    }

    /// Says that there are no more parts.
    ///
    /// # Errors
    /// When there should be, or they had other records than they should have.
    pub fn whole(&self) -> Result<(), CopyError> {
        if !self.has_all_parts() {
            return Err(CopyError::Truncated(Place::Part(self.parts)));
        }
        let Title { records, .. } = self.title;
        if self.records != records {
            let reason = format!("says {records} records, but there are {}", self.records);
            return Err(CopyError::Content { place: Place::Title, reason });
        }
        Ok(())
    }

    /// The next change's records; none when it is known already. A change may begin before where the reading stands:
    /// its records are the newest, in any case.
    ///
    /// # Errors
    /// Why it is refused; none of its records is handed over then.
    pub fn change(&mut self, piece: &[u8], each: &mut dyn FnMut(Record)) -> Result<(), CopyError> {
        let (change, news) = self.open_change(piece)?;
        if news {
            records(Place::Change(self.changes), change.compressed, change.records, each)?;
        }
        self.took_change(&change, news);
        Ok(())
    }

    /// The same, without its records.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn check_change(&mut self, piece: &[u8]) -> Result<(), CopyError> {
        let (change, news) = self.open_change(piece)?;
        self.took_change(&change, news);
        Ok(())
    }

    fn open_change<'p>(&self, piece: &'p [u8]) -> Result<(Parsed<'p>, bool), CopyError> {
        let place = Place::Change(self.changes);
        let change = Parsed::new(self.seal, place, piece)?;
        let at = self.standing.head;
        if change.head.epoch != at.epoch || !self.has_all_parts() {
            return Err(CopyError::Misplaced(place));
        }
        if change.from > at.revision {
            return Err(CopyError::Gap { place, from: change.from, at: at.revision });
        }
        let news = change.head.revision > at.revision;
        Ok((change, news))
    }

    fn took_change(&mut self, change: &Parsed<'_>, news: bool) {
        self.changes += 1;
        if news {
            self.standing = Standing { head: change.head, made: change.made };
        }
    }
}

/// Hands over the records of a piece, all or none.
pub(super) fn records(
    place: Place,
    compressed: &[u8],
    count: u32,
    each: &mut dyn FnMut(Record),
) -> Result<(), CopyError> {
    let wrong = |reason: String| CopyError::Content { place, reason };
    let text = piece::decompress(place, compressed)?;
    let text = std::str::from_utf8(&text).map_err(|error| wrong(error.to_string()))?;
    let found: Vec<_> = text.lines().map(line::read).collect::<Result<_, _>>().map_err(wrong)?;
    if found.len() != count as usize {
        return Err(wrong(format!("says {count} records, but there are {}", found.len())));
    }
    found.into_iter().for_each(each);
    Ok(())
}
