//! `raw`: the floor. What QUIC between the same processes with the same settings does with nothing of Ordu on it, and what
//! a plain `HashMap` does with the same keys.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::try_join_all;
use ordu_transport::bare_endpoint;
use ordu_transport::tls::SERVER_NAME;
use quinn::{Connection, Endpoint, RecvStream, SendStream};
use serde::{Deserialize, Serialize};

use super::figures::{Figures, Spread, us};
use super::fleet::{Fleet, Ground, Node, Patience};
use super::lookup::Plain;
use super::protocol::Task;
use super::worker::Worker;
use super::{LOOPBACK, Settings};
use crate::failure::Failure;

/// How long a ping is, in bytes.
const PING_BYTES: usize = 64;
/// Pings before those that are measured.
const WARM_UP: u32 = 50;
/// For how long bulk is sent.
const BULK_TIME: Duration = Duration::from_secs(1);
/// How much of bulk is handed over at once.
const BULK_CHUNK_BYTES: usize = 256 << 10;
/// How long the whole may take.
const RAW_MAX: Duration = Duration::from_secs(60);
/// The first byte of a stream: what it is for.
const TAG_PING: u8 = b'p';
const TAG_BULK: u8 = b'b';

/// Runs it once.
pub(super) async fn run(ground: &Ground, settings: &Settings) -> Result<Figures, Failure> {
    let mut fleet = Fleet::start(ground, settings.nodes)?;
    let patience = Patience::new("bare endpoints", RAW_MAX);
    let (first, others) = fleet.split_first();
    let to = Fleet::ask_each(others, || Listen {}, patience).await?;
    let rtt = first.ask(Ping { to: to[0], samples: settings.samples }, Patience::new("pings", RAW_MAX)).await?;
    let moved = first.ask(Bulk { to }, Patience::new("bulk", RAW_MAX)).await?;
    let plain = Plain { names: settings.names };
    let hashmap = first.ask(plain, Patience::of_many("a HashMap", settings.names)).await?;
    fleet.end().await;
    Ok(vec![
        ("rtt_p50_us", us(rtt.p50_ns)),
        ("rtt_p99_us", us(rtt.p99_ns)),
        ("mb_per_s", moved.bytes as f64 * 1e3 / moved.ns.max(1) as f64),
        ("hashmap_ns", hashmap.p50_ns as f64),
    ])
}

/// A bare round trip from one node to another, as other pieces of work compare with it.
///
/// # Errors
/// If one of both fails.
pub(super) async fn round_trip(from: &mut Node, to: &mut Node, samples: u32) -> Result<Spread, Failure> {
    let address = to.ask(Listen {}, Patience::new("a bare endpoint", RAW_MAX)).await?;
    from.ask(Ping { to: address, samples }, Patience::new("pings", RAW_MAX)).await
}

// ---- on the nodes

/// A node's bare endpoint, and where it listens.
pub(super) struct BareNode {
    endpoint: Endpoint,
    address: SocketAddr,
}

impl BareNode {
    fn of(worker: &Worker) -> Result<&Self, String> {
        if let Some(bare) = worker.bare.get() {
            return Ok(bare);
        }
        let endpoint = bare_endpoint(LOOPBACK, &worker.name, &worker.tls).map_err(|error| error.to_string())?;
        let address = endpoint.local_addr().map_err(|error| error.to_string())?;
        tokio::spawn(serve(endpoint.clone()));
        Ok(worker.bare.get_or_init(|| Self { endpoint, address }))
    }

    async fn connect(&self, to: SocketAddr) -> Result<Connection, String> {
        let connecting = self.endpoint.connect(to, SERVER_NAME).map_err(|error| error.to_string())?;
        connecting.await.map_err(|error| error.to_string())
    }
}

async fn serve(endpoint: Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            let Ok(connection) = incoming.await else { return };
            while let Ok((send, receive)) = connection.accept_bi().await {
                // Whoever asked finds out that there is no answer.
                let _ = answer(send, receive).await;
            }
        });
    }
}

