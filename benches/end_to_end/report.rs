//! Medians, and ratios round by round.

use crate::load::Run;

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn figures(runs: &[(&str, Run)], name: &str, figure: fn(&Run) -> f64) -> Vec<f64> {
    runs.iter().filter(|(each, _)| *each == name).map(|(_, run)| figure(run)).collect()
}

/// The medians of each.
pub fn table(names: &[&str], runs: &[(&str, Run)]) {
    let of = |name: &str, figure: fn(&Run) -> f64| figures(runs, name, figure);
    println!("medians of {} rounds:", runs.len() / names.len().max(1));
    println!(
        "{:<14} {:>10} {:>12} {:>8} {:>8} {:>8} {:>7}",
        "server", "req/s", "CPU us/req", "p50 us", "p99", "p99.9", "failed"
    );
    for name in names {
        println!(
            "{name:<14} {:>10.0} {:>12.2} {:>8.0} {:>8.0} {:>8.0} {:>7}",
            median(of(name, |run| run.requests_per_second)),
            median(of(name, |run| run.cpu_us_per_request)),
            median(of(name, |run| run.percentile(0.5).into())),
            median(of(name, |run| run.percentile(0.99).into())),
            median(of(name, |run| run.percentile(0.999).into())),
            runs.iter().filter(|(each, _)| each == name).map(|(_, run)| run.failed).sum::<usize>(),
        );
    }
}

/// The medians of each, and how the last compares with the others.
pub fn print(names: &[&str], runs: &[(&str, Run)]) {
    table(names, runs);
    let of = |name: &str| figures(runs, name, |run| run.cpu_us_per_request);
    let Some(last) = names.last() else { return };
    for other in &names[..names.len() - 1] {
        let pairs = of(last).into_iter().zip(of(other));
        let mut ratios: Vec<f64> = pairs.map(|(one, other)| one / other).collect();
        ratios.sort_by(f64::total_cmp);
        println!(
            "CPU per request, {last} / {other}: median {:.2}, from {:.2} to {:.2}",
            median(ratios.clone()),
            ratios.first().copied().unwrap_or(f64::NAN),
            ratios.last().copied().unwrap_or(f64::NAN)
        );
    }
}
