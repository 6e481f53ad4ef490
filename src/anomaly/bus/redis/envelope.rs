//! How everything in Redis is written: `TGA` and the format, its kind, how it is sealed, the length of its content, the
//! content compressed by LZ4, and the seal over all of it.
//!
//! What is read may come from anybody: nothing is unpacked before its seal holds, and never into more than its kind may
//! have.

use bytes::{BufMut as _, Bytes, BytesMut};
use lz4_flex::block;

use crate::anomaly::bus::{MOST_BATCH_BYTES, MOST_CHECKPOINT_BYTES, MOST_DEED_BYTES, MOST_STANDING_BYTES};
use crate::seal::{Seal, TAG_BYTES};

const MAGIC: &[u8; 3] = b"TGA";
const FORMAT: u8 = b'1';
const HEAD_BYTES: usize = 10;
/// LZ4 makes at most so many bytes of one.
const MOST_GAIN: usize = 255;

/// What an envelope holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// A batch of observations.
    Observations = b'O',
    /// Some deeds.
    Deeds = b'D',
    /// What is in force.
    Standing = b'S',
    /// What an engine knows.
    Checkpoint = b'C',
}

impl Kind {
    /// The most bytes of a content.
    pub(super) const fn most(self) -> usize {
        match self {
            Self::Observations => MOST_BATCH_BYTES,
            Self::Deeds => MOST_DEED_BYTES,
            Self::Standing => MOST_STANDING_BYTES,
            // And its positions.
            Self::Checkpoint => MOST_CHECKPOINT_BYTES + 64,
        }
    }

    /// The most bytes of an envelope.
    pub(super) fn most_sealed(self) -> usize {
        HEAD_BYTES + block::get_maximum_output_size(self.most()) + TAG_BYTES
    }
}

/// Why an envelope is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("it ends too early")]
    Truncated,
    #[error("it is damaged, or not Tidegate's")]
    Damaged,
    #[error("it has format '{0}', which this version does not know")]
    Format(char),
    #[error("it is not authentic: it was sealed with another key than that in rules.copy_key_file, or was changed")]
    NotAuthentic,
    #[error("it is not authenticated; with rules.copy_key_file only what is sealed with that key is used")]
    Unauthenticated,
    #[error("it is sealed with a key; set rules.copy_key_file")]
    KeyMissing,
    #[error("it belongs elsewhere")]
    Misplaced,
    #[error("it is said to be larger than it may be")]
    TooLarge,
}

/// Compresses and seals a content, which is no larger than its kind may be.
pub(super) fn seal(seal: &Seal, kind: Kind, content: &[u8]) -> Bytes {
    let room = block::get_maximum_output_size(content.len());
    let mut sealed = BytesMut::with_capacity(HEAD_BYTES + room + TAG_BYTES);
    sealed.put_slice(MAGIC);
    sealed.put_slice(&[FORMAT, kind as u8, u8::from(seal.has_key())]);
    // Callers have looked at the length.
    sealed.put_u32_le(u32::try_from(content.len()).unwrap_or(u32::MAX));
    sealed.resize(HEAD_BYTES + room, 0);
    // There is room for whatever comes out.
    let written = sealed.get_mut(HEAD_BYTES..).and_then(|rest| block::compress_into(content, rest).ok());
    sealed.truncate(HEAD_BYTES + written.unwrap_or(0));
    let tag = seal.tag(&sealed);
    sealed.put_slice(&tag);
    sealed.freeze()
}

