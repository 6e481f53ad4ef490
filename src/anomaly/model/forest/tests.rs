use super::*;
use crate::anomaly::model::vectors::Vectors;

/// A dense ball around 0 in `width` dimensions.
fn ball(width: usize, count: usize, seed: u64) -> Vectors {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut vectors = Vectors::new(width);
    for _ in 0..count {
        let row: Vec<f64> = (0..width).map(|_| (0..4).map(|_| rng.f64() - 0.5).sum()).collect();
        vectors.push(&row).unwrap();
    }
    vectors
}

fn settings(level: usize) -> ForestSettings {
    ForestSettings { trees: 50, sample: 128, level }
}

#[test]
fn what_lies_apart_is_stranger_than_what_lies_within() {
    for seed in 0..5 {
        let vectors = ball(3, 1_000, seed);
        for level in 0..3 {
            let forest = Forest::fit(&vectors, settings(level), seed).unwrap();
            let (apart, within) = (forest.score(&[6.0, 0.1, -0.1]), forest.score(&[0.05, 0.1, -0.1]));
            assert!(apart > 0.5 && within < 0.45, "level {level}, seed {seed}: {apart} and {within}");
        }
    }
}

#[test]
fn the_same_seed_grows_the_same_forest() {
    let vectors = ball(3, 500, 1);
    for level in 0..3 {
        let forest = Forest::fit(&vectors, settings(level), 7).unwrap();
        assert_eq!(forest, Forest::fit(&vectors, settings(level), 7).unwrap());
        assert_ne!(forest, Forest::fit(&vectors, settings(level), 8).unwrap());
    }
}

#[test]
fn the_order_of_the_training_vectors_hardly_matters() {
    let vectors = ball(3, 2_000, 1);
    let backwards = vectors.select(&(0..vectors.len()).rev().collect::<Vec<_>>());
    for level in 0..3 {
        let forest = |vectors| Forest::fit(vectors, ForestSettings { level, ..ForestSettings::default() }, 1).unwrap();
        let (one, other) = (forest(&vectors), forest(&backwards));
        for point in [[0.0, 0.0, 0.0], [1.0, -0.5, 0.3], [4.0, 4.0, 4.0]] {
            let difference = (one.score(&point) - other.score(&point)).abs();
            assert!(difference < 0.06, "level {level}, {point:?}: {difference}");
        }
    }
}

#[test]
fn the_usual_length_is_that_of_an_unsuccessful_search() {
    assert_eq!(usual_length(0), 0.0);
    assert_eq!(usual_length(1), 0.0);
    assert_eq!(usual_length(2), 1.0);
    // 2 H(255) - 2 * 255 / 256, exactly.
    let harmonic: f64 = (1..=255).map(|i| 1.0 / f64::from(i)).sum();
    assert!((usual_length(256) - (2.0 * harmonic - 2.0 * 255.0 / 256.0)).abs() < 0.005);
}

#[test]
fn vectors_that_are_all_the_same_are_all_usual() {
    let mut vectors = Vectors::new(2);
    (0..100).for_each(|_| vectors.push(&[3.0, 5.0]).unwrap());
    for level in 0..2 {
        let forest = Forest::fit(&vectors, settings(level), 1).unwrap();
        assert!((forest.score(&[3.0, 5.0]) - 0.5).abs() < 1e-6);
    }
}

#[test]
fn two_vectors_are_parted_by_one_cut() {
    let mut vectors = Vectors::new(1);
    vectors.push(&[0.0]).unwrap();
    vectors.push(&[1.0]).unwrap();
    let forest = Forest::fit(&vectors, settings(0), 1).unwrap();
    assert_eq!(forest.height, 1);
    assert!(forest.offsets.iter().all(|offset| (0.0..1.0).contains(offset)));
    assert_eq!(forest.score(&[0.0]), 0.5);
}

#[test]
fn neighbours_that_floats_can_hardly_tell_are_parted_too() {
    let mut vectors = Vectors::new(1);
    let (low, high) = (1.0_f32, 1.0_f32.next_up());
    (0..64).for_each(|n| vectors.push(&[f64::from(if n % 2 == 0 { low } else { high })]).unwrap());
    let forest = Forest::fit(&vectors, settings(0), 1).unwrap();
    assert!(forest.offsets.iter().filter(|offset| offset.is_finite()).all(|&offset| offset == low));
}

#[test]
fn features_that_do_not_vary_are_not_cut() {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut vectors = Vectors::new(3);
    (0..500).for_each(|_| vectors.push(&[1.0, rng.f64(), 2.0]).unwrap());
    for level in 0..3 {
        let forest = Forest::fit(&vectors, settings(level), 1).unwrap();
        let used = forest.weights.iter().zip(&forest.features).filter(|(weight, _)| **weight != 0.0);
        assert!(used.into_iter().all(|(_, &feature)| feature == 1), "level {level}");
    }
}

#[test]
fn the_planted_feature_has_the_largest_share() {
    let vectors = ball(5, 1_000, 3);
    for level in 0..4 {
        let forest = Forest::fit(&vectors, settings(level), 3).unwrap();
        let mut shares = [0.0; 5];
        forest.explain(&[0.1, 0.0, -0.1, 5.0, 0.0], &mut shares);
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        assert!(shares[3] > 0.6, "level {level}: {shares:?}");
    }
}

#[test]
fn settings_beyond_their_range_are_brought_into_it() {
    let vectors = ball(2, 50, 1);
    let forest = Forest::fit(&vectors, ForestSettings { trees: 0, sample: usize::MAX, level: 9 }, 1).unwrap();
    assert_eq!((forest.trees(), forest.terms, forest.height), (1, 2, 6));
    assert!(forest.is_sound(2));
    assert!(!forest.is_sound(3));
    let error = Forest::fit(&ball(2, 1, 1), settings(0), 1).unwrap_err();
    assert_eq!(error.to_string(), "1 training vectors, at least 2 are needed");
}
