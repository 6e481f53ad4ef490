//! Things to send.

use std::sync::Arc;

use bytes::Bytes;
use tidegate::anomaly::bus::{Checkpoint, Deed, Position, Standing};
use tidegate::anomaly::event::{Event, Feedback, Kind, Reason, Verdict};
use tidegate::core::adjustment::{Adjustment, Effect};
use tidegate::core::clock::Micros;
use tidegate::core::subject::{Attribute, Subject};

pub const HOUR: u64 = 3_600_000_000;
pub const NOW: Micros = Micros(1_700_000_000_000_000);

pub fn event(incident: u64) -> Deed {
    let group = [(Attribute::Path, "/login".into()), (Attribute::UserAgent, "curl".into())];
    let kinds = [
        Kind::Flag,
        Kind::Tighten {
            effect: Effect::Factor { factor: 0.25, floor: 1 },
            expires: Micros(NOW.0 + HOUR),
            shadow: true,
        },
        Kind::Block { expires: NOW, shadow: false },
        Kind::Held,
        Kind::Release,
    ];
    let subjects =
        [Subject::User("alice".into()), Subject::Address([203, 0, 113, 7].into()), Subject::Group(group.into())];
    let reason = |feature: &'static str| Reason {
        feature: feature.into(),
        usual: 0.4,
        present: 48.0,
        text: "48 requests a second, usually 0.4".to_owned(),
    };
    Deed::Event(Event {
        at: NOW,
        incident,
        domain: "edge".to_owned(),
        subject: subjects[incident as usize % 3].clone(),
        kind: kinds[incident as usize % 5],
        score: 0.9,
        requests: 48,
        reasons: vec![reason("rate"), reason("paths")],
    })
}

pub fn feedback(incident: u64) -> Deed {
    let subject = Subject::User("alice".into());
    Deed::Feedback(Feedback { at: NOW, incident, domain: "edge".to_owned(), subject, verdict: Verdict::Dismissed })
}

pub fn standing(count: u64) -> Standing {
    let adjustment = |number: u64| Adjustment {
        id: Arc::from(number.to_string()),
        subject: Subject::User(format!("user-{number}").into()),
        domain: Some("edge".into()),
        effect: Effect::Limit { rate: 1.5, burst: 3 },
        expires: Micros(NOW.0 + HOUR),
        shadow: false,
    };
    Standing { position: Position { millis: 5, number: 7 }, at: NOW, adjustments: (0..count).map(adjustment).collect() }
}

/// Bytes that cannot be compressed.
pub fn noise(bytes: usize, seed: u64) -> Bytes {
    let mut rng = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| rng.u8(..)).take(bytes).collect()
}

pub fn checkpoint(bytes: usize, seed: u64) -> Checkpoint {
    let (observations, deeds) = (Position { millis: seed, number: 1 }, Position { millis: 2, number: seed });
    Checkpoint { observations, deeds, engine: noise(bytes, seed) }
}
