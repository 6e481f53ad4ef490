//! The metric series of every rule in force, by rule id.

use std::sync::Arc;

use crate::core::rule::{Rule, RuleId};
use crate::core::ruleset::{Page, RuleSet};
use crate::telemetry::decisions::{DecisionMetrics, RuleSeries};

/// Series in pages that go with the pages of a rule set, so that those of pages that stay are not looked up again.
#[derive(Debug, Default)]
pub(super) struct SeriesTable {
    pages: Vec<Arc<SeriesPage>>,
}

#[derive(Debug)]
struct SeriesPage(Box<[Option<Arc<RuleSeries>>]>);

impl SeriesTable {
    /// The series of `rules`, of which `before` has those of `rules_before`.
    pub(super) fn new(rules: &RuleSet, metrics: &DecisionMetrics, rules_before: &RuleSet, before: &Self) -> Self {
        let mut known = rules_before.pages().iter().zip(&before.pages);
        let page = |page: &Arc<Page>| match known.next() {
            Some((same, series)) if Arc::ptr_eq(page, same) => Arc::clone(series),
            known => Arc::new(SeriesPage::new(page, metrics, known.map(|(page, series)| (&**page, &**series)))),
        };
        Self { pages: rules.pages().iter().map(page).collect() }
    }

    pub(super) fn get(&self, id: RuleId) -> Option<&RuleSeries> {
        self.pages.get(id.page())?.0.get(id.place())?.as_deref()
    }

    /// Which pages are those of another table.
    #[cfg(test)]
    pub(super) fn shared_with(&self, other: &Self) -> Vec<bool> {
        self.pages.iter().zip(&other.pages).map(|(one, other)| Arc::ptr_eq(one, other)).collect()
    }
}

impl SeriesPage {
    fn new(page: &Page, metrics: &DecisionMetrics, before: Option<(&Page, &Self)>) -> Self {
        let same_name = |one: &Rule, other: &Rule| one.path == other.path && one.domain == other.domain;
        let known = |place: usize, rule: &Rule| {
            let (page, series) = before?;
            let other = page.places().get(place)?.as_ref()?;
            series.0.get(place)?.as_ref().filter(|_| std::ptr::eq(rule, &**other) || same_name(rule, other)).cloned()
        };
        let series = |(place, rule): (usize, &Option<Arc<Rule>>)| {
            let rule = rule.as_ref()?;
            let series = known(place, rule);
            Some(series.unwrap_or_else(|| metrics.series(&rule.domain, &rule.static_metric_key())))
        };
        Self(page.places().iter().enumerate().map(series).collect())
    }
}
