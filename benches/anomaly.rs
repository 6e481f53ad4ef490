//! How well do the models of calm traffic find anomalies in public data, seed by seed, and how fast are they?
//!
//! `cargo bench --bench anomaly -- [--seeds N] [--json FILE]`: N seeds from 1 on (30 by default; eight times as many for
//! the small set), each model trained and scored on all rows without their labels. The file gets the figures of each seed;
//! `scripts/compare-forests` lays them beside scikit-learn's. `benches/data/README.md` says where the data come from.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;
use std::fs::File;
use std::hint::black_box;
use std::io::{BufRead, BufReader};
use std::path::Path;

use flate2::read::GzDecoder;
use tidegate::anomaly::model::Model;
use tidegate::anomaly::model::ensemble::{Ensemble, EnsembleSettings};
use tidegate::anomaly::model::forest::{Forest, ForestSettings};
use tidegate::anomaly::model::neighbours::{NeighbourSettings, Neighbours};
use tidegate::anomaly::model::reconstruction::Reconstruction;
use tidegate::anomaly::model::scaling::Scaling;
use tidegate::anomaly::model::schema::{Feature, FeatureSchema};
use tidegate::anomaly::model::vectors::Vectors;

/// Data sets. On `satellite` AUC differs by 1.6 points from seed to seed: eight times the seeds tell forests apart that
/// differ by half a point. It has few rows.
const SETS: [(&str, u64); 2] = [("satellite", 8), ("http", 1)];
const MODELS: [&str; 6] = ["plain", "extended(1)", "extended(2)", "neighbours", "reconstruction", "fused"];
/// The models whose strangest view is the fused score.
const FUSED: [usize; 3] = [1, 3, 4];

/// A data set. Equal rows get equal scores, so each kind of row is scored once.
struct Data {
    vectors: Vectors,
    /// The different rows among them ...
    distinct: Vectors,
    /// ... and how many of each are anomalies and how many are not.
    counts: Vec<(f64, f64)>,
}

/// Area under the ROC curve, and average precision.
#[derive(Clone, Copy)]
struct Figures {
    auc: f64,
    precision: f64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1));
    let seeds: u64 = value("--seeds").map_or(30, |seeds| seeds.parse().expect("--seeds takes a number"));
    let mut json = serde_json::Map::new();
    for (name, times) in SETS {
        let data = load(name);
        let runs: Vec<Vec<Figures>> = (1..=seeds * times).map(|seed| run(&data, seed)).collect();
        print_table(name, data.vectors.len(), &runs);
        for (model, title) in MODELS.iter().enumerate() {
            let column = |figure: fn(&Figures) -> f64| runs.iter().map(|run| figure(&run[model])).collect::<Vec<_>>();
            let figures = serde_json::json!({ "auc": column(|f| f.auc), "precision": column(|f| f.precision) });
            json.insert(format!("{name}/{title}"), figures);
        }
    }
    if let Some(file) = value("--json") {
        std::fs::write(file, serde_json::to_string_pretty(&json).unwrap()).unwrap();
    }
    print_speed();
}

/// One seed: the figures of each of [`MODELS`].
fn run(data: &Data, seed: u64) -> Vec<Figures> {
    let schema = schema(data.vectors.width());
    let scaling = Scaling::fit(&data.vectors, &schema);
    let mut order: Vec<usize> = (0..data.vectors.len()).collect();
    let mut rng = fastrand::Rng::with_seed(seed);
    rng.shuffle(&mut order);
    let mut shuffled = Vectors::new(data.vectors.width());
    order.iter().for_each(|&row| shuffled.push(&scaling.scale(data.vectors.row(row))).unwrap());
    let distinct = scaling.scale_all(data.distinct.clone());

    let mut forest =
        |level| Forest::fit(&shuffled, ForestSettings { level, ..ForestSettings::default() }, rng.u64(..)).unwrap();
    let models: [Box<dyn Model>; 5] = [
        Box::new(forest(0)),
        Box::new(forest(1)),
        Box::new(forest(2)),
        Box::new(Neighbours::fit(&shuffled, NeighbourSettings::default())),
        Box::new(Reconstruction::fit(&shuffled).unwrap()),
    ];
    let ensemble = Ensemble::fit(&data.vectors, &schema, &EnsembleSettings::default(), seed).unwrap();
    let alone = models.iter().map(|model| distinct.rows().map(|row| model.score(row)).collect::<Vec<_>>());
    let fused = data.distinct.rows().map(|row| ensemble.score(row).fused).collect();
    alone.chain([fused]).map(|scores| figures(&scores, &data.counts)).collect()
}

/// Equal scores count as one threshold, as scikit-learn does it.
fn figures(scores: &[f64], counts: &[(f64, f64)]) -> Figures {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let positives: f64 = counts.iter().map(|count| count.0).sum();
    let negatives: f64 = counts.iter().map(|count| count.1).sum();
    let (mut found, mut wrong, mut auc, mut precision) = (0.0, 0.0, 0.0, 0.0);
    for equal in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
        let right: f64 = equal.iter().map(|&row| counts[row].0).sum();
        let others: f64 = equal.iter().map(|&row| counts[row].1).sum();
        auc += others * (found + right / 2.0);
        found += right;
        wrong += others;
        precision += right / positives * found / (found + wrong);
    }
    Figures { auc: auc / positives / negatives, precision }
}

