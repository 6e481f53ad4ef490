//! Rules of others: imported limits decide as their own limiter does, and the command tells what became of them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod process;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;

use process::{texts, tidegate};
use proptest::prelude::*;
use tidegate::core::clock::{ManualClock, Micros};
use tidegate::core::decision::Code;
use tidegate::core::descriptor::{Descriptor, Entry, Request};
use tidegate::core::ruleset::RuleSet;
use tidegate::core::spec::{DescriptorSpec, DomainSpec, Origin};
use tidegate::counters::memory::{MemoryOptions, MemoryStore};
use tidegate::limiter::{Limiter, LimiterOptions};
use tidegate::rules::files::{Sources, describe, load_text};
use tidegate::rules::import::{Format, Imported, Outcome, import};
use tidegate::rules::yaml::write;
use tidegate::telemetry::decisions::DecisionMetrics;

// What limitador decides.

/// A condition, as a person would say it.
#[derive(Clone, Debug)]
enum Asks {
    Is(&'static str),
    IsNot(&'static str),
    OneOf(&'static [&'static str]),
    NoneOf(&'static [&'static str]),
    Starts(&'static str),
    StartsNot(&'static str),
    Ends(&'static str),
    Contains(&'static str),
    Matches(&'static str),
}

impl Asks {
    fn expression(&self, key: &str) -> String {
        let entry = format!("descriptors[0]['{key}']");
        match self {
            Self::Is(value) => format!("{entry} == '{value}'"),
            Self::IsNot(value) => format!("{entry} != '{value}'"),
            Self::OneOf(values) => format!("{entry} in {values:?}"),
            Self::NoneOf(values) => format!("!({entry} in {values:?})"),
            Self::Starts(text) => format!("{entry}.startsWith('{text}')"),
            Self::StartsNot(text) => format!("!{entry}.startsWith('{text}')"),
            Self::Ends(text) => format!("{entry}.endsWith('{text}')"),
            Self::Contains(text) => format!("{entry}.contains('{text}')"),
            Self::Matches(prefix) => format!("{entry}.matches('^{prefix}.*')"),
        }
    }

    fn holds(&self, value: &str) -> bool {
        match self {
            Self::Is(wanted) => value == *wanted,
            Self::IsNot(wanted) => value != *wanted,
            Self::OneOf(values) => values.contains(&value),
            Self::NoneOf(values) => !values.contains(&value),
            Self::Starts(text) | Self::Matches(text) => value.starts_with(text),
            Self::StartsNot(text) => !value.starts_with(text),
            Self::Ends(text) => value.ends_with(text),
            Self::Contains(text) => value.contains(text),
        }
    }
}

const KEYS: [&str; 3] = ["method", "path", "user"];
const VALUES: [[&str; 5]; 3] =
    [["GET", "POST", "PUT", "", "GE"], ["/", "/a", "/a/b", "/b", ""], ["x", "y", "z", "", "ab"]];

/// A limit on entries, each by its place in [`KEYS`].
#[derive(Clone, Debug)]
struct Wanted {
    max_value: u64,
    conditions: Vec<(usize, Asks)>,
    variables: Vec<usize>,
}

fn asks(key: usize) -> BoxedStrategy<(usize, Asks)> {
    use Asks::*;
    let choices = match key {
        0 => vec![Is("GET"), Is("POST"), IsNot("GET"), OneOf(&["GET", "PUT"]), NoneOf(&["PUT", "POST"]), Starts("P")],
        1 => vec![
            Is("/a"),
            Is("/a/b"),
            IsNot("/b"),
            Starts("/a"),
            Starts("/a/"),
            StartsNot("/a"),
            Ends("b"),
            Contains("a"),
            Matches("/a"),
            Matches(""),
        ],
        _ => vec![Is("x"), IsNot("y"), OneOf(&["x", "y"]), Contains("b")],
    };
    prop::sample::select(choices).prop_map(move |asks| (key, asks)).boxed()
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let conditions = prop::collection::vec((0..KEYS.len()).prop_flat_map(asks), 0..3);
    let variables = prop::sample::subsequence(vec![0, 1, 2], 0..3);
    (0..6_u64, conditions, variables).prop_map(|(max_value, conditions, variables)| Wanted {
        max_value,
        conditions,
        variables,
    })
}

/// A request: entries by their places in [`KEYS`] and [`VALUES`], and what it costs.
#[derive(Clone, Debug)]
struct Asked {
    entries: BTreeMap<&'static str, &'static str>,
    hits: u32,
}

fn asked() -> impl Strategy<Value = Asked> {
    let value = |key: usize| prop::option::weighted(0.8, prop::sample::select(VALUES[key].to_vec()));
    ((value(0), value(1), value(2)), prop::sample::select(vec![0, 1, 1, 1, 2, 4])).prop_map(|((a, b, c), hits)| Asked {
        entries: KEYS.into_iter().zip([a, b, c]).filter_map(|(key, value)| Some((key, value?))).collect(),
        hits,
    })
}

/// limitador within one window: a limit applies when every entry it is about is there and every condition holds;
/// what any limit denies is charged to none.
#[derive(Default)]
struct Limitador {
    counters: HashMap<(usize, Vec<String>), u64>,
}

impl Limitador {
    fn allows(&mut self, limits: &[(usize, &Wanted)], asked: &Asked) -> bool {
        let hits = u64::from(asked.hits.max(1));
        let mut counters = Vec::new();
        for (index, limit) in limits {
            let value = |key: usize| asked.entries.get(KEYS[key]).copied();
            let holds = limit.conditions.iter().all(|(key, asks)| value(*key).is_some_and(|value| asks.holds(value)));
            let variables: Option<Vec<String>> =
                limit.variables.iter().map(|&key| value(key).map(str::to_owned)).collect();
            if let (true, Some(variables)) = (holds, variables) {
                counters.push(((*index, variables), limit.max_value));
            }
        }
        let fits = |(counter, max): &(_, u64)| self.counters.get(counter).copied().unwrap_or(0) + hits <= *max;
        if !counters.iter().all(fits) {
            return false;
        }
        for (counter, _) in counters {
            *self.counters.entry(counter).or_default() += hits;
        }
        true
    }
}

/// A limits file, one limit a line.
fn file(limits: &[Wanted]) -> String {
    let line = |(index, limit): (usize, &Wanted)| {
        let conditions: Vec<String> = limit.conditions.iter().map(|(key, asks)| asks.expression(KEYS[*key])).collect();
        let variables: Vec<String> =
            limit.variables.iter().map(|key| format!("descriptors[0].{}", KEYS[*key])).collect();
        // Different lengths, so that no limit is written twice; all longer than the test.
        let seconds = 1_000 + index;
        let (conditions, variables) = (serde_json::json!(conditions), serde_json::json!(variables));
        let counts = format!("namespace: shop, max_value: {}, seconds: {seconds}", limit.max_value);
        format!("- {{ {counts}, conditions: {conditions}, variables: {variables} }}\n")
    };
    limits.iter().enumerate().map(line).collect()
}

fn imported(text: &str) -> Imported {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("limits.yaml");
    fs::write(&path, text).unwrap();
    import(Format::Limitador, &[path], false).unwrap_or_else(|report| panic!("{report}"))
}

type TestLimiter = Limiter<MemoryStore<ManualClock>>;

/// Enforces what was written of the import.
fn limiter(imported: &Imported) -> TestLimiter {
    // Just after every window of the test has begun, whatever its length.
    let clock = ManualClock::at(Micros::from_secs(0));
    let store = MemoryStore::new(clock, MemoryOptions { max_counters: 10_000 });
    let limiter = Limiter::new(store, LimiterOptions::default(), Arc::new(DecisionMetrics::default()));
    let rules = match &imported.domains[..] {
        [] => RuleSet::default(),
        [domain] => load_text("shop.yaml", &write(domain)).unwrap_or_else(|report| panic!("{report}")).rules,
        more => panic!("{more:?}"),
    };
    limiter.publish(rules, tidegate::limiter::Description::default());
    limiter
}

/// What Envoy would send: each descriptor whose entries are all there.
fn decide(limiter: &TestLimiter, imported: &Imported, asked: &Asked) -> bool {
    let mut descriptors = Vec::new();
    for descriptor in &imported.descriptors {
        let entry = |(key, value): &'_ (String, Option<String>)| match value {
            Some(value) => Some((key.clone(), value.clone())),
            None => Some((key.clone(), (*asked.entries.get(key.as_str())?).to_owned())),
        };
        descriptors.extend(descriptor.entries.iter().map(entry).collect::<Option<Vec<_>>>());
    }
    if descriptors.is_empty() {
        return true;
    }
    let descriptors = descriptors.iter().map(|entries| Descriptor {
        entries: entries.iter().map(|(key, value)| Entry::new(key, value)).collect(),
        ..Descriptor::default()
    });
    let request =
        Request { domain: b"shop", descriptors: descriptors.collect(), hits_addend: asked.hits, client: None };
    let active = limiter.active();
    limiter.decide_now(&active, &request).unwrap().unwrap().code == Code::Ok
}

/// The limits that came over, and whether each came over so that it counts as it did.
fn those_kept<'l>(imported: &Imported, limits: &'l [Wanted]) -> (Vec<(usize, &'l Wanted)>, bool) {
    let mut kept = Vec::new();
    let mut exact = true;
    for finding in &imported.findings {
        let index = finding.line as usize - 1;
        if finding.outcome != Outcome::NoEquivalent {
            kept.push((index, &limits[index]));
            exact &= !finding.why.contains("split");
        }
    }
    (kept, exact)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn imported_limits_decide_as_limitador_does(
        limits in prop::collection::vec(wanted(), 1..5),
        requests in prop::collection::vec(asked(), 1..40),
    ) {
        let imported = imported(&file(&limits));
        prop_assert_eq!(imported.findings.len(), limits.len(), "each limit is told of once");
        let (kept, exact) = those_kept(&imported, &limits);
        prop_assume!(exact && !kept.is_empty());
        let limiter = limiter(&imported);
        let mut model = Limitador::default();
        for request in &requests {
            let expected = model.allows(&kept, request);
            prop_assert_eq!(
                decide(&limiter, &imported, request), expected,
                "{:?}\n{}\n{}", request, file(&limits), imported.domains.first().map(write).unwrap_or_default()
            );
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn a_split_counter_never_denies_what_a_whole_one_allows(
        limits in prop::collection::vec(wanted(), 1..5),
        requests in prop::collection::vec(asked(), 1..40),
    ) {
        // Alone and hit by hit, because what allows more leaves less to what comes after.
        for limit in limits {
            let alone = [limit];
            let imported = imported(&file(&alone));
            let (kept, exact) = those_kept(&imported, &alone);
            if exact || kept.is_empty() {
                continue;
            }
            let limiter = limiter(&imported);
            let mut model = Limitador::default();
            for request in &requests {
                let request = &Asked { hits: 1, ..request.clone() };
                let (allowed, ours) = (model.allows(&kept, request), decide(&limiter, &imported, request));
                prop_assert!(ours || !allowed, "{:?} is denied, which limitador allows\n{}", request, file(&alone));
            }
        }
    }
}

// The command.

fn run(arguments: &[&str], paths: &[&Path]) -> Output {
    tidegate().args(["rules", "import"]).args(arguments).args(paths).output().unwrap()
}

/// An example, and what is expected of it. `TIDEGATE_BLESS=1` writes the expectations anew.
fn golden(name: &str) -> PathBuf {
    Path::new("tests/import").join(name)
}

/// Without the places, which a written text has of its own.
fn without_origins(mut domains: Vec<DomainSpec>) -> String {
    fn forget(descriptors: &mut [DescriptorSpec]) {
        for descriptor in descriptors {
            descriptor.rule.origin = Origin::default();
            forget(&mut descriptor.descriptors);
        }
    }
    for domain in &mut domains {
        domain.origin = Origin::default();
        forget(&mut domain.descriptors);
    }
    format!("{domains:#?}")
}

#[test]
fn what_is_written_is_read_back_the_same() {
    let mut checked = 0;
    for directory in ["examples/rules", "tests/golden", "tests/import"] {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "yaml") {
                continue;
            }
            let Ok(read) = describe(&Sources::paths([&path])) else { continue };
            let written = tempfile::tempdir().unwrap();
            for (number, domain) in read.domains.iter().enumerate() {
                fs::write(written.path().join(format!("{number}.yaml")), write(domain)).unwrap();
            }
            let again = describe(&Sources::paths([written.path()])).unwrap_or_else(|report| panic!("{report}"));
            assert_eq!(without_origins(again.domains), without_origins(read.domains), "{}", path.display());
            checked += 1;
        }
    }
    assert!(checked > 10, "{checked}");
}

#[test]
fn a_limits_file_becomes_a_rule_file_with_a_report() {
    let output = run(&["--from", "limitador"], &[&golden("limits.yml")]);
    let (written, report) = texts(&output);
    assert_eq!(output.status.code(), Some(0), "{report}");
    let expected = |name| fs::read_to_string(golden(name)).unwrap();
    if std::env::var_os("TIDEGATE_BLESS").is_some() {
        fs::write(golden("limits.rules.yaml"), &written).unwrap();
        fs::write(golden("limits.txt"), &report).unwrap();
    }
    assert_eq!(written, expected("limits.rules.yaml"));
    assert_eq!(report, expected("limits.txt"));
}

#[test]
fn one_wrong_file_and_nothing_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let (good, bad) = (directory.path().join("a.yaml"), directory.path().join("b.yaml"));
    let limit = "- { namespace: a, max_value: 1, seconds: 60, variables: [\"descriptors[0].k\"] }\n";
    fs::write(&good, limit).unwrap();
    fs::write(&bad, "- { namespace: b, seconds: 60 }\n").unwrap();
    let out = directory.path().join("out");
    let output = run(&["--from", "limitador", "--output", &format!("{}/", out.display())], &[&good, &bad]);
    let (written, report) = texts(&output);
    assert_eq!((output.status.code(), written.as_str()), (Some(1), ""));
    assert!(report.contains("b.yaml:1:3: error: max_value is missing"), "{report}");
    assert!(report.ends_with("nothing was written\n") && !out.exists(), "{report}");
}

#[test]
fn several_domains_need_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let limits = directory.path().join("limits.yaml");
    let limit =
        |name| format!("- {{ namespace: {name}, max_value: 1, seconds: 60, variables: [\"descriptors[0].k\"] }}\n");
    fs::write(&limits, ["a/b", "a_b", ".hidden"].map(limit).concat()).unwrap();
    for output in ["-".to_owned(), directory.path().join("one.yaml").display().to_string()] {
        let output = run(&["--from", "limitador", "--output", &output], &[&limits]);
        assert_eq!(output.status.code(), Some(1));
        assert!(texts(&output).1.contains("3 domains") && texts(&output).1.contains("--output rules/"), "{output:?}");
    }
    let rules = directory.path().join("rules/");
    let output = run(&["--from", "limitador", "--output", rules.to_str().unwrap()], &[&limits]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let mut names: Vec<_> = fs::read_dir(&rules).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["a_b-2.yaml", "a_b.yaml", "hidden.yaml"]);
    let validated = tidegate().args(["rules", "validate", "--strict"]).arg(&rules).output().unwrap();
    assert!(texts(&validated).0.starts_with("OK: 3 files, 3 domains, 3 rules"), "{validated:?}");
}

#[test]
fn help_has_examples() {
    let output = tidegate().args(["rules", "import", "--help"]).output().unwrap();
    let (help, _) = texts(&output);
    assert!(help.contains("Examples:") && help.contains("--from limitador"), "{help}");
}

#[test]
fn nothing_left_is_no_success() {
    let directory = tempfile::tempdir().unwrap();
    let limits = directory.path().join("limits.yaml");
    fs::write(&limits, "- { namespace: a, max_value: 1, seconds: 60, conditions: [\"a == b\"] }\n").unwrap();
    let output = run(&["--from", "limitador"], &[&limits]);
    let (written, report) = texts(&output);
    assert_eq!((output.status.code(), written.as_str()), (Some(1), ""));
    assert!(report.contains("no equivalent: 1 in 60 s") && report.contains("nothing is left"), "{report}");
}

#[test]
fn rules_of_envoyproxy_come_over_and_differences_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let rules = directory.path().join("config");
    fs::create_dir(&rules).unwrap();
    fs::write(
        rules.join("edge.yaml"),
        "domain: edge
descriptors:
  - key: user
    rate_limit: { unit: minute, requests_per_unit: 5 }
  - key: tenant
    value_to_metric: true
    descriptors:
      - key: path
        rate_limit: { unit: hour, requests_per_unit: 7 }
        metadata: { owner: team }
",
    )
    .unwrap();
    fs::write(
        rules.join("more.yaml"),
        "domain: edge\ndescriptors:\n  - key: ip\n    rate_limit: { unlimited: true }\n",
    )
    .unwrap();
    fs::write(rules.join("notes.txt"), "domain: notes").unwrap();
    let refused = run(&["--from", "envoy"], &[&rules]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(texts(&refused).1.contains("duplicate domain 'edge'"), "{refused:?}");
    let output = run(&["--from", "envoy", "--merge-domains"], &[&rules]);
    let (written, report) = texts(&output);
    assert_eq!(output.status.code(), Some(0), "{report}");
    assert!(report.contains("notes.txt: warning: this is no rule file"), "{report}");
    assert!(report.contains("edge.yaml: kept: 1 rule\n"), "{report}");
    assert!(
        report.contains("edge.yaml:8:9: changed: rule tenant,path of domain edge: envoyproxy/ratelimit loses"),
        "{report}"
    );
    assert!(report.ends_with("2 kept, 1 changed, 0 no equivalent\n"), "{report}");
    let loaded = load_text("edge.yaml", &written).unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(loaded.rules.rule_count(), 3);
}
