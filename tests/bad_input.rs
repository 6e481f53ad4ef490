//! What must not break the gRPC port. What a client can put into a descriptor is decided like anything else; what only
//! a broken or hostile caller sends gets a clear error, bounded time and memory, and the others are answered.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod server_support;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::RateLimitOverride;
use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitResponse;
use envoy_types::pb::google::protobuf::UInt64Value;
use prost::Message;
use server_support::raw::{self, Raw, answer, frame};
use server_support::{OK, OVER_LIMIT, SOON, Server, entry, request, start};
use tidegate::wire::Writer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::Code;

const RULES: &str = "
domain: edge
descriptors:
  - key: user
    rate_limit: { unit: day, requests_per_unit: 3 }
";

/// A request for the domain edge with one entry of any bytes.
fn request_of(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = Writer::default();
    out.bytes(1, b"edge");
    out.message(2, |descriptor| {
        descriptor.message(1, |entry| {
            entry.bytes(1, key);
            entry.bytes(2, value);
        });
    });
    out.into_inner()
}

/// Another client, on another connection, is answered.
async fn others_are_answered(server: &Server) {
    let mut client = timeout(SOON, server.client()).await.expect("a connection");
    let answer = client.should_rate_limit(request("edge", &[&[("other", "x")]])).await.expect("an answer");
    assert_eq!(answer.into_inner().overall_code, OK);
}

#[tokio::test]
async fn any_value_is_decided() {
    let server = start(RULES, |_| {});
    let mut client = Raw::connect(server.address()).await;
    let values: [&[u8]; 8] = [
        b"",
        b"\xff\xfe\x80",
        b"a\xc3",
        b"\0\x01\r\n\x7f",
        "\u{202e}\u{0}é".as_bytes(),
        &[b'x'; 100],
        &[b'y'; 20_000],
        &[0xf0; 900_000],
    ];
    for value in values {
        for hit in 1..=4 {
            let answer = client.call(&request_of(b"user", value)).await.expect("a decision");
            let expected = if hit <= 3 { OK } else { OVER_LIMIT };
            assert_eq!(answer.overall_code, expected, "hit {hit} of {} bytes", value.len());
        }
    }
    let answer = client.call(&request_of(b"us\xffer", b"a")).await.expect("a decision");
    assert_eq!(answer.overall_code, OK);
}

#[tokio::test]
async fn an_unknown_domain_of_any_bytes_passes() {
    let server = start(RULES, |_| {});
    let mut client = Raw::connect(server.address()).await;
    let mut out = Writer::default();
    out.bytes(1, b"\xff\0");
    out.message(2, |_| {});
    let answer = client.call(&out.into_inner()).await.expect("a decision");
    assert_eq!((answer.overall_code, answer.statuses.len()), (OK, 1));
}

#[tokio::test]
async fn messages_beyond_the_bound_are_refused_before_they_come() {
    let server = start(RULES, |config| config.grpc.max_message_bytes = 10_000);
    let mut client = Raw::connect(server.address()).await;
    assert_eq!(client.call(&request_of(b"user", &[b'x'; 9_900])).await.expect("a decision").overall_code, OK);
    let (code, text) = client.call(&request_of(b"user", &[b'x'; 10_000])).await.expect_err("too large");
    assert_eq!(code, Code::ResourceExhausted);
    assert!(text.contains("at most 10000 are allowed (grpc.max_message_bytes)"), "{text}");
    // Only announced: four gigabytes.
    let (response, _stream) = client.open(Bytes::from_static(&[0, 255, 255, 255, 255, 1]), false).await;
    let (code, text) = timeout(SOON, answer(response)).await.expect("at once").expect_err("too large");
    assert_eq!(code, Code::ResourceExhausted);
    assert!(text.contains("4294967295 bytes"), "{text}");
    others_are_answered(&server).await;
}

