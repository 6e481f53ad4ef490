//! One access log: what its entries are to the anomaly worker.

use super::message::Entry;
use crate::anomaly::observation::{Observation, Outcome};
use crate::authz::address::ClientAddress;
use crate::authz::attributes::Attributes;
use crate::authz::metadata;
use crate::authz::path;
use crate::authz::text::Text;
use crate::config::anomaly::access_log::{AccessLog, LoggedValue};
use crate::config::ext_authz::{ClientAddress as AddressSettings, Source};
use crate::core::client::text;
use crate::core::clock::Micros;
use crate::core::identity::{asn, country};

/// Where the limiter's own metadata stand, by who put them there.
const NAMESPACES: [&str; 2] = ["envoy.filters.http.ratelimit", "envoy.filters.http.ext_authz"];
/// An entry is logged when its request has ended. One that came longer ago is taken for one that came then, because the
/// engine would take a clock that is so far behind for one that was set back.
const OLDEST: Micros = Micros::from_secs(20);
const TOO_MANY_REQUESTS: u16 = 429;

/// An access log, as the settings say.
#[derive(Debug)]
pub struct Log {
    domain: Box<str>,
    user: Option<Place>,
    country: Option<Place>,
    asn: Option<Place>,
    address: ClientAddress,
    ignore_case: bool,
}

/// Where a value stands.
#[derive(Debug)]
enum Place {
    /// In lower case.
    Header(Box<str>),
    /// In metadata: the namespace, a key below it where one holds all, and a path.
    Metadata { namespace: Box<str>, below: Option<Box<str>>, path: Box<str> },
}

impl Place {
    /// Settings have been checked: what has no source is nowhere.
    fn new(value: &LoggedValue, log: &AccessLog) -> Option<Self> {
        Some(match value.source().ok()? {
            Source::Header(name) => Self::Header(name.to_ascii_lowercase().into()),
            Source::Metadata { namespace, path } => {
                Self::Metadata { namespace: namespace.into(), below: None, path: path.into() }
            }
            Source::Claim(path) => Self::Metadata {
                namespace: log.claims.namespace.as_str().into(),
                below: Some(&*log.claims.key).filter(|key| !key.is_empty()).map(Into::into),
                path: path.into(),
            },
            Source::Query(_) | Source::Cookie(_) | Source::Context(_) | Source::PathVariable(_) => return None,
        })
    }

    fn read<'a>(&self, attributes: &Attributes<'a>) -> Option<Text<'a>> {
        let found = match self {
            Self::Header(name) => attributes.header(name).map(Text::Borrowed),
            Self::Metadata { namespace, below, path } => {
                let structure = attributes.metadata(namespace)?;
                let structure = match below {
                    Some(key) => metadata::below(structure, key.as_bytes())?,
                    None => structure,
                };
                metadata::find(structure, path)
            }
        };
        found.filter(|text| !text.is_empty())
    }
}

impl Log {
    /// As the settings say; `ignore_case` is how external authorization reads paths, so that both know the same ones.
    #[must_use]
    pub fn new(settings: &AccessLog, ignore_case: bool) -> Self {
        let place = |value: &Option<LoggedValue>| value.as_ref().and_then(|value| Place::new(value, settings));
        let (source, trusted_hops) = (settings.client_address.source, settings.client_address.trusted_hops);
        Self {
            domain: settings.domain.as_str().into(),
            user: place(&settings.user),
            country: place(&settings.country),
            asn: place(&settings.asn),
            address: ClientAddress::new(&AddressSettings { source, trusted_hops, ..AddressSettings::default() }),
            ignore_case,
        }
    }

    /// The domain that its requests are decided in.
    #[must_use]
    pub const fn domain(&self) -> &str {
        &self.domain
    }

    /// Hands the observation of an entry over, which is read at `now`.
    pub fn observe(&self, entry: &Entry<'_>, now: Micros, then: impl FnOnce(&Observation<'_>)) {
        let attributes = &entry.attributes;
        let read = |place: &Option<Place>| place.as_ref().and_then(|place| place.read(attributes));
        let (user, country_text, asn_text) = (read(&self.user), read(&self.country), read(&self.asn));
        let path = if attributes.path.is_empty() {
            Default::default()
        } else {
            path::normalise(attributes.path, self.ignore_case)
        };
        let earliest = Micros(now.0.saturating_sub(OLDEST.0));
        then(&Observation {
            at: entry.start.unwrap_or(now).max(earliest).min(now),
            domain: &self.domain,
            user: user.as_deref().map(text),
            address: self.address.of(attributes),
            method: text(attributes.method),
            path: text(&path),
            user_agent: Some(text(entry.user_agent)).filter(|agent| !agent.is_empty()),
            country: country_text.as_deref().and_then(country),
            asn: asn_text.as_deref().and_then(|number| asn(text(number))),
            status: entry.status,
            bytes: Some(entry.bytes),
            duration: entry.duration,
            hits: 1,
            outcome: outcome(entry),
        });
    }
}

/// What the limiter said, by the metadata that it left; else whether Envoy turned the request away for a limit.
fn outcome(entry: &Entry<'_>) -> Outcome {
    let said = NAMESPACES.iter().filter_map(|namespace| entry.attributes.metadata(namespace));
    let says = |structure, key| metadata::find(structure, key);
    let denied = said.clone().find(|left| says(left, "code").is_some_and(|code| *code == *b"OVER_LIMIT"));
    match denied {
        Some(denied) if says(denied, "adjustment").is_some() => Outcome::LimitedByAdjustment,
        Some(_) => Outcome::Limited,
        // Denials of others: another service's limit, Envoy's own, or authorization that answers with 429.
        None if entry.rate_limited => Outcome::Limited,
        None if entry.unauthorized && entry.status == Some(TOO_MANY_REQUESTS) => Outcome::Limited,
        None => Outcome::Allowed,
    }
}
