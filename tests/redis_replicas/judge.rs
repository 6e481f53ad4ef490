//! Whether answers can be right, when each hit was counted at some unknown instant between its request and its answer.
//!
//! Hits that were *certainly* counted in a span are those whose whole interval lies in it: if these are too many, the
//! limit was broken. Hits that were *possibly* counted in it are those whose interval meets it: if these are too few
//! to fill the limit, a denial was wrong. So no right behaviour is ever called wrong, and wrong behaviour is found
//! unless it is over within one round trip.

use crate::demand::Answer;

/// The answers of one counter.
pub struct Judge {
    /// Admitted ones with a cost, by the time of sending.
    admitted: Vec<Answer>,
    denied: Vec<Answer>,
    /// Times of sending and of receiving, each in order.
    sent: Vec<u64>,
    received: Vec<u64>,
}

impl Judge {
    pub fn new(answers: &[Answer], key: usize) -> Self {
        let mine = answers.iter().filter(|answer| answer.key == key && answer.cost > 0).copied();
        let (mut admitted, denied): (Vec<_>, Vec<_>) = mine.partition(|answer| answer.admitted);
        assert!(admitted.iter().chain(&denied).all(|answer| answer.cost == 1), "costs are counted elsewhere");
        admitted.sort_by_key(|answer| answer.sent);
        let sent = admitted.iter().map(|answer| answer.sent).collect();
        let mut received: Vec<_> = admitted.iter().map(|answer| answer.received).collect();
        received.sort_unstable();
        Self { admitted, denied, sent, received }
    }

    pub fn total(&self) -> u64 {
        self.admitted.len() as u64
    }

    /// Hits that may have been counted in `from..=to`.
    fn possibly_in(&self, from: u64, to: u64) -> u64 {
        let ended_before = self.received.partition_point(|received| *received < from);
        let begun_by_then = self.sent.partition_point(|sent| *sent <= to);
        (begun_by_then - ended_before) as u64
    }

    /// For each hit, as the first of a span: how many have certainly been counted up to each later end of one.
    fn spans(&self, mut judge: impl FnMut(u64, u64, u64)) {
        // From the last on, so that those sent no earlier are known, by the time of their answers.
        let mut ends: Vec<u64> = Vec::new();
        for hit in self.admitted.iter().rev() {
            let at = ends.partition_point(|end| *end < hit.received);
            ends.insert(at, hit.received);
            for (before, end) in ends.iter().enumerate() {
                judge(hit.sent, *end, before as u64 + 1);
            }
        }
    }

    /// The most hits that were certainly counted within less than `window` from the first to the last.
    pub fn most_within(&self, window: u64) -> u64 {
        let mut most = 0;
        self.spans(|from, to, count| {
            if to - from < window {
                most = most.max(count);
            }
        });
        most
    }

    /// `sliding_window_log`.
    pub fn sliding_window_log(&self, limit: u64, window: u64) {
        let most = self.most_within(window);
        assert!(most <= limit, "{most} hits within {window} us");
        for denied in &self.denied {
            let possible = self.possibly_in(denied.sent.saturating_sub(window), denied.received);
            assert!(possible >= limit, "denied after {possible} hits: {denied:?}");
        }
    }

    /// `fixed_window`, of which something was denied.
    pub fn fixed_window(&self, limit: u64, window: u64) {
        self.aligned_at_most(limit, window);
        let within = |denied: &&Answer| denied.sent / window == denied.received / window;
        assert!(self.denied.iter().any(|denied| within(&denied)), "demand is too little for this test");
        for denied in self.denied.iter().filter(within) {
            let start = denied.sent / window * window;
            let possible = self.possibly_in(start, denied.received);
            assert!(possible >= limit, "denied after {possible} hits: {denied:?}");
        }
        match self.windows(window) {
            Some(windows) => {
                assert_eq!(self.total(), windows * limit, "{windows} windows admit {limit} each, no more and no less")
            }
            None => eprintln!("a busy machine: one window has admitted all that it was asked for"),
        }
    }

    /// How many aligned windows were asked about, if in every one of them something was denied.
    fn windows(&self, window: u64) -> Option<u64> {
        let first = self.admitted.iter().chain(&self.denied).map(|answer| answer.received / window).min()?;
        let last = self.admitted.iter().chain(&self.denied).map(|answer| answer.sent / window).max()?;
        let denies = |number: u64| {
            self.denied.iter().any(|denied| denied.sent / window == number && denied.received / window == number)
        };
        (first..=last).all(denies).then_some(last - first + 1)
    }

    /// The fewest and the most hits of an aligned window that was asked about from its beginning to its end, taking
    /// it that hits are counted half-way.
    pub fn aligned(&self, window: u64) -> Option<(u64, u64)> {
        let half_way = |hit: &Answer| u64::midpoint(hit.sent, hit.received) / window;
        let (first, last) = (half_way(self.admitted.first()?), half_way(self.admitted.last()?));
        let count = |number: u64| self.admitted.iter().filter(|hit| half_way(hit) == number).count() as u64;
        let counts = || (first + 1..last).map(count);
        Some((counts().min()?, counts().max()?))
    }

