//! From the settings to a policy.

use std::collections::BTreeMap;

use http::HeaderName;

use super::cost::Cost;
use super::header::{Header, Piece};
use super::index::Index;
use super::matching::{Hosts, Matching};
use super::route::{Descriptor, Entry, EntryValue, Route, Routes};
use super::secret::{MIN_KEY_BYTES, SecretKey};
use super::value::{ClaimsAt, Named, Source, Value, ValueId};
use super::{Policy, PolicyError, value};
use crate::authz::address::ClientAddress;
use crate::authz::path::{self, Templates};
use crate::config::ext_authz::{self as settings, BuiltIn, ExtAuthz, Hits, Match, pieces};
use crate::config::field::key;

/// Reads the settings and notes everything that is wrong.
pub(super) struct Compiler<'c> {
    config: &'c ExtAuthz,
    /// What holds for requests that no route matches.
    otherwise: &'c settings::Route,
    key: Option<SecretKey>,
    values: Vec<Value>,
    ids: BTreeMap<&'c str, ValueId>,
    errors: Vec<PolicyError>,
}

impl<'c> Compiler<'c> {
    pub(super) const fn new(config: &'c ExtAuthz, otherwise: &'c settings::Route) -> Self {
        Self { config, otherwise, key: None, values: Vec::new(), ids: BTreeMap::new(), errors: Vec::new() }
    }

    pub(super) fn compile(mut self, key: Option<&[u8]>) -> Result<Policy, Vec<PolicyError>> {
        let config = self.config;
        self.key = self.secret_key(key);
        let templates = self.templates("paths.templates", &config.paths.templates);
        let matchings: Vec<_> = config.routes.iter().enumerate().map(|(at, route)| self.matching(at, route)).collect();
        self.variables(&templates, &matchings);
        for name in config.values.keys() {
            self.value("values", name);
        }
        let user = config.user.as_ref().and_then(|user| self.value("user", user));
        let mut index = Index::default();
        let mut routes = Vec::new();
        for (at, (route, matching)) in config.routes.iter().zip(matchings).enumerate() {
            self.index(at, &route.matching, matching.hosts.as_ref(), &mut index);
            routes.push(self.route(&format!("routes[{at}]"), route, matching));
        }
        let otherwise = self.route("answer", self.otherwise, Matching::default());
        if !self.errors.is_empty() {
            return Err(self.errors);
        }
        let by_host = routes.iter().any(|route| route.matching.hosts.is_some());
        let claims = ClaimsAt { namespace: (*config.claims.namespace).into(), key: (*config.claims.key).into() };
        Ok(Policy {
            client: ClientAddress::new(&config.client_address),
            ignore_case: config.paths.ignore_case,
            templates,
            unmatched: config.paths.unmatched.as_bytes().into(),
            claims,
            values: self.values,
            user,
            routes: Routes { index, routes, otherwise, by_host },
        })
    }

    fn wrong(&mut self, field: impl Into<String>, reason: impl Into<String>) {
        self.errors.push(PolicyError { field: field.into(), reason: reason.into() });
    }

    fn templates(&mut self, field: &str, templates: &[String]) -> Templates {
        Templates::new(templates, self.config.paths.ignore_case).unwrap_or_else(|error| {
            self.wrong(format!("{field}[{}]", error.index), error.reason);
            Templates::default()
        })
    }

    fn secret_key(&mut self, key: Option<&[u8]>) -> Option<SecretKey> {
        match key {
            Some(key) if key.len() < MIN_KEY_BYTES => {
                let reason = format!("the key has {} bytes; write at least {MIN_KEY_BYTES}", key.len());
                self.wrong("secret_key_file", reason);
                None
            }
            Some(key) => Some(SecretKey::new(key)),
            None => {
                if self.config.values.values().any(|value| value.secret) {
                    self.wrong("secret_key_file", "secret values are hashed with a key; write the file that holds it");
                }
                None
            }
        }
    }

    /// That variables of paths which values name exist.
    fn variables(&mut self, templates: &Templates, matchings: &[Matching]) {
        let config = self.config;
        for (name, value) in &config.values {
            let Some(variable) = &value.path_variable else { continue };
            let own = matchings.iter().filter_map(|matching| matching.paths.as_ref());
            if !own.chain([templates]).any(|templates| templates.has_variable(variable)) {
                let reason = format!("no template has a variable '{variable}'; write {{{variable}}} in one of them");
                self.wrong(format!("values.{}.path_variable", key(name)), reason);
            }
        }
    }

