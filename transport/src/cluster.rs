//! The public handle of a node's place in a cluster.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rand::TryRng;
use rand::rngs::SysRng;
use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::core::membership::{Membership, MembershipConfig, Timings};
use crate::core::overlay::Mesh;
use crate::core::{Addr, FRAME_BYTES_MAX, Hlc, Lane, NodeId, NodeName, Now, View};
use crate::discovery::{InvalidAddr, parse_addr};
use crate::driver::{COMMANDS_MAX, Command, Driver};
use crate::endpoint;
use crate::events::{self, ClusterEvents};
use crate::metrics::Metrics;
use crate::request::{self, RequestError, Requests, Response};
use crate::shared::Shared;
use crate::tls::{TlsError, TlsMaterial};

/// Who a node is and how it finds others.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// The node's name, which is also its certificate's.
    pub name: NodeName,
    /// The cluster's name; nodes of other clusters are refused.
    pub cluster: String,
    /// Counts the node's starts, from 1. The caller keeps it, on disk, and raises it before each start: a node that comes
    /// back with the same number may be taken for its own past, and then goes on under a higher one.
    pub boot: u64,
    /// Where to listen; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Where others dial this node, as HOST:PORT. The listening address by default, which must then be one of a host.
    pub advertise: Option<String>,
    /// Addresses to dial for ever, looked up anew each time. The node's own may be among them.
    pub join: Vec<String>,
    /// Certificates.
    pub tls: TlsMaterial,
}

/// Why a node cannot start. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The certificates are not usable.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The socket cannot be bound.
    #[error("cannot listen on {addr} (UDP): {error}")]
    Listen {
        /// Where.
        addr: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The address for others is not one that can be dialled.
    #[error("others cannot dial this node: {0}; advertise an address of this host")]
    Advertise(InvalidAddr),
    /// An address to join is none.
    #[error("cannot join: {0}")]
    Join(InvalidAddr),
    /// The operating system gives no randomness.
    #[error("the operating system gives no random numbers: {0}")]
    Random(String),
}

/// A node's place in a cluster. Cheap to clone; when the last clone is dropped the node hangs up without leaving, which
/// the others take for a crash.
///
/// ```
/// # use ordu_transport::{CertificateAuthority, Cluster, ClusterConfig, ClusterEvent, core::NodeName};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let name = NodeName::new("n1")?;
/// let (cluster, mut events) = Cluster::start(ClusterConfig {
///     cluster: "example".to_owned(),
///     boot: 1,
///     listen: "127.0.0.1:0".parse()?,
///     advertise: None,
///     join: vec![],
///     tls: CertificateAuthority::generate()?.issue(&name)?,
///     name,
/// })
/// .await?;
/// assert!(matches!(events.recv().await, Some(ClusterEvent::Member(member)) if member.id == cluster.id()));
/// cluster.leave().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Cluster {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    /// Stops the driver when the last clone goes.
    _stop: Arc<oneshot::Sender<()>>,
    /// Resolves when the driver has ended.
    ended: Arc<Mutex<Option<tokio::task::JoinHandle<()>>>>,
}

impl Cluster {
    /// Binds, and begins to look for others; waits for none of them.
    pub async fn start(config: ClusterConfig) -> Result<(Cluster, ClusterEvents), StartError> {
        Self::start_with(config, Timings::default()).await
    }

    /// Like [`Cluster::start`], with other than the default timings. All nodes of a cluster should have the same.
    pub async fn start_with(config: ClusterConfig, timings: Timings) -> Result<(Cluster, ClusterEvents), StartError> {
        let ClusterConfig { name, cluster, boot, listen, advertise, join, tls } = config;
        let seeds = join.iter().map(|addr| parse_addr(addr)).collect::<Result<_, _>>().map_err(StartError::Join)?;
        let advertised = advertise.as_deref().map(parse_addr).transpose().map_err(StartError::Advertise)?;
        let (server, client) = tls.quic(&name)?;
        let failed = |error| StartError::Listen { addr: listen, error };
        let endpoint = endpoint::bind(listen, server, client).map_err(failed)?;
        let local_addr = endpoint.local_addr().map_err(failed)?;
        let addr = match advertised {
            Some(addr) => addr,
            None => parse_addr(&local_addr.to_string()).map_err(StartError::Advertise)?,
        };
        let clock = Clock::start();
        let core = Membership::new(MembershipConfig {
            id: NodeId::new(name, boot, random()?),
            addr,
            started: Hlc::from_wall_ms(clock.now().wall_ms),
            cluster,
            seeds,
            seed: random()?,
            timings,
            mesh: Mesh::default(),
        });
        let shared = Shared::new(clock, &core, local_addr);
        let (control, frames, events, forward) = events::channel();
        let (commands, taken) = mpsc::channel(COMMANDS_MAX);
        let mut driver = Driver::new(core, shared.clone(), endpoint, (commands.clone(), taken), control, frames);
        driver.begin();
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(forward);
        let ended = Arc::new(Mutex::new(Some(tokio::spawn(driver.run(stopped)))));
        Ok((Cluster { shared, commands, _stop: Arc::new(stop), ended }, events))
    }

