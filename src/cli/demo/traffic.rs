//! The demo's visitors: who comes when, and what they want. Seeded, so that a seed tells the same story again.

use std::f64::consts::TAU;
use std::time::Duration;

/// One request as a client would make it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit {
    /// The client's address.
    pub address: String,
    /// Who is logged in.
    pub user: Option<&'static str>,
    /// The method.
    pub method: &'static str,
    /// The path.
    pub path: &'static str,
}

const USERS: [&str; 8] = ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"];
const PATHS: [&str; 5] = ["/", "/products", "/products/42", "/cart", "/account"];

/// How often the password guesser comes, and how long it stays.
const GUESSER_PERIOD: f64 = 8.0;
const GUESSER_STAY: f64 = 2.0;

/// Makes visits.
#[derive(Debug)]
pub struct Traffic {
    random: fastrand::Rng,
    rate: f64,
    owed: f64,
}

impl Traffic {
    /// On the average `rate` visits a second, of the story told by `seed`.
    pub fn new(rate: u32, seed: u64) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), rate: f64::from(rate), owed: 0.0 }
    }

    /// The visits of a step of `step`, at `elapsed` since the start.
    pub fn step(&mut self, elapsed: Duration, step: Duration) -> Vec<Visit> {
        // The rate swells and ebbs every twelve seconds, by four tenths.
        let swell = 1.0 + 0.4 * (elapsed.as_secs_f64() * TAU / 12.0).sin();
        self.owed += self.rate * swell * step.as_secs_f64();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let count = self.owed as usize;
        #[allow(clippy::cast_precision_loss)]
        let paid = count as f64;
        self.owed -= paid;
        (0..count).map(|_| self.visit(elapsed)).collect()
    }

    fn visit(&mut self, elapsed: Duration) -> Visit {
        let guesser_here = elapsed.as_secs_f64() % GUESSER_PERIOD < GUESSER_STAY;
        match self.random.u32(0..100) {
            // A noisy neighbour: one address, one user, as fast as it can.
            0..30 => Visit { address: "203.0.113.9".to_owned(), user: Some("mallory"), method: "GET", path: "/search" },
            // Now and then somebody guesses passwords.
            30..45 if guesser_here => {
                Visit { address: "198.51.100.77".to_owned(), user: None, method: "POST", path: "/login" }
            }
            // A reporting job, whose limit is tried out in shadow mode.
            45..55 => Visit { address: "192.0.2.50".to_owned(), user: Some("reports"), method: "GET", path: "/export" },
            // The platform's own probes.
            55..60 => Visit { address: "192.0.2.1".to_owned(), user: None, method: "GET", path: "/healthz" },
            _ => self.regular(),
        }
    }

    fn regular(&mut self) -> Visit {
        let at = self.random.usize(0..USERS.len());
        let path = match self.random.u32(0..20) {
            0 => "/login",
            1..4 => "/search",
            _ => PATHS[self.random.usize(0..PATHS.len())],
        };
        let method = if path == "/login" || self.random.u32(0..10) == 0 { "POST" } else { "GET" };
        Visit { address: format!("192.0.2.{}", 100 + at), user: Some(USERS[at]), method, path }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn story(seed: u64) -> Vec<Visit> {
        let mut traffic = Traffic::new(500, seed);
        let step = Duration::from_millis(20);
        (0..600).flat_map(|at| traffic.step(step * at, step)).collect()
    }

    #[test]
    fn a_seed_tells_the_same_story_again() {
        assert_eq!(story(7), story(7));
        assert_ne!(story(7), story(8));
    }

    #[test]
    fn the_rate_holds_over_a_swell() {
        // Twelve seconds at 500 a second.
        let visits = story(1).len();
        assert!((5_990..=6_000).contains(&visits), "{visits}");
    }
}
