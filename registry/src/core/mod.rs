//! The pure half: the replicated table, its anti-entropy, and names on top of it.

mod by_place;
pub mod claim;
pub mod clock;
mod conflicts;
pub mod covers;
mod defects;
pub mod delta;
pub mod digest;
pub mod gone;
pub mod groups;
mod held;
mod log;
pub mod names;
mod processes;
mod pull;
mod push;
pub mod rank;
pub mod reconcile;
pub mod relay;
pub mod retire;
pub mod select;
mod serve;
pub mod span;
mod stable;
pub mod sync;
pub mod table;
pub mod unheard;
pub mod visible;
mod wire;

pub use claim::{Claim, Entry, Fence, Name};
pub use gone::Gone;
pub use groups::{GroupEntry, JoinError};
pub use names::{Effect, Input, Message, NameConflict, RegisterError, Registry};
pub use rank::{Activation, CustomRank, Rank, RankPolicy};
pub use visible::Scope;
pub use wire::{Events, Malformed, Near, Reader, Writer};
