//! The adjustments that concern a request.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::anomaly::features::template;
use crate::core::adjustment::Adjustment;
use crate::core::adjustment::set::{AdjustmentSet, Attributes, short};
use crate::core::client::{Client, address, network, short_path, text};
use crate::core::clock::{Clock, Micros};
use crate::core::descriptor::Request;
use crate::core::identity::{Keys, Role};
use crate::core::locate::Locate;
use crate::core::ruleset::Domain;
use crate::core::subject::Attribute;

/// The most adjustments that one request can be concerned by; further ones are left out.
const MAX_FOUND: usize = 32;

/// Whom an adjustment concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// One descriptor, which names the subject.
    Descriptor(usize),
    /// The request as a whole.
    Request,
    /// The request as a whole, but none of its descriptors, as the subject is known from elsewhere.
    Client,
}

/// What was found, and when.
#[derive(Debug)]
pub(super) struct Found {
    pub all: SmallVec<[(Arc<Adjustment>, Scope); 4]>,
    pub now: Micros,
}

/// Finds those that hold now; `None` when there are none.
pub(super) fn find(
    set: &AdjustmentSet,
    domain: &Domain,
    request: &Request<'_>,
    keys: &Keys,
    clock: &dyn Clock,
    locate: Option<&dyn Locate>,
) -> Option<Found> {
    let mut found = Found { all: SmallVec::new(), now: Micros::ZERO };
    for (index, descriptor) in request.descriptors.iter().enumerate() {
        for entry in &descriptor.entries {
            let about = match keys.role(entry.key) {
                Some(Role::User) => set.of_user(text(entry.value)),
                Some(Role::Address) => address(text(entry.value)).map_or(&[][..], |address| set.of_address(address)),
                _ => &[],
            };
            found.add(about, Scope::Descriptor(index));
        }
    }
    if let Some(client) = request.client {
        found.add(client.user.map_or(&[], |user| set.of_user(user)), Scope::Client);
        found.add(client.address.map_or(&[], |address| set.of_address(address)), Scope::Client);
    }
    if set.has_groups() {
        let mut client = keys.client(request);
        if let (Some(locate), Some(address)) = (locate, client.address) {
            // Looked up only where a group names them.
            if client.country.is_none() && set.names(Attribute::Country) {
                client.country = locate.country(address);
            }
            if client.asn.is_none() && set.names(Attribute::Asn) {
                client.asn = locate.asn(address);
            }
        }
        with_attributes(&client, set, |attributes| {
            for adjustment in set.of_groups(attributes) {
                found.add(std::slice::from_ref(adjustment), Scope::Request);
            }
        });
    }
    if found.all.is_empty() {
        return None;
    }
    found.now = clock.wall();
    found.all.retain(|(adjustment, _)| adjustment.holds(&domain.name, found.now));
    (!found.all.is_empty()).then_some(found)
}

impl Found {
    fn add(&mut self, adjustments: &[Arc<Adjustment>], scope: Scope) {
        let room = MAX_FOUND.saturating_sub(self.all.len());
        self.all.extend(adjustments.iter().take(room).map(|adjustment| (Arc::clone(adjustment), scope)));
    }
}

/// A client's attributes, in the forms that groups have them.
fn with_attributes(client: &Client<'_>, set: &AdjustmentSet, then: impl FnOnce(&Attributes<'_>)) {
    let mut path = String::new();
    if !client.path.is_empty() {
        template::reduce(short_path(client.path), &mut path);
    }
    let asn = client.asn.map(|asn| asn.to_string());
    let agent = client.user_agent.filter(|agent| !agent.is_empty()).map(|agent| short(Attribute::UserAgent, agent));
    let country = client.country.as_ref().map(|code| text(code));
    let anonymous = client.user.is_none_or(str::is_empty).then_some(Attribute::YES);
    let address = client.address.filter(|_| set.names(Attribute::Address));
    let address = address.map(|address| network(address).to_string());
    let mut attributes = Attributes::default();
    for attribute in Attribute::ALL {
        attributes[attribute as usize] = match attribute {
            Attribute::Country => country,
            Attribute::Asn => asn.as_deref(),
            Attribute::Path => Some(&*path).filter(|path| !path.is_empty()),
            Attribute::UserAgent => agent.as_deref(),
            Attribute::Anonymous => anonymous,
            Attribute::Address => address.as_deref(),
        };
    }
    then(&attributes);
}
