use std::cmp::Reverse;
use std::collections::BinaryHeap;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use super::*;
use crate::core::algorithm::Verdict;
use crate::core::limit::{LimitParts, Window};

/// What the store's clock is ahead of the true time, and of every local clock.
const EPOCH: u64 = 1_700_000_000_000_000;
const ASK_AGAIN: Duration = Duration::from_secs(1);
const NEVER: Duration = Duration::from_secs(1_000_000);

fn limit(algorithm: Algorithm, amount: u64, over: Over) -> Limit {
    let burst = algorithm.has_burst().then_some(amount.max(1));
    let window = Window::Length(Micros::from_secs(10));
    Limit::new(LimitParts { algorithm, burst, over, ..LimitParts::fixed_window(amount, window) }).unwrap()
}

fn memory(max_counters: usize, ask_again: Duration) -> OverLimitMemory {
    OverLimitMemory::new(OverLimitOptions { max_counters, ask_again })
}

fn key(number: u64) -> Fingerprint {
    Fingerprint { high: number, low: number.wrapping_mul(0x9E37_79B9_7F4A_7C15) }
}

fn there_at(now: Micros) -> Now {
    let there = Micros(EPOCH + now.0);
    Now { wall: there, mono: there }
}

/// A state that `hits` have been charged to, whether they fit or not.
fn charged(limit: &Limit, hits: u64, now: Micros) -> State {
    let mut state = State::fresh(limit);
    for _ in 0..hits {
        state.apply(limit, there_at(now), Operation::Charge(1));
    }
    state
}

/// Remembers a full counter as of `sent`.
fn fill(memory: &OverLimitMemory, key: Fingerprint, limit: &Limit, sent: Micros) {
    memory.remember(key, limit, &charged(limit, limit.capacity(), sent), there_at(sent).mono, sent);
}

fn denies(memory: &OverLimitMemory, key: Fingerprint, limit: &Limit, hits: u64, now: Micros) -> bool {
    memory.answer(key, limit, Operation::Charge(hits), now).is_some()
}

fn at(millis: u64) -> Micros {
    Micros::from_millis(millis)
}

#[test]
fn a_full_counter_is_denied_until_a_hit_could_pass() {
    for algorithm in Algorithm::ALL {
        let limit = limit(algorithm, 10, Over::Drop);
        let memory = memory(100, NEVER);
        let full = charged(&limit, 10, at(0));
        memory.remember(key(1), &limit, &full, there_at(at(0)).mono, at(0));
        let charge = Operation::Charge(1);
        let outcome = memory.answer(key(1), &limit, charge, at(700)).unwrap();
        assert_eq!(outcome, full.evaluate(&limit, there_at(at(700)), charge), "{algorithm}");
        let Verdict::NotUntil(wait) = outcome.verdict else { panic!("{algorithm}: {outcome:?}") };
        assert!(denies(&memory, key(1), &limit, 1, at(700) + wait - Micros(1)), "{algorithm}");
        assert!(!denies(&memory, key(1), &limit, 1, at(700) + wait), "{algorithm}");
        assert!(!denies(&memory, key(2), &limit, 1, at(700)), "{algorithm}: another counter");
        assert_eq!((memory.len(), memory.answered()), (1, 2), "{algorithm}");
    }
}

#[test]
fn the_store_may_have_answered_at_any_moment_after_it_was_asked() {
    let limit = limit(Algorithm::LeakyBucket, 10, Over::Drop);
    let memory = memory(100, NEVER);
    // Sent at 0, worked on at 400 ms, and a second to go from there.
    let full = charged(&limit, 10, at(400));
    memory.remember(key(1), &limit, &full, there_at(at(400)).mono, at(0));
    assert!(denies(&memory, key(1), &limit, 1, at(999)));
    assert!(!denies(&memory, key(1), &limit, 1, at(1_000)), "as if it had been worked on at once");
}

#[test]
fn only_what_does_not_fit_is_denied() {
    let limit = limit(Algorithm::FixedWindow, 10, Over::Drop);
    let memory = memory(100, NEVER);
    memory.remember(key(1), &limit, &charged(&limit, 7, at(0)), there_at(at(0)).mono, at(0));
    assert_eq!([1, 3, 4, 10].map(|hits| denies(&memory, key(1), &limit, hits, at(1))), [false, false, true, true]);
    let outcome = memory.answer(key(1), &limit, Operation::Charge(11), at(1)).unwrap();
    assert_eq!((outcome.verdict, outcome.level, outcome.remaining), (Verdict::InsufficientCapacity, 7, 3));
}

