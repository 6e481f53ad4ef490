//! One simulated request, and the line it becomes.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;

use crate::anomaly::observation::{Observation, Outcome};
use crate::core::clock::Micros;

/// The label of traffic that is no attack.
pub const LEGIT: &str = "legit";

/// One request.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Record {
    /// When it came: wall time, microseconds since the Unix epoch.
    #[serde(rename = "ts", serialize_with = "seconds")]
    pub at: Micros,
    /// Who is logged in.
    #[serde(rename = "user_id", skip_serializing_if = "Option::is_none", serialize_with = "maybe_text")]
    pub user: Option<Arc<str>>,
    /// The client's address.
    #[serde(rename = "ip_address")]
    pub address: IpAddr,
    /// The method.
    pub method: &'static str,
    /// The path, without query.
    pub path: String,
    /// The status of the response, had nobody limited the request.
    pub status: u16,
    /// The size of that response's body.
    pub bytes: u64,
    /// The user agent.
    #[serde(serialize_with = "text")]
    pub user_agent: Arc<str>,
    /// The country of the address, ISO 3166-1 alpha-2.
    pub country: &'static str,
    /// [`LEGIT`], or the name of the attack.
    pub label: &'static str,
}

fn seconds<S: serde::Serializer>(at: &Micros, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(at.0 as f64 / 1e6)
}

fn text<S: serde::Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

fn maybe_text<S: serde::Serializer>(text: &Option<Arc<str>>, serializer: S) -> Result<S::Ok, S::Error> {
    text.as_deref().serialize(serializer)
}

impl Record {
    /// Writes it as a line of JSON, as `tidegate anomaly replay` reads it.
    ///
    /// # Errors
    /// When `out` does not take it.
    pub fn write(&self, mut out: impl io::Write) -> io::Result<()> {
        serde_json::to_writer(&mut out, self)?;
        out.write_all(b"\n")
    }

    /// What the worker would see of it, when `outcome` was decided.
    #[must_use]
    pub fn observation<'a>(&'a self, domain: &'a str, outcome: Outcome) -> Observation<'a> {
        Observation {
            at: self.at,
            domain,
            user: self.user.as_deref(),
            address: Some(self.address),
            method: self.method,
            path: &self.path,
            user_agent: Some(&self.user_agent),
            country: self.country.as_bytes().try_into().ok(),
            asn: None,
            status: Some(self.status),
            bytes: Some(self.bytes),
            duration: None,
            hits: 1,
            outcome,
        }
    }

    /// Whether it is an attacker's.
    #[must_use]
    pub fn is_attack(&self) -> bool {
        self.label != LEGIT
    }
}
