//! What one node believes of the members: at most one row a name, the latest incarnation that was heard of.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::id::{NodeId, NodeName};

/// Where others dial a node, as `HOST:PORT`.
pub type Addr = Arc<str>;

/// What a node believes of a member. Whether a member drains is a replicated fact about it, not a belief; see the
/// supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It answers.
    Up,
    /// It did not answer a probe; it has a little while to say that it lives.
    Suspect,
    /// It did not answer for too long.
    Down,
    /// It said that it leaves.
    Left,
}

impl Status {
    /// Whether the member counts as living: its claims are shown and it may be given children.
    pub fn is_living(self) -> bool {
        match self {
            Status::Up | Status::Suspect => true,
            Status::Down | Status::Left => false,
        }
    }
}

/// One member as one node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Member {
    /// Which incarnation.
    pub id: NodeId,
    /// Where others dial it.
    pub addr: Addr,
    /// What is believed of it.
    pub status: Status,
}

/// The members that one node knows, itself included.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct View {
    members: BTreeMap<NodeName, Member>,
}

impl View {
    /// Takes news of a member. A later incarnation replaces an earlier one of its name; news of an earlier incarnation
    /// is old and ignored. Returns the row that was replaced or changed, `None` inside if the name is new; or nothing
    /// at all if nothing changed.
    pub fn apply(&mut self, member: Member) -> Option<Option<Member>> {
        match self.members.get(&member.id.name) {
            Some(known) if known.id > member.id || *known == member => None,
            _ => Some(self.members.insert(member.id.name.clone(), member)),
        }
    }

    /// Forgets a name.
    pub fn remove(&mut self, name: &NodeName) -> Option<Member> {
        self.members.remove(name)
    }

    /// The row of a name.
    pub fn get(&self, name: &NodeName) -> Option<&Member> {
        self.members.get(name)
    }

    /// The row of exactly this incarnation.
    pub fn of(&self, id: &NodeId) -> Option<&Member> {
        self.members.get(&id.name).filter(|member| member.id == *id)
    }

    /// Whether exactly this incarnation is believed to live. An incarnation that nobody told us of does not.
    pub fn is_living(&self, id: &NodeId) -> bool {
        self.of(id).is_some_and(|member| member.status.is_living())
    }

    /// All rows, by name.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// The rows that are believed to live, by name.
    pub fn living(&self) -> impl Iterator<Item = &Member> {
        self.members.values().filter(|member| member.status.is_living())
    }
}
