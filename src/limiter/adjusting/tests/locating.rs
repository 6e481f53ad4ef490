//! Groups by country and autonomous system, of requests that do not tell where they come from.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::core::locate::Locate;

/// 192.0.2.0/24 is in DE, and announced by 64496; of all else nothing is known. Counts how often it is asked.
#[derive(Debug, Default)]
struct Map {
    countries: AtomicUsize,
    systems: AtomicUsize,
}

fn is_ours(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(address) if address.octets().starts_with(&[192, 0, 2]))
}

impl Locate for Map {
    fn country(&self, address: IpAddr) -> Option<[u8; 2]> {
        self.countries.fetch_add(1, Ordering::Relaxed);
        is_ours(address).then_some(*b"DE")
    }

    fn asn(&self, address: IpAddr) -> Option<u32> {
        self.systems.fetch_add(1, Ordering::Relaxed);
        is_ours(address).then_some(64_496)
    }
}

impl Map {
    fn asked(&self) -> (usize, usize) {
        (self.countries.load(Ordering::Relaxed), self.systems.load(Ordering::Relaxed))
    }
}

fn stand() -> (Stand, Arc<Map>) {
    let map = Arc::new(Map::default());
    let mut stand = Stand::new(vec![rule("remote_address", 100)]);
    stand.limiter = stand.limiter.with_locate(Arc::<Map>::clone(&map));
    (stand, map)
}

const OURS: Entries<'static> = &[("remote_address", "192.0.2.7")];
const OTHER: Entries<'static> = &[("remote_address", "203.0.113.7")];

#[test]
fn a_group_by_country_or_system_holds_for_addresses_that_are_there() {
    let (stand, _) = stand();
    for (attribute, value) in [(Attribute::Country, "DE"), (Attribute::Asn, "64496")] {
        stand.adjust([adjustment(group(&[(attribute, value)]), Effect::Block)]);
        assert_eq!((stand.passes(&[OURS]), stand.passes(&[OTHER])), (false, true), "{attribute:?}");
    }
    stand.adjust([adjustment(group(&[(Attribute::Country, "DE"), (Attribute::UserAgent, "curl")]), Effect::Block)]);
    let curl: Entries<'_> = &[("remote_address", "192.0.2.7"), ("user_agent", "curl")];
    assert_eq!((stand.passes(&[OURS]), stand.passes(&[curl])), (true, false));
}

#[test]
fn what_a_request_tells_itself_goes_before() {
    let (stand, map) = stand();
    stand.adjust([adjustment(group(&[(Attribute::Country, "DE")]), Effect::Block)]);
    assert!(stand.passes(&[&[("remote_address", "192.0.2.7"), ("country", "FR")]]));
    assert!(!stand.passes(&[&[("remote_address", "203.0.113.7"), ("country", "DE")]]));
    assert_eq!(map.asked(), (0, 0));
}

#[test]
fn nobody_is_looked_up_unless_an_adjustment_depends_on_it() {
    let (stand, map) = stand();
    let asked = |adjustments: Vec<Adjustment>| {
        stand.adjust(adjustments);
        assert!(stand.passes(&[OTHER]) && stand.passes(&[ALICE]));
        map.asked()
    };
    assert_eq!(asked(vec![]), (0, 0));
    assert_eq!(asked(vec![adjustment(address("192.0.2.7"), Effect::Block)]), (0, 0));
    assert_eq!(asked(vec![adjustment(group(&[(Attribute::UserAgent, "curl")]), Effect::Block)]), (0, 0));
    assert_eq!(asked(vec![adjustment(group(&[(Attribute::Asn, "64496")]), Effect::Block)]), (0, 1));
    assert_eq!(asked(vec![adjustment(group(&[(Attribute::Country, "DE")]), Effect::Block)]), (1, 1));
}
