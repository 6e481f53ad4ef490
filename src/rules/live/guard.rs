//! What is put in force without being asked twice, and what is not.
//!
//! Revisions of one epoch go up, and rules rarely vanish by the thousand. Whatever looks otherwise is a database that
//! was restored, replaced or emptied, and is not applied: the rules in force stay, an alarm is raised, and an operator
//! says what is right. By accepting ([`RuleRepository::accept`](crate::rules::repository::RuleRepository::accept)) he
//! gives the repository a new epoch that is newer than all before, which every replica then follows.

use crate::rules::repository::{Head, Revision};

/// How many rules may vanish at once, whatever their share: below it there is too little to tell a loss from tidying.
const FEW: usize = 10;

/// Why what a repository offers is not put in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Alarm {
    /// Another epoch, that nobody has accepted since the one in force.
    #[error(
        "the repository has another history of rules (epoch {offered}, in force is {in_force}): was the database \
         replaced? `tidegate rules accept` puts it in force"
    )]
    OtherEpoch {
        /// Of the rules in force.
        in_force: String,
        /// Of the repository.
        offered: String,
    },
    /// A revision before the one in force.
    #[error(
        "the repository is at revision {offered}, before the one in force, {in_force}: was the database restored? \
         `tidegate rules accept` puts it in force"
    )]
    LowerRevision {
        /// In force.
        in_force: Revision,
        /// Of the repository.
        offered: Revision,
    },
    /// Most rules are gone.
    #[error(
        "{lost} of {before} rules are gone at revision {revision}: is that meant? `tidegate rules accept` puts it in force"
    )]
    Loss {
        /// How many are gone.
        lost: usize,
        /// How many there were.
        before: usize,
        /// At which revision.
        revision: Revision,
    },
}

impl Alarm {
    /// Every name.
    pub const NAMES: [&str; 3] = ["other_epoch", "lower_revision", "loss"];

    /// Its name in metrics and health.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::OtherEpoch { .. } => "other_epoch",
            Self::LowerRevision { .. } => "lower_revision",
            Self::Loss { .. } => "loss",
        }
    }
}

/// Where a repository's head leads from the one in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Nowhere: it is the same.
    Same,
    /// Forward in the same epoch.
    Forward,
    /// To another epoch, that holds: everything has to be read.
    Anew,
}

/// The way from the head in force to the one that is offered.
///
/// # Errors
/// [`Alarm`] when there is none without an operator's word.
pub fn way(in_force: Option<Head>, offered: Head) -> Result<Way, Alarm> {
    let Some(in_force) = in_force else { return Ok(Way::Anew) };
    if in_force.epoch != offered.epoch {
        // Of two histories, the one that was accepted later holds; one that never was, was before all that were.
        return if offered.accepted > in_force.accepted {
            Ok(Way::Anew)
        } else {
            Err(Alarm::OtherEpoch { in_force: in_force.epoch.to_string(), offered: offered.epoch.to_string() })
        };
    }
    match offered.revision.cmp(&in_force.revision) {
        std::cmp::Ordering::Less => {
            Err(Alarm::LowerRevision { in_force: in_force.revision, offered: offered.revision })
        }
        std::cmp::Ordering::Equal => Ok(Way::Same),
        std::cmp::Ordering::Greater => Ok(Way::Forward),
    }
}

/// Whether so many rules may go from one revision to another of its epoch.
///
/// # Errors
/// [`Alarm::Loss`] when more than half of them, and more than ten, are gone.
pub fn loss(before: usize, after: usize, revision: Revision) -> Result<(), Alarm> {
    let lost = before.saturating_sub(after);
    if lost > FEW && lost > before / 2 { Err(Alarm::Loss { lost, before, revision }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::rules::repository::Epoch;

    fn head(epoch: u128, revision: u64, accepted: Option<i64>) -> Head {
        let accepted = accepted.map(|second| Timestamp::from_second(second).unwrap());
        Head { epoch: Epoch(epoch), revision: Revision(revision), accepted }
    }

    #[test]
    fn revisions_go_up_within_an_epoch() {
        let seven = head(1, 7, None);
        assert_eq!(way(None, seven), Ok(Way::Anew));
        assert_eq!(way(Some(seven), seven), Ok(Way::Same));
        assert_eq!(way(Some(seven), head(1, 9, None)), Ok(Way::Forward));
        assert!(matches!(way(Some(seven), head(1, 6, None)), Err(Alarm::LowerRevision { .. })));
    }

    #[test]
    fn another_epoch_holds_only_when_it_was_accepted_later() {
        let (old, accepted) = (head(1, 7, None), head(2, 1, Some(10)));
        assert!(matches!(way(Some(old), head(2, 70, None)), Err(Alarm::OtherEpoch { .. })));
        assert_eq!(way(Some(old), accepted), Ok(Way::Anew));
        assert!(matches!(way(Some(accepted), head(1, 900, None)), Err(Alarm::OtherEpoch { .. })), "it comes back");
        assert!(matches!(way(Some(accepted), head(3, 9, Some(10))), Err(Alarm::OtherEpoch { .. })));
        assert_eq!(way(Some(accepted), head(3, 9, Some(11))), Ok(Way::Anew));
    }

    #[test]
    fn most_rules_do_not_vanish_at_once() {
        assert_eq!(loss(10, 0, Revision(2)), Ok(()));
        assert_eq!(loss(100, 50, Revision(2)), Ok(()));
        assert_eq!(loss(100, 49, Revision(2)), Err(Alarm::Loss { lost: 51, before: 100, revision: Revision(2) }));
        assert_eq!(loss(0, 100, Revision(2)), Ok(()));
    }
}
