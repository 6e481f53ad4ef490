//! What does it cost to ask a list of 100 000 networks of an address, to keep it, and to make it anew?
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::fmt::Write as _;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{Criterion, criterion_group};
use fastrand::Rng;
use tidegate::authz::lists::{ListKind, Lists, ListsBuilder, Subject, Verdict};

const NETWORKS: usize = 100_000;
/// Different addresses that are asked about, in turn: their places in the trie do not all stay in a cache.
const ASKED: usize = 65_536;
const NOW: u64 = 1_900_000_000;

/// Lengths of prefixes as block lists have them: mostly /24 and single addresses.
const V4: [u8; 8] = [32, 32, 32, 24, 24, 24, 20, 16];
/// Hosts' networks and providers'.
const V6: [u8; 8] = [128, 64, 64, 64, 56, 48, 48, 32];

/// CPU time of this thread: what else the machine does meanwhile makes it no longer, but for what that takes of caches.
struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        // Giving way for a moment has the kernel bring its account up to date.
        std::thread::yield_now();
        let account = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        Duration::from_nanos(account.split(' ').next().unwrap().parse().unwrap())
    }

    fn end(&self, start: Duration) -> Duration {
        self.start().saturating_sub(start)
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

/// A list, as its file has it, and addresses that it holds.
struct Sample {
    text: String,
    held: Vec<IpAddr>,
}

fn v4(rng: &mut Rng) -> Sample {
    sample(rng, |rng| {
        let length = *rng.choice(&V4).unwrap_or(&32);
        // Public unicast; what is left free below is for misses.
        let bits = (1 + rng.u32(..126)) << 24 | rng.u32(..1 << 24);
        let mask = u32::MAX << (32 - length);
        let text = format!("{}/{length}", Ipv4Addr::from_bits(bits & mask));
        (text, Ipv4Addr::from_bits(bits).into())
    })
}

fn v6(rng: &mut Rng) -> Sample {
    sample(rng, |rng| {
        let length = *rng.choice(&V6).unwrap_or(&64);
        let bits = 0x2000 << 112 | rng.u128(..1 << 125);
        let mask = u128::MAX << (128 - length);
        let text = format!("{}/{length}", Ipv6Addr::from_bits(bits & mask));
        (text, Ipv6Addr::from_bits(bits).into())
    })
}

fn sample(rng: &mut Rng, mut network: impl FnMut(&mut Rng) -> (String, IpAddr)) -> Sample {
    let (mut text, mut held) = (String::new(), Vec::new());
    for _ in 0..NETWORKS {
        let (network, address) = network(rng);
        writeln!(text, "{network}").unwrap();
        held.push(address);
    }
    rng.shuffle(&mut held);
    held.truncate(ASKED);
    Sample { text, held }
}

fn build(text: &str) -> Lists {
    let mut builder = ListsBuilder::new(false);
    let mut mistakes = 0;
    builder.add_text(ListKind::Deny, text, |_, _, _| mistakes += 1);
    assert_eq!(mistakes, 0);
    builder.build()
}

/// Memory of this process, bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Builds lists and tells what they took.
fn measured(name: &str, text: &str) -> Lists {
    let (before, start) = (resident(), CpuTime.start());
    let lists = build(text);
    let (bytes, built) = (resident().saturating_sub(before), CpuTime.end(start));
    let len = lists.len(ListKind::Deny);
    println!(
        "{name}: {len} networks built in {built:.2?}, {:.1} MB, {} bytes each",
        bytes as f64 / 1e6,
        bytes / len as u64
    );
    lists
}

fn ask(lists: &Lists, address: IpAddr) -> Verdict<'_> {
    lists.verdict(&Subject { address: Some(address), user: None, path: b"/" }, NOW)
}

