//! Faults of one server: the process, its memory, its role, its users.

use tidegate::config::redis::{Secret, Topology};

use crate::drill::{Drill, Signs, TOO_SLOW, slower_than};
use crate::load::By;
use crate::redis_support::{Options, Redis};
use crate::site;

fn drill(redis: &Redis) -> Drill {
    Drill::start(site::settings(Topology::Single, &redis.address()))
}

#[test]
fn killed_and_started_again() {
    let redis = Redis::start();
    drill(&redis).away(Signs { reasons: &["disconnected"] }, || redis.sigkill(), || redis.restart());
}

#[test]
fn hangs() {
    let redis = Redis::start();
    drill(&redis).away(Signs { reasons: &["timeout"] }, || redis.sigstop(), || redis.sigcont());
}

#[test]
fn forgets_the_scripts() {
    let redis = Redis::start();
    let (records, flows) = drill(&redis).flicker(|_| redis.command(&["SCRIPT", "FLUSH"]).ok());
    let ours = records.iter().filter(|record| record.flow < flows);
    let away = ours.filter(|record| record.answer.is_by(By::Local) || record.answer.is_by(By::Nobody)).count();
    let control = slower_than(TOO_SLOW, records.iter().filter(|record| record.flow >= flows));
    assert!(away as f64 <= records.len() as f64 * (0.02 + control), "{away} of {} were not counted", records.len());
}

#[test]
fn out_of_memory() {
    let redis = Redis::start();
    drill(&redis).away(
        Signs { reasons: &["out_of_memory"] },
        || redis.set("maxmemory", "1"),
        || redis.set("maxmemory", "0"),
    );
}

#[test]
fn made_a_replica() {
    let redis = Redis::start();
    drill(&redis).away(
        Signs { reasons: &["read_only"] },
        || redis.command(&["REPLICAOF", "127.0.0.1", "1"]).ok(),
        || redis.command(&["REPLICAOF", "NO", "ONE"]).ok(),
    );
}

/// A server that takes a second or two to read its data from disk.
#[test]
fn reads_its_data() {
    let redis =
        Redis::start_with(&["--enable-debug-command", "yes", "--loading-process-events-interval-bytes", "1024"]);
    redis.command(&["DEBUG", "POPULATE", "1000", "filler", "100"]).ok();
    let drill = drill(&redis);
    std::thread::scope(|scope| {
        redis.set("key-load-delay", "1000");
        drill.away(
            Signs { reasons: &["loading"] },
            || {
                scope.spawn(|| redis.command(&["DEBUG", "RELOAD"]).ok());
            },
            || redis.command(&["CONFIG", "SET", "key-load-delay", "0"]).ok(),
        );
    });
}

fn with_user() -> Redis {
    Options::new().user("tidegate", "secret", &["~*", "&*", "+@all"]).start()
}

fn drill_as_user(redis: &Redis) -> Drill {
    let mut settings = site::settings(Topology::Single, &redis.address());
    settings.username = Some("tidegate".to_owned());
    settings.password = Some(Secret::new("secret"));
    Drill::start(settings)
}

#[test]
fn permissions_taken() {
    let redis = with_user();
    drill_as_user(&redis).away(
        Signs { reasons: &["refused"] },
        || redis.command(&["ACL", "SETUSER", "tidegate", "-evalsha"]).ok(),
        || redis.command(&["ACL", "SETUSER", "tidegate", "+evalsha"]).ok(),
    );
}

#[test]
fn another_password() {
    let redis = with_user();
    drill_as_user(&redis).away(
        Signs { reasons: &["disconnected", "refused"] },
        || {
            redis.command(&["ACL", "SETUSER", "tidegate", "resetpass", ">other"]).ok();
            redis.command(&["CLIENT", "KILL", "USER", "tidegate"]).integer();
        },
        || redis.command(&["ACL", "SETUSER", "tidegate", "resetpass", ">secret"]).ok(),
    );
}
