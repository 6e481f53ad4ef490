//! The limiter: resolve descriptors to rules, count, decide, account. It joins the core with a counter store and the
//! metrics, and knows no protocol.
//!
//! A decision borrows from the snapshot it was made on, so a caller takes the snapshot first:
//!
//! ```ignore
//! let active = limiter.active();
//! let decision = limiter.decide(&active, &request, deadline).await?;
//! ```

mod accounting;
mod adjusting;
mod combine;
mod explain;
mod resolve;
mod series;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};

use crate::core::adjustment::set::AdjustmentSet;
use crate::core::clock::{Clock, Micros};
use crate::core::decision::Decision;
use crate::core::descriptor::Request;
use crate::core::identity::Identities;
use crate::core::locate::Locate;
use crate::core::ruleset::{Domain, RuleSet};
use crate::core::spec::Charge;
use crate::core::spec::FailureMode;
use crate::counters::{Answers, CounterStore, Deadline, Hit, StoreError};
use crate::telemetry::decisions::DecisionMetrics;
use adjusting::{Adjusting, Plan};
use resolve::Resolved;
use series::SeriesTable;

pub use accounting::near_limit_threshold;
pub use explain::Explained;
pub use resolve::counter_key;

/// Settings that hold for every domain.
#[derive(Clone, Debug)]
pub struct LimiterOptions {
    /// `SHADOW_MODE`: statuses are told as they are, but the answer is always OK.
    pub shadow_mode: bool,
    /// `QUOTA_MODE`: every rule is a quota rule.
    pub quota_mode: bool,
    /// `NEAR_LIMIT_RATIO`: from which share of a limit on its hits count as near it; 0 to 1.
    pub near_limit_ratio: f32,
    /// The most descriptors one request may have.
    pub max_descriptors: usize,
    /// What rules that choose none answer when the counter store cannot.
    pub failure_mode: FailureMode,
    /// Which entries tell who a client is, for adjustments and observations.
    pub identities: Identities,
}

impl Default for LimiterOptions {
    fn default() -> Self {
        Self {
            shadow_mode: false,
            quota_mode: false,
            near_limit_ratio: 0.8,
            max_descriptors: 100,
            failure_mode: FailureMode::Local,
            identities: Identities::default(),
        }
    }
}

/// Why a request has no decision. All but [`DecideError::Store`] are the caller's mistakes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecideError {
    /// No domain.
    #[error("rate limit domain must not be empty")]
    EmptyDomain,
    /// No descriptors.
    #[error("rate limit descriptor list must not be empty")]
    EmptyDescriptors,
    /// Too many descriptors.
    #[error("descriptors: {got} in one request, at most {max} are allowed")]
    TooManyDescriptors {
        /// How many came.
        got: usize,
        /// How many may.
        max: usize,
    },
    /// The first rule set has not been loaded yet.
    #[error("no rate limit configuration loaded")]
    NoRules,
    /// The counter store could not answer, and the rule's failure mode is to say so.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the publisher of a rule set says of it, for those who ask what is in force. The limiter only keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// Where the rules come from, in a word or two: `files`.
    pub source: Cow<'static, str>,
}

/// The rule set in force, with what the limiter keeps beside it.
#[derive(Debug)]
pub struct Active {
    /// The rules.
    pub rules: RuleSet,
    /// Counts up with every rule set; 0 before the first.
    pub revision: u64,
    /// What its publisher says of it.
    pub description: Description,
    series: SeriesTable,
}

/// Decides requests. Shared by all workers.
#[derive(Debug)]
pub struct Limiter<S> {
    active: ArcSwap<Active>,
    store: S,
    options: LimiterOptions,
    metrics: Arc<DecisionMetrics>,
    adjusting: Adjusting,
    /// Rule sets no longer in force, until no decision uses them.
    retired: Mutex<Vec<Arc<Active>>>,
}

impl<S: CounterStore> Limiter<S> {
    /// A limiter without rules: every decision fails with [`DecideError::NoRules`] until [`Limiter::publish`].
    pub fn new(store: S, options: LimiterOptions, metrics: Arc<DecisionMetrics>) -> Self {
        let empty = Active {
            rules: RuleSet::default(),
            revision: 0,
            description: Description::default(),
            series: SeriesTable::default(),
        };
        Self {
            active: ArcSwap::from_pointee(empty),
            store,
            options,
            metrics,
            adjusting: Adjusting::default(),
            retired: Mutex::default(),
        }
    }

