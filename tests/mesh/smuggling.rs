//! Requests that proxies and services might read differently: none of them escapes a limit, and none of them writes
//! into headers, access logs or metrics.

use tempfile::TempDir;

use crate::chain::{Chain, Plan};
use crate::harness::{eventually, repository};
use crate::speech::{answered, status};

/// Rules of the edge under which five requests exhaust an address, and the values of a descriptor name series of
/// metrics.
fn few_per_address(metric: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["edge.yaml", "inner.yaml", "mesh.yaml"] {
        let rules = std::fs::read_to_string(repository(&format!("deploy/envoy/rules/{name}"))).unwrap();
        let rules = rules.replace(
            "requests_per_unit: 100, algorithm: sliding_window_log, over: drop }\n\n  # Every user",
            "requests_per_unit: 5, algorithm: sliding_window_log, over: drop }\n\n  # Every user",
        );
        let key = format!("\n  - key: {metric}\n");
        let rules = rules.replacen(&key, &format!("{key}    detailed_metric: true\n"), 1);
        std::fs::write(folder.path().join(name), rules).unwrap();
    }
    folder
}

/// One line each, `\r\n` at its end; then the empty line and the body.
fn request(lines: &[&str], body: &str) -> Vec<u8> {
    let mut text = lines.join("\r\n");
    text.push_str("\r\n\r\n");
    text.push_str(body);
    text.into_bytes()
}

