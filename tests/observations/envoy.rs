//! What an Envoy sends.

use envoy_types::pb::envoy::config::core::v3::address::Address as AnyAddress;
use envoy_types::pb::envoy::config::core::v3::{Address, Metadata, SocketAddress};
use envoy_types::pb::envoy::data::accesslog::v3::response_flags::Unauthorized;
use envoy_types::pb::envoy::data::accesslog::v3::{
    AccessLogCommon, HttpAccessLogEntry, HttpRequestProperties, HttpResponseProperties, ResponseFlags,
};
use envoy_types::pb::envoy::service::accesslog::v3::StreamAccessLogsResponse;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Duration, Struct, Timestamp, UInt32Value, Value};
use http::uri::PathAndQuery;
use prost::Message;
use tidegate::server::access_log::STREAM_ACCESS_LOGS;
use tokio_stream::Stream;
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

/// `StreamAccessLogsMessage`, with entries as any bytes.
#[derive(Clone, PartialEq, Message)]
pub struct Batch {
    #[prost(message, optional, tag = "1")]
    pub identifier: Option<Identifier>,
    #[prost(message, optional, tag = "2")]
    pub http: Option<Entries>,
    #[prost(message, optional, tag = "3")]
    pub tcp: Option<Entries>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Identifier {
    #[prost(string, tag = "2")]
    pub log_name: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Entries {
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub log_entry: Vec<Vec<u8>>,
}

/// The first message of a stream, or a further one.
pub fn batch(log_name: Option<&str>, entries: Vec<Vec<u8>>) -> Batch {
    let identifier = log_name.map(|name| Identifier { log_name: name.to_owned() });
    Batch { identifier, http: Some(Entries { log_entry: entries }), tcp: None }
}

pub async fn send(
    channel: Channel,
    messages: impl Stream<Item = Batch> + Send + 'static,
) -> Result<Response<StreamAccessLogsResponse>, Status> {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.expect("a connection");
    let path = PathAndQuery::from_static(STREAM_ACCESS_LOGS);
    grpc.client_streaming(Request::new(messages), path, ProstCodec::<Batch, StreamAccessLogsResponse>::default()).await
}

/// A request that has ended, at a time in microseconds.
pub fn entry(at: u64, status: u32) -> HttpAccessLogEntry {
    let seconds = i64::try_from(at / 1_000_000).unwrap();
    let nanos = i32::try_from(at % 1_000_000).unwrap() * 1_000;
    let socket = SocketAddress { address: "192.0.2.7".to_owned(), ..SocketAddress::default() };
    HttpAccessLogEntry {
        common_properties: Some(AccessLogCommon {
            downstream_remote_address: Some(Address { address: Some(AnyAddress::SocketAddress(socket)) }),
            start_time: Some(Timestamp { seconds, nanos }),
            duration: Some(Duration { seconds: 0, nanos: 1_500_000 }),
            ..AccessLogCommon::default()
        }),
        request: Some(HttpRequestProperties {
            request_method: 3,
            path: "/rewritten".to_owned(),
            original_path: "/a//b/../c?secret=1".to_owned(),
            user_agent: "probe/1".to_owned(),
            ..HttpRequestProperties::default()
        }),
        response: Some(HttpResponseProperties {
            response_code: Some(UInt32Value { value: status }),
            response_body_bytes: 77,
            ..HttpResponseProperties::default()
        }),
        ..HttpAccessLogEntry::default()
    }
}

pub fn common(entry: &mut HttpAccessLogEntry) -> &mut AccessLogCommon {
    entry.common_properties.as_mut().unwrap()
}

/// What filters left, by namespace.
pub fn left(entry: &mut HttpAccessLogEntry, namespace: &str, structure: Struct) {
    let metadata = common(entry).metadata.get_or_insert_with(Metadata::default);
    metadata.filter_metadata.insert(namespace.to_owned(), structure);
}

pub fn texts(pairs: &[(&str, &str)]) -> Struct {
    let text = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
    Struct { fields: pairs.iter().map(|(key, value)| ((*key).to_owned(), text(value))).collect() }
}

pub fn below(key: &str, structure: Struct) -> Struct {
    Struct { fields: [(key.to_owned(), Value { kind: Some(Kind::StructValue(structure)) })].into() }
}

pub fn flags(rate_limited: bool, unauthorized: bool) -> Option<ResponseFlags> {
    let unauthorized_details = unauthorized.then(Unauthorized::default);
    Some(ResponseFlags { rate_limited, unauthorized_details, ..ResponseFlags::default() })
}
