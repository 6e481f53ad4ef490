//! Limits files of Kuadrant limitador 2.
//!
//! There, a limit applies to a request when all its conditions hold, whatever else the request's descriptors say, and
//! several may apply at once. Here, a rule applies to a descriptor of exactly its entries in their order. So each set
//! of keys that limits ask for becomes a descriptor that Envoy must send, made of those entries alone
//! ([`SentDescriptor`]); given these, the rules decide as the limits do, but for what the findings name.
//!
//! - [`file`] reads the text, and refuses what limitador would misread,
//! - [`expression`] reads conditions and variables,
//! - [`order`] orders the entries of descriptors,
//! - [`values`] tells the values of an entry apart, and [`place`] puts the limits of a domain in a tree by that.

mod expression;
mod file;
mod order;
mod place;
#[cfg(test)]
mod tests;
mod values;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::{Finding, Imported, Outcome, SentDescriptor};
use crate::core::clock::Micros;
use crate::core::limit::{Limit, LimitParts, Over, Window};
use crate::core::ruleset::{MAX_DEPTH, RuleSet};
use crate::core::spec::{Charge, DescriptorSpec, DomainSettings, DomainSpec, LimitSpec, Origin};
use crate::rules::files::{self, Lines, Sources, Texts};
use crate::rules::report::{Diagnostic, Report, Severity};

use expression::{conditions, variable};
use file::ForeignLimit;
use order::{Shape, put_in_order};
use place::{Candidate, Fate, Step, place};
use values::Test;

/// The entry that Envoy must send for limits on every request.
const EVERY_REQUEST: (&str, &str) = ("generic_key", "every_request");

/// The largest amount that a rule file can say.
const MAX_AMOUNT: u64 = u32::MAX as u64;

/// What limitador's limits mean of a whole domain: what is denied is counted nowhere, and requests bring no limits.
const SETTINGS: DomainSettings = DomainSettings {
    charge: Charge::AllOrNothing,
    accept_overrides: false,
    accept_refunds: false,
    ..DomainSettings::FILE
};

const NOTES: [&str; 2] = [
    "windows begin at whole multiples of their length, for all at the same instant; limitador's begin with the first \
     hit after the one before has ended",
    "a descriptor's own hits_addend is honoured here; limitador takes the request's for all",
];

/// Imports files and directories of them; together they are one set of limits.
///
/// # Errors
/// Every mistake of every file, when there is an error among them.
pub fn import(paths: &[PathBuf]) -> Result<Imported, Report> {
    let Texts { files: texts, mut report, .. } = Texts::read(&Sources::paths(paths));
    let mut limits = Vec::new();
    for (index, (path, text)) in (0u32..).zip(&texts) {
        let Some(text) = text else { continue };
        let (read, problems) = file::read(text, index);
        limits.extend(read);
        let lines = Lines::of(text);
        for problem in problems {
            let file = files::name(path);
            report.push(lines.diagnostic(file, problem.severity, problem.origin, problem.message, problem.help));
        }
    }
    let files: Vec<&Path> = texts.iter().map(|(path, _)| path.as_path()).collect();
    report_duplicates(&limits, &texts, &mut report);
    if report.errors() > 0 {
        return Err(report);
    }
    let mut imported = Imported { warnings: report.diagnostics, notes: NOTES.to_vec(), ..Imported::default() };
    let mut findings = Vec::with_capacity(limits.len());
    for (namespace, limits) in by_namespace(&limits) {
        let mut domain =
            DomainSpec { origin: limits[0].namespace.at, settings: SETTINGS, ..DomainSpec::new(namespace) };
        domain.descriptors = translate(&limits, &mut findings, &mut imported.descriptors).map_err(|error| {
            let message = format!("namespace '{namespace}': {error}");
            failure(&files, domain.origin, message, "split the namespace, or leave out conditions")
        })?;
        if !domain.descriptors.is_empty() {
            imported.domains.push(domain);
        }
    }
    findings.sort_by_key(|(origin, ..)| *origin);
    imported.findings = findings
        .into_iter()
        .map(|(origin, outcome, what, why)| Finding {
            outcome,
            file: file_name(&files, origin),
            line: origin.line,
            column: origin.column,
            what,
            why,
        })
        .collect();
    // Whoever gets the rules need not wonder whether they load.
    if let Err(errors) = RuleSet::compile(imported.domains.clone(), false) {
        let mut report = Report::default();
        for error in errors {
            let file = file_name(&files, error.origin);
            report
                .push(Diagnostic { line: error.origin.line, ..Diagnostic::file_error(file, error.to_string(), None) });
        }
        return Err(report);
    }
    Ok(imported)
}

/// Where, how it came over, what, and why.
type Found = (Origin, Outcome, String, String);

fn file_name(files: &[&Path], origin: Origin) -> String {
    files.get(origin.file as usize).map(|path| files::name(path)).unwrap_or_default()
}

fn failure(files: &[&Path], origin: Origin, message: String, help: &str) -> Report {
    let mut report = Report::default();
    let diagnostic = Diagnostic::file_error(file_name(files, origin), message, Some(help.to_owned()));
    report.push(Diagnostic { line: origin.line, column: origin.column, ..diagnostic });
    report
}

