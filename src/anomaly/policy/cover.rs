//! Which groups cover an attack: conjunctions of up to three attributes that most of its requests have, and hardly any
//! calm one.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};

use crate::anomaly::features::names::{Id, OTHER};
use crate::core::subject::Attribute;

/// Values of attributes; 0 where there is none.
pub type Values = [Id; 5];

/// The value of a request that names no user.
pub const ANONYMOUS: Id = OTHER + 1;

/// A request, as groups know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// Country, autonomous system, path, user agent, and whether it names no user ([`ANONYMOUS`]), in the order of
    /// [`Attribute::ALL`].
    pub values: Values,
    /// The client that it came from.
    pub client: u64,
}

/// A conjunction: the values of its attributes, 0 where it does not look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Group(pub Values);

impl Group {
    /// Whether requests of these values belong to it.
    #[must_use]
    pub fn has(&self, values: &Values) -> bool {
        self.0.iter().zip(values).all(|(own, value)| *own == 0 || own == value)
    }

    /// Its attributes and their values.
    pub fn attributes(&self) -> impl Iterator<Item = (Attribute, Id)> {
        Attribute::ALL.into_iter().zip(self.0).filter(|(_, id)| *id != 0)
    }

    /// How many attributes it has.
    #[must_use]
    pub fn width(&self) -> usize {
        self.0.iter().filter(|id| **id != 0).count()
    }
}

/// A group that was chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Chosen {
    /// Which.
    pub group: Group,
    /// Its share of the attack's requests.
    pub attack: f64,
    /// Its share of calm requests, cautiously.
    pub calm: f64,
}

/// At most so many groups.
const MOST: usize = 12;
/// Each explains at least so much of the attack.
const LEAST: f64 = 0.04;

/// Covers the attack's requests by groups that together have at most the share `tolerated` of calm ones.
///
/// A value that few of the attack's requests have is in no group that could be chosen (Agrawal and Srikant, 1994), so
/// requests are counted by their frequent values only, of which there are few.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts of sampled requests")]
pub fn cover<'a, C>(attack: &[Cell], calm: C, tolerated: f64) -> Vec<Chosen>
where
    C: IntoIterator<Item = &'a Cell, IntoIter: ExactSizeIterator>,
{
    let calm = calm.into_iter();
    let all = attack.len() as f64;
    let least = (all * LEAST).max(3.0);
    let frequent = Frequent::of(attack, least);
    let mut left = frequent.tally(attack.iter());
    let mut candidates = per_group(&left);
    candidates.retain(|_, count| *count >= least);
    if candidates.is_empty() {
        return Vec::new();
    }
    let calm_requests = calm.len() as f64 + 1.0;
    let mut usual: Counts<Group> = candidates.keys().map(|group| (*group, 0.5)).collect();
    for (values, requests) in frequent.tally(calm) {
        for group in groups(&values) {
            if let Some(count) = usual.get_mut(&group) {
                *count += requests;
            }
        }
    }
    let share = |group: &Group| usual.get(group).copied().unwrap_or_default() / calm_requests;

    let mut chosen: Vec<Chosen> = Vec::new();
    let mut room = tolerated;
    while chosen.len() < MOST {
        let fits = per_group(&left).into_iter().filter(|(group, count)| *count >= least && share(group) <= room);
        // The largest; of such that are about as large, the one with the least calm traffic, then the plainest. The
        // values decide last, so that the choice is the same each time.
        let rank = |(group, count): &(Group, f64)| {
            ((count / all * 50.0).round(), -share(group), Values::default().len() - group.width(), group.0)
        };
        let best = fits.max_by(|a, b| {
            let (a, b) = (rank(a), rank(b));
            a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2)).then(b.3.cmp(&a.3))
        });
        let Some((group, count)) = best else { break };
        let calm = share(&group);
        room -= calm;
        left.retain(|values, _| !group.has(values));
        chosen.push(Chosen { group, attack: count / all, calm });
    }
    chosen
}

/// How many requests have it.
type Counts<T> = HashMap<T, f64, FixedState>;

/// Of each attribute, the values that many requests have.
struct Frequent([Vec<Id>; 5]);

