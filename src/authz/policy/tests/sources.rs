//! Where values come from, and what is made of them.

use prost::Message;
use prost_types::value::Kind;
use prost_types::{Struct, Value};

use super::*;

/// The one value of a descriptor, `-` when it is missing.
fn value(settings: &str, name: &str, attributes: &Attributes<'_>) -> String {
    let asked = ask(&format!("{settings}\nroutes: [{{ name: all, descriptors: [[{name}]] }}]"), attributes);
    asked.strip_prefix(&format!("edge: {name}=")).map_or("-", |value| value).to_owned()
}

fn of(source: &str, attributes: &Attributes<'_>) -> String {
    value(&format!("values: {{ v: {{ {source} }} }}"), "v", attributes)
}

#[test]
fn without_settings_the_address_is_asked_about() {
    assert_eq!(ask("{}", &request()), "edge: remote_address=2001:db8:1:2::/64");
    assert_eq!(ask("{}", &Attributes::default()), "nothing", "no address, no descriptor");
    let attributes = request();
    let policy = policy("{}");
    let evaluation = policy.evaluate(&attributes);
    assert_eq!(evaluation.client, Some("2001:db8:1:2::7".parse().unwrap()), "whole, for lists");
    assert_eq!((&*evaluation.path, evaluation.user.is_none()), (&b"/users/42"[..], true));
    assert!(headers(&evaluation).is_empty() && evaluation.route().is_none());
}

#[test]
fn built_in_values() {
    let templates = "paths: { templates: ['/users/{id}', '/files/{*rest}'], ignore_case: true }";
    let mut all = request();
    all.peer_principal = b"spiffe://cluster.local/ns/a/sa/b";
    all.sni = b"Shop.Example.com.";
    for (name, expected) in [
        ("remote_address", "2001:db8:1:2::/64"),
        ("path", "/users/{id}"),
        ("full_path", "/users/42"),
        ("method", "GET"),
        ("host", "shop.example.com"),
        ("scheme", "https"),
        ("protocol", "HTTP/2"),
        ("principal", "spiffe://cluster.local/ns/a/sa/b"),
        ("sni", "shop.example.com"),
        ("request_size", "1500"),
        ("route", "all"),
        ("peer_certificate_sha256", "-"),
    ] {
        assert_eq!(value(templates, name, &all), expected, "{name}");
    }
    for name in ["remote_address", "method", "host", "scheme", "protocol", "principal", "sni", "request_size"] {
        assert_eq!(value("{}".trim_matches(['{', '}']), name, &Attributes::default()), "-", "{name}");
    }
}

#[test]
fn paths_are_counted_by_template() {
    let settings = "paths: { templates: ['/users/{id}', '/users/me'], unmatched: rest, ignore_case: true }";
    for (path, template, full) in [
        ("/users/1", "/users/{id}", "/users/1"),
        ("/USERS//2/?x", "/users/{id}", "/users/2"),
        ("/users/%6de", "/users/me", "/users/me"),
        ("/x/../users/3", "/users/{id}", "/users/3"),
        ("/users/1/2", "rest", "/users/1/2"),
        ("", "rest", "/"),
    ] {
        let attributes = Attributes { path: path.as_bytes(), ..request() };
        assert_eq!(value(settings, "path", &attributes), template, "{path}");
        assert_eq!(value(settings, "full_path", &attributes), full, "{path}");
    }
}

#[test]
fn methods_and_hosts_have_one_form() {
    let method = |method: &str| value("", "method", &Attributes { method: method.as_bytes(), ..request() });
    assert_eq!(
        (method("get"), method("PURGE"), method(&"x".repeat(33))),
        ("GET".into(), "PURGE".into(), "other".into())
    );
    for (written, host) in [
        ("EXAMPLE.com", "example.com"),
        ("example.com.", "example.com"),
        ("example.com.:80", "example.com"),
        ("[2001:DB8::1]:80", "[2001:db8::1]"),
        ("[2001:db8::1]", "[2001:db8::1]"),
        ("2001:db8::1", "2001:db8::1"),
        (":80", "-"),
    ] {
        assert_eq!(value("", "host", &Attributes { host: written.as_bytes(), ..request() }), host, "{written}");
    }
}

