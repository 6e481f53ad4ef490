//! What every store must do.

use tidegate::anomaly::event::{Kind, Verdict};
use tidegate::anomaly::findings::finding::MAX_HISTORY;
use tidegate::anomaly::findings::{Action, Filter, Findings as _, Page, State, What};
use tidegate::core::adjustment::Effect;
use tidegate::core::subject::{Attribute, Subject};

use crate::sample::{address, at, event, flag, ids, list, review, tighten, user};
use crate::stand::Stand;

pub async fn incidents_are_noted_and_shown(stand: &impl Stand) {
    let store = stand.store();
    let group =
        Subject::Group([(Attribute::Country, "XX".into()), (Attribute::Path, "/login".into())].into_iter().collect());
    let numbered = 1_900_000_000_123_456;
    store.note(&[]).await.unwrap();
    store.note(&[event(numbered, 1, group.clone(), Kind::Flag)]).await.unwrap();
    store
        .note(&[event(numbered, 2, group.clone(), tighten(60)), event(8, 2, address("2001:db8::"), Kind::Flag)])
        .await
        .unwrap();
    let block = Kind::Block { expires: at(90), shadow: false };
    store
        .note(&[event(numbered, 3, group.clone(), block), event(numbered, 4, group.clone(), Kind::Release)])
        .await
        .unwrap();

    let finding = store.get(numbered).await.unwrap().unwrap();
    assert_eq!((finding.id, finding.subject.clone(), finding.domain.as_str()), (numbered, group, "edge"));
    assert_eq!((finding.requests, finding.score), (40, 0.75));
    assert_eq!((finding.flagged, finding.first_seen, finding.last_seen), (at(1), at(1), at(3)));
    assert_eq!((finding.state(), finding.ended), (State::Ended, Some(at(4))));
    assert_eq!((finding.action, finding.effect, finding.expires), (Action::Block, Some(Effect::Block), Some(at(4))));
    assert_eq!(finding.reasons[0].text, "48 requests a second, usually 0.4");
    let steps: Vec<_> = finding.history.iter().map(|step| (step.what, step.expires)).collect();
    let (tightened, blocked) = ((What::Tighten, Some(at(60))), (What::Block, Some(at(90))));
    assert_eq!(steps, [(What::Flag, None), tightened, blocked, (What::Release, None)]);
    assert_eq!(finding.history[1].effect, Some(Effect::Limit { rate: 1.5, burst: 3 }));

    let other = store.get(8).await.unwrap().unwrap();
    assert_eq!((other.state(), other.subject), (State::Open, address("2001:db8::")));
    assert_eq!(store.get(9).await.unwrap(), None);
    let listed = list(store, Filter::default()).await;
    assert_eq!(listed.iter().map(|finding| finding.id).collect::<Vec<_>>(), [numbered, 8], "the newest first");
    assert!(listed.iter().all(|finding| finding.history.is_empty()), "lists are without histories");
}

pub async fn events_that_come_again_change_nothing(stand: &impl Stand) {
    let store = stand.store();
    let mut events = vec![flag(1, 1)];
    events.extend((2..80).map(|second| event(1, second, user("1"), tighten(second + 100))));
    store.note(&events).await.unwrap();
    let once = store.get(1).await.unwrap().unwrap();
    assert_eq!((once.history.len(), once.requests), (MAX_HISTORY, 790));
    store.note(&events[70..]).await.unwrap();
    store.note(&events).await.unwrap();
    assert_eq!(store.get(1).await.unwrap().unwrap(), once);
    store.note(&[event(1, 80, user("1"), Kind::Release)]).await.unwrap();
    assert_eq!(store.get(1).await.unwrap().unwrap().state(), State::Ended);
}

pub async fn many_incidents_are_noted_at_once(stand: &impl Stand) {
    let store = stand.store();
    let flags: Vec<_> = (1..=2_500).map(|id| flag(id, 1)).collect();
    store.note(&flags).await.unwrap();
    let blocks: Vec<_> = (1..=2_500)
        .map(|id| event(id, 2, user(&id.to_string()), Kind::Block { expires: at(9), shadow: false }))
        .collect();
    store.note(&blocks).await.unwrap();
    let page = store.list(&Filter::default(), Page { after: Some(1_000), size: 1_000 }).await.unwrap();
    assert_eq!((page.findings.len(), page.next), (999, None));
    assert!(page.findings.iter().all(|finding| finding.action == Action::Block && finding.requests == 20));
}

