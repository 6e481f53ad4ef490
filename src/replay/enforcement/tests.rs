use std::io::Cursor;

use smallvec::smallvec;

use super::*;
use crate::core::adjustment::{Adjustment, Effect};
use crate::core::subject::{Attribute, Subject};
use crate::replay::log::Reader;

/// Decides so many requests, all at the same second, and counts outcomes: allowed, limited, limited by adjustment.
fn decide(rules: &mut Enforcement, count: usize, line: &str) -> [usize; 3] {
    let mut outcomes = [0; 3];
    let mut reader = Reader::new(Cursor::new(format!("{line}\n").repeat(count)), None).unwrap();
    while let Some(entry) = reader.read().unwrap() {
        match rules.decide(&entry) {
            Outcome::Allowed => outcomes[0] += 1,
            Outcome::Limited => outcomes[1] += 1,
            Outcome::LimitedByAdjustment => outcomes[2] += 1,
            Outcome::Unknown => panic!("no answer"),
        }
    }
    outcomes
}

fn rules() -> Enforcement {
    Enforcement::new(site().unwrap(), Identities::default()).unwrap()
}

fn adjustment(subject: Subject, effect: Effect) -> Adjustment {
    let expires = Micros::from_secs(1_000);
    Adjustment { id: "1".into(), subject, domain: None, effect, expires, shadow: false }
}

fn set<const N: usize>(adjustments: [Adjustment; N]) -> AdjustmentSet {
    AdjustmentSet::new(adjustments)
}

const ALICE: &str = r#"{"ts":60,"user_id":"alice","ip_address":"192.0.2.1","path":"/","country":"DE"}"#;

#[test]
fn the_rules_of_a_site_are_enforced() {
    let mut rules = rules();
    assert!(rules.unknown_keys().is_empty() && !rules.asks_nothing());
    assert_eq!(decide(&mut rules, 400, ALICE), [300, 100, 0]);
    let login = r#"{"ts":60,"ip_address":"192.0.2.2","path":"/login"}"#;
    assert_eq!(decide(&mut rules, 40, login), [30, 10, 0]);
}

#[test]
fn a_factor_makes_limits_smaller_until_it_expires() {
    let mut rules = rules();
    let effect = Effect::Factor { factor: 0.1, floor: 1 };
    rules.adjust(set([adjustment(Subject::User("alice".into()), effect)]));
    assert_eq!(decide(&mut rules, 400, ALICE), [30, 0, 370]);
    let later = ALICE.replace("60", "2000");
    assert_eq!(decide(&mut rules, 300, &later), [300, 0, 0]);
    let bob = later.replace("alice", "bob");
    assert_eq!(decide(&mut rules, 300, &bob), [300, 0, 0]);
}

#[test]
fn a_group_gets_a_limit_of_its_own() {
    let mut rules = rules();
    let group = Subject::Group(smallvec![(Attribute::Country, "DE".into()), (Attribute::Path, "/".into())]);
    let limit = adjustment(group, Effect::Limit { rate: 2.0, burst: 5 });
    rules.adjust(set([limit.clone()]));
    assert_eq!(decide(&mut rules, 10, ALICE), [5, 0, 5]);
    // Said again, it goes on where it was.
    rules.adjust(set([limit]));
    assert_eq!(decide(&mut rules, 10, ALICE), [0, 0, 10]);
    assert_eq!(decide(&mut rules, 10, &ALICE.replace("60", "61")), [2, 0, 8]);
    assert_eq!(decide(&mut rules, 10, &ALICE.replace("DE", "FR").replace("60", "61")), [10, 0, 0]);
    rules.adjust(set([]));
    assert_eq!(decide(&mut rules, 10, &ALICE.replace("60", "61")), [10, 0, 0]);
}

#[test]
fn a_block_lets_nothing_pass_and_a_shadow_everything() {
    let mut rules = rules();
    let mut block = adjustment(Subject::Address("192.0.2.1".parse().unwrap()), Effect::Block);
    rules.adjust(set([block.clone()]));
    assert_eq!(decide(&mut rules, 10, ALICE), [0, 0, 10]);
    block.shadow = true;
    rules.adjust(set([block]));
    assert_eq!(decide(&mut rules, 10, ALICE), [10, 0, 0]);
}

#[test]
fn keys_that_no_log_tells_are_named() {
    let text = "domain: d\ndescriptors:\n  - key: tenant\n    rate_limit: { unit: day, requests_per_unit: 1 }\n";
    let rules = Enforcement::new(yaml::parse(text, 0).domain.unwrap(), Identities::default()).unwrap();
    assert_eq!(rules.unknown_keys(), ["tenant"]);
    assert!(rules.asks_nothing());
}