#[test]
fn a_changed_amount_is_the_one_that_counts() {
    for algorithm in Algorithm::ALL {
        let memory = memory(100, NEVER);
        fill(&memory, key(1), &limit(algorithm, 10, Over::Drop), at(0));
        for (amount, denied) in [(10, true), (8, true), (30, false), (10, true)] {
            let changed = limit(algorithm, amount, Over::Drop);
            // A leaky bucket keeps its time to drain: it is as full as it was, whatever the amount.
            let denied = denied || algorithm == Algorithm::LeakyBucket;
            assert_eq!(denies(&memory, key(1), &changed, 1, at(1)), denied, "{algorithm} {amount}");
        }
    }
}

#[test]
fn a_peek_is_denied_above_the_limit_only() {
    let limit = limit(Algorithm::FixedWindow, 10, Over::Record);
    let memory = memory(100, NEVER);
    memory.remember(key(1), &limit, &charged(&limit, 10, at(0)), there_at(at(0)).mono, at(0));
    assert!(!denies(&memory, key(1), &limit, 0, at(1)));
    memory.remember(key(1), &limit, &charged(&limit, 11, at(0)), there_at(at(0)).mono, at(0));
    assert!(denies(&memory, key(1), &limit, 0, at(1)));
}

#[test]
fn where_denied_hits_must_be_recorded_nothing_is_answered() {
    for algorithm in Algorithm::ALL {
        let recording = limit(algorithm, 10, Over::Record);
        let memory = memory(100, NEVER);
        fill(&memory, key(1), &recording, at(0));
        assert_eq!(memory.len(), usize::from(algorithm == Algorithm::FixedWindow), "{algorithm}");
        // A rule that drops may become one that records.
        fill(&memory, key(2), &limit(algorithm, 10, Over::Drop), at(0));
        assert_eq!(denies(&memory, key(2), &recording, 1, at(1)), algorithm == Algorithm::FixedWindow, "{algorithm}");
    }
    let window = Window::Length(Micros::from_secs(10));
    let post_paid = Limit::new(LimitParts { post_paid: true, ..LimitParts::fixed_window(10, window) }).unwrap();
    let memory = memory(100, NEVER);
    fill(&memory, key(1), &post_paid, at(0));
    assert!(memory.is_empty());
}

#[test]
fn refunds_always_reach_the_store() {
    let limit = limit(Algorithm::FixedWindow, 10, Over::Record);
    let memory = memory(100, NEVER);
    fill(&memory, key(1), &limit, at(0));
    assert_eq!(memory.answer(key(1), &limit, Operation::Refund(1), at(1)), None);
}

#[test]
fn one_hit_per_interval_asks_again() {
    let limit = limit(Algorithm::FixedWindow, 10, Over::Drop);
    let memory = memory(100, ASK_AGAIN);
    fill(&memory, key(1), &limit, at(0));
    let asked: Vec<_> = (0..5_000).step_by(10).filter(|&now| !denies(&memory, key(1), &limit, 1, at(now))).collect();
    assert_eq!(asked, [1_000, 2_000, 3_000, 4_000]);
    // An answer begins the interval anew, from when it was asked for; what the limit allows asks anyway.
    fill(&memory, key(1), &limit, at(4_500));
    assert!(denies(&memory, key(1), &limit, 1, at(5_400)));
    assert!(!denies(&memory, key(1), &limit, 0, at(5_500)));
    assert!(!denies(&memory, key(1), &limit, 1, at(5_500)));
    assert!(denies(&memory, key(1), &limit, 1, at(5_501)));
}

