//! Counters of one descriptor: looking at them, and forgetting them.

use smallvec::SmallVec;
use tonic::Status;

use super::{describe, proto};
use crate::core::descriptor::{Descriptor, Entry};
use crate::core::rule::RuleLimit;
use crate::counters::{CounterKey, CounterStore, StoreError};
use crate::limiter::counter_key;
use crate::server::Context;

/// Tells what they are.
///
/// # Errors
/// When no counter belongs to the descriptor, or the store cannot answer.
pub async fn get(context: &Context, request: &proto::CountersRequest) -> Result<proto::CountersResponse, Status> {
    perform(context, request, false).await
}

/// Forgets them, and tells what they were.
///
/// # Errors
/// As [`get`].
pub async fn reset(context: &Context, request: &proto::CountersRequest) -> Result<proto::CountersResponse, Status> {
    perform(context, request, true).await
}

async fn perform(
    context: &Context,
    request: &proto::CountersRequest,
    reset: bool,
) -> Result<proto::CountersResponse, Status> {
    let active = context.limiter.active();
    let domain = active
        .rules
        .domain(request.domain.as_bytes())
        .ok_or_else(|| Status::not_found(format!("domain: there are no rules for '{}'", request.domain)))?;
    let entries: SmallVec<[Entry<'_>; 4]> =
        request.entries.iter().map(|entry| Entry { key: &entry.key, value: &entry.value }).collect();
    let rule = domain.find(&entries).ok_or_else(|| {
        Status::not_found("entries: no rule applies to this descriptor; `tidegate explain` tells why")
    })?;
    if rule.is_unlimited() {
        return Err(Status::not_found(format!("entries: the rule '{}' is unlimited and has no counters", rule.path)));
    }
    let chosen = |limit: &&RuleLimit| request.limit.is_empty() || limit.name.as_deref() == Some(&*request.limit);
    let limits: SmallVec<[&RuleLimit; 4]> = rule.limits().iter().filter(chosen).collect();
    if limits.is_empty() {
        let message = format!("limit: the rule '{}' has no limit named '{}'", rule.path, request.limit);
        return Err(Status::not_found(message));
    }
    let descriptor = Descriptor { entries, ..Descriptor::default() };
    let mut counters = Vec::with_capacity(limits.len());
    for limit in limits {
        let key = counter_key(domain, rule, limit, &descriptor);
        let state = one(context, &key, limit, reset).await.map_err(|error| Status::unavailable(error.to_string()))?;
        counters.push(proto::Counter {
            limit: Some(describe::limit(limit)),
            key: context.limiter.store().redis().map(|redis| redis.key_name(&key, &limit.limit)).unwrap_or_default(),
            state: Some(state),
        });
    }
    let origin = describe::origin(context, rule.origin);
    Ok(proto::CountersResponse { rule: Some(describe::rule(rule, origin)), counters })
}

async fn one(
    context: &Context,
    key: &CounterKey<'_>,
    limit: &RuleLimit,
    reset: bool,
) -> Result<proto::CounterState, StoreError> {
    let store = context.limiter.store();
    let outcome = store.inspect(key, &limit.limit).await?;
    if reset {
        store.reset(key, &limit.limit).await?;
    }
    Ok(describe::counter(&limit.limit, outcome.as_ref()))
}
