//! What a registry tells whoever listens: which process a name shows, and which process lost a conflict.

use ordu_transport::core::Pid;

use crate::core::{Entry, Name, NameConflict};

/// Most events that a slow listener may be behind; beyond, it is told how many it missed.
pub const NAME_EVENTS_MAX: usize = 4096;

/// Something that happened to a name, as this node's lookups show it. In order; a listener who gets an event finds it, or
/// something later, in lookups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameEvent {
    /// The name shows another process than before.
    Registered(Entry),
    /// The name shows nothing, or another process, any more.
    Released {
        /// The name.
        name: Name,
        /// The process that it showed.
        pid: Pid,
    },
    /// The same process is shown with another value or fence.
    Updated(Entry),
    /// A process of this node lost a conflict and was told to stop. Once per process.
    Conflict {
        /// The process that lost.
        loser: Pid,
        /// Against whom.
        conflict: NameConflict,
    },
}
