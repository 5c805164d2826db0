//! A delta-CRDT process registry: names to processes, on every node of an Ordu cluster.
//!
//! Two halves. [`core`] is pure: the replicated table, its anti-entropy, and names on top of it. The runtime half,
//! behind the default feature `runtime`, is the public handle and its driver.
#![warn(missing_docs)]

pub mod core;
