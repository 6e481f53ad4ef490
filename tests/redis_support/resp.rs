//! As much of a Redis client as administering a test's server takes: RESP 2, one command after the other, blocking.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::PATIENCE;

/// What the server answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Nil,
    Array(Vec<Reply>),
}

impl Reply {
    /// Panics unless the answer is `+OK`.
    #[track_caller]
    pub fn ok(self) {
        assert_eq!(self, Self::Simple("OK".to_owned()));
    }

    #[track_caller]
    pub fn integer(self) -> i64 {
        match self {
            Self::Integer(value) => value,
            other => panic!("not an integer: {other:?}"),
        }
    }

    /// The text of a simple string or of a bulk string that is UTF-8.
    #[track_caller]
    pub fn text(self) -> String {
        match self {
            Self::Simple(text) => text,
            Self::Bulk(bytes) => String::from_utf8(bytes).expect("text in UTF-8"),
            other => panic!("not a string: {other:?}"),
        }
    }

    #[track_caller]
    pub fn bytes(self) -> Vec<u8> {
        match self {
            Self::Bulk(bytes) => bytes,
            other => panic!("not a bulk string: {other:?}"),
        }
    }

    #[track_caller]
    pub fn array(self) -> Vec<Self> {
        match self {
            Self::Array(replies) => replies,
            other => panic!("not an array: {other:?}"),
        }
    }

    /// The message of an error, such as `MOVED 866 127.0.0.1:11002`.
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Error(message) => Some(message),
            _ => None,
        }
    }
}

/// What a connection runs over.
trait Stream: Read + Write + Send {
    /// The answer to a read that has no time left is an error.
    fn set_patience(&self, patience: Duration) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn set_patience(&self, patience: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(patience))
    }
}

impl Stream for UnixStream {
    fn set_patience(&self, patience: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(patience))
    }
}

impl Stream for StreamOwned<ClientConnection, TcpStream> {
    fn set_patience(&self, patience: Duration) -> io::Result<()> {
        self.sock.set_read_timeout(Some(patience))
    }
}

/// One connection, for commands that belong together (`ASKING`, `MULTI`) and for what happens to connections.
pub struct Connection {
    stream: BufReader<Box<dyn Stream>>,
}

impl Connection {
    /// Connects over TCP. An answer may take [`PATIENCE`].
    pub fn tcp(address: impl ToSocketAddrs) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Self::over(stream)
    }

    /// Connects over TLS to a server named `127.0.0.1`. Whether it wants this client shows in its first answer.
    pub fn tls(address: impl ToSocketAddrs, client: ClientConfig) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let name = ServerName::from(IpAddr::from([127, 0, 0, 1]));
        let connection = ClientConnection::new(Arc::new(client), name).map_err(io::Error::other)?;
        Self::over(StreamOwned::new(connection, stream))
    }

    /// Connects to a Unix socket. An answer may take [`PATIENCE`].
    pub fn unix(path: &Path) -> io::Result<Self> {
        Self::over(UnixStream::connect(path)?)
    }

    fn over(stream: impl Stream + 'static) -> io::Result<Self> {
        stream.set_patience(PATIENCE)?;
        Ok(Self { stream: BufReader::new(Box::new(stream)) })
    }

    /// Sends a command and waits for its answer, which may be an error; panics when the connection fails.
    #[track_caller]
    pub fn command<A: AsRef<[u8]>>(&mut self, words: &[A]) -> Reply {
        self.try_command(words).expect("an answer of Redis")
    }

    /// Sends a command and waits for its answer.
    pub fn try_command<A: AsRef<[u8]>>(&mut self, words: &[A]) -> io::Result<Reply> {
        self.send(words)?;
        self.try_answer()
    }

    /// Sends a command and waits for nothing.
    pub fn send<A: AsRef<[u8]>>(&mut self, words: &[A]) -> io::Result<()> {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words.iter().map(AsRef::as_ref) {
            request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        self.stream.get_mut().write_all(&request)
    }

    /// The answer to a command sent, if it comes in this time; panics when the connection fails.
    pub fn answer_within(&mut self, time: Duration) -> Option<Reply> {
        self.stream.get_ref().set_patience(time).expect("a time that is not zero");
        let begun = self.stream.fill_buf().map(|_| ());
        self.stream.get_ref().set_patience(PATIENCE).expect("a time that is not zero");
        match begun {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => None,
            _ => Some(self.try_answer().expect("an answer of Redis")),
        }
    }

    /// The answer to a command sent.
    pub fn try_answer(&mut self) -> io::Result<Reply> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let strange = || io::Error::new(io::ErrorKind::InvalidData, format!("not RESP: {line:?}"));
        let rest = line.get(1..).ok_or_else(strange)?.trim_end();
        let number = || rest.parse::<i64>().map_err(|_| strange());
        match line.as_bytes()[0] {
            b'+' => Ok(Reply::Simple(rest.to_owned())),
            b'-' => Ok(Reply::Error(rest.to_owned())),
            b':' => Ok(Reply::Integer(number()?)),
            b'$' => match usize::try_from(number()?) {
                Err(_) => Ok(Reply::Nil),
                Ok(length) => {
                    let mut bytes = vec![0; length + 2];
                    self.stream.read_exact(&mut bytes)?;
                    bytes.truncate(length);
                    Ok(Reply::Bulk(bytes))
                }
            },
            b'*' => match usize::try_from(number()?) {
                Err(_) => Ok(Reply::Nil),
                Ok(length) => (0..length).map(|_| self.try_answer()).collect::<io::Result<_>>().map(Reply::Array),
            },
            _ => Err(strange()),
        }
    }
}
