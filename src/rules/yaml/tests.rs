use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde_json::json;

use super::*;
use crate::core::clock::Micros;
use crate::core::limit::{Algorithm, Limit, Over, Unit, Window};
use crate::core::spec::{Charge, DescriptorSpec, EffectSpec, FailureMode, HeaderFamilies, Origin};
use crate::rules::report::MAX_DIAGNOSTICS;

fn read(text: &str) -> DomainSpec {
    let parsed = parse(text, 0);
    assert!(parsed.problems.is_empty(), "{:?}", parsed.problems);
    parsed.domain.unwrap()
}

/// The descriptors of a domain.
fn descriptors(text: &str) -> Vec<DescriptorSpec> {
    read(&format!("domain: d\ndescriptors:\n{text}")).descriptors
}

fn limits(descriptor: &DescriptorSpec) -> Vec<&Limit> {
    match &descriptor.rule.effect {
        Some(EffectSpec::Limits(limits)) => limits.iter().map(|spec| &spec.limit).collect(),
        effect => panic!("{effect:?}"),
    }
}

fn messages(text: &str) -> Vec<String> {
    parse(text, 0).problems.into_iter().map(|problem| problem.message).collect()
}

#[test]
fn a_file_without_settings_has_those_of_the_reference() {
    let domain = read("domain: d\n");
    assert_eq!(
        (domain.settings.charge, domain.settings.default_algorithm),
        (Charge::Independent, Algorithm::FixedWindow)
    );
    assert_eq!(domain.settings.response_headers, None);
    assert!(domain.settings.accept_overrides && domain.settings.accept_refunds);
    let only = &descriptors("  - { key: k, rate_limit: { unit: hour, requests_per_unit: 3 } }\n")[0];
    assert_eq!(only.rule.origin, Origin { file: 0, line: 3, column: 5 });
    assert_eq!((&*only.key, &only.value), ("k", &None));
    assert!(
        !only.rule.shadow_mode
            && !only.rule.quota_mode
            && !only.rule.disabled
            && !only.rule.protect
            && !only.rule.share_threshold
    );
    let limit = limits(only)[0];
    assert_eq!((limit.amount(), limit.window()), (3, &Window::Length(Unit::Hour.length())));
    assert_eq!((limit.algorithm(), limit.over(), limit.post_paid()), (Algorithm::FixedWindow, Over::Record, false));
}

#[test]
fn every_setting_is_read() {
    let domain = read(
        "
domain: d
charge: all_or_nothing
default_algorithm: leaky_bucket
response_headers: [x, legacy]
accept_overrides: off
accept_refunds: no
descriptors:
  - key: k
    value: v*
    shadow_mode: on
    quota_mode: yes
    detailed_metric: true
    value_to_metric: True
    share_threshold: y
    failure_mode: closed
    enabled: false
    tags: [a, 15, yes]
    protect: true
    rate_limits:
      - { name: one, window: 1m30s, requests_per_unit: 1_000, burst: 0x10, over: drop, post_paid: true }
      - { name: two, unit: MONTH, calendar: true, time_zone: Europe/Berlin, algorithm: fixed_window, requests_per_unit: 5, replaces: [ { name: other } ] }
",
    );
    assert_eq!(
        (domain.settings.charge, domain.settings.default_algorithm),
        (Charge::AllOrNothing, Algorithm::LeakyBucket)
    );
    assert_eq!(domain.settings.response_headers, Some(HeaderFamilies { draft: false, legacy: true, x: true }));
    assert!(!domain.settings.accept_overrides && !domain.settings.accept_refunds);
    let only = &domain.descriptors[0];
    assert!(only.rule.shadow_mode && only.rule.quota_mode && only.rule.detailed_metric && only.rule.value_to_metric);
    assert!(only.rule.share_threshold && only.rule.disabled && only.rule.protect);
    assert_eq!(only.rule.failure_mode, Some(FailureMode::Closed));
    assert_eq!(only.rule.tags, ["a", "15", "yes"]);
    let Some(EffectSpec::Limits(specs)) = &only.rule.effect else { panic!("{:?}", only.rule.effect) };
    assert_eq!(specs[0].name.as_deref(), Some("one"));
    assert_eq!((&specs[1].name, &*specs[1].replaces), (&Some("two".into()), &["other".to_owned()][..]));
    let (one, two) = (&specs[0].limit, &specs[1].limit);
    assert_eq!((one.amount(), one.capacity(), one.over(), one.post_paid()), (1_000, 16, Over::Drop, true));
    assert_eq!((one.algorithm(), one.window()), (Algorithm::LeakyBucket, &Window::Length(Micros::from_secs(90))));
    assert_eq!(two.window().to_string(), "month@Europe/Berlin");
}

