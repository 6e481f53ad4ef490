//! What flows through the chain beside short requests: WebSockets, gRPC, uploads, trailers. Each is one request to
//! every limit, decided before any of it flows.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tonic::Code;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus as Told;
use tonic_health::pb::health_client::HealthClient;

use crate::chain::Chain;
use crate::harness::{Client, eventually};
use crate::speech::{Raw, get_h2, status};

const WEBSOCKET: &str = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
    sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[tokio::test]
async fn http_2_is_limited_as_http_1_is() {
    let chain = Chain::start().await;
    let client = chain.client(1);
    // Both versions use up the same limit.
    for (path, limit) in [("/login", 5), ("/reports/1", 10), ("/orders/1", 20)] {
        for sent in 0..limit {
            let answered = if sent % 2 == 0 {
                get_h2(&client, path, &[]).await.unwrap().status.as_u16()
            } else {
                client.status(path, &[]).await
            };
            assert_eq!(answered, 200, "{path}, request {sent}");
        }
        let denied = get_h2(&client, path, &[]).await.unwrap();
        assert_eq!((denied.status.as_u16(), client.status(path, &[]).await), (429, 429), "{path}");
        assert_ne!(denied.header("retry-after"), "");
    }
    chain.assert_no_decision_was_lost().await;
}

#[tokio::test]
async fn a_websocket_opens_through_every_hop_and_counts_once() {
    let chain = Chain::start().await;
    let client = chain.client(1);
    let mut socket = Raw::connect(&client).await;
    socket.send(format!("GET /orders/1 HTTP/1.1\r\nhost: test\r\n{WEBSOCKET}\r\n").as_bytes()).await;
    let head = socket.until("\r\n\r\n").await;
    assert_eq!(status(&head), Some(101), "{head}");
    // Bytes both ways, many times: the service gives back what it gets.
    for number in 0..50 {
        // A masked text frame, as a browser sends it.
        let text = format!("message {number:04}");
        let mut frame = vec![0x81, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0];
        frame.extend_from_slice(text.as_bytes());
        socket.send(&frame).await;
        socket.until(&text).await;
    }
    for (domain, rule) in
        [("edge", "remote_address"), ("inner", "generic_key_service"), ("mesh", "route_orders.remote_address")]
    {
        assert_eq!(chain.hits(domain).await, [(rule.to_owned(), 1)]);
    }
    chain.assert_no_decision_was_lost().await;
}

#[tokio::test]
async fn a_websocket_that_is_denied_does_not_open() {
    let chain = Chain::start().await;
    let client = chain.client(1);
    // By the edge, over RLS; and by the sidecar, over ext_authz.
    for (path, limit) in [("/login", 5), ("/orders/1", 20)] {
        assert_eq!(client.allowed(path, &[], 50).await, limit);
        let before = chain.service.requests();
        let mut socket = Raw::connect(&client).await;
        socket.send(format!("GET {path} HTTP/1.1\r\nhost: test\r\n{WEBSOCKET}\r\n").as_bytes()).await;
        let head = socket.until("\r\n\r\n").await;
        assert_eq!(status(&head), Some(429), "{head}");
        assert!(!head.to_ascii_lowercase().contains("upgrade: websocket"), "{head}");
        assert_eq!(chain.service.requests(), before);
    }
    chain.assert_no_decision_was_lost().await;
}

async fn health(chain: &Chain, number: u8) -> HealthClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", chain.edge.address)).unwrap();
    let endpoint = endpoint.local_address(Some([127, 1, 1, number].into()));
    HealthClient::new(endpoint.connect().await.unwrap())
}

fn with_token(chain: &Chain, user: &str) -> tonic::Request<HealthCheckRequest> {
    let mut request = tonic::Request::new(HealthCheckRequest::default());
    let token = MetadataValue::try_from(chain.token(user)).unwrap();
    request.metadata_mut().insert("authorization", token);
    request
}

#[tokio::test]
async fn grpc_calls_limited_by_rls_get_resource_exhausted() {
    let chain = Chain::start().await;
    let mut client = health(&chain, 1).await;
    for _ in 0..30 {
        client.check(with_token(&chain, "alice")).await.unwrap();
    }
    let unary = client.check(with_token(&chain, "alice")).await.unwrap_err();
    let streaming = client.watch(with_token(&chain, "alice")).await.unwrap_err();
    for denied in [unary, streaming] {
        assert_eq!(denied.code(), Code::ResourceExhausted, "{denied:?}");
        assert!(denied.metadata().get("retry-after").is_some(), "{denied:?}");
    }
    // Others are served on the same connection.
    client.check(with_token(&chain, "bob")).await.unwrap();
    assert_eq!(chain.service.requests(), 31);
    chain.assert_no_decision_was_lost().await;
}

#[tokio::test]
async fn grpc_calls_limited_by_ext_authz_get_resource_exhausted() {
    let chain = Chain::start().await;
    let mut client = health(&chain, 1).await;
    for _ in 0..80 {
        client.check(HealthCheckRequest::default()).await.unwrap();
    }
    let unary = client.check(HealthCheckRequest::default()).await.unwrap_err();
    let streaming = client.watch(HealthCheckRequest::default()).await.unwrap_err();
    for denied in [unary, streaming] {
        assert_eq!(denied.code(), Code::ResourceExhausted, "{denied:?}");
        assert!(denied.metadata().get("retry-after").is_some(), "{denied:?}");
    }
    health(&chain, 2).await.check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(chain.service.requests(), 81);
    chain.assert_no_decision_was_lost().await;
}

