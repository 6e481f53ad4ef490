//! A finding as it is kept: JSON whose members are the columns of `ai_ddos_detection`.
//!
//! Reading takes what others may have written with SQL, as far as it can be understood.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::finding::{Action, Finding, State, Step};
use super::{Review, time};
use crate::anomaly::event::{Reason, Verdict};
use crate::core::adjustment::Effect;
use crate::core::clock::Micros;
use crate::core::subject::{Attribute, Subject};

/// The columns.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Document {
    pub id: u64,
    user_id: Option<String>,
    ip_address: Option<String>,
    subject: SubjectDocument,
    domain: Option<String>,
    request_count: u64,
    anomaly_score: f64,
    #[serde(with = "time")]
    timestamp: Micros,
    #[serde(with = "time")]
    first_seen: Micros,
    #[serde(with = "time")]
    last_seen: Micros,
    #[serde(default, with = "time::option")]
    ended_at: Option<Micros>,
    state: State,
    action: Action,
    effect: Option<Effect>,
    #[serde(default, with = "time::option")]
    expires_at: Option<Micros>,
    shadow: bool,
    held: Option<String>,
    reasons: Vec<Reason>,
    #[serde(default, with = "time::option")]
    reviewed_at: Option<Micros>,
    reviewed_by: Option<String>,
    review_note: Option<String>,
    /// Lists leave it out.
    #[serde(default)]
    history: Vec<Step>,
}

/// `{"client": {"user_id": "123"}}` or `{"group": {"country": "XX", "path": "/login"}}`.
#[derive(Debug, Default, Serialize, Deserialize)]
struct SubjectDocument {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client: Option<ClientDocument>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<GroupDocument>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct ClientDocument {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ip_address: Option<IpAddr>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct GroupDocument {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    country: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    asn: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_agent: Option<String>,
}

impl From<&Finding> for Document {
    fn from(finding: &Finding) -> Self {
        let subject = SubjectDocument::from(&finding.subject);
        let client = subject.client.as_ref();
        let review = finding.review.as_ref();
        Self {
            id: finding.id,
            user_id: client.and_then(|client| client.user_id.clone()).filter(|user| !user.is_empty()),
            ip_address: client.and_then(|client| client.ip_address).map(|address| address.to_string()),
            domain: Some(finding.domain.clone()).filter(|domain| !domain.is_empty()),
            subject,
            request_count: finding.requests.min(i64::MAX.unsigned_abs()),
            anomaly_score: finding.score,
            timestamp: finding.flagged,
            first_seen: finding.first_seen,
            last_seen: finding.last_seen,
            ended_at: finding.ended,
            state: finding.state(),
            action: finding.action,
            effect: finding.effect,
            expires_at: finding.expires,
            shadow: finding.shadow,
            held: finding.held.clone(),
            reasons: finding.reasons.clone(),
            reviewed_at: review.map(|review| review.at),
            reviewed_by: review.map(|review| review.by.clone()),
            review_note: review.and_then(|review| review.note.clone()),
            history: finding.history.clone(),
        }
    }
}

impl From<Document> for Finding {
    fn from(document: Document) -> Self {
        let verdict = match document.state {
            State::Confirmed => Some(Verdict::Confirmed),
            State::Dismissed => Some(Verdict::Dismissed),
            State::Open | State::Ended => None,
        };
        let review = verdict.map(|verdict| Review {
            verdict,
            by: document.reviewed_by.unwrap_or_default(),
            note: document.review_note,
            at: document.reviewed_at.unwrap_or_default(),
        });
        let ended = document.ended_at.or((document.state == State::Ended).then_some(document.last_seen));
        Self {
            id: document.id,
            domain: document.domain.unwrap_or_default(),
            subject: document.subject.read(document.user_id, document.ip_address.as_deref()),
            requests: document.request_count,
            score: document.anomaly_score,
            flagged: document.timestamp,
            first_seen: document.first_seen,
            last_seen: document.last_seen,
            ended,
            action: document.action,
            effect: document.effect,
            expires: document.expires_at,
            shadow: document.shadow,
            held: document.held,
            reasons: document.reasons,
            review,
            history: document.history,
        }
    }
}

impl From<&Subject> for SubjectDocument {
    fn from(subject: &Subject) -> Self {
        match subject {
            Subject::User(name) => {
                let client = ClientDocument { user_id: Some(name.to_string()), ip_address: None };
                Self { client: Some(client), group: None }
            }
            Subject::Address(address) => {
                let client = ClientDocument { user_id: None, ip_address: Some(*address) };
                Self { client: Some(client), group: None }
            }
            Subject::Group(attributes) => {
                let mut group = GroupDocument::default();
                for (attribute, value) in attributes {
                    *group.member(*attribute) = Some(value.to_string());
                }
                Self { client: None, group: Some(group) }
            }
        }
    }
}

impl GroupDocument {
    const fn member(&mut self, attribute: Attribute) -> &mut Option<String> {
        match attribute {
            Attribute::Country => &mut self.country,
            Attribute::Asn => &mut self.asn,
            Attribute::Path => &mut self.path,
            Attribute::UserAgent => &mut self.user_agent,
        }
    }
}

impl SubjectDocument {
    /// The subject; what it does not tell is in the columns.
    fn read(self, user: Option<String>, address: Option<&str>) -> Subject {
        if let Some(mut group) = self.group {
            let attributes = Attribute::ALL.into_iter();
            return Subject::Group(
                attributes.filter_map(|name| Some((name, group.member(name).take()?.into()))).collect(),
            );
        }
        let client = self.client.unwrap_or_default();
        // Postgres writes the length of a network behind it.
        let address = address.and_then(|text| text.split('/').next()?.parse().ok());
        match (client.user_id.or(user), client.ip_address.or(address)) {
            (None, Some(address)) => Subject::Address(address),
            (user, _) => Subject::User(user.unwrap_or_default().into()),
        }
    }
}
