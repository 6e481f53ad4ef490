//! The lists of external authorization: read whole, followed, and never replaced by lists with mistakes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod process;

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use process::{Server, get, tidegate};
use tempfile::TempDir;
use tidegate::authz::lists::{ListKind, Lists, Subject, Verdict};
use tidegate::config::ext_authz::{ExtAuthz, List, Lists as Settings};
use tidegate::rules::watch::{Options, Watcher};
use tidegate::server::lists::{ListsHandle, open};

/// Longer than any machine takes; only a test that fails waits for it.
const DEADLINE: Duration = Duration::from_secs(30);
const NOW: u64 = 1_900_000_000;

const OPTIONS: Options = Options {
    quiet: Duration::from_millis(50),
    patience: Duration::from_secs(20),
    // So slow that whatever is seen was seen by events.
    poll: Duration::from_secs(3_600),
};

struct Followed {
    lists: Arc<ListsHandle>,
    directory: TempDir,
    _watcher: Watcher,
}

impl Followed {
    /// A deny list of one file, `deny.txt`.
    fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("deny.txt");
        fs::write(&file, text).unwrap();
        Self::of(directory, file)
    }

    fn of(directory: TempDir, file: PathBuf) -> Self {
        let (lists, watcher) = open(&settings(vec![file], vec![]), OPTIONS).unwrap();
        Self { lists, directory, _watcher: watcher.unwrap() }
    }

    /// Puts a new file in the old one's place, as an editor does.
    fn replace(&self, text: &str) {
        let new = self.directory.path().join("new");
        fs::write(&new, text).unwrap();
        fs::rename(&new, self.directory.path().join("deny.txt")).unwrap();
    }

    fn denies(&self, address: &str) -> bool {
        denies(&self.lists.load(), address)
    }
}

fn settings(deny: Vec<PathBuf>, allow: Vec<PathBuf>) -> ExtAuthz {
    let list = |files| List { files, ..List::default() };
    ExtAuthz { lists: Settings { deny: list(deny), allow: list(allow) }, ..ExtAuthz::default() }
}

fn denies(lists: &Lists, address: &str) -> bool {
    let subject = Subject { address: Some(address.parse().unwrap()), user: None, path: b"/" };
    matches!(lists.verdict(&subject, NOW), Verdict::Denied(_))
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        thread::yield_now();
    }
}

/// So many networks, and one that tells the round before and after them.
fn many(count: u32, round: u8) -> String {
    let mut text = format!("192.0.2.{round}\n");
    for n in 0..count {
        writeln!(text, "{}/28", std::net::Ipv4Addr::from_bits((10 << 24) + (n << 4))).unwrap();
    }
    writeln!(text, "2001:db8::{round:x}").unwrap();
    text
}

#[test]
fn lookups_go_on_while_a_hundred_thousand_entries_are_read_again() {
    const COUNT: u32 = 100_000;
    const ROUNDS: u8 = 2;
    let followed = Followed::new(&many(COUNT, 0));
    let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU8::new(0)));
    let (lists, ended, last) = (Arc::clone(&followed.lists), Arc::clone(&stop), Arc::clone(&seen));
    let asking = thread::spawn(move || {
        let mut lookups = 0_u64;
        while !ended.load(Ordering::Relaxed) {
            let lists = lists.load();
            assert_eq!(lists.len(ListKind::Deny), COUNT as usize + 2);
            assert!(denies(&lists, "10.0.0.1") && denies(&lists, "10.12.52.15") && denies(&lists, "10.24.105.255"));
            assert!(!denies(&lists, "10.24.106.0"));
            // The first and the last line are of one round, and rounds do not come back.
            let of_round = |round: &u8| denies(&lists, &format!("192.0.2.{round}"));
            let rounds: Vec<u8> = (0..=ROUNDS).filter(of_round).collect();
            assert_eq!(rounds.len(), 1);
            assert!(denies(&lists, &format!("2001:db8::{:x}", rounds[0])));
            assert!(last.swap(rounds[0], Ordering::Relaxed) <= rounds[0]);
            lookups += 1;
        }
        lookups
    });
    for round in 1..=ROUNDS {
        followed.replace(&many(COUNT, round));
        let asked = || seen.load(Ordering::Relaxed) == round || asking.is_finished();
        wait_until("the change is in force for the one who asks", asked);
    }
    stop.store(true, Ordering::Relaxed);
    assert!(asking.join().unwrap() > u64::from(ROUNDS));
    let status = followed.lists.status();
    assert_eq!((status.successes(), status.failures()), (u64::from(ROUNDS) + 1, 0));
}