#[tokio::test]
async fn a_stream_of_answers_flows_and_counts_once() {
    let chain = Chain::start().await;
    let mut client = health(&chain, 1).await;
    let request = HealthCheckRequest { service: "orders".to_owned() };
    chain.service.set_health("orders", ServingStatus::Serving).await;
    let mut stream = client.watch(request).await.unwrap().into_inner();
    for (set, told) in [
        (None, Told::Serving),
        (Some(ServingStatus::NotServing), Told::NotServing),
        (Some(ServingStatus::Serving), Told::Serving),
    ] {
        if let Some(set) = set {
            chain.service.set_health("orders", set).await;
        }
        assert_eq!(stream.message().await.unwrap().unwrap().status(), told);
    }
    assert_eq!(chain.hits("mesh").await, [("remote_address".to_owned(), 1)]);
    assert_eq!(chain.hits("edge").await, [("remote_address".to_owned(), 1)]);
    chain.assert_no_decision_was_lost().await;
}

#[tokio::test]
async fn an_upload_is_not_held_up_and_counts_once() {
    const PART: usize = 1 << 20;
    const PARTS: usize = 16;
    let chain = Chain::start().await;
    for (number, chunked) in [(1, false), (2, true)] {
        let client = chain.client(number);
        let already = chain.service.uploaded();
        let part = vec![b'u'; PART];
        let send = async |upload: &mut Raw| {
            if chunked {
                upload.send(format!("{PART:x}\r\n").as_bytes()).await;
            }
            upload.send(&part).await;
            if chunked {
                upload.send(b"\r\n").await;
            }
        };
        let length =
            if chunked { "transfer-encoding: chunked".to_owned() } else { format!("content-length: {}", PART * PARTS) };
        let mut upload = Raw::connect(&client).await;
        upload
            .send(format!("POST /upload HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{length}\r\n\r\n").as_bytes())
            .await;
        send(&mut upload).await;
        // The service reads the beginning while the rest has not been sent.
        eventually("the service gets the beginning", || async {
            (chain.service.uploaded() - already >= (PART / 2) as u64).then_some(())
        })
        .await;
        for _ in 1..PARTS {
            send(&mut upload).await;
        }
        if chunked {
            upload.send(b"0\r\n\r\n").await;
        }
        let answer = upload.rest().await;
        assert!(status(&answer) == Some(200) && answer.contains(&(PART * PARTS).to_string()), "{answer}");
    }
    assert_eq!(chain.hits("edge").await, [("remote_address".to_owned(), 2)]);
    assert_eq!(chain.hits("mesh").await, [("remote_address".to_owned(), 2)]);
    chain.assert_no_decision_was_lost().await;
}

/// Uses up what a client may upload to the sidecar's limit on orders, and to the edge's on logins.
async fn exhausted(chain: &Chain) -> [(Client, &'static str); 2] {
    let (client, other) = (chain.client(1), chain.client(2));
    assert_eq!(client.allowed("/login", &[], 50).await, 5);
    assert_eq!(other.allowed("/orders/1", &[], 50).await, 20);
    [(client, "/login"), (other, "/orders/1")]
}

#[tokio::test]
async fn a_denial_comes_before_the_body() {
    let chain = Chain::start().await;
    for (client, path) in exhausted(&chain).await {
        let before = chain.service.requests();
        let mut upload = Raw::connect(&client).await;
        let head = format!("POST {path} HTTP/1.1\r\nhost: test\r\ncontent-length: 10000000\r\n\r\n");
        upload.send(head.as_bytes()).await;
        let head = upload.until("\r\n\r\n").await;
        assert_eq!(status(&head), Some(429), "{path}: {head}");
        assert_eq!(chain.service.requests(), before);
    }
    chain.assert_no_decision_was_lost().await;
}

#[tokio::test]
async fn who_asks_before_sending_a_body_is_told_to_go_on_or_denied() {
    let chain = Chain::start().await;
    let ask = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n"
        )
    };
    let mut upload = Raw::connect(&chain.client(3)).await;
    upload.send(ask("/upload").as_bytes()).await;
    let told = upload.until("\r\n\r\n").await;
    assert_eq!(status(&told), Some(100), "{told}");
    assert_eq!(chain.service.uploaded(), 0);
    upload.send(b"hello").await;
    upload.until("HTTP/1.1 200").await;
    assert_eq!(chain.service.uploaded(), 5);

    for (client, path) in exhausted(&chain).await {
        let mut upload = Raw::connect(&client).await;
        upload.send(ask(path).as_bytes()).await;
        let told = upload.until("\r\n\r\n").await;
        assert_eq!(status(&told), Some(429), "{path}: {told}");
    }
    chain.assert_no_decision_was_lost().await;
}

#[tokio::test]
async fn trailers_pass_both_ways_and_are_no_headers() {
    let chain = Chain::start().await;
    let stream = TokioIo::new(chain.client(1).connect().await.unwrap());
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let trailer =
        |name: &'static str, value: &'static str| (HeaderName::from_static(name), HeaderValue::from_static(value));
    // What the edge takes away from headers is no use as a trailer either.
    let trailers = HeaderMap::from_iter([trailer("x-checksum", "1234"), trailer("x-user-id", "root")]);
    let frames = [Frame::data(Bytes::from_static(b"hello")), Frame::trailers(trailers)];
    let body = StreamBody::new(tokio_stream::iter(frames.map(Ok::<_, std::convert::Infallible>)));
    let request = Request::post("http://test/trailers").header("te", "trailers").body(body).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["x-end"], "well");
    assert_eq!(collected.to_bytes(), "served\n");
    connection.abort();

    assert_eq!(chain.service.trailers().unwrap()["x-checksum"], "1234");
    assert_eq!(chain.service.seen()[0].header("x-user-id"), "");
    assert_eq!(chain.hits("edge").await, [("remote_address".to_owned(), 1)]);
    chain.assert_no_decision_was_lost().await;
}
