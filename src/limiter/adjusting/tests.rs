//! Decisions with adjustments, with the memory store and a clock that moves when told to.

mod locating;

use std::net::IpAddr;
use std::sync::Arc;

use proptest::prelude::*;

use crate::core::adjustment::adjusted::Denial;
use crate::core::adjustment::set::AdjustmentSet;
use crate::core::adjustment::{Adjustment, Effect};
use crate::core::client::Client;
use crate::core::clock::{ManualClock, Micros};
use crate::core::decision::{Code, Decision};
use crate::core::descriptor::{Descriptor, Entry, Request};
use crate::core::limit::{Algorithm, Limit, LimitParts, Over, Unit, Window};
use crate::core::ruleset::RuleSet;
use crate::core::spec::{Charge, DescriptorSpec, DomainSettings, DomainSpec, EffectSpec, LimitSpec, RuleSpec};
use crate::core::subject::{Attribute, Subject};
use crate::counters::memory::{MemoryOptions, MemoryStore};
use crate::limiter::{Description, Limiter, LimiterOptions};
use crate::telemetry::decisions::{AdjustedOutcome, DecisionMetrics};

const START: Micros = Micros::from_secs(1_700_000_000);

type Entries<'a> = &'a [(&'a str, &'a str)];

struct Stand {
    limiter: Limiter<MemoryStore<ManualClock>>,
    clock: ManualClock,
}

fn limit(amount: u64, algorithm: Algorithm, over: Over) -> Limit {
    let window = Window::Length(Unit::Hour.length());
    let burst = (algorithm == Algorithm::LeakyBucket).then_some(amount.max(1));
    Limit::new(LimitParts { algorithm, over, burst, ..LimitParts::fixed_window(amount, window) }).unwrap()
}

fn rule_with(key: &str, limits: &[Limit]) -> DescriptorSpec {
    let limits = limits.iter().map(|limit| LimitSpec { limit: limit.clone(), name: None, replaces: Vec::new() });
    let rule = RuleSpec { effect: Some(EffectSpec::Limits(limits.collect())), ..RuleSpec::default() };
    DescriptorSpec { key: key.to_owned(), rule, ..DescriptorSpec::default() }
}

fn rule(key: &str, amount: u64) -> DescriptorSpec {
    rule_with(key, &[limit(amount, Algorithm::FixedWindow, Over::Record)])
}

fn protected(mut rule: DescriptorSpec) -> DescriptorSpec {
    rule.rule.protect = true;
    rule
}

impl Stand {
    fn new(descriptors: Vec<DescriptorSpec>) -> Self {
        Self::with(descriptors, Charge::Independent, LimiterOptions::default())
    }

    fn with(descriptors: Vec<DescriptorSpec>, charge: Charge, options: LimiterOptions) -> Self {
        let clock = ManualClock::at(START);
        let store = MemoryStore::new(clock.clone(), MemoryOptions { max_counters: 10_000 });
        let limiter = Limiter::new(store, options, Arc::new(DecisionMetrics::default())).with_clock(clock.clone());
        let settings = DomainSettings { charge, ..DomainSettings::FILE };
        let domain = DomainSpec { descriptors, settings, ..DomainSpec::new("d") };
        limiter.publish(RuleSet::compile(vec![domain], false).unwrap(), Description::default());
        Self { limiter, clock }
    }

    fn adjust(&self, adjustments: impl IntoIterator<Item = Adjustment>) {
        self.limiter.adjust(AdjustmentSet::new(adjustments));
    }

    fn request<T>(&self, request: &Request<'_>, then: impl FnOnce(&Decision<'_>) -> T) -> T {
        let active = self.limiter.active();
        then(&self.limiter.decide_now(&active, request).unwrap().unwrap())
    }

    fn ask<T>(&self, descriptors: &[Entries<'_>], then: impl FnOnce(&Decision<'_>) -> T) -> T {
        self.request(&request(descriptors), then)
    }

    fn passes(&self, descriptors: &[Entries<'_>]) -> bool {
        self.ask(descriptors, |decision| decision.code == Code::Ok)
    }

    /// How many of so many requests pass.
    fn admitted(&self, descriptors: &[Entries<'_>], of: usize) -> usize {
        (0..of).filter(|_| self.passes(descriptors)).count()
    }

    fn counted(&self, outcome: AdjustedOutcome) -> u64 {
        self.limiter.metrics.adjusted_decisions(outcome)
    }
}

fn request<'a>(descriptors: &[Entries<'a>]) -> Request<'a> {
    let descriptor = |entries: &Entries<'a>| Descriptor {
        entries: entries.iter().map(|(key, value)| Entry::new(key, value)).collect(),
        ..Descriptor::default()
    };
    Request { domain: b"d", descriptors: descriptors.iter().map(descriptor).collect(), ..Request::default() }
}

