//! How to connect, as the settings want it.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use deadpool_postgres::{Connect, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, Connection, Error, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::tls;
use crate::config::database::{Database, DatabaseTls, DatabaseUrlError, TlsMode};
use crate::config::redis::Secret;
use crate::tls::TlsError;

/// A silent connection is asked for a sign of life after this time, then as often as that, so many times.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;
/// How long sent bytes may stay unacknowledged.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// Why the settings give no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address.
    #[error("database.url: {0}")]
    Url(#[from] DatabaseUrlError),
    /// A file with a password that cannot be read, or is empty.
    #[error("database.password_file: {path:?}: {error}; its first line must be the password")]
    PasswordFile {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Certificates or keys.
    #[error("database.tls: {0}")]
    Tls(#[from] TlsError),
    /// The pool.
    #[error("database: {0}")]
    Pool(#[from] deadpool_postgres::BuildError),
}

/// A connection's other half, which reads and writes while it is polled.
pub type Driver = Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

/// Makes connections.
#[derive(Clone)]
pub struct Connector {
    config: Config,
    password_file: Option<PathBuf>,
    tls: MakeRustlsConnect,
}

impl Connector {
    /// Reads what the settings name.
    pub fn new(settings: &Database) -> Result<Self, ConnectError> {
        let parts = settings.url.parts()?;
        let mode = settings.tls_mode()?;
        let mut config: Config = parts.address.parse().map_err(|error: Error| {
            let reason = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            DatabaseUrlError::Syntax(reason)
        })?;
        let local = config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)));
        config.ssl_mode(match mode {
            // There is no TLS on Unix sockets.
            _ if local && config.get_hostaddrs().is_empty() => SslMode::Disable,
            TlsMode::Disable => SslMode::Disable,
            TlsMode::Prefer => SslMode::Prefer,
            TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => SslMode::Require,
        });
        // What a session that lost its client may still hold, and where its names are looked up.
        let milliseconds = settings.statement_timeout.as_millis();
        let options = format!(
            "{} -c statement_timeout={milliseconds} -c idle_in_transaction_session_timeout={milliseconds} \
             -c search_path=public",
            config.get_options().unwrap_or_default()
        );
        config
            .options(options.trim())
            .connect_timeout(settings.connect_timeout)
            .keepalives_idle(KEEPALIVE_IDLE)
            .keepalives_interval(KEEPALIVE_INTERVAL)
            .keepalives_retries(KEEPALIVE_RETRIES)
            .tcp_user_timeout(UNACKNOWLEDGED);
        if config.get_application_name().is_none() {
            config.application_name("tidegate");
        }
        if let Some(path) = &settings.password_file {
            read_password(path)?;
        }
        let tls = settings.tls.clone().unwrap_or(DatabaseTls {
            mode,
            ca: parts.tls.ca,
            certificate: parts.tls.certificate,
            key: parts.tls.key,
        });
        let tls = MakeRustlsConnect::new(tls::client(&tls)?);
        Ok(Self { config, password_file: settings.password_file.clone(), tls })
    }

    /// Connects. The caller bounds the time.
    pub async fn connect(&self, name: Option<&str>) -> Result<(Client, Driver), Error> {
        let mut config = self.config.clone();
        if let Some(name) = name {
            config.application_name(name);
        }
        // Read anew, as passwords are changed.
        match self.password_file.as_deref().map(read_password) {
            Some(Ok(password)) => {
                config.password(password.reveal());
            }
            // Without it the server says what it lacks.
            Some(Err(error)) => tracing::warn!("{error}"),
            None => {}
        }
        config.connect(self.tls.clone()).await
    }

    /// Connections for queries.
    pub fn pool(&self, settings: &Database) -> Result<Pool, ConnectError> {
        let manager = Manager::from_connect(
            self.config.clone(),
            self.clone(),
            // A connection that died unnoticed is found out before it is used.
            ManagerConfig { recycling_method: RecyclingMethod::Verified },
        );
        let pool = Pool::builder(manager)
            .max_size(settings.pool_size)
            .wait_timeout(Some(settings.acquire_timeout))
            .create_timeout(Some(settings.connect_timeout))
            .recycle_timeout(Some(settings.connect_timeout))
            .runtime(Runtime::Tokio1)
            .build()?;
        Ok(pool)
    }
}

impl Connect for Connector {
    fn connect(
        &self,
        _config: &Config,
    ) -> Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), Error>> + Send + '_>> {
        Box::pin(async move {
            let (client, driver) = Self::connect(self, None).await?;
            let driven = tokio::spawn(async move {
                if let Err(error) = driver.await {
                    tracing::debug!("a connection to the database ended: {}", super::failure::sentence(&error));
                }
            });
            Ok((client, driven))
        })
    }
}

/// The first line of a file.
fn read_password(path: &Path) -> Result<Secret, ConnectError> {
    let wrong = |error| ConnectError::PasswordFile { path: path.to_owned(), error };
    let text = std::fs::read_to_string(path).map_err(wrong)?;
    match text.lines().next() {
        Some(password) if !password.is_empty() => Ok(Secret::new(password)),
        _ => Err(wrong(io::Error::other("it is empty"))),
    }
}
