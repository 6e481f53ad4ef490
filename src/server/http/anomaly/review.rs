//! What a person says of an anomaly: recorded first, then told to the workers. Whatever fails, the call can be repeated.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::HeaderMap;
use utoipa::ToSchema;

use super::super::Api;
use super::super::problem::{Kind, Problem};
use super::super::request_id;
use super::super::rules::body::{Body, invalid};
use super::super::rules::change::{Audit, to_the_end};
use super::document::{AnomalyReviewed, reviewed};
use super::unknown;
use crate::anomaly::event::{Feedback, Verdict};
use crate::anomaly::findings::{Findings as _, Review};
use crate::server::access::Caller;

/// The longest note, in bytes.
const MAX_NOTE: usize = 1_000;

/// Why.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "documents what is read by hand")]
pub struct NoteBody {
    /// Why, for the record.
    #[schema(max_length = 1000)]
    note: Option<String>,
}

/// Records a verdict and tells it.
///
/// # Errors
/// A body without meaning, no such anomaly, and whatever is away; then the problem says what was done.
pub async fn review(
    api: &Arc<Api>,
    caller: Caller,
    id: u64,
    verdict: Verdict,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<AnomalyReviewed>, Problem> {
    let mut body = Body::read_optional(headers, body)?;
    let note = body.text("note")?;
    body.finish("note")?;
    match &note {
        Some(note) if note.len() > MAX_NOTE => {
            return Err(invalid("note", format!("is {} bytes long, at most {MAX_NOTE} are kept", note.len())));
        }
        Some(note) if note.contains('\0') => return Err(invalid("note", "must not have a NUL character")),
        _ => {}
    }
    let note = note.filter(|note| !note.is_empty());
    let review = Review { verdict, by: caller.0.into(), note, at: api.context.limiter.wall() };
    let context = Arc::clone(&api.context);
    to_the_end(async move {
        let finding = context.findings.review(id, &review).await?.ok_or_else(|| unknown(id))?;
        let action = match verdict {
            Verdict::Confirmed => "confirm anomaly",
            Verdict::Dismissed => "dismiss anomaly",
        };
        let audit = Audit { action, subject: format!("{id} in {}", finding.domain) };
        audit.log(&review.by, None, request_id::current().as_deref());
        let Some(tell) = context.feedback.get() else { return Ok(Json(reviewed(&finding, false))) };
        let at = finding.review.as_ref().map_or(review.at, |review| review.at);
        let (domain, subject) = (finding.domain.clone(), finding.subject.clone());
        match tell.tell(Feedback { at, incident: id, domain, subject, verdict }).await {
            Ok(()) => Ok(Json(reviewed(&finding, true))),
            Err(error) => {
                let detail = format!(
                    "it is recorded, but the workers were not told ({error}), so that an adjustment stays in force until it \
                     ends; say it again"
                );
                Err(Problem::new(Kind::Unavailable, detail).with("recorded", true).with("told", false))
            }
        }
    })
    .await
}