fn print_table(name: &str, rows: usize, runs: &[Vec<Figures>]) {
    println!("\n{name}: {rows} rows, {} seeds; mean ± standard deviation\n", runs.len());
    println!("| model | ROC AUC | average precision |\n|---|---|---|");
    let column =
        |model: usize, figure: fn(&Figures) -> f64| runs.iter().map(|run| figure(&run[model])).collect::<Vec<_>>();
    for (model, title) in MODELS.iter().enumerate() {
        let (auc, auc_deviation) = spread(&column(model, |f| f.auc));
        let (precision, precision_deviation) = spread(&column(model, |f| f.precision));
        println!("| {title} | {auc:.4} ± {auc_deviation:.4} | {precision:.3} ± {precision_deviation:.3} |");
    }
    let mut alone = FUSED.map(|model| spread(&column(model, |f| f.auc)).0);
    alone.sort_by(f64::total_cmp);
    let (fused, _) = spread(&column(MODELS.len() - 1, |f| f.auc));
    println!(
        "\nfused: {:+.4} to the best of its three models, {:+.4} to their median",
        fused - alone[2],
        fused - alone[1]
    );
}

/// Mean and standard deviation.
fn spread(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    (mean, (squares / (count - 1.0).max(1.0)).sqrt())
}

fn print_speed() {
    const WIDTH: usize = 24;
    let mut rng = fastrand::Rng::with_seed(1);
    let mut vectors = Vectors::new(WIDTH);
    for _ in 0..20_000 {
        // Usual values with a tail: the product of two uniform ones.
        let row: Vec<f64> = (0..WIDTH).map(|_| (rng.f64() - 0.5) / (rng.f64() + 0.05)).collect();
        vectors.push(&row).unwrap();
    }
    println!(
        "\n{WIDTH} features, 100 trees of 256, one thread, CPU time\n\n| | training, ms | vectors/s |\n|---|---|---|"
    );
    for level in 0..3 {
        let settings = ForestSettings { level, ..ForestSettings::default() };
        let training = seconds_each(20, |seed| {
            black_box(Forest::fit(&vectors, settings, seed).unwrap());
        });
        let forest = Forest::fit(&vectors, settings, 1).unwrap();
        let scoring = seconds_each(20, |_| vectors.rows().for_each(|row| _ = black_box(forest.score(row))));
        print_line(&format!("forest of level {level}"), training, scoring / vectors.len() as f64);
    }
    let schema = schema(WIDTH);
    let fit = |seed| Ensemble::fit(&vectors, &schema, &EnsembleSettings::default(), seed).unwrap();
    let training = seconds_each(5, |seed| _ = black_box(fit(seed)));
    let ensemble = fit(1);
    let scoring = seconds_each(10, |_| vectors.rows().for_each(|row| _ = black_box(ensemble.score(row))));
    print_line("all, fused (trained on 20 000 vectors)", training, scoring / vectors.len() as f64);
}

fn print_line(title: &str, training: f64, scoring: f64) {
    println!("| {title} | {:.1} | {:.0} |", training * 1e3, scoring.recip());
}

/// CPU time of `work` by this thread, which neighbours on the machine hardly change.
fn seconds_each(times: u64, mut work: impl FnMut(u64)) -> f64 {
    let before = cpu_seconds();
    (0..times).for_each(&mut work);
    (cpu_seconds() - before) / times as f64
}

fn cpu_seconds() -> f64 {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux with scheduler statistics");
    statistics.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

fn schema(width: usize) -> FeatureSchema {
    FeatureSchema::new((0..width).map(|n| Feature { name: format!("x{n}").into(), least_spread: 0.0 }))
}

fn load(name: &str) -> Data {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("benches/data/{name}.csv.gz"));
    let mut lines = BufReader::new(GzDecoder::new(File::open(path).unwrap())).lines().map(Result::unwrap);
    let width = lines.next().unwrap().split(',').count() - 1;
    let (mut vectors, mut distinct, mut counts) = (Vectors::new(width), Vectors::new(width), Vec::new());
    let mut places: HashMap<String, usize> = HashMap::new();
    for line in lines {
        let (values, label) = line.rsplit_once(',').unwrap();
        let mut row: Vec<f64> = values.split(',').map(|value| value.parse().unwrap()).collect();
        if name == "http" {
            row.iter_mut().for_each(|count| *count = (*count + 0.1).ln());
        }
        vectors.push(&row).unwrap();
        let place = *places.entry(values.to_owned()).or_insert_with(|| {
            distinct.push(&row).unwrap();
            counts.push((0.0, 0.0));
            counts.len() - 1
        });
        if label == "1" { counts[place].0 += 1.0 } else { counts[place].1 += 1.0 }
    }
    Data { vectors, distinct, counts }
}
