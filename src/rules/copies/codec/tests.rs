//! What is written is read again as it was; what was damaged, cut, mixed or forged is refused.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::core::limit::{Algorithm, Limit, LimitParts, Over, Unit, Window};
use crate::core::spec::{DomainSettings, EffectSpec, LimitSpec, RuleSpec};
use crate::rules::repository::record::{Content, Override};
use crate::rules::repository::{Changes, Epoch, Record, Stamp, Subject, Unreadable};

const NOW: Timestamp = Timestamp::constant(1_700_000_000, 5);

fn head(revision: u64) -> Head {
    Head { epoch: Epoch(0xfeed), revision: Revision(revision), accepted: None }
}

fn keyed() -> Seal {
    Seal::keyed(&[7; MIN_KEY_BYTES])
}

fn limits(amount: u64) -> EffectSpec {
    let parts = LimitParts {
        amount,
        window: Window::Length(Unit::Minute.length()),
        algorithm: Algorithm::SlidingWindowLog,
        burst: None,
        over: Over::Drop,
        post_paid: false,
    };
    EffectSpec::Limits(vec![LimitSpec { limit: Limit::new(parts).unwrap(), name: None, replaces: vec![] }])
}

fn record(subject: Subject, revision: u64, content: Option<Result<Content, Unreadable>>) -> Record {
    let stamp = |by: &str| Stamp { at: NOW, by: by.into() };
    Record { subject, revision: Revision(revision), content, created: stamp("alice"), updated: stamp("bob \"the\"\n") }
}

fn rule(user: u64, revision: u64, amount: u64) -> Record {
    let rule = RuleSpec { effect: Some(limits(amount)), tags: vec!["a".into()], ..RuleSpec::default() };
    let subject = Subject::Rule("edge".into(), format!("user_id={user}").parse().unwrap());
    record(subject, revision, Some(Ok(Content::Rule(rule))))
}

/// One record of each kind.
fn kinds() -> Vec<Record> {
    let path = || "a=1,b%2C".parse().unwrap();
    let over = Override { effect: limits(3), until: NOW };
    let unreadable =
        Unreadable("limits: unknown field `limits`, expected one of".into(), json!({ "limits": [1.5, null] }));
    vec![
        record(Subject::Domain("\"e\\dge\"\n".into()), 1, Some(Ok(Content::Domain(DomainSettings::FILE)))),
        rule(7, 2, 5),
        record(Subject::Override("edge".into(), path()), 3, Some(Ok(Content::Override(over)))),
        record(Subject::Rule("edge".into(), path()), 4, Some(Err(unreadable))),
    ]
}

fn copy_of(seal: &Seal, records: &[Record], revision: u64) -> RuleCopy {
    let mut builder = CopyBuilder::new(seal);
    records.iter().for_each(|record| builder.push(record).unwrap());
    builder.finish(head(revision), NOW).unwrap()
}

fn change(seal: &Seal, from: u64, to: u64, records: Vec<Record>) -> LogEntry {
    LogEntry::new(seal, Revision(from), &Changes { head: head(to), records }, NOW).unwrap()
}

fn read(seal: &Seal, title: &Bytes, parts: &[Bytes], changes: &[Bytes]) -> Result<(Standing, Vec<Record>), CopyError> {
    let copy = RuleCopy::from_pieces(seal, title.clone(), parts.to_vec(), changes.to_vec())?;
    let mut records = Vec::new();
    let standing = copy.read(seal, &mut |record| records.push(record))?;
    assert_eq!(standing, copy.standing());
    Ok((standing, records))
}

fn pieces(copy: &RuleCopy) -> (Bytes, Vec<Bytes>) {
    let mut pieces = copy.pieces().cloned();
    (pieces.next().unwrap(), pieces.collect())
}

/// A copy of some parts.
fn large(seal: &Seal, revision: u64) -> RuleCopy {
    let records: Vec<_> = (0..10_000).map(|user| rule(user, 1, 1 + user % 100)).collect();
    let copy = copy_of(seal, &records, revision);
    assert!(copy.title().parts >= 2, "{:?}", copy.title());
    copy
}

