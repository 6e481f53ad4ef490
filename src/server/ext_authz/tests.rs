//! Messages against those of `envoy-types`, field by field.

use std::collections::HashMap;

use envoy_types::pb::envoy::config::core::v3::address::Address as AnyAddress;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{
    Address, EnvoyInternalAddress, HeaderMap, HeaderValue, Metadata, Pipe, SocketAddress,
};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Peer, Request, TlsSession};
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest};
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Struct, Value};
use proptest::prelude::*;
use prost::Message;

use super::answer::Caller;
use super::message::decode;
use super::template::{Template, TemplateError};
use crate::authz::attributes::Attributes;
use crate::wire::Writer;

/// What a request means, in a form that two readers of it agree on: maps without an order.
#[derive(Debug, Default, PartialEq)]
struct Meaning {
    texts: [Vec<u8>; 9],
    size: Option<u64>,
    headers: HashMap<Vec<u8>, Vec<u8>>,
    /// Of raw headers, which are a list.
    listed: Vec<(Vec<u8>, Vec<u8>)>,
    context: HashMap<Vec<u8>, Vec<u8>>,
    metadata: HashMap<Vec<u8>, Struct>,
}

fn bytes(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

fn map(texts: &HashMap<String, String>) -> HashMap<Vec<u8>, Vec<u8>> {
    texts.iter().map(|(key, value)| (bytes(key), bytes(value))).collect()
}

/// By way of the generated message.
fn theirs(wire: &CheckRequest) -> Meaning {
    let mut meaning = Meaning::default();
    let Some(context) = &wire.attributes else { return meaning };
    let source = context.source.clone().unwrap_or_default();
    let address = match source.address.and_then(|address| address.address) {
        Some(AnyAddress::SocketAddress(socket)) => socket.address,
        _ => String::new(),
    };
    let http = context.request.as_ref().and_then(|request| request.http.clone());
    meaning.size = http.as_ref().and_then(|http| u64::try_from(http.size).ok());
    let http = http.unwrap_or_default();
    let sni = context.tls_session.clone().unwrap_or_default().sni;
    meaning.texts = [
        &http.method,
        &http.path,
        &http.host,
        &http.scheme,
        &http.protocol,
        &address,
        &source.principal,
        &source.certificate,
        &sni,
    ]
    .map(|text| bytes(text));
    meaning.headers = map(&http.headers);
    for header in http.header_map.unwrap_or_default().headers {
        let value = if header.raw_value.is_empty() { bytes(&header.value) } else { header.raw_value };
        meaning.listed.push((bytes(&header.key), value));
    }
    meaning.context = map(&context.context_extensions);
    for metadata in [&context.route_metadata_context, &context.metadata_context].into_iter().flatten() {
        let structs = metadata.filter_metadata.iter();
        meaning.metadata.extend(structs.map(|(name, fields)| (bytes(name), fields.clone())));
    }
    meaning
}

/// Ours; `listed` of the headers, the last, came as a list.
fn ours(attributes: &Attributes<'_>, listed: usize) -> Meaning {
    let owned = |pairs: &[(&[u8], &[u8])]| -> Vec<(Vec<u8>, Vec<u8>)> {
        pairs.iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
    };
    let (headers, list) = attributes.headers.split_at(attributes.headers.len() - listed);
    let structs = attributes.metadata.iter().rev();
    Meaning {
        texts: [
            attributes.method,
            attributes.path,
            attributes.host,
            attributes.scheme,
            attributes.protocol,
            attributes.peer_address,
            attributes.peer_principal,
            attributes.peer_certificate,
            attributes.sni,
        ]
        .map(<[u8]>::to_vec),
        size: attributes.size,
        headers: owned(headers).into_iter().collect(),
        listed: owned(list),
        context: owned(&attributes.context).into_iter().collect(),
        // The first of a namespace is the one that counts.
        metadata: structs.map(|(name, fields)| (name.to_vec(), Struct::decode(*fields).expect("a struct"))).collect(),
    }
}

fn addresses() -> impl Strategy<Value = Address> {
    let socket = |(address, port): (String, u16)| {
        let port_specifier = Some(PortSpecifier::PortValue(port.into()));
        AnyAddress::SocketAddress(SocketAddress { address, port_specifier, ..SocketAddress::default() })
    };
    let pipe = |path| AnyAddress::Pipe(Pipe { path, mode: 0 });
    let internal =
        |endpoint_id| AnyAddress::EnvoyInternalAddress(EnvoyInternalAddress { endpoint_id, ..Default::default() });
    prop_oneof![
        ("[0-9a-f.:]{0,20}", any::<u16>()).prop_map(socket),
        "\\PC{0,20}".prop_map(pipe),
        "\\PC{0,20}".prop_map(internal),
    ]
    .prop_map(|address| Address { address: Some(address) })
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let value = "\\PC{0,20}".prop_map(|text| Value { kind: Some(Kind::StringValue(text)) });
    let fields = prop::collection::hash_map("\\PC{1,9}", value, 0..3).prop_map(|fields| Struct { fields });
    prop::collection::hash_map("[a-c]{1,2}", fields, 0..4)
        .prop_map(|filter_metadata| Metadata { filter_metadata, ..Metadata::default() })
}

fn texts() -> impl Strategy<Value = HashMap<String, String>> {
    prop::collection::hash_map("\\PC{0,20}", "\\PC{0,40}", 0..30)
}

prop_compose! {
    fn http()(
        texts in prop::array::uniform8("\\PC{0,30}"),
        headers in texts(),
        size in prop_oneof![Just(-1_i64), any::<i64>(), 0..1000_i64],
        raw in prop::option::of(prop::collection::vec(
            ("\\PC{0,20}", "\\PC{0,20}", prop::collection::vec(any::<u8>(), 0..20)), 0..6)),
    ) -> HttpRequest {
        let [id, method, path, host, scheme, protocol, body, query] = texts;
        let raw = raw.map(|list| HeaderMap {
            headers: list.into_iter().map(|(key, value, raw_value)| HeaderValue { key, value, raw_value }).collect(),
        });
        HttpRequest {
            id, method, headers, path, host, scheme, query, size, protocol, body, header_map: raw,
            ..HttpRequest::default()
        }
    }
}

prop_compose! {
    fn requests()(
        source in prop::option::of((prop::option::of(addresses()), "\\PC{0,30}", "\\PC{0,30}", texts())),
        http in prop::option::of(http()),
        context_extensions in texts(),
        metadata_context in prop::option::of(metadata()),
        route_metadata_context in prop::option::of(metadata()),
        sni in prop::option::of("\\PC{0,30}"),
    ) -> CheckRequest {
        let source = source.map(|(address, principal, certificate, labels)| {
            Peer { address, principal, certificate, labels, ..Peer::default() }
        });
        CheckRequest {
            attributes: Some(AttributeContext {
                destination: source.clone(),
                source,
                request: Some(Request { http, time: None }),
                context_extensions,
                metadata_context,
                route_metadata_context,
                tls_session: sni.map(|sni| TlsSession { sni }),
            }),
        }
    }
}

fn listed(wire: &CheckRequest) -> usize {
    let request = wire.attributes.as_ref().and_then(|attributes| attributes.request.as_ref());
    let raw = request.and_then(|request| request.http.as_ref()?.header_map.as_ref());
    raw.map_or(0, |raw| raw.headers.len())
}

proptest! {
    #[test]
    fn any_request_is_read_as_the_generated_message_reads_it(wire in requests()) {
        let bytes = wire.encode_to_vec();
        prop_assert_eq!(ours(&decode(&bytes).unwrap(), listed(&wire)), theirs(&wire));
    }

    #[test]
    fn requests_in_pieces_are_merged(one in requests(), other in requests()) {
        // Raw headers of two pieces would stand between those of the maps.
        prop_assume!(listed(&one) + listed(&other) == 0);
        let bytes = [one.encode_to_vec(), other.encode_to_vec()].concat();
        let wire = CheckRequest::decode(&bytes[..]).unwrap();
        let mut ours = ours(&decode(&bytes).unwrap(), 0);
        let mut theirs = theirs(&wire);
        // Which of two values of one key holds is the one thing that is not told alike.
        for meaning in [&mut ours, &mut theirs] {
            meaning.headers.values_mut().chain(meaning.context.values_mut()).for_each(Vec::clear);
            meaning.metadata.values_mut().for_each(|fields| fields.fields.clear());
        }
        prop_assert_eq!(ours, theirs);
    }

    #[test]
    fn damaged_messages_are_read_as_the_generated_message_reads_them(
        wire in requests(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = wire.encode_to_vec();
        prop_assume!(!bytes.is_empty());
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        // What the generated message cannot read, ours sometimes can: invalid UTF-8, fields of unexpected types.
        let read = decode(&bytes);
        if let Ok(wire) = CheckRequest::decode(&bytes[..]) {
            prop_assert_eq!(ours(&read.unwrap(), listed(&wire)).texts, theirs(&wire).texts);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        drop(decode(&bytes));
    }
}

/// A request whose texts are any bytes, encoded by hand.
fn raw_request(path: &[u8], header: (&[u8], &[u8])) -> Vec<u8> {
    let mut out = Writer::default();
    out.message(1, |attributes| {
        attributes.message(4, |request| {
            request.message(2, |http| {
                http.bytes(4, path);
                http.message(3, |entry| {
                    entry.bytes(1, header.0);
                    entry.bytes(2, header.1);
                });
            });
        });
    });
    out.into_inner()
}

#[test]
fn texts_are_bytes() {
    for value in [&b"\xff\xfe"[..], b"\0\r\n", &[0xc3; 70_000], b""] {
        let bytes = raw_request(value, (b"x-us\xffer", value));
        let attributes = decode(&bytes).unwrap();
        assert_eq!(attributes.path, value);
        assert_eq!(attributes.headers[..], [(&b"x-us\xffer"[..], value)]);
    }
}

#[test]
fn no_number_of_headers_hides_one() {
    let mut wire = CheckRequest::default();
    let request = wire.attributes.get_or_insert_default().request.get_or_insert_default();
    let http = request.http.get_or_insert_default();
    let header = |key: String| HeaderValue { key, raw_value: b"v".to_vec(), ..HeaderValue::default() };
    let mut headers: Vec<_> = (0..10_000).map(|number| header(format!("x-{number}"))).collect();
    headers.push(header("x-forwarded-for".to_owned()));
    http.header_map = Some(HeaderMap { headers });
    let bytes = wire.encode_to_vec();
    let attributes = decode(&bytes).unwrap();
    assert_eq!(attributes.headers.len(), 10_001);
    assert_eq!(attributes.header("x-forwarded-for"), Some(&b"v"[..]));
}

#[test]
fn a_client_of_grpc_is_known_by_its_media_type() {
    let grpc = |kind: &'static [u8]| {
        let mut attributes = Attributes::default();
        attributes.headers.push((b"content-type", kind));
        Caller::of(&attributes).grpc
    };
    for kind in [&b"application/grpc"[..], b"application/grpc+proto", b"Application/GRPC", b"application/grpc-web"] {
        assert!(grpc(kind), "{}", kind.escape_ascii());
    }
    for kind in [&b""[..], b"application/json", b"application/grp", b" application/grpc"] {
        assert!(!grpc(kind), "{}", kind.escape_ascii());
    }
    assert_eq!(
        Caller::of(&Attributes { method: b"HEAD", ..Attributes::default() }),
        Caller { grpc: false, head: true }
    );
    assert!(!Caller::of(&Attributes { method: b"head", ..Attributes::default() }).head, "methods have a case");
}

#[test]
fn braces_are_text_unless_they_hold_a_name() {
    let fill = |text: &str| {
        let template = Template::new(text, "text/plain").unwrap();
        template.fill(&super::answer::Grounds::DenyListed("10.0.0.0/8"), 403)
    };
    for (text, filled) in [
        ("", ""),
        ("no", "no"),
        ("{status}", "403"),
        ("a{status}b{status}", "a403b403"),
        ("{{status}}", "{403}"),
        ("{", "{"),
        ("}{", "}{"),
        ("{}", "{}"),
        ("{ status }", "{ status }"),
        ("{\"a\": {status}}", "{\"a\": 403}"),
        ("p{color:red}", "p{color:red}"),
        ("{status", "{status"),
        ("ä{status}ö", "ä403ö"),
        ("[{rule}{domain}{window}{limit}{remaining}{retry_after}]", "[]"),
    ] {
        assert_eq!(fill(text), filled, "{text}");
    }
    for unknown in ["entry", "Status", "rules", "path"] {
        let error = Template::new(&format!("a {{{unknown}}}"), "text/plain").unwrap_err();
        assert_eq!(error, TemplateError::Unknown(unknown.to_owned()));
        assert!(error.to_string().starts_with(&format!("{{{unknown}}} is no placeholder; there are {{rule}}, ")));
    }
    let error = Template::new(&"a".repeat(65_537), "text/plain").unwrap_err();
    assert_eq!(error.to_string(), "is 65537 bytes long, at most 65536 are allowed");
}

#[test]
fn json_has_null_for_numbers_that_are_not_there() {
    for media_type in ["application/json", "application/problem+json; charset=utf-8", "Application/JSON"] {
        let template = Template::new(r#"{"wait": {retry_after}, "rule": "{rule}"}"#, media_type).unwrap();
        let body = template.fill(&super::answer::Grounds::DenyListed("user:a"), 403);
        assert_eq!(body, r#"{"wait": null, "rule": ""}"#);
    }
}
