//! Patterns, and an index that finds the first matching one of many.
//!
//! Among many patterns the first in their order wins. A scan is fastest for a few; beyond [`SCAN_LIMIT`] patterns are
//! found by the text before their first `*`, then by the text after their last, then (where many still agree in both)
//! by the longest text between. So the cost depends on how many different lengths those texts have, not on how many
//! patterns there are. An edit copies the part of the index where its pattern stands.

use std::sync::Arc;

use smallvec::SmallVec;

use super::needles::Needles;
use super::text_map::{Named, TextMap};
use super::wildcard::Pattern;

/// Up to so many patterns are tried one after the other.
pub(super) const SCAN_LIMIT: usize = 16;

/// A pattern and what it leads to.
#[derive(Clone, Debug)]
pub(super) struct Member<T> {
    /// Its place among the patterns; those of one place are ordered by their text.
    pub(super) order: u32,
    /// The branch as written, in the notation of paths; tells it from all others.
    pub(super) text: Box<str>,
    pub(super) pattern: Pattern,
    pub(super) target: T,
}

impl<T> Member<T> {
    /// Whether this one wins where both match.
    pub(super) fn comes_before(&self, other: &Self) -> bool {
        (self.order, &self.text) < (other.order, &other.text)
    }

    pub(super) fn comes_before_any(&self, best: Option<&Self>) -> bool {
        best.is_none_or(|best| self.comes_before(best))
    }
}

/// Patterns in their order.
#[derive(Clone, Debug)]
pub(super) enum PatternSet<T> {
    Few(Vec<Arc<Member<T>>>),
    Many(Index<T>),
}

#[derive(Clone, Debug)]
pub(super) struct Index<T> {
    by_prefix: ByLength<SamePrefix<T>>,
    len: usize,
}

/// The patterns of one prefix.
#[derive(Clone, Debug)]
enum SamePrefix<T> {
    /// Only one; by far the most usual, and found without a further look-up.
    Alone(Arc<Member<T>>),
    Several(Arc<Several<T>>),
}

#[derive(Clone, Debug)]
struct Several<T> {
    prefix: Box<[u8]>,
    by_suffix: ByLength<Arc<SameEnds<T>>>,
    len: usize,
}

/// The patterns that agree in prefix and suffix.
#[derive(Clone, Debug)]
struct SameEnds<T> {
    suffix: Box<[u8]>,
    /// Those with nothing between, in order: the first one matches whatever the others do.
    plain: SmallVec<[Arc<Member<T>>; 1]>,
    /// Those with texts between.
    others: Needles<T>,
}

