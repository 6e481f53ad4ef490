//! Rules are read again when their files change: whole, once, and only when they can be used.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tidegate::core::descriptor::Entry;
use tidegate::rules::files::{Loaded, RuntimeRoot, Sources, load};
use tidegate::rules::report::Report;
use tidegate::rules::watch::{Options, Status, Watcher, watch};

/// Longer than any machine takes; only a test that fails waits for it.
const DEADLINE: Duration = Duration::from_secs(30);

const OPTIONS: Options = Options {
    quiet: Duration::from_millis(100),
    patience: Duration::from_secs(20),
    // So slow that whatever is seen was seen by events.
    poll: Duration::from_secs(3_600),
};

/// A file with one rule of so many requests.
fn rules(amount: u64) -> String {
    format!(
        "domain: edge\ndescriptors:\n  - key: user\n    rate_limit: {{ unit: second, requests_per_unit: {amount} }}\n"
    )
}

/// How many requests the one rule allows.
fn amount(loaded: &Loaded) -> u64 {
    let domain = loaded.rules.domain(b"edge").unwrap();
    domain.find(&[Entry::new("user", "x")]).unwrap().limits()[0].limit.amount()
}

struct Watched {
    loads: Receiver<Result<Loaded, Report>>,
    status: Arc<Status>,
    watcher: Watcher,
}

impl Watched {
    fn new(sources: &Sources, options: Options) -> Self {
        let initial = load(sources).unwrap();
        let status = Arc::new(Status::default());
        let (sender, loads) = channel();
        let then = move |result| {
            // A test that has ended no longer listens.
            let _ = sender.send(result);
        };
        let watcher = watch(sources.clone(), options, Some(&initial), Arc::clone(&status), then).unwrap();
        Self { loads, status, watcher }
    }

    fn next(&self) -> Result<Loaded, Report> {
        self.loads.recv_timeout(DEADLINE).expect("a change was not noticed")
    }

    fn next_amount(&self) -> u64 {
        amount(&self.next().unwrap())
    }

    /// Waits for a load with that amount. One that is seen on the way is a state in which the files truly were.
    fn until_amount(&self, expected: u64) {
        while self.next_amount() != expected {}
    }
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

/// A directory with one rule file in it.
fn directory() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("edge.yaml"), rules(1)).unwrap();
    directory
}

#[test]
fn a_file_edited_in_place() {
    let directory = directory();
    let file = directory.path().join("edge.yaml");
    let watched = Watched::new(&Sources::paths([&file]), OPTIONS);
    fs::write(&file, rules(2)).unwrap();
    assert_eq!(watched.next_amount(), 2);
    fs::write(&file, rules(3)).unwrap();
    assert_eq!(watched.next_amount(), 3);
    assert_eq!((watched.status.successes(), watched.status.failures()), (2, 0));
}

#[test]
fn a_file_replaced_by_a_rename() {
    let directory = directory();
    let file = directory.path().join("edge.yaml");
    let watched = Watched::new(&Sources::paths([&file]), OPTIONS);
    for round in 2..5 {
        let new = directory.path().join("new");
        fs::write(&new, rules(round)).unwrap();
        fs::rename(&new, &file).unwrap();
        watched.until_amount(round);
    }
}

#[test]
fn files_added_and_removed_also_in_new_directories() {
    let directory = directory();
    let watched = Watched::new(&Sources::paths([directory.path()]), OPTIONS);
    let below = directory.path().join("teams/a");
    fs::create_dir_all(&below).unwrap();
    fs::write(below.join("other.yaml"), "domain: other\n").unwrap();
    while watched.next().unwrap().rules.domain(b"other").is_none() {}
    // The new directory is watched in its turn.
    fs::write(below.join("third.yaml"), "domain: third\n").unwrap();
    while watched.next().unwrap().rules.domain(b"third").is_none() {}
    fs::remove_dir_all(directory.path().join("teams")).unwrap();
    while watched.next().unwrap().rules.domains().count() > 1 {}
}

#[test]
fn a_directory_deleted_and_created_again() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("rules");
    let create = |amount| {
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("edge.yaml"), rules(amount)).unwrap();
    };
    create(1);
    let watched = Watched::new(&Sources::paths([&directory]), OPTIONS);
    for round in 2..5 {
        fs::remove_dir_all(&directory).unwrap();
        assert!(watched.next().is_err(), "no rules at all were taken for rules");
        create(round);
        while watched.next().map_or(0, |loaded| amount(&loaded)) != round {}
        // In the new directory, too, an edit is noticed.
        fs::write(directory.join("edge.yaml"), rules(100 + round)).unwrap();
        watched.until_amount(100 + round);
    }
}

