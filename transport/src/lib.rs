//! Identities, membership and encrypted sessions of an Ordu cluster.
//!
//! Two halves. [`core`] is pure: it names nodes and processes, keeps one node's view of the members (SWIM) and turns
//! frames into bytes and back; it reads no clock, does no I/O and draws no randomness of its own. The runtime half,
//! behind the default feature `runtime`, carries those bytes over QUIC.
#![warn(missing_docs)]

pub mod core;
