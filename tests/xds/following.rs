//! Sets that come, change, are refused, and stay while nobody sends any.

use std::time::{Duration, Instant};

use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Any, Value as ProtoValue};
use tidegate::config::redis::Secret;
use tidegate::rules::xds::TYPE_URL;
use tidegate::server::{self, StartError};
use tonic::Code;

use crate::control_plane::{ControlPlane, domain, per_day};
use crate::process::{self, get, request as http};
use crate::server_support::{OK, OVER_LIMIT, Server, eventually, request};

/// The overall code for one hit of a user, or the error's.
async fn decide(server: &Server, domain: &str, user: &str) -> Result<i32, Code> {
    let answer = server.client().await.should_rate_limit(request(domain, &[&[("user", user)]])).await;
    answer.map(|answer| answer.into_inner().overall_code).map_err(|status| status.code())
}

/// The limit of a user, as an answer tells it; `None` where there is none.
async fn limit(server: &Server, domain: &str) -> Option<u32> {
    let answer = server.client().await.should_rate_limit(request(domain, &[&[("user", "someone")]])).await.unwrap();
    answer.into_inner().statuses[0].current_limit.as_ref().map(|limit| limit.requests_per_unit)
}

fn revision(server: &Server) -> u64 {
    server.running.context.limiter.active().revision
}

#[tokio::test]
async fn rules_come_change_and_go() {
    let control_plane = ControlPlane::start();
    let server = control_plane.follower(|config| config.rules.start_without = true);
    assert_eq!(decide(&server, "edge", "ann").await, Err(Code::Unavailable));
    assert_eq!(get(server.running.http_address, "/healthcheck").status, 500);

    control_plane.push("1", vec![domain("edge", vec![per_day("user", 1)]), domain("inner", vec![per_day("user", 9)])]);
    control_plane.acknowledged("1").await;
    assert_eq!(get(server.running.http_address, "/healthcheck").status, 200);
    assert_eq!(decide(&server, "edge", "ann").await, Ok(OK));
    assert_eq!(decide(&server, "edge", "ann").await, Ok(OVER_LIMIT));
    assert_eq!(limit(&server, "inner").await, Some(9));

    // Changed, and another domain in the place of one.
    control_plane.push("2", vec![domain("edge", vec![per_day("user", 3)]), domain("new", vec![per_day("user", 5)])]);
    control_plane.acknowledged("2").await;
    assert_eq!(decide(&server, "edge", "ann").await, Ok(OK), "the counter stays, and has room again");
    assert_eq!((limit(&server, "inner").await, limit(&server, "new").await), (None, Some(5)));

    // Nothing at all is a set too.
    control_plane.push("3", Vec::new());
    control_plane.acknowledged("3").await;
    assert_eq!((limit(&server, "edge").await, limit(&server, "new").await), (None, None));
    assert_eq!(decide(&server, "edge", "ann").await, Ok(OK));

    let requests = control_plane.seen();
    let told: Vec<_> = requests
        .iter()
        .map(|seen| (seen.request.version_info.as_str(), seen.request.response_nonce.as_str()))
        .collect();
    assert_eq!(told, [("", ""), ("1", "nonce 1"), ("2", "nonce 2"), ("3", "nonce 3")]);
    assert!(requests.iter().all(|seen| seen.request.type_url == TYPE_URL && seen.request.resource_names.is_empty()));
}

#[tokio::test]
async fn a_start_waits_for_the_first_rules() {
    let control_plane = ControlPlane::start();
    control_plane.push("1", vec![domain("edge", vec![per_day("user", 1)])]);
    let server = control_plane.follower(|_| {});
    assert_eq!(decide(&server, "edge", "ann").await, Ok(OK));
}

#[tokio::test]
async fn a_start_that_requires_rules_ends_without_them() {
    let control_plane = ControlPlane::start();
    control_plane.push("1", vec![domain("", vec![per_day("user", 1)])]);
    let config = control_plane.settings(|config| config.rules.required = true);
    let started = tokio::task::spawn_blocking(|| server::start(config)).await.unwrap();
    let Err(StartError::NoRules(reason)) = started else { panic!("it starts") };
    assert!(reason.contains("has no domain"), "{reason}");
}

