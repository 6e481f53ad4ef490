//! Secret values, and what leaves an evaluation.

use super::*;

const SETTINGS: &str = "
values:
  key: { header: x-api-key, secret: true, default: none }
  session: { cookie: sid, secret: true }
user: key
secret_key_file: /somewhere
routes:
  - descriptors: [[key], [session]]
answer:
  upstream_headers: { x-client: 'client {key}', x-session: '{session}', x-plain: fixed }
  remove_headers: [X-Api-Key]
";

fn with_key<'a>(key: &'a [u8]) -> Attributes<'a> {
    let mut attributes = request();
    attributes.headers.push((b"x-api-key", key));
    attributes
}

#[test]
fn secrets_leave_only_as_hashes() {
    let policy = policy(SETTINGS);
    let mut attributes = with_key(b"hunter2");
    attributes.headers.push((b"cookie", b"sid=hunter3"));
    let evaluation = policy.evaluate(&attributes);
    assert_eq!(evaluation.user.as_deref(), Some(&b"hunter2"[..]), "lists compare the name itself");
    let shown = format!("{evaluation:?} {:?} {:?} {policy:?}", evaluation.question(), headers(&evaluation));
    assert!(!shown.contains("hunter"), "{shown}");
    assert!(!shown.contains(&text(KEY)), "{shown}");
    let asked = asked(&evaluation);
    let (key, session) = asked.strip_prefix("edge: key=h:").unwrap().split_once(", session=h:").unwrap();
    for hash in [key, session] {
        assert!(hash.len() == 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{asked}");
    }
    let expected = [
        "x-api-key: -".to_owned(),
        format!("x-client: client h:{key}"),
        "x-plain: fixed".to_owned(),
        format!("x-session: h:{session}"),
    ];
    assert_eq!(headers(&evaluation), expected);
}

#[test]
fn hashes_tell_values_and_keys_apart() {
    let one = policy(SETTINGS);
    let other = try_policy(SETTINGS, Some(&[7; 32])).unwrap();
    let hash = |policy: &Policy, key: &[u8]| asked(&policy.evaluate(&with_key(key)));
    assert_eq!(hash(&one, b"a"), hash(&policy(SETTINGS), b"a"), "all replicas agree");
    assert_ne!(hash(&one, b"a"), hash(&one, b"b"));
    assert_ne!(hash(&one, b"a"), hash(&other, b"a"));
    assert!(hash(&one, &[b'a'; 5_000]).starts_with("edge: key=h:"));
    // What stands in the settings is no secret, and nobody who sends it is taken for one who sends nothing.
    assert_eq!(asked(&one.evaluate(&request())), "edge: key=none");
    assert!(hash(&one, b"none").starts_with("edge: key=h:"));
}

#[test]
fn costs_are_read_from_the_value_itself() {
    let settings = "
values: { n: { header: x-api-key, secret: true } }
secret_key_file: /somewhere
routes: [{ descriptors: [[scheme]], hits: { value: n } }]
";
    assert_eq!(ask(settings, &with_key(b"12")), "edge: scheme=https *12");
}

#[test]
fn the_user_that_is_no_secret_is_shown() {
    let policy = policy("{ values: { u: { header: x-api-key, ignore_case: true } }, user: u }");
    let attributes = with_key(b"Alice");
    let evaluation = policy.evaluate(&attributes);
    assert_eq!(evaluation.user.as_deref(), Some(&b"alice"[..]));
    assert!(format!("{evaluation:?}").contains("alice"));
}

#[test]
fn headers_hold_nothing_that_ends_them() {
    let policy = policy(
        "
values: { u: { header: x-user }, long: { header: x-long } }
answer:
  upstream_headers: { X-User: 'u={u}', x-long: '{long}{long}', x-braces: '{{u}}', x-both: '{u} {long}' }
routes:
  - match: { methods: [POST] }
    descriptors: [[u]]
    upstream_headers: { x-user: 'own {u}', X-Size: '{request_size}' }
",
    );
    let (whole, half) = (vec![b'a'; 513], vec![b'a'; 512]);
    let mut attributes = request();
    attributes.headers.push((b"x-user", b"a\r\nx-admin: 1\0\xff% ~"));
    let encoded = "a%0D%0Ax-admin: 1%00%FF% ~";
    let evaluation = policy.evaluate(&attributes);
    assert!(evaluation.question().is_none());
    let expected = ["x-both: -".to_owned(), "x-braces: {u}".into(), "x-long: -".into(), format!("x-user: u={encoded}")];
    assert_eq!(headers(&evaluation), expected, "without a route, too");
    attributes.method = b"POST";
    assert_eq!(
        headers(&policy.evaluate(&attributes))[3..],
        ["x-size: 1500".to_owned(), format!("x-user: own {encoded}")]
    );
    attributes.headers.push((b"x-long", &whole));
    assert_eq!(headers(&policy.evaluate(&attributes))[2], "x-long: -", "too long");
    attributes.headers[1].1 = &half;
    assert_eq!(headers(&policy.evaluate(&attributes))[2], format!("x-long: {}", "a".repeat(1024)));
}
