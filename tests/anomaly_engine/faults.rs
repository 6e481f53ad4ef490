//! What the engine does when things are not as they should be; and what the settings hold back.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};

use tidegate::anomaly::engine::Engine;
use tidegate::anomaly::event::{Event, Kind};
use tidegate::anomaly::observation::{Observation, Outcome};
use tidegate::config::anomaly::Anomaly;
use tidegate::core::clock::Micros;
use tidegate::core::subject::{Attribute, Subject};

use crate::stand::{enforcing, micros, observation, run};
use crate::world::{Attack, Line, Shape, World};

/// A world with a flood from one source after two minutes and a half.
fn flood(seed: u64) -> Shape {
    Shape { begins: 150.0, ends: 180.0, span: 185.0, flood: 120.0, ..Shape::of(Attack::SingleFlood, seed) }
}

/// Runs lines through an engine that is not obeyed, on a clock that `wall` makes of the world's seconds.
pub fn watch(engine: &mut Engine, lines: impl Iterator<Item = Line>, wall: impl Fn(f64) -> Micros) -> Vec<Event> {
    let mut events = Vec::new();
    let mut second = 1.0;
    for line in lines {
        while line.at >= second {
            events.extend(engine.tick(wall(second)));
            second += 1.0;
        }
        engine.observe(&Observation { at: wall(line.at), ..observation(&line, Outcome::Allowed) });
    }
    events
}

pub fn acts(events: &[Event]) -> Vec<&Event> {
    events.iter().filter(|event| matches!(event.kind, Kind::Tighten { .. } | Kind::Block { .. })).collect()
}

#[test]
fn the_same_traffic_gives_the_same_events() {
    let shape = Shape {
        sources: 1_500,
        gap: 5.0,
        begins: 120.0,
        ends: 160.0,
        span: 165.0,
        ..Shape::of(Attack::DistributedFlood, 601)
    };
    let (one, two) = (run(shape, &enforcing()), run(shape, &enforcing()));
    assert!(!one.events.is_empty());
    assert_eq!(one.events, two.events);
}

#[test]
fn clocks_that_step_do_not_matter() {
    for step in [-3_600.0, -40.0, 40.0, 3_600.0 * 5.0] {
        let wall = |at: f64| micros(at + if at > 100.0 { step + 40_000.0 } else { 40_000.0 });
        let events = watch(&mut Engine::new(&enforcing()), World::new(flood(602)), wall);
        let acts = acts(&events);
        let first = acts.first().unwrap_or_else(|| panic!("no action with a step of {step} s"));
        assert!(first.at >= wall(150.0) && first.at <= wall(156.0), "a step of {step} s: {first:?}");
        assert!(acts.iter().all(|act| act.subject == first.subject), "a step of {step} s: {acts:#?}");
    }
}

#[test]
fn what_is_done_ends_by_itself() {
    let shape = Shape {
        begins: 120.0,
        ends: 140.0,
        span: 640.0,
        sessions: 2.0,
        flood: 100.0,
        ..Shape::of(Attack::SingleFlood, 603)
    };
    let found = run(shape, &enforcing());
    let attacker = found.events.iter().find(|event| matches!(event.kind, Kind::Tighten { .. })).unwrap();
    let of_it: Vec<_> = found.events.iter().filter(|event| event.incident == attacker.incident).collect();
    assert_eq!(of_it.first().unwrap().kind, Kind::Flag);
    assert_eq!(of_it.last().unwrap().kind, Kind::Release, "{of_it:#?}");
    let expired = of_it.last().unwrap().at.0 - of_it[of_it.len() - 2].at.0;
    assert!(expired <= 301_000_000, "not renewed without evidence: {expired}");
    for event in of_it.iter().filter(|event| event.kind != Kind::Release) {
        assert!(!event.reasons.is_empty() && event.reasons.iter().all(|reason| !reason.text.is_empty()));
        assert!((0.0..=1.0).contains(&event.score));
    }
}

#[test]
fn settings_hold_actions_back() {
    let attacker = "30.0.0.1".to_owned();
    let with = |change: fn(&mut Anomaly, String)| {
        let mut settings = enforcing();
        change(&mut settings, attacker.clone());
        run(flood(604), &settings).events
    };
    assert!(!acts(&with(|_, _| {})).is_empty());

    let shadow = with(|settings, _| settings.shadow = true);
    let told = acts(&shadow);
    assert!(!told.is_empty());
    assert!(
        told.iter().all(|event| {
            matches!(event.kind, Kind::Tighten { shadow: true, .. } | Kind::Block { shadow: true, .. })
        })
    );

    let allowed = with(|settings, address| settings.allow.networks.push(address));
    assert!(allowed.is_empty(), "{allowed:#?}");

    let protected = with(|settings, _| settings.protect.networks.push("30.0.0.0/8".to_owned()));
    assert!(protected.iter().any(|event| event.kind == Kind::Flag));
    assert!(protected.iter().any(|event| event.kind == Kind::Held && event.reasons[0].text.contains("protected")));
    assert!(acts(&protected).is_empty());

    let calm_service = with(|settings, _| settings.policy.only_in_distress = true);
    assert!(calm_service.iter().any(|event| event.kind == Kind::Held) && acts(&calm_service).is_empty());

    let flags_only = with(|settings, _| settings.policy.tighten = 1.0);
    assert!(flags_only.iter().any(|event| event.kind == Kind::Flag) && acts(&flags_only).is_empty());
}

