//! What adjustments change about a request, before it is counted.

use std::hash::Hasher as _;
use std::sync::Arc;

use siphasher::sip128::{Hasher128, SipHasher13};
use smallvec::SmallVec;

use super::found::{Found, Scope};
use crate::core::adjustment::adjusted::Lowered;
use crate::core::adjustment::{Adjustment, Effect};
use crate::core::clock::Micros;
use crate::core::descriptor::{Operation, Request};
use crate::core::limit::{Algorithm, Limit, LimitParts, MAX_HITS, Over, Window};
use crate::core::ruleset::Domain;
use crate::core::spec::{Charge, FailureMode};
use crate::core::subject::Subject;
use crate::counters::{CounterKey, CounterName, Hit};
use crate::limiter::resolve::{Resolved, Target, counted_limits};
use crate::limiter::{Explained, LimiterOptions};

/// The path of the counters that belong to adjustments. No rule has it: a path begins with a key, in which a `=` is
/// written `%3D`.
const PATH: &str = "=adjustment";

/// Rates are per second, and need not be whole numbers; per hour they are near enough.
const WINDOW_SECONDS: u64 = 3_600;

/// What adjustments change about a request.
#[derive(Debug)]
pub(in crate::limiter) struct Plan {
    /// Nothing passes.
    pub(super) blocked: Option<Arc<Adjustment>>,
    /// Limits that are lower, by the positions of their hits.
    pub(super) lowered: Vec<(usize, Lowered)>,
    /// Limits that would be lower, if shadows were enforced.
    pub(super) shadow_lowered: Vec<(usize, Lowered)>,
    /// Limits of adjustments' own. Their hits come behind those of the rules.
    pub(super) own: Vec<Own>,
    /// A shadow that would let nothing pass.
    pub(super) shadow_blocked: Option<Arc<Adjustment>>,
    /// Any shadow.
    pub(super) shadow: Option<Arc<Adjustment>>,
    /// Hits of the rules.
    pub(super) rule_hits: usize,
    pub(super) now: Micros,
    space: u128,
}

/// A limit of an adjustment's own.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) by: Arc<Adjustment>,
    pub(super) limit: Limit,
    operation: Operation,
    /// Whose counter it is.
    values: SmallVec<[Box<str>; 4]>,
}

impl Plan {
    /// `None` when nothing of what was found has an effect on the request.
    pub(super) fn new(
        domain: &Domain,
        found: Found,
        request: &Request<'_>,
        resolved: &[Resolved<'_>],
        options: &LimiterOptions,
    ) -> Option<Self> {
        let mut plan = Self {
            blocked: None,
            lowered: Vec::new(),
            shadow_lowered: Vec::new(),
            own: Vec::new(),
            shadow_blocked: None,
            shadow: None,
            rule_hits: 0,
            now: found.now,
            space: space(&domain.name),
        };
        debug_assert_eq!(request.descriptors.len(), resolved.len());
        let protected =
            resolved.iter().any(|each| matches!(each.target, Target::Rule { rule, .. } if rule.is_protected()));
        if let (false, Some(operation)) = (protected, operation(resolved)) {
            for (by, _) in &found.all {
                match by.effect {
                    Effect::Block if by.shadow || options.shadow_mode => plan.shadow_blocked = Some(Arc::clone(by)),
                    Effect::Block => plan.blocked = Some(Arc::clone(by)),
                    Effect::Limit { rate, burst } => plan.add_own(by, rate, burst, operation),
                    Effect::Factor { .. } => {}
                }
            }
        }
        if found.all.iter().any(|(by, _)| matches!(by.effect, Effect::Factor { .. })) {
            plan.lower(&found, resolved);
        }
        plan.rule_hits = resolved.iter().map(|each| limits(each).count()).sum();
        let own_shadow = plan.own.iter().map(|own| &own.by).find(|by| by.shadow);
        let lowered = plan.shadow_lowered.first().map(|(_, lowered)| &lowered.by);
        plan.shadow = plan.shadow_blocked.as_ref().or(own_shadow).or(lowered).cloned();
        let enforced = plan.blocked.is_some() || !plan.lowered.is_empty() || !plan.own.is_empty();
        (enforced || plan.shadow.is_some()).then_some(plan)
    }

    /// Of several about one subject, the lower rate counts.
    fn add_own(&mut self, by: &Arc<Adjustment>, rate: f64, burst: u64, operation: Operation) {
        let limit = own_limit(rate, burst);
        let same = |own: &&mut Own| own.by.shadow == by.shadow && own.by.subject == by.subject;
        match self.own.iter_mut().find(same) {
            Some(known) if known.limit.amount() <= limit.amount() => {}
            Some(known) => (known.by, known.limit) = (Arc::clone(by), limit),
            None => self.own.push(Own { by: Arc::clone(by), limit, operation, values: values(by) }),
        }
    }

    /// Lowers the limits of the descriptors that name a subject.
    fn lower(&mut self, found: &Found, resolved: &[Resolved<'_>]) {
        let mut hit = 0;
        for (descriptor, each) in resolved.iter().enumerate() {
            let is_protected = matches!(each.target, Target::Rule { rule, .. } if rule.is_protected());
            for (place, limit) in limits(each) {
                for shadow in [false, true] {
                    let concerns = |scope| scope == Scope::Request || scope == Scope::Descriptor(descriptor);
                    let here = found.all.iter().filter(|(by, scope)| by.shadow == shadow && concerns(*scope));
                    // Of several, the one that leaves least.
                    let least = here.map(|(by, _)| by).min_by_key(|by| by.effect.lower(limit.amount()));
                    let Some(by) = least.filter(|_| !is_protected) else { continue };
                    let lower = limit.lowered(|amount| by.effect.lower(amount));
                    if lower != *limit {
                        let (unadjusted, by) = (limit.clone(), Arc::clone(by));
                        let lowered = Lowered { descriptor, place, limit: lower, unadjusted, by };
                        if shadow { &mut self.shadow_lowered } else { &mut self.lowered }.push((hit, lowered));
                    }
                }
                hit += 1;
            }
        }
    }

    /// The limit in effect for the hit at a position, where it is lower than its rule says.
    pub(in crate::limiter) fn limit(&self, hit: usize) -> Option<&Limit> {
        self.lowered.iter().find(|(position, _)| *position == hit).map(|(_, lowered)| &lowered.limit)
    }

    /// The hits on the adjustments' own counters.
    pub(in crate::limiter) fn own_hits<'a>(
        &'a self,
        domain: &'a Domain,
        options: &LimiterOptions,
    ) -> impl Iterator<Item = Hit<'a>> {
        let enforces = !options.shadow_mode;
        self.own.iter().map(move |own| Hit {
            key: CounterKey {
                space: self.space,
                name: CounterName { domain: &domain.name, path: PATH, limit: None },
                values: own.values.iter().map(|value| value.as_bytes()).collect(),
            },
            limit: &own.limit,
            operation: own.operation,
            enforced: enforces && !own.by.shadow,
            // An attack is no time to let everything pass, nor to fail what rules would let pass.
            failure_mode: FailureMode::Local,
        })
    }

