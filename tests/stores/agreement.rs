//! Random requests, one after the other, are answered as a memory store of its own answers them: verdicts, levels, what
//! remains, and when.

use tidegate::core::algorithm::{Outcome, Verdict};
use tidegate::core::clock::{Micros, SystemClock};
use tidegate::core::descriptor::Operation;
use tidegate::core::limit::{Algorithm, Limit, LimitParts, Over};
use tidegate::core::spec::Charge;
use tidegate::counters::memory::{MemoryOptions, MemoryStore};
use tidegate::counters::{CounterStore, Hit};

use crate::stand::Stand;
use crate::subject::{Subject, with};

const COUNTERS: usize = 12;
const REQUESTS: usize = 300;
/// The two are asked at different times; years are at stake.
const APART: Micros = Micros::from_secs(60);

struct Counter {
    subject: Subject,
    client: String,
    limit: Limit,
    enforced: bool,
}

/// Counters of all kinds; some of one descriptor, so that they share a slot.
fn counters(random: &mut fastrand::Rng, domain: &'static str, over: &[Over]) -> Vec<Counter> {
    let paths = ["one", "one", "two", "three"];
    let limits = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    let counter = |number: usize| {
        let algorithm = Algorithm::ALL[number % 5];
        let limit = with(|parts| LimitParts {
            amount: random.u64(2..=12),
            burst: algorithm.has_burst().then(|| random.u64(1..=12)),
            over: over[random.usize(..over.len())],
            post_paid: random.u8(..8) == 0,
            algorithm,
            ..parts
        });
        Counter {
            subject: Subject::new(domain, paths[number % paths.len()]).of_limit(limits[number]),
            client: (number / 8).to_string(),
            limit,
            enforced: random.u8(..4) > 0,
        }
    };
    (0..COUNTERS).map(counter).collect()
}

fn operation(random: &mut fastrand::Rng) -> Operation {
    match random.u8(..20) {
        0..=10 => Operation::Charge(random.u64(1..=2)),
        11..=13 => Operation::Charge(random.u64(3..=6)),
        14 => Operation::Charge(random.u64(12..=40)),
        15..=16 => Operation::Charge(0),
        _ => Operation::Refund(random.u64(0..=6)),
    }
}

fn request<'a>(random: &mut fastrand::Rng, counters: &'a [Counter], charge: Charge) -> Vec<Hit<'a>> {
    let mut hits: Vec<Hit<'_>> = Vec::new();
    for _ in 0..random.usize(1..=4) {
        let Counter { subject, client, limit, enforced } = &counters[random.usize(..COUNTERS)];
        let hit = Hit { enforced: *enforced, ..subject.hit(client, limit, operation(random)) };
        // Where hits are held, charges in shadow come after all others.
        if *enforced || charge == Charge::Independent || !hits.iter().any(|other| same_counter(other, &hit)) {
            hits.push(hit);
        }
    }
    hits
}

/// Whether an earlier hit of the request is on the same counter.
fn repeats(request: &[Hit<'_>], position: usize) -> bool {
    request[..position].iter().any(|hit| same_counter(hit, &request[position]))
}

fn same_counter(one: &Hit<'_>, other: &Hit<'_>) -> bool {
    one.key.space == other.key.space && one.key.values == other.key.values
}

fn same<S: CounterStore>(stand: &Stand<S>, limit: &Limit, real: &Outcome, expected: &Outcome) -> bool {
    let near = |a: Micros, b: Micros| a.0.abs_diff(b.0) < APART.0;
    let verdicts = match (real.verdict, expected.verdict) {
        (Verdict::NotUntil(real), Verdict::NotUntil(expected)) => near(real, expected),
        (real, expected) => real == expected,
    };
    let levels =
        if real.allowed() { real.level == expected.level } else { stand.told(limit, real.level, expected.level) };
    let remains = real.remaining == limit.capacity().saturating_sub(real.level);
    verdicts && levels && remains && near(real.reset_after, expected.reset_after)
}

fn agree<S: CounterStore>(stand: &Stand<S>, domain: &'static str, charge: Charge) {
    // What a memory does not record, it may not be asked about.
    let over: &[Over] = if stand.remembers() { &[Over::Drop] } else { &[Over::Drop, Over::Record] };
    let mut random = fastrand::Rng::with_seed(20_260_101);
    for _ in 0..2 {
        let reference = MemoryStore::new(SystemClock::new(), MemoryOptions::default());
        let counters = counters(&mut random, domain, over);
        for counter in &counters {
            stand.reset(&counter.subject.key(&counter.client, &counter.limit), &counter.limit);
        }
        for number in 0..REQUESTS / 2 {
            let request = request(&mut random, &counters, charge);
            let expected = reference.perform_now(&request, charge).unwrap();
            let real = stand.perform(&request, charge).outcomes;
            let refused = |outcomes: &[Outcome]| {
                request.iter().zip(outcomes).any(|(hit, outcome)| hit.enforced && !outcome.allowed())
            };
            let told: Vec<_> = request.iter().map(|hit| (hit.key.name, hit.operation, hit.enforced)).collect();
            assert_eq!(refused(&real), refused(&expected), "{number}: {told:?}: {real:?}, {expected:?}");
            let looked_at = !(stand.remembers() && charge == Charge::AllOrNothing && refused(&real));
            for (position, (real, expected)) in real.iter().zip(&expected).enumerate().filter(|_| looked_at) {
                let limit = request[position].limit;
                let mut expected = *expected;
                if stand.holds() && limit.over() == Over::Record && repeats(&request, position) {
                    expected.verdict = real.verdict;
                }
                assert!(
                    same(stand, limit, real, &expected),
                    "{number}: hit {position} of {told:?} under {limit:?}: {real:?}, {expected:?}"
                );
            }
        }
        for Counter { subject, client, limit, .. } in &counters {
            let key = subject.key(client, limit);
            let expected = stand.wait(reference.inspect(&key, limit)).unwrap().filter(|outcome| outcome.level > 0);
            let real = stand.inspect(&key, limit).filter(|outcome| outcome.level > 0);
            let agrees = match (&real, &expected) {
                (Some(real), Some(expected)) => same(stand, limit, real, expected),
                (real, expected) => real == expected,
            };
            assert!(agrees, "{limit:?}: {real:?}, {expected:?}");
        }
    }
}

pub fn requests_on_their_own_agree_with_the_memory_store<S: CounterStore>(stand: &Stand<S>) {
    agree(stand, "alone", Charge::Independent);
}

pub fn requests_together_agree_with_the_memory_store<S: CounterStore>(stand: &Stand<S>) {
    agree(stand, "all or nothing", Charge::AllOrNothing);
}
