//! What scripts and we tell each other, byte by byte: little-endian, whole numbers as doubles, as the scripts have no
//! others. The layouts are described in `scripts/*.lua`.

use std::cell::Cell;

use bytes::{BufMut, BytesMut};

use super::program::{Counter, Held, Run, Step, UnitStep};
use crate::core::algorithm::backlog::Drain;
use crate::core::algorithm::{Hold, State};
use crate::core::clock::Micros;
use crate::core::descriptor::Operation;
use crate::core::limit::{Algorithm, Limit, MAX_HITS, Over, Window};

/// Bytes of the argument of a counter with one run.
pub(super) const USUAL_ARGUMENT: usize = HEAD + RUN;
const HEAD: usize = 19;
const RUN: usize = 37;

/// Where anything fits: above every level.
const EVERYTHING: f64 = (MAX_HITS + 1) as f64;
/// Where nothing fits: below every level.
const NOTHING: f64 = -1.0;

/// The codes of what is done to a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Code {
    Take = 1,
    Add = 2,
    Give = 3,
    Release = 4,
}

/// What is done to a counter, in the script's terms.
#[derive(Clone, Copy, Debug)]
struct Instruction {
    code: Code,
    times: u32,
    numbers: [f64; 4],
}

impl Instruction {
    /// Whether it changes nothing and asks nothing.
    fn is_idle(&self) -> bool {
        matches!(self.code, Code::Take | Code::Add | Code::Give) && self.numbers[..2] == [0.0, 0.0]
    }

    fn put(&self, buffer: &mut BytesMut) {
        buffer.put_u8(self.code as u8);
        buffer.put_u32_le(self.times);
        for number in self.numbers {
            buffer.put_f64_le(number);
        }
    }
}

/// Begins a counter's argument. `notice` is the number of its notice, or 0.
pub(super) fn put_head(buffer: &mut BytesMut, limit: &Limit, notice: usize, wall: Micros) {
    let notice = u16::try_from(notice).unwrap_or(0);
    let (tag, numbers) = match (limit.algorithm(), limit.window()) {
        (Algorithm::FixedWindow, Window::Calendar(calendar)) => {
            let (start, end) = calendar.bounds(wall);
            let before = calendar.bounds(start - Micros(1)).0;
            buffer.put_u8(2);
            buffer.put_u16_le(notice);
            for bound in [before, start, end, calendar.bounds(end).1] {
                buffer.put_f64_le(bound.0 as f64);
            }
            return;
        }
        (algorithm, window) => {
            let window = window.nominal_length().0.max(1) as f64;
            let amount = limit.amount() as f64;
            match algorithm {
                Algorithm::FixedWindow => (1, [window, 0.0]),
                Algorithm::SlidingWindowCounter => (3, [window, 0.0]),
                Algorithm::TokenBucket => (4, [amount, 0.0]),
                Algorithm::LeakyBucket => (5, [amount, 0.0]),
                Algorithm::SlidingWindowLog => (6, [window, 0.0]),
            }
        }
    };
    buffer.put_u8(tag);
    buffer.put_u16_le(notice);
    numbers.into_iter().for_each(|number| buffer.put_f64_le(number));
}

/// Appends a run, unless it is idle.
pub(super) fn put_run(buffer: &mut BytesMut, limit: &Limit, run: &Run) {
    let instruction = instruction(limit, &run.step, run.times);
    // A denied peek of a log asks what it has to wait for.
    if limit.algorithm() == Algorithm::SlidingWindowLog || !instruction.is_idle() {
        instruction.put(buffer);
    }
}

/// Appends a unit.
pub(super) fn put_unit(buffer: &mut BytesMut, counters: &[Counter], unit: &[UnitStep]) {
    let steps = unit.iter().filter_map(|step| {
        let number = u16::try_from(step.counter + 1).ok()?;
        Some((number, counters.get(step.counter)?, step))
    });
    buffer.put_u16_le(u16::try_from(steps.clone().count()).unwrap_or(u16::MAX));
    for (number, counter, step) in steps.take(u16::MAX.into()) {
        buffer.put_u16_le(number);
        buffer.put_u8(step.enforced.into());
        instruction(&counter.limit, &step.step, 1).put(buffer);
    }
}

fn instruction(limit: &Limit, step: &Step, times: u32) -> Instruction {
    let times = times.max(1);
    match *step {
        Step::Operation(Operation::Charge(0)) | Step::Hold(0) | Step::Evaluate(0) => {
            take(limit, 0, u64::from(limit.post_paid()), times)
        }
        Step::Operation(Operation::Charge(hits)) | Step::Hold(hits) if limit.post_paid() => {
            add(limit, hits, 0, [EVERYTHING, 0.0], times)
        }
        Step::Operation(Operation::Charge(hits)) if limit.over() == Over::Record => {
            add(limit, hits, hits, room(limit, hits), times)
        }
        Step::Operation(Operation::Charge(hits)) | Step::Hold(hits) => take(limit, hits, hits, times),
        Step::Evaluate(_) if limit.post_paid() => {
            Instruction { code: Code::Take, times: 1, numbers: [0.0, 0.0, EVERYTHING, 0.0] }
        }
        Step::Evaluate(hits) => take(limit, 0, hits, 1),
        Step::Operation(Operation::Refund(hits)) => give(limit, hits, times),
        Step::Release(ref held) => release(limit, held),
    }
}

/// Charges `cost` if `hits` fit.
fn take(limit: &Limit, cost: u64, hits: u64, times: u32) -> Instruction {
    let [whole, part] = numbers_of(limit, cost.min(MAX_HITS), 1);
    let [room, room_part] = room(limit, hits);
    Instruction { code: Code::Take, times, numbers: [whole, part, room, room_part] }
}

