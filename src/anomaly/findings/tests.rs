//! What events and people make of a finding.

use proptest::prelude::*;

use super::super::document::Document;
use super::*;

const CLIENT: &str = "ada";

fn event(second: u64, kind: Kind) -> Event {
    let reason = Reason { feature: "rate_10s".into(), usual: 0.4, present: 48.0, text: format!("reason {second}") };
    Event {
        at: Micros::from_secs(second),
        incident: 7,
        domain: "edge".into(),
        subject: Subject::User(CLIENT.into()),
        kind,
        score: 0.7,
        requests: 10,
        reasons: if kind == Kind::Release { Vec::new() } else { vec![reason] },
    }
}

fn tighten(second: u64) -> Kind {
    let effect = Effect::Factor { factor: 0.25, floor: 1 };
    Kind::Tighten { effect, expires: Micros::from_secs(second), shadow: true }
}

fn after(events: &[Event]) -> Finding {
    let mut known = BTreeMap::new();
    fold(&mut known, events);
    known.remove(&7).unwrap()
}

#[test]
fn an_incident_goes_its_way() {
    let mut finding = after(&[event(1, Kind::Flag)]);
    assert_eq!((finding.state(), finding.action, finding.effect), (State::Open, Action::Flag, None));
    assert!(finding.apply(&Event { score: 0.9, ..event(2, tighten(100)) }));
    assert!(finding.apply(&Event { score: 0.8, ..event(3, tighten(200)) }));
    assert_eq!(
        (finding.action, finding.expires, finding.shadow),
        (Action::Tighten, Some(Micros::from_secs(200)), true)
    );
    assert!(finding.apply(&event(4, Kind::Block { expires: Micros::from_secs(300), shadow: false })));
    assert_eq!((finding.action, finding.effect, finding.shadow), (Action::Block, Some(Effect::Block), false));
    assert_eq!((finding.score, finding.requests), (0.9, 40), "the highest, and all together");
    assert_eq!(finding.reasons[0].text, "reason 4", "the latest");
    assert!(finding.apply(&event(5, Kind::Release)));
    assert_eq!((finding.state(), finding.ended), (State::Ended, Some(Micros::from_secs(5))));
    assert_eq!(finding.last_seen, Micros::from_secs(4), "a release is no sign of it");
    assert_eq!(finding.expires, Some(Micros::from_secs(5)), "nothing holds any more");
    assert_eq!(finding.reasons[0].text, "reason 4", "a release has no reasons");
    let steps: Vec<_> = finding.history.iter().map(|step| step.what).collect();
    assert_eq!(steps, [What::Flag, What::Tighten, What::Tighten, What::Block, What::Release]);
}

#[test]
fn what_is_held_back_is_remembered_until_there_is_an_action() {
    let mut finding = after(&[event(1, Kind::Flag)]);
    let mut held = event(2, Kind::Held);
    held.reasons.insert(0, Reason { feature: HELD.into(), usual: 0.0, present: 1.0, text: "it is protected".into() });
    assert!(finding.apply(&held));
    assert_eq!((finding.action, finding.held.as_deref()), (Action::Flag, Some("it is protected")));
    assert_eq!(finding.reasons.len(), 1, "why it was held is none of what it did");
    assert!(finding.apply(&event(3, tighten(9))));
    assert_eq!(finding.held, None);
}

#[test]
fn histories_are_bounded_and_keep_the_first() {
    let mut events = vec![event(1, Kind::Flag)];
    events.extend((2..200).map(|second| event(second, tighten(second + 100))));
    let finding = after(&events);
    assert_eq!(finding.history.len(), MAX_HISTORY);
    assert_eq!(finding.history.first().unwrap().what, What::Flag);
    assert_eq!(finding.history.last().unwrap().at, Micros::from_secs(199));
    let again = after(&[events.clone(), events].concat());
    assert_eq!(again, finding, "also when what comes again was forgotten");
}

