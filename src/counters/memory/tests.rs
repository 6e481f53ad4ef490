use std::collections::HashMap;

use smallvec::smallvec;

use super::*;
use crate::core::clock::{ManualClock, Micros};
use crate::core::descriptor::Operation;
use crate::core::limit::{LimitParts, Window};
use crate::core::spec::FailureMode;
use crate::counters::CounterName;

fn limit(amount: u64) -> Limit {
    Limit::new(LimitParts::fixed_window(amount, Window::Length(Micros::SECOND))).unwrap()
}

#[test]
fn different_keys_have_different_fingerprints() {
    let fingerprints = Fingerprints::with_secret([1, 2]);
    let of = |space, values: &[&[u8]]| {
        fingerprints.of(&CounterKey { space, name: CounterName::default(), values: values.iter().copied().collect() })
    };
    let all = [
        of(1, &[]),
        of(2, &[]),
        of(1, &[b""]),
        of(1, &[b"", b""]),
        of(1, &[b"a", b"b"]),
        of(1, &[b"ab"]),
        of(1, &[b"ab", b""]),
        of(1, &[b"", b"ab"]),
        // What would be the same bytes if lengths were not part of them, or if they were texts.
        of(1, &[b"a\x01\0\0\0\0\0\0\0b"]),
        of(1, &[b"\0\0\0\0\0\0\0\0"]),
    ];
    for (index, fingerprint) in all.iter().enumerate() {
        assert!(!all[..index].contains(fingerprint), "number {index} is another's");
    }
    assert_eq!(fingerprints.of_space(1), of(1, &[]));
    assert_ne!(Fingerprints::with_secret([1, 3]).of_space(1), fingerprints.of_space(1));
    assert_ne!(Fingerprints::random().of_space(1), Fingerprints::random().of_space(1));
}

#[test]
fn shards_are_small_and_a_power_of_two() {
    for (most, count) in [(1, 1), (63, 1), (64, 1), (128, 2), (5_000, 64), (262_144, 64), (1_000_000, 256)] {
        assert_eq!(shard_count(most), count, "{most}");
    }
    let store = MemoryStore::with_secret(ManualClock::at(Micros::ZERO), MemoryOptions { max_counters: 1_001 }, [0; 2]);
    assert!((store.shards.len() - OVERFLOW_SHARDS).is_power_of_two());
}

/// A shard agrees with a map, whatever is added, removed and swept.
#[test]
fn a_shard_finds_what_it_holds() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut shard = Shard::new(500);
    let mut counts: HashMap<u64, (u64, u64)> = HashMap::new();
    let limit = limit(1_000_000);
    let mut now = Now { wall: Micros::ZERO, mono: Micros::ZERO };
    for step in 0..20_000_u64 {
        if random.u8(..) < 8 {
            let by = random.u64(..300_000);
            now = Now { wall: now.wall + Micros(by), mono: now.mono + Micros(by) };
        }
        let name = random.u64(..400);
        // Half of the keys in one slot of the index.
        let key = Fingerprint { high: name, low: if name.is_multiple_of(2) { 0 } else { name } };
        let window = now.wall.0 / 1_000_000;
        let count = counts.entry(name).or_default();
        *count = if count.0 == window { (window, count.1 + 1) } else { (window, 1) };
        let outcome = shard.apply(key, &limit, now, Operation::Charge(1), &[]).unwrap();
        assert_eq!(outcome.level, count.1, "step {step}, counter {name}");
        if step % 100 == 0 {
            let mut position = usize::MAX;
            while position > 0 {
                position = shard.sweep(position, 16, now);
            }
            let current = counts.values().filter(|(window, _)| *window == now.wall.0 / 1_000_000).count();
            assert_eq!(shard.len(), current, "step {step}: a sweep leaves the counters of this window");
        }
    }
    assert!(shard.tally.expired > 1_000);
}

#[test]
fn a_counter_takes_64_bytes_in_its_shard() {
    let store = MemoryStore::with_secret(ManualClock::at(Micros::ZERO), MemoryOptions::default(), [0; 2]);
    let empty = store.approximate_bytes();
    let limit = limit(10);
    for client in 0..50_000_u32 {
        let name = client.to_le_bytes();
        let key = CounterKey { space: 1, name: CounterName::default(), values: smallvec![&name[..]] };
        store.perform_now(
            &[Hit {
                key,
                limit: &limit,
                operation: Operation::Charge(1),
                enforced: true,
                failure_mode: FailureMode::Local,
            }],
            Charge::Independent,
        );
    }
    let each = (store.approximate_bytes() - empty) as f64 / 50_000.0;
    assert!((69.0..92.0).contains(&each), "{each} bytes each");
}
