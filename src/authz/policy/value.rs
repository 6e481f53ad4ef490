//! Values of a request: where each stands, and what is made of it.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::net::IpAddr;

use hashbrown::HashSet;
use ring::digest;

use super::Policy;
use super::route::Route;
use super::secret::SecretKey;
use crate::authz::attributes::Attributes;
use crate::authz::path::{self, Match};
use crate::authz::text::Text;
use crate::authz::{certificate, encoded, metadata};
use crate::config::ext_authz::BuiltIn;

/// The longest value that is kept as it is, in bytes. Longer ones are replaced by their SHA-256, so that keys of
/// counters stay short.
pub(super) const MAX_VALUE: usize = 1024;

/// The longest method, in bytes: those that are registered are shorter.
const MAX_METHOD: usize = 32;

/// Index into the values of a policy.
pub(super) type ValueId = usize;

/// A value, compiled.
#[derive(Debug)]
pub(super) enum Value {
    BuiltIn(BuiltIn),
    Named(Box<Named>),
}

/// A value of the settings' `values`.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) source: Source,
    pub(super) default: Option<Box<[u8]>>,
    /// The only ones told apart; `None` for all.
    pub(super) one_of: Option<HashSet<Box<[u8]>, foldhash::fast::RandomState>>,
    pub(super) other_value: Box<[u8]>,
    pub(super) ignore_case: bool,
    /// What hashes it before it leaves, if it is secret.
    pub(super) secret: Option<SecretKey>,
}

/// Where a value stands.
#[derive(Debug)]
pub(super) enum Source {
    /// In lower case.
    Header(Box<str>),
    Query(Box<[u8]>),
    Cookie(Box<[u8]>),
    Claim(Box<str>),
    Metadata {
        namespace: Box<str>,
        path: Box<str>,
    },
    Context(Box<str>),
    PathVariable(Box<str>),
}

/// Where the claims of verified tokens stand.
#[derive(Debug)]
pub(super) struct ClaimsAt {
    pub(super) namespace: Box<str>,
    /// Empty when they stand in the namespace itself.
    pub(super) key: Box<str>,
}

/// A value as the request has it.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    pub(super) text: Text<'a>,
    /// It stands in the settings, and is no secret.
    constant: bool,
}

/// What values are read from.
pub(super) struct Request<'r, 'a, 'm: 'a> {
    policy: &'a Policy,
    attributes: &'r Attributes<'m>,
    client: Option<IpAddr>,
    path: &'r Cow<'a, [u8]>,
    route: &'a Route,
    /// The template of the route that the path fits.
    own: Option<Match<'a, 'r>>,
    /// The template of all that the path fits.
    template: OnceCell<Option<Match<'a, 'r>>>,
}

impl<'r, 'a, 'm> Request<'r, 'a, 'm> {
    pub(super) const fn new(
        policy: &'a Policy,
        attributes: &'r Attributes<'m>,
        client: Option<IpAddr>,
        path: &'r Cow<'a, [u8]>,
        route: &'a Route,
        own: Option<Match<'a, 'r>>,
    ) -> Self {
        Self { policy, attributes, client, path, route, own, template: OnceCell::new() }
    }

    fn template(&self) -> Option<&Match<'a, 'r>> {
        self.template.get_or_init(|| self.policy.templates.find(self.path)).as_ref()
    }

    fn metadata(&self, namespace: &str) -> Option<&'a [u8]> {
        self.attributes.metadata(namespace)
    }

    fn claims(&self) -> Option<&'a [u8]> {
        let at = &self.policy.claims;
        let namespace = self.metadata(&at.namespace)?;
        if at.key.is_empty() { Some(namespace) } else { metadata::below(namespace, at.key.as_bytes()) }
    }
}

impl Value {
    pub(super) fn is_secret(&self) -> bool {
        matches!(self, Self::Named(named) if named.secret.is_some())
    }

    /// What the request has; nothing counts as missing, and so does an empty text.
    pub(super) fn read<'a>(&'a self, request: &Request<'_, 'a, '_>) -> Option<Reading<'a>> {
        match self {
            Self::BuiltIn(value) => {
                let text = built_in(*value, request).filter(|text| !text.is_empty())?;
                Some(Reading { text, constant: false })
            }
            Self::Named(named) => named.read(request),
        }
    }

