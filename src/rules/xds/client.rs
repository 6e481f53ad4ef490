//! The loop that follows an xDS server.
//!
//! A stream begins without a version, so that the server sends everything it has: versions of a server that was
//! started anew may look like those of the one before. What is in force already is acknowledged, and nothing else.
//!
//! A server answers a refusal with its newest set, which mostly is the one refused. Refusing that again is put off
//! longer and longer, or both would be busy with nothing else.

use std::convert::Infallible;
use std::hash::Hasher as _;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::config::core::v3::node::UserAgentVersionType;
use envoy_types::pb::envoy::service::discovery::v3::{
    DiscoveryRequest, DiscoveryResponse, aggregated_discovery_service_client as aggregated,
};
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Any, Struct, Value};
use envoy_types::pb::google::rpc;
use jiff::Timestamp;
use siphasher::sip128::{Hasher128 as _, SipHasher13};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue};
use tonic::{Code, Request};

use super::connect::{ConnectError, connect};
use super::copy::SetCopy;
use super::status::{Outcome, Refusal, Status};
use super::{TYPE_URL, translate};
use crate::config::xds::{Backoff, Xds};
use crate::core::ruleset::RuleSet;

/// Answers on their way: one a push, and the server waits for each.
const ANSWERS: usize = 4;

/// Why a stream has ended.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the server has a set larger than {limit} bytes; raise rules.xds.max_message_bytes ({message})")]
    TooLarge { limit: usize, message: String },
    #[error("the server ended the stream: {0}")]
    Status(String),
    #[error("the server ended the stream")]
    Ended,
}

/// Follows a server; see [`Client::run`].
pub struct Client<P> {
    settings: Xds,
    merge_domains: bool,
    status: Arc<Status>,
    publish: P,
    copy: Option<SetCopy>,
    /// The resources in force.
    in_force: Option<u128>,
    /// The resources refused last, and how long refusing them again waits.
    refused: Option<(u128, Pauses)>,
}

impl<P: FnMut(RuleSet) + Send> Client<P> {
    /// A client that hands every new set of rules to `publish`.
    #[must_use]
    pub fn new(settings: Xds, merge_domains: bool, status: Arc<Status>, publish: P) -> Self {
        Self { settings, merge_domains, status, publish, copy: None, in_force: None, refused: None }
    }

    /// Begins with this copy, and keeps it up.
    #[must_use]
    pub fn with_copy(self, copy: Option<SetCopy>) -> Self {
        Self { copy, ..self }
    }

    /// Follows the server for ever; drop it to stop.
    pub async fn run(mut self) {
        self.begin_with_copy().await;
        let mut pauses = Pauses::new(self.settings.backoff);
        loop {
            let Err(error) = self.follow(&mut pauses).await;
            let reason = error.to_string();
            if self.status.away(Timestamp::now(), &reason) {
                tracing::warn!(server = self.settings.server, "not told of changes of rules; trying again: {reason}");
            }
            sleep(pauses.next()).await;
        }
    }

