//! Clusters of real nodes on loopback, each in a runtime of its own, so that one can be killed like a process.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

pub mod peer;
pub mod relay;

use std::net::SocketAddr;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use ordu_transport::core::{NodeId, NodeName, Status};
use ordu_transport::{CertificateAuthority, Cluster, ClusterConfig, ClusterEvent, ClusterEvents, StartError};
use tokio::runtime::{Builder, Runtime};

/// Long enough for anything here on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

const WORKERS: usize = 2;

pub fn name(text: &str) -> NodeName {
    NodeName::new(text).expect("a valid name")
}

pub fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build().expect("a runtime")
}

pub struct Node {
    pub cluster: Cluster,
    pub events: ClusterEvents,
    pub seen: Vec<ClusterEvent>,
    runtime: Runtime,
}

/// The parts of a config that tests vary.
pub struct Start<'a> {
    pub name: &'a str,
    pub boot: u64,
    pub listen: &'a str,
    pub join: Vec<String>,
    pub cluster: &'a str,
}

impl Default for Start<'_> {
    fn default() -> Self {
        Self { name: "n1", boot: 1, listen: "127.0.0.1:0", join: Vec::new(), cluster: "test" }
    }
}

pub fn config(ca: &CertificateAuthority, start: Start<'_>) -> ClusterConfig {
    let name = name(start.name);
    ClusterConfig {
        cluster: start.cluster.to_owned(),
        boot: start.boot,
        listen: start.listen.parse().expect("an address"),
        advertise: None,
        join: start.join,
        tls: ca.issue(&name).expect("a certificate"),
        name,
    }
}

pub fn try_start(config: ClusterConfig) -> Result<Node, StartError> {
    let runtime = runtime();
    let (cluster, events) = runtime.block_on(Cluster::start(config))?;
    Ok(Node { cluster, events, seen: Vec::new(), runtime })
}

pub fn start(ca: &CertificateAuthority, start: Start<'_>) -> Node {
    try_start(config(ca, start)).expect("it starts")
}

/// Nodes `n1`, `n2`, ... that join the first, all up in all views.
pub fn group(ca: &CertificateAuthority, size: usize) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    for n in 1..=size {
        let join = nodes.first().map(Node::addr).into_iter().collect();
        nodes.push(start(ca, Start { name: &format!("n{n}"), join, ..Start::default() }));
    }
    settle(&mut nodes);
    nodes
}

/// Waits until every node has a session with every other and sees it as up.
pub fn settle(nodes: &mut [Node]) {
    let ids: Vec<NodeId> = nodes.iter().map(|node| node.cluster.id()).collect();
    for node in nodes {
        let own = node.id();
        for id in ids.iter().filter(|id| **id != own) {
            node.until(|node| node.cluster.is_connected(id) && node.status(id) == Some(Status::Up));
        }
    }
}

impl Node {
    pub fn addr(&self) -> String {
        self.cluster.addr().to_string()
    }

    pub fn id(&self) -> NodeId {
        self.cluster.id()
    }

    pub fn status(&self, of: &NodeId) -> Option<Status> {
        self.cluster.view().of(of).map(|row| row.status)
    }

    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    pub fn spawn<F: Future<Output = ()> + Send + 'static>(&self, future: F) {
        self.runtime.spawn(future);
    }

    /// The next event within a time.
    pub fn event(&mut self, within: Duration) -> Option<ClusterEvent> {
        let Self { runtime, events, .. } = self;
        let event = runtime.block_on(async { tokio::time::timeout(within, events.recv()).await });
        event.ok().flatten()
    }

    /// Takes events until something holds, and says how long that took.
    #[track_caller]
    pub fn until(&mut self, holds: impl Fn(&Node) -> bool) -> Duration {
        let start = Instant::now();
        while !holds(self) {
            // The state may also change without an event, so look again now and then.
            if let Some(event) = self.event(Duration::from_millis(20)) {
                self.seen.push(event);
            }
            assert!(start.elapsed() < PATIENCE, "never happened; saw {:?}", self.seen);
        }
        start.elapsed()
    }

    /// Takes events until one fits.
    #[track_caller]
    pub fn until_event(&mut self, fits: impl Fn(&ClusterEvent) -> bool) -> ClusterEvent {
        let start = Instant::now();
        loop {
            if let Some(event) = self.event(Duration::from_millis(100)) {
                self.seen.push(event.clone());
                if fits(&event) {
                    return event;
                }
            }
            assert!(start.elapsed() < PATIENCE, "never came; saw {:?}", self.seen);
        }
    }

    /// Keeps all threads of the node from running for a while, as a stopped process or a starved machine does.
    pub fn freeze(&self, time: Duration) {
        let all = Arc::new(Barrier::new(WORKERS));
        for _ in 0..WORKERS {
            let all = all.clone();
            self.runtime.spawn(async move {
                all.wait();
                std::thread::sleep(time);
            });
        }
    }

    /// Takes all events that come for a while.
    pub fn drain(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            if let Some(event) = self.event(left) {
                self.seen.push(event);
            }
        }
    }

    /// Ends all of its tasks where they are: nothing more is sent, and the port closes.
    pub fn kill(self) -> SocketAddr {
        let addr = self.cluster.local_addr();
        self.runtime.shutdown_timeout(Duration::from_secs(5));
        addr
    }

    /// Takes events until this one has been seen.
    #[track_caller]
    pub fn until_seen(&mut self, event: &ClusterEvent) {
        self.until(|node| node.seen.contains(event));
    }

    /// Checks that connections and disconnections of a peer alternate.
    pub fn assert_alternating(&self, peer: &NodeId) {
        let mut connected = false;
        for event in &self.seen {
            match event {
                ClusterEvent::Connected(id) if id == peer => assert!(!std::mem::replace(&mut connected, true)),
                ClusterEvent::Disconnected(id) if id == peer => assert!(std::mem::replace(&mut connected, false)),
                _ => {}
            }
        }
    }
}
