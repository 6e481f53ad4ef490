//! The servers under load. Each runs in a process of its own: this program again, pinned to the first core.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};

use envoy_types::pb::envoy::service::auth::v3::authorization_server::{Authorization, AuthorizationServer};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse, OkHttpResponse};
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_server::{
    RateLimitService, RateLimitServiceServer,
};
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use envoy_types::pb::google::rpc::Status as RpcStatus;
use tidegate::config::{Config, LoadOptions};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

pub const NAMES: [&str; 3] = ["tonic-default", "tonic-worker", "tidegate"];

/// A running server; killed when dropped.
pub struct Server {
    pub port: u16,
    pub http_port: u16,
    admin_port: u16,
    lines: BufReader<ChildStdout>,
    child: Child,
}

impl Server {
    /// Starts the server of that name on these cores, with more environment for [`tidegate`].
    pub fn start(name: &str, cores: &str, environment: &[(&str, &str)]) -> Self {
        let program = std::env::current_exe().unwrap();
        let mut child = Command::new("taskset")
            .args(["-c", cores])
            .arg(program)
            .args(["--serve", name])
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .expect("taskset (util-linux) must be installed");
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        let mut ports = line.split_whitespace().map(|port| port.parse().expect("the server's ports"));
        let port = ports.next().expect("a port");
        Self { port, admin_port: ports.next().unwrap_or(0), http_port: ports.next().unwrap_or(0), lines, child }
    }

    /// Waits until the server tells something more.
    pub fn next_line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// User and system time so far, in microseconds.
    pub fn cpu_us(&self) -> u64 {
        cpu_us(self.child.id())
    }

    /// What `tidegate` measures.
    pub fn metrics(&self) -> Metrics {
        use std::io::{Read as _, Write as _};
        let mut socket = std::net::TcpStream::connect(("127.0.0.1", self.admin_port)).unwrap();
        socket.write_all(b"GET /metrics HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        socket.read_to_string(&mut text).unwrap();
        Metrics(text)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// User and system time of a process so far, in microseconds.
pub fn cpu_us(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks = |at: usize| fields[at].parse::<u64>().unwrap();
    // Fields 14 and 15 of proc(5), in ticks of 10 ms.
    (ticks(11) + ticks(12)) * 10_000
}

/// A scrape.
pub struct Metrics(String);

impl Metrics {
    /// The value of a series, with its labels as they are written; 0 when there is none.
    pub fn get(&self, name: &str) -> f64 {
        let line = self.0.lines().find(|line| line.split(' ').next() == Some(name));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_default()
    }
}

pub fn serve(name: &str) -> ExitCode {
    match name {
        "tonic-default" => Builder::new_multi_thread().enable_all().build().unwrap().block_on(answer_ok()),
        "tonic-worker" => Builder::new_current_thread().enable_all().build().unwrap().block_on(answer_ok()),
        "authz-tonic" => Builder::new_current_thread().enable_all().build().unwrap().block_on(answer_ok()),
        "tidegate" | "authz" => tidegate(name == "authz"),
        other => panic!("no server {other}"),
    }
    ExitCode::SUCCESS
}

fn ready(port: u16) {
    println!("{port}");
    std::io::stdout().flush().unwrap();
}

struct AlwaysOk;

#[tonic::async_trait]
impl RateLimitService for AlwaysOk {
    async fn should_rate_limit(&self, _: Request<RateLimitRequest>) -> Result<Response<RateLimitResponse>, Status> {
        Ok(Response::new(RateLimitResponse { overall_code: 1, ..RateLimitResponse::default() }))
    }
}

#[tonic::async_trait]
impl Authorization for AlwaysOk {
    async fn check(&self, _: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        Ok(Response::new(CheckResponse {
            status: Some(RpcStatus::default()),
            http_response: Some(HttpResponse::OkResponse(OkHttpResponse::default())),
            ..CheckResponse::default()
        }))
    }
}

async fn answer_ok() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    ready(listener.local_addr().unwrap().port());
    tonic::transport::Server::builder()
        .add_service(RateLimitServiceServer::new(AlwaysOk))
        .add_service(AuthorizationServer::new(AlwaysOk))
        .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
        .await
        .unwrap();
}

/// The real server: `BENCH_WORKERS` workers (1), the rules in `BENCH_RULES` (10 000 in five domains); with the section of
/// the scenario `authz`, if asked for. With `BENCH_OBSERVED`, somebody reads observations.
fn tidegate(authz: bool) {
    let variable = |name: &str| std::env::var(name).ok();
    let (directory, lists) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let rules = variable("BENCH_RULES").map_or_else(|| directory.path().to_owned(), Into::into);
    for number in 0..5 {
        let name = format!("domain-{number}");
        std::fs::write(directory.path().join(format!("{name}.yaml")), crate::support::yaml(&name, 2_000)).unwrap();
    }
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    // Further settings by their own names, where a scenario asks for that.
    let mut config = match variable("BENCH_ENVIRONMENT") {
        None if authz => {
            std::fs::write(directory.path().join("shop.yaml"), crate::authz::RULES).unwrap();
            crate::authz::settings(lists.path())
        }
        None => Config::default(),
        Some(_) => Config::load(&LoadOptions::from_process()).unwrap().config,
    };
    config.grpc.address = any;
    config.grpc.workers = variable("BENCH_WORKERS").map_or(1, |text| text.parse().unwrap());
    config.http.address = any;
    config.admin.address = any;
    if config.database.is_none() {
        config.rules.paths = vec![rules];
    }
    let running = tidegate::server::start(config).unwrap();
    if variable("BENCH_OBSERVED").is_some() {
        let mut reader = running.context.observations.read().unwrap();
        std::thread::spawn(move || {
            loop {
                reader.drain(|observation| _ = std::hint::black_box(observation));
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
        });
    }
    let grpc = running.grpc_address.unwrap();
    println!("{} {} {}", grpc.port(), running.admin_address.port(), running.http_address.port());
    std::io::stdout().flush().unwrap();
    let mut revision = running.context.limiter.active().revision;
    Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        // The reload scenario reads when a new rule set is in force.
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            let now = running.context.limiter.active().revision;
            if now != revision {
                revision = now;
                println!("revision {revision} at {}", crate::reload::micros());
                std::io::stdout().flush().unwrap();
            }
        }
    });
}
