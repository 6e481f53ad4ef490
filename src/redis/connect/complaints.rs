//! Why connections fail, told in the log, and not more often than people can read: all workers meet the same trouble,
//! and each connection meets it with every attempt.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fred::clients::Client;
use fred::error::ErrorKind;
use fred::interfaces::EventInterface as _;
use tokio::runtime::Handle;
use tokio::sync::broadcast::error::RecvError;

use crate::redis::topology::NodeAddress;

/// How long the same trouble is not told again.
const SAME: Duration = Duration::from_secs(10);
/// How long other trouble is not told either.
const OTHER: Duration = Duration::from_secs(1);

/// What was told last.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    last: Mutex<Option<(Instant, String)>>,
}

impl Complaints {
    /// Listens to a client until it is gone, on the runtime that this is called in; outside of one it does not.
    pub(super) fn listen(self: &Arc<Self>, client: &Client, address: &NodeAddress) {
        let Ok(runtime) = Handle::try_current() else { return };
        let mut errors = client.error_rx();
        let (complaints, address) = (Arc::clone(self), address.clone());
        runtime.spawn(async move {
            loop {
                match errors.recv().await {
                    // That is how a connection ends that is no longer wanted.
                    Ok((error, _)) if *error.kind() == ErrorKind::Canceled => {}
                    Ok((error, server)) => {
                        let node = server.map_or_else(|| address.to_string(), |server| server.to_string());
                        let reason = error.details();
                        if complaints.is_news(&format!("{node} {reason}"), Instant::now()) {
                            tracing::warn!(node, reason, "no connection to Redis; trying again");
                        }
                    }
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                }
            }
        });
    }

    fn is_news(&self, text: &str, now: Instant) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let quiet = |(told, known): &(Instant, String)| {
            now.saturating_duration_since(*told) < if known == text { SAME } else { OTHER }
        };
        if last.as_ref().is_some_and(quiet) {
            return false;
        }
        *last = Some((now, text.to_owned()));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_told_rarely_and_anything_at_most_once_a_second() {
        let complaints = Complaints::default();
        let start = Instant::now();
        let told = |text, millis| complaints.is_news(text, start + Duration::from_millis(millis));
        assert!(told("wrong password", 0));
        assert!(!told("wrong password", 500) && !told("refused", 999));
        assert!(told("refused", 1_000));
        assert!(!told("refused", 10_999));
        assert!(told("refused", 11_000));
    }
}