#[test]
fn a_directory_swapped_for_another() {
    let parent = tempfile::tempdir().unwrap();
    for (name, amount) in [("rules", 1), ("next", 2)] {
        fs::create_dir(parent.path().join(name)).unwrap();
        fs::write(parent.path().join(name).join("edge.yaml"), rules(amount)).unwrap();
    }
    let directory = parent.path().join("rules");
    let watched = Watched::new(&Sources::paths([&directory]), OPTIONS);
    fs::rename(&directory, parent.path().join("old")).unwrap();
    fs::rename(parent.path().join("next"), &directory).unwrap();
    while watched.next().map_or(0, |loaded| amount(&loaded)) != 2 {}
    fs::write(directory.join("edge.yaml"), rules(3)).unwrap();
    watched.until_amount(3);
}

/// Writes a version of a mounted ConfigMap as the kubelet does: a new directory, then `..data` is pointed at it.
fn write_config_map(mount: &Path, version: u64) {
    let directory = format!("..2024_05_01_{version}");
    fs::create_dir(mount.join(&directory)).unwrap();
    fs::write(mount.join(&directory).join("edge.yaml"), rules(version)).unwrap();
    symlink(&directory, mount.join("..data_tmp")).unwrap();
    let before = fs::read_link(mount.join("..data"));
    fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
    if let Ok(before) = before {
        fs::remove_dir_all(mount.join(before)).unwrap();
    }
}

#[test]
fn a_config_map_as_a_directory_and_as_a_file() {
    let mount = tempfile::tempdir().unwrap();
    write_config_map(mount.path(), 1);
    symlink("..data/edge.yaml", mount.path().join("edge.yaml")).unwrap();
    for path in [mount.path().to_owned(), mount.path().join("edge.yaml")] {
        let base = amount(&load(&Sources::paths([&path])).unwrap());
        let watched = Watched::new(&Sources::paths([&path]), OPTIONS);
        for version in base + 1..base + 4 {
            write_config_map(mount.path(), version);
            watched.until_amount(version);
        }
    }
}

/// `root/v1` and `root/v2` with rules of 1 and 2, and `root/current` pointing at the first.
fn runtime(watch_root: bool) -> (TempDir, Sources) {
    let base = tempfile::tempdir().unwrap();
    for version in 1..=2 {
        let config = base.path().join(format!("v{version}/ratelimit/config"));
        fs::create_dir_all(&config).unwrap();
        fs::write(config.join("edge.yaml"), rules(version)).unwrap();
    }
    symlink("v1", base.path().join("current")).unwrap();
    let root = RuntimeRoot {
        root: base.path().join("current"),
        subdirectory: "ratelimit".into(),
        app_directory: "config".into(),
        watch_root,
    };
    (base, Sources::runtime(root))
}

fn point_at(base: &Path, target: &str) {
    symlink(target, base.join("next")).unwrap();
    fs::rename(base.join("next"), base.join("current")).unwrap();
}

#[test]
fn a_runtime_root_pointed_elsewhere() {
    let (base, sources) = runtime(true);
    let watched = Watched::new(&sources, Options { poll: Duration::from_millis(20), ..OPTIONS });
    // Somebody slower, who does look at the files: by then, the other has had its time.
    let files = Sources::paths([base.path().join("v1/ratelimit/config")]);
    let witness = Watched::new(&files, Options { quiet: 5 * OPTIONS.quiet, ..OPTIONS });
    // Only the link counts: this is being prepared, half of it is missing, and it is not looked at.
    fs::write(base.path().join("v1/ratelimit/config/edge.yaml"), "domain: [").unwrap();
    assert!(witness.next().is_err());
    point_at(base.path(), "v2");
    assert_eq!(watched.next_amount(), 2);
    fs::write(base.path().join("v1/ratelimit/config/edge.yaml"), rules(3)).unwrap();
    point_at(base.path(), "v1");
    assert_eq!(watched.next_amount(), 3);
    assert_eq!((watched.status.successes(), watched.status.failures()), (2, 0));
}

#[test]
fn a_runtime_root_edited_in_place() {
    let (base, sources) = runtime(false);
    let watched = Watched::new(&sources, OPTIONS);
    fs::write(base.path().join("v1/ratelimit/config/edge.yaml"), rules(7)).unwrap();
    assert_eq!(watched.next_amount(), 7);
    point_at(base.path(), "v2");
    assert_eq!(watched.next_amount(), 2);
    fs::write(base.path().join("v2/ratelimit/config/edge.yaml"), rules(8)).unwrap();
    assert_eq!(watched.next_amount(), 8);
}

