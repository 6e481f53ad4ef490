//! What answers say of adjustments, over every protocol, and how lifted ones let pass at once with a real Redis.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod redis_support;
mod server_support;

use std::time::{Duration, SystemTime};

use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitResponse;
use envoy_types::pb::google::protobuf::value::Kind;
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use redis_support::Redis;
use serde_json::Value;
use server_support::{OK, OVER_LIMIT, Server, eventually, headers, request, start};
use tidegate::anomaly::observation::Outcome;
use tidegate::config::redis::Redis as Settings;
use tidegate::core::adjustment::set::AdjustmentSet;
use tidegate::core::adjustment::{Adjustment, Effect};
use tidegate::core::clock::Micros;
use tidegate::core::subject::Subject;

const RULES: &str = "
domain: edge
descriptors:
  - key: user_id
    rate_limit: { name: per-user, unit: day, requests_per_unit: 10 }
  - key: recorded
    descriptors:
      - key: user_id
        rate_limit: { unit: day, requests_per_unit: 20 }
  - key: bucket
    descriptors:
      - key: user_id
        rate_limit: { unit: day, requests_per_unit: 10, algorithm: token_bucket, over: drop }
  - key: log
    descriptors:
      - key: user_id
        rate_limit: { unit: day, requests_per_unit: 10, algorithm: sliding_window_log, over: drop }
";

const ABNORMAL: &str = "https://iana.org/assignments/http-problem-types#abnormal-usage-detected";

fn about_alice(effect: Effect) -> Adjustment {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    Adjustment {
        id: "a-17".into(),
        subject: Subject::User("alice".into()),
        domain: None,
        effect,
        expires: Micros::from(now + Duration::from_secs(600)),
        shadow: false,
    }
}

fn adjust(server: &Server, adjustments: impl IntoIterator<Item = Adjustment>) {
    server.running.context.limiter.adjust(AdjustmentSet::new(adjustments));
}

/// A field of the dynamic metadata.
fn metadata(answer: &RateLimitResponse, key: &str) -> Option<Value> {
    let value = answer.dynamic_metadata.as_ref()?.fields.get(key)?;
    Some(match value.kind.as_ref()? {
        Kind::StringValue(text) => text.as_str().into(),
        Kind::NumberValue(number) => (*number).into(),
        other => panic!("{other:?}"),
    })
}

fn problem(answer: &RateLimitResponse) -> Value {
    serde_json::from_slice(&answer.raw_body).unwrap()
}