impl Frequent {
    fn of(cells: &[Cell], least: f64) -> Self {
        let mut counts: [Counts<Id>; 5] = Default::default();
        for cell in cells {
            for (counts, value) in counts.iter_mut().zip(cell.values) {
                *counts.entry(value).or_default() += 1.0;
            }
        }
        Self(counts.map(|counts| {
            counts
                .into_iter()
                .filter(|(value, count)| *value > OTHER && *count >= least)
                .map(|(value, _)| value)
                .collect()
        }))
    }

    /// How many requests have the same frequent values, 0 in the place of all others.
    fn tally<'a>(&self, cells: impl Iterator<Item = &'a Cell>) -> Counts<Values> {
        let mut counts = Counts::default();
        for cell in cells {
            let mut values = cell.values;
            for (value, frequent) in values.iter_mut().zip(&self.0) {
                if !frequent.contains(value) {
                    *value = 0;
                }
            }
            if values != Values::default() {
                *counts.entry(values).or_default() += 1.0;
            }
        }
        counts
    }
}

/// How many requests each group has.
fn per_group(counts: &Counts<Values>) -> Counts<Group> {
    let mut groups_of: Counts<Group> = Counts::default();
    for (values, requests) in counts {
        for group in groups(values) {
            *groups_of.entry(group).or_default() += requests;
        }
    }
    groups_of
}

/// All conjunctions of one to three attributes that can be named.
fn groups(values: &Values) -> impl Iterator<Item = Group> + use<> {
    let values = *values;
    (1_u8..1 << values.len()).filter(|mask| mask.count_ones() <= 3).filter_map(move |mask| {
        let mut group = Values::default();
        for (index, (own, value)) in group.iter_mut().zip(values).enumerate() {
            if mask & (1 << index) != 0 {
                if value <= OTHER {
                    return None;
                }
                *own = value;
            }
        }
        Some(Group(group))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(count: usize, values: impl Fn(usize) -> [Id; 4]) -> Vec<Cell> {
        (0..count).map(|index| Cell { values: widened(values(index)), client: index as u64 }).collect()
    }

    fn widened([a, b, c, d]: [Id; 4]) -> Values {
        [a, b, c, d, 0]
    }

    fn id(index: usize) -> Id {
        2 + Id::try_from(index).unwrap()
    }

    #[test]
    fn a_tool_of_its_own_is_the_group() {
        let calm = cells(2_000, |index| [id(index % 10), 0, id(index % 40), id(index % 7)]);
        let attack = cells(500, |index| [id(index % 10), 0, id(3), id(50)]);
        let chosen = cover(&attack, &calm, 0.001);
        assert_eq!(chosen.len(), 1, "{chosen:?}");
        assert!(chosen[0].group.has(&[id(0), 0, id(3), id(50), 0]) && chosen[0].attack > 0.99);
        assert_eq!(chosen[0].group, Group([0, 0, 0, id(50), 0]), "the plainest of the groups that no calm request has");
    }

    #[test]
    fn a_conjunction_is_taken_where_each_attribute_is_common() {
        // Everybody's agent, everybody's path; but not both together.
        let calm =
            cells(4_000, |index| if index % 2 == 0 { [2, 0, 5, id(index % 40)] } else { [3, 0, id(index % 40), 9] });
        let calm: Vec<_> = calm.into_iter().filter(|cell| !(cell.values[2] == 5 && cell.values[3] == 9)).collect();
        let attack = cells(500, |index| [2 + Id::from(index % 2 == 0), 0, 5, 9]);
        let chosen = cover(&attack, &calm, 0.002);
        assert_eq!(chosen[0].group, Group([0, 0, 5, 9, 0]), "{chosen:?}");
    }

    #[test]
    fn what_calm_traffic_has_is_left_alone() {
        let calm = cells(2_000, |index| [2, 0, id(index % 4), id(index % 3)]);
        let attack = cells(500, |index| [2, 0, id(index % 4), id(index % 3)]);
        assert_eq!(cover(&attack, &calm, 0.003), []);
        assert_eq!(cover(&[], &calm, 0.003), []);
        assert_eq!(cover(&cells(50, |_| [0, 0, 0, 1]), &calm, 0.003), [], "nothing that could be named");
    }
}
