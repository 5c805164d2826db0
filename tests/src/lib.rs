//! Scenarios with real Ordu nodes: what they share.
//!
//! Nothing here is faked: a node is the `ordu` binary in an OS process, a child is a program, a partition is packets that
//! the kernel drops. What a scenario holds against its bounds comes from outside the nodes: the operating system's process
//! table ([`Sampler`]), exit codes ([`Outcome`]) and answers over HTTP ([`Door`]).
//!
//! One [`Scenario`] runs at a time on a machine, for each loads all of it. When it ends, however it ends, a guard process
//! kills everything that it started and removes its directory and its network namespaces.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real nodes in real time")]

mod binary;
mod cluster;
mod command;
mod events;
mod http;
mod network;
mod postgres;
mod processes;
mod sampler;
mod scenario;
mod terminal;
mod wait;

pub use binary::ordu;
pub use cluster::{Cluster, Node, Plan};
pub use command::{Outcome, Spawned, run, spawn, spawn_on};
pub use events::{Event, EventLog};
pub use http::{Answer, Door};
pub use network::Network;
pub use postgres::Postgres;
pub use processes::{Process, descriptors, is_alive, resident_bytes, with_variable};
pub use sampler::{Life, Sampler};
pub use scenario::{Scenario, say};
pub use terminal::Terminal;
pub use wait::{millis, until, within};
