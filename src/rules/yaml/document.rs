//! A whole file, and the tree of its descriptors.

use crate::core::limit::Algorithm;
use crate::core::spec::{
    Charge, DescriptorSpec, DomainSettings, DomainSpec, EffectSpec, FailureMode, HeaderFamilies, RuleSpec,
};

use super::fields::{Field, Fields, Reader};
use super::keys::{Key, Place};
use super::limits::{Calendars, LimitReader};
use super::problem::Problems;
use super::tree::{Kind, Mark, NodeId, Tree};

/// Reads a file's document.
pub(super) fn read_file(tree: &Tree<'_>, problems: Problems) -> (Option<DomainSpec>, Problems) {
    let mut file = FileReader {
        reader: Reader { tree, problems },
        calendars: Calendars::new(),
        default_algorithm: Algorithm::default(),
    };
    let domain = file.read();
    (domain, file.reader.problems)
}

struct FileReader<'t, 'a> {
    reader: Reader<'t, 'a>,
    calendars: Calendars,
    default_algorithm: Algorithm,
}

impl FileReader<'_, '_> {
    fn read(&mut self) -> Option<DomainSpec> {
        if let Some(rest) = self.reader.tree.rest {
            self.reader.problems.warning(
                rest,
                "only the first document of a file is read; what follows has no effect",
                "move each document to a file of its own",
            );
        }
        let root = self.reader.tree.root.filter(|root| !self.reader.is_null(*root));
        let Some(root) = root else {
            self.empty_domain(Mark { line: 1, column: 1 });
            return None;
        };
        if !matches!(self.reader.kind(root), Kind::Map(_)) {
            let message = format!("error loading config file: it must be a map, not {}", self.reader.describe(root));
            self.reader.problems.error(self.reader.at(root), message, "begin with 'domain: <name>'");
            return None;
        }
        let fields = self.reader.fields(&[root], Place::File);
        let mut spec = DomainSpec::new(self.reader.text(Key::Domain, fields.get(Key::Domain)).unwrap_or_default());
        self.settings(&fields, &mut spec.settings);
        self.default_algorithm = spec.settings.default_algorithm;
        spec.descriptors = self.descriptors(fields.get(Key::Descriptors));

        let at = fields.get(Key::Domain).map_or_else(|| self.reader.at(root), |field| field.key_at);
        spec.origin = self.reader.problems.origin(at);
        if spec.name.is_empty() {
            if self.reader.is_missing(&fields, Key::Domain) {
                self.empty_domain(at);
            }
            return None;
        }
        Some(spec)
    }

    fn empty_domain(&mut self, at: Mark) {
        let message = "config file cannot have empty domain";
        self.reader.problems.error(at, message, "begin the file with 'domain: <name>'");
    }

    fn settings(&mut self, fields: &Fields, settings: &mut DomainSettings) {
        let charges = [("independent", Charge::Independent), ("all_or_nothing", Charge::AllOrNothing)];
        if let Some(charge) = self.reader.choice(Key::Charge, fields.get(Key::Charge), &charges) {
            settings.charge = charge;
        }
        let algorithms = Algorithm::ALL.map(|algorithm| (algorithm.name(), algorithm));
        let field = fields.get(Key::DefaultAlgorithm);
        if let Some(algorithm) = self.reader.choice(Key::DefaultAlgorithm, field, &algorithms) {
            settings.default_algorithm = algorithm;
        }
        settings.response_headers = self.response_headers(fields.get(Key::ResponseHeaders));
        let mut flag = |key| self.reader.boolean(key, fields.get(key));
        settings.accept_overrides = flag(Key::AcceptOverrides).unwrap_or(settings.accept_overrides);
        settings.accept_refunds = flag(Key::AcceptRefunds).unwrap_or(settings.accept_refunds);
    }

    fn response_headers(&mut self, field: Option<Field>) -> Option<HeaderFamilies> {
        let names = self.reader.texts(Key::ResponseHeaders, field)?;
        let mut families = HeaderFamilies { draft: false, legacy: false, x: false };
        for (name, at) in names {
            match self.reader.one_of("response headers", name, at, &[("draft", 0), ("legacy", 1), ("x", 2)]) {
                Some(0) => families.draft = true,
                Some(1) => families.legacy = true,
                Some(_) => families.x = true,
                None => {}
            }
        }
        Some(families)
    }

