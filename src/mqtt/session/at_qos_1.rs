//! The packets at QoS 1 that are under way in a session, in memory.

use crate::delivery::Publish;
use std::collections::{BTreeMap, HashMap};

/// Packets by packet identifier, as many as are in flight.
#[derive(Debug, Default)]
pub struct AtQos1 {
    packets: BTreeMap<u16, Kept>,
    /// Where something was published twice, the later one.
    ids: HashMap<Publish, u16>,
}

/// A packet at QoS 1 that is under way.
#[derive(Debug)]
struct Kept {
    what: Publish,
    /// As it was sent first, without DUP, which the library sets.
    packet: Vec<u8>,
}

impl AtQos1 {
    pub fn insert(&mut self, id: u16, what: Publish, packet: Vec<u8>) {
        self.packets.insert(id, Kept { what, packet });
        self.ids.insert(what, id);
    }

    pub fn has_id(&self, id: u16) -> bool {
        self.packets.contains_key(&id)
    }

    /// Takes out what is under way under a packet identifier.
    pub fn remove_id(&mut self, id: u16) -> Option<Publish> {
        let what = self.packets.remove(&id)?.what;
        if self.ids.get(&what) == Some(&id) {
            self.ids.remove(&what);
        }
        Some(what)
    }

    pub fn remove(&mut self, what: Publish) {
        if let Some(id) = self.ids.get(&what) {
            self.remove_id(*id);
        }
    }

    pub fn clear(&mut self) {
        self.packets.clear();
        self.ids.clear();
    }

    /// Packet identifier, what it stands for, and packet.
    pub fn iter(&self) -> impl Iterator<Item = (u16, Publish, &[u8])> {
        self.packets.iter().map(|(id, Kept { what, packet })| (*id, *what, packet.as_slice()))
    }
}
