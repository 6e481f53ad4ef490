//! The demo's numbers as lines, where there is no terminal.

use std::fmt::Write as _;
use std::time::Duration;

use super::board::{Board, allowed, limited};
use super::fate::Figures;

// Writing to a String cannot fail, so its results are dropped below.

/// What happened in the last second: to those who mean no harm, and to an attack, when there is one.
pub fn second(elapsed: Duration, legitimate: Figures, attack: Figures) -> String {
    let mut text = format!(
        "{:>5.1} s  legitimate  {} requests, {} limited",
        elapsed.as_secs_f64(),
        legitimate.all(),
        legitimate.by_rules + legitimate.by_worker
    );
    if attack.all() > 0 {
        let Figures { by_rules, by_worker, .. } = attack;
        let (all, stopped) = (attack.all(), attack.stopped_percent());
        let _ = write!(
            text,
            " | attack  {all} requests, {stopped} % stopped: {by_rules} by the rules, {by_worker} by the anomaly worker"
        );
    }
    text.push('\n');
    text
}

/// What the rules did in all.
pub fn rules(elapsed: Duration, board: &Board) -> String {
    let mut text = String::new();
    let sum = board.sum(|row| row.total);
    let _ = writeln!(
        text,
        "In {:.1} s: {} hits on {} rules, {} allowed, {} limited",
        elapsed.as_secs_f64(),
        sum.total_hits,
        board.rows.len(),
        allowed(&sum),
        limited(&sum)
    );
    let width = board.rows.keys().map(|name| name.chars().count()).max().unwrap_or(0);
    for (name, row) in &board.rows {
        let counts = row.total;
        if counts.total_hits == 0 {
            continue;
        }
        let _ = write!(text, "        {name:width$}  allowed {:<6} limited {:<6}", allowed(&counts), limited(&counts));
        if counts.near_limit > 0 {
            let _ = write!(text, " near limit {:<6}", counts.near_limit);
        }
        if counts.shadow_mode > 0 {
            let _ = write!(text, " shadow {:<6}", counts.shadow_mode);
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}
