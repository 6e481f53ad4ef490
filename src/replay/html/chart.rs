//! Charts as SVG.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::super::timeline::Timeline;
use super::{Escaped, done, time};
use crate::anomaly::event::{Event, Kind};
use crate::core::clock::Micros;

const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 200.0;
/// Room for the scale.
const LEFT: f64 = 50.0;
const BOTTOM: f64 = 20.0;
/// The most dots, and how near two of one kind can be.
const MAX_DOTS: usize = 6_000;
const GRAIN: f64 = 2.0;

/// Kinds of events, and their colours.
pub(super) const KINDS: [(&str, &str); 5] =
    [("flag", "--c3"), ("tighten", "--c2"), ("block", "--c6"), ("held", "--c5"), ("release", "--c4")];

/// Areas upon each other, one for each series.
pub(super) fn areas(timeline: &Timeline, series: &[(&str, String, Vec<f64>)]) -> String {
    let steps = series.iter().map(|(_, _, rates)| rates.len()).max().unwrap_or(0);
    let total = |at: usize| series.iter().map(|(_, _, rates)| rates[at]).sum::<f64>();
    let top = rounded((0..steps).map(total).fold(0.0, f64::max));
    let mut svg = frame(timeline, top);
    let x = |at: usize| LEFT + (WIDTH - LEFT) * at as f64 / steps.max(1) as f64;
    let y = |rate: f64| HEIGHT - HEIGHT * rate / top;
    let mut below = vec![0.0; steps];
    for (_, colour, rates) in series {
        let above: Vec<f64> = below.iter().zip(rates).map(|(below, rate)| below + rate).collect();
        let mut path = String::new();
        for (at, rate) in above.iter().enumerate() {
            let _ = write!(path, " {:.1},{:.1} {:.1},{:.1}", x(at), y(*rate), x(at + 1), y(*rate));
        }
        for (at, rate) in below.iter().enumerate().rev() {
            let _ = write!(path, " {:.1},{:.1} {:.1},{:.1}", x(at + 1), y(*rate), x(at), y(*rate));
        }
        let _ = write!(svg, "<polygon class=\"area\" style=\"fill:var({colour})\" points=\"{}\"/>", path.trim_start());
        below = above;
    }
    svg.push_str("</svg>");
    svg
}

/// A dot for each event: when, and the score. Those that would cover each other are one.
pub(super) fn events(timeline: &Timeline, events: &[Event]) -> String {
    let span = (timeline.end() - timeline.start).0.max(1) as f64;
    let mut dots: BTreeMap<[usize; 3], (&Event, u64)> = BTreeMap::new();
    for event in events {
        let x = (WIDTH - LEFT) * ((event.at - timeline.start).0 as f64 / span).min(1.0);
        let y = HEIGHT * event.score.clamp(0.0, 1.0);
        let kind = match event.kind {
            Kind::Flag => 0,
            Kind::Tighten { .. } => 1,
            Kind::Block { .. } => 2,
            Kind::Held => 3,
            Kind::Release => 4,
        };
        dots.entry([(x / GRAIN) as usize, (y / GRAIN) as usize, kind]).or_insert((event, 0)).1 += 1;
    }
    let mut svg = frame(timeline, 1.0);
    for ([x, y, kind], (event, count)) in dots.iter().take(MAX_DOTS) {
        let _ = write!(
            svg,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\" style=\"fill:var({})\"><title>{} {}: {}",
            LEFT + *x as f64 * GRAIN,
            HEIGHT - *y as f64 * GRAIN,
            KINDS[*kind].1,
            time(event.at, "%H:%M:%S"),
            Escaped(&event.subject),
            Escaped(done(event)),
        );
        if *count > 1 {
            let _ = write!(svg, " (and {} more)", count - 1);
        }
        svg.push_str("</title></circle>");
    }
    svg.push_str("</svg>\n");
    if dots.len() > MAX_DOTS {
        let _ = writeln!(svg, "<p class=\"faint\">the first {MAX_DOTS} of {} dots</p>", dots.len());
    }
    svg
}

/// The scales: up to `top`, and the time.
fn frame(timeline: &Timeline, top: f64) -> String {
    let mut svg = format!("<svg viewBox=\"0 -8 {WIDTH} {}\" role=\"img\">", HEIGHT + BOTTOM + 8.0);
    for part in [0.0, 0.5, 1.0] {
        let y = HEIGHT * (1.0 - part);
        let _ = write!(svg, "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{y}\" y2=\"{y}\"/>");
        let _ = write!(svg, "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>", LEFT - 6.0, y + 4.0, top * part);
    }
    let span = timeline.end() - timeline.start;
    let format = if span > Micros::from_secs(2 * 86_400) { "%m-%d %H:%M" } else { "%H:%M:%S" };
    for part in 0..6 {
        let at = timeline.start + Micros(span.0 / 6 * part);
        let x = LEFT + (WIDTH - LEFT) * part as f64 / 6.0;
        let _ = write!(svg, "<text x=\"{x:.1}\" y=\"{}\">{}</text>", HEIGHT + 15.0, time(at, format));
    }
    svg
}

/// The next number above that reads well; at least 1.
fn rounded(most: f64) -> f64 {
    let mut power = 1.0;
    loop {
        for step in [1.0, 2.0, 5.0] {
            if step * power >= most {
                return step * power;
            }
        }
        power *= 10.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_read_well() {
        for (most, top) in [(0.0, 1.0), (1.0, 1.0), (1.1, 2.0), (3.0, 5.0), (99.0, 100.0), (4_001.0, 5_000.0)] {
            assert_eq!(rounded(most), top, "{most}");
        }
    }
}