    fn aligned_at_most(&self, limit: u64, window: u64) {
        for whole in self.admitted.chunk_by(|one, other| one.sent / window == other.sent / window) {
            let certain = whole.iter().filter(|hit| hit.received / window == hit.sent / window).count() as u64;
            assert!(certain <= limit, "{certain} hits in an aligned window");
        }
    }

    /// `sliding_window_counter`: at most `2 x limit - 1` in any window and `limit` in an aligned one, and a denial only
    /// when `ceil(previous x share) + current` has reached the limit.
    pub fn sliding_window_counter(&self, limit: u64, window: u64) {
        self.aligned_at_most(limit, window);
        let most = self.most_within(window);
        assert!(most < 2 * limit, "{most} hits within {window} us");
        for denied in self.denied.iter().filter(|denied| denied.sent / window == denied.received / window) {
            let start = denied.sent / window * window;
            let current = self.possibly_in(start, denied.received);
            let previous = self.possibly_in(start - window, start - 1);
            let estimate = (previous * (start + window - denied.sent)).div_ceil(window) + current;
            assert!(estimate >= limit, "denied at an estimate of {estimate}: {denied:?}");
        }
    }

    /// `token_bucket` and `leaky_bucket` with so many hits per window: at most `burst` and what has come in since, and
    /// a denial only when the bucket has less than a whole hit left.
    pub fn bucket(&self, amount: u64, window: u64, burst: u64) {
        let earned = |time: u64| time as f64 * amount as f64 / window as f64;
        self.spans(|from, to, count| {
            let allowed = burst as f64 + earned(to - from);
            assert!(count as f64 <= allowed + 1e-6, "{count} hits within {} us, not {allowed}", to - from);
        });
        // As many as there is time to judge.
        let step = self.denied.len() / 500 + 1;
        for denied in self.denied.iter().step_by(step) {
            // The first hit of a span that may have filled it came at its latest instant.
            let hits = self.admitted.iter().take_while(|hit| hit.sent <= denied.received);
            let level = hits.map(|hit| {
                self.possibly_in(hit.sent, denied.received) as f64 - earned(denied.sent.saturating_sub(hit.received))
            });
            let level = level.fold(0.0, f64::max);
            assert!(level > burst as f64 - 1.0, "denied at the level {level}: {denied:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    fn hit(sent: u64, received: u64, admitted: bool) -> Answer {
        Answer { key: 0, cost: 1, admitted, remaining: 0, sent, received, admitted_as_a_whole: admitted, local: false }
    }

    fn judge(admitted: &[(u64, u64)], denied: &[(u64, u64)]) -> Judge {
        let hits = |hits: &[(u64, u64)], admitted: bool| {
            hits.iter().map(|&(sent, received)| hit(sent, received, admitted)).collect::<Vec<_>>()
        };
        Judge::new(&[hits(admitted, true), hits(denied, false)].concat(), 0)
    }

    fn refuses(judge: &(impl Fn() + std::panic::RefUnwindSafe)) -> bool {
        catch_unwind(judge).is_err()
    }

    #[test]
    fn too_many_within_a_window_are_found() {
        // Of the third nobody knows on which side of the boundary it was counted.
        let fine = judge(&[(10, 12), (20, 25), (95, 111)], &[]);
        assert_eq!(fine.most_within(100), 2);
        fine.sliding_window_log(2, 100);
        assert!(refuses(&|| judge(&[(10, 12), (20, 25), (95, 109)], &[]).sliding_window_log(2, 100)));
        assert!(refuses(&|| judge(&[(110, 112), (120, 125), (130, 140)], &[]).aligned_at_most(2, 100)));
        judge(&[(110, 112), (120, 125), (190, 200)], &[]).aligned_at_most(2, 100);
    }

    #[test]
    fn wrong_denials_are_found() {
        judge(&[(110, 112), (120, 125)], &[(211, 213)]).sliding_window_log(2, 100);
        assert!(refuses(&|| judge(&[(110, 112), (120, 125)], &[(213, 215)]).sliding_window_log(2, 100)));
        judge(&[(110, 112), (120, 125)], &[(130, 131)]).fixed_window(2, 100);
        assert!(refuses(&|| judge(&[(110, 112)], &[(130, 131)]).fixed_window(2, 100)));
        // Of the second and third, one may have been counted in each window, but not both beside the first.
        let denied = [(130, 131), (230, 231)];
        judge(&[(110, 112), (199, 201)], &denied).fixed_window(1, 100);
        assert!(refuses(&|| judge(&[(110, 112), (198, 202), (199, 201)], &denied).fixed_window(1, 100)));
    }

    #[test]
    fn buckets_are_judged_by_their_rate() {
        // One per 10, bursts of 2.
        judge(&[(100, 101), (101, 102), (110, 111)], &[(105, 106)]).bucket(1, 10, 2);
        assert!(refuses(&|| judge(&[(100, 101), (101, 102), (105, 106)], &[]).bucket(1, 10, 2)));
        assert!(refuses(&|| judge(&[(100, 101), (101, 102), (110, 111)], &[(200, 201)]).bucket(1, 10, 2)));
    }
}
