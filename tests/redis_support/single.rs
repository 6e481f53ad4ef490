//! One `redis-server`.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use super::guard;
use super::ports::free_port;
use super::resp::{Connection, Reply};
use super::tls::{Certificates, ClientCertificate};
use super::{PATIENCE, POLL, wait_until};

/// What a server is started with.
#[derive(Clone, Debug, Default)]
pub struct Options {
    flags: Vec<String>,
    password: Option<String>,
    certificates: Option<Arc<Certificates>>,
    kind: Kind,
}

/// What a server is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Kind {
    #[default]
    Alone,
    ClusterNode,
    Sentinel,
}

impl Options {
    pub fn new() -> Self {
        Self::default()
    }

    /// Further settings, as on the command line: `["--maxmemory", "1mb"]`.
    #[must_use]
    pub fn flags<A: AsRef<str>>(mut self, flags: &[A]) -> Self {
        self.flags.extend(flags.iter().map(|flag| flag.as_ref().to_owned()));
        self
    }

    /// The password of the user `default`, without which nothing is answered.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self.flags(&["--requirepass", password, "--masterauth", password])
    }

    /// A further user, with what it may do: `user("tidegate", "secret", &["~rate_limit:*", "+@all"])`.
    #[must_use]
    pub fn user(self, name: &str, password: &str, rules: &[&str]) -> Self {
        self.flags(&["--user", name, "on", &format!(">{password}")]).flags(rules)
    }

    /// A port for TLS beside the plain one, with the server's certificate of these. Members of a cluster then use TLS
    /// among each other, and the cluster names the TLS ports to clients.
    #[must_use]
    pub fn tls(mut self, certificates: &Arc<Certificates>, client: ClientCertificate) -> Self {
        self.certificates = Some(Arc::clone(certificates));
        let clients = match client {
            ClientCertificate::Required => "yes",
            ClientCertificate::Optional => "optional",
            ClientCertificate::NotAsked => "no",
        };
        self.flags(&["--tls-auth-clients", clients])
    }

    /// A member of a cluster, whose bus has a free port of its own (not the port plus 10 000).
    #[must_use]
    pub fn cluster_node(mut self) -> Self {
        self.kind = Kind::ClusterNode;
        self
    }

    /// A sentinel, which watches other servers.
    #[must_use]
    pub fn sentinel(mut self) -> Self {
        self.kind = Kind::Sentinel;
        self
    }

    /// Starts a server so.
    pub fn start(self) -> Redis {
        Redis::launch(self)
    }
}

/// A running `redis-server` on a free port of 127.0.0.1 that keeps nothing on disk; killed when this is dropped.
///
/// Commands of the test itself go through a Unix socket in the server's directory, as the user `default`: they reach
/// the server whatever its ports, TLS and proxies do, and only this server.
#[derive(Debug)]
pub struct Redis {
    options: Mutex<Options>,
    ports: Ports,
    process: Mutex<Process>,
    directory: tempfile::TempDir,
}

#[derive(Clone, Copy, Debug)]
struct Ports {
    plain: u16,
    tls: u16,
    bus: u16,
}

#[derive(Debug)]
struct Process {
    child: Child,
    stopped: bool,
}

impl Redis {
    /// Starts a server with the defaults of its version.
    pub fn start() -> Self {
        Options::new().start()
    }

    /// Starts a server with further settings, as on the command line: `start_with(&["--maxmemory", "1mb"])`.
    pub fn start_with(flags: &[&str]) -> Self {
        Options::new().flags(flags).start()
    }

