//! Many tasks at once.

use std::sync::Arc;

use tidegate::core::algorithm::Outcome;
use tidegate::core::descriptor::Operation::{Charge, Refund};
use tidegate::core::limit::{Algorithm, Limit, Over};
use tidegate::core::spec;
use tidegate::counters::{CounterStore, Hit};

use crate::stand::Stand;
use crate::subject::{OVERS, Subject, allowed, limit};

const TASKS: usize = 16;

/// Allowed, or not, of each hit.
async fn perform<S: CounterStore>(store: &S, hits: &[Hit<'_>], charge: spec::Charge) -> Vec<bool> {
    allowed(&store.perform(hits, charge, None).await.unwrap().outcomes)
}

pub fn one_counter_is_exact<S: CounterStore>(stand: &Stand<S>) {
    const SUBJECT: Subject = Subject::new("one", "user");
    for algorithm in Algorithm::ALL {
        let limit = Arc::new(limit(algorithm, 200, Over::Drop));
        let passed = stand.in_tasks(TASKS, |_| {
            let (store, limit) = (stand.store, Arc::clone(&limit));
            async move {
                let mut passed = 0;
                for _ in 0..25 {
                    let hits = [SUBJECT.hit("a", &limit, Charge(1))];
                    passed += usize::from(perform(store, &hits, spec::Charge::Independent).await[0]);
                }
                passed
            }
        });
        assert_eq!(passed.iter().sum::<usize>(), 200, "{algorithm}");
        assert_eq!(stand.level(&SUBJECT.key("a", &limit), &limit), 200, "{algorithm}");
    }
}

/// Different costs, so that what fits depends on the order; whatever the order was, it adds up.
pub fn many_counters_are_exact<S: CounterStore>(stand: &Stand<S>) {
    const SUBJECT: Subject = Subject::new("many", "user");
    const COUNTERS: usize = 40;
    let limits: Arc<Vec<Limit>> =
        Arc::new((0..COUNTERS).map(|counter| limit(Algorithm::ALL[counter % 5], 30, Over::Drop)).collect());
    let names: Arc<Vec<String>> = Arc::new((0..COUNTERS).map(|counter| counter.to_string()).collect());
    let passed = stand.in_tasks(TASKS, |task| {
        let (store, limits, names) = (stand.store, Arc::clone(&limits), Arc::clone(&names));
        async move {
            let mut random = fastrand::Rng::with_seed(task as u64);
            let mut passed = vec![0; COUNTERS];
            for round in 0..2 {
                let mut order: Vec<usize> = (0..COUNTERS).collect();
                random.shuffle(&mut order);
                for chosen in order.chunks(4) {
                    let cost = 1 + round;
                    let hit = |&counter: &usize| SUBJECT.hit(&names[counter], &limits[counter], Charge(cost));
                    let hits: Vec<_> = chosen.iter().map(hit).collect();
                    let verdicts = perform(store, &hits, spec::Charge::Independent).await;
                    for (&counter, allowed) in chosen.iter().zip(verdicts) {
                        passed[counter] += if allowed { cost } else { 0 };
                    }
                }
            }
            passed
        }
    });
    for counter in 0..COUNTERS {
        let total: u64 = passed.iter().map(|passed| passed[counter]).sum();
        let limit = &limits[counter];
        assert_eq!(stand.level(&SUBJECT.key(&names[counter], limit), limit), total, "{counter}");
        // At most the dearest hit did not fit.
        assert!((29..=30).contains(&total), "{counter}: {total}");
    }
}

pub fn charges_and_refunds_add_up<S: CounterStore>(stand: &Stand<S>) {
    const SUBJECT: Subject = Subject::new("adding up", "user");
    for algorithm in Algorithm::ALL {
        // Where everything fits, so that nothing is answered from memory.
        let limit = Arc::new(limit(algorithm, 10_000, Over::Record));
        stand.in_tasks(TASKS, |_| {
            let (store, limit) = (stand.store, Arc::clone(&limit));
            async move {
                for _ in 0..10 {
                    for operation in [Charge(3), Refund(2)] {
                        let hits = [SUBJECT.hit("a", &limit, operation)];
                        assert!(perform(store, &hits, spec::Charge::Independent).await[0]);
                    }
                }
            }
        });
        assert_eq!(stand.level(&SUBJECT.key("a", &limit), &limit), TASKS as u64 * 10, "{algorithm}");
    }
}

/// Of all who ask at once for the only one, one gets it.
pub fn a_bucket_of_one_admits_one<S: CounterStore>(stand: &Stand<S>) {
    const SUBJECT: Subject = Subject::new("only one", "user");
    for charge in [spec::Charge::Independent, spec::Charge::AllOrNothing] {
        for algorithm in Algorithm::ALL {
            for over in OVERS {
                let limit = Arc::new(limit(algorithm, 1, over));
                let client: Arc<str> = format!("{charge:?} {over:?}").into();
                let passed = stand.in_tasks(TASKS, |_| {
                    let (store, limit, client) = (stand.store, Arc::clone(&limit), Arc::clone(&client));
                    async move { perform(store, &[SUBJECT.hit(&client, &limit, Charge(1))], charge).await[0] }
                });
                assert_eq!(passed.iter().filter(|passed| **passed).count(), 1, "{algorithm} {client}");
            }
        }
    }
}

/// Requests with three of ten counters in any order, perhaps one of them twice. What was charged is what was admitted,
/// and no more than the limit.
pub fn overlapping_requests_are_charged_all_or_not_at_all<S: CounterStore>(stand: &Stand<S>) {
    const SUBJECT: Subject = Subject::new("overlapping", "user");
    const COUNTERS: usize = 10;
    const AMOUNT: u64 = 50;
    let limits: Arc<Vec<Limit>> =
        Arc::new((0..COUNTERS).map(|at| limit(Algorithm::ALL[at % 5], AMOUNT, OVERS[at % 2])).collect());
    let names: Arc<Vec<String>> = Arc::new((0..COUNTERS).map(|counter| counter.to_string()).collect());
    let charged = stand.in_tasks(TASKS, |task| {
        let (store, limits, names) = (stand.store, Arc::clone(&limits), Arc::clone(&names));
        async move {
            let mut random = fastrand::Rng::with_seed(task as u64);
            let mut charged = [0_u64; COUNTERS];
            for _ in 0..20 {
                let chosen = [(); 3].map(|()| random.usize(..COUNTERS));
                let hits = chosen.map(|counter| SUBJECT.hit(&names[counter], &limits[counter], Charge(1)));
                let outcomes = store.perform(&hits, spec::Charge::AllOrNothing, None).await.unwrap().outcomes;
                if outcomes.iter().all(Outcome::allowed) {
                    chosen.iter().for_each(|&counter| charged[counter] += 1);
                }
            }
            charged
        }
    });
    for counter in 0..COUNTERS {
        let total: u64 = charged.iter().map(|charged| charged[counter]).sum();
        let limit = &limits[counter];
        assert!(total <= AMOUNT, "{total} on {counter}");
        assert_eq!(stand.level(&SUBJECT.key(&names[counter], limit), limit), total, "{counter}: all or nothing");
    }
    // Demand was twice what there is. Those that were used up denied the others; a hold of others, too.
    let least = if stand.holds() { 150 } else { 250 };
    assert!(charged.iter().flatten().sum::<u64>() > least, "{charged:?}");
}