#[test]
fn a_flood_from_a_shared_address_leaves_its_users_alone() {
    // The flood comes from an office's address, and has nothing of its own but that and that it names no user.
    let shape = Shape { nat: true, overlap: 1.0, ..flood(605) };
    let found = run(shape, &enforcing());
    let acts = acts(&found.events);
    let of_address = |subject: &Subject| match subject {
        Subject::Group(attributes) => attributes.iter().any(|(attribute, _)| *attribute == Attribute::Address),
        _ => false,
    };
    assert!(!acts.is_empty() && acts.iter().all(|event| of_address(&event.subject)), "{:#?}", found.events);
    assert!(found.acted.unwrap() < 5.0);
    assert_eq!(found.adjusted_share(), 0.0);
}

/// There are more attackers than places, so all of them give way to others, and come back, while they are blocked.
#[test]
fn who_gave_way_and_comes_back_is_not_blocked_again() {
    let settings = Anomaly { max_clients: 1_500, ..enforcing() };
    let shape = Shape {
        sources: 3_000,
        gap: 5.0,
        overlap: 0.5,
        begins: 120.0,
        ends: 160.0,
        span: 165.0,
        ..Shape::of(Attack::DistributedFlood, 605)
    };
    let mut times: HashMap<u64, usize> = HashMap::new();
    for event in run(shape, &settings).events {
        *times.entry(event.incident).or_default() += usize::from(matches!(event.kind, Kind::Block { .. }));
    }
    assert!(times.len() > 1_500, "{}", times.len());
    assert!(times.values().all(|times| *times <= 1), "{:?}", times.values().max());
}

#[test]
fn a_million_addresses_in_a_minute_stay_within_memory() {
    let settings = Anomaly { max_clients: 5_000, ..enforcing() };
    let mut engine = Engine::new(&settings);
    let mut random = fastrand::Rng::with_seed(606);
    let mut acted = HashSet::new();
    for millisecond in 0..150_000_u32 {
        let at = micros(f64::from(millisecond) / 1e3);
        if millisecond % 1_000 == 0 {
            let events = engine.tick(at);
            acted.extend(acts(&events).into_iter().map(|event| event.subject.clone()));
        }
        // A hundred visitors; then, besides them, addresses that were never seen, with anybody's agent.
        let visitor = random.u32(..100);
        let mut requests = vec![Ipv4Addr::from(0x0a00_0000 + visitor)];
        if millisecond >= 90_000 {
            requests.extend((0..17).map(|_| Ipv4Addr::from(0x3000_0000 + random.u32(..0x0fff_ffff))));
        }
        for address in requests {
            engine.observe(&Observation {
                at,
                domain: "edge",
                user: None,
                address: Some(IpAddr::from(address)),
                method: "GET",
                path: "/",
                user_agent: Some(["one", "two"][visitor as usize % 2]),
                country: None,
                asn: None,
                status: Some(200),
                bytes: None,
                duration: None,
                hits: 1,
                outcome: Outcome::Allowed,
            });
        }
    }
    assert!(engine.clients() <= 5_000);
    let visitor =
        |subject: &&Subject| matches!(subject, Subject::Address(address) if address.to_string().starts_with("10."));
    assert_eq!(acted.iter().filter(visitor).count(), 0, "visitors stay known, and are left alone");
}

#[test]
fn more_domains_than_may_be_watched_are_left_alone() {
    let settings = Anomaly { max_domains: 2, ..enforcing() };
    let mut engine = Engine::new(&settings);
    let line = World::new(Shape::of(Attack::None, 607)).next().unwrap();
    for domain in ["a", "b", "c", "c", "a"] {
        engine.observe(&Observation { domain, ..observation(&line, Outcome::Allowed) });
    }
    assert_eq!(engine.unwatched(), 2);
}

/// A client that grows so slowly that it is its own usual makes neither itself nor others usual.
#[test]
fn a_mimic_does_not_teach_the_engine() {
    let first_action = |mimic: bool| {
        let shape = Shape {
            begins: 700.0,
            ends: 712.0,
            span: 715.0,
            sessions: 1.0,
            flood: 60.0,
            ..Shape::of(Attack::SingleFlood, 608)
        };
        let mut lines: Vec<Line> = World::new(shape).collect();
        if mimic {
            let like = lines.iter().find(|line| line.user.is_some() && !line.attack).cloned().unwrap();
            let mut at = 1.0;
            while at < 714.0 {
                let address = Ipv4Addr::new(40, 0, 0, 1).into();
                lines.push(Line { at, user: Some("mimic".to_owned()), address, ..like.clone() });
                // From one in five seconds to 30 a second.
                at += 5.0 * (1.0_f64 / 150.0).powf(at / 700.0);
            }
            lines.sort_by(|a, b| a.at.total_cmp(&b.at));
        }
        let events = watch(&mut Engine::new(&enforcing()), lines.into_iter(), micros);
        let flagged = |subject: &Subject| {
            events.iter().find(|event| event.subject == *subject && event.kind == Kind::Flag).map(|event| event.at)
        };
        let flooded: IpAddr = Ipv4Addr::new(30, 0, 0, 1).into();
        let of_flood =
            acts(&events).iter().find(|event| event.subject == Subject::Address(flooded)).map(|event| event.at);
        (of_flood, flagged(&Subject::User("mimic".into())))
    };
    let (without, _) = first_action(false);
    let (with, mimic) = first_action(true);
    let (without, with) = (without.unwrap(), with.unwrap());
    assert!(with.0.abs_diff(without.0) <= 4_000_000, "the flood is found about as soon: {without} {with}");
    assert!(mimic.is_some(), "and the mimic is found itself");
}