    /// How the request's hits are charged: what a limit of an adjustment's own denies must not use up the limits of others
    /// that share the rules' counters.
    pub(in crate::limiter) fn charge(&self, domain: &Domain) -> Charge {
        if self.own.iter().any(|own| !own.by.shadow) { Charge::AllOrNothing } else { domain.settings.charge }
    }

    /// What it would do, for a person.
    pub(in crate::limiter) fn explain(&self) -> Explained {
        let lowered = self.lowered.iter().map(|(_, lowered)| (lowered.place, lowered.limit.clone())).collect();
        let lowering = self.lowered.iter().chain(&self.shadow_lowered).map(|(_, lowered)| &lowered.by);
        let blocking = self.blocked.iter().chain(&self.shadow_blocked);
        let mut adjustments: Vec<Arc<Adjustment>> = Vec::new();
        for by in blocking.chain(self.own.iter().map(|own| &own.by)).chain(lowering) {
            if !adjustments.iter().any(|known| Arc::ptr_eq(known, by)) {
                adjustments.push(Arc::clone(by));
            }
        }
        Explained { adjustments, lowered }
    }

    /// Whether it lets nothing of the request pass.
    pub(in crate::limiter) const fn blocks(&self) -> bool {
        self.blocked.is_some()
    }
}

/// The limits of a descriptor that count, in the order of their hits, each with its position in its rule.
fn limits<'a>(each: &'a Resolved<'_>) -> impl Iterator<Item = (usize, &'a Limit)> {
    let (of_rule, brought) = match &each.target {
        Target::Nothing => (None, None),
        Target::Rule { rule, replaced } => (Some(counted_limits(rule, *replaced)), None),
        Target::Override { limit, .. } => (None, Some((0, limit))),
    };
    of_rule.into_iter().flatten().map(|(place, limit)| (place, &limit.limit)).chain(brought)
}

/// What the request does to adjustments' own counters: it charges them one hit if it charges anything, and asks if it
/// only asks. `None` if it only gives back.
fn operation(resolved: &[Resolved<'_>]) -> Option<Operation> {
    let charges = resolved.iter().filter_map(|each| match each.operation {
        Operation::Charge(hits) => Some(hits.min(1)),
        Operation::Refund(_) => None,
    });
    charges.max().map(Operation::Charge)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "bounded")]
fn own_limit(rate: f64, burst: u64) -> Limit {
    let amount = (rate * WINDOW_SECONDS as f64).round().clamp(1.0, MAX_HITS as f64) as u64;
    let window = Window::Length(Micros::from_secs(WINDOW_SECONDS));
    let parts = LimitParts {
        algorithm: Algorithm::TokenBucket,
        burst: Some(burst.clamp(1, MAX_HITS)),
        over: Over::Drop,
        ..LimitParts::fixed_window(amount.max(1), window.clone())
    };
    // Everything is in range.
    Limit::new(parts).unwrap_or_else(|_| Limit::nothing(window))
}

/// Whose counter a limit of its own is: the kind of the subject, and what it is called. Shadows have counters apart.
fn values(by: &Adjustment) -> SmallVec<[Box<str>; 4]> {
    let mut values: SmallVec<[Box<str>; 4]> = SmallVec::new();
    values.push(if by.shadow { "shadow".into() } else { "enforced".into() });
    match &by.subject {
        Subject::User(name) => values.extend(["user".into(), (&**name).into()]),
        Subject::Address(address) => {
            let network = crate::core::client::network(*address).to_string();
            values.extend(["address".into(), network.into()]);
        }
        Subject::Group(named) => {
            values.extend(named.iter().flat_map(|(attribute, value)| [attribute.name().into(), (&**value).into()]));
        }
    }
    values
}

/// The space of a domain's adjustments. What a rule's or an override's is made of has more parts.
fn space(domain: &str) -> u128 {
    let mut hasher = SipHasher13::new();
    for part in [PATH, domain] {
        hasher.write_u64(part.len() as u64);
        hasher.write(part.as_bytes());
    }
    hasher.finish128().as_u128()
}
