//! What the demo's engine has learned before the demo begins: calm traffic, simulated, and seen as decisions show it.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;

use crate::anomaly::engine::Engine;
use crate::anomaly::observation::{Observation, Outcome};
use crate::anomaly::simulate::{MAX_DURATION, Options, Record, Scenario, Simulation};
use crate::config::anomaly::Anomaly;
use crate::core::client::{MAX_USER, MAX_USER_AGENT, short_name, short_path};
use crate::core::clock::{Clock, Micros};

/// How much calm traffic the engine has seen.
pub const HISTORY: Duration = Duration::from_secs(600);

/// Shows an engine the calm traffic of the last ten minutes, which never was, up to the present. Gives what it knows
/// then, and the traffic that goes on from there.
pub fn learn(
    settings: &Anomaly,
    domain: &str,
    calm: &Options,
    clock: &impl Clock,
) -> anyhow::Result<(Bytes, Simulation)> {
    // Nothing is judged meanwhile, so that nothing is left out.
    let mut engine = Engine::new(&Anomaly { warm_up: HISTORY, ..settings.clone() });
    let start = clock.wall() - Micros::from(HISTORY);
    let duration = Micros::from(MAX_DURATION);
    let options = Options { scenario: Scenario::Calm, start, duration, ..calm.clone() };
    let mut simulation = Simulation::new(&options).context("simulating calm traffic")?;
    let mut tick = start + engine.interval();
    for record in simulation.by_ref() {
        while record.at >= tick {
            engine.tick(tick);
            tick = tick + engine.interval();
        }
        observe(&mut engine, &record, domain);
        if record.at >= clock.wall() {
            break;
        }
    }
    Ok((Bytes::from(engine.checkpoint()), simulation))
}

/// As a decision over gRPC shows it: how the request ended is not known.
fn observe(engine: &mut Engine, record: &Record, domain: &str) {
    let whole = record.observation(domain, Outcome::Allowed);
    let user = record.user.as_deref().map(|user| short_name(user, MAX_USER));
    let user_agent = short_name(&record.user_agent, MAX_USER_AGENT);
    engine.observe(&Observation {
        user: user.as_deref(),
        path: short_path(whole.path),
        user_agent: Some(&user_agent),
        status: None,
        bytes: None,
        ..whole
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anomaly::event::Kind;
    use crate::core::clock::SystemClock;

    #[test]
    fn what_is_learned_is_enough_to_find_a_flood_at_once() {
        let settings = Anomaly { warm_up: Duration::from_secs(10), ..Anomaly::default() };
        let options = Options { rate: 20.0, ..Options::default() };
        let clock = SystemClock::new();
        let (known, mut calm) = learn(&settings, "edge", &options, &clock).unwrap();
        let mut engine = Engine::resume(&settings, &known).unwrap();
        let address = "198.51.100.7".parse().unwrap();
        let mut at = calm.next().unwrap().at;
        let mut found = Vec::new();
        for _ in 0..5 {
            for _ in 0..100 {
                at = at + Micros::from_millis(10);
                let address = Some(address);
                engine.observe(&Observation {
                    at,
                    domain: "edge",
                    address,
                    method: "GET",
                    path: "/",
                    hits: 1,
                    ..Observation::default()
                });
            }
            found.extend(engine.tick(at));
        }
        assert!(found.iter().any(|event| event.kind == Kind::Flag), "{found:?}");
        let acted = found.iter().filter(|event| matches!(event.kind, Kind::Tighten { .. })).count();
        assert_eq!(acted, 1, "{found:?}");
        let lag = clock.wall() - calm.next().unwrap().at;
        assert!(lag < Micros::from_secs(30), "the history ends at the present: {lag:?}");
    }
}
