//! An xDS server, on threads of its own. It answers as servers made with go-control-plane do: whoever asks with another
//! version than the newest gets the newest at once, whoever has it gets the next one.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use envoy_types::pb::google::protobuf::Any;
use envoy_types::pb::ratelimit::config::ratelimit::v3::{
    RateLimitConfig, RateLimitDescriptor, RateLimitPolicy, RateLimitUnit,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use prost::Message as _;
use rustls::ServerConfig;
use tidegate::config::Config;
use tidegate::rules::xds::TYPE_URL;
use tidegate::server;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use crate::server_support::{self, Server, eventually};

/// What the server has.
#[derive(Clone, Debug)]
pub struct Set {
    pub version: String,
    pub resources: Vec<Any>,
}

/// What it was asked.
#[derive(Clone, Debug)]
pub struct Seen {
    pub request: DiscoveryRequest,
    pub at: Instant,
}

#[derive(Debug)]
struct Shared {
    set: watch::Sender<Option<Set>>,
    seen: Mutex<Vec<Seen>>,
    headers: Mutex<MetadataMap>,
}

pub struct ControlPlane {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    /// Ends with everything that runs in it, open connections too.
    runtime: Option<Runtime>,
}

impl ControlPlane {
    pub fn start() -> Self {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), None)
    }

    pub fn start_at(address: SocketAddr, tls: Option<ServerConfig>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let entered = runtime.enter();
        let listener = TcpListener::from_std(listener).unwrap();
        drop(entered);
        let shared = Arc::new(Shared {
            set: watch::Sender::new(None),
            seen: Mutex::default(),
            headers: Mutex::new(MetadataMap::new()),
        });
        let service = AggregatedDiscoveryServiceServer::new(Service(Arc::clone(&shared)));
        runtime.spawn(accept(listener, tls.map(|tls| TlsAcceptor::from(Arc::new(tls))), service));
        Self { address, shared, runtime: Some(runtime) }
    }

    /// Has this set from now on.
    pub fn push(&self, version: &str, resources: Vec<Any>) {
        self.shared.set.send_replace(Some(Set { version: version.to_owned(), resources }));
    }

    /// What it was asked so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// The headers of the last stream.
    pub fn headers(&self) -> MetadataMap {
        self.shared.headers.lock().unwrap().clone()
    }

    /// Waits for the version to be acknowledged.
    pub async fn acknowledged(&self, version: &str) {
        let good = |seen: &Seen| seen.request.version_info == version && seen.request.error_detail.is_none();
        eventually(&format!("an acknowledgement of {version}"), async || self.seen().iter().any(good)).await;
    }

    /// Waits for a refusal, and gives it.
    pub async fn refusal(&self) -> DiscoveryRequest {
        let refused =
            || self.seen().into_iter().map(|seen| seen.request).find(|request| request.error_detail.is_some());
        eventually("a refusal", async || refused().is_some()).await;
        refused().unwrap()
    }

    /// A Tidegate that follows it; `change` has the last word on its settings.
    pub fn follower(&self, change: impl FnOnce(&mut Config)) -> Server {
        let config = self.settings(change);
        Server { running: server::start(config).expect("it starts"), directory: tempfile::tempdir().unwrap() }
    }

    pub fn settings(&self, change: impl FnOnce(&mut Config)) -> Config {
        let mut config = server_support::config();
        let xds = config.rules.xds.insert(tidegate::config::xds::Xds::default());
        xds.server = self.address.to_string();
        xds.backoff.initial = std::time::Duration::from_millis(50);
        xds.backoff.max = std::time::Duration::from_millis(200);
        change(&mut config);
        config
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, service: AggregatedDiscoveryServiceServer<Service>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (tls, service) = (tls.clone(), service.clone());
        tokio::spawn(async move {
            match tls {
                None => serve(stream, service).await,
                // Whoever is turned away hears of it.
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, service).await;
                    }
                }
            }
        });
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    service: AggregatedDiscoveryServiceServer<Service>,
) {
    let service = TowerToHyperService::new(service);
    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    // A client may end as it likes.
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

#[derive(Clone, Debug)]
struct Service(Arc<Shared>);

#[tonic::async_trait]
impl AggregatedDiscoveryService for Service {
    type StreamAggregatedResourcesStream = ReceiverStream<Result<DiscoveryResponse, Status>>;
    type DeltaAggregatedResourcesStream = ReceiverStream<Result<DeltaDiscoveryResponse, Status>>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        *self.0.headers.lock().unwrap() = request.metadata().clone();
        let (answers, stream) = mpsc::channel(4);
        tokio::spawn(converse(Arc::clone(&self.0), request.into_inner(), answers));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn delta_aggregated_resources(
        &self,
        _: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        Err(Status::unimplemented("state of the world only"))
    }
}

/// One stream, to its end.
async fn converse(
    shared: Arc<Shared>,
    mut requests: Streaming<DiscoveryRequest>,
    answers: mpsc::Sender<Result<DiscoveryResponse, Status>>,
) {
    let mut sets = shared.set.subscribe();
    let mut waits_with: Option<String> = None;
    for nonce in 1.. {
        let set = loop {
            tokio::select! {
                request = requests.message() => {
                    let Ok(Some(request)) = request else { return };
                    waits_with = Some(request.version_info.clone());
                    shared.seen.lock().unwrap().push(Seen { request, at: Instant::now() });
                }
                changed = sets.changed() => if changed.is_err() { return },
            }
            let set = sets.borrow_and_update().clone();
            if let (Some(version), Some(set)) = (&waits_with, set)
                && *version != set.version
            {
                break set;
            }
        };
        waits_with = None;
        let answer = DiscoveryResponse {
            version_info: set.version,
            resources: set.resources,
            type_url: TYPE_URL.to_owned(),
            nonce: format!("nonce {nonce}"),
            ..DiscoveryResponse::default()
        };
        if answers.send(Ok(answer)).await.is_err() {
            return;
        }
    }
}

/// A domain as a resource.
pub fn domain(name: &str, descriptors: Vec<RateLimitDescriptor>) -> Any {
    let config = RateLimitConfig { name: name.to_owned(), domain: name.to_owned(), descriptors };
    Any { type_url: TYPE_URL.to_owned(), value: config.encode_to_vec() }
}

/// So many a day for each value of a key.
pub fn per_day(key: &str, requests_per_unit: u32) -> RateLimitDescriptor {
    let policy = RateLimitPolicy { unit: RateLimitUnit::Day.into(), requests_per_unit, ..RateLimitPolicy::default() };
    RateLimitDescriptor { key: key.to_owned(), rate_limit: Some(policy), ..RateLimitDescriptor::default() }
}
