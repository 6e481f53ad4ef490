use envoy_types::pb::envoy::data::accesslog::v3::{AccessLogCommon, HttpAccessLogEntry};
use envoy_types::pb::google::protobuf::{Duration, Timestamp};
use proptest::prelude::*;
use prost::Message as _;

use super::message::{Part, Parts, entry};
use crate::core::clock::Micros;

/// A field of a message.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
    field.extend_from_slice(bytes);
    field
}

#[test]
fn parts_come_in_their_order() {
    let name = field(1, &field(2, b"edge"));
    let http = field(2, &[field(1, b"a"), field(9, b"unknown"), field(1, b"")].concat());
    let tcp = field(3, &field(1, b"c"));
    let message = [name, http, field(7, b"unknown"), tcp].concat();
    let mut parts = Parts::of(&message);
    let mut read = Vec::new();
    while let Some(part) = parts.next_part().unwrap() {
        read.push(part);
    }
    assert_eq!(read, [Part::Name(b"edge"), Part::Http(b"a"), Part::Http(b""), Part::Tcp]);
    let mut cut = Parts::of(&message[..message.len() - 1]);
    assert!((0..4).any(|_| cut.next_part().is_err()));
}

#[test]
fn times_out_of_range_are_not_known() {
    let start = |seconds, nanos| {
        let common = AccessLogCommon {
            start_time: Some(Timestamp { seconds, nanos }),
            time_to_last_downstream_tx_byte: Some(Duration { seconds: 2, nanos: 0 }),
            ..AccessLogCommon::default()
        };
        let message = HttpAccessLogEntry { common_properties: Some(common), ..HttpAccessLogEntry::default() };
        let bytes = message.encode_to_vec();
        let entry = entry(&bytes).unwrap();
        assert_eq!(entry.duration, Some(Micros::from_secs(2)), "older Envoys tell no duration");
        entry.start
    };
    assert_eq!(start(1, 2_999), Some(Micros(1_000_002)));
    assert_eq!(start(0, 0), Some(Micros::ZERO));
    for (seconds, nanos) in [(-1, 0), (i64::MAX, 0), (1, 1_000_000_000), (1, -1)] {
        assert_eq!(start(seconds, nanos), None, "{seconds} {nanos}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = entry(&bytes);
        let mut parts = Parts::of(&bytes);
        let read = (0..=bytes.len()).find(|_| !matches!(parts.next_part(), Ok(Some(_))));
        prop_assert!(read.is_some());
    }
}
