//! Replicas, and the line to their repository, which can be cut.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use tidegate::core::clock::{Micros, SystemClock};
use tidegate::core::limit::{Limit, LimitParts, Window};
use tidegate::core::ruleset::RuleSet;
use tidegate::core::spec::{EffectSpec, LimitSpec, RuleSpec};
use tidegate::rules::live::{Alarm, Copies, Keeper, KeeperOptions, Live, Source, State};
use tidegate::rules::repository::{
    Change, Changes, Commit, Committed, Content, Embedded, Expected, Filter, Head, Page, Record, RepositoryError,
    Revision, RuleRepository, Subject, Unreadable, Version,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub const SOON: Duration = Duration::from_secs(20);

/// A real repository behind a line that can be cut, and that can be replaced by another.
pub struct Line {
    pub behind: Mutex<Embedded>,
    cut: AtomicBool,
    /// Announcements get lost.
    deaf: bool,
}

impl Line {
    pub fn to(repository: Embedded, deaf: bool) -> Arc<Self> {
        Arc::new(Self { behind: Mutex::new(repository), cut: AtomicBool::new(false), deaf })
    }

    fn reach(&self) -> Result<Embedded, RepositoryError> {
        if self.cut.load(Ordering::SeqCst) {
            return Err(RepositoryError::Unavailable { reason: "cut".into(), retry_after: Duration::from_secs(1) });
        }
        Ok(self.behind.lock().unwrap().clone())
    }

    pub fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::SeqCst);
    }

    pub fn replace(&self, other: Embedded) {
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
pub struct Replica {
    pub live: Live,
    pub in_force: Arc<Mutex<State>>,
    /// Its clock, in seconds.
    pub now: Arc<AtomicI64>,
    tasks: Vec<JoinHandle<()>>,
}

impl Replica {
    pub fn follow(line: &Arc<Line>, poll: Duration) -> Self {
        Self::follow_with(line, poll, None)
    }

    /// With copies, which it reads and writes.
    pub fn follow_with(line: &Arc<Line>, poll: Duration, copies: Option<Copies>) -> Self {
        let now = Arc::new(AtomicI64::new(0));
        let (live, seat) = Live::new();
        let in_force = Arc::new(Mutex::new(State::default()));
        let options =
            KeeperOptions { poll, retry: Duration::from_millis(20), most_changes: 50, source: Source::Embedded };
        let (published, read) = (Arc::clone(&in_force), Arc::clone(&now));
        let clock = move || Timestamp::from_second(read.load(Ordering::SeqCst)).unwrap();
        let publish = move |state: &State| *published.lock().unwrap() = state.clone();
        let mut keeper = Keeper::new(Arc::clone(line), options, clock, seat, publish);
        let mut tasks = Vec::new();
        if let Some(copies) = copies.map(Arc::new) {
            keeper = keeper.with_copies(Arc::clone(&copies));
            tasks.push(tokio::spawn(copies.write(Arc::clone(line), live.in_force())));
        }
        tasks.push(tokio::spawn(keeper.run()));
        Self { live, in_force, now, tasks }
    }

    pub fn source(&self) -> Option<Source> {
        self.live.status().standing().source
    }

    pub async fn reaches(&self, revision: u64) {
        assert!(self.live.reaches(Revision(revision), SOON).await, "{:?}", self.live.status().standing());
    }

    pub fn amount(&self, path: &str) -> Option<u64> {
        amount(&self.in_force.lock().unwrap().rules, path)
    }

    pub fn alarm(&self) -> Option<Alarm> {
        self.live.status().standing().alarm
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

pub fn amount(rules: &RuleSet, path: &str) -> Option<u64> {
    match rules.spec("edge", &path.parse().unwrap())?.effect? {
        EffectSpec::Limits(limits) => Some(limits[0].limit.amount()),
        EffectSpec::Unlimited { .. } => None,
    }
}

pub fn effect(amount: u64) -> EffectSpec {
    let limit = Limit::new(LimitParts::fixed_window(amount, Window::Length(Micros::from_secs(60)))).unwrap();
    EffectSpec::Limits(vec![LimitSpec { limit, name: None, replaces: Vec::new() }])
}

pub fn change(path: &str, amount: Option<u64>) -> Change {
    let rule = |amount| Content::Rule(RuleSpec { effect: Some(effect(amount)), ..RuleSpec::default() });
    Change {
        subject: Subject::Rule("edge".into(), path.parse().unwrap()),
        content: amount.map(rule),
        expected: Expected::Anything,
    }
}

pub async fn commit(repository: &impl RuleRepository, changes: Vec<Change>) -> u64 {
    let commit = Commit { author: "test".into(), reason: None, base: None, changes };
    repository.commit(commit).await.unwrap().head.revision.0
}

pub fn memory() -> Embedded {
    Embedded::in_memory(SystemClock::new()).unwrap()
}

pub async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(SOON, wait).await.is_ok(), "{what} did not happen within {SOON:?}");
}

/// As good as never, so that only announcements wake a replica.
pub const NEVER: Duration = Duration::from_secs(3_600);
