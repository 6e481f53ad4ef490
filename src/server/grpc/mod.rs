//! Unary calls that are answered with a decision, on a path of their own from the HTTP/2 stream to the answer.
//!
//! Every request of a gateway comes through here, whichever protocol it asks by: what a [`Method`] adds is how its
//! message is read ([`crate::wire`] borrows from the bytes that arrived) and how its answer is written (straight into
//! the bytes that leave).

mod frame;
pub mod metadata;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method as HttpMethod, Request, Response, StatusCode};
use hyper::body::Incoming;
use tonic::Status;

use self::frame::Assembly;
use super::body::Body;
use super::context::Context;
use crate::core::decision::{Decision, Source};
use crate::core::descriptor;
use crate::counters::Deadline;
use crate::limiter::DecideError;
use crate::telemetry::decisions::Failure;
use crate::telemetry::traces::DecisionSpan;

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
/// What an answer needs of the time that its caller waits, to be written and to arrive.
const MARGIN: Duration = Duration::from_millis(2);
/// An answer with headers and metadata is some 450 bytes.
const EXPECTED_ANSWER: usize = 512;

/// A method whose answer is a decision: from one message to the framed other.
pub trait Method {
    /// As the protocol calls it, for spans and errors.
    const NAME: &'static str;

    /// Decides on the spot; `None` if the counter store has to be waited for.
    fn decide_now(&self, message: &[u8], span: &mut Span) -> Option<Result<Bytes, Refusal>>;

    /// Decides with a counter store that must be waited for, until `deadline`.
    fn decide(
        &self,
        message: &[u8],
        deadline: Deadline,
        span: &mut Span,
    ) -> impl Future<Output = Result<Bytes, Refusal>> + Send;
}

/// Answers calls; one per worker.
#[derive(Debug)]
pub struct Calls {
    context: Arc<Context>,
    max_message: usize,
    assembly: Assembly,
}

impl Calls {
    /// Calls of the services of `context`.
    #[must_use]
    pub fn new(context: Arc<Context>) -> Self {
        let max_message = context.config.grpc.max_message_bytes;
        Self { context, max_message, assembly: Assembly::default() }
    }

    /// Answers one call of `method`.
    pub async fn answer<M: Method>(&self, method: &M, request: Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        if head.method != HttpMethod::POST {
            return refusal(StatusCode::METHOD_NOT_ALLOWED);
        }
        if !head.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(GRPC.as_bytes())) {
            return refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        }
        let span = Span::start(&self.context, M::NAME, &head.headers);
        let allowance = timeout(&head.headers);
        drop(head);
        match self.decide(method, body, allowance, span).await {
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
    async fn decide<M: Method>(
        &self,
        method: &M,
        body: Incoming,
        allowance: Option<Duration>,
        mut span: Span,
    ) -> Result<Bytes, Refusal> {
        let message = self.assembly.read(body, self.max_message, M::NAME).await?;
        // The caller's time to send is not ours.
        let start = Instant::now();
        let now = if self.context.limiter.never_waits() { method.decide_now(&message, &mut span) } else { None };
        let answer = match now {
            Some(answer) => answer,
            // Boxed, as everything in this future is copied with every request.
            None => {
                let deadline = allowance.map(|allowance| start + allowance.saturating_sub(MARGIN));
                Box::pin(method.decide(&message, deadline, &mut span)).await
            }
        };
        self.context.metrics.decisions().observe(start.elapsed());
        if let Err(refusal) = &answer {
            span.failed(&refusal.status);
        }
        answer
    }
}

/// The framed message that `encode` appends to the buffer it is given.
pub fn framed(encode: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Bytes {
    let mut buffer = Vec::with_capacity(EXPECTED_ANSWER);
    buffer.extend_from_slice(&[0; frame::PREFIX]);
    let mut buffer = encode(buffer);
    frame::finish(&mut buffer);
    Bytes::from(buffer)
}

/// The span of a call, if it has one. Boxed, as it is rare, and everything that lives on in a call is copied with it.
#[derive(Debug)]
pub struct Span(Option<Box<DecisionSpan>>);

impl Span {
    fn start(context: &Context, method: &'static str, headers: &HeaderMap) -> Self {
        Self(context.traces.start_decision_span(method, headers).map(Box::new))
    }

    /// What is asked.
    pub fn asked(&mut self, request: &descriptor::Request<'_>) {
        if let Some(span) = &mut self.0 {
            span.request(&String::from_utf8_lossy(request.domain), request.descriptors.len());
        }
    }

    /// When counting begins, if anybody wants to know.
    #[must_use]
    pub fn counting(&self) -> Option<SystemTime> {
        self.0.as_ref().map(|_| SystemTime::now())
    }

    /// That counters were waited for since then, and what became of it. Those that this process knows to be over their
    /// limit were not.
    pub fn counted(&self, since: Option<SystemTime>, decided: &Result<Decision<'_>, DecideError>) {
        let (Some(span), Some(since)) = (&self.0, since) else { return };
        match decided {
            Ok(decision) => {
                let sources = decision.statuses.iter().filter_map(|status| Some(status.applied.as_ref()?.source));
                let mut elsewhere = sources.filter(|source| *source != Source::OverLimitMemory).peekable();
                if elsewhere.peek().is_some() {
                    span.asked_redis(since, elsewhere.find_map(Source::cause));
                }
            }
            Err(DecideError::Store(_)) => span.asked_redis(since, Some("store-unavailable")),
            Err(_) => {}
        }
    }

    /// What is answered.
    pub fn outcome(&mut self, outcome: &'static str) {
        if let Some(span) = &mut self.0 {
            span.outcome(outcome);
        }
    }

    fn failed(&mut self, status: &Status) {
        if let Some(span) = &mut self.0 {
            span.failed(status);
        }
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

/// A call that gets an error instead of a decision.
#[derive(Debug)]
pub struct Refusal {
    failure: Failure,
    status: Status,
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Self { failure: Failure::Service, status }
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
