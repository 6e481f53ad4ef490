//! Hits that are charged all or not at all.

use tidegate::core::algorithm::{Outcome, Verdict};
use tidegate::core::descriptor::Operation::{Charge, Refund};
use tidegate::core::limit::{Algorithm, Over};
use tidegate::core::spec;
use tidegate::counters::CounterStore;

use crate::redis_support::slot_of;
use crate::stand::{CLUSTER, Stand};
use crate::subject::{OVERS, Subject, allowed, levels, limit};

/// In a cluster the counters of these are in different slots.
const ONE: Subject = Subject::new("together", "one");
const TWO: Subject = Subject::new("together", "two");
const THREE: Subject = Subject::new("together", "three");

/// The levels that a refused request is answered with, of the hits that are not the reason.
fn bystanders<S: CounterStore>(stand: &Stand<S>, outcomes: &[Outcome], reason: usize, level: u64) {
    for (position, outcome) in outcomes.iter().enumerate().filter(|(position, _)| *position != reason) {
        assert!(outcome.allowed());
        let known = outcome.level == level || stand.remembers() && outcome.level == 0;
        assert!(known, "{level} at {position}: {outcomes:?}");
    }
}

pub fn nothing_is_charged_when_one_is_denied<S: CounterStore>(stand: &Stand<S>) {
    for algorithm in Algorithm::ALL {
        for over in OVERS {
            let client = format!("denied {over:?}");
            let (narrow, wide) = (limit(algorithm, 2, over), limit(Algorithm::TokenBucket, 100, over));
            let request = [
                ONE.of_limit(algorithm.name()).hit(&client, &wide, Charge(2)),
                TWO.hit(&client, &narrow, Charge(2)),
                THREE.of_limit(algorithm.name()).hit(&client, &wide, Charge(2)),
            ];
            let outcomes = stand.together(&request);
            assert_eq!((allowed(&outcomes), levels(&outcomes)), (vec![true; 3], vec![2; 3]), "{algorithm}");
            for _ in 0..3 {
                let outcomes = stand.together(&request);
                assert!(matches!(outcomes[1].verdict, Verdict::NotUntil(_)), "{algorithm}: {outcomes:?}");
                assert!(stand.told(&narrow, outcomes[1].level, 2), "{algorithm}: a denied hit is not recorded");
                bystanders(stand, &outcomes, 1, 2);
            }
            for hit in &request {
                assert_eq!(stand.level(&hit.key, hit.limit), 2, "{algorithm}: {:?}", hit.key);
            }
        }
    }
}

pub fn what_is_not_enforced_denies_nothing_and_is_recorded<S: CounterStore>(stand: &Stand<S>) {
    for algorithm in Algorithm::ALL {
        let shadow = limit(algorithm, 1, Over::Record);
        let wide = limit(algorithm, 3, Over::Drop);
        let request = [ONE.shadow("shadow", &shadow, Charge(2)), TWO.hit("shadow", &wide, Charge(2))];
        let outcomes = stand.together(&request);
        assert_eq!((allowed(&outcomes), levels(&outcomes)), (vec![false, true], vec![2, 2]), "{algorithm}");
        // When the request is refused, nothing is charged in shadow either.
        let outcomes = stand.together(&request);
        assert!(!outcomes[1].allowed(), "{algorithm}");
        assert_eq!(request.each_ref().map(|hit| stand.level(&hit.key, hit.limit)), [2, 2], "{algorithm}");
    }
}

pub fn hits_on_one_counter_see_each_other<S: CounterStore>(stand: &Stand<S>) {
    for algorithm in Algorithm::ALL {
        let limit = limit(algorithm, 8, Over::Drop);
        let request = [5, 3, 1, 0].map(|hits| ONE.hit("in order", &limit, Charge(hits)));
        assert_eq!(allowed(&stand.together(&request)), [true, true, false, true], "{algorithm}");
        assert_eq!(stand.level(&request[0].key, &limit), 0, "{algorithm}");
        stand.one(ONE.hit("in order", &limit, Charge(8)));
        // A refund in between makes room for what follows.
        let request = [Refund(8), Charge(5), Refund(1), Charge(4)].map(|act| ONE.hit("in order", &limit, act));
        let outcomes = stand.together(&request);
        assert_eq!((allowed(&outcomes), levels(&outcomes)), (vec![true; 4], vec![0, 5, 4, 8]), "{algorithm}");
    }
}

