//! The loop that follows a repository.
//!
//! It wakes when the repository announces a revision, when somebody who has just made a commit says so, when an
//! override ends, and now and then in case an announcement got lost. It then reads what changed, in one step, builds
//! the next rule set on a thread of its own, and hands it on. Whatever fails leaves what is in force in force. While the
//! repository does not answer, the copy in Redis is followed instead.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use super::copies::Copies;
use super::guard::{Alarm, Way, loss, way};
use super::state::State;
use super::status::{Source, Status};
use crate::rules::repository::{Changes, Head, RepositoryError, Revision, RuleRepository};

/// How a keeper works.
#[derive(Clone, Copy, Debug)]
pub struct KeeperOptions {
    /// How often the repository is asked without an announcement. More than zero.
    pub poll: Duration,
    /// How soon it is asked again while it does not answer.
    pub retry: Duration,
    /// The most changes that are taken one by one; beyond, everything is read anew.
    pub most_changes: usize,
    /// Where the repository keeps its records, for health.
    pub source: Source,
}

impl KeeperOptions {
    /// Sensible values for a repository.
    #[must_use]
    pub const fn new(source: Source) -> Self {
        Self { poll: Duration::from_secs(5), retry: Duration::from_millis(500), most_changes: 100_000, source }
    }
}

/// What others see of a keeper.
#[derive(Clone, Debug)]
pub struct Live {
    nudge: Arc<Notify>,
    applied: watch::Receiver<Option<Head>>,
    status: Arc<Status>,
}

/// The keeper's end of a [`Live`].
#[derive(Debug)]
pub struct Seat {
    nudge: Arc<Notify>,
    applied: watch::Sender<Option<Head>>,
    status: Arc<Status>,
}

impl Live {
    /// Both ends, before there is a keeper.
    #[must_use]
    pub fn new() -> (Self, Seat) {
        let (applied, seen) = watch::channel(None);
        let (nudge, status) = (Arc::new(Notify::new()), Arc::new(Status::default()));
        let live = Self { nudge: Arc::clone(&nudge), applied: seen, status: Arc::clone(&status) };
        (live, Seat { nudge, applied, status })
    }

    /// Has the repository looked at now, and waits until this revision, or a later one, is in force here; `false` when
    /// that takes longer than `patience`.
    pub async fn reaches(&self, revision: Revision, patience: Duration) -> bool {
        self.nudge.notify_one();
        let mut applied = self.applied.clone();
        let reached = applied.wait_for(|now| now.is_some_and(|now| now.revision >= revision));
        matches!(timeout(patience, reached).await, Ok(Ok(_)))
    }

    /// What is in force, as it changes.
    #[must_use]
    pub fn in_force(&self) -> watch::Receiver<Option<Head>> {
        self.applied.clone()
    }

    /// How the rules in force stand to the repository.
    #[must_use]
    pub fn status(&self) -> &Status {
        &self.status
    }
}

/// Follows a repository; see [`Keeper::run`].
pub struct Keeper<R, P> {
    repository: Arc<R>,
    copies: Option<Arc<Copies>>,
    options: KeeperOptions,
    publish: P,
    clock: Box<dyn Fn() -> Timestamp + Send + Sync>,
    state: State,
    /// What is not in force yet, as it waits for the repository to say whether it is the newest: where it is from.
    waiting: Option<Source>,
    seat: Seat,
}

