//! Lists of networks, users and paths: who is turned away, or let through without counting.

use std::net::IpAddr;

/// Of whom a list may speak.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The client's address.
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

/// Both lists, immutable.
#[derive(Debug, Default)]
pub struct Lists {}

impl Lists {
    /// What the lists say of a subject; `now` in seconds since 1970 ends entries that have an end.
    #[must_use]
    pub const fn verdict(&self, _subject: &Subject<'_>, _now: u64) -> Verdict<'_> {
        Verdict::Unlisted
    }
}
