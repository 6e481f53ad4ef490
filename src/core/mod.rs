//! The decision core: descriptors, limits, rules, algorithms and decisions.
//!
//! Everything here is pure: no I/O, no async, no clock of its own. Time comes in as [`clock::Now`], state lives
//! behind a counter store, and protocols are somebody else's business. The pieces, in the order of a request:
//!
//! 1. a [`descriptor::Request`] names a domain and descriptors,
//! 2. the [`ruleset::RuleSet`] finds the [`rule::Rule`] of each descriptor,
//! 3. an [`algorithm`] charges each limit's counter,
//! 4. a [`decision::Decision`] puts the outcomes together.

pub mod adjustment;
pub mod algorithm;
pub mod calendar;
pub mod client;
pub mod clock;
pub mod decision;
pub mod descriptor;
pub mod identity;
pub mod limit;
pub mod locate;
pub mod path;
pub mod rule;
pub mod ruleset;
pub mod spec;
pub mod subject;
