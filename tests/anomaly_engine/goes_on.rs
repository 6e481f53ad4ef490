//! An engine that goes on from a checkpoint, and from what others did.

use std::collections::{HashMap, HashSet};

use sha2::{Digest, Sha256};
use tidegate::anomaly::engine::Engine;
use tidegate::anomaly::engine::checkpoint::CheckpointError;
use tidegate::anomaly::event::{Event, Kind};
use tidegate::anomaly::features::client::{Brief, Seen};
use tidegate::anomaly::features::clients::{Clients, Who};
use tidegate::anomaly::features::walk::Walk;
use tidegate::anomaly::observation::Outcome;
use tidegate::config::anomaly::Anomaly;
use tidegate::core::clock::Micros;
use tidegate::core::subject::Subject;

use crate::stand::{Outcomes, enforcing, micros, observation, run, run_cut};
use crate::world::{Attack, Line, Shape, World};

const HEADER: usize = 50;

fn small(attack: Attack, seed: u64) -> Shape {
    Shape {
        begins: 150.0,
        ends: 250.0,
        span: 260.0,
        sources: 1_500,
        gap: 6.0,
        flood: 120.0,
        overlap: if seed.is_multiple_of(2) { 0.0 } else { 0.5 },
        ..Shape::of(attack, seed)
    }
}

/// Runs an engine over lines from one second to another, nobody obeying.
pub fn watch(engine: &mut Engine, lines: &[Line], from: f64, to: f64) -> Vec<Event> {
    let mut events = Vec::new();
    let mut second = from + 1.0;
    for line in lines.iter().filter(|line| line.at >= from && line.at < to) {
        while line.at >= second {
            events.extend(engine.tick(micros(second)));
            second += 1.0;
        }
        engine.observe(&observation(line, Outcome::Allowed));
    }
    while second <= to {
        events.extend(engine.tick(micros(second)));
        second += 1.0;
    }
    events
}

/// What a flood from one source has left after so many seconds.
fn flooded(seed: u64, seconds: f64) -> (Vec<Line>, Engine, Vec<Event>) {
    let lines: Vec<Line> = World::new(small(Attack::SingleFlood, seed)).collect();
    let mut engine = Engine::new(&enforcing());
    let events = watch(&mut engine, &lines, 0.0, 150.0 + seconds);
    (lines, engine, events)
}

fn resume(engine: &Engine, settings: &Anomaly) -> Engine {
    Engine::resume(settings, &engine.checkpoint()).unwrap()
}

/// The incident of a subject that is open after these events, and the last of them.
fn open(events: &[Event]) -> HashMap<Subject, Event> {
    let mut open = HashMap::new();
    for event in events {
        if event.kind == Kind::Release {
            open.remove(&event.subject);
        } else {
            open.insert(event.subject.clone(), event.clone());
        }
    }
    open
}

#[test]
fn what_is_calm_stays_calm_wherever_it_is_cut() {
    for (attack, seed) in
        [(Attack::None, 700), (Attack::None, 701), (Attack::FlashCrowd, 702), (Attack::FlashCrowd, 703)]
    {
        let lines: Vec<Line> = World::new(small(attack, seed)).collect();
        let mut engine = Engine::new(&enforcing());
        let mut all = Vec::new();
        let mut cuts = Vec::new();
        for step in 0..26 {
            let from = f64::from(step) * 10.0;
            all.extend(watch(&mut engine, &lines, from, from + 10.0));
            if [3, 7, 10, 14, 16, 19].contains(&step) {
                cuts.push((from + 10.0, engine.checkpoint()));
            }
        }
        for (cut, bytes) in cuts {
            let mut resumed = Engine::resume(&enforcing(), &bytes).unwrap();
            for event in watch(&mut resumed, &lines, cut, 260.0) {
                let same = |other: &&Event| other.subject == event.subject && other.kind == event.kind;
                assert!(all.iter().any(|other| same(&other)), "{attack:?} seed {seed} cut at {cut}: {event:#?}");
            }
        }
    }
}

