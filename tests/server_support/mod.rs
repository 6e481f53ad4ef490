//! A server in this process, on free ports, with rules of the test's own.
#![allow(dead_code, reason = "every test program uses its part")]

pub mod raw;
pub mod spans;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use tidegate::config::Config;
use tidegate::server::{self, Running};
use tonic::transport::Channel;

/// How long anything may take that should happen soon.
pub const SOON: Duration = Duration::from_secs(20);

/// Overall and status codes.
pub const OK: i32 = 1;
pub const OVER_LIMIT: i32 = 2;

/// A running server and the directory of its rules.
pub struct Server {
    pub running: Running,
    pub directory: tempfile::TempDir,
}

/// Every listener on a free port of the loopback interface, one worker.
pub fn config() -> Config {
    let mut config = Config::default();
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    config.grpc.address = free;
    config.grpc.workers = 1;
    config.http.address = free;
    config.admin.address = free;
    config.shutdown.drain_period = Duration::ZERO;
    config.shutdown.grace_period = Duration::from_secs(5);
    config
}

/// Starts a server with `rules`, one YAML file; `change` has the last word on the settings.
pub fn start(rules: &str, change: impl FnOnce(&mut Config)) -> Server {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("rules.yaml");
    std::fs::write(&file, rules).expect("a file of rules");
    let mut config = config();
    config.rules.paths = vec![file];
    change(&mut config);
    Server { running: server::start(config).expect("the server starts"), directory }
}

impl Server {
    pub fn address(&self) -> SocketAddr {
        self.running.grpc_address.expect("a port")
    }

    pub async fn client(&self) -> RateLimitServiceClient<Channel> {
        RateLimitServiceClient::new(channel(self.address()).await)
    }
}

pub async fn channel(address: SocketAddr) -> Channel {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}")).expect("an address");
    endpoint.connect_timeout(SOON).timeout(SOON).connect().await.expect("the server answers")
}

pub fn entry(key: &str, value: &str) -> Entry {
    Entry { key: key.to_owned(), value: value.to_owned() }
}

pub fn descriptor(entries: &[(&str, &str)]) -> RateLimitDescriptor {
    let entries = entries.iter().map(|(key, value)| entry(key, value)).collect();
    RateLimitDescriptor { entries, ..RateLimitDescriptor::default() }
}

/// A request with one descriptor for each list of entries.
pub fn request(domain: &str, descriptors: &[&[(&str, &str)]]) -> RateLimitRequest {
    let descriptors = descriptors.iter().map(|entries| descriptor(entries)).collect();
    RateLimitRequest { domain: domain.to_owned(), descriptors, hits_addend: 0 }
}

/// The values of a response header, in order.
pub fn headers<'a>(response: &'a RateLimitResponse, name: &str) -> Vec<&'a str> {
    let all = response.response_headers_to_add.iter();
    all.filter(|header| header.key.eq_ignore_ascii_case(name)).map(|header| header.value.as_str()).collect()
}

/// Waits until `condition` holds; fails when it does not soon.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !condition().await {
        assert!(Instant::now() < deadline, "{what} did not happen within {SOON:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
