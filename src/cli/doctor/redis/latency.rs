//! How long a round trip takes, against the time that a decision has.

use std::time::{Duration, Instant};

use super::link::Link;
use crate::cli::doctor::report::Section;

/// How often the server is asked.
const SAMPLES: usize = 21;

/// Measures round trips.
pub async fn check(link: &Link, deadline: Duration, section: &mut Section) {
    let mut trips = Vec::with_capacity(SAMPLES);
    for _ in 0..SAMPLES {
        let sent = Instant::now();
        if let Err(error) = link.ask("PING", &[]).await {
            section.fail("latency", format!("PING: {error}"), "look at the network and at the server's load");
            return;
        }
        trips.push(sent.elapsed());
    }
    judge(&mut trips, deadline, section);
}

fn judge(trips: &mut [Duration], deadline: Duration, section: &mut Section) {
    trips.sort_unstable();
    let (Some(&least), Some(&most)) = (trips.first(), trips.last()) else { return };
    let median = trips.get(trips.len() / 2).copied().unwrap_or(most);
    let limit = humantime::format_duration(deadline);
    let shown = format!("PING takes {least:.1?} to {most:.1?}, median {median:.1?}; redis.deadline is {limit}");
    if median >= deadline {
        section.fail(
            "latency",
            format!("{shown}: most decisions would be left to the failure mode"),
            "move Redis nearer, or raise redis.deadline (and Envoy's timeout above it)",
        );
    } else if most >= deadline || median * 2 >= deadline {
        section.warn("latency", shown, "move Redis nearer, or raise redis.deadline (and Envoy's timeout above it)");
    } else {
        section.ok("latency", shown);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::report::Level;

    #[test]
    fn trips_are_held_against_the_deadline() {
        let level = |millis: &[u64]| {
            let mut section = Section::new("test");
            let mut trips: Vec<_> = millis.iter().copied().map(Duration::from_millis).collect();
            judge(&mut trips, Duration::from_millis(10), &mut section);
            section.findings.remove(0).level
        };
        assert_eq!(level(&[1, 2, 1]), Level::Ok);
        assert_eq!(level(&[1, 12, 1]), Level::Warn, "now and then too slow");
        assert_eq!(level(&[5, 6, 7]), Level::Warn, "little room");
        assert_eq!(level(&[1, 12, 11]), Level::Fail);
    }
}
