//! Texts become records and are texts again, and what is applied is what was meant.

use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::tree::flatten;
use super::*;
use crate::core::limit::Algorithm;
use crate::core::path::DescriptorPath;
use crate::core::spec::{Charge, DomainSettings, DomainSpec, EffectSpec, HeaderFamilies, RuleSpec};
use crate::rules::form::{has_wildcard, strategies};
use crate::rules::repository::{Content, Expected, Override, Record, Revision, Stamp, Subject, Unreadable};
use crate::rules::yaml;

fn record(subject: Subject, content: Content) -> Record {
    let stamp = Stamp { at: Timestamp::UNIX_EPOCH, by: "ada".into() };
    Record { subject, revision: Revision(7), content: Some(Ok(content)), created: stamp.clone(), updated: stamp }
}

fn read(text: &str) -> Vec<DomainSpec> {
    let one = |parsed: yaml::Parsed| {
        assert!(parsed.problems.is_empty(), "{:?}\n{text}", parsed.problems);
        parsed.domain.unwrap()
    };
    yaml::parse_all(text, 0).into_iter().map(one).collect()
}

/// What a repository has when a text was applied to an empty one.
fn records(text: &str) -> Vec<Record> {
    let all = read(text).into_iter().flat_map(|spec| contents(&spec).unwrap());
    all.map(|(subject, content)| record(subject, content)).collect()
}

fn export(records: &[Record]) -> String {
    let contents = records.iter().filter_map(|record| {
        let content = record.content.as_ref()?.as_ref().ok()?;
        Some((&record.subject, content))
    });
    yaml::write_all(&specs(contents))
}

fn apply(records: &[Record], diff: Diff) -> Vec<Record> {
    let mut all: BTreeMap<Subject, Record> =
        records.iter().map(|record| (record.subject.clone(), record.clone())).collect();
    for change in diff.into_changes() {
        let there = all.remove(&change.subject).map(|record| record.revision);
        assert_eq!(change.expected, there.map_or(Expected::Absent, Expected::At));
        if let Some(content) = change.content {
            all.insert(change.subject.clone(), record(change.subject, content));
        }
    }
    all.into_values().collect()
}

fn shown(current: &[Record], desired: &str) -> String {
    diff(current, &read(desired)).unwrap().to_string()
}

