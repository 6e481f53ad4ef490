//! What people say, and what the engine makes of it.

use std::time::Duration;

use tidegate::anomaly::engine::Engine;
use tidegate::anomaly::event::{Event, Feedback, Kind, Verdict};
use tidegate::config::anomaly::Anomaly;

use crate::faults::acts;
use crate::goes_on::watch;
use crate::stand::{enforcing, micros};
use crate::world::{Attack, Line, Shape, World};

fn lines(seed: u64, ends: f64) -> Vec<Line> {
    let shape = Shape { begins: 150.0, ends, span: ends + 5.0, flood: 120.0, ..Shape::of(Attack::SingleFlood, seed) };
    World::new(shape).collect()
}

fn say(of: &Event, at: f64, verdict: Verdict) -> Feedback {
    let (incident, domain, subject) = (of.incident, of.domain.clone(), of.subject.clone());
    Feedback { at: micros(at), incident, domain, subject, verdict }
}

/// Runs until somebody is limited, and says a word about it.
fn limited(settings: &Anomaly, lines: &[Line], verdict: Verdict) -> (Engine, Event, Vec<Event>) {
    let mut engine = Engine::new(settings);
    let events = watch(&mut engine, lines, 0.0, 160.0);
    let act = (*acts(&events).last().unwrap()).clone();
    let said = engine.hear(&say(&act, 160.0, verdict));
    (engine, act, said)
}

#[test]
fn who_is_dismissed_is_released_and_left_alone_for_a_while() {
    let lines = lines(800, 300.0);
    let mut settings = enforcing();
    settings.policy.dismissed_for = Duration::from_secs(60);
    let (engine, act, said) = limited(&settings, &lines, Verdict::Dismissed);
    assert_eq!(said.len(), 1);
    assert_eq!((said[0].kind, said[0].incident, &said[0].subject), (Kind::Release, act.incident, &act.subject));

    // It holds after a checkpoint, too.
    for mut engine in [Engine::resume(&settings, &engine.checkpoint()).unwrap(), engine] {
        let quiet = watch(&mut engine, &lines, 160.0, 215.0);
        assert_eq!(acts(&quiet), Vec::<&Event>::new(), "left alone");
        let after = watch(&mut engine, &lines, 215.0, 240.0);
        let act = acts(&after);
        assert!(act.first().is_some_and(|event| event.at >= micros(219.0)), "its time is over: {after:#?}");
    }
}

#[test]
fn who_is_dismissed_is_told_of_when_it_becomes_worse() {
    let lines = lines(801, 300.0);
    let (mut engine, act, _) = limited(&enforcing(), &lines, Verdict::Dismissed);
    // The same, and it comes sixty times as fast.
    let worse = lines.iter().flat_map(|line| {
        let times = if line.attack && line.at > 170.0 { 60 } else { 1 };
        std::iter::repeat_n(line.clone(), times)
    });
    let worse: Vec<Line> = worse.collect();
    let found = watch(&mut engine, &worse, 160.0, 190.0);
    let of_it: Vec<&Event> = found.iter().filter(|event| event.subject == act.subject).collect();
    assert_eq!(acts(&found), Vec::<&Event>::new());
    let flag = of_it.first().unwrap();
    assert!(flag.kind == Kind::Flag && flag.at >= micros(170.0) && flag.incident > act.incident, "{flag:#?}");
    assert!(of_it[1..].iter().all(|event| event.kind == Kind::Held && event.reasons[0].text.contains("person")));
}

#[test]
fn who_is_confirmed_is_limited_for_longer() {
    let lines = lines(802, 170.0);
    let ends = |verdict: Option<Verdict>| {
        let mut engine = Engine::new(&enforcing());
        let events = watch(&mut engine, &lines, 0.0, 160.0);
        let act = (*acts(&events).last().unwrap()).clone();
        if let Some(verdict) = verdict {
            assert_eq!(engine.hear(&say(&act, 160.0, verdict)), [], "nothing ends");
        }
        let events = watch(&mut engine, &lines, 160.0, 1_400.0);
        let end = events.iter().find(|event| event.kind == Kind::Release && event.incident == act.incident);
        end.unwrap_or_else(|| panic!("no end: {events:#?}")).at.0
    };
    let (without, with) = (ends(None), ends(Some(Verdict::Confirmed)));
    assert!(with > without, "{without} {with}");
}

#[test]
fn a_word_about_what_nobody_knows_is_remembered() {
    let lines = lines(803, 200.0);
    let (_, act, _) = limited(&enforcing(), &lines, Verdict::Confirmed);
    let mut engine = Engine::new(&enforcing());
    assert_eq!(engine.hear(&say(&act, 0.5, Verdict::Dismissed)), []);
    let found = watch(&mut engine, &lines, 0.0, 175.0);
    assert!(acts(&found).iter().all(|event| event.subject != act.subject), "{found:#?}");
}