#[test]
fn an_attack_is_stopped_wherever_it_is_cut() {
    let attacks =
        [Attack::SingleFlood, Attack::DistributedFlood, Attack::Stuffing, Attack::SpreadStuffing, Attack::Pulsing];
    for (number, attack) in (0_u64..).zip(attacks) {
        let shape = small(attack, 710 + number);
        let whole = run(shape, &enforcing());
        let cut = run_cut(shape, &enforcing(), &[100.0, 151.0, 155.0, 163.0, 171.0, 190.0, 220.0]);
        let shares = |found: &Outcomes| (found.late_share(), found.legit_share());
        assert!(cut.late_share() >= whole.late_share() - 0.03, "{attack:?}: {:?} {:?}", shares(&cut), shares(&whole));
        assert!(
            cut.legit_share() <= whole.legit_share() + 0.002,
            "{attack:?}: {:?} {:?}",
            shares(&cut),
            shares(&whole)
        );
        let mut open: HashMap<&Subject, u64> = HashMap::new();
        let mut ids = HashSet::new();
        for event in &cut.events {
            match event.kind {
                Kind::Flag => {
                    assert!(open.insert(&event.subject, event.incident).is_none(), "{attack:?}: twice {event:#?}");
                    assert!(ids.insert(event.incident), "{attack:?}: a number that was given before: {event:#?}");
                }
                _ => assert_eq!(open.get(&event.subject), Some(&event.incident), "{attack:?}: {event:#?}"),
            }
            if event.kind == Kind::Release {
                open.remove(&event.subject);
            }
        }
    }
}

#[test]
fn what_is_open_is_not_found_again() {
    for (seed, seconds) in [(720, 1.0), (720, 3.0), (721, 12.0), (722, 60.0)] {
        let (lines, mut engine, events) = flooded(seed, seconds);
        let mut resumed = resume(&engine, &enforcing());
        assert_eq!(resumed.clients(), engine.clients());
        let at = 150.0 + seconds;
        let (whole, cut) = (watch(&mut engine, &lines, at, at + 30.0), watch(&mut resumed, &lines, at, at + 30.0));
        let brief = |events: &[Event]| -> Vec<_> {
            events.iter().map(|event| (event.at, event.incident, event.subject.clone(), event.kind)).collect()
        };
        assert_eq!(brief(&whole), brief(&cut), "seed {seed}, {seconds} s after the beginning, {:#?}", open(&events));
    }
}

#[test]
fn a_checkpoint_of_a_checkpoint_is_the_same() {
    let (_, engine, _) = flooded(723, 20.0);
    let bytes = engine.checkpoint();
    assert_eq!(Engine::resume(&enforcing(), &bytes).unwrap().checkpoint(), bytes);
    let nothing = Engine::new(&enforcing()).checkpoint();
    assert_eq!(Engine::resume(&enforcing(), &nothing).unwrap().clients(), 0);
}

#[test]
fn less_room_is_room_for_the_most_active() {
    let (lines, engine, events) = flooded(724, 20.0);
    let settings = Anomaly { max_clients: 1_000, ..enforcing() };
    let many = engine.clients();
    let few = Anomaly { max_clients: many / 3, ..enforcing() };
    let mut resumed = resume(&engine, &few);
    assert_eq!(resumed.clients(), many / 3);
    let again = watch(&mut resumed, &lines, 170.0, 190.0);
    let open = open(&events);
    assert!(!open.is_empty());
    for event in again.iter().filter(|event| event.kind == Kind::Flag) {
        assert!(!open.contains_key(&event.subject), "who is suspected stays known: {event:#?}");
    }
    let none = Anomaly { max_domains: 1, ..settings };
    let mut two = resume(&engine, &enforcing());
    let line = World::new(small(Attack::None, 1)).next().unwrap();
    let other = observation(&line, Outcome::Allowed);
    two.observe(&tidegate::anomaly::observation::Observation { domain: "other", ..other });
    let one = resume(&two, &none);
    assert_eq!(one.clients(), many.min(1_000), "the domain with the most requests stays");
}

