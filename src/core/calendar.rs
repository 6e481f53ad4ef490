//! Windows as people count them: the day, week, month or year in a time zone.
//!
//! The time zone database is the one compiled in, so that replicas of one version agree whatever machine they run on.

use std::sync::LazyLock;

use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Error, Span, Timestamp};

use super::clock::Micros;
use super::limit::{Unit, UnknownName};

/// The units that a calendar has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CalendarUnit {
    /// From midnight to midnight; 23 to 25 hours.
    Day,
    /// From Monday.
    Week,
    /// From the first.
    Month,
    /// From January 1st.
    Year,
}

impl From<CalendarUnit> for Unit {
    fn from(unit: CalendarUnit) -> Self {
        match unit {
            CalendarUnit::Day => Self::Day,
            CalendarUnit::Week => Self::Week,
            CalendarUnit::Month => Self::Month,
            CalendarUnit::Year => Self::Year,
        }
    }
}

/// Shared by every window, so that a zone is read once and not once per rule.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// A calendar unit in a time zone.
#[derive(Clone, Debug)]
pub struct CalendarWindow {
    unit: CalendarUnit,
    zone: TimeZone,
    zone_name: Box<str>,
}

impl CalendarWindow {
    /// A calendar unit in the IANA time zone of that name; case does not matter.
    ///
    /// # Errors
    /// When there is no such zone.
    pub fn new(unit: CalendarUnit, zone: &str) -> Result<Self, UnknownName> {
        let found = ZONES.get(zone).map_err(|_| UnknownName {
            what: "time zone",
            name: zone.to_owned(),
            choices: "the IANA names, such as UTC, Europe/Berlin or America/New_York",
        })?;
        // Its own spelling, because the name is part of a counter's identity.
        let zone_name = found.iana_name().unwrap_or(zone).into();
        Ok(Self { unit, zone: found, zone_name })
    }

    /// The unit.
    #[must_use]
    pub const fn unit(&self) -> CalendarUnit {
        self.unit
    }

    /// The zone's IANA name.
    #[must_use]
    pub fn zone_name(&self) -> &str {
        &self.zone_name
    }

    /// The window that `wall` lies in: its start, and the end that is the next one's start. The end is always later
    /// than `wall`. Beyond the calendar, that is after the year 9999, windows have their nominal length.
    #[must_use]
    pub fn bounds(&self, wall: Micros) -> (Micros, Micros) {
        match self.calendar_bounds(wall) {
            Ok((start, end)) if start <= wall && wall < end => (start, end),
            _ => {
                let length = Unit::from(self.unit).length();
                let start = Micros(wall.0 - wall.0 % length.0);
                (start, start + length)
            }
        }
    }

    fn calendar_bounds(&self, wall: Micros) -> Result<(Micros, Micros), Error> {
        let timestamp = Timestamp::from_microsecond(i64::try_from(wall.0).unwrap_or(i64::MAX))?;
        let today = self.zone.to_datetime(timestamp).date();
        let (first, length) = match self.unit {
            CalendarUnit::Day => (today, Span::new().days(1)),
            CalendarUnit::Week => {
                let since_monday = Span::new().days(today.weekday().to_monday_zero_offset());
                (today.checked_sub(since_monday)?, Span::new().weeks(1))
            }
            CalendarUnit::Month => (today.first_of_month(), Span::new().months(1)),
            CalendarUnit::Year => (today.first_of_year(), Span::new().years(1)),
        };
        Ok((self.start_of(first)?, self.start_of(first.checked_add(length)?)?))
    }

    /// The first instant of a day: midnight, or where the clock skips it, the instant of the skip.
    fn start_of(&self, day: Date) -> Result<Micros, Error> {
        let start = day.to_zoned_datetime(self.zone.clone())?.timestamp().as_microsecond();
        // Before the epoch only for the window that it lies in.
        Ok(Micros(u64::try_from(start).unwrap_or(0)))
    }
}

impl PartialEq for CalendarWindow {
    fn eq(&self, other: &Self) -> bool {
        self.unit == other.unit && self.zone_name == other.zone_name
    }
}

impl Eq for CalendarWindow {}

impl std::hash::Hash for CalendarWindow {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.unit.hash(state);
        self.zone_name.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000_000;

    fn at(text: &str) -> Micros {
        let timestamp: Timestamp = text.parse().unwrap();
        Micros(u64::try_from(timestamp.as_microsecond()).unwrap())
    }

    fn window(unit: CalendarUnit, zone: &str) -> CalendarWindow {
        CalendarWindow::new(unit, zone).unwrap()
    }

    #[track_caller]
    fn check(unit: CalendarUnit, zone: &str, wall: &str, start: &str, end: &str) {
        let window = window(unit, zone);
        let bounds = (at(start), at(end));
        assert_eq!(window.bounds(at(wall)), bounds, "at {wall}");
        assert_eq!(window.bounds(bounds.0), bounds, "at its start");
        assert_eq!(window.bounds(Micros(bounds.1.0 - 1)), bounds, "at its last microsecond");
        assert_eq!(window.bounds(bounds.1).0, bounds.1, "windows join");
    }

