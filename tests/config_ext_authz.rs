//! The `ext_authz` section of the settings file: what can be written, what is wrong with it, and printing.

#![allow(clippy::unwrap_used, clippy::panic)]

use prost::Message;
use prost_types::value::Kind;
use prost_types::{Struct, Value};
use tidegate::authz::attributes::Attributes;
use tidegate::authz::policy::Policy;
use tidegate::config::ext_authz::{BuiltIn, Descriptor, Hits, HitsOf};
use tidegate::config::{Config, ConfigErrors, LoadOptions, Loaded};

fn load(yaml: &str, env: &[(&str, &str)]) -> (Result<Loaded, ConfigErrors>, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tidegate.yaml");
    std::fs::write(&file, yaml).unwrap();
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let result = Config::load(&LoadOptions { file: Some(file.clone()), env, ..LoadOptions::default() });
    (result, file.display().to_string())
}

fn mistakes(yaml: &str) -> Vec<String> {
    let (result, file) = load(yaml, &[]);
    result.unwrap_err().0.iter().map(|error| error.to_string().replace(&file, "FILE")).collect()
}

/// Everything that can be written.
const EVERYTHING: &str = r#"
ext_authz:
  domain: gateway
  client_address: { source: x_forwarded_for, trusted_hops: 2, ipv4_prefix: 24, ipv6_prefix: 56 }
  paths:
    templates:
      - /users/{id}
      - "/files/{*rest}"
    unmatched: unknown
    ignore_case: true
  claims: { namespace: istio_authn, key: '' }
  values:
    tenant.id: { claim: tenant.id, default: none }
    api_key: { header: X-Api-Key, secret: true }
    country: { header: x-country, one_of: [NO, "yes", SE, 007, 3], other_value: elsewhere, ignore_case: yes }
    tokens: { metadata: "envoy.lb:llm.tokens" }
    session: { cookie: sid, secret: true }
    q: { query: q }
    tier: { context: tier }
    user_id:
      path_variable: id
  user: tenant.id
  secret_key_file: /etc/tidegate/key
  routes:
    - name: chat
      match:
        paths: ["/v1/chat/{*rest}", "/v1/{model}/chat"]
        methods: [POST]
        hosts: ["*.example.com", example.com]
        context: { gate.way: "1" }
      domain: llm
      descriptors:
        - [tenant.id, path]
        - entries: [api_key, kind=chat]
          hits: { value: tokens, per: 10, default: 5, min: 1, max: 1000 }
        - entries: [remote_address]
          hits: 2
      hits: 3
      upstream_headers: { x-tier: "{tier} of {tenant.id}" }
    - descriptors: []
    -
      match: {}
      descriptors: [[remote_address]]
  lists:
    deny: { networks: [192.0.2.0/24, "2001:db8::/32"], files: [/etc/deny] }
    allow: { users: [root], paths: [/health] }
  answer:
    body: custom
    template: |
      {rule}: wait {retry_after}
      "please"
    content_type: text/plain
    status: 503
    list_status: 404
    upstream_headers: { x-user: "{tenant.id}", x.dotted: constant }
    remove_headers: [x-internal]
    response_headers: false
"#;

/// The line of the only one that holds a text, from 1.
fn line(text: &str) -> usize {
    let mut lines = EVERYTHING.lines().enumerate().filter(|(_, line)| line.contains(text));
    let (index, _) = lines.next().unwrap();
    assert!(lines.next().is_none(), "{text}");
    index + 1
}

