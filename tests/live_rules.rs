//! Replicas that follow a repository: through outages, restored, replaced and emptied databases, and crashes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use tidegate::core::clock::{Micros, SystemClock};
use tidegate::core::limit::{Limit, LimitParts, Window};
use tidegate::core::ruleset::RuleSet;
use tidegate::core::spec::{EffectSpec, LimitSpec, RuleSpec};
use tidegate::rules::live::{Alarm, Keeper, KeeperOptions, Live, Source, State};
use tidegate::rules::repository::{
    Change, Changes, Commit, Committed, Content, Embedded, Expected, Filter, Head, Override, Page, Record,
    RepositoryError, Revision, RuleRepository, Subject, Unreadable, Version,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const SOON: Duration = Duration::from_secs(20);

/// A real repository behind a line that can be cut, and that can be replaced by another.
struct Line {
    behind: Mutex<Embedded>,
    cut: AtomicBool,
    /// Announcements get lost.
    deaf: bool,
}

impl Line {
    fn to(repository: Embedded, deaf: bool) -> Arc<Self> {
        Arc::new(Self { behind: Mutex::new(repository), cut: AtomicBool::new(false), deaf })
    }

    fn reach(&self) -> Result<Embedded, RepositoryError> {
        if self.cut.load(Ordering::SeqCst) {
            return Err(RepositoryError::Unavailable { reason: "cut".into(), retry_after: Duration::from_secs(1) });
        }
        Ok(self.behind.lock().unwrap().clone())
    }

    fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::SeqCst);
    }

    fn replace(&self, other: Embedded) {
        *self.behind.lock().unwrap() = other;
    }
}

impl RuleRepository for Line {
    async fn head(&self) -> Result<Head, RepositoryError> {
        self.reach()?.head().await
    }

    async fn commit(&self, commit: Commit) -> Result<Committed, RepositoryError> {
        self.reach()?.commit(commit).await
    }

    async fn get(&self, subject: &Subject) -> Result<Option<Record>, RepositoryError> {
        self.reach()?.get(subject).await
    }

    async fn list(&self, filter: &Filter, page: Page<Subject>) -> Result<Vec<Record>, RepositoryError> {
        self.reach()?.list(filter, page).await
    }

    async fn history(&self, subject: Option<&Subject>, page: Page<Revision>) -> Result<Vec<Version>, RepositoryError> {
        self.reach()?.history(subject, page).await
    }

    async fn content_at(
        &self,
        subject: &Subject,
        revision: Revision,
    ) -> Result<Option<Result<Content, Unreadable>>, RepositoryError> {
        self.reach()?.content_at(subject, revision).await
    }

    async fn changed_since(&self, revision: Revision, most: usize) -> Result<Option<Changes>, RepositoryError> {
        self.reach()?.changed_since(revision, most).await
    }

    async fn read_all(&self, each: impl FnMut(Record) + Send) -> Result<Head, RepositoryError> {
        self.reach()?.read_all(each).await
    }

    async fn accept(&self, author: &str, reason: Option<&str>) -> Result<Head, RepositoryError> {
        self.reach()?.accept(author, reason).await
    }

    fn announced(&self) -> watch::Receiver<Revision> {
        if self.deaf { watch::channel(Revision(0)).1 } else { self.behind.lock().unwrap().announced() }
    }
}

/// A replica: a keeper in a task of its own, and what it has put in force.
struct Replica {
    live: Live,
    in_force: Arc<Mutex<State>>,
    now: Arc<AtomicI64>,
    task: JoinHandle<()>,
}

impl Replica {
    fn follow(line: &Arc<Line>, poll: Duration) -> Self {
        let now = Arc::new(AtomicI64::new(0));
        let (live, seat) = Live::new();
        let in_force = Arc::new(Mutex::new(State::default()));
        let options =
            KeeperOptions { poll, retry: Duration::from_millis(20), most_changes: 50, source: Source::Embedded };
        let (published, read) = (Arc::clone(&in_force), Arc::clone(&now));
        let clock = move || Timestamp::from_second(read.load(Ordering::SeqCst)).unwrap();
        let publish = move |state: &State| *published.lock().unwrap() = state.clone();
        let keeper = Keeper::new(Arc::clone(line), options, clock, seat, publish);
        Self { live, in_force, now, task: tokio::spawn(keeper.run()) }
    }

    async fn reaches(&self, revision: u64) {
        assert!(self.live.reaches(Revision(revision), SOON).await, "{:?}", self.live.status().standing());
    }

    fn amount(&self, path: &str) -> Option<u64> {
        amount(&self.in_force.lock().unwrap().rules, path)
    }

