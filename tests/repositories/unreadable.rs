//! Contents that were written behind the repository's back, or by another version.

use tidegate::rules::repository::{Filter, Revision, RuleRepository as _};

use crate::sample::{amount, commit, delete, limit, page, put, rule};
use crate::stand::Spoil;

pub async fn strange_contents_are_unreadable_one_by_one(stand: impl Spoil) {
    let all = ["a", "b", "c"].map(rule);
    commit(stand.repository(), all.iter().map(|rule| put(rule.clone(), limit(1))).collect()).await;
    let strange = r#"{ "rate_limit": { "requests_per_unit": 1, "unit": "fortnight" } }"#;
    let stand = stand.spoil(&rule("b"), strange).await;
    let repository = stand.repository();
    let record = repository.get(&rule("b")).await.unwrap().unwrap();
    let reason = record.content.as_ref().unwrap().as_ref().unwrap_err().0.clone();
    assert!(reason.starts_with("rate_limit.unit: unknown unit 'fortnight'"), "{reason}");
    let listed = repository.list(&Filter::default(), page(10)).await.unwrap();
    let changed = repository.changed_since(Revision(0), 10).await.unwrap().unwrap().records;
    let mut read = Vec::new();
    repository.read_all(|record| read.push(record)).await.unwrap();
    for mut records in [listed, changed, read] {
        records.sort_by(|a, b| a.subject.cmp(&b.subject));
        assert_eq!(records.len(), 3);
        assert_eq!((amount(&records[0]), &records[1], amount(&records[2])), (1, &record, 1));
    }
    let enabled = Filter { enabled: Some(true), ..Filter::default() };
    assert_eq!(repository.list(&enabled, page(10)).await.unwrap().len(), 2);
    let past = repository.content_at(&rule("b"), Revision(1)).await.unwrap().unwrap();
    assert_eq!(past.unwrap_err().0, reason);
    let versions = repository.history(Some(&rule("b")), page(10)).await.unwrap();
    assert_eq!(versions[0].after, Some(serde_json::from_str(strange).unwrap()), "history shows it as it is");
}

pub async fn strange_contents_can_be_replaced(stand: impl Spoil) {
    let older = r#"{"shadow_mode": false, "rate_limit":
        {"unit": "minute", "over": "drop", "algorithm": "fixed_window", "requests_per_unit": 1}}"#;
    commit(stand.repository(), vec![put(rule("a"), limit(1)), put(rule("b"), limit(1)), put(rule("c"), limit(1))])
        .await;
    let stand = stand.spoil(&rule("a"), r#"{"newer":true}"#).await;
    let stand = stand.spoil(&rule("b"), r#"{"newer":true}"#).await;
    let stand = stand.spoil(&rule("c"), older).await;
    let repository = stand.repository();
    let changes = vec![put(rule("a"), limit(1)), delete(rule("b")), put(rule("c"), limit(1))];
    let made = repository.commit(crate::sample::commit_of(changes)).await.unwrap();
    assert_eq!(made.changed, 2, "other words for the same are no change");
    assert_eq!(amount(&repository.get(&rule("a")).await.unwrap().unwrap()), 1);
    assert_eq!(repository.get(&rule("b")).await.unwrap(), None);
    assert_eq!(repository.get(&rule("c")).await.unwrap().unwrap().revision, Revision(1));
}
