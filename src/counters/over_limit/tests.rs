//! The memory against the truth: one core [`State`] that stands for the store, with a clock of its own, and replicas
//! that ask it over a network that takes its time.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;

use fastrand::Rng;

use super::*;
use crate::core::algorithm::Verdict;
use crate::core::limit::{LimitParts, MAX_HITS, Window};

/// What the store's clock says when the world begins.
const EPOCH: Micros = Micros(1_764_000_000_123_456);
const WINDOW: Micros = Micros::SECOND;

fn limit_of(algorithm: Algorithm, over: Over, amount: u64) -> Limit {
    let burst = algorithm.has_burst().then_some(3);
    let window = Window::Length(WINDOW);
    Limit::new(LimitParts { amount, window, algorithm, burst, over, post_paid: false }).unwrap()
}

fn key(number: u64) -> Fingerprint {
    Fingerprint { high: number, low: number.wrapping_mul(0x9e37_79b9_7f4a_7c15) }
}

fn options(max_counters: usize, ask_again: Micros) -> OverLimitOptions {
    OverLimitOptions { max_counters, ask_again: ask_again.as_duration() }
}

/// One that asks again only after ten years.
fn memory() -> OverLimitMemory {
    OverLimitMemory::new(options(1_000, Micros::from_secs(10 * 365 * 86_400)))
}

fn store_at(now: Micros) -> Now {
    Now { wall: now, mono: now }
}

/// Something that arrives.
#[derive(Debug)]
enum Event {
    /// At the store: who asks, when it was sent, and what.
    Ask { replica: usize, sent: Micros, limit: Limit, operation: Operation },
    /// At a replica: what was answered.
    Answer {
        replica: usize,
        sent: Micros,
        limit: Limit,
        operation: Operation,
        outcome: Outcome,
        state: State,
        at: Micros,
    },
    /// At a replica, if the subscription through which it comes still stands.
    Notice { replica: usize, subscription: u64 },
}

struct Replica {
    memory: OverLimitMemory,
    /// Its clock when the world begins.
    origin: u64,
    subscribed: bool,
    /// How often it has subscribed.
    subscription: u64,
    /// Notices on their way.
    coming: usize,
}

/// One counter, its replicas and the network.
struct World {
    rng: Rng,
    now: Micros,
    truth: State,
    replicas: Vec<Replica>,
    network: BTreeMap<(Micros, u64), Event>,
    sequence: u64,
}

impl World {
    fn new(seed: u64, limit: &Limit) -> Self {
        let mut rng = Rng::with_seed(seed);
        let ask_again = *rng.choice(&[Micros::from_millis(30), Micros::SECOND, Micros::from_secs(1_000)]).unwrap();
        let replicas = (0..2).map(|_| Replica {
            memory: OverLimitMemory::new(options(64, ask_again)),
            origin: rng.u64(..10_000_000_000),
            subscribed: true,
            subscription: 0,
            coming: 0,
        });
        let replicas = replicas.collect();
        let truth = State::fresh(limit);
        Self { rng, now: Micros::ZERO, truth, replicas, network: BTreeMap::new(), sequence: 0 }
    }

    fn local(&self, replica: usize) -> Micros {
        self.now + Micros(self.replicas[replica].origin)
    }

    fn send(&mut self, event: Event) {
        // Mostly quick, sometimes slow, so that one overtakes another.
        let delay = if self.rng.u8(..4) == 0 { self.rng.u64(..300_000) } else { self.rng.u64(..2_000) };
        self.sequence += 1;
        self.network.insert((self.now + Micros(delay), self.sequence), event);
    }

    /// Lets time pass, and what is on its way arrive.
    fn pass(&mut self, time: Micros) {
        let end = self.now + time;
        while let Some(next) = self.network.first_entry()
            && next.key().0 <= end
        {
            let ((at, _), event) = next.remove_entry();
            self.now = at;
            self.arrive(event);
        }
        self.now = end;
    }

    fn arrive(&mut self, event: Event) {
        match event {
            Event::Ask { replica, sent, limit, operation } => {
                let at = EPOCH + self.now;
                let outcome = self.truth.apply(&limit, store_at(at), operation);
                if matches!(operation, Operation::Refund(_)) {
                    self.announce();
                }
                let state = self.truth.clone();
                self.send(Event::Answer { replica, sent, limit, operation, outcome, state, at });
            }
            Event::Answer { replica, sent, limit, operation, outcome, state, at } => {
                let memory = &self.replicas[replica].memory;
                match operation {
                    Operation::Refund(_) => memory.forget(key(1), self.local(replica)),
                    Operation::Charge(_) if outcome.allowed() => memory.passed(key(1)),
                    Operation::Charge(_) => memory.remember(key(1), &limit, &state, at, sent),
                }
            }
            Event::Notice { replica, subscription } => {
                let now = self.local(replica);
                let replica = &mut self.replicas[replica];
                if replica.subscribed && replica.subscription == subscription {
                    replica.coming -= 1;
                    replica.memory.forget(key(1), now);
                }
            }
        }
    }

