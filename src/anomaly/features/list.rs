//! The features of a client, one by one.

/// How many there are.
pub const COUNT: usize = Feature::ALL.len();

/// A client's features, in the order of [`Feature::ALL`]; what is not known is NaN.
pub type Vector = [f64; COUNT];

/// A feature. All fading counts are as of now, `T` their time scale: a hit weighs `exp(-age / T)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Feature {
    /// Hits with `T` = 1 s, divided by 1 s. Requests a second, 0 and more.
    Rate1s,
    /// Hits with `T` = 10 s, divided by `T (1 - exp(-age / T))`, age at least 2 s. Requests a second, 0 and more.
    Rate10s,
    /// The same with 1 min.
    Rate1m,
    /// The same with 10 min.
    Rate10m,
    /// Variance over mean of requests a second, fading with 1 min (Fano factor): 1 is random, 0 even. 0 and more.
    Burstiness,
    /// One less the coefficient of variation of the time between requests: 1 is a clockwork. 0 to 1; missing before 10
    /// requests.
    Regularity,
    /// Different paths in the last 5 to 10 min. 0 to about 620.
    Paths,
    /// One less the entropy of the templates over 16 buckets, divided by 4 bit: 1 is always the same. 0 to 1; missing
    /// before 20 requests.
    Concentration,
    /// Requests other than GET, HEAD and OPTIONS over all, of the last 32 or so. 0 to 1.
    Writes,
    /// Responses 400 to 499 but 401, 403 and 429 over those known, `T` = 1 min. 0 to 1.
    ClientErrors,
    /// Responses 401 and 403 with `T` = 1 min. Failures a minute, 0 and more.
    AuthFailures,
    /// Responses 404 with `T` = 1 min. Responses a minute, 0 and more.
    NotFound,
    /// Responses 500 and above over those known, `T` = 1 min. 0 to 1. Told, but not strange by itself.
    ServerErrors,
    /// Requests over a limit of the rules over those decided, `T` = 1 min. 0 to 1.
    Denied,
    /// Different user agents in the last 5 to 10 min; missing for an address that users share. 0 to about 620.
    UserAgents,
    /// Of a user: different addresses in the last 5 to 10 min. 0 to about 620.
    Addresses,
    /// Of an address: users that were never seen before, with `T` = 1 min. Users a minute, 0 and more.
    FreshUsers,
    /// Bytes with `T` = 1 min, divided by 1 min. Bytes a second, 0 and more.
    Bytes,
    /// Hits with `T` = 10 s divided by 10 s, over `Rate10m`; missing before the client is known for 3 min. 0 and more.
    Growth,
    /// Requests whose path ends in a number one to three above that of the request before, with `T` = 1 min. Steps a
    /// minute, 0 and more.
    Sequence,
    /// Changes of the user's country, `T` = 10 min. Changes, 0 and more.
    CountryChanges,
}

/// How a feature is judged.
#[derive(Clone, Copy, Debug)]
pub struct Judged {
    /// Less than this is never strange.
    pub floor: f64,
    /// Whether ratios matter rather than differences.
    pub logarithmic: bool,
    /// The least that a tenfold rarer value is larger, in units, or in decades when logarithmic.
    pub least_step: f64,
    /// The most that this feature alone makes of `r`.
    pub most: f64,
}

impl Feature {
    /// All, in the order of vectors.
    pub const ALL: [Self; 21] = [
        Self::Rate1s,
        Self::Rate10s,
        Self::Rate1m,
        Self::Rate10m,
        Self::Burstiness,
        Self::Regularity,
        Self::Paths,
        Self::Concentration,
        Self::Writes,
        Self::ClientErrors,
        Self::AuthFailures,
        Self::NotFound,
        Self::ServerErrors,
        Self::Denied,
        Self::UserAgents,
        Self::Addresses,
        Self::FreshUsers,
        Self::Bytes,
        Self::Growth,
        Self::Sequence,
        Self::CountryChanges,
    ];

