//! Reads `StreamAccessLogsMessage` without copying. As with questions, texts are bytes: clients decide what stands in
//! them, and one that is no UTF-8 must not cost a gateway its log.

use crate::authz::attributes::Attributes;
use crate::core::clock::Micros;
use crate::wire::{Malformed, Reader, Value, pair};

/// A part of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// The name of the log, which comes first.
    Name(&'a [u8]),
    /// A request.
    Http(&'a [u8]),
    /// A connection.
    Tcp,
}

/// The parts of a message, in their order.
#[derive(Debug)]
pub struct Parts<'a> {
    fields: Reader<'a>,
    /// What the fields stand in that are read now.
    within: Option<(u32, Reader<'a>)>,
}

impl<'a> Parts<'a> {
    /// Of one message.
    #[must_use]
    pub const fn of(message: &'a [u8]) -> Self {
        Self { fields: Reader::new(message), within: None }
    }

    /// The next one; `None` at the end.
    ///
    /// # Errors
    /// When the bytes are no message.
    pub fn next_part(&mut self) -> Result<Option<Part<'a>>, Malformed> {
        loop {
            if let Some((kind, fields)) = &mut self.within {
                match (*kind, fields.field()?) {
                    (_, None) => self.within = None,
                    (1, Some((2, Value::Bytes(name)))) => return Ok(Some(Part::Name(name))),
                    (2, Some((1, Value::Bytes(entry)))) => return Ok(Some(Part::Http(entry))),
                    (3, Some((1, Value::Bytes(_)))) => return Ok(Some(Part::Tcp)),
                    _ => {}
                }
                continue;
            }
            match self.fields.field()? {
                None => return Ok(None),
                Some((kind @ 1..=3, Value::Bytes(message))) => self.within = Some((kind, Reader::new(message))),
                Some(_) => {}
            }
        }
    }
}

/// A request, as Envoy logs it.
#[derive(Clone, Debug, Default)]
pub struct Entry<'a> {
    /// Who asked, and for what. The path is that before it was rewritten.
    pub attributes: Attributes<'a>,
    /// The user agent.
    pub user_agent: &'a [u8],
    /// When it came, since the Unix epoch.
    pub start: Option<Micros>,
    /// How long it took.
    pub duration: Option<Micros>,
    /// The status of the response; `None` when there was none.
    pub status: Option<u16>,
    /// The size of the response's body.
    pub bytes: u64,
    /// A limit turned it away.
    pub rate_limited: bool,
    /// External authorization turned it away.
    pub unauthorized: bool,
    /// It goes on; another entry will tell how it ended.
    pub intermediate: bool,
}

/// Reads an `HTTPAccessLogEntry`.
///
/// # Errors
/// When the bytes are no message.
pub fn entry(message: &[u8]) -> Result<Entry<'_>, Malformed> {
    let mut entry = Entry::default();
    let mut fields = Reader::new(message);
    while let Some(field) = fields.field()? {
        match field {
            (1, Value::Bytes(message)) => common(message, &mut entry)?,
            (3, Value::Bytes(message)) => request(message, &mut entry)?,
            (4, Value::Bytes(message)) => response(message, &mut entry)?,
            _ => {}
        }
    }
    Ok(entry)
}

/// `AccessLogCommon`.
fn common<'a>(message: &'a [u8], entry: &mut Entry<'a>) -> Result<(), Malformed> {
    /// `DownstreamEnd` of `AccessLogType`; older Envoys tell no type.
    const ENDS: [u64; 2] = [0, 6];
    let mut until_last_byte = None;
    let mut fields = Reader::new(message);
    while let Some(field) = fields.field()? {
        match field {
            (2, Value::Bytes(message)) => entry.attributes.peer_address = address(message)?,
            (5, Value::Bytes(message)) => entry.start = time(message)?,
            (12, Value::Bytes(message)) => until_last_byte = time(message)?,
            (16, Value::Bytes(message)) => flags(message, entry)?,
            (17, Value::Bytes(message)) => metadata(message, entry)?,
            (23, Value::Bytes(message)) => entry.duration = time(message)?,
            (27, Value::Number(truth)) => entry.intermediate |= truth != 0,
            (33, Value::Number(kind)) => entry.intermediate |= !ENDS.contains(&kind),
            _ => {}
        }
    }
    entry.duration = entry.duration.or(until_last_byte);
    Ok(())
}

