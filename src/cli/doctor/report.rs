//! What was found: in words and as JSON.

use std::fmt::{self, Write as _};

use serde_json::{Value, json};

use crate::cli::descriptor::plain;

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be, or good to know.
    Ok,
    /// Works, but should be looked at.
    Warn,
    /// Does not work.
    Fail,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "OK",
            Self::Warn => "WARN",
            Self::Fail => "FAIL",
        })
    }
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How grave.
    pub level: Level,
    /// What was checked, a word.
    pub check: &'static str,
    /// What was found, a sentence.
    pub message: String,
    /// What to change; none when all is well.
    pub advice: Option<String>,
}

/// Everything found about one subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// The subject: `listeners`, `redis 10.0.0.1:6379`.
    pub subject: String,
    /// In the order of the checks.
    pub findings: Vec<Finding>,
}

impl Section {
    /// Nothing is found yet.
    pub fn new(subject: impl Into<String>) -> Self {
        Self { subject: subject.into(), findings: Vec::new() }
    }

    /// All is well.
    pub fn ok(&mut self, check: &'static str, message: impl Into<String>) {
        self.findings.push(Finding { level: Level::Ok, check, message: message.into(), advice: None });
    }

    /// Something should be looked at.
    pub fn warn(&mut self, check: &'static str, message: impl Into<String>, advice: impl Into<String>) {
        let advice = Some(advice.into());
        self.findings.push(Finding { level: Level::Warn, check, message: message.into(), advice });
    }

    /// Something does not work.
    pub fn fail(&mut self, check: &'static str, message: impl Into<String>, advice: impl Into<String>) {
        let advice = Some(advice.into());
        self.findings.push(Finding { level: Level::Fail, check, message: message.into(), advice });
    }
}

/// Everything found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report(pub Vec<Section>);

impl Report {
    /// Findings of a level.
    #[must_use]
    pub fn count(&self, level: Level) -> usize {
        self.0.iter().flat_map(|section| &section.findings).filter(|finding| finding.level == level).count()
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let findings = || self.0.iter().flat_map(|section| &section.findings);
        let width = findings().map(|finding| finding.check.len()).max().unwrap_or(0);
        let mut text = String::new();
        // Writing to a String cannot fail.
        for section in self.0.iter().filter(|section| !section.findings.is_empty()) {
            let _ = writeln!(text, "{}", plain(&section.subject));
            for Finding { level, check, message, advice } in &section.findings {
                let _ = writeln!(text, "  {level:4}  {check:width$}  {}", lines(message, width));
                if let Some(advice) = advice {
                    let _ = writeln!(text, "        {:width$}  -> {}", "", lines(advice, width + 3));
                }
            }
        }
        let [ok, warnings, failures] = [Level::Ok, Level::Warn, Level::Fail].map(|level| self.count(level));
        let _ = writeln!(text, "{} checks: {ok} OK, {warnings} WARN, {failures} FAIL", ok + warnings + failures);
        text
    }

    /// For programs.
    #[must_use]
    pub fn document(&self) -> Value {
        let findings = self.0.iter().flat_map(|section| {
            section.findings.iter().map(|Finding { level, check, message, advice }| {
                json!({
                    "subject": section.subject,
                    "check": check,
                    "level": level.to_string().to_lowercase(),
                    "message": message,
                    "advice": advice,
                })
            })
        });
        json!({
            "ok": self.count(Level::Fail) == 0,
            "warnings": self.count(Level::Warn),
            "failures": self.count(Level::Fail),
            "findings": findings.collect::<Vec<_>>(),
        })
    }
}

/// A text of perhaps several lines, each below the first, without what a terminal would act upon.
fn lines(text: &str, width: usize) -> String {
    let indent = format!("\n{:width$}", "", width = width + 10);
    text.lines().map(|line| plain(line).to_string()).collect::<Vec<_>>().join(&indent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_and_programs_read_the_same() {
        let mut section = Section::new("redis 10.0.0.1:6379");
        section.ok("version", "Redis 7.0.15");
        section.warn("eviction", "keys may be evicted", "set maxmemory-policy noeviction");
        let report = Report(vec![Section::new("empty"), section]);
        let expected = "\
redis 10.0.0.1:6379
  OK    version   Redis 7.0.15
  WARN  eviction  keys may be evicted
                  -> set maxmemory-policy noeviction
2 checks: 1 OK, 1 WARN, 0 FAIL
";
        assert_eq!(report.text(), expected);
        let document = report.document();
        assert_eq!(document["ok"], true);
        assert_eq!(document["warnings"], 1);
        assert_eq!(document["findings"][1]["level"], "warn");
        assert_eq!(document["findings"][1]["advice"], "set maxmemory-policy noeviction");
        assert_eq!(document["findings"][0]["advice"], Value::Null);
    }
}
