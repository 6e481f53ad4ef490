//! The numbers of the demo: totals of each rule, and how they change from second to second.

use std::collections::{BTreeMap, VecDeque};

use crate::telemetry::decisions::{DecisionMetrics, HitCounts};

/// Seconds of history kept, for the sparkline.
const HISTORY: usize = 30;

/// One rule's numbers.
#[derive(Debug, Default)]
pub struct Row {
    /// Since the start.
    pub total: HitCounts,
    /// In the last second.
    pub second: HitCounts,
    /// Hits in each of the last seconds, the newest last.
    pub history: VecDeque<u64>,
}

/// All rules, by `domain.rule`.
#[derive(Debug, Default)]
pub struct Board {
    /// In the order of their names.
    pub rows: BTreeMap<String, Row>,
}

impl Board {
    /// Reads the server's metrics; called once a second.
    pub fn tick(&mut self, metrics: &DecisionMetrics) {
        for (series, total) in metrics.totals() {
            let name = format!("{}.{}", series.domain(), series.rule());
            self.rows.entry(name).or_default().advance(total);
        }
    }

    /// The sum of all rules.
    pub fn sum(&self, of: impl Fn(&Row) -> HitCounts) -> HitCounts {
        self.rows.values().map(of).fold(HitCounts::default(), |a, b| combine(a, b, u64::saturating_add))
    }
}

impl Row {
    fn advance(&mut self, total: HitCounts) {
        self.second = combine(total, self.total, u64::saturating_sub);
        self.total = total;
        self.history.push_back(self.second.total_hits);
        if self.history.len() > HISTORY {
            self.history.pop_front();
        }
    }

    /// The history as a line of blocks, scaled to its own maximum.
    pub fn sparkline(&self) -> String {
        const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        let most = self.history.iter().copied().max().unwrap_or(0).max(1);
        let block = |hits: &u64| BLOCKS[usize::try_from((hits * 8).div_ceil(most)).unwrap_or(8).min(8)];
        self.history.iter().map(block).collect()
    }
}

/// Hits that a rule let pass, those of its shadow mode included.
pub const fn allowed(counts: &HitCounts) -> u64 {
    counts.total_hits.saturating_sub(limited(counts))
}

/// Hits that a rule denied. A rule in shadow mode denies nothing.
pub const fn limited(counts: &HitCounts) -> u64 {
    counts.over_limit.saturating_sub(counts.shadow_mode)
}

fn combine(a: HitCounts, b: HitCounts, with: fn(u64, u64) -> u64) -> HitCounts {
    HitCounts {
        total_hits: with(a.total_hits, b.total_hits),
        over_limit: with(a.over_limit, b.over_limit),
        near_limit: with(a.near_limit, b.near_limit),
        within_limit: with(a.within_limit, b.within_limit),
        shadow_mode: with(a.shadow_mode, b.shadow_mode),
        over_limit_with_local_cache: with(a.over_limit_with_local_cache, b.over_limit_with_local_cache),
        refunded: with(a.refunded, b.refunded),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(total_hits: u64) -> HitCounts {
        HitCounts { total_hits, ..HitCounts::default() }
    }

    #[test]
    fn a_second_is_the_difference_of_totals() {
        let mut row = Row::default();
        row.advance(hits(10));
        row.advance(hits(14));
        assert_eq!((row.total.total_hits, row.second.total_hits), (14, 4));
        assert_eq!(row.sparkline(), "█▄");
    }

    #[test]
    fn history_is_bounded() {
        let mut row = Row::default();
        (0..100).for_each(|total| row.advance(hits(total)));
        assert_eq!(row.history.len(), HISTORY);
    }

    #[test]
    fn shadow_mode_denies_nothing() {
        let counts = HitCounts { total_hits: 10, over_limit: 4, shadow_mode: 4, ..HitCounts::default() };
        assert_eq!((allowed(&counts), limited(&counts)), (10, 0));
    }
}
