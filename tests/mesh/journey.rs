//! A request's way through the chain: who decides what, and who gets to know what.

use serde_json::json;

use crate::chain::{Chain, logged};

fn hits(of: &[(&str, u64)]) -> Vec<(String, u64)> {
    of.iter().map(|(rule, count)| ((*rule).to_owned(), *count)).collect()
}

#[tokio::test]
async fn each_hop_asks_once_and_in_a_domain_of_its_own() {
    let chain = Chain::start().await;
    let token = chain.token("alice");
    let answer = chain.client(1).get("/orders/7", &[("authorization", &token)]).await;
    assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"served\n"[..]));

    assert_eq!(chain.hits("edge").await, hits(&[("remote_address", 1), ("user_id", 1)]));
    assert_eq!(chain.hits("inner").await, hits(&[("generic_key_service", 1)]));
    assert_eq!(chain.hits("mesh").await, hits(&[("route_orders.remote_address", 1)]));

    let [edge, inner, sidecar] = [&chain.edge, &chain.inner, &chain.sidecar];
    let [edge, inner, sidecar] =
        [logged(edge, "/orders/7").await, logged(inner, "/orders/7").await, logged(sidecar, "/orders/7").await];
    assert_eq!((&edge["user"], &edge["ratelimit"]["domain"]), (&json!("alice"), &json!("edge")));
    assert_eq!((&edge["ratelimit"]["rule"], &edge["ratelimit"]["remaining"]), (&json!("per-user"), &json!(29)));
    assert_eq!((&inner["ratelimit"]["domain"], &inner["ratelimit"]["rule"]), (&json!("inner"), &json!("service")));
    let decision = &sidecar["ext_authz"];
    assert_eq!((&decision["domain"], &decision["route"]), (&json!("mesh"), &json!("orders")));
    assert_eq!(
        (&decision["rule"], &decision["limit"], &decision["remaining"]),
        (&json!("orders"), &json!(20), &json!(19))
    );
    // One request, of one client, wherever one looks.
    for log in [&edge, &inner, &sidecar] {
        assert_eq!((&log["client"], &log["request_id"]), (&json!("127.1.1.1"), &edge["request_id"]), "{log}");
    }
    chain.assert_no_decision_was_lost().await;
}