#[test]
fn everything_can_be_written() {
    let (loaded, file) = load(EVERYTHING, &[("TIDEGATE_EXT_AUTHZ__DOMAIN", "other")]);
    let loaded = loaded.unwrap_or_else(|errors| panic!("{errors}"));
    let section = &loaded.config.ext_authz;
    assert_eq!(section.domain, "other");
    assert_eq!(section.values["tenant.id"].claim.as_deref(), Some("tenant.id"));
    assert_eq!(section.values["country"].one_of, ["NO", "yes", "SE", "007", "3"]);
    assert_eq!(section.routes.len(), 3);
    let chat = &section.routes[0];
    assert_eq!(chat.matching.context["gate.way"], "1");
    let of = HitsOf { value: "tokens".to_owned(), per: 10, default: 5, min: 1, max: 1000 };
    let expected = [
        Descriptor { entries: vec!["tenant.id".to_owned(), "path".to_owned()], hits: None },
        Descriptor { entries: vec!["api_key".to_owned(), "kind=chat".to_owned()], hits: Some(Hits::Of(of)) },
        Descriptor { entries: vec!["remote_address".to_owned()], hits: Some(Hits::Fixed(2)) },
    ];
    assert_eq!(chat.descriptors, expected);
    assert_eq!(section.routes[2].descriptors[0].entries, ["remote_address"]);
    assert!(section.answer.template.as_ref().unwrap().ends_with("\"please\"\n"));
    for (field, origin) in [
        ("ext_authz.domain", "TIDEGATE_EXT_AUTHZ__DOMAIN".to_owned()),
        ("ext_authz.paths.templates[1]", format!("{file}:{}", line("/files/"))),
        ("ext_authz.values.\"tenant.id\".claim", format!("{file}:{}", line("tenant.id: {"))),
        ("ext_authz.routes[0].descriptors[1].hits.per", format!("{file}:{}", line("per: 10"))),
        ("ext_authz.routes[2]", format!("{file}:{}", line("match: {}"))),
        ("ext_authz.answer.upstream_headers.\"x.dotted\"", format!("{file}:{}", line("x.dotted"))),
        ("ext_authz.answer.none", "default".to_owned()),
    ] {
        assert_eq!(loaded.sources.of(field), origin, "{field}");
    }
}

#[test]
fn what_is_printed_loads_again_as_the_same() {
    let (loaded, file) = load(EVERYTHING, &[]);
    let loaded = loaded.unwrap();
    let printed = loaded.print();
    let again = load(&printed, &[]).0.unwrap_or_else(|errors| panic!("{errors}\nin\n{printed}"));
    assert_eq!(again.config, loaded.config, "{printed}");
    for line in [
        format!("- [tenant.id, path] # from {file}:{}", line("- [tenant.id, path]")),
        format!("hits: 2 # from {file}:{}", line("hits: 2")),
        format!("x.dotted: constant # from {file}:{}", line("x.dotted")),
        format!("- name: chat # from {file}:{}", line("- name: chat")),
    ] {
        let mut lines = printed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        assert!(lines.any(|printed| printed == line), "no {line:?} in\n{printed}");
    }
    let default = load("", &[]).0.unwrap();
    assert_eq!(load(&default.print(), &[]).0.unwrap().config, Config::default());
}

#[test]
fn lists_of_the_environment_stand_over_the_file() {
    let yaml = "ext_authz:\n  paths:\n    templates: [/a, /b]\n";
    let (loaded, _) = load(yaml, &[("TIDEGATE_EXT_AUTHZ__PATHS__TEMPLATES", "/c, /d")]);
    let loaded = loaded.unwrap();
    assert_eq!(loaded.config.ext_authz.paths.templates, ["/c", "/d"]);
    let origin = loaded.sources.of("ext_authz.paths.templates[1]");
    assert_eq!(origin, "TIDEGATE_EXT_AUTHZ__PATHS__TEMPLATES", "not a line of the list that it replaced");
}

