//! Texts with a `*` in them.

use memchr::memmem;

/// A pattern with at least one `*`, each of which matches any bytes, also none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    text: Box<[u8]>,
    /// Where the first `*` stands.
    first: u32,
    /// Where the last `*` stands.
    last: u32,
}

impl Pattern {
    /// The pattern of `text`, or `None` when there is no `*` in it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (first, last) = (text.find('*')?, text.rfind('*')?);
        Some(Self { text: text.as_bytes().into(), first: u32::try_from(first).ok()?, last: u32::try_from(last).ok()? })
    }

    /// The text before the first `*`.
    pub(super) fn prefix(&self) -> &[u8] {
        self.text.get(..self.first as usize).unwrap_or_default()
    }

    /// The text after the last `*`.
    pub(super) fn suffix(&self) -> &[u8] {
        self.text.get(self.last as usize + 1..).unwrap_or_default()
    }

    /// The texts between, in order.
    fn middles(&self) -> impl Iterator<Item = &[u8]> {
        let between = self.text.get(self.first as usize + 1..self.last as usize).unwrap_or_default();
        between.split(|byte| *byte == b'*').filter(|middle| !middle.is_empty())
    }

    /// The longest text between; empty when there is none.
    pub(super) fn longest_middle(&self) -> &[u8] {
        self.middles().max_by_key(|middle| middle.len()).unwrap_or_default()
    }

    /// Whether the whole `text` matches.
    pub(crate) fn matches(&self, text: &[u8]) -> bool {
        text.strip_prefix(self.prefix()).is_some_and(|rest| self.rest_matches(rest))
    }

    /// Whether what follows the prefix matches.
    pub(super) fn rest_matches(&self, rest: &[u8]) -> bool {
        rest.strip_suffix(self.suffix()).is_some_and(|middle| self.middles_match(middle))
    }

    /// Whether the middles stand in `text` in order. Taking the first place for each leaves the most for the next.
    pub(super) fn middles_match(&self, mut text: &[u8]) -> bool {
        if self.first == self.last {
            return true;
        }
        self.middles().all(|middle| match memmem::find(text, middle) {
            Some(at) => {
                text = &text[at + middle.len()..];
                true
            }
            None => false,
        })
    }
}