#[test]
fn records_of_every_kind_are_read_as_they_were_written() {
    for seal in [Seal::CHECKSUM, keyed()] {
        let mut records = kinds();
        let (title, parts) = pieces(&copy_of(&seal, &records, 4));
        let accepted = Head { accepted: Some(NOW), ..head(6) };
        let deleted = record(records[1].subject.clone(), 6, None);
        let changes = Changes { head: accepted, records: vec![deleted.clone()] };
        let change = LogEntry::new(&seal, Revision(4), &changes, NOW).unwrap();
        records.push(deleted);
        let (standing, found) = read(&seal, &title, &parts, &[change.piece]).unwrap();
        assert_eq!(standing, Standing { head: accepted, made: NOW });
        for (found, record) in found.iter().zip(&records) {
            if let (Some(Err(found)), Some(Err(unreadable))) = (&found.content, &record.content) {
                assert!(found.0.starts_with(&unreadable.0) && found.1 == unreadable.1, "{found:?}");
            } else {
                assert_eq!(found, record);
            }
        }
        assert_eq!(found.len(), records.len());
    }
}

#[test]
fn many_records_are_many_parts_of_bounded_size() {
    let copy = large(&Seal::CHECKSUM, 1);
    assert!(copy.pieces().all(|piece| piece.len() <= MAX_PIECE));
    let (title, parts) = pieces(&copy);
    assert_eq!(read(&Seal::CHECKSUM, &title, &parts, &[]).unwrap().1.len(), 10_000);
    // Deleted records do not exist.
    let gone = record(kinds()[1].subject.clone(), 1, None);
    assert_eq!(copy_of(&Seal::CHECKSUM, &[gone], 1).title().records, 0);
}

#[test]
fn what_does_not_fit_is_refused() {
    let huge = |bytes: usize| {
        let metadata = serde_json::Map::from_iter([("m".to_owned(), "x".repeat(bytes).into())]);
        let rule = RuleSpec { metadata: Some(metadata), ..RuleSpec::default() };
        record(kinds()[1].subject.clone(), 2, Some(Ok(Content::Rule(rule))))
    };
    // Larger than a part, yet possible.
    let copy = copy_of(&Seal::CHECKSUM, &[rule(1, 1, 1), huge(3 << 20), rule(2, 1, 1)], 2);
    assert_eq!((copy.title().parts, copy.title().records), (3, 3));
    let error = CopyBuilder::new(&Seal::CHECKSUM).push(&huge(9 << 20)).unwrap_err().to_string();
    assert!(error.starts_with("rule user_id=7 of domain edge: 94"), "{error}");
    let noise: Vec<_> = (0..20_000).map(|user| rule(fastrand::Rng::with_seed(user).u64(..), 2, 1)).collect();
    let changes = Changes { head: head(2), records: [noise.clone(), noise].concat() };
    let error = LogEntry::new(&Seal::CHECKSUM, Revision(1), &changes, NOW).unwrap_err().to_string();
    assert!(error.starts_with("the changes from 1 to 2: "), "{error}");
}

