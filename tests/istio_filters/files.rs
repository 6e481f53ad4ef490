//! The files themselves.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::composition::validate;
use crate::harness::repository;
use crate::patches::{context, filters};

/// Files with EnvoyFilters, which the other tests send requests through.
const TESTED: [&str; 3] = ["ratelimit-gateway.yaml", "ratelimit-sidecar.yaml", "request-authentication.yaml"];

#[test]
fn envoy_accepts_every_filter_as_it_stands() {
    let mut contexts = BTreeSet::new();
    for filter in TESTED.iter().flat_map(|file| filters(file)) {
        validate(&filter);
        contexts.insert(context(&filter).to_owned());
    }
    assert_eq!(contexts.into_iter().collect::<Vec<_>>(), ["GATEWAY", "SIDECAR_INBOUND"]);
}

#[test]
fn every_file_with_a_filter_is_tested() {
    let mut with_filters = BTreeSet::new();
    look(&repository("istio"), &mut with_filters);
    let tested: BTreeSet<_> = TESTED.iter().map(|file| repository("istio").join(file)).collect();
    assert_eq!(with_filters, tested);
}

fn look(folder: &Path, found: &mut BTreeSet<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            look(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "yaml")
            && std::fs::read_to_string(&path).unwrap().contains("\nkind: EnvoyFilter\n")
        {
            found.insert(path);
        }
    }
}

#[test]
fn tidegate_accepts_rules_and_settings_without_a_warning() {
    let tidegate = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(arguments)
            .current_dir(repository("istio"))
            .env_clear()
            .output()
            .unwrap();
        let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
        assert!(output.status.success() && err.is_empty(), "{out}{err}");
        out.into_owned()
    };
    tidegate(&["rules", "validate", "--strict", "rules"]);
    let settings = tidegate(&["serve", "--config", "tidegate.yaml", "--rules", "rules", "--print-config"]);
    assert!(settings.contains("trusted_hops: 2"), "{settings}");
}
