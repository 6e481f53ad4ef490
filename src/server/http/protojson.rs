//! `RateLimitResponse` in protobuf's JSON: `lowerCamelCase`, enums by name, empty fields left out.

use envoy_types::pb::envoy::config::core::v3::HeaderValue;
use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitResponse;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::rate_limit::Unit;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::{Code, DescriptorStatus, RateLimit};
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Duration, Struct, Value as ProtoValue};
use serde_json::{Map, Value, json};

/// The message as JSON.
pub fn response(message: &RateLimitResponse) -> Value {
    let mut json = Map::new();
    put(&mut json, "overallCode", code(message.overall_code));
    put(&mut json, "statuses", list(&message.statuses, status));
    put(&mut json, "responseHeadersToAdd", list(&message.response_headers_to_add, header));
    put(&mut json, "requestHeadersToAdd", list(&message.request_headers_to_add, header));
    put(&mut json, "rawBody", base64(&message.raw_body).into());
    put(&mut json, "dynamicMetadata", message.dynamic_metadata.as_ref().map(structure).into());
    Value::Object(json)
}

/// Leaves out what protobuf's JSON leaves out: absent messages, empty lists and texts, zeros.
fn put(json: &mut Map<String, Value>, name: &str, value: Value) {
    let empty = match &value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Number(number) => number.as_u64() == Some(0),
        _ => false,
    };
    if !empty {
        json.insert(name.to_owned(), value);
    }
}

fn list<T>(items: &[T], one: impl Fn(&T) -> Value) -> Value {
    items.iter().map(one).collect()
}

fn code(number: i32) -> Value {
    match Code::try_from(number) {
        Ok(code) => code.as_str_name().into(),
        Err(_) => number.into(),
    }
}

fn status(status: &DescriptorStatus) -> Value {
    let mut json = Map::new();
    put(&mut json, "code", code(status.code));
    put(&mut json, "currentLimit", status.current_limit.as_ref().map(limit).into());
    put(&mut json, "limitRemaining", status.limit_remaining.into());
    put(&mut json, "durationUntilReset", status.duration_until_reset.as_ref().map(duration).into());
    Value::Object(json)
}

fn limit(limit: &RateLimit) -> Value {
    let mut json = Map::new();
    put(&mut json, "name", limit.name.as_str().into());
    put(&mut json, "requestsPerUnit", limit.requests_per_unit.into());
    match Unit::try_from(limit.unit) {
        Ok(Unit::Unknown) => {}
        Ok(unit) => put(&mut json, "unit", unit.as_str_name().into()),
        Err(_) => put(&mut json, "unit", limit.unit.into()),
    }
    Value::Object(json)
}

fn header(header: &HeaderValue) -> Value {
    let mut json = Map::new();
    put(&mut json, "key", header.key.as_str().into());
    put(&mut json, "value", header.value.as_str().into());
    put(&mut json, "rawValue", base64(&header.raw_value).into());
    Value::Object(json)
}

/// Seconds with 0, 3, 6 or 9 decimals and an `s`.
fn duration(duration: &Duration) -> String {
    let (seconds, nanos) = (duration.seconds, duration.nanos);
    match nanos {
        0 => format!("{seconds}s"),
        nanos if nanos % 1_000_000 == 0 => format!("{seconds}.{:03}s", nanos / 1_000_000),
        nanos if nanos % 1_000 == 0 => format!("{seconds}.{:06}s", nanos / 1_000),
        nanos => format!("{seconds}.{nanos:09}s"),
    }
}

fn structure(message: &Struct) -> Value {
    let mut fields: Vec<_> = message.fields.iter().collect();
    fields.sort_unstable_by_key(|(name, _)| name.as_str());
    Value::Object(fields.into_iter().map(|(name, value)| (name.clone(), any(value))).collect())
}

fn any(value: &ProtoValue) -> Value {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        // Counts stay whole numbers in the text, as other writers of protobuf's JSON have it.
        #[allow(clippy::cast_possible_truncation)]
        Some(Kind::NumberValue(number)) if number.fract() == 0.0 && number.abs() < 9e15 => json!(*number as i64),
        Some(Kind::NumberValue(number)) => json!(number),
        Some(Kind::StringValue(text)) => text.as_str().into(),
        Some(Kind::BoolValue(flag)) => (*flag).into(),
        Some(Kind::StructValue(message)) => structure(message),
        Some(Kind::ListValue(items)) => list(&items.values, any),
    }
}

/// RFC 4648's base64 with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().enumerate().fold(0u32, |bits, (i, byte)| bits | u32::from(*byte) << (16 - 8 * i));
        for digit in 0..4 {
            match digit <= group.len() {
                true => text.push(DIGITS[(bits >> (18 - 6 * digit)) as usize & 63] as char),
                false => text.push('='),
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_reads_as_envoyproxy_ratelimit_writes_it() {
        let message = RateLimitResponse {
            overall_code: Code::OverLimit.into(),
            statuses: vec![
                DescriptorStatus {
                    code: Code::OverLimit.into(),
                    current_limit: Some(RateLimit {
                        name: "n".to_owned(),
                        requests_per_unit: 5,
                        unit: Unit::Minute.into(),
                    }),
                    duration_until_reset: Some(Duration { seconds: 37, nanos: 0 }),
                    ..DescriptorStatus::default()
                },
                DescriptorStatus { code: Code::Ok.into(), limit_remaining: 4_294_967_295, ..Default::default() },
            ],
            response_headers_to_add: vec![HeaderValue {
                key: "k".to_owned(),
                value: "v".to_owned(),
                ..HeaderValue::default()
            }],
            raw_body: b"no".to_vec(),
            ..RateLimitResponse::default()
        };
        assert_eq!(
            response(&message),
            json!({
                "overallCode": "OVER_LIMIT",
                "statuses": [
                    {
                        "code": "OVER_LIMIT",
                        "currentLimit": { "name": "n", "requestsPerUnit": 5, "unit": "MINUTE" },
                        "durationUntilReset": "37s"
                    },
                    { "code": "OK", "limitRemaining": 4_294_967_295_u32 }
                ],
                "responseHeadersToAdd": [{ "key": "k", "value": "v" }],
                "rawBody": "bm8="
            })
        );
    }

    #[test]
    fn durations_have_as_many_decimals_as_they_need() {
        let text = |seconds, nanos| duration(&Duration { seconds, nanos });
        assert_eq!(text(1, 500_000_000), "1.500s");
        assert_eq!(text(0, 1_000), "0.000001s");
        assert_eq!(text(2, 1), "2.000000001s");
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        // RFC 4648, section 10.
        for (plain, encoded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }
}
