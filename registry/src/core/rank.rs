//! Ranks: which of two processes that hold one name stays. Pure.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use bytes::Bytes;
use ordu_transport::core::defects::{Defect, is_present};
use ordu_transport::core::hash::StableHasher;
use ordu_transport::core::{Hlc, NodeName, Pid};
use serde::{Deserialize, Serialize};

use super::claim::Name;

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

    /// The rank of a process of `node` whose first name this is, where the process at the name's home stays.
    pub fn home(node: &NodeName, first: &Name) -> Self {
        // As seats of children are found: the highest hash, by which the least `-log2` is the first.
        const PURPOSE_PLACEMENT: u64 = 3;
        let hasher = StableHasher::new(PURPOSE_PLACEMENT);
        let score = hasher.bytes(first.as_str().as_bytes()).bytes(node.as_str().as_bytes()).finish();
        Self(Key::Stamp((!score).to_be_bytes()))
    }

    /// The rank of a process of this priority, activated at `since`.
    pub fn priority(priority: i32, since: Hlc) -> Self {
        const SIGN: u32 = 1 << 31;
        // Rising with the priority, and turned over: the lesser bytes win.
        let priority = !(priority.cast_unsigned() ^ SIGN);
        Self::new([&priority.to_be_bytes()[..], &since.as_u64().to_be_bytes()].concat())
    }

    /// The bytes that it consists of.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Key::Stamp(key) => key,
            Key::Long(key) => key,
        }
    }

    /// The next better one of the same length: what takes a process's place gets it. `None`: there is none.
    #[must_use]
    pub fn before(&self) -> Option<Rank> {
        let mut key = self.as_bytes().to_vec();
        let last = key.iter().rposition(|byte| *byte > 0)?;
        key[last] -= 1;
        key[last + 1..].fill(u8::MAX);
        Some(Rank::new(key))
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
    /// The process on the name's home stays: on the node that rendezvous hashing puts first for the first name that the
    /// process took, of those nodes that have one. Every node of any side of a cut would choose the same, whenever each
    /// process began; a node that restarts is home to the same names as before. Where all nodes have one
    /// weight and nothing is preferred, the home of a child's id is its seat. After Thaler and Ravishankar, "A Name-Based
    /// Mapping Scheme for Rendezvous", 1996.
    HomeNode,
    /// The process that was given the higher number at its activation stays; of equal ones that which was activated first.
    /// See [`Activation::priority`].
    Priority,
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

/// What is known of a process when it is activated, beside when and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Activation<'a> {
    /// Under [`RankPolicy::Priority`] the higher number stays; counts for nothing under another policy.
    pub priority: i32,
    /// Under [`RankPolicy::HomeNode`] the name whose home decides. If none is given, it is the first that the process
    /// registers.
    pub first: Option<&'a Name>,
    /// The rank of the process whose place it takes, whatever the policy: it comes right before that one.
    pub takes_place_of: Option<&'a Rank>,
}

impl RankPolicy {
    /// The rank of a process activated at `since`. By [`RankPolicy::HomeNode`] it has none, which is the best, until its
    /// first name is known.
    pub fn rank(self, pid: &Pid, since: Hlc, activation: Activation<'_>) -> Rank {
        if let Some(rank) = activation.takes_place_of.and_then(Rank::before) {
            return rank;
        }
        match self {
            RankPolicy::LongestRunning if is_present(Defect::FreshWins) => Self::Newest.rank(pid, since, activation),
            RankPolicy::HomeNode => activation.first.map(|first| Rank::home(&pid.node.name, first)).unwrap_or_default(),
            RankPolicy::Priority => Rank::priority(activation.priority, since),
            RankPolicy::LongestRunning => Rank::longest_running(since),
            RankPolicy::Newest => Rank::new((!since.as_u64()).to_be_bytes()),
            RankPolicy::Custom(custom) => {
                let rank = (custom.rank)(pid, since);
                let key = rank.as_bytes();
                Rank::new(&key[..key.len().min(RANK_BYTES_MAX)])
            }
        }
    }

