//! Hits that are charged each on its own.

use tidegate::core::algorithm::Verdict;
use tidegate::core::descriptor::Operation::{Charge, Refund};
use tidegate::core::limit::{Algorithm, LimitParts, Over};
use tidegate::core::spec;
use tidegate::counters::{CounterKey, CounterStore, Source};

use crate::redis_support::wait_until;
use crate::stand::Stand;
use crate::subject::{OVERS, Subject, allowed, levels, limit, with};

pub fn counters_are_apart<S: CounterStore>(stand: &Stand<S>) {
    const DOMAIN: &str = "apart";
    let long = "x".repeat(300);
    for algorithm in Algorithm::ALL {
        let limit = limit(algorithm, 2, Over::Drop);
        let clients =
            ["a", "b", "", "ab", "a,b", "a|b", "a}", "{a}", "%2C", "~", "a:fixed_window", &long, "\u{e4}\0\r\n"];
        for path in ["one", "other", "one,other"] {
            let subject = Subject::new(DOMAIN, path);
            for client in clients {
                assert_eq!(stand.one(subject.hit(client, &limit, Charge(2))).level, 2, "{algorithm} {path} {client:?}");
                assert!(!stand.one(subject.hit(client, &limit, Charge(1))).allowed(), "{algorithm} {path} {client:?}");
            }
        }
        // Of the values, the boundaries count as well, and bytes that are no text.
        let subject = Subject::new(DOMAIN, "several");
        let lists: [&[&[u8]]; 6] =
            [&[b"a", b"b"], &[b"ab", b""], &[b"", b"ab"], &[b"a,b", b""], &[b"\xff", b"\xfe"], &[b"\xff\xfe", b""]];
        for values in lists {
            let mut hit = subject.hit("", &limit, Charge(2));
            hit.key = CounterKey { values: values.iter().copied().collect(), ..hit.key };
            assert_eq!(stand.one(hit.clone()).level, 2, "{algorithm} {values:?}");
            assert!(!stand.one(hit).allowed(), "{algorithm} {values:?}");
        }
    }
}

pub fn looking_makes_no_counter<S: CounterStore>(stand: &Stand<S>) {
    let subject = Subject::new("looking", "user");
    for algorithm in Algorithm::ALL {
        let limit = limit(algorithm, 5, Over::Drop);
        let hit = |operation| subject.hit("a", &limit, operation);
        let key = subject.key("a", &limit);
        assert_eq!(stand.inspect(&key, &limit), None, "{algorithm}");
        let peek = stand.one(hit(Charge(0)));
        assert_eq!((peek.allowed(), peek.level, peek.remaining), (true, 0, 5), "{algorithm}");
        assert!(stand.one(hit(Refund(3))).allowed());
        assert!(!stand.one(hit(Charge(6))).allowed());
        stand.together(&[hit(Charge(0)), hit(Refund(1))]);
        stand.together(&[hit(Charge(3)), subject.hit("b", &limit, Charge(6))]);
        for client in ["a", "b"] {
            assert_eq!(stand.inspect(&subject.key(client, &limit), &limit), None, "{algorithm}");
            let forgotten = stand.reset(&subject.key(client, &limit), &limit);
            assert!(!forgotten || stand.holds(), "{algorithm}: there is nothing to forget");
        }
    }
}

pub fn inspecting_consumes_nothing<S: CounterStore>(stand: &Stand<S>) {
    let subject = Subject::new("inspecting", "user");
    for algorithm in Algorithm::ALL {
        let limit = limit(algorithm, 5, Over::Drop);
        let key = subject.key("a", &limit);
        stand.one(subject.hit("a", &limit, Charge(3)));
        for _ in 0..3 {
            let seen = stand.inspect(&key, &limit).unwrap();
            assert_eq!((seen.verdict, seen.level, seen.remaining), (Verdict::Allowed, 3, 2), "{algorithm}");
        }
        let last = stand.one(subject.hit("a", &limit, Charge(2)));
        assert!(last.allowed(), "{algorithm}");
        for _ in 0..3 {
            // One more hit would not fit.
            let seen = stand.inspect(&key, &limit).unwrap();
            assert!(matches!(seen.verdict, Verdict::NotUntil(_)), "{algorithm}: {seen:?}");
            assert_eq!((seen.level, seen.remaining), (5, 0), "{algorithm}");
            assert!(seen.reset_after <= last.reset_after, "{algorithm}");
        }
    }
}

