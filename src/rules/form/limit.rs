//! One limit.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::FieldProblem;
use crate::core::calendar::{CalendarUnit, CalendarWindow};
use crate::core::limit::{Algorithm, Limit, LimitError, LimitParts, Over, Unit, Window};
use crate::core::spec::LimitSpec;
use crate::rules::duration;

/// What a limit is that does not say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// What becomes of a hit that does not fit.
    pub over: Over,
}

impl Defaults {
    /// In the API, where a domain does not say otherwise.
    pub const API: Self = Self { algorithm: Algorithm::SlidingWindowLog, over: Over::Drop };
    /// In files.
    pub const FILE: Self = Self { algorithm: Algorithm::FixedWindow, over: Over::Record };
}

/// A limit, or that there is none (`unlimited`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LimitForm {
    /// Its name, in answers, headers and `replaces`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Hits per window, 0 to 4294967295; 0 allows none. Required, unless `unlimited`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 4_294_967_295_u32)]
    pub requests_per_unit: Option<u64>,
    /// second, minute, hour, day, week, month (30 days) or year (365 days).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Any other length, instead of `unit`: `90s`, `1h30m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<String>,
    /// Days, weeks, months and years as people count them.
    #[serde(skip_serializing_if = "is_false")]
    pub calendar: bool,
    /// IANA name of the calendar's time zone; UTC if missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// `fixed_window`, `sliding_window_log`, `sliding_window_counter`, `token_bucket` or `leaky_bucket`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<String>,
    /// The size of a bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub burst: Option<u64>,
    /// What becomes of hits that do not fit: `record` or `drop`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over: Option<String>,
    /// Always record and answer OK to a charge; deny a peek once nothing is left.
    #[serde(skip_serializing_if = "is_false")]
    pub post_paid: bool,
    /// Never counted, always OK. Alone, but for `name` and `replaces`.
    #[serde(skip_serializing_if = "is_false")]
    pub unlimited: bool,
    /// Rules that do not apply to a request in which this one matches.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub replaces: Vec<ReplacesForm>,
}

/// The name of a replaced rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplacesForm {
    /// Its name.
    pub name: String,
}

pub(super) const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// Collects problems of the fields below one.
pub(super) struct Told<'p> {
    pub prefix: String,
    pub problems: &'p mut Vec<FieldProblem>,
}

impl Told<'_> {
    pub fn add(&mut self, field: &str, reason: impl Into<String>) {
        self.problems.push(FieldProblem::new(format!("{}.{field}", self.prefix), reason));
    }
}

impl LimitForm {
    /// Names that this limit replaces.
    pub(super) fn replaces(&self) -> Vec<String> {
        self.replaces.iter().map(|replaces| replaces.name.clone()).collect()
    }

    /// That no field is there which means nothing to an unlimited rule.
    pub(super) fn check_unlimited(&self, told: &mut Told<'_>) {
        let fields = [
            ("requests_per_unit", self.requests_per_unit.is_some()),
            ("unit", self.unit.is_some()),
            ("window", self.window.is_some()),
            ("calendar", self.calendar),
            ("time_zone", self.time_zone.is_some()),
            ("algorithm", self.algorithm.is_some()),
            ("burst", self.burst.is_some()),
            ("over", self.over.is_some()),
            ("post_paid", self.post_paid),
        ];
        for (field, _) in fields.into_iter().filter(|(_, there)| *there) {
            told.add(field, "has no meaning when unlimited; leave one of them out");
        }
    }

