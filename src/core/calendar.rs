//! Windows as people count them: the day, week, month or year in a time zone.

use jiff::tz::TimeZone;

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

/// A calendar unit in a time zone.
#[derive(Clone, Debug)]
pub struct CalendarWindow {
    unit: CalendarUnit,
    zone: TimeZone,
    zone_name: Box<str>,
}

impl CalendarWindow {
    /// A calendar unit in the IANA time zone of that name.
    ///
    /// # Errors
    /// When there is no such zone.
    pub fn new(unit: CalendarUnit, zone: &str) -> Result<Self, UnknownName> {
        todo!("{unit:?} {zone}")
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

    /// The window that `wall` lies in: its start, and the end that is the next one's start.
    #[must_use]
    pub fn bounds(&self, wall: Micros) -> (Micros, Micros) {
        todo!("{wall} {:?}", self.zone)
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