impl<T> Default for PatternSet<T> {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl<T> Named for SamePrefix<T> {
    fn text(&self) -> &[u8] {
        match self {
            Self::Alone(member) => member.pattern.prefix(),
            Self::Several(several) => &several.prefix,
        }
    }
}

impl<T> Named for Arc<SameEnds<T>> {
    fn text(&self) -> &[u8] {
        &self.suffix
    }
}

impl<T: Clone> PatternSet<T> {
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Few(few) => few.is_empty(),
            Self::Many(index) => index.len == 0,
        }
    }

    /// The patterns that `text` matches, in order.
    pub(super) fn matching(&self, text: &[u8]) -> Vec<&Member<T>> {
        let mut all = self.members();
        all.retain(|member| member.pattern.matches(text));
        all
    }

    /// The patterns in order.
    pub(super) fn members(&self) -> Vec<&Member<T>> {
        let mut all: Vec<&Member<T>> = match self {
            Self::Few(few) => few.iter().map(|member| &**member).collect(),
            Self::Many(index) => index.members().map(|member| &**member).collect(),
        };
        all.sort_by(|one, other| (one.order, &one.text).cmp(&(other.order, &other.text)));
        all
    }

    /// The first pattern that matches `text`.
    pub(super) fn first_match(&self, text: &[u8]) -> Option<&Member<T>> {
        match self {
            Self::Few(few) => few.iter().find(|member| member.pattern.matches(text)).map(|member| &**member),
            Self::Many(index) => index.first_match(text),
        }
    }

    /// What the pattern leads to that is written `text`.
    pub(super) fn get(&self, pattern: &Pattern, text: &str) -> Option<&T> {
        let member = match self {
            Self::Few(few) => few.iter().find(|member| *member.text == *text),
            Self::Many(index) => match index.by_prefix.get(pattern.prefix())? {
                SamePrefix::Alone(member) => Some(member).filter(|member| *member.text == *text),
                SamePrefix::Several(several) => several.by_suffix.get(pattern.suffix())?.get(pattern, text),
            },
        };
        member.map(|member| &member.target)
    }

    /// What the pattern leads to, to be changed.
    pub(super) fn get_mut(&mut self, pattern: &Pattern, text: &str) -> Option<&mut T> {
        let member = match self {
            Self::Few(few) => few.iter_mut().find(|member| *member.text == *text),
            Self::Many(index) => match index.by_prefix.get_mut(pattern.prefix())? {
                SamePrefix::Alone(member) => Some(member).filter(|member| *member.text == *text),
                SamePrefix::Several(several) => {
                    let ends = Arc::make_mut(several).by_suffix.get_mut(pattern.suffix())?;
                    Arc::make_mut(ends).get_mut(pattern, text)
                }
            },
        };
        member.map(|member| &mut Arc::make_mut(member).target)
    }

    /// Adds a pattern whose text is not in the set yet.
    pub(super) fn insert(&mut self, member: Member<T>) {
        match self {
            Self::Few(few) => {
                let at = few.partition_point(|other| other.comes_before(&member));
                few.insert(at, Arc::new(member));
                if few.len() > SCAN_LIMIT {
                    let mut index = Index { by_prefix: ByLength::default(), len: 0 };
                    few.drain(..).for_each(|member| index.insert(member));
                    *self = Self::Many(index);
                }
            }
            Self::Many(index) => index.insert(Arc::new(member)),
        }
    }

    /// Takes a pattern out.
    pub(super) fn take(&mut self, pattern: &Pattern, text: &str) -> Option<T> {
        let taken = match self {
            Self::Few(few) => few.iter().position(|member| *member.text == *text).map(|at| few.remove(at)),
            Self::Many(_) if self.get(pattern, text).is_none() => None,
            Self::Many(index) => {
                let taken = index.take(pattern, text);
                if index.len <= SCAN_LIMIT / 2 {
                    let mut few: Vec<_> = index.members().cloned().collect();
                    few.sort_by(|one, other| (one.order, &one.text).cmp(&(other.order, &other.text)));
                    *self = Self::Few(few);
                }
                taken
            }
        };
        taken.map(|member| Arc::unwrap_or_clone(member).target)
    }

    /// Changes what every pattern leads to; the text is the branch as written.
    pub(super) fn for_each_mut(&mut self, change: &mut dyn FnMut(&str, &mut T)) {
        let mut change = |member: &mut Arc<Member<T>>| {
            let Member { text, target, .. } = Arc::make_mut(member);
            change(text, target);
        };
        match self {
            Self::Few(few) => few.iter_mut().for_each(change),
            Self::Many(index) => index.by_prefix.for_each_mut(&mut |same| match same {
                SamePrefix::Alone(member) => change(member),
                SamePrefix::Several(several) => Arc::make_mut(several).by_suffix.for_each_mut(&mut |ends| {
                    let SameEnds { plain, others, .. } = Arc::make_mut(ends);
                    plain.iter_mut().for_each(&mut change);
                    others.for_each_mut(&mut change);
                }),
            }),
        }
    }
}

impl<T: Clone> Index<T> {
    fn members(&self) -> impl Iterator<Item = &Arc<Member<T>>> {
        self.by_prefix.iter().flat_map(|same| {
            let (alone, several) = match same {
                SamePrefix::Alone(member) => (Some(member), None),
                SamePrefix::Several(several) => (None, Some(several)),
            };
            let ends = several.into_iter().flat_map(|several| several.by_suffix.iter());
            alone.into_iter().chain(ends.flat_map(|ends| ends.plain.iter().chain(ends.others.iter())))
        })
    }

    fn first_match(&self, text: &[u8]) -> Option<&Member<T>> {
        let mut best: Option<&Member<T>> = None;
        for (length, prefixes) in self.by_prefix.up_to(text.len()) {
            let (prefix, rest) = text.split_at(length);
            match prefixes.get(prefix) {
                Some(SamePrefix::Alone(member))
                    if member.comes_before_any(best) && member.pattern.rest_matches(rest) =>
                {
                    best = Some(member);
                }
                Some(SamePrefix::Several(several)) => best = several.first_match(rest, best),
                _ => {}
            }
        }
        best
    }

    fn insert(&mut self, member: Arc<Member<T>>) {
        self.len += 1;
        match self.by_prefix.get_mut(member.pattern.prefix()) {
            None => self.by_prefix.insert(SamePrefix::Alone(member)),
            Some(SamePrefix::Several(several)) => Arc::make_mut(several).insert(member),
            Some(same) => {
                let prefix = same.text().into();
                let mut several = Several { prefix, by_suffix: ByLength::default(), len: 0 };
                several.insert(member);
                let several = SamePrefix::Several(Arc::new(several));
                if let SamePrefix::Alone(first) = std::mem::replace(same, several)
                    && let SamePrefix::Several(several) = same
                {
                    Arc::make_mut(several).insert(first);
                }
            }
        }
    }

    fn take(&mut self, pattern: &Pattern, text: &str) -> Option<Arc<Member<T>>> {
        let same = self.by_prefix.get_mut(pattern.prefix())?;
        let taken = match same {
            SamePrefix::Alone(member) => {
                let taken = Arc::clone(member);
                self.by_prefix.take(pattern.prefix());
                taken
            }
            SamePrefix::Several(several) => {
                let several = Arc::make_mut(several);
                let taken = several.take(pattern, text)?;
                if let Some(only) = several.only() {
                    *same = SamePrefix::Alone(only);
                }
                taken
            }
        };
        self.len -= 1;
        Some(taken)
    }
}