#[test]
fn what_was_asked_before_something_was_given_back_is_not_remembered() {
    let limit = limit(Algorithm::FixedWindow, 10, Over::Drop);
    let memory = memory(6_400, NEVER);
    fill(&memory, key(1), &limit, at(10));
    memory.forget(key(1), at(20));
    assert!(memory.is_empty());
    for (sent, remembered) in [(10, 0), (20, 0), (21, 1)] {
        fill(&memory, key(1), &limit, at(sent));
        assert_eq!(memory.len(), remembered, "{sent}");
    }
    // Others in the same shard are, until there are too many to tell apart; and then some less, but none more.
    fill(&memory, key(65), &limit, at(10));
    assert_eq!(memory.len(), 2);
    for number in 1..=200 {
        memory.forget(key(1 + 64 * number), at(100 + number));
    }
    for number in 1..=200 {
        fill(&memory, key(1 + 64 * number), &limit, at(100 + number));
    }
    assert_eq!(memory.len(), 1, "only the first, which nobody has forgotten");
    fill(&memory, key(1 + 64 * 300), &limit, at(100));
    assert_eq!(memory.len(), 1);
    fill(&memory, key(1 + 64 * 300), &limit, at(300));
    assert_eq!(memory.len(), 2);
}

#[test]
fn in_a_gap_nothing_is_remembered() {
    let limit = limit(Algorithm::FixedWindow, 10, Over::Drop);
    let memory = memory(1_000, NEVER);
    (0..100).for_each(|number| fill(&memory, key(number), &limit, at(10)));
    assert_eq!(memory.len(), 100);
    memory.suspend(at(20));
    assert!(memory.is_empty() && memory.is_suspended());
    assert!(!denies(&memory, key(1), &limit, 1, at(20)));
    fill(&memory, key(1), &limit, at(25));
    memory.forget_all(at(26));
    fill(&memory, key(1), &limit, at(27));
    assert!(memory.is_empty());
    memory.resume(at(30));
    (0..100).for_each(|number| fill(&memory, key(number), &limit, at(30)));
    assert!(memory.is_empty(), "asked in the gap");
    (0..100).for_each(|number| fill(&memory, key(number), &limit, at(31)));
    assert_eq!(memory.len(), 100);
}

#[test]
fn a_hit_that_passed_ends_it() {
    let limit = limit(Algorithm::FixedWindow, 10, Over::Drop);
    let memory = memory(100, NEVER);
    fill(&memory, key(1), &limit, at(0));
    memory.passed(key(2));
    assert!(denies(&memory, key(1), &limit, 1, at(1)));
    memory.passed(key(1));
    assert!(!denies(&memory, key(1), &limit, 1, at(1)));
    fill(&memory, key(1), &limit, at(0));
    assert!(denies(&memory, key(1), &limit, 1, at(1)), "nothing was given back");
}

#[test]
fn the_answer_that_was_asked_for_later_stays() {
    let limit = limit(Algorithm::FixedWindow, 10, Over::Drop);
    let memory = memory(100, NEVER);
    memory.remember(key(1), &limit, &charged(&limit, 8, at(5)), there_at(at(5)).mono, at(5));
    memory.remember(key(1), &limit, &charged(&limit, 6, at(4)), there_at(at(4)).mono, at(4));
    assert!(denies(&memory, key(1), &limit, 3, at(6)));
    // Also where it says that there is more room, however that came about.
    memory.remember(key(1), &limit, &charged(&limit, 7, at(7)), there_at(at(7)).mono, at(7));
    assert!(!denies(&memory, key(1), &limit, 3, at(8)));
    assert!(denies(&memory, key(1), &limit, 4, at(8)));
}

#[test]
fn it_never_holds_more_than_it_may() {
    let limit = limit(Algorithm::FixedWindow, 10, Over::Drop);
    for most in [0, 1, 3, 63, 64, 65, 1_000] {
        let memory = memory(most, NEVER);
        for number in 0..10_000 {
            fill(&memory, key(number), &limit, at(number / 100));
            assert!(memory.len() <= most, "{most}");
        }
        let held = memory.shards.iter().map(|shard| shard.lock().entries.len()).sum::<usize>();
        assert_eq!(held, memory.len());
        // Rounded down to the same number for every shard.
        assert_eq!(held, most / most.clamp(1, 64) * most.clamp(1, 64), "{most}");
        assert_eq!(memory.evicted(), if most == 0 { 0 } else { 10_000 - held as u64 }, "{most}");
    }
}

#[test]
fn those_that_deny_nothing_any_more_give_way_first() {
    let limit = limit(Algorithm::LeakyBucket, 10, Over::Drop);
    let memory = memory(64 * 8, NEVER);
    // All of one shard, which is looked at as a whole.
    for number in 0..8 {
        let sent = if number < 4 { at(0) } else { at(9_000) };
        fill(&memory, key(64 * number), &limit, sent);
    }
    for number in 8..12 {
        fill(&memory, key(64 * number), &limit, at(12_000));
    }
    assert!((4..12).all(|number| denies(&memory, key(64 * number), &limit, 10, at(12_000))));
    assert_eq!((memory.len(), memory.evicted()), (8, 0));
}

