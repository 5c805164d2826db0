//! A distributed dynamic supervisor: what should run, runs, once, on some node of an Ordu cluster.
//!
//! Two halves. [`core`] is pure: one state machine per node that contains the node's registry and decides what it starts,
//! stops and gives away. The runtime half, behind the default feature `runtime`, is the public handle and its driver.
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
mod supervisor;

#[cfg(feature = "runtime")]
pub use self::{
    children::STOP_GRACE,
    context::{Context, Started},
    core::Exit,
    driver::{EVENTS_BEHIND_MAX, EVENTS_KEPT_MAX},
    error::{DrainError, RestartError, StartError, TerminateError},
    kinds::{Kind, Kinds, Run},
    supervisor::{FAREWELL_MAX, Supervisor, SupervisorConfig},
};
#[cfg(feature = "runtime")]
pub use ordu_registry::driver::Closed;