pub async fn pages_join_to_the_whole(stand: &impl Stand) {
    let store = stand.store();
    let flags: Vec<_> = (1..=10).map(|id| flag(id, id)).collect();
    store.note(&flags).await.unwrap();
    for size in [1, 3, 5, 10, 11] {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = store.list(&Filter::default(), Page { after, size }).await.unwrap();
            assert!(page.findings.len() <= size && !page.findings.is_empty());
            seen.extend(page.findings.iter().map(|finding| finding.id));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, (1..=10).rev().collect::<Vec<_>>(), "{size}");
    }
    let odd = Filter { user: Some("3".into()), ..Filter::default() };
    let page = store.list(&odd, Page { after: None, size: 1 }).await.unwrap();
    assert_eq!((page.findings.len(), page.next), (1, None), "nobody is sent to a page that is empty");
}

pub async fn filters_leave_out_what_was_not_asked_for(stand: &impl Stand) {
    let store = stand.store();
    let mut inner = event(3, 3, user("ada"), Kind::Flag);
    inner.domain = "inner".into();
    let events = [
        flag(1, 1),
        event(2, 2, user("ada"), Kind::Flag),
        inner,
        event(4, 4, address("2001:db8:0:1::"), Kind::Flag),
        event(5, 5, address("203.0.113.7"), Kind::Flag),
        event(2, 6, user("ada"), tighten(60)),
        event(5, 7, address("203.0.113.7"), Kind::Block { expires: at(60), shadow: false }),
        event(5, 8, address("203.0.113.7"), Kind::Release),
    ];
    store.note(&events).await.unwrap();
    let mut strong = event(6, 9, user("bob"), Kind::Flag);
    strong.score = 0.9;
    store.note(&[strong]).await.unwrap();
    store.review(6, &review(Verdict::Confirmed, 10)).await.unwrap();
    store.review(1, &review(Verdict::Dismissed, 10)).await.unwrap();
    let none = Filter::default;
    let cases = [
        (none(), vec![6, 5, 4, 3, 2, 1]),
        (Filter { user: Some("ada".into()), ..none() }, vec![3, 2]),
        (Filter { user: Some("ada'; --".into()), ..none() }, vec![]),
        (Filter { user: Some("ada".into()), domain: Some("inner".into()), ..none() }, vec![3]),
        (Filter { address: Some("203.0.113.7".parse().unwrap()), ..none() }, vec![5]),
        (Filter { address: Some("::ffff:203.0.113.7".parse().unwrap()), ..none() }, vec![5]),
        (Filter { address: Some("2001:db8:0:1:2:3:4:5".parse().unwrap()), ..none() }, vec![4]),
        (Filter { state: Some(State::Open), ..none() }, vec![4, 3, 2]),
        (Filter { state: Some(State::Ended), ..none() }, vec![5]),
        (Filter { state: Some(State::Confirmed), ..none() }, vec![6]),
        (Filter { state: Some(State::Dismissed), ..none() }, vec![1]),
        (Filter { action: Some(Action::Flag), ..none() }, vec![6, 4, 3, 1]),
        (Filter { action: Some(Action::Tighten), ..none() }, vec![2]),
        (Filter { action: Some(Action::Block), ..none() }, vec![5]),
        (Filter { min_score: Some(0.9), ..none() }, vec![6]),
        (Filter { since: Some(at(3)), ..none() }, vec![6, 5, 4, 3]),
        (Filter { until: Some(at(3)), ..none() }, vec![2, 1]),
        (Filter { since: Some(at(2)), until: Some(at(3)), ..none() }, vec![2]),
    ];
    for (filter, expected) in cases {
        assert_eq!(ids(store, filter.clone()).await, expected, "{filter:?}");
    }
}

