//! The same over HTTP/2, where fields are not lines and could hold anything; with HTTP/2 all the way, and turned into
//! HTTP/1.1 behind the edge, where lines would matter.

use futures_util::future::join_all;

use crate::chain::{Chain, Plan};
use crate::frames::{Outcome, send};

type Field = (&'static [u8], &'static [u8]);

const HIDDEN: &[u8] = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: test\r\nx-injected: yes\r\n\r\n";

/// A request with these pseudo fields and further ones.
fn request(method: &'static [u8], path: &'static [u8], further: &[Field]) -> Vec<Field> {
    let mut fields: Vec<Field> =
        vec![(b":method", method), (b":scheme", b"http"), (b":path", path), (b":authority", b"test")];
    fields.extend_from_slice(further);
    fields
}

/// What a client might send, and whether a body follows.
fn hostile() -> Vec<(Vec<Field>, Option<&'static [u8]>)> {
    let fields: [Field; 24] = [
        (b"x-a", b"b\r\nx-injected: yes"),
        (b"x-a", b"b\nx-injected: yes"),
        (b"x-a", b"b\rx-injected: yes"),
        (b"x-a", b"b\0x-injected: yes"),
        (b"x-a", b"b\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: test\r\n\r\n"),
        (b"x-a: b\r\nx-injected", b"yes"),
        (b"x-a\r\nx-injected: yes\r\nx-b", b"c"),
        (b"x-a\0", b"b"),
        (b"x a", b"b"),
        (b"x-a:", b"b"),
        (b"", b"b"),
        (b"X-User-Id", b"root"),
        (b"x_user_id", b"root"),
        (b"x-user-id", b"root\r\nx-injected: yes"),
        (b"x-tidegate-client", b"192.0.2.1"),
        (b"connection", b"x-forwarded-for, x-tidegate-client"),
        (b"transfer-encoding", b"chunked"),
        (b"te", b"gzip, chunked"),
        (b"upgrade", b"websocket"),
        (b"host", b"other"),
        (b":path", b"/smuggled"),
        (b":authority", b"other"),
        (b":status", b"200"),
        (b":protocol", b"websocket"),
    ];
    let mut all: Vec<_> = fields.iter().map(|field| (request(b"GET", b"/", &[*field]), None)).collect();
    let targets: [&[u8]; 9] = [
        b"/ HTTP/1.1\r\nx-injected: yes\r\n\r\n",
        b"/\r\nx-injected: yes",
        b"/\n",
        b"/ /smuggled",
        b"/\0",
        b"",
        b"*",
        b"smuggled",
        b"//",
    ];
    all.extend(targets.iter().map(|target| (request(b"GET", target, &[]), None)));
    let methods: [&[u8]; 5] =
        [b"GET / HTTP/1.1\r\nx-injected: yes\r\n\r\nGET", b"GET\r\nx-injected: yes", b"G T", b"", b"CONNECT"];
    all.extend(methods.iter().map(|method| (request(method, b"/", &[]), None)));
    // Pseudo fields that hold more, are missing, or come late.
    all.push((vec![(b":method", b"GET"), (b":scheme", b"http\r\nx-injected: yes"), (b":path", b"/")], None));
    let mut authority = request(b"GET", b"/", &[]);
    authority[3].1 = b"test\r\nx-injected: yes";
    all.push((authority, None));
    all.push((vec![(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"test")], None));
    all.push((vec![(b"x-a", b"b"), (b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/")], None));
    // Bodies with something behind their end.
    let lengths: [&[Field]; 5] = [
        &[],
        &[(b"content-length", b"5")],
        &[(b"content-length", b"0")],
        &[(b"content-length", b"5"), (b"content-length", b"64")],
        &[(b"transfer-encoding", b"chunked")],
    ];
    all.extend(lengths.iter().map(|length| (request(b"POST", b"/", length), Some(HIDDEN))));
    all
}

/// The chain, with HTTP/1.1 from the edge on if `downgraded`.
async fn chain(downgraded: bool) -> Chain {
    let plan = Plan::default();
    let edge = if downgraded {
        let protocols = "use_downstream_protocol_config:\n            http_protocol_options: {}\n            http2_protocol_options: {}\n";
        plan.edge.replace(protocols, "explicit_http_config:\n            http_protocol_options: {}\n")
    } else {
        plan.edge
    };
    Chain::start_with(Plan { edge, ..plan }).await
}

#[tokio::test]
async fn no_fields_escape_a_limit() {
    for downgraded in [false, true] {
        let chain = chain(downgraded).await;
        let client = chain.client(1);
        assert_eq!(client.allowed("/", &[], 99).await, 80);
        let hostile = hostile();
        // At once, as Envoy lets each connection that it refuses linger for a second.
        let outcomes = join_all(hostile.iter().map(|(fields, body)| send(&client, fields, *body))).await;
        for (outcome, (fields, _)) in outcomes.into_iter().zip(&hostile) {
            assert_ne!(outcome, Outcome::Served, "downgraded {downgraded}: {}", shown(fields));
        }
        assert_eq!(chain.service.requests(), 80);
        chain.assert_no_decision_was_lost().await;
    }
}

#[tokio::test]
async fn no_fields_inject_anything() {
    for downgraded in [false, true] {
        let chain = chain(downgraded).await;
        let sent = (1..).zip(hostile()).map(|(number, (fields, body))| {
            let client = chain.client(number);
            async move { send(&client, &fields, body).await }
        });
        let outcomes = join_all(sent).await;
        let served = outcomes.into_iter().filter(|outcome| *outcome == Outcome::Served).count();
        // Some are harmless, as they stand or as Envoy hands them on.
        assert!(served > 3, "{served} served");
        let seen = chain.service.seen();
        assert_eq!(seen.len(), served, "one request for each that was served: {seen:#?}");
        for request in seen {
            assert!(!request.headers.contains_key("x-injected"), "{request:?}");
            assert_eq!((request.header("x-user-id"), request.header("x_user_id")), (String::new(), String::new()));
            assert!(request.header("x-tidegate-client").starts_with("127.1.1."), "{request:?}");
            assert!(!request.path.contains("smuggled"), "{request:?}");
        }
        for envoy in chain.envoys() {
            for line in envoy.access_log(1).await {
                assert!(line.get("time").is_some(), "{line}");
            }
        }
        chain.assert_no_decision_was_lost().await;
    }
}

fn shown(fields: &[Field]) -> String {
    let shown = fields.iter().map(|(name, value)| format!("{} = {}", name.escape_ascii(), value.escape_ascii()));
    shown.collect::<Vec<_>>().join("; ")
}
