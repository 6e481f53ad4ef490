//! Envoy lets a request pass when its limiter does not decide. So no content of a header may keep Tidegate from
//! deciding, or Envoy from understanding the answer: else a client could turn its 429 into a 200.

use tempfile::TempDir;

use crate::harness::{Configuration, Gateway, TidegateOptions};

const USER: &str = "x-user-id";

/// One request for each user, with the flags under which values reach metrics, and with a wildcard.
const RULES: [&str; 3] = [
    r#"
domain: edge
descriptors:
  - key: user_id
    rate_limit: { unit: year, requests_per_unit: 1 }
"#,
    r#"
domain: edge
response_headers: [draft, legacy, x]
descriptors:
  - key: user_id
    detailed_metric: true
    metadata: { team: edge }
    rate_limit: { unit: year, requests_per_unit: 1, over: drop, algorithm: token_bucket }
"#,
    r#"
domain: edge
descriptors:
  - key: user_id
    value: "*"
    value_to_metric: true
    rate_limit: { window: 1000h, requests_per_unit: 1, algorithm: sliding_window_log }
"#,
];

#[tokio::test]
async fn no_value_of_a_limited_header_escapes_its_limit() {
    for rules in RULES {
        let (gateway, _rules) = gateway(rules).await;
        let client = gateway.client(1);
        for value in values() {
            for expected in [200, 429] {
                let answer = client.get_raw("/", &[(USER, &value)]).await;
                assert_eq!(answer.status, expected, "{} bytes: {}", value.len(), shown(&value));
            }
        }
        // Nor many of them: Envoy sends the first, or all joined.
        let names: Vec<String> = (0..90).map(|number| format!("joined-{number}")).collect();
        let many: Vec<(&str, &str)> = names.iter().map(|name| (USER, name.as_str())).collect();
        for expected in [200, 429] {
            assert_eq!(client.status("/", &many).await, expected);
        }
        gateway.assert_no_decision_was_lost().await;
        // What operators read survives it, too.
        assert!(gateway.tidegate.metrics().await.lines().count() < 30_000);
    }
}

#[tokio::test]
async fn no_other_header_helps_a_limited_client() {
    let (gateway, _rules) = gateway(RULES[0]).await;
    let client = gateway.client(1);
    assert_eq!(client.status("/", &[(USER, "alice")]).await, 200);
    let names = [
        "user-agent",
        "x-forwarded-for",
        "x-request-id",
        "x-envoy-internal",
        "x-envoy-expected-rq-timeout-ms",
        "x-envoy-upstream-rq-timeout-ms",
        "traceparent",
        "grpc-timeout",
        "content-type",
        "cookie",
    ];
    let plausible: [&[u8]; 6] = [
        b"true",
        b"0",
        b"1n",
        b"application/grpc",
        b"127.0.0.1",
        b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ];
    let hostile = values().into_iter().step_by(9);
    for value in plausible.into_iter().map(<[u8]>::to_vec).chain(hostile) {
        for name in names {
            let answer = client.get_raw("/", &[(USER, b"alice"), (name, &value)]).await;
            // Limited, in gRPC's way if the client asked for it; or refused by Envoy.
            let limited = answer.status == 429 || answer.header("grpc-status") == "8";
            let refused = answer.status == 400 || answer.status == 431;
            assert!(limited || refused, "{name}: {} gave {answer:?}", shown(&value));
        }
    }
    assert_eq!(gateway.backend.requests(), 1);
    gateway.assert_no_decision_was_lost().await;
}

/// A route may send one header in many descriptors, and the client makes each of them long.
#[tokio::test]
async fn no_length_of_a_header_sent_in_many_descriptors_escapes_its_limit() {
    let action = "                            - actions:
                                - request_headers: { header_name: x-user-id, descriptor_key: user_id }
";
    let configuration = Configuration::ratelimit().replace(action, &action.repeat(50));
    let (gateway, _rules) = gateway_with(configuration, RULES[0]).await;
    let client = gateway.client(1);
    let value = vec![b'a'; 57_000];
    for _ in 0..2 {
        assert_eq!(client.get_raw("/", &[(USER, &value)]).await.status, 429, "one allowed, and asked 50 times");
    }
    gateway.assert_no_decision_was_lost().await;
}

async fn gateway(rules: &str) -> (Gateway, TempDir) {
    gateway_with(Configuration::ratelimit(), rules).await
}

async fn gateway_with(configuration: Configuration, rules: &str) -> (Gateway, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hostile.yaml");
    std::fs::write(&file, rules).unwrap();
    let options = TidegateOptions { rules: file, ..TidegateOptions::default() };
    (Gateway::start_with(configuration, options).await, folder)
}

/// Values that HTTP allows (blank, tab, visible ASCII, 0x80 to 0xff), each different.
pub fn values() -> Vec<Vec<u8>> {
    let mut values: Vec<Vec<u8>> = vec![Vec::new()];
    // No byte from 0x80 on is UTF-8 by itself.
    values.extend((0x80..=0xff).map(|byte| vec![byte]));
    values.push((0x80..=0xff).collect());
    let crafted: [&[u8]; 31] = [
        b"\xc3\xa9",
        b"\xe2\x82",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\xef\xbb\xbf",
        b"\xef\xbf\xbd",
        b"alice\xff",
        b"\xffalice",
        b"\"",
        b"\\",
        b"\\\"",
        b"'",
        b"\"}],\"x\":[{\"",
        b"%",
        b"%00",
        b"%s%n%x",
        b"%REQ(x-user-id)%",
        b"a\tb",
        b"a b",
        b"a\\tb",
        b"\\n\\r",
        b"{a}",
        b"a,b=c",
        b"a|b:c#d@e",
        b"*",
        b"__proto__",
        b"user_id_user_id",
        b"${HOME}`id`",
        b"<script>",
    ];
    values.extend(crafted.map(<[u8]>::to_vec));
    for length in [255, 256, 257, 1024, 4095, 4096, 16_384, 32_768, 57_000] {
        values.push(vec![b'a'; length]);
        values.push(vec![0xff; length]);
    }
    // And at random, from a fixed seed.
    let mut random = fastrand::Rng::with_seed(0x71de_6a7e);
    for _ in 0..60 {
        let length = random.usize(8..2000);
        let byte = |_| loop {
            if let byte @ (b'\t' | 0x20..=0x7e | 0x80..) = random.u8(..) {
                return byte;
            }
        };
        let mut value: Vec<u8> = (0..length).map(byte).collect();
        // Blanks at the ends do not belong to a value.
        value.insert(0, b'r');
        value.push(b'r');
        values.push(value);
    }
    values
}

/// The beginning of a value, for messages.
pub fn shown(value: &[u8]) -> String {
    value[..value.len().min(100)].escape_ascii().to_string()
}
