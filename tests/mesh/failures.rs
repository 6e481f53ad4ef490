//! Tidegate is down, slow, or starts again. Each file says what then becomes of requests: the gateways let them pass,
//! the sidecar refuses them.

use std::net::TcpListener;
use std::time::Duration;

use crate::chain::{Chain, Plan};
use crate::harness::{Client, Configuration, eventually};
use crate::redis_support::Proxy;

/// Everybody lets requests pass.
fn open(plan: Plan) -> Plan {
    let sidecar = plan.sidecar.replace("failure_mode_allow: false", "failure_mode_allow: true");
    Plan { sidecar, ..plan }
}

fn closed(gateway: Configuration) -> Configuration {
    gateway.replace("failure_mode_deny: false", "failure_mode_deny: true")
}

/// Nobody listens where the Envoys ask.
fn without_tidegate(plan: Plan) -> Plan {
    // Bound and dropped.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    Plan { tidegates: 0, asked: Some(nobody), ..plan }
}

#[tokio::test]
async fn without_tidegate_the_gateways_let_pass_and_the_sidecar_refuses() {
    let chain = Chain::start_with(without_tidegate(Plan::default())).await;
    let answer = chain.client(1).get("/", &[]).await;
    assert_eq!(answer.status, 503, "status_on_error of the sidecar");
    assert_eq!(chain.lost().await, [(1, 1), (1, 1), (1, 0)]);
    assert_eq!(chain.service.requests(), 0);
}

#[tokio::test]
async fn without_tidegate_everything_passes_where_every_file_is_open() {
    let chain = Chain::start_with(without_tidegate(open(Plan::default()))).await;
    for _ in 0..30 {
        let answer = chain.client(1).get("/orders/1", &[]).await;
        assert_eq!((answer.status.as_u16(), answer.header("ratelimit")), (200, ""));
    }
    assert_eq!(chain.lost().await, [(30, 30); 3]);
    assert_eq!(chain.service.requests(), 30);
}

#[tokio::test]
async fn without_tidegate_nothing_passes_the_first_file_that_is_closed() {
    let plan = open(Plan::default());
    let chain = Chain::start_with(without_tidegate(Plan { inner: closed(plan.inner), ..plan })).await;
    assert_eq!(chain.client(1).status("/", &[]).await, 503);
    assert_eq!(chain.lost().await, [(1, 1), (1, 0), (0, 0)]);

    let plan = Plan::default();
    let chain = Chain::start_with(without_tidegate(Plan { edge: closed(plan.edge), ..plan })).await;
    assert_eq!(chain.client(1).status("/", &[]).await, 503);
    assert_eq!(chain.lost().await, [(1, 0), (0, 0), (0, 0)]);
    assert_eq!(chain.service.requests(), 0);
}

/// With the files' own time for decisions.
#[tokio::test]
async fn while_tidegate_hangs_every_file_keeps_to_its_mode() {
    let chain = Chain::start_with(Plan::hurried()).await;
    let client = chain.client(1);
    chain.tidegates[0].signal("STOP");
    let before = chain.lost().await;
    for _ in 0..3 {
        assert_eq!(client.status("/", &[]).await, 503);
    }
    let after = chain.lost().await;
    for (hop, allowed) in [(0, 3), (1, 3), (2, 0)] {
        let more = (after[hop].0 - before[hop].0, after[hop].1 - before[hop].1);
        assert_eq!(more, (3, allowed), "hop {hop}");
    }
    assert_eq!(chain.service.requests(), 0);

    chain.tidegates[0].signal("CONT");
    decisions_are_back(&chain).await;
}

/// A network that takes longer than the files' 20 ms.
#[tokio::test]
async fn while_tidegate_is_slow_every_file_keeps_to_its_mode() {
    let plan = open(Plan::hurried());
    let plan = Plan { edge: closed(plan.edge), ..plan };
    // The chain starts its Tidegate first, and the proxy has to know where.
    let target = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = Proxy::start(target.to_string());
    let asked = Some(proxy.address().parse().unwrap());
    let chain = Chain::start_with(Plan { asked, tidegate_at: Some(target), ..plan }).await;
    let client = chain.client(1);
    decisions_are_back(&chain).await;

    proxy.latency(Duration::from_millis(300));
    let (before, served) = (chain.lost().await, chain.service.requests());
    // The edge is closed: nothing gets through.
    for _ in 0..3 {
        assert_eq!(client.status("/", &[]).await, 503);
    }
    let after = chain.lost().await;
    assert_eq!((after[0].0 - before[0].0, after[0].1 - before[0].1), (3, 0));
    assert_eq!(chain.service.requests(), served);
    // The others are open: everything gets through.
    let inner = Client::new(chain.inner.address, [127, 1, 1, 1].into());
    for _ in 0..3 {
        assert_eq!(inner.status("/", &[]).await, 200);
    }
    let after = chain.lost().await;
    for hop in [1, 2] {
        assert_eq!((after[hop].0 - before[hop].0, after[hop].1 - before[hop].1), (3, 3), "hop {hop}");
    }
    proxy.latency(Duration::ZERO);
    decisions_are_back(&chain).await;
}

#[tokio::test]
async fn a_tidegate_that_starts_again_is_asked_again() {
    let mut chain = Chain::start().await;
    assert_eq!(chain.client(1).allowed("/login", &[], 50).await, 5);
    chain.tidegates[0].signal("KILL");
    chain.tidegates[0].ends().await;
    for envoy in chain.envoys() {
        envoy.finds_healthy("tidegate", 0).await;
    }
    // The gateways let pass, the sidecar refuses: whoever was limited is refused in another way.
    assert_eq!(chain.client(1).status("/login", &[]).await, 503);

    chain.restart(0).await;
    for envoy in chain.envoys() {
        envoy.finds_healthy("tidegate", 1).await;
    }
    decisions_are_back(&chain).await;
    // Counters in memory end with their process; in Redis, they would not.
    assert_eq!(chain.client(1).allowed("/login", &[], 50).await, 5);
}

/// Waits until every hop has its decision again.
async fn decisions_are_back(chain: &Chain) {
    eventually("decisions are back", || async {
        let before = chain.lost().await;
        let status = chain.client(9).status("/", &[]).await;
        (status == 200 && chain.lost().await == before).then_some(())
    })
    .await;
}
