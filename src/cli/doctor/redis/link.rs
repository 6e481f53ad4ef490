//! A connection to one server, made as the counters make theirs.

use std::collections::HashMap;
use std::time::Duration;

use fred::clients::Client;
use fred::error::{Error, ErrorKind};
use fred::interfaces::{ClientLike, EventInterface};
use fred::types::{ClusterHash, CustomCommand, Resp3Frame, Value};
use tokio::time::timeout;

use crate::counters::redis::connect::Connector;
use crate::counters::redis::topology::NodeAddress;

/// How long an answer may take.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// Why a server cannot be asked, and what to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What happened.
    pub message: String,
    /// What to change.
    pub advice: String,
}

/// A connection.
#[derive(Debug)]
pub struct Link {
    client: Client,
}

/// An answer that is no error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Text.
    Text(String),
    /// A number.
    Number(i64),
    /// Several answers.
    List(Vec<Answer>),
    /// Anything else, nothing included.
    Other,
}

impl Link {
    /// Connects to a server. `section` is that of the settings, `redis` or `redis.per_second`.
    ///
    /// # Errors
    /// Why not.
    pub async fn connect(
        connector: &Connector,
        address: &NodeAddress,
        patience: Duration,
        section: &str,
    ) -> Result<Self, Trouble> {
        let client = connector.clients(address).into_iter().next().unwrap_or_default();
        let mut errors = client.error_rx();
        let task = client.connect();
        let attempt = async {
            tokio::select! {
                connected = client.wait_for_connect() => connected,
                // The client would try again and again; the first failure says why.
                Ok((error, _)) = errors.recv() => Err(error),
            }
        };
        let trouble = match timeout(patience + PATIENCE, attempt).await {
            Ok(Ok(())) => return Ok(Self { client }),
            Ok(Err(error)) => trouble(&error, section),
            Err(_) => nobody_answers(patience, section),
        };
        task.abort();
        Err(trouble)
    }

    /// Sends one command, once.
    ///
    /// # Errors
    /// What Redis says, or that it says nothing.
    pub async fn ask(&self, command: &'static str, arguments: &[&str]) -> Result<Answer, String> {
        self.ask_bytes(command, arguments.iter().map(|argument| Value::from(*argument)).collect()).await
    }

    /// [`Link::ask`] with arguments of any bytes.
    ///
    /// # Errors
    /// As [`Link::ask`].
    pub async fn ask_bytes(&self, command: &'static str, arguments: Vec<Value>) -> Result<Answer, String> {
        let command = CustomCommand::new_static(command, ClusterHash::FirstKey, false);
        match timeout(PATIENCE, self.client.custom_raw(command, arguments)).await {
            Ok(frame) => Answer::read(frame.map_err(|error| error.details().to_owned())?),
            Err(_) => Err(format!("no answer within {PATIENCE:?}")),
        }
    }

    /// `INFO`.
    ///
    /// # Errors
    /// As [`Link::ask`].
    pub async fn info(&self) -> Result<Info, String> {
        match self.ask("INFO", &[]).await? {
            Answer::Text(text) => Ok(Info::parse(&text)),
            _ => Err("INFO answers no text".to_owned()),
        }
    }

    /// Closes the connection.
    pub async fn close(self) {
        let _ = timeout(PATIENCE, self.client.quit()).await;
    }
}

impl Answer {
    fn read(frame: Resp3Frame) -> Result<Self, String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(match frame {
            Resp3Frame::SimpleError { data, .. } => return Err(data.to_string()),
            Resp3Frame::BlobError { data, .. } => return Err(text(&data)),
            Resp3Frame::BlobString { data, .. } | Resp3Frame::SimpleString { data, .. } => Self::Text(text(&data)),
            Resp3Frame::Number { data, .. } => Self::Number(data),
            Resp3Frame::Array { data, .. } => {
                Self::List(data.into_iter().map(Self::read).collect::<Result<Vec<_>, _>>()?)
            }
            _ => Self::Other,
        })
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, also when it is written as text.
    pub fn number(&self) -> Option<i64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// The elements; none, if it is no list.
    pub fn list(&self) -> &[Self] {
        match self {
            Self::List(list) => list,
            _ => &[],
        }
    }
}

/// What a server tells of itself.
#[derive(Clone, Debug, Default)]
pub struct Info(HashMap<String, String>);

impl Info {
    /// Reads lines `name:value`; those of `INFO` and of `CLUSTER INFO`.
    pub fn parse(text: &str) -> Self {
        let pair = |line: &str| line.trim().split_once(':').map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self(text.lines().filter_map(pair).collect())
    }

    /// A value; empty when it is not told.
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// A number; none when it is not told.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.get(name).parse().ok()
    }
}

fn nobody_answers(patience: Duration, section: &str) -> Trouble {
    Trouble {
        message: format!("nobody answers within {}", humantime::format_duration(patience)),
        advice: format!("check {section}.urls, the network's rules, and that the server is not stuck"),
    }
}

/// What the client could not do, and what would let it.
fn trouble(error: &Error, section: &str) -> Trouble {
    let details = error.details();
    let has = |text: &str| details.to_ascii_lowercase().contains(text);
    let advice = if has("noauth") {
        format!("set {section}.password (and username), or password_file")
    } else if has("without any password configured") {
        format!("the server has no password: leave {section}.password out")
    } else if has("wrongpass") || *error.kind() == ErrorKind::Auth {
        format!("check {section}.username and {section}.password")
    } else if has("noperm") {
        "give this user the categories +@connection, and for counters +@scripting +@read +@write +@pubsub".to_owned()
    } else if has("unknownissuer") || has("badsignature") {
        format!("the server's certificate is signed by nobody known: set {section}.tls.ca to its authority")
    } else if has("notvalidforname") {
        format!("connect to a name in the server's certificate, or set {section}.tls.verify_hostname: false")
    } else if has("certificaterequired") || has("certificate required") {
        format!("the server wants a certificate: set {section}.tls.certificate and {section}.tls.key")
    } else if *error.kind() == ErrorKind::Tls || has("certificate") || has("corrupt message") || has("handshake") {
        format!("check {section}.tls, and whether the server speaks TLS on this port at all")
    } else if has("refused") {
        format!("nothing listens there: check {section}.urls, and that the server runs")
    } else if has("lookup") || has("resolve") || has("name or service") {
        format!("the name is not known to DNS: check {section}.urls")
    } else if *error.kind() == ErrorKind::Sentinel {
        format!("check {section}.sentinel.master, and what the sentinels know")
    } else if *error.kind() == ErrorKind::Timeout {
        format!("check {section}.urls, the network's rules, and that the server is not stuck")
    } else {
        format!("check {section}.urls; if the server speaks TLS on this port, set {section}.tls.enabled")
    };
    Trouble { message: words(details).to_owned(), advice }
}

/// The part of an error's text that is for people; errors of the system come with their Rust around them.
fn words(details: &str) -> &str {
    let inner = |before: &str, after: char| Some(details.split_once(before)?.1.rsplit_once(after)?.0.trim_end());
    inner("message: \"", '"').or_else(|| inner("error: ", '}')).unwrap_or(details)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_in_words() {
        let refused = "Os { code: 111, kind: ConnectionRefused, message: \"Connection refused\" }";
        assert_eq!(words(refused), "Connection refused");
        let unknown = "Custom { kind: InvalidData, error: InvalidCertificate(UnknownIssuer) }";
        assert_eq!(words(unknown), "InvalidCertificate(UnknownIssuer)");
        assert_eq!(words("NOAUTH Authentication required."), "NOAUTH Authentication required.");
    }
}
