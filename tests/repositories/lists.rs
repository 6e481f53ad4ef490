//! Lists, their pages and filters.

use tidegate::rules::repository::record::Kind;
use tidegate::rules::repository::{Filter, Page, Record, RuleRepository, Subject};

use crate::sample::{
    commit, delete, domain, limit, over_of, page, put, raised, rule, rule_of, settings, subjects, tagged,
};
use crate::stand::Stand;

fn all() -> Vec<Subject> {
    let mut all: Vec<Subject> = Vec::new();
    for name in ["edge", "EDGE", "edge 2", "öl", "a"] {
        all.push(domain(name));
        for path in ["user_id", "user_id=1", "user_id=1,path", "userXid", "u", "user_id=*", "Z", "ö"] {
            all.push(rule_of(name, path));
        }
        all.extend(["user_id=1", "b"].map(|path| over_of(name, path)));
    }
    all
}

async fn fill(repository: &impl RuleRepository) -> Vec<Subject> {
    let mut all = all();
    let content = |subject: &Subject| match subject.kind() {
        Kind::Domain => settings(true),
        Kind::Rule => limit(1),
        Kind::Override => raised(2),
    };
    commit(repository, all.iter().map(|subject| put(subject.clone(), content(subject))).collect()).await;
    all.sort();
    all
}

/// All pages of a list, one behind the other.
async fn pages(repository: &impl RuleRepository, filter: &Filter, size: usize) -> Vec<Record> {
    let mut found: Vec<Record> = Vec::new();
    loop {
        let after = found.last().map(|record| record.subject.clone());
        let more = repository.list(filter, Page { after, size }).await.unwrap();
        assert!(more.len() <= size);
        let last = more.len() < size;
        found.extend(more);
        if last {
            return found;
        }
    }
}

pub async fn records_are_in_order(stand: impl Stand) {
    let all = fill(stand.repository()).await;
    let found = stand.repository().list(&Filter::default(), page(1_000)).await.unwrap();
    assert_eq!(subjects(&found), all.iter().collect::<Vec<_>>());
}

pub async fn pages_join_to_the_whole(stand: impl Stand) {
    let repository = stand.repository();
    let all = fill(repository).await;
    for size in [1, 7, all.len(), all.len() + 1] {
        let found = pages(repository, &Filter::default(), size).await;
        assert_eq!(subjects(&found), all.iter().collect::<Vec<_>>());
    }
    let behind = Page { after: Some(rule("user_id=0")), size: 1 };
    let found = repository.list(&Filter::default(), behind).await.unwrap();
    assert_eq!(subjects(&found), [&rule("user_id=1")], "behind one that is not there");
    let end = Page { after: all.last().cloned(), size: 1 };
    assert_eq!(repository.list(&Filter::default(), end).await.unwrap(), []);
}

pub async fn filters_leave_out_what_was_not_asked_for(stand: impl Stand) {
    let repository = stand.repository();
    let mut all = fill(repository).await;
    let labelled = [
        (rule("t=1"), vec!["gold", "a \"b\""], false),
        (rule("t=2"), vec!["golden"], false),
        (rule("t=3"), vec!["gold"], true),
    ];
    let label =
        |(subject, tags, disabled): &(Subject, Vec<&str>, bool)| put(subject.clone(), tagged(1, tags, *disabled));
    commit(repository, labelled.iter().map(label).collect()).await;
    all.extend(labelled.iter().map(|(subject, ..)| subject.clone()));
    all.sort();
    let tags_of = |subject: &Subject| {
        labelled.iter().find(|(labelled, ..)| labelled == subject).map_or(&[][..], |(_, tags, _)| tags)
    };

    let kinds = [None, Some(Kind::Domain), Some(Kind::Rule), Some(Kind::Override)];
    let domains = [None, Some("edge"), Some("edge 2"), Some("nowhere")];
    let prefixes = [None, Some("u"), Some("user_id"), Some("user_id=1"), Some("zz")];
    let words =
        [(None, None), (Some("gold"), None), (Some("a \"b\""), None), (None, Some(true)), (Some("gold"), Some(false))];
    for (kind, name) in kinds.into_iter().flat_map(|kind| domains.map(|name| (kind, name))) {
        for (prefix, (tag, enabled)) in prefixes.into_iter().flat_map(|prefix| words.map(|words| (prefix, words))) {
            let filter = Filter {
                kind,
                domain: name.map(str::to_owned),
                path_prefix: prefix.map(str::to_owned),
                tag: tag.map(str::to_owned),
                enabled,
            };
            let is_asked_for = |subject: &&Subject| {
                let path = subject.path().map_or("", |path| path.as_str());
                let is_rule = subject.kind() == Kind::Rule;
                kind.is_none_or(|kind| kind == subject.kind())
                    && name.is_none_or(|name| name == subject.domain())
                    && prefix.is_none_or(|prefix| path.starts_with(prefix))
                    && tag.is_none_or(|tag| is_rule && tags_of(subject).contains(&tag))
                    && enabled.is_none_or(|enabled| is_rule && enabled != (**subject == rule("t=3")))
            };
            let expected: Vec<&Subject> = all.iter().filter(is_asked_for).collect();
            let found = pages(repository, &filter, 5).await;
            assert_eq!(subjects(&found), expected, "{filter:?}");
        }
    }
}

pub async fn prefixes_are_taken_literally(stand: impl Stand) {
    let repository = stand.repository();
    let paths = ["a%2Cb", "a%3Db", "aX2Cb", "user_id", "userXid", "b\\c", "b\\\\c"];
    commit(repository, paths.into_iter().map(|path| put(rule(path), limit(1))).collect()).await;
    for (prefix, expected) in [
        ("a%", vec!["a%2Cb", "a%3Db"]),
        ("user_", vec!["user_id"]),
        ("b\\c", vec!["b\\c"]),
        ("b\\", vec!["b\\\\c", "b\\c"]),
        ("A", vec![]),
    ] {
        let filter = Filter { path_prefix: Some(prefix.to_owned()), ..Filter::default() };
        let found = repository.list(&filter, page(10)).await.unwrap();
        let found: Vec<&str> = found.iter().map(|record| record.subject.path().unwrap().as_str()).collect();
        assert_eq!(found, expected, "{prefix}");
    }
}

pub async fn tombstones_are_not_listed(stand: impl Stand) {
    let repository = stand.repository();
    let rules: Vec<Subject> = (0..30).map(|number| rule(&format!("k={number:02}"))).collect();
    commit(repository, rules.iter().map(|rule| put(rule.clone(), limit(1))).collect()).await;
    commit(repository, rules[1..29].iter().map(|rule| delete(rule.clone())).collect()).await;
    let found = pages(repository, &Filter::default(), 1).await;
    assert_eq!(subjects(&found), [&rules[0], &rules[29]]);
}