#[tokio::test]
async fn a_set_with_mistakes_is_refused_and_the_one_before_stays() {
    let control_plane = ControlPlane::start();
    control_plane.push("1", vec![domain("edge", vec![per_day("user", 1)])]);
    let pause = Duration::from_millis(400);
    let server = control_plane.follower(|config| {
        let xds = config.rules.xds.as_mut().unwrap();
        xds.backoff.initial = pause;
        xds.backoff.max = pause;
    });
    let mut wrong = per_day("path", 1);
    wrong.rate_limit.as_mut().unwrap().unit = 42;
    let mut tenant = per_day("tenant", 5);
    tenant.value = "a,b".to_owned();
    tenant.descriptors = vec![wrong];
    // One good domain does not save the set.
    control_plane.push("2", vec![domain("edge", vec![per_day("user", 7)]), domain("inner", vec![tenant])]);
    let refusal = control_plane.refusal().await;
    assert_eq!((refusal.version_info.as_str(), refusal.response_nonce.as_str()), ("1", "nonce 2"));
    let detail = refusal.error_detail.unwrap();
    assert_eq!(detail.code, Code::InvalidArgument as i32);
    assert_eq!(
        detail.message,
        "domain 'inner', descriptor 'tenant=a%2Cb,path': invalid rate limit unit 42; use SECOND, MINUTE, HOUR, DAY, \
         WEEK, MONTH or YEAR"
    );
    assert_eq!(limit(&server, "edge").await, Some(1));
    assert_eq!(get(server.running.http_address, "/healthcheck").status, 200);
    let health = get(server.running.http_address, "/readyz?verbose").json();
    assert_eq!(health["rules"]["outdated"], true);
    let xds = &health["rules"]["xds"];
    assert_eq!((&xds["version"], &xds["refused"]["version"]), (&"1".into(), &"2".into()));
    assert_eq!(xds["refused"]["reason"], detail.message);

    // The server sends it again at once; that is not answered as fast.
    let refusals =
        || control_plane.seen().into_iter().filter(|seen| seen.request.error_detail.is_some()).collect::<Vec<_>>();
    eventually("a second refusal", async || refusals().len() > 1).await;
    assert!(refusals()[1].at - refusals()[0].at >= pause / 2);

    control_plane.push("3", vec![domain("edge", vec![per_day("user", 7)])]);
    control_plane.acknowledged("3").await;
    assert_eq!(limit(&server, "edge").await, Some(7));
    let health = get(server.running.http_address, "/readyz?verbose").json();
    assert_eq!((&health["rules"]["outdated"], &health["rules"]["xds"]["refused"]), (&false.into(), &().into()));
}

#[tokio::test]
async fn the_same_rules_again_are_not_put_in_force_again() {
    let control_plane = ControlPlane::start();
    let set = || vec![domain("a", vec![per_day("user", 1)]), domain("b", vec![per_day("user", 2)])];
    control_plane.push("1", set());
    let server = control_plane.follower(|_| {});
    let before = revision(&server);
    // A set has no order.
    control_plane.push("2", set().into_iter().rev().collect());
    control_plane.acknowledged("2").await;
    assert_eq!(revision(&server), before);
    let metrics = get(server.running.admin_address, "/metrics").body;
    for line in [
        "tidegate_xds_connected 1.0",
        "tidegate_xds_refused 0.0",
        "tidegate_xds_version{version=\"2\"} 1.0",
        "tidegate_xds_pushes_total{outcome=\"accepted\"} 1",
        "tidegate_xds_pushes_total{outcome=\"unchanged\"} 1",
        "tidegate_xds_pushes_total{outcome=\"refused\"} 0",
    ] {
        assert!(metrics.lines().any(|other| other == line), "{line} is not in\n{metrics}");
    }
}

