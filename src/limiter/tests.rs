//! Decisions, with the memory store and a clock that stands still.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{DecideError, Description, Limiter, LimiterOptions};
use crate::core::clock::{ManualClock, Micros};
use crate::core::decision::{Code, Decision};
use crate::core::descriptor::{Descriptor, Entry, LimitOverride, Request};
use crate::core::limit::{Limit, LimitParts, Unit, Window};
use crate::core::ruleset::RuleSet;
use crate::core::spec::{Charge, DescriptorSpec, DomainSettings, DomainSpec, EffectSpec, LimitSpec, RuleSpec};
use crate::counters::memory::{MemoryOptions, MemoryStore};
use crate::telemetry::decisions::DecisionMetrics;

type TestLimiter = Limiter<MemoryStore<ManualClock>>;

fn named(amount: u64, unit: Unit, name: Option<&str>, replaces: &[&str]) -> LimitSpec {
    let limit = Limit::new(LimitParts::fixed_window(amount, Window::Length(unit.length()))).unwrap();
    let replaces = replaces.iter().map(|&name| name.to_owned()).collect();
    LimitSpec { limit, name: name.map(str::to_owned), replaces }
}

fn rule(key: &str, limits: Vec<LimitSpec>) -> DescriptorSpec {
    with_effect(key, EffectSpec::Limits(limits))
}

fn with_effect(key: &str, effect: EffectSpec) -> DescriptorSpec {
    let rule = RuleSpec { effect: Some(effect), ..RuleSpec::default() };
    DescriptorSpec { key: key.to_owned(), rule, ..DescriptorSpec::default() }
}

fn per_minute(key: &str, amount: u64) -> DescriptorSpec {
    rule(key, vec![named(amount, Unit::Minute, None, &[])])
}

fn unlimited(key: &str, replaces: &[&str]) -> DescriptorSpec {
    let replaces = replaces.iter().map(|&name| name.to_owned()).collect();
    with_effect(key, EffectSpec::Unlimited { name: None, replaces })
}

fn store(max_counters: usize) -> MemoryStore<ManualClock> {
    MemoryStore::new(ManualClock::at(Micros::from_secs(1_700_000_000)), MemoryOptions { max_counters })
}

fn limiter_with(domain: DomainSpec, options: LimiterOptions) -> TestLimiter {
    let store = store(10_000);
    let limiter = Limiter::new(store, options, Arc::new(DecisionMetrics::default()));
    limiter.publish(RuleSet::compile(vec![domain], false).unwrap(), Description::default());
    limiter
}

fn limiter(descriptors: Vec<DescriptorSpec>) -> TestLimiter {
    limiter_with(DomainSpec { descriptors, ..DomainSpec::new("d") }, LimiterOptions::default())
}

