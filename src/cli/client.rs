//! Calls to a running server: one connection, one deadline, and errors that say what to do.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

/// Which listener a command talks to.
#[derive(Clone, Copy, Debug)]
pub enum Listener {
    /// Decisions.
    Grpc,
    /// Administration.
    Admin,
}

impl Listener {
    const fn describe(self) -> &'static str {
        match self {
            Self::Grpc => "its gRPC port, 8081 unless configured",
            Self::Admin => "its administration port, 6070 unless configured, which listens on loopback only",
        }
    }
}

/// Runs one call on a small runtime of its own.
pub fn block_on<T>(call: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(call)
}

/// Connects to `server`, `http://host:port` or `host:port`. Connecting and every call end after `deadline`.
pub async fn connect(server: &str, listener: Listener, deadline: Duration) -> anyhow::Result<Channel> {
    let url = match server.split_once("://") {
        None => format!("http://{server}"),
        Some(("http", _)) => server.to_owned(),
        Some((scheme, _)) => bail!("--server {server}: {scheme}:// is not spoken here; write http://host:port"),
    };
    let endpoint = Endpoint::from_shared(url)
        .map_err(|error| anyhow!("--server {server}: {error}; write http://host:port"))?
        .connect_timeout(deadline)
        .timeout(deadline);
    endpoint.connect().await.map_err(|error| {
        let what = listener.describe();
        anyhow!("cannot reach {server}: {}; is `tidegate serve` running, and is this {what}? (--server)", root(&error))
    })
}

/// An error of a call, in a sentence.
pub fn explain(status: &Status, server: &str, listener: Listener, deadline: Duration) -> anyhow::Error {
    match status.code() {
        Code::Unimplemented => anyhow!("{server} does not know this call; is it {}? (--server)", listener.describe()),
        Code::DeadlineExceeded | Code::Cancelled => {
            anyhow!("{server} did not answer within {}; try a longer --timeout", humantime::format_duration(deadline))
        }
        Code::NotFound => anyhow!("{}", status.message()),
        Code::InvalidArgument => anyhow!("{server} refuses the request: {}", status.message()),
        Code::Unavailable => anyhow!("{server} cannot decide now: {}", status.message()),
        code => anyhow!("{server} answers {code:?}: {}", status.message()),
    }
}

/// The innermost cause, which says most: "Connection refused".
fn root(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// A time on the command line: `500ms`, `2s`; more than zero.
pub fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("must be longer than zero".to_owned()),
        Ok(duration) => Ok(duration),
        Err(error) => Err(format!("{error}; write for example 500ms, 20s or 5m")),
    }
}
