use super::saved::{from_bytes, to_bytes};
use super::*;
use crate::anomaly::features::list::COUNT;
use crate::anomaly::model::saved::LoadError;
use crate::anomaly::model::schema::{Feature as Column, FeatureSchema};
use crate::anomaly::observation::Observation;

/// What people do: some are fast, some write, some are regular, but nobody is all of it.
fn calm(random: &mut fastrand::Rng) -> Vector {
    let mut vector = [f64::NAN; COUNT];
    let mut set = |feature: Feature, value: f64| vector[feature.index()] = value;
    let kind = random.u8(..10);
    let noise = random.f64();
    set(Feature::Rate10s, if kind == 0 { 2.5 + noise } else { 0.5 + noise });
    set(Feature::Paths, if kind == 0 { 3.0 } else { 10.0 + 10.0 * random.f64() });
    set(Feature::Regularity, if kind == 1 { 0.6 + 0.2 * noise } else { 0.4 * noise });
    set(Feature::Writes, if kind == 2 { 0.6 + 0.2 * noise } else { 0.3 * noise });
    set(Feature::Concentration, if kind == 3 { 0.6 + 0.2 * noise } else { 0.4 * noise });
    vector
}

fn vectors(seed: u64, count: usize) -> Vec<Vector> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..count).map(|_| calm(&mut random)).collect()
}

/// Each of it is known of calm clients; together it is not.
fn together() -> Vector {
    let mut vector = [f64::NAN; COUNT];
    for (feature, value) in [
        (Feature::Rate10s, 3.0),
        (Feature::Paths, 15.0),
        (Feature::Regularity, 0.7),
        (Feature::Writes, 0.7),
        (Feature::Concentration, 0.7),
    ] {
        vector[feature.index()] = value;
    }
    vector
}

fn job(vectors: Vec<Vector>) -> TrainingJob {
    TrainingJob { domain: "edge".into(), vectors, labels: Vec::new(), number: 1, at: Micros::from_secs(7), seed: 3 }
}

fn trained(vectors: Vec<Vector>) -> Models {
    job(vectors).run().into_models().unwrap()
}

#[test]
fn what_is_strange_only_together_is_seen_and_explained() {
    let models = trained(vectors(1, 2_000));
    let usual = vectors(2, 1_000);
    let strange = usual.iter().filter(|vector| models.rarity(vector) > 4.0).count();
    assert!(strange <= 2, "{strange} of 1000 calm ones");
    assert!(models.rarity(&together()) > 4.0, "{}", models.rarity(&together()));
    let mut one = usual[0];
    one[Feature::Writes.index()] = 0.7;
    assert!(models.rarity(&one) < 4.0, "one of it is not strange: {}", models.rarity(&one));
    let reasons = models.reasons(&together(), 4);
    assert!(reasons.len() >= 2, "{reasons:?}");
    let known = [Feature::Rate10s, Feature::Regularity, Feature::Writes, Feature::Concentration, Feature::Paths];
    assert!(reasons.iter().all(|reason| known.contains(reason)), "{reasons:?}");
}

#[test]
fn the_same_job_gives_the_same_models() {
    let bytes = || to_bytes([("edge", &trained(vectors(4, 600)))].into_iter());
    assert!(bytes() == bytes());
}

/// A client that gives as much as it may of what it is about to do is found as before, or nearly.
#[test]
fn one_client_teaches_little() {
    let honest = vectors(5, 2_000);
    let mut poisoned = honest.clone();
    poisoned.extend([together(); 8]);
    let (before, after) = (trained(honest), trained(poisoned));
    let (rarity, poisoned) = (before.rarity(&together()), after.rarity(&together()));
    assert!(rarity - poisoned < 2.5, "{rarity} {poisoned}");
    let worst =
        vectors(6, 500).iter().map(|vector| (before.rarity(vector) - after.rarity(vector)).abs()).fold(0.0, f64::max);
    assert!(worst < 2.5, "and others are scored about as before: {worst}");
}

#[test]
fn enough_labels_move_scores_and_fewer_do_not() {
    let labels = |each: usize| {
        let mut labels: Vec<(Vector, bool)> = vectors(7, each).into_iter().map(|vector| (vector, true)).collect();
        labels.extend((0..each).map(|_| (together(), false)));
        labels
    };
    let with = |each| TrainingJob { labels: labels(each), ..job(vectors(8, 1_000)) }.run().into_models().unwrap();
    let (without, few, enough) = (with(0), with(19), with(20));
    assert_eq!((few.version().labels, enough.version().labels), (0, 40));
    assert!((few.rarity(&together()) - without.rarity(&together())).abs() < 1e-9);
    assert!(enough.rarity(&together()) < without.rarity(&together()) - 0.5, "people dismissed what is like it");
}

