use std::sync::atomic::AtomicUsize;

use super::*;

const OPTIONS: BreakerOptions =
    BreakerOptions { failures: 3, open_for: Duration::from_millis(100), max_open_for: Duration::from_millis(400) };

fn at(millis: u64) -> Micros {
    Micros::from_millis(millis)
}

fn closed() -> Breaker {
    Breaker::with_seed(OPTIONS, 7)
}

/// Opened by three failures.
fn opened(now: Micros) -> Breaker {
    let breaker = closed();
    fail(&breaker, now, 3);
    assert_eq!(breaker.state(), BreakerState::Open);
    breaker
}

/// So many calls pass and fail.
#[track_caller]
fn fail(breaker: &Breaker, now: Micros, count: usize) {
    let calls = [(); 8].map(|()| breaker.admit(now));
    for call in &calls[..count] {
        assert!(matches!(call, Admission::Pass(_)), "{call:?}");
        breaker.failed(*call, now);
    }
}

#[track_caller]
fn probe(breaker: &Breaker, now: Micros) -> Admission {
    let admission = breaker.admit(now);
    assert!(matches!(admission, Admission::Probe(_)), "{admission:?} {breaker:?}");
    admission
}

#[test]
fn only_failures_in_a_row_open_it() {
    let breaker = closed();
    for _ in 0..10 {
        fail(&breaker, at(1), 2);
        breaker.succeeded(breaker.admit(at(1)), at(1));
    }
    assert_eq!((breaker.state(), breaker.opened(), breaker.open_since()), (BreakerState::Closed, 0, None));
    fail(&breaker, at(2), 3);
    assert_eq!((breaker.admit(at(3)), breaker.opened()), (Admission::Refuse, 1));
    assert_eq!((breaker.open_since(), breaker.refused()), (Some(at(2)), 1));
}

#[test]
fn after_the_pause_one_may_probe() {
    let breaker = opened(at(1_000));
    assert_eq!(breaker.admit(at(1_079)), Admission::Refuse);
    let first = probe(&breaker, at(1_121));
    assert_eq!((breaker.admit(at(1_122)), breaker.state()), (Admission::Refuse, BreakerState::HalfOpen));
    assert_eq!(breaker.open_since(), Some(at(1_000)));
    breaker.succeeded(first, at(1_123));
    assert_eq!((breaker.state(), breaker.open_since()), (BreakerState::Closed, None));
    assert!(matches!(breaker.admit(at(1_223)), Admission::Pass(_)));
}

#[test]
fn failed_probes_double_the_pause_up_to_the_longest() {
    let breaker = opened(at(0));
    let mut now = 0;
    for pause in [100, 200, 400, 400, 400] {
        assert_eq!(breaker.admit(at(now + pause * 79 / 100)), Admission::Refuse);
        now += pause * 121 / 100;
        breaker.failed(probe(&breaker, at(now)), at(now));
    }
    assert_eq!(breaker.opened(), 1);
    now += 500;
    breaker.succeeded(probe(&breaker, at(now)), at(now));
    now += 100;
    fail(&breaker, at(now), 3);
    probe(&breaker, at(now + 121));
    assert_eq!(breaker.opened(), 2);
}

#[test]
fn pauses_vary_and_never_leave_their_bounds() {
    let mut pauses: Vec<_> = (0..200).map(|seed| Breaker::with_seed(OPTIONS, seed).pause(0).0).collect();
    pauses.sort_unstable();
    assert!(pauses[0] >= 80_000 && pauses[199] <= 120_000, "{pauses:?}");
    assert!(pauses[20] < 90_000 && pauses[180] > 110_000, "{pauses:?}");
    let huge = Duration::from_secs(u64::MAX / 2_000_000);
    let breaker = Breaker::with_seed(BreakerOptions { open_for: huge, max_open_for: huge, failures: 1 }, 1);
    for number in [0, 1, 31, 32, 63, 64, u32::MAX] {
        assert!(breaker.pause(number).0 > u64::MAX / 4, "{number}");
    }
}

