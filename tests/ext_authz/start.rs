//! What is wrong with the section ends the start, and names the field.

use tidegate::config::Config;
use tidegate::server;

use crate::server_support;
use crate::site::{RULES, SECTION, settings};

/// Why a server with this section does not start.
fn refusal(yaml: &str, change: impl FnOnce(&mut Config)) -> String {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rules.yaml");
    std::fs::write(&file, RULES).unwrap();
    let mut config = server_support::config();
    config.rules.paths = vec![file];
    config.ext_authz = settings(yaml).ext_authz;
    change(&mut config);
    server::start(config).expect_err("a section that cannot be used").to_string()
}

#[test]
fn an_unknown_placeholder() {
    let refusal = refusal(SECTION, |config| {
        config.ext_authz.answer.body = tidegate::config::ext_authz::Body::Custom;
        config.ext_authz.answer.template = Some("{entry}".to_owned());
    });
    assert!(
        refusal.starts_with("ext_authz.answer.template: {entry} is no placeholder; there are {rule}, "),
        "{refusal}"
    );
}

#[test]
fn a_key_that_is_none() {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key");
    let set = |config: &mut Config| config.ext_authz.secret_key_file = Some(key.clone());
    let missing = refusal(SECTION, set);
    assert!(
        missing.starts_with(&format!("ext_authz.secret_key_file: {} cannot be read: ", key.display())),
        "{missing}"
    );
    std::fs::write(&key, "short\n0123456789abcdef0123456789abcdef0123456789\n").unwrap();
    assert_eq!(
        refusal(SECTION, set),
        format!(
            "ext_authz.secret_key_file: the first line of {} has 5 bytes, and a key at least 32; make one with \
             `openssl rand -hex 32`",
            key.display()
        )
    );
}

#[test]
fn more_descriptors_than_a_request_may_have() {
    let yaml = SECTION.replace("[[user]]", "[[user], [remote_address], [path]]");
    let refusal = refusal(&yaml, |config| config.limiter.max_descriptors = 2);
    assert_eq!(
        refusal,
        "ext_authz.routes[3].descriptors: 3, and a request may have at most 2 (limiter.max_descriptors)"
    );
}
