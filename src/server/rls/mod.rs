//! Envoy's rate limit service, `envoy.service.ratelimit.v3.RateLimitService`: [`message`] reads what is asked,
//! [`response`] writes the answer.

pub mod message;
pub mod response;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use tonic::Status;

use self::response::ResponseSettings;
use super::context::Context;
use super::grpc::{self, Method, Refusal, Span};
use crate::core::decision::{Code, Decision};
use crate::core::descriptor::Request;
use crate::counters::Deadline;

/// The service's name.
pub const SERVICE: &str = "envoy.service.ratelimit.v3.RateLimitService";
/// The path of its one method.
pub const SHOULD_RATE_LIMIT: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

/// The service; one per worker.
#[derive(Debug)]
pub struct RateLimitService {
    context: Arc<Context>,
    settings: ResponseSettings,
}

impl RateLimitService {
    /// Decides with the limiter of `context`.
    #[must_use]
    pub fn new(context: Arc<Context>) -> Self {
        let settings = ResponseSettings::from_config(&context.config);
        Self { context, settings }
    }

    fn reply(&self, request: &Request<'_>, decision: &Decision<'_>, revision: u64, span: &mut Span) -> Bytes {
        self.context.observe(request, decision);
        span.outcome(if decision.code == Code::Ok { "ok" } else { "over_limit" });
        grpc::framed(|buffer| response::encode(buffer, decision, revision, &self.settings))
    }
}

impl Method for RateLimitService {
    const NAME: &'static str = "ShouldRateLimit";

    fn decide_now(&self, message: &[u8], span: &mut Span) -> Option<Result<Bytes, Refusal>> {
        let limiter = &self.context.limiter;
        // First, since the request borrows from both, and goes before them.
        let active = limiter.active();
        let request = match message::decode(message, limiter.options().max_descriptors) {
            Ok(request) => request,
            Err(error) => return Some(Err(error.into())),
        };
        span.asked(&request);
        let decision = limiter.decide_now(&active, &request)?;
        Some(decision.map(|decision| self.reply(&request, &decision, active.revision, span)).map_err(Refusal::from))
    }

    async fn decide(&self, message: &[u8], deadline: Deadline, span: &mut Span) -> Result<Bytes, Refusal> {
        let limiter = &self.context.limiter;
        let active = limiter.active();
        let request = message::decode(message, limiter.options().max_descriptors)?;
        span.asked(&request);
        let since = span.counting();
        let decided = limiter.decide(&active, &request, deadline).await;
        span.counted(since, &decided);
        let decision = decided?;
        Ok(self.reply(&request, &decision, active.revision, span))
    }
}

impl From<message::RequestError> for Refusal {
    fn from(error: message::RequestError) -> Self {
        Status::invalid_argument(error.to_string()).into()
    }
}
