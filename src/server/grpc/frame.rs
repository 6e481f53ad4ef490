//! gRPC's framing of the one message a unary call has: a byte that tells compression, four of length, the message.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::{Semaphore, SemaphorePermit};
use tonic::Status;

/// Bytes before a message.
pub(super) const PREFIX: usize = 5;

/// How long a caller may take to send its message, once the call has begun.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of unfinished messages that one worker holds; beyond them, callers wait until others have finished.
const UNFINISHED: usize = 64 << 20;

/// Bounds the memory of messages that come in pieces.
#[derive(Debug)]
pub(super) struct Assembly {
    room: Semaphore,
}

impl Default for Assembly {
    fn default() -> Self {
        Self { room: Semaphore::new(UNFINISHED) }
    }
}

/// A message, and the room that it takes if it came in pieces.
#[derive(Debug)]
pub(super) struct Message<'a> {
    bytes: Bytes,
    room: Option<SemaphorePermit<'a>>,
}

impl std::ops::Deref for Message<'_> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Assembly {
    /// The message of a call of `method`, of at most `max` bytes.
    pub(super) async fn read(&self, body: Incoming, max: usize, method: &str) -> Result<Message<'_>, Status> {
        let mut reading = pin!(self.read_slowly(body, max, method));
        // Envoy's message comes with its headers: no timer for what is already here.
        let ready = std::future::poll_fn(|context| match reading.as_mut().poll(context) {
            Poll::Ready(message) => Poll::Ready(Some(message)),
            Poll::Pending => Poll::Ready(None),
        });
        if let Some(message) = ready.await {
            return message;
        }
        tokio::time::timeout(MESSAGE_TIMEOUT, reading).await.unwrap_or_else(|_| {
            let seconds = MESSAGE_TIMEOUT.as_secs();
            Err(Status::deadline_exceeded(format!("the message did not arrive within {seconds} s")))
        })
    }

    async fn read_slowly(&self, mut body: Incoming, max: usize, method: &str) -> Result<Message<'_>, Status> {
        let mut message = Message { bytes: next(&mut body).await?.ok_or_else(incomplete)?, room: None };
        if message.len() < PREFIX {
            message = self.extend(message, &mut body, PREFIX).await?;
        }
        let end = PREFIX + length(&message, max)?;
        if message.len() < end {
            message = self.extend(message, &mut body, end).await?;
        }
        // An answer before the caller has ended its side would look like a reset to it.
        let mut excess = message.len() > end;
        while !excess && !body.is_end_stream() {
            match next(&mut body).await? {
                Some(more) => excess = !more.is_empty(),
                None => break,
            }
        }
        if excess {
            return Err(Status::invalid_argument(format!("{method} takes one message, and more came")));
        }
        message.bytes = message.bytes.slice(PREFIX..);
        Ok(message)
    }

    /// Collects the body until `wanted` bytes are there.
    async fn extend<'a>(
        &'a self,
        mut message: Message<'a>,
        body: &mut Incoming,
        wanted: usize,
    ) -> Result<Message<'a>, Status> {
        let mut whole = BytesMut::with_capacity(wanted.min(INITIAL));
        whole.extend_from_slice(&message);
        while whole.len() < wanted {
            let more = next(body).await?.ok_or_else(incomplete)?;
            let size = u32::try_from(more.len()).unwrap_or(u32::MAX);
            // The semaphore is never closed.
            if let Ok(room) = self.room.acquire_many(size).await {
                match &mut message.room {
                    Some(taken) => taken.merge(room),
                    None => message.room = Some(room),
                }
            }
            whole.extend_from_slice(&more);
        }
        message.bytes = whole.freeze();
        Ok(message)
    }
}

/// Room made at first for a message that comes in pieces; a length that is merely announced reserves no more.
const INITIAL: usize = 16 * 1024;

/// The next piece of the body; `None` at its end.
async fn next(body: &mut Incoming) -> Result<Option<Bytes>, Status> {
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
            Err(error) => return Err(Status::cancelled(format!("the call ended before its message: {error}"))),
        }
    }
    Ok(None)
}

fn length(prefix: &[u8], max: usize) -> Result<usize, Status> {
    let [compressed, a, b, c, d, ..] = *prefix else { return Err(incomplete()) };
    if compressed != 0 {
        return Err(Status::unimplemented("the message is compressed; send it as it is (grpc-encoding: identity)"));
    }
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if length > max {
        return Err(Status::resource_exhausted(format!(
            "the message has {length} bytes, at most {max} are allowed (grpc.max_message_bytes)"
        )));
    }
    Ok(length)
}

fn incomplete() -> Status {
    Status::invalid_argument("the call ended before its message")
}

/// Fills in the prefix of a buffer that holds room for it and a message.
pub(super) fn finish(buffer: &mut [u8]) {
    let length = u32::try_from(buffer.len() - PREFIX).unwrap_or(u32::MAX);
    buffer[1..PREFIX].copy_from_slice(&length.to_be_bytes());
}
