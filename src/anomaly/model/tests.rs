use std::sync::LazyLock;

use proptest::prelude::*;

use super::calibration::{Calibration, score};
use super::ensemble::{Ensemble, EnsembleSettings};
use super::neighbours::{NeighbourSettings, Neighbours};
use super::reconstruction::Reconstruction;
use super::saved::LoadError;
use super::scaling::Scaling;
use super::schema::{Feature, FeatureSchema};
use super::vectors::Vectors;
use super::*;

fn schema() -> FeatureSchema {
    let feature = |name: &'static str| Feature { name: name.into(), least_spread: 0.0 };
    FeatureSchema::new(["rate", "bytes", "paths", "denied"].map(feature))
}

fn normal(rng: &mut fastrand::Rng) -> f64 {
    (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0
}

/// Calm traffic: bytes go with the rate, denials are rare.
fn calm(count: usize, seed: u64) -> Vectors {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut vectors = Vectors::new(4);
    for _ in 0..count {
        let rate = normal(&mut rng);
        let denied = if rng.f64() < 0.02 { rng.f64() } else { 0.0 };
        let row = [10.0 + 2.0 * rate, 1e4 + 3e3 * (rate + 0.2 * normal(&mut rng)), 5.0 + normal(&mut rng), denied];
        vectors.push(&row).unwrap();
    }
    vectors
}

fn fit(vectors: &Vectors, seed: u64) -> Ensemble {
    Ensemble::fit(vectors, &schema(), &EnsembleSettings::default(), seed).unwrap()
}

static TRAINED: LazyLock<Ensemble> = LazyLock::new(|| fit(&calm(4_000, 1), 1));

const USUAL: [f64; 4] = [10.0, 1e4, 5.0, 0.0];

#[test]
fn the_fused_score_is_rare_in_calm_traffic_as_often_as_it_says() {
    for seed in [11, 12, 13] {
        let ensemble = fit(&calm(8_000, seed), seed);
        let others = calm(8_000, seed + 100);
        let scores: Vec<f64> = others.rows().map(|row| ensemble.score(row).fused).collect();
        let share = |least: f64| scores.iter().filter(|&&score| score >= least).count() as f64 / scores.len() as f64;
        // One in ten, one in a hundred, one in a thousand.
        assert!((0.08..0.12).contains(&share(score(1.0))), "seed {seed}: {}", share(score(1.0)));
        assert!((0.005..0.02).contains(&share(score(2.0))), "seed {seed}: {}", share(score(2.0)));
        assert!(share(score(3.0)) < 0.004, "seed {seed}: {}", share(score(3.0)));
        assert!(share(score(6.0)) < 0.000_3, "seed {seed}: {}", share(score(6.0)));
    }
}

#[test]
fn each_kind_of_strangeness_is_seen_and_named() {
    assert!(TRAINED.score(&USUAL).fused < 0.25, "{:?}", TRAINED.score(&USUAL));
    // Beyond all that was seen, in one feature; also where forests see no further.
    for (feature, value) in [(0, 1e3), (1, 1e9), (2, -1e6), (3, 1e2)] {
        let mut vector = USUAL;
        vector[feature] = value;
        assert!(TRAINED.score(&vector).fused > 0.55, "feature {feature}: {:?}", TRAINED.score(&vector));
        let shares = TRAINED.explain(&vector);
        let most = (0..4).max_by(|&a, &b| shares[a].total_cmp(&shares[b]));
        assert_eq!(most, Some(feature), "{shares:?}");
    }
    // Each value usual, together not: a high rate with few bytes instead of many.
    let (kept, broken) = ([13.0, 1.45e4, 5.0, 0.0], [13.0, 5.5e3, 5.0, 0.0]);
    let [kept_scores, broken_scores] = [kept, broken].map(|vector| TRAINED.score(&vector));
    assert!(broken_scores.fused > kept_scores.fused + 0.05, "{broken_scores:?} and {kept_scores:?}");
    assert!(broken_scores.parts[2].score > kept_scores.parts[2].score + 0.05, "{broken_scores:?} and {kept_scores:?}");
    let shares = TRAINED.explain(&broken);
    assert!(shares[0] + shares[1] > 0.8, "{shares:?}");
}

#[test]
fn further_out_is_never_less_strange_to_those_that_see_it() {
    let scores: Vec<f64> = (0..9).map(|n| TRAINED.score(&[10.0 + 10_f64.powi(n), 1e4, 5.0, 0.0]).fused).collect();
    assert!(scores.is_sorted(), "{scores:?}");
    assert!(scores[8] > 0.8, "{scores:?}");
}

#[test]
fn a_few_extreme_training_vectors_do_not_hide_what_is_strange() {
    let mut vectors = calm(4_000, 5);
    (0..12).for_each(|_| vectors.push(&[1e12, 1e15, 1e9, 1e9]).unwrap());
    let score = fit(&vectors, 5).score(&[40.0, 1e4, 5.0, 0.0]);
    assert!(score.fused > 0.42, "{score:?}");
}

#[test]
fn the_same_vectors_and_seed_give_the_same_models() {
    let vectors = calm(600, 2);
    assert_eq!(fit(&vectors, 3).to_bytes(), fit(&vectors, 3).to_bytes());
    assert_ne!(fit(&vectors, 3).to_bytes(), fit(&vectors, 4).to_bytes());
}

#[test]
fn models_can_be_shared_between_threads() {
    const fn shared<T: Send + Sync>() {}
    shared::<Ensemble>();
}

#[test]
fn training_says_what_is_wrong() {
    let fit = |vectors: &Vectors| {
        Ensemble::fit(vectors, &schema(), &EnsembleSettings::default(), 1).map(|_| ()).unwrap_err().to_string()
    };
    assert_eq!(fit(&calm(199, 1)), "199 training vectors, at least 200 are needed");
    assert_eq!(fit(&Vectors::new(3)), "a vector of 3 features among vectors of 4");
    assert_eq!(Vectors::new(2).push(&[1.0]).unwrap_err().to_string(), "a vector of 1 features among vectors of 2");
}

#[test]
fn training_vectors_without_any_difference_or_any_number_are_borne() {
    for value in [7.0, f64::NAN, f64::INFINITY, f64::MAX] {
        let mut vectors = Vectors::new(4);
        (0..300).for_each(|_| vectors.push(&[value; 4]).unwrap());
        let score = fit(&vectors, 1).score(&[value; 4]);
        assert!((0.0..0.1).contains(&score.fused), "{value}: {score:?}");
    }
}

fn anything() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        -100.0..100.0,
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(f64::MIN_POSITIVE),
    ]
}

