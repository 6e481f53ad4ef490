//! Connections to real servers, as the settings want them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod redis_support;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fred::clients::Client;
use fred::interfaces::{ClientLike, EventInterface as _};
use fred::types::{ClusterHash, CustomCommand, Value};
use redis_support::{Certificates, ClientCertificate, Options, PATIENCE, Redis, SENTINEL_MASTER, Sentinel};
use tidegate::config::redis::{RedisConnection, RedisTls, Secret, Sentinel as SentinelSettings, Topology};
use tidegate::counters::redis::backend::Kind;
use tidegate::counters::redis::connect::{ConnectError, Connector};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_millis(500);

fn to(address: impl Into<String>) -> RedisConnection {
    RedisConnection {
        urls: vec![address.into()],
        connect_timeout: Duration::from_secs(5),
        ..RedisConnection::default()
    }
}

/// The first attempt to connect: the client, or why not.
async fn connect(settings: &RedisConnection) -> Result<Client, String> {
    let connector = Connector::new(settings, DEADLINE).map_err(|error| error.to_string())?;
    let node = match connector.kind() {
        Kind::Single(node) => node,
        Kind::Sentinel { primary, .. } => primary,
        Kind::Cluster(nodes) => nodes.first().unwrap().clone(),
    };
    let client = connector.clients(&node).pop().unwrap();
    let mut errors = client.error_rx();
    drop(client.connect());
    tokio::select! {
        connected = client.wait_for_connect() => connected.map_err(|error| error.to_string())?,
        error = errors.recv() => return Err(error.unwrap().0.to_string()),
        () = tokio::time::sleep(PATIENCE) => panic!("the attempt to connect does not end"),
    }
    Ok(client)
}

async fn ask(client: &Client, command: &'static str, words: &[&str]) -> Result<Value, fred::error::Error> {
    let command = CustomCommand::new_static(command, ClusterHash::FirstKey, false);
    client.custom(command, words.iter().map(|word| (*word).to_owned()).collect()).await
}

async fn text(client: &Client, command: &'static str, words: &[&str]) -> String {
    ask(client, command, words).await.unwrap().as_string().unwrap()
}