    /// A process takes its first name: now at the latest its rank is fixed.
    pub(super) fn fix(self, rank: &mut Rank, pid: &Pid, first: &Name) {
        if matches!(self, RankPolicy::HomeNode) && rank.size_bytes() == 0 {
            *rank = Rank::home(&pid.node.name, first);
        }
    }

    /// Its name, as events show it.
    pub fn name(self) -> &'static str {
        match self {
            RankPolicy::LongestRunning => "longest_running",
            RankPolicy::Newest => "newest",
            RankPolicy::HomeNode => "home_node",
            RankPolicy::Priority => "priority",
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

    const ANY: Activation<'static> = Activation { priority: 0, first: None, takes_place_of: None };

    fn pid(node: &str) -> Pid {
        Pid::new(NodeId::new(NodeName::new(node).unwrap(), 1, 1), 1)
    }

    #[test]
    fn the_first_and_the_last_win_by_their_policies() {
        let (a, b, earlier, later) = (pid("a"), pid("b"), Hlc::from_wall_ms(1_000), Hlc::from_wall_ms(2_000));
        assert!(RankPolicy::LongestRunning.rank(&a, earlier, ANY) < RankPolicy::LongestRunning.rank(&b, later, ANY));
        assert!(RankPolicy::Newest.rank(&b, later, ANY) < RankPolicy::Newest.rank(&a, earlier, ANY));
    }

    #[test]
    fn the_home_of_the_first_name_wins_whatever_began_when() {
        let (a, b, name) = (pid("a"), pid("b"), Name::new("web").unwrap());
        fn rank(pid: &Pid, ms: u64, first: Option<&Name>) -> Rank {
            RankPolicy::HomeNode.rank(pid, Hlc::from_wall_ms(ms), Activation { first, ..ANY })
        }
        assert_eq!(rank(&a, 1, Some(&name)), rank(&a, 2, Some(&name)));
        assert_ne!(rank(&a, 1, Some(&name)), rank(&b, 1, Some(&name)));
        // Nodes share names about evenly; and what is fixed later is the same.
        let names = (0..1_000).map(|number| Name::new(&format!("name/{number}")).unwrap());
        let at_a = names.filter(|name| {
            let mut later = rank(&a, 1, None);
            RankPolicy::HomeNode.fix(&mut later, &a, name);
            assert_eq!(later, rank(&a, 2, Some(name)));
            later < rank(&b, 1, Some(name))
        });
        assert!((400..600).contains(&at_a.count()));
    }

    /// Nodes of several versions must agree on homes.
    #[test]
    fn golden_homes() {
        let home = |node: &str| format!("{:?}", Rank::home(&NodeName::new(node).unwrap(), &Name::new("web").unwrap()));
        assert_eq!([home("n1"), home("n2")], ["f4dd383eb1652daf", "22d3b28327819295"]);
    }

    #[test]
    fn the_higher_priority_wins_and_then_the_first() {
        let rank =
            |priority, ms| RankPolicy::Priority.rank(&pid("a"), Hlc::from_wall_ms(ms), Activation { priority, ..ANY });
        let order = [(i32::MAX, 9), (7, 2), (7, 3), (0, 1), (-1, 1), (i32::MIN, 0)];
        assert!(order.map(|(priority, ms)| rank(priority, ms)).is_sorted());
        assert_eq!(rank(7, 2).size_bytes(), 12);
    }

    #[test]
    fn a_policy_of_ones_own_decides_and_is_bounded() {
        let by_node = |pid: &Pid, _: Hlc| Rank::new(pid.node.name.as_str().to_owned().into_bytes());
        let policy = RankPolicy::Custom(CustomRank { name: "by_node", rank: by_node });
        assert!(policy.rank(&pid("a"), Hlc::from_wall_ms(9), ANY) < policy.rank(&pid("b"), Hlc::from_wall_ms(1), ANY));
        let long = RankPolicy::Custom(CustomRank { name: "long", rank: |_, _| Rank::new(vec![0; 1_000]) });
        assert_eq!(long.rank(&pid("a"), Hlc::from_wall_ms(1), ANY).size_bytes(), RANK_BYTES_MAX);
        assert_eq!((policy.name(), policy == long), ("by_node", false));
    }
}
