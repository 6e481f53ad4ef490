//! Translates protocols to and from the limiter, and holds no policy.
//!
//! [`start`] puts one process together: the workers that answer Envoy ([`workers`], [`connection`], [`grpc`], [`rls`],
//! [`ext_authz`]), and beside them, on a runtime of its own, whatever is not in the path of a request: the HTTP and administration
//! listeners, loading of rules, sweeping of counters, renewal of certificates.

pub mod access;
pub mod access_log;
pub mod admin;
mod anomaly;
pub mod body;
pub mod computing;
pub mod connection;
pub mod context;
mod counters;
pub mod ext_authz;
pub mod findings;
mod geo;
pub mod grpc;
pub mod headers;
pub mod health;
pub mod http;
pub mod listener;
pub mod lists;
mod measures;
pub mod observing;
pub mod patient;
pub mod preface;
pub mod problem;
pub mod reflection;
pub mod rls;
pub mod rule_store;
pub mod rules;
pub mod shutdown;
pub mod tls;
pub mod workers;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::future::OptionFuture;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::sleep;
use tonic::service::Routes;
use tonic_health::pb::health_server::HealthServer;

use self::access::Access;
use self::access_log::AccessLogs;
use self::connection::Shared;
pub use self::context::Context;
use self::context::Limiter;
use self::ext_authz::{Authorization, ExtAuthz, SetupError};
use self::grpc::Calls;
use self::health::{Health, HealthService};
use self::http::listener::{Bounds, HttpListener, serve};
use self::listener::{BindError, GrpcListener, UnixSocket, bind_tcp};
use self::lists::ListsHandle;
use self::rls::RateLimitService;
use self::rules::kept::Kept;
use self::shutdown::{Phase, Shutdown};
use self::tls::{Port, Reloader, TlsAcceptor, TlsError};
use self::workers::{Load, Workers};
use crate::anomaly::findings::FindingStore;
use crate::anomaly::geo::Geo;
use crate::anomaly::observe::Observations;
use crate::anomaly::worker::Handle as Worker;
use crate::config::{self, Config};
use crate::limiter::LimiterOptions;
use crate::rules::report::Report;
use crate::rules::repository::RepositoryError;
use crate::rules::watch::{Options, Watcher};
use crate::telemetry::decisions::{DecisionMetrics, DecisionMetricsOptions};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::rule_loads::RuleLoads;
use crate::telemetry::shard;
use crate::telemetry::traces::{Traces, TracesError};
use crate::threads;

