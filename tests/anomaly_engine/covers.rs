//! Groups that cover an attack are those that are found by counting every conjunction of every request.

use std::collections::HashMap;

use tidegate::anomaly::policy::cover::{Cell, Chosen, Group, Values, cover};

/// By its definition.
fn by_definition(attack: &[Cell], calm: &[Cell], tolerated: f64) -> Vec<Chosen> {
    let all = attack.len() as f64;
    let least = (all * 0.04).max(3.0);
    let share = |group: &Group| {
        (0.5 + calm.iter().filter(|cell| group.has(&cell.values)).count() as f64) / (calm.len() as f64 + 1.0)
    };
    let (mut left, mut room, mut chosen) = (attack.to_vec(), tolerated, Vec::new());
    while chosen.len() < 12 {
        let mut counts: HashMap<Values, f64> = HashMap::new();
        for cell in &left {
            for mask in 1..32_usize {
                let part = |at: usize| if mask & (1 << at) == 0 { 0 } else { cell.values[at] };
                let nameable = (0..5).all(|at| mask & (1 << at) == 0 || cell.values[at] > 1);
                if mask.count_ones() <= 3 && nameable {
                    *counts.entry(std::array::from_fn(part)).or_default() += 1.0;
                }
            }
        }
        let common = counts.into_iter().filter(|(_, count)| *count >= least);
        let fits = common.map(|(values, count)| (Group(values), count, share(&Group(values))));
        let best = fits.filter(|(.., share)| *share <= room).max_by(|(a, many_a, calm_a), (b, many_b, calm_b)| {
            let size = |count: &f64| (count / all * 50.0).round();
            let plainer = b.width().cmp(&a.width());
            size(many_a).total_cmp(&size(many_b)).then(calm_b.total_cmp(calm_a)).then(plainer).then(b.0.cmp(&a.0))
        });
        let Some((group, count, calm)) = best else { break };
        left.retain(|cell| !group.has(&cell.values));
        room -= calm;
        chosen.push(Chosen { group, attack: count / all, calm });
    }
    chosen
}

#[test]
fn counting_by_frequent_values_chooses_the_same() {
    let mut found = 0;
    for seed in 0..20 {
        let mut random = fastrand::Rng::with_seed(seed);
        let kinds = random.u16(2..30);
        // Few values are common, many are rare, and some have no name.
        let cells = |random: &mut fastrand::Rng, count: usize, skew: f64| -> Vec<Cell> {
            let value = |random: &mut fastrand::Rng| (f64::from(kinds) * random.f64().powf(skew)) as u16;
            let values = |random: &mut fastrand::Rng| std::array::from_fn(|_| value(random));
            (0..count).map(|client| Cell { values: values(random), client: client as u64 }).collect()
        };
        let (many, skew) = (random.usize(0..200), 1.0 + 4.0 * random.f64());
        let attack = cells(&mut random, many, skew);
        let calm = cells(&mut random, 200, 1.0);
        let tolerated = random.f64() * 0.2;
        let chosen = cover(&attack, &calm, tolerated);
        assert_eq!(chosen, by_definition(&attack, &calm, tolerated), "seed {seed}");
        found += chosen.len();
    }
    assert!(found > 20, "there was something to choose: {found}");
}
