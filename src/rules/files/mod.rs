//! Rules from files: found, read, checked and compiled together.

mod listing;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::core::ruleset::{CompileError, CompileErrorKind, RuleSet};
use crate::core::spec::{DomainSpec, Origin};

use super::report::{Diagnostic, Report, Severity};
use super::yaml;

pub use listing::Fingerprint;
pub(super) use listing::Listing;

/// The largest rule file, in bytes.
pub const MAX_FILE_SIZE: u64 = 64 << 20;
/// The largest size of all rule files together, in bytes.
pub const MAX_TOTAL_SIZE: u64 = 256 << 20;
/// The most rule files.
pub const MAX_FILES: usize = 10_000;

/// A place where rule files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A file of any name, or a directory, of which the `.yaml`, `.yml` and `.json` files are read, at any depth.
    Path(PathBuf),
    /// A file of any name; nothing else.
    File(PathBuf),
    /// The directories of envoyproxy/ratelimit.
    Runtime(RuntimeRoot),
}

/// The directory layout of envoyproxy/ratelimit: `root/subdirectory/app_directory`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeRoot {
    /// `RUNTIME_ROOT`, usually a symbolic link.
    pub root: PathBuf,
    /// `RUNTIME_SUBDIRECTORY`, may be empty.
    pub subdirectory: PathBuf,
    /// `RUNTIME_APPDIRECTORY`.
    pub app_directory: PathBuf,
    /// `RUNTIME_WATCH_ROOT`. Where the root is a symbolic link: with `true`, only pointing it elsewhere counts as a
    /// change, so that files may be prepared in place; with `false`, every change in the directory counts. A root
    /// that is no link can only be changed in place, so there every change counts.
    pub watch_root: bool,
}

/// Where rules are, and how they are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// Read in this order.
    pub locations: Vec<Location>,
    /// Leave out files and directories whose names begin with a dot (`RUNTIME_IGNOREDOTFILES`). Names that begin with
    /// two dots, the inside of a mounted ConfigMap, are always left out.
    pub ignore_dot_files: bool,
    /// Merge the descriptors of files with the same domain (`MERGE_DOMAIN_CONFIG`).
    pub merge_domains: bool,
    /// Warnings are errors.
    pub strict: bool,
}

impl Sources {
    /// Files and directories.
    pub fn paths<P: Into<PathBuf>>(paths: impl IntoIterator<Item = P>) -> Self {
        Self { locations: paths.into_iter().map(|path| Location::Path(path.into())).collect(), ..Self::default() }
    }

    /// Files, of whatever they are.
    pub fn files<P: Into<PathBuf>>(paths: impl IntoIterator<Item = P>) -> Self {
        Self { locations: paths.into_iter().map(|path| Location::File(path.into())).collect(), ..Self::default() }
    }

    /// The directories of envoyproxy/ratelimit.
    #[must_use]
    pub fn runtime(root: RuntimeRoot) -> Self {
        Self { locations: vec![Location::Runtime(root)], ..Self::default() }
    }
}

/// A set of rules that is ready to be put in force.
#[derive(Debug)]
pub struct Loaded {
    /// The rules.
    pub rules: RuleSet,
    /// What was written without effect; at most [`MAX_DIAGNOSTICS`](super::report::MAX_DIAGNOSTICS).
    pub warnings: Vec<Diagnostic>,
    /// Every file read; an [`Origin`] counts in it.
    pub files: Vec<PathBuf>,
    /// How they looked when they were read.
    pub fingerprint: Fingerprint,
}

impl Loaded {
    /// The file in which something was written.
    #[must_use]
    pub fn file(&self, origin: Origin) -> Option<&Path> {
        self.files.get(origin.file as usize).map(PathBuf::as_path)
    }
}

/// Reads and compiles the rules of all sources.
///
/// # Errors
/// Every mistake of every file, when there is an error among them.
pub fn load(sources: &Sources) -> Result<Loaded, Report> {
    load_texts(sources, Texts::read(sources))
}

/// The example rules that are built in, for when nothing is configured.
#[must_use]
pub fn example() -> Option<DomainSpec> {
    yaml::parse(include_str!("../../../examples/rules/quickstart.yaml"), 0).domain
}

/// Checks one text as if it were a file of that name: for tools that have rules, but no file.
///
/// # Errors
/// Every mistake in it, when there is an error among them.
pub fn load_text(name: &str, text: &str) -> Result<Loaded, Report> {
    let mut gathering = Gathering::default();
    gathering.add(PathBuf::from(name), text.to_owned());
    gathering.finish(&Sources::default())
}

