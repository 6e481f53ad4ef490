//! Keeps the rules in force in step with a repository, while it is there, and in force while it is not.
//!
//! - [`state`] turns records into a rule set, one by one,
//! - [`guard`] says which steps are not taken without an operator's word,
//! - [`keeper`] is the loop: it hears of revisions, reads what changed, and hands each new rule set on,
//! - [`copies`] is what it starts from and follows while the repository is away, and what it leaves there,
//! - [`status`] is what health and metrics tell of it.

pub mod copies;
pub mod guard;
pub mod keeper;
pub mod state;
pub mod status;
#[cfg(test)]
mod tests;

pub use copies::Copies;
pub use guard::Alarm;
pub use keeper::{Keeper, KeeperOptions, Live, Seat};
pub use state::State;
pub use status::{Source, Standing, Status};