fn adjustment(subject: Subject, effect: Effect) -> Adjustment {
    let expires = START + Micros::from_secs(60);
    Adjustment { id: "a1".into(), subject, domain: None, effect, expires, shadow: false }
}

fn user(name: &str) -> Subject {
    Subject::User(name.into())
}

fn address(text: &str) -> Subject {
    Subject::Address(text.parse::<IpAddr>().unwrap())
}

fn group(named: &[(Attribute, &str)]) -> Subject {
    Subject::Group(named.iter().map(|(attribute, value)| (*attribute, Arc::from(*value))).collect())
}

const fn factor(factor: f64, floor: u64) -> Effect {
    Effect::Factor { factor, floor }
}

const ALICE: Entries<'static> = &[("user_id", "alice")];
const BOB: Entries<'static> = &[("user_id", "bob")];

#[test]
fn a_factor_lowers_the_limits_of_its_subject_only() {
    let stand = Stand::new(vec![rule("user_id", 10)]);
    stand.adjust([adjustment(user("alice"), factor(0.25, 1))]);
    assert_eq!((stand.admitted(&[ALICE], 20), stand.admitted(&[BOB], 20)), (3, 10));
    stand.ask(&[ALICE], |decision| {
        assert_eq!(decision.code, Code::OverLimit);
        let adjusted = decision.adjustment.as_ref().unwrap();
        assert_eq!(adjusted.applied.as_ref().map(|by| &*by.id), Some("a1"));
        let lowered = decision.lowered().unwrap();
        assert_eq!((lowered.limit.amount(), lowered.unadjusted.amount()), (3, 10));
    });
    stand.ask(&[BOB], |decision| assert_eq!(decision.adjustment, None));
}

#[test]
fn whether_it_would_have_passed_without_is_told_exactly_of_windows_that_record() {
    let stand = Stand::new(vec![rule("user_id", 10)]);
    stand.adjust([adjustment(user("alice"), factor(0.25, 1))]);
    let limited: Vec<bool> =
        (0..12).map(|_| stand.ask(&[ALICE], |decision| decision.denied_by_adjustment().is_some())).collect();
    let expected: Vec<bool> = (1..=12).map(|hit| (4..=10).contains(&hit)).collect();
    assert_eq!(limited, expected);
    use AdjustedOutcome::{Limited, OverLimit, Passed};
    assert_eq!([Passed, Limited, OverLimit].map(|outcome| stand.counted(outcome)), [3, 7, 2]);
}

#[test]
fn a_floor_holds_and_the_lowest_of_several_counts() {
    let stand = Stand::new(vec![rule("user_id", 10), rule("remote_address", 10)]);
    stand.adjust([adjustment(user("alice"), factor(0.01, 4))]);
    assert_eq!(stand.admitted(&[ALICE], 20), 4);
    stand.adjust([adjustment(user("bob"), factor(0.5, 1)), adjustment(user("bob"), factor(0.2, 1))]);
    assert_eq!(stand.admitted(&[BOB], 20), 2);
    stand.adjust([adjustment(address("192.0.2.1"), factor(0.1, 1))]);
    assert_eq!(stand.admitted(&[&[("remote_address", "192.0.2.1/32")]], 20), 1);
    assert_eq!(stand.admitted(&[&[("remote_address", "192.0.2.2")]], 20), 10);
}