    /// Puts the copy in force, as the server may be away for long. What it has replaces it as soon as it answers.
    async fn begin_with_copy(&mut self) {
        let Some(copy) = self.copy.clone() else { return };
        let merge_domains = self.merge_domains;
        let read = spawn_blocking(move || {
            let Some((version, resources)) = copy.read().map_err(|error| error.to_string())? else { return Ok(None) };
            let fingerprint = fingerprint(&resources);
            let rules = translate(resources, merge_domains).map_err(|mistakes| mistakes.to_string())?;
            Ok(Some((version, fingerprint, rules)))
        });
        match read.await.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(None) => {}
            Ok(Some((version, fingerprint, rules))) => {
                tracing::info!(version, "beginning with the copy of the rules on disk");
                (self.publish)(rules);
                self.in_force = Some(fingerprint);
                self.status.took_copy(&version);
            }
            Err(reason) => tracing::warn!("the copy of the rules on disk is not used: {reason}"),
        }
    }

    /// Follows it until the stream ends.
    async fn follow(&mut self, pauses: &mut Pauses) -> Result<Infallible, StreamError> {
        let channel = connect(&self.settings).await?;
        let limit = self.settings.max_message_bytes;
        let mut server = aggregated::AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(limit);
        let (answers, requests) = mpsc::channel(ANSWERS);
        let first = DiscoveryRequest {
            node: Some(node(&self.settings)),
            type_url: TYPE_URL.to_owned(),
            ..DiscoveryRequest::default()
        };
        let gone = |_| StreamError::Ended;
        answers.send(first).await.map_err(gone)?;
        self.status.connected(Timestamp::now());
        tracing::info!(server = self.settings.server, "asking the xDS server for rules");
        let ended = |status: tonic::Status| match status.code() {
            Code::OutOfRange => StreamError::TooLarge { limit, message: status.message().to_owned() },
            code => StreamError::Status(format!("{} ({code:?})", sentence(&status))),
        };
        // A server may say nothing at all before it has rules, so this takes as long as it takes.
        let stream = server.stream_aggregated_resources(self.request(requests)).await.map_err(ended)?;
        let mut pushes = stream.into_inner();
        let mut version = String::new();
        while let Some(push) = pushes.message().await.map_err(ended)? {
            if push.type_url != TYPE_URL {
                tracing::warn!(
                    type_url = push.type_url,
                    "the xDS server sent what was not asked for; it is left alone"
                );
                continue;
            }
            let answer = self.take(push, &mut version).await;
            if answer.error_detail.is_none() {
                pauses.reset();
            }
            answers.send(answer).await.map_err(gone)?;
        }
        Err(StreamError::Ended)
    }

    fn request(&self, requests: mpsc::Receiver<DiscoveryRequest>) -> Request<ReceiverStream<DiscoveryRequest>> {
        let mut request = Request::new(ReceiverStream::new(requests));
        for (name, value) in &self.settings.headers {
            let name = name.to_lowercase().parse::<AsciiMetadataKey>();
            let value = AsciiMetadataValue::try_from(value.reveal());
            // Checked with the settings.
            if let (Ok(name), Ok(mut value)) = (name, value) {
                value.set_sensitive(true);
                request.metadata_mut().insert(name, value);
            }
        }
        request
    }

    /// Puts a set in force, or does not, and says what to answer. `version` is that of the last good set of the stream.
    async fn take(&mut self, push: DiscoveryResponse, version: &mut String) -> DiscoveryRequest {
        let DiscoveryResponse { version_info, nonce, mut resources, .. } = push;
        resources.sort_by(|a, b| a.value.cmp(&b.value));
        let fingerprint = fingerprint(&resources);
        let reason = if self.in_force == Some(fingerprint) {
            self.status.took(Timestamp::now(), &version_info, Outcome::Unchanged);
            None
        } else {
            self.put_in_force(resources, fingerprint, &version_info).await.err()
        };
        let error_detail = match reason {
            None => {
                self.refused = None;
                *version = version_info;
                None
            }
            Some(reason) => {
                self.refuse(fingerprint, version_info, &reason).await;
                Some(rpc::Status { code: Code::InvalidArgument as i32, message: reason, details: Vec::new() })
            }
        };
        DiscoveryRequest {
            version_info: version.clone(),
            response_nonce: nonce,
            type_url: TYPE_URL.to_owned(),
            error_detail,
            ..DiscoveryRequest::default()
        }
    }

    async fn put_in_force(&mut self, resources: Vec<Any>, fingerprint: u128, version: &str) -> Result<(), String> {
        let (count, merge_domains) = (resources.len(), self.merge_domains);
        let kept = self.copy.clone().map(|copy| (copy, version.to_owned(), resources.clone()));
        let compiled = spawn_blocking(move || translate(resources, merge_domains)).await;
        let rules = compiled.map_err(|error| format!("the rules could not be compiled: {error}"))?;
        let rules = rules.map_err(|mistakes| mistakes.to_string())?;
        if rules.rule_count() == 0 {
            tracing::warn!(version, resources = count, "the xDS server sent no rules at all: every request passes");
        }
        (self.publish)(rules);
        self.in_force = Some(fingerprint);
        self.status.took(Timestamp::now(), version, Outcome::Accepted);
        if let Some((copy, version, resources)) = kept {
            let written = spawn_blocking(move || copy.write(version, resources).map_err(|error| error.to_string()));
            if let Err(reason) = written.await.unwrap_or_else(|error| Err(error.to_string())) {
                tracing::warn!("the copy of the rules on disk falls behind: {reason}");
            }
        }
        Ok(())
    }

    /// Tells of a refusal. One that was told already is put off.
    async fn refuse(&mut self, fingerprint: u128, version: String, reason: &str) {
        let again = match &mut self.refused {
            Some((known, pauses)) if *known == fingerprint => Some(pauses.next()),
            refused => {
                *refused = Some((fingerprint, Pauses::new(self.settings.backoff)));
                tracing::error!(version, "the rules of the xDS server have mistakes; the ones in force stay: {reason}");
                None
            }
        };
        self.status.refused(Refusal { version, at: Timestamp::now(), reason: reason.to_owned() });
        if let Some(pause) = again {
            sleep(pause).await;
        }
    }
}