/// limitador keeps one of several limits that differ in their amounts and names only, and which is not said.
fn report_duplicates(limits: &[ForeignLimit], texts: &[(PathBuf, Option<String>)], report: &mut Report) {
    let mut seen = HashMap::new();
    for limit in limits {
        let set = |texts: &'_ [file::Text]| texts.iter().map(|text| text.text.clone()).collect::<BTreeSet<_>>();
        let key = (&limit.namespace.text, limit.seconds, set(&limit.conditions), set(&limit.variables));
        let Some(first) = seen.insert(key, limit.at) else { continue };
        let place =
            |origin: Origin| texts.get(origin.file as usize).map(|(path, _)| files::name(path)).unwrap_or_default();
        let lines = texts.get(limit.at.file as usize).and_then(|(_, text)| text.as_deref()).map_or("", |text| text);
        let message = "a limit with this namespace, seconds, conditions and variables was written before".to_owned();
        let help = format!("it stands in {}:{}, and limitador keeps only one; leave one out", place(first), first.line);
        let diagnostic = Lines::of(lines).diagnostic(place(limit.at), Severity::Error, limit.at, message, Some(help));
        report.push(diagnostic);
    }
}

/// The limits of each namespace, in the order of writing.
fn by_namespace(limits: &[ForeignLimit]) -> Vec<(&str, Vec<&ForeignLimit>)> {
    let mut namespaces: Vec<(&str, Vec<&ForeignLimit>)> = Vec::new();
    let mut places = HashMap::new();
    for limit in limits {
        let name = limit.namespace.text.as_str();
        let place = *places.entry(name).or_insert_with(|| {
            namespaces.push((name, Vec::new()));
            namespaces.len() - 1
        });
        namespaces[place].1.push(limit);
    }
    namespaces
}

/// A limit on its way.
struct Translated<'l> {
    limit: &'l ForeignLimit,
    candidate: Candidate,
    /// Which descriptor of the request it is about; `None` for every request.
    descriptor: Option<u32>,
}

/// The descriptors of one domain.
fn translate(
    limits: &[&ForeignLimit],
    findings: &mut Vec<Found>,
    sent: &mut Vec<SentDescriptor>,
) -> Result<Vec<DescriptorSpec>, place::TooMany> {
    let mut translated = Vec::with_capacity(limits.len());
    for &limit in limits {
        match one(limit) {
            Ok(one) => translated.push(one),
            Err((at, why)) => findings.push((at, Outcome::NoEquivalent, describe(limit), why)),
        }
    }
    let translated = in_order(translated, findings);
    let candidates: Vec<Candidate> = translated.iter().map(|one| one.candidate.clone()).collect();
    let (descriptors, fates) = place(&candidates)?;
    let mut known = HashSet::new();
    for (one, fate) in translated.iter().zip(fates) {
        let (limit, is_kept) = (one.limit, !fate.paths.is_empty() && fate.clash.is_none());
        findings.push(conclude(one, &fate));
        if let Some(id) = limit.id.as_ref().filter(|_| is_kept) {
            let why = "rules are known by their paths; the limit came over without it";
            findings.push((id.at, Outcome::NoEquivalent, format!("id '{}'", id.text), why.to_owned()));
        }
        let descriptor = one.sent();
        if is_kept && known.insert(descriptor.clone()) {
            sent.push(descriptor);
        }
    }
    Ok(descriptors)
}

/// One limit, or where and why it has no equivalent.
fn one(limit: &ForeignLimit) -> Result<Translated<'_>, (Origin, String)> {
    let mut steps: Vec<Step> = Vec::new();
    let mut descriptor = None;
    let mut step = |place: expression::Place, at: Origin| {
        if *descriptor.get_or_insert(place.descriptor) != place.descriptor {
            return Err((at, "it is about several descriptors, and a rule matches one alone".to_owned()));
        }
        let known = steps.iter().position(|step| step.key == place.key);
        Ok::<_, (Origin, String)>(known.unwrap_or_else(|| {
            steps.push(Step { key: place.key, tests: Vec::new(), variable: false });
            steps.len() - 1
        }))
    };
    let mut tests = Vec::new();
    for text in &limit.conditions {
        let all = conditions(&text.text).map_err(|why| (text.at, format!("condition \"{}\": {why}", text.text)))?;
        for condition in all {
            tests.push((step(condition.place, text.at)?, (condition.test, condition.negated)));
        }
    }
    let mut variables = Vec::new();
    for text in &limit.variables {
        let place = variable(&text.text).map_err(|why| (text.at, format!("variable \"{}\": {why}", text.text)))?;
        variables.push(step(place, text.at)?);
    }
    for (step, test) in tests {
        steps[step].tests.push(test);
    }
    for step in variables {
        steps[step].variable = true;
    }
    if steps.len() > MAX_DEPTH {
        return Err((limit.at, format!("it is about more than {MAX_DEPTH} entries")));
    }
    if limit.max_value > MAX_AMOUNT {
        return Err((limit.at, format!("max_value is more than {MAX_AMOUNT}, the most that a rule file can say")));
    }
    let window = Micros(limit.seconds.saturating_mul(1_000_000));
    let parts = LimitParts { over: Over::Drop, ..LimitParts::fixed_window(limit.max_value, Window::Length(window)) };
    let spec = LimitSpec {
        limit: Limit::new(parts).map_err(|error| (limit.at, error.to_string()))?,
        name: limit.name.as_ref().map(|name| name.text.clone()),
        replaces: Vec::new(),
    };
    if steps.is_empty() {
        let (key, value) = EVERY_REQUEST;
        let tests = vec![(Test::Is(vec![value.to_owned()]), false)];
        steps.push(Step { key: key.to_owned(), tests, variable: false });
    }
    Ok(Translated { limit, candidate: Candidate { origin: limit.at, steps, limit: spec }, descriptor })
}

