//! Two replicas, each behind an Envoy of its own, and what can be seen of them from outside.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use serde_json::Value;

use crate::harness::{Backend, Client, Configuration, Envoy, Site, eventually, repository};
use crate::postgres_support::Postgres;
use crate::process::{Server, post};
use crate::redis_support::Redis;

/// What one address may do. An attacker that stays below is stopped by the anomaly worker only.
const RULES: &str = "
domain: api
descriptors:
  - key: remote_address
    rate_limit: { name: per-address, unit: second, requests_per_unit: 60 }
";

/// What is added to the section `anomaly` of the sample: the shortest times that settings allow.
const ANOMALY: &str = "
  enabled: true
  shadow: false
  warm_up: 10s
  policy: { duration: 10s, calm_for: 10s }
";

/// A `tidegate serve`, as callers of its HTTP interfaces see it; killed when this is dropped.
pub struct Replica {
    pub name: char,
    http: Client,
    admin: Client,
    server: Server,
}

impl Replica {
    fn start(name: char, site: &Site, postgres: &str, redis: &str) -> Self {
        let sample = std::fs::read_to_string(repository("deploy/envoy/tidegate/ext-authz.yaml")).unwrap();
        let settings = site.path("tidegate.yaml");
        std::fs::write(&settings, sample + ANOMALY).unwrap();
        let env = [
            ("DATABASE_URL", postgres),
            ("TIDEGATE_REDIS__URLS", redis),
            // A test machine may be busy, and this is not about what happens without Redis.
            ("TIDEGATE_REDIS__DEADLINE", "5s"),
            ("TIDEGATE_HTTP__ALLOW_UNAUTHENTICATED", "true"),
        ];
        let server = Server::start_from(&["--config", settings.to_str().unwrap()], &env);
        let client = |address| Client::new(address, Ipv4Addr::LOCALHOST);
        Self { name, http: client(server.http), admin: client(server.admin), server }
    }

    /// A metric's value, by its name and labels without the prefix.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = self.admin.get("/metrics", &[]).await.body;
        let text = std::str::from_utf8(&text).unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix("tidegate_")?.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no metric {name} in {text}")).parse().unwrap()
    }

    pub async fn leads(&self) -> bool {
        self.metric("anomaly_role{role=\"leader\"}").await > 0.0
    }

    /// How many adjustments are in force here.
    pub async fn adjustments(&self) -> f64 {
        self.metric("adjustments").await
    }

    /// What is found about an address, the newest first.
    pub async fn found(&self, address: Ipv4Addr) -> Vec<Value> {
        self.list(&format!("?ip_address={address}")).await
    }

    /// All that is found.
    pub async fn all_found(&self) -> Vec<Value> {
        self.list("").await
    }

    async fn list(&self, query: &str) -> Vec<Value> {
        let answer = self.http.get(&format!("/ddos/anomaly{query}"), &[]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let mut document: Value = serde_json::from_slice(&answer.body).unwrap();
        serde_json::from_value(document["anomalies"].take()).unwrap()
    }

    /// `POST /ddos/anomaly/{id}/dismiss`.
    pub async fn dismiss(&self, id: &str) -> Value {
        let path = format!("/ddos/anomaly/{id}/dismiss");
        let answer = self.http.send(http::Method::POST, &path, &[]).await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        serde_json::from_slice(&answer.body).unwrap()
    }
}

/// Everything.
pub struct Stand {
    pub replicas: Vec<Replica>,
    /// Where clients connect, for each replica.
    pub envoys: Vec<SocketAddr>,
    pub postgres: Postgres,
    pub database: String,
    /// These live as long as the stand.
    _running: (Vec<Envoy>, Backend, Redis, Site),
}

impl Stand {
    pub async fn start() -> Self {
        let site = Site::new();
        let (redis, postgres) = (Redis::start(), Postgres::start());
        let database = postgres.database().await;
        let backend = Backend::start(&site);
        let url = postgres.url("postgres", &database);
        let replicas: Vec<_> =
            ['A', 'B'].into_iter().map(|name| Replica::start(name, &site, &url, &redis.address())).collect();
        let applied =
            post(replicas[0].server.http, "/rate-limit/rules:apply", "application/yaml", RULES.trim().as_bytes());
        assert_eq!(applied.status, 200, "{applied:?}");
        let mut envoys = Vec::new();
        for replica in &replicas {
            let (admin, address) = (site.free_address(), site.free_address());
            let configuration = Configuration::ext_authz()
                .address("Envoy's own administration", &[admin])
                .address("where clients connect", &[address])
                .address("Tidegate", &[replica.server.grpc])
                .address("your service", &[backend.address]);
            let name = format!("envoy-{}", replica.name);
            let envoy = Envoy::run(&site, &name, configuration.text(), admin, address).await;
            envoy.finds_healthy("tidegate", 1).await;
            envoys.push(envoy);
        }
        let addresses = envoys.iter().map(|envoy| envoy.address).collect();
        Self { replicas, envoys: addresses, postgres, database, _running: (envoys, backend, redis, site) }
    }

    /// The place of the replica that computes.
    pub async fn leader(&self) -> usize {
        eventually("one computes", async || {
            for (place, replica) in self.replicas.iter().enumerate() {
                if replica.leads().await {
                    return Some(place);
                }
            }
            None
        })
        .await
    }

    /// When a replica had so many adjustments in force.
    pub async fn adjusted(&self, place: usize, count: f64) -> Instant {
        let replica = &self.replicas[place];
        let what = format!("{} has {count} adjustments", replica.name);
        eventually(&what, async || (replica.adjustments().await == count).then(Instant::now)).await
    }
}
