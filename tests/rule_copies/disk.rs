//! The copy on disk.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use tidegate::rules::copies::codec::{CopyError, LogEntry, Place, Seal, Standing};
use tidegate::rules::copies::disk::{Appended, Disk, DiskError, Loaded};
use tidegate::rules::repository::{Changes, Revision};

use crate::child;
use crate::model::{self, NOW, State, apply, entry, entry_at, full, full_at, head, state};

const FILE: &str = "rules.copy";

fn seal() -> Seal {
    Seal::keyed(&[1; 32])
}

fn open(directory: &Path) -> Disk {
    Disk::open(directory, seal()).unwrap()
}

fn load(disk: &Disk) -> Option<(Loaded, State)> {
    let mut state = State::new();
    let loaded = disk.load(&mut |record| apply(&mut state, record)).unwrap()?;
    assert_eq!(disk.look().unwrap(), Some(loaded.clone()));
    Some((loaded, state))
}

fn assert_holds(disk: &Disk, revision: u64) {
    let (loaded, found) = load(disk).unwrap();
    assert_eq!(loaded, Loaded { standing: Standing { head: head(revision), made: NOW }, rest: None });
    assert_eq!(found, state(revision));
}

#[test]
fn a_copy_and_its_changes_are_read_again() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("a/b");
    let mut disk = open(&directory);
    assert_eq!(load(&disk), None);
    assert_eq!(disk.append(&entry(&seal(), 2)).unwrap(), Appended::NeedsCopy);
    disk.write(&full(&seal(), 1)).unwrap();
    assert_holds(&disk, 1);
    for revision in 2..100 {
        assert_eq!(disk.append(&entry(&seal(), revision)).unwrap(), Appended::Done);
    }
    assert_holds(&disk, 99);
    drop(disk);

    let mut disk = open(&directory);
    assert_holds(&disk, 99);
    assert_eq!(disk.append(&entry(&seal(), 99)).unwrap(), Appended::Known);
    assert_eq!(disk.append(&entry(&seal(), 101)).unwrap(), Appended::NeedsCopy);
    assert_eq!(disk.append(&entry_at(&seal(), model::other(100))).unwrap(), Appended::NeedsCopy);
    assert_eq!(disk.append(&entry(&seal(), 100)).unwrap(), Appended::Done);
    let copy = disk.read().unwrap().unwrap();
    assert_eq!((copy.changes().len(), copy.standing().head), (99, head(100)));
    disk.compact().unwrap();
    assert_holds(&disk, 100);
    let compact = disk.read().unwrap().unwrap();
    assert!(compact.changes().is_empty() && compact.bytes() < copy.bytes());
    assert_eq!(disk.append(&entry(&seal(), 101)).unwrap(), Appended::Done);
    // What was read can be written, changes included.
    disk.write(&copy).unwrap();
    assert_holds(&disk, 100);
    assert_eq!(disk.append(&entry(&seal(), 101)).unwrap(), Appended::Done);
    assert_holds(&disk, 101);
    // Another epoch is the keeper's decision.
    disk.write(&full_at(&seal(), model::other(5))).unwrap();
    assert_eq!(load(&disk).unwrap().0.standing.head, model::other(5));
}

#[test]
fn nobody_else_can_read_it() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("copies");
    let mut disk = open(&directory);
    disk.write(&full(&seal(), 1)).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&directory), mode(&directory.join(FILE))), (0o700, 0o600));
}

#[test]
fn of_two_processes_one_writes() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = open(directory.path());
    let mut second = open(directory.path());
    assert!(first.is_owner() && !second.is_owner());
    first.write(&full(&seal(), 1)).unwrap();
    for result in [second.write(&full(&seal(), 9)), second.append(&entry(&seal(), 2)).map(drop), second.compact()] {
        let error = result.unwrap_err();
        assert!(matches!(error, DiskError::Locked { .. }), "{error}");
        assert!(error.to_string().contains("rules.copy.lock\" is locked by another process"), "{error}");
    }
    first.append(&entry(&seal(), 2)).unwrap();
    assert_holds(&second, 2);
    drop(first);
    assert_eq!(second.append(&entry(&seal(), 3)).unwrap(), Appended::Done);
    assert_holds(&second, 3);
}

#[test]
fn a_change_that_was_cut_is_not_read_and_makes_room_for_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FILE);
    let mut disk = open(directory.path());
    disk.write(&full(&seal(), 1)).unwrap();
    disk.append(&entry(&seal(), 2)).unwrap();
    let good = fs::read(&path).unwrap();
    disk.append(&entry(&seal(), 3)).unwrap();
    let whole = fs::read(&path).unwrap();
    drop(disk);
    for length in good.len() + 1..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let mut disk = open(directory.path());
        let (loaded, found) = load(&disk).unwrap();
        assert_eq!((loaded.standing.head, found), (head(2), state(2)));
        assert_eq!(loaded.rest, Some(CopyError::Truncated(Place::Change(1))));
        if length % 16 == 0 {
            disk.append(&entry(&seal(), 3)).unwrap();
            assert_holds(&disk, 3);
        }
    }
}