#[test]
fn pieces_that_do_not_belong_together_are_refused() {
    for seal in [Seal::CHECKSUM, keyed()] {
        let (title, parts) = pieces(&large(&seal, 4));
        let (other_title, other) = pieces(&large(&seal, 4));
        let refused = |title: &Bytes, parts: Vec<&Bytes>, changes: &[&LogEntry]| {
            let parts: Vec<_> = parts.into_iter().cloned().collect();
            let changes: Vec<_> = changes.iter().map(|change| change.piece.clone()).collect();
            read(&seal, title, &parts, &changes).unwrap_err()
        };
        let whole = || parts.iter().collect::<Vec<_>>();
        let last = Place::Part(u32::try_from(parts.len()).unwrap() - 1);
        assert_eq!(refused(&title, vec![&parts[0], &other[1]], &[]), CopyError::Misplaced(Place::Part(1)));
        assert_eq!(refused(&other_title, whole(), &[]), CopyError::Misplaced(Place::Part(0)));
        assert_eq!(refused(&title, vec![&parts[1], &parts[0]], &[]), CopyError::Misplaced(Place::Part(0)));
        assert_eq!(refused(&title, whole()[..parts.len() - 1].to_vec(), &[]), CopyError::Truncated(last));
        assert!(matches!(refused(&title, [whole(), whole()].concat(), &[]), CopyError::Misplaced(_)));
        assert_eq!(refused(&title, vec![&title], &[]), CopyError::Misplaced(Place::Part(0)));
        assert_eq!(refused(&parts[0], whole(), &[]), CopyError::Misplaced(Place::Title));

        let (first, third) = (change(&seal, 4, 5, vec![rule(1, 5, 9)]), change(&seal, 6, 7, vec![]));
        let gap = CopyError::Gap { place: Place::Change(1), from: Revision(6), at: Revision(5) };
        assert_eq!(refused(&title, whole(), &[&first, &third]), gap);
        let foreign = Changes { head: Head { epoch: Epoch(1), ..head(5) }, records: vec![] };
        let foreign = LogEntry::new(&seal, Revision(4), &foreign, NOW).unwrap();
        assert_eq!(refused(&title, whole(), &[&foreign]), CopyError::Misplaced(Place::Change(0)));
    }
}

#[test]
fn changes_that_are_known_already_are_left_out() {
    let seal = keyed();
    let (title, parts) = pieces(&copy_of(&seal, &[rule(1, 4, 1)], 4));
    let changes = [change(&seal, 2, 4, vec![rule(2, 3, 1)]), change(&seal, 3, 6, vec![rule(3, 6, 1)])];
    let changes = changes.map(|change| change.piece);
    let (standing, records) = read(&seal, &title, &parts, &changes).unwrap();
    assert_eq!((standing.head, records), (head(6), vec![rule(1, 4, 1), rule(3, 6, 1)]));
}

#[test]
fn keys_must_be_the_same() {
    let place = Place::Title;
    let title = |seal: &Seal| pieces(&copy_of(seal, &kinds(), 4)).0;
    let other = Seal::keyed(&[8; MIN_KEY_BYTES]);
    assert_eq!(Title::read(&other, &title(&keyed())), Err(CopyError::NotAuthentic(place)));
    assert_eq!(Title::read(&keyed(), &title(&Seal::CHECKSUM)), Err(CopyError::Unauthenticated(place)));
    assert_eq!(Title::read(&Seal::CHECKSUM, &title(&keyed())), Err(CopyError::KeyMissing(place)));
    let newer = [b"TGR2", &title(&keyed())[4..]].concat();
    assert_eq!(Title::read(&keyed(), &newer), Err(CopyError::Format { place, format: '2' }));
    // A checksum that says it is a key's.
    let mut forged = title(&Seal::CHECKSUM).to_vec();
    forged[5] = 1;
    assert_eq!(Title::read(&keyed(), &forged), Err(CopyError::NotAuthentic(place)));
}

#[test]
fn keys_are_read_from_files() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    let error = Seal::from_file(&path).unwrap_err().to_string();
    assert!(error.contains("No such file") && error.contains("openssl rand"), "{error}");
    std::fs::write(&path, "short\n").unwrap();
    assert!(Seal::from_file(&path).unwrap_err().to_string().contains("5 bytes are too few"));
    std::fs::write(&path, format!("{}\n", "\u{7}".repeat(32))).unwrap();
    assert!(Title::read(&Seal::from_file(&path).unwrap(), &pieces(&copy_of(&keyed(), &[], 4)).0).is_ok());
}

/// What somebody or something does to bytes.
#[derive(Clone, Debug)]
enum Harm {
    Flip(usize, u8),
    Cut(usize),
    Insert(usize, Vec<u8>),
    Remove(usize, usize),
    Noise(Vec<u8>),
}

