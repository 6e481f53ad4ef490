//! What was, who changed it, when and why.

use serde_json::Value;
use tidegate::rules::form::{read_content, write_content};
use tidegate::rules::repository::{Commit, Page, Revision, RuleRepository as _, Version};

use crate::sample::{amount_of, commit, delete, limit, page, put, rule};
use crate::stand::Stand;

fn amount(value: Option<&Value>) -> Option<u64> {
    Some(amount_of(&read_content(&rule("a"), value?.clone()).unwrap()))
}

fn steps(versions: &[Version]) -> Vec<(u64, Option<u64>, Option<u64>)> {
    let step =
        |version: &Version| (version.revision.0, amount(version.before.as_ref()), amount(version.after.as_ref()));
    versions.iter().map(step).collect()
}

pub async fn versions_are_newest_first(stand: impl Stand) {
    let repository = stand.repository();
    commit(repository, vec![put(rule("a"), limit(1))]).await;
    commit(repository, vec![put(rule("a"), limit(2)), put(rule("b"), limit(9))]).await;
    commit(repository, vec![put(rule("b"), limit(8))]).await;
    commit(repository, vec![delete(rule("a"))]).await;
    commit(repository, vec![put(rule("a"), limit(3))]).await;
    let all = [(5, None, Some(3)), (4, Some(2), None), (2, Some(1), Some(2)), (1, None, Some(1))];
    let versions = repository.history(Some(&rule("a")), page(10)).await.unwrap();
    assert_eq!(steps(&versions), all);
    assert!(versions.iter().all(|version| version.subject == rule("a")));
    for (after, size, expected) in
        [(None, 2, &all[..2]), (Some(4), 1, &all[2..3]), (Some(3), 9, &all[2..]), (Some(1), 9, &[])]
    {
        let page = Page { after: after.map(Revision), size };
        assert_eq!(steps(&repository.history(Some(&rule("a")), page).await.unwrap()), expected);
    }
    assert_eq!(repository.history(Some(&rule("c")), page(10)).await.unwrap(), []);
    let whole = repository.history(None, page(10)).await.unwrap();
    let revisions: Vec<u64> = whole.iter().map(|version| version.revision.0).collect();
    assert_eq!(revisions, [5, 4, 3, 2, 2, 1]);
}

pub async fn who_when_and_why_is_kept(stand: impl Stand) {
    let repository = stand.repository();
    let reasons = [Some("black \"Friday\"\nis near"), None, Some("")];
    for (author, (reason, number)) in ["ada", "bøb"].into_iter().cycle().zip(reasons.into_iter().zip(1..)) {
        let changes = vec![put(rule("a"), limit(number))];
        let commit = Commit { author: author.into(), reason: reason.map(Into::into), base: None, changes };
        repository.commit(commit).await.unwrap();
    }
    let versions = repository.history(None, page(10)).await.unwrap();
    let who: Vec<(&str, Option<&str>)> =
        versions.iter().map(|version| (&*version.stamp.by, version.reason.as_deref())).collect();
    assert_eq!(who, [("ada", Some("")), ("bøb", None), ("ada", reasons[0])]);
    assert!(versions.is_sorted_by(|newer, older| newer.stamp.at >= older.stamp.at));
    assert_eq!(versions[1].after, Some(write_content(&limit(2))));
    let record = repository.get(&rule("a")).await.unwrap().unwrap();
    assert_eq!((record.created, record.updated), (versions[2].stamp.clone(), versions[0].stamp.clone()));
}

pub async fn pages_do_not_cut_a_revision(stand: impl Stand) {
    let repository = stand.repository();
    for number in 1..=4 {
        let rules = ["a", "b", "c"].into_iter().take(if number == 3 { 1 } else { 3 });
        commit(repository, rules.map(|path| put(rule(path), limit(number))).collect()).await;
    }
    let (mut after, mut found, mut sizes) = (None, Vec::new(), Vec::new());
    loop {
        let versions = repository.history(None, Page { after, size: 2 }).await.unwrap();
        let Some(last) = versions.last() else { break };
        after = Some(last.revision);
        sizes.push(versions.len());
        found.extend(versions.into_iter().map(|version| version.revision.0));
    }
    assert_eq!(found, [4, 4, 4, 3, 2, 2, 2, 1, 1, 1]);
    assert_eq!(sizes, [3, 4, 3]);
}

pub async fn contents_of_the_past_are_kept(stand: impl Stand) {
    let repository = stand.repository();
    commit(repository, vec![put(rule("b"), limit(9))]).await;
    commit(repository, vec![put(rule("a"), limit(1))]).await;
    commit(repository, vec![put(rule("b"), limit(8))]).await;
    commit(repository, vec![put(rule("a"), limit(2))]).await;
    commit(repository, vec![delete(rule("a"))]).await;
    commit(repository, vec![put(rule("a"), limit(3))]).await;
    for (at, expected) in [None, None, Some(1), Some(1), Some(2), None, Some(3), Some(3)].into_iter().enumerate() {
        let content = repository.content_at(&rule("a"), Revision(at as u64)).await.unwrap();
        assert_eq!(content.map(|content| amount_of(&content.unwrap())), expected, "at {at}");
    }
}
