//! `ordu up`: one node, from its configuration to its exit.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use ordu_supervisor::Store;
use ordu_supervisor::core::Bounds;
use ordu_supervisor::core::Partition;
use ordu_transport::TlsMaterial;
use ordu_transport::core::NodeName;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::adapter::{self, Node};
use crate::ca;
use crate::data::{DataChoice, DataDirectory};
use crate::exec::{Exec, Keeper, KeeperConfig};
use crate::failure::Failure;
use crate::http;
use crate::store;

/// How long tasks get to end once the node is done.
const RUNTIME_END_MAX: Duration = Duration::from_secs(1);
/// How often the boot number is looked at: the cluster may give the node a higher one.
const BOOT_INTERVAL: Duration = Duration::from_secs(1);

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// A JSON object a line.
    Json,
}

/// What a node is told.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// Its name.
    pub name: NodeName,
    /// Its cluster's name.
    pub cluster: String,
    /// Where it takes QUIC.
    pub listen: SocketAddr,
    /// What others dial.
    pub advertise: Option<String>,
    /// Where it serves HTTP.
    pub http: SocketAddr,
    /// The bearer token that HTTP asks for.
    pub token: Option<String>,
    /// Whom it joins.
    pub join: Vec<String>,
    /// Where its certificates are.
    pub tls_dir: Option<PathBuf>,
    /// Where it keeps data.
    pub data: DataChoice,
    /// How long it may move children away at exit.
    pub drain_timeout: Duration,
    /// Text pairs that describe it.
    pub labels: BTreeMap<String, String>,
    /// Its share of children relative to others; 0 for none.
    pub weight: u32,
    /// How many children there may be, on this node and in the cluster.
    pub bounds: Bounds,
    /// Whether it gives children away only when it may not run them any more.
    pub passive: bool,
    /// How many members it waits for before it takes any child, and for how long.
    pub expect: (usize, Duration),
    /// What it does when it is cut off from most others.
    pub partition: Partition,
    /// How many other nodes keep the checkpoints of its children.
    pub checkpoint_copies: usize,
    /// How long a child that is done keeps its row.
    pub keep_done: Duration,
    /// How it writes its log.
    pub log_format: LogFormat,
}

/// Runs a node until it is told to stop.
///
/// # Errors
/// Exit 2, if it cannot start, or if another living node holds its name.
pub fn run(config: NodeConfig) -> Result<(), Failure> {
    start_log(config.log_format)?;
    let data = DataDirectory::open(&config.data)?;
    let store = store::open(&data)?;
    die_of_panics();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::usage(format!("no threads can be started: {error}")))?;
    let result = runtime.block_on(serve(&config, &data, store));
    runtime.shutdown_timeout(RUNTIME_END_MAX);
    result
}

async fn serve(config: &NodeConfig, data: &DataDirectory, store: Option<Store>) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let (tls, tls_dir) = certificates(config, data)?;
    let listener = TcpListener::bind(config.http).await;
    let listener = listener.map_err(|error| cannot_bind("--http", config.http, &error))?;
    let http = listener.local_addr().map_err(|error| cannot_bind("--http", config.http, &error))?;
    let keeper = KeeperConfig {
        // Also when the binary was replaced since.
        program: "/proc/self/exe".into(),
        remove: data.is_ephemeral().then(|| data.path().to_owned()),
        cgroups: true,
    };
    let keeper = Keeper::start(keeper)
        .map_err(|error| Failure::usage(format!("the keeper of the node's processes cannot be started: {error}")))?;
    let result = async {
        let exec = Exec::new(keeper.clone(), data.path(), reachable(http).to_string())
            .map_err(|error| Failure::usage(format!("{}: {error}", data.path().display())))?;
        let boot = data.next_boot()?;
        let node = adapter::start(config, tls, boot, exec, store).await?;
        let server = tokio::spawn(http::serve(listener, http::router(node.backend(), config.token.clone())));
        let quic = node.local_addr();
        if config.tls_dir.is_none() && config.join.is_empty() {
            explain_joining(&tls_dir, config.advertise.clone().unwrap_or_else(|| quic.to_string()).as_str());
        }
        match keeper.cgroups() {
            Ok(tree) => tracing::info!(tree = %tree.display(), "each child gets a cgroup of its own"),
            Err(why) => tracing::info!(why, "children get no cgroups of their own"),
        }
        // A node whose standard output is gone is a node all the same.
        let ready = format!("ready name={} boot={} quic={quic} http={http}\n", config.name, node.boot());
        let mut stdout = std::io::stdout();
        let _ = stdout.write_all(ready.as_bytes()).and_then(|()| stdout.flush());
        let result = attend(&node, boot, config, data, &mut signals).await;
        server.abort();
        result
    }
    .await;
    // Whatever happened, no child outlives the node.
    let _ = tokio::task::spawn_blocking(move || keeper.close()).await;
    result
}

