//! Rules by xDS: with `CONFIG_TYPE=GRPC_XDS_SOTW`, they come from a server instead of files.

use super::{Env, Reference, Weight};
use crate::config::load::Setting;

const SECTION: &str = "rules.xds";
const WITHOUT_XDS: &str = "has no effect without CONFIG_TYPE=GRPC_XDS_SOTW";
const WITHOUT_TLS: &str = "has no effect without CONFIG_GRPC_XDS_SERVER_USE_TLS=true";
/// What is said of the names of files.
pub(super) const NO_FILES: &str = "has no effect with CONFIG_TYPE=GRPC_XDS_SOTW: the rules come from the xDS server";

/// Names whose value is that of a field below the section.
const FIELDS: [(&str, &str); 5] = [
    ("CONFIG_GRPC_XDS_NODE_ID", "node_id"),
    ("CONFIG_GRPC_XDS_NODE_METADATA", "node_metadata"),
    ("XDS_CLIENT_BACKOFF_INITIAL_INTERVAL", "backoff.initial"),
    ("XDS_CLIENT_BACKOFF_MAX_INTERVAL", "backoff.max"),
    (SERVER, "server"),
];
const SERVER: &str = "CONFIG_GRPC_XDS_SERVER_URL";
const HEADERS: &str = "CONFIG_GRPC_XDS_CLIENT_ADDITIONAL_HEADERS";
const MAX_SIZE: &str = "XDS_CLIENT_MAX_MSG_SIZE_IN_BYTES";
const USE_TLS: &str = "CONFIG_GRPC_XDS_SERVER_USE_TLS";
const TLS_FIELDS: [(&str, &str); 4] = [
    ("CONFIG_GRPC_XDS_CLIENT_TLS_CERT", "certificate"),
    ("CONFIG_GRPC_XDS_CLIENT_TLS_KEY", "key"),
    ("CONFIG_GRPC_XDS_SERVER_TLS_CACERT", "ca"),
    ("CONFIG_GRPC_XDS_SERVER_TLS_SAN", "san"),
];

/// Whether the names ask for rules by xDS.
pub(super) fn is_asked(env: &Env<'_>) -> bool {
    env.get("CONFIG_TYPE") == Some(&"GRPC_XDS_SOTW")
}

pub(super) fn read(env: &Env<'_>, found: &mut Reference) {
    if !is_asked(env) {
        let others = [HEADERS, MAX_SIZE, USE_TLS].into_iter();
        let names = FIELDS.into_iter().chain(TLS_FIELDS).map(|(name, _)| name).chain(others);
        for name in names.filter(|name| env.contains_key(name)) {
            found.note(Weight::Info, name, WITHOUT_XDS);
        }
        return;
    }
    found.settings.push(Setting::section(SECTION, "CONFIG_TYPE"));
    for (name, field) in FIELDS {
        if let Some(value) = env.get(name) {
            // Go's gRPC names how an address is looked up; here it always is by DNS.
            let value = value.strip_prefix("dns:///").filter(|_| name == SERVER).unwrap_or(value);
            found.set(&format!("{SECTION}.{field}"), value, name);
        }
    }
    if let Some(text) = env.get(HEADERS) {
        headers(text, found);
    }
    match env.get(MAX_SIZE) {
        None => {}
        Some(&"0") => found.note(Weight::Info, MAX_SIZE, "0 is the default, 64 MiB here"),
        Some(bytes) => found.set(&format!("{SECTION}.max_message_bytes"), bytes, MAX_SIZE),
    }
    let secure = found.flag(env, USE_TLS) == Some(true);
    if secure {
        found.settings.push(Setting::section(&format!("{SECTION}.tls"), USE_TLS));
    }
    for (name, field) in TLS_FIELDS {
        match env.get(name) {
            Some(value) if secure => found.set(&format!("{SECTION}.tls.{field}"), value, name),
            Some(_) => found.note(Weight::Info, name, WITHOUT_TLS),
            None => {}
        }
    }
}

/// `name:value,name:value`, as the reference reads a map.
fn headers(text: &str, found: &mut Reference) {
    let mut pairs = Vec::new();
    for (part, number) in text.split(',').zip(1..) {
        match part.split_once(':') {
            Some((name, value)) => pairs.push(format!("{}={}", name.trim(), value.trim())),
            // What was written may be a secret.
            None => return found.error(HEADERS, format!("part {number} has no ':'; write name:value,name:value")),
        }
    }
    found.set(&format!("{SECTION}.headers"), pairs.join(","), HEADERS);
}