    /// The value of a name; it is compiled when it is met first, and wrong only once.
    fn value(&mut self, field: &str, name: &'c str) -> Option<ValueId> {
        if let Some(id) = self.ids.get(name) {
            return Some(*id);
        }
        let value = match (BuiltIn::named(name), self.config.values.get(name)) {
            (Some(value), _) => Value::BuiltIn(value),
            (None, Some(value)) => match named(value, self.key.as_ref()) {
                Ok(named) => Value::Named(Box::new(named)),
                Err(reason) => {
                    if field == "values" {
                        self.wrong(format!("values.{}", key(name)), reason);
                    }
                    return None;
                }
            },
            (None, None) => {
                self.wrong(field, format!("there is no value '{name}'; define it in ext_authz.values"));
                return None;
            }
        };
        let id = self.values.len();
        self.values.push(value);
        self.ids.insert(name, id);
        Some(id)
    }

    fn matching(&mut self, at: usize, route: &settings::Route) -> Matching {
        let Match { paths, methods, hosts, context } = &route.matching;
        let templates = self.templates(&format!("routes[{at}].match.paths"), paths);
        Matching {
            paths: (!paths.is_empty()).then_some(templates),
            methods: methods.iter().map(|method| method.as_bytes().into()).collect(),
            hosts: (!hosts.is_empty()).then(|| self::hosts(hosts)),
            context: context.iter().map(|(key, text)| ((**key).into(), text.as_bytes().into())).collect(),
        }
    }

    fn index(&self, at: usize, matching: &Match, hosts: Option<&Hosts>, index: &mut Index) {
        let literal = |template: &String| {
            let literal = template.find(['{', '}']).map_or(&**template, |brace| {
                let before = template.get(..brace).unwrap_or_default();
                before.rfind('/').and_then(|slash| before.get(..slash)).unwrap_or_default()
            });
            path::normalise(literal.as_bytes(), self.config.paths.ignore_case).into_owned()
        };
        let mut prefixes: Vec<_> = matching.paths.iter().map(literal).collect();
        if prefixes.is_empty() {
            prefixes.push(b"/".to_vec());
        }
        let hosts = hosts.filter(|hosts| hosts.below.is_empty()).map_or(&[][..], |hosts| &hosts.exact);
        index.insert(hosts, &prefixes, at);
    }

    fn route(&mut self, field: &str, route: &'c settings::Route, matching: Matching) -> Route {
        let mut needs = Vec::new();
        let usual = route.hits.as_ref().and_then(|hits| self.cost(&format!("{field}.hits"), hits, &mut needs));
        let mut descriptors = Vec::new();
        for (at, descriptor) in route.descriptors.iter().enumerate() {
            let field = format!("{field}.descriptors[{at}]");
            let entries = descriptor.entries.iter().filter_map(|entry| self.entry(&field, entry, &mut needs)).collect();
            let own = descriptor.hits.as_ref().and_then(|hits| self.cost(&format!("{field}.hits"), hits, &mut needs));
            descriptors.push(Descriptor { entries, cost: own.or_else(|| usual.clone()) });
        }
        let headers = self.headers(field, route, &mut needs);
        let domain = route.domain.as_ref().unwrap_or(&self.config.domain).as_bytes().into();
        Route { name: route.name.as_deref().map(Into::into), matching, domain, needs, descriptors, headers }
    }

    fn entry(&mut self, field: &str, entry: &'c str, needs: &mut Vec<ValueId>) -> Option<Entry> {
        if let Some((key, text)) = entry.split_once('=') {
            return Some(Entry { key: key.as_bytes().into(), value: EntryValue::Constant(text.as_bytes().into()) });
        }
        let id = self.value(field, entry)?;
        Some(Entry { key: entry.as_bytes().into(), value: EntryValue::Slot(slot(id, needs)) })
    }

