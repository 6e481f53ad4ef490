//! Matching: preference, depth, wildcards with and without the index, metric names, explanations.

mod edits;

use proptest::prelude::*;

use super::pattern_set::{Member, PatternSet};
use super::wildcard::Pattern;
use super::{CompileErrorKind, RuleSet};
use crate::core::clock::Micros;
use crate::core::descriptor::Entry;
use crate::core::limit::{Limit, LimitParts, Window};
use crate::core::spec::{DescriptorSpec, DomainSpec, EffectSpec, LimitSpec, Origin, RuleSpec};

fn limited(key: &str, value: &str, amount: u64) -> DescriptorSpec {
    let limit = Limit::new(LimitParts::fixed_window(amount, Window::Length(Micros::SECOND))).unwrap();
    DescriptorSpec {
        key: key.to_owned(),
        value: (!value.is_empty()).then(|| value.to_owned()),
        rule: RuleSpec {
            effect: Some(EffectSpec::Limits(vec![LimitSpec { limit, name: None, replaces: Vec::new() }])),
            ..RuleSpec::default()
        },
        descriptors: Vec::new(),
    }
}

fn parent(key: &str, value: &str, descriptors: Vec<DescriptorSpec>) -> DescriptorSpec {
    DescriptorSpec { rule: RuleSpec::default(), descriptors, ..limited(key, value, 0) }
}

fn compile(descriptors: Vec<DescriptorSpec>) -> RuleSet {
    RuleSet::compile(vec![DomainSpec { descriptors, ..DomainSpec::new("d") }], false).unwrap()
}

/// The amount of the rule found, which names it in these tests.
fn find(set: &RuleSet, entries: &[(&str, &str)]) -> Option<u64> {
    let entries: Vec<_> = entries.iter().map(|(key, value)| Entry::new(key, value)).collect();
    set.domain(b"d").unwrap().find(&entries).map(|rule| rule.limits()[0].limit.amount())
}

#[test]
fn exact_before_wildcard_before_key_only() {
    let set = compile(vec![limited("k", "", 1), limited("k", "a*", 2), limited("k", "*", 3), limited("k", "abc", 4)]);
    assert_eq!(find(&set, &[("k", "abc")]), Some(4));
    assert_eq!(find(&set, &[("k", "abd")]), Some(2));
    assert_eq!(find(&set, &[("k", "xyz")]), Some(3));
    assert_eq!(find(&set, &[("k", "")]), Some(3));
    assert_eq!(find(&set, &[("other", "abc")]), None);
    let set = compile(vec![limited("k", "", 1), limited("k", "a*", 2)]);
    assert_eq!(find(&set, &[("k", "xyz")]), Some(1));
}

#[test]
fn the_first_pattern_in_the_order_of_writing_wins_across_key_and_value_patterns() {
    let set = compile(vec![limited("k*", "", 1), limited("key", "v*", 2)]);
    assert_eq!(find(&set, &[("key", "value")]), Some(1));
    let set = compile(vec![limited("key", "v*", 2), limited("k*", "", 1), limited("k*", "x", 3)]);
    assert_eq!(find(&set, &[("key", "value")]), Some(2));
    assert_eq!(find(&set, &[("kex", "value")]), Some(1));
    assert_eq!(find(&set, &[("kex", "x")]), Some(1), "a pattern in the key is a pattern, also with a literal value");
}

#[test]
fn a_pattern_in_a_key_is_matched_against_key_and_value_together() {
    // As seen on envoyproxy/ratelimit.
    let set = compile(vec![limited("*d*", "", 1), limited("k*a", "", 2), limited("t*", "", 3), limited("x*", "v", 4)]);
    let of = |key, value| find(&set, &[(key, value)]);
    assert_eq!((of("bd", "z"), of("ka", "food")), (Some(1), Some(1)));
    assert_eq!((of("ka", "zzz"), of("kq", "za")), (None, Some(2)));
    assert_eq!((of("ta", "anything"), of("t", "")), (Some(3), Some(3)));
    assert_eq!((of("xx", "v"), of("xx", "a_v"), of("xx", "w"), of("x", "")), (Some(4), Some(4), None, None));
}

