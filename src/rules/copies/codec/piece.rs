//! One piece: `TGR` and the format, its kind, how it is sealed, its length, its content, and the seal over all of it.

use std::io::{self, Read};

use bytes::{BufMut as _, Bytes, BytesMut};
use lz4_flex::block;

use super::{CopyError, Place, Seal};
use crate::seal::TAG_BYTES;

/// The largest piece, in bytes, unless a single record is larger than that.
pub const MAX_PIECE: usize = 1 << 20;
/// Text that goes into one piece: also where it cannot be compressed, the piece is no larger than [`MAX_PIECE`].
pub(super) const TEXT_PER_PIECE: usize = 900 * 1024;
/// The most text in a piece, whatever its compressed size.
pub(super) const MAX_TEXT: usize = 8 << 20;
/// The most that is read of a piece.
const MAX_LENGTH: usize = MAX_TEXT + MAX_TEXT / 8;

const MAGIC: &[u8; 3] = b"TGR";
const FORMAT: u8 = b'1';
const HEAD_BYTES: usize = 10;

/// What a piece is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Title = b'T',
    Part = b'P',
    Change = b'C',
}

/// Seals a content.
pub(super) fn seal(seal: &Seal, kind: Kind, content: &[&[u8]]) -> Bytes {
    let length: usize = content.iter().map(|slice| slice.len()).sum();
    let mut piece = BytesMut::with_capacity(HEAD_BYTES + length + TAG_BYTES);
    piece.put_slice(MAGIC);
    piece.put_u8(FORMAT);
    piece.put_u8(kind as u8);
    piece.put_u8(u8::from(seal.has_key()));
    // Builders keep contents far below that.
    piece.put_u32_le(u32::try_from(length).unwrap_or(u32::MAX));
    for slice in content {
        piece.put_slice(slice);
    }
    let tag = seal.tag(&piece);
    piece.put_slice(&tag);
    piece.freeze()
}

/// The content of a piece, when its seal holds.
pub(super) fn open<'a>(seal: &Seal, kind: Kind, place: Place, piece: &'a [u8]) -> Result<&'a [u8], CopyError> {
    let (sealed, tag) = piece.split_last_chunk::<TAG_BYTES>().ok_or(CopyError::Truncated(place))?;
    let (head, content) = sealed.split_first_chunk::<HEAD_BYTES>().ok_or(CopyError::Truncated(place))?;
    let [m0, m1, m2, format, has_kind, keyed, length @ ..] = head;
    if [*m0, *m1, *m2] != *MAGIC {
        return Err(CopyError::Damaged(place));
    }
    if *format != FORMAT {
        return Err(CopyError::Format { place, format: char::from(*format) });
    }
    match (seal.has_key(), *keyed) {
        (true, 0) => return Err(CopyError::Unauthenticated(place)),
        (false, 1) => return Err(CopyError::KeyMissing(place)),
        (_, 0 | 1) => {}
        _ => return Err(CopyError::Damaged(place)),
    }
    if !seal.holds(sealed, tag) {
        let shorter = content.len() < u32::from_le_bytes(*length) as usize;
        return Err(match (shorter, seal.has_key()) {
            (true, _) => CopyError::Truncated(place),
            (false, true) => CopyError::NotAuthentic(place),
            (false, false) => CopyError::Damaged(place),
        });
    }
    if u32::from_le_bytes(*length) as usize != content.len() {
        return Err(CopyError::Damaged(place));
    }
    if *has_kind != kind as u8 {
        return Err(CopyError::Misplaced(place));
    }
    Ok(content)
}

/// Text, compressed, behind its length.
pub(super) fn compress(text: &[u8]) -> Vec<u8> {
    block::compress_prepend_size(text)
}

/// The text again.
pub(super) fn decompress(place: Place, compressed: &[u8]) -> Result<Vec<u8>, CopyError> {
    let wrong = |reason: String| CopyError::Content { place, reason };
    let (length, compressed) = compressed.split_first_chunk().ok_or_else(|| wrong("has no text".to_owned()))?;
    let length = u32::from_le_bytes(*length) as usize;
    if length > MAX_TEXT {
        return Err(wrong(format!("has {length} bytes of text, more than {MAX_TEXT}")));
    }
    let mut text = vec![0; length];
    match block::decompress_into(compressed, &mut text) {
        Ok(written) if written == length => Ok(text),
        Ok(_) => Err(wrong("has less text than it says".to_owned())),
        Err(error) => Err(wrong(error.to_string())),
    }
}

/// What is wrong with a stream of pieces.
#[derive(Debug)]
pub enum Broken {
    /// It cannot be read.
    Io(io::Error),
    /// It ends within a piece.
    Truncated,
    /// What should begin a piece does not.
    Damaged,
}

/// Pieces that stand one behind the other.
#[derive(Debug)]
pub struct Pieces<R> {
    source: R,
    buffer: Vec<u8>,
    /// Bytes of the pieces that were read.
    position: u64,
}

impl<R: Read> Pieces<R> {
    /// From the start of `source`.
    pub const fn new(source: R) -> Self {
        Self { source, buffer: Vec::new(), position: 0 }
    }

    /// The length of what was read, up to the last whole piece.
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// The next piece, as it stands there; `None` at the end.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn read(&mut self) -> Result<Option<&[u8]>, Broken> {
        self.buffer.clear();
        match self.fill(HEAD_BYTES)? {
            0 => return Ok(None),
            HEAD_BYTES => {}
            _ => return Err(Broken::Truncated),
        }
        let Some([m0, m1, m2, _, _, _, length @ ..]) = self.buffer.first_chunk::<HEAD_BYTES>() else {
            return Err(Broken::Truncated);
        };
        let length = u32::from_le_bytes(*length) as usize;
        if [*m0, *m1, *m2] != *MAGIC || length > MAX_LENGTH {
            return Err(Broken::Damaged);
        }
        if self.fill(length + TAG_BYTES)? < length + TAG_BYTES {
            return Err(Broken::Truncated);
        }
        self.position += self.buffer.len() as u64;
        Ok(Some(&self.buffer))
    }

    /// Reads so many bytes more, or as many as there are.
    fn fill(&mut self, bytes: usize) -> Result<usize, Broken> {
        (&mut self.source).take(bytes as u64).read_to_end(&mut self.buffer).map_err(Broken::Io)
    }
}
