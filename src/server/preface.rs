//! The first bytes of a connection. HTTP/2 with prior knowledge begins with a fixed preface; reading it ourselves puts
//! a time limit on clients that say nothing, and gives those that speak HTTP/1 an answer they can read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

/// RFC 9113, 3.4.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Ends with the connection, so it needs no length.
const HTTP1_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    content-type: text/plain\r\n\
    connection: close\r\n\
    \r\n\
    This port speaks gRPC over HTTP/2 with prior knowledge.\r\n";

/// A connection whose preface has come.
#[derive(Debug)]
pub struct Prefaced<S> {
    stream: S,
    /// How much of the preface the reader still has to get.
    left: usize,
}

/// Waits for the preface; `None` when the client speaks something else, or nothing.
///
/// # Errors
/// When the connection breaks.
pub async fn expect<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> io::Result<Option<Prefaced<S>>> {
    let mut got = [0; PREFACE.len()];
    let mut length = 0;
    while length < PREFACE.len() {
        let more = stream.read(&mut got[length..]).await?;
        length += more;
        if more == 0 || got[..length] != PREFACE[..length] {
            // A bare connection check says nothing and gets nothing.
            if length > 0 && got[0].is_ascii_uppercase() {
                refuse(&mut stream).await?;
            }
            return Ok(None);
        }
    }
    Ok(Some(Prefaced { stream, left: PREFACE.len() }))
}

/// Tells in HTTP/1 what this port is for. What the client still sends is read for a while: closing over unread bytes
/// would reset the connection and lose the answer.
async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> io::Result<()> {
    stream.write_all(HTTP1_ANSWER).await?;
    stream.shutdown().await?;
    let mut rest = [0; 1024];
    for _ in 0..64 {
        if stream.read(&mut rest).await? == 0 {
            break;
        }
    }
    Ok(())
}

impl<S: AsyncRead + Unpin> AsyncRead for Prefaced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left > 0 {
            let rest = &PREFACE[PREFACE.len() - self.left..];
            let taken = rest.len().min(buffer.remaining());
            buffer.put_slice(&rest[..taken]);
            self.left -= taken;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prefaced<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    /// No, although a socket could: the HTTP/2 codec would send every answer of 256 bytes or more by a system call of
    /// its own. Like this it gathers all answers that are ready, each of up to 1 KiB, into one.
    fn is_write_vectored(&self) -> bool {
        false
    }
}
