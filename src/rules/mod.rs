//! Where rules come from: YAML files, in the format of `docs/rules.md`, a repository that they are changed in, or an xDS
//! server that hands them out.
//!
//! - [`yaml`] turns the text of one file into a [`DomainSpec`](crate::core::spec::DomainSpec), with every mistake in it,
//! - [`form`] is one rule in JSON,
//! - [`files`] finds the files, reads them and compiles one [`RuleSet`](crate::core::ruleset::RuleSet) of them,
//! - [`import`] turns rules of other rate limiters into ours,
//! - [`watch`] does so again whenever they change,
//! - [`report`] is how mistakes are told,
//! - [`repository`] is where rules are kept that change while the server runs,
//! - [`copies`] is what of it is kept at hand for when it is away,
//! - [`live`] keeps the rules in force in step with it,
//! - [`xds`] follows a server that hands rules out,
//! - [`manage`] is what an operator does to those: apply a text, take something back, look at the difference.
//!
//! A rule set is all or nothing: one error in one file, and the set in force stays in force.

pub mod copies;
pub mod duration;
pub mod files;
pub mod form;
pub mod import;
pub mod live;
pub mod manage;
pub mod report;
pub mod repository;
pub mod watch;
pub mod xds;
pub mod yaml;
