//! `rate_limit` and `rate_limits`.

use std::sync::Arc;

use crate::core::calendar::{CalendarUnit, CalendarWindow};
use crate::core::clock::Micros;
use crate::core::limit::{Algorithm, Limit, LimitError, LimitParts, MAX_HITS, Over, Unit, Window};
use crate::core::spec::{EffectSpec, LimitSpec};
use crate::rules::duration::{self, DurationError};

use super::fields::{Field, Fields, Reader, shorten};
use super::keys::{Key, Place, suggest};
use super::tree::{Kind, Mark, NodeId};

/// Calendar windows already made: the same few units and zones are named again and again.
pub(super) type Calendars = Vec<Arc<CalendarWindow>>;

/// What a descriptor's limits are read with.
pub(super) struct LimitReader<'r, 't, 'a> {
    pub(super) reader: &'r mut Reader<'t, 'a>,
    pub(super) calendars: &'r mut Calendars,
    pub(super) default_algorithm: Algorithm,
}

impl LimitReader<'_, '_, '_> {
    /// The effect of `rate_limit`, whose maps are read as one.
    pub(super) fn rate_limit(&mut self, field: Field, maps: &[NodeId]) -> Option<EffectSpec> {
        if self.reader.is_null(field.value) {
            self.reader.problems.warning(
                field.key_at,
                "'rate_limit' is empty, so the descriptor has no limit",
                "leave it out to say so, or write unit and requests_per_unit below it",
            );
            return None;
        }
        let fields = self.reader.fields(maps, Place::RateLimit);
        let effect = self.effect(&fields, field.key_at)?;
        self.check_replaces(&[&fields], &effect);
        Some(effect)
    }

    /// The effect of `rate_limits`.
    pub(super) fn rate_limits(&mut self, field: Field) -> Option<EffectSpec> {
        let items = self.reader.maps(Key::RateLimits, Some(field));
        let mut all_fields = Vec::with_capacity(items.len());
        let mut limits = Vec::with_capacity(items.len());
        for &item in &items {
            let at = self.reader.at(item);
            let fields = self.reader.fields(&[item], Place::RateLimit);
            match self.effect(&fields, at) {
                Some(EffectSpec::Limits(more)) => limits.extend(more),
                Some(EffectSpec::Unlimited { .. }) => self.reader.problems.error(
                    at,
                    "one of several rate_limits cannot be unlimited",
                    "use rate_limit: { unlimited: true } alone",
                ),
                None => {}
            }
            all_fields.push(fields);
        }
        if limits.is_empty() {
            // What is there, but no map, was reported.
            let nothing = matches!(self.reader.kind(field.value), Kind::List(items) if items.is_empty());
            if nothing || self.reader.is_null(field.value) {
                let help = "write at least one item, or leave rate_limits out";
                self.reader.problems.error(field.key_at, "rate_limits is empty", help);
            }
            return None;
        }
        let effect = EffectSpec::Limits(limits);
        self.check_replaces(&all_fields.iter().collect::<Vec<_>>(), &effect);
        Some(effect)
    }

    fn effect(&mut self, fields: &Fields, at: Mark) -> Option<EffectSpec> {
        let name = self.reader.text(Key::Name, fields.get(Key::Name)).map(str::to_owned);
        let replaces = self.replaces(fields);
        if self.reader.boolean(Key::Unlimited, fields.get(Key::Unlimited)).unwrap_or(false) {
            self.check_unlimited(fields);
            return Some(EffectSpec::Unlimited { name, replaces });
        }
        let limit = self.limit(fields, at)?;
        Some(EffectSpec::Limits(vec![LimitSpec { limit, name, replaces }]))
    }

    fn replaces(&mut self, fields: &Fields) -> Vec<String> {
        let field = fields.get(Key::Replaces);
        let mut names = Vec::new();
        for item in self.reader.maps(Key::Replaces, field) {
            let item_fields = self.reader.fields(&[item], Place::Replaces);
            match self.reader.text(Key::Name, item_fields.get(Key::Name)) {
                Some(name) => names.push(name.to_owned()),
                None => self.reader.problems.error(
                    self.reader.at(item),
                    "should not have an empty replaces entry",
                    "write '- name: <the name of another rate_limit>'",
                ),
            }
        }
        names
    }

    fn check_replaces(&mut self, all_fields: &[&Fields], effect: &EffectSpec) {
        let (names, replaced): (Vec<&String>, Vec<&String>) = match effect {
            EffectSpec::Unlimited { name, replaces } => (name.iter().collect(), replaces.iter().collect()),
            EffectSpec::Limits(limits) => (
                limits.iter().filter_map(|limit| limit.name.as_ref()).collect(),
                limits.iter().flat_map(|limit| &limit.replaces).collect(),
            ),
        };
        if replaced.iter().any(|name| names.contains(name))
            && let Some(field) = all_fields.iter().find_map(|fields| fields.get(Key::Replaces))
        {
            self.reader.problems.error(
                field.key_at,
                "replaces should not contain name of same descriptor",
                "name a rate_limit of another descriptor",
            );
        }
    }

    fn check_unlimited(&mut self, fields: &Fields) {
        if let Some(field) = fields.get(Key::Unit)
            && let Some(text) = self.reader.text(Key::Unit, Some(field))
        {
            if text.parse::<Unit>().is_ok() {
                self.reader.problems.error(
                    field.key_at,
                    "should not specify rate limit unit when unlimited",
                    "leave unit out, or unlimited",
                );
            } else {
                let message = format!("unit '{}' is no unit, and has no effect when unlimited", shorten(text));
                self.reader.problems.warning(field.key_at, message, "leave it out");
            }
        }
        if let Some(field) = fields.get(Key::RequestsPerUnit) {
            // Its kind is still checked.
            let _ = self.reader.integer(Key::RequestsPerUnit, Some(field), u64::from(u32::MAX));
            let message = "requests_per_unit has no effect when unlimited";
            self.reader.problems.warning(field.key_at, message, "leave it out, or unlimited");
        }
        for key in [Key::Window, Key::Algorithm, Key::Burst, Key::Calendar, Key::TimeZone, Key::Over, Key::PostPaid] {
            if let Some(field) = fields.get(key) {
                let message = format!("should not specify {key} when unlimited");
                self.reader.problems.error(field.key_at, message, format!("leave {key} out, or unlimited"));
            }
        }
    }

    /// Every field is read, whatever became of the one before it, so that all mistakes are told at once.
    fn limit(&mut self, fields: &Fields, at: Mark) -> Option<Limit> {
        let amount_field = fields.get(Key::RequestsPerUnit);
        let amount = self.reader.integer(Key::RequestsPerUnit, amount_field, u64::from(u32::MAX));
        if amount == Ok(None) && self.reader.is_missing(fields, Key::RequestsPerUnit) {
            self.reader.problems.warning(
                amount_field.map_or(at, |field| field.key_at),
                "requests_per_unit is missing, which means 0: always over limit",
                "write requests_per_unit, even if it is 0",
            );
        }
        let burst = self.reader.integer(Key::Burst, fields.get(Key::Burst), MAX_HITS);
        let algorithms = Algorithm::ALL.map(|algorithm| (algorithm.name(), algorithm));
        let algorithm = self.optional(fields, Key::Algorithm, &algorithms);
        let over = self.optional(fields, Key::Over, &[("record", Over::Record), ("drop", Over::Drop)]);
        let post_paid = self.reader.boolean(Key::PostPaid, fields.get(Key::PostPaid)).unwrap_or(false);
        let window = self.window(fields, at);

        let sound = amount.is_ok() && burst.is_ok() && algorithm.is_ok() && over.is_ok() && window.is_some();
        let parts = LimitParts {
            amount: amount.unwrap_or(None).unwrap_or(0),
            // What failed is replaced by something harmless: the rest can still be checked.
            window: window.unwrap_or(Window::Length(Micros::SECOND)),
            algorithm: algorithm.ok()?.unwrap_or(self.default_algorithm),
            burst: burst.unwrap_or(None),
            over: over.unwrap_or(None).unwrap_or_default(),
            post_paid,
        };
        let limit = self.check(parts, fields, at);
        limit.filter(|_| sound)
    }

    /// Makes the limit, or reports every reason why it cannot be.
    fn check(&mut self, mut parts: LimitParts, fields: &Fields, at: Mark) -> Option<Limit> {
        let mut sound = true;
        loop {
            let error = match Limit::new(parts.clone()) {
                Ok(limit) => return sound.then_some(limit),
                Err(error) => error,
            };
            sound = false;
            let key = match error {
                LimitError::ZeroWindow | LimitError::WindowTooLong => {
                    parts.window = Window::Length(Micros::SECOND);
                    Key::Window
                }
                LimitError::CalendarWith(_) => {
                    parts.window = Window::Length(Micros::SECOND);
                    Key::Calendar
                }
                LimitError::AmountTooLarge | LimitError::LogTooLarge(_) => {
                    parts.amount = 1;
                    Key::RequestsPerUnit
                }
                LimitError::BurstBelowOne | LimitError::BurstTooLarge | LimitError::BurstWithout(_) => {
                    parts.burst = None;
                    Key::Burst
                }
            };
            let at = fields.get(key).map_or(at, |field| field.key_at);
            let text = error.to_string();
            match text.split_once("; ") {
                Some((message, help)) => self.reader.problems.error(at, message, help),
                None => self.reader.problems.error(at, text, None),
            }
        }
    }

    /// A word that may be missing. `Err` when it was reported.
    fn optional<T: Copy>(&mut self, fields: &Fields, key: Key, choices: &[(&str, T)]) -> Result<Option<T>, ()> {
        let Some(field) = fields.get(key) else { return Ok(None) };
        if self.reader.is_null(field.value) {
            return Ok(None);
        }
        self.reader.choice(key, Some(field), choices).map(Some).ok_or(())
    }

    /// The window, by `unit`, by `window`, or by `unit` and `calendar`. `None` when it was reported.
    fn window(&mut self, fields: &Fields, at: Mark) -> Option<Window> {
        let calendar = self.reader.boolean(Key::Calendar, fields.get(Key::Calendar)).unwrap_or(false);
        let zone_field = fields.get(Key::TimeZone);
        let zone = self.reader.text(Key::TimeZone, zone_field);
        if let Some(field) = zone_field
            && !calendar
        {
            let help = "add calendar: true; other windows do not depend on a time zone";
            self.reader.problems.error(field.key_at, "time_zone is for calendar windows only", help);
        }
        let unit = self.unit(fields, at);
        if let Some(field) = fields.get(Key::Window) {
            let length = self.duration(field);
            if let Some(unit) = fields.get(Key::Unit) {
                let message = "unit and window exclude each other";
                self.reader.problems.error(unit.key_at, message, "leave one of them out");
                return None;
            }
            if let Some(calendar_field) = fields.get(Key::Calendar).filter(|_| calendar) {
                let message = "calendar goes with unit, not with window";
                let help = "write unit: day, week, month or year instead of window";
                self.reader.problems.error(calendar_field.key_at, message, help);
                return None;
            }
            return length.map(Window::Length);
        }
        let unit = unit?;
        if !calendar {
            return Some(Window::Length(unit.length()));
        }
        let unit = match unit {
            Unit::Day => CalendarUnit::Day,
            Unit::Week => CalendarUnit::Week,
            Unit::Month => CalendarUnit::Month,
            Unit::Year => CalendarUnit::Year,
            Unit::Second | Unit::Minute | Unit::Hour => {
                let at = fields.get(Key::Calendar).map_or(at, |field| field.key_at);
                let message = format!("the calendar has no {unit} of its own");
                let help = "leave calendar out, or write unit: day, week, month or year";
                self.reader.problems.error(at, message, help);
                return None;
            }
        };
        self.calendar(unit, zone.unwrap_or("UTC"), zone_field.map_or(at, |field| self.reader.at(field.value)))
            .map(Window::Calendar)
    }

    /// `None` when it was reported, or when there is a `window` in its place.
    fn unit(&mut self, fields: &Fields, at: Mark) -> Option<Unit> {
        let field = fields.get(Key::Unit);
        if field.is_none() && (fields.flawed || fields.get(Key::Window).is_some()) {
            return None;
        }
        let text = self.reader.text(Key::Unit, field).unwrap_or_default();
        let unit = text.parse::<Unit>().ok();
        if unit.is_none() {
            let help = match suggest(text, Unit::ALL.into_iter().map(Unit::name)) {
                Some(meant) if !text.is_empty() => format!("did you mean '{meant}'?"),
                _ => "write unit: second, minute, hour, day, week, month or year, or for example window: 30s".into(),
            };
            let message = format!("invalid rate limit unit '{}'", shorten(text));
            let at = field.map_or(at, |field| {
                if self.reader.is_null(field.value) { field.key_at } else { self.reader.at(field.value) }
            });
            self.reader.problems.error(at, message, help);
        }
        unit
    }

    fn duration(&mut self, field: Field) -> Option<Micros> {
        let at = if self.reader.is_null(field.value) { field.key_at } else { self.reader.at(field.value) };
        let Some(text) = self.reader.text(Key::Window, Some(field)) else {
            if self.reader.is_null(field.value) {
                self.reader.problems.error(at, "window is empty", duration::EXAMPLES);
            }
            return None;
        };
        match duration::parse(text) {
            Ok(duration) => Some(duration),
            Err(error) => {
                let message = format!("window '{}' {error}", shorten(text));
                let help = match error {
                    DurationError::Calendar => {
                        "write days, or unit: month or year, with calendar: true for those of the calendar"
                    }
                    DurationError::Syntax(_) => duration::EXAMPLES,
                };
                self.reader.problems.error(at, message, help);
                None
            }
        }
    }

    fn calendar(&mut self, unit: CalendarUnit, zone: &str, at: Mark) -> Option<Arc<CalendarWindow>> {
        let known =
            self.calendars.iter().find(|calendar| calendar.unit() == unit && calendar.zone_name() == zone).cloned();
        if known.is_some() {
            return known;
        }
        match CalendarWindow::new(unit, zone) {
            Ok(calendar) => {
                let calendar = Arc::new(calendar);
                self.calendars.push(Arc::clone(&calendar));
                Some(calendar)
            }
            Err(_) => {
                let names: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
                let help = match suggest(zone, names.iter().map(String::as_str)) {
                    Some(meant) => format!("did you mean '{meant}'?"),
                    None => "write an IANA name, for example Europe/Berlin or UTC".to_owned(),
                };
                self.reader.problems.error(at, format!("unknown time zone '{}'", shorten(zone)), help);
                None
            }
        }
    }
}