/// One store, two replicas of the service with clocks of their own, and a network that takes its time.
struct World {
    limit: Limit,
    truth: State,
    now: u64,
    replicas: [Replica; 2],
    /// What happens next comes first; of what happens together, what was begun first.
    events: BinaryHeap<Reverse<(u64, u64)>>,
    pending: Vec<Option<Event>>,
    denied: usize,
}

struct Replica {
    memory: OverLimitMemory,
    /// Its clock less the true time.
    clock: u64,
    /// Announcements that have not arrived.
    announced: usize,
}

enum Event {
    /// The store performs an operation; the answer takes so long, and announcements to each replica so long.
    Perform { replica: usize, operation: Option<Operation>, sent: Micros, back: u64, notices: [u64; 2] },
    /// A replica has an answer.
    Answer { replica: usize, state: Option<State>, redis_now: Micros, sent: Micros, allowed: bool },
    /// A replica hears of a refund.
    Notice { replica: usize },
}

#[derive(Clone, Debug)]
struct Step {
    advance: u64,
    replica: usize,
    /// `None` is an operator's reset.
    operation: Option<Operation>,
    to: u64,
    back: u64,
    notices: [u64; 2],
    amount: Option<u64>,
}

impl World {
    fn new(limit: Limit, ask_again: Duration) -> Self {
        let replica = |clock| Replica { memory: memory(10, ask_again), clock, announced: 0 };
        Self {
            truth: State::fresh(&limit),
            limit,
            now: 0,
            replicas: [replica(3_000_000), replica(77)],
            events: BinaryHeap::new(),
            pending: Vec::new(),
            denied: 0,
        }
    }

    fn local(&self, replica: usize) -> Micros {
        Micros(self.now + self.replicas[replica].clock)
    }

    fn later(&mut self, after: u64, event: Event) {
        self.events.push(Reverse((self.now + after, self.pending.len() as u64)));
        self.pending.push(Some(event));
    }

    fn run_until(&mut self, time: u64) {
        while let Some(Reverse((due, number))) = self.events.peek().copied()
            && due <= time
        {
            self.events.pop();
            self.now = due;
            let event = self.pending[usize::try_from(number).unwrap()].take().unwrap();
            self.happen(event);
        }
        self.now = time;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Perform { replica, operation, sent, back, notices } => {
                let there = there_at(Micros(self.now));
                let outcome = operation.map(|operation| self.truth.apply(&self.limit, there, operation));
                if outcome.is_none() {
                    self.truth = State::fresh(&self.limit);
                }
                let gives_back = !matches!(operation, Some(Operation::Charge(_)));
                if gives_back {
                    for (replica, delay) in notices.into_iter().enumerate() {
                        self.replicas[replica].announced += 1;
                        self.later(delay, Event::Notice { replica });
                    }
                }
                let state = (!gives_back).then(|| self.truth.clone());
                let allowed = outcome.is_none_or(|outcome| outcome.allowed());
                self.later(back, Event::Answer { replica, state, redis_now: there.mono, sent, allowed });
            }
            Event::Answer { replica, state, redis_now, sent, allowed } => {
                let (memory, local) = (&self.replicas[replica].memory, self.local(replica));
                match state {
                    None => memory.forget(key(1), local),
                    Some(_) if allowed => memory.passed(key(1)),
                    Some(state) => memory.remember(key(1), &self.limit, &state, redis_now, sent),
                }
            }
            Event::Notice { replica } => {
                self.replicas[replica].announced -= 1;
                self.replicas[replica].memory.forget(key(1), self.local(replica));
            }
        }
    }

    fn step(&mut self, step: &Step) {
        self.run_until(self.now + step.advance);
        if let Some(amount) = step.amount {
            self.limit = limit(self.limit.algorithm(), amount, self.limit.over());
            for replica in 0..2 {
                self.replicas[replica].memory.forget_all(self.local(replica));
            }
        }
        let sent = self.local(step.replica);
        let Replica { memory, announced, .. } = &self.replicas[step.replica];
        if let Some(operation) = step.operation
            && let Some(outcome) = memory.answer(key(1), &self.limit, operation, sent)
        {
            assert!(!outcome.allowed());
            let truth = self.truth.evaluate(&self.limit, there_at(Micros(self.now)), operation);
            assert!(!truth.allowed() || *announced > 0, "denied {operation:?} at {}: {outcome:?} {truth:?}", self.now);
            self.denied += 1;
            return;
        }
        let Step { replica, operation, to, back, notices, .. } = *step;
        self.later(to, Event::Perform { replica, operation, sent, back, notices });
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let delay = || prop_oneof![Just(0), 1..=100_000_u64, 100_000..=3_000_000_u64];
    let operation = prop_oneof![
        30 => (1..=3_u64).prop_map(|hits| Some(Operation::Charge(hits))),
        3 => Just(Some(Operation::Charge(0))),
        3 => (4..=12_u64).prop_map(|hits| Some(Operation::Charge(hits))),
        2 => (0..=4_u64).prop_map(|hits| Some(Operation::Refund(hits))),
        1 => Just(None),
    ];
    let advance = prop_oneof![Just(0), Just(1), 0..=50_000_u64, 50_000..=900_000_u64, Just(10_000_000)];
    let amount = prop::option::weighted(0.02, 0..=12_u64);
    let step = (advance, 0..2_usize, operation, delay(), delay(), [delay(), delay()], amount).prop_map(
        |(advance, replica, operation, to, back, notices, amount)| Step {
            advance,
            replica,
            operation,
            to,
            back,
            notices,
            amount,
        },
    );
    prop::collection::vec(step, 1..120)
}

