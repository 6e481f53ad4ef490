//! The administration listener of the real binary: HTTP/1.1 and gRPC on one port.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod process;

use process::{Server, get, texts};
use serde_json::json;
use tidegate::server::admin::proto::admin_client::AdminClient;
use tidegate::server::admin::proto::{DescribeRulesRequest, Entry, ExplainRequest, ExplainResponse};
use tonic::Code;
use tonic::transport::Channel;

const RULES: &str = "\
domain: edge
descriptors:
  - key: user_id
    rate_limit: { name: per-user, unit: day, requests_per_unit: 3 }
  - key: user_id
    value: gold*
    rate_limit: { unit: day, requests_per_unit: 30 }
  - key: a
    descriptors:
      - key: b
        rate_limit: { unit: hour, requests_per_unit: 7, algorithm: token_bucket, burst: 9 }
  - key: free
    rate_limit: { unlimited: true }
";

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn client(server: &Server) -> AdminClient<Channel> {
    let endpoint = Channel::from_shared(format!("http://{}", server.admin)).unwrap().timeout(process::PATIENCE);
    AdminClient::new(endpoint.connect().await.unwrap())
}

fn explain(server: &Server, domain: &str, entries: &[(&str, &str)]) -> Result<ExplainResponse, tonic::Status> {
    let entries = entries.iter().map(|(key, value)| Entry { key: (*key).into(), value: (*value).into() }).collect();
    let request = ExplainRequest { domain: domain.to_owned(), entries };
    runtime().block_on(async { Ok(client(server).await.explain(request).await?.into_inner()) })
}

#[test]
fn the_rules_in_force_are_a_sorted_text() {
    let server = Server::start(RULES);
    let answer = get(server.admin, "/rlconfig");
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.body,
        "edge.a.b: unit=HOUR requests_per_unit=7, shadow_mode: false, quota_mode: false, algorithm: token_bucket, \
         burst: 9\n\
         edge.free: unit=UNKNOWN requests_per_unit=0, shadow_mode: false, quota_mode: false, unlimited: true\n\
         edge.user_id: unit=DAY requests_per_unit=3, shadow_mode: false, quota_mode: false, name: per-user\n\
         edge.user_id_gold*: unit=DAY requests_per_unit=30, shadow_mode: false, quota_mode: false\n"
    );
}

