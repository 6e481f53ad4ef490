//! The site that everybody visits: a shop with about two hundred path templates, and how people walk through it.

use fastrand::Rng;

use super::random::Draw as _;

/// Sections of the shop, and the subjects of its guides.
pub(super) const SECTIONS: [&str; 40] = [
    "tents", "stoves", "boots", "maps", "ropes", "lamps", "knives", "packs", "jackets", "gloves", "socks", "hats",
    "poles", "flasks", "pans", "filters", "mats", "bags", "kayaks", "paddles", "bikes", "helmets", "pumps", "tyres",
    "saddles", "skis", "boards", "sleds", "goggles", "waxes", "watches", "radios", "whistles", "mirrors", "kites",
    "books", "games", "snacks", "soap", "towels",
];
const HELP: [&str; 30] = [
    "delivery",
    "returns",
    "payment",
    "invoices",
    "sizes",
    "repairs",
    "warranty",
    "vouchers",
    "gifts",
    "contact",
    "stores",
    "jobs",
    "press",
    "terms",
    "privacy",
    "cookies",
    "imprint",
    "accounts",
    "passwords",
    "newsletter",
    "recalls",
    "recycling",
    "batteries",
    "customs",
    "pickup",
    "tracking",
    "credit",
    "clubs",
    "schools",
    "partners",
];
const ACCOUNT: [&str; 12] = [
    "orders",
    "addresses",
    "cards",
    "profile",
    "wishlist",
    "returns",
    "reviews",
    "vouchers",
    "alerts",
    "security",
    "devices",
    "export",
];
const API: [&str; 24] = [
    "stock",
    "reviews",
    "prices",
    "offers",
    "cart",
    "orders",
    "sessions",
    "profile",
    "suggest",
    "recommendations",
    "stores",
    "shipments",
    "payments",
    "events",
    "images",
    "ratings",
    "bundles",
    "taxes",
    "currencies",
    "messages",
    "notices",
    "features",
    "translations",
    "status",
];

/// Things for sale in each section.
pub(super) const ITEMS: u32 = 400;

/// What kind of page a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Home,
    Section,
    Item,
    Search,
    Guide,
    Help,
    Account,
    Cart,
    AddToCart,
    Checkout,
    Pay,
    Login,
    Api,
}

/// One request to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Visit {
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) page: Page,
}

impl Visit {
    pub(super) fn new(method: &'static str, path: impl Into<String>, page: Page) -> Self {
        Self { method, path: path.into(), page }
    }

    /// A thing for sale; `item` counts through the whole shop, section by section.
    pub(super) fn item(item: u32) -> Self {
        let section = SECTIONS[(item / ITEMS) as usize % SECTIONS.len()];
        Self::new("GET", format!("/shop/{section}/{}", 10_000 + item), Page::Item)
    }

    /// A call that the application makes of its own, with a path of the API.
    pub(super) fn api(random: &mut Rng) -> Self {
        let resource = API[random.usize(0..API.len())];
        match random.u8(0..4) {
            0 => Self::new("POST", format!("/api/v1/{resource}"), Page::Api),
            1 => Self::new("GET", format!("/api/v1/{resource}"), Page::Api),
            _ => Self::new("GET", format!("/api/v1/{resource}/{}", random.u32(1..90_000)), Page::Api),
        }
    }

    /// How the site answers: status and bytes.
    pub(super) fn answer(&self, random: &mut Rng) -> (u16, u64) {
        let status = match (self.page, random.u32(0..1000)) {
            (_, 0) => 503,
            (_, 1) => 500,
            // People mistype.
            (Page::Login, 2..80) => 401,
            (Page::Login | Page::AddToCart | Page::Pay, _) => 303,
            (Page::Account, 2..12) => 403,
            (Page::Item | Page::Guide, 2..14) => 404,
            (Page::Api, 2..8) => 404,
            (Page::Home | Page::Section | Page::Guide | Page::Help, 14..160) => 304,
            _ => 200,
        };
        let median = match (self.page, status) {
            (_, 303 | 304) => return (status, 0),
            (_, 400..) => 900.0,
            (Page::Api, _) => 1_400.0,
            (Page::Home | Page::Section | Page::Search, _) => 42_000.0,
            (Page::Item, _) => 28_000.0,
            _ => 15_000.0,
        };
        (status, random.log_normal(median, 0.35) as u64)
    }
}

/// The way of one visitor: where one stands decides where one goes.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    page: Page,
    section: usize,
    item: u32,
    logged_in: bool,
}

impl Walk {
    /// Somebody who is about to come, logged in or not.
    pub(super) fn new(logged_in: bool, random: &mut Rng) -> Self {
        let page = if logged_in && random.chance(0.2) { Page::Login } else { Page::Help };
        Self { page, section: popular(random, SECTIONS.len() as u32) as usize, item: 0, logged_in }
    }

