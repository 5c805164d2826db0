//! The pure half: what should run against what runs, for every child, under one node's view.

pub mod calls;
pub mod child;
mod choice;
mod counts;
pub mod digests;
pub mod durable;
pub mod expect;
pub mod explain;
mod fingerprint;
pub mod handoff;
mod intensity;
mod marks;
pub mod moves;
pub mod placement;
pub mod quorum;
mod reconcile;
mod replicate;
pub mod room;
pub mod row;
mod show;
pub mod spec;
pub mod supervisor;
pub mod tables;
pub mod wishes;

pub use calls::{Call, CallError, Reply};
pub use child::Exit;
pub use durable::Stored;
pub use expect::Expect;
pub use explain::{Considered, Explanation};
pub use moves::{Misplaced, Redistribution};
pub use placement::Preference;
pub use quorum::{Partition, Quorum, QuorumStatus};
pub use room::Bounds;
pub use row::{ChildRow, ChildStatus, Event, EventKind, MemberRow, MemberStatus, StatusRow};
pub use spec::{Affinity, Apart, ChildId, ChildSpec, Intensity, Over, Placement, Restart};
pub use supervisor::{Config, Control, Effect, Escalation, Input, Message, StartedInfo, Supervisor};
