//! Problem documents (RFC 9457) for denials.

use http::StatusCode;
use serde::Serialize;

use super::headers::{ADJUSTMENT, LimitName, never_fits, retry_after, violates};
use crate::core::adjustment::adjusted::Denial;
use crate::core::decision::{Code, Decision, Source};

/// The media type of problem documents.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// The type of a denial, from IANA's registry of HTTP problem types.
pub const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";

/// The type of a denial that says nothing of the client: the counters cannot be reached.
pub const REDUCED_CAPACITY: &str = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity";

/// The type of a denial of what would pass but for an adjustment: the client does not behave as others do.
pub const ABNORMAL_USAGE: &str = "https://iana.org/assignments/http-problem-types#abnormal-usage-detected";

/// The most policies named.
const MAX_POLICIES: usize = 16;

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct QuotaExceeded {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: String,
    violated_policies: Vec<String>,
}

/// The body of a denial that is answered with `status`; `None` when the decision is none. It holds names and numbers from
/// the rules, and nothing that the client sent.
#[must_use]
pub fn denial(decision: &Decision<'_>, status: u16) -> Option<Vec<u8>> {
    if decision.code != Code::OverLimit {
        return None;
    }
    let violated = decision.statuses.iter().filter(|status| violates(status)).filter_map(|status| {
        let applied = status.applied.as_ref()?;
        Some(LimitName::of(status, applied).to_string())
    });
    let unchecked = decision.deciding().is_some_and(|(_, applied)| applied.source == Source::Closed);
    let adjustment = decision.denied_by_adjustment();
    let own = matches!(adjustment, Some(Denial::Own { .. })).then(|| ADJUSTMENT.to_owned());
    let violated = own.into_iter().chain(violated);
    let (r#type, title) = match adjustment {
        Some(_) => (ABNORMAL_USAGE, "Abnormal usage detected"),
        None if unchecked => (REDUCED_CAPACITY, "Rate limit cannot be checked"),
        None => (QUOTA_EXCEEDED, "Rate limit exceeded"),
    };
    let problem = QuotaExceeded {
        r#type,
        title,
        status,
        detail: sentence(decision),
        violated_policies: violated.take(MAX_POLICIES).collect(),
    };
    serde_json::to_vec(&problem).ok()
}

/// A denial in one sentence.
#[must_use]
pub fn sentence(decision: &Decision<'_>) -> String {
    let again = || retry_after(decision).map_or_else(String::new, |seconds| format!("; try again in {seconds} s"));
    match decision.denied_by_adjustment() {
        Some(Denial::Blocked(_)) => return format!("Unusual traffic: nothing of this client passes{}.", again()),
        Some(Denial::Own { .. }) => {
            return format!("Unusual traffic: the limit on requests of this kind is exceeded{}.", again());
        }
        Some(Denial::Lowered) | None => {}
    }
    let Some((status, applied)) = decision.deciding() else {
        return "The rate limit is exceeded.".to_owned();
    };
    let name = LimitName::of(status, applied);
    if applied.source == Source::Closed {
        return format!("The limit '{name}' cannot be checked at present (store-unavailable), and denies meanwhile.");
    }
    let (amount, window) = (applied.limit.amount(), applied.limit.window());
    if decision.denied_by_adjustment().is_some() {
        return format!("Unusual traffic: the limit '{name}', now {amount} per {window}, is exceeded{}.", again());
    }
    match retry_after(decision) {
        Some(seconds) => {
            format!("The limit '{name}' of {amount} per {window} is exceeded; try again in {seconds} s.")
        }
        None if never_fits(applied) => {
            format!("The limit '{name}' of {amount} per {window} can never hold a request of this cost.")
        }
        None => format!("The limit '{name}' of {amount} per {window} is exceeded."),
    }
}

/// What a client is told that a list turns away: not which entry does.
pub const TURNED_AWAY: &str = "Access is denied.";

#[derive(Serialize)]
struct Plain {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'static str,
}

/// The body for a client that a list turns away with `status`.
#[must_use]
pub fn turned_away(status: u16) -> Vec<u8> {
    let title = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let problem = Plain { r#type: "about:blank", title: title.unwrap_or("Denied"), status, detail: TURNED_AWAY };
    serde_json::to_vec(&problem).unwrap_or_default()
}