    /// Tells all replicas that the counter was given something back.
    fn announce(&mut self) {
        for replica in 0..self.replicas.len() {
            if self.replicas[replica].subscribed {
                self.replicas[replica].coming += 1;
                let subscription = self.replicas[replica].subscription;
                self.send(Event::Notice { replica, subscription });
            }
        }
    }

    /// Loses a replica's subscription, or has it subscribe again.
    fn toggle_subscription(&mut self, replica: usize) {
        let now = self.local(replica);
        let replica = &mut self.replicas[replica];
        replica.subscribed = !replica.subscribed;
        if replica.subscribed {
            replica.subscription += 1;
            replica.memory.resume(now);
        } else {
            replica.coming = 0;
            replica.memory.suspend(now);
        }
    }

    /// Whether the operation is answered from memory; then the truth must agree.
    fn hit(&mut self, replica: usize, limit: &Limit, operation: Operation) -> bool {
        let now = self.local(replica);
        let Replica { memory, subscribed, coming, .. } = &self.replicas[replica];
        let Some(outcome) = memory.answer(key(1), limit, operation, now) else {
            self.send(Event::Ask { replica, sent: now, limit: limit.clone(), operation });
            return false;
        };
        assert!(subscribed, "nothing is remembered without a subscription");
        assert_eq!(outcome.remaining, limit.capacity().saturating_sub(outcome.level));
        assert_ne!(outcome.verdict, Verdict::Allowed);
        if *coming == 0 {
            let truth = self.truth.evaluate(limit, store_at(EPOCH + self.now), operation);
            assert!(!truth.allowed(), "denied {operation:?} under {limit:?}: {outcome:?}, in truth {truth:?}");
            // It is told to come back no later than it has to.
            assert!(outcome.retry_after() <= truth.retry_after(), "{outcome:?}, in truth {truth:?}");
        }
        true
    }
}

/// A schedule of hits, refunds, resets and gaps; how many hits were answered from memory.
fn run(seed: u64, limits: &[Limit]) -> usize {
    let mut world = World::new(seed, &limits[0]);
    let mut answered = 0;
    let mut limit = &limits[0];
    for _ in 0..200 {
        let pause = match world.rng.u8(..8) {
            0 => world.rng.u64(..700_000),
            1..4 => world.rng.u64(..30_000),
            _ => 0,
        };
        world.pass(Micros(pause));
        let replica = world.rng.usize(..2);
        match world.rng.u8(..100) {
            0 => {
                world.truth = State::fresh(limit);
                world.announce();
            }
            1 | 2 => world.toggle_subscription(replica),
            3..6 => limit = world.rng.choice(limits).unwrap(),
            kind => {
                let operation = match kind {
                    6..12 => Operation::Refund(world.rng.u64(1..4)),
                    12..22 => Operation::Charge(0),
                    22..40 => Operation::Charge(world.rng.u64(2..5)),
                    _ => Operation::Charge(1),
                };
                answered += usize::from(world.hit(replica, limit, operation));
            }
        }
    }
    answered
}

/// What can be remembered.
fn kinds() -> impl Iterator<Item = (Algorithm, Over)> {
    let dropping = Algorithm::ALL.into_iter().map(|algorithm| (algorithm, Over::Drop));
    dropping.chain([(Algorithm::FixedWindow, Over::Record)])
}

#[test]
fn what_the_memory_denies_the_truth_denies() {
    for (algorithm, over) in kinds() {
        let amounts: &[u64] = if algorithm.has_burst() { &[3] } else { &[3, 1, 2, 6] };
        let limits: Vec<_> = amounts.iter().map(|&amount| limit_of(algorithm, over, amount)).collect();
        let answered: usize = (0..500)
            .map(|seed| {
                let shown = std::panic::catch_unwind(|| run(seed, &limits));
                shown.unwrap_or_else(|_| panic!("{algorithm}, {over:?}: seed {seed}"))
            })
            .sum();
        assert!(answered > 10_000, "{algorithm}, {over:?}: only {answered} hits were answered from memory");
    }
}

/// Remembers a counter as full, at the local time `sent`.
fn fill(memory: &OverLimitMemory, key: Fingerprint, limit: &Limit, sent: Micros) {
    let mut state = State::fresh(limit);
    while state.apply(limit, store_at(EPOCH + sent), Operation::Charge(1)).allowed() {}
    memory.remember(key, limit, &state, EPOCH + sent, sent);
}

fn denies(memory: &OverLimitMemory, key: Fingerprint, limit: &Limit, now: Micros) -> bool {
    memory.answer(key, limit, Operation::Charge(1), now).is_some()
}

