//! Several members of one bus: one computes, all apply.

use tidegate::anomaly::bus::Bus as _;
use tidegate::anomaly::bus::choice::AnyBus;
use tidegate::anomaly::bus::local::LocalBus;
use tidegate::anomaly::event::{Feedback, Verdict};
use tidegate::anomaly::worker::status::Role;
use tidegate::core::adjustment::Effect;
use tidegate::core::clock::{ManualClock, Micros};

use crate::server_support::eventually;
use crate::stand::{Member, NOW, calm, flood, mixed, send, settings, user};

/// A bus on which three minutes of traffic wait, at the end of which mallory floods; and two members.
async fn attacked() -> (LocalBus, ManualClock, [Member; 2]) {
    let bus = LocalBus::default();
    let clock = ManualClock::at(NOW);
    send(&AnyBus::Local(bus.member()), &mixed([calm(NOW, 180), flood("mallory", NOW, 5)])).await;
    let member = || Member::start(AnyBus::Local(bus.member()), &clock, settings());
    let members = [member(), member()];
    (bus, clock, members)
}

fn roles(members: &[Member]) -> Vec<Role> {
    members.iter().map(Member::role).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_computes_and_all_apply() {
    let (_bus, clock, members) = attacked().await;
    for member in &members {
        eventually("the flood is limited", async || member.limits("mallory")).await;
    }
    eventually("one leads", async || {
        let leaders = roles(&members).iter().filter(|role| **role == Role::Leader).count();
        leaders == 1 && roles(&members).contains(&Role::Follower)
    })
    .await;
    let [one, other] = members.each_ref().map(|member| member.about("mallory"));
    assert_eq!((&one, one.len()), (&other, 1));
    assert!(matches!(one[0].effect, Effect::Factor { factor: 0.25, .. }) && !one[0].shadow, "{one:?}");
    assert!(one[0].id.parse::<u64>().unwrap() >= NOW.0, "named by its incident");
    assert!((0..60).all(|person| !members[0].limits(&format!("person-{person}"))));

    // It stops, and its time is over.
    clock.advance(Micros::from_secs(70));
    for member in &members {
        eventually("it is released", async || !member.limits("mallory")).await;
    }
    let status = members.iter().find(|member| member.role() == Role::Leader).unwrap().worker.status();
    eventually("the engine said so", async || status.kinds()[4] > 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dismissed_one_is_lifted_at_once_everywhere() {
    let (_bus, _clock, members) = attacked().await;
    for member in &members {
        eventually("the flood is limited", async || member.limits("mallory")).await;
    }
    let adjustment = members[0].about("mallory").remove(0);
    let feedback = Feedback {
        at: NOW,
        incident: adjustment.id.parse().unwrap(),
        domain: "edge".to_owned(),
        subject: user("mallory"),
        verdict: Verdict::Dismissed,
    };
    let follower = members.iter().find(|member| member.role() == Role::Follower).unwrap();
    follower.worker.feedback(feedback).await.unwrap();
    for member in &members {
        eventually("it is lifted", async || !member.limits("mallory")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_takes_the_seat_of_one_that_is_gone_and_what_is_in_force_stays() {
    let (bus, clock, [one, other]) = attacked().await;
    for member in [&one, &other] {
        eventually("the flood is limited", async || member.limits("mallory")).await;
    }
    let (leader, follower) = if one.role() == Role::Leader { (one, other) } else { (other, one) };
    let before = follower.about("mallory");
    eventually("a checkpoint is left", async || leader.worker.status().checkpoint_at.get() > 0).await;
    let began = std::time::Instant::now();
    drop(leader);
    eventually("the other leads", async || follower.role() == Role::Leader).await;
    println!("the seat was taken over after {:?}", began.elapsed());
    assert_eq!(follower.about("mallory"), before);

    // Who starts now learns what stands.
    eventually("what stands was left", async || {
        let standing = bus.standing().await.unwrap();
        standing.is_some_and(|standing| standing.adjustments == before)
    })
    .await;
    let newcomer = Member::start(AnyBus::Local(bus.member()), &clock, settings());
    eventually("it knows", async || newcomer.about("mallory") == before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_stops_leaves_a_checkpoint_and_the_seat() {
    let (bus, _clock, [one, other]) = attacked().await;
    for member in [&one, &other] {
        eventually("the flood is limited", async || member.limits("mallory")).await;
    }
    let (leader, follower) = if one.role() == Role::Leader { (one, other) } else { (other, one) };
    leader.worker.stop().await;
    let checkpoint = bus.checkpoint().await.unwrap().expect("a checkpoint");
    assert!(checkpoint.observations.number > 0 && checkpoint.deeds.number > 0);
    eventually("the other leads", async || follower.role() == Role::Leader).await;
}