    /// Its place in a vector.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// As reports write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.described().0
    }

    /// Whether it is a part of a whole, 0 to 1.
    #[must_use]
    pub const fn is_share(self) -> bool {
        self.described().2
    }

    /// A sentence about its present and usual value.
    #[must_use]
    pub fn text(self, present: f64, usual: f64) -> String {
        let (_, unit, share) = self.described();
        if share {
            format!("{:.0} % {unit}, usually {:.0} %", present * 100.0, usual * 100.0)
        } else {
            format!("{} {unit}, usually {}", short(present), short(usual))
        }
    }

    /// Name, unit, and whether it is a share.
    const fn described(self) -> (&'static str, &'static str, bool) {
        match self {
            Self::Rate1s => ("rate_1s", "requests within a second", false),
            Self::Rate10s => ("rate_10s", "requests a second over 10 s", false),
            Self::Rate1m => ("rate_1m", "requests a second over 1 min", false),
            Self::Rate10m => ("rate_10m", "requests a second over 10 min", false),
            Self::Burstiness => ("burstiness", "is the variance over the mean of requests a second", false),
            Self::Regularity => ("regularity", "regular in time", true),
            Self::Paths => ("paths", "different paths", false),
            Self::Concentration => ("concentration", "concentrated on the same paths", true),
            Self::Writes => ("writes", "of requests write", true),
            Self::ClientErrors => ("client_errors", "of responses are client errors", true),
            Self::AuthFailures => ("auth_failures", "failed logins or refused requests a minute", false),
            Self::NotFound => ("not_found", "paths a minute that do not exist", false),
            Self::ServerErrors => ("server_errors", "of responses are server errors", true),
            Self::Denied => ("denied", "of requests are over a limit", true),
            Self::UserAgents => ("user_agents", "different user agents", false),
            Self::Addresses => ("addresses", "different addresses", false),
            Self::FreshUsers => ("fresh_users", "users a minute that were never seen before", false),
            Self::Bytes => ("bytes", "bytes a second", false),
            Self::Growth => ("growth", "times its own rate of the last 10 min", false),
            Self::Sequence => ("sequence", "steps a minute through numbered things", false),
            Self::CountryChanges => ("country_changes", "changes of country", false),
        }
    }

    /// How it is judged; nothing: it is only told.
    #[must_use]
    pub const fn judged(self) -> Option<Judged> {
        let (floor, logarithmic, least_step, most) = match self {
            Self::Rate1s => (20.0, true, 0.2, 4.0),
            Self::Rate10s => (3.0, true, 0.2, 30.0),
            Self::Rate1m => (1.0, true, 0.2, 30.0),
            Self::Rate10m => (0.5, true, 0.2, 30.0),
            Self::Burstiness => (5.0, true, 0.25, 2.5),
            Self::Regularity => (0.85, false, 0.1, 2.5),
            Self::Paths => (30.0, true, 0.15, 8.0),
            Self::Concentration => (0.9, false, 0.1, 2.5),
            Self::Writes => (0.8, false, 0.2, 2.5),
            Self::ClientErrors => (0.3, false, 0.1, 4.0),
            Self::AuthFailures => (5.0, true, 0.12, 30.0),
            Self::NotFound => (10.0, true, 0.15, 12.0),
            Self::ServerErrors | Self::Growth => return None,
            Self::Denied => (0.3, false, 0.1, 4.0),
            Self::UserAgents => (5.0, true, 0.2, 5.0),
            Self::Addresses => (6.0, true, 0.2, 5.0),
            Self::FreshUsers => (60.0, true, 0.2, 30.0),
            Self::Bytes => (1e6, true, 0.4, 3.0),
            Self::Sequence => (8.0, true, 0.12, 10.0),
            Self::CountryChanges => (2.5, true, 0.15, 6.5),
        };
        Some(Judged { floor, logarithmic, least_step, most })
    }
}

/// A figure that people can read.
#[must_use]
pub fn short(value: f64) -> String {
    let size = value.abs();
    if size >= 100.0 {
        format!("{value:.0}")
    } else if size >= 10.0 {
        format!("{value:.1}").trim_end_matches(".0").to_owned()
    } else {
        format!("{value:.2}").trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}