/// `ResponseFlags`.
fn flags(message: &[u8], entry: &mut Entry<'_>) -> Result<(), Malformed> {
    let mut fields = Reader::new(message);
    while let Some(field) = fields.field()? {
        match field {
            (12, Value::Number(truth)) => entry.rate_limited = truth != 0,
            (13, Value::Bytes(_)) => entry.unauthorized = true,
            _ => {}
        }
    }
    Ok(())
}

/// `HTTPRequestProperties`.
fn request<'a>(message: &'a [u8], entry: &mut Entry<'a>) -> Result<(), Malformed> {
    let attributes = &mut entry.attributes;
    let mut original_path: &[u8] = b"";
    let mut fields = Reader::new(message);
    while let Some(field) = fields.field()? {
        match field {
            (1, Value::Number(number)) => attributes.method = method(number),
            (5, Value::Bytes(path)) => attributes.path = path,
            (6, Value::Bytes(agent)) => entry.user_agent = agent,
            (8, Value::Bytes(addresses)) => attributes.headers.push((b"x-forwarded-for", addresses)),
            (10, Value::Bytes(path)) => original_path = path,
            (13, Value::Bytes(header)) => {
                let (name, value) = pair(header)?;
                // It has a field of its own.
                if name != b"x-forwarded-for" {
                    attributes.headers.push((name, value));
                }
            }
            _ => {}
        }
    }
    if !original_path.is_empty() {
        attributes.path = original_path;
    }
    Ok(())
}

/// `HTTPResponseProperties`.
fn response(message: &[u8], entry: &mut Entry<'_>) -> Result<(), Malformed> {
    let mut fields = Reader::new(message);
    while let Some(field) = fields.field()? {
        match field {
            (1, Value::Bytes(wrapped)) => {
                let mut fields = Reader::new(wrapped);
                while let Some(field) = fields.field()? {
                    if let (1, Value::Number(code)) = field {
                        // 0 is told of a client that went before there was an answer.
                        entry.status = u16::try_from(code).ok().filter(|code| (100..1000).contains(code));
                    }
                }
            }
            (3, Value::Number(bytes)) => entry.bytes = bytes,
            _ => {}
        }
    }
    Ok(())
}

/// `config.core.v3.RequestMethod`.
const fn method(number: u64) -> &'static [u8] {
    match number {
        1 => b"GET",
        2 => b"HEAD",
        3 => b"POST",
        4 => b"PUT",
        5 => b"DELETE",
        6 => b"CONNECT",
        7 => b"OPTIONS",
        8 => b"TRACE",
        9 => b"PATCH",
        _ => b"",
    }
}

/// The text of an `Address` that is a socket's; a pipe is no client's.
fn address(message: &[u8]) -> Result<&[u8], Malformed> {
    let mut text: &[u8] = b"";
    let mut fields = Reader::new(message);
    while let Some(field) = fields.field()? {
        if let (1, Value::Bytes(socket)) = field {
            let mut fields = Reader::new(socket);
            while let Some(field) = fields.field()? {
                if let (2, Value::Bytes(address)) = field {
                    text = address;
                }
            }
        }
    }
    Ok(text)
}

/// A `Timestamp` or a `Duration`; `None` when it is negative or beyond all bounds.
fn time(message: &[u8]) -> Result<Option<Micros>, Malformed> {
    let (mut seconds, mut nanos) = (0, 0);
    let mut fields = Reader::new(message);
    while let Some(field) = fields.field()? {
        match field {
            (1, Value::Number(number)) => seconds = number,
            (2, Value::Number(number)) => nanos = number,
            _ => {}
        }
    }
    let whole = seconds.checked_mul(1_000_000).filter(|_| nanos < 1_000_000_000);
    Ok(whole.and_then(|whole| whole.checked_add(nanos / 1_000)).map(Micros))
}

/// The structs of `Metadata`, by their namespaces.
fn metadata<'a>(message: &'a [u8], entry: &mut Entry<'a>) -> Result<(), Malformed> {
    let mut fields = Reader::new(message);
    while let Some(field) = fields.field()? {
        if let (1, Value::Bytes(namespace)) = field {
            entry.attributes.metadata.push(pair(namespace)?);
        }
    }
    Ok(())
}
