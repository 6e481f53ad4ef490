//! The policy, from settings as users write them to questions.

mod compiling;
mod properties;
mod routes;
mod secrets;
mod sources;

use super::{Evaluation, Policy, PolicyError};
use crate::authz::attributes::Attributes;
use crate::config::ext_authz::ExtAuthz;

const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";

fn try_policy(yaml: &str, key: Option<&[u8]>) -> Result<Policy, Vec<PolicyError>> {
    let config: ExtAuthz = serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{error}\nin\n{yaml}"));
    Policy::new(&config, key)
}

fn policy(yaml: &str) -> Policy {
    try_policy(yaml, Some(KEY)).unwrap_or_else(|errors| panic!("{errors:?}\nin\n{yaml}"))
}

/// A request as a gateway tells of it.
fn request<'a>() -> Attributes<'a> {
    Attributes {
        method: b"GET",
        path: b"/users/42?page=2",
        host: b"shop.example.com:8443",
        scheme: b"https",
        protocol: b"HTTP/2",
        size: Some(1_500),
        peer_address: b"2001:db8:1:2::7",
        ..Attributes::default()
    }
}

fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// What is asked, as `domain: key=value key=value *hits, ...`.
fn asked(evaluation: &Evaluation<'_>) -> String {
    let Some(question) = evaluation.question() else { return "nothing".to_owned() };
    let descriptors = question.descriptors.iter().map(|descriptor| {
        let entries = descriptor.entries.iter().map(|entry| format!("{}={}", text(entry.key), text(entry.value)));
        let hits = descriptor.hits_addend.map(|hits| format!("*{hits}"));
        entries.chain(hits).collect::<Vec<_>>().join(" ")
    });
    format!("{}: {}", text(question.domain), descriptors.collect::<Vec<_>>().join(", "))
}

fn ask(yaml: &str, attributes: &Attributes<'_>) -> String {
    let policy = policy(yaml);
    asked(&policy.evaluate(attributes))
}

/// The headers for the upstream.
fn headers(evaluation: &Evaluation<'_>) -> Vec<String> {
    let mut all = Vec::new();
    evaluation.upstream_headers(|name, value| all.push(format!("{name}: {}", value.unwrap_or("-"))));
    all
}
