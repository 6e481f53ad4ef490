//! HTTP/2 frame by frame, for requests that no library would send.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::Client;

/// Longer than any answer takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    /// Answered with 200.
    Served,
    /// Answered otherwise.
    Denied,
    /// The stream was reset, or the connection ended.
    Refused,
}

/// Sends one request, its fields as they are, and then its body, if it has one.
pub async fn send(client: &Client, fields: &[(&[u8], &[u8])], body: Option<&[u8]>) -> Outcome {
    let mut stream = client.connect().await.unwrap();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    frame(&mut bytes, SETTINGS, 0, 0, &[]);
    let mut block = Vec::new();
    for (name, value) in fields {
        // A literal that is not indexed, with a name of its own.
        block.push(0);
        text(&mut block, name);
        text(&mut block, value);
    }
    let end = if body.is_some() { 0 } else { END_STREAM };
    frame(&mut bytes, HEADERS, END_HEADERS | end, 1, &block);
    if let Some(body) = body {
        frame(&mut bytes, DATA, END_STREAM, 1, body);
    }
    // An error means that the other side has heard enough.
    let _ = stream.write_all(&bytes).await;
    timeout(PATIENCE, outcome(&mut stream)).await.expect("an outcome")
}

fn frame(bytes: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    bytes.extend_from_slice(&length[1..]);
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
}

/// A text as HPACK has it, not compressed.
fn text(block: &mut Vec<u8>, text: &[u8]) {
    const SHORT: usize = 127;
    let Some(mut rest) = text.len().checked_sub(SHORT) else {
        block.push(u8::try_from(text.len()).unwrap());
        block.extend_from_slice(text);
        return;
    };
    block.push(127);
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap());
    block.extend_from_slice(text);
}

async fn outcome(stream: &mut TcpStream) -> Outcome {
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).await.is_err() {
            return Outcome::Refused;
        }
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        if stream.read_exact(&mut payload).await.is_err() {
            return Outcome::Refused;
        }
        match head[3] {
            RST_STREAM | GOAWAY => return Outcome::Refused,
            // ":status: 200" is entry 8 of HPACK's table; a new size for the table may come before it.
            HEADERS if payload.iter().find(|byte| **byte & 0xe0 != 0x20) == Some(&0x88) => return Outcome::Served,
            HEADERS => return Outcome::Denied,
            _ => {}
        }
    }
}