    fn cost(&mut self, field: &str, hits: &'c Hits, needs: &mut Vec<ValueId>) -> Option<Cost> {
        match hits {
            Hits::Fixed(hits) => Some(Cost::Fixed(*hits)),
            Hits::Of(of) => {
                let id = self.value(field, &of.value)?;
                let (per, default) = (of.per.max(1), of.default);
                Some(Cost::Of { slot: slot(id, needs), per, default, min: of.min, max: of.max })
            }
        }
    }

    /// The route's own headers over those of all answers, and those that are only removed.
    fn headers(&mut self, field: &str, route: &'c settings::Route, needs: &mut Vec<ValueId>) -> Vec<Header> {
        let answer = &self.config.answer;
        let mut all: BTreeMap<String, (String, Option<&'c str>)> = BTreeMap::new();
        for (at, name) in answer.remove_headers.iter().enumerate() {
            all.insert(name.to_ascii_lowercase(), (format!("answer.remove_headers[{at}]"), None));
        }
        for (field, headers) in [("answer", &answer.upstream_headers), (field, &route.upstream_headers)] {
            for (name, text) in headers {
                let at = format!("{field}.upstream_headers.{}", key(name));
                all.insert(name.to_ascii_lowercase(), (at, Some(text)));
            }
        }
        let mut headers = Vec::new();
        for (name, (field, text)) in all {
            if HeaderName::from_bytes(name.as_bytes()).is_err() {
                self.wrong(&*field, format!("\"{name}\" is no HTTP header name"));
            }
            let text = text.map(|text| self.pieces(&field, text, needs));
            headers.push(Header { name: name.into(), text });
        }
        headers
    }

    fn pieces(&mut self, field: &str, text: &'c str, needs: &mut Vec<ValueId>) -> Vec<Piece> {
        if !text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            self.wrong(field, "a header's text holds visible ASCII characters and blanks; write such");
        }
        match pieces(text) {
            Err(reason) => {
                self.wrong(field, reason);
                Vec::new()
            }
            Ok(pieces) => pieces
                .into_iter()
                .filter_map(|piece| match piece {
                    settings::Piece::Text(text) => Some(Piece::Text(text.into())),
                    settings::Piece::Value(name) => Some(Piece::Slot(slot(self.value(field, name)?, needs))),
                })
                .collect(),
        }
    }
}

fn slot(id: ValueId, needs: &mut Vec<ValueId>) -> usize {
    needs.iter().position(|need| *need == id).unwrap_or_else(|| {
        needs.push(id);
        needs.len() - 1
    })
}

fn hosts(written: &[String]) -> Hosts {
    let mut hosts = Hosts::default();
    for host in written {
        match host.strip_prefix('*') {
            Some(end) => hosts.below.push(value::host(end.as_bytes())[..].into()),
            None => hosts.exact.push(value::host(host.as_bytes())[..].into()),
        }
    }
    hosts.exact.sort_unstable();
    hosts
}

/// Without a key, a secret value is not secret; but then there is no policy either.
fn named(value: &settings::Value, key: Option<&SecretKey>) -> Result<Named, String> {
    let source = match value.source()? {
        settings::Source::Header(name) => Source::Header(name.to_ascii_lowercase().into()),
        settings::Source::Query(name) => Source::Query(name.as_bytes().into()),
        settings::Source::Cookie(name) => Source::Cookie(name.as_bytes().into()),
        settings::Source::Claim(path) => Source::Claim(path.into()),
        settings::Source::Metadata { namespace, path } => {
            Source::Metadata { namespace: namespace.into(), path: path.into() }
        }
        settings::Source::Context(key) => Source::Context(key.into()),
        settings::Source::PathVariable(name) => Source::PathVariable(name.into()),
    };
    let folded = |text: &String| -> Box<[u8]> {
        let text = if value.ignore_case { text.to_ascii_lowercase() } else { text.clone() };
        text.into_bytes().into()
    };
    Ok(Named {
        source,
        default: value.default.as_ref().filter(|text| !text.is_empty()).map(|text| text.as_bytes().into()),
        one_of: (!value.one_of.is_empty()).then(|| value.one_of.iter().map(folded).collect()),
        other_value: value.other_value.as_deref().unwrap_or("other").as_bytes().into(),
        ignore_case: value.ignore_case,
        secret: key.filter(|_| value.secret).cloned(),
    })
}
