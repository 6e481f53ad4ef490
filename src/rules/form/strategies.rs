//! Any rule, for property tests; built for tests only, so a zone that is unknown may panic.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use crate::core::calendar::{CalendarUnit, CalendarWindow};
use crate::core::clock::Micros;
use crate::core::limit::{Algorithm, Limit, LimitParts, Over, Unit, Window};
use crate::core::spec::{EffectSpec, FailureMode, LimitSpec, RuleSpec};

fn window() -> impl Strategy<Value = Window> {
    let zone = prop::sample::select(vec!["UTC", "Europe/Berlin"]);
    let unit =
        prop::sample::select(vec![CalendarUnit::Day, CalendarUnit::Week, CalendarUnit::Month, CalendarUnit::Year]);
    prop_oneof![
        prop::sample::select(Unit::ALL.to_vec()).prop_map(|unit| Window::Length(unit.length())),
        (1..10_000_000_000_u64).prop_map(|length| Window::Length(Micros(length))),
        (unit, zone).prop_map(|(unit, zone)| Window::Calendar(Arc::new(CalendarWindow::new(unit, zone).unwrap()))),
    ]
}

fn limit() -> impl Strategy<Value = LimitSpec> {
    let algorithm = prop::sample::select(Algorithm::ALL.to_vec());
    let parts = (0..10_001_u64, window(), algorithm, prop::option::of(1..1_000_u64), any::<bool>(), any::<bool>());
    (parts, prop::option::of("[a-z]{1,4}"), prop::collection::vec("[A-Z]{1,4}", 0..3)).prop_filter_map(
        "no such limit",
        |((amount, window, algorithm, burst, record, post_paid), name, replaces)| {
            let over = if record { Over::Record } else { Over::Drop };
            let burst = burst.filter(|_| algorithm.has_burst());
            let limit = Limit::new(LimitParts { amount, window, algorithm, burst, over, post_paid }).ok()?;
            Some(LimitSpec { limit, name, replaces })
        },
    )
}

pub(crate) fn effect() -> impl Strategy<Value = EffectSpec> {
    prop_oneof![
        prop::collection::vec(limit(), 1..4).prop_map(EffectSpec::Limits),
        prop::option::of("[a-z]{1,4}").prop_map(|name| EffectSpec::Unlimited { name, replaces: vec!["R".to_owned()] }),
    ]
}

prop_compose! {
    pub(crate) fn rule()(
        effect in prop::option::of(effect()),
        flags in any::<[bool; 7]>(),
        metadata in prop::option::of("[a-z]{1,4}"),
        failure_mode in prop::option::of(prop::sample::select(vec![FailureMode::Open, FailureMode::Local, FailureMode::Error])),
        tags in prop::collection::vec(".{0,4}", 0..3),
        order in 0..3_u32,
    ) -> RuleSpec {
        let [shadow_mode, quota_mode, detailed_metric, value_to_metric, share_threshold, disabled, protect] = flags;
        RuleSpec {
            effect, shadow_mode, quota_mode, detailed_metric, value_to_metric, share_threshold, disabled, protect,
            metadata: metadata.map(|text| serde_json::Map::from_iter([(text.clone(), json!([text, 1.5, null]))])),
            failure_mode, tags, order, ..RuleSpec::default()
        }
    }
}
