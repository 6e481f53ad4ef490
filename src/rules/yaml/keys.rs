//! The keys that may be written, and where.

use std::fmt;

/// The kind of map that a key stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The top of a file.
    File,
    /// An item of `descriptors`.
    Descriptor,
    /// `rate_limit`, or an item of `rate_limits`.
    RateLimit,
    /// An item of `replaces`.
    Replaces,
}

impl Place {
    /// With its preposition.
    pub(super) const fn within(self) -> &'static str {
        match self {
            Self::File => "at the top of the file",
            Self::Descriptor => "in a descriptor",
            Self::RateLimit => "in rate_limit",
            Self::Replaces => "in replaces",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "the top of the file",
            Self::Descriptor => "a descriptor",
            Self::RateLimit => "rate_limit",
            Self::Replaces => "replaces",
        })
    }
}

macro_rules! keys {
    ($($variant:ident $name:literal $origin:ident $($place:ident)+,)+) => {
        /// A key of the format.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Key {
            $(#[doc = concat!("`", $name, "`")] $variant,)+
        }

        impl Key {
            pub(super) const ALL: &[Self] = &[$(Self::$variant,)+];

            pub(super) fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)+
                    _ => None,
                }
            }

            pub(super) const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// Where it has a meaning.
            pub(super) const fn places(self) -> &'static [Place] {
                match self {
                    $(Self::$variant => &[$(Place::$place),+],)+
                }
            }

            /// Whether envoyproxy/ratelimit knows it, and hence accepts it in any place.
            pub(super) const fn is_reference(self) -> bool {
                match self {
                    $(Self::$variant => keys!(@ $origin),)+
                }
            }
        }
    };
    (@ reference) => { true };
    (@ own) => { false };
}

keys! {
    Domain "domain" reference File,
    Descriptors "descriptors" reference File Descriptor,
    Charge "charge" own File,
    DefaultAlgorithm "default_algorithm" own File,
    ResponseHeaders "response_headers" own File,
    AcceptOverrides "accept_overrides" own File,
    AcceptRefunds "accept_refunds" own File,
    Entry "key" reference Descriptor,
    Value "value" reference Descriptor,
    RateLimit "rate_limit" reference Descriptor,
    RateLimits "rate_limits" own Descriptor,
    ShadowMode "shadow_mode" reference Descriptor,
    QuotaMode "quota_mode" reference Descriptor,
    DetailedMetric "detailed_metric" reference Descriptor,
    ValueToMetric "value_to_metric" reference Descriptor,
    ShareThreshold "share_threshold" reference Descriptor,
    Metadata "metadata" reference Descriptor,
    FailureMode "failure_mode" own Descriptor,
    Enabled "enabled" own Descriptor,
    Tags "tags" own Descriptor,
    Protect "protect" own Descriptor,
    Unit "unit" reference RateLimit,
    RequestsPerUnit "requests_per_unit" reference RateLimit,
    Unlimited "unlimited" reference RateLimit,
    Name "name" reference RateLimit Replaces,
    Replaces "replaces" reference RateLimit,
    Algorithm "algorithm" own RateLimit,
    Burst "burst" own RateLimit,
    Window "window" own RateLimit,
    Calendar "calendar" own RateLimit,
    TimeZone "time_zone" own RateLimit,
    Over "over" own RateLimit,
    PostPaid "post_paid" own RateLimit,
}

impl Key {
    /// Where to move it when it stands in the wrong place.
    pub(super) fn advice(self) -> String {
        let places: Vec<&str> = self.places().iter().map(|place| place.within()).collect();
        format!("'{self}' belongs {}", places.join(" or "))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What to write instead of an unknown key: the one that was probably meant, preferably one that fits the place.
pub(super) fn suggest_key(written: &str, place: Option<Place>) -> String {
    let names = |place: Option<Place>| {
        let fits = move |key: &&Key| place.is_none_or(|place| key.places().contains(&place));
        Key::ALL.iter().filter(fits).map(|key| key.name())
    };
    match suggest(written, names(place)).or_else(|| suggest(written, names(None))) {
        Some(meant) => format!("did you mean '{meant}'?"),
        None => {
            let within = place.map_or("of the format", Place::within);
            format!("the keys {within} are {}", names(place).collect::<Vec<_>>().join(", "))
        }
    }
}

/// The choice that is spelled most like what was written, if any is close.
pub(in crate::rules) fn suggest<'a>(written: &str, choices: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const LONGEST: usize = 64;
    let written: Vec<char> = written.chars().take(LONGEST + 1).flat_map(char::to_lowercase).collect();
    if written.len() > LONGEST {
        return None;
    }
    choices
        .map(|choice| (distance(&written, &choice.to_lowercase().chars().collect::<Vec<_>>()), choice))
        .filter(|(distance, choice)| *distance <= (choice.len().max(written.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, choice)| choice)
}

/// Insertions, deletions, replacements and swaps of neighbours (optimal string alignment) between two texts.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_found_by_its_name() {
        for key in Key::ALL {
            assert_eq!(Key::from_name(key.name()), Some(*key));
            assert_eq!(Key::ALL[*key as usize], *key);
        }
        assert_eq!(Key::from_name("ratelimit"), None);
    }

    #[test]
    fn the_nearest_spelling_is_suggested() {
        for (written, meant) in [
            ("ratelimit", Some("rate_limit")),
            ("requestsperunit", Some("requests_per_unit")),
            ("Unti", Some("unit")),
            ("shadowmode", Some("shadow_mode")),
            ("alogrithm", Some("algorithm")),
            ("completely_different", None),
            ("q", None),
        ] {
            assert_eq!(suggest(written, Key::ALL.iter().map(|key| key.name())), meant, "{written}");
        }
        assert_eq!(suggest_key("kye", Some(Place::Descriptor)), "did you mean 'key'?");
        assert_eq!(suggest_key("burts", Some(Place::Descriptor)), "did you mean 'burst'?");
        assert_eq!(suggest_key("colour", Some(Place::Replaces)), "the keys in replaces are name");
        assert_eq!(suggest("Europe/Berlim", ["Europe/Berlin", "Europe/Bern"].into_iter()), Some("Europe/Berlin"));
    }
}
