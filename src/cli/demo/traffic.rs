//! The demo's visitors: who comes when, and what they want. Seeded, so that a seed tells the same story again.

use std::f64::consts::TAU;
use std::time::Duration;

/// One request as a client would make it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit {
    /// The client's address.
    pub address: String,
    /// Who is logged in.
    pub user: Option<String>,
    /// The method.
    pub method: &'static str,
    /// The path.
    pub path: &'static str,
}

/// Regular users; each makes a request every few seconds, about as many as one user may.
const USERS: u32 = 400;
/// Where they go; those below `/api/` share one limit, which the ordinary rate reaches at its height.
const PATHS: [&str; 8] = ["/", "/about", "/news", "/help", "/jobs", "/shops", "/api/products", "/api/orders"];

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
            // A noisy neighbour: one address, as fast as it can.
            0..30 => visit("203.0.113.9", None, "GET", "/search"),
            // Now and then somebody guesses passwords.
            30..40 if guesser_here => visit("198.51.100.77", None, "POST", "/login"),
            // A customer with a plan of their own.
            40..48 => {
                let method = if self.random.bool() { "GET" } else { "POST" };
                visit("192.0.2.77", Some("premium"), method, "/api/reports")
            }
            // Monitoring, which is never limited.
            48..52 => visit("192.0.2.10", None, "GET", "/health"),
            _ => self.regular(),
        }
    }

    fn regular(&mut self) -> Visit {
        let number = self.random.u32(0..USERS);
        let method = if self.random.u32(0..10) == 0 { "POST" } else { "GET" };
        Visit {
            address: format!("10.0.{}.{}", number / 200, number % 200 + 1),
            user: Some(format!("user-{number:03}")),
            method,
            path: PATHS[self.random.usize(0..PATHS.len())],
        }
    }
}

fn visit(address: &str, user: Option<&str>, method: &'static str, path: &'static str) -> Visit {
    Visit { address: address.to_owned(), user: user.map(str::to_owned), method, path }
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