#[test]
fn named_values_and_their_sources() {
    let mut all = Attributes { path: b"/a/b%20c/d?q=x%2By&q=2&empty=", ..request() };
    all.headers.extend([
        (&b"x-user"[..], &b"alice"[..]),
        (b"x-user", b"mallory"),
        (b"x-empty", b""),
        (b"cookie", b"theme=dark; sid=s1"),
    ]);
    all.context.push((b"tier", b"gold"));
    for (source, expected) in [
        ("header: X-User", "alice"),
        ("header: x-none", "-"),
        ("header: x-empty", "-"),
        ("query: q", "x+y"),
        ("query: empty", "-"),
        ("query: none", "-"),
        ("cookie: sid", "s1"),
        ("cookie: none", "-"),
        ("context: tier", "gold"),
        ("context: none", "-"),
        ("header: x-none, default: nobody", "nobody"),
        ("header: x-empty, default: nobody", "nobody"),
        ("header: x-user, default: nobody", "alice"),
        ("header: x-user, one_of: [alice, bob]", "alice"),
        ("header: x-user, one_of: [bob]", "other"),
        ("header: x-user, one_of: [bob], other_value: guest", "guest"),
        ("header: x-none, one_of: [bob], other_value: guest", "-"),
        ("header: x-none, one_of: [bob], default: nobody", "nobody"),
        ("query: q, one_of: ['X+Y'], ignore_case: true", "x+y"),
        ("query: q, one_of: ['X+Y']", "other"),
    ] {
        assert_eq!(of(source, &all), expected, "{source}");
    }
    let variable = |source: &str| {
        let settings = format!("paths: {{ templates: ['/a/{{middle}}/{{last}}'] }}\nvalues: {{ v: {{ {source} }} }}");
        value(&settings, "v", &all)
    };
    assert_eq!(variable("path_variable: middle"), "b%20c");
    assert_eq!(variable("path_variable: last"), "d");
}

#[test]
fn variables_are_the_routes_own_first() {
    let settings = "
paths: { templates: ['/{kind}/{id}'] }
values: { id: { path_variable: id }, kind: { path_variable: kind } }
routes:
  - match: { paths: ['/tenants/{id}/{*rest}', '/{id}/x'] }
    descriptors: [[id], [kind]]
  - descriptors: [[id, kind]]
";
    let asked = |path: &str| ask(settings, &Attributes { path: path.as_bytes(), ..request() });
    assert_eq!(asked("/tenants/t1"), "edge: id=t1, kind=tenants");
    assert_eq!(asked("/tenants/t1/a/b"), "edge: id=t1");
    assert_eq!(asked("/y/x"), "edge: id=y, kind=y");
    assert_eq!(asked("/users/7"), "edge: id=7 kind=users");
    assert_eq!(asked("/users"), "nothing");
}

#[test]
fn claims_and_metadata_are_read_where_envoy_puts_them() {
    let any = |kind| Value { kind: Some(kind) };
    let text = |text: &str| any(Kind::StringValue(text.to_owned()));
    let of_fields = |fields: Vec<(&str, Value)>| Struct {
        fields: fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
    };
    let claims = of_fields(vec![("sub", text("alice")), ("level", any(Kind::NumberValue(3.0)))]);
    let below = of_fields(vec![("jwt_payload", any(Kind::StructValue(claims.clone()))), ("sub", text("wrong"))]);
    let (claims, below) = (claims.encode_to_vec(), below.encode_to_vec());
    let lb = of_fields(vec![("tokens", any(Kind::NumberValue(150.0)))]).encode_to_vec();
    let mut all = request();
    // A header of that name says nothing.
    all.headers.push((b"sub", b"mallory"));
    all.metadata.push((b"envoy.filters.http.jwt_authn", &below));
    all.metadata.push((b"istio_authn", &claims));
    all.metadata.push((b"envoy.lb", &lb));
    assert_eq!(of("claim: sub", &all), "alice");
    assert_eq!(of("claim: level", &all), "3");
    assert_eq!(of("claim: jwt_payload.sub", &all), "-");
    assert_eq!(of("metadata: 'envoy.filters.http.jwt_authn:jwt_payload.sub'", &all), "alice");
    assert_eq!(of("metadata: 'envoy.lb:tokens'", &all), "150");
    assert_eq!(of("metadata: 'envoy:lb.tokens'", &all), "-");
    let settings = "claims: { namespace: istio_authn, key: '' }\nvalues: { v: { claim: sub } }";
    assert_eq!(value(settings, "v", &all), "alice");
    assert_eq!(of("claim: sub", &request()), "-");
    let broken: &[u8] = &[0x0a, 200, 1];
    all.metadata[0].1 = broken;
    assert_eq!(of("claim: sub", &all), "-");
}