#[test]
fn many_patterns_in_keys_are_found_like_few() {
    let set = compile((0..200).map(|n| limited(&format!("k{n}*"), "", n)).collect());
    assert_eq!(find(&set, &[("k17", "x")]), Some(1), "k1* was written first");
    assert_eq!(find(&set, &[("k9x", "")]), Some(9));
    assert_eq!(find(&set, &[("x", "k9")]), None);
}

#[test]
fn depth_must_be_equal() {
    let mut top = limited("a", "1", 1);
    top.descriptors = vec![parent("b", "", vec![limited("c", "", 3)])];
    let set = compile(vec![top]);
    assert_eq!(find(&set, &[("a", "1")]), Some(1));
    assert_eq!(find(&set, &[("a", "1"), ("b", "x")]), None, "a branch without a limit is an allow list");
    assert_eq!(find(&set, &[("a", "1"), ("b", "x"), ("c", "y")]), Some(3));
    assert_eq!(find(&set, &[("a", "1"), ("b", "x"), ("c", "y"), ("d", "z")]), None);
    assert_eq!(find(&set, &[("b", "x")]), None);
    assert_eq!(find(&set, &[]), None);
}

#[test]
fn a_taken_branch_is_never_reconsidered() {
    let set =
        compile(vec![parent("a", "exact", vec![limited("b", "1", 1)]), parent("a", "", vec![limited("b", "", 2)])]);
    assert_eq!(find(&set, &[("a", "exact"), ("b", "2")]), None);
    assert_eq!(find(&set, &[("a", "other"), ("b", "2")]), Some(2));
}

#[test]
fn keys_and_values_never_run_together() {
    // In envoyproxy/ratelimit all three have the composite key a_b_c.
    let set = compile(vec![limited("a", "b_c", 1), limited("a_b", "c", 2), limited("a_b_c", "", 3)]);
    assert_eq!(find(&set, &[("a", "b_c")]), Some(1));
    assert_eq!(find(&set, &[("a_b", "c")]), Some(2));
    assert_eq!(find(&set, &[("a_b_c", "x")]), Some(3));
    let spaces: std::collections::HashSet<_> = set.rules().map(|rule| rule.limits()[0].counter_space).collect();
    assert_eq!(spaces.len(), 3);
}

#[test]
fn any_bytes_are_looked_up() {
    let set = compile(vec![limited("k", "a*", 2), limited("k", "", 1)]);
    let domain = set.domain(b"d").unwrap();
    let found = |value: &[u8]| {
        let rule = domain.find(&[Entry { key: b"k", value }]).unwrap();
        rule.limits()[0].limit.amount()
    };
    assert_eq!(found(b"a\xff\x00"), 2);
    assert_eq!(found(b"\xff\xfe\x00\n"), 1);
    assert_eq!(found(&vec![b'a'; 1 << 20]), 2);
}

#[test]
fn varying_parts_are_those_that_the_path_leaves_open() {
    let mut shared = parent("s", "x*", vec![limited("t", "", 1)]);
    shared.rule.share_threshold = true;
    let mut shared_key = limited("shared*", "", 1);
    shared_key.rule.share_threshold = true;
    let set = compile(vec![
        parent("fixed", "v", vec![parent("open", "", vec![limited("wild", "a*b", 1)])]),
        shared,
        limited("key*", "v", 1),
        shared_key,
    ]);
    let bits: Vec<_> = set.rules().map(|rule| (&*rule.path, rule.varying, rule.varying_keys)).collect();
    assert_eq!(bits, [("fixed=v,open,wild=a*b", 0b110, 0), ("s=x*,t", 0b10, 0), ("key*=v", 1, 1), ("shared*", 0, 1)]);
}

#[test]
fn canonical_paths_escape_what_the_notation_uses() {
    let set = compile(vec![parent("a=b", "c,d", vec![limited("{e}", "f|%\n", 1)])]);
    assert_eq!(&*set.rules().next().unwrap().path, "a%3Db=c%2Cd,%7Be%7D=f%7C%25%0A");
}

