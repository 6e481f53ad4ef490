//! What is simulated: scenarios, and the options that all have.

use std::time::Duration;

use super::random::seconds;
use crate::core::clock::Micros;

/// When simulated logs begin, if nothing else is said: Monday, 2026-01-05 at 10:00 UTC.
pub const START: Micros = Micros::from_secs(1_767_607_200);
/// The longest simulation.
pub const MAX_DURATION: Duration = Duration::from_secs(31 * 86_400);
/// The highest rate of calm traffic, requests a second.
pub const MAX_RATE: f64 = 100_000.0;

/// What happens besides calm traffic. R is the rate of calm traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scenario {
    /// Nothing.
    Calm,
    /// Legitimate visitors, ten times as many as usual within 60 s, most of them strangers who land on one page.
    FlashCrowd,
    /// One address, 3 R, at least 100 a second.
    SingleSourceFlood,
    /// 10 000 addresses, 10 R together, but none more than 30 a minute.
    DistributedFlood,
    /// One client that walks through everything there is for sale, one page a second and a half.
    SlowScraper,
    /// 200 addresses try names and passwords at `/login`, 20 tries a second together, one in fifty succeeds.
    CredentialStuffing,
    /// 50 addresses, 5 R together for 20 s, then 40 s of silence, and again.
    PulsingAttack,
    /// 20 clients that behave as people do, at first as often as people, in the end a hundred times as often.
    MimicPoisoner,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Calm,
        Self::FlashCrowd,
        Self::SingleSourceFlood,
        Self::DistributedFlood,
        Self::SlowScraper,
        Self::CredentialStuffing,
        Self::PulsingAttack,
        Self::MimicPoisoner,
    ];

    /// Its name, which is the label of an attack's requests, too.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::FlashCrowd => "flash_crowd",
            Self::SingleSourceFlood => "single_source_flood",
            Self::DistributedFlood => "distributed_flood",
            Self::SlowScraper => "slow_scraper",
            Self::CredentialStuffing => "credential_stuffing",
            Self::PulsingAttack => "pulsing_attack",
            Self::MimicPoisoner => "mimic_poisoner",
        }
    }

    /// What it is, in a line.
    #[must_use]
    pub const fn summary(self) -> &'static str {
        match self {
            Self::Calm => "people, offices, programs and crawlers, and nothing else",
            Self::FlashCrowd => "ten times as many legitimate visitors within 60 s",
            Self::SingleSourceFlood => "one address, three times all calm traffic",
            Self::DistributedFlood => "10 000 addresses, each slow, together ten times all calm traffic",
            Self::SlowScraper => "one client that walks through everything for sale, slowly",
            Self::CredentialStuffing => "200 addresses that try names and passwords",
            Self::PulsingAttack => "50 addresses, five times all calm traffic, 20 s on and 40 s off",
            Self::MimicPoisoner => "20 clients that behave as people do, ever more often",
        }
    }

    /// The scenario of that name; hyphens are as good as underscores.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let name = name.replace('-', "_");
        Self::ALL.into_iter().find(|scenario| scenario.name() == name)
    }

    /// Whether it is an attack.
    #[must_use]
    pub const fn is_attack(self) -> bool {
        !matches!(self, Self::Calm | Self::FlashCrowd)
    }

    /// When the attack is on, unless the options say: the middle third; of the poisoner all but the first sixth.
    fn window(self, duration: Micros) -> Window {
        match self {
            Self::MimicPoisoner => Window { from: Micros(duration.0 / 6), until: duration },
            _ => Window { from: Micros(duration.0 / 3), until: Micros(duration.0 / 3 * 2) },
        }
    }
}

/// When an attack is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its start.
    pub from: Micros,
    /// Its end.
    pub until: Micros,
}

impl Window {
    /// How much of it has passed at `now`, 0 to 1.
    pub(super) fn passed(self, now: Micros) -> f64 {
        (seconds(now - self.from) / seconds(self.until - self.from)).min(1.0)
    }
}

/// What to simulate.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// What happens.
    pub scenario: Scenario,
    /// Tells another story of the same kind.
    pub seed: u64,
    /// Wall time of the first request, microseconds since the Unix epoch.
    pub start: Micros,
    /// How long; at most [`MAX_DURATION`].
    pub duration: Micros,
    /// Calm requests a second at the start; the time of the day swells them and lets them ebb. At least 1, at most
    /// [`MAX_RATE`].
    pub rate: f64,
    /// How alike attackers are to calm traffic, 0 to 1: each source has the user agent and the country of somebody
    /// legitimate with this probability, each of its requests follows the walk of the site with this probability, and
    /// each pause has the shape of people's pauses with this probability, else it is regular. [`Scenario::MimicPoisoner`]
    /// is always wholly alike.
    pub overlap: f64,
    /// Legitimate people share addresses and looks with attackers: the first source of the attack is behind an office,
    /// every twentieth of the others behind the address of somebody who comes often, and one person in fifty has the
    /// attackers' tool as user agent, and comes from where attackers come from.
    pub nat: bool,
    /// When the attack is on, since the start. Default: the middle third; the poisoner all but the first sixth.
    pub attack: Option<Window>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            scenario: Scenario::Calm,
            seed: 1,
            start: START,
            duration: Micros::from_secs(30 * 60),
            rate: 100.0,
            overlap: 0.5,
            nat: false,
            attack: None,
        }
    }
}

/// Options that cannot be simulated.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InvalidOptions {
    /// The duration.
    #[error("duration: {0} is not in the range 1s to 31days")]
    Duration(Micros),
    /// The rate.
    #[error("rate: {0} requests a second is not in the range 1 to 100000")]
    Rate(f64),
    /// The overlap.
    #[error("overlap: {0} is not in the range 0 to 1")]
    Overlap(f64),
    /// The attack.
    #[error("attack: from {from} until {until} is not a time within the duration of {duration}")]
    Attack {
        /// Its start.
        from: Micros,
        /// Its end.
        until: Micros,
        /// How long the simulation is.
        duration: Micros,
    },
}

impl Options {
    /// Checks ranges, and tells when the attack is on, in wall time.
    pub(super) fn check(&self) -> Result<Window, InvalidOptions> {
        let duration = self.duration;
        if duration < Micros::SECOND || duration > Micros::from(MAX_DURATION) {
            return Err(InvalidOptions::Duration(duration));
        }
        if !(1.0..=MAX_RATE).contains(&self.rate) {
            return Err(InvalidOptions::Rate(self.rate));
        }
        if !(0.0..=1.0).contains(&self.overlap) {
            return Err(InvalidOptions::Overlap(self.overlap));
        }
        let Window { from, until } = self.attack.unwrap_or_else(|| self.scenario.window(duration));
        if from >= until || until > duration {
            return Err(InvalidOptions::Attack { from, until, duration });
        }
        Ok(Window { from: self.start + from, until: self.start + until })
    }
}
