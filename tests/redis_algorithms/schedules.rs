//! Random schedules.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngSeed};
use tidegate::core::clock::Micros;
use tidegate::core::descriptor::Operation;
use tidegate::core::limit::{Algorithm, Limit, LimitParts, MAX_HITS, Over, Window};
use tidegate::counters::redis::program::{Run, Step};

/// The same cases with every run.
pub fn config(cases: u32) -> Config {
    Config { cases, rng_seed: RngSeed::Fixed(20_260_101), failure_persistence: None, ..Config::default() }
}

/// What a limit may change into while its counter stays.
#[derive(Clone, Debug)]
pub struct Amounts {
    pub amount: u64,
    pub burst: u64,
    pub over: Over,
    pub post_paid: bool,
}

/// A family of numbers: as they are in life, small and crowded, or so large that products leave 53 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    Small,
    Usual,
    Huge,
}

pub fn scale() -> impl Strategy<Value = Scale> {
    select(&[Scale::Small, Scale::Small, Scale::Usual, Scale::Huge][..])
}

pub fn window(scale: Scale) -> BoxedStrategy<u64> {
    match scale {
        Scale::Small => prop_oneof![1..=10_u64, 90..=110_u64, Just(1_000_u64), 5_000..=20_000_u64].boxed(),
        Scale::Usual => select(&[1_000_000, 60_000_000, 3_600_000_000, 86_400_000_000, 333_333_333][..]).boxed(),
        Scale::Huge => prop_oneof![1..=3_u64, (1 << 44)..=315_360_000_000_000_u64].boxed(),
    }
}

pub fn hits(algorithm: Algorithm, scale: Scale) -> BoxedStrategy<u64> {
    let small = prop_oneof![10 => Just(1_u64), 5 => 2..=6_u64, 2 => 7..=120_u64, 1 => Just(0_u64)];
    match (scale, algorithm) {
        (Scale::Huge, Algorithm::SlidingWindowLog) => prop_oneof![3 => small, 1 => 1..=MAX_HITS].boxed(),
        (Scale::Huge, _) => prop_oneof![
            2 => small, 2 => (1_u64 << 40)..=MAX_HITS, 2 => 1..=1_u64 << 35, 1 => MAX_HITS - 2..=u64::MAX,
        ]
        .boxed(),
        _ => prop_oneof![20 => small, 1 => (1_u64 << 40)..=MAX_HITS].boxed(),
    }
}

pub fn amounts(algorithm: Algorithm, scale: Scale) -> impl Strategy<Value = Amounts> {
    let amount = match (scale, algorithm) {
        (Scale::Huge, Algorithm::SlidingWindowLog) => prop_oneof![0..=12_u64, 9_990..=10_000_u64].boxed(),
        (Scale::Huge, _) => {
            prop_oneof![(1_u64 << 45)..=MAX_HITS, MAX_HITS - 10..=MAX_HITS, 1..=1_u64 << 35, 0..=3_u64].boxed()
        }
        _ => prop_oneof![1 => Just(0), 12 => 1..=12_u64, 2 => 90..=110_u64].boxed(),
    };
    let burst = if scale == Scale::Huge { prop_oneof![1..=15_u64, 1..=MAX_HITS].boxed() } else { (1..=15_u64).boxed() };
    (amount, burst, select(&[Over::Record, Over::Drop][..]), prop::bool::weighted(0.12))
        .prop_map(|(amount, burst, over, post_paid)| Amounts { amount, burst, over, post_paid })
}

pub fn limit(algorithm: Algorithm, window: u64, amounts: &Amounts) -> Limit {
    Limit::new(LimitParts {
        amount: amounts.amount,
        window: Window::Length(Micros(window)),
        algorithm,
        burst: algorithm.has_burst().then_some(amounts.burst),
        over: amounts.over,
        post_paid: amounts.post_paid,
    })
    .unwrap()
}

pub fn operation(algorithm: Algorithm, scale: Scale) -> impl Strategy<Value = Operation> {
    prop_oneof![
        8 => hits(algorithm, scale).prop_map(Operation::Charge),
        1 => Just(Operation::Charge(0)),
        2 => hits(algorithm, scale).prop_map(Operation::Refund),
    ]
}

pub fn run(algorithm: Algorithm, scale: Scale) -> impl Strategy<Value = Run> {
    let times = prop_oneof![6 => Just(1), 2 => 2..=5_u32, 1 => 6..=40_u32];
    let step = prop_oneof![
        12 => operation(algorithm, scale).prop_map(Step::Operation),
        1 => hits(algorithm, scale).prop_map(Step::Hold),
        1 => hits(algorithm, scale).prop_map(Step::Evaluate),
    ];
    (step, times).prop_map(|(step, times)| Run { step, times })
}

/// How time moves, in microseconds; also back.
pub fn advance(window: u64) -> impl Strategy<Value = i64> {
    let signed = |value: u64| i64::try_from(value).unwrap();
    let window = signed(window);
    prop_oneof![
        3 => Just(0_i64),
        2 => Just(1_i64),
        6 => 0..=window / 8 + 1,
        3 => 0..=window + 1,
        1 => 0..=window * 3,
        1 => -window - 1..=0,
        1 => -10..=-1_i64,
    ]
}

/// One call: time moves, limits may change, then runs on some of the counters.
#[derive(Clone, Debug)]
pub struct CallStep {
    pub advance: i64,
    pub change: Option<Amounts>,
    pub counters: Vec<(usize, Vec<Run>)>,
}

#[derive(Clone, Debug)]
pub struct Schedule {
    pub algorithm: Algorithm,
    pub window: u64,
    pub start: u64,
    pub amounts: Amounts,
    pub steps: Vec<CallStep>,
}

pub fn schedule(algorithm: Algorithm) -> BoxedStrategy<Schedule> {
    scale()
        .prop_flat_map(move |scale| (Just(scale), window(scale)))
        .prop_flat_map(move |(scale, window)| {
            let runs = prop::collection::vec(run(algorithm, scale), 0..=4);
            let counters = prop::collection::vec((0..3_usize, runs), 1..=3);
            let change = prop::option::weighted(0.1, amounts(algorithm, scale));
            let step = (advance(window), change, counters).prop_map(|(advance, change, counters)| CallStep {
                advance,
                change,
                counters,
            });
            let start = 1_700_000_000_000_000..=1_800_000_000_000_000_u64;
            (start, amounts(algorithm, scale), prop::collection::vec(step, 1..25))
                .prop_map(move |(start, amounts, steps)| Schedule { algorithm, window, start, amounts, steps })
        })
        .boxed()
}
