//! A TCP proxy that does to connections what networks do.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener as Listener};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::ports::free_port;
use super::wait_until;

/// How many chunks may be under way in one direction of a connection before reading waits.
const UNDER_WAY: usize = 1024;
const CHUNK_BYTES: usize = 16 * 1024;

/// An end of a proxied connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    Client,
    Server,
}

/// A proxy on a free port of 127.0.0.1, with a thread of its own; what is changed holds for connections there are, too.
/// Dropping it cuts everything.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    orders: watch::Sender<Orders>,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

/// What the proxy is to do; counters say how often, so that nobody misses an event.
#[derive(Clone, Debug, Default)]
struct Orders {
    /// How late bytes arrive at the client, and at the server.
    latency: [Duration; 2],
    half_closes: [u64; 2],
    cuts: u64,
    refuse: bool,
    hold: bool,
    end: bool,
}

#[derive(Debug, Default)]
struct State {
    listening: AtomicBool,
    accepted: AtomicU64,
    open: Mutex<BTreeSet<u64>>,
}

impl Proxy {
    /// Forwards connections to the server at this address, which may start later.
    pub fn start(upstream: impl Into<String>) -> Self {
        let upstream = upstream.into();
        let listener = loop {
            if let Ok(listener) = Listener::bind(("127.0.0.1", free_port())) {
                break listener;
            }
        };
        let address = listener.local_addr().expect("the address of a bound port");
        let (orders, receiver) = watch::channel(Orders::default());
        let state = Arc::new(State::default());
        state.listening.store(true, Ordering::SeqCst);
        let shared = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(accept(listener, upstream, receiver, shared));
        });
        Self { address, orders, state, thread: Some(thread) }
    }

    /// `127.0.0.1:port`
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Delivers bytes that come from now on this much later, each way: a round trip takes twice as much more.
    pub fn latency(&self, each_way: Duration) {
        self.orders.send_modify(|orders| orders.latency = [each_way; 2]);
    }

    /// Delivers bytes that come from now on this much later, to one end.
    pub fn latency_to(&self, end: End, latency: Duration) {
        self.orders.send_modify(|orders| orders.latency[end as usize] = latency);
    }

    /// Closes all connections; returns when they are closed. New ones are accepted.
    pub fn cut(&self) {
        let old = self.state.open().clone();
        self.orders.send_modify(|orders| orders.cuts += 1);
        wait_until("the connections are cut", || self.state.open().is_disjoint(&old));
    }

    /// Stops listening, so that new connections are refused; those there are stay.
    pub fn refuse(&self) {
        self.orders.send_modify(|orders| orders.refuse = true);
        wait_until("the proxy listens no more", || !self.state.listening.load(Ordering::SeqCst));
    }

    /// As if the server were gone: [`refuse`](Self::refuse) and [`cut`](Self::cut).
    pub fn down(&self) {
        self.refuse();
        self.cut();
    }

    /// As if the network were gone: accepts connections, keeps them and forwards nothing, also no end of a connection.
    /// What is sent meanwhile arrives after [`resume`](Self::resume), as TCP sends it again when a network comes back.
    pub fn hold(&self) {
        self.orders.send_modify(|orders| orders.hold = true);
    }

    /// Ends [`refuse`](Self::refuse), [`down`](Self::down) and [`hold`](Self::hold); the latency stays.
    pub fn resume(&self) {
        self.orders.send_modify(|orders| (orders.refuse, orders.hold) = (false, false));
        wait_until("the proxy listens again", || self.state.listening.load(Ordering::SeqCst));
    }

    /// On all connections there are: tells this end that the other sends no more. What this end sends is still
    /// forwarded; what is sent to it is thrown away.
    pub fn half_close(&self, end: End) {
        self.orders.send_modify(|orders| orders.half_closes[end as usize] += 1);
    }

    /// How many connections came so far.
    pub fn accepted(&self) -> u64 {
        self.state.accepted.load(Ordering::SeqCst)
    }

    /// How many connections there are now.
    pub fn open(&self) -> usize {
        self.state.open().len()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.orders.send_modify(|orders| orders.end = true);
        if let Some(thread) = self.thread.take() {
            // It panics only in a test that fails already.
            let _ = thread.join();
        }
    }
}

