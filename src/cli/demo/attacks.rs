//! Which attacks the demo shows.

use crate::anomaly::simulate::Scenario;

/// Those that are found within seconds by what decisions tell.
const SHOWN: [Scenario; 3] = [Scenario::SingleSourceFlood, Scenario::DistributedFlood, Scenario::PulsingAttack];

/// Attacks that come in turn; none at all when it is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attacks(pub Vec<Scenario>);

/// What somebody asks for.
pub fn parse(name: &str) -> Result<Attacks, String> {
    match name {
        "none" => return Ok(Attacks(Vec::new())),
        "both" => return Ok(Attacks(vec![Scenario::SingleSourceFlood, Scenario::DistributedFlood])),
        _ => {}
    }
    match Scenario::parse(name) {
        Some(scenario) if SHOWN.contains(&scenario) => Ok(Attacks(vec![scenario])),
        Some(scenario) => Err(format!(
            "it does not show within seconds, or not in decisions alone; try `tidegate anomaly simulate --scenario {} | \
             tidegate anomaly replay --input -`",
            scenario.name()
        )),
        None => {
            let names: Vec<_> = SHOWN.iter().map(|scenario| scenario.name()).collect();
            Err(format!("write none, or one of {}", names.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_simulator() {
        assert_eq!(parse("distributed-flood"), Ok(Attacks(vec![Scenario::DistributedFlood])));
        assert_eq!(parse("none"), Ok(Attacks(Vec::new())));
        assert!(parse("slow_scraper").unwrap_err().contains("--scenario slow_scraper"));
        assert!(parse("flood").unwrap_err().contains("single_source_flood"));
    }
}
