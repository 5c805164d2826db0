//! What a registry tells whoever listens: which process a name shows and why no more, who is in a group, and which process
//! lost a conflict.

use ordu_transport::core::Pid;

use crate::core::{Entry, Gone, GroupEntry, Name, NameConflict};

/// Most events that a slow listener may be behind; beyond, it is told how many it missed.
pub const NAME_EVENTS_MAX: usize = 4096;

/// Something that happened to a name or a group, as this node's reads show it. In order; a listener who gets an event finds
/// it, or something later, in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameEvent {
    /// The name shows another process than before; also where one is shown again whose node was down.
    Registered(Entry),
    /// The name shows nothing, or another process, any more.
    Released {
        /// The name.
        name: Name,
        /// The process that it showed.
        pid: Pid,
        /// Why.
        why: Gone,
    },
    /// The same process is shown with another value or fence.
    Updated(Entry),
    /// A process is a member of a group; also where one is shown again whose node was down.
    Joined(GroupEntry),
    /// A process is no member of a group any more, or hidden.
    Left {
        /// What was shown of it.
        entry: GroupEntry,
        /// Why.
        why: Gone,
    },
    /// A member of a group is shown with another value or fence.
    MemberUpdated(GroupEntry),
    /// A process of this node lost a conflict and was told to stop. Once per process.
    Conflict {
        /// The process that lost.
        loser: Pid,
        /// Against whom.
        conflict: NameConflict,
    },
}

impl NameEvent {
    /// The name or the group that it is about.
    pub fn about(&self) -> &str {
        match self {
            NameEvent::Registered(entry) | NameEvent::Updated(entry) => entry.name().as_str(),
            NameEvent::Released { name, .. } => name.as_str(),
            NameEvent::Joined(entry) | NameEvent::MemberUpdated(entry) | NameEvent::Left { entry, .. } => entry.group(),
            NameEvent::Conflict { conflict, .. } => conflict.name.as_str(),
        }
    }
}
