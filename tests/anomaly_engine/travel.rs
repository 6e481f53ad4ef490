//! One user in several countries.

use std::net::{IpAddr, Ipv4Addr};

use fastrand::Rng;
use tidegate::anomaly::engine::Engine;
use tidegate::anomaly::event::Kind;
use tidegate::anomaly::observation::{Observation, Outcome};
use tidegate::core::subject::Subject;

use crate::stand::{enforcing, micros, observation};
use crate::world::{Attack, Line, Shape, World};

const HOME: [u8; 2] = *b"DE";
const FAR: [u8; 2] = *b"BR";
/// When the users stop being at home, seconds.
const FROM: f64 = 200.0;

/// Users beside calm traffic, each with a request every few seconds.
struct Traveller {
    name: &'static str,
    next: f64,
    requests_away: u32,
    /// Where its so-manieth request since [`FROM`] comes from.
    country: fn(u32) -> [u8; 2],
}

impl Traveller {
    fn observe(&mut self, engine: &mut Engine, like: &Line, random: &mut Rng) {
        let at = self.next;
        self.next += 2.0 + 4.0 * random.f64();
        let country = if at < FROM { HOME } else { (self.country)(self.requests_away) };
        self.requests_away += u32::from(at >= FROM);
        let host = if country == HOME { 1 } else { 2 };
        let calm = Observation { outcome: Outcome::Allowed, status: Some(200), ..observation(like, Outcome::Allowed) };
        engine.observe(&Observation {
            at: micros(at),
            user: Some(self.name),
            address: Some(IpAddr::V4(Ipv4Addr::new(198, 51, 100, host))),
            user_agent: Some("traveller"),
            method: "GET",
            country: Some(country),
            ..calm
        });
    }
}

#[test]
fn only_who_is_in_two_countries_at_once_is_flagged() {
    let shape = Shape { begins: 1e6, ends: 1e6, span: FROM + 240.0, ..Shape::of(Attack::None, 701) };
    let mut engine = Engine::new(&enforcing());
    let mut random = Rng::with_seed(7);
    let traveller = |name, country| Traveller { name, next: 20.0, requests_away: 0, country };
    let mut travellers = [
        traveller("both", |request| if request % 2 == 0 { FAR } else { HOME }),
        traveller("gone", |_| FAR),
        // The phone's carrier sends one request through another country.
        traveller("carrier", |request| if request == 3 { FAR } else { HOME }),
    ];
    let mut flags = Vec::new();
    let mut acts = 0;
    let mut second = 1.0;
    for line in World::new(shape) {
        while line.at >= second {
            for event in engine.tick(micros(second)) {
                let Subject::User(user) = &event.subject else { continue };
                match event.kind {
                    Kind::Flag => flags.push((user.to_string(), second, event)),
                    Kind::Tighten { .. } | Kind::Block { .. } => acts += 1,
                    Kind::Release | Kind::Held => {}
                }
            }
            second += 1.0;
        }
        for traveller in &mut travellers {
            while traveller.next <= line.at {
                traveller.observe(&mut engine, &line, &mut random);
            }
        }
        engine.observe(&observation(&line, Outcome::Allowed));
    }
    let [(user, at, flag)] = &flags[..] else { panic!("{flags:?}") };
    assert_eq!(user, "both");
    assert!((FROM..FROM + 120.0).contains(at), "after {} s", at - FROM);
    assert!(format!("{flag:?}").contains("changes of country"), "{flag:?}");
    assert_eq!(acts, 0, "it is told, and does no harm");
}