proptest! {
    #[test]
    fn whatever_a_vector_holds_scores_and_shares_are_within_their_range(
        vector in proptest::collection::vec(anything(), 0..7)
    ) {
        let scored = TRAINED.score(&vector);
        prop_assert!((0.0..=1.0).contains(&scored.fused));
        prop_assert!(scored.parts.iter().all(|part| (0.0..=1.0).contains(&part.score)));
        let shares = TRAINED.explain(&vector);
        prop_assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        prop_assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)));
    }

    #[test]
    fn a_rarity_never_falls_where_the_measure_rises(
        calm in proptest::collection::vec(prop_oneof![any::<f64>(), -9.0..9.0, Just(1.0)], 0..300),
        (low, high) in (any::<f64>(), any::<f64>()).prop_filter("numbers", |(a, b)| !(a.is_nan() || b.is_nan()))
    ) {
        let calibration = Calibration::fit(calm);
        let (low, high) = (calibration.rarity(low.min(high)), calibration.rarity(low.max(high)));
        prop_assert!(low <= high, "{low} and {high}");
        prop_assert!((0.0..=300.0).contains(&low) && (0.0..=300.0).contains(&high));
    }
}

#[test]
fn a_rarity_is_the_share_of_calm_vectors_and_goes_on_as_their_tail_does() {
    let mut rng = fastrand::Rng::with_seed(1);
    // Measures of which e^-x are above x.
    let calibration = Calibration::fit((0..20_000).map(|_| -(1.0 - rng.f64()).ln()).collect());
    for (rarity, allowed) in [(1.0, 0.05), (2.0, 0.1), (3.0, 0.3), (6.0, 1.0), (12.0, 3.0)] {
        let found = calibration.rarity(rarity * std::f64::consts::LN_10);
        assert!((found - rarity).abs() < allowed, "{found} for {rarity}");
    }
    assert_eq!(calibration.rarity(-1.0), 0.0);
    assert_eq!([0.0, 3.0, 6.0].map(score), [0.0, 0.5, 2.0 / 3.0]);
    // Nothing but one value: that is usual, and more was never seen.
    let constant = Calibration::fit(vec![1.0; 50]);
    assert_eq!((constant.rarity(1.0), constant.rarity(1.1)), (0.0, 300.0));
}

