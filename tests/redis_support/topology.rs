//! What a node says of its cluster, and which slot a key is in.

use super::cluster::SLOTS;

/// A line of `CLUSTER NODES`.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    pub id: String,
    pub primary: bool,
    /// Failed or perhaps failed, in the eyes of the node that was asked.
    pub failing: bool,
    /// Whose replica this is.
    pub primary_id: Option<String>,
    pub epoch: u64,
    /// First and last slot, inclusive.
    slots: Vec<(u16, u16)>,
}

impl Member {
    pub fn has(&self, slot: u16) -> bool {
        self.slots.iter().any(|&(first, last)| (first..=last).contains(&slot))
    }
}

/// Reads the answer to `CLUSTER NODES`: the nodes that have been met.
pub fn members(nodes: &str) -> Vec<Member> {
    nodes.lines().filter_map(member).filter(|member| member.primary || member.primary_id.is_some()).collect()
}

/// `id address flags primary ping-sent pong-received config-epoch link-state slot slot ...`
fn member(line: &str) -> Option<Member> {
    let mut words = line.split(' ');
    let (id, _address, flags) = (words.next()?, words.next()?, words.next()?);
    let flag = |name: &str| flags.split(',').any(|flag| flag == name);
    let primary_id = words.next()?;
    let epoch = words.nth(2)?.parse().ok()?;
    // Slots on their way look like `[866->-id]`; where they are is said beside that.
    let slots = words.skip(1).filter(|slot| !slot.starts_with('[')).map(|slots| {
        let (first, last) = slots.split_once('-').unwrap_or((slots, slots));
        Some((first.parse().ok()?, last.parse().ok()?))
    });
    Some(Member {
        id: id.to_owned(),
        primary: flag("master") && !flag("handshake"),
        failing: flag("fail") || flag("fail?"),
        primary_id: flag("slave").then(|| primary_id.to_owned()),
        epoch,
        slots: slots.collect::<Option<_>>()?,
    })
}

/// The slot of a key: CRC-16/XMODEM of its hash tag or, without one, of all of it, modulo 16 384 (Redis Cluster
/// specification, "Key distribution model").
pub fn slot_of(key: impl AsRef<[u8]>) -> u16 {
    let crc = hash_tag(key.as_ref()).iter().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 })
    });
    crc % SLOTS
}

/// What is between the first `{` and the first `}` after it, unless that is nothing.
fn hash_tag(key: &[u8]) -> &[u8] {
    let tag = || {
        let inside = &key[key.iter().position(|byte| *byte == b'{')? + 1..];
        let end = inside.iter().position(|byte| *byte == b'}')?;
        (end > 0).then(|| &inside[..end])
    };
    tag().unwrap_or(key)
}
