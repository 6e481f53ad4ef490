//! Findings as they are shown.

use serde::Serialize;
use utoipa::ToSchema;

use crate::anomaly::event::{Reason, Verdict};
use crate::anomaly::findings::{Action, Finding, Review, State, Step, What, timestamp};
use crate::core::adjustment::Effect;
use crate::core::clock::Micros;
use crate::core::subject::{Attribute, Subject};

/// A client, or a group of them, that behaved unusually. It has a `user_id`, an `ip_address`, or a `group`.
#[derive(Serialize, ToSchema)]
pub struct AnomalyDocument {
    /// Its number, as text: it is larger than some readers of JSON take.
    id: String,
    /// The user.
    user_id: Option<String>,
    /// The address; of IPv6 the network that tells clients apart, a /64.
    ip_address: Option<String>,
    /// What all requests of the group have in common.
    group: Option<GroupDocument>,
    /// The domain.
    domain: String,
    /// Requests in the seconds that it was scored on.
    request_count: u64,
    /// The highest score, 0 (calm) to 1.
    #[schema(minimum = 0, maximum = 1)]
    anomaly_score: f64,
    /// When it was flagged.
    #[schema(format = DateTime)]
    timestamp: String,
    /// When the anomaly was seen first.
    #[schema(format = DateTime)]
    first_seen: String,
    /// When it was seen last.
    #[schema(format = DateTime)]
    last_seen: String,
    /// When it ended.
    #[schema(format = DateTime)]
    ended: Option<String>,
    /// Where it stands; what a person said goes before whether it has ended.
    #[schema(inline)]
    state: StateName,
    /// What was done about it last.
    #[schema(inline)]
    action: ActionName,
    /// How limits were changed.
    effect: Option<EffectDocument>,
    /// Until when that holds, if nothing renews it; or until when it held.
    #[schema(format = DateTime)]
    expires: Option<String>,
    /// Only told, not enforced.
    shadow: bool,
    /// Why no further action was taken.
    held: Option<String>,
    /// Why; the latest, the strongest first.
    reasons: Vec<ReasonDocument>,
    /// What a person said of it.
    review: Option<ReviewDocument>,
}

/// One anomaly with what happened.
#[derive(Serialize, ToSchema)]
pub struct AnomalyWithHistory {
    #[serde(flatten)]
    anomaly: AnomalyDocument,
    /// From the first to the last; of more than 50 steps, the first and the latest.
    history: Vec<StepDocument>,
}

/// An anomaly that somebody reviewed.
#[derive(Serialize, ToSchema)]
pub struct AnomalyReviewed {
    #[serde(flatten)]
    anomaly: AnomalyWithHistory,
    /// Whether the workers were told; `false` when none runs here. A dismissal then lifts the adjustment on every replica.
    told: bool,
}

/// A page of anomalies.
#[derive(ToSchema)]
#[allow(dead_code, reason = "documents the list")]
pub struct AnomalyPage {
    /// The newest first.
    anomalies: Vec<AnomalyDocument>,
    /// `after` of the next page; `null` on the last.
    next: Option<String>,
}

/// What all requests of a group have in common; at least one of these.
#[derive(Default, Serialize, ToSchema)]
pub struct GroupDocument {
    /// The country of the address, ISO 3166-1 alpha-2.
    #[serde(skip_serializing_if = "Option::is_none")]
    country: Option<String>,
    /// The autonomous system of the address.
    #[serde(skip_serializing_if = "Option::is_none")]
    asn: Option<String>,
    /// The template of the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    /// The user agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<String>,
}

/// How limits were changed.
#[derive(Serialize, ToSchema)]
pub struct EffectDocument {
    /// In words.
    text: String,
    /// What is left of each limit, more than 0 and at most 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    factor: Option<f64>,
    /// The least that is left of a limit, hits a window.
    #[serde(skip_serializing_if = "Option::is_none")]
    floor: Option<u64>,
    /// A limit of its own: requests a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<f64>,
    /// A limit of its own: so many at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    burst: Option<u64>,
}

/// One reason.
#[derive(Serialize, ToSchema)]
pub struct ReasonDocument {
    /// In words.
    text: String,
    /// The feature; docs/anomaly.md has them with their units.
    feature: String,
    /// What it usually is.
    usual: f64,
    /// What it was.
    present: f64,
}

/// What a person said.
#[derive(Serialize, ToSchema)]
pub struct ReviewDocument {
    /// What it was.
    #[schema(inline)]
    verdict: VerdictName,
    /// Who said so: a token's name.
    by: String,
    /// When.
    #[schema(format = DateTime)]
    at: String,
    /// Why.
    note: Option<String>,
}

