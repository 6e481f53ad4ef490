//! Rule sets changed in place: they behave like sets compiled anew, and leave their clones alone.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::limited;
use crate::core::descriptor::Entry;
use crate::core::path::{DescriptorPath, PathEntry, canonical_path};
use crate::core::rule::{MetricName, Rule, RuleId};
use crate::core::ruleset::RuleSet;
use crate::core::spec::{Charge, DescriptorSpec, DomainSettings, DomainSpec, EffectSpec, RuleSpec};

fn path(text: &str) -> DescriptorPath {
    text.parse().unwrap()
}

fn amount(amount: u64) -> RuleSpec {
    limited("k", "", amount).rule
}

fn put(set: &mut RuleSet, at: &str, rule: RuleSpec) {
    set.put("d", &path(at), rule).unwrap();
}

fn find<'s>(set: &'s RuleSet, entries: &[(&str, &str)]) -> Option<&'s Rule> {
    let entries: Vec<_> = entries.iter().map(|(key, value)| Entry::new(key, value)).collect();
    set.domain(b"d")?.find(&entries)
}

fn found(set: &RuleSet, entries: &[(&str, &str)]) -> Option<u64> {
    find(set, entries).map(|rule| rule.limits()[0].limit.amount())
}

#[test]
fn a_domain_is_there_while_it_has_settings_or_rules() {
    let mut set = RuleSet::default();
    set.set_domain("d", None);
    assert!(set.domain(b"d").is_none());
    put(&mut set, "a,b=x", amount(1));
    assert_eq!(set.domain(b"d").unwrap().settings, DomainSettings::API);
    let settings = DomainSettings { charge: Charge::Independent, ..DomainSettings::API };
    set.set_domain("d", Some(settings));
    assert!(set.remove("d", &path("a,b=x")));
    assert_eq!(set.domain(b"d").unwrap().settings, settings);
    assert_eq!(set.rule_count(), 0);
    set.set_domain("d", None);
    assert!(set.domain(b"d").is_none());
    assert_eq!(set.domains().len(), 0);
}

#[test]
fn removing_takes_away_what_only_led_there_and_nothing_else() {
    let mut set = RuleSet::default();
    put(&mut set, "a=x,b=y,c", amount(1));
    put(&mut set, "a", amount(2));
    assert_eq!(found(&set, &[("a", "x")]), None, "a branch on the way takes the entry");
    assert!(!set.remove("d", &path("a=x")), "nothing is written there");
    assert!(!set.remove("d", &path("a=x,b=y,c=z")));
    assert!(!set.remove("e", &path("a")));
    put(&mut set, "a=x,b=y", amount(3));
    assert!(set.remove("d", &path("a=x,b=y")));
    assert_eq!(found(&set, &[("a", "x"), ("b", "y"), ("c", "")]), Some(1));
    assert!(set.remove("d", &path("a=x,b=y,c")));
    assert_eq!(found(&set, &[("a", "x")]), Some(2));
    assert!(set.remove("d", &path("a")));
    assert!(set.domain(b"d").is_none());
}

#[test]
fn a_branch_without_effect_stays_until_it_is_removed() {
    let mut set = RuleSet::default();
    put(&mut set, "a", amount(1));
    put(&mut set, "a=x", RuleSpec::default());
    assert_eq!(found(&set, &[("a", "x")]), None);
    assert!(set.remove("d", &path("a=x")));
    assert_eq!(found(&set, &[("a", "x")]), Some(1));
}

