//! Running children only where most of the cluster agrees: no child ever runs twice, whatever is cut off, and who is in the
//! minority stops.
//!
//! ```text
//!   a node                                              each other member
//!     ├── beat, twice a second ───────────────────────────▶│
//!     │◀────────────────────────────── I vouch for you ────┤  notes when
//!     │   counts for LEASE from when the beat was sent     │
//!     ├── may I run these children? ──────────────────────▶│
//!     │◀──────────────────── yes: to nobody else ──────────┤  until they are released, or for as long after it last
//!     │   starts what Q members granted, itself included   │  vouched for the node as anything may run by that
//!     ├── I run these no more ────────────────────────────▶│
//! ```
//!
//! A child may run while Q members that granted it vouch for its node. When they do so no more it is stopped after a
//! grace, and is gone `stop_max` later. Two quorums of at most 2Q − 1 members have a member in common, and that one grants
//! the child to somebody else only when it has been gone for certain: [`Quorum::void_after`]. What counts is when a beat
//! was *sent*, so that no clock is compared with another; clocks must run at about the same pace.
//!
//! A member that begins anew does not know what it granted in an earlier life, and takes no part for as long; or until it
//! has heard of all 2Q − 1 that they never knew that life.
//!
//! The members are counted by name, those that are down included, until they leave or are removed, and for as long after that
//! as anything may run by their grants. A newcomer that would be one more than 2Q − 1 is nobody's member. Where more begin
//! together they may take each other for members of different clusters: who finds that one of its members takes it for none
//! has no quorum, and vouches for nobody, until that has changed.
//!
//! Source of the leases: Gray and Cheriton, "Leases: An Efficient Fault-Tolerant Mechanism for Distributed File Cache
//! Consistency", 1989.

mod grants;
mod leases;
mod others;
mod own;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ordu_transport::core::defects::{Defect, is_present};
use ordu_transport::core::{Instant, Lane, NodeId, NodeName, Now};
use rand::RngExt;

use self::grants::Grants;
use self::leases::Leases;
pub use self::words::{Terms, Word};
use super::spec::ChildId;
use super::supervisor::Supervisor;
use super::words::{Control, Effect, Message};

/// How often a node asks the others to vouch for it.
pub const BEAT_EVERY: Duration = Duration::from_millis(500);
/// How long it counts that somebody vouched for a node, from when he was asked.
pub const LEASE: Duration = Duration::from_secs(2);
/// How long a node that lost its quorum goes on with its children, unless it is told otherwise.
pub const GRACE: Duration = Duration::from_secs(3);
/// Longest time that a child may take to stop in a cluster with a quorum, unless it is told otherwise.
pub const STOP_MAX: Duration = Duration::from_secs(10);
/// How much longer others wait: for a child that is given a little more time than it was told, for a kill to be done, and for
/// clocks that do not run at the same pace.
pub const MARGIN: Duration = Duration::from_secs(4);
/// How long after a child should be gone whoever enforces that kills it.
const KILL_AFTER: Duration = Duration::from_millis(500);
/// Longest grace, and longest time to stop.
pub const TIME_MAX: Duration = Duration::from_secs(3_600);
/// Most members of a quorum.
pub const QUORUM_MAX: usize = 16;
/// Most children that one message asks for, grants or releases.
const ASK_CHILDREN_MAX: usize = 1_024;
/// How long a child that is not granted yet waits until that is looked at again.
const GRANT_PAUSE: Duration = Duration::from_millis(100);

/// What a node does when it is cut off from most others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Partition {
    /// It goes on, and starts what it misses: on each side of a cut every child runs.
    #[default]
    KeepRunning,
    /// It stops its children, and the others take them over then.
    Quorum(Quorum),
}

/// Of how many members most is. The same on every node of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Quorum {
    /// So many, oneself included: 1 to [`QUORUM_MAX`]. The cluster has at most twice as many less one.
    pub members: usize,
    /// How long children run on when the quorum is lost.
    pub grace: Duration,
    /// Longest time that a child may take to stop when asked; specs that allow more get this.
    pub stop_max: Duration,
}

impl Quorum {
    /// So many members, with [`GRACE`] and [`STOP_MAX`].
    pub fn of(members: usize) -> Self {
        Self { members: members.clamp(1, QUORUM_MAX), grace: GRACE, stop_max: STOP_MAX }
    }

    /// Most members of the cluster.
    pub fn members_max(&self) -> usize {
        2 * self.members - 1
    }

    pub(super) fn terms(&self) -> Terms {
        let void_after_ms = u64::try_from(self.void_after().as_millis()).unwrap_or(u64::MAX);
        Terms { members: self.members as u64, void_after_ms }
    }

    /// How long after a member last vouched for a node nothing can run there any more by its grants.
    pub fn void_after(&self) -> Duration {
        let margin = if is_present(Defect::TakesOverEarly) { Duration::ZERO } else { self.stop_max + MARGIN };
        LEASE + self.grace + margin
    }
}

