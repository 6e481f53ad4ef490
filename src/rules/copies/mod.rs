//! Copies of the rules, for when the repository is away: a replica starts from them, and keeps learning.
//!
//! The keeper of the rules hands what it knows to both places, the local disk ([`disk`]) and Redis ([`redis`]), and reads it back
//! from either when the repository does not answer. What is kept is the same in both ([`codec`]): a full copy in parts,
//! and behind it a log of the changes since, so that one changed rule of a million moves kilobytes. When the log has
//! grown too long, a new full copy takes the place of both.
//!
//! A copy is never more than that. Whether its epoch and revision may take effect is the keeper's to decide; here an
//! older one never replaces a newer one unless that is asked for.

pub mod codec;
pub mod disk;
pub mod redis;