/// Why a step was not taken.
#[derive(Debug, thiserror::Error)]
enum Obstacle {
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    #[error(transparent)]
    Alarm(#[from] Alarm),
    #[error("the rules could not be compiled: {0}")]
    Compile(#[from] tokio::task::JoinError),
}

impl<R, P> Keeper<R, P>
where
    R: RuleRepository + 'static,
    P: FnMut(&State) + Send,
{
    /// A keeper that hands every new state to `publish`. `clock` says when overrides end.
    pub fn new(
        repository: Arc<R>,
        options: KeeperOptions,
        clock: impl Fn() -> Timestamp + Send + Sync + 'static,
        seat: Seat,
        publish: P,
    ) -> Self {
        let (state, clock) = (State::default(), Box::new(clock));
        Self { repository, copies: None, options, publish, clock, state, waiting: None, seat }
    }

    /// With copies to start from, and to follow while the repository is away.
    #[must_use]
    pub fn with_copies(mut self, copies: Arc<Copies>) -> Self {
        self.copies = Some(copies);
        self
    }

    /// Follows the repository. Never ends; drop it to stop.
    pub async fn run(mut self) {
        let mut announced = self.repository.announced();
        let mut copied = self.copies.as_ref().and_then(|copies| copies.announced());
        self.begin().await;
        loop {
            let away = self.step().await;
            let wait = self.wait(away);
            let copy_changed = async {
                match &mut copied {
                    Some(copied) if away => copied.changed().await.is_ok(),
                    // While the repository is there, it tells more.
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                // An announcer that has ended says nothing more; polling goes on.
                Ok(()) = announced.changed() => { announced.borrow_and_update(); }
                true = copy_changed => {}
                () = self.seat.nudge.notified() => {}
                () = sleep(wait) => {}
            }
        }
    }

    /// Begins with the copy on disk. It is not in force before the repository was asked.
    async fn begin(&mut self) {
        let Some(copies) = &self.copies else { return };
        if let Some(state) = copies.on_disk((self.clock)()).await {
            self.state = state;
            self.waiting = Some(Source::Disk);
        }
    }

    /// One look at the repository; says whether it does not answer.
    async fn step(&mut self) -> bool {
        let now = (self.clock)();
        if self.state.expire(now) && self.waiting.is_none() {
            self.publish_again();
        }
        match self.sync(now).await {
            Ok(()) => {
                if self.waiting.is_some() {
                    self.put_in_force(self.options.source);
                }
                self.seat.status.in_step((self.clock)(), self.options.source);
                false
            }
            Err(Obstacle::Alarm(alarm)) => {
                if self.seat.status.alarm(&alarm) {
                    tracing::error!("{alarm}; the rules in force stay");
                }
                if let Some(source) = self.waiting {
                    self.put_in_force(source);
                }
                false
            }
            Err(obstacle) => {
                if self.seat.status.away(now, &obstacle.to_string()) {
                    tracing::warn!("{obstacle}; the rules in force stay");
                }
                self.follow_copy(now).await;
                if let Some(source) = self.waiting {
                    self.put_in_force(source);
                }
                true
            }
        }
    }

    fn wait(&self, away: bool) -> Duration {
        let usual = if away { self.options.retry } else { self.options.poll };
        let Some(end) = self.state.next_end() else { return usual };
        // Negative when it has passed meanwhile.
        let left = Duration::try_from(end.duration_since((self.clock)())).unwrap_or_default();
        left.min(usual)
    }

    async fn sync(&mut self, now: Timestamp) -> Result<(), Obstacle> {
        let Some(head) = self.state.head else { return self.read_all(now).await };
        match self.repository.changed_since(head.revision, self.options.most_changes).await? {
            Some(changes) => match way(Some(head), changes.head)? {
                Way::Same => Ok(()),
                Way::Forward => self.advance(changes, now, self.options.source).await,
                Way::Anew => self.read_all(now).await,
            },
            None => {
                way(Some(head), self.repository.head().await?)?;
                self.read_all(now).await
            }
        }
    }

    async fn advance(&mut self, changes: Changes, now: Timestamp, source: Source) -> Result<(), Obstacle> {
        let (mut next, before) = (self.state.clone(), self.state.rules.rule_count());
        let next = spawn_blocking(move || {
            for record in changes.records {
                next.apply(record, now);
            }
            next.head = Some(changes.head);
            next
        })
        .await?;
        loss(before, next.rules.rule_count(), changes.head.revision)?;
        self.take(next, source);
        Ok(())
    }

    async fn read_all(&mut self, now: Timestamp) -> Result<(), Obstacle> {
        let mut next = State::default();
        let head = self.repository.read_all(|record| next.apply(record, now)).await?;
        next.head = Some(head);
        self.take_whole(next, self.options.source)
    }

    /// Takes a state that was read as a whole.
    fn take_whole(&mut self, mut next: State, source: Source) -> Result<(), Obstacle> {
        let Some(head) = next.head else { return Ok(()) };
        // What was read may be of another revision than the one that was looked at before.
        let way = way(self.state.head, head)?;
        if way == Way::Same && self.waiting.is_none() {
            return Ok(());
        }
        next.keep_last_good(&self.state);
        if way != Way::Anew {
            loss(self.state.rules.rule_count(), next.rules.rule_count(), head.revision)?;
        }
        self.take(next, source);
        Ok(())
    }

    /// Follows the copy in Redis, as far as it leads on from what is in force. What it says is trusted no more than the
    /// repository would be.
    async fn follow_copy(&mut self, now: Timestamp) {
        let Some(copies) = self.copies.clone() else { return };
        if let Some(head) = self.state.head
            && let Some(changes) = copies.behind(head).await
        {
            if matches!(way(Some(head), changes.head), Ok(Way::Forward)) {
                let _ = self.advance(changes, now, Source::Redis).await;
            }
            return;
        }
        if let Some(state) = copies.in_redis(now).await {
            // Anything but a way forward leaves what is there.
            let _ = self.take_whole(state, Source::Redis);
        }
    }

    fn take(&mut self, state: State, source: Source) {
        self.state = state;
        self.put_in_force(source);
    }

    fn put_in_force(&mut self, source: Source) {
        self.waiting = None;
        self.seat.status.took(&self.state, source);
        self.publish_again();
    }

    fn publish_again(&mut self) {
        (self.publish)(&self.state);
        self.seat.applied.send_replace(self.state.head);
    }
}
