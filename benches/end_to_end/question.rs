//! What the servers are asked.

use std::collections::HashMap;

use envoy_types::pb::envoy::config::core::v3::address::Address as AnyAddress;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{Address, Metadata, SocketAddress};
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Peer, Request};
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest};
use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitRequest;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Struct, Timestamp, Value};
use prost::Message as _;

/// A question by one of the protocols.
#[derive(Clone, Copy, Debug)]
pub enum Question {
    /// Two descriptors of the rules that every scenario has, in this domain.
    TwoOfMany(&'static str),
    /// So many descriptors (1 or 2) of the domain `bench`, each a key of its own, for one client.
    Limits(usize),
    /// All that Envoy tells of a request of one user.
    Check,
}

impl Question {
    /// Where it is asked.
    pub const fn path(self) -> &'static str {
        match self {
            Self::TwoOfMany(_) | Self::Limits(_) => "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit",
            Self::Check => "/envoy.service.auth.v3.Authorization/Check",
        }
    }

    /// The message in gRPC's frame; `client` stands in it.
    pub fn framed(self, client: &str) -> Vec<u8> {
        let message = match self {
            Self::TwoOfMany(domain) => two_of_many(domain).encode_to_vec(),
            Self::Limits(descriptors) => limits(descriptors, client).encode_to_vec(),
            Self::Check => check(client).encode_to_vec(),
        };
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        [&[0], &length[..], &message].concat()
    }
}

fn descriptor(entries: &[(&str, &str)]) -> RateLimitDescriptor {
    RateLimitDescriptor {
        entries: entries.iter().map(|(key, value)| Entry { key: (*key).into(), value: (*value).into() }).collect(),
        ..RateLimitDescriptor::default()
    }
}

fn two_of_many(domain: &str) -> RateLimitRequest {
    RateLimitRequest {
        domain: domain.into(),
        descriptors: vec![
            descriptor(&[("user_id", "customer-77")]),
            descriptor(&[("user_id", "customer-123"), ("method", "GET"), ("path", "/api/v1/items/17")]),
        ],
        hits_addend: 1,
    }
}

fn limits(descriptors: usize, client: &str) -> RateLimitRequest {
    let client = format!("customer-{client}");
    RateLimitRequest {
        domain: "bench".into(),
        descriptors: ["user_id", "tenant"][..descriptors].iter().map(|key| descriptor(&[(key, &client)])).collect(),
        hits_addend: 1,
    }
}

/// A browser's request through Envoy, with a verified token: 15 headers, Envoy's own among them.
fn check(client: &str) -> CheckRequest {
    const HEADERS: [(&str, &str); 15] = [
        (":authority", "shop.example.com"),
        (":method", "GET"),
        (":path", "/api/v1/items/17?currency=EUR&expand=stock"),
        (":scheme", "https"),
        ("accept", "application/json, text/plain, */*"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("accept-language", "de-DE,de;q=0.9,en-GB;q=0.8,en;q=0.7"),
        ("cookie", "consent=all; theme=dark; session=0f5b1c6e7d2a4f3b9c8d"),
        ("referer", "https://shop.example.com/items"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        ("x-envoy-external-address", "203.0.113.77"),
        ("x-forwarded-for", "203.0.113.77"),
        ("x-forwarded-proto", "https"),
        ("x-request-id", "7b1f3a52-91a4-4d7e-a7f5-3a2a0f1f9f5c"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"),
    ];
    let peer = |address: &str, port| {
        let port_specifier = Some(PortSpecifier::PortValue(port));
        let socket = SocketAddress { address: address.into(), port_specifier, ..SocketAddress::default() };
        Peer { address: Some(Address { address: Some(AnyAddress::SocketAddress(socket)) }), ..Peer::default() }
    };
    let text = |text: &str| Value { kind: Some(Kind::StringValue(text.into())) };
    let claims = Struct {
        fields: HashMap::from([
            ("iss".into(), text("https://accounts.example.com")),
            ("sub".into(), text(&format!("customer-{client}"))),
            ("plan".into(), text("gold")),
            ("exp".into(), Value { kind: Some(Kind::NumberValue(1_900_000_000.0)) }),
        ]),
    };
    let payload = Value { kind: Some(Kind::StructValue(claims)) };
    let namespace = Struct { fields: HashMap::from([("jwt_payload".into(), payload)]) };
    let http = HttpRequest {
        id: "13283913246379474183".into(),
        method: "GET".into(),
        headers: HEADERS.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
        path: "/api/v1/items/17?currency=EUR&expand=stock".into(),
        host: "shop.example.com".into(),
        scheme: "https".into(),
        protocol: "HTTP/2".into(),
        ..HttpRequest::default()
    };
    CheckRequest {
        attributes: Some(AttributeContext {
            source: Some(peer("203.0.113.77", 51_344)),
            destination: Some(peer("10.0.3.17", 8443)),
            request: Some(Request { time: Some(Timestamp { seconds: 1_800_000_000, nanos: 1 }), http: Some(http) }),
            metadata_context: Some(Metadata {
                filter_metadata: HashMap::from([("envoy.filters.http.jwt_authn".into(), namespace)]),
                ..Metadata::default()
            }),
            ..AttributeContext::default()
        }),
    }
}
