//! Envoy's rate limit service, `envoy.service.ratelimit.v3.RateLimitService`.
//!
//! Every request of a gateway comes through here, so the path is our own from the HTTP/2 stream to the counters:
//! [`message`] borrows from the bytes that arrived, [`response`] writes the bytes that leave.

mod frame;
pub mod message;
mod metadata;
pub mod response;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tonic::Status;

use self::frame::Assembly;
use self::response::ResponseSettings;
use super::body::Body;
use super::context::Context;
use crate::core::decision::{Code, Decision};
use crate::core::descriptor;
use crate::counters::Deadline;
use crate::limiter::DecideError;
use crate::telemetry::decisions::Failure;
use crate::telemetry::traces::DecisionSpan;

/// The service's name.
pub const SERVICE: &str = "envoy.service.ratelimit.v3.RateLimitService";
/// The path of its one method.
pub const SHOULD_RATE_LIMIT: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
/// What an answer needs of the time that its caller waits, to be written and to arrive.
const MARGIN: Duration = Duration::from_millis(2);
/// An answer for two descriptors with headers and metadata is some 450 bytes.
const EXPECTED_ANSWER: usize = 512;

/// The service; one per worker.
#[derive(Debug)]
pub struct RateLimitService {
    context: Arc<Context>,
    settings: ResponseSettings,
    max_message: usize,
    assembly: Assembly,
}

impl RateLimitService {
    /// Decides with the limiter of `context`.
    #[must_use]
    pub fn new(context: Arc<Context>) -> Self {
        let settings = ResponseSettings::from_config(&context.config);
        let max_message = context.config.grpc.max_message_bytes;
        Self { context, settings, max_message, assembly: Assembly::default() }
    }

    /// Answers `ShouldRateLimit`.
    pub async fn should_rate_limit(&self, request: Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        if head.method != Method::POST {
            return refusal(StatusCode::METHOD_NOT_ALLOWED);
        }
        if !head.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(GRPC.as_bytes())) {
            return refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        }
        // Boxed, as it is rare, and everything that lives on here is copied with every request.
        let span = self.context.traces.start_decision_span(&head.headers).map(Box::new);
        let allowance = timeout(&head.headers);
        drop(head);
        match self.answer(body, allowance, span).await {
            Ok(answer) => {
                let mut response = Response::new(Body::Message(answer));
                response.headers_mut().insert(CONTENT_TYPE, GRPC);
                response
            }
            Err(Refusal { failure, status }) => {
                self.context.metrics.decisions().failed(failure);
                status.into_http()
            }
        }
    }

    /// `allowance` is how long the caller waits.
    async fn answer(
        &self,
        body: Incoming,
        allowance: Option<Duration>,
        mut span: Option<Box<DecisionSpan>>,
    ) -> Result<Bytes, Refusal> {
        let message = self.assembly.read(body, self.max_message).await?;
        // The caller's time to send is not ours.
        let start = Instant::now();
        let now = if self.context.limiter.never_waits() { self.decide_now(&message, &mut span) } else { None };
        let answer = match now {
            Some(answer) => answer,
            // Boxed, as everything in this future is copied with every request.
            None => {
                let deadline = allowance.map(|allowance| start + allowance.saturating_sub(MARGIN));
                Box::pin(self.decide(&message, deadline, &mut span)).await
            }
        };
        self.context.metrics.decisions().observe(start.elapsed());
        if let (Some(span), Err(refusal)) = (&mut span, &answer) {
            span.failed(&refusal.status);
        }
        answer
    }

    /// From one message to the framed other, on the spot if the counter store never waits.
    fn decide_now(&self, message: &[u8], span: &mut Option<Box<DecisionSpan>>) -> Option<Result<Bytes, Refusal>> {
        let limiter = &self.context.limiter;
        // First, since the request borrows from both, and goes before them.
        let active = limiter.active();
        let request = match message::decode(message, limiter.options().max_descriptors) {
            Ok(request) => request,
            Err(error) => return Some(Err(error.into())),
        };
        asked(span, &request);
        let decision = limiter.decide_now(&active, &request)?;
        Some(decision.map(|decision| self.reply(&decision, active.revision, span)).map_err(Refusal::from))
    }

    /// The same for a counter store that must be waited for.
    async fn decide(
        &self,
        message: &[u8],
        deadline: Deadline,
        span: &mut Option<Box<DecisionSpan>>,
    ) -> Result<Bytes, Refusal> {
        let limiter = &self.context.limiter;
        let active = limiter.active();
        let request = message::decode(message, limiter.options().max_descriptors)?;
        asked(span, &request);
        let decision = limiter.decide(&active, &request, deadline).await?;
        Ok(self.reply(&decision, active.revision, span))
    }

    fn reply(&self, decision: &Decision<'_>, revision: u64, span: &mut Option<Box<DecisionSpan>>) -> Bytes {
        if let Some(span) = span {
            span.outcome(if decision.code == Code::Ok { "ok" } else { "over_limit" });
        }
        let mut buffer = Vec::with_capacity(EXPECTED_ANSWER);
        buffer.extend_from_slice(&[0; frame::PREFIX]);
        let mut buffer = response::encode(buffer, decision, revision, &self.settings);
        frame::finish(&mut buffer);
        Bytes::from(buffer)
    }
}

/// How long the caller waits, by its `grpc-timeout` header: at most eight digits and a unit.
fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let count: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3_600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

/// Tells the span, if there is one, what is asked.
fn asked(span: &mut Option<Box<DecisionSpan>>, request: &descriptor::Request<'_>) {
    if let Some(span) = span {
        span.request(&String::from_utf8_lossy(request.domain), request.descriptors.len());
    }
}

/// A call that gets an error instead of a decision.
struct Refusal {
    failure: Failure,
    status: Status,
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Self { failure: Failure::Service, status }
    }
}

impl From<message::RequestError> for Refusal {
    fn from(error: message::RequestError) -> Self {
        Status::invalid_argument(error.to_string()).into()
    }
}

impl From<DecideError> for Refusal {
    fn from(error: DecideError) -> Self {
        let text = error.to_string();
        match error {
            DecideError::EmptyDomain | DecideError::EmptyDescriptors | DecideError::TooManyDescriptors { .. } => {
                Status::invalid_argument(text).into()
            }
            DecideError::NoRules => Status::unavailable(text).into(),
            DecideError::Store(_) => Self { failure: Failure::Store, status: Status::unavailable(text) },
        }
    }
}

/// What is not gRPC at all is answered in HTTP's terms.
fn refusal(code: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = code;
    response
}
