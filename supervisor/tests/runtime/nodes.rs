//! A cluster of nodes in this process, on loopback, with a CA of their own.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use ordu_supervisor::core::{ChildId, ChildRow, ChildSpec, ChildStatus};
use ordu_supervisor::{Kinds, Supervisor, SupervisorConfig};
use ordu_transport::core::NodeName;
use ordu_transport::{CertificateAuthority, Cluster, ClusterConfig};
use tokio::runtime::Runtime;

use crate::relay::{Network, Relay};

/// How long anything in these tests may take; far more than it takes.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The nodes that run, each on a runtime of its own, so that dropping one is a crash.
pub struct Nodes {
    authority: CertificateAuthority,
    addrs: Vec<String>,
    boot: u64,
    network: Option<Network>,
    cut: Mutex<Vec<SocketAddr>>,
}

pub struct Node {
    pub supervisor: Supervisor,
    runtime: Option<Runtime>,
}

impl Nodes {
    pub fn new() -> Self {
        let authority = CertificateAuthority::generate().unwrap();
        Self { authority, addrs: Vec::new(), boot: 0, network: None, cut: Mutex::default() }
    }

    /// Nodes whose network can be cut.
    pub fn behind_relays() -> Self {
        Self { network: Some(Network::default()), ..Self::new() }
    }

    /// Cuts a node off from all others.
    pub fn cut_off(&self, node: &Node) {
        let addr = node.cluster().local_addr();
        self.cut.lock().unwrap().push(addr);
        self.network.as_ref().unwrap().set_side(addr, 1);
    }

    /// Joins what was cut.
    pub fn heal(&self) {
        for addr in self.cut.lock().unwrap().drain(..) {
            self.network.as_ref().unwrap().set_side(addr, 0);
        }
    }

    /// Starts a node that joins the earlier ones.
    pub async fn start(&mut self, name: &str, kinds: Kinds) -> Node {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        self.boot += 1;
        let name = NodeName::new(name).unwrap();
        let relay = if self.network.is_some() { Some(Relay::bind().await) } else { None };
        let config = ClusterConfig {
            cluster: "test".to_owned(),
            boot: self.boot,
            listen: "127.0.0.1:0".parse().unwrap(),
            advertise: relay.as_ref().map(|relay| relay.addr().to_string()),
            join: self.addrs.clone(),
            tls: self.authority.issue(&name).unwrap(),
            name,
        };
        let config_of_supervisor =
            SupervisorConfig { kinds, keep_done: Duration::from_millis(500), ..SupervisorConfig::default() };
        let start = async move {
            let (cluster, events) = Cluster::start(config).await.unwrap();
            Supervisor::start(cluster, events, config_of_supervisor)
        };
        let supervisor = runtime.spawn(start).await.unwrap();
        if let (Some(relay), Some(network)) = (relay, &self.network) {
            tokio::spawn(relay.run(supervisor.cluster().local_addr(), network.clone()));
        }
        self.addrs.push(supervisor.cluster().addr().to_string());
        Node { supervisor, runtime: Some(runtime) }
    }

    /// Starts nodes of these names and waits until each knows what all others offer.
    pub async fn start_all<const N: usize>(&mut self, names: [&str; N], kinds: impl Fn(&str) -> Kinds) -> [Node; N] {
        let mut nodes = Vec::new();
        for name in names {
            nodes.push(self.start(name, kinds(name)).await);
        }
        for node in &nodes {
            node.sees_up(N).await;
        }
        nodes.try_into().unwrap_or_else(|_| unreachable!())
    }
}

impl Node {
    /// Waits until this node sees that many members up, and what they offer.
    pub async fn sees_up(&self, count: usize) {
        let ready = |supervisor: &Supervisor| {
            let members = supervisor.members();
            members.iter().filter(|member| !member.version.is_empty()).count() >= count
                && supervisor.status().members_up == count
        };
        self.until("all members up", ready).await;
    }

    /// Waits until something holds on this node.
    pub async fn until(&self, what: &str, check: impl Fn(&Supervisor) -> bool) {
        let waited = tokio::time::timeout(PATIENCE, self.supervisor.wait_until(check)).await;
        if waited.is_err() {
            panic!(
                "{what}: not within {PATIENCE:?} on {:?}\n{:#?}",
                self.supervisor.cluster().id(),
                self.supervisor.children()
            );
        }
    }

    /// Waits until a child has a status on this node.
    pub async fn until_status(&self, child: &str, status: ChildStatus) -> ChildRow {
        let id = id(child);
        let is_there = |supervisor: &Supervisor| supervisor.child(&id).is_some_and(|row| row.status == status);
        self.until(&format!("{child} {status:?}"), is_there).await;
        self.supervisor.child(&id).unwrap()
    }

    /// Ends without a word, as a crash does.
    pub fn crash(mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }

    pub async fn shut_down(mut self) {
        tokio::time::timeout(PATIENCE, self.supervisor.shutdown(PATIENCE)).await.expect("the shutdown takes too long");
        self.runtime.take().unwrap().shutdown_background();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // A runtime must not be dropped where blocking is forbidden.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl std::ops::Deref for Node {
    type Target = Supervisor;
    fn deref(&self) -> &Supervisor {
        &self.supervisor
    }
}

pub fn id(text: &str) -> ChildId {
    ChildId::new(text).unwrap()
}

pub fn spec(child: &str, kind: &str) -> ChildSpec {
    ChildSpec { stop_timeout: Duration::from_millis(500), ..ChildSpec::new(id(child), kind, "") }
}

/// A kind that runs until it is asked to stop.
pub fn idle() -> Kinds {
    Kinds::new().with_fn("idle", |ctx| async move { ctx.stopping().await })
}