#[test]
fn scaling_follows_the_many_and_bears_the_few() {
    let schema = FeatureSchema::new([
        Feature { name: "varies".into(), least_spread: 0.0 },
        Feature { name: "hardly varies".into(), least_spread: 0.5 },
        Feature { name: "seldom varies".into(), least_spread: 0.0 },
    ]);
    let mut vectors = Vectors::new(3);
    for n in 0..1_000 {
        let far = if n < 5 { 1e15 } else { 0.0 };
        let seldom = if n % 50 == 0 { 7.0 } else { 0.0 };
        vectors.push(&[f64::from(n % 101) + far, 3.0 + 1e-9 * f64::from(n), seldom]).unwrap();
    }
    let scaling = Scaling::fit(&vectors, &schema);
    let scaled = scaling.scale(&[50.0, 3.5, 7.0]);
    assert!(scaled[0].abs() < 0.1, "{scaled:?}");
    assert!((scaled[1] - 1.0).abs() < 0.01, "{scaled:?}");
    // Every fiftieth is 7, so the root mean square is 7 / sqrt(50).
    assert!((scaled[2] - 50_f64.sqrt()).abs() < 0.1, "{scaled:?}");
    assert_eq!(scaling.scale(&[f64::NAN, f64::INFINITY]).to_vec(), [0.0, 1e6, 0.0]);
}

#[test]
fn the_distance_is_the_mean_of_the_nearest() {
    let mut vectors = Vectors::new(2);
    [[0.0, 0.0], [3.0, 4.0], [0.0, 2.0], [50.0, 0.0]].iter().for_each(|row| vectors.push(row).unwrap());
    let near = Neighbours::fit(&vectors, NeighbourSettings { references: 4, count: 3 });
    assert!((near.score(&[0.0, 0.0]) - (7.0_f64 / 3.0).ln_1p()).abs() < 1e-6);
    let nearest = Neighbours::fit(&vectors, NeighbourSettings { references: 2, count: 1 });
    assert!((nearest.score(&[0.0, 2.0]) - 2.0_f64.ln_1p()).abs() < 1e-6);
    let mut shares = [0.0; 2];
    nearest.explain(&[1.0, -2.0], &mut shares);
    assert!((shares[0] - 0.2).abs() < 1e-6 && (shares[1] - 0.8).abs() < 1e-6, "{shares:?}");
}

#[test]
fn what_breaks_a_usual_relation_is_left_over() {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut vectors = Vectors::new(2);
    for _ in 0..500 {
        let value = normal(&mut rng);
        vectors.push(&[value, value + 0.1 * normal(&mut rng)]).unwrap();
    }
    let model = Reconstruction::fit(&vectors).unwrap();
    let (kept, broken) = (model.score(&[2.0, 2.0]), model.score(&[2.0, -2.0]));
    // By hand: the variances are about 2 and 0.005, so 8 / 3 and 8 / 1.005 are left.
    assert!((kept.exp_m1() - (8_f64 / 3.0).sqrt()).abs() < 0.2, "{kept}");
    assert!((broken.exp_m1() - (8_f64 / 1.005).sqrt()).abs() < 0.2, "{broken}");
}

/// Strange vectors with a high rate that people confirmed, and strange ones with many paths that they dismissed.
fn answers(of_a_kind: usize) -> (Vectors, Vec<bool>) {
    let mut rng = fastrand::Rng::with_seed(9);
    let mut vectors = Vectors::new(4);
    let mut confirmed = Vec::new();
    for n in 0..2 * of_a_kind {
        let much = 4.0 + 2.0 * rng.f64();
        let row = if n % 2 == 0 { [10.0 + 2.0 * much, 1e4, 5.0, 0.0] } else { [10.0, 1e4, 5.0 + much, 0.0] };
        vectors.push(&row).unwrap();
        confirmed.push(n % 2 == 0);
    }
    (vectors, confirmed)
}

