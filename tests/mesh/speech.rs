//! HTTP as a client may speak it: byte by byte, or over HTTP/2.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::{Answer, Client};

/// Longer than any answer takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a client waits for an answer to what may be no request.
const GIVES_UP: Duration = Duration::from_secs(2);

/// A connection whose bytes the test chooses.
pub struct Raw {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Raw {
    pub async fn connect(client: &Client) -> Self {
        Self { stream: client.connect().await.unwrap(), received: Vec::new() }
    }

    /// An error counts as sent: the other side may have closed already, having heard enough.
    pub async fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// Ends the sending half.
    pub async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Everything received, once it holds this.
    pub async fn until(&mut self, text: &str) -> String {
        let wait = async {
            loop {
                if String::from_utf8_lossy(&self.received).contains(text) {
                    return;
                }
                let read = self.stream.read_buf(&mut self.received).await.unwrap();
                assert!(read > 0, "the connection ended without {text:?}: {}", self.received.escape_ascii());
            }
        };
        timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("waited in vain for {text:?}"));
        self.text()
    }

    /// Waits for the head of an answer, or the end of the connection.
    async fn head(&mut self) {
        while !self.text().contains("\r\n\r\n") && matches!(self.stream.read_buf(&mut self.received).await, Ok(1..)) {}
    }

    /// What has been received so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.received).into_owned()
    }

    /// Everything received until the other side has nothing more to say: it closes, as every request asked for with
    /// `connection: close`, or because it made no sense of what it got.
    pub async fn rest(mut self) -> String {
        let read = timeout(PATIENCE, self.stream.read_to_end(&mut self.received)).await;
        // A reset is an end, too.
        let _ = read.expect("the connection ends");
        String::from_utf8_lossy(&self.received).into_owned()
    }
}

/// Everything that is answered to these bytes. Where no answer comes, as they are only the beginning of a request, the
/// client gives up.
pub async fn answered(client: &Client, bytes: &[u8]) -> String {
    let mut raw = Raw::connect(client).await;
    raw.send(bytes).await;
    let _ = timeout(GIVES_UP, raw.head()).await;
    raw.finish().await;
    raw.rest().await
}

/// The status of the first answer in this text, if there is one.
pub fn status(text: &str) -> Option<u16> {
    text.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

/// GET over HTTP/2.
pub async fn get_h2(client: &Client, path: &str, headers: &[(&str, &[u8])]) -> anyhow::Result<Answer> {
    let stream = TokioIo::new(client.connect().await?);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await?;
    let connection = tokio::spawn(connection);
    let mut request = Request::get(format!("http://test{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
    let (head, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    connection.abort();
    Ok(Answer { status: head.status, headers: head.headers, body })
}