/// Threads for everything that no request waits for.
const BACKGROUND_THREADS: usize = 2;
/// In which time every counter is looked at once, to reclaim the expired ones.
const SWEEP_ROUND: Duration = Duration::from_secs(10);
/// How often rule sets that are no longer in force are looked at, to free them.
const RECLAIM_INTERVAL: Duration = Duration::from_secs(1);

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener cannot be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Certificate, key or CA cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The rules have mistakes.
    #[error("the rules do not load (rules.start_without: true starts without them):\n{0}")]
    Rules(Report),
    /// The rule repository cannot be opened.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// The copy of the rules on disk cannot be used.
    #[error(transparent)]
    Copy(#[from] crate::rules::copies::disk::DiskError),
    /// The key of the copies cannot be used.
    #[error("rules.copy_key_file: {0}")]
    CopyKey(#[from] crate::rules::copies::codec::KeyError),
    /// The xDS server cannot be reached as the settings say.
    #[error(transparent)]
    Xds(#[from] crate::rules::xds::connect::ConnectError),
    /// The copy of what the xDS server sent cannot be used.
    #[error("rules.copy_directory: {0}")]
    XdsCopy(#[from] crate::rules::xds::copy::CopyError),
    /// Only to compute for others takes a Redis to meet them at.
    #[error("`tidegate worker` computes for servers that it meets in Redis; set redis.urls (or REDIS_URL) to theirs")]
    NoBus,
    /// There are no rules anywhere, and the settings ask for some.
    #[error("there are no rules to start with (rules.required): {0}")]
    NoRules(String),
    /// What the anomaly worker finds cannot be kept.
    #[error(transparent)]
    Findings(#[from] findings::OpenError),
    /// The `ext_authz` section cannot be used.
    #[error(transparent)]
    ExtAuthz(#[from] SetupError),
    /// The lists of external authorization cannot be used.
    #[error(transparent)]
    Lists(#[from] lists::ListsError),
    /// A database of countries or autonomous systems cannot be used.
    #[error(transparent)]
    Geo(#[from] geo::OpenError),
    /// Reflection cannot be served.
    #[error(transparent)]
    Reflection(#[from] reflection::Error),
    /// There is nowhere to send traces.
    #[error(transparent)]
    Traces(#[from] TracesError),
    /// Models to begin with cannot be used.
    #[error("anomaly.models_file: {0}")]
    Models(#[from] crate::anomaly::engine::models::file::FileError),
    /// The counters' settings make no sense, or a file of theirs cannot be read.
    #[error(transparent)]
    Counters(#[from] crate::counters::redis::connect::ConnectError),
    /// Threads or runtimes cannot be had.
    #[error("threads cannot be started: {0}")]
    Threads(#[from] io::Error),
}

/// A running server.
#[derive(Debug)]
pub struct Running {
    /// Where gRPC is served; `None` on a Unix socket.
    pub grpc_address: Option<SocketAddr>,
    /// Where HTTP is served.
    pub http_address: SocketAddr,
    /// Where administration is served.
    pub admin_address: SocketAddr,
    /// What its request handlers share.
    pub context: Arc<Context>,
    loads: Vec<Arc<Load>>,
    tls: Option<TlsAcceptor>,
    http_tls: Option<TlsAcceptor>,
    shutdown: Shutdown,
    _watcher: Option<Watcher>,
    _lists_watcher: Option<Watcher>,
    _geo_watcher: Option<Watcher>,
    _background: Background,
}

impl Running {
    /// Begins the end: health says NOT_SERVING at once, and after the drain period connections are closed. Another
    /// call cuts the drain period short.
    pub fn shutdown(&self) {
        if self.shutdown.phase() == Phase::Serving {
            self.context.health.shutting_down();
            self.shutdown.advance(Phase::Draining);
        } else {
            self.shutdown.advance(Phase::Closing);
        }
    }

    /// Waits until everything has ended.
    pub async fn wait(&self) {
        self.shutdown.reached(Phase::Closed).await;
    }

    /// What each worker does.
    #[must_use]
    pub fn loads(&self) -> &[Arc<Load>] {
        &self.loads
    }

    /// TLS of the gRPC port, when it is configured.
    #[must_use]
    pub const fn tls(&self) -> Option<&TlsAcceptor> {
        self.tls.as_ref()
    }

    /// TLS of the HTTP port, when it is configured.
    #[must_use]
    pub const fn http_tls(&self) -> Option<&TlsAcceptor> {
        self.http_tls.as_ref()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.context.health.shutting_down();
        self.context.health.closing();
        self.shutdown.advance(Phase::Closing);
    }
}

/// The runtime of everything that no request waits for. Unlike a bare runtime, it may be dropped anywhere.
#[derive(Debug)]
struct Background(Option<Runtime>);

impl Background {
    fn start() -> io::Result<(Self, Handle)> {
        let threads = Builder::new_multi_thread()
            .worker_threads(BACKGROUND_THREADS)
            .thread_name("background")
            .on_thread_start(threads::give_way)
            .enable_all()
            .build()?;
        let handle = threads.handle().clone();
        Ok((Self(Some(threads)), handle))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Starts a server. It may be called in or outside a runtime; nothing is left running when it fails.
///
/// # Errors
/// [`StartError`], with the setting to change.
pub fn start(config: Config) -> Result<Running, StartError> {
    start_with(config, None)
}

/// The same, with an anomaly worker that goes on from an engine's checkpoint: for servers that share none over Redis.
///
/// # Errors
/// As [`start`].
pub fn start_from(config: Config, engine: Bytes) -> Result<Running, StartError> {
    start_with(config, Some(engine))
}

fn start_with(config: Config, known: Option<Bytes>) -> Result<Running, StartError> {
    let config = Arc::new(config);
    let count = worker_count(&config);
    let (background, handle) = Background::start()?;
    let traces = Traces::start(&config.telemetry.traces, &handle)?;
    let sources = rules::files::sources(&config.rules);
    let xds = rules::xds::status(&config)?;
    let kept = match (&sources, &xds) {
        (None, None) => Some(rules::kept::open(&config, &handle)?),
        _ => None,
    };
    let (lists, lists_watcher) = lists::open(&config.ext_authz, Options::default())?;
    let found = Arc::new(findings::open(&config, kept.as_ref().map(|kept| &*kept.repository))?);
    let worker = anomaly::open(&config, &found, known, &handle)?.map(Arc::new);
    let mut geo = geo::open(&config.anomaly.geo, Options::default())?;
    let databases = Arc::clone(&geo.databases);
    let watching = (found, worker, databases);
    let context = Arc::new(assemble(&config, count, traces, kept.as_ref(), xds, lists, watching)?);
    let first = sources.as_ref().map(|sources| rules::files::load_first(&context, sources)).transpose()?.flatten();
    let (tls, reloader) = load_tls(config.grpc.tls.as_ref(), Port::Grpc)?;
    let (http_tls, http_reloader) = load_tls(config.http.tls.as_ref(), Port::Http)?;
    // Sockets and timers belong to the background until a worker takes a connection over.
    let entered = handle.enter();
    let listeners = Listeners::bind(&config, http_tls.clone())?;
    let watcher = sources.map(|sources| rules::files::keep_in_force(&context, sources, first)).transpose()?;
    rules::xds::follow(&context, &handle)?;
    if let Some(kept) = kept {
        rules::kept::follow(&context, kept, &handle)?;
    }
    let routes = Routes::new(HealthServer::new(HealthService::new(Arc::clone(&context.health))))
        .add_service(reflection::v1()?)
        .add_service(reflection::v1alpha()?)
        .prepare();
    let shutdown = Shutdown::default();
    let shared = |load: Arc<Load>| Shared {
        context: Arc::clone(&context),
        calls: Calls::new(Arc::clone(&context)),
        ext_authz: Authorization::new(Arc::clone(&context), Arc::clone(&load)),
        rls: RateLimitService::new(Arc::clone(&context)),
        routes: routes.clone(),
        load,
        shutdown: shutdown.clone(),
        tls: tls.clone(),
        grpc: config.grpc.clone(),
    };
    let workers = Workers::start(count, config.shutdown.grace_period, shared, |index| counters::work(&context, index))?;
    let running = Running {
        grpc_address: listeners.grpc.address(),
        http_address: listeners.http_address,
        admin_address: listeners.admin.local_addr()?,
        context: Arc::clone(&context),
        loads: workers.loads(),
        tls,
        http_tls,
        shutdown: shutdown.clone(),
        _watcher: watcher,
        _lists_watcher: lists_watcher,
        _geo_watcher: geo.watcher.take(),
        _background: background,
    };
    geo.register(&context.metrics);
    measures::register(&context, running.loads(), workers.refused(), &[running.tls(), running.http_tls()]);
    for reloader in [reloader, http_reloader].into_iter().flatten() {
        tokio::spawn(reloader.run());
    }
    if config.http.allow_unauthenticated {
        tracing::warn!(
            "everybody may change rules and reset counters without a token (http.allow_unauthenticated): for trying out only"
        );
    }
    counters::keep(&context, count, &shutdown);
    anomaly::decide_with(&context, &handle);
    tokio::spawn(keep_house(Arc::clone(&context)));
    tokio::spawn(findings::keep_house(Arc::clone(&context)));
    tokio::spawn(context.access.clone().keep_fresh());
    tokio::spawn(supervise(context, workers, listeners, shutdown));
    drop(entered);
    Ok(running)
}

fn load_tls(tls: Option<&config::Tls>, port: Port) -> Result<(Option<TlsAcceptor>, Option<Reloader>), TlsError> {
    Ok(tls.cloned().map(|tls| TlsAcceptor::load(tls, port)).transpose()?.unzip())
}

/// Workers as configured, or one for each CPU that the process may use: its affinity, and the cgroup's quota.
fn worker_count(config: &Config) -> usize {
    match config.grpc.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        count => count,
    }
}

/// Everything that request handlers share.
#[allow(clippy::too_many_arguments, reason = "each is a part of the whole, made before it")]
fn assemble(
    config: &Arc<Config>,
    workers: usize,
    traces: Traces,
    kept: Option<&Kept>,
    xds: Option<Arc<crate::rules::xds::Status>>,
    lists: Arc<ListsHandle>,
    (findings, worker, geo): (Arc<FindingStore>, Option<Arc<Worker>>, Arc<Geo>),
) -> Result<Context, StartError> {
    let metrics = &config.telemetry.metrics;
    let decisions = Arc::new(DecisionMetrics::new(DecisionMetricsOptions {
        shards: shard::count(workers),
        max_series: metrics.max_series,
        max_domains: metrics.max_domains,
    }));
    let settings = &config.limiter;
    let options = LimiterOptions {
        shadow_mode: settings.shadow_mode,
        quota_mode: settings.quota_mode,
        near_limit_ratio: settings.near_limit_ratio,
        max_descriptors: settings.max_descriptors,
        failure_mode: settings.failure_mode,
        identities: config.anomaly.identities(),
    };
    let store = counters::open(config, workers)?;
    let rule_store = kept.map(Kept::rule_store);
    Ok(Context {
        limiter: Arc::new(Limiter::new(store, options, Arc::clone(&decisions)).with_locate(Arc::<Geo>::clone(&geo))),
        ext_authz: ExtAuthz::new(config)?,
        config: Arc::clone(config),
        metrics: Arc::new(Metrics::new(decisions, Arc::new(RuleLoads::default()))),
        health: Arc::new(Health::default()),
        reloads: Arc::default(),
        rule_files: ArcSwap::default(),
        access: Access::new(
            rule_store.as_ref().map(|store| Arc::clone(&store.repository)),
            config.http.allow_unauthenticated,
        ),
        rule_store,
        live: kept.map(|kept| kept.live.clone()),
        xds,
        lists,
        observations: Arc::new(Observations::new(shard::count(workers))),
        findings,
        feedback: OnceLock::new(),
        access_logs: Arc::new(AccessLogs::new(config)),
        geo,
        anomaly: worker,
        traces,
    })
}

/// Sockets that are listened on.
struct Listeners {
    grpc: GrpcListener,
    http: HttpListener,
    http_address: SocketAddr,
    http_socket: Option<UnixSocket>,
    admin: TcpListener,
    prometheus: Option<TcpListener>,
}

impl Listeners {
    fn bind(config: &Config, tls: Option<TlsAcceptor>) -> Result<Self, StartError> {
        let grpc = match &config.grpc.unix_socket {
            Some(path) => GrpcListener::Unix(UnixSocket::bind(path, "grpc.unix_socket")?),
            None => GrpcListener::Tcp(bind_tcp(config.grpc.address, "gRPC", "grpc.address")?),
        };
        let http = bind_tcp(config.http.address, "HTTP", "http.address")?;
        let http_socket = config.http.unix_socket.as_deref();
        Ok(Self {
            grpc,
            http_address: http.local_addr()?,
            http: HttpListener::Tcp(http, tls),
            http_socket: http_socket.map(|path| UnixSocket::bind_private(path, "http.unix_socket")).transpose()?,
            admin: bind_tcp(config.admin.address, "admin", "admin.address")?,
            prometheus: config
                .telemetry
                .metrics
                .prometheus_address
                .map(|address| bind_tcp(address, "metrics", "telemetry.metrics.prometheus_address"))
                .transpose()?,
        })
    }
}

/// Reclaims expired counters and rule sets that are no longer in force.
async fn keep_house(context: Arc<Context>) {
    let rules = async {
        loop {
            sleep(RECLAIM_INTERVAL).await;
            context.limiter.reclaim();
        }
    };
    tokio::join!(rules, context.limiter.store().in_process().sweep_forever(SWEEP_ROUND));
}

/// Serves until the end, in its phases.
async fn supervise(context: Arc<Context>, workers: Workers, listeners: Listeners, shutdown: Shutdown) {
    let Listeners { grpc, http, http_socket, admin, prometheus, .. } = listeners;
    let count = workers.loads().len();
    // Sockets are open already, so that nobody is turned away meanwhile.
    counters::ready(&context, count).await;
    let serving = tokio::spawn(workers.accept(grpc, shutdown.clone()));
    let end = shutdown.clone();
    let closing = move || {
        let shutdown = end.clone();
        async move { shutdown.reached(Phase::Closing).await }
    };
    let bounds = Bounds { grace: context.config.shutdown.grace_period, ..Bounds::default() };
    let routes = http::router(Arc::clone(&context));
    let socket = http_socket.map(|socket| serve(HttpListener::Unix(socket), routes.clone(), bounds, closing()));
    let socket = tokio::spawn(OptionFuture::from(socket));
    let http = tokio::spawn(serve(http, routes, bounds, closing()));
    let admin = tokio::spawn(serve(admin, admin::router(Arc::clone(&context)), bounds, closing()));
    let router = measures::reference_router(&context);
    let prometheus = tokio::spawn(async move {
        if let Some(listener) = prometheus {
            serve(listener, router, bounds, closing()).await;
        }
    });

    shutdown.reached(Phase::Draining).await;
    tracing::info!("draining for {:?}", context.config.shutdown.drain_period);
    tokio::select! {
        () = sleep(context.config.shutdown.drain_period) => {}
        () = shutdown.reached(Phase::Closing) => {}
    }
    context.health.closing();
    shutdown.advance(Phase::Closing);
    let _ = tokio::join!(serving, http, socket, admin, prometheus);
    if let Some(worker) = &context.anomaly {
        worker.stop().await;
    }
    let (traces, limit) = (context.traces.clone(), context.config.telemetry.traces.timeout);
    let _ = tokio::task::spawn_blocking(move || traces.shutdown(limit)).await;
    tracing::info!("stopped");
    shutdown.advance(Phase::Closed);
}