/// Waits for the end: a signal, or the cluster's verdict. `boot` is the one that is stored.
async fn attend(
    node: &Node,
    mut boot: u64,
    config: &NodeConfig,
    data: &DataDirectory,
    signals: &mut Signals,
) -> Result<(), Failure> {
    let mut look = tokio::time::interval(BOOT_INTERVAL);
    let (why, ends) = loop {
        tokio::select! {
            signal = signals.next() => break (signal.to_string(), Ok(())),
            failure = node.escalated() => break (failure.message.clone(), Err(failure)),
            why = node.closed() => return why,
            _ = look.tick() => {}
        }
        if node.boot() > boot {
            boot = node.boot();
            tracing::warn!(boot, "a later boot of this node's name was known; it goes on under a higher one");
            if let Err(error) = data.write_boot(boot) {
                tracing::error!(%error, "the boot number cannot be stored");
            }
        }
    };
    let again = if ends.is_ok() { "a second signal" } else { "a signal" };
    tracing::info!(why, "stopping; {again} stops at once");
    tokio::select! {
        () = node.shutdown(config.drain_timeout) => {}
        signal = signals.next() => tracing::warn!(signal, "stopping at once"),
    }
    ends
}

/// This node's certificates and their directory, which is made where the node is its own CA.
fn certificates(config: &NodeConfig, data: &DataDirectory) -> Result<(TlsMaterial, PathBuf), Failure> {
    let name = config.name.as_str();
    let authority = data.path().join("ca");
    let directory = match &config.tls_dir {
        Some(directory) => directory.clone(),
        None if authority.join(name).is_dir() => authority.join(name),
        None if !config.join.is_empty() => {
            return Err(Failure::usage(format!(
                "--join needs certificates of the cluster's CA: run `ordu ca issue DIR {name}` where that CA is, \
                 copy DIR/{name} here and give --tls-dir {name}"
            )));
        }
        None => {
            let made = match ca::init(&authority) {
                Err(ca::CaError::Exists(_)) => ca::issue(&authority, name),
                made => made.and_then(|()| ca::issue(&authority, name)),
            };
            made.map_err(|error| Failure::usage(format!("the node's own CA: {error}")))?
        }
    };
    let tls = TlsMaterial::load(&directory).and_then(|tls| tls.check(&config.name).map(|()| tls));
    Ok((tls.map_err(|error| Failure::usage(format!("--tls-dir: {error}")))?, directory))
}

fn explain_joining(tls_dir: &Path, address: &str) {
    let authority = tls_dir.parent().unwrap_or(tls_dir).display();
    let _ = writeln!(
        std::io::stderr(),
        "ordu: this node is its own CA. For another node, say n2, to join: ordu ca issue {authority} n2; \
         copy {authority}/n2 to its host; there: ordu up --name n2 --tls-dir n2 --join {address}"
    );
}

fn cannot_bind(flag: &str, address: SocketAddr, error: &std::io::Error) -> Failure {
    let why = match error.kind() {
        std::io::ErrorKind::AddrInUse => "the port is in use; is another node running? Give another address".into(),
        _ => error.to_string(),
    };
    Failure::usage(format!("{flag} {address}: {why}"))
}

/// Where a child on this host reaches what listens there.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|error| Failure::usage(format!("signals cannot be taken: {error}")));
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

fn start_log(format: LogFormat) -> Result<(), Failure> {
    let asked = std::env::var("RUST_LOG").ok().filter(|filter| !filter.trim().is_empty());
    let filter = EnvFilter::try_new(asked.as_deref().unwrap_or("info"))
        .map_err(|error| Failure::usage(format!("RUST_LOG: {error}")))?;
    let is_coloured = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(is_coloured);
    // It would tell of a broken standard error there, and panic.
    let log = log.log_internal_errors(false);
    let started = match format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().try_init(),
    };
    started.map_err(|error| Failure::usage(format!("the log cannot be started: {error}")))
}

/// A node with a broken invariant must not linger half alive: it dies, the keeper ends its children, others take over.
pub(crate) fn die_of_panics() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        std::process::abort();
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_reach_an_unspecified_address_at_the_loopback() {
        let reach = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(reach("0.0.0.0:7600"), "127.0.0.1:7600");
        assert_eq!(reach("[::]:7600"), "[::1]:7600");
        assert_eq!(reach("10.0.0.1:7600"), "10.0.0.1:7600");
    }
}
