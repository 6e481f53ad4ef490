//! Whatever a client sends.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Every source, and every way a value leaves.
const EVERYTHING: &str = "
client_address: { source: x_forwarded_for, trusted_hops: 2 }
paths: { templates: ['/{a}/{*b}'], ignore_case: true }
values:
  header: { header: x-user, ignore_case: true }
  secret: { header: x-user, secret: true }
  query: { query: q }
  cookie: { cookie: c }
  claim: { claim: a.b }
  metadata: { metadata: 'm:a' }
  context: { context: c }
  a: { path_variable: a, default: none }
  b: { path_variable: b, one_of: [x, Y], ignore_case: true }
user: secret
secret_key_file: /somewhere
routes:
  - match: { hosts: ['*.x'], methods: [GET], context: { c: x } }
    descriptors: [[secret]]
  - match: { paths: ['/a/{x}', '/{y}'] }
    descriptors: [[header, query], [cookie], [claim, metadata], [context]]
    hits: { value: header, per: 3 }
  - descriptors:
      - [remote_address]
      - [path, full_path, method, host]
      - [scheme, protocol]
      - [principal, sni]
      - [request_size, route]
      - [peer_certificate_sha256]
      - { entries: [a, b, k=v], hits: { value: claim } }
answer:
  upstream_headers:
    x-a: '{header} {a} {full_path}'
    x-b: '{query}{cookie}{claim}{metadata}'
    x-c: '{secret}'
    x-d: '{principal} {sni} {host} {method}'
";

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let interesting = prop_oneof![
        Just(b"/a/b?q=%41".to_vec()),
        Just(b"c=1; c=%".to_vec()),
        Just(b"1.2.3.4, [::1]:80".to_vec()),
        Just(b"GET".to_vec()),
        Just(b"a.x:1".to_vec()),
        Just(b"\x0a\x08\x0a\x01a\x12\x03\x1a\x01b".to_vec()),
        Just(b"-----BEGIN CERTIFICATE-----AQID-----END CERTIFICATE-----".to_vec()),
        Just(vec![b'9'; 1_500]),
    ];
    prop_oneof![3 => vec(any::<u8>(), 0..40), 1 => interesting]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics_and_all_that_leaves_is_bounded(
        texts in vec(bytes(), 10),
        size in proptest::option::of(any::<u64>()),
        headers in vec((0_usize..5, bytes()), 0..8),
        metadata in vec((0_usize..3, bytes()), 0..4),
        context in vec((0_usize..2, bytes()), 0..3),
    ) {
        let policy = policy(EVERYTHING);
        let mut attributes = Attributes {
            method: &texts[0], path: &texts[1], host: &texts[2], scheme: &texts[3], protocol: &texts[4],
            size,
            peer_address: &texts[5], peer_principal: &texts[6], peer_certificate: &texts[7], sni: &texts[8],
            ..Attributes::default()
        };
        let names: [&[u8]; 5] = [b"x-user", b"cookie", b"x-forwarded-for", b"host", &texts[9]];
        attributes.headers.extend(headers.iter().map(|(at, value)| (names[*at], &**value)));
        let namespaces: [&[u8]; 3] = [b"envoy.filters.http.jwt_authn", b"m", &texts[9]];
        attributes.metadata.extend(metadata.iter().map(|(at, value)| (namespaces[*at], &**value)));
        let keys: [&[u8]; 2] = [b"c", &texts[9]];
        attributes.context.extend(context.iter().map(|(at, value)| (keys[*at], &**value)));

        let evaluation = policy.evaluate(&attributes);
        let mut names = Vec::new();
        let mut wrong = None;
        evaluation.upstream_headers(|name, value| {
            names.push(name.to_owned());
            let valid = value.is_none_or(|value| {
                value.len() <= 1024 && value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
            });
            if !valid {
                wrong = Some(format!("{name}: {value:?}"));
            }
        });
        prop_assert_eq!(wrong, None);
        prop_assert_eq!(names, ["x-a", "x-b", "x-c", "x-d"]);
        if let Some(question) = evaluation.question() {
            prop_assert!(!question.descriptors.is_empty());
            for descriptor in &question.descriptors {
                prop_assert!(!descriptor.is_negative_hits && descriptor.hits_addend.unwrap_or(1) <= crate::core::limit::MAX_HITS);
                for entry in &descriptor.entries {
                    prop_assert!(!entry.value.is_empty() && entry.value.len() <= 1024);
                }
            }
        }
        let _ = format!("{evaluation:?}");
    }
}
