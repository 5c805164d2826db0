//! The pure half: the replicated table, its anti-entropy, and names on top of it.

pub mod claim;
pub mod clock;
mod defects;
pub mod delta;
pub mod names;
pub mod rank;
pub mod reconcile;
pub mod retire;
pub mod sync;
pub mod table;

pub use claim::{Claim, Entry, Fence, Name};
pub use names::{Effect, Input, Message, NameConflict, RegisterError, Registry};
pub use rank::{CustomRank, Rank, RankPolicy};
