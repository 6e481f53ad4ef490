//! The rules in force, by id.

use std::sync::Arc;

use crate::core::rule::{Rule, RuleId};

/// Rules on a page.
const PAGE: u32 = 512;

impl RuleId {
    /// The page on which the rule stands, counted from 0.
    #[must_use]
    pub const fn page(self) -> usize {
        (self.0 / PAGE) as usize
    }

    /// Its place on the page, counted from 0.
    #[must_use]
    pub const fn place(self) -> usize {
        (self.0 % PAGE) as usize
    }
}

/// The rules of 512 ids that follow each other. Two rule sets of which one is made from the other share the pages
/// whose rules are the same.
#[derive(Clone, Debug, Default)]
pub struct Page {
    places: Vec<Option<Arc<Rule>>>,
    taken: usize,
}

impl Page {
    /// The rules by their place; `None` where an id is free.
    #[must_use]
    pub fn places(&self) -> &[Option<Arc<Rule>>] {
        &self.places
    }
}

/// All rules. Cheap to clone; an edit copies a page and the list of pages.
#[derive(Clone, Debug, Default)]
pub(super) struct RuleTable {
    pages: Arc<Vec<Arc<Page>>>,
    len: usize,
    /// Every page before it is full.
    first_open: usize,
}

impl RuleTable {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn is_full(&self) -> bool {
        self.len >= RuleId::UNLISTED.0 as usize
    }

    pub(super) fn pages(&self) -> &[Arc<Page>] {
        &self.pages
    }

    pub(super) fn rules(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.pages.iter().flat_map(|page| &page.places).flatten()
    }

    /// Gives the rule the lowest free id; none, when all are taken.
    pub(super) fn add(&mut self, mut rule: Rule) -> Arc<Rule> {
        if self.is_full() {
            return Arc::new(rule);
        }
        let pages = Arc::make_mut(&mut self.pages);
        while pages.get(self.first_open).is_some_and(|page| page.taken == PAGE as usize) {
            self.first_open += 1;
        }
        if self.first_open == pages.len() {
            pages.push(Arc::default());
        }
        let page = Arc::make_mut(&mut pages[self.first_open]);
        let free = if page.taken == page.places.len() { None } else { page.places.iter().position(Option::is_none) };
        let place = free.unwrap_or(page.places.len());
        rule.id = id(self.first_open, place);
        let rule = Arc::new(rule);
        match page.places.get_mut(place) {
            Some(free) => *free = Some(Arc::clone(&rule)),
            None => page.places.push(Some(Arc::clone(&rule))),
        }
        page.taken += 1;
        self.len += 1;
        rule
    }

    /// Puts a rule where another one of its id stands.
    pub(super) fn replace(&mut self, rule: &Arc<Rule>) {
        if let Some(place) = self.place_mut(rule.id) {
            *place = Some(Arc::clone(rule));
        }
    }

    /// Frees an id.
    pub(super) fn remove(&mut self, id: RuleId) {
        if self.place_mut(id).and_then(Option::take).is_none() {
            return;
        }
        self.len -= 1;
        self.first_open = self.first_open.min(id.page());
        let pages = Arc::make_mut(&mut self.pages);
        Arc::make_mut(&mut pages[id.page()]).taken -= 1;
        while pages.last().is_some_and(|page| page.taken == 0) {
            pages.pop();
        }
    }

    fn place_mut(&mut self, id: RuleId) -> Option<&mut Option<Arc<Rule>>> {
        let page = Arc::make_mut(&mut self.pages).get_mut(id.page())?;
        Arc::make_mut(page).places.get_mut(id.place())
    }
}

fn id(page: usize, place: usize) -> RuleId {
    // The table is not full, so that the id has room.
    RuleId(u32::try_from(page * PAGE as usize + place).unwrap_or(u32::MAX))
}
