//! Full copies.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};

use bytes::Bytes;
use jiff::Timestamp;

use super::piece::{self, Kind, MAX_TEXT, TEXT_PER_PIECE};
use super::{CopyError, Place, Reader, Seal, Standing, line};
use crate::rules::repository::{Epoch, Head, Record, Revision};

/// The most parts of a copy: some hundred million rules.
pub(super) const MAX_PARTS: u32 = 65_536;

/// What a full copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Title {
    /// Names this copy, at random.
    pub id: u128,
    /// Of which revision it is.
    pub head: Head,
    /// How many records it has.
    pub records: u64,
    /// In how many parts.
    pub parts: u32,
    /// When it was made.
    pub made: Timestamp,
}

impl Title {
    fn write(&self, seal: &Seal) -> Bytes {
        let content: &[&[u8]] = &[
            &self.id.to_le_bytes(),
            &write_head(self.head),
            &self.records.to_le_bytes(),
            &self.parts.to_le_bytes(),
            &self.made.as_nanosecond().to_le_bytes(),
        ];
        piece::seal(seal, Kind::Title, content)
    }

    /// Reads a title.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn read(seal: &Seal, piece: &[u8]) -> Result<Self, CopyError> {
        let place = Place::Title;
        let mut content = Fields { place, rest: piece::open(seal, Kind::Title, place, piece)? };
        let title = Self {
            id: u128::from_le_bytes(content.take()?),
            head: content.head()?,
            records: u64::from_le_bytes(content.take()?),
            parts: u32::from_le_bytes(content.take()?),
            made: content.time()?,
        };
        if title.parts > MAX_PARTS || !content.rest.is_empty() {
            return Err(CopyError::Content { place, reason: "has more in it than a title".to_owned() });
        }
        Ok(title)
    }
}

/// Numbers in a content.
pub(super) struct Fields<'a> {
    pub(super) place: Place,
    pub(super) rest: &'a [u8],
}

impl Fields<'_> {
    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N], CopyError> {
        let (field, rest) = self.rest.split_first_chunk().ok_or(CopyError::Truncated(self.place))?;
        self.rest = rest;
        Ok(*field)
    }

    pub(super) fn time(&mut self) -> Result<Timestamp, CopyError> {
        let nanoseconds = i128::from_le_bytes(self.take()?);
        Timestamp::from_nanosecond(nanoseconds)
            .map_err(|error| CopyError::Content { place: self.place, reason: error.to_string() })
    }

    pub(super) fn head(&mut self) -> Result<Head, CopyError> {
        let epoch = Epoch(u128::from_le_bytes(self.take()?));
        let revision = Revision(u64::from_le_bytes(self.take()?));
        let accepted = match self.take()? {
            [0] => None,
            _ => Some(self.time()?),
        };
        Ok(Head { epoch, revision, accepted })
    }
}

/// What [`Fields::head`] reads.
pub(super) fn write_head(Head { epoch, revision, accepted }: Head) -> Vec<u8> {
    let mut bytes = [&epoch.0.to_le_bytes()[..], &revision.0.to_le_bytes()].concat();
    bytes.push(u8::from(accepted.is_some()));
    if let Some(accepted) = accepted {
        bytes.extend(accepted.as_nanosecond().to_le_bytes());
    }
    bytes
}

/// Makes a full copy of records that come one by one.
#[derive(Debug)]
pub struct CopyBuilder<'a> {
    seal: &'a Seal,
    id: u128,
    parts: Vec<Bytes>,
    records: u64,
    text: Vec<u8>,
    in_text: u32,
}

impl<'a> CopyBuilder<'a> {
    /// Without records yet.
    #[must_use]
    pub fn new(seal: &'a Seal) -> Self {
        // Random, as the keys of a RandomState are.
        let [high, low] = [0; 2].map(|_: u8| RandomState::new().build_hasher().finish());
        let id = u128::from(high) << 64 | u128::from(low);
        Self { seal, id, parts: Vec::new(), records: 0, text: Vec::new(), in_text: 0 }
    }

