//! Every mistake that rules can have, one in a file, and how it is told. The examples and the documentation's are
//! valid.
//!
//! `TIDEGATE_BLESS=1 cargo test --test rules_golden` writes the expectations anew; read the difference before it is
//! committed.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tidegate::core::ruleset::RuleSet;
use tidegate::rules::files::{Sources, example, load, load_text};
use tidegate::rules::report::{Report, Severity};

/// What envoyproxy/ratelimit says about the same mistake; whoever looks for its words shall find them.
const PHRASES: &[(&str, &str)] = &[
    ("unit_unknown", "invalid rate limit unit 'foo'"),
    ("unit_missing", "invalid rate limit unit ''"),
    ("yaml_open_quote", "error loading config file"),
    ("yaml_open_quote", "found unexpected end of stream"),
    ("duplicate_domain", "duplicate domain 'edge' in config file"),
    ("duplicate_descriptor", "duplicate descriptor composite key 'edge.key1_value1'"),
    ("duplicate_descriptor", "duplicate descriptor composite key 'edge.key2.sub'"),
    ("merge_duplicate_descriptor", "duplicate descriptor composite key 'edge.user_a'"),
    ("empty_domain", "config file cannot have empty domain"),
    ("empty_file", "config file cannot have empty domain"),
    ("empty_key", "descriptor has empty key"),
    ("key_unknown", "unknown key 'ratelimit'"),
    ("key_unknown", "did you mean 'rate_limit'?"),
    ("key_unknown_in_rate_limit", "unknown key 'requestsperunit'"),
    ("list_of_texts", "yaml file contains list of type other than map: a"),
    ("key_not_text", "key is not of type string: 0.25"),
    ("replaces_empty", "should not have an empty replaces entry"),
    ("replaces_self", "replaces should not contain name of same descriptor"),
    ("unlimited_with_unit", "should not specify rate limit unit when unlimited"),
    ("value_float", "error checking config"),
    ("number_float", "error checking config"),
    (
        "share_threshold_without_wildcard",
        "share_threshold can only be used with wildcard values (containing '*'), but found key 'k_v'",
    ),
];

fn golden() -> &'static Path {
    Path::new("tests/golden")
}

/// The cases: files, and directories that are read as a whole.
fn cases() -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(golden()).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_dir() || path.extension().is_some_and(|extension| extension == "yaml")).collect()
}

fn stem(path: &Path) -> &str {
    path.file_stem().unwrap().to_str().unwrap()
}

fn report(path: &Path, strict: bool) -> Report {
    let mut sources = Sources::paths([path]);
    sources.merge_domains = stem(path).starts_with("merge_");
    sources.strict = strict;
    match load(&sources) {
        Ok(loaded) => Report { diagnostics: loaded.warnings, ..Report::default() },
        Err(report) => report,
    }
}