    /// What may leave: secrets hashed, and long texts shortened.
    pub(super) fn protect<'a>(&self, reading: Reading<'a>) -> Text<'a> {
        let Reading { text, constant } = reading;
        match self {
            _ if constant => text,
            Self::Named(named) if let Some(key) = &named.secret => key.hash(&text),
            _ if text.len() > MAX_VALUE => {
                Text::hexadecimal("sha256:", digest::digest(&digest::SHA256, &text).as_ref())
            }
            _ => text,
        }
    }
}

impl Named {
    fn read<'a>(&'a self, request: &Request<'_, 'a, '_>) -> Option<Reading<'a>> {
        let constant = |text| Reading { text: Text::Borrowed(text), constant: true };
        let Some(text) = self.source.read(request).filter(|text| !text.is_empty()) else {
            return self.default.as_deref().map(constant);
        };
        let text = if self.ignore_case { text.into_lower_case() } else { text };
        if let Some(one_of) = &self.one_of
            && !one_of.contains(&*text)
        {
            return Some(constant(&self.other_value));
        }
        Some(Reading { text, constant: false })
    }
}

impl Source {
    fn read<'a>(&'a self, request: &Request<'_, 'a, '_>) -> Option<Text<'a>> {
        let attributes = request.attributes;
        match self {
            Self::Header(name) => attributes.header(name).map(Text::Borrowed),
            Self::Query(name) => encoded::parameter(path::query(attributes.path), name),
            Self::Cookie(name) => encoded::cookie(attributes, name),
            Self::Claim(path) => metadata::find(request.claims()?, path),
            Self::Metadata { namespace, path } => metadata::find(request.metadata(namespace)?, path),
            Self::Context(key) => attributes.context(key).map(Text::Borrowed),
            Self::PathVariable(name) => {
                let own = request.own.as_ref().and_then(|fit| fit.variable(name));
                own.or_else(|| request.template()?.variable(name)).map(Text::copied)
            }
        }
    }
}

fn built_in<'a>(value: BuiltIn, request: &Request<'_, 'a, '_>) -> Option<Text<'a>> {
    let attributes = request.attributes;
    Some(match value {
        BuiltIn::RemoteAddress => request.policy.client.text(request.client?),
        BuiltIn::Path => match request.template() {
            Some(fit) => Text::Borrowed(fit.template().as_bytes()),
            None => Text::Borrowed(&request.policy.unmatched),
        },
        BuiltIn::FullPath => Text::of(request.path),
        BuiltIn::Method if attributes.method.len() > MAX_METHOD => Text::Borrowed(b"other"),
        BuiltIn::Method => Text::Borrowed(attributes.method).into_upper_case(),
        BuiltIn::Host => host(attributes.host),
        BuiltIn::Scheme => Text::Borrowed(attributes.scheme).into_lower_case(),
        BuiltIn::Protocol => Text::Borrowed(attributes.protocol),
        BuiltIn::Principal => Text::Borrowed(attributes.peer_principal),
        BuiltIn::Sni => host(attributes.sni),
        BuiltIn::RequestSize => Text::displayed(attributes.size?),
        BuiltIn::Route => Text::Borrowed(request.route.name.as_deref()?.as_bytes()),
        BuiltIn::PeerCertificateSha256 => certificate::sha256(attributes.peer_certificate)?,
    })
}

/// A host in lower case, without port and final dot: all ways to write one are one.
pub(super) fn host(written: &[u8]) -> Text<'_> {
    let name = match memchr::memrchr(b':', written) {
        // A colon inside brackets, or one of several without them, is an IPv6 address's own.
        Some(at) if !written[at..].contains(&b']') && memchr::memchr(b':', written) == Some(at) => &written[..at],
        Some(at) if written[..at].ends_with(b"]") => &written[..at],
        _ => written,
    };
    Text::Borrowed(name.strip_suffix(b".").unwrap_or(name)).into_lower_case()
}