#[tokio::test]
async fn a_denial_at_the_edge_reaches_nobody_behind() {
    let chain = Chain::start().await;
    let client = chain.client(1);
    assert_eq!(client.allowed("/login", &[], 9).await, 5);
    let denied = client.get("/login?again", &[]).await;
    assert_eq!((denied.status.as_u16(), denied.header("content-type")), (429, "application/problem+json"));
    assert_eq!(denied.header("ratelimit-policy"), r#""login";q=5;w=3600"#);
    assert_eq!(logged(&chain.edge, "/login?again").await["ratelimit"]["rule"], "login");

    // Denied twice at the edge; asked five times each behind, and served.
    assert_eq!(chain.hits("edge").await, hits(&[("generic_key_login.remote_address", 7)]));
    assert_eq!(chain.hits("inner").await, hits(&[("generic_key_service", 5)]));
    assert_eq!(chain.hits("mesh").await, hits(&[("remote_address", 5)]));
    assert_eq!(chain.service.requests(), 5);
    assert_eq!(chain.client(2).status("/login", &[]).await, 200);
    chain.assert_no_decision_was_lost().await;
}

#[tokio::test]
async fn the_inner_gateway_limits_a_client_by_the_address_that_the_edge_saw() {
    let chain = Chain::start().await;
    let client = chain.client(1);
    assert_eq!(client.allowed("/reports/2026", &[], 30).await, 10);
    let denied = client.get("/reports/all", &[]).await;
    assert_eq!(denied.status, 429);
    let at = [logged(&chain.edge, "/reports/all").await, logged(&chain.inner, "/reports/all").await];
    // The edge let it pass, and says so; the gateway behind refused.
    assert_eq!((&at[0]["ratelimit"]["rule"], &at[0]["details"]), (&json!("per-address"), &json!("via_upstream")));
    assert_eq!((&at[1]["ratelimit"]["rule"], &at[1]["details"]), (&json!("reports"), &json!("request_rate_limited")));
    // A client at another address is another client, though both come by the same edge; and other paths are open.
    assert_eq!(chain.client(2).status("/reports/all", &[]).await, 200);
    assert_eq!(client.status("/", &[]).await, 200);

    assert_eq!(chain.hits("edge").await, hits(&[("remote_address", 14)]));
    let inner = [("generic_key_reports.remote_address", 13), ("generic_key_service", 14)];
    assert_eq!(chain.hits("inner").await, hits(&inner));
    assert_eq!(chain.hits("mesh").await, hits(&[("remote_address", 12)]));
    assert_eq!(chain.service.requests(), 12);
    chain.assert_no_decision_was_lost().await;
}

#[tokio::test]
async fn the_sidecar_limits_a_client_on_all_paths_of_one_template() {
    let chain = Chain::start().await;
    let client = chain.client(1);
    for order in 0..20 {
        assert_eq!(client.status(&format!("/orders/{order}"), &[]).await, 200);
    }
    let denied = client.get("/orders/20", &[]).await;
    assert_eq!((denied.status.as_u16(), denied.header("content-type")), (429, "application/problem+json"));
    let policies: Vec<_> =
        denied.headers.get_all("ratelimit-policy").iter().map(|value| value.to_str().unwrap()).collect();
    assert!(policies.concat().contains(r#""orders";q=20;w=60"#), "{policies:?}");
    assert_ne!(denied.header("retry-after"), "");
    let log = logged(&chain.sidecar, "/orders/20").await;
    assert_eq!((&log["status"], &log["ext_authz"]["rule"]), (&json!(429), &json!("orders")));
    assert_eq!((&log["ext_authz"]["route"], &log["ext_authz"]["remaining"]), (&json!("orders"), &json!(0)));

    assert_eq!(client.status("/", &[]).await, 200);
    assert_eq!(chain.client(2).status("/orders/20", &[]).await, 200);
    assert_eq!(chain.hits("mesh").await, hits(&[("remote_address", 1), ("route_orders.remote_address", 22)]));
    assert_eq!(chain.service.requests(), 22);
    chain.assert_no_decision_was_lost().await;
}

#[tokio::test]
async fn what_a_client_says_of_itself_reaches_nobody() {
    let chain = Chain::start().await;
    let client = chain.client(1);
    let forged = [
        ("x-user-id", "root"),
        ("X-Tidegate-Client", "192.0.2.1"),
        ("x-tidegate-route", "free"),
        ("x-tidegate-tier", "gold"),
        ("x-forwarded-for", "192.0.2.1"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "a=b"),
        ("baggage", "user=root"),
    ];
    assert_eq!(client.status("/orders/1", &forged).await, 200);
    let token = chain.token("alice");
    let with_token: Vec<_> = forged.iter().copied().chain([("authorization", &*token)]).collect();
    assert_eq!(client.status("/", &with_token).await, 200);

    for (seen, (user, route)) in chain.service.seen().iter().zip([("", "orders"), ("alice", "everything")]) {
        assert_eq!((seen.header("x-user-id"), seen.header("x-tidegate-route")), (user.to_owned(), route.to_owned()));
        assert_eq!((seen.header("x-tidegate-client"), seen.header("x-tidegate-tier")), ("127.1.1.1".into(), "".into()));
        assert_eq!((seen.header("tracestate"), seen.header("baggage")), (String::new(), String::new()));
        assert!(!seen.header("traceparent").contains("0af7651916cd43dd"), "{seen:?}");
        // What the client wrote, the client as the edge saw it, and the edge.
        let forwarded = seen.header("x-forwarded-for").replace(' ', "");
        assert!(forwarded.starts_with("192.0.2.1,127.1.1.1,") && forwarded.split(',').count() == 3, "{forwarded}");
    }
    assert_eq!(chain.service.requests(), 2);
    // No user was charged but the one with a token, and a token that nobody signed is refused.
    assert_eq!(chain.hits("edge").await, hits(&[("remote_address", 2), ("user_id", 1)]));
    let (unsigned, _) = token.rsplit_once('.').unwrap();
    assert_eq!(client.status("/", &[("authorization", &format!("{unsigned}.{}", "A".repeat(86)))]).await, 401);
    assert_eq!(chain.service.requests(), 2);
    chain.assert_no_decision_was_lost().await;
}
