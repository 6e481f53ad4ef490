//! Anything in any order: each replica is at a revision that was, and all meet.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::line::{Line, Replica, amount, change, commit, memory};

/// Whatever happens in whatever order, each replica always has the rules of a revision that was, never goes back, and
/// in the end all have the newest.
#[test]
fn replicas_are_at_a_revision_that_was_and_meet() {
    for seed in 0..12 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(story(seed));
    }
}

const PATHS: [&str; 4] = ["a", "b=1", "b=2", "b=*"];

type Amounts = BTreeMap<&'static str, u64>;

async fn story(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let line = Line::to(memory(), seed.is_multiple_of(3));
    let behind = line.behind.lock().unwrap().clone();
    let poll = Duration::from_millis(3);
    let mut replicas: Vec<_> = (0..3).map(|_| (Replica::follow(&line, poll), 0)).collect();
    let mut history: Vec<Amounts> = vec![Amounts::new()];
    for _ in 0..120 {
        match random.u8(0..10) {
            0..5 => {
                let mut next = history.last().unwrap().clone();
                let mut changes = Vec::new();
                for path in PATHS {
                    if random.bool() {
                        let amount = random.bool().then(|| random.u64(1..1_000));
                        match amount {
                            Some(amount) => next.insert(path, amount),
                            None => next.remove(path),
                        };
                        changes.push(change(path, amount));
                    }
                }
                note(&mut history, next, commit(&behind, changes).await);
            }
            5 => {
                // Back to what some revision had.
                let then = history[random.usize(0..history.len())].clone();
                let changes = PATHS.iter().map(|path| change(path, then.get(path).copied())).collect();
                note(&mut history, then, commit(&behind, changes).await);
            }
            6 => line.cut(random.bool()),
            7 => {
                // A crash at whatever point it is at, and a new start.
                let crashed = random.usize(0..replicas.len());
                replicas[crashed] = (Replica::follow(&line, poll), 0);
            }
            // Lets replicas run, each to wherever it gets; nothing that is asserted depends on how long.
            _ => tokio::time::sleep(Duration::from_millis(random.u64(0..4))).await,
        }
        for (replica, seen) in &mut replicas {
            check(replica, seen, &history, seed);
        }
    }
    line.cut(false);
    for (replica, seen) in &mut replicas {
        replica.reaches(history.len() as u64 - 1).await;
        check(replica, seen, &history, seed);
        assert_eq!(*seen, history.len() as u64 - 1, "seed {seed}");
    }
}

/// A commit that changed nothing has no revision.
fn note(history: &mut Vec<Amounts>, next: Amounts, revision: u64) {
    if revision as usize == history.len() {
        history.push(next);
    }
}

fn check(replica: &Replica, seen: &mut u64, history: &[Amounts], seed: u64) {
    let state = replica.in_force.lock().unwrap().clone();
    let Some(head) = state.head else { return };
    let there: Amounts = PATHS.iter().filter_map(|path| Some((*path, amount(&state.rules, path)?))).collect();
    assert_eq!(there, history[head.revision.0 as usize], "seed {seed}, revision {}", head.revision);
    assert!(head.revision.0 >= *seen, "seed {seed}: back from {seen} to {}", head.revision);
    *seen = head.revision.0;
}