    fn descriptors(&mut self, field: Option<Field>) -> Vec<DescriptorSpec> {
        let items = self.reader.maps(Key::Descriptors, field);
        let mut descriptors = Vec::with_capacity(items.len());
        descriptors.extend(items.into_iter().filter_map(|item| self.descriptor(item)));
        descriptors
    }

    fn descriptor(&mut self, node: NodeId) -> Option<DescriptorSpec> {
        let fields = self.reader.fields(&[node], Place::Descriptor);
        let at = self.reader.at(node);
        let key = self.reader.text(Key::Entry, fields.get(Key::Entry)).map(str::to_owned);
        if self.reader.is_missing(&fields, Key::Entry) {
            self.reader.problems.error(at, "descriptor has empty key", "write 'key: <name>'");
        }
        let value = self.reader.text(Key::Value, fields.get(Key::Value)).map(str::to_owned);
        let mut flag = |name| self.reader.boolean(name, fields.get(name)).unwrap_or(false);
        let (shadow_mode, quota_mode) = (flag(Key::ShadowMode), flag(Key::QuotaMode));
        let (detailed_metric, value_to_metric) = (flag(Key::DetailedMetric), flag(Key::ValueToMetric));
        let (share_threshold, protect) = (flag(Key::ShareThreshold), flag(Key::Protect));
        let enabled = self.reader.boolean(Key::Enabled, fields.get(Key::Enabled)).unwrap_or(true);
        let failure_modes = [
            ("open", FailureMode::Open),
            ("closed", FailureMode::Closed),
            ("local", FailureMode::Local),
            ("error", FailureMode::Error),
        ];
        let failure_mode = self.reader.choice(Key::FailureMode, fields.get(Key::FailureMode), &failure_modes);
        let tags = self.reader.texts(Key::Tags, fields.get(Key::Tags)).unwrap_or_default();
        let metadata = self.reader.metadata(&fields.all(Key::Metadata));
        let effect = self.effect(&fields);
        let descriptors = self.descriptors(fields.get(Key::Descriptors));

        let key = key?;
        if share_threshold && !key.contains('*') && !value.as_ref().is_some_and(|value| value.contains('*')) {
            let composite = value.as_ref().map_or_else(|| key.clone(), |value| format!("{key}_{value}"));
            let at = fields.get(Key::ShareThreshold).map_or(at, |field| field.key_at);
            self.reader.problems.error(
                at,
                format!(
                    "share_threshold can only be used with wildcard values (containing '*'), but found key '{composite}'"
                ),
                "leave it out, or write a '*' in the value",
            );
        }
        let rule = RuleSpec {
            origin: self.reader.problems.origin(at),
            effect,
            shadow_mode,
            quota_mode,
            detailed_metric,
            value_to_metric,
            share_threshold,
            metadata,
            failure_mode,
            disabled: !enabled,
            tags: tags.into_iter().map(|(tag, _)| tag.to_owned()).collect(),
            protect,
            order: 0,
        };
        Some(DescriptorSpec { key, value, rule, descriptors })
    }

    fn effect(&mut self, fields: &Fields) -> Option<EffectSpec> {
        let mut limits = LimitReader {
            reader: &mut self.reader,
            calendars: &mut self.calendars,
            default_algorithm: self.default_algorithm,
        };
        let one = fields.get(Key::RateLimit).and_then(|field| limits.rate_limit(field, &fields.all(Key::RateLimit)));
        let several = fields.get(Key::RateLimits).and_then(|field| limits.rate_limits(field));
        if let (Some(_), Some(field)) = (fields.get(Key::RateLimit), fields.get(Key::RateLimits)) {
            self.reader.problems.error(
                field.key_at,
                "rate_limit and rate_limits exclude each other",
                "move the rate_limit into the list of rate_limits",
            );
            return None;
        }
        one.or(several)
    }
}