fn descriptor(key: &'static str) -> Descriptor<'static> {
    Descriptor { entries: SmallVec::from_slice(&[Entry::new(key, "v")]), ..Descriptor::default() }
}

fn costing(key: &'static str, hits: u64) -> Descriptor<'static> {
    Descriptor { hits_addend: Some(hits), ..descriptor(key) }
}

fn refund(key: &'static str, hits: u64) -> Descriptor<'static> {
    Descriptor { is_negative_hits: true, ..costing(key, hits) }
}

fn request(descriptors: impl IntoIterator<Item = Descriptor<'static>>) -> Request<'static> {
    Request { domain: b"d", descriptors: descriptors.into_iter().collect(), ..Request::default() }
}

/// What a decision says: the answer, and per descriptor its code and what is left.
#[derive(Debug, PartialEq)]
struct Said {
    code: Code,
    statuses: Vec<(Code, u64)>,
    deciding: Option<usize>,
}

fn said(decision: &Decision<'_>) -> Said {
    Said {
        code: decision.code,
        statuses: decision.statuses.iter().map(|status| (status.code, status.remaining)).collect(),
        deciding: decision.deciding,
    }
}

fn ask(limiter: &TestLimiter, request: &Request<'static>) -> Said {
    said(&block_on(limiter.decide(&limiter.active(), request, None)).unwrap())
}

fn ask_for(limiter: &TestLimiter, descriptors: impl IntoIterator<Item = Descriptor<'static>>) -> Said {
    ask(limiter, &request(descriptors))
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

use Code::{Ok as Pass, OverLimit};

#[test]
fn requests_without_meaning_are_refused() {
    let store = store(10);
    let fresh: TestLimiter = Limiter::new(store, LimiterOptions::default(), Arc::default());
    let decide = |limiter: &TestLimiter, request: &Request<'static>| {
        block_on(limiter.decide(&limiter.active(), request, None)).map(|_| ()).unwrap_err()
    };
    assert_eq!(decide(&fresh, &request([descriptor("k")])), DecideError::NoRules);
    let limiter = limiter(vec![per_minute("k", 1)]);
    assert_eq!(decide(&limiter, &Request { domain: b"", ..request([descriptor("k")]) }), DecideError::EmptyDomain);
    assert_eq!(decide(&limiter, &request([])), DecideError::EmptyDescriptors);
    let many = request((0..101).map(|_| descriptor("k")));
    assert_eq!(decide(&limiter, &many), DecideError::TooManyDescriptors { got: 101, max: 100 });
}

#[test]
fn what_has_no_rule_passes() {
    let limiter = limiter(vec![per_minute("k", 1)]);
    let unknown = Request { domain: b"elsewhere", ..request([descriptor("k"), descriptor("k")]) };
    assert_eq!(ask(&limiter, &unknown), Said { code: Pass, statuses: vec![(Pass, 0); 2], deciding: None });
    let said = ask_for(&limiter, [descriptor("other")]);
    assert_eq!(said, Said { code: Pass, statuses: vec![(Pass, 0)], deciding: None });
}

#[test]
fn the_same_descriptor_twice_is_charged_twice() {
    let limiter = limiter(vec![per_minute("k", 10)]);
    let said = ask_for(&limiter, [descriptor("k"), descriptor("k")]);
    assert_eq!(said.statuses, [(Pass, 9), (Pass, 8)]);
}

#[test]
fn hits_come_from_the_descriptor_else_the_request_else_one() {
    let limiter = limiter(vec![per_minute("k", 100)]);
    let left = |descriptor, hits_addend| ask(&limiter, &Request { hits_addend, ..request([descriptor]) }).statuses[0].1;
    assert_eq!(left(descriptor("k"), 0), 99);
    assert_eq!(left(descriptor("k"), 5), 94);
    assert_eq!(left(costing("k", 3), 5), 91);
    assert_eq!(left(costing("k", 0), 5), 91, "zero is a peek");
    assert_eq!(left(refund("k", 4), 5), 95);
    assert_eq!(left(refund("k", u64::MAX), 5), 100, "a refund never gives more than was taken");
    assert_eq!(left(costing("k", u64::MAX), 5), 0);
}

#[test]
fn a_peek_at_exactly_the_limit_passes() {
    let limiter = limiter(vec![per_minute("k", 2), per_minute("none", 0)]);
    assert_eq!(ask_for(&limiter, [costing("k", 2)]).statuses, [(Pass, 0)]);
    assert_eq!(ask_for(&limiter, [costing("k", 0)]).statuses, [(Pass, 0)]);
    assert_eq!(ask_for(&limiter, [costing("k", 1)]).statuses, [(OverLimit, 0)]);
    assert_eq!(ask_for(&limiter, [costing("k", 0)]).statuses, [(OverLimit, 0)], "denied hits are recorded");
    assert_eq!(ask_for(&limiter, [costing("none", 0)]).statuses, [(Pass, 0)]);
    assert_eq!(ask_for(&limiter, [descriptor("none")]).statuses, [(OverLimit, 0)]);
}

#[test]
fn any_plain_rule_over_denies_and_the_last_of_them_decides() {
    let limiter = limiter(vec![per_minute("a", 1), per_minute("b", 1), per_minute("c", 9)]);
    let all = || [descriptor("a"), descriptor("b"), descriptor("c")];
    assert_eq!(
        ask_for(&limiter, all()),
        Said { code: Pass, statuses: vec![(Pass, 0), (Pass, 0), (Pass, 8)], deciding: Some(0) }
    );
    assert_eq!(
        ask_for(&limiter, all()),
        Said { code: OverLimit, statuses: vec![(OverLimit, 0), (OverLimit, 0), (Pass, 7)], deciding: Some(1) }
    );
}

#[test]
fn shadow_mode_counts_and_never_denies() {
    let mut shadow = per_minute("s", 1);
    shadow.rule.shadow_mode = true;
    let limiter = limiter(vec![shadow, per_minute("k", 1)]);
    ask_for(&limiter, [descriptor("s")]);
    let said = ask_for(&limiter, [descriptor("s")]);
    assert_eq!((said.code, &said.statuses[..]), (Pass, &[(Pass, 0)][..]));
    let decision = request([descriptor("s")]);
    let active = limiter.active();
    assert!(block_on(limiter.decide(&active, &decision, None)).unwrap().statuses[0].shadowed);
}

#[test]
fn the_servers_shadow_mode_tells_the_statuses_and_passes() {
    let options = LimiterOptions { shadow_mode: true, ..LimiterOptions::default() };
    let domain = DomainSpec { descriptors: vec![per_minute("k", 0)], ..DomainSpec::new("d") };
    let limiter = limiter_with(domain, options);
    let said = ask_for(&limiter, [descriptor("k")]);
    assert_eq!((said.code, &said.statuses[..]), (Pass, &[(OverLimit, 0)][..]));
}

#[test]
fn quota_rules_deny_only_together() {
    let quota = |key, amount| {
        let mut quota = per_minute(key, amount);
        quota.rule.quota_mode = true;
        quota
    };
    let limiter = limiter(vec![quota("q0", 0), quota("q9", 9), per_minute("k0", 0), per_minute("k9", 9)]);
    let code = |keys: &[&'static str]| ask_for(&limiter, keys.iter().map(|key| descriptor(key))).code;
    assert_eq!(code(&["q0", "q9"]), Pass);
    assert_eq!(code(&["q0"]), OverLimit);
    assert_eq!(code(&["q0", "q0"]), OverLimit);
    assert_eq!(code(&["q0", "k9"]), OverLimit, "the only quota is used up");
    assert_eq!(code(&["q0", "q9", "k0"]), OverLimit);
    assert_eq!(code(&["q9", "k9"]), Pass);
    assert_eq!(code(&["q0", "no rule"]), OverLimit);
}

#[test]
fn the_servers_quota_mode_counts_descriptors_without_a_rule_too() {
    let options = LimiterOptions { quota_mode: true, ..LimiterOptions::default() };
    let domain = DomainSpec { descriptors: vec![per_minute("k0", 0)], ..DomainSpec::new("d") };
    let limiter = limiter_with(domain, options);
    assert_eq!(ask_for(&limiter, [descriptor("k0")]).code, OverLimit);
    assert_eq!(ask_for(&limiter, [descriptor("k0"), descriptor("no rule")]).code, Pass);
}

#[test]
fn replaced_limits_do_not_count() {
    let limiter = limiter(vec![
        rule("old", vec![named(1, Unit::Minute, Some("old"), &[])]),
        rule("new", vec![named(5, Unit::Minute, Some("new"), &["old"])]),
        unlimited("free", &["old", "new"]),
    ]);
    for left in [4, 3] {
        let said = ask_for(&limiter, [descriptor("old"), descriptor("new")]);
        assert_eq!(said.statuses, [(Pass, 0), (Pass, left)]);
        assert_eq!(said.deciding, Some(1));
    }
    assert_eq!(ask_for(&limiter, [descriptor("old")]).statuses, [(Pass, 0)], "the first hit that counts");
    assert_eq!(ask_for(&limiter, [descriptor("old")]).statuses, [(OverLimit, 0)]);
    let said = ask_for(&limiter, [descriptor("old"), descriptor("new"), descriptor("free")]);
    assert_eq!(said.statuses, [(Pass, 0), (Pass, 0), (Pass, u64::from(u32::MAX))]);
    assert_eq!((said.code, said.deciding), (Pass, None));
}

#[test]
fn one_limit_of_several_can_be_replaced() {
    let limiter = limiter(vec![
        rule("k", vec![named(1, Unit::Second, Some("burst"), &[]), named(5, Unit::Hour, Some("hourly"), &[])]),
        unlimited("free", &["burst"]),
    ]);
    assert_eq!(ask_for(&limiter, [descriptor("k"), descriptor("free")]).statuses[0], (Pass, 4));
    assert_eq!(ask_for(&limiter, [descriptor("k"), descriptor("free")]).statuses[0], (Pass, 3));
    assert_eq!(ask_for(&limiter, [descriptor("k")]).statuses[0], (Pass, 0), "the burst limit counts again");
}

#[test]
fn several_limits_must_all_hold_and_the_strictest_is_told() {
    let limits = vec![named(2, Unit::Second, Some("burst"), &[]), named(100, Unit::Hour, Some("hourly"), &[])];
    let limiter = limiter(vec![rule("k", limits)]);
    let asked = request([descriptor("k")]);
    let active = limiter.active();
    let decide = || block_on(limiter.decide(&active, &asked, None)).unwrap();
    let name = |decision: &Decision<'_>| decision.statuses[0].applied.as_ref().unwrap().name.map(str::to_owned);
    assert_eq!(name(&decide()).as_deref(), Some("burst"));
    assert_eq!(decide().code, Pass);
    let over = decide();
    assert_eq!((over.code, name(&over).as_deref()), (OverLimit, Some("burst")));
    assert_eq!(said(&decide()).statuses, [(OverLimit, 0)]);
}

#[test]
fn an_override_stands_in_for_any_rule() {
    let limiter = limiter(vec![per_minute("k", 100), unlimited("free", &[])]);
    let with = |key, requests_per_unit| Descriptor {
        limit: Some(LimitOverride { requests_per_unit, unit: Unit::Hour }),
        ..descriptor(key)
    };
    assert_eq!(ask_for(&limiter, [with("k", 2)]).statuses, [(Pass, 1)]);
    assert_eq!(ask_for(&limiter, [with("k", 2)]).statuses, [(Pass, 0)]);
    assert_eq!(ask_for(&limiter, [with("k", 2)]).statuses, [(OverLimit, 0)]);
    assert_eq!(ask_for(&limiter, [with("k", 9)]).statuses, [(Pass, 5)], "the counter does not hold the amount");
    assert_eq!(ask_for(&limiter, [with("free", 0)]).statuses, [(OverLimit, 0)]);
    assert_eq!(ask_for(&limiter, [with("no rule", 1)]).statuses, [(Pass, 0)]);
    assert_eq!(ask_for(&limiter, [descriptor("k")]).statuses, [(Pass, 99)]);
}

#[test]
fn domains_can_refuse_overrides_and_refunds() {
    let domain = DomainSpec {
        settings: DomainSettings { accept_overrides: false, accept_refunds: false, ..DomainSettings::FILE },
        descriptors: vec![per_minute("k", 3)],
        ..DomainSpec::new("d")
    };
    let limiter = limiter_with(domain, LimiterOptions::default());
    let brought =
        Descriptor { limit: Some(LimitOverride { requests_per_unit: 1_000, unit: Unit::Hour }), ..descriptor("k") };
    assert_eq!(ask_for(&limiter, [brought]).statuses, [(Pass, 2)]);
    assert_eq!(ask_for(&limiter, [refund("k", 2)]).statuses, [(Pass, 2)], "a refund only asks");
}

#[test]
fn all_or_nothing_charges_nothing_when_one_denies() {
    let domain = |charge| DomainSpec {
        settings: DomainSettings { charge, ..DomainSettings::FILE },
        descriptors: vec![per_minute("wide", 10), per_minute("narrow", 1)],
        ..DomainSpec::new("d")
    };
    let both = || [descriptor("wide"), descriptor("narrow")];
    let limiter = limiter_with(domain(Charge::AllOrNothing), LimiterOptions::default());
    assert_eq!(ask_for(&limiter, both()).statuses, [(Pass, 9), (Pass, 0)]);
    for _ in 0..3 {
        let said = ask_for(&limiter, both());
        assert_eq!((said.code, said.statuses[0]), (OverLimit, (Pass, 9)));
    }
    assert_eq!(ask_for(&limiter, [costing("narrow", 0)]).code, Pass, "denied hits were not recorded");
    let limiter = limiter_with(domain(Charge::Independent), LimiterOptions::default());
    ask_for(&limiter, both());
    assert_eq!(ask_for(&limiter, both()).statuses, [(Pass, 8), (OverLimit, 0)]);
}

#[test]
fn a_new_rule_set_keeps_counters() {
    let limiter = limiter(vec![per_minute("k", 5)]);
    ask_for(&limiter, [costing("k", 4)]);
    let wider = DomainSpec { descriptors: vec![per_minute("k", 9)], ..DomainSpec::new("d") };
    assert_eq!(limiter.publish(RuleSet::compile(vec![wider], false).unwrap(), Description::default()), 2);
    assert_eq!(ask_for(&limiter, [descriptor("k")]).statuses, [(Pass, 4)]);
}

#[test]
fn an_edited_rule_set_keeps_its_series_and_finds_those_of_its_new_rules() {
    let limiter = limiter(vec![per_minute("a", 9), per_minute("b", 9)]);
    let hits = |rule: &str| {
        let totals = limiter.metrics.totals();
        totals.iter().find(|(series, _)| series.rule() == rule).map(|(_, counts)| counts.total_hits)
    };
    ask_for(&limiter, [costing("a", 2), costing("b", 3)]);
    let mut rules = limiter.active().rules.clone();
    assert!(rules.remove("d", &"a".parse().unwrap()));
    // It takes the id that has become free, and counts as itself.
    rules.put("d", &"c".parse().unwrap(), per_minute("c", 9).rule).unwrap();
    rules.put("d", &"b".parse().unwrap(), per_minute("b", 5).rule).unwrap();
    let description = Description { source: "tests".into() };
    assert_eq!(limiter.publish(rules, description.clone()), 2);
    assert_eq!(limiter.active().description, description);
    assert_eq!(ask_for(&limiter, [costing("a", 1), costing("b", 1), costing("c", 4)]).statuses[1], (Pass, 1));
    assert_eq!((hits("a"), hits("b"), hits("c")), (Some(2), Some(4), Some(4)));
}

#[test]
fn series_of_pages_that_stay_are_not_looked_up_again() {
    let keys: Vec<String> = (0..2_000).map(|n| format!("k{n:04}")).collect();
    let limiter = limiter(keys.iter().map(|key| per_minute(key, 9)).collect());
    let first = limiter.active();
    let mut rules = first.rules.clone();
    rules.put("d", &"k0700".parse().unwrap(), per_minute("k0700", 1).rule).unwrap();
    limiter.publish(rules, Description::default());
    let second = limiter.active();
    assert_eq!(second.series.shared_with(&first.series), [true, false, true, true]);
    for (rule, key) in second.rules.rules().zip(&keys) {
        let series = second.series.get(rule.id).unwrap();
        assert_eq!(series.rule(), key);
        assert!(std::ptr::eq(series, first.series.get(rule.id).unwrap()));
    }
}

#[test]
fn a_retired_rule_set_is_freed_once_nobody_uses_it() {
    let limiter = limiter(vec![per_minute("k", 5)]);
    let in_use = Arc::clone(&limiter.active());
    limiter.publish(RuleSet::default(), Description::default());
    assert_eq!(limiter.reclaim(), 1);
    drop(in_use);
    assert_eq!(limiter.reclaim(), 0);
}