#[test]
fn damage_is_named_and_a_new_copy_heals_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FILE);
    let mut disk = open(directory.path());
    disk.write(&full(&seal(), 1)).unwrap();
    let good = fs::read(&path).unwrap();
    drop(disk);
    for (at, place) in [(20, "the copy's title"), (good.len() - 40, "part 0 of the copy")] {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
        let mut disk = open(directory.path());
        let error = disk.load(&mut |_| panic!("a record")).unwrap_err().to_string();
        assert!(error.contains(&format!("rules.copy\": {place} is not authentic")), "{error}");
        assert_eq!(disk.append(&entry(&seal(), 2)).unwrap(), Appended::NeedsCopy);
        disk.write(&full(&seal(), 2)).unwrap();
        assert_holds(&disk, 2);
    }
}

#[test]
fn a_long_log_is_due_to_be_compacted_and_ends_somewhere() {
    let directory = tempfile::tempdir().unwrap();
    let mut disk = open(directory.path());
    disk.write(&full(&seal(), 1)).unwrap();
    let (mut random, mut revision, mut long) = (fastrand::Rng::with_seed(1), 1, None);
    let mut large = |revision| {
        let records = (0..500).map(|_| model::rule(random.u64(..), revision, Some(1))).collect();
        LogEntry::new(&seal(), Revision(revision - 1), &Changes { head: head(revision), records }, NOW).unwrap()
    };
    while disk.append(&large(revision + 1)).unwrap() == Appended::Done {
        revision += 1;
        long = long.or_else(|| disk.is_long().then_some(revision));
    }
    assert_eq!(load(&disk).unwrap().0.standing.head, head(revision));
    let bytes = fs::metadata(directory.path().join(FILE)).unwrap().len();
    assert!(long.unwrap() * 3 < revision && bytes < 2 << 20, "{long:?} {revision} {bytes}");
    disk.compact().unwrap();
    assert!(!disk.is_long());
    assert_eq!(disk.append(&large(revision + 1)).unwrap(), Appended::Done);
    assert_eq!(load(&disk).unwrap().1.len(), 50 + 500 * revision as usize);
}

/// In a child: goes on from what is there, in one way or another, and says which revision it has written.
#[test]
fn child_writes_until_it_is_killed() {
    let Some(directory) = child::directory() else { return };
    let mut disk = open(&directory);
    let mut revision = load(&disk).map_or(0, |(loaded, _)| loaded.standing.head.revision.0);
    let mut say = std::io::stdout();
    loop {
        match fastrand::u8(..10) {
            way if revision == 0 || way == 1 => {
                revision += 1;
                disk.write(&full(&seal(), revision)).unwrap();
            }
            0 => disk.compact().unwrap(),
            _ if disk.append(&entry(&seal(), revision + 1)).unwrap() == Appended::Done => revision += 1,
            _ => {}
        }
        say.write_all(format!("\nrevision {revision}\n").as_bytes()).unwrap();
    }
}

#[test]
fn a_killed_writer_leaves_a_revision_that_it_had_written() {
    let directory = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(6);
    let mut reached = 0;
    for _ in 0..25 {
        let mut command = child::run("disk::child_writes_until_it_is_killed", directory.path());
        let mut writer = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut told =
            || lines.by_ref().find_map(|line| line.strip_prefix("revision ").map(|text| text.parse().unwrap()));
        for _ in 0..random.u32(1..20) {
            reached = told().unwrap();
        }
        // Anywhere within what it does next.
        let (from, micros) = (Instant::now(), random.u128(..3_000));
        while from.elapsed().as_micros() < micros {}
        writer.kill().unwrap();
        writer.wait().unwrap();
        while let Some(further) = told() {
            reached = further;
        }
        let disk = open(directory.path());
        let (loaded, found) = load(&disk).unwrap();
        let Revision(revision) = loaded.standing.head.revision;
        assert!((reached..=reached + 1).contains(&revision), "{reached} was written, {revision} is there");
        assert_eq!(found, state(revision));
    }
    assert!(reached > 25);
}

/// In a child whose files cannot grow beyond 16 KiB.
#[test]
fn child_has_no_room() {
    let Some(directory) = child::directory() else { return };
    let mut disk = open(&directory);
    let mut revision = 1;
    disk.write(&full(&seal(), revision)).unwrap();
    let error = loop {
        match disk.append(&entry(&seal(), revision + 1)) {
            Ok(appended) => assert_eq!(appended, Appended::Done),
            Err(error) => break error,
        }
        revision += 1;
    };
    assert!(error.to_string().contains("rules.copy\": cannot write a change: File too large"), "{error}");
    assert_holds(&disk, revision);
    assert!(disk.append(&entry(&seal(), revision + 1)).is_err());
    assert_holds(&disk, revision);
    let huge = {
        let mut builder = tidegate::rules::copies::codec::CopyBuilder::new(&Seal::CHECKSUM);
        (0..5_000).for_each(|user| builder.push(&model::rule(user * 7_919, 1, Some(user % 9_001))).unwrap());
        builder.finish(head(revision + 1), NOW).unwrap()
    };
    let error = disk.write(&huge).unwrap_err().to_string();
    assert!(error.contains("rules.copy.new\": cannot write the copy: File too large"), "{error}");
    assert!(!directory.join("rules.copy.new").exists());
    assert_holds(&disk, revision);
    disk.compact().unwrap();
    assert_eq!(disk.append(&entry(&seal(), revision + 1)).unwrap(), Appended::Done);
    assert_holds(&disk, revision + 1);
}

#[test]
fn without_room_the_old_copy_stays() {
    let directory = tempfile::tempdir().unwrap();
    // Through a pipe: what it says counts too, where it goes into a file.
    let output = child::run_with_small_files("disk::child_has_no_room", directory.path(), 32).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(load(&open(directory.path())).is_some());
}
