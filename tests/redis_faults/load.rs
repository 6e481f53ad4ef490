//! Steady load as Envoy makes it: every request has 20 ms, and says so.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use envoy_types::pb::google::protobuf::value::Kind;
use tokio::time::{MissedTickBehavior, interval};
use tonic::{Code, Request, Status};

use crate::redis_support::wait_until;
use crate::server_support::{OVER_LIMIT, channel, request};

/// How long Envoy waits unless configured.
pub const ENVOY: Duration = Duration::from_millis(20);

/// Requests of one client to one server, always the same.
#[derive(Clone, Debug)]
pub struct Flow {
    pub server: SocketAddr,
    /// The rule, see [`crate::site::RULES`].
    pub key: &'static str,
    /// One, or several with commas between: each is a descriptor of its own.
    pub value: String,
    pub every: Duration,
}

/// Who answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The counter in Redis, or what is remembered of it.
    Counter,
    /// The counters of the process.
    Local,
    /// The failure modes `open` and `closed`.
    Nobody,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Given {
        admitted: bool,
        by: By,
    },
    /// Not within [`ENVOY`]: the client has given up.
    Late,
    Error(Code, String),
}

impl Answer {
    pub fn is_by(&self, who: By) -> bool {
        matches!(self, Self::Given { by, .. } if *by == who)
    }

    pub fn is_admitted(&self) -> bool {
        matches!(self, Self::Given { admitted: true, .. })
    }
}

#[derive(Clone, Debug)]
pub struct Record {
    /// The position of the flow.
    pub flow: usize,
    pub key: &'static str,
    pub at: Instant,
    pub answered: Instant,
    pub answer: Answer,
}

/// Load under way, on a thread of its own; it ends when this is dropped.
#[derive(Debug)]
pub struct Load {
    records: Arc<Mutex<Vec<Record>>>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    pub fn start(flows: &[Flow]) -> Self {
        let (records, end) = (Arc::<Mutex<Vec<Record>>>::default(), Arc::new(AtomicBool::new(false)));
        let (flows, into, ended) = (flows.to_vec(), Arc::clone(&records), Arc::clone(&end));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(run(flows, into, ended));
        });
        Self { records, end, thread: Some(thread) }
    }

    /// What was asked from then on, and has been answered.
    pub fn since(&self, start: Instant) -> Vec<Record> {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.iter().filter(|record| record.at >= start).cloned().collect()
    }

    /// Waits until this holds of what was asked from then on.
    pub fn until(&self, what: &str, start: Instant, mut condition: impl FnMut(&[Record]) -> bool) {
        wait_until(what, || condition(&self.since(start)));
    }

    /// Ends the load; everything that was asked.
    pub fn stop(mut self) -> Vec<Record> {
        self.end();
        std::mem::take(&mut *self.records.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn end(&mut self) {
        self.end.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // It panics only in a test that fails already.
            let _ = thread.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}

async fn run(flows: Vec<Flow>, into: Arc<Mutex<Vec<Record>>>, end: Arc<AtomicBool>) {
    // One connection to each server, as from one thread of Envoy.
    let mut clients: Vec<(SocketAddr, RateLimitServiceClient<_>)> = Vec::new();
    for flow in &flows {
        if !clients.iter().any(|(server, _)| *server == flow.server) {
            clients.push((flow.server, RateLimitServiceClient::new(channel(flow.server).await)));
        }
    }
    let mut tasks = tokio::task::JoinSet::new();
    for (number, flow) in flows.into_iter().enumerate() {
        let (_, client) = clients.iter().find(|(server, _)| *server == flow.server).unwrap();
        let (mut client, into, end) = (client.clone(), Arc::clone(&into), Arc::clone(&end));
        let entries: Vec<_> = flow.value.split(',').map(|value| [(flow.key, value)]).collect();
        let message = request("faults", &entries.iter().map(|entry| &entry[..]).collect::<Vec<_>>());
        tasks.spawn(async move {
            let mut ticks = interval(flow.every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while !end.load(Ordering::SeqCst) {
                ticks.tick().await;
                let at = Instant::now();
                let answer = answer(client.should_rate_limit(with_timeout(message.clone())).await);
                let record = Record { flow: number, key: flow.key, at, answered: Instant::now(), answer };
                into.lock().unwrap_or_else(PoisonError::into_inner).push(record);
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
}

fn with_timeout(message: RateLimitRequest) -> Request<RateLimitRequest> {
    let mut request = Request::new(message);
    // Becomes `grpc-timeout`, and the client keeps to it.
    request.set_timeout(ENVOY);
    request
}

fn answer(answer: Result<tonic::Response<RateLimitResponse>, Status>) -> Answer {
    match answer {
        Ok(response) => {
            let response = response.into_inner();
            let by = match cause(&response).as_deref() {
                None => By::Counter,
                Some("counted-locally") => By::Local,
                Some("store-unavailable") => By::Nobody,
                Some(other) => panic!("an unknown cause: {other}"),
            };
            Answer::Given { admitted: response.overall_code != OVER_LIMIT, by }
        }
        Err(status) if matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded) => Answer::Late,
        // The server parts with a connection on which very many calls have just been given up; so late were they.
        Err(status)
            if status.code() == Code::ResourceExhausted && status.message().starts_with("h2 protocol error") =>
        {
            Answer::Late
        }
        Err(status) => Answer::Error(status.code(), status.message().to_owned()),
    }
}

fn cause(response: &RateLimitResponse) -> Option<String> {
    match response.dynamic_metadata.as_ref()?.fields.get("cause")?.kind.as_ref()? {
        Kind::StringValue(text) => Some(text.clone()),
        other => panic!("a cause that is no text: {other:?}"),
    }
}