#[tokio::test]
async fn answers_to_envoy_name_the_adjustment() {
    let server = start(RULES, |_| {});
    let mut client = server.client().await;
    let mut ask =
        async || client.should_rate_limit(request("edge", &[&[("user_id", "alice")]])).await.unwrap().into_inner();
    let plain = ask().await;
    assert_eq!((metadata(&plain, "adjustment"), metadata(&plain, "limit")), (None, Some(10.0.into())));

    adjust(&server, [about_alice(Effect::Factor { factor: 0.2, floor: 1 })]);
    let passed = ask().await;
    assert_eq!(passed.overall_code, OK);
    assert_eq!(metadata(&passed, "adjustment"), Some("a-17".into()));
    assert_eq!(
        (metadata(&passed, "limit"), metadata(&passed, "adjusted_limit")),
        (Some(10.0.into()), Some(2.0.into()))
    );
    assert_eq!(passed.statuses[0].current_limit.as_ref().unwrap().requests_per_unit, 2);
    assert_eq!(headers(&passed, "ratelimit-policy"), [r#""per-user";q=2;w=86400"#]);
    let denied = ask().await;
    assert_eq!(denied.overall_code, OVER_LIMIT);
    let document = problem(&denied);
    assert_eq!((&document["type"], &document["status"]), (&ABNORMAL.into(), &429.into()));
    assert_eq!(document["violated-policies"], serde_json::json!(["per-user"]));
    assert!(document["detail"].as_str().unwrap().contains("'per-user', now 2 per 86400s"), "{document}");

    adjust(&server, [about_alice(Effect::Limit { rate: 0.01, burst: 1 })]);
    assert_eq!(ask().await.overall_code, OK);
    let own = ask().await;
    assert_eq!(own.overall_code, OVER_LIMIT);
    assert_eq!(own.statuses[0].code, OK, "no rule denies");
    assert!(headers(&own, "ratelimit")[0].starts_with(r#""adjustment";r=0;t="#), "{own:?}");
    assert!(headers(&own, "ratelimit-policy")[0].ends_with(r#", "adjustment";q=36;w=3600"#), "{own:?}");
    let wait: u64 = headers(&own, "retry-after")[0].parse().unwrap();
    assert!((90..=100).contains(&wait), "{wait}");
    assert_eq!(problem(&own)["type"], ABNORMAL);

    adjust(&server, [about_alice(Effect::Block)]);
    let blocked = ask().await;
    assert_eq!((blocked.overall_code, blocked.statuses[0].code), (OVER_LIMIT, OVER_LIMIT));
    assert_eq!(metadata(&blocked, "adjustment"), Some("a-17".into()));
    let wait: u64 = headers(&blocked, "retry-after")[0].parse().unwrap();
    assert!((500..=600).contains(&wait), "{wait}");

    adjust(&server, [Adjustment { shadow: true, ..about_alice(Effect::Block) }]);
    let shadowed = ask().await;
    assert_eq!(shadowed.overall_code, OK);
    let named = [metadata(&shadowed, "adjustment"), metadata(&shadowed, "adjustment_shadow")];
    assert_eq!(named, [None, Some("a-17".into())]);
    let metrics = server.running.context.metrics.encode();
    for (outcome, count) in [("passed", 2), ("limited", 2), ("blocked", 1), ("shadow_limited", 1), ("over_limit", 0)] {
        let line = format!("tidegate_adjusted_decisions_total{{outcome=\"{outcome}\"}} {count}");
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
}

#[tokio::test]
async fn answers_over_http_name_the_adjustment() {
    let server = start(RULES, |_| {});
    let ask = async || {
        let body = r#"{"user_id": "alice"}"#.to_owned();
        let stream = tokio::net::TcpStream::connect(server.running.http_address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::post("/rate-limit").header("host", "localhost");
        let request = request.header("content-type", "application/json").body(body).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice::<Value>(&body).unwrap())
    };
    adjust(&server, [about_alice(Effect::Factor { factor: 0.1, floor: 1 })]);
    let (status, document) = ask().await;
    assert_eq!(status, 200);
    assert_eq!([&document["limit"], &document["adjusted_limit"]], [&Value::from(10), &1.into()]);
    assert_eq!(document["adjustment"], "a-17");
    let (status, document) = ask().await;
    assert_eq!((status, &document["type"]), (429, &ABNORMAL.into()));
    assert!(document["retry_after_seconds"].as_u64().unwrap() > 0, "{document}");
    adjust(&server, [about_alice(Effect::Block)]);
    let (status, document) = ask().await;
    assert_eq!((status, &document["note"]), (429, &"an adjustment lets nothing pass".into()));
}

#[tokio::test]
async fn decisions_leave_observations_once_somebody_reads() {
    let server = start(RULES, |_| {});
    let mut client = server.client().await;
    let mut ask = async |entries: &[(&str, &str)]| {
        client.should_rate_limit(request("edge", &[entries])).await.unwrap();
    };
    ask(&[("user_id", "unseen")]).await;
    let mut reader = server.running.context.observations.read().unwrap();
    adjust(&server, [about_alice(Effect::Block)]);
    ask(&[("user_id", "alice"), ("remote_address", "192.0.2.1"), ("path", "/a?b")]).await;
    ask(&[("user_id", "bob")]).await;
    let mut seen = Vec::new();
    eventually("both are there", async || {
        reader.drain(|observation| {
            assert_eq!(observation.domain, "edge");
            let address = observation.address.map(|address| address.to_string());
            seen.push((observation.user.map(str::to_owned), address, observation.path.to_owned(), observation.outcome));
        });
        seen.len() >= 2
    })
    .await;
    let alice = (Some("alice".to_owned()), Some("192.0.2.1".to_owned()), "/a".to_owned(), Outcome::LimitedByAdjustment);
    assert_eq!(seen, [alice, (Some("bob".to_owned()), None, String::new(), Outcome::Allowed)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_redis_a_lifted_adjustment_lets_pass_at_once() {
    let redis = Redis::start();
    let server = start(RULES, |config| {
        let deadline = Duration::from_secs(10);
        config.redis = Some(Settings { urls: vec![redis.address()], deadline, ..Settings::default() });
    });
    let mut client = server.client().await;
    // Hits over a limit that records them count, unless they are answered from memory: so there is room for all.
    for (factor, entries) in [
        (0.15, vec![("recorded", "x"), ("user_id", "alice")]),
        (0.3, vec![("bucket", "x"), ("user_id", "alice")]),
        (0.3, vec![("log", "x"), ("user_id", "alice")]),
    ] {
        let mut passes = async || {
            client.should_rate_limit(request("edge", &[&entries])).await.unwrap().into_inner().overall_code == OK
        };
        adjust(&server, [about_alice(Effect::Factor { factor, floor: 1 })]);
        let mut passed = 0;
        for _ in 0..8 {
            passed += u32::from(passes().await);
        }
        assert_eq!(passed, 3, "{entries:?}");
        adjust(&server, []);
        assert!(passes().await, "remembered as over its limit: {entries:?}");
        adjust(&server, [about_alice(Effect::Limit { rate: 0.001, burst: 1 })]);
        let own = [passes().await, passes().await, passes().await];
        assert_eq!(own[1..], [false, false], "{entries:?}");
        adjust(&server, []);
        assert!(passes().await, "{entries:?}");
    }
}
