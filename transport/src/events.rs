//! What a cluster tells its upper layer, and how it waits for it.
//!
//! Frames go straight from the streams into a bounded queue; if the upper layer does not take them, the streams are not
//! read on and QUIC slows the senders down. Everything else comes from the driver, which must never wait (a driver that
//! waits is a node that looks dead), so it passes through a queue of its own and a task that waits in its stead.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::core::{Addr, FRAME_BYTES_MAX, Member, NodeId};

/// Most events that wait for the upper layer before streams are no longer read.
pub const EVENTS_MAX: usize = 4096;
/// Most bytes of frames that wait for the upper layer before streams are no longer read.
pub const EVENT_BYTES_MAX: usize = 8 * FRAME_BYTES_MAX;
/// Most events about members and sessions that wait. An upper layer that is so far behind is dead: the node leaves.
pub const CONTROL_EVENTS_MAX: usize = 65_536;

/// What happens in the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterEvent {
    /// The view changed. Ourselves first, as up.
    Member(Member),
    /// A session with this node exists now, or among many members others pass frames on between it and us. Alternates with
    /// [`ClusterEvent::Disconnected`] per node.
    Connected(NodeId),
    /// That is over, and all frames from it over a session were told before.
    Disconnected(NodeId),
    /// A frame, in order per lane and session.
    Frame {
        /// From whom.
        from: NodeId,
        /// A whole envelope, still encoded.
        frame: Bytes,
    },
    /// We are this incarnation now, because a later one of our name had existed.
    Reborn(NodeId),
    /// Another living node holds our name and started before us. The process should end.
    NameTaken {
        /// Where it is.
        holder: Addr,
    },
}

/// The events of a [`Cluster`](crate::Cluster).
#[derive(Debug)]
pub struct ClusterEvents {
    queue: mpsc::Receiver<ClusterEvent>,
    room: Arc<Semaphore>,
}

impl ClusterEvents {
    /// The next event; `None` once the cluster is closed. Safe to cancel.
    pub async fn recv(&mut self) -> Option<ClusterEvent> {
        let event = self.queue.recv().await?;
        self.release(&event);
        Some(event)
    }

    /// Waits for an event and takes it and all that are there, at most `limit`. Returns how many; 0 once the cluster is
    /// closed. Safe to cancel.
    pub async fn recv_many(&mut self, events: &mut Vec<ClusterEvent>, limit: usize) -> usize {
        let taken = self.queue.recv_many(events, limit).await;
        events[events.len() - taken..].iter().for_each(|event| self.release(event));
        taken
    }

    /// An event that is there already.
    pub fn try_recv(&mut self) -> Option<ClusterEvent> {
        let event = self.queue.try_recv().ok()?;
        self.release(&event);
        Some(event)
    }

    fn release(&self, event: &ClusterEvent) {
        if let ClusterEvent::Frame { frame, .. } = event {
            self.room.add_permits(frame.len());
        }
    }
}

impl Drop for ClusterEvents {
    fn drop(&mut self) {
        // Nobody listens any more: nobody shall wait for room.
        self.room.close();
    }
}

/// Where session tasks put frames.
#[derive(Debug, Clone)]
pub(crate) struct FrameSink {
    queue: mpsc::Sender<ClusterEvent>,
    room: Arc<Semaphore>,
}

impl FrameSink {
    /// Waits until there is room. Frames for a listener that is gone are dropped.
    pub(crate) async fn send(&self, from: &NodeId, frame: Bytes) {
        // A frame is never longer than the room; lengths fit `u32` for the same reason.
        let len = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        let Ok(permit) = self.room.acquire_many(len).await else { return };
        if self.queue.send(ClusterEvent::Frame { from: from.clone(), frame }).await.is_ok() {
            permit.forget();
        }
    }
}

/// Where the driver puts everything else. Never waits.
#[derive(Debug)]
pub(crate) struct ControlSink {
    queue: mpsc::UnboundedSender<(ClusterEvent, Option<oneshot::Sender<()>>)>,
    waiting: Arc<AtomicUsize>,
}

/// The upper layer is too far behind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Behind;

impl ControlSink {
    /// Queues an event; `told` is signalled once it stands before all later frames.
    pub(crate) fn send(&self, event: ClusterEvent, told: Option<oneshot::Sender<()>>) -> Result<(), Behind> {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= CONTROL_EVENTS_MAX {
            return Err(Behind);
        }
        // A listener that is gone needs no events.
        let _ = self.queue.send((event, told));
        Ok(())
    }
}

/// The two ends, and the task between them, which ends when the driver does.
pub(crate) fn channel() -> (ControlSink, FrameSink, ClusterEvents, impl Future<Output = ()> + Send + 'static) {
    let (events, taken) = mpsc::channel(EVENTS_MAX);
    let (control, mut queued) = mpsc::unbounded_channel::<(ClusterEvent, Option<oneshot::Sender<()>>)>();
    let room = Arc::new(Semaphore::new(EVENT_BYTES_MAX));
    let waiting = Arc::new(AtomicUsize::new(0));
    let control = ControlSink { queue: control, waiting: waiting.clone() };
    let frames = FrameSink { queue: events.clone(), room: room.clone() };
    let forward = async move {
        while let Some((event, told)) = queued.recv().await {
            waiting.fetch_sub(1, Ordering::Relaxed);
            let _ = events.send(event).await;
            if let Some(told) = told {
                let _ = told.send(());
            }
        }
    };
    (control, frames, ClusterEvents { queue: taken, room }, forward)
}