#[test]
fn after_a_long_absence_what_is_usual_is_known_and_nothing_is_open() {
    let (lines, engine, events) = flooded(725, 20.0);
    let open = open(&events);
    assert!(open.values().any(|event| matches!(event.kind, Kind::Tighten { .. } | Kind::Block { .. })), "{events:#?}");
    let mut resumed = resume(&engine, &enforcing());
    // Six hours later calm visitors come, and after a minute and a half the flood.
    let later = |line: &Line, by: f64| Line { at: line.at + by, ..line.clone() };
    let calm = lines.iter().filter(|line| !line.attack && line.at < 150.0);
    let flood = lines.iter().filter(|line| line.attack && line.at < 170.0);
    let six = 6.0 * 3_600.0;
    let mut back: Vec<Line> =
        calm.map(|line| later(line, six)).chain(flood.map(|line| later(line, six - 50.0))).collect();
    back.sort_by(|a, b| a.at.total_cmp(&b.at));
    let found = watch(&mut resumed, &back, six, six + 130.0);
    let released: HashSet<_> =
        found.iter().take_while(|event| event.kind == Kind::Release).map(|event| event.incident).collect();
    assert_eq!(released, open.values().map(|event| event.incident).collect(), "what was open ends at once");
    let first = found.iter().find(|event| event.kind == Kind::Flag).unwrap();
    assert!(open.contains_key(&first.subject) && first.at >= micros(six + 100.0), "{first:#?}");
    assert!(first.at <= micros(six + 105.0), "what is usual was still known: {first:#?}");
    assert!(open.values().all(|event| event.incident < first.incident));
}

#[test]
fn what_others_did_is_not_done_again() {
    for known in [true, false] {
        let (lines, engine, before) = flooded(726, -5.0);
        assert!(before.is_empty());
        let mut leader = resume(&engine, &enforcing());
        let deeds = watch(&mut leader, &lines, 145.0, 175.0);
        let open = open(&deeds);
        assert!(!open.is_empty());
        // The next one has the checkpoint from before it all, or nothing; and the deeds.
        let mut next = if known { resume(&engine, &enforcing()) } else { Engine::new(&enforcing()) };
        deeds.iter().for_each(|event| next.adopt(event));
        let again = watch(&mut next, &lines, 145.0, 195.0);
        for event in &again {
            let of_open = open.get(&event.subject).map(|event| event.incident);
            assert_eq!(of_open, Some(event.incident), "{event:#?}");
            assert!(event.kind != Kind::Flag, "found before: {event:#?}");
        }
        // What ends there ends here.
        let ends: Vec<Event> =
            open.values().map(|event| Event { kind: Kind::Release, at: micros(195.0), ..event.clone() }).collect();
        ends.iter().for_each(|event| next.adopt(event));
        let fresh = watch(&mut next, &lines, 195.0, 215.0);
        if known {
            let flag = fresh.iter().find(|event| event.kind == Kind::Flag).unwrap();
            assert!(open.values().all(|event| event.incident < flag.incident), "its number is new: {flag:#?}");
        }
    }
}

#[test]
fn clients_take_no_more_room_than_they_are_given() {
    let mut clients = Clients::new(20_000, 1);
    let second = |second: u64| Micros::from_secs(1_000_000 + second);
    for number in 0..20_000_u64 {
        // One in a hundred comes more often than others; those come a long time ago, or just now.
        let times = if number % 100 == 0 { 20 } else { 1 };
        for time in 0..times {
            let now = second(if number % 2 == 0 { 5_000 + time } else { time });
            let (place, _) = clients.enter(number, now, || Who::User(format!("user-{number}").into()));
            let client = clients.get_mut(place).unwrap();
            client.suspected = number == 7;
            client.observe(&seen(now), &Walk::default(), true);
        }
    }
    let now = second(5_100);
    let bytes = |briefs: &[Brief]| briefs.iter().map(Brief::bytes).sum::<usize>();
    let (all, _) = clients.briefs(now, None, usize::MAX);
    let whole = bytes(&all);
    println!("{} bytes a client", whole / all.len());
    assert_eq!(all.len(), 20_000);
    let (shorter, _) = clients.briefs(now, None, whole - 1);
    assert!(shorter.len() == 20_000 && bytes(&shorter) < whole);
    let (few, positions) = clients.briefs(now, None, whole / 10);
    assert!(bytes(&few) <= whole / 10 && few.len() > 1_000, "{}", few.len());
    let kept = |number: u64| clients.find(number).and_then(|place| positions[place.slot as usize]).is_some();
    assert!(kept(7), "who is suspected stays");
    assert!((0..20_000).step_by(100).all(kept), "who comes often stays");
    let (back, mut resumed) = (few.into_iter().zip(1..).map(|(brief, key)| (key, brief)), Clients::new(300, 1));
    let back: Vec<(u64, Brief)> = back.collect();
    let places = resumed.take_back(&back, now);
    assert_eq!((resumed.len(), places.iter().flatten().count()), (300, 300));
}