#[test]
fn a_half_written_file_is_not_read() {
    let directory = directory();
    let file = directory.path().join("edge.yaml");
    let watched = Watched::new(&Sources::paths([directory.path()]), OPTIONS);
    // The first half is a valid file of its own: only its writer knows that more is to come.
    let mut writer = File::create(&file).unwrap();
    writer.write_all(rules(2).as_bytes()).unwrap();
    wait_until("the writer was not noticed", || watched.status.waiting_for().is_some());
    assert_eq!(watched.status.waiting_for().unwrap().file_name(), file.file_name());
    // Not even when another file is changed beside it.
    fs::write(directory.path().join("other.yaml"), "domain: other\n").unwrap();
    writer.write_all(b"  - key: agent\n    rate_limit: { unit: second, requests_per_unit: 9 }\n").unwrap();
    assert_eq!((watched.status.successes(), watched.status.failures()), (0, 0));
    drop(writer);
    let loaded = watched.next().unwrap();
    assert_eq!(loaded.rules.domain(b"edge").unwrap().rule_count(), 2);
    assert_eq!(watched.status.waiting_for(), None);
    assert_eq!((watched.status.successes(), watched.status.failures()), (1, 0));
}

#[test]
fn a_new_file_is_not_read_before_it_is_closed() {
    let directory = directory();
    let watched = Watched::new(&Sources::paths([directory.path()]), OPTIONS);
    // Created, and still empty, which would be a mistake.
    let mut writer = OpenOptions::new().write(true).create_new(true).open(directory.path().join("new.yaml")).unwrap();
    wait_until("the writer was not noticed", || watched.status.waiting_for().is_some());
    writer.write_all(b"domain: new\n").unwrap();
    drop(writer);
    assert!(watched.next().unwrap().rules.domain(b"new").is_some());
    assert_eq!(watched.status.failures(), 0);
}

#[test]
fn a_bad_set_is_reported_and_a_later_good_one_is_taken() {
    let directory = directory();
    let file = directory.path().join("edge.yaml");
    let watched = Watched::new(&Sources::paths([&file]), OPTIONS);
    fs::write(&file, rules(2).replace("rate_limit", "ratelimit")).unwrap();
    let report = watched.next().unwrap_err();
    assert_eq!(report.diagnostics[0].message, "unknown key 'ratelimit'");
    let (_, failure) = watched.status.failure().unwrap();
    assert_eq!(*failure, report);
    assert_eq!((watched.status.successes(), watched.status.failures()), (0, 1));
    assert!(watched.status.last_success().is_none());

    fs::write(&file, rules(3)).unwrap();
    assert_eq!(watched.next_amount(), 3);
    assert!(watched.status.failure().is_none() && watched.status.last_success().is_some());
    assert_eq!((watched.status.successes(), watched.status.failures()), (1, 1));
}

#[test]
fn a_burst_of_changes_is_one_load() {
    let directory = directory();
    let quiet = Duration::from_secs(1);
    let watched = Watched::new(&Sources::paths([directory.path()]), Options { quiet, ..OPTIONS });
    for round in 0..100 {
        fs::write(directory.path().join("edge.yaml"), rules(round)).unwrap();
        fs::write(directory.path().join(format!("{round}.yaml")), format!("domain: d{round}\n")).unwrap();
    }
    let loaded = watched.next().unwrap();
    assert_eq!((amount(&loaded), loaded.files.len()), (99, 101));
    fs::write(directory.path().join("edge.yaml"), rules(1_000)).unwrap();
    assert_eq!(watched.next_amount(), 1_000);
    assert_eq!(watched.status.successes(), 2, "one for the burst, one for the change after it");
}

#[test]
fn the_poll_finds_what_events_do_not_tell() {
    let (directory, elsewhere) = (directory(), tempfile::tempdir().unwrap());
    let (file, link) = (directory.path().join("edge.yaml"), elsewhere.path().join("same"));
    fs::hard_link(&file, &link).unwrap();
    let watched = Watched::new(&Sources::paths([&file]), Options { poll: Duration::from_millis(20), ..OPTIONS });
    // The watched directory hears nothing of a file that is changed by its name in another one.
    fs::write(&link, rules(2)).unwrap();
    watched.until_amount(2);
}

#[test]
fn without_a_first_load_the_files_are_read_at_once() {
    let directory = directory();
    let (sender, loads) = channel();
    let then = move |result| sender.send(result).unwrap();
    let sources = Sources::paths([directory.path()]);
    let watcher = watch(sources, OPTIONS, None, Arc::default(), then).unwrap();
    assert_eq!(amount(&loads.recv_timeout(DEADLINE).unwrap().unwrap()), 1);
    watcher.stop();
    assert!(loads.recv_timeout(DEADLINE).is_err(), "the callback outlived the watcher");
}

#[test]
fn after_stop_nothing_is_read() {
    let directory = directory();
    let watched = Watched::new(&Sources::paths([directory.path()]), OPTIONS);
    watched.watcher.stop();
    fs::write(directory.path().join("edge.yaml"), rules(2)).unwrap();
    // The callback, and with it the sender, is gone.
    assert!(watched.loads.recv().is_err());
    assert_eq!(watched.status.successes(), 0);
}
