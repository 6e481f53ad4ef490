//! Hits that are charged all or not at all.
//!
//! Counters of one place are judged and charged by one script. Counters of several places are each *held*: charged if
//! they fit, atomically each. If an enforced hit is denied, what the others hold is *released*. Nothing is ever
//! admitted beyond a limit; but while a request holds what it will give back, another may be denied that would have
//! fitted. Hits that are not enforced are charged when the others are.
//!
//! Holding and releasing run in a task of their own: a request that is cancelled half-way must not keep what it holds.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::fallback::Reply;
use super::lane::{Answered, Asked, Located, Replies};
use super::notices;
use super::program::{Held, Step};
use super::store::Inner;
use crate::core::algorithm::Outcome;
use crate::core::clock::Clock;
use crate::core::descriptor::Operation;
use crate::core::limit::Limit;
use crate::core::spec::{Charge, FailureMode};
use crate::counters::fingerprint::Fingerprint;
use crate::counters::{Answers, CounterKey, CounterName, Deadline, Hit, StoreError};

/// Performs hits with [`Charge::AllOrNothing`].
pub(super) async fn perform<C: Clock + Clone>(
    inner: &Arc<Inner<C>>,
    hits: &[Hit<'_>],
    keys: &[Fingerprint],
    deadline: Deadline,
) -> Result<Answers, StoreError> {
    if let ([hit], [key]) = (hits, keys) {
        // Alone, it is like any other hit, but for leaving nothing behind when it is denied.
        let asked = Asked { key: *key, limit: hit.limit, step: step(hit), enforced: false };
        let waiting = inner.lane().0.ask([asked].into_iter(), |_| inner.locate(hit));
        let replies = inner.replies(waiting, deadline, 1).await;
        return inner.fallback.conclude(hits, Charge::AllOrNothing, replies.into_iter().map(Reply::from).collect());
    }
    let located: SmallVec<[Located; 4]> = hits.iter().map(|hit| inner.locate(hit)).collect();
    if located.iter().all(|each| each.place == located[0].place) {
        let unit = hits.iter().zip(keys).zip(located).map(|((hit, key), located)| {
            let step = Step::Operation(hit.operation);
            (Asked { key: *key, limit: hit.limit, step, enforced: hit.enforced }, located)
        });
        let unit: SmallVec<[_; 4]> = unit.collect();
        let waiting = inner.lane().0.ask_together(unit.into_iter());
        let replies = inner.replies(waiting, deadline, hits.len()).await;
        return inner.fallback.conclude(hits, Charge::AllOrNothing, replies.into_iter().map(Reply::from).collect());
    }
    let parts = hits.iter().zip(keys).zip(located).map(|((hit, key), located)| Part::new(hit, *key, located)).collect();
    let task = tokio::spawn(hold(Arc::clone(inner), parts, deadline));
    task.await.unwrap_or_else(|_| Err(StoreError::Unavailable("the decision was interrupted".to_owned())))
}

/// A charge that leaves nothing behind when it is denied. One that is not enforced counts as it would alone.
fn step(hit: &Hit<'_>) -> Step {
    match hit.operation {
        Operation::Charge(hits @ 1..) if hit.enforced => Step::Hold(hits),
        operation => Step::Operation(operation),
    }
}

/// A hit that outlives its request.
#[derive(Debug)]
struct Part {
    key: Fingerprint,
    space: u128,
    values: SmallVec<[Bytes; 4]>,
    limit: Limit,
    operation: Operation,
    enforced: bool,
    failure_mode: FailureMode,
    located: Located,
}

impl Part {
    fn new(hit: &Hit<'_>, key: Fingerprint, mut located: Located) -> Self {
        // A release gives back, too.
        located.notice = notices::encode(hit.key.space, &hit.key.values);
        Self {
            key,
            space: hit.key.space,
            values: hit.key.values.iter().map(|value| Bytes::copy_from_slice(value)).collect(),
            limit: hit.limit.clone(),
            operation: hit.operation,
            enforced: hit.enforced,
            failure_mode: hit.failure_mode,
            located,
        }
    }

    fn hit(&self) -> Hit<'_> {
        let values = self.values.iter().map(|value| &value[..]).collect();
        Hit {
            key: CounterKey { space: self.space, name: CounterName::default(), values },
            limit: &self.limit,
            operation: self.operation,
            enforced: self.enforced,
            failure_mode: self.failure_mode,
        }
    }

    fn asked(&self, step: Step) -> Asked<'_> {
        Asked { key: self.key, limit: &self.limit, step, enforced: self.enforced }
    }
}

