//! The real binary as a server on free ports, and small clients for it.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longer than anything here takes, also on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A running `tidegate serve`; killed when this is dropped.
pub struct Server {
    pub child: Child,
    pub grpc: SocketAddr,
    pub http: SocketAddr,
    pub admin: SocketAddr,
    logs: mpsc::Receiver<Value>,
    _directory: Option<tempfile::TempDir>,
}

/// The binary, with an environment that no setting of the machine leaks into.
pub fn tidegate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.env_clear();
    command
}

impl Server {
    /// Serves these rules.
    pub fn start(rules: &str) -> Self {
        Self::start_with(rules, &[], &[])
    }

    /// Serves these rules, with further flags and environment variables.
    pub fn start_with(rules: &str, flags: &[&str], env: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("rules.yaml");
        std::fs::write(&file, rules).unwrap();
        let rules = ["--rules", file.to_str().unwrap()];
        Self::launch(&[&rules, flags].concat(), env, Some(directory))
    }

    /// Serves the rules that its settings tell where to find.
    pub fn start_from(flags: &[&str], env: &[(&str, &str)]) -> Self {
        Self::launch(flags, env, None)
    }

    fn launch(flags: &[&str], env: &[(&str, &str)], directory: Option<tempfile::TempDir>) -> Self {
        let mut child = tidegate()
            .args(["serve", "--log-format", "json", "--workers", "1"])
            .args(["--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0", "--admin-address", "127.0.0.1:0"])
            .args(flags)
            .env("TIDEGATE_SHUTDOWN__DRAIN_PERIOD", "0s")
            .envs(env.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, logs) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if sender.send(line).is_err() {
                    // Keep reading, so that the server never waits for a full pipe.
                    continue;
                }
            }
        });
        let mut seen = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        let listening = loop {
            match logs.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if field(&line, "message") == Some("listening") => break line,
                Ok(line) => seen.push(line),
                Err(_) => {
                    let _ = child.kill();
                    panic!("the server does not listen; it says {seen:#?}");
                }
            }
        };
        let address = |name| field(&listening, name).unwrap().parse().unwrap();
        let (grpc, http, admin) = (address("grpc"), address("http"), address("admin"));
        Self { child, grpc, http, admin, logs, _directory: directory }
    }

    /// `POST /rate-limit`.
    pub fn rate_limit(&self, body: &str) -> Answer {
        post(self.http, "/rate-limit", "application/json", body.as_bytes())
    }

    /// `POST /json`.
    pub fn json(&self, body: &str) -> Answer {
        post(self.http, "/json", "application/json", body.as_bytes())
    }

    /// Runs `tidegate COMMAND --server ...` against it.
    pub fn ask(&self, arguments: &[&str]) -> Output {
        let address = if matches!(arguments[0], "explain" | "rules") { self.admin } else { self.grpc };
        tidegate().args(arguments).arg("--server").arg(format!("http://{address}")).output().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A field of a log line.
fn field<'l>(line: &'l Value, name: &str) -> Option<&'l str> {
    line.get(name).or_else(|| line.get("fields")?.get(name))?.as_str()
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.body))
    }
}

/// One request over a connection of its own.
pub fn request(address: SocketAddr, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n"
    );
    let mut stream = connect(address);
    stream.write_all(head.as_bytes()).unwrap();
    // The server may refuse before it has read everything.
    let _ = stream.write_all(body);
    read_answer(&mut stream)
}

/// A connection whose reads and writes end in time.
pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Everything until the server closes.
pub fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => bytes.extend_from_slice(&buffer[..length]),
            // A refusal before the whole body was read may end in a reset, after the answer has come.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset && !bytes.is_empty() => break,
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&bytes)),
        }
    }
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no HTTP answer: {text:?}"));
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let header = |line: &str| line.split_once(':').map(|(key, value)| (key.to_lowercase(), value.trim().to_owned()));
    let headers: Vec<_> = lines.filter_map(header).collect();
    let chunked = headers.iter().any(|(key, value)| key == "transfer-encoding" && value == "chunked");
    let body = if chunked { unchunk(body) } else { body.to_owned() };
    Answer { status, headers, body }
}

fn unchunk(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        whole.push_str(&rest[..size]);
        body = rest[size..].trim_start_matches("\r\n");
        if size == 0 {
            break;
        }
    }
    whole
}

pub fn get(address: SocketAddr, path: &str) -> Answer {
    request(address, "GET", path, "", b"")
}

pub fn post(address: SocketAddr, path: &str, content_type: &str, body: &[u8]) -> Answer {
    request(address, "POST", path, &format!("content-type: {content_type}\r\n"), body)
}

/// Standard output and error as texts.
pub fn texts(output: &Output) -> (String, String) {
    (String::from_utf8(output.stdout.clone()).unwrap(), String::from_utf8(output.stderr.clone()).unwrap())
}
