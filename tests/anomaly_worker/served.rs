//! Servers that watch themselves, with the machine's own clock: a flood over gRPC is found, limited and let go.

use std::sync::Arc;
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use tonic::transport::Channel;

use crate::redis_support::Redis;
use crate::server_support::{OVER_LIMIT, Server, eventually, request, start};
use tidegate::anomaly::worker::status::Role;
use tidegate::config::Config;
use tidegate::config::redis::Redis as Settings;
use tidegate::server::computing;

const RULES: &str = "
domain: edge
descriptors:
  - key: user_id
    rate_limit: { name: per-user, unit: second, requests_per_unit: 100 }
";

/// The problem document of a denial.
async fn ask(client: &mut RateLimitServiceClient<Channel>, user: &str) -> Option<String> {
    let descriptor = [("user_id", user)];
    let answer = client.should_rate_limit(request("edge", &[&descriptor])).await.unwrap().into_inner();
    (answer.overall_code == OVER_LIMIT).then(|| String::from_utf8(answer.raw_body).unwrap_or_default())
}

/// A client asks as fast as it can, until an adjustment denies it.
async fn flood(client: &mut RateLimitServiceClient<Channel>, user: &str) {
    eventually("the flood is denied by an adjustment", async || {
        for _ in 0..100 {
            if ask(client, user).await.is_some_and(|body| body.contains("abnormal-usage-detected")) {
                return true;
            }
        }
        false
    })
    .await;
}

/// Forty people ask three times a second, until `end` says so.
async fn people(mut client: RateLimitServiceClient<Channel>, mut end: impl FnMut() -> bool) {
    let mut turns = tokio::time::interval(Duration::from_millis(333));
    while !end() {
        turns.tick().await;
        for person in 0..40 {
            ask(&mut client, &format!("person-{person}")).await;
        }
    }
}

fn watching(config: &mut Config) {
    config.anomaly.enabled = true;
    config.anomaly.shadow = false;
    config.anomaly.warm_up = Duration::from_secs(8);
    config.anomaly.policy.duration = Duration::from_secs(4);
}

/// Calm first: for the time that the engine learns in, however slow the machine.
async fn calm(server: &Server) {
    let began = Instant::now();
    people(server.client().await, || began.elapsed() > Duration::from_secs(14)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_at_one_server_is_limited_at_all() {
    let redis = Redis::start();
    let meeting = |config: &mut Config| {
        watching(config);
        config.anomaly.compute = false;
        let deadline = Duration::from_secs(5);
        config.redis = Some(Settings { urls: vec![redis.address()], deadline, ..Settings::default() });
    };
    let mut config = crate::server_support::config();
    meeting(&mut config);
    let worker = computing::start(config).unwrap();
    let servers = [start(RULES, meeting), start(RULES, meeting)];
    calm(&servers[0]).await;
    assert_eq!(worker.worker.status().role(), Role::Leader);
    flood(&mut servers[0].client().await, "mallory").await;
    let limiter = |server: &Server| Arc::clone(&server.running.context.limiter);
    eventually("and where it did not", async || !limiter(&servers[1]).adjustments().is_empty()).await;
    for server in &servers {
        let status = Arc::clone(server.running.context.anomaly.as_ref().unwrap().status());
        assert_eq!(status.role(), Role::Follower);
        println!("a deed was in force {} ms after it was done", status.deed_age.get() / 1_000);
        assert!(status.deed_age.get() < 1_000_000, "{} microseconds", status.deed_age.get());
    }
    worker.shutdown();
    worker.wait().await;
    assert!(worker.worker.status().checkpoint_at.get() > 0, "the end leaves a checkpoint");
}

#[test]
fn computing_for_others_takes_a_redis_and_says_so() {
    let error = computing::start(crate::server_support::config()).unwrap_err();
    assert!(error.to_string().contains("set redis.urls"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_found_limited_and_let_go() {
    let server = start(RULES, watching);
    calm(&server).await;
    let worker = server.running.context.anomaly.clone().unwrap();
    assert_eq!(worker.status().kinds(), [0; 5], "calm people are not found");
    assert!(!worker.standing().blind_to.contains(&"user") && worker.standing().blind_to.contains(&"status"));

    flood(&mut server.client().await, "mallory").await;
    let metrics = server.running.context.metrics.encode();
    for line in ["tidegate_anomaly_role{role=\"leader\"} 1", "tidegate_anomaly_events_total{kind=\"flag\"} 1"] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    println!("a deed was in force {} microseconds after it was done", worker.status().deed_age.get());

    eventually("it is let go", async || server.running.context.limiter.adjustments().is_empty()).await;
    server.running.shutdown();
    server.running.wait().await;
    assert!(worker.status().checkpoint_at.get() > 0, "the end leaves a checkpoint");
}
