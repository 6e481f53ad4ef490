//! What must hold for the settings of rules by xDS.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use rustls::pki_types::ServerName;

use super::{Findings, HOUR, MIB};
use crate::config::Config;
use crate::config::xds::Xds;

const MILLISECOND: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);

pub(super) fn check(config: &Config, found: &mut Findings) {
    let rules = &config.rules;
    let Some(xds) = &rules.xds else { return };
    let elsewhere = [
        (!rules.paths.is_empty(), "rules.paths"),
        (rules.runtime.is_some(), "rules.runtime"),
        (rules.repository_file.is_some(), "rules.repository_file"),
        (config.database.is_some(), "database"),
    ];
    for (given, field) in elsewhere {
        found.check(field, !given, || {
            "the rules come from an xDS server (rules.xds, CONFIG_TYPE); leave one of the two out".to_owned()
        });
    }
    found.check("rules.required", !(rules.required && rules.start_without), || {
        "rules.start_without starts without rules, and rules.required does not; write only one of them".to_owned()
    });
    found.check("rules.xds.server", xds.address().is_some(), || {
        format!("\"{}\" is no address of a server; write host:port, such as envoy-gateway:18001", xds.server)
    });
    found.not_empty("rules.xds.node_id", &xds.node_id);
    headers(xds, found);
    found.between("rules.xds.connect_timeout", xds.connect_timeout, MILLISECOND, MINUTE);
    found.between("rules.xds.backoff.initial", xds.backoff.initial, MILLISECOND, HOUR);
    found.between("rules.xds.backoff.max", xds.backoff.max, xds.backoff.initial, HOUR);
    found.range("rules.xds.max_message_bytes", xds.max_message_bytes, 1024..=256 * MIB);
    let Some(tls) = &xds.tls else { return };
    found.check("rules.xds.tls", tls.certificate.is_some() == tls.key.is_some(), || {
        "certificate and key belong together; write both, or neither".to_owned()
    });
    if let Some(san) = &tls.san {
        found.check("rules.xds.tls.san", ServerName::try_from(san.as_str()).is_ok(), || {
            format!("\"{san}\" is no name of a server; write a DNS name or an IP address")
        });
    }
}

fn headers(xds: &Xds, found: &mut Findings) {
    for (name, value) in &xds.headers {
        let lower = name.to_lowercase();
        let ours = lower.starts_with("grpc-") || ["content-type", "te", "user-agent"].contains(&&*lower);
        let named = name.parse::<HeaderName>().is_ok() && !lower.ends_with("-bin") && !ours;
        found.check(format!("rules.xds.headers.{name}"), named, || {
            "this header cannot be added; write a name of letters, digits and dashes that gRPC does not use itself"
                .to_owned()
        });
        let valid = HeaderValue::from_str(value.reveal()).is_ok_and(|value| value.to_str().is_ok());
        found.check(format!("rules.xds.headers.{name}"), valid, || {
            "the value has characters that no header can have; write visible ASCII".to_owned()
        });
    }
}
