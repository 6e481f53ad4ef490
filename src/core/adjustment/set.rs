//! The adjustments in force, as decisions look them up.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash as _, Hasher as _};
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use super::Adjustment;
use crate::core::client::{MAX_USER, MAX_USER_AGENT, network, short_name};
use crate::core::subject::{Attribute, Subject};

/// What is known of a request's attributes, in the order of [`Attribute::ALL`], in their short forms.
pub type Attributes<'a> = [Option<&'a str>; Attribute::ALL.len()];

type Found = SmallVec<[Arc<Adjustment>; 1]>;

/// Adjustments by whom they are about. Immutable; a decision's cost does not grow with their number.
#[derive(Clone, Debug, Default)]
pub struct AdjustmentSet {
    all: Box<[Arc<Adjustment>]>,
    users: HashMap<Box<str>, Found, RandomState>,
    addresses: HashMap<IpAddr, Found, RandomState>,
    /// By the attributes that they name, as bits, and a hash of those.
    groups: HashMap<(u8, u64), Found, RandomState>,
    /// The combinations of attributes that groups name.
    combinations: SmallVec<[u8; 16]>,
    hasher: RandomState,
}

impl AdjustmentSet {
    /// A set of these. Their subjects are known by their short forms, and addresses by what tells clients apart.
    pub fn new(adjustments: impl IntoIterator<Item = Adjustment>) -> Self {
        let mut set = Self::default();
        let all: Vec<_> = adjustments.into_iter().map(Arc::new).collect();
        for adjustment in &all {
            let place = match &adjustment.subject {
                Subject::User(name) => set.users.entry(short_name(name, MAX_USER).into()).or_default(),
                Subject::Address(address) => set.addresses.entry(network(*address)).or_default(),
                Subject::Group(named) => {
                    let short: SmallVec<[_; 4]> =
                        named.iter().map(|(attribute, value)| short(*attribute, value)).collect();
                    let mut attributes = Attributes::default();
                    for ((attribute, _), value) in named.iter().zip(&short) {
                        attributes[*attribute as usize] = Some(value);
                    }
                    let combination = combination(&attributes);
                    if !set.combinations.contains(&combination) {
                        set.combinations.push(combination);
                    }
                    let hash = set.hash(combination, &attributes);
                    set.groups.entry((combination, hash)).or_default()
                }
            };
            place.push(Arc::clone(adjustment));
        }
        set.all = all.into();
        set
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// How many there are, expired ones counted.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.all.len()
    }

    /// All of them, expired ones too.
    pub fn iter(&self) -> impl Iterator<Item = &Adjustment> {
        self.all.iter().map(|adjustment| &**adjustment)
    }

    /// Those about a user.
    #[must_use]
    pub fn of_user(&self, name: &str) -> &[Arc<Adjustment>] {
        if self.users.is_empty() {
            return &[];
        }
        self.users.get(&*short_name(name, MAX_USER)).map_or(&[], |found| found)
    }

    /// Those about a client's address.
    #[must_use]
    pub fn of_address(&self, address: IpAddr) -> &[Arc<Adjustment>] {
        if self.addresses.is_empty() {
            return &[];
        }
        self.addresses.get(&network(address)).map_or(&[], |found| found)
    }

    /// Whether any is about a group, so that attributes are worth finding out.
    #[must_use]
    pub fn has_groups(&self) -> bool {
        !self.groups.is_empty()
    }

    /// Whether any is about a group that has this attribute.
    #[must_use]
    pub fn names(&self, attribute: Attribute) -> bool {
        self.combinations.iter().any(|combination| combination & (1 << attribute as usize) != 0)
    }

    /// Those about groups that a request with these attributes belongs to.
    pub fn of_groups<'s>(&'s self, attributes: &Attributes<'_>) -> impl Iterator<Item = &'s Arc<Adjustment>> {
        let known = combination(attributes);
        let candidates = self.combinations.iter().filter(move |combination| **combination & known == **combination);
        let candidates =
            candidates.filter_map(|combination| self.groups.get(&(*combination, self.hash(*combination, attributes))));
        // Two groups may have one hash.
        candidates.flatten().filter(|adjustment| is_member(&adjustment.subject, attributes))
    }

    fn hash(&self, combination: u8, attributes: &Attributes<'_>) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        for (position, value) in attributes.iter().enumerate() {
            if combination & (1 << position) != 0 {
                value.hash(&mut hasher);
            }
        }
        hasher.finish()
    }
}

/// The short form of an attribute's value.
#[must_use]
pub fn short(attribute: Attribute, value: &str) -> std::borrow::Cow<'_, str> {
    match attribute {
        Attribute::UserAgent => short_name(value, MAX_USER_AGENT),
        // Made by us, of what is short already.
        Attribute::Country | Attribute::Asn | Attribute::Path | Attribute::Anonymous | Attribute::Address => {
            value.into()
        }
    }
}

