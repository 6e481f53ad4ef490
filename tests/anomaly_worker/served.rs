//! Servers that watch themselves, with the machine's own clock: a flood over gRPC is found, limited and let go.

use std::time::{Duration, Instant};

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use tonic::transport::Channel;

use crate::redis_support::Redis;
use crate::server_support::{OVER_LIMIT, Server, eventually, request, start};
use tidegate::config::Config;
use tidegate::config::redis::Redis as Settings;

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
    let server = |compute| {
        start(RULES, |config| {
            watching(config);
            config.anomaly.compute = compute;
            let deadline = Duration::from_secs(5);
            config.redis = Some(Settings { urls: vec![redis.address()], deadline, ..Settings::default() });
        })
    };
    let (computing, other) = (server(true), server(false));
    calm(&other).await;
    flood(&mut other.client().await, "mallory").await;
    eventually("and where it did not", async || !computing.running.context.limiter.adjustments().is_empty()).await;
    for server in [&computing, &other] {
        let age = server.running.context.anomaly.as_ref().unwrap().status().deed_age.get();
        println!("a deed was in force {} ms after it was done", age / 1_000);
        assert!(age < 1_000_000, "{age} microseconds");
    }
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
    println!("a flood was denied {:?} after it was first applied", worker.status().deed_age.get());

    eventually("it is let go", async || {
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.running.context.limiter.adjustments().is_empty()
    })
    .await;
    server.running.shutdown();
    server.running.wait().await;
    assert!(worker.status().checkpoint_at.get() > 0, "the end leaves a checkpoint");
}