#[test]
fn every_limit_of_a_rule_is_lowered_also_behind_other_descriptors() {
    let limits = [limit(100, Algorithm::FixedWindow, Over::Record), limit(8, Algorithm::SlidingWindowLog, Over::Drop)];
    let stand = Stand::new(vec![rule("free", 1_000), rule_with("user_id", &limits)]);
    stand.adjust([adjustment(user("alice"), factor(0.5, 1))]);
    let both: &[Entries<'_>] = &[&[("free", "x")], ALICE];
    assert_eq!(stand.admitted(both, 20), 4);
    stand.ask(both, |decision| {
        let adjusted = decision.adjustment.as_ref().unwrap();
        let amounts = [0, 1].map(|place| adjusted.lowered(1, place).map(|lowered| lowered.limit.amount()));
        assert_eq!(amounts, [Some(50), Some(4)]);
        assert_eq!(adjusted.lowered(0, 0), None);
    });
}

#[test]
fn protected_rules_are_left_alone() {
    let stand = Stand::new(vec![protected(rule("user_id", 5)), rule("remote_address", 5)]);
    let from = [("remote_address", "192.0.2.1")];
    stand.adjust([adjustment(user("alice"), factor(0.2, 1)), adjustment(address("192.0.2.1"), factor(0.2, 1))]);
    assert_eq!(stand.admitted(&[ALICE], 9), 5);
    assert_eq!(stand.admitted(&[&from], 9), 1, "that is another rule");
    stand.adjust([adjustment(address("192.0.2.1"), Effect::Block)]);
    assert!(stand.passes(&[&[("user_id", "carol")], &[("x", "y")]]));
    assert!(!stand.passes(&[&from]));
    let client = Client { address: Some("192.0.2.1".parse().unwrap()), ..Client::default() };
    let both = Request { client: Some(&client), ..request(&[&[("user_id", "carol")]]) };
    stand.request(&both, |decision| assert_eq!(decision.code, Code::Ok, "a protected rule applies to it"));
}

#[test]
fn an_expired_one_has_no_effect_though_nobody_takes_it_away() {
    let stand = Stand::new(vec![rule("user_id", 10)]);
    stand.adjust([adjustment(user("alice"), Effect::Block)]);
    assert!(!stand.passes(&[ALICE]));
    stand.clock.advance(Micros(59_999_999));
    assert!(!stand.passes(&[ALICE]));
    stand.clock.advance(Micros(1));
    assert!(stand.passes(&[ALICE]));
    assert_eq!(stand.limiter.adjustments().len(), 1);
    stand.clock.set_wall(START);
    stand.adjust([]);
    assert!(stand.passes(&[ALICE]));
}

#[test]
fn one_of_another_domain_has_no_effect() {
    let stand = Stand::new(vec![rule("user_id", 10)]);
    let of = |domain: &str| Adjustment { domain: Some(domain.into()), ..adjustment(user("alice"), Effect::Block) };
    stand.adjust([of("elsewhere")]);
    assert!(stand.passes(&[ALICE]));
    stand.adjust([of("d")]);
    assert!(!stand.passes(&[ALICE]));
}

#[test]
fn a_block_denies_and_counts_nothing() {
    let stand = Stand::new(vec![rule("user_id", 3)]);
    stand.adjust([adjustment(user("alice"), Effect::Block)]);
    for _ in 0..5 {
        stand.ask(&[ALICE, &[("other", "x")]], |decision| {
            assert_eq!(decision.code, Code::OverLimit);
            assert!(decision.statuses.iter().all(|status| status.code == Code::OverLimit));
            assert_eq!(decision.denied_by_adjustment(), Some(&Denial::Blocked(Micros::from_secs(60))));
        });
    }
    assert_eq!(stand.counted(AdjustedOutcome::Blocked), 5);
    let mut refund = request(&[ALICE]);
    refund.descriptors[0].is_negative_hits = true;
    stand.request(&refund, |decision| assert_eq!(decision.code, Code::Ok, "giving back is welcome"));
    stand.adjust([]);
    assert_eq!(stand.admitted(&[ALICE], 9), 3);
}

#[test]
fn a_group_has_a_limit_of_its_own_which_every_request_charges_once() {
    let stand = Stand::new(vec![rule("user_id", 100), rule("path", 1_000)]);
    let named = [(Attribute::Path, "/items/{id}"), (Attribute::UserAgent, "curl")];
    stand.adjust([adjustment(group(&named), Effect::Limit { rate: 0.5, burst: 5 })]);
    let from = |user: &'static str, path: &'static str, agent: &'static str| {
        let user: Entries<'static> = Vec::leak(vec![("user_id", user)]);
        let path: Entries<'static> = Vec::leak(vec![("path", path), ("user_agent", agent)]);
        [user, path]
    };
    let passed = (0..10).filter(|n| {
        let (user, path) = if n % 2 == 0 { ("alice", "/items/17?x") } else { ("bob", "/items/4711") };
        stand.passes(&from(user, path, "curl"))
    });
    assert_eq!(passed.count(), 5);
    assert!(stand.passes(&from("alice", "/items/17", "firefox")) && stand.passes(&from("alice", "/login", "curl")));
    stand.ask(&from("alice", "/items/1", "curl"), |decision| {
        let Some(Denial::Own { limit, outcome }) = decision.denied_by_adjustment() else { panic!("{decision:?}") };
        assert_eq!((limit.capacity(), outcome.retry_after()), (5, Some(Micros::from_secs(2))));
    });
    stand.clock.advance(Micros::from_secs(2));
    assert_eq!(stand.admitted(&from("carol", "/items/2", "curl"), 5), 1, "the rate refills it");
}