    /// Goes by another clock than the machine's; only the ends of adjustments depend on it.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.adjusting.clock = Box::new(clock);
        self
    }

    /// Asks where addresses are, for requests that do not tell, while an adjustment is about a country or an autonomous
    /// system.
    #[must_use]
    pub fn with_locate(mut self, locate: Arc<dyn Locate>) -> Self {
        self.adjusting.locate = Some(locate);
        self
    }

    /// Puts adjustments in force in place of those before, for every decision that starts from now on. What has expired
    /// has no effect, whether or not anybody takes it away.
    pub fn adjust(&self, adjustments: AdjustmentSet) {
        self.adjusting.replace(adjustments);
    }

    /// The adjustments that were put in force last, expired ones too.
    pub fn adjustments(&self) -> Arc<AdjustmentSet> {
        self.adjusting.set()
    }

    /// Whether any adjustments are in force. Cheap.
    #[inline]
    pub fn is_adjusting(&self) -> bool {
        self.adjusting.any()
    }

    /// The present, since the Unix epoch.
    pub fn wall(&self) -> Micros {
        self.adjusting.clock.wall()
    }

    /// Puts a rule set in force, for every decision that starts from now on, and returns its revision. Costs what
    /// differs from the one in force, where it was made of a clone of that.
    pub fn publish(&self, rules: RuleSet, description: Description) -> u64 {
        let before = self.active.load_full();
        let series = SeriesTable::new(&rules, &self.metrics, &before.rules, &before.series);
        drop(before);
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that two publishers never give the same revision.
        let revision = self.active.load().revision + 1;
        retired.push(self.active.swap(Arc::new(Active { rules, revision, description, series })));
        revision
    }

    /// Frees the rule sets that are no longer in force and that no decision uses any more, and returns how many are
    /// still waiting. Freeing a large set takes long; so it is done here, by a background task, and never by the
    /// worker that happens to use it last.
    pub fn reclaim(&self) -> usize {
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        let (unused, used): (Vec<_>, Vec<_>) = retired.drain(..).partition(|active| Arc::strong_count(active) == 1);
        *retired = used;
        let waiting = retired.len();
        drop(retired);
        drop(unused);
        waiting
    }

    /// The rule set in force. Cheap; hold it for one request.
    pub fn active(&self) -> Guard<Arc<Active>> {
        self.active.load()
    }

    /// The counter store.
    pub const fn store(&self) -> &S {
        &self.store
    }

    /// The settings.
    pub const fn options(&self) -> &LimiterOptions {
        &self.options
    }

    /// Decides one request and charges its counters. An answer after `deadline` would be of no use to the caller.
    ///
    /// # Errors
    /// [`DecideError`] when the request has no meaning, or the store no answer.
    pub async fn decide<'s>(
        &self,
        active: &'s Active,
        request: &Request<'_>,
        deadline: Deadline,
    ) -> Result<Decision<'s>, DecideError> {
        let Some(domain) = self.domain(active, request)? else { return Ok(combine::unknown_domain(request)) };
        let resolved = resolve::resolve(domain, request);
        let plan = self.adjusting.plan(domain, request, &resolved, &self.options);
        if let Some(plan) = &plan
            && plan.blocks()
        {
            return Ok(self.blocked(domain, &resolved, plan));
        }
        let hits = resolve::hits(domain, &resolved, request, &self.options, plan.as_deref());
        let answers = match &hits[..] {
            [] => Answers::default(),
            hits => self.store.perform(hits, charge(domain, plan.as_deref()), deadline).await?,
        };
        let counted = Counted { domain, resolved: &resolved, hits: &hits, plan: plan.as_deref() };
        Ok(self.conclude(active, request, &counted, &answers))
    }

    /// Whether [`Limiter::decide_now`] always answers.
    pub fn never_waits(&self) -> bool {
        self.store.never_waits()
    }

    /// [`Limiter::decide`] with a store that never waits; `None` with one that does.
    pub fn decide_now<'s>(
        &self,
        active: &'s Active,
        request: &Request<'_>,
    ) -> Option<Result<Decision<'s>, DecideError>> {
        let domain = match self.domain(active, request) {
            Ok(Some(domain)) => domain,
            Ok(None) => return Some(Ok(combine::unknown_domain(request))),
            Err(error) => return Some(Err(error)),
        };
        let resolved = resolve::resolve(domain, request);
        let plan = self.adjusting.plan(domain, request, &resolved, &self.options);
        if let Some(plan) = &plan
            && plan.blocks()
        {
            return Some(Ok(self.blocked(domain, &resolved, plan)));
        }
        let hits = resolve::hits(domain, &resolved, request, &self.options, plan.as_deref());
        let answers = match &hits[..] {
            [] => Answers::default(),
            hits => self.store.perform_now(hits, charge(domain, plan.as_deref()))?.into(),
        };
        let counted = Counted { domain, resolved: &resolved, hits: &hits, plan: plan.as_deref() };
        Some(Ok(self.conclude(active, request, &counted, &answers)))
    }

    /// The domain that a request asks about, if it has rules.
    fn domain<'s>(&self, active: &'s Active, request: &Request<'_>) -> Result<Option<&'s Domain>, DecideError> {
        if active.revision == 0 {
            return Err(DecideError::NoRules);
        }
        if request.domain.is_empty() {
            return Err(DecideError::EmptyDomain);
        }
        let (got, max) = (request.descriptors.len(), self.options.max_descriptors);
        if got == 0 {
            return Err(DecideError::EmptyDescriptors);
        }
        if got > max {
            return Err(DecideError::TooManyDescriptors { got, max });
        }
        let domain = active.rules.domain(request.domain);
        if domain.is_none() {
            self.metrics.unknown_domain(&String::from_utf8_lossy(request.domain));
        }
        Ok(domain)
    }

    fn conclude<'s>(
        &self,
        active: &Active,
        request: &Request<'_>,
        counted: &Counted<'_, 's, '_>,
        answers: &Answers,
    ) -> Decision<'s> {
        let Counted { domain, resolved, hits, plan } = *counted;
        let decision = combine::combine(domain, resolved, hits, answers, &self.options, plan);
        self.account(active, request, &decision);
        decision
    }

    fn blocked<'s>(&self, domain: &'s Domain, resolved: &[Resolved<'s>], plan: &Plan) -> Decision<'s> {
        let decision = combine::blocked(domain, resolved, plan);
        self.account_adjusted(&decision);
        decision
    }
}

/// How the hits of a request are charged.
fn charge(domain: &Domain, plan: Option<&Plan>) -> Charge {
    plan.map_or(domain.settings.charge, |plan| plan.charge(domain))
}

/// A request, and the hits that were made of it.
struct Counted<'c, 's, 'h> {
    domain: &'s Domain,
    resolved: &'c [Resolved<'s>],
    hits: &'c [Hit<'h>],
    plan: Option<&'c Plan>,
}