#[test]
fn ids_stay_and_free_ones_are_given_again() {
    let mut set = RuleSet::default();
    for n in 0..2_000 {
        put(&mut set, &format!("user={n}"), amount(n));
    }
    let id = |set: &RuleSet, user: &str| find(set, &[("user", user)]).map(|rule| rule.id);
    assert_eq!(id(&set, "700"), Some(RuleId(700)));
    put(&mut set, "user=700", amount(5));
    assert_eq!((id(&set, "700"), set.rule_count()), (Some(RuleId(700)), 2_000));
    let before = set.clone();
    assert!(set.remove("d", &path("user=700")) && set.remove("d", &path("user=30")));
    put(&mut set, "ip=1", amount(6));
    put(&mut set, "ip=2", amount(7));
    put(&mut set, "ip=3", amount(8));
    let ids = ["1", "2", "3"].map(|ip| find(&set, &[("ip", ip)]).unwrap().id.0);
    assert_eq!(ids, [30, 700, 2_000]);
    let shared = before.pages().iter().zip(set.pages()).filter(|(one, other)| std::sync::Arc::ptr_eq(one, other));
    assert_eq!(shared.count(), 1, "the third of four pages has not changed");
    assert_eq!(found(&before, &[("user", "700")]), Some(5));
    for n in 0..2_000 {
        set.remove("d", &path(&format!("user={n}")));
    }
    assert_eq!(set.rules().map(|rule| rule.id.0).collect::<Vec<_>>(), ids);
}

#[test]
fn a_disabled_branch_comes_back_with_what_is_below_it() {
    let mut set = RuleSet::default();
    put(&mut set, "a=x*", amount(1));
    put(&mut set, "a=x*,b", amount(2));
    put(&mut set, "a", amount(3));
    put(&mut set, "a=x*", RuleSpec { disabled: true, ..amount(4) });
    assert_eq!((set.rule_count(), set.domain(b"d").unwrap().rule_count()), (1, 1));
    assert_eq!(found(&set, &[("a", "xy")]), Some(3));
    assert_eq!(found(&set, &[("a", "xy"), ("b", "")]), None);
    put(&mut set, "a=x*,b", amount(5));
    put(&mut set, "a=x*,c", amount(6));
    assert_eq!(set.rules().count(), 1, "what is below a disabled branch is not in force");
    put(&mut set, "a=x*", amount(7));
    assert_eq!((found(&set, &[("a", "xy")]), set.rule_count()), (Some(7), 4));
    assert_eq!(found(&set, &[("a", "xy"), ("b", "")]), Some(5));
    assert_eq!(found(&set, &[("a", "xy"), ("c", "")]), Some(6));
}

#[test]
fn what_is_said_above_a_rule_reaches_it() {
    let mut set = RuleSet::default();
    put(&mut set, "a=x*,b=y", amount(1));
    let rule = |set: &RuleSet| find(set, &[("a", "xx"), ("b", "y")]).unwrap().clone();
    assert_eq!((rule(&set).varying, rule(&set).metric), (0b01, MetricName::Static));
    put(&mut set, "a=x*", RuleSpec { value_to_metric: true, ..RuleSpec::default() });
    assert_eq!(rule(&set).metric_key(&[Entry::new("a", "xx"), Entry::new("b", "y")]), "a_xx.b_y");
    put(&mut set, "a=x*", RuleSpec { share_threshold: true, ..RuleSpec::default() });
    assert_eq!((rule(&set).varying, rule(&set).metric), (0, MetricName::Static));
    assert!(set.remove("d", &path("a=x*")));
    assert_eq!(rule(&set).varying, 0b01);
    assert_eq!(rule(&set).id, RuleId(0));
}

#[test]
fn wildcards_are_tried_by_their_order_then_by_their_text() {
    let mut set = RuleSet::default();
    put(&mut set, "k=ab*", amount(1));
    put(&mut set, "k=*c", amount(2));
    put(&mut set, "*k", amount(3));
    assert_eq!(found(&set, &[("k", "abc")]), Some(3 - 1), "k=* comes before k=a");
    put(&mut set, "k=ab*", RuleSpec { order: 0, ..amount(1) });
    put(&mut set, "k=*c", RuleSpec { order: 1, ..amount(2) });
    assert_eq!(found(&set, &[("k", "abc")]), Some(1));
    put(&mut set, "*bc", amount(4));
    assert_eq!(found(&set, &[("k", "abc")]), Some(4), "*bc comes before k=ab*");
}

/// What is written, by domain and path.
#[derive(Clone, Debug, Default)]
struct Model {
    settings: BTreeMap<String, DomainSettings>,
    rules: BTreeMap<(String, DescriptorPath), RuleSpec>,
}

