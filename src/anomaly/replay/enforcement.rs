//! What stands between a request of a log and the service.

use super::log::Entry;
use crate::anomaly::observation::Outcome;
use crate::core::adjustment::Adjustment;

/// Decides requests in the log's own time.
pub trait Enforcement {
    /// The domain that requests are decided in.
    fn domain(&self) -> &str;

    /// Decides and charges one request. Times never go back.
    fn decide(&mut self, entry: &Entry) -> Outcome;

    /// Puts these adjustments in force, and no others, for every request from now on.
    fn adjust(&mut self, adjustments: &[Adjustment]);
}
