//! Wishes to restart a child, and which of them were followed: a version vector of those who wished.
//!
//! A stamp alone cannot tell whether who followed one wish knew of another: clocks differ, and the later stamp may have
//! been given by somebody who had heard of nothing. So each node's wishes are counted apart, and a wish counts as followed
//! only where it was seen.

use std::collections::BTreeMap;
use std::sync::Arc;

use ordu_transport::core::{Hlc, NodeId};
use serde::{Deserialize, Serialize};

/// Most nodes whose wishes beside one start are told apart; the earliest are forgotten, and their callers time out.
pub const WISHERS_MAX: usize = 64;

/// The latest wish of each node to restart a child.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(from = "BTreeMap<NodeId, Hlc>", into = "BTreeMap<NodeId, Hlc>")]
pub struct Wishes(Option<Arc<BTreeMap<NodeId, Hlc>>>);

impl Wishes {
    /// The same with a later wish of a node. What an earlier incarnation of it wished nobody waits for any more.
    pub(super) fn with(&self, by: &NodeId, at: Hlc) -> Self {
        let others = self.iter().filter(|(id, _)| id.name != by.name).map(|(id, at)| (id.clone(), at));
        others.chain([(by.clone(), at)]).collect::<BTreeMap<_, _>>().into()
    }

    /// Those of both.
    pub(super) fn joined(&self, other: &Self) -> Self {
        if other.0.is_none() || self == other {
            return self.clone();
        }
        let mut all: BTreeMap<_, _> = self.iter().map(|(id, at)| (id.clone(), at)).collect();
        for (id, at) in other.iter() {
            let ours = all.entry(id.clone()).or_insert(at);
            *ours = at.max(*ours);
        }
        all.into()
    }

    /// Whether each of another's is among these, or was forgotten here.
    pub(super) fn cover(&self, other: &Self) -> bool {
        self.joined(other) == *self
    }

    /// Whether a node's wish of this time is among these.
    pub(super) fn has(&self, by: &NodeId, at: Hlc) -> bool {
        self.iter().any(|(id, latest)| id == by && latest >= at)
    }

    /// When the latest was.
    pub(super) fn latest(&self) -> Option<Hlc> {
        self.iter().map(|(_, at)| at).max()
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.iter().map(|(id, _)| id.name.as_str().len() + 24).sum()
    }

    fn iter(&self) -> impl Iterator<Item = (&NodeId, Hlc)> {
        self.0.iter().flat_map(|wishes| wishes.iter()).map(|(id, at)| (id, *at))
    }
}

impl From<BTreeMap<NodeId, Hlc>> for Wishes {
    fn from(mut wishes: BTreeMap<NodeId, Hlc>) -> Self {
        while wishes.len() > WISHERS_MAX {
            let earliest = wishes.iter().min_by_key(|(id, at)| (**at, *id)).map(|(id, _)| id.clone());
            earliest.map(|id| wishes.remove(&id));
        }
        Self((!wishes.is_empty()).then(|| Arc::new(wishes)))
    }
}

impl From<Wishes> for BTreeMap<NodeId, Hlc> {
    fn from(Wishes(wishes): Wishes) -> Self {
        wishes.map(Arc::unwrap_or_clone).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use ordu_transport::core::NodeName;

    use super::*;

    fn at(ms: u64) -> Hlc {
        Hlc::from_wall_ms(ms)
    }

    fn node(name: &str, boot: u64) -> NodeId {
        NodeId::new(NodeName::new(name).unwrap(), boot, 7)
    }

    #[test]
    fn a_later_stamp_of_another_covers_nothing() {
        let (one, other) = (node("one", 1), node("other", 1));
        let ours = Wishes::default().with(&one, at(1));
        let theirs = Wishes::default().with(&other, at(9));
        assert!(!theirs.cover(&ours) && !theirs.has(&one, at(1)));
        let both = ours.joined(&theirs);
        assert_eq!(both, theirs.joined(&ours));
        assert!(both.cover(&ours) && both.cover(&theirs) && both.has(&one, at(1)) && !both.has(&one, at(2)));
        assert_eq!(both.latest(), Some(at(9)));
        assert!(ours.cover(&Wishes::default()) && Wishes::default().cover(&Wishes::default()));
    }

    #[test]
    fn another_incarnation_begins_anew() {
        let (before, lost_disk) = (node("one", 5), node("one", 1));
        let wished = Wishes::default().with(&before, at(9));
        assert!(!wished.has(&lost_disk, at(1)));
        let again = wished.with(&lost_disk, at(1));
        assert!(again.has(&lost_disk, at(1)) && !again.has(&before, at(9)));
    }

    #[test]
    fn the_earliest_of_many_are_forgotten_and_are_no_news() {
        let many = |range: std::ops::Range<usize>| -> Wishes {
            range.map(|n| (node(&format!("n{n}"), 1), at(n as u64))).collect::<BTreeMap<_, _>>().into()
        };
        let (early, late) = (many(0..WISHERS_MAX), many(WISHERS_MAX..2 * WISHERS_MAX));
        assert_eq!(early.joined(&late), late);
        assert!(late.cover(&early) && !early.cover(&late));
    }

    #[test]
    fn none_are_written_as_none() {
        let mut bytes = Vec::new();
        ordu_transport::core::codec::pack(&Wishes::default(), &mut bytes);
        assert_eq!(bytes, [0x80]);
        assert_eq!(ordu_transport::core::codec::unpack::<Wishes>(&bytes), Ok(Wishes::default()));
    }
}