impl Model {
    /// A set that is compiled of the whole.
    fn compile(&self) -> RuleSet {
        let names: BTreeSet<&String> =
            self.settings.keys().chain(self.rules.keys().map(|(domain, _)| domain)).collect();
        let domain = |name: &&String| {
            let mut descriptors = Vec::new();
            for ((_, path), rule) in self.rules.iter().filter(|((domain, _), _)| domain == *name) {
                write(&mut descriptors, path.entries(), rule);
            }
            sort(&mut descriptors);
            let settings = self.settings.get(*name).copied().unwrap_or(DomainSettings::API);
            DomainSpec { settings, descriptors, ..DomainSpec::new(name.as_str()) }
        };
        RuleSet::compile(names.iter().map(domain).collect(), false).unwrap()
    }
}

fn write(level: &mut Vec<DescriptorSpec>, path: &[PathEntry], rule: &RuleSpec) {
    let (first, rest) = path.split_first().unwrap();
    let (key, value) = (first.key.to_string(), first.value.as_deref().map(str::to_owned));
    let at = level.iter().position(|spec| spec.key == key && spec.value == value).unwrap_or_else(|| {
        level.push(DescriptorSpec { key, value, ..DescriptorSpec::default() });
        level.len() - 1
    });
    if rest.is_empty() { level[at].rule = rule.clone() } else { write(&mut level[at].descriptors, rest, rule) }
}

fn sort(level: &mut [DescriptorSpec]) {
    level.sort_by_key(|spec| (spec.rule.order, canonical_path([(&*spec.key, spec.value.as_deref())])));
    level.iter_mut().for_each(|spec| sort(&mut spec.descriptors));
}

/// All that can be asked of a set.
fn behaviour(set: &RuleSet, probes: &[Vec<(String, String)>]) -> Vec<String> {
    let anonymous = |rule: &Rule| format!("{:?}", Rule { id: RuleId(0), ..rule.clone() });
    let mut all: Vec<String> = set.rules().map(anonymous).collect();
    all.push(format!("{} rules in {} domains", set.rule_count(), set.domains().len()));
    for domain in set.domains() {
        all.push(format!("{} {:?} {}", domain.name, domain.settings, domain.rule_count()));
        for probe in probes {
            let entries: Vec<_> = probe.iter().map(|(key, value)| Entry::new(key, value)).collect();
            let (found, explained) = (domain.find(&entries), domain.explain(&entries));
            if let Some(rule) = found {
                let listed = set.pages()[rule.id.page()].places()[rule.id.place()].as_deref();
                assert!(
                    listed.is_some_and(|listed| std::ptr::eq(listed, rule)),
                    "{} is not found by its id",
                    rule.path
                );
                all.push(rule.metric_key(&entries));
            }
            assert_eq!(found.map(|rule| rule.id), explained.rule.map(|rule| rule.id));
            let (found, steps) = (found.map(anonymous), explained.steps);
            all.push(format!("{} {probe:?}: {found:?} {steps:?} {}", domain.name, explained.summary));
        }
    }
    all.sort();
    all
}

#[derive(Clone, Debug)]
enum Edit {
    Put(String, DescriptorPath, RuleSpec),
    Remove(String, DescriptorPath),
    Settings(String, Option<DomainSettings>),
}

fn apply(edit: &Edit, set: &mut RuleSet, model: &mut Model) {
    match edit {
        Edit::Put(domain, path, rule) => {
            set.put(domain, path, rule.clone()).unwrap();
            model.rules.insert((domain.clone(), path.clone()), rule.clone());
        }
        Edit::Remove(domain, path) => {
            let was_there = model.rules.remove(&(domain.clone(), path.clone())).is_some();
            assert_eq!(set.remove(domain, path), was_there);
        }
        Edit::Settings(domain, settings) => {
            set.set_domain(domain, *settings);
            match settings {
                Some(settings) => model.settings.insert(domain.clone(), *settings),
                None => model.settings.remove(domain),
            };
        }
    }
}

