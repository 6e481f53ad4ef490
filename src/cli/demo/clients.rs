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

use super::fate::Answer;
use super::traffic::Visit;
use crate::anomaly::simulate::Record;
use crate::cli::check;
use crate::cli::descriptor::TypedDescriptor;
use crate::server::problem::ABNORMAL_USAGE;

/// Clients at once.
const CLIENTS: usize = 16;
/// Visits that wait for one client; more are not made.
const QUEUE: usize = 64;
/// The longest a visit may take.
const DEADLINE: Duration = Duration::from_secs(1);

/// Visits that came to nothing.
#[derive(Debug, Default)]
pub struct Lost {
    failed: AtomicU64,
    skipped: AtomicU64,
    last_error: Mutex<Option<String>>,
}

impl Lost {
    /// In a sentence; `None` without any.
    pub fn describe(&self) -> Option<String> {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let mut parts = Vec::new();
        if of(&self.skipped) > 0 {
            parts.push(format!("{} requests not made in time", of(&self.skipped)));
        }
        if of(&self.failed) > 0 {
            let error = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
            parts.push(format!("{} requests failed ({})", of(&self.failed), error.as_deref().unwrap_or("unknown")));
        }
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    fn failed(&self, error: &anyhow::Error) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(format!("{error:#}"));
        self.failed.fetch_add(1, Ordering::Relaxed);
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
    lost: Arc<Lost>,
}

impl Clients {
    /// Starts them.
    pub fn start(target: &Target, domain: &str) -> Self {
        let lost = Arc::new(Lost::default());
        let start = |_| {
            let (queue, visits) = mpsc::channel(QUEUE);
            tokio::spawn(client(target.clone(), domain.to_owned(), visits, Arc::clone(&lost)));
            queue
        };
        Self { queues: (0..CLIENTS).map(start).collect(), next: 0, lost }
    }

    /// Makes a visit soon, or never when the clients are behind.
    pub fn make(&mut self, visit: Visit) {
        self.next = (self.next + 1) % self.queues.len();
        if self.queues[self.next].try_send(visit).is_err() {
            self.lost.skipped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Visits that came to nothing so far.
    pub fn lost(&self) -> &Lost {
        &self.lost
    }
}

async fn client(target: Target, domain: String, mut visits: mpsc::Receiver<Visit>, lost: Arc<Lost>) {
    let mut envoy = None;
    while let Some(visit) = visits.recv().await {
        let call = async {
            match &target {
                Target::Grpc(channel) => ask(channel.clone(), &domain, &visit.record).await,
                Target::Envoy(address) => browse(&mut envoy, *address, &visit.record).await,
            }
        };
        let result = match tokio::time::timeout(DEADLINE, call).await {
            Ok(result) => result,
            Err(_) => Err(anyhow::anyhow!("no answer within {} s", DEADLINE.as_secs())),
        };
        match result {
            Ok(answer) => visit.fate.count(answer),
            Err(error) => {
                envoy = None;
                lost.failed(&error);
            }
        }
    }
}

/// Asks as Envoy would with the descriptors of [`descriptors`].
async fn ask(channel: Channel, domain: &str, visit: &Record) -> anyhow::Result<Answer> {
    let request = RateLimitRequest {
        domain: domain.to_owned(),
        descriptors: descriptors(visit).iter().map(|descriptor| check::message(descriptor, None)).collect(),
        hits_addend: 1,
    };
    let response = RateLimitServiceClient::new(channel)
        .should_rate_limit(request)
        .await
        .map_err(|status| anyhow::anyhow!("{:?}: {}", status.code(), status.message()))?;
    let response = response.get_ref();
    Ok(if response.overall_code() == Code::Ok { Answer::Passed } else { denied(&response.raw_body) })
}

/// Who denied it: the problem document says so.
fn denied(body: &[u8]) -> Answer {
    let is_unusual = memchr::memmem::find(body, ABNORMAL_USAGE.as_bytes()).is_some();
    if is_unusual { Answer::LimitedByWorker } else { Answer::LimitedByRules }
}

/// The descriptors of a visit: those that `envoy.yaml` makes of the same request.
fn descriptors(visit: &Record) -> Vec<TypedDescriptor> {
    let entry = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let (address, method) = (entry("remote_address", &visit.address.to_string()), entry("method", visit.method));
    let mut descriptors = vec![
        vec![address.clone()],
        vec![entry("path", &visit.path), address],
        vec![method.clone()],
        vec![entry("user_agent", &visit.user_agent), entry("country", visit.country)],
    ];
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
    visit: &Record,
) -> anyhow::Result<Answer> {
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
        .uri(visit.path.as_str())
        .header("host", "demo")
        .header("user-agent", &*visit.user_agent)
        .header("x-country", visit.country)
        .header("x-forwarded-for", visit.address.to_string());
    if let Some(user) = &visit.user {
        request = request.header("x-user-id", &**user);
    }
    let response = sender.send_request(request.body(Empty::new())?).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    match status.as_u16() {
        200 => Ok(Answer::Passed),
        429 => Ok(denied(&body)),
        other => anyhow::bail!("Envoy answers {other}"),
    }
}