/// The content, when the seal holds.
pub(super) fn open(seal: &Seal, kind: Kind, envelope: &[u8]) -> Result<Vec<u8>, Refused> {
    let (sealed, tag) = envelope.split_last_chunk::<TAG_BYTES>().ok_or(Refused::Truncated)?;
    let (head, compressed) = sealed.split_first_chunk::<HEAD_BYTES>().ok_or(Refused::Truncated)?;
    let [m0, m1, m2, format, has_kind, keyed, length @ ..] = head;
    if [*m0, *m1, *m2] != *MAGIC {
        return Err(Refused::Damaged);
    }
    if *format != FORMAT {
        return Err(Refused::Format(char::from(*format)));
    }
    match (seal.has_key(), *keyed) {
        (true, 0) => return Err(Refused::Unauthenticated),
        (false, 1) => return Err(Refused::KeyMissing),
        (_, 0 | 1) => {}
        _ => return Err(Refused::Damaged),
    }
    if !seal.holds(sealed, tag) {
        return Err(if seal.has_key() { Refused::NotAuthentic } else { Refused::Damaged });
    }
    if *has_kind != kind as u8 {
        return Err(Refused::Misplaced);
    }
    let length = u32::from_le_bytes(*length) as usize;
    if length > kind.most() || length > compressed.len().saturating_mul(MOST_GAIN) {
        return Err(Refused::TooLarge);
    }
    let mut content = vec![0; length];
    match block::decompress_into(compressed, &mut content) {
        Ok(written) if written == length => Ok(content),
        _ => Err(Refused::Damaged),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KINDS: [Kind; 4] = [Kind::Observations, Kind::Deeds, Kind::Standing, Kind::Checkpoint];

    fn seals() -> [Seal; 2] {
        [Seal::CHECKSUM, Seal::keyed(&[7; 32])]
    }

    #[test]
    fn what_is_sealed_is_read_as_what_it_is_and_nothing_else() {
        for seal_ in seals() {
            for content in [&b""[..], b"a", &[7; 60_000], &Vec::from_iter((0..60_000_u32).map(|n| (n * n % 251) as u8))]
            {
                for kind in KINDS {
                    let sealed = seal(&seal_, kind, content);
                    assert!(sealed.len() <= kind.most_sealed());
                    for other in KINDS {
                        let expected = if kind == other { Ok(content.to_vec()) } else { Err(Refused::Misplaced) };
                        assert_eq!(open(&seal_, other, &sealed), expected);
                    }
                }
            }
        }
    }

    #[test]
    fn keys_must_be_the_same() {
        let [checksum, keyed] = seals();
        let kind = Kind::Deeds;
        let other = Seal::keyed(&[8; 32]);
        assert_eq!(open(&other, kind, &seal(&keyed, kind, b"a")), Err(Refused::NotAuthentic));
        assert_eq!(open(&keyed, kind, &seal(&checksum, kind, b"a")), Err(Refused::Unauthenticated));
        assert_eq!(open(&checksum, kind, &seal(&keyed, kind, b"a")), Err(Refused::KeyMissing));
        // A checksum that says it is a key's.
        let mut forged = seal(&checksum, kind, b"a").to_vec();
        forged[5] = 1;
        assert_eq!(open(&keyed, kind, &forged), Err(Refused::NotAuthentic));
    }

    #[test]
    fn a_stated_size_is_never_believed() {
        for (length, refused) in [(u32::MAX, Refused::TooLarge), (60_000, Refused::TooLarge), (5, Refused::Damaged)] {
            let sealed = seal(&Seal::CHECKSUM, Kind::Deeds, b"abcd").to_vec();
            let mut forged = sealed[..sealed.len() - TAG_BYTES].to_vec();
            forged[6..10].copy_from_slice(&length.to_le_bytes());
            forged.extend(Seal::CHECKSUM.tag(&forged));
            assert_eq!(open(&Seal::CHECKSUM, Kind::Deeds, &forged), Err(refused), "{length}");
        }
    }

    proptest! {
        /// A flipped bit, an early end: refused.
        #[test]
        fn harmed_envelopes_are_refused(at in any::<usize>(), bit in 0..8_u32, cut in any::<bool>(), keyed in any::<bool>()) {
            let seal_ = &seals()[usize::from(keyed)];
            let mut sealed = seal(seal_, Kind::Standing, b"some content, some content").to_vec();
            let at = at % sealed.len();
            if cut { sealed.truncate(at) } else { sealed[at] ^= 1 << bit }
            prop_assert!(open(seal_, Kind::Standing, &sealed).is_err());
        }

        /// Also what somebody seals who may write anything: no panic, and no more memory than the kind may have.
        #[test]
        fn sealed_nonsense_is_refused(length in any::<u32>(), noise in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut forged = b"TGA1D\0".to_vec();
            forged.extend(length.to_le_bytes());
            forged.extend(noise);
            forged.extend(Seal::CHECKSUM.tag(&forged));
            if let Ok(content) = open(&Seal::CHECKSUM, Kind::Deeds, &forged) {
                prop_assert!(content.len() == length as usize && content.len() <= Kind::Deeds.most());
            }
        }
    }
}