#[test]
fn no_response_headers_are_not_the_server_s_default() {
    let headers = |text: &str| read(&format!("domain: d\nresponse_headers: {text}\n")).settings.response_headers;
    assert_eq!(headers("[]"), Some(HeaderFamilies { draft: false, legacy: false, x: false }));
    assert_eq!(headers(""), None);
}

#[test]
fn texts_are_taken_as_they_were_written() {
    let values: Vec<_> = descriptors(
        "
  - { key: 80, value: 15 }
  - { key: k, value: yes }
  - { key: k, value: 2020-01-01 }
  - { key: k, value: 0x1F }
  - { key: k, value: '1.5' }
  - { key: k, value: \"\" }
  - { key: k, value: ~ }
  - { key: k, value: 1.2.3.4 }
  - { key: k, value: !!str 1.5 }
  - key: |-
      two
      lines
    value: >-
      folded
      text
",
    )
    .into_iter()
    .map(|descriptor| (descriptor.key, descriptor.value.unwrap_or_else(|| "none".into())))
    .collect();
    let values: Vec<_> = values.iter().map(|(key, value)| (&**key, &**value)).collect();
    assert_eq!(
        values,
        [
            ("80", "15"),
            ("k", "yes"),
            ("k", "2020-01-01"),
            ("k", "0x1F"),
            ("k", "1.5"),
            ("k", "none"),
            ("k", "none"),
            ("k", "1.2.3.4"),
            ("k", "1.5"),
            ("two\nlines", "folded text"),
        ]
    );
}

#[test]
fn json_is_yaml() {
    let domain = read(
        r#"{"domain": "d", "descriptors": [{"key": "k", "rate_limit": {"unit": "second", "requests_per_unit": 5}}]}"#,
    );
    assert_eq!(limits(&domain.descriptors[0])[0].amount(), 5);
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_do_no_harm() {
    let parsed = parse("\u{feff}domain: d\r\ndescriptors:\r\n  - key: k\r\n    valeu: x\r\n", 7);
    assert_eq!(parsed.domain.unwrap().name, "d");
    assert_eq!(parsed.problems[0].origin, Origin { file: 7, line: 4, column: 5 });
}

#[test]
fn an_alias_is_what_it_names() {
    let both = descriptors(
        "
  - key: a
    rate_limit: &limit { unit: second, requests_per_unit: 5 }
    descriptors: &below
      - key: x
  - key: b
    rate_limit: *limit
    descriptors: *below
",
    );
    assert_eq!(limits(&both[0]), limits(&both[1]));
    assert_eq!(both[1].descriptors[0].key, "x");
}

#[test]
fn a_merge_adds_what_is_not_written() {
    let all = descriptors(
        "
  - &a { key: k, value: a, shadow_mode: true, rate_limit: { unit: second, requests_per_unit: 5 } }
  - &b { key: k, value: b, quota_mode: true, rate_limit: { unit: hour, requests_per_unit: 6 } }
  - <<: *a
    value: c
  - <<: [ *a, *b ]
    value: d
  - <<: *a
    value: e
    rate_limit: { requests_per_unit: 7 }
  - <<: { <<: *b, value: x }
    value: f
  - !!merge <<: *a
    value: g
",
    );
    let flags = |index: usize| (all[index].rule.shadow_mode, all[index].rule.quota_mode);
    assert_eq!((&all[2].value, flags(2)), (&Some("c".into()), (true, false)));
    // Of several, the first one wins.
    assert_eq!((limits(&all[3])[0].amount(), flags(3)), (5, (true, true)));
    // Two rate_limits are read as one: the unit is still the base's.
    let fifth = limits(&all[4])[0];
    assert_eq!((fifth.amount(), fifth.window().unit()), (7, Some(Unit::Second)));
    assert_eq!((limits(&all[5])[0].amount(), flags(5)), (6, (false, true)));
    assert_eq!((limits(&all[6])[0].amount(), flags(6)), (5, (true, false)));
}

#[test]
fn nothing_takes_a_merged_limit_away() {
    let parsed = parse(
        "domain: d\ndescriptors:\n  - &a { key: k, rate_limit: { unit: second, requests_per_unit: 5 } }\n  - <<: *a\n    \
         value: x\n    rate_limit:\n",
        0,
    );
    assert!(parsed.domain.unwrap().descriptors[1].rule.effect.is_none());
    assert_eq!(parsed.problems[0].message, "'rate_limit' is empty, so the descriptor has no limit");
}

#[test]
fn metadata_keeps_its_types() {
    let only = &descriptors(
        "
  - key: k
    metadata:
      y: yes
      text: 2020-01-01
      int: -1_000
      large: 18446744073709551615
      float: 1e3
      nothing: ~
      quoted: \"5\"
      list: [1, [a], { b: c }]
      map: { y: 1, n: 2, 1_0: 3, 0.5: 4, ~: 5, \"y\": 6, word: 7 }
",
    )[0];
    let expected = json!({
        "y": true,
        "text": "2020-01-01",
        "int": -1000,
        "large": 18_446_744_073_709_551_615_u64,
        "float": 1000.0,
        "nothing": null,
        "quoted": "5",
        "list": [1, ["a"], { "b": "c" }],
        "map": { "true": 1, "false": 2, "10": 3, "0.5": 4, "<nil>": 5, "y": 6, "word": 7 },
    });
    assert_eq!(serde_json::Value::Object(only.rule.metadata.clone().unwrap()), expected);
    assert!(descriptors("  - { key: k, metadata: {} }\n")[0].rule.metadata.is_none());
}

#[test]
fn metadata_maps_are_joined_at_the_top_only() {
    let all = descriptors(
        "
  - &a { key: k, metadata: { a: 1, b: { c: 1 } } }
  - <<: *a
    value: x
    metadata: { b: { d: 2 } }
",
    );
    assert_eq!(serde_json::Value::Object(all[1].rule.metadata.clone().unwrap()), json!({ "a": 1, "b": { "d": 2 } }));
}

#[test]
fn an_aliased_mistake_is_told_once() {
    let mistakes = messages(
        "domain: d\ndescriptors:\n  - key: a\n    rate_limit: &l { unit: foo, requests_per_unit: 1 }\n  - key: b\n    \
         rate_limit: *l\n",
    );
    assert_eq!(mistakes, ["invalid rate limit unit 'foo'"]);
}

#[test]
fn what_fails_does_not_hide_what_else_fails() {
    let mistakes = messages(
        "domain: d\ndescriptors:\n  - key: a\n    rate_limit: { window: 0s, requests_per_unit: 20000, algorithm: \
         sliding_window_log, burst: 5 }\n",
    );
    assert_eq!(mistakes.len(), 3, "{mistakes:?}");
}

#[test]
fn limits_of_one_file_share_calendar_windows() {
    let all = descriptors(
        "
  - { key: a, rate_limit: { unit: day, calendar: true, requests_per_unit: 5 } }
  - { key: b, rate_limit: { unit: day, calendar: true, requests_per_unit: 6 } }
",
    );
    let [Window::Calendar(a), Window::Calendar(b)] = [&all[0], &all[1]].map(|d| limits(d)[0].window()) else {
        panic!("no calendar windows")
    };
    assert!(std::sync::Arc::ptr_eq(a, b));
}

#[test]
fn a_file_of_nothing_but_mistakes_is_bounded() {
    let mut text = "domain: d\ndescriptors:\n".to_owned();
    for _ in 0..10 * MAX_DIAGNOSTICS {
        text.push_str("  - kye: x\n");
    }
    assert_eq!(parse(&text, 0).problems.len(), 2 * MAX_DIAGNOSTICS);
}

#[test]
fn aliases_expand_to_so_much_and_no_more() {
    // Each level doubles: 2^30 nodes would come out of a few hundred.
    let mut text = "domain: d\ndescriptors:\n  - key: k\n    metadata:\n      l0: &l0 [x, x]\n".to_owned();
    for level in 1..30 {
        text.push_str(&format!("      l{level}: &l{level} [*l{}, *l{}]\n", level - 1, level - 1));
    }
    assert!(messages(&text)[0].contains("aliases expand"));
    // Depth is counted through aliases, too.
    let mut text = "domain: d\ndescriptors:\n  - key: k\n    metadata:\n      l0: &l0 [x]\n".to_owned();
    for level in 1..300 {
        text.push_str(&format!("      l{level}: &l{level} [*l{}]\n", level - 1));
    }
    assert!(messages(&text)[0].contains("nested more than"));
}

const VALID: &str = include_str!("../../../examples/rules/quickstart.yaml");

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2_000,
        rng_seed: RngSeed::Fixed(20_260_102),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Whatever is written, there is an answer, and every place in it exists.
    #[test]
    fn any_text_has_an_answer(text in "[a-c:,\\-\\[\\]{}&*!|>'\"%@`#?<~0-9 \n\t\r\u{feff}é]{0,80}") {
        check_places(&text);
    }

    /// The same for valid rules with a piece cut out and something else put in.
    #[test]
    fn any_damage_has_an_answer(
        cut in 0..VALID.len(), length in 0_usize..40, put in "[:,\\-\\[\\]{}&*!|>'\" \n\t]{0,6}",
    ) {
        let end = (cut + length).min(VALID.len());
        prop_assume!(VALID.is_char_boundary(cut) && VALID.is_char_boundary(end));
        check_places(&[&VALID[..cut], &put, &VALID[end..]].concat());
    }
}

fn check_places(text: &str) {
    let lines = text.replace("\r\n", "\n").matches(['\n', '\r']).count() + 1;
    for problem in parse(text, 0).problems {
        assert!((1..=lines).contains(&(problem.origin.line as usize)), "{problem:?}");
        assert!(!problem.message.is_empty());
    }
}

#[test]
fn each_document_is_a_domain() {
    let text = "# rules\n---\ndomain: a\ndescriptors: [{ key: k }]\n---\n---\n# nothing\n---\ndomain: b\nunknown: 1\n...\n---\ndomain: c\n";
    let all = parse_all(text, 3);
    let names: Vec<Option<&str>> =
        all.iter().map(|parsed| parsed.domain.as_ref().map(|domain| &*domain.name)).collect();
    assert_eq!(names, [Some("a"), Some("b"), Some("c")]);
    let origin = |line, column| Origin { file: 3, line, column };
    assert_eq!(all[0].domain.as_ref().unwrap().descriptors[0].rule.origin, origin(4, 15));
    let problems: Vec<_> = all.iter().flat_map(|parsed| &parsed.problems).collect();
    assert_eq!(
        (problems.len(), problems[0].origin, &*problems[0].message),
        (1, origin(10, 1), "unknown key 'unknown'")
    );
}

#[test]
fn one_document_is_as_a_file() {
    for text in ["", "# nothing\n", "---\n---\n", "domain: a\n", "domain: ''\n", "[]", "domain: a\nx: 1\n", "a: [\n"] {
        let all = parse_all(text, 0);
        let alone = parse(text, 0);
        assert_eq!(all.len(), 1, "{text}");
        if text != "---\n---\n" {
            assert_eq!(all[0].problems, alone.problems, "{text}");
        }
        assert_eq!(all[0].domain.is_some(), alone.domain.is_some(), "{text}");
    }
}

#[test]
fn nothing_is_read_behind_a_syntax_error() {
    let all = parse_all("domain: a\n---\ndomain: [\n---\ndomain: c\n", 0);
    assert_eq!(all.len(), 2);
    assert!(all[1].domain.is_none() && all[1].problems[0].message.starts_with("error loading config file"));
    assert!(all[1].problems[0].origin.line >= 3, "{:?}", all[1].problems);
}

#[test]
fn anchors_are_of_their_document() {
    let all = parse_all("domain: &name a\n---\ndomain: *name\n", 0);
    assert_eq!(all[1].problems[0].message, "error loading config file: unknown anchor");
    assert_eq!(all[1].problems[0].origin.line, 3);
}

#[test]
fn many_documents_expand_no_further_than_one() {
    let tens = |name: &str, of: &str| format!("{name}: &{name} [{}]\n", [of; 10].join(", "));
    let metadata = [tens("b", "*a"), tens("c", "*b"), tens("d", "*c"), tens("e", "*d"), tens("f", "*e")];
    let lines: String = metadata.iter().map(|line| format!("      {line}")).collect();
    let one = format!("domain: d\ndescriptors:\n  - key: k\n    metadata:\n      a: &a [1]\n{lines}");
    assert_eq!(parse(&one, 0).problems, [], "one is fine");
    let all = parse_all(&vec![one.as_str(); 20].join("---\n"), 0);
    let last = &all.last().unwrap().problems[0].message;
    assert!(all.len() < 20 && last.contains("aliases expand to more than"), "{} {last}", all.len());
}

#[test]
fn too_many_documents_are_refused() {
    let all = parse_all(&"domain: d\n---\n".repeat(MAX_DOCUMENTS + 5), 0);
    assert_eq!(all.len(), MAX_DOCUMENTS + 1);
    let problem = &all[MAX_DOCUMENTS].problems[0];
    assert!(problem.message.contains("more than 10000 documents"));
    assert_eq!(problem.origin.line as usize, 2 * MAX_DOCUMENTS + 1);
    let all = parse_all(&"x: 1\n---\n".repeat(MAX_DOCUMENTS), 0);
    assert!(all.len() < MAX_DOCUMENTS, "enough mistakes are told");
}

#[test]
fn only_a_quoted_text_of_a_list_is_empty() {
    let rule = &descriptors("  - { key: k, tags: ['', a, ~, \"\"] }\n")[0].rule;
    assert_eq!(rule.tags, ["", "a", ""]);
    assert_eq!(messages("domain: d\nresponse_headers: ['']\n"), ["unknown response headers ''"]);
}
