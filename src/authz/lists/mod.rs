//! Lists of networks, users and paths: who is turned away, or let through without counting.
//!
//! - A user or a path that is on the deny list is turned away, whatever else is said of the request.
//! - Of the networks on either list that hold the client's address, the longest speaks; when both lists have it, deny
//!   does. So `deny 10.0.0.0/8` with `allow 10.1.0.0/16` turns away all of the former but the latter.
//! - Otherwise, a user or a path on the allow list is let through.
//!
//! An entry may have an end, from which on it is as if it were not there. That is looked at whenever the entry is met,
//! so that it ends on the second, also when its file cannot be read at that time.

mod builder;
mod entry;
mod names;
mod networks;

#[cfg(test)]
mod tests;

use std::net::IpAddr;

pub use builder::{ListsBuilder, MAX_ENTRIES, MAX_PATHS};
pub use entry::{Entry, EntryError};

use names::Names;
use networks::Networks;

/// Of whom a list may speak.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The client's address. An IPv4 address in IPv6's clothes (`::ffff:192.0.2.1`) counts as what it is.
    pub address: Option<IpAddr>,
    /// The user's name.
    pub user: Option<&'a [u8]>,
    /// The normalised path.
    pub path: &'a [u8],
}

/// What the lists say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict<'l> {
    /// Nothing.
    Unlisted,
    /// Let through without counting; with the entry that says so.
    Allowed(&'l str),
    /// Turned away; with the entry that says so.
    Denied(&'l str),
}

/// One of the two lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ListKind {
    /// Who is turned away.
    Deny,
    /// Who is let through.
    Allow,
}

/// Both lists, immutable; made by a [`ListsBuilder`].
#[derive(Debug, Default)]
pub struct Lists {
    entries: Entries,
    networks: Networks,
    deny: Names,
    allow: Names,
    deny_len: usize,
    allow_len: usize,
}

impl Lists {
    /// What the lists say of a subject; `now` in seconds since 1970 ends entries that have an end.
    ///
    /// It allocates nothing, and takes as long for a million entries as for a few.
    #[must_use]
    pub fn verdict(&self, subject: &Subject<'_>, now: u64) -> Verdict<'_> {
        let lasts = |entry| self.entries.lasts(entry, now);
        if let Some(entry) = self.deny.find(&self.entries, subject, lasts) {
            return Verdict::Denied(self.entries.text(entry));
        }
        match subject.address.and_then(|address| self.networks.find(address, lasts)) {
            Some((ListKind::Deny, entry)) => return Verdict::Denied(self.entries.text(entry)),
            Some((ListKind::Allow, entry)) => return Verdict::Allowed(self.entries.text(entry)),
            None => {}
        }
        match self.allow.find(&self.entries, subject, lasts) {
            Some(entry) => Verdict::Allowed(self.entries.text(entry)),
            None => Verdict::Unlisted,
        }
    }

    /// How many entries a list has, ended ones included; one that is written twice counts once.
    #[must_use]
    pub const fn len(&self, kind: ListKind) -> usize {
        match kind {
            ListKind::Deny => self.deny_len,
            ListKind::Allow => self.allow_len,
        }
    }

    /// Whether both lists are empty.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.deny_len == 0 && self.allow_len == 0
    }
}

/// Which entry.
type EntryId = u32;

/// All entries, since there may be a million: their texts in one, and apart from them what a lookup reads.
#[derive(Debug, Default)]
struct Entries {
    text: String,
    /// Where each one's text begins; it ends where the next one begins.
    begins: Vec<u32>,
    /// Until when each one lasts, in seconds since 1970; [`entry::NEVER`] when it has no end.
    ends: Vec<u64>,
}

impl Entries {
    fn lasts(&self, entry: EntryId, now: u64) -> bool {
        self.ends.get(entry as usize).is_some_and(|end| now < *end)
    }

    fn text(&self, entry: EntryId) -> &str {
        let begin = |entry: usize| self.begins.get(entry).map_or(self.text.len(), |begin| *begin as usize);
        &self.text[begin(entry as usize)..begin(entry as usize + 1)]
    }
}