    #[test]
    fn days_change_at_local_midnight() {
        check(CalendarUnit::Day, "UTC", "2026-05-05T12:00:00Z", "2026-05-05T00:00:00Z", "2026-05-06T00:00:00Z");
        let (wall, start, end) = ("2026-05-05T23:00:00Z", "2026-05-05T22:00:00Z", "2026-05-06T22:00:00Z");
        check(CalendarUnit::Day, "Europe/Berlin", wall, start, end);
        let (wall, start, end) = ("2026-01-01T02:00:00Z", "2025-12-31T05:00:00Z", "2026-01-01T05:00:00Z");
        check(CalendarUnit::Day, "America/New_York", wall, start, end);
    }

    #[test]
    fn days_have_23_to_25_hours_where_the_clock_changes() {
        let length = |zone, wall| {
            let (start, end) = window(CalendarUnit::Day, zone).bounds(at(wall));
            (end - start).0 / HOUR
        };
        assert_eq!(length("Europe/Berlin", "2026-03-29T12:00:00Z"), 23);
        assert_eq!(length("Europe/Berlin", "2026-10-25T12:00:00Z"), 25);
        assert_eq!(length("America/New_York", "2026-03-08T12:00:00Z"), 23);
        assert_eq!(length("America/New_York", "2026-11-01T12:00:00Z"), 25);
        assert_eq!(length("America/New_York", "2026-07-01T12:00:00Z"), 24);
    }

    #[test]
    fn a_day_without_midnight_starts_when_the_clock_is_put_on() {
        // On 2018-11-04 the clocks of Sao Paulo went from 23:59:59 to 01:00:00.
        let (start, end) = ("2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z");
        check(CalendarUnit::Day, "America/Sao_Paulo", "2018-11-04T12:00:00Z", start, end);
        // On 2024-04-26 those of Cairo did.
        let (start, end) = ("2024-04-25T22:00:00Z", "2024-04-26T21:00:00Z");
        check(CalendarUnit::Day, "Africa/Cairo", "2024-04-26T12:00:00Z", start, end);
    }

    #[test]
    fn a_day_with_two_midnights_starts_at_the_first() {
        // On 2024-11-03 the clocks of Havana went from 00:59:59 back to 00:00:00.
        let (start, end) = ("2024-11-03T04:00:00Z", "2024-11-04T05:00:00Z");
        check(CalendarUnit::Day, "America/Havana", "2024-11-03T12:00:00Z", start, end);
    }

    #[test]
    fn a_skipped_day_belongs_to_none() {
        // Samoa had no 2011-12-30.
        let (start, end) = ("2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z");
        check(CalendarUnit::Day, "Pacific/Apia", "2011-12-29T12:00:00Z", start, end);
        let (start, end) = ("2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z");
        check(CalendarUnit::Day, "Pacific/Apia", "2011-12-30T12:00:00Z", start, end);
    }

    #[test]
    fn weeks_start_on_monday() {
        // 2026-03-29, a Sunday, is also the day on which the clock changes.
        let (start, end) = ("2026-03-22T23:00:00Z", "2026-03-29T22:00:00Z");
        check(CalendarUnit::Week, "Europe/Berlin", "2026-03-29T12:00:00Z", start, end);
        check(CalendarUnit::Week, "Europe/Berlin", "2026-03-23T12:00:00Z", start, end);
        let (start, end) = ("2024-12-30T00:00:00Z", "2025-01-06T00:00:00Z");
        check(CalendarUnit::Week, "UTC", "2025-01-01T00:00:00Z", start, end);
    }

    #[test]
    fn months_and_years_have_their_own_lengths() {
        let (start, end) = ("2024-01-31T23:00:00Z", "2024-02-29T23:00:00Z");
        check(CalendarUnit::Month, "Europe/Berlin", "2024-02-29T12:00:00Z", start, end);
        let (start, end) = ("2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z");
        check(CalendarUnit::Month, "Europe/Berlin", "2026-03-01T00:00:00Z", start, end);
        check(CalendarUnit::Month, "UTC", "2025-12-31T23:59:59Z", "2025-12-01T00:00:00Z", "2026-01-01T00:00:00Z");
        check(CalendarUnit::Year, "UTC", "2024-12-31T23:59:59Z", "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z");
        let (start, end) = ("2025-01-01T05:00:00Z", "2026-01-01T05:00:00Z");
        check(CalendarUnit::Year, "America/New_York", "2025-07-01T00:00:00Z", start, end);
    }

    #[test]
    fn every_time_has_a_window() {
        for unit in [CalendarUnit::Day, CalendarUnit::Week, CalendarUnit::Month, CalendarUnit::Year] {
            for zone in ["UTC", "Pacific/Apia", "America/New_York"] {
                let window = window(unit, zone);
                for wall in [0, 1, HOUR, 253_402_300_799_000_000, i64::MAX as u64, u64::MAX - 1] {
                    let (start, end) = window.bounds(Micros(wall));
                    assert!(start.0 <= wall && wall < end.0, "{unit:?} {zone} {wall}: {start:?} {end:?}");
                }
            }
        }
    }

    #[test]
    fn zones_are_known_by_name_in_any_case() {
        assert_eq!(window(CalendarUnit::Day, "europe/BERLIN").zone_name(), "Europe/Berlin");
        assert_eq!(window(CalendarUnit::Day, "europe/berlin"), window(CalendarUnit::Day, "Europe/Berlin"));
        for zone in ["", "Europe/Bonn", "../../etc/passwd", "+01:00"] {
            let error = CalendarWindow::new(CalendarUnit::Day, zone).unwrap_err().to_string();
            assert!(error.starts_with(&format!("unknown time zone '{zone}'; use one of the IANA names")), "{error}");
        }
    }
}
