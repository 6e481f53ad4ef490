//! What is away, and clocks that are set.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tidegate::anomaly::bus::choice::AnyBus;
use tidegate::anomaly::bus::local::LocalBus;
use tidegate::anomaly::bus::{Bus as _, BusError};
use tidegate::anomaly::event::{Feedback, Kind, Verdict};
use tidegate::anomaly::worker::note::{Note, Noted};
use tidegate::anomaly::worker::status::Role;
use tidegate::core::clock::{ManualClock, Micros};

use crate::server_support::eventually;
use crate::stand::{Kept, Member, NOW, calm, flood, mixed, send, settings, user};

#[tokio::test(flavor = "multi_thread")]
async fn while_the_bus_is_away_each_computes_for_itself() {
    let (bus, clock) = (LocalBus::default(), ManualClock::at(NOW));
    send(&AnyBus::Local(bus.member()), &mixed([calm(NOW, 180), flood("mallory", NOW, 5)])).await;
    let kept = Arc::new(Kept::default());
    let noting = || Some((Arc::clone(&kept) as Arc<dyn Note>, Noted::ByWhoComputes));
    let member = || Member::noting(AnyBus::Local(bus.member()), &clock, settings(), noting());
    let leader = member();
    eventually("it leads", async || leader.role() == Role::Leader).await;
    let follower = member();
    for member in [&leader, &follower] {
        eventually("the flood is limited", async || member.limits("mallory")).await;
    }

    bus.interrupt(true);
    for member in [&leader, &follower] {
        eventually("each is alone", async || member.role() == Role::Alone).await;
        assert!(member.limits("mallory"), "what is in force stays");
        assert!(member.worker.standing().bus_away_since.is_some());
    }
    // Another attack, which the one that led sees.
    clock.advance(Micros::from_secs(3));
    let now = NOW + Micros::from_secs(3);
    for second in 0..8 {
        let until = now + Micros::from_secs(second);
        leader.see(&flood("trudy", until, 1));
        clock.advance(Micros::SECOND);
        let seen = leader.worker.status().observed.get();
        eventually("it was seen", async || leader.worker.status().observed.get() > seen).await;
    }
    eventually("it acts alone", async || leader.limits("trudy")).await;
    assert!(!follower.limits("trudy"), "which the other cannot know");
    let feedback = Feedback {
        at: now,
        incident: 1,
        domain: "edge".to_owned(),
        subject: user("trudy"),
        verdict: Verdict::Confirmed,
    };
    assert!(matches!(follower.worker.feedback(feedback).await, Err(BusError::Away(_))), "nobody else heard it");

    bus.interrupt(false);
    eventually("one leads again", async || {
        let mut roles = [leader.role(), follower.role()];
        roles.sort_by_key(|role| *role as u8);
        roles == [Role::Follower, Role::Leader]
    })
    .await;
    if leader.role() == Role::Leader {
        eventually("what it did alone is told", async || follower.limits("trudy")).await;
    } else {
        eventually("what it did alone has ended", async || !leader.limits("trudy")).await;
        let ended = || kept.events.lock().unwrap().iter().any(|event| event.kind == Kind::Release);
        eventually("and that is noted", async || ended()).await;
    }
    assert!(leader.worker.standing().bus_away_since.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn findings_wait_while_their_store_is_away() {
    let (bus, clock) = (LocalBus::default(), ManualClock::at(NOW));
    send(&AnyBus::Local(bus.member()), &mixed([calm(NOW, 180), flood("mallory", NOW, 5)])).await;
    let kept = Arc::new(Kept::default());
    kept.away.store(true, Ordering::SeqCst);
    let findings = Some((Arc::clone(&kept) as Arc<dyn Note>, Noted::ByAll));
    let member = Member::noting(AnyBus::Local(bus), &clock, settings(), findings);
    eventually("the flood is limited", async || member.limits("mallory")).await;
    eventually("the store is away", async || member.worker.standing().findings_away).await;
    assert!(kept.events.lock().unwrap().is_empty());
    kept.away.store(false, Ordering::SeqCst);
    eventually("all is kept", async || {
        let events = kept.events.lock().unwrap();
        let kinds: Vec<_> = events.iter().filter(|event| event.subject == user("mallory")).collect();
        matches!(kinds[..], [first, second, ..] if first.kind == Kind::Flag && matches!(second.kind, Kind::Tighten { .. }))
    })
    .await;
    eventually("it is there again", async || !member.worker.standing().findings_away).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_told_but_not_noted_by_one_that_was_killed_is_noted_by_the_next() {
    let (bus, clock) = (LocalBus::default(), ManualClock::at(NOW));
    send(&AnyBus::Local(bus.member()), &calm(NOW, 180)).await;
    let member = |store: &Arc<Kept>| {
        let findings = Some((Arc::clone(store) as Arc<dyn Note>, Noted::ByWhoComputes));
        Member::noting(AnyBus::Local(bus.member()), &clock, settings(), findings)
    };
    let (never, kept) = (Arc::new(Kept::default()), Arc::new(Kept::default()));
    never.away.store(true, Ordering::SeqCst);
    let first = member(&never);
    eventually("a checkpoint is left", async || first.worker.status().checkpoint_at.get() > 0).await;
    for second in 1..=8 {
        first.see(&flood("mallory", NOW + Micros::from_secs(second), 1));
        let seen = first.worker.status().observed.get();
        clock.advance(Micros::SECOND);
        eventually("it was seen", async || first.worker.status().observed.get() > seen).await;
    }
    eventually("the flood is limited", async || first.limits("mallory")).await;
    drop(first);
    let second = member(&kept);
    eventually("what was told is noted", async || {
        let events = kept.events.lock().unwrap();
        events.iter().any(|event| event.subject == user("mallory") && event.kind == Kind::Flag)
    })
    .await;
    assert!(second.limits("mallory"), "what is in force stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_the_bus_is_counted_and_nothing_else() {
    let (bus, clock) = (LocalBus::default(), ManualClock::at(NOW));
    for bytes in [&b""[..], b"\x01", b"\x01garbage", b"\x02", &[255; 1_000]] {
        bus.send(Bytes::from_static(bytes)).await.unwrap();
    }
    send(&AnyBus::Local(bus.member()), &mixed([calm(NOW, 180), flood("mallory", NOW, 5)])).await;
    let member = Member::start(AnyBus::Local(bus), &clock, settings());
    eventually("the flood is limited", async || member.limits("mallory")).await;
    assert_eq!(member.worker.status().batches_damaged.get(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_neither_keeps_nor_makes_anything() {
    for forward in [true, false] {
        let (bus, clock) = (LocalBus::default(), ManualClock::at(NOW));
        send(&AnyBus::Local(bus.member()), &mixed([calm(NOW, 180), flood("mallory", NOW, 5)])).await;
        let member = Member::start(AnyBus::Local(bus), &clock, settings());
        eventually("the flood is limited", async || member.limits("mallory")).await;
        let hours = Micros::from_secs(2 * 3_600);
        clock.set_wall(if forward { NOW + hours } else { NOW - hours });
        if !forward {
            // By wall time it would last two hours more; the engine's own time goes on.
            for _ in 0..4 {
                clock.advance(Micros::from_secs(30));
                let ticks = member.worker.status().ticks.get();
                eventually("a tick", async || member.worker.status().ticks.get() > ticks).await;
            }
        }
        eventually("it is released", async || !member.limits("mallory")).await;
        member.see(&calm(clock_now(&clock), 1));
        assert!((0..60).all(|person| !member.limits(&format!("person-{person}"))), "nobody is found by a step");
    }
}

fn clock_now(clock: &ManualClock) -> Micros {
    use tidegate::core::clock::Clock as _;
    clock.wall()
}
