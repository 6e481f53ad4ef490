//! Clients that make the demo's visits: each takes from a queue of its own, over gRPC as Envoy would ask, or through
//! Envoy as a browser would.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitRequest;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tonic::transport::Channel;

use super::traffic::Visit;
use crate::cli::check;
use crate::cli::descriptor::TypedDescriptor;

/// Clients at once.
const CLIENTS: usize = 16;
/// Visits that wait for one client; more are not made.
const QUEUE: usize = 16;
/// The longest a visit may take.
const DEADLINE: Duration = Duration::from_secs(1);

/// What became of the visits.
#[derive(Debug, Default)]
pub struct Tally {
    allowed: AtomicU64,
    limited: AtomicU64,
    failed: AtomicU64,
    skipped: AtomicU64,
    last_error: Mutex<Option<String>>,
}

impl Tally {
    /// In a sentence.
    pub fn describe(&self) -> String {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let mut text = format!("{} requests allowed, {} limited", of(&self.allowed), of(&self.limited));
        if of(&self.skipped) > 0 {
            text.push_str(&format!(", {} not made in time", of(&self.skipped)));
        }
        if of(&self.failed) > 0 {
            let error = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
            text.push_str(&format!(", {} failed ({})", of(&self.failed), error.as_deref().unwrap_or("unknown")));
        }
        text
    }

    fn count(&self, result: anyhow::Result<bool>) {
        match result {
            Ok(true) => self.allowed.fetch_add(1, Ordering::Relaxed),
            Ok(false) => self.limited.fetch_add(1, Ordering::Relaxed),
            Err(error) => {
                *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(format!("{error:#}"));
                self.failed.fetch_add(1, Ordering::Relaxed)
            }
        };
    }
}

/// Where visits go.
#[derive(Clone, Debug)]
pub enum Target {
    /// Straight to the server.
    Grpc(Channel),
    /// Through Envoy.
    Envoy(SocketAddr),
}

/// All clients.
#[derive(Debug)]
pub struct Clients {
    queues: Vec<mpsc::Sender<Visit>>,
    next: usize,
    tally: Arc<Tally>,
}

impl Clients {
    /// Starts them.
    pub fn start(target: &Target, domain: &str) -> Self {
        let tally = Arc::new(Tally::default());
        let start = |_| {
            let (queue, visits) = mpsc::channel(QUEUE);
            tokio::spawn(client(target.clone(), domain.to_owned(), visits, Arc::clone(&tally)));
            queue
        };
        Self { queues: (0..CLIENTS).map(start).collect(), next: 0, tally }
    }

    /// Makes a visit soon, or never when the clients are behind.
    pub fn make(&mut self, visit: Visit) {
        self.next = (self.next + 1) % self.queues.len();
        if self.queues[self.next].try_send(visit).is_err() {
            self.tally.skipped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What became of the visits so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }
}

async fn client(target: Target, domain: String, mut visits: mpsc::Receiver<Visit>, tally: Arc<Tally>) {
    let mut envoy = None;
    while let Some(visit) = visits.recv().await {
        let call = async {
            match &target {
                Target::Grpc(channel) => ask(channel.clone(), &domain, &visit).await,
                Target::Envoy(address) => browse(&mut envoy, *address, &visit).await,
            }
        };
        let result = match tokio::time::timeout(DEADLINE, call).await {
            Ok(result) => result,
            Err(_) => Err(anyhow::anyhow!("no answer within {} s", DEADLINE.as_secs())),
        };
        if result.is_err() {
            envoy = None;
        }
        tally.count(result);
    }
}

/// Asks as Envoy would with the descriptors of [`descriptors`].
async fn ask(channel: Channel, domain: &str, visit: &Visit) -> anyhow::Result<bool> {
    let request = RateLimitRequest {
        domain: domain.to_owned(),
        descriptors: descriptors(visit).iter().map(|descriptor| check::message(descriptor, None)).collect(),
        hits_addend: 1,
    };
    let response = RateLimitServiceClient::new(channel)
        .should_rate_limit(request)
        .await
        .map_err(|status| anyhow::anyhow!("{:?}: {}", status.code(), status.message()))?;
    Ok(response.get_ref().overall_code() == Code::Ok)
}

/// The descriptors of a visit: those that `envoy.yaml` makes of the same request.
fn descriptors(visit: &Visit) -> Vec<TypedDescriptor> {
    let entry = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let method = entry("method", visit.method);
    let mut descriptors =
        vec![vec![entry("remote_address", &visit.address)], vec![entry("path", visit.path)], vec![method.clone()]];
    if let Some(user) = &visit.user {
        descriptors.push(vec![entry("user_id", user)]);
        descriptors.push(vec![method, entry("user_id", user)]);
    }
    descriptors.into_iter().map(TypedDescriptor).collect()
}

/// Fetches the page through Envoy, on a connection that is kept.
async fn browse(
    connection: &mut Option<SendRequest<Empty<bytes::Bytes>>>,
    envoy: SocketAddr,
    visit: &Visit,
) -> anyhow::Result<bool> {
    let sender = match connection {
        Some(sender) if !sender.is_closed() => sender,
        slot => {
            let stream = TcpStream::connect(envoy).await.with_context(|| format!("connecting to Envoy at {envoy}"))?;
            stream.set_nodelay(true)?;
            let (sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(driver);
            slot.insert(sender)
        }
    };
    sender.ready().await?;
    let mut request = http::Request::builder()
        .method(visit.method)
        .uri(visit.path)
        .header("host", "demo")
        .header("x-forwarded-for", &visit.address);
    if let Some(user) = &visit.user {
        request = request.header("x-user-id", user);
    }
    let response = sender.send_request(request.body(Empty::new())?).await?;
    let status = response.status();
    response.into_body().collect().await?;
    match status.as_u16() {
        200 => Ok(true),
        429 => Ok(false),
        other => anyhow::bail!("Envoy answers {other}"),
    }
}
