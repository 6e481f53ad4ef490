//! What limits become, and what is told of those that cannot come over.

use std::path::PathBuf;

use crate::rules::import::{Finding, Format, Imported, Outcome, import};
use crate::rules::yaml::write;

fn files(texts: &[&str]) -> (tempfile::TempDir, Vec<PathBuf>) {
    let directory = tempfile::tempdir().unwrap();
    let write = |(index, text): (usize, &&str)| {
        let path = directory.path().join(format!("limits{index}.yaml"));
        std::fs::write(&path, text).unwrap();
        path
    };
    let paths = texts.iter().enumerate().map(write).collect();
    (directory, paths)
}

fn imported(text: &str) -> Imported {
    let (_directory, paths) = files(&[text]);
    import(Format::Limitador, &paths, false).unwrap_or_else(|report| panic!("{report}"))
}

fn refused(texts: &[&str]) -> String {
    let (_directory, paths) = files(texts);
    import(Format::Limitador, &paths, false).unwrap_err().to_string()
}

/// Limits of one namespace: amount, conditions, variables.
fn limits(limits: &[(u64, &[&str], &[&str])]) -> Imported {
    let list = |texts: &[&str]| serde_json::json!(texts).to_string();
    let text: String = limits
        .iter()
        .map(|(amount, conditions, variables)| {
            let (conditions, variables) = (list(conditions), list(variables));
            let counts = format!("namespace: shop, max_value: {amount}, seconds: 60");
            format!("- {{ {counts}, conditions: {conditions}, variables: {variables} }}\n")
        })
        .collect();
    imported(&text)
}

fn outcomes(imported: &Imported) -> Vec<Outcome> {
    imported.findings.iter().map(|finding| finding.outcome).collect()
}

fn why(imported: &Imported) -> Vec<&str> {
    imported.findings.iter().map(|Finding { why, .. }| why.as_str()).collect()
}

/// The keys of each descriptor to be sent.
fn sent(imported: &Imported) -> Vec<Vec<&str>> {
    imported.descriptors.iter().map(|one| one.entries.iter().map(|(key, _)| key.as_str()).collect()).collect()
}

const METHOD: &str = "descriptors[0].method";