/// One order of entries for each set of keys, and one descriptor of the request it is taken from.
fn in_order<'l>(translated: Vec<Translated<'l>>, findings: &mut Vec<Found>) -> Vec<Translated<'l>> {
    // Limits on every request last, so that they give way to limits on an entry of that name.
    let (of_entries, of_all): (Vec<_>, Vec<_>) = translated.into_iter().partition(|one| one.descriptor.is_some());
    let mut shapes: Vec<Shape> = Vec::new();
    let mut known: HashMap<BTreeSet<String>, (usize, Option<u32>, u32)> = HashMap::new();
    let mut placed = Vec::new();
    for one in of_entries.into_iter().chain(of_all) {
        let steps = &one.candidate.steps;
        let set: BTreeSet<String> = steps.iter().map(|step| step.key.clone()).collect();
        let (shape, descriptor, line) = *known.entry(set).or_insert_with(|| {
            let keys = steps.iter().map(|step| step.key.clone()).collect();
            shapes.push(Shape { keys, together: HashSet::new() });
            (shapes.len() - 1, one.descriptor, one.limit.at.line)
        });
        if descriptor != one.descriptor {
            let why = format!(
                "line {line} is about the same entries of another descriptor, and rules do not tell descriptors apart \
                 by their places; have Envoy name the entries otherwise"
            );
            findings.push((one.limit.at, Outcome::NoEquivalent, describe(one.limit), why));
            continue;
        }
        let together = steps.iter().filter(|step| !step.variable && step.listed().is_none());
        shapes[shape].together.extend(together.map(|step| step.key.clone()));
        placed.push((shape, one));
    }
    put_in_order(&mut shapes);
    let mut ordered = Vec::with_capacity(placed.len());
    for (shape, mut one) in placed {
        one.candidate.steps.sort_by_key(|step| shapes[shape].keys.iter().position(|key| *key == step.key));
        ordered.push(one);
    }
    ordered.sort_by_key(|one| one.limit.at);
    ordered
}

impl Translated<'_> {
    fn sent(&self) -> SentDescriptor {
        let value = |_: &Step| self.descriptor.is_none().then(|| EVERY_REQUEST.1.to_owned());
        SentDescriptor {
            domain: self.limit.namespace.text.clone(),
            from: self.descriptor,
            entries: self.candidate.steps.iter().map(|step| (step.key.clone(), value(step))).collect(),
        }
    }
}

/// `"per-user", 10 in 60 s of domain shop`.
fn describe(limit: &ForeignLimit) -> String {
    let name = limit.name.as_ref().map(|name| format!("\"{}\", ", name.text)).unwrap_or_default();
    format!("{name}{} in {} s of domain {}", limit.max_value, limit.seconds, limit.namespace.text)
}

fn conclude(one: &Translated<'_>, fate: &Fate) -> Found {
    /// More paths than these are only counted.
    const SHOWN: usize = 3;
    let (at, what) = (one.limit.at, describe(one.limit));
    if let Some(clash) = &fate.clash {
        return (at, Outcome::NoEquivalent, what, clash.to_string());
    }
    if fate.paths.is_empty() {
        return (at, Outcome::NoEquivalent, what, "its conditions exclude each other, so it never applies".to_owned());
    }
    let more = fate.paths.len().saturating_sub(SHOWN);
    let paths = fate.paths[..fate.paths.len().min(SHOWN)].join(" and ");
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let what = format!("{what}, now {paths}{more}");
    let mut changes = Vec::new();
    if one.descriptor.is_none() {
        let (key, value) = EVERY_REQUEST;
        changes
            .push(format!("it applies to every request, for which Envoy must send an entry of its own, {key}={value}"));
    }
    if !fate.split.is_empty() {
        changes.push(format!(
            "its counter is split by the values of {} that limits name, and each part allows the whole amount",
            fate.split.join(" and ")
        ));
    }
    if let Some(name) = &fate.renamed {
        changes.push(format!("it is called {name}, because another limit of the rule has its name"));
    }
    let outcome = if changes.is_empty() { Outcome::Kept } else { Outcome::Changed };
    (at, outcome, what, changes.join("; "))
}
