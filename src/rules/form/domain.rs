//! Settings of a domain.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::FieldProblem;
use crate::core::limit::Algorithm;
use crate::core::spec::{Charge, DomainSettings, HeaderFamilies};

/// Settings of a domain. What is missing has the default of [`DomainSettings::API`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DomainForm {
    /// `independent` or `all_or_nothing`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub charge: Option<String>,
    /// The algorithm of limits that name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_algorithm: Option<String>,
    /// Some of `draft`, `legacy` and `x`; missing is the server's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_headers: Option<Vec<String>>,
    /// Whether requests may bring their own limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accept_overrides: Option<bool>,
    /// Whether requests may give hits back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accept_refunds: Option<bool>,
}

const CHARGES: [(&str, Charge); 2] = [("independent", Charge::Independent), ("all_or_nothing", Charge::AllOrNothing)];

impl DomainForm {
    /// The settings.
    ///
    /// # Errors
    /// Every field that has no meaning.
    pub fn settings(self) -> Result<DomainSettings, Vec<FieldProblem>> {
        let mut settings = DomainSettings::API;
        let mut problems = Vec::new();
        if let Some(charge) = self.charge {
            match CHARGES.iter().find(|(name, _)| *name == charge) {
                Some((_, charge)) => settings.charge = *charge,
                None => {
                    let reason = format!("unknown charge '{charge}'; use independent or all_or_nothing");
                    problems.push(FieldProblem::new("charge", reason));
                }
            }
        }
        if let Some(name) = self.default_algorithm {
            match name.parse::<Algorithm>() {
                Ok(algorithm) => settings.default_algorithm = algorithm,
                Err(error) => problems.push(FieldProblem::new("default_algorithm", error.to_string())),
            }
        }
        if let Some(names) = self.response_headers {
            let mut families = HeaderFamilies { draft: false, legacy: false, x: false };
            for (position, name) in names.iter().enumerate() {
                match name.as_str() {
                    "draft" => families.draft = true,
                    "legacy" => families.legacy = true,
                    "x" => families.x = true,
                    _ => problems.push(FieldProblem::new(
                        format!("response_headers[{position}]"),
                        format!("unknown response headers '{name}'; use draft, legacy or x"),
                    )),
                }
            }
            settings.response_headers = Some(families);
        }
        settings.accept_overrides = self.accept_overrides.unwrap_or(settings.accept_overrides);
        settings.accept_refunds = self.accept_refunds.unwrap_or(settings.accept_refunds);
        if problems.is_empty() { Ok(settings) } else { Err(problems) }
    }
}

impl From<&DomainSettings> for DomainForm {
    fn from(settings: &DomainSettings) -> Self {
        let charge = CHARGES.iter().find(|(_, charge)| *charge == settings.charge).map(|(name, _)| (*name).to_owned());
        let headers = |families: HeaderFamilies| {
            let all = [("draft", families.draft), ("legacy", families.legacy), ("x", families.x)];
            all.into_iter().filter(|(_, on)| *on).map(|(name, _)| name.to_owned()).collect()
        };
        Self {
            charge,
            default_algorithm: Some(settings.default_algorithm.name().to_owned()),
            response_headers: settings.response_headers.map(headers),
            accept_overrides: Some(settings.accept_overrides),
            accept_refunds: Some(settings.accept_refunds),
        }
    }
}
