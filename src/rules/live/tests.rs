//! Records in, rules out: overrides and their ends, and records that cannot be read.

use jiff::Timestamp;
use proptest::prelude::*;

use super::state::State;
use crate::core::clock::Micros;
use crate::core::descriptor::Entry;
use crate::core::limit::{Limit, LimitParts, Window};
use crate::core::spec::{Charge, DomainSettings, EffectSpec, LimitSpec, RuleSpec};
use crate::rules::repository::{Content, Override, Record, Revision, Stamp, Subject, Unreadable};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn effect(amount: u64) -> EffectSpec {
    let limit = Limit::new(LimitParts::fixed_window(amount, Window::Length(Micros::SECOND))).unwrap();
    EffectSpec::Limits(vec![LimitSpec { limit, name: None, replaces: Vec::new() }])
}

fn rule(amount: u64) -> Option<Result<Content, Unreadable>> {
    Some(Ok(Content::Rule(RuleSpec { effect: Some(effect(amount)), ..RuleSpec::default() })))
}

fn over(amount: u64, until: i64) -> Option<Result<Content, Unreadable>> {
    Some(Ok(Content::Override(Override { effect: effect(amount), until: at(until) })))
}

fn bad() -> Option<Result<Content, Unreadable>> {
    Some(Err(Unreadable("rate_limit.unit: unknown unit 'eon'".to_owned(), serde_json::Value::Null)))
}

fn rule_at(path: &str) -> Subject {
    Subject::Rule("edge".into(), path.parse().unwrap())
}

fn override_at(path: &str) -> Subject {
    Subject::Override("edge".into(), path.parse().unwrap())
}

fn record(subject: Subject, content: Option<Result<Content, Unreadable>>) -> Record {
    let stamp = Stamp { at: at(0), by: "test".into() };
    Record { subject, revision: Revision(1), content, created: stamp.clone(), updated: stamp }
}

fn amount(state: &State, key: &str, value: &str) -> Option<u64> {
    let rule = state.rules.domain(b"edge")?.find(&[Entry::new(key, value)])?;
    Some(rule.limits()[0].limit.amount())
}

#[test]
fn an_override_holds_until_its_end_and_the_rule_comes_back() {
    let mut state = State::default();
    state.apply(record(rule_at("user_id=1"), rule(5)), at(0));
    state.apply(record(override_at("user_id=1"), over(500, 10)), at(0));
    assert_eq!((amount(&state, "user_id", "1"), state.next_end()), (Some(500), Some(at(10))));
    state.apply(record(rule_at("user_id=1"), rule(6)), at(1));
    assert_eq!(amount(&state, "user_id", "1"), Some(500), "the rule below may change meanwhile");
    assert!(!state.expire(at(9)));
    assert!(state.expire(at(10)));
    assert_eq!((amount(&state, "user_id", "1"), state.next_end()), (Some(6), None));
}

#[test]
fn an_override_needs_no_rule_and_survives_its_deletion() {
    let mut state = State::default();
    state.apply(record(override_at("user_id=1"), over(500, 10)), at(0));
    assert_eq!(amount(&state, "user_id", "1"), Some(500));
    state.apply(record(rule_at("user_id=1"), rule(5)), at(0));
    state.apply(record(rule_at("user_id=1"), None), at(0));
    assert_eq!(amount(&state, "user_id", "1"), Some(500));
    state.apply(record(override_at("user_id=1"), None), at(0));
    assert_eq!((amount(&state, "user_id", "1"), state.rules.rule_count()), (None, 0));
}

#[test]
fn an_override_that_has_ended_is_not_taken() {
    let mut state = State::default();
    state.apply(record(rule_at("user_id=1"), rule(5)), at(0));
    state.apply(record(override_at("user_id=1"), over(500, 10)), at(0));
    state.apply(record(override_at("user_id=1"), over(700, 3)), at(4));
    assert_eq!((amount(&state, "user_id", "1"), state.overrides()), (Some(5), 0));
}

#[test]
fn a_rule_made_bad_keeps_its_last_good_version() {
    let mut state = State::default();
    state.apply(record(rule_at("a"), rule(1)), at(0));
    state.apply(record(rule_at("a"), bad()), at(0));
    state.apply(record(rule_at("b"), bad()), at(0));
    assert_eq!((amount(&state, "a", "x"), amount(&state, "b", "x")), (Some(1), None));
    let mut troubles: Vec<_> =
        state.unreadable().map(|(subject, trouble)| (subject.to_string(), trouble.earlier_in_force)).collect();
    troubles.sort();
    assert_eq!(troubles, [("rule a of domain edge".to_owned(), true), ("rule b of domain edge".to_owned(), false)]);

    // Everything is read anew, and still cannot be read.
    let mut anew = State::default();
    anew.apply(record(rule_at("a"), bad()), at(0));
    anew.apply(record(rule_at("b"), bad()), at(0));
    anew.keep_last_good(&state);
    assert_eq!((amount(&anew, "a", "x"), amount(&anew, "b", "x")), (Some(1), None));
    anew.apply(record(rule_at("a"), rule(2)), at(0));
    anew.apply(record(rule_at("b"), None), at(0));
    assert_eq!((amount(&anew, "a", "x"), anew.unreadable().len()), (Some(2), 0));
}

#[test]
fn settings_of_a_domain_come_and_go() {
    let mut state = State::default();
    let charge = |state: &State| state.rules.domain(b"edge").map(|domain| domain.settings.charge);
    state.apply(record(rule_at("a"), rule(1)), at(0));
    assert_eq!(charge(&state), Some(Charge::AllOrNothing));
    state.apply(record(Subject::Domain("edge".into()), Some(Ok(Content::Domain(DomainSettings::FILE)))), at(0));
    assert_eq!(charge(&state), Some(Charge::Independent));
    state.apply(record(Subject::Domain("edge".into()), None), at(0));
    assert_eq!(charge(&state), Some(Charge::AllOrNothing));
    state.apply(record(rule_at("a"), None), at(0));
    assert_eq!(charge(&state), None);
}

#[test]
fn what_belongs_to_another_kind_is_not_taken() {
    let mut state = State::default();
    state.apply(record(rule_at("a"), over(1, 10)), at(0));
    assert_eq!(state.unreadable().next().unwrap().1.reason, "is a rule, and holds what belongs to a override");
}

proptest! {
    /// Whatever comes in whatever order, what holds at a path follows from the newest records of it alone.
    #[test]
    fn what_holds_follows_from_the_newest_records(
        steps in prop::collection::vec((0..2_usize, 0..2_u8, prop::option::of((1..100_u64, 1..40_i64)), 0..3_i64), 1..40)
    ) {
        let paths = ["a", "b"];
        let mut state = State::default();
        let mut newest = [(None, None), (None, None)];
        let mut now = 0;
        for (path, kind, content, passed) in steps {
            now += passed;
            state.expire(at(now));
            if kind == 0 {
                newest[path].0 = content.map(|(amount, _)| amount);
                state.apply(record(rule_at(paths[path]), content.and_then(|(amount, _)| rule(amount))), at(now));
            } else {
                newest[path].1 = content;
                state.apply(record(override_at(paths[path]), content.and_then(|(amount, until)| over(amount, until))), at(now));
            }
            for (path, (rule, over)) in paths.iter().zip(newest) {
                let over = over.filter(|(_, until)| *until > now).map(|(amount, _)| amount);
                prop_assert_eq!(amount(&state, path, "x"), over.or(rule));
            }
        }
    }
}