/// Whatever the memory denies, the store would deny at that moment, unless an announcement is on its way.
#[test]
fn nothing_is_denied_that_the_store_would_allow() {
    for algorithm in Algorithm::ALL {
        for over in [Over::Drop, Over::Record] {
            let config =
                Config { cases: 300, rng_seed: RngSeed::Fixed(5), failure_persistence: None, ..Config::default() };
            let denied = std::cell::Cell::new(0);
            let asks = prop_oneof![Just(ASK_AGAIN), Just(NEVER)];
            let strategy = (steps(), 1..=10_u64, asks);
            let result = TestRunner::new(config).run(&strategy, |(steps, amount, ask_again)| {
                let mut world = World::new(limit(algorithm, amount, over), ask_again);
                steps.iter().for_each(|step| world.step(step));
                denied.set(denied.get() + world.denied);
                Ok(())
            });
            if let Err(error) = result {
                panic!("{algorithm} {over:?}: {error}");
            }
            let kept = over == Over::Drop || algorithm == Algorithm::FixedWindow;
            assert_eq!(denied.get() > 1_000, kept, "{algorithm} {over:?}: {}", denied.get());
        }
    }
}

/// Announcements come from one thread, answers to others: what was asked before is never left behind.
#[test]
fn threads_leave_nothing_behind_that_was_asked_before() {
    let limit = limit(Algorithm::FixedWindow, 10, Over::Drop);
    let memory = memory(1_000, NEVER);
    let clock = AtomicU64::new(1);
    std::thread::scope(|scope| {
        let answers = (0..3).map(|thread| {
            let (memory, clock, limit) = (&memory, &clock, &limit);
            scope.spawn(move || {
                for number in 0..5_000_u64 {
                    let sent = Micros(clock.load(Ordering::SeqCst));
                    fill(memory, key((number + thread) % 10), limit, sent);
                }
            })
        });
        let answers: Vec<_> = answers.collect();
        let mut round = 0;
        while answers.iter().any(|thread| !thread.is_finished()) {
            round += 1;
            let now = Micros(clock.fetch_add(1, Ordering::SeqCst));
            match round % 3 {
                0 => memory.forget_all(now),
                1 => memory.suspend(now),
                _ => memory.resume(now),
            }
            if round % 3 == 1 {
                assert_eq!(memory.shards.iter().map(|shard| shard.lock().entries.len()).sum::<usize>(), 0);
            } else {
                let old = |shard: &Locker| shard.lock().entries.iter().any(|entry| entry.sent <= now);
                assert!(!memory.shards.iter().any(old));
            }
        }
    });
    assert_eq!(memory.shards.iter().map(|shard| shard.lock().entries.len()).sum::<usize>(), memory.len());
}
