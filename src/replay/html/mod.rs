//! What a replay found, for people: one page that needs nothing else and runs no script. Everything that a log says is
//! escaped.

mod chart;

use std::collections::BTreeMap;
use std::fmt::{self, Display, Write as _};

use jiff::Timestamp;

use super::run::Replayed;
use super::timeline::UNLABELLED;
use crate::anomaly::event::{Event, Kind};
use crate::core::adjustment::Effect;
use crate::core::clock::Micros;

/// The most incidents in the table.
const MAX_INCIDENTS: usize = 500;
/// The most steps told of one incident.
const MAX_STEPS: usize = 12;

/// Text in a page, with every character escaped that could mean anything there.
struct Escaped<T>(T);

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        struct Escaping<'a, 'b>(&'a mut fmt::Formatter<'b>);
        impl fmt::Write for Escaping<'_, '_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                text.chars().try_for_each(|character| match character {
                    '&' => self.0.write_str("&amp;"),
                    '<' => self.0.write_str("&lt;"),
                    '>' => self.0.write_str("&gt;"),
                    '"' => self.0.write_str("&quot;"),
                    '\'' => self.0.write_str("&#39;"),
                    // Control and direction characters could make a page say something else than it does.
                    '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => self.0.write_char('\u{fffd}'),
                    control if control.is_control() => self.0.write_char('\u{fffd}'),
                    other => self.0.write_char(other),
                })
            }
        }
        write!(Escaping(f), "{}", self.0)
    }
}

// Writing to a String cannot fail, so its results are dropped below.

/// The page about the replay of the log called `name`.
#[must_use]
pub fn page(name: &str, replayed: &Replayed) -> String {
    let timeline = &replayed.timeline;
    let mut page = String::from(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n",
    );
    let _ = write!(page, "<title>Replay of {}</title>\n<style>\n{}", Escaped(name), include_str!("style.css"));
    let _ = write!(page, "</style>\n<h1>Replay of {}</h1>\n", Escaped(name));
    let _ = writeln!(
        page,
        "<p class=\"faint\">{} lines, {} of traffic from {} UTC on; {} flags, {} actions</p>",
        replayed.report.lines,
        length(replayed.report.span_s),
        time(timeline.start, "%Y-%m-%d %H:%M:%S"),
        replayed.report.flags.len(),
        replayed.report.actions.iter().filter(|action| action.kind != "flag").count(),
    );
    labels(&mut page, replayed);

    let seconds = timeline.step.0 / 1_000_000;
    let every = if seconds == 1 { "each second".to_owned() } else { format!("in steps of {seconds} s") };
    let colour = |name: &str, at: usize| if name == UNLABELLED { 0 } else { at.max(1) };
    let by_label = timeline.labels();
    let offset = usize::from(by_label.first().is_none_or(|(name, _)| *name != UNLABELLED));
    let series: Vec<_> = by_label
        .into_iter()
        .enumerate()
        .map(|(at, (name, rates))| (name, format!("--c{}", colour(name, at + offset)), rates))
        .collect();
    section(&mut page, "Requests a second, by label", &every, &chart::areas(timeline, &series), &series);
    let colours = ["--passed", "--limited", "--adjusted"];
    let series: Vec<_> = timeline
        .outcomes()
        .into_iter()
        .zip(colours)
        .map(|((name, rates), colour)| (name, colour.to_owned(), rates))
        .collect();
    section(&mut page, "Requests a second, by what became of them", &every, &chart::areas(timeline, &series), &series);
    page.push_str("<h2>Scores and actions</h2>\n");
    if replayed.events.is_empty() {
        page.push_str("<p>Nothing was flagged.</p>\n");
    } else {
        page.push_str(&chart::events(timeline, &replayed.events));
        for (name, colour) in chart::KINDS {
            key(&mut page, name, colour);
        }
        incidents(&mut page, replayed);
    }
    page.push_str("</html>\n");
    page
}

fn section(page: &mut String, title: &str, note: &str, chart: &str, series: &[(&str, String, Vec<f64>)]) {
    let _ = writeln!(page, "<h2>{title}</h2>\n{chart}");
    for (name, colour, _) in series {
        key(page, name, colour);
    }
    let _ = writeln!(page, "<span class=\"faint\">{note}</span>");
}

fn key(page: &mut String, name: &str, colour: &str) {
    let _ = writeln!(page, "<span class=\"key\"><i style=\"background:var({colour})\"></i>{}</span>", Escaped(name));
}

