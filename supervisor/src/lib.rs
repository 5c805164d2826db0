//! A distributed dynamic supervisor: what should run, runs, once, on some node of an Ordu cluster.
//!
//! Two halves. [`core`] is pure: one state machine per node that contains the node's registry and decides what it starts,
//! stops and gives away. The runtime half, behind the default feature `runtime`, is the public handle and its driver.
#![warn(missing_docs)]

pub mod core;