#[test]
fn long_values_are_shortened_and_cannot_be_confused() {
    let value = |text: &str| {
        let mut attributes = request();
        attributes.headers.push((b"x-user", text.as_bytes()));
        of("header: x-user", &attributes)
    };
    assert_eq!(value(&"a".repeat(1024)), "a".repeat(1024));
    let (long, longer) = (value(&"a".repeat(1025)), value(&"a".repeat(1026)));
    assert_ne!(long, longer);
    for shortened in [&long, &longer] {
        assert!(shortened.starts_with("sha256:") && shortened.len() == 7 + 64, "{shortened}");
    }
    let path = format!("/{}", "a".repeat(2_000));
    let full = super::sources::value("", "full_path", &Attributes { path: path.as_bytes(), ..request() });
    assert!(full.starts_with("sha256:"), "{full}");
}

#[test]
fn descriptors_without_all_their_values_are_left_out() {
    let settings = "
values: { user: { header: x-user } }
routes:
  - descriptors:
      - [user, path]
      - [kind=static, remote_address]
      - [user]
";
    assert_eq!(ask(settings, &request()), "edge: kind=static remote_address=2001:db8:1:2::/64");
    let mut named = request();
    named.headers.push((b"x-user", b"a=b c"));
    let all = "edge: user=a=b c path=other, kind=static remote_address=2001:db8:1:2::/64, user=a=b c";
    assert_eq!(ask(settings, &named), all);
}

#[test]
fn costs() {
    let asked = |hits: &str, tokens: Option<&str>, size: Option<u64>| {
        let settings = format!(
            "
values: {{ tokens: {{ header: x-tokens, default: 9999 }}, bare: {{ header: x-tokens }} }}
routes: [{{ hits: {hits}, descriptors: [[scheme], {{ entries: [method], hits: 7 }}] }}]
"
        );
        let mut attributes = Attributes { size, ..request() };
        attributes.headers.extend(tokens.map(|tokens| (&b"x-tokens"[..], tokens.as_bytes())));
        let asked = ask(&settings, &attributes);
        let (usual, own) = asked.split_once(", ").unwrap();
        assert_eq!(own, "method=GET *7");
        usual.strip_prefix("edge: scheme=https *").unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(asked("3", None, None), 3);
    assert_eq!(asked("0", None, None), 0, "a peek");
    let size = "{ value: request_size, per: 1024 }";
    for (bytes, hits) in [(None, 1), (Some(0), 0), (Some(1), 1), (Some(1024), 1), (Some(1025), 2)] {
        assert_eq!(asked(size, None, bytes), hits, "{bytes:?}");
    }
    assert_eq!(asked(size, None, Some(u64::MAX)), 1_000_000);
    let bare = "{ value: bare, default: 5, min: 2, max: 100 }";
    for (tokens, hits) in [
        (None, 5),
        (Some("50"), 50),
        (Some("1"), 2),
        (Some("101"), 100),
        (Some("99999999999999999999999"), 100),
        (Some("-4"), 5),
        (Some("1.5"), 5),
        (Some("many"), 5),
    ] {
        assert_eq!(asked(bare, tokens, None), hits, "{tokens:?}");
    }
    assert_eq!(asked("{ value: tokens }", None, None), 9999, "the value's own default");
    assert_eq!(asked("{ value: bare, max: 9007199254740991 }", Some("9007199254740999"), None), (1 << 53) - 1);
}

#[test]
fn the_peers_certificate_is_told_by_its_hash() {
    let certificate = "-----BEGIN%20CERTIFICATE-----%0AAQID%0A-----END%20CERTIFICATE-----%0A";
    let attributes = Attributes { peer_certificate: certificate.as_bytes(), ..request() };
    let expected = "039058c6f2c0cb492c533b0a4d14ef77cc0f78abccced5287d84a1a2011cfb81";
    assert_eq!(value("", "peer_certificate_sha256", &attributes), expected);
}