pub fn a_counter_charged_twice_is_judged_by_the_sum<S: CounterStore>(stand: &Stand<S>) {
    for algorithm in Algorithm::ALL {
        let limit = limit(algorithm, 8, Over::Drop);
        let request = [ONE, TWO, ONE, TWO].map(|subject| subject.hit("twice", &limit, Charge(3)));
        let outcomes = stand.together(&request);
        assert_eq!((allowed(&outcomes), levels(&outcomes)), (vec![true; 4], vec![3, 3, 6, 6]), "{algorithm}");
        stand.one(TWO.hit("twice", &limit, Refund(6)));
        // Of the first counter the second hit does not fit any more.
        let outcomes = stand.together(&request);
        assert_eq!(allowed(&outcomes), [false, true, false, true], "{algorithm}: {outcomes:?}");
        if !stand.remembers() {
            assert_eq!(levels(&outcomes), [6, 0, 6, 0], "{algorithm}: nothing is charged");
        }
        assert_eq!([0, 1].map(|hit| stand.level(&request[hit].key, &limit)), [6, 0], "{algorithm}");
    }
}

pub fn refunds_are_performed_even_when_nothing_is_charged<S: CounterStore>(stand: &Stand<S>) {
    for algorithm in Algorithm::ALL {
        let limit = limit(algorithm, 5, Over::Drop);
        let full = [ONE, TWO].map(|subject| subject.hit("refunds", &limit, Charge(5)));
        assert_eq!(allowed(&stand.together(&full)), [true, true], "{algorithm}");
        assert_eq!(allowed(&stand.together(&full)), [false, false], "{algorithm}");
        let outcomes = stand.together(&[
            ONE.hit("refunds", &limit, Refund(2)),
            TWO.hit("refunds", &limit, Charge(1)),
            THREE.hit("refunds", &limit, Charge(1)),
        ]);
        assert_eq!(allowed(&outcomes), [true, false, true], "{algorithm}");
        assert_eq!(levels(&outcomes), [3, 5, 0], "{algorithm}");
        assert_eq!([ONE, TWO, THREE].map(|subject| stand.level(&subject.key("refunds", &limit), &limit)), [3, 5, 0]);
    }
}

pub fn several_limits_of_one_descriptor_hold_together<S: CounterStore>(stand: &Stand<S>) {
    // All in one slot.
    let limits = Algorithm::ALL.map(|algorithm| limit(algorithm, 3, Over::Record));
    let request: Vec<_> = limits.iter().map(|limit| ONE.of_limit("several").hit("limits", limit, Charge(2))).collect();
    assert_eq!(allowed(&stand.together(&request)), [true; 5]);
    let outcomes = stand.together(&request);
    assert_eq!(levels(&outcomes).iter().max(), Some(&2), "{outcomes:?}");
    assert!(!outcomes.iter().all(Outcome::allowed));
    for hit in &request {
        assert_eq!(stand.level(&hit.key, hit.limit), 2);
    }
    let outcomes = stand.together(&request[..1]);
    assert_eq!((outcomes[0].allowed(), outcomes[0].level), (false, 2));
}

pub fn one_alone_leaves_nothing_behind<S: CounterStore>(stand: &Stand<S>) {
    for algorithm in Algorithm::ALL {
        for over in OVERS {
            let client = format!("alone {over:?}");
            let limit = limit(algorithm, 3, over);
            let charge = |cost| stand.perform(&[ONE.hit(&client, &limit, Charge(cost))], spec::Charge::AllOrNothing);
            let outcomes = [3, 1, 1, 0].map(|cost| charge(cost).outcomes[0]);
            assert_eq!(allowed(&outcomes), [true, false, false, true], "{algorithm}");
            assert_eq!(levels(&outcomes), [3; 4], "{algorithm}");
            // In shadow it counts as it would on its own.
            let shadow = stand.together(&[ONE.shadow(&client, &limit, Charge(1))]);
            assert_eq!(shadow[0].level, if over == Over::Record { 4 } else { 3 }, "{algorithm}");
        }
    }
}

/// Otherwise little of what is said here would be said of requests over several slots.
#[test]
fn the_counters_of_these_requests_are_in_different_slots() {
    let limit = limit(Algorithm::FixedWindow, 1, Over::Drop);
    for client in ["denied Record", "denied Drop", "shadow", "twice", "refunds"] {
        let slot = |subject: Subject| slot_of(CLUSTER.store.key_name(&subject.key(client, &limit), &limit));
        let slots = [ONE, TWO, THREE].map(slot);
        assert!(slots[0] != slots[1] && slots[1] != slots[2] && slots[0] != slots[2], "{client}: {slots:?}");
    }
}
