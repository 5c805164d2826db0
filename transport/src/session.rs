//! One session with one peer: its lanes, its datagrams, and watching for its end.

use std::sync::Arc;

use bytes::Bytes;
use quinn::{Connection, ConnectionError};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use crate::channel::{Framed, Full, LaneEnd, LaneFault, LaneQueue, LaneReader, write_lane};
use crate::core::message::Hello;
use crate::core::ways::Passed;
use crate::core::{Addr, Lane, NodeId};
use crate::driver::Command;
use crate::events::FrameSink;
use crate::handshake::{CloseCode, close};
use crate::metrics::{Counters, LogLimit};
use crate::request::{self, REQUESTS_MAX};
use crate::shared::Shared;
use crate::socket::Port;

/// A session, as everybody may use it.
#[derive(Debug)]
pub(crate) struct Session {
    /// Which of our sessions, ever.
    pub(crate) serial: u64,
    /// The peer's.
    pub(crate) hello: Hello,
    /// The address that we dialled; `None` if the peer dialled us.
    pub(crate) dialled: Option<Addr>,
    pub(crate) connection: Connection,
    port: Option<Port>,
    lanes: [LaneQueue; Lane::ALL.len()],
    /// Places for requests of ours.
    pub(crate) requests: Arc<Semaphore>,
    counters: Arc<Counters>,
}

fn index(lane: Lane) -> usize {
    match lane {
        Lane::Control => 0,
        Lane::Delta => 1,
        Lane::Bulk => 2,
    }
}

impl Session {
    pub(crate) fn new(
        serial: u64,
        hello: Hello,
        dialled: Option<Addr>,
        connection: Connection,
        counters: Arc<Counters>,
    ) -> Arc<Self> {
        let port = Port::connect(connection.remote_address())
            .inspect_err(|error| tracing::warn!(peer = %hello.id, %error, "its port cannot be looked at"))
            .ok();
        let requests = Arc::new(Semaphore::new(REQUESTS_MAX));
        Arc::new(Self { serial, hello, dialled, connection, port, lanes: Default::default(), requests, counters })
    }

    /// Queues a frame, to be written after [`Self::wake`], or resets the session if the lane is full.
    pub(crate) fn queue(&self, lane: Lane, frame: Bytes) {
        match self.lanes[index(lane)].push(frame.into()) {
            Ok(()) => self.counters.frames_sent.add(1),
            Err(Full) => {
                if self.connection.close_reason().is_none() {
                    self.counters.lanes_overflowed.add(1);
                    tracing::warn!(peer = %self.hello.id, ?lane, "session reset: the peer does not read");
                }
                self.counters.frames_dropped.add(1);
                close(&self.connection, CloseCode::Overflow);
            }
        }
    }

    /// The same for a frame that is passed on; where there is no room it is lost, as it may be anywhere on its way.
    pub(crate) fn pass(&self, lane: Lane, passed: Passed, frame: Bytes) -> Result<(), Full> {
        self.lanes[index(lane)].push(Framed { passed: Some(passed), frame })?;
        self.wake(lane);
        Ok(())
    }

    /// Lets a lane write what is queued.
    pub(crate) fn wake(&self, lane: Lane) {
        self.lanes[index(lane)].wake();
    }

    /// Sends a datagram, or not.
    pub(crate) fn send_datagram(&self, bytes: Bytes) {
        if let Err(error) = self.connection.send_datagram(bytes) {
            tracing::debug!(peer = %self.hello.id, %error, "datagram not sent");
        }
    }

    /// Looks at the peer's port. Returns whether an earlier look was refused; otherwise that is told by a command.
    pub(crate) fn check_port(&self) -> bool {
        self.port.as_ref().is_some_and(Port::look)
    }
}

/// How a session went, told to the driver when all of it is over.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) serial: u64,
    pub(crate) peer: NodeId,
    pub(crate) error: ConnectionError,
}

/// What a session's tasks need.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) frames: FrameSink,
    pub(crate) counters: Arc<Counters>,
    pub(crate) faults: Arc<LogLimit>,
    pub(crate) shared: Arc<Shared>,
}

