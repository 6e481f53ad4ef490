//! What holds actions back, in a town where some of those who came calmly before flood.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use tidegate::anomaly::engine::Engine;
use tidegate::anomaly::event::{Event, Kind};
use tidegate::anomaly::observation::{Observation, Outcome};
use tidegate::config::anomaly::Anomaly;
use tidegate::core::clock::Micros;
use tidegate::core::subject::Subject;

use crate::faults::acts;
use crate::stand::{enforcing, micros, observation};
use crate::world::Line;

const BEGINS: f64 = 150.0;

fn line(at: f64, number: u32, attack: bool) -> Line {
    Line {
        at,
        user: Some(format!("user-{number}")),
        address: Ipv4Addr::from(0x0a00_0000 + number).into(),
        method: "GET",
        path: ["/", "/search", "/news"][number as usize % 3].to_owned(),
        agent: format!("Browser/{}", number % 5),
        country: *b"DE",
        status: 200,
        bytes: 1_000,
        attack,
    }
}

/// A hundred visitors who come every three seconds, and others who come seldom, and flood later.
fn town(flooders: u32, ends: f64) -> Vec<Line> {
    let mut random = fastrand::Rng::with_seed(900);
    let mut lines = Vec::new();
    for number in 0..100 + flooders {
        let seldom = number >= 100;
        let mut at = random.f64() * 3.0;
        while at < ends {
            let floods = seldom && at >= BEGINS;
            lines.push(line(at, number, floods));
            at += match (floods, seldom) {
                (true, _) => 1.0 / 30.0,
                (_, true) => 15.0 + random.f64() * 10.0,
                (_, false) => 1.0 + random.f64() * 4.0,
            };
            if seldom && at > BEGINS && at < BEGINS + 30.0 && !floods {
                at = BEGINS;
            }
        }
    }
    lines.sort_by(|a, b| a.at.total_cmp(&b.at));
    lines
}

fn watch(settings: &Anomaly, lines: &[Line], answer: impl Fn(&Line) -> (u16, u64)) -> Vec<Event> {
    let mut engine = Engine::new(settings);
    let mut events = Vec::new();
    let mut second = 1.0;
    for line in lines {
        while line.at >= second {
            events.extend(engine.tick(micros(second)));
            second += 1.0;
        }
        let (status, millis) = answer(line);
        engine.observe(&Observation {
            status: Some(status),
            duration: Some(Micros::from_millis(millis)),
            ..observation(line, Outcome::Allowed)
        });
    }
    events
}

fn fine(_: &Line) -> (u16, u64) {
    (200, 20)
}

fn subjects<'a>(events: impl IntoIterator<Item = &'a Event>) -> HashSet<&'a Subject> {
    events.into_iter().map(|event| &event.subject).collect()
}

fn held<'a>(events: &'a [Event], why: &str) -> HashSet<&'a Subject> {
    let told =
        |event: &&Event| event.kind == Kind::Held && event.reasons.iter().any(|reason| reason.text.contains(why));
    subjects(events.iter().filter(told))
}

#[test]
fn the_gate_holds_what_would_touch_too_much_and_says_so() {
    let lines = town(30, 172.0);
    let mut settings = enforcing();
    (settings.policy.gate, settings.policy.brake) = (1.0, 1.0);
    assert_eq!(subjects(acts(&watch(&settings, &lines, fine))).len(), 30);
    // Each has some 1.4 permille of calm traffic; the beginning of its flood does not count.
    settings.policy.gate = 0.015;
    let few = watch(&settings, &lines, fine);
    let (limited, held) = (subjects(acts(&few)), held(&few, "all actions would touch"));
    assert!((8..=16).contains(&limited.len()), "{limited:?}");
    assert_eq!(limited.len() + held.len(), 30, "{held:?}");
}

