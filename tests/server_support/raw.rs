//! A client that speaks HTTP/2 by hand, for what no well-behaved client does.

use std::net::SocketAddr;

use bytes::Bytes;
use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitResponse;
use h2::client::SendRequest;
use http::{Request, Response};
use prost::Message;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tonic::Code;

pub const SHOULD_RATE_LIMIT: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

/// A connection whose streams a test opens itself.
pub struct Raw {
    pub requests: SendRequest<Bytes>,
    /// Ends with the connection.
    pub connection: JoinHandle<Result<(), h2::Error>>,
}

/// What a call of `ShouldRateLimit` ended with.
pub type Answer = Result<RateLimitResponse, (Code, String)>;

impl Raw {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the port is open");
        let (requests, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
        Self { requests, connection: tokio::spawn(connection) }
    }

    /// Opens a call and sends `body` as it is.
    pub async fn open(&mut self, body: Bytes, end: bool) -> (h2::client::ResponseFuture, h2::SendStream<Bytes>) {
        self.open_at(SHOULD_RATE_LIMIT, body, end).await
    }

    async fn open_at(
        &mut self,
        path: &str,
        body: Bytes,
        end: bool,
    ) -> (h2::client::ResponseFuture, h2::SendStream<Bytes>) {
        let mut requests = self.requests.clone().ready().await.expect("a free stream");
        let (response, mut stream) = requests.send_request(request_at(path), false).expect("a stream");
        stream.send_data(body, end).expect("an open stream");
        (response, stream)
    }

    /// Calls the method at `path` with any bytes as the message.
    pub async fn call_at<T: Message + Default>(&mut self, path: &str, message: &[u8]) -> Result<T, (Code, String)> {
        let (response, _stream) = self.open_at(path, frame(message), true).await;
        read_message(response.await.expect("a response")).await
    }

    /// Calls `ShouldRateLimit` with any bytes as the message.
    pub async fn call(&mut self, message: &[u8]) -> Answer {
        let (response, _stream) = self.open(frame(message), true).await;
        answer(response).await
    }
}

pub fn request() -> Request<()> {
    request_at(SHOULD_RATE_LIMIT)
}

fn request_at(path: &str) -> Request<()> {
    Request::post(format!("http://localhost{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .expect("a request")
}

/// gRPC's framing.
pub fn frame(message: &[u8]) -> Bytes {
    let mut framed = vec![0];
    framed.extend_from_slice(&u32::try_from(message.len()).expect("a length").to_be_bytes());
    framed.extend_from_slice(message);
    framed.into()
}

pub async fn answer(response: h2::client::ResponseFuture) -> Answer {
    read(response.await.expect("a response")).await
}

pub async fn read(response: Response<h2::RecvStream>) -> Answer {
    read_message(response).await
}

async fn read_message<T: Message + Default>(response: Response<h2::RecvStream>) -> Result<T, (Code, String)> {
    let (head, mut body) = response.into_parts();
    assert_eq!(head.status, 200);
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.expect("data");
        body.flow_control().release_capacity(data.len()).expect("room");
        bytes.extend_from_slice(&data);
    }
    let trailers = body.trailers().await.expect("trailers").unwrap_or(head.headers);
    let code = trailers["grpc-status"].to_str().expect("digits").parse::<i32>().expect("digits");
    if code == 0 {
        assert_eq!(bytes[..5], frame(&bytes[5..])[..5], "the framing of the answer");
        return Ok(T::decode(&bytes[5..]).expect("the answer's message"));
    }
    let status = tonic::Status::from_header_map(&trailers).expect("a status");
    Err((status.code(), status.message().to_owned()))
}