pub fn costs_are_weighed<S: CounterStore>(stand: &Stand<S>) {
    let subject = Subject::new("costs", "user");
    for algorithm in Algorithm::ALL {
        let limit = limit(algorithm, 10, Over::Drop);
        let costs = [4, 3, 4, 0, 3, 1, 0];
        let outcomes = costs.map(|cost| stand.one(subject.hit("a", &limit, Charge(cost))));
        // A peek passes while the level is not above the limit.
        assert_eq!(allowed(&outcomes), [true, true, false, true, true, false, true], "{algorithm}");
        assert_eq!(levels(&outcomes), [4, 7, 7, 7, 10, 10, 10], "{algorithm}");
        let remaining: Vec<_> = outcomes.iter().map(|outcome| outcome.remaining).collect();
        assert_eq!(remaining, [6, 3, 3, 3, 0, 0, 0], "{algorithm}");
    }
}

pub fn a_cost_above_the_limit_never_passes<S: CounterStore>(stand: &Stand<S>) {
    let subject = Subject::new("too dear", "user");
    for algorithm in Algorithm::ALL {
        let limit = limit(algorithm, 10, Over::Drop);
        for cost in [11, 1 << 40, u64::MAX] {
            let outcome = stand.one(subject.hit("a", &limit, Charge(cost)));
            assert_eq!((outcome.verdict, outcome.level), (Verdict::InsufficientCapacity, 0), "{algorithm}: {cost}");
        }
        assert!(stand.one(subject.hit("a", &limit, Charge(10))).allowed(), "{algorithm}");
    }
}

pub fn denied_hits_are_recorded<S: CounterStore>(stand: &Stand<S>) {
    let subject = Subject::new("recorded", "user");
    for algorithm in Algorithm::ALL {
        let limit = limit(algorithm, 5, Over::Record);
        let hit = |operation| subject.hit("a", &limit, operation);
        assert!(stand.one(hit(Charge(5))).allowed());
        let denied = stand.one(hit(Charge(2)));
        assert_eq!((denied.allowed(), denied.level, denied.remaining), (false, 7, 0), "{algorithm}");
        // Above the limit even a peek is denied.
        let peek = stand.one(hit(Charge(0)));
        assert_eq!((peek.allowed(), peek.level), (false, 7), "{algorithm}");
        let denied = stand.one(hit(Charge(2)));
        // A log lets go of old hits where one beyond the limit is enough to deny.
        let counted = if algorithm == Algorithm::SlidingWindowLog { 8 } else { 9 };
        let from_memory = stand.remembers() && algorithm == Algorithm::FixedWindow && denied.level == 7;
        assert!(!denied.allowed() && (denied.level == counted || from_memory), "{algorithm}: {denied:?}");
    }
}

pub fn denied_hits_are_dropped<S: CounterStore>(stand: &Stand<S>) {
    let subject = Subject::new("dropped", "user");
    for algorithm in Algorithm::ALL {
        let limit = limit(algorithm, 5, Over::Drop);
        let hit = |operation| subject.hit("a", &limit, operation);
        assert!(stand.one(hit(Charge(4))).allowed());
        for _ in 0..5 {
            let denied = stand.one(hit(Charge(2)));
            assert!(!denied.allowed(), "{algorithm}");
            assert!(stand.told(&limit, denied.level, 4), "{algorithm}: {denied:?}");
            assert_eq!(denied.remaining, 5 - denied.level, "{algorithm}");
        }
        assert!(stand.one(hit(Charge(1))).allowed(), "{algorithm}: a smaller one fits");
        assert_eq!(stand.level(&subject.key("a", &limit), &limit), 5, "{algorithm}");
    }
}

