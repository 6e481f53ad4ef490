//! The values of one entry: what limits ask of them, and the branches of a level that tell them apart.
//!
//! A level of our rules takes one branch and never reconsiders. Each value that some limit names gets a branch of its
//! own, each pattern one behind those, the narrower before the wider, and the last takes the rest. Then whatever a
//! limit asks is either true of every value that takes a branch, or of none.

use crate::core::ruleset::Pattern;

/// A pattern with at least one `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob {
    text: String,
    pattern: Option<Pattern>,
}

impl Glob {
    /// Several `*` in a row are one.
    pub(super) fn new(text: &str) -> Self {
        let mut one = String::with_capacity(text.len());
        for character in text.chars() {
            if character != '*' || !one.ends_with('*') {
                one.push(character);
            }
        }
        Self { pattern: Pattern::parse(&one), text: one }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn matches(&self, value: &str) -> bool {
        self.pattern.as_ref().is_some_and(|pattern| pattern.matches(value.as_bytes()))
    }

    /// Whether it matches all that `other` does. The `*` of the other is taken as a character that nothing but a `*`
    /// matches.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.matches(&other.text)
    }

    /// Whether nothing matches both, as far as their ends tell.
    pub(super) fn is_apart_from(&self, other: &Self) -> bool {
        let ends = |text: &str| {
            let (prefix, rest) = text.split_once('*').unwrap_or((text, ""));
            let suffix = rest.rsplit_once('*').map_or(rest, |(_, suffix)| suffix);
            (prefix.to_owned(), suffix.to_owned())
        };
        let ((prefix, suffix), (other_prefix, other_suffix)) = (ends(&self.text), ends(&other.text));
        !(prefix.starts_with(&other_prefix) || other_prefix.starts_with(&prefix))
            || !(suffix.ends_with(&other_suffix) || other_suffix.ends_with(&suffix))
    }

    /// Whether branches can tell the two apart.
    pub(super) fn is_comparable(&self, other: &Self) -> bool {
        self.covers(other) || other.covers(self) || self.is_apart_from(other)
    }
}

/// What is asked of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Test {
    /// One of these; none is empty or has a `*`.
    Is(Vec<String>),
    /// Like this.
    Like(Glob),
}

impl Test {
    pub(super) fn like(text: &str) -> Self {
        Self::Like(Glob::new(text))
    }
}

/// Where values go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Branch {
    /// This value.
    Exact(String),
    /// Those that match, and took no branch before.
    Like(Glob),
    /// All others.
    Rest,
}

impl Branch {
    /// Whether a test is true of the values that take the branch, among the [`branches`] of all tests at hand.
    pub(super) fn passes(&self, test: &Test) -> bool {
        match (self, test) {
            (Self::Exact(value), Test::Is(values)) => values.contains(value),
            (Self::Exact(value), Test::Like(glob)) => glob.matches(value),
            (Self::Like(own), Test::Like(glob)) => glob.covers(own),
            (Self::Rest, Test::Like(glob)) => glob.text() == "*",
            // Values that are named have branches of their own.
            (Self::Like(_) | Self::Rest, Test::Is(_)) => false,
        }
    }

    /// Whether a value that would take this branch could take `later` if this one were not there.
    pub(super) fn falls_to(&self, later: &Self) -> bool {
        match (self, later) {
            (_, Self::Exact(_)) => false,
            (Self::Exact(value), Self::Like(glob)) => glob.matches(value),
            (Self::Like(own), Self::Like(glob)) => !own.is_apart_from(glob),
            (_, Self::Rest) => true,
            (Self::Rest, Self::Like(_)) => false,
        }
    }
}

/// The branches that tell apart the values of all these tests.
pub(super) fn branches<'t>(tests: impl Iterator<Item = &'t Test>) -> Vec<Branch> {
    let mut exact: Vec<String> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    let mut globs: Vec<Glob> = Vec::new();
    for test in tests {
        match test {
            Test::Is(values) => exact.extend(values.iter().filter(|value| seen.insert((*value).clone())).cloned()),
            Test::Like(glob) if glob.text() == "*" || globs.contains(glob) => {}
            Test::Like(glob) => {
                // Before the first that is wider.
                let place = globs.iter().position(|wider| wider.covers(glob)).unwrap_or(globs.len());
                globs.insert(place, glob.clone());
            }
        }
    }
    let exact = exact.into_iter().map(Branch::Exact);
    exact.chain(globs.into_iter().map(Branch::Like)).chain([Branch::Rest]).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn glob() -> impl Strategy<Value = Glob> {
        "[ab]{0,2}\\*[ab]{0,2}\\*?[ab]{0,2}".prop_map(|text| Glob::new(&text))
    }

    proptest! {
        #[test]
        fn comparisons_of_patterns_hold_for_values(a in glob(), b in glob(), value in "[ab]{0,7}") {
            prop_assert!(!(a.covers(&b) && b.matches(&value)) || a.matches(&value));
            prop_assert!(!(a.is_apart_from(&b) && a.matches(&value) && b.matches(&value)));
        }

        #[test]
        fn a_test_is_true_of_all_values_of_a_branch_or_of_none(
            globs in prop::collection::vec(glob(), 1..4),
            values in prop::collection::vec("[ab]{1,3}", 1..3),
            value in "[ab]{0,5}",
        ) {
            let comparable = globs.iter().all(|a| globs.iter().all(|b| a.is_comparable(b)));
            prop_assume!(comparable);
            let mut tests: Vec<Test> = globs.into_iter().map(Test::Like).collect();
            tests.push(Test::Is(values));
            let branches = branches(tests.iter());
            let taken = branches.iter().find(|branch| match branch {
                Branch::Exact(exact) => *exact == value,
                Branch::Like(glob) => glob.matches(&value),
                Branch::Rest => true,
            });
            for test in &tests {
                let holds = match test {
                    Test::Is(values) => values.contains(&value),
                    Test::Like(glob) => glob.matches(&value),
                };
                prop_assert_eq!(taken.unwrap().passes(test), holds, "{:?} {:?}", branches, test);
            }
        }
    }
}
