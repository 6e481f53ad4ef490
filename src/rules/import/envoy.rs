//! Directories of envoyproxy/ratelimit. Its format is ours, so rules come over as they are; told is where they mean
//! something else here.

use std::path::PathBuf;

use super::{Finding, Imported, Outcome};
use crate::core::path::canonical_path;
use crate::core::spec::{DescriptorSpec, DomainSpec, Origin};
use crate::rules::files::{self, Described, Sources};
use crate::rules::report::Report;

const METADATA: &str = "envoyproxy/ratelimit loses a rule's metadata where detailed_metric or value_to_metric alters \
     the name of its metric; here it is passed on. Leave metadata out if that was wanted";

/// Imports files and directories.
///
/// # Errors
/// Every mistake of every file, when there is an error among them.
pub fn import(paths: &[PathBuf], merge_domains: bool) -> Result<Imported, Report> {
    let sources = Sources { merge_domains, ..Sources::paths(paths) };
    let Described { domains, warnings, files } = files::describe(&sources)?;
    let mut walk = Walk { files: &files, kept: vec![0; files.len()], findings: Vec::new(), path: Vec::new() };
    for domain in &domains {
        walk.domain(domain);
    }
    let Walk { kept, mut findings, .. } = walk;
    for (file, rules) in files.iter().zip(kept) {
        findings.push(Finding {
            outcome: Outcome::Kept,
            file: files::name(file),
            line: 0,
            column: 0,
            what: format!("{rules} rule{}", if rules == 1 { "" } else { "s" }),
            why: String::new(),
        });
    }
    findings.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    Ok(Imported { domains, findings, warnings, ..Imported::default() })
}

struct Walk<'a> {
    files: &'a [PathBuf],
    /// How many rules of each file came over as they are.
    kept: Vec<usize>,
    findings: Vec<Finding>,
    path: Vec<&'a DescriptorSpec>,
}

impl<'a> Walk<'a> {
    fn domain(&mut self, domain: &'a DomainSpec) {
        for descriptor in &domain.descriptors {
            self.descriptor(&domain.name, descriptor);
        }
    }

    fn descriptor(&mut self, domain: &str, descriptor: &'a DescriptorSpec) {
        self.path.push(descriptor);
        let rule = &descriptor.rule;
        if rule.effect.is_some() {
            let renamed = rule.detailed_metric || self.path.iter().any(|step| step.rule.value_to_metric);
            if renamed && rule.metadata.is_some() {
                self.changed(domain, rule.origin, METADATA);
            } else if let Some(kept) = self.kept.get_mut(rule.origin.file as usize) {
                *kept += 1;
            }
        }
        for below in &descriptor.descriptors {
            self.descriptor(domain, below);
        }
        self.path.pop();
    }

    fn changed(&mut self, domain: &str, origin: Origin, why: &str) {
        let path = canonical_path(self.path.iter().map(|step| (step.key.as_str(), step.value.as_deref())));
        self.findings.push(Finding {
            outcome: Outcome::Changed,
            file: self.files.get(origin.file as usize).map(|file| files::name(file)).unwrap_or_default(),
            line: origin.line,
            column: origin.column,
            what: format!("rule {path} of domain {domain}"),
            why: why.to_owned(),
        });
    }
}