    /// Who this node is now. Changes with [`ClusterEvent::Reborn`](crate::ClusterEvent::Reborn).
    pub fn id(&self) -> NodeId {
        self.shared.hello().id
    }

    /// Where others dial this node.
    pub fn addr(&self) -> Addr {
        self.shared.addr.clone()
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.shared.local_addr
    }

    /// What this node believes of the members; not older than the last event that was delivered.
    pub fn view(&self) -> View {
        self.shared.view()
    }

    /// The round-trip time to a peer, smoothed, as QUIC measures it; none without a session.
    pub fn rtt(&self, peer: &NodeId) -> Option<Duration> {
        self.shared.session(peer).map(|session| session.connection.rtt())
    }

    /// Whether exactly this incarnation is within reach: by a session or, among many members, by way of others.
    pub fn is_connected(&self, peer: &NodeId) -> bool {
        self.shared.session(peer).is_some() || self.shared.is_reached(peer)
    }

    /// Queues a frame for a peer; never waits. Out of reach it is dropped; if the lane is full, so is the session:
    /// then `Disconnected` and, later, `Connected` follow, and the sender begins again at what was acknowledged. Among many
    /// members others may have to pass it on, and then it may be lost, and nobody is told.
    ///
    /// # Panics
    /// If the frame is longer than [`FRAME_BYTES_MAX`].
    pub fn send(&self, to: &NodeId, lane: Lane, frame: Bytes) {
        self.send_all(std::slice::from_ref(to), lane, &frame);
    }

    /// The same, for each of these peers.
    ///
    /// # Panics
    /// If the frame is longer than [`FRAME_BYTES_MAX`].
    pub fn send_all(&self, to: &[NodeId], lane: Lane, frame: &Bytes) {
        assert!(frame.len() <= FRAME_BYTES_MAX, "a frame of {} bytes is too long", frame.len());
        self.shared.send(to, lane, frame);
    }

    /// Asks a member, over the session with it, and waits until its answer begins: for what is too long or too rare for a
    /// lane. `topic` says who is to answer there; see [`Cluster::requests`]. Whatever else goes over the session goes
    /// first.
    ///
    /// # Errors
    /// See [`RequestError`].
    ///
    /// # Panics
    /// If topic and body together are longer than about [`REQUEST_BYTES_MAX`](crate::REQUEST_BYTES_MAX).
    pub async fn request(
        &self,
        to: &NodeId,
        topic: &str,
        body: Bytes,
        deadline: Duration,
    ) -> Result<Response, RequestError> {
        let session = self.shared.session(to).ok_or(RequestError::NoSession)?;
        request::ask(&session, topic, body, deadline).await
    }

    /// Takes the requests of other members, which are refused while nobody does. One taker at a time: an earlier one gets
    /// no more.
    pub fn requests(&self) -> Requests {
        let (sink, requests) = Requests::channel();
        self.shared.set_request_sink(sink);
        requests
    }

    /// Says that a member that is down will not return: it has left, for everybody. Ignored of members that are not down.
    pub async fn remove(&self, name: &NodeName) {
        let _ = self.commands.send(Command::Remove { name: name.clone() }).await;
    }

    /// Leaves: tells the members, hangs up, and frees the port. Takes at most about a second. All events end.
    pub async fn leave(&self) {
        let (done, left) = oneshot::channel();
        if self.commands.send(Command::Leave { done }).await.is_ok() {
            let _ = left.await;
        }
        let driver = self.ended.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(driver) = driver {
            let _ = driver.await;
        }
    }

    /// What time it is for all cores of this node.
    pub fn now(&self) -> Now {
        self.shared.clock.now()
    }

    /// What the transport has done so far.
    pub fn metrics(&self) -> Metrics {
        let mut metrics = self.shared.counters.snapshot();
        for session in self.shared.sessions() {
            let stats = session.connection.stats();
            metrics.sessions += 1;
            metrics.bytes_sent += stats.udp_tx.bytes;
            metrics.bytes_received += stats.udp_rx.bytes;
        }
        metrics
    }
}

fn random() -> Result<u64, StartError> {
    SysRng.try_next_u64().map_err(|error| StartError::Random(error.to_string()))
}
