//! Rules that can be changed while the server runs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::rules::repository::choice::Repository;
use crate::rules::repository::record::Revision;

/// The longest that the answer to a change waits for it to be in force here.
const IN_FORCE_WITHIN: Duration = Duration::from_secs(1);

/// Ends once a revision, or a later one, is in force on this replica.
pub type Applied = Arc<dyn Fn(Revision) -> BoxFuture<'static, ()> + Send + Sync>;

/// Where rules are changed, and who knows what is in force. Clones share both.
#[derive(Clone)]
pub struct RuleStore {
    /// Keeps them.
    pub repository: Arc<Repository>,
    applied: Applied,
}

impl RuleStore {
    /// Rules of this repository.
    pub fn new(repository: Arc<Repository>, applied: Applied) -> Self {
        Self { repository, applied }
    }

    /// Waits a moment for a revision to be in force on this replica, and tells whether it is.
    pub async fn in_force(&self, revision: Revision) -> bool {
        tokio::time::timeout(IN_FORCE_WITHIN, (self.applied)(revision)).await.is_ok()
    }
}

impl fmt::Debug for RuleStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuleStore").field("repository", &self.repository).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::clock::SystemClock;
    use crate::rules::repository::Embedded;

    #[tokio::test]
    async fn a_change_that_is_not_in_force_in_time_is_not() {
        let repository = || Arc::new(Repository::Embedded(Embedded::in_memory(SystemClock::new()).unwrap()));
        let never = RuleStore::new(repository(), Arc::new(|_| Box::pin(std::future::pending())));
        assert!(!never.in_force(Revision(1)).await);
        let at_once = RuleStore::new(repository(), Arc::new(|_| Box::pin(std::future::ready(()))));
        assert!(at_once.in_force(Revision(1)).await);
    }
}