pub fn refunds_give_back_at_most_what_is_consumed<S: CounterStore>(stand: &Stand<S>) {
    let subject = Subject::new("refunds", "user");
    for algorithm in Algorithm::ALL {
        for over in OVERS {
            let name = format!("{over:?}");
            let limit = limit(algorithm, 5, over);
            let hit = |operation| subject.hit(&name, &limit, operation);
            assert!(stand.one(hit(Charge(5))).allowed());
            let refunded = stand.one(hit(Refund(2)));
            assert_eq!((refunded.allowed(), refunded.level, refunded.remaining), (true, 3, 2), "{algorithm}");
            assert!(stand.one(hit(Charge(2))).allowed(), "{algorithm}: what was given back is there at once");
            assert!(!stand.one(hit(Charge(1))).allowed(), "{algorithm}");
            let refunded = stand.one(hit(Refund(100)));
            assert_eq!((refunded.allowed(), refunded.level, refunded.remaining), (true, 0, 5), "{algorithm}");
            assert_eq!(allowed(&[5, 1].map(|cost| stand.one(hit(Charge(cost))))), [true, false], "{algorithm}");
            // And denies no more as soon as there is room, also where the denial is remembered.
            stand.one(hit(Refund(3)));
            assert!(stand.one(hit(Charge(1))).allowed(), "{algorithm}");
        }
    }
}

pub fn a_reset_forgets_everything<S: CounterStore>(stand: &Stand<S>) {
    let subject = Subject::new("reset", "user");
    for algorithm in Algorithm::ALL {
        for over in OVERS {
            let name = format!("{over:?}");
            let limit = limit(algorithm, 5, over);
            let key = subject.key(&name, &limit);
            let full = || [5, 1, 1].map(|cost| stand.one(subject.hit(&name, &limit, Charge(cost))));
            assert_eq!(allowed(&full()), [true, false, false], "{algorithm}");
            stand.one(subject.hit("bystander", &limit, Charge(1)));
            assert!(stand.reset(&key, &limit), "{algorithm}: there was one");
            assert_eq!(stand.inspect(&key, &limit), None, "{algorithm}");
            assert!(!stand.reset(&key, &limit), "{algorithm}: there is none any more");
            assert_eq!(allowed(&full()), [true, false, false], "{algorithm}: as new");
        }
        let limit = limit(algorithm, 5, Over::Drop);
        assert_eq!(stand.level(&subject.key("bystander", &limit), &limit), 2, "{algorithm}");
    }
}

pub fn post_paid_charges_pass_and_peeks_do_not<S: CounterStore>(stand: &Stand<S>) {
    let subject = Subject::new("post-paid", "user");
    for algorithm in Algorithm::ALL {
        let burst = algorithm.has_burst().then_some(10);
        let limit = with(|parts| LimitParts { amount: 10, algorithm, burst, post_paid: true, ..parts });
        let hit = |operation| subject.hit("a", &limit, operation);
        for (operation, passes) in [
            (Charge(0), true),
            (Charge(9), true),
            (Charge(0), true),
            (Charge(9), true),
            (Charge(0), false),
            (Charge(9), true),
            (Charge(0), false),
            (Refund(100), true),
            (Charge(0), true),
        ] {
            assert_eq!(stand.one(hit(operation)).allowed(), passes, "{algorithm}: {operation:?}");
            // To be asked is not to be charged.
            let peek = stand.together(&[hit(Charge(0)), subject.hit("another", &limit, Charge(0))]);
            assert!(peek[1].allowed());
        }
        stand.one(hit(Charge(10)));
        let seen = stand.inspect(&subject.key("a", &limit), &limit).unwrap();
        assert!(!seen.allowed(), "{algorithm}: what is judged is a peek: {seen:?}");
    }
}

pub fn an_amount_of_nothing_admits_nothing<S: CounterStore>(stand: &Stand<S>) {
    let subject = Subject::new("nothing", "user");
    for algorithm in Algorithm::ALL {
        let limit = limit(algorithm, 0, Over::Drop);
        for charge in [spec::Charge::Independent, spec::Charge::AllOrNothing] {
            let answers = stand.perform(&[subject.hit("a", &limit, Charge(1))], charge);
            assert_eq!(answers.outcomes[0].verdict, Verdict::InsufficientCapacity, "{algorithm}");
        }
        assert_eq!(stand.inspect(&subject.key("a", &limit), &limit), None, "{algorithm}");
    }
}

