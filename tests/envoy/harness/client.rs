//! A client with an address of its own choice.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, TcpStream};

#[derive(Clone, Debug)]
pub struct Client {
    to: SocketAddr,
    from: Ipv4Addr,
}

/// A complete response.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// A header's value; empty when there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The parameter of a structured field, the number after `;name=`.
    pub fn parameter(&self, header: &str, name: &str) -> u64 {
        let value = self.header(header);
        let number = value.split(';').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
        number.unwrap_or_else(|| panic!("no {name} in {header}: {value:?}")).parse().unwrap()
    }
}

impl Client {
    pub const fn new(to: SocketAddr, from: Ipv4Addr) -> Self {
        Self { to, from }
    }

    /// GET; any response counts as an answer, a broken connection does not.
    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        self.get_raw(path, &headers).await
    }

    /// GET with header values of any bytes that HTTP allows.
    pub async fn get_raw(&self, path: &str, headers: &[(&str, &[u8])]) -> Answer {
        self.try_get(path, headers).await.unwrap_or_else(|error| panic!("GET {path} at {}: {error}", self.to))
    }

    /// The status of a GET.
    pub async fn status(&self, path: &str, headers: &[(&str, &str)]) -> u16 {
        self.get(path, headers).await.status.as_u16()
    }

    /// How many requests in a row are allowed; the next is denied. No more than `most` are sent.
    pub async fn allowed(&self, path: &str, headers: &[(&str, &str)], most: usize) -> usize {
        for allowed in 0..most {
            match self.status(path, headers).await {
                200 => {}
                429 => return allowed,
                other => panic!("status {other}"),
            }
        }
        most
    }

    pub async fn try_get(&self, path: &str, headers: &[(&str, &[u8])]) -> anyhow::Result<Answer> {
        self.send(Method::GET, path, headers).await
    }

    /// Any method, without a body.
    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &[u8])]) -> anyhow::Result<Answer> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, "test");
        for (name, value) in headers {
            request = request.header(*name, HeaderValue::from_bytes(value)?);
        }
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(self.connect().await?)).await?;
        let connection = tokio::spawn(connection);
        let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await;
        let answer = match response {
            Ok(response) => {
                let (head, body) = response.into_parts();
                let body = body.collect().await?.to_bytes();
                Ok(Answer { status: head.status, headers: head.headers, body })
            }
            Err(error) => Err(error.into()),
        };
        connection.abort();
        answer
    }

    /// A connection from its address.
    pub async fn connect(&self) -> anyhow::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((self.from, 0).into())?;
        Ok(socket.connect(self.to).await?)
    }
}
