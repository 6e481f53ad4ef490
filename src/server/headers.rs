//! Response headers that tell a client where it stands; the same over every protocol.
//!
//! Three families, selectable per domain: `draft` is draft-ietf-httpapi-ratelimit-headers (version 10), structured
//! fields (RFC 9651); `legacy` and `x` are the plain numbers of older servers. `Retry-After` accompanies every denial
//! that waiting can cure. A request that costs more than its limit ever holds gets none: the same request will never
//! pass, and an invitation to retry would be a lie.
//!
//! Times are [`Applied::reset`] in whole seconds, rounded up: `t`, `RateLimit-Reset`, `Retry-After` and, in an answer to
//! Envoy, `duration_until_reset` agree.

use std::fmt::{self, Write};

use crate::config::HeaderNames;
use crate::core::adjustment::adjusted::Denial;
use crate::core::algorithm::Verdict;
use crate::core::decision::{Applied, Code, Decision, Status};
use crate::core::limit::{Limit, Window};
use crate::core::rule::Rule;
use crate::core::spec::HeaderFamilies;

/// The most policies listed; a request may match a hundred, and proxies bound the size of headers.
const MAX_POLICIES: usize = 16;
/// The longest policy name written, in bytes before quoting.
const MAX_NAME: usize = 256;
/// The largest number a structured field can hold.
const MAX_INTEGER: u64 = 999_999_999_999_999;
/// What a limit that came with the request is called.
const OVERRIDE: &str = "override";
/// What a limit of an adjustment's own is called.
pub const ADJUSTMENT: &str = "adjustment";

/// Which headers are written where a domain does not choose, and what the `legacy` ones are called.
#[derive(Clone, Debug)]
pub struct HeaderSettings {
    /// Families of domains that choose none.
    pub families: HeaderFamilies,
    /// Names of the `legacy` family.
    pub names: HeaderNames,
}

/// Names one limit: its own name, else its rule's path, with the window where a rule has several limits without names.
#[derive(Clone, Copy, Debug)]
pub struct LimitName<'a> {
    text: &'a str,
    window: Option<&'a Window>,
}

impl<'a> LimitName<'a> {
    /// The name of the limit that a status reports.
    #[must_use]
    pub fn of(status: &Status<'a>, applied: &'a Applied<'_>) -> Self {
        Self::new(status.rule, applied.name, &applied.limit)
    }

    /// The name, when it is one text.
    #[must_use]
    pub const fn plain(&self) -> Option<&'a str> {
        if self.window.is_none() { Some(self.text) } else { None }
    }

    fn new(rule: Option<&'a Rule>, name: Option<&'a str>, limit: &'a Limit) -> Self {
        match (name, rule) {
            (Some(text), _) => Self { text, window: None },
            (None, Some(rule)) => Self { text: &rule.path, window: (rule.limits().len() > 1).then(|| limit.window()) },
            (None, None) => Self { text: OVERRIDE, window: None },
        }
    }
}

impl fmt::Display for LimitName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)?;
        match self.window {
            Some(window) => write!(f, "/{window}"),
            None => Ok(()),
        }
    }
}

/// How long the client should wait, in whole seconds: only for a denial that waiting can cure.
#[must_use]
pub fn retry_after(decision: &Decision<'_>) -> Option<u64> {
    if decision.code != Code::OverLimit {
        return None;
    }
    if let Some(wait) = decision.adjustment.as_ref().and_then(|adjusted| adjusted.wait()) {
        return Some(wait.as_secs_ceil());
    }
    let (_, applied) = decision.deciding()?;
    applied.outcome.retry_after()?;
    Some(applied.reset().as_secs_ceil())
}

/// Hands every header of a decision to `emit`, name and value. Values are visible ASCII, whatever rules are called.
pub fn write(decision: &Decision<'_>, settings: &HeaderSettings, mut emit: impl FnMut(&str, &str)) {
    let mut value = String::with_capacity(64);
    if let Some(told) = Told::of(decision) {
        told.write(&mut value, decision, settings, &mut emit);
    }
    if let Some(seconds) = retry_after(decision) {
        value.clear();
        decimal(&mut value, seconds);
        emit("Retry-After", &value);
    }
}

/// The limit that headers speak of, and where the client stands with it.
struct Told<'a> {
    name: LimitName<'a>,
    amount: u64,
    remaining: u64,
    reset: u64,
}

impl<'a> Told<'a> {
    fn of(decision: &'a Decision<'_>) -> Option<Self> {
        if let Some(Denial::Own { limit, outcome }) = decision.denied_by_adjustment() {
            let name = LimitName { text: ADJUSTMENT, window: None };
            let reset = outcome.retry_after().unwrap_or(outcome.reset_after).as_secs_ceil();
            return Some(Self { name, amount: limit.amount(), remaining: 0, reset });
        }
        let (status, applied) = decision.deciding()?;
        Some(Self {
            name: LimitName::of(status, applied),
            amount: applied.limit.amount(),
            remaining: status.remaining,
            reset: applied.reset().as_secs_ceil(),
        })
    }