pub async fn reviews_are_recorded_once(stand: &impl Stand) {
    let store = stand.store();
    store.note(&[flag(1, 1), event(1, 2, user("1"), tighten(60))]).await.unwrap();
    let said = review(Verdict::Dismissed, 3);
    assert_eq!(store.review(2, &said).await.unwrap(), None);
    let reviewed = store.review(1, &said).await.unwrap().unwrap();
    assert_eq!((reviewed.state(), reviewed.review.as_ref()), (State::Dismissed, Some(&said)));
    let last = reviewed.history.last().unwrap();
    assert_eq!((last.what, last.by.as_deref(), last.at), (What::Dismissed, Some("ops"), at(3)));
    assert_eq!(store.get(1).await.unwrap().unwrap(), reviewed);
    let again = store.review(1, &review(Verdict::Dismissed, 4)).await.unwrap().unwrap();
    assert_eq!(again, reviewed, "the same again changes nothing");
    // The worker goes on to note what it did.
    store.note(&[event(1, 5, user("1"), Kind::Release)]).await.unwrap();
    let released = store.get(1).await.unwrap().unwrap();
    assert_eq!((released.state(), released.ended, released.review), (State::Dismissed, Some(at(5)), Some(said)));
    let confirmed = store.review(1, &review(Verdict::Confirmed, 6)).await.unwrap().unwrap();
    assert_eq!((confirmed.state(), confirmed.history.len()), (State::Confirmed, 5));
}

pub async fn what_was_reviewed_is_found(stand: &impl Stand) {
    let store = stand.store();
    store.note(&(1..=4).map(|id| flag(id, id)).collect::<Vec<_>>()).await.unwrap();
    assert_eq!(store.reviewed(at(0)).await.unwrap(), []);
    for (id, verdict, second) in [(3, Verdict::Dismissed, 10), (1, Verdict::Confirmed, 20), (2, Verdict::Confirmed, 30)]
    {
        store.review(id, &review(verdict, second)).await.unwrap();
    }
    let found = async |since| store.reviewed(at(since)).await.unwrap().iter().map(|one| one.id).collect::<Vec<_>>();
    assert_eq!(found(0).await, [2, 1, 3]);
    assert_eq!(found(20).await, [2, 1]);
    assert_eq!(found(31).await, [0; 0]);
}

pub async fn the_old_is_forgotten_in_steps(stand: &impl Stand) {
    let store = stand.store();
    let mut events: Vec<_> = (1..=7).map(|id| flag(id, id)).collect();
    events.push(event(2, 50, user("2"), Kind::Release));
    events.push(event(1, 60, user("1"), tighten(90)));
    store.note(&events).await.unwrap();
    assert_eq!(store.prune(at(1), 100).await.unwrap(), 0);
    // The first is old, and was seen lately.
    let mut steps = Vec::new();
    while *steps.last().unwrap_or(&1) > 0 {
        steps.push(store.prune(at(6), 3).await.unwrap());
    }
    assert_eq!(steps.iter().sum::<usize>(), 4, "{steps:?}");
    assert!(steps.iter().all(|step| *step <= 3), "{steps:?}");
    assert_eq!(ids(store, Filter::default()).await, [7, 6, 1]);
}

pub async fn odd_names_are_kept(stand: &impl Stand) {
    let store = stand.store();
    let names = ["", "a'b\"c\\u0000", "näme\u{1f600}", "nul\0", "\\", "{}"];
    for (id, name) in (1..).zip(names) {
        let mut odd = event(id, id, user(name), Kind::Flag);
        odd.domain = name.to_owned();
        odd.reasons[0].text = name.to_owned();
        odd.reasons[0].present = f64::INFINITY;
        store.note(&[odd.clone()]).await.unwrap();
        let kept = store.get(id).await.unwrap().unwrap();
        let expected = name.replace('\0', "\u{fffd}");
        assert_eq!((kept.subject, kept.domain, &kept.reasons[0].text), (user(&expected), expected.clone(), &expected));
        store.note(&[odd]).await.unwrap();
    }
    assert_eq!(ids(store, Filter { user: Some(names[1].into()), ..Filter::default() }).await, [2]);
}

pub async fn those_who_note_at_once_lose_nothing(stand: &impl Stand) {
    let store = stand.store();
    // Each opens its own incidents, and adds to one that both have; times differ, so that nothing is taken for known.
    store.note(&[flag(1, 0)]).await.unwrap();
    let note = async |offset: u64| {
        for step in 1..=20 {
            store.note(&[flag(100 * (offset + 1) + step, step)]).await.unwrap();
        }
        store.review(1, &review(if offset == 0 { Verdict::Confirmed } else { Verdict::Dismissed }, 50)).await.unwrap();
    };
    tokio::join!(note(0), note(1));
    assert_eq!(ids(store, Filter::default()).await.len(), 41);
    assert_eq!(store.get(1).await.unwrap().unwrap().history.len(), 3, "both reviews");
}
