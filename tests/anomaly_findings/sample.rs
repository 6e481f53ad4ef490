//! Incidents to note.

use tidegate::anomaly::event::{Event, Kind, Reason, Verdict};
use tidegate::anomaly::findings::{Filter, Finding, Findings, Page, Review};
use tidegate::core::adjustment::Effect;
use tidegate::core::clock::Micros;
use tidegate::core::subject::Subject;

/// Some day.
pub const DAY: u64 = 1_900_000_000;

pub fn at(second: u64) -> Micros {
    Micros::from_secs(DAY + second)
}

pub fn user(name: &str) -> Subject {
    Subject::User(name.into())
}

pub fn address(text: &str) -> Subject {
    Subject::Address(text.parse().unwrap())
}

pub fn event(incident: u64, second: u64, subject: Subject, kind: Kind) -> Event {
    let text = "48 requests a second, usually 0.4".to_owned();
    let reason = Reason { feature: "rate_10s".into(), usual: 0.4, present: 48.5, text };
    Event {
        at: at(second),
        incident,
        domain: "edge".into(),
        subject,
        kind,
        score: 0.75,
        requests: 10,
        reasons: if kind == Kind::Release { Vec::new() } else { vec![reason] },
    }
}

pub fn flag(incident: u64, second: u64) -> Event {
    event(incident, second, user(&incident.to_string()), Kind::Flag)
}

pub fn tighten(second: u64) -> Kind {
    let effect = Effect::Limit { rate: 1.5, burst: 3 };
    Kind::Tighten { effect, expires: at(second), shadow: true }
}

pub fn review(verdict: Verdict, second: u64) -> Review {
    Review { verdict, by: "ops".into(), note: Some("seen \"before\", é".into()), at: at(second) }
}

pub async fn list(store: &impl Findings, filter: Filter) -> Vec<Finding> {
    let listed = store.list(&filter, Page { after: None, size: 1_000 }).await.unwrap();
    assert_eq!(listed.next, None);
    listed.findings
}

pub async fn ids(store: &impl Findings, filter: Filter) -> Vec<u64> {
    list(store, filter).await.iter().map(|finding| finding.id).collect()
}
