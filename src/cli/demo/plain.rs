//! The demo's numbers as lines, where there is no terminal.

use std::fmt::Write as _;
use std::time::Duration;

use super::board::{Board, Row, allowed, limited};
use crate::telemetry::decisions::HitCounts;

// Writing to a String cannot fail, so its results are dropped below.

/// What happened in the last second: a line for all, and one for each rule that was asked.
pub fn second(elapsed: Duration, board: &Board) -> String {
    let mut text = String::new();
    let sum = board.sum(|row| row.second);
    let _ = writeln!(
        text,
        "{:>4} s  {} hits/s, {} allowed, {} limited",
        elapsed.as_secs_f64().round(),
        sum.total_hits,
        allowed(&sum),
        limited(&sum)
    );
    lines(&mut text, board, |row| row.second);
    text
}

/// What happened in all.
pub fn summary(elapsed: Duration, board: &Board) -> String {
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
    lines(&mut text, board, |row| row.total);
    text
}

fn lines(text: &mut String, board: &Board, of: impl Fn(&Row) -> HitCounts) {
    let width = board.rows.keys().map(|name| name.chars().count()).max().unwrap_or(0);
    for (name, row) in &board.rows {
        let counts = of(row);
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
}