#[test]
fn wrong_types_are_told_at_once_each_with_its_line() {
    let yaml = "\
ext_authz:
  values:
    a: { heder: x }
    b: x-header
  routes:
    - descriptors: [remote_address]
    - descriptors:
        - entries: [path]
          hit: 3
    - match:
        paths: [/a, [/b]]
      hits: many
    - hits: { per: 3 }
    - hits: -1
      name:
  answer: { body: html }
  domain: [a]
";
    let mut found = mistakes(yaml);
    found.sort();
    let hits = "expected a whole number of hits, not negative, or { value: request_size, per: 1024 }";
    let expected = [
        "ext_authz.answer.body from FILE:16: 'html' is none of the choices; write one of problem, text, custom, none"
            .to_owned(),
        "ext_authz.domain from FILE:17: expected a text, found a list".to_owned(),
        "ext_authz.routes[0].descriptors[0] from FILE:6: expected a list of values, [remote_address, path], or { \
         entries: [...], hits: ... }, found \"remote_address\""
            .to_owned(),
        "ext_authz.routes[1].descriptors[0].hit from FILE:9: there is no setting 'hit'; here are entries, hits"
            .to_owned(),
        format!("ext_authz.routes[2].hits from FILE:12: {hits}, found \"many\""),
        "ext_authz.routes[2].match.paths[1] from FILE:11: expected a text, found a list".to_owned(),
        "ext_authz.routes[3].hits from FILE:13: 'value' is missing; write it too".to_owned(),
        format!("ext_authz.routes[4].hits from FILE:14: {hits}, found \"-1\""),
        "ext_authz.values.a.heder from FILE:3: there is no setting 'heder'; here are header, query, cookie, claim, \
         metadata, context, path_variable, default, one_of, other_value, ignore_case, secret"
            .to_owned(),
        "ext_authz.values.b from FILE:4: expected a section with settings in it, found \"x-header\"".to_owned(),
    ];
    assert_eq!(found, expected, "{found:#?}");
}

#[test]
fn what_must_hold_is_told_with_field_and_line() {
    for (yaml, told) in [
        ("domain: ''", "ext_authz.domain from FILE:2: an empty text"),
        ("client_address: { trusted_hops: 0 }", "ext_authz.client_address.trusted_hops from FILE:2: 0 is out of"),
        ("client_address: { ipv4_prefix: 33 }", "ext_authz.client_address.ipv4_prefix from FILE:2: 33 is out"),
        ("client_address: { ipv6_prefix: 8 }", "ext_authz.client_address.ipv6_prefix from FILE:2: 8 is out"),
        ("paths: { unmatched: '' }", "ext_authz.paths.unmatched from FILE:2"),
        ("claims: { namespace: '' }", "ext_authz.claims.namespace from FILE:2"),
        ("values: { a: { default: x } }", "ext_authz.values.a from FILE:2: it has no source; write one of header"),
        ("values: { a: { header: x, query: y } }", "it has several sources; write only one of header"),
        ("values: { path: { header: x } }", "ext_authz.values.path from FILE:2: every request has a value"),
        ("values: { a=b: { header: x } }", "ext_authz.values.\"a=b\" from FILE:2: \"a=b\" is no name"),
        ("values: { a: { header: 'x y' } }", "ext_authz.values.a.header from FILE:2: \"x y\" is no HTTP header"),
        ("values: { a: { header: ':path' } }", ":path has a value of its own"),
        ("values: { a: { claim: '' } }", "ext_authz.values.a.claim from FILE:2: it has 0 characters"),
        ("values: { a: { metadata: lb } }", "\"lb\" names no metadata; write the namespace, a colon"),
        ("values: { a: { path_variable: id } }", "no template has a variable 'id'; write {id} in one of"),
        ("values: { a: { header: x, default: '' } }", "ext_authz.values.a.default from FILE:2: it has 0 bytes"),
        ("values: { a: { header: x, other_value: y } }", "ext_authz.values.a.other_value from FILE:2: has a meaning"),
        ("values: { a: { header: x, one_of: [b, ''] } }", "ext_authz.values.a.one_of[1] from FILE:2"),
        ("values: { a: { header: x, secret: true } }", "ext_authz.values.a.secret from FILE:2: secret values are"),
        ("secret_key_file: ''", "ext_authz.secret_key_file from FILE:2"),
        ("user: nobody", "ext_authz.user from FILE:2: there is no value 'nobody'; define it in ext_authz.values"),
        ("routes: [{ name: '' }]", "ext_authz.routes[0].name from FILE:2: \"\" is no name"),
        ("routes: [{ domain: '' }]", "ext_authz.routes[0].domain from FILE:2"),
        ("routes: [{ match: { methods: [GET, 'A B'] } }]", "ext_authz.routes[0].match.methods[1] from FILE:2: \"A"),
        ("routes: [{ match: { hosts: ['a.com:80'] } }]", "ext_authz.routes[0].match.hosts[0] from FILE:2"),
        ("routes: [{ match: { hosts: ['a.*.com'] } }]", "is no host without port"),
        (
            "routes:\n    - {}\n    - descriptors: [[pth]]",
            "ext_authz.routes[1].descriptors[0][0] from FILE:4: there is",
        ),
        ("routes: [{ descriptors: [[]] }]", "ext_authz.routes[0].descriptors[0] from FILE:2: it has 0 entries"),
        ("routes: [{ descriptors: [['=x']] }]", "\"=x\" is no constant; write key=text"),
        ("routes: [{ hits: { value: path } }]", "ext_authz.routes[0].hits.value from FILE:2: 'path' is no number"),
        ("routes: [{ hits: { value: request_size, per: 0 } }]", "ext_authz.routes[0].hits.per from FILE:2: 0 is"),
        ("routes: [{ hits: { value: request_size, min: 3, max: 2 } }]", "3 is more than max, 2"),
        ("routes: [{ hits: 9007199254740992 }]", "ext_authz.routes[0].hits from FILE:2: 9007199254740992 is out of"),
        ("routes: [{ upstream_headers: { ':path': x } }]", "ext_authz.routes[0].upstream_headers.\":path\" from"),
        ("answer: { upstream_headers: { Host: x } }", "ext_authz.answer.upstream_headers.Host from FILE:2: Host is"),
        ("answer: { upstream_headers: { x-a: '{b' } }", "ext_authz.answer.upstream_headers.x-a from FILE:2: a brace"),
        ("answer: { upstream_headers: { x-a: '{b}' } }", "there is no value 'b'"),
        ("answer: { upstream_headers: { x-a: é } }", "visible ASCII characters"),
        ("answer: { upstream_headers: { x-a: a, X-A: a } }", "two names differ only in capitals"),
        ("answer: { remove_headers: [te] }", "ext_authz.answer.remove_headers[0] from FILE:2: te is between"),
        ("answer: { status: 200 }", "ext_authz.answer.status from FILE:2: 200 is out of range; write 400 to 599"),
        ("answer: { list_status: 600 }", "ext_authz.answer.list_status from FILE:2"),
        ("answer: { body: custom }", "ext_authz.answer.template from default: body: custom is the text"),
        ("answer: { template: x }", "ext_authz.answer.template from FILE:2: has a meaning only with"),
        ("answer: { content_type: x }", "ext_authz.answer.content_type from FILE:2"),
        ("lists: { deny: { users: [x] } }", "ext_authz.lists.deny.users from FILE:2: nobody says which value"),
        ("lists: { allow: { files: [a, ''] } }", "ext_authz.lists.allow.files[1] from FILE:2"),
    ] {
        let found = mistakes(&format!("ext_authz:\n  {yaml}\n")).join("\n");
        assert!(found.contains(told), "{yaml}: {found}");
    }
}

