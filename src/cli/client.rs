//! Calls to a running server: one connection, one deadline, and errors that say what to do.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use crate::server::admin::proto::admin_client::AdminClient;

/// The token that commands show to a server.
const TOKEN: &str = "TIDEGATE_TOKEN";
/// A file that holds it, when that is not set.
const TOKEN_FILE: &str = "TIDEGATE_TOKEN_FILE";

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

/// A client of `server`'s administration, with the token of the environment if there is one.
pub async fn admin(
    server: &str,
    deadline: Duration,
) -> anyhow::Result<AdminClient<InterceptedService<Channel, Bearer>>> {
    let bearer = Bearer::from_environment()?;
    Ok(AdminClient::with_interceptor(connect(server, Listener::Admin, deadline).await?, bearer))
}

/// Shows a token with every call.
#[derive(Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Bearer {
    fn from_environment() -> anyhow::Result<Self> {
        let Some(token) = token()? else { return Ok(Self(None)) };
        let header = format!("Bearer {token}").parse();
        let mut header: MetadataValue<Ascii> = header.map_err(|_| anyhow!("{TOKEN}: that is no token"))?;
        header.set_sensitive(true);
        Ok(Self(Some(header)))
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(header) = &self.0 {
            request.metadata_mut().insert("authorization", header.clone());
        }
        Ok(request)
    }
}

/// The token of the environment: in `TIDEGATE_TOKEN`, or in the file that `TIDEGATE_TOKEN_FILE` names.
pub fn token() -> anyhow::Result<Option<String>> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    let text = match (variable(TOKEN), variable(TOKEN_FILE)) {
        (Some(token), _) => token,
        (None, Some(file)) => {
            std::fs::read_to_string(Path::new(&file)).with_context(|| format!("{TOKEN_FILE}: cannot read {file}"))?
        }
        (None, None) => return Ok(None),
    };
    Ok(Some(text.trim().to_owned()))
}

/// An error of a call, in a sentence.
pub fn explain(status: &Status, server: &str, listener: Listener, deadline: Duration) -> anyhow::Error {
    match status.code() {
        Code::Unimplemented => anyhow!("{server} does not know this call; is it {}? (--server)", listener.describe()),
        Code::DeadlineExceeded | Code::Cancelled => {
            anyhow!("{server} did not answer within {}; try a longer --timeout", humantime::format_duration(deadline))
        }
        Code::Unauthenticated | Code::PermissionDenied => {
            anyhow!("{server} refuses: {} (a command's token is in {TOKEN} or {TOKEN_FILE})", status.message())
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