#[test]
fn metrics_and_stats_count_decisions() {
    let server = Server::start(RULES);
    for _ in 0..5 {
        server.rate_limit(r#"{"user_id": "alice"}"#);
    }
    server.rate_limit(r#"{"user_id": "alice", "domain": "nowhere"}"#);
    let metrics = get(server.admin, "/metrics");
    assert!(metrics.header("content-type").unwrap().starts_with("text/plain"), "{metrics:?}");
    let over = metrics.body.lines().find(|line| line.contains("over_limit") && line.contains("user_id")).unwrap();
    assert!(over.ends_with(" 2"), "{over}");
    let stats = get(server.admin, "/stats").json();
    assert_eq!(stats["domains"]["edge"]["user_id"]["total_hits"], 5);
    assert_eq!(stats["domains"]["edge"]["user_id"]["over_limit"], 2);
    assert_eq!(stats["unknown_domains"], json!({ "nowhere": 1 }));
    assert_eq!(stats["rules"], 4);
    assert_eq!(stats["live_counters"], 1);
}

#[test]
fn the_index_lists_what_is_there_and_the_rest_is_a_problem() {
    let server = Server::start(RULES);
    let index = get(server.admin, "/");
    for path in ["/metrics", "/rlconfig", "/stats"] {
        assert!(index.body.contains(path), "{index:?}");
        assert_eq!(get(server.admin, path).status, 200);
    }
    let nothing = get(server.admin, "/nothing");
    assert_eq!((nothing.status, nothing.header("content-type")), (404, Some("application/problem+json")));
}

#[test]
fn explain_tells_the_walk_the_rule_and_the_counter_and_consumes_nothing() {
    let server = Server::start(RULES);
    server.rate_limit(r#"{"user_id": "alice", "hits": 2}"#);
    for _ in 0..3 {
        let answer = explain(&server, "edge", &[("user_id", "alice")]).unwrap();
        assert!(answer.domain_known);
        assert_eq!(answer.steps.len(), 1);
        assert_eq!(answer.steps[0].matched, "user_id");
        let rule = answer.rule.unwrap();
        assert_eq!((rule.name.as_str(), rule.path.as_str()), ("per-user", "user_id"));
        assert!(rule.origin.ends_with("rules.yaml:3:5"), "{}", rule.origin);
        assert_eq!((rule.limits[0].amount, rule.limits[0].window.as_str()), (3, "86400s"));
        let counter = &answer.counters[0];
        assert!(counter.exists && counter.would_allow);
        assert_eq!((counter.level, counter.remaining), (2, 1));
    }
    server.rate_limit(r#"{"user_id": "alice"}"#);
    let full = explain(&server, "edge", &[("user_id", "alice")]).unwrap();
    assert!(!full.counters[0].would_allow);
    assert!(full.counters[0].retry_after_us > 0);
    let fresh = explain(&server, "edge", &[("user_id", "bob")]).unwrap();
    assert!(!fresh.counters[0].exists);
    assert_eq!(get(server.admin, "/stats").json()["live_counters"], 1, "asking makes no counters");
}

#[test]
fn explain_tells_why_no_rule_applies() {
    let server = Server::start(RULES);
    let unknown = explain(&server, "nowhere", &[("user_id", "alice")]).unwrap();
    assert!(!unknown.domain_known);
    assert!(unknown.summary.contains("'nowhere'"), "{}", unknown.summary);
    let short = explain(&server, "edge", &[("a", "1")]).unwrap();
    assert!(short.domain_known && short.rule.is_none());
    assert!(short.summary.starts_with("No rule applies"), "{}", short.summary);
    let refused = |domain: &str, entries: &[(&str, &str)]| {
        let status = explain(&server, domain, entries).unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        status.message().to_owned()
    };
    assert!(refused("", &[("a", "1")]).starts_with("domain: "));
    assert!(refused("edge", &[]).starts_with("entries: "));
    assert!(refused("edge", &[("a", ""); 129]).starts_with("entries: 129"));
}

#[test]
fn rules_are_described_page_by_page() {
    let server = Server::start(RULES);
    runtime().block_on(async {
        let mut client = client(&server).await;
        let mut paths = Vec::new();
        let mut request = DescribeRulesRequest { page_size: 3, ..DescribeRulesRequest::default() };
        loop {
            let page = client.describe_rules(request.clone()).await.unwrap().into_inner();
            assert_eq!((page.total, page.revision), (4, 1));
            paths.extend(page.rules.into_iter().map(|rule| rule.path));
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        assert_eq!(paths, ["user_id", "user_id=gold*", "a,b", "free"]);
        let none = DescribeRulesRequest { domain: "nowhere".to_owned(), ..DescribeRulesRequest::default() };
        assert_eq!(client.describe_rules(none).await.unwrap().into_inner().total, 0);
        for (token, code) in [("nonsense", Code::InvalidArgument), ("7:3", Code::Aborted)] {
            let request = DescribeRulesRequest { page_token: token.to_owned(), ..DescribeRulesRequest::default() };
            assert_eq!(client.describe_rules(request).await.unwrap_err().code(), code);
        }
        let large = DescribeRulesRequest { page_size: 10_001, ..DescribeRulesRequest::default() };
        assert_eq!(client.describe_rules(large).await.unwrap_err().code(), Code::InvalidArgument);
    });
}

#[test]
fn the_explain_command_prints_a_tree() {
    let server = Server::start(RULES);
    let output = server.ask(&["explain", "--domain", "edge", "user_id=goldfish"]);
    let (text, errors) = texts(&output);
    assert!(output.status.success(), "{errors}");
    assert!(text.contains("user_id=goldfish -> user_id=gold*"), "{text}");
    assert!(text.contains("not user_id: Has the key without a value"), "{text}");
    assert!(text.contains("limit    30 per 86400s, fixed_window"), "{text}");
}