#[test]
fn a_limit_of_its_own_keeps_to_all_or_nothing() {
    let stand = Stand::with(vec![rule("user_id", 10)], Charge::AllOrNothing, LimiterOptions::default());
    stand.adjust([adjustment(user("alice"), Effect::Limit { rate: 0.001, burst: 2 })]);
    assert_eq!(stand.admitted(&[ALICE], 10), 2);
    stand.adjust([]);
    assert_eq!(stand.admitted(&[ALICE], 20), 8, "what its limit denied charged no rule");
    stand.adjust([adjustment(user("alice"), Effect::Limit { rate: 0.001, burst: 3 })]);
    assert!(!stand.passes(&[ALICE]), "nor was the limit charged for what rules denied");
    stand.ask(&[ALICE], |decision| assert_eq!(decision.denied_by_adjustment(), None));
}

#[test]
fn what_a_limit_of_its_own_denies_uses_up_no_rule_that_records_denied_hits() {
    let stand = Stand::new(vec![rule("user_id", 10)]);
    let shadow = Adjustment { shadow: true, ..adjustment(user("alice"), Effect::Limit { rate: 0.001, burst: 1 }) };
    stand.adjust([adjustment(user("alice"), Effect::Limit { rate: 0.001, burst: 2 })]);
    assert_eq!(stand.admitted(&[ALICE], 10), 2);
    stand.adjust([shadow]);
    assert_eq!(stand.admitted(&[ALICE], 20), 8, "a shadow changes nothing about that");
}

#[test]
fn a_counter_of_its_own_is_no_rules() {
    let stand = Stand::new(vec![rule("enforced", 2), rule("user_id", 100)]);
    stand.adjust([adjustment(user("alice"), Effect::Limit { rate: 0.001, burst: 3 })]);
    assert_eq!(stand.admitted(&[ALICE], 9), 3);
    assert_eq!(stand.admitted(&[&[("enforced", "user")]], 9), 2);
    let relaxed = Effect::Limit { rate: 0.001, burst: 4 };
    stand.adjust([Adjustment { id: "a2".into(), ..adjustment(user("alice"), relaxed) }]);
    assert_eq!(stand.admitted(&[ALICE], 9), 1, "a renewed one keeps its counter");
}

#[test]
fn shadows_change_nothing_and_are_told() {
    let stand = Stand::new(vec![rule("user_id", 6)]);
    let shadow = |effect| Adjustment { shadow: true, ..adjustment(user("alice"), effect) };
    stand.adjust([shadow(factor(0.5, 1))]);
    let told = |decision: &Decision<'_>| {
        let adjusted = decision.adjustment.as_ref().unwrap();
        assert_eq!((&adjusted.applied, &adjusted.denial, &adjusted.lowered[..]), (&None, &None, &[][..]));
        assert_eq!(adjusted.shadow.as_ref().map(|by| &*by.id), Some("a1"));
        (decision.code == Code::Ok, adjusted.shadow_denies)
    };
    let all: Vec<_> = (0..8).map(|_| stand.ask(&[ALICE], told)).collect();
    let expected: Vec<_> = (1..=8).map(|hit| (hit <= 6, (4..=6).contains(&hit))).collect();
    assert_eq!(all, expected);
    stand.adjust([
        shadow(Effect::Block),
        Adjustment { id: "b".into(), ..shadow(Effect::Limit { rate: 1.0, burst: 1 }) },
    ]);
    assert_eq!(stand.ask(&[ALICE], told), (false, false), "it is over its own limit");
    stand.clock.advance(Micros::from_secs(10));
    assert_eq!(stand.counted(AdjustedOutcome::ShadowLimited), 3);
    assert_eq!(stand.counted(AdjustedOutcome::ShadowPassed), 6);
    let (bob, shadow) =
        (BOB, Adjustment { shadow: true, ..adjustment(user("bob"), Effect::Limit { rate: 0.01, burst: 1 }) });
    stand.adjust([shadow]);
    let all: Vec<_> = (0..3).map(|_| stand.ask(&[bob], told)).collect();
    assert_eq!(all, [(true, false), (true, true), (true, true)]);
}

