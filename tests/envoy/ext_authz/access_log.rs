//! Envoy's access log arrives as observations, in a Tidegate that runs in this process.

use std::time::{Duration, SystemTime};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::any;
use serde_json::json;
use tidegate::anomaly::observation::Outcome;
use tidegate::config::{Config, LoadOptions};
use tidegate::core::adjustment::set::AdjustmentSet;
use tidegate::core::adjustment::{Adjustment, Effect};
use tidegate::core::clock::Micros;
use tidegate::core::subject::Subject;
use tidegate::server::{self, Running};

use super::tokens::Issuer;
use super::{settings, trusting};
use crate::harness::{Backend, Client, Configuration, Envoy, Site, eventually, repository};

/// As `deploy/envoy/tidegate/ext-authz.yaml` says.
fn tidegate(site: &Site) -> Running {
    let file = site.path("tidegate.yaml");
    std::fs::write(&file, settings()).unwrap();
    let loaded = Config::load(&LoadOptions { file: Some(file), ..LoadOptions::default() });
    let mut config = loaded.unwrap_or_else(|errors| panic!("{errors}")).config;
    let free = ([127, 0, 0, 1], 0).into();
    config.grpc.address = free;
    config.grpc.workers = 1;
    config.http.address = free;
    config.admin.address = free;
    config.shutdown.drain_period = Duration::ZERO;
    config.rules.paths = vec![repository("deploy/envoy/rules")];
    server::start(config).unwrap()
}

fn backend() -> Router {
    let missing = any(|| async { (StatusCode::NOT_FOUND, "nothing is here\n") });
    Router::new().route("/missing", missing).fallback(any(|| async { "served\n" }))
}

/// What is seen of one request: user, path, status, bytes and outcome.
type Seen = (Option<String>, String, Option<u16>, Option<u64>, Outcome);

#[tokio::test]
async fn how_requests_end_is_observed() {
    let site = Site::new();
    let issuer = Issuer::new();
    let tidegate = tidegate(&site);
    let mut reader = tidegate.context.observations.read().unwrap();
    let backend = Backend::serve(&site, backend());
    let configuration = trusting(Configuration::ext_authz(), &issuer);
    let envoy = Envoy::start(&site, configuration, &[tidegate.grpc_address.unwrap()], backend.address).await;
    envoy.finds_healthy("tidegate", 1).await;

    let client = Client::new(envoy.address, [127, 1, 1, 1].into());
    let alice = issuer.bearer(json!({ "sub": "alice" }));
    let forged = Issuer::new().bearer(json!({ "sub": "alice" }));
    let (agent, alice, forged) = (("user-agent", "probe/1"), ("authorization", &*alice), ("authorization", &*forged));
    let from = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    assert_eq!(client.status("/", &[agent, alice]).await, 200);
    assert_eq!(client.status("/missing?page=1", &[agent, alice]).await, 404);
    assert_eq!(client.status("/account", &[agent, forged]).await, 401);
    assert_eq!(client.allowed("/login", &[agent], 10).await, 5);
    let until = SystemTime::UNIX_EPOCH.elapsed().unwrap() + Duration::from_secs(600);
    tidegate.context.limiter.adjust(AdjustmentSet::new([Adjustment {
        id: "a-1".into(),
        subject: Subject::User("alice".into()),
        domain: None,
        effect: Effect::Block,
        expires: Micros::from(until),
        shadow: false,
    }]));
    assert_eq!(client.status("/", &[agent, alice]).await, 429);

    let mut seen: Vec<Seen> = Vec::new();
    eventually("ten entries of the access log", || {
        reader.drain(|of| {
            assert_eq!((of.domain, of.method, of.user_agent), ("api", "GET", Some("probe/1")));
            assert_eq!(of.address, Some([127, 1, 1, 1].into()));
            assert!(of.at >= Micros::from(from) && of.at <= Micros::from(SystemTime::UNIX_EPOCH.elapsed().unwrap()));
            assert!(of.duration.is_some_and(|duration| duration > Micros::ZERO), "{of:?}");
            seen.push((of.user.map(str::to_owned), of.path.to_owned(), of.status, of.bytes, of.outcome));
        });
        let done = seen.len() >= 10;
        async move { done.then_some(()) }
    })
    .await;
    let user = |name: &str| Some(name.to_owned());
    let served = |user, path: &str| (user, path.to_owned(), Some(200), Some(7), Outcome::Allowed);
    assert_eq!(seen[0], served(user("alice"), "/"));
    assert_eq!(seen[1], (user("alice"), "/missing".to_owned(), Some(404), Some(16), Outcome::Allowed));
    let (refused, bytes) = (&seen[2], seen[2].3);
    assert_eq!(refused, &(None, "/account".to_owned(), Some(401), bytes, Outcome::Allowed));
    assert!(seen[3..8].iter().all(|tried| *tried == served(None, "/login")), "{seen:?}");
    assert_eq!((&*seen[8].1, seen[8].2, seen[8].4), ("/login", Some(429), Outcome::Limited));
    let (blocked, bytes) = (&seen[9], seen[9].3);
    assert_eq!(blocked, &(user("alice"), "/".to_owned(), Some(429), bytes, Outcome::LimitedByAdjustment));
    assert!(bytes > Some(0), "a denial has a body");
    assert_eq!(seen.len(), 10, "none was seen twice: {seen:?}");
}