/// Who we are.
fn node(settings: &Xds) -> Node {
    let text = |text: &String| Value { kind: Some(Kind::StringValue(text.clone())) };
    let fields = settings.node_metadata.iter().map(|(key, value)| (key.clone(), text(value))).collect();
    Node {
        id: settings.node_id.clone(),
        metadata: Some(Struct { fields }),
        user_agent_name: "tidegate".to_owned(),
        user_agent_version_type: Some(UserAgentVersionType::UserAgentVersion(env!("CARGO_PKG_VERSION").to_owned())),
        ..Node::default()
    }
}

/// Of the resources of a set, in their order.
fn fingerprint(resources: &[Any]) -> u128 {
    let mut hasher = SipHasher13::new();
    for resource in resources {
        for part in [resource.type_url.as_bytes(), &resource.value] {
            hasher.write(&(part.len() as u64).to_le_bytes());
            hasher.write(part);
        }
    }
    hasher.finish128().as_u128()
}

/// What a status says, with what caused it.
fn sentence(status: &tonic::Status) -> String {
    let mut text = status.message().to_owned();
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        let reason = error.to_string();
        if !text.contains(&reason) {
            text = format!("{text}: {reason}");
        }
        cause = error.source();
    }
    text
}

/// Pauses that double up to the longest, each shortened by up to half, by chance.
#[derive(Clone, Copy, Debug)]
struct Pauses {
    settings: Backoff,
    next: Duration,
}

impl Pauses {
    const fn new(settings: Backoff) -> Self {
        Self { settings, next: settings.initial }
    }

    fn reset(&mut self) {
        self.next = self.settings.initial;
    }

    fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = pause.saturating_mul(2).min(self.settings.max);
        pause.mul_f64(1.0 - fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_begin_anew() {
        let (initial, max) = (Duration::from_millis(100), Duration::from_secs(1));
        let mut pauses = Pauses::new(Backoff { initial, max });
        for longest in [100, 200, 400, 800, 1_000, 1_000] {
            let (pause, longest) = (pauses.next(), Duration::from_millis(longest));
            assert!(longest / 2 <= pause && pause <= longest, "{pause:?} of {longest:?}");
        }
        pauses.reset();
        assert!(pauses.next() <= initial);
    }

    #[test]
    fn sets_are_told_apart() {
        let any = |type_url: &str, value: &str| Any { type_url: type_url.to_owned(), value: value.into() };
        let one = fingerprint(&[any("a", "b"), any("c", "d")]);
        assert_eq!(one, fingerprint(&[any("a", "b"), any("c", "d")]));
        for other in [vec![], vec![any("a", "b")], vec![any("ab", ""), any("c", "d")], vec![any("a", "bcd")]] {
            assert_ne!(one, fingerprint(&other));
        }
    }
}
