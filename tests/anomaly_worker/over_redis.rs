//! Members that meet in a Redis, which goes away and comes back.

use std::time::{Duration, Instant};

use tidegate::anomaly::bus::choice::AnyBus;
use tidegate::anomaly::bus::redis::RedisBus;
use tidegate::anomaly::worker::status::Role;
use tidegate::config::redis::RedisConnection;
use tidegate::core::clock::{ManualClock, Micros};
use tidegate::redis::connect::Connector;
use tidegate::seal::Seal;

use crate::redis_support::Redis;
use crate::server_support::eventually;
use crate::stand::{Member, NOW, calm, flood, mixed, send, settings};

async fn bus(redis: &Redis) -> AnyBus {
    let connection = RedisConnection { urls: vec![redis.address()], ..RedisConnection::default() };
    let bus = RedisBus::connect(&Connector::new(&connection, Duration::from_secs(1)).unwrap(), "test", Seal::CHECKSUM);
    bus.connected().await;
    AnyBus::Redis(Box::new(bus))
}

async fn limited(member: &Member, name: &str) {
    eventually("the flood is limited", async || member.limits(name)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_gone_is_followed_by_another_that_goes_on() {
    let redis = Redis::start();
    let clock = ManualClock::at(NOW);
    send(&bus(&redis).await, &mixed([calm(NOW, 180), flood("mallory", NOW, 5)])).await;
    let first = Member::start(bus(&redis).await, &clock, settings());
    limited(&first, "mallory").await;
    let before = first.about("mallory");
    let second = Member::start(bus(&redis).await, &clock, settings());
    eventually("the second knows", async || second.about("mallory") == before).await;
    assert_eq!((first.role(), second.role()), (Role::Leader, Role::Follower));

    eventually("a checkpoint is left", async || first.worker.status().checkpoint_at.get() > 0).await;
    let began = Instant::now();
    drop(first);
    eventually("the second leads", async || second.role() == Role::Leader).await;
    println!("the seat was taken over after {:?}", began.elapsed());
    eventually("it computes", async || second.worker.status().ticks.get() > 0).await;
    assert_eq!(second.about("mallory"), before, "nothing is done twice or lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_each_goes_on_and_with_it_they_are_one_again() {
    for emptied in [false, true] {
        let redis = Redis::start();
        let clock = ManualClock::at(NOW);
        send(&bus(&redis).await, &mixed([calm(NOW, 180), flood("mallory", NOW, 5)])).await;
        let first = Member::start(bus(&redis).await, &clock, settings());
        limited(&first, "mallory").await;
        eventually("a checkpoint is left", async || first.worker.status().checkpoint_at.get() > 0).await;
        let second = Member::start(bus(&redis).await, &clock, settings());
        limited(&second, "mallory").await;

        if emptied {
            redis.sigkill()
        } else {
            redis.sigstop()
        }
        for member in [&first, &second] {
            eventually("each is alone", async || member.role() == Role::Alone).await;
            assert!(member.limits("mallory"), "what is in force stays");
        }
        let ticks = first.worker.status().ticks.get();
        clock.advance(Micros::from_secs(2));
        eventually("it goes on", async || first.worker.status().ticks.get() > ticks).await;

        if emptied {
            redis.restart()
        } else {
            redis.sigcont()
        }
        eventually("one leads, one follows", async || {
            let mut roles = [first.role(), second.role()];
            roles.sort_by_key(|role| *role as u8);
            roles == [Role::Follower, Role::Leader]
        })
        .await;
        assert!(first.limits("mallory") && second.limits("mallory"), "what is in force stays");
        // It is a whole again: what one sees, both learn of.
        let now = NOW + Micros::from_secs(2);
        for second_of_flood in 0..8 {
            first.see(&flood("trudy", now + Micros::from_secs(second_of_flood), 1));
            let before = [&first, &second].map(|member| member.worker.status().ticks.get());
            clock.advance(Micros::SECOND);
            eventually("a tick", async || [&first, &second].map(|member| member.worker.status().ticks.get()) != before)
                .await;
        }
        limited(&first, "trudy").await;
        limited(&second, "trudy").await;
    }
}