const EDGE: &str = "
domain: edge
descriptors:
  - { key: user_id, value: '123', rate_limit: { unit: minute, requests_per_unit: 5 } }
  - key: path
    value: /a*
    rate_limit: { unit: minute, requests_per_unit: 5 }
  - key: path
    value: /*
    descriptors:
      - { key: user_id, rate_limit: { unit: hour, requests_per_unit: 5, algorithm: token_bucket, burst: 2 } }
---
domain: tenants
charge: all_or_nothing
response_headers: []
";

#[test]
fn a_text_is_applied_once() {
    let all = records(EDGE);
    let subjects: Vec<String> = all.iter().map(|record| record.subject.to_string()).collect();
    assert_eq!(
        subjects,
        [
            "domain edge",
            "rule path=/* of domain edge",
            "rule path=/*,user_id of domain edge",
            "rule path=/a* of domain edge",
            "rule user_id=123 of domain edge",
            "domain tenants"
        ]
    );
    assert_eq!(diff(&all, &read(EDGE)).unwrap(), Diff::default());
    assert_eq!(diff(&all, &read(&export(&all))).unwrap(), Diff::default());
}

#[test]
fn a_text_is_written_as_people_write_it() {
    assert_eq!(
        export(&records(EDGE)),
        r#"domain: edge
charge: independent
default_algorithm: fixed_window
accept_overrides: true
accept_refunds: true
descriptors:
  - key: user_id
    value: "123"
    rate_limit: { requests_per_unit: 5, unit: minute, algorithm: fixed_window, over: record }
  - key: path
    value: "/a*"
    rate_limit: { requests_per_unit: 5, unit: minute, algorithm: fixed_window, over: record }
  - key: path
    value: "/*"
    descriptors:
      - key: user_id
        rate_limit: { requests_per_unit: 5, unit: hour, algorithm: token_bucket, burst: 2, over: record }
---
domain: tenants
charge: all_or_nothing
default_algorithm: fixed_window
response_headers: []
accept_overrides: true
accept_refunds: true
"#
    );
}

#[test]
fn differences_are_told_line_by_line() {
    let current = records(EDGE);
    let desired = EDGE
        .replace("requests_per_unit: 5 } }\n  - key: path", "requests_per_unit: 6 }, tags: [a] }\n  - key: path")
        .replace("    value: /a*\n", "    value: /b\n")
        .replace("charge: all_or_nothing\n", "");
    assert_eq!(
        shown(&current, &desired),
        "~ rule edge path=/*: order 1 -> (none)\n\
         - rule edge path=/a*\n\
         + rule edge path=/b\n\
         ~ rule edge user_id=123: rate_limit.requests_per_unit 5 -> 6, tags (none) -> [\"a\"]\n\
         ~ domain tenants: charge \"all_or_nothing\" -> \"independent\"\n"
            .replace("~ rule edge path=/*: order 1 -> (none)\n", "")
    );
    let views: Vec<DifferenceView> =
        diff(&current, &read(&desired)).unwrap().differences.iter().map(Difference::view).collect();
    let view = serde_json::to_value(&views[2]).unwrap();
    assert_eq!(
        (view["change"].as_str(), view["kind"].as_str(), view["path"].as_str()),
        (Some("update"), Some("rule"), Some("user_id=123"))
    );
    assert_eq!(view["fields"][0]["field"], "rate_limit.requests_per_unit");
    assert_eq!(
        (&view["before"]["rate_limit"]["requests_per_unit"], &view["fields"][0]["after"]),
        (&5.into(), &6.into())
    );
    assert_eq!((views[0].change, views[1].change), ("delete", "create"));
}

#[test]
fn only_the_domains_of_the_text_change() {
    let current = records(EDGE);
    assert_eq!(shown(&current, "domain: other\naccept_refunds: false\n"), "+ domain other\n");
    let text = shown(&current, "domain: edge\n");
    assert!(text.starts_with("! domain edge is left without any rule; 4 are deleted\n"), "{text}");
    assert!(!text.contains("tenants"), "{text}");
}

#[test]
fn what_may_not_be_meant_is_warned_of() {
    let mut current = records(EDGE);
    let over = Override { effect: EffectSpec::Unlimited { name: None, replaces: vec![] }, until: Timestamp::MAX };
    let stays = Subject::Override("edge".into(), "path=/a*".parse().unwrap());
    current.push(record(stays.clone(), Content::Override(over)));
    let strange = current.iter_mut().find(|record| record.subject.to_string().contains("user_id=123")).unwrap();
    strange.content = Some(Err(Unreadable("is newer".to_owned(), serde_json::Value::Null)));
    let (strange, reason) = (strange.subject.clone(), "is newer".to_owned());
    let found = diff(&current, &read("domain: edge\ndescriptors: [{ key: path, value: '/*' }]")).unwrap();
    assert_eq!(
        found.warnings,
        [
            Warning::Unreadable { subject: strange, reason },
            Warning::OverrideStays(stays.clone()),
            Warning::DeletesMost { domain: "edge".into(), deleted: 3, of: 4 },
        ]
    );
    assert!(found.differences.iter().all(|difference| difference.subject != stays), "overrides stay");
}

#[test]
fn mistakes_of_trees_are_all_told() {
    let text = "domain: edge\ndescriptors: [{ key: a }, { key: b, descriptors: [{ key: c }, { key: c }] }, { key: a }]";
    let mut desired = read(text);
    desired.extend(read("\n\ndomain: edge\n"));
    let errors = diff(&[], &desired).unwrap_err();
    let told: Vec<String> = errors.iter().map(|error| format!("{}: {error}", error.origin.line)).collect();
    assert_eq!(
        told,
        [
            "2: descriptor 'b,c' stands twice; leave one of them out",
            "2: descriptor 'a' stands twice; leave one of them out",
            "3: domain 'edge' stands twice; write all of it in one place",
        ]
    );
    let long = format!("domain: edge\ndescriptors: [{{ key: {} }}]", "k".repeat(2_001));
    let errors = diff(&[], &read(&long)).unwrap_err();
    assert_eq!(errors[0].to_string(), "the descriptor's path cannot be: 2001 bytes long, at most 2000 are allowed");
}

#[test]
fn the_order_of_wildcards_is_what_counts() {
    let rule = |path: &str, order| {
        record(Subject::Rule("edge".into(), path.parse().unwrap()), Content::Rule(RuleSpec { order, ..limit() }))
    };
    fn limit() -> RuleSpec {
        RuleSpec { effect: Some(EffectSpec::Unlimited { name: None, replaces: vec![] }), ..RuleSpec::default() }
    }
    let text = |values: &[&str]| {
        let lines =
            values.iter().map(|v| format!("  - {{ key: k, value: '{v}', rate_limit: {{ unlimited: true }} }}\n"));
        let settings = "charge: all_or_nothing\ndefault_algorithm: sliding_window_log\naccept_overrides: false\n";
        format!("domain: edge\n{settings}accept_refunds: false\ndescriptors:\n{}", lines.collect::<String>())
    };
    let current = [rule("k=a*", 0), rule("k=b*", 0), rule("k=c*", 9), rule("k=x", 3)];
    assert_eq!(shown(&current, &text(&["x", "a*", "b*", "c*"])), "", "numbers stay");
    assert_eq!(shown(&current, &text(&["x", "b*", "c*"])), "- rule edge k=a*\n", "also when one goes");
    assert_eq!(
        shown(&current, &text(&["x", "b*", "a*", "c*"])),
        "~ rule edge k=a*: order (none) -> 1\n~ rule edge k=c*: order 9 -> 2\n"
    );
    assert_eq!(
        shown(&current, &text(&["a*", "d*", "b*", "c*", "x"])),
        "~ rule edge k=b*: order (none) -> 2\n~ rule edge k=c*: order 9 -> 3\n+ rule edge k=d*\n"
    );
}

#[test]
fn a_node_without_anything_of_its_own_may_have_a_record() {
    let subject = |path: &str| Subject::Rule("edge".into(), path.parse().unwrap());
    let below = record(subject("a,b"), Content::Rule(RuleSpec { shadow_mode: true, ..RuleSpec::default() }));
    let bare = record(subject("a"), Content::Rule(RuleSpec::default()));
    let flagged = record(subject("a"), Content::Rule(RuleSpec { protect: true, ..RuleSpec::default() }));
    let text = export(std::slice::from_ref(&below));
    assert_eq!(shown(std::slice::from_ref(&below), &text), "");
    assert_eq!(shown(&[bare.clone(), below.clone()], &text), "");
    assert_eq!(shown(&[flagged, below.clone()], &text), "~ rule edge a: protect true -> (none)\n");
    let alone = "domain: edge\ndescriptors: [{ key: a }]\n";
    let text = diff(std::slice::from_ref(&below), &read(alone)).unwrap().to_string();
    assert!(text.contains("+ rule edge a\n- rule edge a,b\n"), "{text}");
    let text = diff(&[bare, below], &read("domain: edge\ndescriptors: [{ key: b }]\n")).unwrap().to_string();
    assert!(text.contains("- rule edge a\n- rule edge a,b\n+ rule edge b\n"), "{text}");
}

#[test]
fn everything_is_as_it_was() {
    let subject = |path: &str| Subject::Rule("edge".into(), path.parse().unwrap());
    let rule = |shadow_mode| Content::Rule(RuleSpec { shadow_mode, ..RuleSpec::default() });
    let over = |second| {
        let until = Timestamp::from_second(second).unwrap();
        Content::Override(Override { effect: EffectSpec::Unlimited { name: None, replaces: vec![] }, until })
    };
    let gone = |subject| Record { content: None, ..record(subject, rule(true)) };
    let over_at = |path: &str| Subject::Override("edge".into(), path.parse().unwrap());
    let now = Timestamp::from_second(1_000).unwrap();
    let changed = vec![
        (record(subject("changed"), rule(true)), Some(Ok(rule(false)))),
        (record(subject("same-again"), rule(true)), Some(Ok(rule(true)))),
        (record(subject("new"), rule(true)), None),
        (gone(subject("deleted")), Some(Ok(rule(true)))),
        (gone(subject("never")), None),
        (gone(over_at("ended")), Some(Ok(over(1_000)))),
        (gone(over_at("lasts")), Some(Ok(over(1_001)))),
    ];
    let back = rollback(changed, now).unwrap();
    assert_eq!(
        back.to_string(),
        "~ rule edge changed: shadow_mode true -> (none)\n+ rule edge deleted\n- rule edge new\n+ override edge lasts\n"
    );
    let expected: Vec<Expected> = back.into_changes().into_iter().map(|change| change.expected).collect();
    let there = Expected::At(Revision(7));
    assert_eq!(expected, [there, Expected::Absent, there, Expected::Absent]);
    let strange =
        (record(subject("a"), rule(true)), Some(Err(Unreadable("is newer".to_owned(), serde_json::Value::Null))));
    let errors = rollback([strange], now).unwrap_err();
    assert!(errors[0].to_string().starts_with("rule a of domain edge cannot be as it was then"));
}

#[test]
fn any_metadata_is_written_and_read() {
    let texts = [
        "",
        "yes",
        "~",
        "<<",
        "1.0",
        "0x1F",
        "2020-01-01",
        "a: b",
        "#",
        "*a",
        "- a",
        "tab\t\"\\\n\r\u{0}",
        "\u{85}\u{2028}",
    ];
    let texts =
        texts.map(str::to_owned).into_iter().chain(["k".repeat(3_000), "\u{1F30A}\u{FEFF}ü\u{FFFE}".to_owned()]);
    let map = |texts: Vec<String>| -> Map<String, Value> {
        texts.into_iter().map(|text| (text.clone(), json!({ text.clone(): [text, {}, []] }))).collect()
    };
    let mut metadata = map(texts.collect());
    let numbers = json!([u64::MAX, i64::MIN, 0, -1, 1.5, -0.0, 1.0, 1e16, 1e300, 1e-7, 5e-324, true, false, null]);
    metadata.insert("numbers".to_owned(), numbers);
    let deep = (0..40).fold(json!(1), |below, _| json!({ "a": [below] }));
    metadata.insert("deep".to_owned(), deep);
    let rule = RuleSpec { metadata: Some(metadata.clone()), ..RuleSpec::default() };
    let current = [record(Subject::Rule("edge".into(), "k".parse().unwrap()), Content::Rule(rule))];
    let desired = read(&export(&current));
    assert_eq!(desired[0].descriptors[0].rule.metadata.as_ref(), Some(&metadata));
    assert_eq!(diff(&current, &desired).unwrap(), Diff::default());
}

#[test]
fn a_line_stays_a_line() {
    let current = [record(Subject::Domain("a\n+ rule b c".into()), Content::Domain(DomainSettings::FILE))];
    let text = diff(&current, &[DomainSpec { settings: DomainSettings::API, ..DomainSpec::new("a\n+ rule b c") }]);
    assert_eq!(text.unwrap().to_string().lines().count(), 1);
}

prop_compose! {
    fn settings()(
        all_or_nothing in any::<bool>(),
        default_algorithm in prop::sample::select(Algorithm::ALL.to_vec()),
        headers in prop::option::of(any::<[bool; 3]>()),
        accept_overrides in any::<bool>(),
        accept_refunds in any::<bool>(),
    ) -> DomainSettings {
        let charge = if all_or_nothing { Charge::AllOrNothing } else { Charge::Independent };
        let response_headers = headers.map(|[draft, legacy, x]| HeaderFamilies { draft, legacy, x });
        DomainSettings { charge, default_algorithm, response_headers, accept_overrides, accept_refunds }
    }
}

fn path() -> impl Strategy<Value = DescriptorPath> {
    let entry = prop::sample::select(vec!["a", "a=1", "a=x*", "a=*", "b", "b=y*", "c*", "c*=1"]);
    let known = prop::collection::vec(entry, 1..4).prop_map(|entries| entries.join(",").parse().unwrap());
    let any = prop::collection::vec((".{1,6}", prop::option::of(".{0,6}")), 1..3).prop_map(|entries| {
        let entries = entries
            .into_iter()
            .map(|(key, value)| crate::core::path::PathEntry { key: key.into(), value: value.map(Into::into) });
        DescriptorPath::new(entries).unwrap()
    });
    prop_oneof![6 => known, 1 => any]
}

fn rule() -> impl Strategy<Value = RuleSpec> {
    prop_oneof![strategies::rule(), Just(RuleSpec::default())]
}

fn names() -> impl Strategy<Value = [String; 2]> {
    let any = ".{1,5}".prop_filter("two names", |name| name != "edge");
    prop_oneof![Just("no".to_owned()), any].prop_map(|name| ["edge".to_owned(), name])
}

prop_compose! {
    /// The records of up to two domains, as the API makes them: with any orders.
    fn repository()(
        rules in prop::collection::btree_map((0..2_usize, path()), rule(), 0..10),
        names in names(),
        settings in prop::collection::vec(prop::option::of(settings()), 2),
    ) -> Vec<Record> {
        let mut all: BTreeMap<Subject, Content> = BTreeMap::new();
        for (name, settings) in names.iter().zip(settings) {
            if let Some(settings) = settings {
                all.insert(Subject::Domain(name.as_str().into()), Content::Domain(settings));
            }
        }
        for ((name, path), mut rule) in rules {
            rule.share_threshold &= has_wildcard(&path);
            all.insert(Subject::Rule(names[name].as_str().into(), path), Content::Rule(rule));
        }
        all.into_iter().map(|(subject, content)| record(subject, content)).collect()
    }
}

/// What trees say, whichever of their nodes have a record.
fn said(records: &[Record]) -> Vec<String> {
    let contents = records.iter().filter_map(|record| Some((&record.subject, record.content.as_ref()?.as_ref().ok()?)));
    let mut lines = Vec::new();
    for spec in specs(contents) {
        if spec.settings != DomainSettings::API {
            lines.push(format!("{}: {:?}", spec.name, spec.settings));
        }
        let nodes = flatten(&spec).unwrap();
        lines.extend(nodes.into_iter().map(|(path, node)| format!("{} {path}: {:?}", spec.name, node.rule)));
    }
    lines
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_was_exported_makes_no_difference(current in repository()) {
        let text = export(&current);
        let desired = if current.is_empty() { Vec::new() } else { read(&text) };
        prop_assert_eq!(diff(&current, &desired).unwrap(), Diff::default(), "{}", text);
    }

    #[test]
    fn what_is_applied_is_there(current in repository(), desired in repository()) {
        let text = export(&desired);
        let wanted = if desired.is_empty() { Vec::new() } else { read(&text) };
        let after = apply(&current, diff(&current, &wanted).unwrap());
        prop_assert_eq!(diff(&after, &wanted).unwrap(), Diff::default());
        let of_text = |record: &&Record| wanted.iter().any(|spec| spec.name == record.subject.domain());
        let (meant, rest): (Vec<Record>, Vec<Record>) = after.iter().cloned().partition(|record| of_text(&record));
        prop_assert_eq!(said(&meant), said(&desired));
        let before: Vec<&Record> = current.iter().filter(|record| !of_text(record)).collect();
        prop_assert_eq!(rest.iter().collect::<Vec<_>>(), before);
    }
}
