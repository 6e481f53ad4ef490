//! One `postgres`.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use rustix::process::{Pid, Signal, kill_process};

use super::ports::free_port;
use super::tls::Certificates;
use super::{guard, wait_for};

/// The superuser, whom the Unix socket asks for nothing.
pub const SUPERUSER: &str = "postgres";

/// What a server is started with.
#[derive(Clone, Debug, Default)]
pub struct Options {
    settings: Vec<String>,
    password: bool,
    certificates: Option<std::sync::Arc<Certificates>>,
}

impl Options {
    pub fn new() -> Self {
        Self::default()
    }

    /// A further setting, as in `postgresql.conf`: `set("max_connections = 5")`.
    #[must_use]
    pub fn set(mut self, setting: &str) -> Self {
        self.settings.push(setting.to_owned());
        self
    }

    /// Ask for passwords over TCP.
    #[must_use]
    pub fn password(mut self) -> Self {
        self.password = true;
        self
    }

    /// TLS with the server's certificate of these; plain text stays possible.
    #[must_use]
    pub fn tls(mut self, certificates: &std::sync::Arc<Certificates>) -> Self {
        self.certificates = Some(std::sync::Arc::clone(certificates));
        self
    }

    /// Starts a server so.
    pub fn start(self) -> Postgres {
        Postgres::launch(&self)
    }
}

/// A running server on a free port of 127.0.0.1, and on a Unix socket in its directory; ended when this is dropped.
#[derive(Debug)]
pub struct Postgres {
    port: u16,
    process: Mutex<Child>,
    directory: tempfile::TempDir,
}

impl Postgres {
    /// Starts a server with the defaults.
    pub fn start() -> Self {
        Options::new().start()
    }

    /// One server for all tests of a process that only need databases of their own.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| Options::new().set("max_connections = 300").start())
    }

    fn launch(options: &Options) -> Self {
        let directory = directory();
        let data = directory.path().join("data");
        run(Command::new("cp").arg("-a").arg(template()).arg(&data));
        let mut settings = options.settings.clone();
        if let Some(certificates) = &options.certificates {
            for (name, from) in
                [("server.crt", certificates.server_certificate()), ("server.key", certificates.server_key())]
            {
                let to = data.join(name);
                fs::copy(from, &to).expect("a copy of a certificate");
                give(&to);
                fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).expect("permissions of a key");
            }
            settings.push("ssl = on".to_owned());
        }
        let file = data.join("postgresql.conf");
        let before = fs::read_to_string(&file).expect("postgresql.conf");
        fs::write(&file, format!("{before}\n{}\n", settings.join("\n"))).expect("postgresql.conf");
        if options.password {
            let rules = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
            fs::write(data.join("pg_hba.conf"), rules).expect("pg_hba.conf");
        }
        let port = free_port();
        let child = spawn(directory.path(), port);
        guard::started(child.id(), directory.path());
        let server = Self { port, process: Mutex::new(child), directory };
        if !server.is_ready_or_ends() {
            let log = fs::read_to_string(server.directory.path().join("log")).unwrap_or_default();
            panic!("postgres does not start:\n{log}");
        }
        server
    }

    fn is_ready_or_ends(&self) -> bool {
        let state = self.directory.path().join("data/postmaster.pid");
        wait_for("postgres is ready", || {
            if fs::read_to_string(&state)
                .is_ok_and(|text| text.lines().nth(7).is_some_and(|line| line.trim() == "ready"))
            {
                return Some(true);
            }
            matches!(self.process().try_wait(), Ok(Some(_))).then_some(false)
        })
    }

    fn process(&self) -> MutexGuard<'_, Child> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The address of a database for a user, over TCP.
    pub fn url(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{}/{database}", self.port)
    }

    /// The address of a database for the superuser, through the Unix socket.
    pub fn socket_url(&self, database: &str) -> String {
        let directory = self.directory.path().display();
        format!("postgres:///{database}?host={directory}&port={}&user={SUPERUSER}", self.port)
    }

    /// A connection of the superuser's for what the test itself has to say.
    pub async fn client(&self, database: &str) -> tokio_postgres::Client {
        let url = self.socket_url(database);
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("a connection");
        tokio::spawn(connection);
        client
    }

    /// An empty database of a new name.
    pub async fn database(&self) -> String {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let name = format!("test_{}", NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let text = format!("CREATE DATABASE {name} TEMPLATE template0");
        self.client("postgres").await.batch_execute(&text).await.expect("a database");
        name
    }

    /// Kills it at once, as a crash of the machine would.
    pub fn sigkill(&self) {
        let mut process = self.process();
        let children = children(process.id());
        let _ = process.kill();
        process.wait().expect("the end of postgres");
        for child in children {
            signal(child, Signal::KILL);
        }
        guard::ended(process.id(), self.directory.path());
    }

    /// Starts it again on the same port, with what it had.
    pub fn restart(&self) {
        let mut process = self.process();
        if matches!(process.try_wait(), Ok(None)) {
            signal(process.id(), Signal::INT);
            process.wait().expect("the end of postgres");
            guard::ended(process.id(), self.directory.path());
        }
        drop(process);
        // Sessions of a server that was killed end by themselves, and until then keep its memory, so that no other starts.
        wait_for("postgres starts again", || {
            let _ = fs::remove_file(self.directory.path().join("data/postmaster.pid"));
            let mut process = self.process();
            *process = spawn(self.directory.path(), self.port);
            guard::started(process.id(), self.directory.path());
            drop(process);
            self.is_ready_or_ends().then_some(())
        });
    }

    /// Stops it without ending it: connections stay, nothing is answered. The sessions first, as new ones come of the
    /// server itself.
    pub fn sigstop(&self) {
        let server = self.process().id();
        signal(server, Signal::STOP);
        children(server).into_iter().for_each(|child| signal(child, Signal::STOP));
    }

    /// Ends that.
    pub fn sigcont(&self) {
        let server = self.process().id();
        children(server).into_iter().for_each(|child| signal(child, Signal::CONT));
        signal(server, Signal::CONT);
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.sigcont();
        let mut process = self.process();
        signal(process.id(), Signal::QUIT);
        let _ = process.wait();
        guard::ended(process.id(), self.directory.path());
    }
}

