//! What the types alone do not say: ranges, and what must hold between fields.

mod access_logs;
mod anomaly;
mod database;
mod ext_authz;
mod identities;
mod redis;
mod xds;

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::Config;

const MIB: usize = 1 << 20;
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

/// Mistakes: the field, and what to write.
#[derive(Default)]
struct Findings(Vec<(Field, String)>);

/// The name of a field.
type Field = Cow<'static, str>;

impl Findings {
    fn check(&mut self, field: impl Into<Field>, holds: bool, message: impl FnOnce() -> String) {
        if !holds {
            self.0.push((field.into(), message()));
        }
    }

    fn range<T: PartialOrd + std::fmt::Display>(
        &mut self,
        field: impl Into<Field>,
        value: T,
        range: RangeInclusive<T>,
    ) {
        let message = || format!("{value} is out of range; write {} to {}", range.start(), range.end());
        self.check(field, range.contains(&value), message);
    }

    fn positive(&mut self, field: impl Into<Field>, value: Duration) {
        self.check(field, !value.is_zero(), || "0s would end everything at once; write a longer time".to_owned());
    }

    fn at_most(&mut self, field: impl Into<Field>, value: Duration, most: Duration) {
        self.check(field, value <= most, || format!("{} is too long; write at most {}", human(value), human(most)));
    }

    fn between(&mut self, field: impl Into<Field>, value: Duration, least: Duration, most: Duration) {
        self.check(field, (least..=most).contains(&value), || {
            format!("{} is out of range; write {} to {}", human(value), human(least), human(most))
        });
    }

    /// `0s`, or at least `least`.
    fn off_or_at_least(&mut self, field: impl Into<Field>, value: Duration, least: Duration) {
        self.check(field, value.is_zero() || value >= least, || {
            format!("{} is too short; write 0s for off, or at least {}", human(value), human(least))
        });
    }

    fn not_empty(&mut self, field: impl Into<Field>, value: &str) {
        self.check(field, !value.is_empty(), || "an empty text has no meaning here; write a name".to_owned());
    }
}

fn human(duration: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(duration)
}

/// Everything wrong with the tree as a whole.
pub(super) fn validate(config: &Config) -> Vec<(Field, String)> {
    let mut found = Findings::default();
    listeners(config, &mut found);
    rules(config, &mut found);
    limiter(config, &mut found);
    ext_authz::check(config, &mut found);
    redis::check(config, &mut found);
    database::check(config, &mut found);
    xds::check(config, &mut found);
    anomaly::check(config, &mut found);
    access_logs::check(config, &mut found);
    identities::check(config, &mut found);
    found.at_most("shutdown.drain_period", config.shutdown.drain_period, HOUR);
    found.at_most("shutdown.grace_period", config.shutdown.grace_period, HOUR);
    telemetry(config, &mut found);
    found.0
}

fn listeners(config: &Config, found: &mut Findings) {
    let grpc = &config.grpc;
    found.range("grpc.workers", grpc.workers, 0..=1024);
    found.range("grpc.max_concurrent_streams", grpc.max_concurrent_streams, 1..=1_000_000);
    found.range("grpc.max_message_bytes", grpc.max_message_bytes, 1024..=64 * MIB);
    found.off_or_at_least("grpc.max_connection_age", grpc.max_connection_age, SECOND);
    found.off_or_at_least("grpc.keepalive_interval", grpc.keepalive_interval, SECOND);
    found.positive("grpc.keepalive_timeout", grpc.keepalive_timeout);
    found.positive("grpc.handshake_timeout", grpc.handshake_timeout);
    for (section, tls) in [("grpc.tls", &grpc.tls), ("http.tls", &config.http.tls)] {
        let Some(tls) = tls else { continue };
        found.check(format!("{section}.client_san"), tls.client_san.is_empty() || tls.client_ca.is_some(), || {
            format!(
                "names of client certificates are checked only when clients must show one; set {section}.client_ca too"
            )
        });
    }
    let sockets = (&grpc.unix_socket, &config.http.unix_socket);
    found.check("http.unix_socket", sockets.0.is_none() || sockets.0 != sockets.1, || {
        "is grpc.unix_socket's already; write another path".to_owned()
    });

    found.not_empty("http.domain", &config.http.domain);
    found.range("http.max_body_bytes", config.http.max_body_bytes, 1024..=64 * MIB);
    found.positive("http.request_timeout", config.http.request_timeout);
    found.range("http.max_apply_bytes", config.http.max_apply_bytes, 1024..=256 * MIB);
    found.positive("http.apply_timeout", config.http.apply_timeout);

    // Port 0 takes a free port, so two of them do not meet.
    let grpc = config.grpc.unix_socket.is_none().then_some(("grpc.address", config.grpc.address));
    let reference = config.telemetry.metrics.prometheus_address;
    let all = [
        grpc,
        Some(("http.address", config.http.address)),
        Some(("admin.address", config.admin.address)),
        reference.map(|address| ("telemetry.metrics.prometheus_address", address)),
    ];
    let all: Vec<_> = all.into_iter().flatten().filter(|(_, address)| address.port() != 0).collect();
    for (index, (field, address)) in all.iter().enumerate() {
        let other = all.iter().take(index).find(|(_, other)| {
            other.port() == address.port()
                && (other.ip() == address.ip() || other.ip().is_unspecified() || address.ip().is_unspecified())
        });
        if let Some((other, _)) = other {
            found.check(*field, false, || format!("port {} is {other}'s already; write another port", address.port()));
        }
    }
}

