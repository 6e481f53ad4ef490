//! What became of one thing that was written.

use std::fmt;

/// How it came over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It means the same.
    Kept,
    /// It came over, but does not mean quite the same.
    Changed,
    /// It was left out.
    NoEquivalent,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kept => "kept",
            Self::Changed => "changed",
            Self::NoEquivalent => "no equivalent",
        })
    }
}

/// What became of one limit, rule or file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How it came over.
    pub outcome: Outcome,
    /// The file as the user knows it.
    pub file: String,
    /// Counted from 1; 0 when it is about the whole file.
    pub line: u32,
    /// In characters, counted from 1; 0 when it is about the whole line.
    pub column: u32,
    /// What it is about.
    pub what: String,
    /// Why, and what to do; empty when it was kept.
    pub why: String,
}

impl fmt::Display for Finding {
    /// One line: `limits.yaml:4:5: no equivalent: 10 in 60 s: '||' ...`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What a file says must not steer the terminal.
        let plain = |text: &str| text.replace(char::is_control, " ");
        write!(f, "{}:", self.file)?;
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        write!(f, " {}: {}", self.outcome, plain(&self.what))?;
        if !self.why.is_empty() {
            write!(f, ": {}", plain(&self.why))?;
        }
        Ok(())
    }
}
