//! A delta-CRDT process registry: names to processes, on every node of an Ordu cluster.
//!
//! Two halves. [`core`] is pure: the replicated table, its anti-entropy, and names on top of it. The runtime half,
//! behind the default feature `runtime`, is the public handle and its driver.
#![warn(missing_docs)]

pub mod core;

#[cfg(feature = "runtime")]
pub mod driver;
#[cfg(feature = "runtime")]
pub mod events;
#[cfg(feature = "runtime")]
mod index;
#[cfg(feature = "runtime")]
mod local;
#[cfg(feature = "runtime")]
pub mod process;
#[cfg(feature = "runtime")]
mod registry;

#[cfg(feature = "runtime")]
pub use self::{
    driver::Closed,
    events::NameEvent,
    process::{ExitReason, Process},
    registry::{Registry, RegistryConfig, RegistryNode},
};
