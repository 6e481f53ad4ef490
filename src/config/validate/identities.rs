//! Which entries tell who a client is, `anomaly.domains`.

use super::Findings;
use crate::config::Config;

pub(super) fn check(config: &Config, found: &mut Findings) {
    for (domain, identities) in &config.anomaly.domains {
        found.not_empty("anomaly.domains", domain);
        let mut known: Vec<(&str, &str)> = Vec::new();
        for (field, key, _) in identities.keys() {
            let place = format!("anomaly.domains.{domain}.{field}");
            found.not_empty(place.clone(), key);
            let other = known.iter().find(|(_, other)| *other == key).map(|(field, _)| *field);
            found.check(place, other.is_none(), || {
                format!("\"{key}\" is a key of {} already; an entry tells one thing", other.unwrap_or_default())
            });
            known.push((field, key));
        }
    }
}