/// What files say, checked as a whole, but not compiled: for tools that pass rules on.
#[derive(Debug)]
pub struct Described {
    /// One of each name, in the order of reading.
    pub domains: Vec<DomainSpec>,
    /// As in [`Loaded`].
    pub warnings: Vec<Diagnostic>,
    /// Every file read; an [`Origin`] counts in it.
    pub files: Vec<PathBuf>,
}

/// Reads and checks the rules of all sources.
///
/// # Errors
/// Every mistake of every file, when there is an error among them.
pub fn describe(sources: &Sources) -> Result<Described, Report> {
    let gathering = Gathering::of(Texts::read(sources));
    let mut domains: Vec<DomainSpec> = Vec::new();
    for domain in gathering.domains.clone() {
        match domains.iter_mut().find(|known| known.name == domain.name) {
            Some(known) => known.descriptors.extend(domain.descriptors),
            None => domains.push(domain),
        }
    }
    let Loaded { warnings, files, .. } = gathering.finish(sources)?;
    Ok(Described { domains, warnings, files })
}

/// Compiles rules of texts that have been read.
pub(super) fn load_texts(sources: &Sources, texts: Texts) -> Result<Loaded, Report> {
    Gathering::of(texts).finish(sources)
}

/// What files say, of whatever they are: read whole, within bounds.
#[derive(Debug, Default)]
pub struct Texts {
    /// In the order of reading; `None`, and an error in the report, where a file cannot be read.
    pub files: Vec<(PathBuf, Option<String>)>,
    /// What is wrong with them as files.
    pub report: Report,
    /// How they looked when they were read.
    pub fingerprint: Fingerprint,
}

impl Texts {
    /// Reads the files of all sources.
    #[must_use]
    pub fn read(sources: &Sources) -> Self {
        Self::of(Listing::of(sources))
    }

    pub(super) fn of(listing: Listing) -> Self {
        let mut report = Report::default();
        for diagnostic in listing.diagnostics {
            report.push(diagnostic);
        }
        let mut files = Vec::with_capacity(listing.files.len());
        let mut total = 0;
        for file in listing.files {
            match read(&file.path) {
                Ok(text) => {
                    total += text.len() as u64;
                    if total > MAX_TOTAL_SIZE {
                        let message = format!("the files are larger than {} MiB together", MAX_TOTAL_SIZE >> 20);
                        let help = Some("write fewer entries: rules may have patterns with '*'".to_owned());
                        report.push(Diagnostic::file_error(name(&file.path), message, help));
                        break;
                    }
                    files.push((file.path, Some(text)));
                }
                Err(error) => {
                    report.push(error);
                    files.push((file.path, None));
                }
            }
        }
        Self { files, report, fingerprint: listing.fingerprint }
    }
}

/// What has been read so far.
#[derive(Default)]
struct Gathering {
    report: Report,
    domains: Vec<DomainSpec>,
    files: Vec<(PathBuf, String)>,
    fingerprint: Fingerprint,
}

impl Gathering {
    fn of(texts: Texts) -> Self {
        let Texts { files, report, fingerprint } = texts;
        let mut gathering = Self { report, fingerprint, ..Self::default() };
        for (path, text) in files {
            match text {
                Some(text) => gathering.add(path, text),
                // Nothing refers to it, but it keeps its place in the order.
                None => gathering.files.push((path, String::new())),
            }
        }
        gathering
    }

    fn add(&mut self, path: PathBuf, text: String) {
        let index = u32::try_from(self.files.len()).unwrap_or(u32::MAX);
        let parsed = yaml::parse(&text, index);
        self.domains.extend(parsed.domain);
        self.files.push((path, text));
        if let (false, Some((path, text))) = (parsed.problems.is_empty(), self.files.last()) {
            let lines = Lines::of(text);
            for problem in parsed.problems {
                let yaml::Problem { severity, origin, message, help } = problem;
                self.report.push(lines.diagnostic(name(path), severity, origin, message, help));
            }
        }
    }

    fn finish(mut self, sources: &Sources) -> Result<Loaded, Report> {
        let compiled = RuleSet::compile(std::mem::take(&mut self.domains), sources.merge_domains);
        let rules = compiled.map_err(|errors| self.report_compile_errors(errors)).ok();
        if sources.strict {
            self.report.make_strict();
        }
        match rules {
            Some(rules) if self.report.errors() == 0 => Ok(Loaded {
                rules,
                warnings: self.report.diagnostics,
                files: self.files.into_iter().map(|(path, _)| path).collect(),
                fingerprint: self.fingerprint,
            }),
            _ => Err(self.report),
        }
    }