fn seen(now: Micros) -> Seen {
    Seen {
        now,
        half: (now.0 / 300_000_000) as u32,
        path: 2,
        path_hash: 3 << 60,
        number: None,
        agent: 2,
        agent_hash: 5 << 60,
        country: 2,
        asn: 0,
        writes: Some(false),
        status: Some(200),
        bytes: Some(1_000),
        outcome: Outcome::Allowed,
        address_hash: 7 << 60,
        fresh_user: false,
    }
}

/// A checkpoint whose body was changed by somebody who can count.
fn forged(bytes: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let length = u32::from_le_bytes(bytes[14..18].try_into().unwrap()) as usize;
    let mut body = lz4_flex::block::decompress(&bytes[HEADER..], length).unwrap();
    change(&mut body);
    let packed = lz4_flex::block::compress(&body);
    let mut forged = bytes[..14].to_vec();
    forged.extend((body.len() as u32).to_le_bytes());
    forged.extend(Sha256::digest(&packed));
    forged.extend(packed);
    forged
}

#[test]
fn what_is_no_checkpoint_is_refused_with_what_is_wrong() {
    let bytes = flooded(727, 5.0).1.checkpoint();
    let refused = |bytes: &[u8]| Engine::resume(&enforcing(), bytes).map(|engine| engine.clients()).unwrap_err();
    assert_eq!(refused(b""), CheckpointError::NotACheckpoint);
    assert_eq!(refused(b"TGAM and more"), CheckpointError::NotACheckpoint);
    let changed = |at: usize| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        bytes
    };
    assert_eq!(refused(&changed(4)), CheckpointError::Version { found: 0 });
    assert_eq!(refused(&changed(7)), CheckpointError::OtherFeatures);
    assert_eq!(refused(&bytes[..30]), CheckpointError::Damaged("it ends too early"));
    for at in [20, HEADER, bytes.len() - 1] {
        assert_eq!(refused(&changed(at)), CheckpointError::Damaged("its checksum is another"), "byte {at}");
    }
    let mut long = bytes.clone();
    long[14..18].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(refused(&long), CheckpointError::TooLarge { .. }));
    assert_eq!(refused(&forged(&bytes, |body| body.push(0))), CheckpointError::Damaged("there is more behind its end"));
    assert_eq!(refused(&forged(&bytes, |body| body.truncate(900))), CheckpointError::Damaged("it cannot be read"));
}

/// Whoever can write where checkpoints are kept can at most make an engine wrong.
#[test]
fn forged_checkpoints_make_no_engine_panic() {
    let (lines, engine, _) = flooded(728, 5.0);
    let bytes = engine.checkpoint();
    let lines: Vec<Line> = lines.into_iter().filter(|line| line.at >= 155.0 && line.at < 160.0).collect();
    let mut random = fastrand::Rng::with_seed(729);
    let mut went_on = 0;
    for round in 0..120 {
        let forged = forged(&bytes, |body| {
            for _ in 0..1 + round % 4 {
                // The places of all kinds: beginnings and ends of lists are rare among many numbers.
                let at = if round % 2 == 0 { random.usize(..body.len()) } else { random.usize(..4_000) };
                body[at] = if random.bool() { random.u8(..) } else { 0xff };
            }
        });
        if let Ok(mut engine) = Engine::resume(&enforcing(), &forged) {
            watch(&mut engine, &lines, 155.0, 160.0);
            let again = engine.checkpoint();
            Engine::resume(&enforcing(), &again).unwrap();
            went_on += 1;
        }
    }
    println!("{went_on} of 120 went on");
}
