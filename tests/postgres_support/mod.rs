//! PostgreSQL for tests: real servers on free ports of 127.0.0.1, each gone with the value that stands for it, and
//! faults. A test begins with `mod postgres_support;`. Starting a server takes a second or so, a database of
//! [`Postgres::shared`] some tens of milliseconds:
//! ```ignore
//! let server = Postgres::shared();
//! let database = server.database().await;
//! let repository = Repository::new(&settings(server, &database))?;
//! server.client(&database).await.batch_execute("DELETE FROM rate_limit_rules").await?;
//! ```
//! Faults need a server of one's own: [`sigkill`](Postgres::sigkill) and [`restart`](Postgres::restart),
//! [`sigstop`](Postgres::sigstop) and [`sigcont`](Postgres::sigcont).
#![allow(dead_code, unused_imports, reason = "each test binary uses a part")]

mod guard;
#[path = "../redis_support/ports.rs"]
mod ports;
mod server;
#[path = "../redis_support/tls.rs"]
mod tls;

use std::time::{Duration, Instant};

pub use server::{Options, Postgres, SUPERUSER, signal, until};
pub use tls::Certificates;

/// Longer than anything here takes, also on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long a loop that waits for a condition rests between two looks.
const POLL: Duration = Duration::from_millis(10);

/// Waits until there is a value; panics, naming it, when there is none within [`PATIENCE`].
fn wait_for<T>(what: &str, mut value: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = value() {
            return value;
        }
        assert!(Instant::now() < deadline, "still not so after {PATIENCE:?}: {what}");
        std::thread::sleep(POLL);
    }
}