#[tokio::test]
async fn thousands_of_descriptors_and_entries_are_refused() {
    let server = start(RULES, |_| {});
    let mut client = server.client().await;
    let mut many = request("edge", &[&[("user", "a")]]);
    many.descriptors = vec![many.descriptors[0].clone(); 5_000];
    let status = client.should_rate_limit(many).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::InvalidArgument, "descriptors: 5000 in one request, at most 100 are allowed")
    );
    let mut deep = request("edge", &[&[]]);
    deep.descriptors[0].entries = vec![entry("user", "a"); 5_000];
    let status = client.should_rate_limit(deep).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::InvalidArgument, "descriptors[0].entries: 5000 in one descriptor, at most 100 are allowed")
    );
    others_are_answered(&server).await;
}

#[tokio::test]
async fn overrides_with_undefined_units_name_the_field() {
    let server = start(RULES, |_| {});
    let mut client = server.client().await;
    for unit in [0, 8, 99, -1] {
        let mut bad = request("edge", &[&[("user", "a")], &[("user", "b")]]);
        bad.descriptors[1].limit = Some(RateLimitOverride { requests_per_unit: 10, unit });
        let status = client.should_rate_limit(bad).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        let text = status.message();
        assert!(text.starts_with(&format!("descriptors[1].limit.unit: {unit} is no unit; use 1 (SECOND)")), "{text}");
    }
    let mut good = request("edge", &[&[("user", "a")]]);
    good.descriptors[0].limit = Some(RateLimitOverride { requests_per_unit: u32::MAX, unit: 7 });
    let answer = client.should_rate_limit(good).await.unwrap().into_inner();
    let limit = answer.statuses[0].current_limit.as_ref().expect("a limit");
    assert_eq!((limit.requests_per_unit, limit.unit), (u32::MAX, 7));
}

#[tokio::test]
async fn the_largest_costs_are_decided() {
    let server = start(RULES, |_| {});
    let mut client = server.client().await;
    for (user, hits) in [("a", u64::from(u32::MAX)), ("b", u64::MAX), ("c", u64::MAX / 2 + 1)] {
        for _ in 0..3 {
            let mut costly = request("edge", &[&[("user", user)]]);
            costly.descriptors[0].hits_addend = Some(UInt64Value { value: hits });
            let answer = client.should_rate_limit(costly).await.expect("a decision").into_inner();
            assert_eq!((answer.overall_code, answer.statuses[0].limit_remaining), (OVER_LIMIT, 0));
        }
        let answer = client.should_rate_limit(request("edge", &[&[("user", user)]])).await.unwrap().into_inner();
        assert_eq!(answer.overall_code, OVER_LIMIT, "nothing wrapped around");
        let mut refund = request("edge", &[&[("user", user)]]);
        refund.descriptors[0].hits_addend = Some(UInt64Value { value: u64::MAX });
        refund.descriptors[0].is_negative_hits = true;
        let answer = client.should_rate_limit(refund).await.expect("a decision").into_inner();
        assert_eq!((answer.overall_code, answer.statuses[0].limit_remaining), (OK, 3));
    }
    let mut costly = request("edge", &[&[("user", "d")]]);
    costly.hits_addend = u32::MAX;
    assert_eq!(client.should_rate_limit(costly).await.unwrap().into_inner().overall_code, OVER_LIMIT);
}

#[tokio::test]
async fn nonsense_is_told_so() {
    let server = start(RULES, |_| {});
    let mut client = Raw::connect(server.address()).await;
    let (code, text) = client.call(b"\x0a\xff").await.expect_err("no message");
    assert_eq!(code, Code::InvalidArgument);
    assert_eq!(text, "the message is no RateLimitRequest: it ends inside a field");
    let (code, text) = client.call(b"").await.expect_err("nothing in it");
    assert_eq!((code, text.as_str()), (Code::InvalidArgument, "rate limit domain must not be empty"));

    let compressed = Bytes::from_static(&[1, 0, 0, 0, 1, 0]);
    let (response, _stream) = client.open(compressed, true).await;
    let (code, text) = answer(response).await.expect_err("compressed");
    assert_eq!(code, Code::Unimplemented);
    assert!(text.contains("grpc-encoding: identity"), "{text}");

    for (body, what) in [(&b""[..], "nothing"), (b"\0\0", "half a prefix"), (b"\0\0\0\0\x09abc", "half a message")] {
        let (response, _stream) = client.open(Bytes::from_static(body), true).await;
        let (code, text) = answer(response).await.expect_err(what);
        assert_eq!((code, text.as_str()), (Code::InvalidArgument, "the call ended before its message"), "{what}");
    }
    let twice = [frame(&request_of(b"user", b"a")), frame(b"x")].concat();
    let (response, _stream) = client.open(twice.into(), true).await;
    let (code, text) = answer(response).await.expect_err("two messages");
    assert_eq!(code, Code::InvalidArgument);
    assert_eq!(text, "ShouldRateLimit takes one message, and more came");
}

