//! `tidegate anomaly train` and `evaluate`, and a replay that begins with their models, by the real binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod process;

use std::path::Path;

use process::{texts, tidegate};

fn anomaly(arguments: &[&str]) -> (i32, String, String) {
    let output = tidegate().arg("anomaly").args(arguments).output().unwrap();
    let (text, errors) = texts(&output);
    (output.status.code().unwrap(), text, errors)
}

fn simulate(path: &Path, scenario: &str, seed: &str, duration: &str) {
    let options = ["--rate", "15", "--duration", duration, "--seed", seed, "--output", path.to_str().unwrap()];
    let (code, _, errors) = anomaly(&[&["simulate", "--scenario", scenario], &options[..]].concat());
    assert_eq!(code, 0, "{errors}");
}

#[test]
fn models_are_trained_evaluated_and_begun_with() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let text = |name: &str| path(name).to_str().unwrap().to_owned();
    simulate(&path("calm.jsonl"), "calm", "1001", "15m");
    simulate(&path("short.jsonl"), "calm", "1001", "1m");
    simulate(&path("attack.jsonl"), "single-source-flood", "1002", "3m");

    // Too little to learn from.
    let (code, _, errors) = anomaly(&["train", "--input", &text("short.jsonl"), "--output", &text("models.bin")]);
    assert_eq!(code, 1);
    assert!(errors.contains("at least 512 are needed") && errors.contains("longer log"), "{errors}");
    assert!(!path("models.bin").exists());

    let train = |output: &str| anomaly(&["train", "--input", &text("calm.jsonl"), "--output", &text(output)]);
    let (code, told, errors) = train("models.bin");
    assert_eq!(code, 0, "{errors}");
    for needed in ["vectors of", "rate_10s", "auth_failures", "flagged from", "anomaly.models_file"] {
        assert!(told.contains(needed), "{needed} is not in\n{told}");
    }
    assert_eq!(train("again.bin").0, 0);
    assert!(std::fs::read(path("models.bin")).unwrap() == std::fs::read(path("again.bin")).unwrap(), "the same models");

    let evaluate = |input: &str| anomaly(&["evaluate", "--input", &text(input), "--models", &text("models.bin")]);
    let (code, told, errors) = evaluate("attack.jsonl");
    assert_eq!(code, 0, "{errors}");
    let auc = told.split("ROC AUC ").nth(1).and_then(|rest| rest.split(',').next()).unwrap().parse::<f64>().unwrap();
    assert!(auc > 0.9, "{told}");
    for needed in ["average precision", "single_source_flood", "legit", "flag 0.6"] {
        assert!(told.contains(needed), "{needed} is not in\n{told}");
    }
    // Without labels the strangest are told.
    let unlabelled = std::fs::read_to_string(path("attack.jsonl")).unwrap().replace("\"label\"", "\"other\"");
    std::fs::write(path("unlabelled.jsonl"), unlabelled).unwrap();
    let (code, told, errors) = evaluate("unlabelled.jsonl");
    assert_eq!(code, 0, "{errors}");
    assert!(told.contains("the strangest:") && told.contains("rate_10s"), "{told}");

    // A replay begins with them, and refuses what is damaged.
    let settings = format!("anomaly:\n  models_file: {}\n", text("models.bin"));
    std::fs::write(path("settings.yaml"), settings).unwrap();
    let replay = || anomaly(&["replay", "--input", &text("short.jsonl"), "--config", &text("settings.yaml")]);
    let (code, _, errors) = replay();
    assert_eq!(code, 0, "{errors}");
    let mut bytes = std::fs::read(path("models.bin")).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(path("models.bin"), bytes).unwrap();
    let (code, _, errors) = replay();
    assert_eq!(code, 1);
    assert!(errors.contains("anomaly.models_file") && errors.contains("damaged"), "{errors}");
    std::fs::remove_file(path("models.bin")).unwrap();
    let (code, _, errors) = replay();
    assert!(code == 1 && errors.contains("cannot read the models"), "{errors}");
}