/// What a client might send. `{}` is where what it wants to inject stands.
fn hostile() -> Vec<Vec<u8>> {
    const GET: &str = "GET / HTTP/1.1";
    const HOST: &str = "host: test";
    const CLOSE: &str = "connection: close";
    const HIDDEN: &str = "GET /smuggled HTTP/1.1\r\nhost: test\r\nx-injected: yes\r\n\r\n";
    let mut all = Vec::new();

    // Two ways to say where the body ends, and a request hidden behind one of them.
    let length = format!("content-length: {}", HIDDEN.len() + 5);
    let ends = [
        vec!["content-length: 5", "transfer-encoding: chunked"],
        vec![&*length, "transfer-encoding: chunked"],
        vec!["transfer-encoding: chunked", "content-length: 0"],
        vec!["transfer-encoding: chunked", "transfer-encoding: identity"],
        vec!["transfer-encoding: identity, chunked"],
        vec!["transfer-encoding: chunked, identity"],
        vec!["transfer-encoding: xchunked"],
        vec!["transfer-encoding:\x0bchunked"],
        vec!["transfer-encoding : chunked"],
        vec!["transfer-encoding: chunked", "transfer_encoding: x"],
        vec!["transfer-encoding\r\n : chunked"],
        vec!["content-length: 5", "content-length: 6"],
        vec!["content-length: 5, 5"],
        vec!["content-length: +5"],
        vec!["content-length: 0x5"],
        vec!["content-length: -5"],
        vec!["content-length: 5 5"],
        vec!["content-length: 99999999999999999999999"],
        vec!["content_length: 5", "content-length: 0"],
    ];
    for end in ends {
        let lines: Vec<_> = ["POST / HTTP/1.1", HOST, CLOSE].into_iter().chain(end).collect();
        all.push(request(&lines, &format!("0\r\n\r\n{HIDDEN}")));
    }
    // Chunks that are none.
    for size in ["0x5", "-1", "fffffffffffffffff", "5;ext=\"\r\n\"", "\n", "5 "] {
        let lines = ["POST / HTTP/1.1", HOST, CLOSE, "transfer-encoding: chunked"];
        all.push(request(&lines, &format!("{size}\r\nhello\r\n0\r\n\r\n{HIDDEN}")));
    }
    // Lines that are not lines, names that are not names.
    let headers = [
        "x-a: b\r\n folded: yes",
        "x-a: b\r\n\tfolded: yes",
        "x-a: b\rx-injected: yes",
        "x-a: b\nx-b: a line of its own to Envoy",
        "x-a: b\0x-injected: yes",
        "x-a\0: b",
        "x-a : b",
        " x-a: b",
        ": b",
        "no colon",
        "x-a\x7f: b",
        "x-\u{e9}: b",
        "x_user_id: root",
        "X_Tidegate_Client: 192.0.2.1",
        "x-user-id: root\r\nx-user-id: admin",
        "x-tidegate-client: 192.0.2.1\r\nx-tidegate-client: 192.0.2.2",
        "host: other",
        "host: test\r\nhost: other",
        "connection: close, x-forwarded-for, x-user-id, x-tidegate-client",
        "connection: upgrade\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__",
        "te: trailers, chunked",
        "x-http-method-override: DELETE",
        "x-original-url: /smuggled",
        "x-rewrite-url: /smuggled",
        "x-envoy-original-path: /smuggled",
        "x-envoy-max-retries: 9\r\nx-envoy-retry-on: 5xx,retriable-4xx",
        "x-envoy-upstream-rq-timeout-ms: 1\r\nx-envoy-expected-rq-timeout-ms: 1",
        "x-request-id: \"}\\n{\"injected\":\"yes",
        "user-agent: \"},{\"injected\":\"yes\"}",
        "authorization: Bearer \"},{\"injected\":\"yes\"}",
    ];
    for header in headers {
        all.push(request(&[GET, HOST, CLOSE, header], ""));
    }
    // Targets.
    let targets = [
        "//",
        "/./",
        "/a/../",
        "/%2e%2e/",
        "/%2f",
        "/..%2f..%5c",
        "/%00",
        "/%0d%0ax-injected:%20yes",
        "/%0D%0A%0D%0AGET%20/smuggled",
        "/\"},{\"injected\":\"yes\"}",
        "/?\"},{\"injected\":\"yes\"}",
        "/%22%7D%2C%7B%22injected%22%3A%22yes%22%7D",
        "/{}{domain=\"injected\"}",
        "/%ff%fe%c0%af",
        "/\u{e9}",
        "/#fragment",
        "/a;b=c",
        "http://test/",
        "http://other:99999/",
        "HTTP://TEST/",
        "*",
        "test:80",
        "smuggled",
        "",
        "/ /smuggled",
        "/\t/smuggled",
        "/\0",
    ];
    for target in targets {
        all.push(request(&[&format!("GET {target} HTTP/1.1"), HOST, CLOSE], ""));
    }
    // First lines.
    for line in [
        "GET / HTTP/1.0",
        "GET / HTTP/0.9",
        "GET / HTTP/9.9",
        "GET /",
        "get / HTTP/1.1",
        "G\0T / HTTP/1.1",
        "FOO / HTTP/1.1",
        "CONNECT test:80 HTTP/1.1",
        "TRACE / HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "GET  /  HTTP/1.1",
        "\r\n\r\nGET / HTTP/1.1",
        "PRI * HTTP/2.0",
    ] {
        all.push(request(&[line, HOST, CLOSE], ""));
    }
    all
}

#[tokio::test]
async fn no_shape_of_a_request_escapes_a_limit() {
    let folder = few_per_address("remote_address");
    let chain = Chain::start_with(Plan { rules: folder.path().to_owned(), ..Plan::default() }).await;
    let client = chain.client(1);
    assert_eq!(client.allowed("/", &[], 9).await, 5);
    for bytes in hostile() {
        let text = answered(&client, &bytes).await;
        // Refused by Envoy, limited, or not answered at all. Never two answers, one of which is for what was hidden.
        assert!(text.matches("HTTP/1.1 ").count() <= 2, "{}: {text}", bytes.escape_ascii());
        for part in text.split("HTTP/1.1 ").skip(1) {
            assert!(
                matches!(part.get(..3), Some("400" | "404" | "429" | "426" | "431" | "501" | "505" | "403" | "401")),
                "{}: {text}",
                bytes.escape_ascii()
            );
        }
        assert_eq!(chain.service.requests(), 5, "{}: {text}", bytes.escape_ascii());
    }
    assert_eq!(client.status("/", &[]).await, 429);
    chain.assert_no_decision_was_lost().await;
}