fn per_second(amount: u64) -> Limit {
    limit_of(Algorithm::SlidingWindowLog, Over::Drop, amount)
}

/// A local time.
const fn at(millis: u64) -> Micros {
    Micros::from_millis(1_000_000 + millis)
}

#[test]
fn a_denial_holds_until_a_hit_could_pass() {
    for (algorithm, over) in kinds() {
        let (memory, limit) = (memory(), limit_of(algorithm, over, 2));
        fill(&memory, key(1), &limit, at(0));
        let first = memory.answer(key(1), &limit, Operation::Charge(1), at(0)).unwrap();
        let wait = first.retry_after().unwrap();
        let last = memory.answer(key(1), &limit, Operation::Charge(1), at(0) + wait - Micros(1)).unwrap();
        assert_eq!(last.retry_after(), Some(Micros(1)), "{algorithm}");
        // A peek passes at the limit, not above it; a refund always does.
        let peek = memory.answer(key(1), &limit, Operation::Charge(0), at(0));
        assert_eq!(peek.is_some(), over == Over::Record, "{algorithm}");
        assert!(memory.answer(key(1), &limit, Operation::Refund(1), at(0)).is_none(), "{algorithm}");
        // What never fits is denied as such.
        let never = memory.answer(key(1), &limit, Operation::Charge(MAX_HITS), at(0)).unwrap();
        assert_eq!(never.verdict, Verdict::InsufficientCapacity, "{algorithm}");
        assert!(!denies(&memory, key(1), &limit, at(0) + wait), "{algorithm}");
        assert_eq!(memory.answered(), 3 + u64::from(over == Over::Record), "{algorithm}");
    }
}

#[test]
fn other_limits_are_not_remembered() {
    let memory = memory();
    for algorithm in Algorithm::ALL {
        if algorithm != Algorithm::FixedWindow {
            fill(&memory, key(1), &limit_of(algorithm, Over::Record, 2), at(0));
        }
        let parts = LimitParts { algorithm, ..LimitParts::fixed_window(2, Window::Length(WINDOW)) };
        let post_paid = Limit::new(LimitParts { post_paid: true, ..parts }).unwrap();
        let mut state = State::fresh(&post_paid);
        state.apply(&post_paid, store_at(EPOCH), Operation::Charge(5));
        memory.remember(key(1), &post_paid, &state, EPOCH, at(0));
    }
    assert!(memory.is_empty());
}

#[test]
fn a_changed_limit_is_judged_anew() {
    for (algorithm, over) in kinds() {
        let (memory, limit) = (memory(), limit_of(algorithm, over, 2));
        fill(&memory, key(1), &limit, at(0));
        assert!(!denies(&memory, key(1), &limit_of(algorithm, over, 40), at(0)), "{algorithm}: raised");
        // A bucket that drains at another rate is another bucket.
        let lowered = denies(&memory, key(1), &limit_of(algorithm, over, 1), at(0));
        assert_eq!(lowered, !algorithm.has_burst(), "{algorithm}");
        assert!(denies(&memory, key(1), &limit, at(0)), "{algorithm}: as it was");
    }
}

#[test]
fn what_was_asked_before_a_notice_came_is_not_remembered() {
    let (memory, limit) = (memory(), per_second(2));
    fill(&memory, key(1), &limit, at(10));
    memory.forget(key(1), at(20));
    assert!(memory.is_empty());
    fill(&memory, key(1), &limit, at(10));
    fill(&memory, key(1), &limit, at(20));
    assert!(memory.is_empty(), "late answers");
    // Others are, and what is asked from now on.
    fill(&memory, key(2), &limit, at(10));
    fill(&memory, key(1), &limit, at(21));
    assert!(denies(&memory, key(1), &limit, at(22)) && denies(&memory, key(2), &limit, at(22)));
    // An earlier time does not undo a later one.
    memory.forget(key(1), at(30));
    memory.forget(key(1), at(25));
    fill(&memory, key(1), &limit, at(30));
    assert_eq!(memory.len(), 1);
}

#[test]
fn more_notices_than_are_told_apart_forget_more_and_never_less() {
    let (memory, limit) = (memory(), per_second(2));
    let same_shard = |number: u64| key(1 + number * SHARDS as u64);
    let count = 3 * TOMBSTONES as u64;
    for number in 0..count {
        memory.forget(same_shard(number), at(1_000 + number));
    }
    for number in 0..count {
        fill(&memory, same_shard(number), &limit, at(1_000 + number));
        assert!(memory.is_empty(), "{number}");
    }
    assert!(lock(&memory.shards[1]).forgotten.len() <= TOMBSTONES);
    fill(&memory, same_shard(0), &limit, at(1_000 + count));
    fill(&memory, key(2), &limit, at(0));
    assert_eq!(memory.len(), 2, "what is asked later, and other shards");
}

