//! Reasons, in words.

use super::intake::Intake;
use crate::anomaly::baseline::population::Usual;
use crate::anomaly::event::Reason;
use crate::anomaly::features::list::{Feature, Vector, short};
use crate::anomaly::features::names::{Id, Names};
use crate::anomaly::policy::cover::Group;
use crate::anomaly::surge::contrast::{About, Part};
use crate::anomaly::surge::profile::TRAIT_NAMES;
use crate::core::subject::{Attribute, Subject};

/// Reasons a subject gets at most.
pub const MOST: usize = 4;

/// Why a client is strange: by these features.
pub fn of_features(mut features: Vec<Feature>, vector: &Vector, usual: &Usual) -> Vec<Reason> {
    if features.is_empty() {
        features.push(Feature::Rate10s);
    }
    let reason = |feature: Feature| {
        let present = vector.get(feature.index()).copied().unwrap_or_default();
        let usual = usual.median(feature);
        Reason { feature: feature.name().into(), usual, present, text: feature.text(present, usual) }
    };
    features.into_iter().map(reason).collect()
}

/// Why a client belongs to an attack from many sources.
pub fn of_membership(parts: &[Part], intake: &Intake, present: f64, usual: f64) -> Vec<Reason> {
    let mut reasons = vec![surge(present, usual)];
    reasons.extend(parts.iter().take(MOST - 1).map(|part| {
        let (feature, what) = described(part.about, intake);
        let text = format!("{what}: {} of the new clients, usually {}", percent(part.present), percent(part.usual));
        Reason { feature: feature.into(), usual: part.usual, present: part.present, text }
    }));
    reasons
}

/// Why a group is limited.
pub fn of_group(attack: f64, calm: f64, present: f64, usual: f64) -> Vec<Reason> {
    let text = format!("{} of the attack's requests, {} of calm ones", percent(attack), percent(calm));
    vec![surge(present, usual), Reason { feature: "share_of_attack".into(), usual: calm, present: attack, text }]
}

fn surge(present: f64, usual: f64) -> Reason {
    let text = format!("{} new clients a second, usually {}", short(present), short(usual));
    Reason { feature: "new_clients".into(), usual, present, text }
}

/// One reason in figures that speak for themselves.
pub fn plain(feature: &'static str, present: f64, usual: f64, text: String) -> Reason {
    Reason { feature: feature.into(), usual, present, text }
}

/// A share, in per cent.
pub fn percent(share: f64) -> String {
    format!("{} %", short(share * 100.0))
}

fn described(about: About, intake: &Intake) -> (&'static str, String) {
    match about {
        About::Country(id) => ("country", format!("country {}", name(&intake.countries, id))),
        About::Asn(id) => ("asn", format!("autonomous system {}", name(&intake.systems, id))),
        About::Agent(id) => ("user_agent", format!("user agent {}", name(&intake.agents, id))),
        About::Named(true) => ("user", "with a user".to_owned()),
        About::Named(false) => ("user", "without a user".to_owned()),
        About::Path(id) => ("path", format!("path {}", name(&intake.paths, id))),
        About::Trait(which) => ("behaviour", format!("its {}", TRAIT_NAMES.get(which).copied().unwrap_or_default())),
    }
}

fn name(names: &Names, id: Id) -> &str {
    names.text(id).map_or("that is rare", |text| &**text)
}

/// A group as adjustments name it.
pub fn subject(group: Group, intake: &Intake) -> Option<Subject> {
    let attributes = group.attributes().map(|(attribute, id)| {
        let names = match attribute {
            Attribute::Country => &intake.countries,
            Attribute::Asn => &intake.systems,
            Attribute::Path => &intake.paths,
            Attribute::UserAgent => &intake.agents,
            Attribute::Anonymous => return Some((attribute, Attribute::YES.into())),
            Attribute::Address => return None,
        };
        Some((attribute, names.text(id)?.clone()))
    });
    attributes.collect::<Option<_>>().map(Subject::Group)
}