#[test]
fn duplicates_are_found_on_every_level_and_across_merged_domains() {
    let at = |line, mut spec: DescriptorSpec| {
        spec.rule.origin = Origin { file: 0, line, column: 1 };
        spec
    };
    let domain = |descriptors| DomainSpec { descriptors, ..DomainSpec::new("d") };
    let twice = vec![
        at(1, limited("a", "x", 1)),
        at(2, parent("b", "", vec![at(3, limited("c", "", 1)), at(4, limited("c", "", 2))])),
        at(5, limited("a", "x", 3)),
    ];
    let errors = RuleSet::compile(vec![domain(twice)], false).unwrap_err();
    let texts: Vec<_> = errors.iter().map(|error| (error.origin.line, error.to_string())).collect();
    assert_eq!(texts[0], (4, "duplicate descriptor composite key 'd.b.c'".to_owned()));
    assert_eq!(texts[1], (5, "duplicate descriptor composite key 'd.a_x'".to_owned()));
    assert_eq!(texts.len(), 2);

    let one = || domain(vec![limited("a", "", 1)]);
    let other = || domain(vec![limited("b", "", 2)]);
    assert_eq!(RuleSet::compile(vec![one(), other()], true).unwrap().rule_count(), 2);
    let errors = RuleSet::compile(vec![one(), other()], false).unwrap_err();
    assert!(matches!(errors[0].kind, CompileErrorKind::DuplicateDomain { .. }));
    let errors = RuleSet::compile(vec![one(), one()], true).unwrap_err();
    assert!(matches!(errors[0].kind, CompileErrorKind::DuplicateDescriptor { .. }));
}

#[test]
fn nesting_is_bounded() {
    let nested = |levels| (1..levels).fold(limited("k", "", 1), |inner, _| parent("k", "", vec![inner]));
    let compile = |spec| {
        RuleSet::compile(vec![DomainSpec { descriptors: vec![spec], ..DomainSpec::new("d") }], false)
            .map(|set| set.rule_count())
    };
    assert_eq!(compile(nested(64)).unwrap(), 1);
    assert_eq!(compile(nested(65)).unwrap_err()[0].kind, CompileErrorKind::TooDeep);
}

#[test]
fn a_disabled_branch_is_as_if_it_were_not_written() {
    let mut off = parent("a", "x", vec![limited("b", "", 2)]);
    off.rule.disabled = true;
    let set = compile(vec![off, limited("a", "", 1)]);
    assert_eq!(find(&set, &[("a", "x")]), Some(1));
    assert_eq!(find(&set, &[("a", "x"), ("b", "")]), None);
    assert_eq!(set.rule_count(), 1);
}

#[test]
fn rule_ids_count_through_all_domains() {
    let domain = |name: &str, keys: &[&str]| DomainSpec {
        descriptors: keys.iter().map(|key| limited(key, "", 1)).collect(),
        ..DomainSpec::new(name)
    };
    let set = RuleSet::compile(vec![domain("one", &["a", "b"]), domain("two", &["c"])], false).unwrap();
    assert!(set.rules().enumerate().all(|(position, rule)| rule.id.0 as usize == position));
    let found = set.domain(b"two").unwrap().find(&[Entry::new("c", "")]).unwrap();
    assert_eq!(found.id.0, 2);
}

#[test]
fn explanations_agree_with_the_lookup() {
    let set = compile(vec![
        limited("k", "abc", 1),
        limited("k", "a*", 2),
        limited("k", "", 3),
        parent("p", "", vec![limited("q", "1", 4)]),
    ]);
    let domain = set.domain(b"d").unwrap();
    let explain = |entries: &[(&str, &str)]| {
        let entries: Vec<_> = entries.iter().map(|(key, value)| Entry::new(key, value)).collect();
        let explanation = domain.explain(&entries);
        assert_eq!(explanation.rule.map(|rule| rule.id), domain.find(&entries).map(|rule| rule.id));
        explanation
    };
    let exact = explain(&[("k", "abc")]);
    assert_eq!(exact.steps[0].matched.as_deref(), Some("k=abc"));
    let branches: Vec<_> = exact.steps[0].alternatives.iter().map(|other| &*other.branch).collect();
    assert_eq!(branches, ["k=a*", "k"]);
    assert_eq!(explain(&[("k", "axx")]).steps[0].matched.as_deref(), Some("k=a*"));
    assert_eq!(explain(&[("k", "zzz")]).steps[0].matched.as_deref(), Some("k"));
    assert!(explain(&[("k", "zzz"), ("x", "y")]).summary.contains("1 more entries"));
    assert!(explain(&[("p", "1")]).summary.contains("has no limit"));
    let other = explain(&[("p", "1"), ("q", "2")]);
    assert_eq!(other.steps[1].matched, None);
    assert_eq!(other.steps[1].alternatives[0].branch, "q=1");
    assert_eq!(explain(&[("x", "")]).steps[0].alternatives.len(), 2);
    assert!(explain(&[]).rule.is_none());
}