pub fn hits_of_one_request_see_each_other<S: CounterStore>(stand: &Stand<S>) {
    let subject = Subject::new("in order", "user");
    for algorithm in Algorithm::ALL {
        let limit = limit(algorithm, 8, Over::Drop);
        let hits = [Charge(5), Charge(3), Charge(1), Charge(0), Refund(4), Charge(5), Charge(4)];
        let outcomes = stand.independent(&hits.map(|operation| subject.hit("a", &limit, operation)));
        assert_eq!(allowed(&outcomes), [true, true, false, true, true, false, true], "{algorithm}");
        assert_eq!(levels(&outcomes), [5, 8, 8, 8, 4, 4, 8], "{algorithm}");
        // Counters that come in turns.
        let clients = ["b", "c", "b", "c", "b"];
        let outcomes = stand.independent(&clients.map(|client| subject.hit(client, &limit, Charge(3))));
        assert_eq!(levels(&outcomes), [3, 3, 6, 6, 6], "{algorithm}");
    }
}

pub fn limits_of_one_descriptor_are_apart<S: CounterStore>(stand: &Stand<S>) {
    let subject = Subject::new("several limits", "user");
    let (narrow, wide) = (limit(Algorithm::FixedWindow, 2, Over::Drop), limit(Algorithm::FixedWindow, 5, Over::Drop));
    let request = [
        subject.of_limit("a").hit("x", &narrow, Charge(1)),
        subject.of_limit("b").hit("x", &wide, Charge(1)),
        subject.hit("x", &wide, Charge(2)),
    ];
    let outcomes = [(); 3].map(|()| stand.independent(&request));
    assert_eq!(outcomes.each_ref().map(|outcomes| allowed(outcomes)), [[true; 3], [true; 3], [false, true, false]]);
    assert_eq!(levels(&outcomes[2]), [2, 3, 4]);
}

pub fn a_changed_amount_keeps_the_counter<S: CounterStore>(stand: &Stand<S>) {
    let subject = Subject::new("changed", "user");
    for algorithm in [Algorithm::FixedWindow, Algorithm::SlidingWindowLog, Algorithm::SlidingWindowCounter] {
        let (narrow, wide) = (limit(algorithm, 4, Over::Drop), limit(algorithm, 6, Over::Drop));
        assert_eq!(allowed(&[4, 1].map(|cost| stand.one(subject.hit("a", &narrow, Charge(cost))))), [true, false]);
        let raised = [1, 1, 1].map(|cost| stand.one(subject.hit("a", &wide, Charge(cost))));
        assert_eq!(allowed(&raised), [true, true, false], "{algorithm}");
        let lowered = stand.one(subject.hit("a", &narrow, Charge(1)));
        assert_eq!((lowered.allowed(), lowered.level, lowered.remaining), (false, 6, 0), "{algorithm}");
    }
}

pub fn answers_name_their_source<S: CounterStore>(stand: &Stand<S>) {
    let subject = Subject::new("sources", "user");
    let limit = limit(Algorithm::FixedWindow, 1, Over::Drop);
    let attempt = |number: usize| {
        let clients = ["a", "b", "c"].map(|client| format!("{client}{number}"));
        let [a, b, c] = clients.each_ref().map(|client| subject.hit(client, &limit, Charge(1)));
        let answers = stand.perform(&[a.clone(), b], spec::Charge::Independent);
        assert_eq!([0, 1].map(|hit| answers.source(hit)), [Source::Counter; 2]);
        assert!(!stand.one(a.clone()).allowed());
        let answers = stand.perform(&[a, c], spec::Charge::Independent);
        assert_eq!((answers.source(1), allowed(&answers.outcomes)), (Source::Counter, vec![false, true]));
        answers.source(0)
    };
    if !stand.remembers() {
        assert_eq!(attempt(0), Source::Counter);
        return;
    }
    // On a machine so slow that notices may have been missed, or that it is time to ask again, nothing is remembered.
    let mut numbers = 0..;
    wait_until("an answer is from memory", || numbers.next().map(attempt) == Some(Source::OverLimitMemory));
}