fn harm() -> impl Strategy<Value = Harm> {
    let bytes = || prop::collection::vec(any::<u8>(), 1..64);
    prop_oneof![
        4 => (any::<usize>(), 1..=u8::MAX).prop_map(|(at, bits)| Harm::Flip(at, bits)),
        1 => any::<usize>().prop_map(Harm::Cut),
        1 => (any::<usize>(), bytes()).prop_map(|(at, bytes)| Harm::Insert(at, bytes)),
        1 => (any::<usize>(), 1..64_usize).prop_map(|(at, count)| Harm::Remove(at, count)),
        1 => bytes().prop_map(Harm::Noise),
    ]
}

fn harmed(bytes: &[u8], harm: &Harm) -> Bytes {
    let mut bytes = bytes.to_vec();
    let length = bytes.len();
    match harm {
        Harm::Flip(at, bits) => bytes[at % length] ^= bits,
        Harm::Cut(at) => bytes.truncate(at % length),
        Harm::Insert(at, more) => drop(bytes.splice(at % length..at % length, more.iter().copied())),
        Harm::Remove(at, count) => drop(bytes.drain(at % length..(at % length + count).min(length))),
        Harm::Noise(noise) => bytes.clone_from(noise),
    }
    bytes.into()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// A harmed piece is refused, and never gives a record.
    #[test]
    fn harmed_pieces_are_refused(which in 0..3_usize, harm in harm(), with_key in any::<bool>()) {
        let seal = if with_key { keyed() } else { Seal::CHECKSUM };
        let (title, parts) = pieces(&copy_of(&seal, &kinds(), 4));
        let mut all = [title, parts[0].clone(), change(&seal, 4, 5, vec![rule(1, 5, 9)]).piece];
        all[which] = harmed(&all[which], &harm);
        let [title, part, change] = all;
        prop_assert!(read(&seal, &title, &[part], &[change]).is_err());
    }

    /// Also what somebody seals who may write anything but does not know what: no panic, no endless work.
    #[test]
    fn sealed_nonsense_is_refused(kind in 0..3_u8, noise in prop::collection::vec(any::<u8>(), 0..200)) {
        let seal = Seal::CHECKSUM;
        let (title, parts) = pieces(&copy_of(&seal, &kinds(), 4));
        let id = copy_of(&seal, &[], 4).title().id.to_le_bytes();
        let _ = match kind {
            0 => read(&seal, &piece::seal(&seal, piece::Kind::Title, &[&id, &noise]), &parts, &[]).map(drop),
            1 => read(&seal, &title, &[piece::seal(&seal, piece::Kind::Part, &[&noise])], &[]).map(drop),
            _ => read(&seal, &title, &parts, &[piece::seal(&seal, piece::Kind::Change, &[&noise])]).map(drop),
        };
        let mut compressed = 4_u32.pow(u32::from(kind) * 3).to_le_bytes().to_vec();
        compressed.extend(&noise);
        let _ = reader::records(Place::Part(0), &compressed, 1, &mut |_| ());
    }

    /// A stream of pieces that was harmed ends where it was harmed, or the harm is found in a piece.
    #[test]
    fn harmed_streams_end(harm in harm()) {
        let seal = keyed();
        let stream = copy_of(&seal, &kinds(), 4).pieces().fold(Vec::new(), |stream, piece| [&stream[..], piece].concat());
        let stream = harmed(&stream, &harm);
        let mut pieces = Pieces::new(&stream[..]);
        let mut good = 0;
        while let Ok(Some(piece)) = pieces.read() {
            good += usize::from(match good {
                0 => Title::read(&seal, piece).is_ok(),
                _ => piece::open(&seal, piece::Kind::Part, Place::Part(0), piece).is_ok(),
            });
        }
        // Something may stand behind the end.
        prop_assert!(good < 2 || matches!(harm, Harm::Insert(..)), "{harm:?}");
        prop_assert!(pieces.position() <= stream.len() as u64);
    }
}