#[test]
fn a_file_with_a_mistake_leaves_the_lists_as_they_are() {
    let followed = Followed::new("192.0.2.1\n");
    followed.replace("192.0.2.2\n10.0.0.1/8 # an office\n");
    wait_until("the mistake is told", || followed.lists.status().failures() == 1);
    assert!(followed.denies("192.0.2.1") && !followed.denies("192.0.2.2"));
    let (_, report) = followed.lists.status().failure().unwrap();
    let told = report.to_string();
    let file = followed.directory.path().join("deny.txt");
    assert_eq!(
        told,
        format!(
            "{}:2: error: '10.0.0.1/8' is no network: its address has bits beyond the prefix\n  2 | 10.0.0.1/8 # an office\n  \
             help: write 10.0.0.0/8 for the network, or 10.0.0.1 for the one address\n1 error, 0 warnings",
            file.display()
        )
    );
    fs::remove_file(&file).unwrap();
    wait_until("the loss of the file is told", || followed.lists.status().failures() == 2);
    assert!(followed.denies("192.0.2.1"));
    followed.replace("192.0.2.3\n");
    wait_until("the next change is in force", || followed.denies("192.0.2.3"));
    assert!(!followed.denies("192.0.2.1"));
    assert!(followed.lists.status().failure().is_none());
}

#[test]
fn a_mounted_config_map_is_followed() {
    let directory = tempfile::tempdir().unwrap();
    let version = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::create_dir(&path).unwrap();
        fs::write(path.join("deny.txt"), text).unwrap();
    };
    let point_to = |name: &str| {
        let new = directory.path().join("..data_tmp");
        symlink(name, &new).unwrap();
        fs::rename(&new, directory.path().join("..data")).unwrap();
    };
    version("..1", "192.0.2.1");
    point_to("..1");
    let file = directory.path().join("deny.txt");
    symlink("..data/deny.txt", &file).unwrap();
    let (lists, _watcher) = open(&settings(vec![file], vec![]), OPTIONS).unwrap();
    assert!(denies(&lists.load(), "192.0.2.1"));
    version("..2", "192.0.2.2");
    point_to("..2");
    fs::remove_dir_all(directory.path().join("..1")).unwrap();
    wait_until("the new version is in force", || denies(&lists.load(), "192.0.2.2"));
    assert!(!denies(&lists.load(), "192.0.2.1"));
    assert_eq!(lists.status().failures(), 0);
}

#[test]
fn settings_and_files_are_one_list_and_every_mistake_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let text = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let deny = List {
        networks: text(&["203.0.113.0/24"]),
        users: text(&["eve until # noon"]),
        paths: text(&["/Admin/{*rest}"]),
        files: vec![file("deny", "user:mallory\n")],
    };
    let allow = List { files: vec![file("allow", "203.0.113.7\n"), file("more", "")], ..List::default() };
    let mut good = ExtAuthz { lists: Settings { deny, allow }, ..ExtAuthz::default() };
    good.paths.ignore_case = true;
    good.user = Some("principal".to_owned());
    let (lists, watcher) = open(&good, OPTIONS).unwrap();
    let lists = lists.load();
    assert!(watcher.is_some());
    assert_eq!((lists.len(ListKind::Deny), lists.len(ListKind::Allow)), (4, 1));
    assert!(denies(&lists, "203.0.113.8") && !denies(&lists, "203.0.113.7"));
    let subject = Subject { address: None, user: Some(b"eve until # noon"), path: b"/" };
    assert_eq!(lists.verdict(&subject, NOW), Verdict::Denied("user:eve until # noon"));
    let subject = Subject { address: None, user: None, path: b"/admin/x" };
    assert_eq!(lists.verdict(&subject, NOW), Verdict::Denied("path:/Admin/{*rest}"));

    let mut bad = good.clone();
    bad.user = None;
    bad.lists.deny.networks = text(&["203.0.113.0/24", "203.0.113.1/24"]);
    bad.lists.deny.users = text(&[""]);
    bad.lists.deny.paths = text(&["/a", "b"]);
    bad.lists.deny.files.push(file("typing", "usr:eve\n\nuser:\n"));
    bad.lists.allow.files = vec![directory.path().join("none"), directory.path().to_owned()];
    bad.lists.allow.files.push(bad.lists.deny.files[0].clone());
    let told = open(&bad, OPTIONS).unwrap_err().to_string();
    for expected in [
        "ext_authz.lists.deny.networks[1]: '203.0.113.1/24' is no network",
        "ext_authz.lists.deny.users[0]: a user's name has",
        "ext_authz.lists.deny.paths[1]: \"b\" must start with '/'",
        "typing:1: error: 'usr:eve' is no network",
        "typing:3: error: a user's name has",
        "none: error: cannot read it",
        "error: this is a directory, not a file",
        "deny: error: this file was read already",
        "error: users are listed, and nobody says which value is the user\n  help: set ext_authz.user",
        "9 errors, 0 warnings",
    ] {
        assert!(told.contains(expected), "{expected} is not in:\n{told}");
    }
}

