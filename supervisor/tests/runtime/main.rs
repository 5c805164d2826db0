//! The runtime half against real clusters: QUIC on loopback, each node on a tokio runtime of its own.
#![allow(unreachable_pub, reason = "a test has no public face")]

mod cluster;
mod crash_loop;
mod nodes;
mod partition;
mod relay;
mod single;
mod states;