fn rules(config: &Config, found: &mut Findings) {
    let files = !config.rules.paths.is_empty() || config.rules.runtime.is_some();
    let exclusive = || {
        "rules come from files (rules.paths, rules.runtime) or from a repository, not from both; leave one \
                        of them out, and move files there by `tidegate rules apply`"
            .to_owned()
    };
    found.check("database", !(files && config.database.is_some()), exclusive);
    found.check("rules.repository_file", !(files && config.rules.repository_file.is_some()), exclusive);
    let both = config.database.is_some() && config.rules.repository_file.is_some();
    found.check("rules.repository_file", !both, || "rules are kept in Postgres (database); leave it out".to_owned());
    let rules = &config.rules;
    found.check("rules.paths", rules.paths.is_empty() || rules.runtime.is_none(), || {
        "both rules.paths and rules.runtime (RUNTIME_ROOT and its siblings) are given; write only one".to_owned()
    });
    found.check("rules.paths", rules.paths.iter().all(|path| !path.as_os_str().is_empty()), || {
        "an empty path names nothing; write a file or a directory".to_owned()
    });
    if let Some(runtime) = &rules.runtime {
        found.check("rules.runtime.root", !runtime.root.as_os_str().is_empty(), || {
            "an empty path names nothing; write a directory".to_owned()
        });
    }
    let named = |path: &Option<std::path::PathBuf>| path.as_ref().is_none_or(|path| !path.as_os_str().is_empty());
    found.check("rules.copy_directory", named(&rules.copy_directory), || {
        "an empty path names nothing; write a directory, or leave it out".to_owned()
    });
    found.check("rules.copy_key_file", named(&rules.copy_key_file), || {
        "an empty path names nothing; write a file, or leave it out".to_owned()
    });
    found.at_most("rules.debounce", rules.debounce, Duration::from_secs(60));
    found.off_or_at_least("rules.poll_interval", rules.poll_interval, Duration::from_millis(100));
}

fn limiter(config: &Config, found: &mut Findings) {
    let limiter = &config.limiter;
    found.range("limiter.near_limit_ratio", limiter.near_limit_ratio, 0.0..=1.0);
    found.range("limiter.max_descriptors", limiter.max_descriptors, 1..=10_000);
    found.range("limiter.max_counters", limiter.max_counters, 1_000..=1_000_000_000);
    let names = &limiter.header_names;
    let names = [
        ("limiter.header_names.limit", &names.limit),
        ("limiter.header_names.remaining", &names.remaining),
        ("limiter.header_names.reset", &names.reset),
    ];
    for (field, name) in names {
        found.check(field, http::HeaderName::try_from(name).is_ok(), || {
            format!("\"{name}\" is no HTTP header name; write letters, digits and dashes")
        });
    }
}

fn telemetry(config: &Config, found: &mut Findings) {
    let logs = &config.telemetry.logs;
    if let Err(error) = tracing_subscriber::EnvFilter::try_new(&logs.level) {
        found.check("telemetry.logs.level", false, || {
            format!(
                "\"{}\" is no log level ({error}); write one such as info or info,tidegate::rules=debug",
                logs.level
            )
        });
    }

    let traces = &config.telemetry.traces;
    found.range("telemetry.traces.sampling_ratio", traces.sampling_ratio, 0.0..=1.0);
    found.not_empty("telemetry.traces.service_name", &traces.service_name);
    found.positive("telemetry.traces.timeout", traces.timeout);
    let endpoint = traces.endpoint.parse::<http::Uri>().ok();
    let is_http = endpoint.is_some_and(|uri| uri.scheme_str() == Some("http") && uri.host().is_some());
    found.check("telemetry.traces.endpoint", is_http, || {
        "spans are sent without TLS, to a collector nearby; write http://HOST:PORT".to_owned()
    });

    let metrics = &config.telemetry.metrics;
    found.range("telemetry.metrics.max_series", metrics.max_series, 1..=1_000_000);
    found.range("telemetry.metrics.max_domains", metrics.max_domains, 1..=100_000);
    found.check("telemetry.metrics.prometheus_path", metrics.prometheus_path.starts_with('/'), || {
        format!("\"{0}\" is no path; write /{0}", metrics.prometheus_path)
    });
}