impl State {
    fn open(&self) -> std::sync::MutexGuard<'_, BTreeSet<u64>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(listener: Listener, upstream: String, mut orders: watch::Receiver<Orders>, state: Arc<State>) {
    let address = listener.local_addr().expect("the address of a bound port");
    let listen = |listener: Listener| {
        listener.set_nonblocking(true).expect("a listener that does not block");
        TcpListener::from_std(listener).expect("a listener in the runtime")
    };
    let mut listener = Some(listen(listener));
    loop {
        let now = orders.borrow_and_update().clone();
        if now.end {
            // With the runtime, the connections end.
            return;
        }
        if now.refuse {
            listener = None;
        } else if listener.is_none() {
            listener = Listener::bind(address).ok().map(listen);
        }
        state.listening.store(listener.is_some(), Ordering::SeqCst);
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None if now.refuse => std::future::pending().await,
                // Somebody has the port; look again in a moment.
                None => {
                    tokio::time::sleep(super::POLL).await;
                    Err(std::io::ErrorKind::AddrInUse.into())
                }
            }
        };
        tokio::select! {
            _ = orders.changed() => {}
            Ok((client, _)) = accepted => {
                let number = state.accepted.fetch_add(1, Ordering::SeqCst);
                state.open().insert(number);
                let (upstream, orders, state) = (upstream.clone(), orders.clone(), Arc::clone(&state));
                tokio::spawn(async move {
                    serve(client, &upstream, orders, now.cuts).await;
                    state.open().remove(&number);
                });
            }
            else => {}
        }
    }
}

/// Forwards both ways until both have ended, one fails or the connection is cut.
async fn serve(client: TcpStream, upstream: &str, orders: watch::Receiver<Orders>, cuts: u64) {
    let mut cut = orders.clone();
    let relay = async {
        orders.clone().wait_for(|orders| !orders.hold).await.ok()?;
        let server = TcpStream::connect(upstream).await.ok()?;
        client.set_nodelay(true).and_then(|()| server.set_nodelay(true)).ok()?;
        let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
        let to_server = forward(from_client, to_server, End::Server, orders.clone());
        let to_client = forward(from_server, to_client, End::Client, orders);
        tokio::try_join!(to_server, to_client).ok()
    };
    tokio::select! {
        _ = relay => {}
        _ = cut.wait_for(|orders| orders.cuts != cuts) => {}
    }
}

async fn forward(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    end: End,
    mut orders: watch::Receiver<Orders>,
) -> std::io::Result<()> {
    let way = end as usize;
    let now = orders.clone();
    let (sender, mut under_way) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    let read = async move {
        loop {
            let mut chunk = Vec::with_capacity(CHUNK_BYTES);
            // A connection that is reset ends here as one that is closed: what came before still travels.
            let ended = !matches!(from.read_buf(&mut chunk).await, Ok(1..));
            let due = Instant::now() + now.borrow().latency[way];
            if sender.send((due, chunk)).await.is_err() || ended {
                return Ok(());
            }
        }
    };
    let write = async move {
        let half_closes = orders.borrow().half_closes[way];
        let mut half_close = orders.clone();
        loop {
            let (due, chunk) = tokio::select! {
                biased;
                _ = half_close.wait_for(|orders| orders.half_closes[way] != half_closes) => break,
                Some(next) = under_way.recv() => next,
                else => break,
            };
            if due > Instant::now() {
                tokio::time::sleep_until(due).await;
            }
            let _ = orders.wait_for(|orders| !orders.hold).await;
            if chunk.is_empty() {
                break;
            }
            to.write_all(&chunk).await?;
        }
        to.shutdown().await?;
        while under_way.recv().await.is_some() {}
        Ok(())
    };
    tokio::try_join!(read, write).map(|((), ())| ())
}
