//! Rules from a repository: Postgres where the settings name one, else an embedded one.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::runtime::Handle;

use super::{publish, wait_for};
use crate::config::Config;
use crate::core::clock::SystemClock;
use crate::redis::connect::Connector;
use crate::rules::copies::codec::Seal;
use crate::rules::copies::disk::Disk;
use crate::rules::copies::redis::RedisCopies;
use crate::rules::live::{Copies, Keeper, KeeperOptions, Live, Seat, Source, State};
use crate::rules::repository::choice::Repository;
use crate::rules::repository::{Commit, Embedded, Postgres, RepositoryError, Revision, RuleRepository as _};
use crate::rules::{files, manage};
use crate::server::rule_store::RuleStore;
use crate::server::{Context, StartError};

/// The longest that a start waits for the first rules.
const FIRST_RULES_WITHIN: Duration = Duration::from_secs(10);

/// A repository, and the place of the keeper that follows it.
#[derive(Debug)]
pub struct Kept {
    /// Keeps the rules.
    pub repository: Arc<Repository>,
    /// What is in force of them.
    pub live: Live,
    seat: Seat,
    options: KeeperOptions,
    copies: Option<Arc<Copies>>,
}

impl Kept {
    /// Where the API changes these rules.
    #[must_use]
    pub fn rule_store(&self) -> RuleStore {
        let live = self.live.clone();
        let applied = move |revision| {
            let live = live.clone();
            // Whoever asks waits no longer than he likes.
            Box::pin(async move {
                live.reaches(revision, FIRST_RULES_WITHIN).await;
            }) as BoxFuture<'static, ()>
        };
        RuleStore::new(Arc::clone(&self.repository), Arc::new(applied))
    }
}

/// Opens the repository that the settings name. Postgres may be away; a file must be there, or must be possible to make.
///
/// # Errors
/// [`StartError::Repository`].
pub fn open(config: &Config, background: &Handle) -> Result<Kept, StartError> {
    let settings = config.clone();
    let opened = wait_for(background, async move {
        match repository(&settings).await? {
            Some(repository) => Ok(repository),
            None => examples().await.map(Repository::Embedded),
        }
    });
    let (live, seat) = Live::new();
    let repository = opened.ok_or_else(|| std::io::Error::other("the background has ended"))??;
    let mut options = KeeperOptions::new(Source::Embedded);
    if let Some(database) = &config.database {
        options = KeeperOptions { poll: database.poll_interval, ..KeeperOptions::new(Source::Postgres) };
    }
    let copies = wait_for(background, copies(config.clone()));
    let copies = copies.ok_or_else(|| std::io::Error::other("the background has ended"))??.map(Arc::new);
    Ok(Kept { repository: Arc::new(repository), live, seat, options, copies })
}

/// The repository that the settings name; `None` when they name none that lasts.
///
/// # Errors
/// [`RepositoryError`] when it cannot be opened.
pub async fn repository(config: &Config) -> Result<Option<Repository>, RepositoryError> {
    if let Some(database) = &config.database {
        let postgres = Postgres::new(database).map_err(|error| RepositoryError::Unusable(error.to_string()))?;
        return Ok(Some(Repository::Postgres(postgres)));
    }
    let Some(path) = &config.rules.repository_file else { return Ok(None) };
    Ok(Some(Repository::Embedded(Embedded::open(path, SystemClock::default()).await?)))
}

/// Where copies of a repository in Postgres are; others need none.
async fn copies(config: Config) -> Result<Option<Copies>, StartError> {
    if config.database.is_none() {
        return Ok(None);
    }
    let rules = &config.rules;
    let seal = rules.copy_key_file.as_deref().map_or(Ok(Seal::CHECKSUM), Seal::from_file)?;
    let disk = rules.copy_directory.as_deref().map(|directory| Disk::open(directory, seal.clone())).transpose()?;
    let redis = match &config.redis {
        Some(redis) => {
            let connector = Connector::new(&redis.connection(), redis.deadline)?;
            Some(RedisCopies::connect(connector, &redis.key_prefix, seal.clone()))
        }
        None => None,
    };
    if let Some(disk) = disk.as_ref().filter(|disk| !disk.is_owner()) {
        tracing::warn!(?disk, "another process writes the copy of the rules there; this one only reads it");
    }
    Ok((disk.is_some() || redis.is_some()).then(|| Copies::new(seal, disk, redis, rules.publish_copies)))
}

/// A repository in memory that begins with the built-in examples.
async fn examples() -> Result<Embedded, RepositoryError> {
    let repository = Embedded::in_memory(SystemClock::default())?;
    let example: Vec<_> = files::example().into_iter().collect();
    let mistake = |errors: Vec<manage::TreeError>| {
        let reasons: Vec<String> = errors.iter().map(ToString::to_string).collect();
        RepositoryError::Unusable(format!("the examples built in have mistakes: {}", reasons.join("; ")))
    };
    let changes = manage::diff(&[], &example).map_err(mistake)?.into_changes();
    let reason = Some("the examples built in".into());
    repository.commit(Commit { author: "tidegate".into(), reason, base: None, changes }).await?;
    tracing::info!("rules changed here are lost at the end; rules.repository_file or DATABASE_URL keeps them");
    Ok(repository)
}

/// Follows the repository from now on, and waits for the first rules.
///
/// # Errors
/// [`StartError::NoRules`] when there are none and the settings ask for some.
pub fn follow(context: &Arc<Context>, kept: Kept, background: &Handle) -> Result<(), StartError> {
    let Kept { repository, live, seat, options, copies } = kept;
    // Weak: the keeper must not keep alive what it serves.
    let served = Arc::downgrade(context);
    let take = move |state: &State| {
        if let Some(context) = served.upgrade() {
            publish(&context, state.rules.clone(), options.source.name());
        }
    };
    let mut keeper = Keeper::new(Arc::clone(&repository), options, Timestamp::now, seat, take);
    if let Some(copies) = copies {
        keeper = keeper.with_copies(Arc::clone(&copies));
        background.spawn(copies.write(repository, live.in_force()));
    }
    background.spawn(keeper.run());
    let first = live.clone();
    let there = wait_for(background, async move { first.reaches(Revision(0), FIRST_RULES_WITHIN).await });
    if there == Some(true) {
        return Ok(());
    }
    let reason =
        live.status().standing().away.map_or_else(|| "they take long to read".to_owned(), |(_, reason)| reason);
    if context.config.rules.required {
        return Err(StartError::NoRules(reason));
    }
    tracing::error!("no rules yet, requests get an error until there are: {reason}");
    Ok(())
}
