//! A deterministic simulator of Ordu clusters: the cores that run in production, on a network that misbehaves.
//!
//! One seed decides everything: the cluster, its clocks, what users do, what breaks and when. A run has a safety phase
//! under faults, a heal, and a liveness phase with a bound in simulated time. [`invariants`] are the promises of
//! ARCHITECTURE.md; [`sweep`] runs many seeds.

mod children;
mod detector;
pub mod draw;
mod driver;
pub mod fault;
pub mod file;
pub mod hash;
pub mod invariants;
mod last;
mod link;
mod node;
mod oracle;
pub mod plan;
pub mod report;
pub mod scenario;
pub mod script;
pub mod shrink;
pub mod sweep;
pub mod trace;
mod twin;
mod upper;
mod words;
mod workload;
pub mod world;