#[tokio::test]
async fn messages_in_pieces_are_decided() {
    let server = start(RULES, |_| {});
    let mut client = Raw::connect(server.address()).await;
    let body = frame(&request_of(b"user", b"in pieces"));
    let (response, mut stream) = client.open(Bytes::new(), false).await;
    for byte in &body {
        stream.send_data(Bytes::copy_from_slice(&[*byte]), false).unwrap();
        tokio::task::yield_now().await;
    }
    stream.send_data(Bytes::new(), true).unwrap();
    assert_eq!(answer(response).await.expect("a decision").overall_code, OK);
}

#[tokio::test]
async fn whoever_says_nothing_is_let_go() {
    let server = start(RULES, |config| config.grpc.handshake_timeout = Duration::from_millis(50));
    for said in ["", "PRI * HTTP/2"] {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let end = timeout(SOON, stream.read_to_end(&mut answer)).await.expect("the connection is closed");
        assert!(end.is_err() || answer.is_empty());
    }
    others_are_answered(&server).await;
}

#[tokio::test]
async fn http1_gets_an_answer_it_can_read() {
    let server = start(RULES, |_| {});
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(b"GET /healthcheck HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    timeout(SOON, stream.read_to_string(&mut answer)).await.expect("the connection is closed").unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{head}");
    assert!(body.contains("gRPC"), "{body}");
}

/// A frame of HTTP/2.
fn h2_frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A connection that answers nothing: preface, settings, and what the test writes.
async fn deaf_client(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    stream.write_all(&h2_frame(4, 0, 0, &[])).await.unwrap();
    stream
}

/// The head of a call in HPACK, without compression.
fn call_head() -> Vec<u8> {
    let mut head = vec![0x83, 0x86];
    for (name, value) in [(0x04, raw::SHOULD_RATE_LIMIT), (0x01, "localhost"), (0x0f, "application/grpc")] {
        head.push(name);
        if name == 0x0f {
            // content-type is 31 in the static table: 15 and 16 more.
            head.push(16);
        }
        head.push(u8::try_from(value.len()).unwrap());
        head.extend_from_slice(value.as_bytes());
    }
    head
}

/// Reads until the server closes.
async fn closed(mut stream: TcpStream) {
    let mut rest = vec![0; 65_536];
    let reading = async { while stream.read(&mut rest).await.is_ok_and(|length| length > 0) {} };
    timeout(SOON, reading).await.expect("the connection is closed");
}

#[tokio::test]
async fn half_open_connections_are_dropped() {
    let server = start(RULES, |config| {
        config.grpc.keepalive_interval = Duration::from_millis(50);
        config.grpc.keepalive_timeout = Duration::from_millis(50);
    });
    // It reads, but answers no ping.
    closed(deaf_client(server.address()).await).await;
    others_are_answered(&server).await;
}

#[tokio::test]
async fn calls_that_never_send_their_message_end() {
    let server = start(RULES, |_| {});
    let mut client = Raw::connect(server.address()).await;
    let (response, _stream) = client.open(Bytes::from_static(&[0, 0]), false).await;
    others_are_answered(&server).await;
    let (code, text) = timeout(SOON, answer(response)).await.expect("an end").expect_err("no message");
    assert_eq!((code, text.as_str()), (Code::DeadlineExceeded, "the message did not arrive within 5 s"));
}

#[tokio::test]
async fn rapid_resets_close_the_connection_that_sends_them() {
    let server = start(RULES, |_| {});
    let mut stream = deaf_client(server.address()).await;
    let flood = async {
        for call in 0..100_000_u32 {
            let id = 2 * call + 1;
            let mut both = h2_frame(1, 0x4, id, &call_head());
            both.extend(h2_frame(3, 0, id, &8_u32.to_be_bytes()));
            if stream.write_all(&both).await.is_err() {
                return true;
            }
        }
        false
    };
    assert!(timeout(SOON, flood).await.expect("the flood ends"), "the connection stayed open");
    others_are_answered(&server).await;
}

