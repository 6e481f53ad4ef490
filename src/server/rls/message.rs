//! Reads a `RateLimitRequest` without copying.
//!
//! Wire compatible with `envoy.service.ratelimit.v3.RateLimitRequest`, with one difference: domain, keys and values
//! are bytes. A client decides what stands in a descriptor's value, and Envoy lets a request pass when its limiter
//! refuses to answer, so invalid UTF-8 is decided like anything else.

use crate::core::descriptor::{Descriptor, Entry, LimitOverride, Request};
use crate::core::limit::Unit;
use crate::wire::{Malformed, Reader, Value};

/// The most entries in one descriptor. Envoy builds one per configured action.
pub const MAX_ENTRIES: usize = 100;

/// Why a message is no request that could be decided.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Not Protocol Buffers.
    #[error("the message is no RateLimitRequest: {0}")]
    Malformed(#[from] Malformed),
    /// More descriptors than the limiter takes.
    #[error("descriptors: {got} in one request, at most {max} are allowed")]
    TooManyDescriptors {
        /// How many came.
        got: usize,
        /// How many may.
        max: usize,
    },
    /// More than [`MAX_ENTRIES`].
    #[error("descriptors[{descriptor}].entries: {got} in one descriptor, at most {MAX_ENTRIES} are allowed")]
    TooManyEntries {
        /// Position of the descriptor.
        descriptor: usize,
        /// How many came.
        got: usize,
    },
    /// An override's unit that is unknown, or none.
    #[error(
        "descriptors[{descriptor}].limit.unit: {unit} is no unit; use 1 (SECOND), 2 (MINUTE), 3 (HOUR), 4 (DAY), \
         5 (MONTH), 6 (YEAR) or 7 (WEEK)"
    )]
    Unit {
        /// Position of the descriptor.
        descriptor: usize,
        /// What stood there.
        unit: i32,
    },
}

/// Reads a request with at most `max_descriptors`; it borrows from `message`.
///
/// # Errors
/// [`RequestError`] when it cannot be decided.
pub fn decode(message: &[u8], max_descriptors: usize) -> Result<Request<'_>, RequestError> {
    let mut request = Request::default();
    let mut fields = Reader::new(message);
    let mut got = 0;
    while let Some(field) = fields.field()? {
        match field {
            (1, Value::Bytes(domain)) => request.domain = domain,
            (2, Value::Bytes(descriptor)) => {
                // Those beyond the bound are only counted, for the message.
                if got < max_descriptors {
                    request.descriptors.push(self::descriptor(descriptor, got)?);
                }
                got += 1;
            }
            (3, Value::Number(hits)) => request.hits_addend = hits as u32,
            _ => {}
        }
    }
    if got > max_descriptors {
        return Err(RequestError::TooManyDescriptors { got, max: max_descriptors });
    }
    Ok(request)
}

fn descriptor(message: &[u8], position: usize) -> Result<Descriptor<'_>, RequestError> {
    let mut descriptor = Descriptor::default();
    let mut limit: Option<(u32, i32)> = None;
    let mut fields = Reader::new(message);
    let mut got = 0;
    while let Some(field) = fields.field()? {
        match field {
            (1, Value::Bytes(entry)) => {
                if got < MAX_ENTRIES {
                    descriptor.entries.push(self::entry(entry)?);
                }
                got += 1;
            }
            (2, Value::Bytes(message)) => limit = Some(override_parts(message, limit.unwrap_or_default())?),
            (3, Value::Bytes(message)) => {
                let hits = descriptor.hits_addend.unwrap_or(0);
                descriptor.hits_addend = Some(wrapped_number(message, hits)?);
            }
            (4, Value::Number(negative)) => descriptor.is_negative_hits = negative != 0,
            _ => {}
        }
    }
    if got > MAX_ENTRIES {
        return Err(RequestError::TooManyEntries { descriptor: position, got });
    }
    if let Some((requests_per_unit, number)) = limit {
        let unit = unit(number).ok_or(RequestError::Unit { descriptor: position, unit: number })?;
        descriptor.limit = Some(LimitOverride { requests_per_unit, unit });
    }
    Ok(descriptor)
}

fn entry(message: &[u8]) -> Result<Entry<'_>, Malformed> {
    let mut entry = Entry { key: &[], value: &[] };
    let mut fields = Reader::new(message);
    while let Some(field) = fields.field()? {
        match field {
            (1, Value::Bytes(key)) => entry.key = key,
            (2, Value::Bytes(value)) => entry.value = value,
            _ => {}
        }
    }
    Ok(entry)
}

/// Requests per unit, and the unit. A message that comes in several pieces is merged, as Protocol Buffers want it.
fn override_parts(message: &[u8], mut parts: (u32, i32)) -> Result<(u32, i32), Malformed> {
    let mut fields = Reader::new(message);
    while let Some(field) = fields.field()? {
        match field {
            (1, Value::Number(requests)) => parts.0 = requests as u32,
            (2, Value::Number(unit)) => parts.1 = unit as i32,
            _ => {}
        }
    }
    Ok(parts)
}

/// A `google.protobuf.UInt64Value`.
fn wrapped_number(message: &[u8], mut number: u64) -> Result<u64, Malformed> {
    let mut fields = Reader::new(message);
    while let Some(field) = fields.field()? {
        if let (1, Value::Number(value)) = field {
            number = value;
        }
    }
    Ok(number)
}

/// The unit of a number in `envoy.type.v3.RateLimitUnit`, or in `RateLimitResponse.RateLimit.Unit` (WEEK).
const fn unit(number: i32) -> Option<Unit> {
    Some(match number {
        1 => Unit::Second,
        2 => Unit::Minute,
        3 => Unit::Hour,
        4 => Unit::Day,
        5 => Unit::Month,
        6 => Unit::Year,
        7 => Unit::Week,
        _ => return None,
    })
}

/// The number of a unit in `RateLimitResponse.RateLimit.Unit`; 0, UNKNOWN, for a window that has none.
#[must_use]
pub const fn unit_number(unit: Option<Unit>) -> u64 {
    match unit {
        None => 0,
        Some(Unit::Second) => 1,
        Some(Unit::Minute) => 2,
        Some(Unit::Hour) => 3,
        Some(Unit::Day) => 4,
        Some(Unit::Month) => 5,
        Some(Unit::Year) => 6,
        Some(Unit::Week) => 7,
    }
}