/// The attributes that are known, as bits.
fn combination(attributes: &Attributes<'_>) -> u8 {
    attributes.iter().enumerate().fold(0, |bits, (position, value)| bits | (u8::from(value.is_some()) << position))
}

fn is_member(subject: &Subject, attributes: &Attributes<'_>) -> bool {
    match subject {
        Subject::Group(named) => {
            named.iter().all(|(attribute, value)| attributes[*attribute as usize] == Some(&*short(*attribute, value)))
        }
        Subject::User(_) | Subject::Address(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::adjustment::Effect;
    use crate::core::clock::Micros;

    fn about(id: &str, subject: Subject) -> Adjustment {
        Adjustment {
            id: id.into(),
            subject,
            domain: None,
            effect: Effect::Block,
            expires: Micros::SECOND,
            shadow: false,
        }
    }

    fn group(named: &[(Attribute, &str)]) -> Subject {
        Subject::Group(named.iter().map(|(attribute, value)| (*attribute, Arc::from(*value))).collect())
    }

    fn ids(found: &[Arc<Adjustment>]) -> Vec<&str> {
        found.iter().map(|adjustment| &*adjustment.id).collect()
    }

    #[test]
    fn clients_are_found_by_what_tells_them_apart() {
        let long = "u".repeat(100);
        let set = AdjustmentSet::new([
            about("1", Subject::User("alice".into())),
            about("2", Subject::User("alice".into())),
            about("3", Subject::User(long.as_str().into())),
            about("4", Subject::Address("2001:db8:0:1::99".parse().unwrap())),
            about("5", Subject::Address("192.0.2.1".parse().unwrap())),
        ]);
        assert_eq!((set.len(), set.is_empty(), set.has_groups()), (5, false, false));
        assert_eq!(ids(set.of_user("alice")), ["1", "2"]);
        assert_eq!(ids(set.of_user(&long)), ["3"]);
        assert_eq!(ids(set.of_user(&short_name(&long, MAX_USER))), ["3"], "as the worker knows it");
        assert!(set.of_user("bob").is_empty());
        assert_eq!(ids(set.of_address("2001:db8:0:1:7::".parse().unwrap())), ["4"]);
        assert!(set.of_address("2001:db8:0:2::99".parse().unwrap()).is_empty());
        assert_eq!(ids(set.of_address("::ffff:192.0.2.1".parse().unwrap())), ["5"]);
    }

    #[test]
    fn groups_are_found_by_all_their_attributes() {
        use Attribute::{Asn, Country, Path, UserAgent};
        let set = AdjustmentSet::new([
            about("de", group(&[(Country, "DE")])),
            about("de curl", group(&[(Country, "DE"), (UserAgent, "curl")])),
            about("all", group(&[(Country, "DE"), (Asn, "1"), (Path, "/x"), (UserAgent, "curl")])),
            about("long", group(&[(UserAgent, &"a".repeat(200))])),
        ]);
        fn known<'a>(named: &[(Attribute, &'a str)]) -> Attributes<'a> {
            let mut attributes = Attributes::default();
            named.iter().for_each(|(attribute, value)| attributes[*attribute as usize] = Some(value));
            attributes
        }
        let found = |attributes: Attributes<'_>| {
            let mut ids: Vec<_> = set.of_groups(&attributes).map(|found| found.id.to_string()).collect();
            ids.sort_unstable();
            ids
        };
        assert_eq!(found(known(&[(Country, "DE")])), ["de"]);
        assert_eq!(found(known(&[(Country, "DE"), (Path, "/x"), (UserAgent, "curl")])), ["de", "de curl"]);
        assert_eq!(
            found(known(&[(Country, "DE"), (Asn, "1"), (Path, "/x"), (UserAgent, "curl")])),
            ["all", "de", "de curl"]
        );
        assert_eq!(
            found(known(&[(Country, "FR"), (Asn, "1"), (Path, "/x"), (UserAgent, "curl")])),
            Vec::<String>::new()
        );
        let long = short_name(&"a".repeat(200), MAX_USER_AGENT).into_owned();
        assert_eq!(found(known(&[(UserAgent, &long)])), ["long"]);
        assert_eq!(found(Attributes::default()), Vec::<String>::new());
        assert!([Country, Asn, Path, UserAgent].into_iter().all(|attribute| set.names(attribute)));
        let set = AdjustmentSet::new([about("agent", group(&[(UserAgent, "curl")]))]);
        assert_eq!(Attribute::ALL.map(|attribute| set.names(attribute)), [false, false, false, true, false, false]);
    }
}
