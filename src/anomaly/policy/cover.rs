//! Which groups cover an attack: conjunctions of up to three attributes that most of its requests have, and hardly any
//! calm one.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};

use crate::anomaly::features::names::{Id, OTHER};
use crate::core::subject::Attribute;

/// A request, as groups know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// Country, autonomous system, path and user agent, in the order of [`Attribute::ALL`].
    pub values: [Id; 4],
    /// The client that it came from.
    pub client: u64,
}

/// A conjunction: the values of its attributes, 0 where it does not look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Group(pub [Id; 4]);

impl Group {
    /// Whether requests of these values belong to it.
    #[must_use]
    pub fn has(&self, values: &[Id; 4]) -> bool {
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
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts of sampled requests")]
pub fn cover(attack: &[Cell], calm: &[Cell], tolerated: f64) -> Vec<Chosen> {
    let all = attack.len() as f64;
    let least = (all * LEAST).max(3.0);
    let mut left: Vec<&Cell> = attack.iter().collect();
    let mut candidates: HashMap<Group, f64, FixedState> = HashMap::default();
    for cell in attack {
        for group in groups(&cell.values) {
            *candidates.entry(group).or_default() += 1.0;
        }
    }
    candidates.retain(|_, count| *count >= least);
    let mut usual: HashMap<Group, f64, FixedState> = candidates.keys().map(|group| (*group, 0.5)).collect();
    for cell in calm {
        for group in groups(&cell.values) {
            if let Some(count) = usual.get_mut(&group) {
                *count += 1.0;
            }
        }
    }
    let share = |group: &Group| usual.get(group).copied().unwrap_or_default() / (calm.len() as f64 + 1.0);

    let mut chosen: Vec<Chosen> = Vec::new();
    let mut room = tolerated;
    while chosen.len() < MOST {
        let mut present: HashMap<Group, f64, FixedState> = HashMap::default();
        for cell in &left {
            for group in groups(&cell.values).filter(|group| candidates.contains_key(group)) {
                *present.entry(group).or_default() += 1.0;
            }
        }
        let fits = present.into_iter().filter(|(group, count)| *count >= least && share(group) <= room);
        // The largest; of such that are about as large, the one with the least calm traffic, then the plainest. The
        // values decide last, so that the choice is the same each time.
        let rank =
            |(group, count): &(Group, f64)| ((count / all * 50.0).round(), -share(group), 4 - group.width(), group.0);
        let best = fits.max_by(|a, b| {
            let (a, b) = (rank(a), rank(b));
            a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2)).then(b.3.cmp(&a.3))
        });
        let Some((group, count)) = best else { break };
        let calm = share(&group);
        room -= calm;
        left.retain(|cell| !group.has(&cell.values));
        chosen.push(Chosen { group, attack: count / all, calm });
    }
    chosen
}

/// All conjunctions of one to three attributes that can be named.
fn groups(values: &[Id; 4]) -> impl Iterator<Item = Group> + use<> {
    let values = *values;
    (1_u8..15).filter_map(move |mask| {
        let mut group = [0; 4];
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
        (0..count).map(|index| Cell { values: values(index), client: index as u64 }).collect()
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
        assert!(chosen[0].group.has(&[id(0), 0, id(3), id(50)]) && chosen[0].attack > 0.99);
        assert_eq!(chosen[0].group, Group([0, 0, 0, id(50)]), "the plainest of the groups that no calm request has");
    }

    #[test]
    fn a_conjunction_is_taken_where_each_attribute_is_common() {
        // Everybody's agent, everybody's path; but not both together.
        let calm =
            cells(4_000, |index| if index % 2 == 0 { [2, 0, 5, id(index % 40)] } else { [3, 0, id(index % 40), 9] });
        let calm: Vec<_> = calm.into_iter().filter(|cell| !(cell.values[2] == 5 && cell.values[3] == 9)).collect();
        let attack = cells(500, |index| [2 + Id::from(index % 2 == 0), 0, 5, 9]);
        let chosen = cover(&attack, &calm, 0.002);
        assert_eq!(chosen[0].group, Group([0, 0, 5, 9]), "{chosen:?}");
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
