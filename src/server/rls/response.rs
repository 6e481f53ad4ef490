//! Writes a decision as a `RateLimitResponse`, straight into the buffer that is sent.

use super::message::unit_number;
use crate::config::Config;
use crate::core::decision::{Code, Decision, Status};
use crate::server::grpc::metadata;
use crate::server::headers::{self, HeaderSettings, LimitName};
use crate::server::problem;
use crate::wire::Writer;

/// What answers carry.
#[derive(Clone, Debug)]
pub struct ResponseSettings {
    /// Headers for the client.
    pub headers: HeaderSettings,
    /// Tell in dynamic metadata which rule decided.
    pub dynamic_metadata: bool,
}

impl ResponseSettings {
    /// As configured.
    #[must_use]
    pub fn from_config(config: &Config) -> Self {
        let limiter = &config.limiter;
        let headers = HeaderSettings { families: limiter.header_families(), names: limiter.header_names.clone() };
        Self { headers, dynamic_metadata: limiter.dynamic_metadata }
    }
}

// Fields of RateLimitResponse.
const OVERALL_CODE: u32 = 1;
const STATUSES: u32 = 2;
const RESPONSE_HEADERS_TO_ADD: u32 = 3;
const RAW_BODY: u32 = 5;
const DYNAMIC_METADATA: u32 = 6;

/// What Envoy answers with, unless its filter says otherwise.
const STATUS: u16 = 429;

/// Appends the answer to `buffer`. `revision` is that of the rule set that decided.
#[must_use]
pub fn encode(buffer: Vec<u8>, decision: &Decision<'_>, revision: u64, settings: &ResponseSettings) -> Vec<u8> {
    let mut out = Writer::after(buffer);
    out.number(OVERALL_CODE, code_number(decision.code));
    for each in &decision.statuses {
        out.message(STATUSES, |out| status(out, each));
    }
    headers::write(decision, &settings.headers, |name, value| header(&mut out, name, value));
    if let Some(body) = problem::denial(decision, STATUS) {
        header(&mut out, "Content-Type", problem::MEDIA_TYPE);
        out.bytes(RAW_BODY, &body);
    }
    if settings.dynamic_metadata {
        out.message(DYNAMIC_METADATA, |out| metadata::encode(out, decision, revision));
    }
    out.into_inner()
}

const fn code_number(code: Code) -> u64 {
    match code {
        Code::Ok => 1,
        Code::OverLimit => 2,
    }
}

/// `DescriptorStatus` {code 1, current_limit 2, limit_remaining 3, duration_until_reset 4}.
fn status(out: &mut Writer, status: &Status<'_>) {
    out.number(1, code_number(status.code));
    if let Some(applied) = &status.applied {
        // `RateLimit` {requests_per_unit 1, unit 2, name 3}.
        out.message(2, |out| {
            let unit = applied.limit.window().unit();
            out.number(1, saturate(applied.limit.amount()));
            out.number(2, unit_number(unit));
            match (applied.name, unit) {
                (Some(name), _) => out.bytes(3, name.as_bytes()),
                // Without a unit the numbers alone tell nothing: say at least which limit it is.
                (None, None) => out.bytes(3, LimitName::of(status, applied).to_string().as_bytes()),
                (None, Some(_)) => {}
            }
        });
    }
    out.number(3, saturate(status.remaining));
    if let Some(applied) = &status.applied {
        // `google.protobuf.Duration` {seconds 1}.
        out.message(4, |out| out.number(1, applied.reset().as_secs_ceil()));
    }
}

fn saturate(number: u64) -> u64 {
    number.min(u64::from(u32::MAX))
}

/// `envoy.config.core.v3.HeaderValue` {key 1, value 2}.
fn header(out: &mut Writer, name: &str, value: &str) {
    out.message(RESPONSE_HEADERS_TO_ADD, |out| {
        out.bytes(1, name.as_bytes());
        out.bytes(2, value.as_bytes());
    });
}
