//! YAML files as values, and the real binary.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

pub use crate::harness::repository;

/// The one document of a file of the repository; anchors and merges are resolved.
pub fn document(path: impl AsRef<Path>) -> Value {
    let mut all = documents(path.as_ref());
    assert_eq!(all.len(), 1, "{} holds one document", path.as_ref().display());
    all.remove(0)
}

/// Every document of a file of the repository.
pub fn documents(path: impl AsRef<Path>) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    parse(&std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// Every document of a text.
pub fn parse(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{error} in\n{text}"))
}

/// Every file below a folder of the repository.
pub fn files(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![repository(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// The items of a list; none of what is not there.
pub fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The entries of a mapping; none of what is not there.
pub fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// A text.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// The program, with an environment that no setting of the machine leaks into.
pub fn tidegate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.env_clear();
    command
}

/// What a command wrote to standard output; fails the test unless it succeeded.
pub fn succeeded(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(output.status.success(), "{}\n{out}{err}", output.status);
    out.into_owned()
}

/// Fails the test unless `tidegate serve` could start with these settings.
pub fn assert_settings_load(path: &Path) {
    let output = tidegate().args(["serve", "--print-config", "--config"]).arg(path).output().unwrap();
    succeeded(&output);
}

/// Fails the test unless the rules have not even a warning.
pub fn assert_rules_are_strict(path: &Path) {
    succeeded(&tidegate().args(["rules", "validate", "--strict"]).arg(path).output().unwrap());
}

/// Seconds of a text such as `20s`.
pub fn seconds(text: &str) -> u64 {
    text.strip_suffix('s').and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{text}: write seconds"))
}