    fn alarm(&self) -> Option<Alarm> {
        self.live.status().standing().alarm
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn amount(rules: &RuleSet, path: &str) -> Option<u64> {
    match rules.spec("edge", &path.parse().unwrap())?.effect? {
        EffectSpec::Limits(limits) => Some(limits[0].limit.amount()),
        EffectSpec::Unlimited { .. } => None,
    }
}

fn effect(amount: u64) -> EffectSpec {
    let limit = Limit::new(LimitParts::fixed_window(amount, Window::Length(Micros::from_secs(60)))).unwrap();
    EffectSpec::Limits(vec![LimitSpec { limit, name: None, replaces: Vec::new() }])
}

fn change(path: &str, amount: Option<u64>) -> Change {
    let rule = |amount| Content::Rule(RuleSpec { effect: Some(effect(amount)), ..RuleSpec::default() });
    Change {
        subject: Subject::Rule("edge".into(), path.parse().unwrap()),
        content: amount.map(rule),
        expected: Expected::Anything,
    }
}

async fn commit(repository: &impl RuleRepository, changes: Vec<Change>) -> u64 {
    let commit = Commit { author: "test".into(), reason: None, base: None, changes };
    repository.commit(commit).await.unwrap().head.revision.0
}

fn memory() -> Embedded {
    Embedded::in_memory(SystemClock::new()).unwrap()
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(SOON, wait).await.is_ok(), "{what} did not happen within {SOON:?}");
}

/// As good as never, so that only announcements wake a replica.
const NEVER: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn a_commit_is_in_force_without_anybody_asking() {
    let line = Line::to(memory(), false);
    let replicas: Vec<_> = (0..3).map(|_| Replica::follow(&line, NEVER)).collect();
    for amount in 1..=20 {
        commit(&*line, vec![change("user_id=1", Some(amount))]).await;
        for replica in &replicas {
            eventually("the announced change", || replica.amount("user_id=1") == Some(amount)).await;
        }
    }
}

#[tokio::test]
async fn a_lost_announcement_is_made_up_for() {
    let line = Line::to(memory(), true);
    let replica = Replica::follow(&line, Duration::from_millis(10));
    commit(&*line, vec![change("user_id=1", Some(1))]).await;
    eventually("the change that nobody announced", || replica.amount("user_id=1") == Some(1)).await;
}

#[tokio::test]
async fn rules_stay_while_the_repository_is_away_and_follow_when_it_is_back() {
    let line = Line::to(memory(), false);
    let replica = Replica::follow(&line, Duration::from_millis(10));
    replica.reaches(commit(&*line, vec![change("a", Some(1))]).await).await;
    line.cut(true);
    let behind = line.behind.lock().unwrap().clone();
    let revision = commit(&behind, vec![change("a", Some(2))]).await;
    eventually("the outage is seen", || replica.live.status().standing().away.is_some()).await;
    assert_eq!(replica.amount("a"), Some(1));
    line.cut(false);
    replica.reaches(revision).await;
    assert_eq!(replica.amount("a"), Some(2));
    eventually("all is well", || replica.live.status().standing().away.is_none()).await;
}

#[tokio::test]
async fn more_changes_than_are_taken_one_by_one_are_read_anew() {
    let line = Line::to(memory(), false);
    let replica = Replica::follow(&line, NEVER);
    replica.reaches(commit(&*line, vec![change("a", Some(1))]).await).await;
    line.cut(true);
    let behind = line.behind.lock().unwrap().clone();
    let many = (0..200).map(|n| change(&format!("user_id={n}"), Some(n + 1))).collect();
    let revision = commit(&behind, many).await;
    line.cut(false);
    replica.reaches(revision).await;
    assert_eq!(replica.in_force.lock().unwrap().rules.rule_count(), 201);
    assert_eq!(replica.amount("user_id=199"), Some(200));
}

#[tokio::test]
async fn a_replaced_database_waits_for_an_operator() {
    let line = Line::to(memory(), true);
    let replica = Replica::follow(&line, Duration::from_millis(10));
    replica.reaches(commit(&*line, vec![change("a", Some(1))]).await).await;
    let other = memory();
    for amount in 2..9 {
        commit(&other, vec![change("a", Some(amount))]).await;
    }
    line.replace(other.clone());
    eventually("the alarm", || matches!(replica.alarm(), Some(Alarm::OtherEpoch { .. }))).await;
    assert_eq!(replica.amount("a"), Some(1));
    let head = other.accept("operator", Some("moved")).await.unwrap();
    replica.reaches(head.revision.0).await;
    assert_eq!((replica.amount("a"), replica.alarm()), (Some(8), None));
}

#[tokio::test]
async fn a_restored_database_waits_for_an_operator() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let open = |name| Embedded::open(at(name), SystemClock::new());
    let first = open("now.redb").await.unwrap();
    commit(&first, vec![change("a", Some(1))]).await;
    drop(first);
    std::fs::copy(at("now.redb"), at("backup.redb")).unwrap();
    let line = Line::to(open("now.redb").await.unwrap(), true);
    let replica = Replica::follow(&line, Duration::from_millis(10));
    commit(&*line, vec![change("a", Some(2))]).await;
    replica.reaches(commit(&*line, vec![change("a", Some(3))]).await).await;

    let backup = open("backup.redb").await.unwrap();
    line.replace(backup.clone());
    eventually("the alarm", || matches!(replica.alarm(), Some(Alarm::LowerRevision { .. }))).await;
    assert_eq!(replica.amount("a"), Some(3));
    backup.accept("operator", None).await.unwrap();
    eventually("the backup is in force", || replica.amount("a") == Some(1)).await;
    eventually("the alarm ends", || replica.alarm().is_none()).await;
}