impl<T: Clone> Several<T> {
    /// The first pattern before `best` that matches what follows the prefix, else `best`.
    fn first_match<'s>(&'s self, rest: &[u8], mut best: Option<&'s Member<T>>) -> Option<&'s Member<T>> {
        for (length, suffixes) in self.by_suffix.up_to(rest.len()) {
            let (middle, suffix) = rest.split_at(rest.len() - length);
            if let Some(ends) = suffixes.get(suffix) {
                if let Some(plain) = ends.plain.first().filter(|plain| plain.comes_before_any(best)) {
                    best = Some(plain);
                }
                best = ends.others.first_match(middle, best);
            }
        }
        best
    }

    fn insert(&mut self, member: Arc<Member<T>>) {
        self.len += 1;
        if let Some(ends) = self.by_suffix.get_mut(member.pattern.suffix()) {
            return Arc::make_mut(ends).insert(member);
        }
        let suffix = member.pattern.suffix().into();
        let mut ends = SameEnds { suffix, plain: SmallVec::new(), others: Needles::default() };
        ends.insert(member);
        self.by_suffix.insert(Arc::new(ends));
    }

    fn take(&mut self, pattern: &Pattern, text: &str) -> Option<Arc<Member<T>>> {
        let ends = Arc::make_mut(self.by_suffix.get_mut(pattern.suffix())?);
        let taken = if pattern.longest_middle().is_empty() {
            let at = ends.plain.iter().position(|member| *member.text == *text)?;
            ends.plain.remove(at)
        } else {
            ends.others.take(text)?
        };
        if ends.plain.is_empty() && ends.others.is_empty() {
            self.by_suffix.take(pattern.suffix());
        }
        self.len -= 1;
        Some(taken)
    }

    /// The pattern that has become the only one.
    fn only(&self) -> Option<Arc<Member<T>>> {
        let mut members = self.by_suffix.iter().flat_map(|ends| ends.plain.iter().chain(ends.others.iter()));
        members.next().filter(|_| self.len == 1).cloned()
    }
}

impl<T: Clone> SameEnds<T> {
    fn get(&self, pattern: &Pattern, text: &str) -> Option<&Arc<Member<T>>> {
        if pattern.longest_middle().is_empty() {
            return self.plain.iter().find(|member| *member.text == *text);
        }
        self.others.get(text)
    }

    fn get_mut(&mut self, pattern: &Pattern, text: &str) -> Option<&mut Arc<Member<T>>> {
        if pattern.longest_middle().is_empty() {
            return self.plain.iter_mut().find(|member| *member.text == *text);
        }
        self.others.get_mut(text)
    }

    fn insert(&mut self, member: Arc<Member<T>>) {
        if member.pattern.longest_middle().is_empty() {
            let at = self.plain.partition_point(|other| other.comes_before(&member));
            self.plain.insert(at, member);
        } else {
            self.others.insert(member);
        }
    }
}

/// Items by their texts, with the lengths that texts have, ascending.
#[derive(Clone, Debug)]
struct ByLength<T>(Vec<(usize, TextMap<T>)>);

impl<T> Default for ByLength<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Named + Clone> ByLength<T> {
    fn find(&self, length: usize) -> Result<usize, usize> {
        self.0.binary_search_by_key(&length, |(length, _)| *length)
    }

    fn get(&self, text: &[u8]) -> Option<&T> {
        self.0[self.find(text.len()).ok()?].1.get(text)
    }

    fn get_mut(&mut self, text: &[u8]) -> Option<&mut T> {
        let at = self.find(text.len()).ok()?;
        self.0[at].1.get_mut(text)
    }

    fn insert(&mut self, item: T) {
        let length = item.text().len();
        let at = self.find(length).unwrap_or_else(|at| {
            self.0.insert(at, (length, TextMap::default()));
            at
        });
        self.0[at].1.insert(item);
    }

    fn take(&mut self, text: &[u8]) -> Option<T> {
        let at = self.find(text.len()).ok()?;
        let items = &mut self.0[at].1;
        let taken = items.take(text);
        if items.is_empty() {
            self.0.remove(at);
        }
        taken
    }

    fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flat_map(|(_, items)| items.iter())
    }

    /// The lengths that a text of `longest` bytes can begin or end with, each with its items.
    fn up_to(&self, longest: usize) -> impl Iterator<Item = (usize, &TextMap<T>)> {
        self.0.iter().take_while(move |(length, _)| *length <= longest).map(|(length, items)| (*length, items))
    }

    fn for_each_mut(&mut self, change: &mut dyn FnMut(&mut T)) {
        for (_, items) in &mut self.0 {
            items.for_each_mut(change);
        }
    }
}
