//! Lists, in the making.

use std::fmt::Write as _;

use super::entry::{Entry, EntryError, NEVER, Of};
use super::names::{Names, USER};
use super::networks::NetworksBuilder;
use super::{Entries, EntryId, ListKind, Lists};

/// The most entries of both lists together.
pub const MAX_ENTRIES: usize = 1_000_000;
/// The most path templates of one list.
pub const MAX_PATHS: usize = 10_000;

/// Makes [`Lists`] of entries.
#[derive(Debug)]
pub struct ListsBuilder {
    /// Without its networks.
    lists: Lists,
    networks: NetworksBuilder,
    ignore_case: bool,
    taken: usize,
}

impl ListsBuilder {
    /// No entries yet; with `ignore_case`, the paths that will be looked up are normalised so.
    #[must_use]
    pub fn new(ignore_case: bool) -> Self {
        Self { lists: Lists::default(), networks: NetworksBuilder::default(), ignore_case, taken: 0 }
    }

    /// Takes an entry. Of one that is there already, the later end holds.
    ///
    /// # Errors
    /// When there are too many, or a path is no template.
    pub fn add(&mut self, kind: ListKind, entry: &Entry<'_>) -> Result<(), EntryError> {
        if self.taken >= MAX_ENTRIES {
            return Err(EntryError::TooMany);
        }
        self.taken += 1;
        let Lists { entries, deny, allow, .. } = &mut self.lists;
        let names = match kind {
            ListKind::Deny => deny,
            ListKind::Allow => allow,
        };
        let id = entries.next_id()?;
        let before = match entry.of {
            Of::Network(network) => self.networks.insert(network, kind, id),
            Of::User(name) => names.user(entries, name.as_bytes()),
            Of::Path(_) if names.path_count() >= MAX_PATHS => return Err(EntryError::TooManyPaths),
            Of::Path(template) => names.insert_path(template, self.ignore_case, id).map_err(EntryError::Path)?,
        };
        match before {
            Some(before) => entries.prolong(before, entry.until),
            None => self.append(kind, id, entry),
        }
        Ok(())
    }

    fn append(&mut self, kind: ListKind, id: EntryId, entry: &Entry<'_>) {
        let lists = &mut self.lists;
        lists.entries.push(entry);
        let (names, len): (&mut Names, _) = match kind {
            ListKind::Deny => (&mut lists.deny, &mut lists.deny_len),
            ListKind::Allow => (&mut lists.allow, &mut lists.allow_len),
        };
        if matches!(entry.of, Of::User(_)) {
            names.insert_user(&lists.entries, id);
        }
        *len += 1;
    }

    /// Takes the entries of a text, one a line. Every mistake is handed to `mistake` with its line and that line's
    /// number, counted from 1; after [`EntryError::TooMany`], the rest is not read.
    pub fn add_text(&mut self, kind: ListKind, text: &str, mut mistake: impl FnMut(usize, &str, EntryError)) {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (index, line) in text.lines().enumerate() {
            let taken = match Entry::parse(line) {
                Ok(Some(entry)) => self.add(kind, &entry),
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = taken {
                let end = error == EntryError::TooMany;
                mistake(index + 1, line, error);
                if end {
                    return;
                }
            }
        }
    }

    /// Whether a user is on either list.
    #[must_use]
    pub fn has_users(&self) -> bool {
        self.lists.deny.has_users() || self.lists.allow.has_users()
    }

    /// The lists.
    #[must_use]
    pub fn build(mut self) -> Lists {
        self.lists.entries.text.shrink_to_fit();
        self.lists.entries.begins.shrink_to_fit();
        self.lists.entries.ends.shrink_to_fit();
        let entries = &self.lists.entries;
        self.lists.networks = self.networks.build(|entry| entries.lasts(entry, NEVER - 1));
        self.lists
    }
}

impl Entries {
    /// The id of the entry that is pushed next.
    fn next_id(&self) -> Result<EntryId, EntryError> {
        // Texts begin where 32 bits can tell.
        let _: u32 = self.text.len().try_into().map_err(|_| EntryError::TooMany)?;
        self.begins.len().try_into().map_err(|_| EntryError::TooMany)
    }

    fn push(&mut self, entry: &Entry<'_>) {
        let begin = u32::try_from(self.text.len()).unwrap_or(u32::MAX);
        debug_assert!(!matches!(entry.of, Of::User(_)) || entry.to_string().starts_with(USER));
        // Writing to a String cannot fail.
        let _ = write!(self.text, "{entry}");
        self.begins.push(begin);
        self.ends.push(entry.until);
    }

    fn prolong(&mut self, entry: EntryId, until: u64) {
        if let Some(end) = self.ends.get_mut(entry as usize) {
            *end = (*end).max(until);
        }
    }
}
