//! `tidegate anomaly train`: models of calm traffic, from a log of it.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;

use super::source::Source;
use crate::anomaly::engine::Engine;
use crate::anomaly::engine::models::{LEAST, Models, TrainingJob, counted, save, usual_values};
use crate::anomaly::event::Kind;
use crate::anomaly::features::list::{COUNT, Feature, Vector, short};
use crate::cli::print;
use crate::core::subject::Subject;

/// Vectors that models are trained on at most; of more, these are drawn.
const MOST_VECTORS: usize = 32_768;

/// Train models on a log of calm traffic
///
/// Clients become vectors of features as they do in the worker; those that the worker would have flagged are left out.
/// The models are for `anomaly.models_file`, and serve until the worker has seen enough of its own. The same log and seed
/// give the same models.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  tidegate anomaly train --input access.log.gz --output models.bin
  tidegate anomaly simulate --scenario calm --duration 2h | tidegate anomaly train --input - --output models.bin")]
pub struct Args {
    #[command(flatten)]
    source: Source,
    /// Where the models go
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// The domain that they are for [default: every one that has none of its own]
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    domain: String,
    /// Another seed gives other models of the same traffic
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    seed: u64,
}

/// Reads, trains, tells, and writes.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let settings = args.source.settings()?;
    let mut engine = Engine::new(&settings).keeping_judgements();
    let mut random = fastrand::Rng::with_seed(args.seed);
    let mut learned: Vec<(Subject, Vector)> = Vec::new();
    let mut flagged = HashSet::new();
    let mut seen = 0_usize;
    let read = args.source.read(&mut engine, |engine, events| {
        flagged.extend(events.into_iter().filter(|event| event.kind == Kind::Flag).map(|event| event.subject));
        for judgement in engine.judgements().filter(|judgement| judgement.learned) {
            seen += 1;
            let one = (judgement.subject.clone(), judgement.vector);
            if learned.len() < MOST_VECTORS {
                learned.push(one);
            } else if let Some(place) = learned.get_mut(random.usize(..seen)) {
                *place = one;
            }
        }
    })?;
    learned.retain(|(subject, _)| !flagged.contains(subject));
    let clients = learned.iter().map(|(subject, _)| subject).collect::<HashSet<_>>().len();
    let vectors: Vec<Vector> = learned.iter().map(|(_, vector)| *vector).collect();
    if vectors.len() < LEAST {
        anyhow::bail!(
            "--input {}: {} vectors of calm clients, at least {LEAST} are needed; each client gives one a minute from its \
             tenth request on, so take a longer log",
            args.source.input.display(),
            vectors.len()
        );
    }
    let usual = usual_values(&vectors);
    let (count, labels) = (vectors.len(), Vec::new());
    let job = TrainingJob { domain: args.domain.clone(), vectors, labels, number: 1, at: read.last, seed: args.seed };
    let models = job.run().into_models().context("training")?;
    let bytes = save([(&*args.domain, &models)].into_iter());
    std::fs::write(&args.output, &bytes)
        .with_context(|| format!("--output: cannot write {}", args.output.display()))?;
    // Writing to a String cannot fail, so its results are dropped here and below.
    let mut text = format!(
        "{} lines, {:.0} s of traffic; {count} vectors of {clients} clients that were calm; {} flagged and left out\n\n",
        read.lines,
        read.span,
        flagged.len()
    );
    if read.bad > 0 {
        let _ = writeln!(text, "lines that cannot be read: {}", read.bad);
    }
    describe(&mut text, &models, &usual, settings.policy.flag);
    let _ = writeln!(text, "\nwritten to {}, {} kB: anomaly.models_file", args.output.display(), bytes.len() / 1_000);
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// What is usual, and what would be strange by itself.
fn describe(text: &mut String, models: &Models, usual: &[(Feature, [f64; 3])], flag: f64) {
    let _ =
        writeln!(text, "{:16}{:>10}{:>14}{:>16}{:>20}", "feature", "usual", "90 % below", "99 % below", "flagged from");
    for (feature, [median, most, nearly_all]) in usual {
        let alone = alone(models, *feature, *nearly_all, flag).map_or("not by itself".to_owned(), short);
        let _ = writeln!(
            text,
            "{:16}{:>10}{:>14}{:>16}{:>20}",
            feature.name(),
            short(*median),
            short(*most),
            short(*nearly_all),
            alone
        );
    }
    let _ = writeln!(
        text,
        "\nA client is flagged by models from a score of {flag} on; thresholds of a feature hold while all"
    );
    let _ = writeln!(text, "others are as usual, and fall as others rise with it.");
}

/// The least value beyond what nearly all have at which this feature alone makes a client strange enough.
fn alone(models: &Models, feature: Feature, nearly_all: f64, flag: f64) -> Option<f64> {
    let most = if feature.is_share() { 1.0 } else { f64::INFINITY };
    let value = |step: u32| nearly_all.max(0.01) * 1.2_f64.powf(f64::from(step));
    feature.judged()?;
    (0..60).map(value).chain([most]).filter(|value| value.is_finite() && *value <= most).find(|value| {
        let mut vector = [f64::NAN; COUNT];
        if let Some(place) = vector.get_mut(feature.index()) {
            *place = *value;
        }
        counted(models.rarity(&vector)) >= flag
    })
}
