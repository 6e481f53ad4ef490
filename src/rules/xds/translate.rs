//! From a pushed set to rules. They mean what the same words mean in a file: see `docs/rules.md`.

use std::collections::HashMap;
use std::fmt;

use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Any, Struct, Value as ProtoValue};
use envoy_types::pb::ratelimit::config::ratelimit::v3::{
    RateLimitConfig, RateLimitDescriptor, RateLimitPolicy, RateLimitUnit,
};
use prost::Message as _;
use serde_json::{Map, Number, Value};

use super::TYPE_URL;
use crate::core::limit::{Algorithm, Limit, LimitError, LimitParts, Over, Unit, Window};
use crate::core::path::canonical_path;
use crate::core::ruleset::{CompileErrorKind, RuleSet};
use crate::core::spec::{DescriptorSpec, DomainSpec, EffectSpec, LimitSpec, Origin, RuleSpec};

/// So many mistakes are told; the others are counted.
const MAX_TOLD: usize = 20;
/// So much is shown of a name, in characters.
const MAX_SHOWN: usize = 200;

/// Why a set is refused: every mistake in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mistakes {
    /// The first ones.
    pub told: Vec<Mistake>,
    /// How many more there are.
    pub more: usize,
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for mistake in &self.told {
            write!(f, "{between}{mistake}")?;
            between = "; ";
        }
        if self.more > 0 {
            write!(f, "; and {} more", self.more)?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

/// One mistake, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {kind}")]
pub struct Mistake {
    /// The domain and the descriptor's path, or the resource.
    pub place: String,
    /// What is wrong.
    pub kind: MistakeKind,
}

/// What can be wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MistakeKind {
    /// A resource of another type.
    #[error("is of the type '{0}'; only {TYPE_URL} is asked for")]
    Type(String),
    /// No message of that type.
    #[error("cannot be read: {0}")]
    Encoding(String),
    /// No domain.
    #[error("has no domain; every configuration needs one")]
    EmptyDomain,
    /// No key.
    #[error("has no key; every descriptor needs one")]
    EmptyKey,
    /// No unit, or one that nobody knows.
    #[error("invalid rate limit unit {0}; use SECOND, MINUTE, HOUR, DAY, WEEK, MONTH or YEAR")]
    Unit(i32),
    /// A unit where none makes sense.
    #[error("should not specify rate limit unit when unlimited; leave one of them out")]
    UnlimitedWithUnit,
    /// A limit that cannot be.
    #[error("{0}")]
    Limit(#[from] LimitError),
    /// A `replaces` without a name.
    #[error("should not have an empty replaces entry; name the rate limit that is replaced")]
    EmptyReplaces,
    /// A `replaces` with its own name.
    #[error("replaces should not contain name of same descriptor; name a rate limit of another one")]
    ReplacesItself,
    /// Metadata that JSON cannot hold.
    #[error("metadata cannot hold {0}; use a finite number")]
    Metadata(String),
    /// What only the whole shows.
    #[error("{0}")]
    Whole(CompileErrorKind),
}

/// The rules of a set. It has no order: the same resources give the same rules.
///
/// # Errors
/// Every mistake in it.
pub fn translate(mut resources: Vec<Any>, merge_domains: bool) -> Result<RuleSet, Mistakes> {
    resources.sort_by(|a, b| a.value.cmp(&b.value));
    let mut mistakes = Mistakes::default();
    let mut domains = Vec::with_capacity(resources.len());
    for (resource, number) in resources.into_iter().zip(1_u32..) {
        match decode(&resource) {
            Err(kind) => mistakes.push(format!("resource {number}"), kind),
            Ok(config) if config.domain.is_empty() => {
                mistakes.push(format!("resource '{}'", shown(&config.name)), MistakeKind::EmptyDomain);
            }
            Ok(config) => domains.push(domain(config, number, &mut mistakes)),
        }
    }
    let names: HashMap<Origin, String> = domains.iter().map(|domain| (domain.origin, domain.name.clone())).collect();
    match RuleSet::compile(domains, merge_domains) {
        Ok(rules) if mistakes.told.is_empty() => Ok(rules),
        Ok(_) => Err(mistakes),
        Err(errors) => {
            for error in errors {
                let domain = names.get(&error.origin).map_or("", String::as_str);
                mistakes.push(format!("domain '{}'", shown(domain)), MistakeKind::Whole(error.kind));
            }
            Err(mistakes)
        }
    }
}

fn decode(resource: &Any) -> Result<RateLimitConfig, MistakeKind> {
    if resource.type_url != TYPE_URL {
        return Err(MistakeKind::Type(shown(&resource.type_url)));
    }
    RateLimitConfig::decode(&*resource.value).map_err(|error| MistakeKind::Encoding(error.to_string()))
}

fn domain(config: RateLimitConfig, number: u32, mistakes: &mut Mistakes) -> DomainSpec {
    // There are no lines; a resource's number tells its mistakes from others'.
    let origin = Origin { line: number, ..Origin::default() };
    let mut reader = Reader { domain: &config.domain, origin, path: Vec::new(), mistakes };
    let descriptors = reader.level(config.descriptors);
    DomainSpec { origin, descriptors, ..DomainSpec::new(config.domain) }
}

/// Reads the descriptors of a domain.
struct Reader<'r> {
    domain: &'r str,
    origin: Origin,
    /// From the top to the descriptor at hand.
    path: Vec<(String, Option<String>)>,
    mistakes: &'r mut Mistakes,
}