#[test]
fn late_failures_of_calls_under_way_change_nothing() {
    let breaker = closed();
    let under_way = [(); 100].map(|()| breaker.admit(at(0)));
    for call in &under_way[..30] {
        breaker.failed(*call, at(0));
    }
    assert_eq!(breaker.opened(), 1);
    let first = probe(&breaker, at(121));
    for call in &under_way[30..60] {
        breaker.failed(*call, at(122));
    }
    assert_eq!(breaker.state(), BreakerState::HalfOpen, "none of them is the probe");
    breaker.succeeded(first, at(123));
    for call in &under_way[60..] {
        breaker.failed(*call, at(124));
    }
    assert_eq!((breaker.state(), breaker.opened()), (BreakerState::Closed, 1), "none of them is of after it");
}

#[test]
fn late_answers_of_calls_under_way_change_nothing() {
    let breaker = closed();
    let under_way = breaker.admit(at(0));
    fail(&breaker, at(1), 3);
    breaker.succeeded(under_way, at(50));
    assert_eq!((breaker.state(), breaker.admit(at(51))), (BreakerState::Open, Admission::Refuse));
}

#[test]
fn a_probe_that_nobody_reports_counts_as_failed() {
    let breaker = opened(at(0));
    let lost = probe(&breaker, at(200));
    assert_eq!(breaker.admit(at(1_199)), Admission::Refuse);
    assert_eq!(breaker.admit(at(1_200)), Admission::Refuse);
    assert_eq!(breaker.state(), BreakerState::Open);
    // The second pause.
    assert_eq!(breaker.admit(at(1_200 + 159)), Admission::Refuse);
    let second = probe(&breaker, at(1_200 + 241));
    breaker.succeeded(lost, at(1_442));
    breaker.failed(lost, at(1_442));
    assert_eq!(breaker.state(), BreakerState::HalfOpen, "it is too late for that one");
    breaker.succeeded(second, at(1_443));
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn traffic_comes_back_evenly() {
    let breaker = opened(at(0));
    breaker.succeeded(probe(&breaker, at(200)), at(200));
    // A thousand calls in each tenth of the ramp.
    for tenth in 0..10 {
        let passed =
            (0..1_000).filter(|call| !breaker.admit(at(200) + Micros(tenth * 10_000 + call * 10)).is_refused()).count();
        let expected = usize::try_from(tenth * 100 + 50).unwrap();
        assert!(passed.abs_diff(expected) <= 10, "{tenth}: {passed}");
    }
    assert!((0..1_000).all(|_| !breaker.admit(at(300)).is_refused()));
}

#[test]
fn failures_while_traffic_comes_back_open_it_again() {
    let breaker = opened(at(0));
    breaker.succeeded(probe(&breaker, at(200)), at(200));
    let calls: Vec<_> = (0..100).map(|_| breaker.admit(at(250))).filter(|call| !call.is_refused()).take(3).collect();
    for call in calls {
        breaker.failed(call, at(251));
    }
    assert_eq!((breaker.state(), breaker.opened()), (BreakerState::Open, 2));
}

/// Many threads, one clock, and a node that answers every tenth probe: never is more than one
/// probe on its way, and no pause is shorter than it should be.
#[test]
fn of_many_threads_one_probes_at_a_time() {
    let breaker = opened(at(0));
    let clock = AtomicU64::new(at(0).0);
    let (under_way, probes) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while probes.load(Ordering::Relaxed) < 200 {
                    // It stands still while a probe is on its way, so that none expires.
                    let step = if under_way.load(Ordering::SeqCst) == 0 { 50 } else { 0 };
                    let now = Micros(clock.fetch_add(step, Ordering::Relaxed));
                    let admission = breaker.admit(now);
                    match admission {
                        Admission::Probe(_) => {
                            assert_eq!(under_way.fetch_add(1, Ordering::SeqCst), 0);
                            let number = probes.fetch_add(1, Ordering::Relaxed);
                            std::thread::yield_now();
                            under_way.fetch_sub(1, Ordering::SeqCst);
                            if number % 10 == 9 {
                                breaker.succeeded(admission, now);
                            } else {
                                breaker.failed(admission, now);
                            }
                        }
                        Admission::Pass(_) => breaker.failed(admission, now),
                        Admission::Refuse => {}
                    }
                }
            });
        }
    });
    let elapsed = Micros(clock.into_inner());
    // Of ten probes in a row each but the first comes after a pause of at least 80 % of what it should be.
    assert!(elapsed >= at(19 * (80 + 160 + 8 * 320)), "{elapsed}");
}
