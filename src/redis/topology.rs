//! Which node owns which slot.
//!
//! One table a process, an immutable snapshot behind an atomic pointer: the request path only looks at it. It is read
//! anew from any node that answers, regularly and whenever something shows that it has changed (a redirection, a lost
//! connection). A `MOVED` corrects one slot at once.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// How many slots the keys of a cluster are spread over.
pub const SLOTS: u16 = 16_384;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeAddress {
    /// Name or address.
    pub host: Arc<str>,
    /// TCP port.
    pub port: u16,
}

impl NodeAddress {
    /// `host:port`; the host may be empty or `?`, which stands for `default`'s, as Redis has it.
    #[must_use]
    pub fn parse(text: &str, default: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let host = if host.is_empty() || host == "?" { default } else { host };
        Some(Self { host: host.into(), port: port.parse().ok()? })
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.port == 0 {
            // A Unix socket, or the name of a primary.
            f.write_str(&self.host)
        } else if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// How nodes are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One server.
    Single(NodeAddress),
    /// The primary that sentinels name.
    Sentinel {
        /// Stands for it: its name among the sentinels.
        primary: NodeAddress,
        /// Where they are.
        sentinels: Vec<NodeAddress>,
    },
    /// A cluster, entered at any of these.
    Cluster(Vec<NodeAddress>),
}

/// Who owns the slots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotTable {
    /// Every primary once.
    nodes: Vec<NodeAddress>,
    /// For each slot the position of its owner, or [`NOBODY`]; empty before the first table.
    owners: Vec<u16>,
}

const NOBODY: u16 = u16::MAX;

/// A range of slots, as `CLUSTER SLOTS` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// First slot.
    pub first: u16,
    /// Last slot, not before the first.
    pub last: u16,
    /// The primary.
    pub owner: NodeAddress,
}

impl SlotTable {
    /// From the ranges of `CLUSTER SLOTS`.
    #[must_use]
    pub fn new(ranges: &[Range]) -> Self {
        let mut positions = BTreeMap::new();
        let mut table = Self { nodes: Vec::new(), owners: vec![NOBODY; usize::from(SLOTS)] };
        for Range { first, last, owner } in ranges {
            let position = *positions.entry(owner).or_insert_with(|| table.add(owner));
            let slots = usize::from(*first)..=usize::from((*last).min(SLOTS - 1));
            if let Some(slots) = table.owners.get_mut(slots) {
                slots.fill(position);
            }
        }
        table
    }

    fn add(&mut self, owner: &NodeAddress) -> u16 {
        self.nodes.push(owner.clone());
        // A cluster has at most a thousand nodes or so.
        u16::try_from(self.nodes.len() - 1).unwrap_or(NOBODY)
    }

    /// The owner of a slot, if anybody is known to own it.
    #[must_use]
    pub fn owner(&self, slot: u16) -> Option<&NodeAddress> {
        self.nodes.get(usize::from(*self.owners.get(usize::from(slot))?))
    }

    /// Every primary.
    #[must_use]
    pub fn nodes(&self) -> &[NodeAddress] {
        &self.nodes
    }

    /// Slots that nobody owns.
    #[must_use]
    pub fn uncovered(&self) -> usize {
        usize::from(SLOTS) - self.owners.iter().filter(|owner| **owner != NOBODY).count()
    }

    /// The same table, but for one slot.
    #[must_use]
    pub fn moved(&self, slot: u16, owner: &NodeAddress) -> Self {
        let mut table = self.clone();
        table.owners.resize(usize::from(SLOTS), NOBODY);
        let known = table.nodes.iter().position(|node| node == owner).and_then(|at| u16::try_from(at).ok());
        let position = known.unwrap_or_else(|| table.add(owner));
        if let Some(slot) = table.owners.get_mut(usize::from(slot)) {
            *slot = position;
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(port: u16) -> NodeAddress {
        NodeAddress { host: "10.0.0.1".into(), port }
    }

    fn range(first: u16, last: u16, port: u16) -> Range {
        Range { first, last, owner: node(port) }
    }

    #[test]
    fn slots_have_owners() {
        let table = SlotTable::new(&[range(0, 99, 1), range(200, 16_383, 2), range(100, 100, 1)]);
        assert_eq!(table.nodes(), [node(1), node(2)]);
        assert_eq!([0, 99, 100, 200, 16_383].map(|slot| table.owner(slot).unwrap().port), [1, 1, 1, 2, 2]);
        assert_eq!((table.owner(101), table.owner(16_384), table.uncovered()), (None, None, 99));
        assert_eq!((SlotTable::default().owner(0), SlotTable::default().uncovered()), (None, 16_384));
    }

    #[test]
    fn a_moved_slot_has_another_owner() {
        let table = SlotTable::new(&[range(0, 16_383, 1)]).moved(5, &node(7)).moved(6, &node(7));
        assert_eq!([4, 5, 6, 7].map(|slot| table.owner(slot).unwrap().port), [1, 7, 7, 1]);
        assert_eq!(table.nodes(), [node(1), node(7)]);
        assert_eq!(SlotTable::default().moved(5, &node(7)).owner(5), Some(&node(7)));
    }

    #[test]
    fn addresses_are_read_and_written() {
        let read = |text| NodeAddress::parse(text, "fallback").map(|address| address.to_string());
        assert_eq!(read("10.0.0.1:6379").as_deref(), Some("10.0.0.1:6379"));
        assert_eq!(read("redis-0.redis:6379").as_deref(), Some("redis-0.redis:6379"));
        assert_eq!(read("[::1]:6379").as_deref(), Some("[::1]:6379"));
        assert_eq!(read("::1:6379").as_deref(), Some("[::1]:6379"));
        assert_eq!(read(":6379").as_deref(), Some("fallback:6379"));
        assert_eq!(read("?:6379").as_deref(), Some("fallback:6379"));
        assert_eq!((read("6379"), read("host:port"), read("host:70000")), (None, None, None));
    }
}
