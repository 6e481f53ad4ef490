//! What a replay found, for programs. `docs/anomaly-report.schema.json` describes it, and a test holds it to that.

use std::collections::BTreeMap;

use serde::ser::{Serialize, SerializeMap as _, Serializer};

use crate::anomaly::event::{Event, Kind};
use crate::anomaly::observation::Outcome;
use crate::core::adjustment::Effect;
use crate::core::clock::Micros;
use crate::core::subject::Subject;

/// The report. Times are seconds since the Unix epoch.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Report {
    /// Lines of the log, blank ones aside.
    pub lines: u64,
    /// From the first request to the last, seconds.
    pub span_s: f64,
    /// What did not behave as calm traffic does.
    pub flags: Vec<Flag>,
    /// What was done about it.
    pub actions: Vec<Action>,
    /// What became of the requests of each label; empty when the log has no labels.
    pub labels: BTreeMap<String, Label>,
}

/// A flag.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Flag {
    /// When.
    pub ts: f64,
    /// Who.
    pub subject: Named,
    /// The fused score, 0 to 1.
    pub score: f64,
    /// Why, in words.
    pub reasons: Vec<String>,
}

/// Something that was done.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Action {
    /// When.
    pub ts: f64,
    /// About whom.
    pub subject: Named,
    /// `flag`, `tighten`, `block` or `release`.
    pub kind: &'static str,
    /// By which factor limits became smaller, when they did.
    pub factor: Option<f64>,
    /// When it ends by itself, when it does.
    pub expires_ts: Option<f64>,
}

/// The requests of one label.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Label {
    /// All.
    pub requests: u64,
    /// Those denied, whatever the reason.
    pub limited: u64,
    /// Those denied because of an adjustment.
    pub limited_by_adjustment: u64,
    /// The first of all.
    pub first_request_ts: Option<f64>,
    /// The first flag of a subject that requests of this label belong to.
    pub first_flag_ts: Option<f64>,
    /// The first action, other than a flag, about such a subject.
    pub first_action_ts: Option<f64>,
}

/// A subject, as reports name it: `{"user_id": ..}`, `{"ip_address": ..}` or `{"group": {"country": ..}}`.
#[derive(Clone, Debug)]
pub struct Named(pub Subject);

impl Serialize for Named {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        match &self.0 {
            Subject::User(user) => map.serialize_entry("user_id", &**user)?,
            Subject::Address(address) => map.serialize_entry("ip_address", address)?,
            Subject::Group(attributes) => {
                let attributes: BTreeMap<_, _> =
                    attributes.iter().map(|(attribute, value)| (attribute.name(), &**value)).collect();
                map.serialize_entry("group", &attributes)?;
            }
        }
        map.end()
    }
}

/// Seconds since the Unix epoch.
pub(super) fn seconds(at: Micros) -> f64 {
    at.0 as f64 / 1e6
}

impl Report {
    /// Takes down an event. What was not enforced is a flag, at most.
    pub(super) fn add(&mut self, event: &Event) {
        let (ts, subject) = (seconds(event.at), Named(event.subject.clone()));
        if event.kind == Kind::Flag {
            let reasons = event.reasons.iter().map(|reason| reason.text.clone()).collect();
            self.flags.push(Flag { ts, subject: subject.clone(), score: event.score, reasons });
        }
        let (kind, factor, expires) = match event.kind {
            Kind::Flag => ("flag", None, None),
            Kind::Tighten { effect: Effect::Factor { factor, .. }, expires, shadow: false } => {
                ("tighten", Some(factor), Some(expires))
            }
            Kind::Tighten { expires, shadow: false, .. } => ("tighten", None, Some(expires)),
            Kind::Block { expires, shadow: false } => ("block", None, Some(expires)),
            Kind::Release => ("release", None, None),
            Kind::Tighten { .. } | Kind::Block { .. } | Kind::Held => return,
        };
        self.actions.push(Action { ts, subject, kind, factor, expires_ts: expires.map(seconds) });
    }
}

impl Label {
    pub(super) fn count(&mut self, at: Micros, outcome: Outcome) {
        self.requests += 1;
        self.limited += u64::from(matches!(outcome, Outcome::Limited | Outcome::LimitedByAdjustment));
        self.limited_by_adjustment += u64::from(outcome == Outcome::LimitedByAdjustment);
        self.first_request_ts.get_or_insert(seconds(at));
    }

    /// A request belongs to a subject that was flagged, or acted on, at these times.
    pub(super) fn note(&mut self, flag: Option<Micros>, action: Option<Micros>) {
        for (first, at) in [(&mut self.first_flag_ts, flag), (&mut self.first_action_ts, action)] {
            if let Some(at) = at.map(seconds)
                && first.is_none_or(|first| at < first)
            {
                *first = Some(at);
            }
        }
    }
}