fn any_domain() -> impl Strategy<Value = String> {
    prop_oneof![9 => Just("d".to_owned()), 1 => Just("e,f".to_owned())]
}

fn any_path() -> impl Strategy<Value = DescriptorPath> {
    // Many on the top level, where the larger structures are needed; few below.
    let top = prop_oneof![
        2 => (Just("a"), prop::option::of("[xy*]{1,2}")),
        1 => (prop_oneof![Just("b"), Just("a*"), Just("*"), Just("*y")], prop::option::of("[xy*]{1,2}")),
        1 => (Just("a"), "x[xy]{0,4}".prop_map(Some)),
        1 => (Just("a"), "[xy]{0,2}\\*[xy]{0,1}\\*?[xy]{0,2}".prop_map(Some)),
    ];
    let below = (
        prop_oneof![Just("b"), Just("a=")],
        prop_oneof![Just(None), Just(Some("x".to_owned())), Just(Some("*y".to_owned()))],
    );
    (top, prop::collection::vec(below, 0..3)).prop_map(|(top, below)| {
        let entries = std::iter::once(top).chain(below);
        let entries = entries.map(|(key, value)| PathEntry { key: key.into(), value: value.map(Into::into) });
        DescriptorPath::new(entries).unwrap()
    })
}

fn any_rule() -> impl Strategy<Value = RuleSpec> {
    let rarely = || prop::bool::weighted(0.15);
    let flags = (rarely(), rarely(), rarely(), rarely(), rarely(), rarely());
    (0u64..1_000, 0u8..8, 0u32..3, flags).prop_map(|(number, effect, order, flags)| {
        let rule = amount(number);
        let several = |spec: &RuleSpec| match &spec.effect {
            Some(EffectSpec::Limits(limits)) => EffectSpec::Limits([&limits[..], &limits[..]].concat()),
            _ => unreachable!(),
        };
        let effect = match effect {
            0 => None,
            1 => Some(EffectSpec::Unlimited { name: Some("free".to_owned()), replaces: vec!["other".to_owned()] }),
            2 => Some(several(&rule)),
            _ => rule.effect.clone(),
        };
        let (disabled, share_threshold, value_to_metric, detailed_metric, shadow_mode, protect) = flags;
        RuleSpec {
            effect,
            order,
            disabled,
            share_threshold,
            value_to_metric,
            detailed_metric,
            shadow_mode,
            protect,
            ..rule
        }
    })
}

fn any_edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        12 => (any_domain(), any_path(), any_rule()).prop_map(|(domain, path, rule)| Edit::Put(domain, path, rule)),
        5 => (any_domain(), any_path()).prop_map(|(domain, path)| Edit::Remove(domain, path)),
        1 => (any_domain(), prop::option::of(Just(DomainSettings::FILE)))
            .prop_map(|(domain, settings)| Edit::Settings(domain, settings)),
    ]
}

fn any_probe() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::vec(("a|b|ab|a=|y", "[xy]{0,4}"), 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn an_edited_set_behaves_like_one_that_is_compiled_anew(
        edits in prop::collection::vec(any_edit(), 1..150),
        probes in prop::collection::vec(any_probe(), 30),
    ) {
        let (mut set, mut model) = (RuleSet::default(), Model::default());
        let mut before = Vec::new();
        for (number, edit) in edits.iter().enumerate() {
            if number % 25 == 13 {
                before.push((set.clone(), behaviour(&set, &probes)));
            }
            apply(edit, &mut set, &mut model);
            let last = number + 1 == edits.len();
            if number % 25 == 20 || last {
                prop_assert_eq!(behaviour(&set, &probes), behaviour(&model.compile(), &probes));
            }
        }
        for (set, then) in before {
            prop_assert_eq!(behaviour(&set, &probes), then, "an edit of a clone reached the set");
        }
        for (domain, path) in model.rules.keys() {
            prop_assert!(set.remove(domain, path));
        }
        prop_assert_eq!((set.rule_count(), set.pages().len(), set.domains().len()), (0, 0, model.settings.len()));
    }
}
