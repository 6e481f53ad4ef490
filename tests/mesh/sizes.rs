//! Headers as large and as many as Envoy lets in. A decision must come all the same: without one, the edge would let
//! the request pass.

use crate::chain::Chain;
use crate::speech::get_h2;

/// Envoy's bound for all headers of a request, 60 KiB, less what is in every request.
const MOST: usize = 60 * 1024 - 600;

#[tokio::test]
async fn headers_of_any_size_are_decided_at_every_hop() {
    let chain = Chain::start().await;
    let (client, other) = (chain.client(1), chain.client(2));
    let mut sent = 0;
    for length in [1_000, 8_000, 16_384, 32_768, 50_000, MOST] {
        let value = vec![b'a'; length];
        for name in ["x-long", "cookie", "user-agent", "x-forwarded-for", "accept-language"] {
            let answer = client.get_raw("/", &[(name, &value)]).await;
            assert_eq!(answer.status, 200, "{length} bytes of {name} over HTTP/1.1");
            let answer = get_h2(&other, "/", &[(name, &value)]).await.unwrap();
            assert_eq!(answer.status, 200, "{length} bytes of {name} over HTTP/2");
            sent += 2;
        }
    }
    let path = format!("/{}", "p".repeat(MOST));
    assert_eq!(client.status(&path, &[]).await, 200);
    assert_eq!(client.status(&format!("/orders/{}", "1".repeat(20_000)), &[]).await, 200);
    sent += 2;
    assert_eq!(chain.service.requests(), sent);
    // More than that is refused at the edge, before anybody is asked.
    let value = vec![b'a'; 62 * 1024];
    assert_eq!(client.get_raw("/", &[("x-long", &value)]).await.status, 431);
    assert_eq!(chain.service.requests(), sent);
    chain.assert_no_decision_was_lost().await;
}

#[tokio::test]
async fn many_headers_are_decided_at_every_hop() {
    let chain = Chain::start().await;
    let client = chain.client(1);
    let names: Vec<String> = (0..200).map(|number| format!("x-many-{number}")).collect();
    let headers = |count: usize| names[..count].iter().map(|name| (name.as_str(), "value")).collect::<Vec<_>>();
    // Up to a hundred, `host` and those that the edge adds to make room for included.
    for count in [50, 90] {
        assert_eq!(client.status("/orders/1", &headers(count)).await, 200, "{count} headers");
    }
    // The same name, again and again.
    assert_eq!(client.status("/orders/1", &[("x-same", "value"); 90]).await, 200);
    assert_eq!(client.status("/orders/1", &headers(120)).await, 431);
    assert_eq!(chain.service.requests(), 3);
    chain.assert_no_decision_was_lost().await;
}

#[tokio::test]
async fn neither_size_nor_number_of_headers_helps_a_limited_client() {
    let chain = Chain::start().await;
    // The sidecar is told every header.
    let client = chain.client(1);
    assert_eq!(client.allowed("/orders/1", &[], 50).await, 20);
    for length in [0, 100, 10_000, 30_000, MOST] {
        for byte in [b'a', b'"', b'%', 0xff] {
            let value = vec![byte; length];
            let answer = client.get_raw("/orders/1", &[("x-long", &value)]).await;
            assert_eq!(answer.status, 429, "{length} times {byte}");
        }
    }
    let names: Vec<String> = (0..90).map(|number| format!("x-many-{number}")).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), "value")).collect();
    assert_eq!(client.status("/orders/1", &many).await, 429);
    // The edge is asked with the user's name, which a token may make long.
    let token = chain.token(&"u".repeat(20_000));
    let user = [("authorization", token.as_str())];
    let other = chain.client(2);
    assert_eq!(other.allowed("/", &user, 50).await, 30);
    assert_eq!(other.status("/reports/1", &user).await, 429);
    assert_eq!(chain.service.requests(), 50);
    chain.assert_no_decision_was_lost().await;
}
