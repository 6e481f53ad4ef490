//! Whether the rules load.

use super::report::Section;
use crate::config;
use crate::server::rules::load_configured;

/// Loads the rules as a server would.
pub fn check(settings: &config::Rules) -> Section {
    let mut section = Section::new("rules");
    let built_in = settings.paths.is_empty() && settings.runtime.is_none();
    match load_configured(settings) {
        Ok(loaded) => {
            let (files, rules) = (loaded.files.len(), loaded.rules.rule_count());
            let domains = loaded.rules.domains().len();
            if built_in {
                section.ok("rules", "the examples built in; set rules.paths to serve your own");
            } else if rules == 0 {
                section.warn(
                    "rules",
                    format!("{files} files without any rule"),
                    "every request will pass; write rules",
                );
            } else {
                section.ok("rules", format!("{rules} in {domains} domains, from {files} files"));
            }
            for warning in &loaded.warnings {
                section.warn("rules", warning.to_string(), "see `tidegate rules validate`");
            }
        }
        Err(report) if settings.start_without => {
            section.warn("rules", report.to_string(), "correct them; until then requests get an error");
        }
        Err(report) => {
            section.fail("rules", report.to_string(), "correct them; `tidegate rules validate` checks again");
        }
    }
    section
}