/// A user may have chosen a name, and the issuer signs it.
#[tokio::test]
async fn a_name_that_the_issuer_signed_injects_nothing_either() {
    let folder = few_per_address("user_id");
    let chain = Chain::start_with(Plan { rules: folder.path().to_owned(), ..Plan::default() }).await;
    // What is no header, Envoy does not send on; Tidegate has decided on it by then, and counted it.
    let no_headers = [
        "alice\r\nx-injected: yes",
        "alice\nx-injected: yes",
        "alice\rx-injected: yes",
        "alice\0x-injected: yes",
        "alice\"} 1\ninjected{a=\"b",
        "\u{7f}\u{85}\u{2028}\u{202e}",
    ];
    let harmless = [
        "\"},{\"injected\":\"yes",
        "alice\"} 1 injected{a=\"b",
        "alice\\",
        "%0d%0ax-injected: yes",
        "{user_id}",
        "%REQ(authorization)%",
        "",
        " ",
    ];
    let names = no_headers.map(|name| (name, 503)).into_iter().chain(harmless.map(|name| (name, 200)));
    for (number, (name, status)) in (1..).zip(names) {
        let token = chain.token(name);
        let answer = chain.client(number).get("/", &[("authorization", &token)]).await;
        assert_eq!(answer.status, status, "{name:?}: {answer:?}");
        assert!(!answer.headers.contains_key("x-injected"), "{name:?}: {answer:?}");
    }
    let seen = chain.service.seen();
    assert_eq!(seen.len(), harmless.len());
    assert!(seen.iter().all(|request| !request.headers.contains_key("x-injected")), "{seen:?}");
    assert_nothing_is_written_between(&chain).await;
    chain.assert_no_decision_was_lost().await;
}

#[tokio::test]
async fn nothing_is_injected_anywhere() {
    let chain = Chain::start().await;
    let mut served = 0;
    for (number, bytes) in hostile().into_iter().enumerate() {
        // A client each, none of which is limited.
        let client = chain.client(u8::try_from(number % 250 + 1).unwrap());
        let text = answered(&client, &bytes).await;
        served += usize::from(status(&text) == Some(200));
        let head = text.split("\r\n\r\n").next().unwrap().to_ascii_lowercase();
        assert!(!head.lines().any(|line| line.starts_with("x-injected")), "{}: {text}", bytes.escape_ascii());
    }
    // Many are harmless, and served.
    assert!(served > 10, "{served} served");
    let seen = chain.service.seen();
    for request in &seen {
        assert!(!request.headers.contains_key("x-injected"), "{request:?}");
        assert_eq!(request.header("x-user-id"), "", "{request:?}");
        assert!(request.header("x-tidegate-client").starts_with("127.1.1."), "{request:?}");
        assert!(!request.headers.keys().any(|name| name.as_str().contains('_')), "{request:?}");
        assert!(!request.path.contains("/smuggled") || request.path.starts_with("/%0D%0A"), "{request:?}");
    }
    // What the service saw is what the sidecar logged, each on one line of JSON with the fields of the file.
    eventually("the sidecar has logged it all", || async {
        (chain.sidecar.access_log(0).await.iter().filter(|line| line["status"] == 200).count() >= seen.len())
            .then_some(())
    })
    .await;
    assert_nothing_is_written_between(&chain).await;
    chain.assert_no_decision_was_lost().await;
}

/// Fails unless every line of the access logs and of the metrics is one that the programs meant to write.
async fn assert_nothing_is_written_between(chain: &Chain) {
    for envoy in chain.envoys() {
        for line in envoy.access_log(1).await {
            assert!(line.get("injected").is_none() && line.get("time").is_some(), "{line}");
        }
    }
    let metrics = chain.tidegates[0].metrics().await;
    assert!(metrics.contains(r#"tidegate_hits_total{domain="mesh","#));
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok() && name.starts_with("tidegate_"), "{line}");
    }
}