/// Runs a session to its end. Frames are read once `told` says that the upper layer knows of the session; when this
/// returns, the last frame has been handed on.
pub(crate) async fn run(session: Arc<Session>, told: oneshot::Receiver<()>, around: Surroundings) {
    let mut tasks = JoinSet::new();
    for lane in Lane::ALL {
        let session = session.clone();
        tasks.spawn(async move { write_lane(&session.connection, lane, &session.lanes[index(lane)]).await });
    }
    tasks.spawn(read_datagrams(session.clone(), around.clone()));
    tasks.spawn(request::serve(session.clone(), around.clone()));
    tasks.spawn(hear_refusals(session.clone(), around.commands.clone()));
    let readers = read_lanes(session.clone(), told, around.clone());
    tokio::select! {
        _ = session.connection.closed() => {}
        fault = readers => {
            around.counters.protocol_errors.add(1);
            if let Some(left_out) = around.faults.pass() {
                tracing::warn!(peer = %session.hello.id, %fault, left_out, "session closed: the peer broke the protocol");
            }
            close(&session.connection, CloseCode::Protocol);
        }
    }
    tasks.shutdown().await;
    let error = session.connection.closed().await;
    let stats = session.connection.stats();
    around.counters.bytes_sent.add(stats.udp_tx.bytes);
    around.counters.bytes_received.add(stats.udp_rx.bytes);
    let ended = Ended { serial: session.serial, peer: session.hello.id.clone(), error };
    // If the driver is gone, nobody wants to know.
    let _ = around.commands.send(Command::Ended(ended)).await;
}

/// Reads all lanes until the peer breaks their rules; never returns if the session merely ends.
async fn read_lanes(session: Arc<Session>, told: oneshot::Receiver<()>, around: Surroundings) -> LaneFault {
    if told.await.is_err() {
        return std::future::pending().await;
    }
    // A stream that carries nothing yet must not hold up the others: it is known only once its first byte is there.
    let mut opening: JoinSet<Result<(Lane, LaneReader), LaneEnd>> = JoinSet::new();
    let mut lanes: JoinSet<LaneEnd> = JoinSet::new();
    let mut seen = Vec::new();
    loop {
        let ended = tokio::select! {
            stream = session.connection.accept_uni() => {
                let Ok(stream) = stream else { return std::future::pending().await };
                opening.spawn(LaneReader::open(stream));
                continue;
            }
            Some(opened) = opening.join_next() => match opened {
                Ok(Ok((lane, _))) if seen.contains(&lane) => return LaneFault::Second(lane),
                Ok(Ok((lane, reader))) => {
                    seen.push(lane);
                    lanes.spawn(read_lane(lane, reader, session.hello.id.clone(), around.clone()));
                    continue;
                }
                Ok(Err(end)) => Some(end),
                Err(_) => None,
            },
            Some(ended) = lanes.join_next() => ended.ok(),
        };
        if let Some(LaneEnd::Fault(fault)) = ended {
            return fault;
        }
    }
}

async fn read_lane(lane: Lane, mut reader: LaneReader, peer: NodeId, around: Surroundings) -> LaneEnd {
    loop {
        match reader.next().await {
            Ok(Framed { passed: None, frame }) => {
                around.counters.frames_received.add(1);
                around.frames.send(&peer, frame).await;
            }
            Ok(Framed { passed: Some(passed), frame }) => {
                if let Some((from, frame)) = around.shared.pass_on(&peer, lane, passed, frame) {
                    around.counters.frames_received.add(1);
                    around.frames.send(&from, frame).await;
                }
            }
            Err(end) => return end,
        }
    }
}

async fn read_datagrams(session: Arc<Session>, around: Surroundings) {
    while let Ok(bytes) = session.connection.read_datagram().await {
        let from = session.hello.id.clone();
        // Membership's datagrams may be lost: better so than that a busy driver lets them pile up.
        let _ = around.commands.try_send(Command::Datagram { from, bytes });
    }
}

/// Tells the driver when the kernel says that the peer's port is closed.
async fn hear_refusals(session: Arc<Session>, commands: mpsc::Sender<Command>) {
    let Some(port) = &session.port else { return };
    while port.refused().await.is_ok() {
        let peer = session.hello.id.clone();
        let _ = commands.send(Command::Unreachable { peer, rtt: session.connection.rtt() }).await;
    }
}