#[test]
fn saved_models_are_the_same_and_others_are_refused() {
    let models = trained(vectors(9, 600));
    let bytes = to_bytes([("edge", &models)].into_iter());
    let mut found = from_bytes(&bytes).unwrap();
    let (name, loaded) = found.remove(0);
    assert_eq!((name.as_str(), loaded.version()), ("edge", models.version()));
    assert_eq!(loaded.rarity(&together()).to_bits(), models.rarity(&together()).to_bits());

    assert_eq!(from_bytes(b"something else").unwrap_err(), ModelsError::NotModels);
    let mut later = bytes.clone();
    later[4] = 9;
    assert_eq!(from_bytes(&later).unwrap_err(), ModelsError::Version { found: 9 });
    for at in [6, 40, bytes.len() / 2, bytes.len() - 1] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        assert!(matches!(from_bytes(&damaged), Err(ModelsError::Damaged(_))), "at {at}");
    }
    for end in [0, 3, 5, 20, bytes.len() - 1] {
        assert!(from_bytes(&bytes[..end]).is_err(), "up to {end}");
    }

    // As a Tidegate with another feature would have saved them.
    let ours = schema();
    let renamed = |column: &Column| Column { name: format!("{}!", column.name).into(), ..column.clone() };
    let other = FeatureSchema::new(ours.features().iter().map(renamed));
    let matrix = matrix(vectors(9, 600).iter()).unwrap();
    let ensemble = Ensemble::fit(&matrix, &other, &EnsembleSettings::default(), 1).unwrap();
    let foreign = to_bytes([("edge", &Models { ensemble, ..models })].into_iter());
    let refused = ModelsError::Domain { domain: "edge".into(), error: LoadError::OtherFeatures };
    assert_eq!(from_bytes(&foreign).unwrap_err(), refused);
    let mut engine = Engine::default();
    assert_eq!(engine.load_models(&foreign), Err(refused));
    assert_eq!(engine.versions().count(), 0);
}

fn see(engine: &mut Engine, domain: &str, at: Micros) {
    engine.observe(&Observation { at, domain, ..Observation::default() });
    engine.tick(at);
}

#[test]
fn models_without_a_domain_serve_each_until_it_has_its_own() {
    let mut engine = Engine::default();
    let (one, two) = (trained(vectors(9, 600)), trained(vectors(10, 700)));
    see(&mut engine, "before", Micros::from_secs(1_000));
    engine.load_models(&to_bytes([("", &one), ("named", &two)].into_iter())).unwrap();
    for domain in ["after", "named"] {
        see(&mut engine, domain, Micros::from_secs(1_001));
    }
    let mut found: Vec<_> = engine.versions().map(|(name, version)| (name.to_owned(), version.vectors)).collect();
    found.sort();
    assert_eq!(found, [("after".into(), 600), ("before".into(), 600), ("named".into(), 700)]);
    // What is saved is loaded again.
    let mut again = Engine::default();
    again.load_models(&engine.models()).unwrap();
    see(&mut again, "named", Micros::from_secs(1_002));
    assert_eq!(again.versions().map(|(_, version)| version.vectors).collect::<Vec<_>>(), [700]);
}

#[test]
fn training_is_due_with_enough_and_then_every_five_minutes() {
    let mut engine = Engine::default();
    let at = |seconds: u64| Micros::from_secs(10_000 + seconds);
    let learn = |engine: &mut Engine, count: u64| {
        let population = &mut engine.domains.get_mut("edge").unwrap().calm.population;
        let mut random = fastrand::Rng::with_seed(count);
        for client in 0..count {
            population.learn(at(0), population.learned() * 10_000 + client, calm(&mut random), Micros::ZERO);
        }
    };
    assert!(engine.training().is_none(), "nothing was seen");
    see(&mut engine, "edge", at(0));
    learn(&mut engine, 511);
    assert!(engine.training().is_none(), "one is missing");
    learn(&mut engine, 1);
    let first = engine.training().unwrap();
    assert_eq!((first.number, first.vectors.len()), (1, 512));
    assert!(engine.training().is_none(), "it is under way");
    engine.trained(first.run());
    assert_eq!(engine.versions().next().unwrap().1.number, 1);

    learn(&mut engine, 100);
    see(&mut engine, "edge", at(299));
    assert!(engine.training().is_none(), "too early");
    see(&mut engine, "edge", at(301));
    let lost = engine.training().unwrap();
    assert_eq!(lost.number, 2);
    // It never comes back; after two minutes there is another, when there is something new.
    learn(&mut engine, 100);
    see(&mut engine, "edge", at(650));
    let third = engine.training().unwrap();
    assert_eq!(third.number, 3);
    engine.trained(third.run());
    // One that is overtaken does not take the place of a later one.
    engine.trained(lost.run());
    assert_eq!(engine.versions().next().unwrap().1.number, 3);
    // Nothing new: no training.
    see(&mut engine, "edge", at(2_000));
    assert!(engine.training().is_none());
    // What fails leaves the old ones.
    engine.trained(TrainingJob { number: 9, ..job(vectors(1, 3)) }.run());
    assert_eq!(engine.versions().next().unwrap().1.number, 3);
}