#[tokio::test]
async fn an_emptied_database_switches_nothing_off_by_itself() {
    let line = Line::to(memory(), false);
    let replica = Replica::follow(&line, Duration::from_millis(10));
    let names: Vec<String> = (0..30).map(|n| format!("user_id={n}")).collect();
    replica.reaches(commit(&*line, names.iter().map(|name| change(name, Some(5))).collect()).await).await;
    let emptied = commit(&*line, names.iter().map(|name| change(name, None)).collect()).await;
    eventually("the alarm", || matches!(replica.alarm(), Some(Alarm::Loss { lost: 30, before: 30, .. }))).await;
    // What happens on top of it does not sneak it in.
    commit(&*line, vec![change("other", Some(1))]).await;
    assert!(!replica.live.reaches(Revision(emptied), Duration::from_millis(100)).await);
    assert_eq!(replica.amount("user_id=7"), Some(5));
    let head = line.accept("operator", None).await.unwrap();
    replica.reaches(head.revision.0).await;
    assert_eq!((replica.amount("user_id=7"), replica.amount("other")), (None, Some(1)));
}

#[tokio::test]
async fn an_override_ends_although_the_repository_is_away() {
    let line = Line::to(memory(), false);
    let replica = Replica::follow(&line, Duration::from_millis(10));
    commit(&*line, vec![change("a", Some(1))]).await;
    let subject = Subject::Override("edge".into(), "a".parse().unwrap());
    let until = Timestamp::from_second(100).unwrap();
    let content = Some(Content::Override(Override { effect: effect(50), until }));
    replica.reaches(commit(&*line, vec![Change { subject, content, expected: Expected::Absent }]).await).await;
    assert_eq!(replica.amount("a"), Some(50));
    line.cut(true);
    eventually("the outage is seen", || replica.live.status().standing().away.is_some()).await;
    assert_eq!(replica.amount("a"), Some(50));
    replica.now.store(100, Ordering::SeqCst);
    eventually("the override ends", || replica.amount("a") == Some(1)).await;
}

/// Whatever happens in whatever order, each replica always has the rules of a revision that was, never goes back, and
/// in the end all have the newest.
#[test]
fn replicas_are_at_a_revision_that_was_and_meet() {
    for seed in 0..12 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(story(seed));
    }
}

const PATHS: [&str; 4] = ["a", "b=1", "b=2", "b=*"];

type Amounts = BTreeMap<&'static str, u64>;

async fn story(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let line = Line::to(memory(), seed % 3 == 0);
    let behind = line.behind.lock().unwrap().clone();
    let poll = Duration::from_millis(3);
    let mut replicas: Vec<_> = (0..3).map(|_| (Replica::follow(&line, poll), 0)).collect();
    let mut history: Vec<Amounts> = vec![Amounts::new()];
    for _ in 0..120 {
        match random.u8(0..10) {
            0..5 => {
                let mut next = history.last().unwrap().clone();
                let mut changes = Vec::new();
                for path in PATHS {
                    if random.bool() {
                        let amount = random.bool().then(|| random.u64(1..1_000));
                        match amount {
                            Some(amount) => next.insert(path, amount),
                            None => next.remove(path),
                        };
                        changes.push(change(path, amount));
                    }
                }
                note(&mut history, next, commit(&behind, changes).await);
            }
            5 => {
                // Back to what some revision had.
                let then = history[random.usize(0..history.len())].clone();
                let changes = PATHS.iter().map(|path| change(path, then.get(path).copied())).collect();
                note(&mut history, then, commit(&behind, changes).await);
            }
            6 => line.cut(random.bool()),
            7 => {
                // A crash at whatever point it is at, and a new start.
                let crashed = random.usize(0..replicas.len());
                replicas[crashed] = (Replica::follow(&line, poll), 0);
            }
            _ => tokio::time::sleep(Duration::from_millis(random.u64(0..4))).await,
        }
        for (replica, seen) in &mut replicas {
            check(replica, seen, &history, seed);
        }
    }
    line.cut(false);
    for (replica, seen) in &mut replicas {
        replica.reaches(history.len() as u64 - 1).await;
        check(replica, seen, &history, seed);
        assert_eq!(*seen, history.len() as u64 - 1, "seed {seed}");
    }
}

/// A commit that changed nothing has no revision.
fn note(history: &mut Vec<Amounts>, next: Amounts, revision: u64) {
    if revision as usize == history.len() {
        history.push(next);
    }
}

fn check(replica: &Replica, seen: &mut u64, history: &[Amounts], seed: u64) {
    let state = replica.in_force.lock().unwrap().clone();
    let Some(head) = state.head else { return };
    let there: Amounts = PATHS.iter().filter_map(|path| Some((*path, amount(&state.rules, path)?))).collect();
    assert_eq!(there, history[head.revision.0 as usize], "seed {seed}, revision {}", head.revision);
    assert!(head.revision.0 >= *seen, "seed {seed}: back from {seen} to {}", head.revision);
    *seen = head.revision.0;
}