#[test]
fn without_files_nothing_is_followed() {
    let (lists, watcher) = open(&ExtAuthz::default(), OPTIONS).unwrap();
    assert!(lists.load().is_empty() && watcher.is_none());
    let mut settings = ExtAuthz::default();
    settings.lists.allow.networks = vec!["::1".to_owned()];
    let (lists, watcher) = open(&settings, OPTIONS).unwrap();
    assert_eq!(lists.load().len(ListKind::Allow), 1);
    assert!(watcher.is_none());
}

const RULES: &str = "domain: edge\ndescriptors: [{ key: user_id, rate_limit: { unlimited: true } }]\n";

/// Settings with this file as the deny list.
fn write_settings(directory: &Path, file: &Path) -> String {
    let path = directory.join("tidegate.yaml");
    fs::write(&path, format!("ext_authz: {{ lists: {{ deny: {{ files: [\"{}\"] }} }} }}\n", file.display())).unwrap();
    path.display().to_string()
}

#[test]
fn the_server_tells_of_its_lists() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("deny");
    fs::write(&file, "192.0.2.1\npath:/x\n").unwrap();
    let config = write_settings(directory.path(), &file);
    let server = Server::start_with(RULES, &["--config", &config], &[]);
    let told = || get(server.http, "/readyz?verbose").json()["lists"].clone();
    let expected = serde_json::json!({ "deny": 2, "allow": 0, "loads": 1, "failed_loads": 0, "outdated": false });
    assert_eq!(told(), expected);
    fs::write(&file, "192.0.2.1\nuser\n").unwrap();
    wait_until("the mistake is told", || told()["outdated"] == true);
    let metrics = get(server.admin, "/metrics").body;
    for line in [
        "tidegate_list_entries{list=\"deny\"} 2.0",
        "tidegate_list_entries{list=\"allow\"} 0.0",
        "tidegate_list_reloads_total{outcome=\"success\"} 1",
        "tidegate_list_reloads_total{outcome=\"error\"} 1",
    ] {
        assert!(metrics.lines().any(|told| told == line), "{line} is not in {metrics}");
    }
    assert_eq!(told()["deny"], 2);
}

#[test]
fn the_server_does_not_start_with_mistaken_lists() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("deny");
    fs::write(&file, "192.0.2.1/24\nuser\n").unwrap();
    let config = write_settings(directory.path(), &file);
    let rules = directory.path().join("rules.yaml");
    fs::write(&rules, RULES).unwrap();
    let output = tidegate()
        .args(["serve", "--config", &config, "--rules", rules.to_str().unwrap()])
        .args(["--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0", "--admin-address", "127.0.0.1:0"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let told = String::from_utf8_lossy(&output.stderr);
    for expected in
        ["the lists of ext_authz do not load", ":1: error: '192.0.2.1/24' is no network", ":2: error: 'user'"]
    {
        assert!(told.contains(expected), "{expected} is not in:\n{told}");
    }
}
