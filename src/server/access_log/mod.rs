//! Envoy's access-log service, `envoy.service.accesslog.v3.AccessLogService`: how requests ended, for the anomaly
//! worker. [`message`] reads what Envoy sends, [`log`] makes observations of it.
//!
//! Envoy keeps a stream open for ever and reads no answer. So nothing here is an error to it: what cannot be used is
//! counted. Streams end with their connection's time, with the one answer that the protocol has, and Envoy opens
//! another.

mod codec;
pub mod log;
pub mod message;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use hashbrown::{HashMap, HashSet};
use http::Response;
use hyper::body::Incoming;
use tokio::sync::{Semaphore, watch};
use tonic::server::{ClientStreamingService, Grpc};
use tonic::{Code, Request, Status, Streaming};

use self::codec::Raw;
use self::log::Log;
use self::message::{Part, Parts};
use super::context::Context;
use crate::anomaly::observe::Observations;
use crate::config::Config;
use crate::core::clock::Micros;
use crate::telemetry::metrics::Metrics;
use crate::wire::Malformed;

/// The service's name.
pub const SERVICE: &str = "envoy.service.accesslog.v3.AccessLogService";
/// The path of its one method.
pub const STREAM_ACCESS_LOGS: &str = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs";

/// The largest message, bytes. Envoy sends what it has once that is 16 KiB (`buffer_size_bytes`), and the last entry may
/// have all headers of a request.
pub const MAX_MESSAGE: usize = 256 << 10;
/// The most streams of all workers together; each can hold a message. Every thread of every Envoy has one.
pub const MAX_STREAMS: usize = 2_048;
/// The most entries of a message that are read.
const MAX_ENTRIES: u32 = 10_000;
/// So many entries are read before others get their turn.
const TURN: u32 = 128;

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It became an observation.
    Observed,
    /// Nobody wants observations.
    Unwanted,
    /// Its log is not in the settings.
    UnknownLog,
    /// It is about a request that goes on.
    Intermediate,
    /// It is about a connection.
    Tcp,
    /// It cannot be read, nor what follows it in its message.
    Malformed,
    /// Its message is too large, or has too many entries before it.
    Excess,
}

impl Fate {
    const ALL: [Self; 7] = [
        Self::Observed,
        Self::Unwanted,
        Self::UnknownLog,
        Self::Intermediate,
        Self::Tcp,
        Self::Malformed,
        Self::Excess,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Observed => "observed",
            Self::Unwanted => "unwanted",
            Self::UnknownLog => "unknown_log",
            Self::Intermediate => "intermediate",
            Self::Tcp => "tcp",
            Self::Malformed => "malformed",
            Self::Excess => "excess",
        }
    }
}

/// The access logs of the settings, and what became of their entries.
#[derive(Debug)]
pub struct AccessLogs {
    logs: HashMap<Box<str>, Log, foldhash::fast::RandomState>,
    domains: HashSet<Box<str>, foldhash::fast::RandomState>,
    fates: [AtomicU64; Fate::ALL.len()],
    streams: Arc<Semaphore>,
    /// An unknown log was told of.
    told: AtomicBool,
}