#[test]
fn the_brake_holds_more_than_a_few_clients_of_calm_times() {
    let mut settings = enforcing();
    (settings.policy.gate, settings.policy.brake) = (1.0, 0.0);
    let events = watch(&settings, &town(10, 175.0), fine);
    assert_eq!(subjects(acts(&events)).len(), 5);
    assert_eq!(held(&events, "clients of calm times are limited already").len(), 5);
}

#[test]
fn no_more_actions_than_are_allowed_are_in_force() {
    let mut settings = enforcing();
    (settings.policy.gate, settings.policy.brake, settings.policy.max_actions) = (1.0, 1.0, 3);
    let events = watch(&settings, &town(10, 175.0), fine);
    assert_eq!(subjects(acts(&events)).len(), 3);
    let flags = events.iter().filter(|event| event.kind == Kind::Flag);
    assert_eq!(subjects(flags).len(), 3, "as many incidents are open at most");
}

#[test]
fn in_distress_is_acted_where_only_then_it_is_to_be() {
    let lines = town(3, 175.0);
    let mut settings = enforcing();
    // Each has some 1.5 permille of calm traffic.
    (settings.policy.only_in_distress, settings.policy.gate) = (true, 0.01);
    let attacked = |line: &Line| line.at >= BEGINS;
    let calm = watch(&settings, &lines, fine);
    assert!(acts(&calm).is_empty() && !held(&calm, "not in distress").is_empty(), "{calm:#?}");
    let errors = watch(&settings, &lines, |line| {
        let failed = attacked(line) && ((line.at * 1e4) as u64).is_multiple_of(3);
        (if failed { 503 } else { 200 }, 20)
    });
    assert_eq!(subjects(acts(&errors)).len(), 3, "{errors:#?}");
    let slow = watch(&settings, &lines, |line| (200, if attacked(line) { 400 } else { 20 }));
    assert_eq!(subjects(acts(&slow)).len(), 3, "{slow:#?}");
}

#[test]
fn after_the_learning_pause_a_lasting_surge_is_what_is_usual() {
    // The visitors of a new country come with a program of their own, and stay.
    let mut lines = town(0, 600.0);
    for number in 0..2_250 {
        let begins = BEGINS + f64::from(number) * 0.2;
        for request in 0..3 {
            let at = begins + f64::from(request) * 4.0;
            let agent = "App/1".to_owned();
            lines.push(Line { agent, country: *b"FR", user: None, ..line(at, 10_000 + number, true) });
        }
    }
    lines.sort_by(|a, b| a.at.total_cmp(&b.at));
    let late = |pause: u64| {
        let settings = Anomaly { learning_pause: Duration::from_secs(pause), ..enforcing() };
        let events = watch(&settings, &lines, fine);
        let found = |from: f64, to: f64| {
            let within = |event: &&&Event| event.at >= micros(from) && event.at < micros(to);
            acts(&events).iter().filter(within).count()
        };
        (found(BEGINS, 250.0), found(500.0, 600.0))
    };
    let (begins, goes_on) = late(14_400);
    assert!(begins > 0 && goes_on > 0, "taken for an attack: {begins} {goes_on}");
    let (begins, goes_on) = late(60);
    assert!(begins > 0 && goes_on == 0, "learned: {begins} {goes_on}");
}

/// Quiet clients of an attacker do not make a busy one strange.
#[test]
fn who_poisons_what_is_usual_has_no_victim() {
    let victims = |poisoned: bool| {
        let mut lines = town(0, 520.0);
        if poisoned {
            for number in 0..300_u32 {
                for request in 0..20_u32 {
                    let at = 1.0 + f64::from(number) * 0.05 + f64::from(request) * 22.0;
                    lines.push(line(at, 20_000 + number, false));
                }
            }
        }
        // A busy visitor, twice as fast as the fastest of the others.
        let mut at = 440.0;
        while at < 515.0 {
            lines.push(line(at, 77_777, false));
            at += 0.5;
        }
        lines.sort_by(|a, b| a.at.total_cmp(&b.at));
        let events = watch(&enforcing(), &lines, fine);
        acts(&events).len()
    };
    assert_eq!((victims(false), victims(true)), (0, 0));
}
