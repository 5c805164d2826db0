//! Ranks: which of two processes that hold one name stays. Pure.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use bytes::Bytes;
use ordu_transport::core::defects::{Defect, is_present};
use ordu_transport::core::{Hlc, Pid};
use serde::{Deserialize, Serialize};

/// A process's place in conflicts, fixed at its activation by its own node. Compared as bytes, the lesser is the better;
/// equal ones are told apart by pid.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Bytes", into = "Bytes")]
pub struct Rank(Key);

/// Most ranks have the length of a stamp.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    Stamp([u8; 8]),
    Long(Box<[u8]>),
}

impl Rank {
    /// A rank of these bytes; the lesser is the better.
    pub fn new(key: impl AsRef<[u8]>) -> Self {
        let key = key.as_ref();
        Self(key.try_into().map_or_else(|_| Key::Long(key.into()), Key::Stamp))
    }

    /// The rank of a process activated at `since`, where the longest-running stays.
    pub fn longest_running(since: Hlc) -> Self {
        Self(Key::Stamp(since.as_u64().to_be_bytes()))
    }

    fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Key::Stamp(key) => key,
            Key::Long(key) => key,
        }
    }

    /// Its length in bytes.
    pub fn size_bytes(&self) -> usize {
        self.as_bytes().len()
    }
}

impl Default for Rank {
    fn default() -> Self {
        Self::new([])
    }
}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Rank {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl From<Bytes> for Rank {
    fn from(key: Bytes) -> Self {
        Self::new(key)
    }
}

impl From<Rank> for Bytes {
    fn from(rank: Rank) -> Self {
        Bytes::copy_from_slice(rank.as_bytes())
    }
}

impl fmt::Debug for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Longest rank of a custom policy, in bytes; the rest is cut off.
pub const RANK_BYTES_MAX: usize = 64;

/// How ranks are made. One per cluster: nodes that go by different ones each see their own kind of process win.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum RankPolicy {
    /// The process that was activated first, by hybrid logical clock, stays: after a short cut everything stays where
    /// it was.
    #[default]
    LongestRunning,
    /// The process that was activated last stays: what was begun on the smaller side of a cut goes on.
    Newest,
    /// What a function of the application says.
    Custom(CustomRank),
}

/// A policy of the application's own.
///
/// The rank of a process is computed once, at its activation, by its own node, and travels with its claims; the other
/// nodes only compare it. So `rank` need not be the same code everywhere, but what it gives must mean the same
/// everywhere: the lesser bytes win, equal ones are told apart by pid. It must be pure, and quick: it runs inside the
/// node's lock. It cannot see the name, since one process keeps or loses all of its names by one rank.
#[derive(Clone, Copy)]
pub struct CustomRank {
    /// Its name, as events show it. Stands for the policy: two of one name count as equal.
    pub name: &'static str,
    /// Gives the rank of a process that is activated at this time; at most [`RANK_BYTES_MAX`] bytes of it count.
    pub rank: fn(&Pid, Hlc) -> Rank,
}

impl RankPolicy {
    /// The rank of a process activated at `since`.
    pub fn rank(self, pid: &Pid, since: Hlc) -> Rank {
        match self {
            RankPolicy::LongestRunning if is_present(Defect::FreshWins) => Self::Newest.rank(pid, since),
            RankPolicy::LongestRunning => Rank::longest_running(since),
            RankPolicy::Newest => Rank::new((!since.as_u64()).to_be_bytes()),
            RankPolicy::Custom(custom) => {
                let rank = (custom.rank)(pid, since);
                let key = rank.as_bytes();
                Rank::new(&key[..key.len().min(RANK_BYTES_MAX)])
            }
        }
    }

    /// Its name, as events show it.
    pub fn name(self) -> &'static str {
        match self {
            RankPolicy::LongestRunning => "longest_running",
            RankPolicy::Newest => "newest",
            RankPolicy::Custom(custom) => custom.name,
        }
    }
}

impl PartialEq for CustomRank {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for CustomRank {}

impl Hash for CustomRank {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl fmt::Debug for CustomRank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ordu_transport::core::{NodeId, NodeName};

    fn pid(node: &str) -> Pid {
        Pid::new(NodeId::new(NodeName::new(node).unwrap(), 1, 1), 1)
    }

    #[test]
    fn the_first_and_the_last_win_by_their_policies() {
        let (a, b, earlier, later) = (pid("a"), pid("b"), Hlc::from_wall_ms(1_000), Hlc::from_wall_ms(2_000));
        assert!(RankPolicy::LongestRunning.rank(&a, earlier) < RankPolicy::LongestRunning.rank(&b, later));
        assert!(RankPolicy::Newest.rank(&b, later) < RankPolicy::Newest.rank(&a, earlier));
    }

    #[test]
    fn a_policy_of_ones_own_decides_and_is_bounded() {
        let by_node = |pid: &Pid, _: Hlc| Rank::new(pid.node.name.as_str().to_owned().into_bytes());
        let policy = RankPolicy::Custom(CustomRank { name: "by_node", rank: by_node });
        assert!(policy.rank(&pid("a"), Hlc::from_wall_ms(9)) < policy.rank(&pid("b"), Hlc::from_wall_ms(1)));
        let long = RankPolicy::Custom(CustomRank { name: "long", rank: |_, _| Rank::new(vec![0; 1_000]) });
        assert_eq!(long.rank(&pid("a"), Hlc::from_wall_ms(1)).size_bytes(), RANK_BYTES_MAX);
        assert_eq!((policy.name(), policy == long), ("by_node", false));
    }
}
