//! `POST /rate-limit/rules:apply`: whole domains become what a text says.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::super::Api;
use super::super::gate::Writer;
use super::super::openapi::records::AppliedDocument;
use super::super::openapi::refusals;
use super::super::problem::{Kind, Problem};
use super::super::query::Query;
use super::body::{invalid, reason_of};
use super::change::{Audit, commit_and_log, to_the_end};
use super::whole::{self, of_domains};
use super::{Store, preconditions};
use crate::core::spec::DomainSpec;
use crate::rules::form::FieldProblem;
use crate::rules::manage::{self, Diff};
use crate::rules::report::Severity;
use crate::rules::repository::{Commit, RepositoryError, RuleRepository as _};
use crate::rules::yaml;
use crate::server::rule_store::RuleStore;

/// What is applied.
const MEDIA_TYPES: [&str; 4] = ["application/yaml", "application/x-yaml", "text/yaml", "application/json"];
/// Changes that an answer shows one by one; it counts them all.
const SHOWN: usize = 1_000;
/// How often the difference is worked out anew because somebody else was faster.
const ATTEMPTS: usize = 5;

/// Make domains what a text says
///
/// The text is YAML (or JSON, which is YAML): one document a domain, as in rule files. Each of these domains becomes what
/// its document says: rules that are not there any more are deleted. Other domains stay, and so do overrides. All of it
/// happens in one revision, or nothing. With `dry_run`, nothing is changed, and the answer shows what would be.
#[utoipa::path(
    post, path = "/rate-limit/rules:apply", tag = "rules", operation_id = "applyRules",
    request_body(
        content((String = "application/yaml"), (String = "application/x-yaml"), (String = "text/yaml"), (Object = "application/json")),
        description = "Rule files as one stream of documents",
    ),
    params(
        ("dry_run" = Option<bool>, Query, description = "Only show what would change"),
        ("accept_loss" = Option<bool>, Query, description = "Also when most rules would be gone"),
        ("If-Match" = Option<String>, Header, description = "The newest revision in quotes: only if nothing has changed since"),
        ("X-Change-Reason" = Option<String>, Header, description = "Why, for the history"),
    ),
    responses((status = 200, description = "What changed, or would", body = AppliedDocument), refusals::Writing),
)]
pub async fn apply(
    State(api): State<Arc<Api>>,
    store: Store,
    Writer(caller): Writer,
    mut query: Query,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let dry_run = query.flag("dry_run")?.unwrap_or(false);
    let accept_loss = query.flag("accept_loss")?.unwrap_or(false);
    query.finish("dry_run, accept_loss")?;
    let base = preconditions::base(&headers)?;
    let reason = reason_of(&headers)?;
    require_media_type(&headers)?;
    let text = Text::read(super::super::body(body)?).await?;
    let (store, author) = (store.clone(), caller.0);
    let count = api.context.limiter.active().rules.rule_count();
    let work = async move {
        for attempt in 1.. {
            let head = store.repository.head().await?;
            if let Some(expected) = base.filter(|base| *base != head.revision) {
                return Err(RepositoryError::Moved { expected, found: head.revision }.into());
            }
            let diff = text.difference(&store).await?;
            let lost = whole::loss(&diff, count, head.revision);
            let mut answer = text.shown(&diff);
            if dry_run {
                answer["warnings"]
                    .as_array_mut()
                    .into_iter()
                    .for_each(|all| all.extend(lost.map(|lost| lost.to_string().into())));
                answer["dry_run"] = true.into();
                answer["revision"] = head.revision.0.into();
                return Ok(answer);
            }
            if let Some(lost) = lost.filter(|_| !accept_loss) {
                return Err(lost.into());
            }
            let audit = Audit { action: "apply", subject: format!("{} records", diff.differences.len()) };
            let (author, reason) = (author.clone(), reason.clone());
            let commit = Commit {
                author: author.clone(),
                reason: reason.clone(),
                base: Some(head.revision),
                changes: diff.into_changes(),
            };
            let mut committed = match commit_and_log(&store, commit, audit).await {
                Err(problem) if problem.kind() == Kind::PreconditionFailed && base.is_none() && attempt < ATTEMPTS => {
                    continue;
                }
                committed => committed?,
            };
            if lost.is_some() {
                // Replicas do not follow a loss without being told that it is meant.
                committed.head = store.repository.accept(&author, reason.as_deref()).await?;
            }
            if let (Value::Object(answer), Value::Object(head)) =
                (&mut answer, whole::document(&store, &committed).await)
            {
                answer.extend(head);
            }
            return Ok(answer);
        }
        Err(Problem::new(Kind::Internal, "the rules change too often"))
    };
    Ok(Json(to_the_end(work).await?).into_response())
}

