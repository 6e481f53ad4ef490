//! Rules from an xDS server.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::{publish, wait_for};
use crate::config::Config;
use crate::rules::copies::codec::Seal;
use crate::rules::xds::status::Outcome;
use crate::rules::xds::{Client, SetCopy, Standing, Status, connect};
use crate::server::{Context, StartError};
use crate::telemetry::metrics::Metrics;

/// The longest that a start waits for the first rules.
const FIRST_RULES_WITHIN: Duration = Duration::from_secs(10);
/// So much of a version is a label, in characters.
const MAX_VERSION: usize = 64;

/// How it stands with the server that the settings name, if they name one.
///
/// # Errors
/// [`StartError::Xds`] when the settings can give no connection.
pub fn status(config: &Config) -> Result<Option<Arc<Status>>, StartError> {
    let Some(settings) = &config.rules.xds else { return Ok(None) };
    connect::check(settings)?;
    Ok(Some(Arc::new(Status::new(&settings.server))))
}

/// Follows the server from now on, and waits for the first rules, which may be those of the copy on disk, unless the
/// settings say to start without.
///
/// # Errors
/// When the copy's directory or key cannot be used; [`StartError::NoRules`] when there are none in time and the settings ask for some.
pub fn follow(context: &Arc<Context>, background: &Handle) -> Result<(), StartError> {
    let rules = &context.config.rules;
    let (Some(status), Some(settings)) = (&context.xds, &rules.xds) else { return Ok(()) };
    let copy = match &rules.copy_directory {
        Some(directory) => {
            let seal = rules.copy_key_file.as_deref().map_or(Ok(Seal::CHECKSUM), Seal::from_file)?;
            Some(SetCopy::open(directory, seal, settings.max_message_bytes)?)
        }
        None => None,
    };
    // Weak: the client must not keep alive what it serves.
    let served = Arc::downgrade(context);
    let take = move |rules| {
        if let Some(context) = served.upgrade() {
            publish(&context, rules, "xds");
        }
    };
    let client = Client::new(settings.clone(), rules.merge_domains, Arc::clone(status), take).with_copy(copy);
    background.spawn(client.run());
    if rules.start_without {
        return Ok(());
    }
    let first = Arc::clone(status);
    if wait_for(background, async move { first.first(FIRST_RULES_WITHIN).await }) == Some(true) {
        return Ok(());
    }
    let Standing { refusal, trouble, .. } = status.standing();
    let reason = refusal
        .map(|refusal| refusal.reason)
        .or(trouble)
        .unwrap_or_else(|| format!("the xDS server {} has sent none", status.server));
    if rules.required {
        return Err(StartError::NoRules(reason));
    }
    tracing::error!("no rules yet, requests get an error until there are: {reason}");
    Ok(())
}

/// For `/readyz?verbose`.
#[must_use]
pub fn document(status: &Status) -> Value {
    let standing = status.standing();
    let refusal = standing
        .refusal
        .map(|refusal| json!({ "version": refusal.version, "at": refusal.at.to_string(), "reason": refusal.reason }));
    json!({
        "server": status.server,
        "connected": standing.connected,
        "since": standing.since.map(|at| at.to_string()),
        "trouble": standing.trouble,
        "version": standing.version,
        "from_copy": standing.from_copy,
        "last_taken": standing.taken.map(|at| at.to_string()),
        "refused": refusal,
    })
}

/// Adds the metrics of rules that come by xDS.
pub fn register(metrics: &Metrics, status: &Arc<Status>) {
    let from = Arc::clone(status);
    let connected = move || f64::from(u8::from(from.standing().connected));
    metrics.gauge("xds_connected", "1 while there is a connection to the xDS server", connected);
    let from = Arc::clone(status);
    let refused = move || f64::from(u8::from(from.standing().refusal.is_some()));
    metrics.gauge("xds_refused", "1 while the newest rules of the xDS server are refused", refused);
    let from = Arc::clone(status);
    metrics.counters("xds_pushes", "Sets of rules that the xDS server sent", "outcome", move || {
        let pushes = from.standing().pushes;
        Outcome::ALL.into_iter().map(|outcome| (outcome.name().to_owned(), pushes[outcome as usize])).collect()
    });
    let from = Arc::clone(status);
    metrics.gauges("xds_version", "1 for the xDS server's name of the rules in force", "version", move || {
        let version = from.standing().version;
        version.map(|version| (version.chars().take(MAX_VERSION).collect(), 1.0)).into_iter().collect()
    });
}