/// What is answered in the end, however often it takes.
async fn in_the_end(client: &Client, command: &'static str, words: &[&str]) -> Value {
    let started = Instant::now();
    loop {
        match ask(client, command, words).await {
            Ok(value) => return value,
            Err(error) => assert!(started.elapsed() < PATIENCE, "{command}: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn passwords_and_users() {
    let redis =
        Options::new().password("secret").user("tidegate", "its own", &["~rate_limit:*", "+@all", "&*"]).start();
    let with = |username: Option<&str>, password: Option<&str>| RedisConnection {
        username: username.map(str::to_owned),
        password: password.map(Secret::new),
        ..to(redis.address())
    };
    let client = connect(&with(None, Some("secret"))).await.unwrap();
    assert_eq!(text(&client, "ACL", &["WHOAMI"]).await, "default");
    let client = connect(&with(Some("tidegate"), Some("its own"))).await.unwrap();
    assert_eq!(text(&client, "ACL", &["WHOAMI"]).await, "tidegate");
    for (user, password) in
        [(None, Some("wrong")), (Some("tidegate"), Some("secret")), (Some("nobody"), Some("secret"))]
    {
        let error = connect(&with(user, password)).await.map(drop).unwrap_err();
        assert!(error.contains("WRONGPASS") && !error.contains("secret"), "{user:?}: {error}");
    }
    let anonymous = match connect(&with(None, None)).await {
        Ok(client) => ask(&client, "PING", &[]).await.unwrap_err().to_string(),
        Err(error) => error,
    };
    assert!(anonymous.contains("NOAUTH"), "{anonymous}");
}

#[tokio::test]
async fn a_password_is_the_first_line_of_its_file() {
    let redis = Options::new().password("secret").start();
    let file = tempfile::NamedTempFile::new().unwrap();
    let settings = RedisConnection { password_file: Some(file.path().into()), ..to(redis.address()) };
    std::fs::write(file.path(), "secret\r\nand more\n").unwrap();
    assert_eq!(text(&connect(&settings).await.unwrap(), "ACL", &["WHOAMI"]).await, "default");
    std::fs::write(file.path(), "").unwrap();
    let empty = Connector::new(&settings, DEADLINE).unwrap_err().to_string();
    assert!(empty.starts_with("redis.password_file: ") && empty.contains("it is empty"), "{empty}");
    let missing = RedisConnection { password_file: Some("/nonexistent/password".into()), ..to(redis.address()) };
    let missing = Connector::new(&missing, DEADLINE).unwrap_err().to_string();
    assert!(missing.contains("/nonexistent/password"), "{missing}");
}

#[test]
fn secrets_are_not_in_what_is_printed_for_debugging() {
    let settings = RedisConnection { password: Some(Secret::new("hunter2")), ..to("redis:1") };
    assert!(!format!("{:?}", Connector::new(&settings, DEADLINE).unwrap()).contains("hunter2"));
}

#[tokio::test]
async fn a_unix_socket_and_a_database() {
    let redis = Redis::start();
    let settings = RedisConnection { database: 3, ..to(redis.unix_socket().to_str().unwrap()) };
    let client = connect(&settings).await.unwrap();
    let info = text(&client, "CLIENT", &["INFO"]).await;
    assert!(info.contains(" db=3 ") && info.contains("redis.sock"), "{info}");
    let client = connect(&RedisConnection { database: 3, ..to(redis.address()) }).await.unwrap();
    assert!(text(&client, "CLIENT", &["INFO"]).await.contains(" db=3 "));
}

fn trusting(certificates: &Certificates, client: bool) -> RedisTls {
    RedisTls {
        ca: Some(certificates.ca()),
        certificate: client.then(|| certificates.client_certificate()),
        key: client.then(|| certificates.client_key()),
        ..RedisTls::default()
    }
}

#[tokio::test]
async fn tls_with_certificates_of_both_sides() {
    let certificates = Certificates::new();
    let redis = Options::new().tls(&certificates, ClientCertificate::Required).start();
    let address = format!("localhost:{}", redis.tls_port());
    let with = |tls| RedisConnection { tls: Some(tls), ..to(&address) };
    let client = connect(&with(trusting(&certificates, true))).await.unwrap();
    assert_eq!(text(&client, "PING", &[]).await, "PONG");
    let by_url = RedisConnection { tls: Some(trusting(&certificates, true)), ..to(format!("rediss://{address}/")) };
    assert_eq!(text(&connect(&by_url).await.unwrap(), "PING", &[]).await, "PONG");

    // Who shows no certificate, trusts another authority, or that of the system, gets nowhere.
    let anonymous = match connect(&with(trusting(&certificates, false))).await {
        // TLS 1.3: the client is through before the server says no.
        Ok(client) => ask(&client, "PING", &[]).await.map(|_| String::new()).unwrap_err().to_string(),
        Err(error) => error,
    };
    assert!(!anonymous.is_empty());
    let other = Certificates::new();
    let mixed = RedisTls { ca: Some(other.ca()), ..trusting(&certificates, true) };
    let error = connect(&with(mixed)).await.map(drop).unwrap_err();
    assert!(error.to_lowercase().contains("certificate"), "{error}");
    // By the address alone TLS is spoken, too: not a word in plain text.
    let plain = connect(&to(format!("rediss://{address}"))).await.map(drop).unwrap_err();
    assert!(plain.to_lowercase().contains("certificate") || plain.contains("authorities"), "{plain}");
}

/// Another address of the same server, for which it has no certificate.
async fn alias(port: u16) -> String {
    let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    address
}

#[tokio::test]
async fn the_name_in_a_certificate() {
    let certificates = Certificates::new();
    let redis = Options::new().tls(&certificates, ClientCertificate::NotAsked).start();
    let alias = alias(redis.tls_port()).await;
    let with = |tls| RedisConnection { tls: Some(tls), ..to(&alias) };
    let strict = trusting(&certificates, false);
    let error = connect(&with(strict.clone())).await.map(drop).unwrap_err();
    assert!(error.to_lowercase().contains("certificate"), "{error}");
    let lax = RedisTls { verify_hostname: false, ..strict };
    assert_eq!(text(&connect(&with(lax.clone())).await.unwrap(), "PING", &[]).await, "PONG");
    // Any name, but not any authority.
    let other = RedisTls { ca: Some(Certificates::new().ca()), ..lax };
    connect(&with(other)).await.map(drop).unwrap_err();
}

#[test]
fn files_that_are_no_certificates_are_named() {
    let certificates = Certificates::new();
    let with = |tls| Connector::new(&RedisConnection { tls: Some(tls), ..to("redis:1") }, DEADLINE).unwrap_err();
    let shown = |tls| {
        let error: ConnectError = with(tls);
        error.to_string()
    };
    let good = trusting(&certificates, true);
    let missing = shown(RedisTls { ca: Some(PathBuf::from("/nonexistent/ca.crt")), ..good.clone() });
    assert!(missing.starts_with("redis.tls: ca: ") && missing.contains("/nonexistent/ca.crt"), "{missing}");
    let key = shown(RedisTls { key: Some(certificates.ca()), ..good.clone() });
    assert!(key.starts_with("redis.tls: key: "), "{key}");
    let chain = shown(RedisTls { certificate: Some(certificates.client_key()), ..good.clone() });
    assert!(chain.starts_with("redis.tls: certificate: "), "{chain}");
    let half = shown(RedisTls { key: None, ..good });
    assert!(half.contains("belong together"), "{half}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_name_the_primary_also_after_a_failover() {
    let redis = tokio::task::spawn_blocking(|| Arc::new(Sentinel::start_with(1, &Options::new().password("secret"))));
    let redis = redis.await.unwrap();
    for sentinel in redis.sentinels() {
        sentinel.command(&["ACL", "SETUSER", "watcher", "on", ">other", "+@all", "&*"]).ok();
    }
    let with = |password: &str| RedisConnection {
        topology: Topology::Sentinel,
        urls: redis.addresses().split(',').map(str::to_owned).collect(),
        password: Some(Secret::new("secret")),
        sentinel: Some(SentinelSettings {
            master: SENTINEL_MASTER.to_owned(),
            username: Some("watcher".to_owned()),
            password: Some(Secret::new(password)),
        }),
        ..to("")
    };
    connect(&with("wrong")).await.map(drop).unwrap_err();
    let client = connect(&with("other")).await.unwrap();
    let port = async |client: &Client| match in_the_end(client, "CONFIG", &["GET", "port"]).await {
        Value::Array(pair) => pair[1].as_string().unwrap(),
        other => panic!("{other:?}"),
    };
    let before = redis.primary().port();
    assert_eq!(port(&client).await, before.to_string());
    let cluster = Arc::clone(&redis);
    let after = tokio::task::spawn_blocking(move || cluster.failover().port()).await.unwrap();
    assert_ne!(before, after);
    // The old primary takes writes until the sentinels have told it; from then on the client has to look for the new one.
    let started = Instant::now();
    loop {
        in_the_end(&client, "SET", &["written", "after"]).await;
        if port(&client).await == after.to_string() {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "still connected to the old primary");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_command_without_an_answer_ends_in_time_and_is_not_sent_again() {
    let redis = Redis::start();
    let client = connect(&to(redis.address())).await.unwrap();
    assert_eq!(ask(&client, "INCR", &["counter"]).await.unwrap(), Value::Integer(1));
    redis.sigstop();
    let sent = Instant::now();
    let error = ask(&client, "INCR", &["counter"]).await.unwrap_err();
    assert!(sent.elapsed() >= DEADLINE && sent.elapsed() < DEADLINE + Duration::from_secs(2), "{:?}", sent.elapsed());
    assert_eq!(*error.kind(), fred::error::ErrorKind::Timeout, "{error}");
    redis.sigcont();
    in_the_end(&client, "PING", &[]).await;
    // The server had it in its socket, and made it once it went on.
    assert_eq!(in_the_end(&client, "GET", &["counter"]).await, Value::String("2".into()));

    // A connection that breaks under a command: it is given up, not sent over the next connection.
    redis.sigstop();
    let attempt = {
        let client = client.clone();
        tokio::spawn(async move { ask(&client, "INCR", &["other"]).await })
    };
    redis.restart();
    attempt.await.unwrap().unwrap_err();
    in_the_end(&client, "PING", &[]).await;
    assert_eq!(in_the_end(&client, "GET", &["other"]).await, Value::Null);
}

#[tokio::test]
async fn a_server_that_starts_later_is_connected_to() {
    let redis = Redis::start();
    redis.sigkill();
    let connector = Connector::new(&to(redis.address()), DEADLINE).unwrap();
    let Kind::Single(node) = connector.kind() else { panic!("one server") };
    let clients = connector.clients(&node);
    let client = &clients[0];
    let mut errors = client.error_rx();
    drop(client.connect());
    timeout(PATIENCE, errors.recv()).await.expect("an attempt that ends").unwrap();
    assert!(!client.is_connected());
    redis.restart();
    in_the_end(client, "PING", &[]).await;
}