#[test]
fn limits_on_one_path_become_one_rule() {
    let text = "
- namespace: shop
  name: minute
  max_value: 10
  seconds: 60
  conditions: [\"descriptors[0].method == 'GET'\"]
  variables: [\"descriptors[0].user_id\"]
- namespace: shop
  max_value: 100
  seconds: 90
  conditions: [\"descriptors[0].method == 'GET'\"]
  variables: [\"descriptors[0].user_id\"]
";
    let imported = imported(text);
    assert_eq!(
        write(&imported.domains[0]),
        "domain: shop
charge: all_or_nothing
default_algorithm: fixed_window
accept_overrides: false
accept_refunds: false
descriptors:
  - key: method
    value: GET
    descriptors:
      - key: user_id
        rate_limits:
          - { name: minute, requests_per_unit: 10, unit: minute, algorithm: fixed_window, over: drop }
          - { requests_per_unit: 100, window: \"90s\", algorithm: fixed_window, over: drop }
"
    );
    assert_eq!(outcomes(&imported), [Outcome::Kept, Outcome::Kept]);
    assert_eq!(sent(&imported), [["method", "user_id"]]);
    let finding = &imported.findings[0];
    assert_eq!((finding.line, finding.column), (2, 3));
    assert!(finding.to_string().ends_with("kept: \"minute\", 10 in 60 s of domain shop, now method=GET,user_id"));
}

#[test]
fn what_excludes_a_value_exempts_it() {
    let not_get = format!("{METHOD} != 'GET'");
    let text = write(&limits(&[(5, &[&not_get], &[])]).domains[0]);
    assert!(
        text.ends_with(
            "descriptors:
  - key: method
    value: GET
  - key: method
    value: \"*\"
    rate_limit: { requests_per_unit: 5, unit: minute, algorithm: fixed_window, over: drop }
    share_threshold: true
"
        ),
        "{text}"
    );
    // Counted for each value, it needs no pattern.
    let text = write(&limits(&[(5, &[&not_get], &[METHOD])]).domains[0]);
    assert!(text.contains("value: GET\n  - key: method\n    rate_limit") && !text.contains("share"), "{text}");
}

#[test]
fn keys_whose_values_count_together_go_last() {
    let imported = limits(&[
        (100, &["descriptors[0].path.startsWith('/api/')"], &[]),
        (5, &["descriptors[0].path == '/api/export'"], &["descriptors[0].user_id"]),
    ]);
    assert_eq!(outcomes(&imported), [Outcome::Kept, Outcome::Kept], "{:?}", imported.findings);
    assert_eq!(sent(&imported), [vec!["path"], vec!["user_id", "path"]]);
}

#[test]
fn a_counter_that_is_split_is_told() {
    let imported = limits(&[(9, &["descriptors[0].method in ['PUT', 'POST']"], &[])]);
    assert_eq!(outcomes(&imported), [Outcome::Changed]);
    assert!(why(&imported)[0].contains("split by the values of method"), "{:?}", why(&imported));
    // With a counter for each value, nothing is split.
    let imported = limits(&[(9, &["descriptors[0].method in ['PUT', 'POST']"], &[METHOD])]);
    assert_eq!(outcomes(&imported), [Outcome::Kept]);
}

#[test]
fn a_limit_on_every_request_needs_an_entry_of_its_own() {
    let imported = limits(&[(1_000, &[], &[])]);
    assert_eq!(outcomes(&imported), [Outcome::Changed]);
    assert_eq!(imported.descriptors[0].from, None);
    assert_eq!(imported.descriptors[0].entries, [("generic_key".to_owned(), Some("every_request".to_owned()))]);
    let imported = limits(&[(1_000, &[], &[]), (5, &[], &["descriptors[0].generic_key"])]);
    assert_eq!(outcomes(&imported), [Outcome::NoEquivalent, Outcome::Kept]);
}

#[test]
fn a_limit_may_be_about_a_later_descriptor() {
    let imported = limits(&[(5, &["descriptors[1].a == '1'"], &["descriptors[1].b"]), (6, &[], &["descriptors[0].b"])]);
    assert_eq!(outcomes(&imported), [Outcome::Kept, Outcome::Kept]);
    assert_eq!(sent(&imported), [vec!["a", "b"], vec!["b"]]);
    assert_eq!(imported.descriptors.iter().map(|one| one.from).collect::<Vec<_>>(), [Some(1), Some(0)]);
}

#[test]
fn what_cannot_be_said_is_left_out_with_the_reason() {
    let cases: [(&[&str], &[&str], &str); 6] = [
        (&["descriptors[0].a == '1' || descriptors[0].b == '1'"], &[], "condition \"descriptors[0].a == '1' ||"),
        (&["descriptors[0].a == '1'"], &["int(descriptors[0].b) / 10"], "variable \"int(descriptors[0].b) / 10\": "),
        (&["descriptors[0].a == '1'", "descriptors[1].b == '1'"], &[], "several descriptors"),
        (&["descriptors[0].a == '1'", "descriptors[0].a == '2'"], &[], "exclude each other"),
        (&["method == 'GET'"], &[], "limitador 1 only"),
        (&[], &["user_id"], "limitador 1 only"),
    ];
    for (conditions, variables, reason) in cases {
        let imported = limits(&[(5, conditions, variables)]);
        assert_eq!(outcomes(&imported), [Outcome::NoEquivalent]);
        assert!(why(&imported)[0].contains(reason), "{:?}", why(&imported));
        assert!(imported.domains.is_empty(), "a domain without rules is of no use");
    }
    let imported = imported("- { namespace: a, max_value: 4294967296, seconds: 60 }");
    assert!(why(&imported)[0].contains("more than 4294967295"), "{:?}", why(&imported));
    let imported = self::imported("- { namespace: a, max_value: 1, seconds: 18446744073709551615 }");
    assert!(why(&imported)[0].contains("ten years"), "{:?}", why(&imported));
    let imported =
        self::imported("- { namespace: a, id: x, max_value: 1, seconds: 1, variables: [\"descriptors[0].k\"] }");
    assert_eq!(outcomes(&imported), [Outcome::Kept, Outcome::NoEquivalent]);
}

#[test]
fn limits_that_cannot_share_a_level_give_way_to_earlier_ones() {
    let imported = limits(&[
        (5, &["descriptors[0].path.startsWith('/a')"], &[]),
        (6, &["descriptors[0].path.contains('b')"], &[]),
        (7, &["descriptors[0].path.startsWith('/a')", "descriptors[0].path.endsWith('z')"], &[]),
        (8, &["descriptors[0].path.startsWith('/a')"], &["descriptors[0].path"]),
        (9, &["descriptors[0].path.startsWith('/c')"], &["descriptors[0].path"]),
    ]);
    use Outcome::{Kept, NoEquivalent};
    assert_eq!(outcomes(&imported), [Kept, NoEquivalent, NoEquivalent, NoEquivalent, Kept]);
    assert!(why(&imported)[1].contains("overlaps that of line 1"), "{:?}", why(&imported));
    assert!(why(&imported)[3].contains("line 1 counts the values of 'path' together"), "{:?}", why(&imported));
    let imported = limits(&[(5, &[], &["descriptors[0].a"]), (5, &["descriptors[1].a == '1'"], &[])]);
    assert!(why(&imported)[1].contains("same entries of another descriptor"), "{:?}", why(&imported));
}

#[test]
fn names_of_one_rule_are_told_apart() {
    let limit = |seconds| {
        format!("- {{ namespace: a, name: n, max_value: 1, seconds: {seconds}, variables: [\"descriptors[0].k\"] }}\n")
    };
    let imported = imported(&[limit(60), limit(61)].concat());
    assert_eq!(outcomes(&imported), [Outcome::Kept, Outcome::Changed]);
    assert!(write(&imported.domains[0]).contains("name: n-2"), "{}", write(&imported.domains[0]));
}

#[test]
fn conditions_that_multiply_are_refused_before_they_fill_the_memory() {
    let text: String = (0..8)
        .map(|number| {
            let condition = |key| format!("\"descriptors[0].k{key} != 'v{number}'\"");
            let conditions = (0..6).map(condition).collect::<Vec<_>>().join(", ");
            format!("- {{ namespace: n, max_value: 1, seconds: 1, conditions: [{conditions}] }}\n")
        })
        .collect();
    assert!(refused(&[&text]).contains("combine to more than 100000 descriptors"));
}

#[test]
fn files_that_limitador_misreads_are_refused() {
    let cases = [
        ("- { namespace: a, seconds: 60 }", "max_value is missing"),
        ("- { namespace: a, max_value: 5, seconds: 0 }", "seconds is 0"),
        ("- { namespace: a, max_value: 5 }", "seconds is missing"),
        ("- { max_value: 5, seconds: 60 }", "namespace is missing"),
        ("- { namespace: '', max_value: 5, seconds: 60 }", "namespace is empty"),
        ("- { namespace: a, maxvalue: 5, seconds: 60 }", "did you mean 'max_value'?"),
        ("- { namespace: a, max_value: 5, seconds: 60, policy: x }", "unknown field 'policy'"),
        ("- { namespace: a, max_value: 5, seconds: 60, seconds: 61 }", "'seconds' is written twice"),
        ("- { namespace: a, max_value: '5', seconds: 60 }", "max_value is a whole number"),
        ("- { namespace: a, max_value: 017, seconds: 60 }", "max_value is a whole number"),
        ("- { namespace: a, max_value: -5, seconds: 60 }", "max_value is a whole number"),
        ("- { namespace: a, max_value: 1.5, seconds: 60 }", "max_value is a whole number"),
        ("- { namespace: a, max_value: 5, seconds: 60, conditions: x }", "conditions is a list"),
        ("- { namespace: a, max_value: 5, seconds: 60, variables: [[a]] }", "variables holds texts"),
        ("- { namespace: [a], max_value: 5, seconds: 60 }", "namespace is a text"),
        ("namespace: a", "a limits file is a list of limits"),
        ("- a", "a limit is a map"),
        ("# nothing", "there are no limits"),
        ("- { namespace: a, max_value: 5, seconds: 60 }\n---\n- {}", "a limits file is one document"),
        ("- { namespace: a", "the file is no YAML"),
    ];
    for (text, expected) in cases {
        let report = refused(&[text]);
        assert!(report.contains(expected) && report.contains("limits0.yaml:"), "{text}\n{report}");
    }
}

#[test]
fn a_limit_may_be_written_once() {
    let limit = "- { namespace: a, max_value: 5, seconds: 60, variables: [\"descriptors[0].k\"] }\n";
    let other = "- { namespace: a, name: n, max_value: 6, seconds: 60, variables: [\"descriptors[0].k\"] }\n";
    let report = refused(&[&[limit, other].concat()]);
    assert!(
        report.contains("limits0.yaml:2:3: error: a limit with this namespace") && report.contains(":1,"),
        "{report}"
    );
    assert!(refused(&[limit, other]).contains("limits1.yaml:1:3"), "together, files are one set");
}