#[test]
fn every_mistake_is_told_as_expected() {
    let bless = std::env::var_os("TIDEGATE_BLESS").is_some();
    let mut wrong = Vec::new();
    for case in cases() {
        let rendered = format!("{}\n", report(&case, false));
        let expectation = case.with_extension("txt");
        if bless {
            fs::write(&expectation, &rendered).unwrap();
        }
        match fs::read_to_string(&expectation) {
            Ok(expected) if expected == rendered => {}
            Ok(expected) => wrong.push(format!("{}:\nexpected\n{expected}\nfound\n{rendered}", case.display())),
            Err(error) => wrong.push(format!("{}: {error}", expectation.display())),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_expectation_has_its_case() {
    let stems: BTreeSet<PathBuf> = cases().iter().map(|case| case.with_extension("txt")).collect();
    for entry in fs::read_dir(golden()).unwrap() {
        let path = entry.unwrap().path();
        assert!(path.extension().is_none_or(|ext| ext != "txt") || stems.contains(&path), "{}", path.display());
    }
}

#[test]
fn every_mistake_has_a_place_and_every_warning_is_an_error_when_strict() {
    for case in cases() {
        let (lenient, strict) = (report(&case, false), report(&case, true));
        assert!(!lenient.diagnostics.is_empty(), "{}: no mistake was found", case.display());
        for diagnostic in &lenient.diagnostics {
            assert!(!diagnostic.file.is_empty(), "{diagnostic}");
            let about_the_file = stem(&case) == "stray_files";
            assert!(about_the_file || diagnostic.line > 0, "{diagnostic}");
        }
        assert_eq!(strict.diagnostics.len(), lenient.diagnostics.len());
        assert!(strict.diagnostics.iter().all(|diagnostic| diagnostic.severity == Severity::Error));
        assert!(strict.errors() > 0 && strict.warnings() == 0);
    }
}

#[test]
fn the_words_of_the_reference_are_kept() {
    for (name, phrase) in PHRASES {
        let path = [format!("{name}.yaml"), (*name).to_owned()].map(|file| golden().join(file));
        let path = path.iter().find(|path| path.exists()).unwrap();
        let report = report(path, false);
        assert!(report.errors() > 0 && report.to_string().contains(phrase), "{name}: {phrase}: {report}");
    }
}

#[test]
fn a_report_is_json_for_machines() {
    let report = serde_json::to_value(report(&golden().join("key_unknown.yaml"), false)).unwrap();
    let diagnostic = &report["diagnostics"][0];
    assert_eq!(diagnostic["file"], "tests/golden/key_unknown.yaml");
    assert_eq!((&diagnostic["line"], &diagnostic["column"]), (&4.into(), &5.into()));
    assert_eq!(diagnostic["severity"], "error");
    assert_eq!(diagnostic["help"], "did you mean 'rate_limit'?");
}

#[test]
fn the_examples_are_valid_alone_and_together() {
    let examples = Path::new("examples/rules");
    let mut sources = Sources::paths([examples]);
    sources.strict = true;
    let loaded = load(&sources).unwrap_or_else(|report| panic!("{report}"));
    assert!(loaded.files.len() >= 5);
    for file in loaded.files {
        let mut sources = Sources::paths([&file]);
        sources.strict = true;
        load(&sources).unwrap_or_else(|report| panic!("{report}"));
    }
}

#[test]
fn the_built_in_rules_are_the_quickstart_ones() {
    let built_in = RuleSet::compile(example().into_iter().collect(), false).unwrap();
    let from_file = load(&Sources::paths(["examples/rules/quickstart.yaml"])).unwrap();
    let paths = |rules: &RuleSet| rules.rules().map(|rule| rule.path.to_string()).collect::<Vec<_>>();
    assert!(built_in.domain(b"edge").is_some());
    assert_eq!(paths(&built_in), paths(&from_file.rules));
}

/// The fenced blocks of a kind in a document, with the line each begins at.
fn fenced(document: &str, kind: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut lines = document.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if line.trim() == format!("```{kind}") {
            let body = lines.by_ref().map(|(_, line)| line).take_while(|line| line.trim() != "```");
            blocks.push((number + 1, body.map(|line| format!("{line}\n")).collect()));
        }
    }
    blocks
}

#[test]
fn the_examples_of_the_documentation_are_valid() {
    let document = fs::read_to_string("docs/rules.md").unwrap();
    let blocks = fenced(&document, "yaml");
    assert!(blocks.len() >= 5);
    for (line, block) in blocks {
        let loaded = load_text(&format!("docs/rules.md, example at line {line}"), &block);
        let loaded = loaded.unwrap_or_else(|report| panic!("{report}"));
        assert!(loaded.warnings.is_empty(), "{}", loaded.warnings[0]);
    }
}

#[test]
fn the_documentation_names_every_key() {
    let document = fs::read_to_string("docs/rules.md").unwrap();
    for key in tidegate::rules::yaml::key_names() {
        assert!(document.contains(&format!("| `{key}` |")), "docs/rules.md has no row for '{key}'");
    }
}
