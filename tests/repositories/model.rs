//! Any sequence of commits, against a map that does the same without a disk.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tidegate::rules::form::write_content;
use tidegate::rules::repository::record::Kind;
use tidegate::rules::repository::{
    Change, Commit, Content, Expected, Filter, Found, Page, RepositoryError, Revision, RuleRepository, Subject,
};

use crate::sample::{commit_of, domain, limit, over_of, page, raised, rule_of, settings, tagged};
use crate::stand::Stand;

/// Every version of every record, by revision.
#[derive(Default)]
struct Model {
    revision: u64,
    versions: BTreeMap<Subject, BTreeMap<u64, Option<Content>>>,
}

impl Model {
    fn at(&self, subject: &Subject, revision: u64) -> Option<(u64, &Content)> {
        let (revision, content) = self.versions.get(subject)?.range(..=revision).next_back()?;
        Some((*revision, content.as_ref()?))
    }

    /// What becomes of a commit: the revision and number of changes, or each conflict that may be told.
    fn commit(&mut self, commit: &Commit) -> Result<(u64, usize), Vec<RepositoryError>> {
        let found = Revision(self.revision);
        if let Some(expected) = commit.base.filter(|base| *base != found) {
            return Err(vec![RepositoryError::Moved { expected, found }]);
        }
        let mut conflicts = Vec::new();
        let mut changes = Vec::new();
        for Change { subject, content, expected } in &commit.changes {
            let there = self.at(subject, u64::MAX);
            let holds = match expected {
                Expected::Anything => true,
                Expected::Absent => there.is_none(),
                Expected::Present => there.is_some(),
                Expected::At(revision) => there.is_some_and(|(at, _)| at == revision.0),
            };
            if !holds {
                let found = there.map_or(Found::Absent, |(at, _)| Found::At(Revision(at)));
                let (subject, expected) = (subject.clone(), *expected);
                conflicts.push(RepositoryError::Conflict { subject, expected, found });
            }
            if there.map(|(_, content)| content) != content.as_ref() {
                changes.push((subject.clone(), content.clone()));
            }
        }
        if !conflicts.is_empty() {
            return Err(conflicts);
        }
        self.revision += u64::from(!changes.is_empty());
        let changed = changes.len();
        for (subject, content) in changes {
            self.versions.entry(subject).or_default().insert(self.revision, content);
        }
        Ok((self.revision, changed))
    }
}

fn subject() -> impl Strategy<Value = Subject> {
    let paths = || prop::sample::select(vec!["a", "a=1", "a=x*", "a=1,b"]);
    let domains = || prop::sample::select(vec!["edge", "edge2"]);
    prop_oneof![
        1 => domains().prop_map(domain),
        4 => (domains(), paths()).prop_map(|(domain, path)| rule_of(domain, path)),
        1 => (domains(), paths()).prop_map(|(domain, path)| over_of(domain, path)),
    ]
}

fn content(kind: Kind, number: u64) -> Content {
    match kind {
        Kind::Domain => settings(number == 1),
        Kind::Rule if number == 3 => tagged(1, &["gold"], true),
        Kind::Rule => limit(number),
        Kind::Override => raised(number),
    }
}

prop_compose! {
    fn change()(
        subject in subject(),
        number in prop::option::weighted(0.7, 1..4_u64),
        expected in prop_oneof![
            12 => Just(Expected::Anything),
            1 => Just(Expected::Absent),
            1 => Just(Expected::Present),
            1 => (1..6_u64).prop_map(|number| Expected::At(Revision(number))),
        ],
    ) -> Change {
        let content = number.map(|number| content(subject.kind(), number));
        Change { subject, content, expected }
    }
}

prop_compose! {
    fn a_commit()(
        changes in prop::collection::vec(change(), 1..5),
        base in prop::option::weighted(0.1, (0..8_u64).prop_map(Revision)),
    ) -> Commit {
        let changes: BTreeMap<Subject, Change> =
            changes.into_iter().map(|change| (change.subject.clone(), change)).collect();
        Commit { base, ..commit_of(changes.into_values().rev().collect()) }
    }
}