#[test]
fn forgetting_all_does_not_bring_back_one() {
    let (memory, limit) = (memory(), per_second(2));
    memory.forget(key(1), at(20));
    // By somebody who looked at the clock a little earlier.
    memory.forget_all(at(19));
    fill(&memory, key(1), &limit, at(20));
    assert!(memory.is_empty());
}

#[test]
fn nothing_is_remembered_between_suspend_and_resume() {
    let (memory, limit) = (memory(), per_second(2));
    fill(&memory, key(1), &limit, at(1));
    memory.suspend(at(2));
    assert!(memory.is_suspended() && memory.is_empty());
    fill(&memory, key(1), &limit, at(3));
    assert!(memory.is_empty());
    memory.resume(at(5));
    fill(&memory, key(1), &limit, at(3));
    fill(&memory, key(1), &limit, at(5));
    assert!(!memory.is_suspended() && memory.is_empty(), "asked before");
    fill(&memory, key(1), &limit, at(6));
    assert!(denies(&memory, key(1), &limit, at(7)));
}

#[test]
fn the_latest_answer_counts_and_a_passed_hit_forgets() {
    let (memory, limit) = (memory(), per_second(1));
    fill(&memory, key(1), &limit, at(100));
    // Asked later, answered earlier: the store's clock was set forward.
    let mut state = State::fresh(&limit);
    state.apply(&limit, store_at(EPOCH + at(900)), Operation::Charge(1));
    memory.remember(key(1), &limit, &state, EPOCH + at(1_800), at(200));
    // The other way round, too.
    fill(&memory, key(1), &limit, at(100));
    assert!(denies(&memory, key(1), &limit, at(299)) && !denies(&memory, key(1), &limit, at(300)));
    fill(&memory, key(1), &limit, at(400));
    assert!(denies(&memory, key(1), &limit, at(401)));
    memory.passed(key(1));
    assert!(!denies(&memory, key(1), &limit, at(401)) && memory.is_empty());
}

#[test]
fn a_counter_that_is_as_new_is_forgotten() {
    let (memory, limit) = (memory(), per_second(2));
    fill(&memory, key(1), &limit, at(0));
    assert!(denies(&memory, key(1), &limit, at(999)));
    assert_eq!(memory.len(), 1);
    assert!(!denies(&memory, key(1), &limit, at(1_000)));
    assert!(memory.is_empty());
}

#[test]
fn the_store_is_asked_again_by_one_hit_per_interval() {
    let memory = OverLimitMemory::new(options(64, Micros::from_millis(100)));
    let limit = Limit::new(LimitParts::fixed_window(2, Window::Length(Micros::from_secs(86_400)))).unwrap();
    fill(&memory, key(1), &limit, at(0));
    let let_through = |now| {
        let asked = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        asked.fetch_add(usize::from(!denies(&memory, key(1), &limit, at(now))), Ordering::Relaxed);
                    }
                });
            }
        });
        asked.into_inner()
    };
    let asked = [0, 99, 100, 199, 200, 1_000, 1_099, 1_100].map(let_through);
    assert_eq!(asked, [0, 0, 1, 0, 1, 1, 0, 1]);
    // An answer begins another interval.
    fill(&memory, key(1), &limit, at(1_150));
    assert_eq!([1_249, 1_250].map(let_through), [0, 1]);
}

#[test]
fn it_is_bounded_and_what_ends_first_gives_way() {
    let memory = OverLimitMemory::new(options(640, Micros::from_secs(1_000_000)));
    let hour = |amount| {
        let window = Window::Length(Micros::from_secs(3_600));
        Limit::new(LimitParts { over: Over::Drop, ..LimitParts::fixed_window(amount, window) }).unwrap()
    };
    let limit = hour(1);
    for number in 0..100_000 {
        fill(&memory, key(number), &limit, at(number / 100));
    }
    assert_eq!((memory.len(), memory.evicted()), (640, 100_000 - 640));
    let found = (0..100_000).filter(|&number| denies(&memory, key(number), &limit, at(1_000))).count();
    assert_eq!(found, 640);
    // With a sample as large as the shard the first to end goes, whichever it is.
    let memory = OverLimitMemory::new(options(SAMPLE * SHARDS, Micros::from_secs(1_000_000)));
    for number in 0..=SAMPLE as u64 {
        let order = (number + 3) % (SAMPLE as u64 + 1);
        fill(&memory, key(1 + number * SHARDS as u64), &per_second(1), at(order));
    }
    assert_eq!((memory.len(), memory.evicted()), (SAMPLE, 1));
    let none = OverLimitMemory::new(options(0, Micros::SECOND));
    fill(&none, key(1), &limit, at(0));
    none.forget(key(1), at(1));
    assert!(none.is_empty() && !denies(&none, key(1), &limit, at(1)));
}