    /// The next page.
    pub(super) fn step(&mut self, random: &mut Rng) -> Visit {
        self.page = self.turn(random);
        if self.page == Page::Section && random.chance(0.7) {
            self.section = popular(random, SECTIONS.len() as u32) as usize;
        }
        let section = SECTIONS[self.section];
        match self.page {
            Page::Home => Visit::new("GET", "/", Page::Home),
            Page::Section => Visit::new("GET", format!("/shop/{section}"), Page::Section),
            Page::Item => {
                self.item = self.section as u32 * ITEMS + popular(random, ITEMS);
                Visit::item(self.item)
            }
            Page::Search => Visit::new("GET", "/search", Page::Search),
            Page::Guide => {
                let subject = SECTIONS[popular(random, SECTIONS.len() as u32) as usize];
                Visit::new("GET", format!("/guides/{subject}"), Page::Guide)
            }
            Page::Help => Visit::new("GET", format!("/help/{}", HELP[random.usize(0..HELP.len())]), Page::Help),
            Page::Account => {
                let part = ACCOUNT[popular(random, ACCOUNT.len() as u32) as usize];
                Visit::new("GET", format!("/account/{part}"), Page::Account)
            }
            Page::Cart => Visit::new("GET", "/cart", Page::Cart),
            Page::AddToCart => Visit::new("POST", "/cart/items", Page::AddToCart),
            Page::Checkout => Visit::new("GET", "/checkout", Page::Checkout),
            Page::Pay => Visit::new("POST", "/checkout/payment", Page::Pay),
            Page::Login => Visit::new("POST", "/login", Page::Login),
            Page::Api => Visit::api(random),
        }
    }

    fn turn(&self, random: &mut Rng) -> Page {
        use Page::{Account, AddToCart, Cart, Checkout, Guide, Help, Home, Item, Login, Pay, Search, Section};
        let ways: &[(Page, u32)] = match self.page {
            // Where one stands before the first page, too.
            Help => &[(Home, 40), (Section, 12), (Item, 22), (Search, 8), (Guide, 9), (Help, 6), (Login, 3)],
            Home => &[(Section, 44), (Search, 22), (Item, 12), (Guide, 8), (Help, 4), (Login, 5), (Account, 5)],
            Section => &[(Item, 62), (Section, 20), (Search, 10), (Home, 5), (Guide, 3)],
            Item => &[(Item, 24), (Section, 34), (AddToCart, 11), (Search, 16), (Guide, 6), (Home, 9)],
            Search => &[(Item, 58), (Search, 26), (Section, 11), (Home, 5)],
            Guide => &[(Item, 30), (Guide, 38), (Section, 18), (Home, 14)],
            AddToCart => &[(Cart, 62), (Item, 22), (Section, 16)],
            Cart => &[(Checkout, 48), (Item, 20), (Section, 22), (Home, 10)],
            Checkout => &[(Pay, 66), (Cart, 22), (Help, 12)],
            Pay => &[(Account, 62), (Home, 38)],
            Login => &[(Account, 42), (Home, 42), (Login, 4), (Cart, 12)],
            Account => &[(Account, 40), (Home, 26), (Section, 22), (Item, 12)],
            Page::Api => &[(Home, 1)],
        };
        let total: u32 = ways.iter().map(|(_, weight)| weight).sum();
        let mut point = random.u32(0..total);
        for &(page, weight) in ways {
            if point < weight {
                // Accounts are for those who have one.
                return if page == Account && !self.logged_in { Home } else { page };
            }
            point -= weight;
        }
        Home
    }
}

/// Calls that a browser makes after a page, without anybody asking.
pub(super) fn follow_ups(page: Page, random: &mut Rng) -> u32 {
    match page {
        Page::Home | Page::Search => random.u32(0..=1),
        Page::Item => random.u32(0..=2),
        Page::Cart | Page::Account => u32::from(random.chance(0.7)),
        _ => 0,
    }
}

/// How many requests a page makes on the average, itself included. Measured; a test holds it.
pub(super) const REQUESTS_PER_PAGE: f64 = 1.491;

/// A number below `count`; low ones are drawn more often, as the popular things of this world are.
pub(super) fn popular(random: &mut Rng, count: u32) -> u32 {
    ((random.f64().powi(2) * f64::from(count)) as u32).min(count - 1)
}

/// The templates of all paths that do not name a single thing for sale or of the API: what a crawler walks.
pub(super) fn map() -> Vec<String> {
    let mut all = vec!["/robots.txt".to_owned(), "/".to_owned()];
    for (prefix, names) in [("shop", &SECTIONS[..]), ("guides", &SECTIONS), ("help", &HELP)] {
        all.extend(names.iter().map(|name| format!("/{prefix}/{name}")));
    }
    all
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::anomaly::simulate::random::generator;

    #[test]
    fn a_page_makes_as_many_requests_as_told() {
        let mut random = generator(1, 0, 0);
        let (mut pages, mut requests) = (0.0, 0.0);
        for _ in 0..4_000 {
            let mut walk = Walk::new(random.chance(0.6), &mut random);
            loop {
                let page = walk.step(&mut random).page;
                pages += 1.0;
                requests += 1.0 + f64::from(follow_ups(page, &mut random));
                if random.chance(1.0 / 12.0) {
                    break;
                }
            }
        }
        let got: f64 = requests / pages;
        assert!((got / REQUESTS_PER_PAGE - 1.0).abs() < 0.02, "{got}");
    }

    #[test]
    fn the_site_has_some_two_hundred_templates() {
        let mut random = generator(2, 0, 0);
        let mut walk = Walk::new(true, &mut random);
        let mut templates = HashSet::new();
        for _ in 0..200_000 {
            for visit in [walk.step(&mut random), Visit::api(&mut random)] {
                let numberless = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
                let template: Vec<_> =
                    visit.path.split('/').map(|part| if numberless(part) { "{id}" } else { part }).collect();
                templates.insert(template.join("/"));
            }
        }
        assert!((190..=220).contains(&templates.len()), "{}", templates.len());
    }
}