#[tokio::test]
async fn more_streams_than_allowed_are_refused() {
    let server = start(RULES, |config| config.grpc.max_concurrent_streams = 16);
    let mut stream = deaf_client(server.address()).await;
    let mut flood = Vec::new();
    for call in 0..2_000_u32 {
        flood.extend(h2_frame(1, 0x4, 2 * call + 1, &call_head()));
    }
    // The server may close while we still write.
    let _ = stream.write_all(&flood).await;
    closed(stream).await;
    others_are_answered(&server).await;
}

#[tokio::test]
async fn endless_headers_close_the_connection() {
    let server = start(RULES, |_| {});
    let mut stream = deaf_client(server.address()).await;
    let flood = async {
        if stream.write_all(&h2_frame(1, 0, 1, &call_head())).await.is_err() {
            return true;
        }
        // A header of 16 000 bytes that never ends.
        let mut part = vec![0x00, 1, b'x', 0x7f, 0x81, 0x7c];
        part.resize(6 + 16_000, b'y');
        for _ in 0..10_000 {
            if stream.write_all(&h2_frame(9, 0, 1, &part)).await.is_err() {
                return true;
            }
        }
        false
    };
    assert!(timeout(SOON, flood).await.expect("the flood ends"), "the connection stayed open");
    others_are_answered(&server).await;
}

#[tokio::test]
async fn who_asks_without_end_and_reads_nothing_is_dropped() {
    let server = start(RULES, |config| config.grpc.keepalive_timeout = Duration::from_millis(300));
    let mut stream = deaf_client(server.address()).await;
    let mut part = Vec::new();
    for _ in 0..500 {
        part.extend(h2_frame(6, 0, 0, &[1; 8]));
        part.extend(h2_frame(4, 0, 0, &[0, 3, 0, 0, 0, 100]));
    }
    let flood = tokio::spawn(async move { while stream.write_all(&part).await.is_ok() {} });
    for _ in 0..20 {
        others_are_answered(&server).await;
    }
    timeout(SOON, flood).await.expect("the connection is closed").unwrap();
    others_are_answered(&server).await;
}

#[tokio::test]
async fn what_is_not_grpc_is_refused() {
    let server = start(RULES, |_| {});
    let mut client = Raw::connect(server.address()).await;
    let uri = format!("http://localhost{}", raw::SHOULD_RATE_LIMIT);
    let get = http::Request::get(&uri).body(()).unwrap();
    let (response, _) = client.requests.send_request(get, true).unwrap();
    assert_eq!(response.await.unwrap().status(), 405);
    let json = http::Request::post(&uri).header("content-type", "application/json").body(()).unwrap();
    let (response, _) = client.requests.send_request(json, true).unwrap();
    assert_eq!(response.await.unwrap().status(), 415);
    let unknown = http::Request::post("http://localhost/no.Such/Method").header("content-type", "application/grpc");
    let (response, _) = client.requests.send_request(unknown.body(()).unwrap(), true).unwrap();
    assert_eq!(response.await.unwrap().headers()["grpc-status"], "12");
}

#[tokio::test]
async fn the_head_of_the_floods_is_that_of_a_call() {
    // A flood of heads that the server does not understand would prove nothing.
    let server = start(RULES, |_| {});
    let mut stream = deaf_client(server.address()).await;
    stream.write_all(&h2_frame(1, 0x4, 1, &call_head())).await.unwrap();
    stream.write_all(&h2_frame(0, 0x1, 1, &frame(&request_of(b"user", b"a")))).await.unwrap();
    let data = async {
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await.expect("a frame");
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            stream.read_exact(&mut payload).await.expect("its payload");
            if head[3] == 0 {
                return payload;
            }
        }
    };
    let data = timeout(SOON, data).await.expect("an answer");
    let answer = RateLimitResponse::decode(&data[5..]).expect("a RateLimitResponse");
    assert_eq!((answer.overall_code, answer.statuses[0].limit_remaining), (OK, 2));
}