    /// The limit; `None` when what it lacks was told.
    pub(super) fn limit(&self, defaults: Defaults, told: &mut Told<'_>) -> Option<LimitSpec> {
        let before = told.problems.len();
        let amount = match self.requests_per_unit {
            None => {
                told.add("requests_per_unit", "is missing; how many hits does a window allow?");
                0
            }
            Some(amount) if amount > u64::from(u32::MAX) => {
                told.add("requests_per_unit", format!("must be from 0 to {}, got {amount}", u32::MAX));
                0
            }
            Some(amount) => amount,
        };
        let algorithm = self.algorithm.as_deref().map_or(Ok(defaults.algorithm), str::parse);
        let algorithm = algorithm.map_err(|error| told.add("algorithm", error.to_string())).unwrap_or_default();
        let over = match self.over.as_deref() {
            None => defaults.over,
            Some("record") => Over::Record,
            Some("drop") => Over::Drop,
            Some(other) => {
                told.add("over", format!("unknown over '{other}'; use record or drop"));
                defaults.over
            }
        };
        let window = self.window(told);
        if told.problems.len() > before {
            return None;
        }
        let parts =
            LimitParts { amount, window: window?, algorithm, burst: self.burst, over, post_paid: self.post_paid };
        match Limit::new(parts) {
            Ok(limit) => Some(LimitSpec { limit, name: self.name.clone(), replaces: self.replaces() }),
            Err(error) => {
                let field = match error {
                    LimitError::ZeroWindow | LimitError::WindowTooLong => "window",
                    LimitError::CalendarWith(_) => "calendar",
                    LimitError::AmountTooLarge | LimitError::LogTooLarge(_) => "requests_per_unit",
                    LimitError::BurstBelowOne | LimitError::BurstTooLarge | LimitError::BurstWithout(_) => "burst",
                };
                told.add(field, error.to_string());
                None
            }
        }
    }

    fn window(&self, told: &mut Told<'_>) -> Option<Window> {
        if self.time_zone.is_some() && !self.calendar {
            told.add("time_zone", "is for calendar windows only; add calendar: true");
        }
        let unit = match (&self.unit, &self.window) {
            (Some(_), Some(_)) => {
                told.add("window", "unit and window exclude each other; leave one of them out");
                return None;
            }
            (None, None) => {
                told.add("unit", "is missing; write second, minute, hour, day, week, month or year, or a window");
                return None;
            }
            (None, Some(_)) if self.calendar => {
                told.add("calendar", "goes with unit, not with window");
                return None;
            }
            (None, Some(text)) => {
                let window = duration::parse(text).map_err(|error| {
                    told.add("window", format!("'{text}' {error}; {}", duration::EXAMPLES));
                });
                return window.ok().map(Window::Length);
            }
            (Some(unit), None) => unit.parse::<Unit>().map_err(|error| told.add("unit", error.to_string())).ok()?,
        };
        if !self.calendar {
            return Some(Window::Length(unit.length()));
        }
        let unit = match unit {
            Unit::Day => CalendarUnit::Day,
            Unit::Week => CalendarUnit::Week,
            Unit::Month => CalendarUnit::Month,
            Unit::Year => CalendarUnit::Year,
            Unit::Second | Unit::Minute | Unit::Hour => {
                told.add("calendar", format!("has no {unit} of its own; use day, week, month or year"));
                return None;
            }
        };
        match CalendarWindow::new(unit, self.time_zone.as_deref().unwrap_or("UTC")) {
            Ok(calendar) => Some(Window::Calendar(Arc::new(calendar))),
            Err(error) => {
                told.add("time_zone", error.to_string());
                None
            }
        }
    }
}

impl From<&LimitSpec> for LimitForm {
    fn from(spec: &LimitSpec) -> Self {
        let LimitSpec { limit, name, replaces } = spec;
        let (unit, window) = match (limit.window().unit(), limit.window()) {
            (Some(unit), _) => (Some(unit.name().to_owned()), None),
            (None, window) => (None, Some(window.to_string())),
        };
        let zone = match limit.window() {
            Window::Calendar(calendar) => Some(calendar.zone_name().to_owned()),
            Window::Length(_) => None,
        };
        Self {
            name: name.clone(),
            requests_per_unit: Some(limit.amount()),
            unit,
            window,
            calendar: zone.is_some(),
            time_zone: zone,
            algorithm: Some(limit.algorithm().name().to_owned()),
            // Without an amount there is no burst either.
            burst: (limit.algorithm().has_burst() && limit.amount() > 0).then(|| limit.capacity()),
            over: Some(if limit.over() == Over::Record { "record" } else { "drop" }.to_owned()),
            post_paid: limit.post_paid(),
            unlimited: false,
            replaces: replaces.iter().map(|name| ReplacesForm { name: name.clone() }).collect(),
        }
    }
}
