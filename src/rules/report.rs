//! Mistakes in rules, and how they are told: all of them at once, each with its place and what to write instead.

use std::fmt;

use serde::Serialize;

/// At most so many diagnostics are kept; the rest are only counted.
pub const MAX_DIAGNOSTICS: usize = 1_000;

/// How bad a diagnostic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The rules cannot be used.
    Error,
    /// The rules can be used, but something written in them has no effect, or not the likely one.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The file as the user knows it; empty when it is about no file.
    pub file: String,
    /// Counted from 1; 0 when it is about the whole file.
    pub line: u32,
    /// In characters, counted from 1; 0 when it is about the whole line.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The line of the file, for display.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

impl Diagnostic {
    /// An error about a whole file.
    #[must_use]
    pub fn file_error(file: impl Into<String>, message: impl Into<String>, help: Option<String>) -> Self {
        Self {
            severity: Severity::Error,
            file: file.into(),
            line: 0,
            column: 0,
            message: message.into(),
            help,
            source: None,
        }
    }

    /// A warning about a whole file.
    #[must_use]
    pub fn file_warning(file: impl Into<String>, message: impl Into<String>, help: Option<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::file_error(file, message, help) }
    }
}

impl fmt::Display for Diagnostic {
    /// Several lines, without a line feed at the end:
    ///
    /// ```text
    /// edge.yaml:4:5: error: unknown key 'ratelimit'
    ///   4 |     ratelimit:
    ///     |     ^
    ///   help: did you mean 'rate_limit'?
    /// ```
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.is_empty() {
            write!(f, "{}:", self.file)?;
            if self.line > 0 {
                write!(f, "{}:", self.line)?;
                if self.column > 0 {
                    write!(f, "{}:", self.column)?;
                }
            }
            f.write_str(" ")?;
        }
        write!(f, "{}: {}", self.severity, self.message)?;
        if let Some(source) = &self.source {
            let (text, caret) = excerpt(source, self.column);
            let number = self.line.to_string();
            write!(f, "\n  {number} | {text}")?;
            if let Some(caret) = caret {
                write!(f, "\n  {:width$} | {:caret$}^", "", "", width = number.len())?;
            }
        }
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

/// The part of a line worth showing, and the caret's place in it. Tabs and other control characters become spaces, so
/// that the caret stands where it should and a file cannot steer the terminal.
fn excerpt(line: &str, column: u32) -> (String, Option<usize>) {
    const WIDTH: usize = 100;
    let column = column as usize;
    let skipped = if column > WIDTH { column - WIDTH / 2 } else { 0 };
    let text: String = line
        .chars()
        .skip(skipped)
        .take(WIDTH)
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect();
    (text.trim_end().to_owned(), column.checked_sub(1 + skipped))
}

/// Every mistake found in a set of rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// In the order of files and lines; at most [`MAX_DIAGNOSTICS`].
    pub diagnostics: Vec<Diagnostic>,
    /// How many more errors there were.
    pub omitted_errors: usize,
    /// How many more warnings there were.
    pub omitted_warnings: usize,
}

impl Report {
    /// Adds a diagnostic, or counts it when there are too many. An error then takes the place of a warning.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        if self.diagnostics.len() < MAX_DIAGNOSTICS {
            self.diagnostics.push(diagnostic);
            return;
        }
        match diagnostic.severity {
            Severity::Warning => self.omitted_warnings += 1,
            // Once an error was omitted, there is no warning left to give way.
            Severity::Error if self.omitted_errors > 0 => self.omitted_errors += 1,
            Severity::Error => {
                let is_warning = |kept: &Diagnostic| kept.severity == Severity::Warning;
                if let Some(place) = self.diagnostics.iter().rposition(is_warning) {
                    self.diagnostics.remove(place);
                    self.diagnostics.push(diagnostic);
                    self.omitted_warnings += 1;
                } else {
                    self.omitted_errors += 1;
                }
            }
        }
    }

    /// Turns every warning into an error.
    pub fn make_strict(&mut self) {
        for diagnostic in &mut self.diagnostics {
            diagnostic.severity = Severity::Error;
        }
        self.omitted_errors += std::mem::take(&mut self.omitted_warnings);
    }

    /// The number of errors, also those that were only counted.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.count(Severity::Error) + self.omitted_errors
    }

    /// The number of warnings, also those that were only counted.
    #[must_use]
    pub fn warnings(&self) -> usize {
        self.count(Severity::Warning) + self.omitted_warnings
    }

    fn count(&self, severity: Severity) -> usize {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for diagnostic in &self.diagnostics {
            writeln!(f, "{diagnostic}")?;
        }
        let omitted = self.omitted_errors + self.omitted_warnings;
        if omitted > 0 {
            writeln!(f, "... and {omitted} more")?;
        }
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        let (errors, warnings) = (self.errors(), self.warnings());
        write!(f, "{errors} error{}, {warnings} warning{}", plural(errors), plural(warnings))
    }
}

impl std::error::Error for Report {}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown_key() -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            file: "edge.yaml".into(),
            line: 12,
            column: 5,
            message: "unknown key 'ratelimit'".into(),
            help: Some("did you mean 'rate_limit'?".into()),
            source: Some("    ratelimit:".into()),
        }
    }

    #[test]
    fn a_diagnostic_points_at_the_source() {
        assert_eq!(
            unknown_key().to_string(),
            "edge.yaml:12:5: error: unknown key 'ratelimit'\n  12 |     ratelimit:\n     |     ^\n  help: did you mean \
             'rate_limit'?"
        );
    }

    #[test]
    fn a_long_line_is_cut_around_the_column() {
        let source = format!("{}KEY", "x".repeat(1_000));
        let diagnostic = Diagnostic { column: 1_001, source: Some(source), help: None, ..unknown_key() };
        let text = diagnostic.to_string();
        let lines: Vec<&str> = text.lines().collect();
        let caret = lines[2].find('^').unwrap();
        assert_eq!(&lines[1][caret..], "KEY");
        assert!(lines[1].len() < 120);
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let diagnostic = Diagnostic { source: Some("\u{1b}[31m\tkey".into()), ..unknown_key() };
        assert!(diagnostic.to_string().chars().all(|character| character == '\n' || !character.is_control()));
    }

    #[test]
    fn more_than_the_bound_are_counted() {
        let mut report = Report::default();
        for _ in 0..MAX_DIAGNOSTICS + 5 {
            report.push(unknown_key());
        }
        assert_eq!((report.diagnostics.len(), report.errors(), report.warnings()), (MAX_DIAGNOSTICS, 1_005, 0));
        assert!(report.to_string().ends_with("... and 5 more\n1005 errors, 0 warnings"));
    }

    #[test]
    fn an_error_takes_the_place_of_a_warning() {
        let mut report = Report::default();
        for _ in 0..MAX_DIAGNOSTICS {
            report.push(Diagnostic { severity: Severity::Warning, ..unknown_key() });
        }
        report.push(unknown_key());
        assert_eq!((report.errors(), report.warnings(), report.omitted_warnings), (1, MAX_DIAGNOSTICS, 1));
        assert_eq!(report.diagnostics.last().map(|kept| kept.severity), Some(Severity::Error));
    }

    #[test]
    fn json_carries_the_place() {
        let json = serde_json::to_value(unknown_key()).unwrap();
        assert_eq!(json["severity"], "error");
        assert_eq!(json["line"], 12);
    }
}
