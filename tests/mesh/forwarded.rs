//! Clients that write addresses of their own choice into X-Forwarded-For and its relatives: what is limited by address
//! is limited by the address that the edge saw, at every hop.

use crate::chain::Chain;
use crate::harness::Client;
use crate::speech::get_h2;

/// Client 3, who is to be neither charged nor borrowed from.
const BYSTANDER: u8 = 3;

/// What clients claim: lists of headers.
fn claims() -> Vec<Vec<(&'static str, String)>> {
    let forwarded = [
        "127.1.1.3",
        "10.9.9.9",
        "127.1.1.3, 127.1.1.3",
        "127.1.1.3,127.1.1.3,127.1.1.3,127.1.1.3",
        " 127.1.1.3 ",
        "\t127.1.1.3\t,",
        "127.1.1.3:443",
        "[::1]:80",
        "::ffff:127.1.1.3",
        "fe80::1%eth0",
        "2001:db8::1",
        "",
        ",",
        ",,,",
        "unknown",
        "_hidden",
        "for=127.1.1.3",
        "\"127.1.1.3\"",
        "127.1.1.3;127.1.1.3",
        "999.999.999.999",
        "0x7f010103",
        "localhost",
        "-",
        "*",
    ];
    let mut claims: Vec<Vec<_>> = forwarded.iter().map(|&value| vec![("x-forwarded-for", value.to_owned())]).collect();
    claims.push(vec![("x-forwarded-for", vec!["127.1.1.3"; 3_000].join(","))]);
    claims.push(vec![("x-forwarded-for", ",".repeat(20_000))]);
    // Several lines, which are one list.
    claims.push(vec![("x-forwarded-for", "127.1.1.3".to_owned()); 40]);
    claims.push(vec![("X-Forwarded-For", "127.1.1.3".to_owned()), ("x-forwarded-for", "10.9.9.9".to_owned())]);
    let relatives = [
        "forwarded",
        "x-real-ip",
        "true-client-ip",
        "cf-connecting-ip",
        "x-client-ip",
        "x-envoy-external-address",
        "x-envoy-internal",
        "x-original-forwarded-for",
        "x-tidegate-client",
        "via",
    ];
    claims.extend(relatives.map(|name| vec![(name, "127.1.1.3".to_owned())]));
    claims.push(relatives.map(|name| (name, "for=127.1.1.3".to_owned())).to_vec());
    claims
}

#[tokio::test]
async fn no_claim_about_an_address_escapes_a_limit_by_address() {
    let chain = Chain::start().await;
    // Where each hop limits by address: the edge, the inner gateway, the sidecar.
    for (number, path, limit) in [(11, "/login", 5), (12, "/reports/1", 10), (13, "/orders/1", 20)] {
        let client = chain.client(number);
        // Claims are made from the first request on: nor do they share out one client's limit.
        let claims = claims();
        for (sent, claim) in claims.iter().enumerate() {
            let expected = if sent < limit { 200 } else { 429 };
            let claimed = |status: u16| assert_eq!(status, expected, "{path}, request {sent}: {claim:.200?}");
            claimed(with_claim(&client, path, claim, sent % 2 == 0).await);
        }
        assert_eq!(client.status(path, &[]).await, 429);
    }
    for seen in chain.service.seen() {
        assert!(seen.header("x-tidegate-client").starts_with("127.1.1.1"), "{seen:.300?}");
    }
    // Whoever was named has all that is theirs.
    let bystander = chain.client(BYSTANDER);
    for (path, limit) in [("/login", 5), ("/reports/1", 10), ("/orders/1", 20)] {
        assert_eq!(bystander.allowed(path, &[], 50).await, limit, "{path}");
    }
    chain.assert_no_decision_was_lost().await;
}

async fn with_claim(client: &Client, path: &str, claim: &[(&str, String)], over_h2: bool) -> u16 {
    let headers: Vec<_> = claim.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    if over_h2 {
        return get_h2(client, path, &headers).await.unwrap().status.as_u16();
    }
    client.get_raw(path, &headers).await.status.as_u16()
}
