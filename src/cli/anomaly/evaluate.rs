//! `tidegate anomaly evaluate`: what models make of a log.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use super::source::{Labels, Source, is_attack};
use crate::anomaly::baseline::population::score;
use crate::anomaly::engine::Engine;
use crate::anomaly::engine::models::{self, Models, counted};
use crate::anomaly::features::list::Vector;
use crate::anomaly::model::quality::{average_precision, roc_auc};
use crate::cli::descriptor::plain;
use crate::cli::print;
use crate::config::anomaly::Policy;
use crate::core::subject::Subject;

/// The strangest clients that are told.
const TOLD: usize = 20;
/// Reasons of each.
const REASONS: usize = 3;

/// Score the clients of a log by saved models
///
/// Each client counts with its strangest second. With labels (`"label": "legit"`, anything else is an attack) it tells
/// how well scores tell the kinds apart, and how many clients of each label reach the policy's thresholds; without, how
/// scores are distributed and which clients are the strangest, and why. Thresholds are held against what the worker
/// makes of a score, which is less: models are its second look, and do no more than flag by themselves.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  tidegate anomaly evaluate --input access.log --models models.bin
  tidegate anomaly simulate --scenario slow_scraper | tidegate anomaly evaluate --input - --models models.bin")]
pub struct Args {
    #[command(flatten)]
    source: Source,
    /// What `tidegate anomaly train` wrote
    #[arg(long, value_name = "FILE")]
    models: PathBuf,
    /// The domain whose models are asked, when there are several
    #[arg(long, value_name = "NAME")]
    domain: Option<String>,
}

/// A client's strangest second.
struct Strangest {
    /// One in `10^rarity` calm vectors is as strange.
    rarity: f64,
    vector: Vector,
}

/// Reads, scores, tells.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let settings = args.source.settings()?;
    let models = load(args)?;
    let mut engine = Engine::new(&settings).keeping_judgements();
    let mut clients: HashMap<Subject, Strangest> = HashMap::new();
    let read = args.source.read(&mut engine, |engine, _| {
        for judgement in engine.judgements() {
            let rarity = models.rarity(&judgement.vector);
            let known = clients.get_mut(&judgement.subject);
            let found = Strangest { rarity, vector: judgement.vector };
            match known {
                Some(known) if known.rarity >= rarity => {}
                Some(known) => *known = found,
                None => drop(clients.insert(judgement.subject.clone(), found)),
            }
        }
    })?;
    // Writing to a String cannot fail, so its results are dropped here and below.
    let mut text = format!(
        "{} lines, {:.0} s of traffic, {} clients with enough requests\n",
        read.lines,
        read.span,
        clients.len()
    );
    if read.bad > 0 {
        let _ = writeln!(text, "lines that cannot be read: {}", read.bad);
    }
    let mut clients: Vec<(Subject, Strangest)> = clients.into_iter().collect();
    clients.sort_by(|a, b| b.1.rarity.total_cmp(&a.1.rarity).then_with(|| a.0.to_string().cmp(&b.0.to_string())));
    if read.labels.is_empty() {
        distribution(&mut text, &clients);
        strangest(&mut text, &clients, &models);
    } else {
        by_label(&mut text, &clients, &read.labels, &settings.policy);
    }
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn load(args: &Args) -> anyhow::Result<Models> {
    let mut found = models::file::read(&args.models)?;
    let names = found.iter().map(|(name, _)| format!("`{}`", plain(name))).collect::<Vec<_>>().join(", ");
    let at = match &args.domain {
        Some(wanted) => found.iter().position(|(name, _)| name == wanted),
        None => (found.len() == 1).then_some(0),
    };
    match at {
        Some(at) => Ok(found.swap_remove(at).1),
        None => anyhow::bail!("--domain: say whose models are meant; {} has {names}", args.models.display()),
    }
}

fn by_label(text: &mut String, clients: &[(Subject, Strangest)], labels: &Labels, policy: &Policy) {
    let labelled = |(subject, found): &(Subject, Strangest)| Some((labels.get(subject)?.to_owned(), found.rarity));
    let mut of: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (label, rarity) in clients.iter().filter_map(labelled) {
        of.entry(label).or_default().push(rarity);
    }
    let scores = of.iter().flat_map(|(label, scores)| scores.iter().map(|rarity| (*rarity, is_attack(label))));
    let scores: Vec<(f64, bool)> = scores.collect();
    match (roc_auc(&scores), average_precision(&scores)) {
        (Some(auc), Some(precision)) => {
            let _ = writeln!(text, "ROC AUC {auc:.4}, average precision {precision:.4} (attackers among all clients)");
        }
        _ => text.push_str("clients of one kind only, so there is nothing to tell apart\n"),
    }
    let Policy { flag, tighten, block, .. } = policy;
    let _ = writeln!(
        text,
        "\n{:22}{:>9}{:>9}{:>16}{:>16}{:>16}",
        "label",
        "clients",
        "median",
        format!("flag {flag}"),
        format!("tighten {tighten}"),
        format!("block {block}")
    );
    for (label, scores) in &of {
        let reach = |threshold: f64| {
            let count = scores.iter().filter(|rarity| counted(**rarity) >= threshold).count();
            format!("{count} ({:.1} %)", 100.0 * count as f64 / scores.len() as f64)
        };
        let median = score(scores.get(scores.len() / 2).copied().unwrap_or_default());
        let _ = writeln!(
            text,
            "{:22}{:>9}{median:>9.2}{:>16}{:>16}{:>16}",
            plain(label),
            scores.len(),
            reach(*flag),
            reach(*tighten),
            reach(*block)
        );
    }
}

fn distribution(text: &mut String, clients: &[(Subject, Strangest)]) {
    text.push_str("\nscores of clients:");
    for (share, name) in [(0.5, "half"), (0.1, "1 in 10"), (0.01, "1 in 100"), (0.001, "1 in 1000"), (0.0, "the most")]
    {
        let at = (clients.len() as f64 * share) as usize;
        if let Some((_, found)) = clients.get(at) {
            let _ = write!(text, " {name} {:.2}", score(found.rarity));
        }
    }
    text.push('\n');
}

fn strangest(text: &mut String, clients: &[(Subject, Strangest)], models: &Models) {
    let _ = writeln!(text, "\nthe strangest:");
    for (subject, found) in clients.iter().take(TOLD) {
        let reasons = models.reasons(&found.vector, REASONS).into_iter().map(|feature| {
            let present = found.vector.get(feature.index()).copied().unwrap_or_default();
            format!("{} {}", feature.name(), crate::anomaly::features::list::short(present))
        });
        let reasons = reasons.collect::<Vec<_>>().join(", ");
        let _ = writeln!(text, "  {:.2}  {:40} {reasons}", score(found.rarity), plain(&subject.to_string()));
    }
}
