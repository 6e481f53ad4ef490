//! Countries and autonomous systems of addresses, from databases in MaxMind's format (`.mmdb`).
//!
//! A database is read into memory as a whole and looked up there, in some hundred nanoseconds. [`Geo`] has those in
//! force, and new ones take their place at once.

mod database;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use arc_swap::ArcSwap;

use self::database::Database;
pub use self::database::{DatabaseError, MAX_BYTES};
use super::observation::Observation;
use crate::config::anomaly::Geo as Settings;
use crate::core::locate::Locate;

/// Why databases cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{setting}: {error}")]
pub struct GeoError {
    /// The setting that names the file.
    pub setting: &'static str,
    /// What is wrong with the file.
    #[source]
    pub error: DatabaseError,
}

/// The databases that settings name.
#[derive(Debug, Default)]
pub struct Databases {
    countries: Option<Database>,
    systems: Option<Database>,
}

impl Databases {
    /// Reads them.
    ///
    /// # Errors
    /// When a file cannot be read, is no database, or does not tell what it is asked for.
    pub fn load(settings: &Settings) -> Result<Self, GeoError> {
        let load = |setting, path: &Option<_>, tells| {
            let database = path.as_deref().map(|path| Database::load(path, tells)).transpose();
            database.map_err(|error| GeoError { setting, error })
        };
        Ok(Self {
            countries: load("anomaly.geo.country_database", &settings.country_database, database::COUNTRY)?,
            systems: load("anomaly.geo.asn_database", &settings.asn_database, database::ASN)?,
        })
    }

    /// What they are and when they were built, for the log.
    pub fn describe(&self) -> impl Iterator<Item = String> {
        [&self.countries, &self.systems].into_iter().flatten().map(Database::describe)
    }
}

impl Locate for Databases {
    fn country(&self, address: IpAddr) -> Option<[u8; 2]> {
        self.countries.as_ref()?.country(address)
    }

    fn asn(&self, address: IpAddr) -> Option<u32> {
        self.systems.as_ref()?.asn(address)
    }
}

/// The databases in force; none by default.
#[derive(Debug, Default)]
pub struct Geo(ArcSwap<Databases>);

impl Geo {
    /// With these.
    #[must_use]
    pub fn new(databases: Databases) -> Self {
        Self(ArcSwap::from_pointee(databases))
    }

    /// Puts others in force.
    pub fn replace(&self, databases: Databases) {
        self.0.store(databases.into());
    }

    /// Adds country and autonomous system where the source does not tell them.
    pub fn fill(&self, observation: &mut Observation<'_>) {
        let Some(address) = observation.address else { return };
        let databases = self.0.load();
        observation.country = observation.country.or_else(|| databases.country(address));
        observation.asn = observation.asn.or_else(|| databases.asn(address));
    }
}

impl Locate for Geo {
    fn country(&self, address: IpAddr) -> Option<[u8; 2]> {
        self.0.load().country(address)
    }

    fn asn(&self, address: IpAddr) -> Option<u32> {
        self.0.load().asn(address)
    }
}
