//! Everything that knows the supervisor's runtime: starting it, running exec children under it, and its rows as JSON.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::backend::Backend;
use crate::exec::Exec;
use crate::failure::Failure;
use crate::node::NodeConfig;

/// A running node below its HTTP interface.
pub(crate) struct Node {
    backend: Arc<dyn Backend>,
}

pub(crate) async fn start(_config: &NodeConfig, _tls_dir: &Path, _boot: u64, _exec: Exec) -> Result<Node, Failure> {
    Err(Failure::not_yet("up"))
}

impl Node {
    pub(crate) fn backend(&self) -> Arc<dyn Backend> {
        self.backend.clone()
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    pub(crate) fn boot(&self) -> u64 {
        0
    }

    pub(crate) async fn closed(&self) -> Result<(), Failure> {
        std::future::pending().await
    }

    pub(crate) async fn shutdown(&self, _drain_timeout: Duration) {}
}
