//! A Redis server for one test.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fred::prelude::*;
use fred::types::CustomCommand;
use tidegate::core::clock::Micros;
use tidegate::counters::redis::program::Call;
use tidegate::counters::redis::scripts::Script;
use tokio::runtime::Runtime;

pub struct Server {
    process: Child,
    runtime: Runtime,
    pub client: Client,
}

impl Server {
    pub fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "redis-server does not start");
            std::thread::sleep(Duration::from_millis(5));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = runtime.block_on(async {
            let config = Config::from_url(&format!("redis://127.0.0.1:{port}")).unwrap();
            let client = Builder::from_config(config).build().unwrap();
            client.init().await.unwrap();
            client
        });
        Self { process, runtime, client }
    }

    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Sends a call with a script's twin that takes the time as an argument.
    pub fn call_at(&self, script: &Script, call: Call, now: u64) -> Value {
        let mut args = call.args;
        args.push(now.to_string().into());
        self.eval(script, call.keys, args)
    }

    pub fn eval(&self, script: &Script, keys: Vec<bytes::Bytes>, args: Vec<bytes::Bytes>) -> Value {
        self.block_on(async {
            let reply: Result<Value, _> = self.client.evalsha(&script.sha1, keys.clone(), args.clone()).await;
            match reply {
                Err(error) if error.details().starts_with("NOSCRIPT") => {
                    self.client.eval(script.source, keys, args).await.unwrap()
                }
                reply => reply.unwrap(),
            }
        })
    }

    pub fn flush(&self) {
        self.block_on(self.client.flushall::<()>(false)).unwrap();
    }

    pub fn custom(&self, command: &'static str, args: Vec<String>) -> Value {
        self.block_on(self.client.custom(CustomCommand::new_static(command, None, false), args)).unwrap()
    }

    pub fn wall() -> Micros {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().into()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