    fn write(
        self,
        value: &mut String,
        decision: &Decision<'_>,
        settings: &HeaderSettings,
        emit: &mut impl FnMut(&str, &str),
    ) {
        let families = decision.domain.and_then(|domain| domain.settings.response_headers).unwrap_or(settings.families);
        if families.draft {
            policies(value, decision);
            emit("RateLimit-Policy", value);
            value.clear();
            quoted(value, self.name);
            parameter(value, ";r=", self.remaining);
            parameter(value, ";t=", self.reset);
            emit("RateLimit", value);
        }
        let names = &settings.names;
        let legacy = [names.limit.as_str(), &names.remaining, &names.reset];
        let x = ["X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"];
        let numbers = [self.amount, self.remaining, self.reset];
        for (wanted, family) in [(families.legacy, legacy), (families.x, x)] {
            if wanted {
                for (name, number) in family.into_iter().zip(numbers) {
                    value.clear();
                    decimal(value, number);
                    emit(name, value);
                }
            }
        }
    }
}

/// Every limit that the request was held against, each once: `"name";q=100;w=60`, with commas between.
fn policies(out: &mut String, decision: &Decision<'_>) {
    let mut listed = 0;
    let mut list = |rule: Option<&Rule>, name: Option<&str>, limit: &Limit| {
        if listed == MAX_POLICIES {
            return;
        }
        if listed > 0 {
            out.push_str(", ");
        }
        listed += 1;
        quoted(out, LimitName::new(rule, name, limit));
        parameter(out, ";q=", limit.amount());
        parameter(out, ";w=", limit.window().nominal_length().as_secs_ceil());
    };
    for (position, status) in decision.statuses.iter().enumerate() {
        let Some(applied) = &status.applied else { continue };
        if decision.statuses[..position].iter().any(|earlier| same_limits(earlier, status)) {
            continue;
        }
        match status.rule {
            Some(rule) if rule.limits().len() > 1 => {
                for (place, each) in rule.limits().iter().enumerate() {
                    let name = each.name.as_deref();
                    if name.is_none_or(|name| !replaced(decision, name)) {
                        let adjusted = decision.adjustment.as_ref();
                        let lowered = adjusted.and_then(|adjusted| adjusted.lowered(position, place));
                        list(status.rule, name, lowered.map_or(&each.limit, |lowered| &lowered.limit));
                    }
                }
            }
            _ => list(status.rule, applied.name, &applied.limit),
        }
    }
    if let Some(Denial::Own { limit, .. }) = decision.denied_by_adjustment() {
        list(None, Some(ADJUSTMENT), limit);
    }
}

fn same_limits(one: &Status<'_>, other: &Status<'_>) -> bool {
    match (one.rule, other.rule) {
        (Some(one), Some(other)) => std::ptr::eq(one, other),
        (None, None) => match (&one.applied, &other.applied) {
            (Some(one), Some(other)) => one.limit == other.limit,
            _ => false,
        },
        _ => false,
    }
}

fn replaced(decision: &Decision<'_>, name: &str) -> bool {
    let mut rules = decision.statuses.iter().filter_map(|status| status.rule);
    rules.any(|rule| rule.replaces().iter().any(|replaced| **replaced == *name))
}

/// Writes a structured-field string (RFC 9651, 3.3.3). What it cannot hold, everything but visible ASCII and the
/// blank, is percent-encoded, so that a name is at worst ugly and never another header.
fn quoted(out: &mut String, name: LimitName<'_>) {
    struct Quoted<'a> {
        out: &'a mut String,
        left: usize,
    }
    impl Write for Quoted<'_> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let kept = text.len().min(self.left);
            self.left -= kept;
            for &byte in &text.as_bytes()[..kept] {
                match byte {
                    b'"' | b'\\' => {
                        self.out.push('\\');
                        self.out.push(char::from(byte));
                    }
                    0x20..=0x7e => self.out.push(char::from(byte)),
                    other => write!(self.out, "%{other:02X}")?,
                }
            }
            Ok(())
        }
    }
    out.push('"');
    // Writing to a String cannot fail.
    let _ = write!(Quoted { out, left: MAX_NAME }, "{name}");
    out.push('"');
}

fn parameter(out: &mut String, key: &str, number: u64) {
    out.push_str(key);
    decimal(out, number.min(MAX_INTEGER));
}

/// Decimal digits, without the formatting machinery: three to eight numbers stand in every answer.
pub fn decimal(out: &mut String, mut number: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend(digits[start..].iter().map(|&digit| char::from(digit)));
}

/// Whether this status counts among the policies that a denial violates.
#[must_use]
pub fn violates(status: &Status<'_>) -> bool {
    status.code == Code::OverLimit && status.applied.is_some()
}

/// Whether the limit can never hold the request.
#[must_use]
pub const fn never_fits(applied: &Applied<'_>) -> bool {
    matches!(applied.outcome.verdict, Verdict::InsufficientCapacity)
}
