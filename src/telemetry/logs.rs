//! Logs, on standard error: a line for people, or a JSON object a line.

use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::{EnvFilter, fmt};

use crate::config::{LogFormat, Logs};

/// Libraries that say at every start what nobody needs to know.
const QUIET: &str = "refinery_core=warn,tokio_postgres=warn";

/// Why there are no logs.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The level has no meaning. A loaded configuration has been checked for this.
    #[error("telemetry.logs.level: \"{level}\" is no log level ({source}); write one such as info")]
    Level {
        /// What was written.
        level: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// The process has a logger already.
    #[error("logs are set up already: {0}")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Sends the logs of the whole process to standard error. Called once, by the program, not by a library.
///
/// # Errors
/// [`LogsError`].
pub fn init(settings: &Logs) -> Result<(), LogsError> {
    use tracing_subscriber::util::SubscriberInitExt as _;
    Ok(subscriber(settings, std::io::stderr)?.try_init()?)
}

/// What writes the logs, to any writer.
///
/// # Errors
/// [`LogsError::Level`].
pub fn subscriber<W>(settings: &Logs, writer: W) -> Result<Box<dyn Subscriber + Send + Sync>, LogsError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(format!("{QUIET},{}", settings.level))
        .map_err(|source| LogsError::Level { level: settings.level.clone(), source })?;
    let logs = fmt().with_env_filter(filter).with_writer(writer);
    Ok(match settings.format {
        LogFormat::Text => Box::new(logs.with_ansi(false).finish()),
        // Keys: timestamp, level, target, message, and the event's own.
        LogFormat::Json => {
            Box::new(logs.json().flatten_event(true).with_current_span(false).with_span_list(false).finish())
        }
    })
}
