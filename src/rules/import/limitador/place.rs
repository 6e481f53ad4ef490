//! The limits of one domain placed in a tree of descriptors.
//!
//! Limits that ask for the same first key share a level. Its branches tell apart every value that some limit asks for
//! ([`super::values`]), and each carries all limits that hold for it, so that the one branch a descriptor takes charges
//! all of them.
//!
//! A rule counts each path by itself. So a limit whose counter is for several values together can keep it in one
//! branch only: as one value, as a pattern with `share_threshold`, or as the rest with `*` and `share_threshold`. Where
//! other limits force several branches on it, it is split: told, because each part then has the whole amount.

use std::collections::{HashMap, HashSet};

use super::values::{Branch, Glob, Test, branches};
use crate::core::path::canonical_path;
use crate::core::spec::{DescriptorSpec, EffectSpec, LimitSpec, Origin, RuleSpec};

/// The most descriptors of one domain.
const MAX_DESCRIPTORS: usize = 100_000;

/// A limit and the entries it is about, in the order of the descriptor.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) origin: Origin,
    pub(super) steps: Vec<Step>,
    pub(super) limit: LimitSpec,
}

/// What a limit asks of one entry.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) key: String,
    /// All of these must hold, each negated where it says so.
    pub(super) tests: Vec<(Test, bool)>,
    /// Each value has a counter of its own.
    pub(super) variable: bool,
}

impl Step {
    /// The values it is for, or more than these, where it names them.
    pub(super) fn listed(&self) -> Option<&[String]> {
        self.tests.iter().find_map(|(test, negated)| match test {
            Test::Is(values) if !negated => Some(&values[..]),
            _ => None,
        })
    }

    fn holds_for(&self, branch: &Branch) -> bool {
        self.tests.iter().all(|(test, negated)| branch.passes(test) != *negated)
    }
}

/// What became of a candidate.
#[derive(Clone, Debug, Default)]
pub(super) struct Fate {
    /// The paths of the rules it is in; none when its conditions exclude each other.
    pub(super) paths: Vec<String>,
    /// The keys at which it was split.
    pub(super) split: Vec<String>,
    /// The name it got because another limit of the rule has its own.
    pub(super) renamed: Option<String>,
    /// Why it was left out.
    pub(super) clash: Option<Clash>,
}

/// Why two limits cannot be in one tree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Clash {
    #[error("its pattern for '{key}' overlaps that of line {line}, and a descriptor takes one branch only")]
    Overlap { key: String, line: u32 },
    #[error("its own patterns for '{key}' overlap, and a descriptor takes one branch only")]
    OverlapsItself { key: String },
    #[error("line {line} counts the values of '{key}' {other}, which one rule cannot do both ways for the same values")]
    Counting { key: String, line: u32, other: &'static str },
}

/// The tree of a domain would be too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the conditions combine to more than {MAX_DESCRIPTORS} descriptors")]
pub(super) struct TooMany;

/// Places the candidates; later ones give way where two cannot be in one tree.
pub(super) fn place(candidates: &[Candidate]) -> Result<(Vec<DescriptorSpec>, Vec<Fate>), TooMany> {
    let mut clashes: Vec<Option<Clash>> = vec![None; candidates.len()];
    loop {
        let members: Vec<usize> = (0..candidates.len()).filter(|&member| clashes[member].is_none()).collect();
        let mut builder = Builder {
            candidates,
            fates: vec![Fate::default(); candidates.len()],
            path: Vec::new(),
            descriptors: 0,
            clashed: false,
        };
        let tree = builder.level(&members, 0)?;
        for (clash, fate) in clashes.iter_mut().zip(&mut builder.fates) {
            if fate.clash.is_some() {
                clash.clone_from(&fate.clash);
            } else {
                fate.clash.clone_from(clash);
            }
        }
        // What was left out has left branches behind, so the tree is made anew without it.
        if !builder.clashed {
            return Ok((tree, builder.fates));
        }
    }
}

struct Builder<'c> {
    candidates: &'c [Candidate],
    fates: Vec<Fate>,
    path: Vec<(String, Option<String>)>,
    descriptors: usize,
    clashed: bool,
}

