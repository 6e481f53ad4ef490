//! Announcements that get lost, outages, and databases that are restored, replaced or emptied.

use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use tidegate::core::clock::SystemClock;
use tidegate::rules::live::Alarm;
use tidegate::rules::repository::{
    Change, Content, Embedded, Expected, Override, Revision, RuleRepository as _, Subject,
};

use crate::line::{Line, NEVER, Replica, change, commit, effect, eventually, memory};

#[tokio::test]
async fn a_commit_is_in_force_without_anybody_asking() {
    let line = Line::to(memory(), false);
    let replicas: Vec<_> = (0..3).map(|_| Replica::follow(&line, NEVER)).collect();
    for amount in 1..=20 {
        commit(&*line, vec![change("user_id=1", Some(amount))]).await;
        for replica in &replicas {
            eventually("the announced change", || replica.amount("user_id=1") == Some(amount)).await;
        }
    }
}

#[tokio::test]
async fn a_lost_announcement_is_made_up_for() {
    let line = Line::to(memory(), true);
    let replica = Replica::follow(&line, Duration::from_millis(10));
    commit(&*line, vec![change("user_id=1", Some(1))]).await;
    eventually("the change that nobody announced", || replica.amount("user_id=1") == Some(1)).await;
}

#[tokio::test]
async fn rules_stay_while_the_repository_is_away_and_follow_when_it_is_back() {
    let line = Line::to(memory(), false);
    let replica = Replica::follow(&line, Duration::from_millis(10));
    replica.reaches(commit(&*line, vec![change("a", Some(1))]).await).await;
    line.cut(true);
    let behind = line.behind.lock().unwrap().clone();
    let revision = commit(&behind, vec![change("a", Some(2))]).await;
    eventually("the outage is seen", || replica.live.status().standing().away.is_some()).await;
    assert_eq!(replica.amount("a"), Some(1));
    line.cut(false);
    replica.reaches(revision).await;
    assert_eq!(replica.amount("a"), Some(2));
    eventually("all is well", || replica.live.status().standing().away.is_none()).await;
}

#[tokio::test]
async fn more_changes_than_are_taken_one_by_one_are_read_anew() {
    let line = Line::to(memory(), false);
    let replica = Replica::follow(&line, NEVER);
    replica.reaches(commit(&*line, vec![change("a", Some(1))]).await).await;
    line.cut(true);
    let behind = line.behind.lock().unwrap().clone();
    let many = (0..200).map(|n| change(&format!("user_id={n}"), Some(n + 1))).collect();
    let revision = commit(&behind, many).await;
    line.cut(false);
    replica.reaches(revision).await;
    assert_eq!(replica.in_force.lock().unwrap().rules.rule_count(), 201);
    assert_eq!(replica.amount("user_id=199"), Some(200));
}

#[tokio::test]
async fn a_replaced_database_waits_for_an_operator() {
    let line = Line::to(memory(), true);
    let replica = Replica::follow(&line, Duration::from_millis(10));
    replica.reaches(commit(&*line, vec![change("a", Some(1))]).await).await;
    let other = memory();
    for amount in 2..9 {
        commit(&other, vec![change("a", Some(amount))]).await;
    }
    line.replace(other.clone());
    eventually("the alarm", || matches!(replica.alarm(), Some(Alarm::OtherEpoch { .. }))).await;
    assert_eq!(replica.amount("a"), Some(1));
    let head = other.accept("operator", Some("moved")).await.unwrap();
    replica.reaches(head.revision.0).await;
    assert_eq!((replica.amount("a"), replica.alarm()), (Some(8), None));
}

#[tokio::test]
async fn a_restored_database_waits_for_an_operator() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let open = |name| Embedded::open(at(name), SystemClock::new());
    let first = open("now.redb").await.unwrap();
    commit(&first, vec![change("a", Some(1))]).await;
    drop(first);
    std::fs::copy(at("now.redb"), at("backup.redb")).unwrap();
    let line = Line::to(open("now.redb").await.unwrap(), true);
    let replica = Replica::follow(&line, Duration::from_millis(10));
    commit(&*line, vec![change("a", Some(2))]).await;
    replica.reaches(commit(&*line, vec![change("a", Some(3))]).await).await;

    let backup = open("backup.redb").await.unwrap();
    line.replace(backup.clone());
    eventually("the alarm", || matches!(replica.alarm(), Some(Alarm::LowerRevision { .. }))).await;
    assert_eq!(replica.amount("a"), Some(3));
    backup.accept("operator", None).await.unwrap();
    eventually("the backup is in force", || replica.amount("a") == Some(1)).await;
    eventually("the alarm ends", || replica.alarm().is_none()).await;
}

#[tokio::test]
async fn an_emptied_database_switches_nothing_off_by_itself() {
    let line = Line::to(memory(), false);
    let replica = Replica::follow(&line, Duration::from_millis(10));
    let names: Vec<String> = (0..30).map(|n| format!("user_id={n}")).collect();
    replica.reaches(commit(&*line, names.iter().map(|name| change(name, Some(5))).collect()).await).await;
    let emptied = commit(&*line, names.iter().map(|name| change(name, None)).collect()).await;
    eventually("the alarm", || matches!(replica.alarm(), Some(Alarm::Loss { lost: 30, before: 30, .. }))).await;
    // What happens on top of it does not sneak it in.
    commit(&*line, vec![change("other", Some(1))]).await;
    assert!(!replica.live.reaches(Revision(emptied), Duration::from_millis(100)).await);
    assert_eq!(replica.amount("user_id=7"), Some(5));
    let head = line.accept("operator", None).await.unwrap();
    replica.reaches(head.revision.0).await;
    assert_eq!((replica.amount("user_id=7"), replica.amount("other")), (None, Some(1)));
}

#[tokio::test]
async fn an_override_ends_although_the_repository_is_away() {
    let line = Line::to(memory(), false);
    let replica = Replica::follow(&line, Duration::from_millis(10));
    commit(&*line, vec![change("a", Some(1))]).await;
    let subject = Subject::Override("edge".into(), "a".parse().unwrap());
    let until = Timestamp::from_second(100).unwrap();
    let content = Some(Content::Override(Override { effect: effect(50), until }));
    replica.reaches(commit(&*line, vec![Change { subject, content, expected: Expected::Absent }]).await).await;
    assert_eq!(replica.amount("a"), Some(50));
    line.cut(true);
    eventually("the outage is seen", || replica.live.status().standing().away.is_some()).await;
    assert_eq!(replica.amount("a"), Some(50));
    replica.now.store(100, Ordering::SeqCst);
    eventually("the override ends", || replica.amount("a") == Some(1)).await;
}
