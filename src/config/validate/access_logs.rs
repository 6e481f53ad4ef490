//! Access logs, `anomaly.access_logs`, and where addresses are.

use super::Findings;
use crate::config::Config;
use crate::config::ext_authz::Source;
use crate::config::field::key;

const MAX_LOGS: usize = 1_000;
const MAX_TEXT: usize = 1_024;

pub(super) fn check(config: &Config, found: &mut Findings) {
    let logs = &config.anomaly.access_logs;
    found.check("anomaly.access_logs", logs.len() <= MAX_LOGS, || {
        format!("there are {}; write at most {MAX_LOGS}", logs.len())
    });
    for (name, log) in logs {
        let field = format!("anomaly.access_logs.{}", key(name));
        found.not_empty(field.clone(), name);
        found.check(format!("{field}.domain"), !log.domain.is_empty(), || {
            "it is needed; write the domain that this log's requests are decided in".to_owned()
        });
        found.range(format!("{field}.client_address.trusted_hops"), log.client_address.trusted_hops, 1..=100);
        found.not_empty(format!("{field}.claims.namespace"), &log.claims.namespace);
        for (part, value) in [("user", &log.user), ("country", &log.country), ("asn", &log.asn)] {
            let Some(value) = value else { continue };
            let field = format!("{field}.{part}");
            match value.source() {
                Ok(source) => self::source(&field, source, found),
                Err(reason) => found.check(field, false, || reason),
            }
        }
    }
    let geo = &config.anomaly.geo;
    for (field, path) in [("country_database", &geo.country_database), ("asn_database", &geo.asn_database)] {
        let is_empty = path.as_ref().is_some_and(|path| path.as_os_str().is_empty());
        found.check(format!("anomaly.geo.{field}"), !is_empty, || {
            "an empty path has no meaning; write that of a file, or leave it out".to_owned()
        });
    }
}

fn source(field: &str, source: Source<'_>, found: &mut Findings) {
    let (kind, name) = match source {
        Source::Header(name) => ("header", name),
        Source::Claim(path) => ("claim", path),
        Source::Metadata { path, .. } => ("metadata", path),
        _ => return,
    };
    let field = format!("{field}.{kind}");
    found.check(field.clone(), (1..=MAX_TEXT).contains(&name.len()), || {
        format!("it has {} characters; write 1 to {MAX_TEXT}", name.len())
    });
    if let Source::Header(name) = source {
        found.check(field, http::HeaderName::from_bytes(name.as_bytes()).is_ok(), || {
            format!("\"{name}\" is no HTTP header name; write letters, digits and dashes")
        });
    }
}