impl Reader<'_> {
    fn level(&mut self, descriptors: Vec<RateLimitDescriptor>) -> Vec<DescriptorSpec> {
        descriptors.into_iter().map(|descriptor| self.descriptor(descriptor)).collect()
    }

    fn descriptor(&mut self, descriptor: RateLimitDescriptor) -> DescriptorSpec {
        let RateLimitDescriptor { key, value, rate_limit, descriptors, .. } = descriptor;
        let value = Some(value).filter(|value| !value.is_empty());
        self.path.push((key.clone(), value.clone()));
        if key.is_empty() {
            self.mistake(MistakeKind::EmptyKey);
        }
        let rule = RuleSpec {
            origin: self.origin,
            effect: rate_limit.and_then(|policy| self.effect(policy)),
            shadow_mode: descriptor.shadow_mode,
            quota_mode: descriptor.quota_mode,
            detailed_metric: descriptor.detailed_metric,
            metadata: descriptor.metadata.map(|fields| self.metadata(fields)).filter(|fields| !fields.is_empty()),
            ..RuleSpec::default()
        };
        let descriptors = self.level(descriptors);
        self.path.pop();
        DescriptorSpec { key, value, rule, descriptors }
    }

    fn effect(&mut self, policy: RateLimitPolicy) -> Option<EffectSpec> {
        let RateLimitPolicy { unit, requests_per_unit, unlimited, name, replaces } = policy;
        let name = Some(name).filter(|name| !name.is_empty());
        let replaces: Vec<String> = replaces.into_iter().map(|replaced| replaced.name).collect();
        if replaces.iter().any(String::is_empty) {
            self.mistake(MistakeKind::EmptyReplaces);
        }
        if name.as_ref().is_some_and(|name| replaces.contains(name)) {
            self.mistake(MistakeKind::ReplacesItself);
        }
        let known = known_unit(unit);
        if unlimited {
            if known.is_some() {
                self.mistake(MistakeKind::UnlimitedWithUnit);
            }
            return Some(EffectSpec::Unlimited { name, replaces });
        }
        let Some(unit) = known else {
            self.mistake(MistakeKind::Unit(unit));
            return None;
        };
        let parts = LimitParts {
            amount: u64::from(requests_per_unit),
            window: Window::Length(unit.length()),
            algorithm: Algorithm::FixedWindow,
            burst: None,
            over: Over::Record,
            post_paid: false,
        };
        match Limit::new(parts) {
            Ok(limit) => Some(EffectSpec::Limits(vec![LimitSpec { limit, name, replaces }])),
            Err(error) => {
                self.mistake(error.into());
                None
            }
        }
    }

    fn metadata(&mut self, fields: Struct) -> Map<String, Value> {
        let mut fields: Vec<_> = fields.fields.into_iter().collect();
        fields.sort_by(|(a, _), (b, _)| a.cmp(b));
        fields.into_iter().map(|(key, value)| (key, self.json(value))).collect()
    }

    /// Nesting is bounded by what can be decoded.
    fn json(&mut self, value: ProtoValue) -> Value {
        match value.kind {
            None | Some(Kind::NullValue(_)) => Value::Null,
            Some(Kind::BoolValue(truth)) => Value::Bool(truth),
            Some(Kind::StringValue(text)) => Value::String(text),
            Some(Kind::NumberValue(number)) => self.number(number),
            Some(Kind::StructValue(fields)) => Value::Object(self.metadata(fields)),
            Some(Kind::ListValue(list)) => list.values.into_iter().map(|value| self.json(value)).collect(),
        }
    }

    /// There all numbers are doubles; whole ones are shown as such.
    fn number(&mut self, number: f64) -> Value {
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if number.fract() == 0.0 && number.abs() <= EXACT {
            return Value::from(number as i64);
        }
        Number::from_f64(number).map_or_else(
            || {
                self.mistake(MistakeKind::Metadata(number.to_string()));
                Value::Null
            },
            Value::Number,
        )
    }

    fn mistake(&mut self, kind: MistakeKind) {
        if self.mistakes.is_full() {
            return self.mistakes.more += 1;
        }
        let path = canonical_path(self.path.iter().map(|(key, value)| (&**key, value.as_deref())));
        let place = format!("domain '{}', descriptor '{}'", shown(self.domain), shown(&path));
        self.mistakes.push(place, kind);
    }
}

impl Mistakes {
    fn is_full(&self) -> bool {
        self.told.len() >= MAX_TOLD
    }

    fn push(&mut self, place: String, kind: MistakeKind) {
        if self.is_full() {
            self.more += 1;
        } else {
            self.told.push(Mistake { place, kind });
        }
    }
}

fn known_unit(unit: i32) -> Option<Unit> {
    Some(match RateLimitUnit::try_from(unit).ok()? {
        RateLimitUnit::Unknown => return None,
        RateLimitUnit::Second => Unit::Second,
        RateLimitUnit::Minute => Unit::Minute,
        RateLimitUnit::Hour => Unit::Hour,
        RateLimitUnit::Day => Unit::Day,
        RateLimitUnit::Week => Unit::Week,
        RateLimitUnit::Month => Unit::Month,
        RateLimitUnit::Year => Unit::Year,
    })
}

/// The beginning of a text, fit for one line of a log.
fn shown(text: &str) -> String {
    let mut shown: String =
        text.chars().take(MAX_SHOWN).map(|character| if character.is_control() { ' ' } else { character }).collect();
    if shown.len() < text.len() {
        shown.push_str("...");
    }
    shown
}