#[tokio::test]
async fn rules_stay_while_the_server_is_away() {
    let control_plane = ControlPlane::start();
    control_plane.push("7", vec![domain("edge", vec![per_day("user", 2)])]);
    let server = control_plane.follower(|_| {});
    assert_eq!(decide(&server, "edge", "ann").await, Ok(OK));
    let address = control_plane.address;
    drop(control_plane);
    let xds = || get(server.running.http_address, "/readyz?verbose").json()["rules"]["xds"].clone();
    eventually("the server being missed", async || xds()["connected"] == false).await;
    eventually("a reason", async || xds()["trouble"].as_str().is_some_and(|why| why.contains("refused"))).await;
    assert_eq!(decide(&server, "edge", "ann").await, Ok(OK));
    assert_eq!(decide(&server, "edge", "ann").await, Ok(OVER_LIMIT));
    assert_eq!(get(server.running.http_address, "/healthcheck").status, 200);

    // Started anew, it counts its versions anew too.
    let control_plane = ControlPlane::start_at(address, None);
    control_plane.push("7", vec![domain("edge", vec![per_day("user", 3)])]);
    control_plane.acknowledged("7").await;
    assert_eq!(limit(&server, "edge").await, Some(3));
    assert_eq!((&xds()["connected"], &xds()["trouble"]), (&true.into(), &().into()));
    let first = control_plane.seen()[0].request.clone();
    assert_eq!((first.version_info.as_str(), first.node.unwrap().id.as_str()), ("", "default"));
}

#[tokio::test]
async fn a_start_while_the_server_is_away_begins_with_the_copy() {
    let control_plane = ControlPlane::start();
    let directory = tempfile::tempdir().unwrap();
    let copied = |config: &mut tidegate::config::Config| {
        config.rules.copy_directory = Some(directory.path().to_owned());
        // A start without any rules would fail.
        config.rules.required = true;
    };
    control_plane.push("7", vec![domain("edge", vec![per_day("user", 2)])]);
    let server = control_plane.follower(copied);
    // By then it is on the disk.
    control_plane.acknowledged("7").await;
    drop(server);
    let settings = control_plane.settings(copied);
    let address = control_plane.address;
    drop(control_plane);

    let running = server::start(settings).expect("it starts");
    let server = Server { running, directory: tempfile::tempdir().unwrap() };
    assert_eq!(limit(&server, "edge").await, Some(2));
    let xds = || get(server.running.http_address, "/readyz?verbose").json()["rules"]["xds"].clone();
    assert_eq!((&xds()["version"], &xds()["from_copy"]), (&"7".into(), &true.into()));
    assert_eq!(xds()["connected"], false);
    let control_plane = ControlPlane::start_at(address, None);
    control_plane.push("1", vec![domain("edge", vec![per_day("user", 5)])]);
    control_plane.acknowledged("1").await;
    assert_eq!(limit(&server, "edge").await, Some(5));
    assert_eq!((&xds()["version"], &xds()["from_copy"]), (&"1".into(), &false.into()));
}

#[tokio::test]
async fn a_set_that_is_too_large_is_told_with_the_setting() {
    let control_plane = ControlPlane::start();
    control_plane.push("1", vec![domain("edge", vec![per_day("user", 1)])]);
    let server = control_plane.follower(|config| config.rules.xds.as_mut().unwrap().max_message_bytes = 2_000);
    let many = (0..200).map(|number| per_day(&format!("key-{number}"), 1)).collect();
    control_plane.push("2", vec![domain("edge", many)]);
    let reason = || {
        let xds = get(server.running.http_address, "/readyz?verbose").json()["rules"]["xds"].clone();
        xds["trouble"].as_str().unwrap_or_default().to_owned()
    };
    eventually("a reason", async || reason().contains("rules.xds.max_message_bytes")).await;
    assert!(reason().starts_with("the server has a set larger than 2000 bytes; "), "{}", reason());
    assert_eq!(limit(&server, "edge").await, Some(1));
    control_plane.push("3", vec![domain("edge", vec![per_day("user", 3)])]);
    control_plane.acknowledged("3").await;
    assert_eq!(limit(&server, "edge").await, Some(3));
}

