//! Forms in bodies, as contents of records.

use super::super::problem::{Kind, Problem};
use super::body::Body;
use crate::core::path::DescriptorPath;
use crate::rules::form::{Defaults, DomainForm, LimitForm, RuleForm, has_wildcard};
use crate::rules::repository::RuleRepository as _;
use crate::rules::repository::record::{Content, Subject};
use crate::server::rule_store::RuleStore;

/// A rule.
///
/// # Errors
/// Every field that has no meaning.
pub async fn rule(store: &RuleStore, domain: &str, path: &DescriptorPath, body: Body) -> Result<Content, Problem> {
    let form: RuleForm = body.form()?;
    let defaults = defaults(store, domain, form.rate_limit.iter().chain(form.rate_limits.iter().flatten())).await?;
    let rule = form.spec(has_wildcard(path), defaults);
    rule.map(Content::Rule).map_err(|problems| Problem::fields(Kind::Invalid, problems))
}

/// Settings of a domain.
///
/// # Errors
/// Every field that has no meaning.
pub fn domain(body: Body) -> Result<Content, Problem> {
    let settings = body.form::<DomainForm>()?.settings();
    settings.map(Content::Domain).map_err(|problems| Problem::fields(Kind::Invalid, problems))
}

/// What limits are that do not say it: the domain's algorithm, where it chooses one.
///
/// # Errors
/// The repository's.
pub async fn defaults(
    store: &RuleStore,
    domain: &str,
    limits: impl IntoIterator<Item = &LimitForm>,
) -> Result<Defaults, Problem> {
    if limits.into_iter().all(|limit| limit.algorithm.is_some() || limit.unlimited) {
        return Ok(Defaults::API);
    }
    let settings = store.repository.get(&Subject::Domain(domain.into())).await?;
    match settings.and_then(|record| record.content) {
        Some(Ok(Content::Domain(settings))) => Ok(Defaults { algorithm: settings.default_algorithm, ..Defaults::API }),
        _ => Ok(Defaults::API),
    }
}