/// Wildcards by definition: try every split.
fn matches_slowly(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|skip| matches_slowly(rest, &text[skip..])),
        Some((byte, rest)) => text.first() == Some(byte) && matches_slowly(rest, &text[1..]),
    }
}

/// A set of patterns in this order; each leads to its position. Of equal ones the first is taken.
fn pattern_set(patterns: &[String]) -> PatternSet<usize> {
    let mut set = PatternSet::default();
    for (target, text) in patterns.iter().enumerate() {
        let pattern = Pattern::parse(text).unwrap();
        if set.get(&pattern, text).is_none() {
            set.insert(Member { order: target as u32, text: text.as_str().into(), pattern, target });
        }
    }
    set
}

/// What a scan of those patterns finds that are left.
fn scan(patterns: &[String], left: impl Fn(usize) -> bool, text: &str) -> Option<usize> {
    let matches = |at: &usize| left(*at) && matches_slowly(patterns[*at].as_bytes(), text.as_bytes());
    (0..patterns.len()).find(matches)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_pattern_matches_as_defined(pattern in "[ab*]{0,8}\\*[ab*]{0,6}", text in "[ab]{0,12}") {
        let parsed = Pattern::parse(&pattern).unwrap();
        prop_assert_eq!(parsed.matches(text.as_bytes()), matches_slowly(pattern.as_bytes(), text.as_bytes()));
    }

    #[test]
    fn the_index_finds_what_a_scan_finds(
        patterns in proptest::collection::vec("[ab*]{0,5}\\*[ab*]{0,5}", 1..120),
        texts in proptest::collection::vec("[ab]{0,10}", 1..40),
        taken in proptest::collection::hash_set(0usize..120, 0..120),
    ) {
        let mut set = pattern_set(&patterns);
        let whole = set.clone();
        for text in &texts {
            let found = set.first_match(text.as_bytes()).map(|member| member.target);
            prop_assert_eq!(found, scan(&patterns, |_| true, text), "{}", text);
        }
        let is_first = |at: usize| patterns.iter().position(|other| *other == patterns[at]) == Some(at);
        for &at in taken.iter().filter(|at| **at < patterns.len()) {
            let pattern = Pattern::parse(&patterns[at]).unwrap();
            if is_first(at) {
                *set.get_mut(&pattern, &patterns[at]).unwrap() = 1_000;
                prop_assert_eq!(set.take(&pattern, &patterns[at]), Some(1_000));
            }
        }
        let left = |at: usize| is_first(at) && !taken.contains(&at);
        prop_assert_eq!(set.members().len(), (0..patterns.len()).filter(|at| left(*at)).count());
        for text in &texts {
            let found = set.first_match(text.as_bytes()).map(|member| member.target);
            prop_assert_eq!(found, scan(&patterns, left, text), "{}", text);
            let found = whole.first_match(text.as_bytes()).map(|member| member.target);
            prop_assert_eq!(found, scan(&patterns, |_| true, text), "a clone is not touched: {}", text);
        }
    }

    #[test]
    fn the_index_finds_middles_among_many(
        count in 20usize..300,
        texts in proptest::collection::vec("a[abc]{0,3}m[0-9]{1,3}x[abc]{0,3}b", 1..40),
        step in 7usize..60,
    ) {
        let patterns: Vec<String> = (0..count).map(|at| format!("a*m{at}x*b")).collect();
        let mut set = pattern_set(&patterns);
        for text in &texts {
            let found = set.first_match(text.as_bytes()).map(|member| member.target);
            prop_assert_eq!(found, scan(&patterns, |_| true, text), "{}", text);
        }
        for text in patterns.iter().step_by(step) {
            prop_assert!(set.take(&Pattern::parse(text).unwrap(), text).is_some());
        }
        for text in &texts {
            let found = set.first_match(text.as_bytes()).map(|member| member.target);
            prop_assert_eq!(found, scan(&patterns, |at| at % step != 0, text), "{}", text);
        }
    }
}
