//! The environment names of envoyproxy/ratelimit, and `DATABASE_URL`, which platforms set.
//!
//! A deployment is switched over by changing its image, so each name that it may have set is known here
//! ([`TABLE`]), and is either honoured, or told at start with what to do. None is ignored in silence.

mod database;
mod listeners;
mod redis;
mod table;
mod xds;

use std::collections::BTreeMap;

pub use table::{Name, TABLE, Treatment};

use super::error::ConfigError;
use super::load::Setting;

/// How much a note matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Good to know.
    Info,
    /// Something asked for does not happen.
    Warning,
}

/// What to tell at start about names that were set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// How much it matters.
    pub weight: Weight,
    /// The names, as they were set.
    pub names: Vec<String>,
    /// What becomes of them, and what to do.
    pub text: &'static str,
}

impl Note {
    /// Writes the note to the log.
    pub fn log(&self) {
        let names = self.names.join(", ");
        match self.weight {
            Weight::Info => tracing::info!("{names}: {}", self.text),
            Weight::Warning => tracing::warn!("{names}: {}", self.text),
        }
    }
}

/// What the environment says in those names.
#[derive(Default)]
pub(super) struct Reference {
    pub(super) settings: Vec<Setting>,
    pub(super) notes: Vec<Note>,
    pub(super) errors: Vec<ConfigError>,
}

type Env<'e> = BTreeMap<&'e str, &'e str>;

impl Reference {
    fn set(&mut self, field: &str, value: impl AsRef<str>, origin: &str) {
        self.settings.push(Setting::text(field, value.as_ref(), origin));
    }

    fn error(&mut self, name: &str, message: impl Into<String>) {
        self.errors.push(ConfigError::new("", name, message));
    }

    /// Names with one fate share one note.
    fn note(&mut self, weight: Weight, name: &str, text: &'static str) {
        match self.notes.iter_mut().find(|note| note.text == text) {
            Some(note) => note.names.push(name.to_owned()),
            None => self.notes.push(Note { weight, names: vec![name.to_owned()], text }),
        }
    }

    /// A boolean as Go reads it; a mistake is noted.
    fn flag(&mut self, env: &Env<'_>, name: &str) -> Option<bool> {
        let text = env.get(name)?;
        let value = parse_bool(text);
        if value.is_none() {
            self.error(name, format!("expected true or false, found \"{text}\""));
        }
        value
    }
}

/// Reads the names of the reference. `current` gives the text that a field has so far; `given` tells whether any other
/// source gives a field.
pub(super) fn read(env: &Env<'_>, current: impl Fn(&str) -> Option<String>, given: impl Fn(&str) -> bool) -> Reference {
    let mut found = Reference::default();
    listeners::read(env, &current, &mut found);
    redis::read(env, &given, &mut found);
    database::read(env, &mut found);
    xds::read(env, &mut found);
    for (name, value) in env {
        let Some(entry) = table::find(name) else { continue };
        match entry.treatment {
            Treatment::Field(field) | Treatment::Switch(field)
                if field.starts_with("rules.runtime.") && xds::is_asked(env) =>
            {
                found.note(Weight::Info, name, xds::NO_FILES);
            }
            Treatment::Field(field) => found.set(field, value, name),
            Treatment::Switch(field) => {
                if let Some(on) = found.flag(env, name) {
                    found.set(field, on.to_string(), name);
                }
            }
            Treatment::Special => {}
            Treatment::Unneeded(why) => found.note(Weight::Info, name, why),
            Treatment::Unsupported(advice) => found.note(Weight::Warning, name, advice),
            Treatment::UnsupportedIfTrue(advice) => {
                if found.flag(env, name) == Some(true) {
                    found.note(Weight::Warning, name, advice);
                }
            }
        }
    }
    special(env, &mut found);
    found
}

/// Names whose meaning needs more than their own value; those of listeners, of Redis and of xDS are apart.
fn special(env: &Env<'_>, found: &mut Reference) {
    if let Some(text) = env.get("CONFIG_TYPE")
        && !xds::is_asked(env)
        && *text != "FILE"
    {
        found.error("CONFIG_TYPE", "there is no such source of rules; write FILE or GRPC_XDS_SOTW");
    }
    if let Some(text) = env.get("LOG_LEVEL") {
        let level = text.to_lowercase();
        match level.as_str() {
            "panic" | "fatal" => found.set("telemetry.logs.level", "error", "LOG_LEVEL"),
            "warning" => found.set("telemetry.logs.level", "warn", "LOG_LEVEL"),
            _ => found.set("telemetry.logs.level", level, "LOG_LEVEL"),
        }
    }
    if let Some(text) = env.get("LOG_FORMAT") {
        found.set("telemetry.logs.format", text.to_lowercase(), "LOG_FORMAT");
    }
    if found.flag(env, "LIMIT_RESPONSE_HEADERS_ENABLED") == Some(true) {
        found.set("limiter.response_headers", "draft,legacy", "LIMIT_RESPONSE_HEADERS_ENABLED");
    }
    if let Some(off) = found.flag(env, "DISABLE_STATS") {
        found.set("telemetry.metrics.enabled", (!off).to_string(), "DISABLE_STATS");
    }
    if found.flag(env, "USE_PROMETHEUS") == Some(true) {
        let (address, origin) =
            env.get("PROMETHEUS_ADDR").map_or((":9090", "USE_PROMETHEUS"), |a| (a, "PROMETHEUS_ADDR"));
        found.set("telemetry.metrics.prometheus_address", address, origin);
    } else if let Some((name, _)) = env.get_key_value("PROMETHEUS_ADDR") {
        found.note(Weight::Info, name, "has no effect without USE_PROMETHEUS=true");
    }
    // Only what was asked for in so many words is missed: the reference sends statsd unless told not to.
    match found.flag(env, "USE_STATSD") {
        Some(true) => found.note(Weight::Warning, "USE_STATSD", table::STATSD),
        other => {
            for name in ["STATSD_HOST", "STATSD_PORT"] {
                if env.contains_key(name) && other.is_none() {
                    found.note(Weight::Warning, name, table::STATSD);
                }
            }
        }
    }
    if let Some(text) = env.get("TRACING_EXPORTER_PROTOCOL") {
        match text.to_lowercase().as_str() {
            "grpc" => found.set("telemetry.traces.protocol", "grpc", "TRACING_EXPORTER_PROTOCOL"),
            "http" => found.note(Weight::Warning, "TRACING_EXPORTER_PROTOCOL", table::TRACES_BY_HTTP),
            _ => found.error("TRACING_EXPORTER_PROTOCOL", format!("there is no protocol \"{text}\"; write grpc")),
        }
    }
    // The more special name wins, as in OpenTelemetry's specification.
    for name in ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] {
        if let Some(endpoint) = env.get(name) {
            found.set("telemetry.traces.endpoint", endpoint, name);
        }
    }
}

/// Go's `strconv.ParseBool`, and any case of the words.
fn parse_bool(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "1" | "t" | "true" => Some(true),
        "0" | "f" | "false" => Some(false),
        _ => None,
    }
}
