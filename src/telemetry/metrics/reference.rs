//! The metric names of envoyproxy/ratelimit, as its Prometheus exporter gives them: counters without `_total`, and a
//! rule's path cut into `key1` and `key2`, deeper levels counted in the series of the second. What that exporter
//! names by a whole path (`..._over_limit_with_local_cache`, `..._domain_not_found`) has labels here.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::telemetry::decisions::{DecisionMetrics, Failure, HitCounts};
use crate::telemetry::rule_loads::RuleLoads;

type Part = (&'static str, fn(&HitCounts) -> u64);

const PARTS: [Part; 6] = [
    ("total_hits", |counts| counts.total_hits),
    ("over_limit", |counts| counts.over_limit),
    ("near_limit", |counts| counts.near_limit),
    ("within_limit", |counts| counts.within_limit),
    ("shadow_mode", |counts| counts.shadow_mode),
    ("over_limit_with_local_cache", |counts| counts.over_limit_with_local_cache),
];

/// The only method that decides.
const METHOD: (&str, &str) = ("grpc_method", "ShouldRateLimit");

pub(super) fn encode(decisions: &DecisionMetrics, loads: &RuleLoads) -> String {
    let mut out = Exposition::default();
    // Several of our series can fall into one of the reference's.
    let mut levels = BTreeMap::<(String, String, Option<String>), Vec<HitCounts>>::new();
    for (series, total) in decisions.totals() {
        let rule = sanitize(series.rule());
        let mut parts = rule.split('.').map(str::to_owned);
        let key = (series.domain().to_owned(), parts.next().unwrap_or_default(), parts.next());
        levels.entry(key).or_default().push(total);
    }
    for (part, read) in PARTS {
        let name = format!("ratelimit_service_rate_limit_{part}");
        out.family(&name, "counter");
        for ((domain, key1, key2), totals) in &levels {
            let sum = totals.iter().map(read).sum::<u64>() as f64;
            let labels = [("domain", domain.as_str()), ("key1", key1)];
            let key2 = key2.as_ref().map(|key2| ("key2", key2.as_str()));
            out.sample(&name, labels.into_iter().chain(key2), sum);
        }
    }

    let name = "ratelimit_service_rate_limit_domain_not_found";
    out.family(name, "counter");
    for (domain, requests) in decisions.unknown_domains() {
        out.sample(name, [("domain", domain.as_str())], requests as f64);
    }
    let name = "ratelimit_service_should_rate_limit_error";
    out.family(name, "counter");
    for (err_type, failure) in [("redis_error", Failure::Store), ("service_error", Failure::Service)] {
        out.sample(name, [("err_type", err_type)], decisions.failures(failure) as f64);
    }

    let latency = decisions.latency();
    let failures = decisions.failures(Failure::Store) + decisions.failures(Failure::Service);
    let name = "ratelimit_service_total_requests";
    out.family(name, "counter");
    out.sample(name, [METHOD], (latency.count() + failures) as f64);
    let name = "ratelimit_service_response_time_seconds";
    out.family(name, "histogram");
    let mut cumulative = 0;
    for (bound, count) in latency.buckets() {
        cumulative += count;
        let bound = if bound.is_finite() { bound.to_string() } else { "+Inf".to_owned() };
        out.sample(&format!("{name}_bucket"), [METHOD, ("le", &bound)], cumulative as f64);
    }
    out.sample(&format!("{name}_sum"), [METHOD], latency.sum);
    out.sample(&format!("{name}_count"), [METHOD], latency.count() as f64);

    let plain = [
        ("ratelimit_service_config_load_success", loads.successes()),
        ("ratelimit_service_config_load_error", loads.errors()),
        ("ratelimit_service_global_shadow_mode", decisions.global_shadow_modes()),
    ];
    for (name, value) in plain {
        out.family(name, "counter");
        out.sample(name, [], value as f64);
    }
    out.0
}

/// A rule's name with `_` for what a statsd name cannot hold: colons, bars, and the dots of what looks like an IPv4
/// address (four groups of one to three digits).
fn sanitize(rule: &str) -> String {
    let mut name: Vec<u8> = rule.bytes().map(|byte| if matches!(byte, b':' | b'|') { b'_' } else { byte }).collect();
    let mut rest = name.as_mut_slice();
    while !rest.is_empty() {
        let address = ipv4_length(rest);
        let (seen, after) = rest.split_at_mut(address.unwrap_or(1));
        if address.is_some() {
            seen.iter_mut().filter(|byte| **byte == b'.').for_each(|dot| *dot = b'_');
        }
        rest = after;
    }
    String::from_utf8(name).unwrap_or_else(|_| rule.to_owned())
}

/// The length of what looks like an IPv4 address at the start of `text`.
fn ipv4_length(text: &[u8]) -> Option<usize> {
    let mut length = 0;
    for group in 0..4 {
        let rest = text.get(length..)?;
        let rest = if group == 0 { rest } else { rest.strip_prefix(b".")? };
        let digits = rest.iter().take(3).take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        length += digits + usize::from(group > 0);
    }
    Some(length)
}

#[cfg(test)]
mod tests {
    use super::sanitize;

    #[test]
    fn dots_of_addresses_do_not_part_levels() {
        assert_eq!(sanitize("ip_10.0.0.1.path_/a:b|c"), "ip_10_0_0_1.path_/a_b_c");
        assert_eq!(sanitize("k_999.1.1.1"), "k_999_1_1_1");
        assert_eq!(sanitize("k_1.2.3.4.5"), "k_1_2_3_4.5");
        assert_eq!(sanitize("k_1999.1.1.1234"), "k_1999_1_1_1234");
        assert_eq!(sanitize("v_1.2.3.x"), "v_1.2.3.x");
    }
}

/// Prometheus' text format. Written here because the library gives every counter the suffix `_total`, which these
/// names do not have.
#[derive(Default)]
struct Exposition(String);

impl Exposition {
    fn family(&mut self, name: &str, kind: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "# TYPE {name} {kind}");
    }

    fn sample<'a>(&mut self, name: &str, labels: impl IntoIterator<Item = (&'a str, &'a str)>, value: f64) {
        self.0.push_str(name);
        let mut separator = '{';
        for (label, text) in labels {
            let _ = write!(self.0, "{separator}{label}=\"");
            for character in text.chars() {
                match character {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    other => self.0.push(other),
                }
            }
            self.0.push('"');
            separator = ',';
        }
        if separator == ',' {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }
}
