//! Ranks: which of two processes that hold one name stays. Pure.

use std::fmt;

use bytes::Bytes;
use ordu_transport::core::Hlc;
use ordu_transport::core::defects::{Defect, is_present};
use serde::{Deserialize, Serialize};

/// A process's place in conflicts, fixed at its activation by its own node. Compared as bytes, the lesser is the better;
/// equal ones are told apart by pid.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Rank(Bytes);

impl Rank {
    /// A rank of these bytes; the lesser is the better.
    pub fn new(key: impl Into<Bytes>) -> Self {
        Self(key.into())
    }

    /// Its length in bytes.
    pub fn size_bytes(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Debug for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// How ranks are made. One per cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum RankPolicy {
    /// The process that was activated first, by hybrid logical clock, stays: after a short cut everything stays where
    /// it was.
    #[default]
    LongestRunning,
}

impl RankPolicy {
    /// The rank of a process activated at `since`.
    pub fn rank(self, since: Hlc) -> Rank {
        match self {
            RankPolicy::LongestRunning if is_present(Defect::FreshWins) => {
                Rank::new((!since.as_u64()).to_be_bytes().to_vec())
            }
            RankPolicy::LongestRunning => Rank::new(since.as_u64().to_be_bytes().to_vec()),
        }
    }

    /// Its name, as events show it.
    pub fn name(self) -> &'static str {
        match self {
            RankPolicy::LongestRunning => "longest_running",
        }
    }
}
