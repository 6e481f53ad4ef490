//! Calls to a server's HTTP API: one connection and one deadline a call, and refusals told in words.

mod stream;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::Value;

use super::client;
use super::descriptor::plain;

/// The largest answer read, bytes: an export of a million rules.
const MAX_ANSWER: usize = 1 << 30;

/// Which server, and who asks.
#[derive(Clone, Debug, clap::Args)]
pub struct ApiArgs {
    /// The server's HTTP API: http://host:port, https://host:port, or unix:PATH
    #[arg(long, env = "TIDEGATE_API", default_value = "http://127.0.0.1:8080", value_name = "URL")]
    api: String,
    /// A file with the token; without it, the token is that of TIDEGATE_TOKEN, or of the file TIDEGATE_TOKEN_FILE names
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Certificate authorities that the server's certificate is checked against, a PEM file; for https
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The longest to wait for connection and answer
    #[arg(long, default_value = "10s", value_parser = client::duration, value_name = "TIME")]
    timeout: Duration,
}

/// What is asked.
#[derive(Debug)]
pub struct Call {
    method: Method,
    path: String,
    headers: Vec<(HeaderName, String)>,
    body: Bytes,
}

impl Call {
    /// A call without a body. `path` begins with `/`, and is percent-encoded (see [`segment`]).
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), headers: Vec::new(), body: Bytes::new() }
    }

    /// With a header.
    pub fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// With a header, if there is a value.
    pub fn maybe(self, name: HeaderName, value: Option<String>) -> Self {
        match value {
            Some(value) => self.header(name, value),
            None => self,
        }
    }

    /// With a JSON body.
    pub fn json(self, value: &Value) -> Self {
        self.text("application/json", value.to_string())
    }

    /// With a body of some media type.
    pub fn text(mut self, media_type: &str, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.header(CONTENT_TYPE, media_type)
    }
}

/// An answer that is no refusal.
#[derive(Debug)]
pub struct Answer {
    /// 2xx.
    pub status: StatusCode,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_slice(&self.body)
            .context("the server's answer is no JSON; is this a Tidegate's HTTP API? (--api)")
    }
}

impl ApiArgs {
    /// A server, asked with the token of the environment, if there is one.
    pub const fn new(api: String, ca: Option<PathBuf>, timeout: Duration) -> Self {
        Self { api, token_file: None, ca, timeout }
    }

    /// Makes one call.
    ///
    /// # Errors
    /// When there is no answer, or when it is a refusal, with the server's reasons.
    pub fn call(&self, call: Call) -> anyhow::Result<Answer> {
        client::block_on(async {
            match tokio::time::timeout(self.timeout, self.send(call)).await {
                Ok(answer) => answer,
                Err(_) => {
                    let limit = humantime::format_duration(self.timeout);
                    Err(anyhow!("{} did not answer within {limit}; try a longer --timeout", self.api))
                }
            }
        })
    }

    fn token(&self) -> anyhow::Result<Option<HeaderValue>> {
        let token = match &self.token_file {
            Some(path) => {
                let text = std::fs::read_to_string(path);
                Some(text.with_context(|| format!("--token-file {}: cannot be read", path.display()))?)
            }
            None => client::token()?,
        };
        let Some(token) = token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()) else {
            return Ok(None);
        };
        let mut value =
            HeaderValue::try_from(format!("Bearer {token}")).context("the token has characters that no token has")?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    async fn send(&self, call: Call) -> anyhow::Result<Answer> {
        let (stream, host) = stream::open(&self.api, self.ca.as_deref()).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .with_context(|| format!("{} speaks no HTTP", self.api))?;
        let connection = tokio::spawn(connection);
        let mut request = Request::builder().method(call.method).uri(call.path).header(HOST, host);
        request = request.header(ACCEPT, "application/json, application/yaml, application/problem+json");
        for (name, value) in call.headers {
            let value = HeaderValue::from_bytes(value.as_bytes());
            request = request.header(name, value.context("a reason is one line of text")?);
        }
        if let Some(token) = self.token()? {
            request = request.header(AUTHORIZATION, token);
        }
        let request = request.body(Full::new(call.body)).context("what is asked for cannot be said in HTTP")?;
        let response = sender.send_request(request).await.with_context(|| format!("no answer from {}", self.api))?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        let body = body.map_err(|error| anyhow!("the answer of {} broke off: {error}", self.api))?.to_bytes();
        connection.abort();
        if !parts.status.is_success() {
            bail!("{}", refusal(parts.status, &body));
        }
        Ok(Answer { status: parts.status, body })
    }
}

/// A refusal in words: the problem document's, field by field.
fn refusal(status: StatusCode, body: &[u8]) -> String {
    let document: Value = serde_json::from_slice(body).unwrap_or_default();
    let detail = document.get("detail").and_then(Value::as_str).map(plain);
    let mut text = detail.unwrap_or_else(|| format!("the server answers {status}"));
    for error in document.get("errors").and_then(Value::as_array).into_iter().flatten() {
        let part = |name| error.get(name).and_then(Value::as_str).map(plain).unwrap_or_default();
        let (field, reason) = (part("field"), part("reason"));
        if !text.contains(&reason) {
            // Writing to a String cannot fail.
            let _ = write!(text, "\n  {field}: {reason}");
        }
    }
    match status {
        StatusCode::UNAUTHORIZED => {
            text.push_str("\nset TIDEGATE_TOKEN, or --token-file; `tidegate token create` makes one")
        }
        StatusCode::PRECONDITION_FAILED => {
            text.push_str("\nit was changed meanwhile; look at it again before you repeat this")
        }
        _ => {}
    }
    text
}

/// A text as one segment of a path.
pub fn segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// A query of the parameters that have a value, with its `?`.
pub fn query<'a>(parameters: impl IntoIterator<Item = (&'a str, Option<String>)>) -> String {
    let mut text = String::new();
    for (name, value) in parameters {
        if let Some(value) = value {
            text.push(if text.is_empty() { '?' } else { '&' });
            // Writing to a String cannot fail.
            let _ = write!(text, "{name}={}", segment(&value));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_path_cannot_hold_is_encoded() {
        assert_eq!(segment("a/b c=%2C*é"), "a%2Fb%20c%3D%252C%2A%C3%A9");
        assert_eq!(query([("a", Some("x&y".to_owned())), ("b", None), ("c", Some("1".to_owned()))]), "?a=x%26y&c=1");
    }

    #[test]
    fn refusals_are_told_field_by_field() {
        let body =
            br#"{"detail": "the rule has mistakes", "errors": [{"field": "rate_limit.unit", "reason": "is missing"}]}"#;
        assert_eq!(
            refusal(StatusCode::UNPROCESSABLE_ENTITY, body),
            "the rule has mistakes\n  rate_limit.unit: is missing"
        );
        assert_eq!(refusal(StatusCode::BAD_GATEWAY, b"<html>"), "the server answers 502 Bad Gateway");
    }
}
