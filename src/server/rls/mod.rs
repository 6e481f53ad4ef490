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
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tonic::Status;

use self::frame::Assembly;
use self::response::ResponseSettings;
use super::body::Body;
use super::context::Context;
use crate::limiter::DecideError;

/// The service's name.
pub const SERVICE: &str = "envoy.service.ratelimit.v3.RateLimitService";
/// The path of its one method.
pub const SHOULD_RATE_LIMIT: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
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
        let answer = match self.assembly.read(body, self.max_message).await {
            Ok(message) => self.decide(&message).await,
            Err(status) => Err(status),
        };
        match answer {
            Ok(answer) => {
                let mut response = Response::new(Body::Message(answer));
                response.headers_mut().insert(CONTENT_TYPE, GRPC);
                response
            }
            Err(status) => status.into_http(),
        }
    }

    /// From one message to the framed other.
    async fn decide(&self, message: &[u8]) -> Result<Bytes, Status> {
        let limiter = &self.context.limiter;
        // First, since the request borrows from both, and goes before them.
        let active = limiter.active();
        let request = message::decode(message, limiter.options().max_descriptors)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let decision = limiter.decide(&active, &request).await.map_err(status)?;
        let mut buffer = Vec::with_capacity(EXPECTED_ANSWER);
        buffer.extend_from_slice(&[0; frame::PREFIX]);
        let mut buffer = response::encode(buffer, &decision, active.revision, &self.settings);
        frame::finish(&mut buffer);
        Ok(Bytes::from(buffer))
    }
}

/// The gRPC status of a request without a decision.
fn status(error: DecideError) -> Status {
    let text = error.to_string();
    match error {
        DecideError::EmptyDomain | DecideError::EmptyDescriptors | DecideError::TooManyDescriptors { .. } => {
            Status::invalid_argument(text)
        }
        DecideError::NoRules | DecideError::Store(_) => Status::unavailable(text),
    }
}

/// What is not gRPC at all is answered in HTTP's terms.
fn refusal(code: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = code;
    response
}