/// JSON is YAML, too. What a browser sends without asking first is none of these.
fn require_media_type(headers: &HeaderMap) -> Result<(), Problem> {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = given.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    if MEDIA_TYPES.contains(&&*essence) {
        return Ok(());
    }
    let detail = format!("content-type: must be one of {}, got '{given}'", MEDIA_TYPES.join(", "));
    Err(Problem::new(Kind::UnsupportedMediaType, detail))
}

/// A text, read.
struct Text {
    domains: Arc<Vec<DomainSpec>>,
    warnings: Vec<String>,
}

impl Text {
    /// Reads a text, beside the threads that serve.
    async fn read(body: Bytes) -> Result<Self, Problem> {
        let text = String::from_utf8(body.into()).map_err(|_| invalid("body", "must be UTF-8"))?;
        let parsed = tokio::task::spawn_blocking(move || yaml::parse_all(&text, 0)).await;
        let parsed = parsed.map_err(|_| Problem::new(Kind::Internal, "the text could not be read"))?;
        let (mut errors, mut warnings, mut domains) = (Vec::new(), Vec::new(), Vec::new());
        for document in parsed {
            for problem in document.problems {
                let place = format!("line {}, column {}", problem.origin.line, problem.origin.column);
                let help = problem.help.map_or_else(String::new, |help| format!("; {help}"));
                let reason = format!("{}{help}", problem.message);
                match problem.severity {
                    Severity::Error => errors.push(FieldProblem::new(place, reason)),
                    Severity::Warning => warnings.push(format!("{place}: {reason}")),
                }
            }
            domains.extend(document.domain);
        }
        for (position, domain) in domains.iter().enumerate() {
            if domains.iter().take(position).any(|other: &DomainSpec| other.name == domain.name) {
                let place = format!("line {}, column {}", domain.origin.line, domain.origin.column);
                errors.push(FieldProblem::new(
                    place,
                    format!("the domain '{}' stands twice; merge its documents", domain.name),
                ));
            }
        }
        if errors.is_empty() {
            Ok(Self { domains: Arc::new(domains), warnings })
        } else {
            Err(Problem::fields(Kind::Invalid, errors))
        }
    }

    /// What has to change in the repository.
    async fn difference(&self, store: &RuleStore) -> Result<Diff, Problem> {
        let names = self.domains.iter().map(|domain| domain.name.clone()).collect();
        let current = of_domains(store, names).await?;
        let domains = Arc::clone(&self.domains);
        let worked_out = tokio::task::spawn_blocking(move || manage::diff(&current, &domains)).await;
        let diff = worked_out.map_err(|_| Problem::new(Kind::Internal, "the difference could not be worked out"))?;
        diff.map_err(|errors| {
            let told = errors.iter().map(|error| {
                FieldProblem::new(
                    format!("line {}, column {}", error.origin.line, error.origin.column),
                    error.to_string(),
                )
            });
            Problem::fields(Kind::Invalid, told.collect())
        })
    }

    /// The difference, for people and for programs.
    fn shown(&self, diff: &Diff) -> Value {
        let some = || diff.differences.iter().take(SHOWN);
        let mut lines: String = some().map(|difference| format!("{difference}\n")).collect();
        let left = diff.differences.len().saturating_sub(SHOWN);
        if left > 0 {
            lines.push_str(&format!("... and {left} more\n"));
        }
        let warnings = self.warnings.iter().cloned().chain(diff.warnings.iter().map(ToString::to_string));
        json!({
            "changed": diff.differences.len(),
            "changes": some().map(manage::Difference::view).collect::<Vec<_>>(),
            "diff": lines,
            "warnings": warnings.collect::<Vec<_>>(),
        })
    }
}
