//! The settings of the database that keeps rules.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use super::scalar::duration;

/// A PostgreSQL that keeps rules, and what belongs to them. Without this section rules are elsewhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// Where it is, `postgres://user@host:port/name`. Required.
    pub url: DatabaseUrl,
    /// A file whose first line is the password, read anew for each connection, instead of one in `url`. Default: none.
    pub password_file: Option<PathBuf>,
    /// The most connections for queries; one more listens. 1 to 1000, default 8.
    pub pool_size: usize,
    /// How long connecting may take, handshakes included. `1ms` to `1m`, default `2s`.
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
    /// How long a call waits for a connection. `1ms` to `1m`, default `2s`.
    #[serde(with = "duration")]
    pub acquire_timeout: Duration,
    /// How long a statement, and a call that is one, may take. `10ms` to `10m`, default `5s`.
    #[serde(with = "duration")]
    pub statement_timeout: Duration,
    /// How long reading everything, a commit, or a migration may take. `statement_timeout` to `1h`, default `2m`.
    #[serde(with = "duration")]
    pub bulk_timeout: Duration,
    /// TLS to the database. Default: none, as `sslmode` in `url` says.
    pub tls: Option<DatabaseTls>,
    /// Bring the schema to this version's when it is older. Without it, somebody else has to. Default `true`.
    pub migrate: bool,
    /// How often to ask for changes besides being told. `100ms` to `1h`, default `5s`.
    #[serde(with = "duration")]
    pub poll_interval: Duration,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: DatabaseUrl::default(),
            password_file: None,
            pool_size: 8,
            connect_timeout: Duration::from_secs(2),
            acquire_timeout: Duration::from_secs(2),
            statement_timeout: Duration::from_secs(5),
            bulk_timeout: Duration::from_secs(120),
            tls: None,
            migrate: true,
            poll_interval: Duration::from_secs(5),
        }
    }
}

impl Database {
    /// How the connection is protected, as `tls` or `sslmode` in the address says.
    ///
    /// # Errors
    /// [`DatabaseUrlError`].
    pub fn tls_mode(&self) -> Result<TlsMode, DatabaseUrlError> {
        let written = self.url.parts()?.tls.mode;
        Ok(self.tls.as_ref().map(|tls| tls.mode).or(written).unwrap_or_default())
    }
}

/// TLS towards the database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatabaseTls {
    /// How much is asked of the connection. Default `verify-full`.
    pub mode: TlsMode,
    /// Certificate authorities, a PEM file. Default: those of the system.
    pub ca: Option<PathBuf>,
    /// Our certificate chain, a PEM file; needs `key`. Default: none.
    pub certificate: Option<PathBuf>,
    /// Its private key, a PEM file. Default: none.
    pub key: Option<PathBuf>,
}

impl Default for DatabaseTls {
    fn default() -> Self {
        Self { mode: TlsMode::VerifyFull, ca: None, certificate: None, key: None }
    }
}

/// How much is asked of a connection; the names are libpq's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsMode {
    /// Plain text.
    Disable,
    /// TLS if the server has it; its certificate is not looked at.
    #[default]
    Prefer,
    /// TLS; the certificate is not looked at, unless authorities are named.
    Require,
    /// A certificate of a known authority, for any name.
    VerifyCa,
    /// A certificate of a known authority, for the name that was connected to.
    VerifyFull,
}

impl TlsMode {
    fn parse(text: &str) -> Option<Self> {
        serde_json::from_value(serde_json::Value::from(text)).ok()
    }
}

/// Where a database is. Shown without passwords.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct DatabaseUrl(String);

/// What an address says.
#[derive(Clone, Debug, PartialEq)]
pub struct UrlParts {
    /// The address without what only concerns TLS.
    pub address: String,
    /// What it says of TLS.
    pub tls: UrlTls,
}

/// `sslmode`, `sslrootcert`, `sslcert` and `sslkey` of an address.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UrlTls {
    /// `sslmode`.
    pub mode: Option<TlsMode>,
    /// `sslrootcert`.
    pub ca: Option<PathBuf>,
    /// `sslcert`.
    pub certificate: Option<PathBuf>,
    /// `sslkey`.
    pub key: Option<PathBuf>,
}