impl Builder<'_> {
    fn step(&self, member: usize, depth: usize) -> &Step {
        &self.candidates[member].steps[depth]
    }

    fn level(&mut self, members: &[usize], depth: usize) -> Result<Vec<DescriptorSpec>, TooMany> {
        let mut keys: Vec<(String, Vec<usize>)> = Vec::new();
        let mut places = HashMap::new();
        for &member in members {
            let key = &self.candidates[member].steps[depth].key;
            let place = *places.entry(key.as_str()).or_insert(keys.len());
            if place == keys.len() {
                keys.push((key.clone(), Vec::new()));
            }
            keys[place].1.push(member);
        }
        let mut descriptors = Vec::new();
        for (key, members) in keys {
            self.same_key(&key, members, depth, &mut descriptors)?;
        }
        Ok(descriptors)
    }

    fn same_key(
        &mut self,
        key: &str,
        members: Vec<usize>,
        depth: usize,
        descriptors: &mut Vec<DescriptorSpec>,
    ) -> Result<(), TooMany> {
        let members = self.without_overlaps(members, depth);
        let tests = members.iter().flat_map(|&member| self.step(member, depth).tests.iter().map(|(test, _)| test));
        let branches = branches(tests);
        // Those that list their values need not be asked at every branch: there may be thousands.
        let mut open = Vec::new();
        let mut by_value: HashMap<&str, Vec<usize>> = HashMap::new();
        let candidates = self.candidates;
        for &member in &members {
            match candidates[member].steps[depth].listed() {
                Some(values) => values.iter().for_each(|value| by_value.entry(value).or_default().push(member)),
                None => open.push(member),
            }
        }
        let mut taken: Vec<(Branch, Vec<usize>)> = Vec::with_capacity(branches.len());
        for branch in branches {
            let holds = |member: &usize| candidates[*member].steps[depth].holds_for(&branch);
            let mut here: Vec<usize> = open.iter().copied().filter(holds).collect();
            if let Branch::Exact(value) = &branch {
                here.extend(by_value.get(value.as_str()).into_iter().flatten().copied().filter(holds));
                here.sort_unstable();
                here.dedup();
            } else {
                here = self.counted_alike(here, depth);
            }
            taken.push((branch, here));
        }
        let exact = taken.iter().take_while(|(branch, _)| matches!(branch, Branch::Exact(_))).count();
        let mut seen = HashSet::new();
        for (position, (branch, here)) in taken.iter().enumerate() {
            let later = &taken[exact.max(position + 1)..];
            let falls = later.iter().any(|(later, members)| !members.is_empty() && branch.falls_to(later));
            if here.is_empty() && !falls {
                continue;
            }
            for &member in here {
                if !seen.insert(member) && !self.step(member, depth).variable {
                    let split = &mut self.fates[member].split;
                    if split.iter().all(|known| known != key) {
                        split.push(key.to_owned());
                    }
                }
            }
            descriptors.push(self.descriptor(key, branch, here, depth)?);
        }
        Ok(())
    }

    fn descriptor(
        &mut self,
        key: &str,
        branch: &Branch,
        members: &[usize],
        depth: usize,
    ) -> Result<DescriptorSpec, TooMany> {
        self.descriptors += 1;
        if self.descriptors > MAX_DESCRIPTORS {
            return Err(TooMany);
        }
        let together = members.first().is_some_and(|&member| !self.step(member, depth).variable);
        let (value, share_threshold) = match branch {
            Branch::Exact(value) => (Some(value.clone()), false),
            Branch::Like(glob) => (Some(glob.text().to_owned()), together),
            Branch::Rest => (together.then(|| "*".to_owned()), together),
        };
        self.path.push((key.to_owned(), value.clone()));
        let (ending, going_on): (Vec<usize>, Vec<usize>) =
            members.iter().partition(|&&member| self.candidates[member].steps.len() == depth + 1);
        let effect = self.effect(&ending);
        let below = self.level(&going_on, depth + 1)?;
        self.path.pop();
        let origin = members.first().map_or_else(Origin::default, |&member| self.candidates[member].origin);
        let rule = RuleSpec { origin, effect, share_threshold, ..RuleSpec::default() };
        Ok(DescriptorSpec { key: key.to_owned(), value, rule, descriptors: below })
    }

    fn effect(&mut self, members: &[usize]) -> Option<EffectSpec> {
        let path = canonical_path(self.path.iter().map(|(key, value)| (key.as_str(), value.as_deref())));
        let mut limits = Vec::with_capacity(members.len());
        // What tells the counters of one rule's limits apart: their names, else their positions.
        let mut places = HashSet::new();
        for (position, &member) in members.iter().enumerate() {
            let mut limit = self.candidates[member].limit.clone();
            let place = limit.name.clone().unwrap_or_else(|| position.to_string());
            if !places.insert(place.clone()) {
                let free = (2u32..).map(|number| format!("{place}-{number}")).find(|name| !places.contains(name));
                limit.name.clone_from(&free);
                places.extend(free.clone());
                self.fates[member].renamed = free;
            }
            limits.push(limit);
            self.fates[member].paths.push(path.clone());
        }
        (!limits.is_empty()).then_some(EffectSpec::Limits(limits))
    }

    /// Those whose patterns are apart from, or within, those of the ones before.
    fn without_overlaps(&mut self, members: Vec<usize>, depth: usize) -> Vec<usize> {
        let mut accepted: Vec<(usize, &Glob)> = Vec::new();
        let mut kept = Vec::with_capacity(members.len());
        for member in members {
            let step = &self.candidates[member].steps[depth];
            let globs = step.tests.iter().filter_map(|(test, _)| match test {
                Test::Like(glob) => Some(glob),
                Test::Is(_) => None,
            });
            let before = accepted.len();
            let mut clash = None;
            for glob in globs {
                if accepted.iter().any(|(_, known)| *known == glob) {
                    continue;
                }
                clash = accepted.iter().find(|(_, other)| !glob.is_comparable(other)).map(|(other, _)| *other);
                if clash.is_some() {
                    break;
                }
                accepted.push((member, glob));
            }
            if let Some(other) = clash {
                accepted.truncate(before);
                let (key, line) = (step.key.clone(), self.candidates[other].origin.line);
                let clash = if other == member { Clash::OverlapsItself { key } } else { Clash::Overlap { key, line } };
                self.clash(member, clash);
                continue;
            }
            kept.push(member);
        }
        kept
    }

    /// Those that count the values of a branch as the first one does: together, or each by itself.
    fn counted_alike(&mut self, members: Vec<usize>, depth: usize) -> Vec<usize> {
        let Some(&first) = members.first() else { return members };
        let variable = self.step(first, depth).variable;
        let (alike, others): (Vec<usize>, Vec<usize>) =
            members.into_iter().partition(|&member| self.step(member, depth).variable == variable);
        for member in others {
            let key = self.step(member, depth).key.clone();
            let other = if variable { "each by itself" } else { "together" };
            self.clash(member, Clash::Counting { key, line: self.candidates[first].origin.line, other });
        }
        alike
    }

    fn clash(&mut self, member: usize, clash: Clash) {
        self.clashed = true;
        self.fates[member].clash.get_or_insert(clash);
    }
}
