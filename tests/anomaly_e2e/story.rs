//! An attack is found, stopped at both replicas, and let go; a dismissal lifts it at once; who computes is killed.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::crowd::{Attack, People};
use crate::harness::{Client, eventually, within};
use crate::stand::{Replica, Stand};

/// Requests of calm people before the first attack: what the worker learns from takes ten of a client, and `warm_up`.
const CALM: u32 = 1_500;
/// Half a minute, if the machine is not busy with something else.
const LEARNING: Duration = Duration::from_secs(90);

/// Times since an attack began, for people to read.
struct Times {
    began: Instant,
    lines: Vec<(String, Instant)>,
}

impl Times {
    const fn since(began: Instant) -> Self {
        Self { began, lines: Vec::new() }
    }

    fn note(&mut self, what: impl Into<String>, when: Instant) {
        self.lines.push((what.into(), when));
    }

    fn print(&self, title: &str) {
        println!("\n| {title} | s |\n|---|---|");
        for (what, when) in &self.lines {
            println!("| {what} | {:.1} |", when.saturating_duration_since(self.began).as_secs_f64());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attack_is_stopped_at_both_replicas_and_let_go() {
    let mut stand = Stand::start().await;
    let people = People::come(&stand.envoys);
    learn(&stand, &people).await;
    found_and_let_go(&stand).await;
    dismissed(&stand).await;
    assert_eq!(people.refused(), 0, "nobody else was refused");
    killed(&mut stand).await;
    assert_eq!(people.refused(), 0, "nobody else was refused");
    people.go().await;
    for found in stand.replicas[0].all_found().await {
        let attacker = found["ip_address"].as_str().unwrap_or_default().starts_with("127.3.");
        let limited = matches!(found["action"].as_str(), Some("tighten" | "block"));
        assert!(attacker || !limited, "nobody else was limited: {found:#}");
    }
}

/// Waits until the worker knows what is usual.
async fn learn(stand: &Stand, people: &People) {
    let leader = &stand.replicas[stand.leader().await];
    within(LEARNING, "calm requests", async || (people.served() >= CALM.into()).then_some(())).await;
    eventually("they are learned from", async || {
        (leader.metric("anomaly_observed_total").await >= f64::from(CALM)).then_some(())
    })
    .await;
    for kind in ["flag", "tighten", "block"] {
        assert_eq!(leader.metric(&format!("anomaly_events_total{{kind=\"{kind}\"}}")).await, 0.0, "{kind}");
    }
}

async fn first_found(replica: &Replica, address: Ipv4Addr) -> Instant {
    eventually("it is found", async || (!replica.found(address).await.is_empty()).then(Instant::now)).await
}

async fn first_429(attack: &Attack, place: usize) -> Instant {
    eventually("a 429", async || attack.met[place].first()).await
}

/// What was found about an address: one incident.
async fn only(replica: &Replica, address: Ipv4Addr) -> Value {
    let mut found = replica.found(address).await;
    assert_eq!(found.len(), 1, "{found:#?}");
    found.remove(0)
}

/// What was found about an address, once its action is noted, too.
async fn acted(replica: &Replica, address: Ipv4Addr) -> Value {
    eventually("the action is noted", async || {
        let found = only(replica, address).await;
        matches!(found["action"].as_str(), Some("tighten" | "block")).then_some(found)
    })
    .await
}

/// A client comes a few times, and passes.
async fn passes(envoys: &[SocketAddr], address: Ipv4Addr) {
    for envoy in envoys {
        for _ in 0..3 {
            let answer = Client::new(*envoy, address).get("/", &[]).await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
    }
}

async fn found_and_let_go(stand: &Stand) {
    let attack = Attack::begin(Ipv4Addr::new(127, 3, 0, 1), &stand.envoys);
    let address = attack.address;
    let mut times = Times::since(attack.began);
    let [a, b] = &stand.replicas[..] else { panic!("two replicas") };
    let (flag, on_a, on_b, at_a, at_b) = tokio::join!(
        first_found(a, address),
        stand.adjusted(0, 1.0),
        stand.adjusted(1, 1.0),
        first_429(&attack, 0),
        first_429(&attack, 1),
    );
    times.note("first flag, in `GET /ddos/anomaly`", flag);
    times.note("adjustment in force at A", on_a);
    times.note("adjustment in force at B", on_b);
    times.note("first 429 from A", at_a);
    times.note("first 429 from B", at_b);

    // And they go on.
    for (met, name) in attack.met.iter().zip(["A", "B"]) {
        let enough = met.abnormal() + 20;
        let more = eventually("more 429s", async || (met.abnormal() >= enough).then(Instant::now)).await;
        times.note(format!("20 more from {name}"), more);
    }

    let found = acted(a, address).await;
    assert_eq!(only(b, address).await["id"], found["id"], "one incident, whoever is asked");
    for replica in [a, b] {
        tells(&only(replica, address).await);
    }
    assert_eq!(row(stand, address).await, found["id"].as_str().unwrap());

    attack.end().await;
    times.note("the attack ends", Instant::now());
    let (off_a, off_b) = tokio::join!(stand.adjusted(0, 0.0), stand.adjusted(1, 0.0));
    times.note("released at A", off_a);
    times.note("released at B", off_b);
    passes(&stand.envoys, address).await;
    let ended = eventually("its end is noted", async || {
        let found = only(b, address).await;
        (found["state"] == "ended").then_some(found)
    })
    .await;
    assert_eq!(ended["id"], found["id"]);
    times.print("An attack through both Envoys");
}

/// An incident as it should be told while an attack goes on.
fn tells(found: &Value) {
    assert_eq!((&found["state"], &found["domain"], &found["shadow"]), (&"open".into(), &"api".into(), &false.into()));
    assert!(found["anomaly_score"].as_f64().unwrap() >= 0.5, "{found:#}");
    let reasons: Vec<_> = found["reasons"].as_array().unwrap().iter().map(|reason| reason["text"].as_str()).collect();
    let by_rate = |text: &Option<&str>| text.is_some_and(|text| text.contains(" requests a second"));
    assert!(reasons.iter().any(by_rate), "{found:#}");
}

/// The incident about an address in the table itself.
async fn row(stand: &Stand, address: Ipv4Addr) -> String {
    let client = stand.postgres.client(&stand.database).await;
    let query = "SELECT id::text, host(ip_address) FROM ai_ddos_detection WHERE ip_address = $1::text::inet";
    let row = client.query_one(query, &[&address.to_string()]).await.unwrap();
    assert_eq!(row.get::<_, String>(1), address.to_string());
    row.get(0)
}

async fn dismissed(stand: &Stand) {
    let attack = Attack::begin(Ipv4Addr::new(127, 3, 0, 2), &stand.envoys);
    let address = attack.address;
    tokio::join!(first_429(&attack, 0), first_429(&attack, 1));
    let leader = stand.leader().await;
    // The one that does not compute is told.
    let told = &stand.replicas[1 - leader];
    let id = acted(told, address).await["id"].as_str().unwrap().to_owned();
    let mut times = Times::since(Instant::now());
    let answer = told.dismiss(&id).await;
    assert_eq!((&answer["told"], &answer["state"]), (&true.into(), &"dismissed".into()), "{answer:#}");
    times.note("answered", Instant::now());
    let (off_a, off_b) = tokio::join!(stand.adjusted(0, 0.0), stand.adjusted(1, 0.0));
    times.note("lifted at A", off_a);
    times.note("lifted at B", off_b);

    // It goes on as before, and is left alone.
    let before: Vec<_> = attack.met.iter().map(|met| (met.passed(), met.abnormal())).collect();
    eventually("it passes on both", async || {
        let all = attack.met.iter().zip(&before);
        all.map(|(met, (passed, _))| met.passed() - passed).all(|passed| passed >= 60).then_some(())
    })
    .await;
    for (met, (_, abnormal)) in attack.met.iter().zip(&before) {
        // One may have been on its way.
        assert!(met.abnormal() - abnormal <= 4, "{met:?}, {abnormal} before");
    }
    for replica in &stand.replicas {
        assert_eq!(replica.adjustments().await, 0.0, "{}", replica.name);
    }
    attack.end().await;
    times.print("A dismissal during an attack");
}

async fn killed(stand: &mut Stand) {
    let leader = stand.leader().await;
    let survivor = 1 - leader;
    // At the one that does not compute, so that both take part.
    let attack = Attack::begin(Ipv4Addr::new(127, 3, 0, 3), &stand.envoys[survivor..=survivor]);
    let address = attack.address;
    let mut times = Times::since(attack.began);
    let (on, at) = tokio::join!(stand.adjusted(survivor, 1.0), first_429(&attack, 0));
    times.note("adjustment in force at the survivor", on);
    times.note("first 429 from it", at);
    let before = acted(&stand.replicas[survivor], address).await;

    drop(stand.replicas.remove(leader));
    times.note("who computes is killed", Instant::now());
    let survivor = &stand.replicas[0];
    let seat = eventually("the other computes", async || {
        assert_eq!(survivor.adjustments().await, 1.0, "what is in force stays");
        survivor.leads().await.then(Instant::now)
    })
    .await;
    times.note("the survivor computes", seat);
    let denied = attack.met[0].abnormal();
    eventually("the 429s go on", async || (attack.met[0].abnormal() >= denied + 20).then_some(())).await;
    times.note("20 more 429", Instant::now());
    // By what the new one does.
    let renewed = eventually("it is renewed", async || {
        assert_eq!(survivor.adjustments().await, 1.0, "what is in force stays");
        let now = only(survivor, address).await;
        (expires(&now) > expires(&before)).then_some(now)
    })
    .await;
    times.note("renewed by the survivor", Instant::now());
    assert_eq!((&renewed["id"], &renewed["state"]), (&before["id"], &"open".into()), "{renewed:#}");

    attack.end().await;
    times.note("the attack ends", Instant::now());
    let off = eventually("it is let go", async || (survivor.adjustments().await == 0.0).then(Instant::now)).await;
    times.note("released", off);
    eventually("its end is noted", async || (only(survivor, address).await["state"] == "ended").then_some(())).await;
    times.print("The replica that computes is killed");
}

fn expires(found: &Value) -> jiff::Timestamp {
    found["expires"].as_str().unwrap().parse().unwrap()
}