/// A step of the history.
#[derive(Serialize, ToSchema)]
pub struct StepDocument {
    /// When.
    #[schema(format = DateTime)]
    at: String,
    /// What.
    #[schema(inline)]
    what: StepName,
    /// The score at that time.
    #[serde(skip_serializing_if = "Option::is_none")]
    anomaly_score: Option<f64>,
    /// Requests in the second that it was scored on.
    request_count: u64,
    /// How limits were changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    effect: Option<EffectDocument>,
    /// Until when that was to hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    expires: Option<String>,
    /// Only told, not enforced.
    shadow: bool,
    /// Why.
    reasons: Vec<ReasonDocument>,
    /// Who said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    /// Why, as that person put it.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

macro_rules! names {
    ($(#[doc = $doc:literal] $name:ident of $kind:ident: $($one:ident $says:literal),*;)*) => {
        $(#[doc = $doc]
        #[derive(Serialize, ToSchema)]
        #[serde(rename_all = "lowercase")]
        pub enum $name {
            $(#[doc = $says] $one,)*
        }

        impl From<$kind> for $name {
            fn from(kind: $kind) -> Self {
                match kind { $($kind::$one => Self::$one,)* }
            }
        })*
    };
}

names! {
    /// Where an anomaly stands.
    StateName of State: Open "It lasts.", Ended "It is over.", Confirmed "A person said that it was an attack.",
        Dismissed "A person said that it was none.";
    /// What was done about an anomaly.
    ActionName of Action: None "Nothing.", Flag "It was told.", Tighten "Its limits were lowered, or it got one of its own.",
        Block "Nothing of it passed.";
    /// What a person said of an anomaly.
    VerdictName of Verdict: Confirmed "It was an attack.", Dismissed "It was none.";
    /// What happened in a step.
    StepName of What: Flag "It was flagged.", Tighten "Its limits were lowered, or that was renewed.",
        Block "It was blocked, or that was renewed.", Held "An action was held back; the first reason says why.",
        Release "It ended.", Confirmed "A person said that it was an attack.", Dismissed "A person said that it was none.";
}

/// What is shown in lists.
pub fn anomaly(finding: &Finding) -> AnomalyDocument {
    let (user_id, ip_address, group) = match &finding.subject {
        Subject::User(name) => (Some(name.to_string()), None, None),
        Subject::Address(address) => (None, Some(address.to_string()), None),
        Subject::Group(attributes) => {
            let mut group = GroupDocument::default();
            for (attribute, value) in attributes {
                let member = match attribute {
                    Attribute::Country => &mut group.country,
                    Attribute::Asn => &mut group.asn,
                    Attribute::Path => &mut group.path,
                    Attribute::UserAgent => &mut group.user_agent,
                };
                *member = Some(value.to_string());
            }
            (None, None, Some(group))
        }
    };
    AnomalyDocument {
        id: finding.id.to_string(),
        user_id,
        ip_address,
        group,
        domain: finding.domain.clone(),
        request_count: finding.requests,
        anomaly_score: finding.score,
        timestamp: time(finding.flagged),
        first_seen: time(finding.first_seen),
        last_seen: time(finding.last_seen),
        ended: finding.ended.map(time),
        state: finding.state().into(),
        action: finding.action.into(),
        effect: finding.effect.as_ref().map(effect),
        expires: finding.expires.map(time),
        shadow: finding.shadow,
        held: finding.held.clone(),
        reasons: finding.reasons.iter().map(reason).collect(),
        review: finding.review.as_ref().map(review),
    }
}

/// The same with the history.
pub fn with_history(finding: &Finding) -> AnomalyWithHistory {
    AnomalyWithHistory { anomaly: anomaly(finding), history: finding.history.iter().map(step).collect() }
}

/// What a review answers.
pub fn reviewed(finding: &Finding, told: bool) -> AnomalyReviewed {
    AnomalyReviewed { anomaly: with_history(finding), told }
}

fn time(at: Micros) -> String {
    timestamp(at).to_string()
}

fn effect(effect: &Effect) -> EffectDocument {
    let bare = EffectDocument { text: effect.to_string(), factor: None, floor: None, rate: None, burst: None };
    match *effect {
        Effect::Factor { factor, floor } => EffectDocument { factor: Some(factor), floor: Some(floor), ..bare },
        Effect::Limit { rate, burst } => EffectDocument { rate: Some(rate), burst: Some(burst), ..bare },
        Effect::Block => bare,
    }
}

fn reason(reason: &Reason) -> ReasonDocument {
    let Reason { feature, usual, present, text } = reason;
    ReasonDocument { text: text.clone(), feature: feature.to_string(), usual: *usual, present: *present }
}

fn review(review: &Review) -> ReviewDocument {
    let Review { verdict, by, note, at } = review;
    ReviewDocument { verdict: (*verdict).into(), by: by.clone(), at: time(*at), note: note.clone() }
}

fn step(step: &Step) -> StepDocument {
    StepDocument {
        at: time(step.at),
        what: step.what.into(),
        anomaly_score: step.score,
        request_count: step.requests,
        effect: step.effect.as_ref().map(effect),
        expires: step.expires.map(time),
        shadow: step.shadow,
        reasons: step.reasons.iter().map(reason).collect(),
        by: step.by.clone(),
        note: step.note.clone(),
    }
}