impl AccessLogs {
    /// Of the settings.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let (settings, ignore_case) = (&config.anomaly.access_logs, config.ext_authz.paths.ignore_case);
        Self {
            logs: settings.iter().map(|(name, log)| (name.as_str().into(), Log::new(log, ignore_case))).collect(),
            domains: settings.values().map(|log| log.domain.as_str().into()).collect(),
            fates: Default::default(),
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            told: AtomicBool::new(false),
        }
    }

    /// Whether a domain's observations come from an access log.
    #[must_use]
    pub fn tell_of(&self, domain: &str) -> bool {
        !self.domains.is_empty() && self.domains.contains(domain)
    }

    /// Adds what is measured of them.
    pub fn register(self: &Arc<Self>, metrics: &Metrics) {
        let logs = Arc::clone(self);
        metrics.counters("access_log_entries", "Entries of Envoy's access logs", "outcome", move || {
            let counts = Fate::ALL.iter().zip(&logs.fates);
            counts.map(|(fate, count)| (fate.name().to_owned(), count.load(Ordering::Relaxed))).collect()
        });
        let logs = Arc::clone(self);
        metrics.gauge("access_log_streams", "Open streams of Envoy's access logs", move || {
            (MAX_STREAMS - logs.streams.available_permits().min(MAX_STREAMS)) as f64
        });
    }

    fn named(&self, name: &[u8]) -> Option<&Log> {
        let found = std::str::from_utf8(name).ok().and_then(|name| self.logs.get(name));
        if found.is_none() && !self.told.swap(true, Ordering::Relaxed) {
            let name = name.get(..name.len().min(100)).unwrap_or_default().escape_ascii().to_string();
            tracing::warn!(
                log_name = name,
                "an Envoy sends an access log that anomaly.access_logs does not name; its entries are ignored"
            );
        }
        found
    }

    fn count(&self, fate: Fate, entries: u64) {
        if let Some(count) = self.fates.get(fate as usize) {
            count.fetch_add(entries, Ordering::Relaxed);
        }
    }

    /// Reads one message of a stream. `log` is that of the messages before, and of those after.
    async fn read<'l>(
        &'l self,
        message: &[u8],
        log: &mut Option<&'l Log>,
        observations: &Observations,
        now: impl Fn() -> Micros,
    ) {
        let mut tally = [0_u64; Fate::ALL.len()];
        let mut parts = Parts::of(message);
        let mut entries = 0;
        loop {
            let fate = match parts.next_part() {
                Ok(None) => break,
                Ok(Some(Part::Name(name))) => {
                    *log = self.named(name);
                    continue;
                }
                Ok(Some(Part::Tcp)) => Fate::Tcp,
                Ok(Some(Part::Http(entry))) => match *log {
                    None => Fate::UnknownLog,
                    Some(_) if entries >= MAX_ENTRIES => Fate::Excess,
                    Some(_) if !observations.are_wanted() => Fate::Unwanted,
                    Some(log) => take(entry, log, observations, now()).unwrap_or(Fate::Malformed),
                },
                Err(_) => {
                    tally[Fate::Malformed as usize] += 1;
                    break;
                }
            };
            tally[fate as usize] += 1;
            entries += 1;
            if entries % TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
        for (fate, entries) in Fate::ALL.into_iter().zip(tally).filter(|(_, entries)| *entries > 0) {
            self.count(fate, entries);
        }
    }
}

fn take(entry: &[u8], log: &Log, observations: &Observations, now: Micros) -> Result<Fate, Malformed> {
    let entry = message::entry(entry)?;
    if entry.intermediate {
        return Ok(Fate::Intermediate);
    }
    log.observe(&entry, now, |observation| observations.record(observation));
    Ok(Fate::Observed)
}

/// Answers a call; `closing` tells when its connection is to end.
pub async fn answer(
    context: &Arc<Context>,
    request: http::Request<Incoming>,
    closing: watch::Receiver<bool>,
) -> Response<tonic::body::Body> {
    let limit = MAX_MESSAGE.min(context.config.grpc.max_message_bytes);
    let sink = Sink { context: Arc::clone(context), closing };
    Grpc::new(Raw).apply_max_message_size_config(Some(limit), None).client_streaming(sink, request).await
}

/// Takes a stream.
struct Sink {
    context: Arc<Context>,
    closing: watch::Receiver<bool>,
}

impl ClientStreamingService<Bytes> for Sink {
    type Response = ();
    type Future = Pin<Box<dyn Future<Output = Result<tonic::Response<()>, Status>> + Send>>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let (context, closing) = (Arc::clone(&self.context), self.closing.clone());
        Box::pin(drain(context, request.into_inner(), closing))
    }
}

/// Reads a stream to its end, or to that of its connection.
async fn drain(
    context: Arc<Context>,
    mut stream: Streaming<Bytes>,
    mut closing: watch::Receiver<bool>,
) -> Result<tonic::Response<()>, Status> {
    let logs = &context.access_logs;
    let Ok(_place) = Arc::clone(&logs.streams).try_acquire_owned() else {
        return Err(Status::resource_exhausted(format!("there are {MAX_STREAMS} streams of access logs already")));
    };
    let mut log = None;
    loop {
        let message = tokio::select! {
            biased;
            message = stream.message() => message,
            // A connection whose sender is gone has ended.
            _ = closing.wait_for(|closing| *closing) => return Ok(tonic::Response::new(())),
        };
        match message {
            Ok(Some(message)) => {
                logs.read(&message, &mut log, &context.observations, || context.limiter.wall()).await;
            }
            Ok(None) => return Ok(tonic::Response::new(())),
            Err(status) => {
                if matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted) {
                    logs.count(Fate::Excess, 1);
                }
                return Err(status);
            }
        }
    }
}
