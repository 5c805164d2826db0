//! What nodes say to one another about who may run what.

use ordu_transport::core::NodeName;
use serde::{Deserialize, Serialize};

use crate::core::spec::ChildId;

/// What the nodes of a cluster must have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Terms {
    /// How many members are a quorum.
    pub members: u64,
    /// How long others wait before they take children over, in milliseconds.
    pub void_after_ms: u64,
}

/// What nodes say to one another about this. `life` is that of the sender's supervisor: it outlives its identity.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Word {
    /// Vouch for me.
    #[serde(rename = "b")]
    Beat {
        /// Whose life.
        life: u64,
        /// Which beat.
        number: u64,
        /// By which rules; others must have the same.
        terms: Terms,
        /// Whom I know as members.
        members: Vec<NodeName>,
    },
    /// I do.
    #[serde(rename = "v")]
    Vouch {
        /// Whose life.
        life: u64,
        /// What I granted you in another epoch is void.
        epoch: u64,
        /// Which beat.
        number: u64,
        /// I never knew an earlier life of you in mine, and so have nothing that one granted.
        is_first: bool,
        /// Whom I know as members.
        members: Vec<NodeName>,
    },
    /// I do not: with you there would be too many members.
    #[serde(rename = "f")]
    Full {
        /// Whom I know as members.
        members: Vec<NodeName>,
    },
    /// May I run these?
    #[serde(rename = "a")]
    Ask {
        /// Whose life.
        life: u64,
        /// Which ask.
        number: u64,
        /// Which.
        children: Vec<ChildId>,
    },
    /// The answer.
    #[serde(rename = "g")]
    Grant {
        /// Whose life.
        life: u64,
        /// In which epoch.
        epoch: u64,
        /// Which ask it answers.
        number: u64,
        /// Those that you may run.
        yes: Vec<ChildId>,
        /// Those that somebody else may run, or might.
        no: Vec<ChildId>,
    },
    /// I run these no more.
    #[serde(rename = "r")]
    Release {
        /// Whose life.
        life: u64,
        /// Asks with a higher number came later.
        number: u64,
        /// Which.
        children: Vec<ChildId>,
    },
    /// Do you still run these? Others want to. Who does not releases them.
    #[serde(rename = "h")]
    Held {
        /// Which.
        children: Vec<ChildId>,
    },
}