#[test]
fn labels_move_what_is_like_them() {
    let (vectors, confirmed) = answers(40);
    let without = fit(&calm(2_000, 3), 3);
    let with = fit(&calm(2_000, 3), 3).with_labels(&vectors, &confirmed, 1).unwrap();
    let (fast, wide) = ([20.0, 1e4, 5.0, 0.0], [10.0, 1e4, 10.0, 0.0]);
    assert!(with.score(&fast).confirmed.unwrap() > 0.9 && with.score(&wide).confirmed.unwrap() < 0.1);
    assert!(with.score(&fast).fused > without.score(&fast).fused);
    assert!(with.score(&wide).fused < without.score(&wide).fused);
    // What is usual stays usual, without asking.
    assert_eq!(with.score(&USUAL), without.score(&USUAL));
}

#[test]
fn too_few_labels_teach_nothing_and_contradictory_ones_little() {
    let (vectors, confirmed) = answers(19);
    let fast = [20.0, 1e4, 5.0, 0.0];
    let few = fit(&calm(2_000, 3), 3).with_labels(&vectors, &confirmed, 1).unwrap();
    assert_eq!(few.score(&fast).confirmed, None);
    let error = few.with_labels(&vectors, &confirmed[1..], 1).unwrap_err();
    assert_eq!(error.to_string(), "37 labels for 38 vectors");

    let (vectors, _) = answers(200);
    let mut rng = fastrand::Rng::with_seed(3);
    let random: Vec<bool> = (0..400).map(|_| rng.bool()).collect();
    let probability =
        fit(&calm(2_000, 3), 3).with_labels(&vectors, &random, 1).unwrap().score(&fast).confirmed.unwrap();
    assert!((0.25..0.75).contains(&probability), "{probability}");
}

#[test]
fn saved_models_score_as_before() {
    let (vectors, confirmed) = answers(30);
    let ensemble = fit(&calm(2_000, 3), 3).with_labels(&vectors, &confirmed, 1).unwrap();
    let bytes = ensemble.to_bytes().unwrap();
    let loaded = Ensemble::from_bytes(&bytes, &schema()).unwrap();
    for row in calm(50, 4).rows().chain(vectors.rows()) {
        assert_eq!(loaded.score(row), ensemble.score(row));
        assert_eq!(loaded.explain(row), ensemble.explain(row));
    }
    assert_eq!(loaded.to_bytes().unwrap(), bytes);
}

#[test]
fn saved_models_of_other_features_or_versions_are_refused() {
    let bytes = TRAINED.to_bytes().unwrap();
    let load = |bytes: &[u8], schema: &FeatureSchema| Ensemble::from_bytes(bytes, schema).map(|_| ()).unwrap_err();
    let mut renamed = schema().features().to_vec();
    renamed.swap(0, 1);
    assert_eq!(load(&bytes, &FeatureSchema::new(renamed)), LoadError::OtherFeatures);
    let mut later = bytes.clone();
    later[4] = 2;
    let error = load(&later, &schema());
    assert_eq!(error, LoadError::Version { found: 2 });
    assert!(error.to_string().contains("version 2") && error.to_string().contains("train them anew"), "{error}");
    assert_eq!(load(b"{}", &schema()), LoadError::NotModels);
    assert_eq!(load(b"", &schema()), LoadError::NotModels);
    // A header that lies of the features: what it covers is of another width.
    let three = FeatureSchema::new(schema().features()[..3].to_vec());
    let mut lying = bytes;
    lying[6..14].copy_from_slice(&three.fingerprint().to_le_bytes());
    assert!(matches!(load(&lying, &three), LoadError::Damaged(_)));
}

#[test]
fn damaged_models_are_refused() {
    let bytes = TRAINED.to_bytes().unwrap();
    for at in (0..46).chain((46..bytes.len()).step_by(9_973)) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        assert!(Ensemble::from_bytes(&damaged, &schema()).is_err(), "byte {at}");
        assert!(Ensemble::from_bytes(&bytes[..at], &schema()).is_err(), "cut at {at}");
    }
}
