//! Where rules come from: YAML files today, in the format of `docs/rules.md`.
//!
//! - [`yaml`] turns the text of one file into a [`DomainSpec`](crate::core::spec::DomainSpec), with every mistake in it,
//! - [`files`] finds the files, reads them and compiles one [`RuleSet`](crate::core::ruleset::RuleSet) of them,
//! - [`watch`] does so again whenever they change,
//! - [`report`] is how mistakes are told.
//!
//! A rule set is all or nothing: one error in one file, and the set in force stays in force.

pub mod files;
pub mod report;
pub mod watch;
pub mod yaml;