/// Sends a signal to a process, if it is still there.
pub fn signal(process: u32, signal: Signal) {
    if let Some(process) = i32::try_from(process).ok().and_then(Pid::from_raw) {
        let _ = kill_process(process, signal);
    }
}

fn children(process: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn spawn(directory: &Path, port: u16) -> Child {
    let log = fs::File::create(directory.join("log")).expect("a log");
    let mut command = as_server_user(&program("postgres"));
    command.arg("-D").arg(directory.join("data")).arg("-k").arg(directory).args(["-p", &port.to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("postgres")
}

/// A data directory that the servers of this process begin with: made once, as that takes its time.
fn template() -> &'static Path {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        // Kept for other test binaries too; whoever is first makes it.
        let installed = fs::canonicalize(program("postgres")).expect("the program");
        let installed = installed.display().to_string().replace('/', "-");
        let place = std::env::temp_dir().join(format!("tidegate-test{installed}-{}", owner()));
        if !place.join("PG_VERSION").exists() || fs::metadata(&place).map(|found| found.uid()).ok() != Some(owner()) {
            let directory = directory();
            let data = directory.path().join("data");
            let mut command = as_server_user(&program("initdb"));
            command.arg("-D").arg(&data).args(["-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"]);
            run(command.args(["--wal-segsize=1", "--no-instructions"]));
            let settings = "fsync = off\nfull_page_writes = off\nlisten_addresses = '127.0.0.1'\nshared_buffers = 64MB\n\
                            max_wal_size = 256MB\nautovacuum_naptime = 5s\nunix_socket_permissions = 0700\n";
            let file = data.join("postgresql.conf");
            let before = fs::read_to_string(&file).expect("postgresql.conf");
            fs::write(&file, before + settings).expect("postgresql.conf");
            if fs::rename(&data, &place).is_err() {
                // Another was quicker, or it is on another file system.
                assert!(place.join("PG_VERSION").exists(), "no data directory at {}", place.display());
            }
        }
        place
    })
}

/// A directory that the server's user can use.
fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory for postgres");
    give(directory.path());
    directory
}

fn give(path: &Path) {
    if let Some((user, group)) = server_user() {
        chown(path, Some(user), Some(group)).expect("a file of the server's user");
    }
}

fn owner() -> u32 {
    server_user().map_or_else(|| rustix::process::getuid().as_raw(), |(user, _)| user)
}

/// Postgres refuses to run as root; then it runs as the user of its package, or as nobody.
fn server_user() -> Option<(u32, u32)> {
    if !rustix::process::getuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").expect("/etc/passwd");
    let find = |name: &str| {
        let fields: Vec<&str> =
            users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|line| line[0] == name)?;
        Some((fields[2].parse().ok()?, fields[3].parse().ok()?))
    };
    find("postgres").or_else(|| find("nobody"))
}

fn as_server_user(program: &OsStr) -> Command {
    use std::os::unix::process::CommandExt as _;
    let mut command = Command::new(program);
    if let Some((user, group)) = server_user() {
        command.uid(user).gid(group);
    }
    command.current_dir("/");
    command
}

/// A program of the server, which Debian keeps out of the PATH.
fn program(name: &str) -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).collect())
        .unwrap_or_default();
    versions.sort();
    places.extend(versions.into_iter().rev());
    let found = places.iter().map(|place| place.join(name)).find(|program| program.exists());
    found.unwrap_or_else(|| panic!("no {name}; scripts/setup installs it")).into_os_string()
}

fn run(command: &mut Command) {
    let output = command.output().expect("a program to run");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Waits until a query of the superuser's gives true.
pub async fn until(server: &Postgres, database: &str, query: &str) {
    let client = server.client(database).await;
    let deadline = std::time::Instant::now() + super::PATIENCE;
    while !client.query_one(query, &[]).await.expect("an answer").get::<_, bool>(0) {
        assert!(std::time::Instant::now() < deadline, "still not so after {:?}: {query}", super::PATIENCE);
        tokio::time::sleep(super::POLL).await;
    }
}
