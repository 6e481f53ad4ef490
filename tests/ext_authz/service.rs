//! The service among the others.

use std::time::Duration;

use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use tonic::Code;

use crate::server_support::spans::{attribute, collect};
use crate::server_support::{self, SOON, channel, start};
use crate::site::{RULES, SECTION, get, server, server_with};

#[tokio::test]
async fn without_a_section_every_address_is_a_descriptor() {
    let rules = "
domain: edge
descriptors:
  - key: remote_address
    rate_limit: { unit: hour, requests_per_unit: 1 }
";
    let server = start(rules, |_| {});
    let mut client = AuthorizationClient::new(channel(server.address()).await);
    let mut code = async || client.check(get("/", &[])).await.unwrap().into_inner().status.unwrap().code;
    assert_eq!((code().await, code().await), (0, 8));
}

#[tokio::test]
async fn a_server_without_rules_answers_unavailable() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rules.yaml");
    std::fs::write(&file, "domain: edge\ndescriptors: 7\n").unwrap();
    let mut config = server_support::config();
    config.rules.paths = vec![file];
    config.rules.start_without = true;
    let running = tidegate::server::start(config).expect("it starts all the same");
    let mut client = AuthorizationClient::new(channel(running.grpc_address.unwrap()).await);
    let status = client.check(get("/", &[])).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "no rate limit configuration loaded"));
}

#[tokio::test]
async fn both_protocols_share_counters_and_workers() {
    let mut site = server("").await;
    let mut rls = site.server.client().await;
    let question = server_support::request("api", &[&[("user", "alice")]]);
    let mut codes = Vec::new();
    for _ in 0..2 {
        codes.push(rls.should_rate_limit(question.clone()).await.unwrap().into_inner().overall_code);
        codes.push(site.check(get("/", &[("x-user", "alice")])).await.status.unwrap().code);
    }
    assert_eq!(codes, [server_support::OK, 0, server_support::OK, 8]);
    assert_eq!(site.server.running.loads()[0].requests(), 4);
}

#[tokio::test]
async fn counters_that_cannot_be_had_in_time_are_answered_by_failure_mode() {
    // Nobody answers there.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let section = crate::site::settings(&format!(
        "{}redis:\n  urls: [\"redis://{address}\"]\n  connect_timeout: 100ms\n",
        SECTION
    ));
    let server = start(RULES, |config| {
        config.ext_authz = section.ext_authz;
        config.redis = section.redis;
        config.limiter.failure_mode = tidegate::core::spec::FailureMode::Error;
    });
    let mut client = AuthorizationClient::new(channel(server.address()).await);
    let mut request = tonic::Request::new(get("/", &[("x-user", "alice")]));
    request.set_timeout(Duration::from_secs(5));
    let status = client.check(request).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    let failures = server.running.context.metrics.decisions().failures(tidegate::telemetry::decisions::Failure::Store);
    assert_eq!(failures, 1);
}

#[tokio::test]
async fn checks_leave_spans_below_their_callers() {
    let (mut spans, settings) = collect().await;
    let yaml = format!("{SECTION}  lists: {{ deny: {{ users: [mallory] }}, allow: {{ users: [probe] }} }}\n");
    let mut site = server_with(&yaml, settings).await;
    for (path, user) in [("/", "alice"), ("/blocked", "alice"), ("/free", "alice"), ("/", "mallory"), ("/", "probe")] {
        let mut call = tonic::Request::new(get(path, &[("x-user", user)]));
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        call.metadata_mut().insert("traceparent", parent.parse().unwrap());
        site.client.check(call).await.expect("an answer");
    }
    // The end sends what waits.
    site.server.running.shutdown();
    tokio::time::timeout(SOON, site.server.running.wait()).await.expect("it ends");
    let mut outcomes = Vec::new();
    while let Ok(span) = spans.try_recv() {
        assert_eq!(span.name, "Check");
        assert_eq!(span.parent_span_id, 0xb7ad_6b71_6920_3331_u64.to_be_bytes());
        outcomes.push((attribute(&span, "ratelimit.outcome"), attribute(&span, "ratelimit.domain")));
    }
    let outcomes: Vec<_> = outcomes.iter().map(|(outcome, domain)| (&**outcome, &**domain)).collect();
    assert_eq!(
        outcomes,
        [("ok", "api"), ("over_limit", "api"), ("not_asked", ""), ("deny_list", ""), ("allow_list", "")]
    );
}
