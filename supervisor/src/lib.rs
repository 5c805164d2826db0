//! A distributed dynamic supervisor: what should run, runs, once, on some node of an Ordu cluster.
//!
//! Two halves. [`core`] is pure: one state machine per node that contains the node's registry and decides what it starts,
//! stops and gives away. The runtime half, behind the default feature `runtime`, is the public handle and its driver.
//!
//! ```no_run
//! # #[cfg(feature = "runtime")]
//! # mod example {
//! use std::time::Duration;
//!
//! use ordu_supervisor::core::{ChildId, ChildSpec};
//! use ordu_supervisor::{Context, Exit, Kinds, Started, Supervisor, SupervisorConfig};
//! use ordu_transport::{Cluster, ClusterConfig};
//!
//! async fn example(config: ClusterConfig) -> Result<(), Box<dyn std::error::Error>> {
//!     // The code that children run, by name. A node runs children of the kinds that it offers.
//!     let kinds = Kinds::new()
//!         // Runs at once.
//!         .with_fn("ticker", |ctx: Context| async move { ctx.stopping().await })
//!         // Says itself when its init is over; ends abnormally before that if it cannot run.
//!         .with("listener", |ctx: Context| async move {
//!             match tokio::net::TcpListener::bind("127.0.0.1:0").await {
//!                 Err(error) => Exit::Abnormal(error.to_string()),
//!                 Ok(_listener) => {
//!                     ctx.started(Started::default());
//!                     ctx.stopping().await;
//!                     Exit::Normal
//!                 }
//!             }
//!         });
//!
//!     let (cluster, events) = Cluster::start(config).await?;
//!     let supervisor = Supervisor::start(cluster, events, SupervisorConfig { kinds, ..SupervisorConfig::default() });
//!
//!     // Any node may be asked; the child runs where it belongs, and goes on elsewhere if that node is lost.
//!     let id = ChildId::new("my-listener")?;
//!     let row = supervisor.start_child(ChildSpec::new(id.clone(), "listener", ""), Duration::from_secs(30)).await?;
//!     println!("{id} is {:?} with fence {:?}", row.status, row.fence);
//!     supervisor.terminate_child(&id, Duration::from_secs(30)).await?;
//!
//!     // Children move to the other nodes first, for at most this long.
//!     supervisor.shutdown(Duration::from_secs(30)).await;
//!     Ok(())
//! }
//! # }
//! ```
#![warn(missing_docs)]

pub mod core;

#[cfg(feature = "runtime")]
mod children;
#[cfg(feature = "runtime")]
mod context;
#[cfg(feature = "runtime")]
mod driver;
#[cfg(feature = "runtime")]
mod error;
#[cfg(feature = "runtime")]
mod kinds;
#[cfg(feature = "runtime")]
#[allow(clippy::disallowed_methods, reason = "a runtime half")]
mod store;
#[cfg(feature = "runtime")]
mod supervisor;

#[cfg(feature = "runtime")]
pub use self::{
    children::STOP_GRACE,
    context::{Context, Hold, MERGES_MAX, Merged, Started, StateTooLong},
    core::Exit,
    driver::{EVENTS_BEHIND_MAX, EVENTS_KEPT_MAX},
    error::{DrainError, RemoveError, RestartError, StartError, TerminateError},
    kinds::{Kind, Kinds, Run},
    store::{Store, StoreError},
    supervisor::{FAREWELL_MAX, Supervisor, SupervisorConfig, Watchdog},
};
#[cfg(feature = "runtime")]
pub use ordu_registry::driver::Closed;
