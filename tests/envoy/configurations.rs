//! The files themselves.

use std::process::Command;

use crate::harness::{envoy_binary, repository};

#[test]
fn envoy_accepts_every_configuration_as_it_stands() {
    let mut checked = 0;
    for entry in std::fs::read_dir(repository("deploy/envoy")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let output = Command::new(envoy_binary()).args(["--mode", "validate", "-c"]).arg(&path).output().unwrap();
            assert!(output.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
            checked += 1;
        }
    }
    assert!(checked >= 3);
}

#[test]
fn tidegate_accepts_the_rules_without_a_warning() {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["rules", "validate", "--strict"])
        .arg(repository("deploy/envoy/rules"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn tidegate_accepts_its_settings() {
    let mut checked = 0;
    for entry in std::fs::read_dir(repository("deploy/envoy/tidegate")).unwrap() {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        let path = entry.unwrap().path();
        let output = command.args(["serve", "--print-config", "--config"]).arg(&path).output().unwrap();
        assert!(output.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
        checked += 1;
    }
    assert!(checked >= 1);
}
