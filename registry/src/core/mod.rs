//! The pure half: the replicated table, its anti-entropy, and names on top of it.

mod by_place;
pub mod claim;
pub mod clock;
mod conflicts;
pub mod covers;
mod defects;
pub mod delta;
pub mod digest;
mod held;
mod log;
pub mod names;
mod pull;
mod push;
pub mod rank;
pub mod reconcile;
pub mod relay;
pub mod retire;
mod serve;
mod shown;
pub mod span;
pub mod sync;
pub mod table;
mod wire;

pub use claim::{Claim, Entry, Fence, Name};
pub use names::{Effect, Input, Message, NameConflict, RegisterError, Registry};
pub use rank::{CustomRank, Rank, RankPolicy};
pub use wire::Events;
