//! A node of the bench: a process of its own that embeds a node with default settings through the public interface, and
//! does what it is told on standard input.

use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use ordu_registry::{Process, Registry};
use ordu_supervisor::core::MemberStatus;
use ordu_supervisor::{Context, Kinds, Store, Supervisor, SupervisorConfig};
use ordu_transport::core::NodeName;
use ordu_transport::{Cluster, ClusterConfig, TlsMaterial};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tracing_subscriber::EnvFilter;

use super::heal::Holders;
use super::protocol::{Answer, Command, Task};
use super::raw::BareNode;
use crate::node::die_of_panics;

/// The cluster's name.
const CLUSTER: &str = "bench";
/// The one kind of children: async functions that wait until they are asked to stop.
pub(super) const KIND: &str = "bench";
/// Most commands that wait; the control room sends one at a time.
const COMMANDS_MAX: usize = 4;

/// The node's side of the bench.
pub(super) struct Worker {
    pub(super) name: NodeName,
    pub(super) tls: TlsMaterial,
    pub(super) bare: OnceLock<BareNode>,
    pub(super) holders: OnceLock<Holders>,
    supervisor: OnceLock<Supervisor>,
    processes: Mutex<Vec<Process>>,
}

/// Runs a node of the bench until its standard input ends.
///
/// # Errors
/// Why it cannot start.
pub(super) fn run(name: &str, tls_dir: &Path) -> Result<(), String> {
    let asked = std::env::var("RUST_LOG").unwrap_or_else(|_| "warn".to_owned());
    let filter = EnvFilter::try_new(asked).map_err(|error| format!("RUST_LOG: {error}"))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    log.try_init().map_err(|error| error.to_string())?;
    die_of_panics();
    let worker = Worker {
        name: NodeName::new(name).map_err(|error| error.to_string())?,
        tls: TlsMaterial::load(tls_dir).map_err(|error| error.to_string())?,
        bare: OnceLock::new(),
        holders: OnceLock::new(),
        supervisor: OnceLock::new(),
        processes: Mutex::default(),
    };
    // As `ordu up` runs its nodes.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no threads can be started: {error}"))?;
    let (heard, commands) = mpsc::channel(COMMANDS_MAX);
    std::thread::spawn(move || listen(&heard));
    runtime.block_on(obey(&worker, commands))
}

/// Hears commands. Whatever the node is doing, it ends with its control room.
fn listen(heard: &mpsc::Sender<String>) {
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        if heard.blocking_send(line).is_err() {
            break;
        }
    }
    std::process::exit(0);
}

async fn obey(worker: &Worker, mut commands: mpsc::Receiver<String>) -> Result<(), String> {
    while let Some(line) = commands.recv().await {
        let answer = match serde_json::from_str::<Command>(&line) {
            Ok(command) => command.run(worker).await,
            Err(error) => Answer::Failed(format!("a command that is none: {error}")),
        };
        let mut text = serde_json::to_string(&answer).map_err(|error| error.to_string())?;
        text.push('\n');
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| error.to_string())?;
    }
    Ok(())
}

impl Worker {
    /// The node's supervisor.
    ///
    /// # Errors
    /// If it was not told to join.
    pub(super) fn supervisor(&self) -> Result<&Supervisor, String> {
        self.supervisor.get().ok_or_else(|| "the node is in no cluster yet".to_owned())
    }

    /// The node's registry.
    ///
    /// # Errors
    /// If it was not told to join.
    pub(super) fn registry(&self) -> Result<&Registry, String> {
        self.supervisor().map(Supervisor::registry)
    }

    /// The processes that hold the node's names.
    pub(super) fn processes(&self) -> MutexGuard<'_, Vec<Process>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Become a node of the cluster.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Up {
    /// What others dial, if not the node's own address.
    pub(super) advertise: Option<String>,
    /// Whom to join.
    pub(super) join: Vec<String>,
    /// Where to keep what should run, if it is to.
    pub(super) store: Option<PathBuf>,
}

impl Task for Up {
    /// Where the node listens.
    type Answer = SocketAddr;

    async fn run(self, worker: &Worker) -> Result<SocketAddr, String> {
        let config = ClusterConfig {
            name: worker.name.clone(),
            cluster: CLUSTER.to_owned(),
            boot: 1,
            listen: super::LOOPBACK,
            advertise: self.advertise,
            join: self.join,
            tls: worker.tls.clone(),
        };
        let (cluster, events) = Cluster::start(config).await.map_err(|error| error.to_string())?;
        let address = cluster.local_addr();
        let kinds = Kinds::new().with_fn(KIND, |context: Context| async move { context.stopping().await });
        let config = SupervisorConfig { kinds, ..SupervisorConfig::default() };
        let supervisor = match &self.store {
            None => Supervisor::start(cluster, events, config),
            Some(file) => {
                let store = Store::open(file).map_err(|error| format!("{}: {error}", file.display()))?;
                Supervisor::start_durable(cluster, events, config, store).map_err(|error| error.to_string())?
            }
        };
        worker.supervisor.set(supervisor).map_err(|_| "it is up already".to_owned())?;
        Ok(address)
    }
}

/// Wait until this many members are up, offer the children's kind and are connected with one another.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AwaitMembers {
    pub(super) count: usize,
}

impl Task for AwaitMembers {
    type Answer = ();

    async fn run(self, worker: &Worker) -> Result<(), String> {
        let supervisor = worker.supervisor()?;
        let is_ready = |supervisor: &Supervisor| {
            let members = supervisor.members();
            let ready = members.iter().filter(|row| row.status == MemberStatus::Up && !row.kinds.is_empty()).count();
            let view = supervisor.cluster().view();
            let connected = view.members().filter(|member| supervisor.cluster().is_connected(&member.id)).count();
            ready == self.count && connected + 1 == self.count
        };
        supervisor.wait_until(is_ready).await;
        Ok(())
    }
}

/// Wait until every member showed the same digests as this node's.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AwaitConverged {}

impl Task for AwaitConverged {
    type Answer = ();

    async fn run(self, worker: &Worker) -> Result<(), String> {
        worker.supervisor()?.wait_until(|supervisor| supervisor.status().converged).await;
        Ok(())
    }
}
