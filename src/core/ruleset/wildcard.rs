//! Patterns with `*`, and an index that finds the first matching one of many.
//!
//! A `*` stands anywhere and matches any bytes, also none. Among many patterns the one written first wins. A scan is
//! fastest for a few; beyond [`SCAN_LIMIT`] patterns are found by the text before their first `*`, then by the text
//! after their last, then (where many still agree in both) by the longest text between. So the cost depends on how
//! many different lengths those texts have, not on how many patterns there are.

use std::collections::{BTreeMap, HashMap};

use aho_corasick::AhoCorasick;
use foldhash::fast::RandomState;
use memchr::memmem;

/// Up to so many patterns are tried one after the other.
const SCAN_LIMIT: usize = 16;

/// A pattern with at least one `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    prefix: Box<[u8]>,
    middles: Box<[Box<[u8]>]>,
    suffix: Box<[u8]>,
}

impl Pattern {
    /// The pattern of `text`, or `None` when there is no `*` in it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (prefix, rest) = text.split_once('*')?;
        let (middles, suffix) = rest.rsplit_once('*').unwrap_or(("", rest));
        let middles = middles.split('*').filter(|part| !part.is_empty()).map(|part| part.as_bytes().into());
        Some(Self { prefix: prefix.as_bytes().into(), middles: middles.collect(), suffix: suffix.as_bytes().into() })
    }

    /// Whether the whole `text` matches.
    pub(crate) fn matches(&self, text: &[u8]) -> bool {
        text.strip_prefix(&*self.prefix).is_some_and(|rest| self.rest_matches(rest))
    }

    /// Whether what follows the prefix matches.
    fn rest_matches(&self, rest: &[u8]) -> bool {
        rest.strip_suffix(&*self.suffix).is_some_and(|middle| self.middles_match(middle))
    }

    /// Whether the middles stand in `text` in order. Taking the first place for each leaves the most for the next.
    fn middles_match(&self, mut text: &[u8]) -> bool {
        self.middles.iter().all(|middle| match memmem::find(text, middle) {
            Some(at) => {
                text = &text[at + middle.len()..];
                true
            }
            None => false,
        })
    }

    fn longest_middle(&self) -> &[u8] {
        self.middles.iter().max_by_key(|middle| middle.len()).map_or(&[], |middle| middle)
    }
}

type ByText<T> = HashMap<Box<[u8]>, T, RandomState>;

/// Patterns in the order of writing, each with what it leads to.
#[derive(Debug)]
pub(super) struct PatternSet<T> {
    patterns: Vec<(Pattern, T)>,
    /// By prefix, from the shortest length to the longest; empty while a scan will do.
    index: Vec<(usize, ByText<SamePrefix>)>,
}

/// The patterns of one prefix.
#[derive(Debug)]
enum SamePrefix {
    /// Only one; by far the most usual, and found without a further look-up.
    Alone(u32),
    /// Several, by suffix, from the shortest length to the longest.
    Several { first: u32, by_suffix: Vec<(usize, ByText<SameEnds>)> },
}

/// The patterns that agree in prefix and suffix.
#[derive(Debug, Default)]
struct SameEnds {
    /// The one with nothing between: it matches whatever the others do.
    plain: Option<u32>,
    /// Those with texts between, ascending.
    members: Vec<u32>,
    /// Finds the members' longest middles, where there are many members; the n-th needle is the n-th member's.
    needles: Option<AhoCorasick>,
}

impl<T> Default for PatternSet<T> {
    fn default() -> Self {
        Self { patterns: Vec::new(), index: Vec::new() }
    }
}

impl<T> PatternSet<T> {
    /// The set of `patterns`, in the order of writing.
    pub(super) fn new(patterns: Vec<(Pattern, T)>) -> Self {
        let index = if patterns.len() > SCAN_LIMIT { build_index(&patterns) } else { Vec::new() };
        Self { patterns, index }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// The patterns in the order of writing.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &(Pattern, T)> {
        self.patterns.iter()
    }