fn labels(page: &mut String, replayed: &Replayed) {
    if replayed.report.labels.is_empty() {
        return;
    }
    page.push_str(
        "<h2>Labels</h2>\n<div class=\"scroll\"><table>\n<tr><th>label<th class=\"number\">requests\
         <th class=\"number\">limited<th class=\"number\">by an adjustment<th class=\"number\">share limited\
         <th class=\"number\">first flag after<th class=\"number\">first action after\n",
    );
    for (name, label) in &replayed.report.labels {
        let share = label.limited as f64 / label.requests.max(1) as f64 * 100.0;
        let after = |ts: Option<f64>| match (ts, label.first_request_ts) {
            (Some(ts), Some(first)) => format!("{:.1} s", ts - first),
            _ => "never".to_owned(),
        };
        let _ = writeln!(
            page,
            "<tr><td>{}<td class=\"number\">{}<td class=\"number\">{}<td class=\"number\">{}<td class=\"number\">{share:.2} %\
             <td class=\"number\">{}<td class=\"number\">{}",
            Escaped(name),
            label.requests,
            label.limited,
            label.limited_by_adjustment,
            after(label.first_flag_ts),
            after(label.first_action_ts),
        );
    }
    page.push_str("</table></div>\n");
}

fn incidents(page: &mut String, replayed: &Replayed) {
    let mut incidents: BTreeMap<u64, Vec<&Event>> = BTreeMap::new();
    for event in &replayed.events {
        incidents.entry(event.incident).or_default().push(event);
    }
    page.push_str(
        "<h2>Incidents</h2>\n<div class=\"scroll\"><table>\n<tr><th>since (UTC)<th>subject<th class=\"number\">highest score\
         <th>what was done<th>why\n",
    );
    for events in incidents.values().take(MAX_INCIDENTS) {
        let Some(first) = events.first() else { continue };
        let strangest = events.iter().filter(|event| !event.reasons.is_empty());
        let strangest = strangest.max_by(|a, b| a.score.total_cmp(&b.score)).unwrap_or(first);
        let score = events.iter().map(|event| event.score).fold(0.0, f64::max);
        let _ = write!(
            page,
            "<tr><td>{}<td class=\"subject\">{}<td class=\"number\">{score:.2}<td><ul>",
            time(first.at, "%H:%M:%S"),
            Escaped(&first.subject),
        );
        for event in events.iter().take(MAX_STEPS) {
            let _ = write!(page, "<li>{} {}", time(event.at, "%H:%M:%S"), Escaped(done(event)));
        }
        if events.len() > MAX_STEPS {
            let _ = write!(page, "<li>and {} more", events.len() - MAX_STEPS);
        }
        page.push_str("</ul><td><ul>");
        for reason in &strangest.reasons {
            let _ = write!(page, "<li>{}", Escaped(&reason.text));
        }
        page.push_str("</ul>\n");
    }
    page.push_str("</table></div>\n");
    let more = incidents.len().saturating_sub(MAX_INCIDENTS);
    if more > 0 {
        let _ = writeln!(page, "<p>and {more} more incidents</p>");
    }
}

/// What an event did, in words.
pub(super) fn done(event: &Event) -> String {
    let until = |expires: Micros, shadow: bool| {
        let told = if shadow { ", only told" } else { "" };
        format!("until {}{told}", time(expires, "%H:%M:%S"))
    };
    match event.kind {
        Kind::Flag => format!("flagged, score {:.2}", event.score),
        Kind::Tighten { effect: Effect::Factor { factor, floor }, expires, shadow } => {
            format!("limits times {factor:.3}, at least {floor}, {}", until(expires, shadow))
        }
        Kind::Tighten { effect: Effect::Limit { rate, burst }, expires, shadow } => {
            format!("a limit of its own, {rate:.1} a second, bursts of {burst}, {}", until(expires, shadow))
        }
        Kind::Tighten { effect: Effect::Block, expires, shadow } | Kind::Block { expires, shadow } => {
            format!("blocked {}", until(expires, shadow))
        }
        Kind::Held => "an action was not taken".to_owned(),
        Kind::Release => "released".to_owned(),
    }
}

/// A wall time in UTC.
pub(super) fn time(at: Micros, format: &str) -> String {
    let timestamp = i64::try_from(at.0).ok().and_then(|micros| Timestamp::from_microsecond(micros).ok());
    timestamp.map_or_else(String::new, |timestamp| timestamp.strftime(format).to_string())
}

fn length(seconds: f64) -> String {
    humantime::format_duration(std::time::Duration::from_secs(seconds as u64)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_is_taken_for_markup() {
        assert_eq!(Escaped("<a href='x'>&\"").to_string(), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;");
        assert_eq!(Escaped("a\u{202e}b\nc").to_string(), "a\u{fffd}b\u{fffd}c");
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(time(Micros::from_secs(1_767_607_200), "%Y-%m-%d %H:%M:%S"), "2026-01-05 10:00:00");
        assert_eq!(time(Micros(u64::MAX), "%H"), "");
    }
}