/// How it stands with a node's quorum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct QuorumStatus {
    /// How many members it takes.
    pub needed: usize,
    /// How many vouch for the node now, itself included.
    pub vouching: usize,
    /// How many members there are.
    pub members: usize,
    /// Whether the node may run children.
    pub is_held: bool,
    /// For how long it takes no part yet, at most, because it has just begun.
    pub waits: Duration,
}

/// One node's part in it.
#[derive(Debug, Clone)]
pub(super) struct Votes {
    config: Quorum,
    life: u64,
    members: BTreeSet<NodeName>,
    /// The life of each member, and whether it is the first that we know.
    lives: BTreeMap<NodeName, (u64, bool)>,
    /// The members that know no earlier life of ours.
    strangers: BTreeSet<NodeName>,
    grants: Grants,
    leases: Leases,
    own_epoch: u64,
    next_beat: Instant,
    /// The earliest moment at which a child has to stop.
    next_stop: Option<Instant>,
    /// Whether it has waited for as long as earlier grants of it may count.
    takes_part: bool,
    is_held: bool,
    /// Whether it ever was.
    was_held: bool,
    /// Children that this node would start.
    asking: BTreeSet<ChildId>,
    /// When those have to be gone that were told to stop because the quorum was lost.
    stopping: BTreeMap<ChildId, Instant>,
    /// What others have to be told.
    releases: BTreeSet<ChildId>,
    /// What the driver was told last.
    lease: Option<Instant>,
    /// Whether it was told that there are too many members.
    is_left_out: bool,
    /// Members that do not take this node for one.
    at_odds: BTreeSet<NodeName>,
    /// Members that have left, and until when they count.
    leaving: BTreeMap<NodeName, Instant>,
    /// The last rules of others that are not ours.
    is_told_of_terms: Option<Terms>,
}

impl Supervisor {
    /// How it stands with this node's quorum, where it needs one.
    pub fn quorum(&self, now: Now) -> Option<QuorumStatus> {
        let votes = self.votes.as_ref()?;
        let (needed, vouching) = (votes.config.members, votes.leases.supporters(now.at));
        let (is_held, waits) = (votes.is_held, votes.grants.from().saturating_since(now.at));
        Some(QuorumStatus { needed, vouching, members: votes.members.len(), is_held, waits })
    }

    /// Why a child that this node would start is not started.
    pub(super) fn why_not_granted(&self, id: &ChildId) -> Option<String> {
        let votes = self.votes.as_ref().filter(|votes| votes.asking.contains(id))?;
        let needed = votes.config.members;
        Some(format!("waiting until {needed} members agree that it runs nowhere else"))
    }

    /// When the quorum is to be looked at.
    pub(super) fn next_vote(&self) -> Option<Instant> {
        let Some(votes) = &self.votes else {
            return self.needs_quorum().then(Instant::default);
        };
        let begins = Some(votes.grants.from()).filter(|_| !votes.takes_part);
        [Some(votes.next_beat), votes.next_stop, votes.leases.next_again(), begins].into_iter().flatten().min()
    }

    /// Takes its part, once it knows what time it is.
    pub(super) fn begin_votes(&mut self, now: Now) {
        let Partition::Quorum(Quorum { members, grace, stop_max }) = self.partition else { return };
        if self.votes.is_some() {
            return;
        }
        let (grace, stop_max) = (grace.min(TIME_MAX), stop_max.min(TIME_MAX));
        let config = Quorum { members: members.clamp(1, QUORUM_MAX), grace, stop_max };
        // Alone it granted to nobody else.
        let forgets = config.members_max() > 1 && !is_present(Defect::ForgetsGrants);
        let from = now.at + if forgets { config.void_after() } else { Duration::ZERO };
        self.votes = Some(Votes {
            config,
            life: self.rng.random(),
            members: BTreeSet::from([self.id().name.clone()]),
            lives: BTreeMap::new(),
            strangers: BTreeSet::new(),
            grants: Grants::new(config.void_after(), from),
            leases: Leases::new(config.members),
            own_epoch: 0,
            next_beat: now.at,
            next_stop: None,
            takes_part: false,
            is_held: false,
            was_held: false,
            asking: BTreeSet::new(),
            stopping: BTreeMap::new(),
            releases: BTreeSet::new(),
            lease: None,
            is_left_out: false,
            at_odds: BTreeSet::new(),
            leaving: BTreeMap::new(),
            is_told_of_terms: None,
        });
    }
}

impl Votes {
    fn members(&self) -> Vec<NodeName> {
        self.members.iter().cloned().collect()
    }
}

fn say(to: Vec<NodeId>, word: Word, effects: &mut Vec<Effect>) {
    if !to.is_empty() {
        let message = Box::new(Message::Control(Control::Quorum(word)));
        effects.push(Effect::Send { to, lane: Lane::Control, message });
    }
}
