//! Hearing of changes.
//!
//! A connection of its own listens, as those of a pool are lent out. A broken one may look alive for long, and notices
//! may get lost while it is opened anew: so it is asked for the head at once and at intervals, with a deadline. What
//! the head says is announced like a notice, which makes it the safety net too.

use std::future::poll_fn;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_postgres::AsyncMessage;

use super::failure::{late, unavailable};
use super::{Shared, read};
use crate::postgres::Driver;
use crate::postgres::failure::sentence;
use crate::rules::repository::{Epoch, Head, RepositoryError, Revision};

/// The name under which the server shows this connection.
const NAME: &str = "tidegate listen";
/// Pauses between attempts, the first and the longest; each is up to half as long again, by chance.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// However rarely changes are asked for, a connection is asked for a sign of life so often.
const LONGEST_SILENCE: Duration = Duration::from_secs(10);
/// How often the same trouble is told.
const TOLD: Duration = Duration::from_secs(10);

/// Ends a task when it is dropped.
pub(super) struct Task<T>(pub(super) tokio::task::JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Listens for ever.
pub(super) async fn run(shared: std::sync::Arc<Shared>) {
    let mut pause = FIRST_PAUSE;
    let mut told: Option<(Instant, String)> = None;
    loop {
        let began = Instant::now();
        let Err(error) = listen(&shared).await;
        if began.elapsed() > 2 * LONGEST_PAUSE {
            pause = FIRST_PAUSE;
        }
        let reason = error.to_string();
        if told.as_ref().is_none_or(|(at, last)| *last != reason || at.elapsed() >= TOLD) {
            tracing::warn!(reason, "not told of changes of rules; trying again");
            told = Some((Instant::now(), reason));
        }
        sleep(pause.mul_f64(1.0 + fastrand::f64() / 2.0)).await;
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}

/// Listens until the connection breaks.
async fn listen(shared: &Shared) -> Result<std::convert::Infallible, RepositoryError> {
    let settings = &shared.settings;
    let connecting = timeout(settings.connect_timeout, shared.connector.connect(Some(NAME)));
    let (client, driver) = connecting.await.map_err(|_| late("connecting", settings.connect_timeout))??;
    let mut driven = Task(tokio::spawn(drive(driver, shared.announced.clone())));
    shared.prepare(&client).await?;
    let deadline = settings.statement_timeout;
    let listening = timeout(deadline, client.batch_execute("LISTEN tidegate_rules"));
    listening.await.map_err(|_| late("LISTEN", deadline))??;
    let mut known: Option<Epoch> = None;
    loop {
        let head = timeout(deadline, client.query_one(read::HEAD, &[]))
            .await
            .map_err(|_| late("a sign of life", deadline))??;
        let head = read::head_of(&head)?;
        announce(&shared.announced, head, known.replace(head.epoch));
        tokio::select! {
            ended = &mut driven.0 => return Err(unavailable(ended.unwrap_or_else(|error| error.to_string()))),
            () = sleep(settings.poll_interval.min(LONGEST_SILENCE)) => {}
        }
    }
}

/// Announces what the head says. Within an epoch, and on one connection, an answer may be older than a notice; on
/// another connection there may be another database, or an older state.
fn announce(announced: &watch::Sender<Revision>, head: Head, known: Option<Epoch>) {
    announced.send_if_modified(|revision| {
        let news = if known == Some(head.epoch) { head.revision > *revision } else { head.revision != *revision };
        if news {
            *revision = head.revision;
        }
        news
    });
}

/// Reads and writes for a connection, and announces notices. Ends with the reason.
async fn drive(mut driver: Driver, announced: watch::Sender<Revision>) -> String {
    while let Some(message) = poll_fn(|context| driver.poll_message(context)).await {
        match message {
            Ok(AsyncMessage::Notification(notice)) => {
                if let Ok(revision) = notice.payload().parse().map(Revision) {
                    announced.send_if_modified(|newest| {
                        let news = revision > *newest;
                        if news {
                            *newest = revision;
                        }
                        news
                    });
                }
            }
            Ok(_) => {}
            Err(error) => return sentence(&error),
        }
    }
    "the database ended the connection".to_owned()
}
