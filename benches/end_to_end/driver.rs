//! A load of requests that differ from each other, which `h2load` cannot make: some connections in one thread, each
//! with so many requests under way, and the next request as soon as one is answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::task::JoinSet;

use crate::question::Question;

/// Which clients ask.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Keys {
    /// Always the same.
    One,
    /// Any of so many, all alike.
    Uniform(u64),
    /// One after the other, as many as there are requests: each once.
    InTurn,
    /// Of so many, the more often the smaller their number, by a Zipf distribution with this exponent.
    Zipf(u64, f64),
}

/// What to send.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    pub keys: Keys,
    pub question: Question,
    pub requests: u64,
    pub connections: usize,
    /// Requests under way on each connection.
    pub streams: usize,
    /// Requests a second in all; 0 is as many as possible.
    pub rate: u64,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    pub ok: u64,
    pub over_limit: u64,
    pub failed: u64,
    pub seconds: f64,
    /// Sorted, in microseconds.
    pub latencies: Vec<u32>,
}

/// Digits of a client's number.
const DIGITS: usize = 8;

/// A request with places for clients' numbers.
#[derive(Debug)]
struct Template {
    bytes: Vec<u8>,
    places: Vec<usize>,
}

impl Template {
    fn new(question: Question) -> Self {
        let number = "#".repeat(DIGITS);
        let bytes = question.framed(&number);
        let found = bytes.windows(DIGITS).enumerate().filter(|(_, window)| *window == number.as_bytes());
        let places = found.map(|(place, _)| place).collect();
        Self { bytes, places }
    }

    fn fill(&self, mut client: impl FnMut() -> u64) -> Bytes {
        let mut bytes = self.bytes.clone();
        for &place in &self.places {
            let mut number = client();
            for digit in bytes[place..place + DIGITS].iter_mut().rev() {
                *digit = b'0' + (number % 10) as u8;
                number /= 10;
            }
        }
        bytes.into()
    }
}

/// Numbers of clients.
struct Clients {
    keys: Keys,
    random: fastrand::Rng,
    /// Of a Zipf distribution: the share of all clients up to each.
    shares: Arc<Vec<f64>>,
}

fn shares(keys: Keys) -> Vec<f64> {
    let Keys::Zipf(count, exponent) = keys else { return Vec::new() };
    let mut sum = 0.0;
    let mut shares: Vec<f64> = (1..=count)
        .map(|rank| {
            #[allow(clippy::cast_precision_loss)]
            let weight = 1.0 / (rank as f64).powf(exponent);
            sum += weight;
            sum
        })
        .collect();
    shares.iter_mut().for_each(|share| *share /= sum);
    shares
}

impl Clients {
    /// The client of the request with this number.
    fn next(&mut self, request: u64) -> u64 {
        match self.keys {
            Keys::One => 0,
            Keys::InTurn => request,
            Keys::Uniform(count) => self.random.u64(..count),
            Keys::Zipf(..) => {
                let chosen = self.random.f64();
                self.shares.partition_point(|share| *share < chosen) as u64
            }
        }
    }
}

/// Sends it all, from a thread of its own that is pinned like this process.
pub fn run(server: SocketAddr, traffic: Traffic) -> Answers {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(drive(server, traffic))
}

async fn drive(server: SocketAddr, traffic: Traffic) -> Answers {
    let template = Arc::new(Template::new(traffic.question));
    let shares = Arc::new(shares(traffic.keys));
    let left = Arc::new(AtomicU64::new(traffic.requests));
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for connection in 0..traffic.connections {
        let socket = TcpStream::connect(server).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let (sender, connected) = h2::client::handshake(socket).await.unwrap();
        tokio::spawn(connected);
        for stream in 0..traffic.streams {
            let seed = (connection * 1_000 + stream) as u64;
            let clients =
                Clients { keys: traffic.keys, random: fastrand::Rng::with_seed(seed), shares: Arc::clone(&shares) };
            let (sender, template, left) = (sender.clone(), Arc::clone(&template), Arc::clone(&left));
            tasks.spawn(stream_of(sender, template, left, clients, start, traffic));
        }
    }
    let mut all = Answers::default();
    while let Some(part) = tasks.join_next().await {
        let part = part.unwrap();
        all.ok += part.ok;
        all.over_limit += part.over_limit;
        all.failed += part.failed;
        all.latencies.extend(part.latencies);
    }
    all.seconds = start.elapsed().as_secs_f64();
    all.latencies.sort_unstable();
    all
}

async fn stream_of(
    mut sender: SendRequest<Bytes>,
    template: Arc<Template>,
    left: Arc<AtomicU64>,
    mut clients: Clients,
    start: Instant,
    traffic: Traffic,
) -> Answers {
    let mut answers = Answers::default();
    loop {
        let number = left.load(Ordering::Relaxed);
        if number == 0 {
            return answers;
        }
        left.store(number - 1, Ordering::Relaxed);
        if traffic.rate > 0 {
            let sent = traffic.requests - number;
            #[allow(clippy::cast_precision_loss)]
            let due = start + std::time::Duration::from_secs_f64(sent as f64 / traffic.rate as f64);
            tokio::time::sleep_until(due.into()).await;
        }
        let asked = Instant::now();
        match ask(&mut sender, traffic.question, template.fill(|| clients.next(number))).await {
            Some(1) => answers.ok += 1,
            Some(2) => answers.over_limit += 1,
            _ => answers.failed += 1,
        }
        answers.latencies.push(u32::try_from(asked.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
}

/// The code of the answer, 1 or 2 as RLS has them.
async fn ask(sender: &mut SendRequest<Bytes>, question: Question, body: Bytes) -> Option<u8> {
    std::future::poll_fn(|context| sender.poll_ready(context)).await.ok()?;
    let request = Request::post(format!("http://bench{}", question.path()))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .ok()?;
    let (answer, mut stream) = sender.send_request(request, false).ok()?;
    stream.send_data(body, true).ok()?;
    let mut body = answer.await.ok()?.into_body();
    let mut code = None;
    while let Some(data) = body.data().await {
        let data = data.ok()?;
        let _ = body.flow_control().release_capacity(data.len());
        // After the five bytes of the frame comes the field overall_code, 1; or a status, empty when it is OK.
        if code.is_none() && data.len() > 6 {
            code = match data[5] {
                8 => Some(data[6]),
                0x0a => Some(if data[6] == 0 { 1 } else { 2 }),
                _ => None,
            };
        }
    }
    code
}
