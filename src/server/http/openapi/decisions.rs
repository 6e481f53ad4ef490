//! What decisions and health take and answer, for the API's document.
#![allow(dead_code, reason = "these types are written about, not made")]

use serde_json::Value;
use utoipa::ToSchema;

/// Who asks, and for what.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The domain whose rules decide; `http.domain` if missing.
    domain: Option<String>,
    /// The user; this or `ip_address`, or both.
    #[schema(min_length = 1, max_length = 8192)]
    user_id: Option<String>,
    /// The address.
    ip_address: Option<String>,
    /// The path asked for.
    #[schema(min_length = 1, max_length = 8192)]
    path: Option<String>,
    /// The method asked for.
    #[schema(min_length = 1, max_length = 8192)]
    method: Option<String>,
    /// How much it costs; 0 asks without consuming, 1 unless said otherwise.
    #[schema(maximum = 4_294_967_295_u32)]
    hits: Option<u64>,
}

/// A decision.
#[derive(ToSchema)]
pub struct Allowed {
    /// Whether it may pass.
    allowed: bool,
    /// The domain.
    domain: String,
    /// The path of the rule that decided; `null` when none applies.
    rule: Option<String>,
    /// Why no rule decided.
    note: Option<String>,
    /// The deciding limit's name.
    name: Option<String>,
    /// Its algorithm.
    algorithm: Option<String>,
    /// Hits per window.
    limit: Option<u64>,
    /// The window: `60s`, `month@Europe/Berlin`.
    window: Option<String>,
    /// Hits left.
    remaining: Option<u64>,
    /// Seconds until hits are there again.
    reset_after_seconds: Option<u64>,
    /// That a rule in shadow mode would have denied.
    shadowed: Option<bool>,
    /// The adjustment that applied, by its name.
    adjustment: Option<String>,
    /// Hits per window, where the adjustment lowers them.
    adjusted_limit: Option<u64>,
    /// An adjustment that is told only.
    adjustment_shadow: Option<String>,
}

/// A denial: a problem document (RFC 9457) with the members of a decision.
#[derive(ToSchema)]
pub struct Denied {
    /// `https://iana.org/assignments/http-problem-types#quota-exceeded`, or `#abnormal-usage-detected` where the request
    /// would have passed but for an adjustment; `about:blank` for too many wrong tokens.
    r#type: String,
    /// What happened.
    title: String,
    /// 429.
    status: u16,
    /// Which limit, and when to try again.
    detail: String,
    /// Names of the limits.
    #[schema(rename = "violated-policies")]
    violated_policies: Option<Vec<String>>,
    /// `false`.
    allowed: Option<bool>,
    /// Seconds until it makes sense to try again.
    retry_after_seconds: Option<u64>,
    /// The adjustment that applied, by its name.
    adjustment: Option<String>,
    /// Hits per window, where the adjustment lowers them.
    adjusted_limit: Option<u64>,
    /// An adjustment that is told only.
    adjustment_shadow: Option<String>,
}

/// A `RateLimitRequest` of envoy.service.ratelimit.v3 in protobuf's JSON.
#[derive(ToSchema)]
pub struct RateLimitRequest {
    /// The domain.
    domain: String,
    /// The descriptors: `{"entries": [{"key": ..., "value": ...}], "limit": ..., "hitsAddend": ...}`.
    #[schema(min_items = 1, value_type = Vec<Object>)]
    descriptors: Vec<Value>,
    /// How much each costs; 0 is 1.
    #[schema(rename = "hitsAddend", value_type = Option<Object>)]
    hits_addend: Option<Value>,
}

/// A `RateLimitResponse` of envoy.service.ratelimit.v3 in protobuf's JSON.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct RateLimitResponse {
    /// `OK` or `OVER_LIMIT`.
    overall_code: String,
    /// One for each descriptor.
    #[schema(value_type = Option<Vec<Object>>)]
    statuses: Option<Vec<Value>>,
}

/// What readiness is made of.
#[derive(ToSchema)]
pub struct Readiness {
    /// Whether traffic is welcome.
    ready: bool,
    /// What that depends on.
    #[schema(value_type = Object)]
    components: Value,
    /// The rules in force.
    #[schema(value_type = Object)]
    rules: Value,
    /// The lists of external authorization.
    #[schema(value_type = Object)]
    lists: Value,
    /// The counters.
    #[schema(value_type = Object)]
    counters: Value,
    /// The anomaly worker.
    #[schema(value_type = Object)]
    anomaly: Value,
}
