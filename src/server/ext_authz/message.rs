//! Reads a `CheckRequest` without copying.
//!
//! Wire compatible with `envoy.service.auth.v3.CheckRequest`, with one difference: texts are bytes. A client decides
//! what stands in most of them, and Envoy may be told to let a request pass when its authorization fails, so whatever is
//! a message at all is decided.
//!
//! For the same reason every header is kept, however many there are: were there a bound, a client could push the header
//! that identifies it beyond it. What bounds them is what Envoy takes from a client (100 headers and 60 KiB by
//! default), and `grpc.max_message_bytes`.

use smallvec::SmallVec;

use crate::authz::attributes::Attributes;
use crate::wire::{Malformed, Reader, Value, pair};

type Pairs<'a, const N: usize> = SmallVec<[(&'a [u8], &'a [u8]); N]>;

/// Reads what Envoy tells of a request; it borrows from `message`. A message that comes in several pieces is merged, as
/// Protocol Buffers want it; of a key that a map holds twice both entries are kept, in their order.
///
/// # Errors
/// [`Malformed`] when the bytes are no message.
pub fn decode(message: &[u8]) -> Result<Attributes<'_>, Malformed> {
    let mut attributes = Attributes::default();
    let mut of_route = Pairs::new();
    let mut fields = Reader::new(message);
    while let Some(field) = fields.field()? {
        if let (1, Value::Bytes(context)) = field {
            attribute_context(context, &mut attributes, &mut of_route)?;
        }
    }
    // After the request's own, which goes before it where both have a namespace.
    attributes.metadata.extend(of_route);
    Ok(attributes)
}

/// `AttributeContext`. What it tells of the destination is not read.
fn attribute_context<'a>(
    message: &'a [u8],
    attributes: &mut Attributes<'a>,
    of_route: &mut Pairs<'a, 4>,
) -> Result<(), Malformed> {
    let mut fields = Reader::new(message);
    while let Some(field) = fields.field()? {
        match field {
            (1, Value::Bytes(peer)) => source(peer, attributes)?,
            (4, Value::Bytes(message)) => request(message, attributes)?,
            (10, Value::Bytes(entry)) => attributes.context.push(pair(entry)?),
            (11, Value::Bytes(message)) => metadata(message, &mut attributes.metadata)?,
            (12, Value::Bytes(session)) => tls_session(session, attributes)?,
            (13, Value::Bytes(message)) => metadata(message, of_route)?,
            _ => {}
        }
    }
    Ok(())
}

/// `AttributeContext.Peer`.
fn source<'a>(message: &'a [u8], attributes: &mut Attributes<'a>) -> Result<(), Malformed> {
    let mut fields = Reader::new(message);
    while let Some(field) = fields.field()? {
        match field {
            (1, Value::Bytes(message)) => address(message, &mut attributes.peer_address)?,
            (4, Value::Bytes(principal)) => attributes.peer_principal = principal,
            (5, Value::Bytes(certificate)) => attributes.peer_certificate = certificate,
            _ => {}
        }
    }
    Ok(())
}

/// `config.core.v3.Address`: one of a socket's address, and a pipe or an address inside Envoy, which are no client's.
fn address<'a>(message: &'a [u8], text: &mut &'a [u8]) -> Result<(), Malformed> {
    let mut fields = Reader::new(message);
    while let Some(field) = fields.field()? {
        match field {
            (1, Value::Bytes(socket)) => {
                let mut fields = Reader::new(socket);
                while let Some(field) = fields.field()? {
                    if let (2, Value::Bytes(address)) = field {
                        *text = address;
                    }
                }
            }
            (2 | 3, Value::Bytes(_)) => *text = b"",
            _ => {}
        }
    }
    Ok(())
}

/// `AttributeContext.Request`.
fn request<'a>(message: &'a [u8], attributes: &mut Attributes<'a>) -> Result<(), Malformed> {
    let mut fields = Reader::new(message);
    while let Some(field) = fields.field()? {
        if let (2, Value::Bytes(message)) = field {
            // A number that is 0 is left out.
            attributes.size.get_or_insert(0);
            http_request(message, attributes)?;
        }
    }
    Ok(())
}

/// `AttributeContext.HttpRequest`. Its body is not read.
fn http_request<'a>(message: &'a [u8], attributes: &mut Attributes<'a>) -> Result<(), Malformed> {
    let mut fields = Reader::new(message);
    while let Some(field) = fields.field()? {
        match field {
            (2, Value::Bytes(method)) => attributes.method = method,
            (3, Value::Bytes(entry)) => attributes.headers.push(pair(entry)?),
            (4, Value::Bytes(path)) => attributes.path = path,
            (5, Value::Bytes(host)) => attributes.host = host,
            (6, Value::Bytes(scheme)) => attributes.scheme = scheme,
            // -1 when it is not known.
            (9, Value::Number(size)) => attributes.size = Some(size).filter(|size| size.cast_signed() >= 0),
            (10, Value::Bytes(protocol)) => attributes.protocol = protocol,
            (13, Value::Bytes(headers)) => header_map(headers, attributes)?,
            _ => {}
        }
    }
    Ok(())
}

/// `config.core.v3.HeaderMap`, where Envoy sends headers as they are (`encode_raw_headers`).
fn header_map<'a>(message: &'a [u8], attributes: &mut Attributes<'a>) -> Result<(), Malformed> {
    let mut fields = Reader::new(message);
    while let Some(field) = fields.field()? {
        if let (1, Value::Bytes(header)) = field {
            attributes.headers.push(header_value(header)?);
        }
    }
    Ok(())
}

/// `config.core.v3.HeaderValue`.
fn header_value(message: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let (mut key, mut value, mut raw): (&[u8], &[u8], &[u8]) = (b"", b"", b"");
    let mut fields = Reader::new(message);
    while let Some(field) = fields.field()? {
        match field {
            (1, Value::Bytes(bytes)) => key = bytes,
            (2, Value::Bytes(bytes)) => value = bytes,
            (3, Value::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    Ok((key, if raw.is_empty() { value } else { raw }))
}

/// `AttributeContext.TLSSession`.
fn tls_session<'a>(message: &'a [u8], attributes: &mut Attributes<'a>) -> Result<(), Malformed> {
    let mut fields = Reader::new(message);
    while let Some(field) = fields.field()? {
        if let (1, Value::Bytes(sni)) = field {
            attributes.sni = sni;
        }
    }
    Ok(())
}

/// `config.core.v3.Metadata`: its structs by namespace. Typed metadata is not read.
fn metadata<'a>(message: &'a [u8], into: &mut Pairs<'a, 4>) -> Result<(), Malformed> {
    let mut fields = Reader::new(message);
    while let Some(field) = fields.field()? {
        if let (1, Value::Bytes(entry)) = field {
            into.push(pair(entry)?);
        }
    }
    Ok(())
}