#[test]
fn the_servers_shadow_mode_lets_pass_what_adjustments_deny() {
    let options = LimiterOptions { shadow_mode: true, ..LimiterOptions::default() };
    let stand = Stand::with(vec![rule("user_id", 10)], Charge::Independent, options);
    for effect in [Effect::Block, factor(0.1, 1), Effect::Limit { rate: 0.001, burst: 1 }] {
        stand.adjust([adjustment(user("alice"), effect)]);
        assert_eq!(stand.admitted(&[ALICE], 3), 3, "{effect}");
        stand.ask(&[ALICE], |decision| assert_eq!(decision.denied_by_adjustment(), None));
    }
}

#[test]
fn an_override_is_lowered_too() {
    let stand = Stand::new(vec![]);
    stand.adjust([adjustment(user("alice"), factor(0.5, 1))]);
    let mut brought = request(&[ALICE]);
    brought.descriptors[0].limit =
        Some(crate::core::descriptor::LimitOverride { requests_per_unit: 6, unit: Unit::Hour });
    let passed = (0..9).filter(|_| stand.request(&brought, |decision| decision.code == Code::Ok)).count();
    assert_eq!(passed, 3);
}

#[test]
fn what_concerns_a_descriptor_is_explained() {
    let stand = Stand::new(vec![rule("user_id", 10)]);
    stand.adjust([
        adjustment(user("alice"), factor(0.5, 1)),
        Adjustment { id: "a2".into(), shadow: true, ..adjustment(user("alice"), Effect::Block) },
    ]);
    let active = stand.limiter.active();
    let domain = active.rules.domain(b"d").unwrap();
    let explained = stand.limiter.explain_adjustments(domain, &request(&[ALICE]).descriptors[0]);
    let ids: Vec<_> = explained.adjustments.iter().map(|by| &*by.id).collect();
    assert_eq!(ids, ["a2", "a1"]);
    let lowered: Vec<_> = explained.lowered.iter().map(|(place, limit)| (*place, limit.amount())).collect();
    assert_eq!(lowered, [(0, 5)]);
    let other = stand.limiter.explain_adjustments(domain, &request(&[BOB]).descriptors[0]);
    assert!(other.adjustments.is_empty() && other.lowered.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_lowered_limit_admits_exactly_its_share(
        amount in 0_u64..60, millionths in 1_u64..=1_000_000, floor in 1_u64..5,
        algorithm in prop::sample::select(Algorithm::ALL.to_vec()), drops in any::<bool>(), before in 0_usize..30,
    ) {
        let over = if drops { Over::Drop } else { Over::Record };
        let stand = Stand::new(vec![rule_with("user_id", &[limit(amount, algorithm, over)])]);
        // What was used before counts: the counter is the same.
        let used = stand.admitted(&[ALICE], before.min(usize::try_from(amount).unwrap()));
        stand.adjust([adjustment(user("alice"), factor(millionths as f64 / 1e6, floor))]);
        let share = (amount * millionths).div_ceil(1_000_000).max(floor).min(amount);
        let admitted = used + stand.admitted(&[ALICE], 80);
        prop_assert!(admitted as u64 <= amount, "never more than the rule says");
        // A bucket that leaks holds a time, which at the lower rate is fewer hits.
        if algorithm == Algorithm::LeakyBucket && used > 0 {
            prop_assert!(admitted as u64 >= share.min(used as u64));
        } else {
            prop_assert_eq!(admitted as u64, share.max(used as u64));
        }
    }

    #[test]
    fn requests_that_no_adjustment_concerns_are_decided_as_ever(
        keys in prop::collection::vec(prop::sample::select(vec!["user_id", "remote_address", "path", "none"]), 1..5),
    ) {
        let rules = || vec![rule("user_id", 3), rule("path", 4), rule("remote_address", 5)];
        let (plain, adjusted) = (Stand::new(rules()), Stand::new(rules()));
        adjusted.adjust([
            adjustment(user("mallory"), Effect::Block),
            adjustment(address("192.0.2.99"), factor(0.1, 1)),
            adjustment(group(&[(Attribute::Path, "/other")]), Effect::Limit { rate: 1.0, burst: 1 }),
        ]);
        let entries: Vec<_> = keys.iter().map(|key| [(*key, "192.0.2.1")]).collect();
        let descriptors: Vec<Entries<'_>> = entries.iter().map(|entries| &entries[..]).collect();
        for _ in 0..6 {
            let said = |decision: &Decision<'_>| format!("{decision:?}");
            prop_assert_eq!(plain.ask(&descriptors, said), adjusted.ask(&descriptors, said));
        }
    }
}
