//! Postgres is killed in the middle and at the start: decisions go on, changes are refused, and nothing is half-written.

use serde_json::Value;

use crate::postgres_support::Postgres;
use crate::replica::{Replica, database, eventually};

#[test]
fn decisions_go_on_and_changes_are_refused_while_postgres_is_away() {
    let postgres = Postgres::start();
    let mut replica = Replica::start(&postgres, &database(&postgres));
    assert_eq!(replica.put("user_id=a", 2).status, 201);
    assert_eq!(replica.put("user_id=b", 1).status, 201);
    assert_eq!([replica.decide("a"), replica.decide("b"), replica.decide("b")], [200, 200, 429]);
    eventually("the copy is written", || replica.revision_on_disk() == Some(2));

    postgres.sigkill();
    eventually("the outage is told", || !replica.standing()["away_since"].is_null());
    assert_eq!([replica.decide("a"), replica.decide("a"), replica.decide("b")], [200, 429, 429]);
    let refused = replica.put("user_id=a", 9);
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")), "{refused:?}");
    assert!(refused.json()["detail"].as_str().unwrap().contains("the rule repository is away"), "{refused:?}");
    assert_eq!(replica.call("GET", "/rate-limit/rules", &Value::Null).status, 503);

    // A start without Postgres has the copy on disk.
    replica.kill();
    replica.restart();
    assert_eq!((&replica.standing()["source"], &replica.standing()["revision"]), (&"disk".into(), &2.into()));
    assert_eq!([replica.decide("b"), replica.decide("b")], [200, 429]);

    postgres.restart();
    eventually("changes are taken again", || replica.put("user_id=b", 3).status == 200);
    assert_eq!([replica.decide("b"), replica.decide("b"), replica.decide("b")], [200, 200, 429]);
    let history = replica.call("GET", "/rate-limit/history", &Value::Null).json();
    let revisions: Vec<u64> =
        history["versions"].as_array().unwrap().iter().map(|version| version["revision"].as_u64().unwrap()).collect();
    assert_eq!(revisions, [3, 2, 1], "{history}");
    assert_eq!(replica.standing()["source"], "postgres");
}

#[test]
fn without_postgres_and_without_a_copy_a_server_waits_and_is_not_ready() {
    let postgres = Postgres::start();
    let name = database(&postgres);
    postgres.sigkill();
    let replica = Replica::start(&postgres, &name);
    let ready = |replica: &Replica| crate::process::request(replica.server().http, "GET", "/readyz", "", b"").status;
    assert_eq!((ready(&replica), replica.decide("a")), (503, 503));
    postgres.restart();
    eventually("it is ready", || ready(&replica) == 200);
    assert_eq!(replica.put("user_id=a", 1).status, 201);
    assert_eq!([replica.decide("a"), replica.decide("a")], [200, 429]);
}
