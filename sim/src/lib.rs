//! A deterministic simulator of Ordu clusters: the cores that run in production, on a network that misbehaves.
//!
//! One seed decides everything: the cluster, its clocks, what users do, what breaks and when. A run has a safety phase
//! under faults, a heal, and a liveness phase with a bound in simulated time. [`invariants`] are the promises of
//! ARCHITECTURE.md; [`sweep`] runs many seeds.
//!
//! # Your own code
//!
//! A [`Lab`] takes what an application plugs into Ordu, and what it wants to hold whatever happens to the cluster:
//!
//! | what | how |
//! |---|---|
//! | what a child does | a [`Behaviour`], given to [`Lab::children`] |
//! | what children share outside of the cluster | an [`External`], given to [`Lab::new`] |
//! | which of two copies survives | a [`RankPolicy`], given to [`Lab::rank`] |
//! | which nodes a child prefers | a [`Preference`], given to [`Lab::preference`] |
//! | what must hold | a function of an [`Observation`], given to [`Lab::invariant`] |
//!
//! Ordu's own promises are checked beside it. A [`Script`] is all that a run does on purpose; [`Lab::scripts`] draws them
//! for `proptest`, which then shortens one that fails. Here children write to a store that takes nothing under an older
//! fence than it has seen:
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use ordu_sim::{Behaviour, Broken, Caller, ChildId, Context, External, Fence, Lab, Observation, Options};
//! use proptest::prelude::*;
//!
//! #[derive(Default)]
//! struct Store(BTreeMap<ChildId, Vec<Fence>>);
//!
//! impl External for Store {
//!     type Request = ();
//!     type Reply = bool;
//!
//!     fn handle(&mut self, _now_us: u64, from: &Caller, (): ()) -> bool {
//!         let written = self.0.entry(from.id.clone()).or_default();
//!         let taken = written.last().is_none_or(|newest| from.fence >= *newest);
//!         if taken {
//!             written.push(from.fence);
//!         }
//!         taken
//!     }
//! }
//!
//! struct Writer;
//!
//! impl Behaviour<Store> for Writer {
//!     fn started(&mut self, context: &mut Context<'_, Store>) {
//!         context.ask(());
//!     }
//!
//!     fn answered(&mut self, context: &mut Context<'_, Store>, _taken: bool) {
//!         context.wake_in(200_000, 0);
//!     }
//!
//!     fn woken(&mut self, context: &mut Context<'_, Store>, _timer: u64) {
//!         context.ask(());
//!     }
//! }
//!
//! fn newest_last(seen: &Observation<'_, Store>) -> Option<Broken> {
//!     let (id, _) = seen.external().0.iter().find(|(_, written)| !written.is_sorted())?;
//!     Some(Broken::Safety(format!("an older copy of {id} wrote after a newer one")))
//! }
//!
//! fn lab() -> Lab<Store> {
//!     Lab::new(Store::default).children(|_| Writer).invariant("newest-last", newest_last)
//! }
//!
//! proptest! {
//!     #![proptest_config(ProptestConfig { cases: 4, ..ProptestConfig::default() })]
//!     // `#[test]` stands here in a test file.
//!     fn the_newest_copy_writes_last(script in lab().scripts(Options { nodes: 3, ops: 20, ..Options::default() })) {
//!         lab().check(&script)?;
//!     }
//! }
//! the_newest_copy_writes_last();
//! ```
//!
//! `examples/bank_transfer.rs` is a longer one, in which leaving the fence away is found as a double spend.

mod behaviour;
mod cast;
mod children;
pub mod cost;
mod detector;
mod disk;
pub mod draw;
mod driver;
pub mod fault;
pub mod file;
pub mod hash;
pub mod invariants;
mod lab;
mod last;
mod link;
pub mod musts;
mod node;
mod observe;
mod oracle;
pub mod page;
pub mod plan;
mod quorums;
pub mod record;
mod replies;
pub mod report;
pub mod scenario;
pub mod scenarios;
pub mod script;
#[allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "what is measured here is time")]
pub mod seats;
pub mod shrink;
pub mod sweep;
pub mod trace;
mod twin;
mod upper;
pub mod walk;
mod words;
mod workload;
pub mod world;

pub use behaviour::{Behaviour, Caller, Context, External, Init};
pub use children::Character;
pub use draw::{FaultKind, OpKind, Options};
pub use invariants::{Broken, Moment, Violation};
pub use lab::{Failure, Lab};
pub use observe::{ChildSeen, NodeSeen, Observation};
pub use scenario::{Layer, Scenario};
pub use script::Script;
pub use world::Outcome;

#[doc(no_inline)]
pub use ordu_registry::core::{CustomRank, Entry, Fence, Name, Rank, RankPolicy};
#[doc(no_inline)]
pub use ordu_supervisor::core::{ChildId, ChildSpec, Exit, Preference, tables::Facts};
#[doc(no_inline)]
pub use ordu_transport::core::{Hlc, NodeName, Pid};
