//! Whether counters may be evicted, and whether there is room for more.

use super::link::Info;
use crate::cli::doctor::report::Section;

/// From which share of its memory on a server is nearly full, in percent.
const NEARLY_FULL: u64 = 90;

/// Judges memory and eviction.
pub fn check(info: &Info, section: &mut Section) {
    let (Some(used), Some(most)) = (info.number("used_memory"), info.number("maxmemory")) else {
        section.warn("memory", "the server tells nothing of its memory", "look at maxmemory and maxmemory-policy");
        return;
    };
    let policy = info.get("maxmemory_policy");
    if most == 0 {
        section.ok("eviction", "none: maxmemory is not set");
        section.ok("memory", format!("{} used, no limit", bytes(used)));
        return;
    }
    if policy == "noeviction" {
        section.ok("eviction", "none: maxmemory-policy is noeviction");
    } else {
        // Every counter expires, so that the volatile policies see all of them, too.
        section.warn(
            "eviction",
            format!("maxmemory-policy is {policy}: a full server evicts counters, whose limits then start anew"),
            "set maxmemory-policy noeviction, in a Redis of its own for counters",
        );
    }
    let percent = used.saturating_mul(100) / most;
    let shown = format!("{} of {} used ({percent} %)", bytes(used), bytes(most));
    if percent >= 100 && policy == "noeviction" {
        section.fail("memory", format!("{shown}: new counters are refused (OOM)"), "raise maxmemory");
    } else if percent >= NEARLY_FULL {
        section.warn("memory", shown, "raise maxmemory, before counters are refused or evicted");
    } else {
        section.ok("memory", shown);
    }
}

fn bytes(count: u64) -> String {
    format!("{:.1} MiB", count as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::report::Level;

    fn levels(info: &str) -> Vec<Level> {
        let mut section = Section::new("test");
        check(&Info::parse(info), &mut section);
        section.findings.iter().map(|finding| finding.level).collect()
    }

    #[test]
    fn eviction_and_fullness_are_told_apart() {
        use Level::{Fail, Ok, Warn};
        let info = |used, most, policy| format!("used_memory:{used}\r\nmaxmemory:{most}\r\nmaxmemory_policy:{policy}");
        assert_eq!(levels(&info(5, 0, "noeviction")), [Ok, Ok]);
        assert_eq!(levels(&info(5, 0, "allkeys-lru")), [Ok, Ok], "nothing is evicted without maxmemory");
        assert_eq!(levels(&info(5, 100, "noeviction")), [Ok, Ok]);
        assert_eq!(levels(&info(5, 100, "volatile-ttl")), [Warn, Ok]);
        assert_eq!(levels(&info(95, 100, "noeviction")), [Ok, Warn]);
        assert_eq!(levels(&info(100, 100, "noeviction")), [Ok, Fail]);
        assert_eq!(levels(&info(101, 100, "allkeys-lfu")), [Warn, Warn], "it evicts instead of refusing");
        assert_eq!(levels(""), [Warn]);
    }
}
