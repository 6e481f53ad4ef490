//! Nothing that a client sends, and little that a gateway sends, keeps it from an answer.

use envoy_types::pb::envoy::config::core::v3::{HeaderMap, HeaderValue};
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse};
use prost::Message;
use tonic::Code;

use crate::server_support::raw::Raw;
use crate::site::{allowed, denied, get, names, server, server_with};

const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

fn http(request: &mut CheckRequest) -> &mut envoy_types::pb::envoy::service::auth::v3::attribute_context::HttpRequest {
    request.attributes.as_mut().unwrap().request.as_mut().unwrap().http.as_mut().unwrap()
}

#[tokio::test]
async fn many_headers_hide_none() {
    let section = crate::site::SECTION.replace("{ header: x-user }", "{ header: x-user, default: nobody }");
    let mut site = server_with(&section, |_| {}).await;
    let header = |name: String| HeaderValue { key: name, raw_value: b"zoe".to_vec(), ..HeaderValue::default() };
    let others = (0..5_000).map(|number| header(format!("x-{number}")));
    for left in ["r=2", "r=1", "r=0"] {
        let mut request = get("/", &[]);
        let headers = others.clone().chain([header("x-user".to_owned())]).collect();
        http(&mut request).header_map = Some(HeaderMap { headers });
        let response = site.allowed(request).await;
        let limit = &response.response_headers_to_add[1].header.as_ref().unwrap().value;
        assert!(limit.contains(left), "{limit}");
    }
    // The same user, as the other form of headers has it.
    site.denied(get("/", &[("x-user", "zoe")])).await;
}

#[tokio::test]
async fn a_long_request_is_decided() {
    let mut site = server("").await;
    let long = "x".repeat(1_000_000);
    let mut request = get(&format!("/{long}?{long}"), &[("x-user", &long), ("cookie", &long)]);
    http(&mut request).body = long.clone();
    for _ in 0..3 {
        site.allowed(request.clone()).await;
    }
    site.denied(request).await;
}

#[tokio::test]
async fn no_bytes_of_a_user_escape_the_limit_or_damage_the_answer() {
    let site = server("  answer: { upstream_headers: { x-user-id: \"{user}\" } }\n").await;
    let mut raw = Raw::connect(site.server.address()).await;
    let crafted: [&[u8]; 8] =
        [b"\xff", b"\xfe", b"a\xc3", b"\0", b"a\r\nx-evil: 1", b"\"\\", "é".as_bytes(), &[0x80; 5_000]];
    for user in crafted {
        // A marker of the same length is replaced, as the generated message holds UTF-8 only.
        let marker = "~".repeat(user.len());
        let mut message = get("/", &[("x-user", &marker)]).encode_to_vec();
        let place = message.windows(user.len()).position(|part| part == marker.as_bytes()).unwrap();
        message[place..place + user.len()].copy_from_slice(user);
        for _ in 0..3 {
            let answer: CheckResponse = raw.call_at(CHECK, &message).await.expect("an answer");
            let response = allowed(answer);
            assert_eq!(names(&response.headers), ["x-user-id"]);
            let value = &response.headers[0].header.as_ref().unwrap().value;
            assert!(value.bytes().all(|byte| (0x20..=0x7e).contains(&byte)), "{value:?}");
        }
        denied(raw.call_at(CHECK, &message).await.expect("an answer"));
    }
}

#[tokio::test]
async fn what_is_no_message_is_told_so() {
    let site = server("").await;
    let mut raw = Raw::connect(site.server.address()).await;
    let error = raw.call_at::<CheckResponse>(CHECK, &[0x0a, 5, 1]).await.unwrap_err();
    assert_eq!(error, (Code::InvalidArgument, "the message is no CheckRequest: it ends inside a field".to_owned()));
    // An empty one is one, of which nothing is known.
    allowed(raw.call_at(CHECK, &[]).await.expect("an answer"));
    assert_eq!(
        site.server.running.context.metrics.decisions().failures(tidegate::telemetry::decisions::Failure::Service),
        1
    );
}

#[tokio::test]
async fn a_random_message_gets_some_answer() {
    let site = server("").await;
    let mut raw = Raw::connect(site.server.address()).await;
    let mut random = fastrand::Rng::with_seed(7);
    let whole = get("/a/../b?x=1", &[("x-user", "alice"), ("cookie", "a=b")]).encode_to_vec();
    for _ in 0..2_000 {
        let mut message = whole.clone();
        for _ in 0..random.usize(1..6) {
            let place = random.usize(..message.len());
            message[place] = random.u8(..);
        }
        match raw.call_at::<CheckResponse>(CHECK, &message).await {
            Ok(answer) => assert!(answer.http_response.is_some(), "{answer:?}"),
            Err((code, message)) => {
                assert_eq!(code, Code::InvalidArgument);
                assert!(message.starts_with("the message is no CheckRequest: "), "{message}");
            }
        }
    }
}