    fn launch(options: Options) -> Self {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let directory = tempfile::tempdir().expect("a directory for redis-server");
            let ports = Ports { plain: free_port(), tls: free_port(), bus: free_port() };
            let child = spawn(&options, ports, directory.path());
            let process = Mutex::new(Process { child, stopped: false });
            let redis = Self { options: Mutex::new(options.clone()), ports, process, directory };
            if redis.answers_or_ends() {
                return redis;
            }
            // Somebody else was quicker to take a port; anything else would only happen again.
            let log = redis.log();
            assert!(log.contains("Address already in use") && Instant::now() < deadline, "redis-server ended:\n{log}");
        }
    }

    pub fn port(&self) -> u16 {
        self.ports.plain
    }

    /// The port for TLS; nobody listens on it unless the [`Options`] say so.
    pub fn tls_port(&self) -> u16 {
        self.ports.tls
    }

    /// Where clients are meant to come: the port for TLS, if there is one.
    pub fn client_port(&self) -> u16 {
        if self.has_tls() { self.ports.tls } else { self.ports.plain }
    }

    pub fn has_tls(&self) -> bool {
        self.options().certificates.is_some()
    }

    /// The port of the cluster bus; nobody listens on it unless this is a member of a cluster.
    pub fn bus_port(&self) -> u16 {
        self.ports.bus
    }

    /// `127.0.0.1:port`
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.plain)
    }

    /// `redis://127.0.0.1:port` or, with TLS, `rediss://`, with the password, if there is one.
    pub fn url(&self) -> String {
        let scheme = if self.has_tls() { "rediss" } else { "redis" };
        let password = self.password().map_or(String::new(), |password| format!(":{password}@"));
        format!("{scheme}://{password}127.0.0.1:{}", self.client_port())
    }

    /// The password of the user `default`.
    pub fn password(&self) -> Option<String> {
        self.options().password.clone()
    }

    /// The Unix socket that the server listens on, too.
    pub fn unix_socket(&self) -> PathBuf {
        socket(self.directory.path())
    }

    /// The server's process id.
    pub fn pid(&self) -> u32 {
        self.process().child.id()
    }

    /// Whether the process is there and not stopped.
    pub fn is_running(&self) -> bool {
        let mut process = self.process();
        !process.stopped && matches!(process.child.try_wait(), Ok(None))
    }

    /// Sends a command and waits for its answer, which may be an error; panics, with the log, when there is none.
    #[track_caller]
    pub fn command<A: AsRef<[u8]>>(&self, words: &[A]) -> Reply {
        match self.try_command(words) {
            Ok(reply) => reply,
            Err(error) => panic!("{} does not answer: {error}\n{}", self.address(), self.log()),
        }
    }

    /// Sends a command and waits for its answer, at most [`PATIENCE`].
    pub fn try_command<A: AsRef<[u8]>>(&self, words: &[A]) -> io::Result<Reply> {
        self.try_connection()?.try_command(words)
    }

    /// A connection for commands that belong together.
    #[track_caller]
    pub fn connection(&self) -> Connection {
        self.try_connection().expect("a connection to Redis")
    }

    fn try_connection(&self) -> io::Result<Connection> {
        let mut connection = Connection::unix(&self.unix_socket())?;
        if let Some(password) = self.password() {
            connection.try_command(&["AUTH", &password])?;
        }
        Ok(connection)
    }

    /// One field of `INFO`: `info("role")` is `master` or `slave`. Empty when there is no such field.
    pub fn info(&self, field: &str) -> String {
        self.try_info(field)
            .unwrap_or_else(|error| panic!("{} does not answer: {error}\n{}", self.address(), self.log()))
    }

    /// As [`info`](Self::info), of a server that may not answer just now.
    pub fn try_info(&self, field: &str) -> io::Result<String> {
        let info = self.try_command(&["INFO", "everything"])?.text();
        let value = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        Ok(value.unwrap_or_default().trim().to_owned())
    }

    /// Changes a setting now and for the next [`restart`](Self::restart).
    #[track_caller]
    pub fn set(&self, name: &str, value: &str) {
        self.command(&["CONFIG", "SET", name, value]).ok();
        let mut options = self.options();
        options.flags.extend([format!("--{name}"), value.to_owned()]);
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(log(self.directory.path())).unwrap_or_default()
    }

    /// Stops the process, which then holds its connections but answers nothing, as one that hangs.
    pub fn sigstop(&self) {
        self.signal(Signal::STOP);
        self.process().stopped = true;
    }

    /// Lets a stopped process go on.
    pub fn sigcont(&self) {
        self.process().stopped = false;
        self.signal(Signal::CONT);
    }

    /// Kills the process and waits until it is gone. What it held is lost.
    pub fn sigkill(&self) {
        let mut process = self.process();
        process.stopped = false;
        // Both fail only when it is gone already.
        let _ = process.child.kill();
        let _ = process.child.wait();
        guard::ended(process.child.id(), self.directory.path());
    }

    /// Starts the server again on the same port, empty; kills it before when it runs.
    pub fn restart(&self) {
        self.sigkill();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let child = spawn(&self.options(), self.ports, self.directory.path());
            *self.process() = Process { child, stopped: false };
            if self.answers_or_ends() {
                return;
            }
            assert!(Instant::now() < deadline, "redis-server does not start again:\n{}", self.log());
            std::thread::sleep(POLL);
        }
    }

    fn signal(&self, signal: Signal) {
        let process = self.process();
        let pid = Pid::from_child(&process.child);
        kill_process(pid, signal).expect("a process to send a signal to");
    }

    /// Whether the server answers in the end; false when its process ended instead. It binds its ports before the
    /// socket, so an answer there means that they are its own.
    fn answers_or_ends(&self) -> bool {
        let mut answers = false;
        wait_until("redis-server answers", || {
            answers = matches!(self.try_command(&["PING"]), Ok(reply) if reply == Reply::Simple("PONG".to_owned()));
            answers || !self.is_running()
        });
        answers
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn options(&self) -> MutexGuard<'_, Options> {
        self.options.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.sigkill();
    }
}

fn spawn(options: &Options, ports: Ports, directory: &Path) -> Child {
    let mut command = Command::new("redis-server");
    if options.kind == Kind::Sentinel {
        // It writes down there what it learns.
        let file = directory.join("sentinel.conf");
        let kept = std::fs::OpenOptions::new().create(true).append(true).open(&file);
        kept.expect("a file for the sentinel");
        command.arg(file).arg("--sentinel");
    }
    command.args(["--bind", "127.0.0.1", "--port", &ports.plain.to_string()]);
    command.arg("--dir").arg(directory).arg("--logfile").arg(log(directory)).arg("--unixsocket").arg(socket(directory));
    if options.kind != Kind::Sentinel {
        command.args(["--save", "", "--appendonly", "no"]);
        // A replica syncs at once, and is sent writes as soon as its link is up: after a diskless sync it would be
        // sent none until its next report, which is a second in which a failover loses them.
        command.args(["--repl-diskless-sync", "no", "--repl-ping-replica-period", "1"]);
    }
    if let Some(certificates) = &options.certificates {
        command.args(["--tls-port", &ports.tls.to_string(), "--tls-ca-cert-file"]).arg(certificates.ca());
        command.arg("--tls-cert-file").arg(certificates.server_certificate());
        command.arg("--tls-key-file").arg(certificates.server_key());
        if options.kind == Kind::ClusterNode {
            command.args(["--tls-cluster", "yes", "--tls-replication", "yes"]);
        }
    }
    if options.kind == Kind::ClusterNode {
        command.args(["--cluster-enabled", "yes", "--cluster-port", &ports.bus.to_string()]);
    }
    command.args(&options.flags).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().expect("redis-server, which scripts/setup installs");
    guard::started(child.id(), directory);
    child
}

fn socket(directory: &Path) -> PathBuf {
    directory.join("redis.sock")
}

fn log(directory: &Path) -> PathBuf {
    directory.join("redis.log")
}
