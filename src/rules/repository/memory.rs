//! A repository in this process's memory, gone with it: for trying out, and for tests, which can make it fail.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::watch;

use super::commit::{Change, Commit, Committed, Expected};
use super::record::{Content, Epoch, Head, Record, Revision, Stamp, Subject, Unreadable, Version};
use super::token::{Token, TokenRepository};
use super::{Changes, Filter, Found, MAX_CHANGES, Page, RepositoryError, RuleRepository};
use crate::rules::form::{read_content, write_content};

/// Keeps rules as long as it lives.
#[derive(Debug)]
pub struct MemoryRepository {
    state: Mutex<State>,
    announced: watch::Sender<Revision>,
    failure: Mutex<Option<RepositoryError>>,
}

#[derive(Debug)]
struct State {
    head: Head,
    /// Deleted ones, too.
    records: BTreeMap<Subject, Record>,
    /// From the oldest to the newest.
    history: Vec<Version>,
    tokens: Vec<Token>,
}

impl Default for MemoryRepository {
    fn default() -> Self {
        let epoch = Epoch(fastrand::u128(..));
        let state = State {
            head: Head { epoch, revision: Revision(0), accepted: None },
            records: BTreeMap::new(),
            history: Vec::new(),
            tokens: Vec::new(),
        };
        Self {
            state: Mutex::new(state),
            announced: watch::Sender::new(Revision(0)),
            failure: Mutex::default(),
        }
    }
}

impl MemoryRepository {
    /// From now on every call fails so; `None` ends that.
    pub fn fail_with(&self, failure: Option<RepositoryError>) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }

    fn state(&self) -> Result<MutexGuard<'_, State>, RepositoryError> {
        match &*self.failure.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(failure) => Err(failure.clone()),
            None => Ok(self.state.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }
}

impl State {
    fn current(&self, subject: &Subject) -> Option<&Record> {
        self.records.get(subject).filter(|record| record.content.is_some())
    }

    fn check(&self, change: &Change) -> Result<(), RepositoryError> {
        let current = self.current(&change.subject).map(|record| record.revision);
        let fits = match change.expected {
            Expected::Anything => true,
            Expected::Absent => current.is_none(),
            Expected::Present => current.is_some(),
            Expected::At(revision) => current == Some(revision),
        };
        if fits {
            return Ok(());
        }
        let found = current.map_or(Found::Absent, Found::At);
        Err(RepositoryError::Conflict { subject: change.subject.clone(), expected: change.expected, found })
    }

    fn put(&mut self, change: Change, revision: Revision, stamp: &Stamp, reason: Option<&str>) {
        let Change { subject, content, .. } = change;
        let written = |content: &Option<Result<Content, Unreadable>>| match content {
            Some(Ok(content)) => Some(write_content(content)),
            _ => None,
        };
        let before = self.current(&subject);
        let created = before.map_or_else(|| stamp.clone(), |record| record.created.clone());
        let content = content.map(Ok);
        self.history.push(Version {
            subject: subject.clone(),
            revision,
            stamp: stamp.clone(),
            reason: reason.map(Into::into),
            before: before.and_then(|record| written(&record.content)),
            after: written(&content),
        });
        let record = Record { subject: subject.clone(), revision, content, created, updated: stamp.clone() };
        self.records.insert(subject, record);
    }
}

fn chosen(filter: &Filter, record: &Record) -> bool {
    let Some(content) = &record.content else { return false };
    let subject = &record.subject;
    let rule = match content {
        Ok(Content::Rule(rule)) => Some(rule),
        _ => None,
    };
    filter.kind.is_none_or(|kind| subject.kind() == kind)
        && filter.domain.as_deref().is_none_or(|domain| subject.domain() == domain)
        && filter
            .path_prefix
            .as_deref()
            .is_none_or(|prefix| subject.path().is_some_and(|path| path.as_str().starts_with(prefix)))
        && filter.tag.as_ref().is_none_or(|tag| rule.is_some_and(|rule| rule.tags.contains(tag)))
        && filter.enabled.is_none_or(|enabled| rule.is_some_and(|rule| rule.disabled != enabled))
}

impl RuleRepository for MemoryRepository {
    async fn head(&self) -> Result<Head, RepositoryError> {
        Ok(self.state()?.head)
    }

