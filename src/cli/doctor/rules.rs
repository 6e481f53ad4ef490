//! Whether the rules load.

use super::report::Section;
use crate::config;
use crate::rules::files::load;
use crate::rules::xds::connect;
use crate::server::rules::files::sources;

/// Loads the rules as a server would.
pub fn check(settings: &config::Rules) -> Section {
    let mut section = Section::new("rules");
    if let Some(xds) = &settings.xds {
        match connect::check(xds) {
            Ok(()) => section.ok("rules", format!("come from the xDS server {}, which is not asked here", xds.server)),
            Err(error) => section.fail("rules", error.to_string(), "correct the settings of rules.xds"),
        }
        return section;
    }
    let Some(sources) = sources(settings) else {
        match &settings.repository_file {
            Some(path) => section.ok("rules", format!("are kept in {}", path.display())),
            None => section.ok(
                "rules",
                "the examples built in, and changes are lost at the end; set rules.paths, rules.repository_file or \
                 DATABASE_URL",
            ),
        }
        return section;
    };
    match load(&sources) {
        Ok(loaded) => {
            let (files, rules) = (loaded.files.len(), loaded.rules.rule_count());
            let domains = loaded.rules.domains().len();
            if rules == 0 {
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