    fn report_compile_errors(&mut self, mut errors: Vec<CompileError>) {
        errors.sort_by_key(|error| error.origin);
        for of_file in errors.chunk_by(|a, b| a.origin.file == b.origin.file) {
            let file = of_file.first().and_then(|error| self.files.get(error.origin.file as usize));
            let (path, lines) = match file {
                Some((path, text)) => (name(path), Lines::of(text)),
                None => (String::new(), Lines::of("")),
            };
            for error in of_file {
                let help = self.compile_help(&error.kind);
                let message = error.kind.to_string();
                let diagnostic = lines.diagnostic(path.clone(), Severity::Error, error.origin, message, help);
                self.report.push(diagnostic);
            }
        }
        // Together with what was found in the same files before, in the order of reading.
        let order: std::collections::HashMap<String, usize> =
            self.files.iter().enumerate().map(|(index, (path, _))| (name(path), index + 1)).collect();
        self.report.diagnostics.sort_by_key(|diagnostic| {
            (order.get(&diagnostic.file).copied().unwrap_or(0), diagnostic.line, diagnostic.column)
        });
    }

    fn compile_help(&self, kind: &CompileErrorKind) -> Option<String> {
        let place = |origin: &Origin| match self.files.get(origin.file as usize) {
            Some((path, _)) => format!("{}:{}", name(path), origin.line),
            None => "elsewhere".to_owned(),
        };
        match kind {
            CompileErrorKind::DuplicateDomain { first, .. } => Some(format!(
                "it is written first in {}; write it once, or set merge_domains (MERGE_DOMAIN_CONFIG=true) to merge \
                 the descriptors",
                place(first)
            )),
            CompileErrorKind::DuplicateDescriptor { first, .. } => {
                Some(format!("it is written first in {}; a key and value may stand once on a level", place(first)))
            }
            CompileErrorKind::TooDeep => Some("nest descriptors less deeply".to_owned()),
            CompileErrorKind::TooManyRules => Some("write fewer rules, or use patterns with '*'".to_owned()),
        }
    }
}

/// The lines of a text, found once for all diagnostics about it.
pub(super) struct Lines<'a> {
    lines: Vec<&'a str>,
}

impl<'a> Lines<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        // YAML also ends a line at a carriage return that stands alone.
        let ended = |line: &'a str| line.strip_suffix('\r').unwrap_or(line).split('\r');
        Self { lines: text.split('\n').flat_map(ended).collect() }
    }

    pub(super) fn diagnostic(
        &self,
        file: String,
        severity: Severity,
        origin: Origin,
        message: String,
        help: Option<String>,
    ) -> Diagnostic {
        /// More of a line than is ever shown.
        const LONGEST: usize = 10_000;
        let line = (origin.line as usize).checked_sub(1).and_then(|line| self.lines.get(line));
        let source = line.filter(|line| line.len() <= LONGEST).map(|line| (*line).to_owned());
        Diagnostic { severity, file, line: origin.line, column: origin.column, message, help, source }
    }
}

pub(super) fn name(path: &Path) -> String {
    path.display().to_string()
}

/// The text of a file.
fn read(path: &Path) -> Result<String, Diagnostic> {
    let bytes = read_bounded(path)
        .map_err(|error| Diagnostic::file_error(name(path), format!("cannot read the file: {error}"), None))?;
    if bytes.len() as u64 > MAX_FILE_SIZE {
        let message = format!("the file is larger than {} MiB", MAX_FILE_SIZE >> 20);
        let help = "split it over several files (rules of one domain: with merge_domains)".to_owned();
        return Err(Diagnostic::file_error(name(path), message, Some(help)));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..valid].iter().filter(|byte| **byte == b'\n').count();
        Diagnostic {
            line: u32::try_from(line).unwrap_or(u32::MAX),
            ..Diagnostic::file_error(
                name(path),
                format!("the file is not UTF-8: byte 0x{:02X} at offset {valid}", error.as_bytes()[valid]),
                Some("save it as UTF-8".to_owned()),
            )
        }
    })
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let expected = file.metadata()?.len().min(MAX_FILE_SIZE);
    let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or(0) + 1);
    file.take(MAX_FILE_SIZE + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