    async fn commit(&self, commit: Commit) -> Result<Committed, RepositoryError> {
        let mut state = self.state()?;
        if commit.changes.len() > MAX_CHANGES {
            return Err(RepositoryError::TooManyChanges(commit.changes.len()));
        }
        let found = state.head.revision;
        if let Some(expected) = commit.base.filter(|base| *base != found) {
            return Err(RepositoryError::Moved { expected, found });
        }
        commit.changes.iter().try_for_each(|change| state.check(change))?;
        let idle = |state: &State, change: &Change| {
            let current = state.current(&change.subject).and_then(|record| record.content.clone());
            current == change.content.clone().map(Ok)
        };
        let changes: Vec<_> = commit.changes.into_iter().filter(|change| !idle(&state, change)).collect();
        let changed = changes.len();
        if changed > 0 {
            state.head.revision = Revision(found.0 + 1);
            let stamp = Stamp { at: Timestamp::now(), by: commit.author };
            for change in changes {
                state.put(change, Revision(found.0 + 1), &stamp, commit.reason.as_deref());
            }
            self.announced.send_replace(state.head.revision);
        }
        Ok(Committed { head: state.head, changed })
    }

    async fn get(&self, subject: &Subject) -> Result<Option<Record>, RepositoryError> {
        Ok(self.state()?.current(subject).cloned())
    }

    async fn list(&self, filter: &Filter, page: Page<Subject>) -> Result<Vec<Record>, RepositoryError> {
        let state = self.state()?;
        let after = |record: &&Record| page.after.as_ref().is_none_or(|after| record.subject > *after);
        let records = state.records.values().filter(after).filter(|record| chosen(filter, record));
        Ok(records.take(page.size).cloned().collect())
    }

    async fn history(
        &self,
        subject: Option<&Subject>,
        page: Page<Revision>,
    ) -> Result<Vec<Version>, RepositoryError> {
        let state = self.state()?;
        let mut versions: Vec<Version> = Vec::new();
        for version in state.history.iter().rev() {
            if subject.is_some_and(|subject| version.subject != *subject)
                || page.after.is_some_and(|after| version.revision >= after)
            {
                continue;
            }
            let last = versions.last().map(|version| version.revision);
            if versions.len() >= page.size && last != Some(version.revision) {
                break;
            }
            versions.push(version.clone());
        }
        Ok(versions)
    }

    async fn content_at(
        &self,
        subject: &Subject,
        revision: Revision,
    ) -> Result<Option<Result<Content, Unreadable>>, RepositoryError> {
        let state = self.state()?;
        let mut versions = state.history.iter().rev().filter(|version| version.subject == *subject);
        let then = versions.find(|version| version.revision <= revision);
        let value: Option<Value> = then.and_then(|version| version.after.clone());
        Ok(value.map(|value| read_content(subject, value)))
    }

    async fn changed_since(&self, revision: Revision, most: usize) -> Result<Option<Changes>, RepositoryError> {
        let state = self.state()?;
        let mut records: Vec<_> = state.records.values().filter(|record| record.revision > revision).cloned().collect();
        records.sort_by_key(|record| record.revision);
        Ok((records.len() <= most).then_some(Changes { head: state.head, records }))
    }

    async fn read_all(&self, each: impl FnMut(Record) + Send) -> Result<Head, RepositoryError> {
        let state = self.state()?;
        state.records.values().filter(|record| record.content.is_some()).cloned().for_each(each);
        Ok(state.head)
    }

    async fn accept(&self, _author: &str, _reason: Option<&str>) -> Result<Head, RepositoryError> {
        let mut state = self.state()?;
        let revision = Revision(state.head.revision.0 + 1);
        state.head = Head { epoch: Epoch(fastrand::u128(..)), revision, accepted: Some(Timestamp::now()) };
        self.announced.send_replace(revision);
        Ok(state.head)
    }

    fn announced(&self) -> watch::Receiver<Revision> {
        self.announced.subscribe()
    }
}

impl TokenRepository for MemoryRepository {
    async fn create_token(&self, token: Token) -> Result<(), RepositoryError> {
        let mut state = self.state()?;
        if state.tokens.iter().any(|other| other.name == token.name && other.revoked.is_none()) {
            let reason = "there is a token of that name; revoke it, or use another name".to_owned();
            return Err(RepositoryError::Refused { subject: Subject::Domain(token.name), reason });
        }
        state.tokens.push(token);
        Ok(())
    }

    async fn tokens(&self) -> Result<Vec<Token>, RepositoryError> {
        let mut tokens = self.state()?.tokens.clone();
        tokens.sort_by(|a, b| (&a.name, a.created.at).cmp(&(&b.name, b.created.at)));
        Ok(tokens)
    }

    async fn revoke_token(&self, name: &str, now: Timestamp) -> Result<bool, RepositoryError> {
        let mut state = self.state()?;
        let token = state.tokens.iter_mut().find(|token| *token.name == *name && token.revoked.is_none());
        Ok(token.map(|token| token.revoked = Some(now)).is_some())
    }
}