pub fn any_commits_agree_with_the_model<S: Stand>() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let config = Config { cases: 24, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let commits = prop::collection::vec(a_commit(), 1..20);
    let tried = runner.run(&commits, |commits| {
        runtime.block_on(async {
            let stand = S::begin().await;
            let mut model = Model::default();
            for commit in commits {
                let expected = model.commit(&commit);
                let made = stand.repository().commit(commit).await;
                match (expected, made) {
                    (Ok(expected), Ok(made)) => assert_eq!((made.head.revision.0, made.changed), expected),
                    (Err(conflicts), Err(error)) => assert!(conflicts.contains(&error), "{error} of {conflicts:?}"),
                    (expected, made) => panic!("{made:?} instead of {expected:?}"),
                }
            }
            agree(stand.repository(), &model).await;
        });
        Ok(())
    });
    tried.unwrap();
}

async fn agree(repository: &impl RuleRepository, model: &Model) {
    assert_eq!(repository.head().await.unwrap().revision.0, model.revision);
    let now = |subject: &Subject| model.at(subject, u64::MAX).map(|(at, content)| (Revision(at), Ok(content.clone())));
    let existing: Vec<_> = model.versions.keys().filter_map(|subject| Some((subject.clone(), now(subject)?))).collect();

    let mut listed = Vec::new();
    let mut after = None;
    loop {
        let page = repository.list(&Filter::default(), Page { after, size: 3 }).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.subject.clone());
        listed.extend(page.into_iter().map(|record| (record.subject, (record.revision, record.content.unwrap()))));
    }
    assert_eq!(listed, existing);
    let mut read = Vec::new();
    let each = |record: tidegate::rules::repository::Record| {
        read.push((record.subject, (record.revision, record.content.unwrap())));
    };
    repository.read_all(each).await.unwrap();
    read.sort_by(|(a, _), (b, _)| a.cmp(b));
    assert_eq!(read, existing);

    for revision in 0..=model.revision {
        let changes = repository.changed_since(Revision(revision), 1_000).await.unwrap().unwrap();
        let mut found: Vec<_> = changes
            .records
            .into_iter()
            .map(|record| (record.subject, record.revision.0, record.content.map(Result::unwrap)))
            .collect();
        found.sort_by(|(a, ..), (b, ..)| a.cmp(b));
        let newest = |(subject, versions): (&Subject, &BTreeMap<u64, Option<Content>>)| {
            let (at, content) = versions.last_key_value()?;
            (*at > revision).then(|| (subject.clone(), *at, content.clone()))
        };
        assert_eq!(found, model.versions.iter().filter_map(newest).collect::<Vec<_>>(), "since {revision}");
    }
    for (subject, versions) in &model.versions {
        let history = repository.history(Some(subject), page(100)).await.unwrap();
        let found: Vec<_> =
            history.into_iter().rev().map(|version| (version.revision.0, version.before, version.after)).collect();
        let mut before = None;
        let expected: Vec<_> = versions
            .iter()
            .map(|(at, content)| {
                let after = content.as_ref().map(write_content);
                (*at, std::mem::replace(&mut before, after.clone()), after)
            })
            .collect();
        assert_eq!(found, expected, "{subject}");
        for revision in 0..=model.revision {
            let content = repository.content_at(subject, Revision(revision)).await.unwrap();
            let expected = model.at(subject, revision).map(|(_, content)| Ok(content.clone()));
            assert_eq!(content, expected, "{subject} at {revision}");
        }
    }
    let mut whole: Vec<_> = repository.history(None, page(1_000)).await.unwrap();
    assert!(whole.is_sorted_by(|newer, older| newer.revision >= older.revision));
    let mut expected: Vec<_> = model
        .versions
        .iter()
        .flat_map(|(subject, versions)| versions.keys().map(|at| (Revision(*at), subject.clone())))
        .collect();
    expected.sort();
    whole.reverse();
    let mut found: Vec<_> = whole.into_iter().map(|version| (version.revision, version.subject)).collect();
    found.sort();
    assert_eq!(found, expected);
}