#[test]
fn many_mistakes_are_bounded() {
    let routes = "    - hits: many\n".repeat(1_000);
    let found = mistakes(&format!("ext_authz:\n  routes:\n{routes}"));
    assert_eq!(found.len(), 100);
    let many = "    - {}\n".repeat(1_001);
    let found = mistakes(&format!("ext_authz:\n  routes:\n{many}"));
    assert_eq!(found, ["ext_authz.routes from FILE:3: there are 1001; write at most 1000"]);
}

/// Items of lists are documented as `routes[].name`, what stands under the user's names as `values.*.header`.
#[test]
fn the_documentation_has_every_setting() {
    let document = include_str!("../docs/configuration.md");
    let config = load(EVERYTHING, &[]).0.unwrap().config;
    let tree = serde_json::to_value(&config.ext_authz).unwrap();
    let mut missing = Vec::new();
    let mut check = |prefix: &str, fields: &serde_json::Value| {
        for field in fields.as_object().unwrap().keys().map(|name| format!("{prefix}.{name}")) {
            let nested = ["client_address", "paths", "claims", "lists", "lists.deny", "lists.allow", "answer"];
            let section = nested.iter().any(|name| field == format!("ext_authz.{name}")) || field.ends_with("].match");
            if !section && !document.contains(&format!("| `{field}` |")) {
                missing.push(field);
            }
        }
    };
    check("ext_authz", &tree);
    for name in ["client_address", "paths", "claims", "answer"] {
        check(&format!("ext_authz.{name}"), &tree[name]);
    }
    for name in ["deny", "allow"] {
        check(&format!("ext_authz.lists.{name}"), &tree["lists"][name]);
    }
    check("ext_authz.values.*", &tree["values"]["q"]);
    check("ext_authz.routes[]", &tree["routes"][0]);
    check("ext_authz.routes[].match", &tree["routes"][0]["match"]);
    assert!(missing.is_empty(), "docs/configuration.md lacks {missing:?}");
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// What is asked, as `domain: key=value key=value *hits, ...`.
fn asked(policy: &Policy, attributes: &Attributes<'_>) -> String {
    let evaluation = policy.evaluate(attributes);
    let Some(question) = evaluation.question() else { return "nothing".to_owned() };
    let descriptors = question.descriptors.iter().map(|descriptor| {
        let entries = descriptor.entries.iter().map(|entry| format!("{}={}", text(entry.key), text(entry.value)));
        entries.chain(descriptor.hits_addend.map(|hits| format!("*{hits}"))).collect::<Vec<_>>().join(" ")
    });
    format!("{}: {}", text(question.domain), descriptors.collect::<Vec<_>>().join(", "))
}

#[test]
fn the_example_of_the_documentation_does_what_is_said() {
    let document = include_str!("../docs/ext-authz.md");
    let examples: Vec<_> = document.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(examples.len(), 1);
    let loaded = load(examples[0], &[]).0.unwrap_or_else(|errors| panic!("{errors}"));
    let policy = Policy::new(&loaded.config.ext_authz, Some(&[7; 32])).unwrap();

    let text = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
    let nested = |fields: Vec<(&str, Value)>| Struct {
        fields: fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
    };
    let value = |structure| Value { kind: Some(Kind::StructValue(structure)) };
    let claims = nested(vec![("sub", text("alice")), ("app", value(nested(vec![("plan", text("pro"))])))]);
    let claims = nested(vec![("jwt_payload", value(claims))]).encode_to_vec();
    let mut chat = Attributes { method: b"POST", path: b"/v1/chat/completions", ..Attributes::default() };
    chat.headers.push((b"x-estimated-tokens", b"2500"));
    chat.headers.push((b"x-user-id", b"root"));
    chat.metadata.push((b"envoy.filters.http.jwt_authn", &claims));
    assert_eq!(asked(&policy, &chat), "llm: plan=pro user=alice *3, user=alice");
    let mut headers = Vec::new();
    policy.evaluate(&chat).upstream_headers(|name, value| headers.push((name.to_owned(), value.map(str::to_owned))));
    let set = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()));
    assert_eq!(headers, [("x-estimated-tokens".to_owned(), None), set("x-plan", "pro"), set("x-user-id", "alice")]);

    let mut plain = Attributes { method: b"GET", path: b"//api/./users/%37?x=1", ..Attributes::default() };
    plain.headers.push((b"x-forwarded-for", b"6.6.6.6, 198.51.100.7"));
    assert_eq!(asked(&policy, &plain), "edge: remote_address=198.51.100.7");
    assert_eq!(policy.evaluate(&plain).path, &b"/api/users/7"[..]);
    plain.metadata.push((b"envoy.filters.http.jwt_authn", &claims));
    let all = "edge: remote_address=198.51.100.7, user=alice method=GET path=/api/users/{id}";
    assert_eq!(asked(&policy, &plain), all);
    plain.path = b"/healthz";
    assert_eq!(asked(&policy, &plain), "nothing");
}

/// Every built-in value is described, and every source.
#[test]
fn the_documentation_has_every_value() {
    let document = include_str!("../docs/ext-authz.md");
    let missing: Vec<_> = BuiltIn::ALL.iter().filter(|value| !document.contains(&format!("| `{value}` |"))).collect();
    assert!(missing.is_empty(), "docs/ext-authz.md lacks {missing:?}");
}
