//! Users and paths of one list.

use std::hash::BuildHasher as _;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::{Entries, EntryId, Subject};
use crate::authz::path::{Refusal, Templates};

/// How the text of a user's entry begins.
pub(super) const USER: &str = "user:";

/// Users and paths of one list.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// By name, which is in the text of the entry.
    users: HashTable<EntryId>,
    hasher: RandomState,
    paths: Templates,
    /// The entry of each template.
    path_entries: Vec<EntryId>,
}

impl Names {
    /// The entry of the subject's user or path, of those that last.
    pub(super) fn find(
        &self,
        entries: &Entries,
        subject: &Subject<'_>,
        lasts: impl Fn(EntryId) -> bool,
    ) -> Option<EntryId> {
        let user = subject.user.and_then(|name| self.user(entries, name)).filter(|entry| lasts(*entry));
        user.or_else(|| {
            let entry = |index: usize| self.path_entries.get(index).copied();
            let found = self.paths.find_where(subject.path, |index| entry(index).is_some_and(&lasts))?;
            entry(found.index())
        })
    }

    pub(super) fn user(&self, entries: &Entries, name: &[u8]) -> Option<EntryId> {
        if self.users.is_empty() {
            return None;
        }
        self.users.find(self.hasher.hash_one(name), |entry| name_of(entries, *entry) == name).copied()
    }

    /// The entry's text must be there already.
    pub(super) fn insert_user(&mut self, entries: &Entries, entry: EntryId) {
        let hash = |entry: &EntryId| self.hasher.hash_one(name_of(entries, *entry));
        self.users.insert_unique(hash(&entry), entry, hash);
    }

    /// Takes a template for an entry, or tells the entry that is of the very same paths.
    pub(super) fn insert_path(
        &mut self,
        template: &str,
        ignore_case: bool,
        entry: EntryId,
    ) -> Result<Option<EntryId>, String> {
        match self.paths.insert(template, ignore_case) {
            Ok(_) => {
                self.path_entries.push(entry);
                Ok(None)
            }
            Err(Refusal::Taken(index)) => Ok(self.path_entries.get(index).copied()),
            Err(Refusal::Malformed(reason)) => Err(reason),
        }
    }

    pub(super) fn has_users(&self) -> bool {
        !self.users.is_empty()
    }

    pub(super) const fn path_count(&self) -> usize {
        self.path_entries.len()
    }
}

fn name_of(entries: &Entries, entry: EntryId) -> &[u8] {
    entries.text(entry).as_bytes().get(USER.len()..).unwrap_or_default()
}
