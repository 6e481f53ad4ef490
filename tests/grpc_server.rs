//! The gRPC port as Envoy sees it: real sockets, a real client.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod server_support;

use std::time::Duration;

use bytes::Bytes;
use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitRequest;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use envoy_types::pb::google::protobuf::UInt64Value;
use envoy_types::pb::google::protobuf::value::Kind;
use hyper_util::rt::TokioIo;
use prost::Message;
use prost_types::FileDescriptorProto;
use server_support::raw::{self, Raw, answer, frame};
use server_support::spans::{attribute, collect};
use server_support::{OK, OVER_LIMIT, SOON, channel, eventually, headers, request, start};
use tidegate::config::HeaderFamily;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

const RULES: &str = r#"
domain: edge
descriptors:
  - key: user
    rate_limit: { name: per-user, unit: hour, requests_per_unit: 3 }
  - key: free
    rate_limit: { unlimited: true }
  - key: blocked
    rate_limit: { unit: day, requests_per_unit: 0 }
"#;

#[tokio::test]
async fn a_limit_is_counted_down_and_then_denies() {
    let server = start(RULES, |_| {});
    let mut client = server.client().await;
    for left in [2, 1, 0] {
        let answer = client.should_rate_limit(request("edge", &[&[("user", "a")]])).await.unwrap().into_inner();
        assert_eq!(answer.overall_code, OK);
        let status = &answer.statuses[0];
        assert_eq!((status.code, status.limit_remaining), (OK, left));
        let limit = status.current_limit.as_ref().unwrap();
        assert_eq!((limit.name.as_str(), limit.requests_per_unit, limit.unit), ("per-user", 3, 3));
        let reset = status.duration_until_reset.as_ref().unwrap().seconds;
        assert!((1..=3600).contains(&reset), "{reset}");
        assert_eq!(headers(&answer, "ratelimit-policy"), [r#""per-user";q=3;w=3600"#]);
        assert_eq!(headers(&answer, "ratelimit"), [format!(r#""per-user";r={left};t={reset}"#)]);
        assert!(headers(&answer, "retry-after").is_empty());
        assert!(answer.raw_body.is_empty());
    }
    let answer = client.should_rate_limit(request("edge", &[&[("user", "a")]])).await.unwrap().into_inner();
    assert_eq!((answer.overall_code, answer.statuses[0].code), (OVER_LIMIT, OVER_LIMIT));
    let reset = answer.statuses[0].duration_until_reset.as_ref().unwrap().seconds;
    assert_eq!(headers(&answer, "retry-after"), [reset.to_string()]);
    assert_eq!(headers(&answer, "content-type"), ["application/problem+json"]);
    let body: serde_json::Value = serde_json::from_slice(&answer.raw_body).unwrap();
    assert_eq!(body["violated-policies"], serde_json::json!(["per-user"]));
    assert_eq!(body["status"], 429);
    let answer = client.should_rate_limit(request("edge", &[&[("user", "b")]])).await.unwrap().into_inner();
    assert_eq!(answer.overall_code, OK, "another value has another counter");
}

#[tokio::test]
async fn what_matches_nothing_passes() {
    let server = start(RULES, |_| {});
    let mut client = server.client().await;
    for (domain, key) in [("unknown", "user"), ("edge", "nothing")] {
        let answer = client.should_rate_limit(request(domain, &[&[(key, "a")]])).await.unwrap().into_inner();
        assert_eq!(answer.overall_code, OK);
        assert_eq!(answer.statuses.len(), 1);
        assert_eq!(answer.statuses[0].code, OK);
        assert_eq!(answer.statuses[0].current_limit, None);
        assert_eq!(answer.statuses[0].duration_until_reset, None);
        assert!(answer.response_headers_to_add.is_empty());
    }
    let answer = client.should_rate_limit(request("edge", &[&[("free", "a")]])).await.unwrap().into_inner();
    assert_eq!(answer.statuses[0].limit_remaining, u32::MAX);
    assert_eq!(answer.statuses[0].current_limit, None);
}

#[tokio::test]
async fn a_limit_of_zero_denies_and_invites_nobody_back() {
    let server = start(RULES, |_| {});
    let mut client = server.client().await;
    let answer = client.should_rate_limit(request("edge", &[&[("blocked", "a")]])).await.unwrap().into_inner();
    assert_eq!(answer.overall_code, OVER_LIMIT);
    assert!(headers(&answer, "retry-after").is_empty());
    assert_eq!(headers(&answer, "ratelimit-policy"), [r#""blocked";q=0;w=86400"#]);
}

#[tokio::test]
async fn requests_without_meaning_are_told_so() {
    let server = start(RULES, |_| {});
    let mut client = server.client().await;
    let no_domain = client.should_rate_limit(request("", &[&[("user", "a")]])).await.unwrap_err();
    assert_eq!((no_domain.code(), no_domain.message()), (Code::InvalidArgument, "rate limit domain must not be empty"));
    let empty = RateLimitRequest { domain: "edge".to_owned(), ..RateLimitRequest::default() };
    let no_descriptors = client.should_rate_limit(empty).await.unwrap_err();
    assert_eq!(
        (no_descriptors.code(), no_descriptors.message()),
        (Code::InvalidArgument, "rate limit descriptor list must not be empty")
    );
}

#[tokio::test]
async fn headers_follow_the_domain_then_the_settings() {
    let rules = "
domain: chosen
response_headers: [x]
descriptors:
  - key: user
    rate_limit: { unit: hour, requests_per_unit: 3 }
";
    let server = start(rules, |_| {});
    let mut client = server.client().await;
    let answer = client.should_rate_limit(request("chosen", &[&[("user", "a")]])).await.unwrap().into_inner();
    assert_eq!(headers(&answer, "x-ratelimit-limit"), ["3"]);
    assert!(headers(&answer, "ratelimit").is_empty());

    let server = start(RULES, |config| {
        config.limiter.response_headers = vec![HeaderFamily::Legacy];
        config.limiter.header_names.limit = "X-My-Limit".to_owned();
        config.limiter.dynamic_metadata = false;
    });
    let mut client = server.client().await;
    let answer = client.should_rate_limit(request("edge", &[&[("user", "a")]])).await.unwrap().into_inner();
    assert_eq!(headers(&answer, "x-my-limit"), ["3"]);
    assert_eq!(headers(&answer, "ratelimit-remaining"), ["2"]);
    assert!(headers(&answer, "ratelimit-policy").is_empty());
    assert_eq!(answer.dynamic_metadata, None);
}

#[tokio::test]
async fn metadata_names_the_rule_that_decided() {
    let server = start(RULES, |_| {});
    let mut client = server.client().await;
    let both = request("edge", &[&[("user", "a")], &[("blocked", "x")]]);
    let answer = client.should_rate_limit(both).await.unwrap().into_inner();
    assert_eq!(answer.overall_code, OVER_LIMIT);
    assert_eq!(answer.statuses.iter().map(|status| status.code).collect::<Vec<_>>(), [OK, OVER_LIMIT]);
    let fields = answer.dynamic_metadata.expect("metadata").fields;
    let text = |key: &str| match &fields[key].kind {
        Some(Kind::StringValue(text)) => text.clone(),
        other => panic!("{key}: {other:?}"),
    };
    assert_eq!((text("domain"), text("rule"), text("code")), ("edge".into(), "blocked".into(), "OVER_LIMIT".into()));
}

#[tokio::test]
async fn changed_rules_come_into_force_and_broken_ones_do_not() {
    let server = start(RULES, |config| config.rules.debounce = Duration::from_millis(10));
    let mut client = server.client().await;
    let file = server.directory.path().join("rules.yaml");
    let mut limit_is = async |wanted: u32| {
        let mut peek = request("edge", &[&[("user", "a")]]);
        peek.descriptors[0].hits_addend = Some(UInt64Value { value: 0 });
        let answer = client.should_rate_limit(peek).await.unwrap().into_inner();
        answer.statuses[0].current_limit.as_ref().is_some_and(|limit| limit.requests_per_unit == wanted)
    };
    assert!(limit_is(3).await);
    std::fs::write(&file, RULES.replace("requests_per_unit: 3", "requests_per_unit: 30")).unwrap();
    eventually("the new limit", async || limit_is(30).await).await;
    std::fs::write(&file, "domain: edge\ndescriptors: 7\n").unwrap();
    let reloads = &server.running.context.reloads;
    eventually("the refusal", async || reloads.failure().is_some()).await;
    assert!(limit_is(30).await, "a broken set replaces nothing");
    assert_eq!(server.running.context.metrics.rule_loads().errors(), 1);
}

#[tokio::test]
async fn a_server_without_rules_answers_unavailable() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rules.yaml");
    std::fs::write(&file, "domain: edge\ndescriptors: 7\n").unwrap();
    let mut config = server_support::config();
    config.rules.paths = vec![file.clone()];
    config.rules.debounce = Duration::from_millis(10);
    let error = tidegate::server::start(config.clone()).expect_err("no rules, no server").to_string();
    assert!(error.contains("rules.yaml") && error.contains(":2"), "{error}");

    config.rules.start_without = true;
    let running = tidegate::server::start(config).expect("it starts all the same");
    let channel = channel(running.grpc_address.unwrap()).await;
    let mut client = RateLimitServiceClient::new(channel.clone());
    let status = client.should_rate_limit(request("edge", &[&[("user", "a")]])).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "no rate limit configuration loaded"));
    let mut health = HealthClient::new(channel);
    assert_eq!(check(&mut health, "").await, Ok(ServingStatus::NotServing));
    std::fs::write(&file, RULES).unwrap();
    eventually("health", async || check(&mut health, "").await == Ok(ServingStatus::Serving)).await;
    assert!(client.should_rate_limit(request("edge", &[&[("user", "a")]])).await.is_ok());
}

async fn check(client: &mut HealthClient<Channel>, service: &str) -> Result<ServingStatus, Code> {
    let request = HealthCheckRequest { service: service.to_owned() };
    client.check(request).await.map(|answer| answer.into_inner().status()).map_err(|status| status.code())
}

#[tokio::test]
async fn health_turns_before_the_end_and_everything_is_still_answered() {
    let server = start(RULES, |config| config.shutdown.drain_period = Duration::from_secs(3600));
    let channel = channel(server.address()).await;
    let mut health = HealthClient::new(channel.clone());
    let services =
        ["", "ratelimit", "envoy.service.ratelimit.v3.RateLimitService", "envoy.service.auth.v3.Authorization"];
    for service in services {
        assert_eq!(check(&mut health, service).await, Ok(ServingStatus::Serving), "{service}");
    }
    assert_eq!(check(&mut health, "nobody").await, Err(Code::NotFound));
    let mut watched = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    let unknown = HealthCheckRequest { service: "nobody".to_owned() };
    let mut nobody = health.watch(unknown).await.unwrap().into_inner();
    assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    assert_eq!(nobody.message().await.unwrap().unwrap().status(), ServingStatus::ServiceUnknown);

    server.running.shutdown();
    assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert_eq!(check(&mut health, "ratelimit").await, Ok(ServingStatus::NotServing));
    let mut old = RateLimitServiceClient::new(channel);
    assert!(old.should_rate_limit(request("edge", &[&[("user", "a")]])).await.is_ok());
    let mut new = server.client().await;
    assert!(new.should_rate_limit(request("edge", &[&[("user", "a")]])).await.is_ok(), "new connections, too");

    // A second signal cuts the hour short. Those who watch are let go, and hold nothing up.
    server.running.shutdown();
    timeout(SOON, server.running.wait()).await.expect("it ends");
    assert_eq!(watched.message().await.unwrap(), None);
    assert!(server.running.loads().iter().all(|load| load.connections() == 0));
}

#[tokio::test]
async fn calls_in_flight_are_finished() {
    let server = start(RULES, |_| {});
    let mut client = Raw::connect(server.address()).await;
    let body = frame(&request("edge", &[&[("user", "a")]]).encode_to_vec());
    let (response, mut stream) = client.open(body.slice(..7), false).await;
    // The server has the beginning once it answers what came after.
    client.call(&request("edge", &[&[("user", "b")]]).encode_to_vec()).await.expect("a decision");
    server.running.shutdown();
    eventually("the port's refusal", async || TcpStream::connect(server.address()).await.is_err()).await;
    stream.send_data(body.slice(7..), true).unwrap();
    assert_eq!(answer(response).await.expect("a decision").overall_code, OK);
    timeout(SOON, server.running.wait()).await.expect("it ends");
    timeout(SOON, client.connection).await.expect("GOAWAY").unwrap().expect("a clean end");
}

#[tokio::test]
async fn calls_that_never_end_are_dropped_after_the_grace() {
    let server = start(RULES, |config| config.shutdown.grace_period = Duration::from_millis(100));
    let mut client = Raw::connect(server.address()).await;
    let (_response, _stream) = client.open(Bytes::from_static(b"\0"), false).await;
    client.call(&request("edge", &[&[("user", "b")]]).encode_to_vec()).await.expect("a decision");
    server.running.shutdown();
    timeout(Duration::from_secs(4), server.running.wait()).await.expect("it ends before the call would");
}

#[tokio::test]
async fn old_connections_are_asked_to_go_and_lose_no_call() {
    let server = start(RULES, |config| config.grpc.max_connection_age = Duration::from_millis(20));
    let message = request("edge", &[&[("other", "a")]]).encode_to_vec();
    let mut calls = 0;
    for _ in 0..10 {
        let client = Raw::connect(server.address()).await;
        // Calls begun before the client knew that it should go are answered all the same. The client gives up by itself
        // one that it has not sent when it learns so.
        while let Ok(mut requests) = client.requests.clone().ready().await {
            let (response, mut stream) = requests.send_request(raw::request(), false).expect("a stream");
            stream.send_data(frame(&message), true).unwrap();
            let Ok(response) = response.await else { break };
            assert_eq!(raw::read(response).await.expect("a decision").overall_code, OK);
            calls += 1;
        }
        timeout(SOON, client.connection).await.expect("GOAWAY").unwrap().expect("a clean end");
    }
    assert!(calls >= 10, "{calls}");
    let arrived: u64 = server.running.loads().iter().map(|load| load.requests()).sum();
    assert_eq!(arrived, calls, "every call that came was answered");
}

#[tokio::test]
async fn connections_spread_over_the_workers() {
    let server = start(RULES, |config| config.grpc.workers = 2);
    let mut connections = Vec::new();
    for _ in 0..8 {
        connections.push(Raw::connect(server.address()).await);
    }
    let loads = server.running.loads();
    let counts = || loads.iter().map(|load| load.connections()).collect::<Vec<_>>();
    eventually("an even spread", async || counts() == [4, 4]).await;
    // Every one of them is served, wherever it is.
    for connection in &mut connections {
        connection.call(&request("edge", &[&[("other", "a")]]).encode_to_vec()).await.expect("a decision");
    }
    assert_eq!(loads.iter().map(|load| load.requests()).collect::<Vec<_>>(), [4, 4]);
    drop(connections);
    eventually("the end of all", async || counts() == [0, 0]).await;
}

#[tokio::test]
async fn a_busy_worker_gets_no_more_connections_than_it_can_bear() {
    let server = start(RULES, |config| config.grpc.workers = 2);
    let loads = server.running.loads();
    let mut hot = Raw::connect(server.address()).await;
    let busy = request("edge", &[&[("other", "a")]]).encode_to_vec();
    for _ in 0..2_000 {
        hot.call(&busy).await.expect("a decision");
    }
    let hot_worker = usize::from(loads[1].requests() > 0);
    let (one, other) = (Raw::connect(server.address()).await, Raw::connect(server.address()).await);
    eventually("both", async || loads.iter().map(|load| load.connections()).sum::<usize>() == 3).await;
    assert_eq!(loads[hot_worker].connections(), 1, "by their number, the second would have gone here");
    drop((one, other));
}

#[tokio::test]
async fn counters_are_shared_by_all_workers() {
    let server = start(RULES, |config| config.grpc.workers = 3);
    let mut passed = 0;
    for _ in 0..9 {
        let mut client = server.client().await;
        let answer = client.should_rate_limit(request("edge", &[&[("user", "a")]])).await.unwrap().into_inner();
        passed += usize::from(answer.overall_code == OK);
    }
    assert_eq!(passed, 3);
}

#[tokio::test]
async fn a_taken_port_is_an_error() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap();
    for (what, setting) in [("gRPC", "grpc.address"), ("HTTP", "http.address"), ("admin", "admin.address")] {
        let mut config = server_support::config();
        match what {
            "gRPC" => config.grpc.address = address,
            "HTTP" => config.http.address = address,
            _ => config.admin.address = address,
        }
        let error = tidegate::server::start(config).expect_err("taken").to_string();
        assert_eq!(
            error,
            format!("{what} port {address} is taken by another process; stop it, or listen elsewhere ({setting})")
        );
    }
    // Nor does another server of ours share a port.
    let server = start(RULES, |_| {});
    let mut config = server_support::config();
    config.grpc.address = server.address();
    assert!(tidegate::server::start(config).is_err());
}

#[tokio::test]
async fn unix_sockets_are_served_replaced_and_removed() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("tidegate.sock");
    // One that a process left behind.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let server = start(RULES, |config| config.grpc.unix_socket = Some(path.clone()));
    assert_eq!(server.running.grpc_address, None);
    let connect = async || {
        let path = path.clone();
        let connector = tower::service_fn(move |_: http::Uri| {
            let path = path.clone();
            async move { tokio::net::UnixStream::connect(path).await.map(TokioIo::new) }
        });
        Endpoint::from_static("http://localhost").connect_with_connector(connector).await
    };
    let mut client = RateLimitServiceClient::new(connect().await.unwrap());
    let answer = client.should_rate_limit(request("edge", &[&[("user", "a")]])).await.unwrap().into_inner();
    assert_eq!(answer.overall_code, OK);

    let mut second = server_support::config();
    second.grpc.unix_socket = Some(path.clone());
    let error = tidegate::server::start(second.clone()).expect_err("in use").to_string();
    assert!(error.contains("is in use by another process"), "{error}");
    let file = place.path().join("a file");
    std::fs::write(&file, "precious").unwrap();
    second.grpc.unix_socket = Some(file.clone());
    let error = tidegate::server::start(second).expect_err("no socket").to_string();
    assert!(error.contains("exists and is no socket"), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), b"precious");

    server.running.shutdown();
    timeout(SOON, server.running.wait()).await.expect("it ends");
    assert!(!path.exists(), "the socket file is removed");
}

#[tokio::test]
async fn reflection_lists_and_describes_every_service() {
    let server = start(RULES, |_| {});
    let mut client = ServerReflectionClient::new(channel(server.address()).await);
    let mut ask = async |question: MessageRequest| {
        let request = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
        let mut answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
        answers.message().await.unwrap().unwrap().message_response.unwrap()
    };
    let MessageResponse::ListServicesResponse(list) = ask(MessageRequest::ListServices(String::new())).await else {
        panic!("no list");
    };
    let names: Vec<&str> = list.service.iter().map(|service| service.name.as_str()).collect();
    for name in [
        "envoy.service.ratelimit.v3.RateLimitService",
        "envoy.service.auth.v3.Authorization",
        "envoy.service.accesslog.v3.AccessLogService",
        "grpc.health.v1.Health",
        "tidegate.admin.v1.Admin",
    ] {
        assert!(names.contains(&name), "{names:?}");
    }
    let symbol = "envoy.extensions.common.ratelimit.v3.RateLimitDescriptor".to_owned();
    let MessageResponse::FileDescriptorResponse(files) = ask(MessageRequest::FileContainingSymbol(symbol)).await else {
        panic!("no file");
    };
    let file = FileDescriptorProto::decode(&files.file_descriptor_proto[0][..]).unwrap();
    let fields: Vec<&str> = file.message_type[0].field.iter().map(|field| field.name()).collect();
    assert_eq!(fields, ["entries", "limit", "hits_addend", "is_negative_hits"]);
}

#[tokio::test]
async fn metrics_tell_of_workers_and_counters() {
    let server = start(RULES, |_| {});
    let mut client = server.client().await;
    client.should_rate_limit(request("edge", &[&[("user", "a")]])).await.unwrap();
    client.should_rate_limit(request("", &[&[("user", "a")]])).await.unwrap_err();
    let text = server.running.context.metrics.encode();
    for line in [
        "tidegate_live_counters 1",
        r#"tidegate_worker_requests_total{worker="0"} 2"#,
        r#"tidegate_worker_connections{worker="0"} 1"#,
        "tidegate_serving 1",
    ] {
        assert!(text.lines().any(|each| each.trim_end_matches(".0") == line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn decisions_leave_spans_below_their_callers() {
    let (mut spans, settings) = collect().await;
    let server = start(RULES, settings);
    let mut client = server.client().await;
    let mut calls = async |domain: &str, parent: Option<&'static str>| {
        let mut call = tonic::Request::new(request(domain, &[&[("user", "a")]]));
        if let Some(parent) = parent {
            call.metadata_mut().insert("traceparent", parent.parse().unwrap());
        }
        client.should_rate_limit(call).await.map(|answer| answer.into_inner().overall_code)
    };
    // Of a caller that samples, and twice of one that does not; then one that fails.
    const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    assert_eq!(calls("edge", Some(SAMPLED)).await.unwrap(), OK);
    assert_eq!(calls("edge", None).await.unwrap(), OK);
    assert_eq!(calls("edge", Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")).await.unwrap(), OK);
    assert!(calls("", Some(SAMPLED)).await.is_err());
    // The end sends what waits.
    server.running.shutdown();
    timeout(SOON, server.running.wait()).await.expect("it ends");
    let mut outcomes = Vec::new();
    while let Ok(span) = spans.try_recv() {
        assert_eq!(span.name, "ShouldRateLimit");
        assert_eq!(span.parent_span_id, 0xb7ad_6b71_6920_3331_u64.to_be_bytes());
        outcomes.push(attribute(&span, "ratelimit.outcome"));
    }
    assert_eq!(outcomes, ["ok", "error"]);
}

#[tokio::test]
async fn an_end_lets_go_of_everything() {
    let server = start(RULES, |config| config.shutdown.drain_period = Duration::from_millis(50));
    let mut client = server.client().await;
    client.should_rate_limit(request("edge", &[&[("user", "a")]])).await.unwrap();
    server.running.shutdown();
    timeout(SOON, server.running.wait()).await.expect("it ends");
    for address in [server.address(), server.running.http_address, server.running.admin_address] {
        assert!(TcpStream::connect(address).await.is_err(), "{address}");
    }
}