#[tokio::test]
async fn the_server_is_told_who_asks() {
    let control_plane = ControlPlane::start();
    control_plane.push("1", vec![domain("edge", vec![per_day("user", 1)])]);
    let _server = control_plane.follower(|config| {
        let xds = config.rules.xds.as_mut().unwrap();
        xds.node_id = "envoy-ratelimit".to_owned();
        xds.node_metadata = [("zone".to_owned(), "eu-1".to_owned())].into();
        xds.headers = [("Authorization".to_owned(), Secret::new("Bearer abc"))].into();
    });
    let node = control_plane.seen()[0].request.node.clone().unwrap();
    assert_eq!(node.id, "envoy-ratelimit");
    assert_eq!(node.user_agent_name, "tidegate");
    let fields = node.metadata.unwrap().fields;
    assert_eq!(fields.into_iter().collect::<Vec<_>>(), [("zone".to_owned(), text("eu-1"))]);
    assert_eq!(control_plane.headers().get("authorization").unwrap(), "Bearer abc");
}

fn text(text: &str) -> ProtoValue {
    ProtoValue { kind: Some(Kind::StringValue(text.to_owned())) }
}

#[tokio::test]
async fn resources_of_another_kind_are_refused() {
    let control_plane = ControlPlane::start();
    control_plane.push("1", vec![Any { type_url: "type.googleapis.com/a.b.C".to_owned(), value: Vec::new() }]);
    let _server = control_plane.follower(|config| config.rules.start_without = true);
    let message = control_plane.refusal().await.error_detail.unwrap().message;
    assert!(message.starts_with("resource 1: is of the type 'type.googleapis.com/a.b.C'; only "), "{message}");
    control_plane.push("2", vec![Any { type_url: TYPE_URL.to_owned(), value: vec![0xff; 9] }]);
    let unreadable = |message: &str| message.starts_with("resource 1: cannot be read: ");
    eventually("another refusal", async || {
        let details = control_plane.seen().into_iter().filter_map(|seen| seen.request.error_detail);
        details.into_iter().any(|detail| unreadable(&detail.message))
    })
    .await;
}

#[tokio::test]
async fn rules_of_an_xds_server_are_not_changed_here() {
    let control_plane = ControlPlane::start();
    control_plane.push("1", vec![domain("edge", vec![per_day("user", 1)])]);
    let server = control_plane.follower(|config| config.http.allow_unauthenticated = true);
    let body = br#"{"user_id": "ann", "limit_per_minute": 5}"#;
    let json = "content-type: application/json\r\n";
    for (method, path) in [("PUT", "/rate-limit/rules"), ("GET", "/rate-limit/rules")] {
        let answer = http(server.running.http_address, method, path, json, body);
        assert_eq!(answer.status, 409, "{}", answer.body);
        let expected = format!("the rules come from the xDS server {}, and are changed there", control_plane.address);
        assert!(answer.json()["detail"].as_str().unwrap().starts_with(&expected), "{}", answer.body);
    }
    let api = format!("http://{}", server.running.http_address);
    let told = process::tidegate().args(["rules", "list", "--api", &api]).output().unwrap();
    let (_, error) = process::texts(&told);
    assert!(!told.status.success() && error.contains("come from the xDS server"), "{error}");
    // What is in force is shown all the same.
    let shown = get(server.running.admin_address, "/rlconfig").body;
    assert!(shown.starts_with("edge.user: unit=DAY requests_per_unit=1"), "{shown}");
}

#[tokio::test]
async fn nothing_is_left_running_when_the_server_ends() {
    let control_plane = ControlPlane::start();
    control_plane.push("1", vec![domain("edge", vec![per_day("user", 1)])]);
    let server = control_plane.follower(|_| {});
    let context = std::sync::Arc::downgrade(&server.running.context);
    let began = Instant::now();
    server.running.shutdown();
    server.running.wait().await;
    drop(server);
    eventually("the end of everything", async || context.strong_count() == 0).await;
    assert!(began.elapsed() < Duration::from_secs(15));
}
