//! What must hold for the settings of the database.

use std::time::Duration;

use super::{Findings, HOUR, SECOND};
use crate::config::Config;
use crate::config::database::{Database, DatabaseUrlError, TlsMode};

const MILLISECOND: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);

pub(super) fn check(config: &Config, found: &mut Findings) {
    let Some(database) = &config.database else { return };
    address(database, found);
    found.range("database.pool_size", database.pool_size, 1..=1_000);
    found.between("database.connect_timeout", database.connect_timeout, MILLISECOND, MINUTE);
    found.between("database.acquire_timeout", database.acquire_timeout, MILLISECOND, MINUTE);
    found.between("database.statement_timeout", database.statement_timeout, 10 * MILLISECOND, 10 * MINUTE);
    found.between("database.bulk_timeout", database.bulk_timeout, database.statement_timeout, HOUR);
    found.between("database.poll_interval", database.poll_interval, 100 * MILLISECOND, 3_600 * SECOND);
}

fn address(database: &Database, found: &mut Findings) {
    let parts = match database.url.parts() {
        Ok(parts) => parts,
        Err(error) => return found.check("database.url", false, || error.to_string()),
    };
    match parts.address.parse::<tokio_postgres::Config>() {
        Err(error) => {
            let reason = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            found.check("database.url", false, || DatabaseUrlError::Syntax(reason).to_string());
        }
        Ok(config) => {
            let named = !config.get_hosts().is_empty() || !config.get_hostaddrs().is_empty();
            found.check("database.url", named, || DatabaseUrlError::NoHost.to_string());
            found.check(
                "database.password_file",
                database.password_file.is_none() || config.get_password().is_none(),
                || "database.url has a password too; write only one of them".to_owned(),
            );
        }
    }
    let Some(tls) = &database.tls else { return };
    found.check("database.tls", tls.certificate.is_some() == tls.key.is_some(), || {
        "certificate and key belong together; write both, or neither".to_owned()
    });
    found.check("database.tls", parts.tls.is_empty(), || {
        "database.url says something of TLS too (sslmode or the like); write it in only one of them".to_owned()
    });
    found.check("database.tls.mode", tls.mode != TlsMode::Disable || tls.ca.is_none(), || {
        "without TLS nobody looks at ca; leave one of them out".to_owned()
    });
}