impl UrlTls {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A text that is no address of a database. It does not show the text, as that may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseUrlError {
    /// Nothing, or another scheme.
    #[error("this is no address of a PostgreSQL; write postgres://user@host:5432/database")]
    Scheme,
    /// `sslmode` with another value.
    #[error("there is no such sslmode; write disable, prefer, require, verify-ca or verify-full")]
    Mode,
    /// What the driver does not understand.
    #[error("{0}; write postgres://user@host:5432/database, with special characters as %XX")]
    Syntax(String),
    /// No host.
    #[error("the address names no host; write postgres://user@host:5432/database, or ?host=/run/postgresql")]
    NoHost,
}

impl DatabaseUrl {
    /// An address.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The address, taken apart.
    ///
    /// # Errors
    /// When it is none.
    pub fn parts(&self) -> Result<UrlParts, DatabaseUrlError> {
        let text = self.0.trim();
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(DatabaseUrlError::Scheme);
        }
        let (base, query) = text.split_once('?').unwrap_or((text, ""));
        let mut tls = UrlTls::default();
        let mut rest = Vec::new();
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let path = || Some(PathBuf::from(value.replace("%2F", "/").replace("%2f", "/")));
            match name {
                "sslmode" => tls.mode = Some(TlsMode::parse(value).ok_or(DatabaseUrlError::Mode)?),
                "sslrootcert" => tls.ca = path(),
                "sslcert" => tls.certificate = path(),
                "sslkey" => tls.key = path(),
                _ => rest.push(parameter),
            }
        }
        let address = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
        Ok(UrlParts { address, tls })
    }

    /// The address with what is secret in it hidden.
    fn redacted(&self) -> String {
        let Some((scheme, rest)) = self.0.split_once("://") else {
            return if self.0.is_empty() { String::new() } else { "***".to_owned() };
        };
        let (base, query) = rest.split_once('?').map_or((rest, None), |(base, query)| (base, Some(query)));
        let base = match base.rsplit_once('@') {
            Some((user, host)) => match user.split_once(':') {
                Some((user, _)) => format!("{user}:***@{host}"),
                None => format!("{user}@{host}"),
            },
            None => base.to_owned(),
        };
        let hide = |parameter: &str| match parameter.split_once('=') {
            Some((name, _)) if name.contains("password") => format!("{name}=***"),
            _ => parameter.to_owned(),
        };
        let query = query.map(|query| format!("?{}", query.split('&').map(hide).collect::<Vec<_>>().join("&")));
        format!("{scheme}://{base}{}", query.unwrap_or_default())
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

impl Serialize for DatabaseUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.redacted())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_concerns_tls_is_taken_out_of_an_address() {
        let url = DatabaseUrl::new("postgres://a:b@c:1/d?sslmode=verify-full&connect_timeout=3&sslrootcert=/e%2Ff");
        let parts = url.parts().unwrap();
        assert_eq!(parts.address, "postgres://a:b@c:1/d?connect_timeout=3");
        assert_eq!(parts.tls.mode, Some(TlsMode::VerifyFull));
        assert_eq!(parts.tls.ca, Some("/e/f".into()));
        assert_eq!(DatabaseUrl::new("mysql://a").parts(), Err(DatabaseUrlError::Scheme));
        assert_eq!(DatabaseUrl::new("postgres://a?sslmode=allow").parts(), Err(DatabaseUrlError::Mode));
    }

    #[test]
    fn passwords_are_not_shown() {
        for text in [
            "postgres://me:hunter2@a:1/b",
            "postgres://a/b?user=me&password=hunter2",
            "hunter2",
            "postgres://me:hunter2@x@a/b",
        ] {
            let shown = format!("{:?}", DatabaseUrl::new(text));
            assert!(!shown.contains("hunter2"), "{shown}");
        }
        assert_eq!(format!("{:?}", DatabaseUrl::new("postgres://me:x@a:1/b?c=d")), "postgres://me:***@a:1/b?c=d");
    }
}
