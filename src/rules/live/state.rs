//! The rule set as the records of a repository make it, kept in step record by record.
//!
//! Pure: records come in, a [`RuleSet`] comes out. A record that cannot be read leaves what it said last in force, and
//! is remembered until it can. An override takes the place of its rule's effect until its time has come; the rule below
//! it is remembered meanwhile.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use crate::core::path::DescriptorPath;
use crate::core::ruleset::RuleSet;
use crate::core::spec::RuleSpec;
use crate::rules::repository::{Content, Head, Override, Record, Subject, Unreadable};

/// A path of a domain.
type Place = (Box<str>, DescriptorPath);

/// The most unreadable records that are remembered by name; all are counted.
pub const MAX_UNREADABLE: usize = 100;

/// What holds at an overridden path.
#[derive(Clone, Debug)]
struct Overridden {
    over: Override,
    /// The rule that comes back; `None` where there is none.
    rule: Option<RuleSpec>,
}

/// The rule set of some revision. Cheap to clone, as the set is.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The compiled rules.
    pub rules: RuleSet,
    /// Which revision; `None` before the first.
    pub head: Option<Head>,
    overridden: BTreeMap<Place, Overridden>,
    unreadable: HashMap<Subject, Trouble>,
}

/// A record that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Why.
    pub reason: String,
    /// Whether an earlier version of it is in force.
    pub earlier_in_force: bool,
}

impl State {
    /// Takes a record over. `now` tells which overrides have ended.
    pub fn apply(&mut self, record: Record, now: Timestamp) {
        let Record { subject, content, .. } = record;
        let result = match content {
            None => {
                self.delete(&subject);
                Ok(())
            }
            Some(Ok(content)) => self.put(&subject, content, now),
            Some(Err(Unreadable(reason, _))) => Err(reason),
        };
        match result {
            Ok(()) => drop(self.unreadable.remove(&subject)),
            Err(reason) => {
                let earlier_in_force = self.holds(&subject);
                self.unreadable.insert(subject, Trouble { reason, earlier_in_force });
            }
        }
    }

    /// Ends the overrides whose time has come, and says whether there were any.
    pub fn expire(&mut self, now: Timestamp) -> bool {
        let ended: Vec<Place> =
            self.overridden.iter().filter(|(_, held)| held.over.until <= now).map(|(place, _)| place.clone()).collect();
        for (domain, path) in &ended {
            self.lift(domain, path);
        }
        !ended.is_empty()
    }

    /// When the next override ends.
    #[must_use]
    pub fn next_end(&self) -> Option<Timestamp> {
        self.overridden.values().map(|held| held.over.until).min()
    }

    /// Overrides in force.
    #[must_use]
    pub fn overrides(&self) -> usize {
        self.overridden.len()
    }

    /// Records that cannot be used, in no order.
    pub fn unreadable(&self) -> impl ExactSizeIterator<Item = (&Subject, &Trouble)> {
        self.unreadable.iter()
    }

    /// Takes over what another state says of records that this one cannot read: the last good version stays in force,
    /// also when everything was read anew.
    pub fn keep_last_good(&mut self, earlier: &Self) {
        let missing: Vec<Subject> = self
            .unreadable
            .iter()
            .filter(|(_, trouble)| !trouble.earlier_in_force)
            .map(|(subject, _)| subject.clone())
            .collect();
        for subject in missing {
            let taken = match &subject {
                Subject::Domain(domain) => {
                    let settings = earlier.rules.domain(domain.as_bytes()).map(|domain| domain.settings);
                    settings.map(|settings| self.rules.set_domain(domain, Some(settings))).is_some()
                }
                Subject::Rule(domain, path) => {
                    earlier.rule_below(domain, path).is_some_and(|rule| self.put_rule(domain, path, rule).is_ok())
                }
                Subject::Override(domain, path) => {
                    let held = earlier.overridden.get(&(domain.clone(), path.clone()));
                    held.is_some_and(|held| self.put_override(domain, path, held.over.clone()).is_ok())
                }
            };
            if let Some(trouble) = self.unreadable.get_mut(&subject) {
                trouble.earlier_in_force = taken;
            }
        }
    }

    fn holds(&self, subject: &Subject) -> bool {
        match subject {
            Subject::Domain(domain) => self.rules.domain(domain.as_bytes()).is_some(),
            Subject::Rule(domain, path) => self.rule_below(domain, path).is_some(),
            Subject::Override(domain, path) => self.overridden.contains_key(&(domain.clone(), path.clone())),
        }
    }

    /// The rule at a path, whatever overrides it.
    fn rule_below(&self, domain: &str, path: &DescriptorPath) -> Option<RuleSpec> {
        match self.overridden.get(&(domain.into(), path.clone())) {
            Some(held) => held.rule.clone(),
            None => self.rules.spec(domain, path),
        }
    }

    fn put(&mut self, subject: &Subject, content: Content, now: Timestamp) -> Result<(), String> {
        match (subject, content) {
            (Subject::Domain(domain), Content::Domain(settings)) => {
                self.rules.set_domain(domain, Some(settings));
                Ok(())
            }
            (Subject::Rule(domain, path), Content::Rule(rule)) => self.put_rule(domain, path, rule),
            (Subject::Override(domain, path), Content::Override(over)) if over.until > now => {
                self.put_override(domain, path, over)
            }
            (Subject::Override(domain, path), Content::Override(_)) => {
                self.lift(domain, path);
                Ok(())
            }
            (subject, content) => {
                Err(format!("is a {}, and holds what belongs to a {}", subject.kind().name(), content.kind().name()))
            }
        }
    }

    fn put_rule(&mut self, domain: &str, path: &DescriptorPath, rule: RuleSpec) -> Result<(), String> {
        let shown = match self.overridden.get_mut(&(domain.into(), path.clone())) {
            Some(held) => {
                held.rule = Some(rule.clone());
                overlaid(rule, &held.over)
            }
            None => rule,
        };
        self.rules.put(domain, path, shown).map_err(|error| error.to_string())
    }

    fn put_override(&mut self, domain: &str, path: &DescriptorPath, over: Override) -> Result<(), String> {
        let rule = self.rule_below(domain, path);
        let shown = overlaid(rule.clone().unwrap_or_default(), &over);
        self.rules.put(domain, path, shown).map_err(|error| error.to_string())?;
        self.overridden.insert((domain.into(), path.clone()), Overridden { over, rule });
        Ok(())
    }

    /// Ends an override, if there is one.
    fn lift(&mut self, domain: &str, path: &DescriptorPath) {
        let Some(held) = self.overridden.remove(&(domain.into(), path.clone())) else { return };
        match held.rule {
            // It was there before, so it fits.
            Some(rule) => drop(self.rules.put(domain, path, rule)),
            None => drop(self.rules.remove(domain, path)),
        }
    }

    fn delete(&mut self, subject: &Subject) {
        match subject {
            Subject::Domain(domain) => self.rules.set_domain(domain, None),
            Subject::Rule(domain, path) => match self.overridden.get_mut(&(domain.clone(), path.clone())) {
                Some(held) => {
                    held.rule = None;
                    let shown = overlaid(RuleSpec::default(), &held.over);
                    drop(self.rules.put(domain, path, shown));
                }
                None => drop(self.rules.remove(domain, path)),
            },
            Subject::Override(domain, path) => self.lift(domain, path),
        }
    }
}

/// A rule with an override's effect. An exemption or a raise is for enforcing: a rule that is off is on meanwhile.
fn overlaid(rule: RuleSpec, over: &Override) -> RuleSpec {
    RuleSpec { effect: Some(over.effect.clone()), disabled: false, ..rule }
}
