//! A rule, and what overrides it for a time.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::limit::{Told, is_false};
use super::{Defaults, FieldProblem, LimitForm, ReplacesForm};
use crate::core::spec::{EffectSpec, FailureMode, RuleSpec};
use crate::rules::repository::record::Override;

/// A rule without its path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RuleForm {
    /// The only limit. A rule may have none; then it carries flags for the paths below it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<LimitForm>,
    /// Several limits, all of which must hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limits: Option<Vec<LimitForm>>,
    /// Count, but never deny.
    #[serde(skip_serializing_if = "is_false")]
    pub shadow_mode: bool,
    /// Deny only together with every other quota rule of the request.
    #[serde(skip_serializing_if = "is_false")]
    pub quota_mode: bool,
    /// Name the metric after all entries of the request.
    #[serde(skip_serializing_if = "is_false")]
    pub detailed_metric: bool,
    /// Name the metric after this entry's value.
    #[serde(skip_serializing_if = "is_false")]
    pub value_to_metric: bool,
    /// All values that match the wildcard share one counter.
    #[serde(skip_serializing_if = "is_false")]
    pub share_threshold: bool,
    /// Passed on in dynamic metadata when the rule matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
    /// When the counter store cannot answer: `open`, `closed`, `local` or `error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<FailureModeName>, inline)]
    pub failure_mode: Option<FailureMode>,
    /// A rule that is not enabled is as if it were not there, and all below it.
    #[serde(skip_serializing_if = "is_true")]
    pub enabled: bool,
    /// For listing and filtering.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The anomaly worker may never tighten this rule.
    #[serde(skip_serializing_if = "is_false")]
    pub protect: bool,
    /// Among the wildcards of a level, those with a lower number are tried first.
    #[serde(skip_serializing_if = "is_zero")]
    pub order: u32,
}

/// What happens when the counter store cannot answer.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[allow(dead_code, reason = "documents FailureMode")]
enum FailureModeName {
    /// Count in this process's memory, at the limit's share of a replica.
    Local,
    /// Let the request pass.
    Open,
    /// Deny the request.
    Closed,
    /// Answer with an error.
    Error,
}

const fn is_true(flag: &bool) -> bool {
    *flag
}

const fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Default for RuleForm {
    fn default() -> Self {
        Self::from(&RuleSpec::default())
    }
}

impl RuleForm {
    /// The rule. `wildcard` says whether the last entry of its path has a `*`.
    ///
    /// # Errors
    /// Every field that has no meaning.
    pub fn spec(self, wildcard: bool, defaults: Defaults) -> Result<RuleSpec, Vec<FieldProblem>> {
        let mut problems = Vec::new();
        let effect = effect(self.rate_limit, self.rate_limits, defaults, &mut problems);
        if self.share_threshold && !wildcard {
            let reason = "can only be used where the path ends with a wildcard (containing '*')";
            problems.push(FieldProblem::new("share_threshold", reason));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(RuleSpec {
            origin: crate::core::spec::Origin::default(),
            effect,
            shadow_mode: self.shadow_mode,
            quota_mode: self.quota_mode,
            detailed_metric: self.detailed_metric,
            value_to_metric: self.value_to_metric,
            share_threshold: self.share_threshold,
            metadata: self.metadata.filter(|metadata| !metadata.is_empty()),
            failure_mode: self.failure_mode,
            disabled: !self.enabled,
            tags: self.tags,
            protect: self.protect,
            order: self.order,
        })
    }
}

impl From<&RuleSpec> for RuleForm {
    fn from(rule: &RuleSpec) -> Self {
        let (rate_limit, rate_limits) = forms(rule.effect.as_ref());
        Self {
            rate_limit,
            rate_limits,
            shadow_mode: rule.shadow_mode,
            quota_mode: rule.quota_mode,
            detailed_metric: rule.detailed_metric,
            value_to_metric: rule.value_to_metric,
            share_threshold: rule.share_threshold,
            metadata: rule.metadata.clone(),
            failure_mode: rule.failure_mode,
            enabled: !rule.disabled,
            tags: rule.tags.clone(),
            protect: rule.protect,
            order: rule.order,
        }
    }
}

/// What holds at a path for a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OverrideForm {
    /// The only limit; `{"unlimited": true}` exempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<LimitForm>,
    /// Several limits, all of which must hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limits: Option<Vec<LimitForm>>,
    /// When it ends by itself, as RFC 3339 has it: `2030-01-31T04:00:00Z`.
    #[schema(value_type = String, format = DateTime)]
    pub until: Timestamp,
}

