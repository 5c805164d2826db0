//! A delta-CRDT process registry: names to processes, on every node of an Ordu cluster.
//!
//! Two halves. [`core`] is pure: the replicated table, its anti-entropy, and names on top of it. The runtime half,
//! behind the default feature `runtime`, is the public handle and its driver.
//!
//! ```no_run
//! # #[cfg(feature = "runtime")]
//! # mod example {
//! use ordu_registry::{ExitReason, Process, Registry, RegistryConfig, core::Name};
//! use ordu_transport::{Cluster, ClusterConfig};
//!
//! async fn example(config: ClusterConfig) -> Result<(), Box<dyn std::error::Error>> {
//!     let (cluster, events) = Cluster::start(config).await?;
//!     let node = Registry::start(cluster, events, RegistryConfig::default());
//!
//!     // A process holds names for as long as it runs.
//!     let leader = node.spawn(|process: Process| async move {
//!         process.register(Name::new("leader")?, "a value of its own")?;
//!         process.stopping().await;
//!         Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
//!     });
//!
//!     // Every node looks names up in its own memory.
//!     node.wait_until(|registry| registry.lookup("leader").is_some()).await;
//!     if let Some(entry) = node.lookup("leader") {
//!         println!("{} runs on {}", entry.pid(), entry.node().name);
//!     }
//!
//!     // Two nodes that could not hear one another may both have a leader. Once they meet, one of both is told.
//!     if let ExitReason::NameConflict(conflict) = leader.exited().await {
//!         println!("{} is the leader now", conflict.winner);
//!     }
//!     node.shutdown().await;
//!     Ok(())
//! }
//! # }
//! ```
#![warn(missing_docs)]

pub mod core;

#[cfg(feature = "runtime")]
pub mod driver;
#[cfg(feature = "runtime")]
pub mod events;
#[cfg(feature = "runtime")]
mod groups;
#[cfg(feature = "runtime")]
mod index;
#[cfg(feature = "runtime")]
pub mod listeners;
#[cfg(feature = "runtime")]
mod local;
#[cfg(feature = "runtime")]
pub mod meta;
#[cfg(feature = "runtime")]
pub mod process;
#[cfg(feature = "runtime")]
mod registry;
#[cfg(feature = "runtime")]
mod select;
#[cfg(feature = "runtime")]
pub mod visible;

#[cfg(feature = "runtime")]
pub use self::{
    driver::Closed,
    events::NameEvent,
    listeners::{ListenError, Listener},
    process::{ExitReason, Process},
    registry::{Registry, RegistryConfig, RegistryNode},
    visible::{AwaitError, QuorumError},
};
