//! What the worker says: flags and actions, each with its reasons.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::core::adjustment::Effect;
use crate::core::clock::Micros;
use crate::core::subject::Subject;

/// Something that the engine found or did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When: wall time, microseconds since the Unix epoch.
    pub at: Micros,
    /// Names the incident that it belongs to; the same from its first flag to its release.
    pub incident: u64,
    /// The domain.
    pub domain: String,
    /// Who.
    pub subject: Subject,
    /// What.
    pub kind: Kind,
    /// The fused score at that time, 0 (calm) to 1.
    pub score: f64,
    /// Requests of the subject in the interval that it was scored on.
    pub requests: u64,
    /// Why; the strongest first. Never empty, but for releases.
    pub reasons: Vec<Reason>,
}

/// What was found or done.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Kind {
    /// It does not behave as calm traffic does.
    Flag,
    /// Its limits are lowered, or it gets a limit of its own.
    Tighten {
        /// How.
        effect: Effect,
        /// When it ends, if nothing renews it.
        expires: Micros,
        /// Only told, not enforced.
        shadow: bool,
    },
    /// Nothing of it passes.
    Block {
        /// When it ends, if nothing renews it.
        expires: Micros,
        /// Only told, not enforced.
        shadow: bool,
    },
    /// An action that was not taken; the reasons say why not.
    Held,
    /// It is calm again, or a person said so: no adjustment any more.
    Release,
}

/// One reason, in figures and in words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// The feature, by its name.
    pub feature: Cow<'static, str>,
    /// What it usually is, in the feature's unit.
    pub usual: f64,
    /// What it is.
    pub present: f64,
    /// A sentence for people: `48 requests a second, usually 0.4`.
    pub text: String,
}

/// What a person said of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It was an attack.
    Confirmed,
    /// It was none.
    Dismissed,
}

/// A person's word on an incident, on its way to all replicas.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feedback {
    /// When it was said: wall time.
    pub at: Micros,
    /// The incident.
    pub incident: u64,
    /// Its domain.
    pub domain: String,
    /// Whom it is about.
    pub subject: Subject,
    /// What was said.
    pub verdict: Verdict,
}