impl OverrideForm {
    /// The override.
    ///
    /// # Errors
    /// Every field that has no meaning.
    pub fn over(self, defaults: Defaults) -> Result<Override, Vec<FieldProblem>> {
        let mut problems = Vec::new();
        let effect = effect(self.rate_limit, self.rate_limits, defaults, &mut problems);
        if effect.is_none() && problems.is_empty() {
            problems.push(FieldProblem::new("rate_limit", "is missing; what is to hold until then?"));
        }
        match effect {
            Some(effect) if problems.is_empty() => Ok(Override { effect, until: self.until }),
            _ => Err(problems),
        }
    }
}

impl From<&Override> for OverrideForm {
    fn from(over: &Override) -> Self {
        let (rate_limit, rate_limits) = forms(Some(&over.effect));
        Self { rate_limit, rate_limits, until: over.until }
    }
}

fn effect(
    one: Option<LimitForm>,
    several: Option<Vec<LimitForm>>,
    defaults: Defaults,
    problems: &mut Vec<FieldProblem>,
) -> Option<EffectSpec> {
    if let (Some(form), None) = (&one, &several)
        && form.unlimited
    {
        let mut told = Told { prefix: "rate_limit".to_owned(), problems };
        form.check_unlimited(&mut told);
        check_names(std::slice::from_ref(form), "rate_limit", problems);
        return Some(EffectSpec::Unlimited { name: form.name.clone(), replaces: form.replaces() });
    }
    let (forms, list) = match (one, several) {
        (Some(_), Some(_)) => {
            let reason = "rate_limit and rate_limits exclude each other; move the one into the list";
            problems.push(FieldProblem::new("rate_limits", reason));
            return None;
        }
        (None, None) => return None,
        (Some(one), None) => (vec![one], false),
        (None, Some(several)) => (several, true),
    };
    if forms.is_empty() {
        problems.push(FieldProblem::new("rate_limits", "is empty; write at least one limit, or leave it out"));
        return None;
    }
    let mut limits = Vec::with_capacity(forms.len());
    for (position, form) in forms.iter().enumerate() {
        let prefix = if list { format!("rate_limits[{position}]") } else { "rate_limit".to_owned() };
        let mut told = Told { prefix, problems };
        if form.unlimited {
            told.add("unlimited", "one of several limits cannot be unlimited; use rate_limit for it alone");
        } else {
            limits.extend(form.limit(defaults, &mut told));
        }
    }
    check_names(&forms, if list { "rate_limits" } else { "rate_limit" }, problems);
    Some(EffectSpec::Limits(limits))
}

fn check_names(forms: &[LimitForm], field: &str, problems: &mut Vec<FieldProblem>) {
    let names = || forms.iter().filter_map(|form| form.name.as_ref());
    if names().any(String::is_empty) {
        problems.push(FieldProblem::new(format!("{field}.name"), "is empty; leave it out"));
    }
    for ReplacesForm { name } in forms.iter().flat_map(|form| &form.replaces) {
        if name.is_empty() {
            problems.push(FieldProblem::new(format!("{field}.replaces"), "a name must not be empty"));
        } else if names().any(|own| own == name) {
            let reason = format!("'{name}' is a limit of this rule itself; name one of another rule");
            problems.push(FieldProblem::new(format!("{field}.replaces"), reason));
        }
    }
}

fn forms(effect: Option<&EffectSpec>) -> (Option<LimitForm>, Option<Vec<LimitForm>>) {
    match effect {
        None => (None, None),
        Some(EffectSpec::Unlimited { name, replaces }) => {
            let replaces = replaces.iter().map(|name| ReplacesForm { name: name.clone() }).collect();
            let form = LimitForm { name: name.clone(), unlimited: true, replaces, ..LimitForm::default() };
            (Some(form), None)
        }
        Some(EffectSpec::Limits(limits)) => match &limits[..] {
            [one] => (Some(one.into()), None),
            several => (None, Some(several.iter().map(Into::into).collect())),
        },
    }
}
