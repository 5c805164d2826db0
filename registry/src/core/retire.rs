//! Retirement: which incarnations of each name are over.

use std::collections::BTreeMap;

use ordu_transport::core::{NodeId, NodeName};
use serde::{Deserialize, Serialize};

/// Per name, the latest incarnation that is over; every earlier one is over too. Merges by maximum.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Retired {
    latest: BTreeMap<NodeName, (u64, u64)>,
}

impl Retired {
    /// Whether this incarnation is over.
    pub fn contains(&self, id: &NodeId) -> bool {
        self.latest.get(&id.name).is_some_and(|&latest| (id.boot, id.nonce) <= latest)
    }

    /// Takes `id`, and every earlier incarnation of its name, as over. Returns whether that is news.
    pub fn insert(&mut self, id: &NodeId) -> bool {
        if self.contains(id) {
            return false;
        }
        self.latest.insert(id.name.clone(), (id.boot, id.nonce));
        true
    }

    /// Takes every incarnation of its name earlier than `id` as over, also those that were never heard of here. Returns
    /// whether that is news.
    pub fn insert_below(&mut self, id: &NodeId) -> bool {
        let (boot, nonce) = match id.nonce.checked_sub(1) {
            Some(nonce) => (id.boot, nonce),
            None => (id.boot.saturating_sub(1), u64::MAX),
        };
        self.insert(&NodeId::new(id.name.clone(), boot, nonce))
    }

    /// Takes everything that `other` holds. Returns whether anything of it was news.
    pub fn merge(&mut self, other: &Retired) -> bool {
        other.iter().filter(|id| self.insert(id)).count() > 0
    }

    /// The latest retired incarnation of each name, by name.
    pub fn iter(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.latest.iter().map(|(name, &(boot, nonce))| NodeId::new(name.clone(), boot, nonce))
    }

    /// The latest retired incarnation of this name.
    pub fn latest_of(&self, name: &NodeName) -> Option<NodeId> {
        self.latest.get(name).map(|&(boot, nonce)| NodeId::new(name.clone(), boot, nonce))
    }

    /// Whether nothing is retired.
    pub fn is_empty(&self) -> bool {
        self.latest.is_empty()
    }
}