    /// The first pattern that matches `text`.
    pub(super) fn first_match(&self, text: &[u8]) -> Option<&T> {
        if self.index.is_empty() {
            return self.patterns.iter().find(|(pattern, _)| pattern.matches(text)).map(|(_, target)| target);
        }
        let mut best = u32::MAX;
        for (length, prefixes) in self.index.iter().take_while(|(length, _)| *length <= text.len()) {
            let (prefix, rest) = text.split_at(*length);
            match prefixes.get(prefix) {
                Some(SamePrefix::Alone(number))
                    if *number < best && self.patterns[*number as usize].0.rest_matches(rest) =>
                {
                    best = *number;
                }
                Some(SamePrefix::Several { first, by_suffix }) if *first < best => {
                    best = self.first_by_suffix(by_suffix, rest, best);
                }
                _ => {}
            }
        }
        self.patterns.get(best as usize).map(|(_, target)| target)
    }

    /// The first pattern before `best` that matches what follows the prefix, else `best`.
    fn first_by_suffix(&self, by_suffix: &[(usize, ByText<SameEnds>)], rest: &[u8], mut best: u32) -> u32 {
        for (length, suffixes) in by_suffix.iter().take_while(|(length, _)| *length <= rest.len()) {
            let (middle, suffix) = rest.split_at(rest.len() - length);
            if let Some(group) = suffixes.get(suffix) {
                best = self.first_of(group, middle, best);
            }
        }
        best
    }

    /// The first of the group that comes before `best` and whose middles match, else `best`.
    fn first_of(&self, group: &SameEnds, middle: &[u8], best: u32) -> u32 {
        let mut best = group.plain.map_or(best, |plain| plain.min(best));
        let matching = |member: u32| self.patterns[member as usize].0.middles_match(middle);
        match &group.needles {
            None => {
                let mut before = group.members.iter().copied().take_while(|member| *member < best);
                before.find(|member| matching(*member)).unwrap_or(best)
            }
            Some(needles) => {
                for hit in needles.find_overlapping_iter(middle) {
                    let member = group.members[hit.pattern().as_usize()];
                    if member < best && matching(member) {
                        best = member;
                    }
                }
                best
            }
        }
    }
}

fn build_index<T>(patterns: &[(Pattern, T)]) -> Vec<(usize, ByText<SamePrefix>)> {
    type Groups<'a> = BTreeMap<usize, BTreeMap<&'a [u8], BTreeMap<usize, BTreeMap<&'a [u8], Vec<u32>>>>>;
    let mut groups: Groups<'_> = BTreeMap::new();
    for (number, (pattern, _)) in (0u32..).zip(patterns) {
        let same_prefix = groups.entry(pattern.prefix.len()).or_default().entry(&pattern.prefix).or_default();
        same_prefix.entry(pattern.suffix.len()).or_default().entry(&pattern.suffix).or_default().push(number);
    }
    groups
        .into_iter()
        .map(|(length, same)| {
            (length, same.into_iter().map(|(text, ends)| (text.into(), same_prefix(patterns, ends))).collect())
        })
        .collect()
}

fn same_prefix<T>(patterns: &[(Pattern, T)], ends: BTreeMap<usize, BTreeMap<&[u8], Vec<u32>>>) -> SamePrefix {
    let mut numbers = ends.values().flat_map(BTreeMap::values).flatten().copied();
    if let (Some(number), None) = (numbers.next(), numbers.next()) {
        return SamePrefix::Alone(number);
    }
    let first = ends.values().flat_map(BTreeMap::values).flatten().copied().min().unwrap_or(u32::MAX);
    let by_suffix = ends.into_iter().map(|(length, same)| {
        (length, same.into_iter().map(|(text, members)| (text.into(), same_ends(patterns, members))).collect())
    });
    SamePrefix::Several { first, by_suffix: by_suffix.collect() }
}

fn same_ends<T>(patterns: &[(Pattern, T)], members: Vec<u32>) -> SameEnds {
    let middle = |member: &u32| patterns[*member as usize].0.longest_middle();
    let (plain, members): (Vec<u32>, Vec<u32>) = members.into_iter().partition(|member| middle(member).is_empty());
    // A finder that cannot be built (too large) leaves a scan, which answers the same.
    let needles = (members.len() > SCAN_LIMIT).then(|| AhoCorasick::new(members.iter().map(middle)).ok()).flatten();
    SameEnds { plain: plain.first().copied(), members, needles }
}