async fn answer(mut send: SendStream, mut receive: RecvStream) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut tag = [0];
    receive.read_exact(&mut tag).await?;
    if tag == [TAG_PING] {
        let mut ping = [0; PING_BYTES];
        while receive.read_exact(&mut ping).await.is_ok() {
            send.write_all(&ping).await?;
        }
    } else {
        let mut bytes = 0_u64;
        while let Some(chunk) = receive.read_chunk(usize::MAX, true).await? {
            bytes += chunk.bytes.len() as u64;
        }
        send.write_all(&bytes.to_be_bytes()).await?;
    }
    send.finish()?;
    Ok(())
}

/// Listen on a bare endpoint.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Listen {}

impl Task for Listen {
    type Answer = SocketAddr;

    async fn run(self, worker: &Worker) -> Result<SocketAddr, String> {
        BareNode::of(worker).map(|bare| bare.address)
    }
}

/// Send pings over one stream to another node, each when the one before is back.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ping {
    to: SocketAddr,
    samples: u32,
}

impl Task for Ping {
    /// How long round trips took.
    type Answer = Spread;

    async fn run(self, worker: &Worker) -> Result<Spread, String> {
        let connection = BareNode::of(worker)?.connect(self.to).await?;
        // In the runtime, where a node's own sessions are.
        let pinging = tokio::spawn(async move {
            let taken = ping(&connection, self.samples).await.map_err(|error| error.to_string());
            connection.close(0_u8.into(), b"");
            taken
        });
        pinging.await.map_err(|error| error.to_string())?
    }
}

async fn ping(connection: &Connection, samples: u32) -> Result<Spread, Box<dyn std::error::Error + Send + Sync>> {
    let (mut send, mut receive) = connection.open_bi().await?;
    send.write_all(&[TAG_PING]).await?;
    let (question, mut echo) = ([7; PING_BYTES], [0; PING_BYTES]);
    let mut taken = Vec::new();
    for number in 0..WARM_UP + samples {
        let began = Instant::now();
        send.write_all(&question).await?;
        receive.read_exact(&mut echo).await?;
        if number >= WARM_UP {
            taken.push(began.elapsed().as_nanos() as u64);
        }
    }
    Ok(Spread::of(taken))
}

/// Send bulk to all of these at once, for [`BULK_TIME`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Bulk {
    to: Vec<SocketAddr>,
}

/// What [`Bulk`] has moved.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Moved {
    /// To all receivers together.
    bytes: u64,
    /// From the first byte until every receiver said that it has the last.
    ns: u64,
}

impl Task for Bulk {
    type Answer = Moved;

    async fn run(self, worker: &Worker) -> Result<Moved, String> {
        let bare = BareNode::of(worker)?;
        let connections = try_join_all(self.to.iter().map(|&to| bare.connect(to))).await?;
        let began = Instant::now();
        let sending = connections.into_iter().map(|connection| tokio::spawn(send_bulk(connection, began)));
        let mut bytes = 0;
        for sent in try_join_all(sending).await.map_err(|error| error.to_string())? {
            bytes += sent.map_err(|error| error.to_string())?;
        }
        Ok(Moved { bytes, ns: began.elapsed().as_nanos() as u64 })
    }
}

async fn send_bulk(connection: Connection, began: Instant) -> Result<u64, Box<dyn std::error::Error + Send + Sync>> {
    let (mut send, mut receive) = connection.open_bi().await?;
    send.write_all(&[TAG_BULK]).await?;
    let chunk = Bytes::from(vec![7; BULK_CHUNK_BYTES]);
    while began.elapsed() < BULK_TIME {
        send.write_chunk(chunk.clone()).await?;
    }
    send.finish()?;
    let mut bytes = [0; 8];
    receive.read_exact(&mut bytes).await?;
    connection.close(0_u8.into(), b"");
    Ok(u64::from_be_bytes(bytes))
}