#[test]
fn the_last_word_counts_and_the_same_again_changes_nothing() {
    let mut finding = after(&[event(1, Kind::Flag), event(2, tighten(100))]);
    let review = |verdict, note: Option<&str>, second| Review {
        verdict,
        by: "ops".into(),
        note: note.map(str::to_owned),
        at: Micros::from_secs(second),
    };
    assert!(finding.review(&review(Verdict::Confirmed, None, 50)));
    assert_eq!(finding.state(), State::Confirmed);
    assert!(finding.apply(&event(3, tighten(101))), "an event that took longer than the person");
    assert!(finding.review(&review(Verdict::Dismissed, Some("a test of theirs"), 60)));
    let kept = finding.clone();
    assert!(!finding.review(&review(Verdict::Dismissed, None, 70)));
    assert!(!finding.review(&review(Verdict::Dismissed, Some("a test of theirs"), 70)));
    assert_eq!(finding, kept);
    assert!(finding.apply(&event(61, Kind::Release)));
    assert_eq!((finding.state(), finding.ended), (State::Dismissed, Some(Micros::from_secs(61))));
    assert_eq!(finding.history.iter().filter(|step| step.by.as_deref() == Some("ops")).count(), 2);
}

#[test]
fn what_no_store_can_hold_is_replaced() {
    let odd = Event {
        domain: "d".repeat(2_000),
        subject: Subject::User("a\0b".into()),
        score: f64::NAN,
        reasons: vec![
            Reason { feature: "x".into(), usual: f64::INFINITY, present: f64::NAN, text: "t\0".repeat(900) };
            20
        ],
        ..event(
            1,
            Kind::Tighten {
                effect: Effect::Limit { rate: f64::INFINITY, burst: 1 },
                expires: Micros(u64::MAX),
                shadow: false,
            },
        )
    };
    let finding = after(&[odd]);
    assert_eq!((finding.subject.to_string().as_str(), finding.score), ("user a\u{fffd}b", 0.0));
    assert!(finding.domain.len() <= MAX_TEXT && finding.reasons.len() == MAX_REASONS);
    let text = serde_json::to_string(&Document::from(&finding)).unwrap();
    assert!(!text.contains("\\u0000") && text.len() < 20_000, "{text}");
    let read = Finding::from(serde_json::from_str::<Document>(&text).unwrap());
    assert_eq!(read.subject, finding.subject);
}

#[test]
fn what_others_wrote_is_read_as_far_as_it_goes() {
    let text = r#"{"id": 3, "user_id": null, "ip_address": "2001:db8::/64", "subject": {}, "domain": null,
        "request_count": 0, "anomaly_score": 0.5, "timestamp": "2030-01-31T03:00:00.5+00:00",
        "first_seen": "2030-01-31T03:00:00+00:00", "last_seen": "2030-01-31T03:00:01+00:00", "state": "ended",
        "action": "flag", "shadow": false, "reasons": [], "scores": {}}"#;
    let finding = Finding::from(serde_json::from_str::<Document>(text).unwrap());
    assert_eq!(finding.subject, Subject::Address("2001:db8::".parse().unwrap()));
    assert_eq!((finding.state(), finding.flagged.0 % 1_000_000), (State::Ended, 500_000));
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Flag),
        Just(Kind::Held),
        Just(Kind::Release),
        (1_u64..50).prop_map(tighten),
        (1_u64..50).prop_map(|second| Kind::Block { expires: Micros::from_secs(second), shadow: false }),
    ]
}

proptest! {
    #[test]
    fn events_that_come_again_change_nothing(
        kinds in proptest::collection::vec((kinds(), 0_u64..3), 1..80),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut second = 1;
        let events: Vec<Event> = kinds.into_iter().map(|(kind, later)| {
            second += later;
            event(second, kind)
        }).collect();
        let once = after(&events);
        // A batch is noted, its answer gets lost, and it comes again with what followed.
        let from = cut.index(events.len());
        let twice = after(&[&events[..], &events[from..]].concat());
        prop_assert_eq!(&twice, &once);
        let read = serde_json::to_string(&Document::from(&once)).unwrap();
        prop_assert_eq!(Finding::from(serde_json::from_str::<Document>(&read).unwrap()), once);
    }
}
