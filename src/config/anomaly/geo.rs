//! Where the countries and autonomous systems of addresses stand.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Databases in MaxMind's format, read again when their files change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Geo {
    /// A file that tells countries, such as GeoLite2-Country.mmdb. Default: none.
    pub country_database: Option<PathBuf>,
    /// A file that tells autonomous systems, such as GeoLite2-ASN.mmdb. Default: none.
    pub asn_database: Option<PathBuf>,
}