    /// One more record. Deleted ones are left out: who is not in a full copy does not exist.
    ///
    /// # Errors
    /// [`CopyError::TooLarge`].
    pub fn push(&mut self, record: &Record) -> Result<(), CopyError> {
        if record.content.is_none() {
            return Ok(());
        }
        let start = self.text.len();
        line::write(&mut self.text, record).map_err(|reason| self.wrong(reason))?;
        let length = self.text.len() - start;
        if length > MAX_TEXT {
            self.text.truncate(start);
            return Err(CopyError::TooLarge { what: record.subject.to_string(), bytes: length, most: MAX_TEXT });
        }
        if self.text.len() > TEXT_PER_PIECE && start > 0 {
            let last = self.text.split_off(start);
            self.part()?;
            self.text = last;
        }
        self.in_text += 1;
        self.records += 1;
        Ok(())
    }

    fn number(&self) -> u32 {
        u32::try_from(self.parts.len()).unwrap_or(u32::MAX)
    }

    fn wrong(&self, reason: String) -> CopyError {
        CopyError::Content { place: Place::Part(self.number()), reason }
    }

    fn part(&mut self) -> Result<(), CopyError> {
        let number = self.number();
        if number >= MAX_PARTS {
            return Err(self.wrong(format!("more than {MAX_PARTS} parts are not possible")));
        }
        let content: &[&[u8]] =
            &[&self.id.to_le_bytes(), &number.to_le_bytes(), &self.in_text.to_le_bytes(), &piece::compress(&self.text)];
        self.parts.push(piece::seal(self.seal, Kind::Part, content));
        self.text.clear();
        self.in_text = 0;
        Ok(())
    }

    /// The copy, of this revision, made now.
    ///
    /// # Errors
    /// When there are too many records for a copy.
    pub fn finish(mut self, head: Head, now: Timestamp) -> Result<RuleCopy, CopyError> {
        if self.in_text > 0 {
            self.part()?;
        }
        let title = Title { id: self.id, head, records: self.records, parts: self.number(), made: now };
        let standing = Standing { head, made: now };
        Ok(RuleCopy { standing, head_piece: title.write(self.seal), title, parts: self.parts, changes: Vec::new() })
    }
}

/// A copy in memory, compressed: a full one and perhaps changes behind it. Its seals hold.
#[derive(Clone, Debug)]
pub struct RuleCopy {
    standing: Standing,
    title: Title,
    head_piece: Bytes,
    parts: Vec<Bytes>,
    changes: Vec<Bytes>,
}

impl RuleCopy {
    /// Puts a copy together that was read piece by piece.
    ///
    /// # Errors
    /// When a piece is missing, or refused.
    pub fn from_pieces(seal: &Seal, title: Bytes, parts: Vec<Bytes>, changes: Vec<Bytes>) -> Result<Self, CopyError> {
        let mut reader = Reader::new(seal, &title)?;
        for part in &parts {
            reader.check_part(part)?;
        }
        reader.whole()?;
        for change in &changes {
            reader.check_change(change)?;
        }
        Ok(Self { standing: reader.standing(), title: *reader.title(), head_piece: title, parts, changes })
    }

    /// What it leads to.
    #[must_use]
    pub const fn standing(&self) -> Standing {
        self.standing
    }

    /// What the full copy in it is.
    #[must_use]
    pub const fn title(&self) -> &Title {
        &self.title
    }

    /// The pieces of the full copy: the title, then the parts.
    pub fn pieces(&self) -> impl Iterator<Item = &Bytes> {
        std::iter::once(&self.head_piece).chain(&self.parts)
    }

    /// The changes behind it.
    #[must_use]
    pub fn changes(&self) -> &[Bytes] {
        &self.changes
    }

    /// Its size in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.pieces().chain(&self.changes).map(|piece| piece.len() as u64).sum()
    }

    /// Hands over all records, then those that changed, deleted ones too. Each may come again, newer.
    ///
    /// # Errors
    /// When a record is not understood. What was handed over until then is not a state that ever was.
    pub fn read(&self, seal: &Seal, each: &mut dyn FnMut(Record)) -> Result<Standing, CopyError> {
        let mut reader = Reader::new(seal, &self.head_piece)?;
        for part in &self.parts {
            reader.part(part, each)?;
        }
        reader.whole()?;
        for change in &self.changes {
            reader.change(change, each)?;
        }
        Ok(reader.standing())
    }
}
