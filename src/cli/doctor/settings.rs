//! The settings themselves.

use super::report::Section;
use crate::config::compat::Weight;
use crate::config::{ConfigErrors, Loaded};

/// Settings that are valid: what is to be said of them.
pub fn check(loaded: &Loaded) -> Section {
    let mut section = Section::new("settings");
    match &loaded.config.redis {
        Some(_) => section.ok("counters", "in Redis, shared by all replicas"),
        None => section.ok("counters", "in the memory of each process; set redis.urls to share them"),
    }
    for note in &loaded.notes {
        let names = note.names.join(", ");
        match note.weight {
            Weight::Info => section.ok("names", format!("{names}: {}", note.text)),
            Weight::Warning => section.warn("names", format!("{names} has no effect"), note.text),
        }
    }
    section
}

/// Settings with mistakes, each of which says what to write.
pub fn wrong(errors: &ConfigErrors) -> Section {
    let mut section = Section::new("settings");
    for error in &errors.0 {
        let field = if error.field.is_empty() { String::new() } else { format!("{} from ", error.field) };
        section.fail("settings", format!("{field}{} is wrong", error.origin), error.message.clone());
    }
    section
}