type Parts = SmallVec<[Part; 4]>;

async fn hold<C: Clock + Clone>(inner: Arc<Inner<C>>, parts: Parts, deadline: Deadline) -> Result<Answers, StoreError> {
    // First those that decide, and what is given back in any case.
    let first = |part: &Part| match part.operation {
        Operation::Charge(hits @ 1..) if part.enforced => Step::Hold(hits),
        // Whether it is charged is not known yet.
        Operation::Charge(hits @ 1..) => Step::Evaluate(hits),
        peek @ Operation::Charge(0) => Step::Operation(peek),
        refund @ Operation::Refund(_) => Step::Operation(refund),
    };
    let answers = ask(&inner, &parts, parts.iter().map(first).collect(), deadline).await;
    let hits: SmallVec<[Hit<'_>; 4]> = parts.iter().map(Part::hit).collect();
    let replies = answers.iter().map(|answer| Reply::from(answer.clone())).collect();
    let concluded = inner.fallback.conclude(&hits, Charge::AllOrNothing, replies);
    let refused = match &concluded {
        Ok(all) => hits.iter().zip(&all.outcomes).any(|(hit, outcome)| hit.enforced && !outcome.allowed()),
        Err(_) => true,
    };
    if refused {
        let released = release(&inner, &parts, &answers).await;
        return concluded.map(|all| without_holds(&parts, &released, all));
    }
    let mut all = concluded?;
    // Now the rest, which does not decide.
    let rest: SmallVec<[usize; 4]> = (0..parts.len())
        .filter(|&at| !parts[at].enforced && matches!(parts[at].operation, Operation::Charge(1..)))
        .filter(|&at| answers[at].is_ok())
        .collect();
    if !rest.is_empty() {
        let asked = rest.iter().map(|&at| parts[at].asked(Step::Operation(parts[at].operation)));
        let waiting = inner.lane().0.ask(asked, |position| parts[rest[position]].located.clone());
        for (&at, answer) in rest.iter().zip(inner.replies(waiting, deadline, rest.len()).await) {
            if let Ok(answered) = answer {
                all.outcomes[at] = answered.outcome;
            }
        }
    }
    Ok(all)
}

async fn ask<C: Clock + Clone>(
    inner: &Inner<C>,
    parts: &Parts,
    steps: SmallVec<[Step; 4]>,
    deadline: Deadline,
) -> Replies {
    let asked: SmallVec<[Asked<'_>; 4]> = parts.iter().zip(steps).map(|(part, step)| part.asked(step)).collect();
    let waiting = inner.lane().0.ask(asked.into_iter(), |position| parts[position].located.clone());
    inner.replies(waiting, deadline, parts.len()).await
}

/// A counter that what was held on it has been given back to, and how it is now.
type Released = (Fingerprint, Outcome);

/// Gives back what is held. Whether that succeeds changes no verdict: what cannot be given back stays charged.
async fn release<C: Clock + Clone>(inner: &Inner<C>, parts: &Parts, answers: &Replies) -> SmallVec<[Released; 4]> {
    let held = |answer: &Result<Answered, _>| answer.as_ref().ok().and_then(|answered| answered.held.clone());
    let releases: SmallVec<[(&Part, Held); 4]> =
        parts.iter().zip(answers).filter_map(|(part, answer)| Some((part, held(answer)?))).collect();
    if releases.is_empty() {
        return SmallVec::new();
    }
    let asked = releases.iter().map(|(part, held)| part.asked(Step::Release(held.clone())));
    let waiting = inner.lane().0.ask(asked, |position| releases[position].0.located.clone());
    let replies = inner.replies(waiting, None, releases.len()).await;
    releases.iter().zip(replies).filter_map(|((part, _), reply)| Some((part.key, reply.ok()?.outcome))).collect()
}

/// The answers to a request that is refused: the counters as they are without what it held.
fn without_holds(parts: &Parts, released: &[Released], mut all: Answers) -> Answers {
    for (part, outcome) in parts.iter().zip(&mut all.outcomes) {
        // Of a counter that was held more than once, all is given back after the last release.
        let of_this = released.iter().filter(|(key, _)| *key == part.key).map(|(_, outcome)| outcome);
        if let (Operation::Charge(_), Some(last)) = (part.operation, of_this.min_by_key(|outcome| outcome.level)) {
            *outcome = Outcome { verdict: outcome.verdict, ..*last };
        }
    }
    all
}