/// What waiting for memory costs at the moment: reads of which each tells where the next one is.
fn memory(c: &mut Criterion<CpuTime>) {
    const LINES: usize = (8 << 20) / 64;
    let mut order: Vec<usize> = (1..LINES).collect();
    Rng::with_seed(7).shuffle(&mut order);
    let mut lines = vec![[0_usize; 8]; LINES];
    let mut at = 0;
    for next in order {
        lines[at][0] = next;
        at = next;
    }
    c.bench_function("memory/read_in_8_mb", |b| {
        b.iter(|| {
            at = lines[at][0];
            at
        });
    });
}

fn lookup(c: &mut Criterion<CpuTime>) {
    let mut rng = Rng::with_seed(7);
    let samples = [("v4", v4(&mut rng)), ("v6", v6(&mut rng))];
    let free_v4: Vec<IpAddr> = (0..ASKED).map(|_| Ipv4Addr::from_bits(128 << 24 | rng.u32(..1 << 30)).into()).collect();
    // In the same blocks as what is listed, so that the walk is as long as it can be in vain.
    let near_v4: Vec<IpAddr> =
        (0..ASKED).map(|_| Ipv4Addr::from_bits((1 + rng.u32(..126)) << 24 | rng.u32(..1 << 24)).into()).collect();
    let near_v6: Vec<IpAddr> =
        (0..ASKED).map(|_| Ipv6Addr::from_bits(0x2000 << 112 | rng.u128(..1 << 125)).into()).collect();
    let mut group = c.benchmark_group("lists");
    for (name, sample) in &samples {
        let lists = measured(name, &sample.text);
        assert!(sample.held.iter().all(|address| matches!(ask(&lists, *address), Verdict::Denied(_))));
        let asked: &[(&str, &[IpAddr])] = match *name {
            "v4" => &[("hit", &sample.held), ("miss", &free_v4), ("near", &near_v4)],
            _ => &[("hit", &sample.held), ("near", &near_v6)],
        };
        for (outcome, addresses) in asked {
            let hits = addresses.iter().filter(|address| ask(&lists, **address) != Verdict::Unlisted).count();
            println!("{name}/{outcome}: {hits} of {} addresses are listed", addresses.len());
            let mut turn = addresses.iter().cycle();
            group.bench_function(format!("lookup/{name}/{outcome}"), |b| {
                b.iter(|| ask(black_box(&lists), *turn.next().unwrap()));
            });
            let hot = addresses[0];
            group.bench_function(format!("lookup/{name}/{outcome}/same"), |b| {
                b.iter(|| ask(black_box(&lists), black_box(hot)));
            });
        }
    }
    let empty = Lists::default();
    group.bench_function("lookup/empty", |b| b.iter(|| ask(black_box(&empty), black_box(near_v4[0]))));
    group.sample_size(20).measurement_time(Duration::from_secs(8));
    for (name, sample) in &samples {
        group.bench_function(format!("rebuild/{name}"), |b| b.iter(|| build(black_box(&sample.text))));
    }
    group.finish();
}

fn paths(c: &mut Criterion<CpuTime>) {
    use tidegate::authz::path::{Templates, normalise};
    let templates: Vec<String> =
        (0..1_000).map(|n| format!("/api/v{}/things{n}/{{id}}/parts/{{part}}", n % 3)).collect();
    let templates = Templates::new(&templates, false).unwrap();
    let mut group = c.benchmark_group("path");
    group.bench_function("normalise/usual", |b| {
        b.iter(|| normalise(black_box(b"/api/v1/things100/0195fd3a-7b1c/parts/42?fields=name,size"), false));
    });
    group.bench_function("normalise/rewritten", |b| {
        b.iter(|| normalise(black_box(b"/api//v1/./things100/%61bc/parts/42?fields=name,size"), false));
    });
    group.bench_function("find/1000_templates", |b| {
        b.iter(|| templates.find(black_box(b"/api/v1/things100/0195fd3a-7b1c/parts/42")).unwrap().index());
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = memory, lookup, paths
}

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
}