/// Charges `hits` in any case.
fn add(limit: &Limit, hits: u64, recorded: u64, room: [f64; 2], times: u32) -> Instruction {
    if limit.algorithm() == Algorithm::SlidingWindowLog {
        let most = limit.amount() + 1;
        let numbers = [hits.min(most) as f64, recorded as f64, room[0], limit.amount() as f64];
        return Instruction { code: Code::Add, times, numbers };
    }
    let [whole, part] = numbers_of(limit, hits.min(MAX_HITS), times);
    Instruction { code: Code::Add, times: 1, numbers: [whole, part, room[0], room[1]] }
}

fn give(limit: &Limit, hits: u64, times: u32) -> Instruction {
    let [whole, part] = numbers_of(limit, hits.min(MAX_HITS), times);
    Instruction { code: Code::Give, times: 1, numbers: [whole, part, 0.0, 0.0] }
}

fn release(limit: &Limit, held: &Held) -> Instruction {
    let nothing = [0.0, 0.0, NOTHING, 0.0];
    let numbers = match (held, limit.algorithm()) {
        (Held::Members { first, count }, Algorithm::SlidingWindowLog) => [*first as f64, *count as f64, 0.0, 0.0],
        (Held::State(Hold::Window { start, hits }), Algorithm::FixedWindow | Algorithm::SlidingWindowCounter) => {
            [(*hits).min(MAX_HITS) as f64, 0.0, start.0 as f64, 0.0]
        }
        (Held::State(hold), Algorithm::TokenBucket | Algorithm::LeakyBucket) => {
            hold.bucket(limit).map_or(nothing, |(arrival, fraction, hits)| {
                let [whole, part] = numbers_of(limit, hits, 1);
                [whole, part, arrival.0 as f64, fraction as f64]
            })
        }
        _ => nothing,
    };
    Instruction { code: Code::Release, times: 1, numbers }
}

/// What so many hits, so many times, are to the script.
fn numbers_of(limit: &Limit, hits: u64, times: u32) -> [f64; 2] {
    if !limit.algorithm().has_burst() {
        return [hits.saturating_mul(times.into()).min(MAX_HITS) as f64, 0.0];
    }
    if limit.amount() == 0 {
        // It stands still.
        return [0.0, 0.0];
    }
    let time = Drain::of_many(limit, hits, times);
    [time.whole as f64, time.part as f64]
}

/// The largest level at which so many hits fit.
fn room(limit: &Limit, hits: u64) -> [f64; 2] {
    if !limit.algorithm().has_burst() || limit.amount() == 0 {
        return [limit.amount().checked_sub(hits).map_or(NOTHING, |room| room as f64), 0.0];
    }
    Drain::room(limit, hits).map_or([NOTHING, 0.0], |room| [room.whole as f64, room.part as f64])
}

/// The state that a script answered; fresh when there was none, or none that we know.
pub(super) fn state(limit: &Limit, bytes: &[u8]) -> State {
    let numbers = Numbers(bytes.get(1..).unwrap_or_default());
    match (limit.algorithm(), bytes.first(), bytes.len()) {
        (Algorithm::FixedWindow, Some(1), 17) => State::fixed_window(limit, numbers.time(0), numbers.get(1)),
        (Algorithm::SlidingWindowCounter, Some(3), 25) => {
            State::sliding_window_counter(numbers.time(0), numbers.get(1), numbers.get(2))
        }
        (Algorithm::TokenBucket, Some(4), 33) => {
            State::token_bucket(numbers.time(0), numbers.get(1), numbers.time(2), numbers.get(3))
        }
        (Algorithm::LeakyBucket, Some(5), 25) => State::leaky_bucket(numbers.time(0), numbers.get(1), numbers.time(2)),
        _ => State::fresh(limit),
    }
}

/// What a script answered of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LogReply<'a> {
    /// Hits in the window.
    pub hits: u64,
    /// The time of the newest.
    pub newest: Micros,
    /// The sequence number that the next hit gets.
    pub following: u64,
    asked: &'a [u8],
    /// Where in `asked` to look first: hits are mostly asked for in the order in which they are told of.
    hint: Cell<usize>,
}

impl<'a> LogReply<'a> {
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let (head, asked) = bytes.split_at_checked(25)?;
        let numbers = Numbers(head.strip_prefix(&[6])?);
        Some(Self {
            hits: numbers.get(0),
            newest: numbers.time(1),
            following: numbers.get(2),
            asked,
            hint: Cell::new(0),
        })
    }

    /// The hits that were asked for: their numbers in the window, and their times.
    pub fn asked(&self) -> impl Iterator<Item = (u64, Micros)> + use<'a> {
        self.asked.chunks_exact(16).map(Numbers).map(|pair| (pair.get(0), pair.time(1)))
    }

    /// The time of a hit that was asked for.
    pub fn time_of(&self, number: u64) -> Option<Micros> {
        let pairs = self.asked.len() / 16;
        for position in (self.hint.get()..pairs).chain(0..pairs) {
            let pair = Numbers(self.asked.get(position * 16..)?);
            if pair.get(0) == number {
                self.hint.set(position);
                return Some(pair.time(1));
            }
        }
        None
    }
}

/// Packed numbers.
#[derive(Clone, Copy)]
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    /// Number `position`; 0 where there is none. What is no whole number becomes the nearest.
    fn get(self, position: usize) -> u64 {
        let bytes = self.0.get(position * 8..).and_then(|rest| rest.first_chunk());
        // Whatever stands there, no later sum overflows.
        bytes.map_or(0, |bytes| (f64::from_le_bytes(*bytes) as u64).min(MAX_HITS))
    }

    fn time(self, position: usize) -> Micros {
        Micros(self.get(position))
    }
}
