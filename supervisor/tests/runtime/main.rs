//! The runtime half against real clusters: QUIC on loopback, each node on a tokio runtime of its own.
mod cluster;
mod nodes;
mod single;
