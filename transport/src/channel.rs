//! Lanes over QUIC: one unidirectional stream per lane and direction.
//!
//! A stream begins with its lane's tag byte; then come frames, each behind its length as a big-endian `u32`. The sending
//! end of a lane has a queue bounded in bytes; whoever overruns it loses the session, never single frames.

use std::collections::VecDeque;
use std::sync::Mutex;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use quinn::{ReadError, RecvStream};
use tokio::sync::Notify;

use crate::core::{FRAME_BYTES_MAX, Lane};

/// Most bytes of frames that wait in one lane of one session.
pub const LANE_BYTES_MAX: usize = 4 * FRAME_BYTES_MAX;
/// What a queued frame costs beside its bytes, so that empty frames are bounded too: it may have more room than it needs.
const FRAME_OVERHEAD: usize = 320;
/// How much is taken from a queue at once; a longer frame is taken alone.
const BATCH_BYTES: usize = 256 * 1024;
/// Frames up to this length are copied together; longer ones are handed on as they are.
const COPIED_BYTES_MAX: usize = 4096;
/// How much of a frame is set aside before its bytes are there, whatever length the peer claims.
const TRUSTED_BYTES: usize = 64 * 1024;
/// How much is read from a stream at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// A lane's queue is full.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// The sending end of a lane.
#[derive(Debug, Default)]
pub(crate) struct LaneQueue {
    waiting: Mutex<Waiting>,
    woken: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    frames: VecDeque<Bytes>,
    cost: usize,
}

impl LaneQueue {
    /// Never waits. The frame is written after [`Self::wake`] at the latest.
    pub(crate) fn push(&self, frame: Bytes) -> Result<(), Full> {
        let mut waiting = self.lock();
        let cost = waiting.cost + frame.len() + FRAME_OVERHEAD;
        if cost > LANE_BYTES_MAX {
            return Err(Full);
        }
        waiting.cost = cost;
        waiting.frames.push_back(frame);
        Ok(())
    }

    /// What was pushed is written from now on.
    pub(crate) fn wake(&self) {
        self.woken.notify_one();
    }

    /// Takes what waits, a batch at most; waits until there is something.
    async fn take(&self, batch: &mut Vec<Bytes>) {
        loop {
            self.try_take(batch);
            if !batch.is_empty() {
                return;
            }
            self.woken.notified().await;
        }
    }

    fn try_take(&self, batch: &mut Vec<Bytes>) {
        let mut waiting = self.lock();
        let mut bytes = 0;
        while let Some(frame) = waiting.frames.front() {
            bytes += frame.len();
            if bytes > BATCH_BYTES && !batch.is_empty() {
                break;
            }
            batch.extend(waiting.frames.pop_front());
        }
        waiting.cost -= batch.iter().map(|frame| frame.len() + FRAME_OVERHEAD).sum::<usize>();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        // Nothing panics while it is held.
        self.waiting.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Opens a lane's stream and writes its frames until the session ends.
pub(crate) async fn write_lane(connection: &quinn::Connection, lane: Lane, queue: &LaneQueue) {
    let Ok(mut stream) = connection.open_uni().await else { return };
    let _ = stream.set_priority(match lane {
        Lane::Control => 2,
        Lane::Delta => 1,
        Lane::Bulk => 0,
    });
    let (mut batch, mut chunks) = (Vec::new(), vec![Bytes::from(vec![lane as u8])]);
    // The end of the session ends every write.
    while stream.write_all_chunks(&mut chunks).await.is_ok() {
        chunks.clear();
        queue.take(&mut batch).await;
        join(&mut batch, &mut chunks);
    }
}

/// Lengths and frames, the short ones copied together.
fn join(batch: &mut Vec<Bytes>, chunks: &mut Vec<Bytes>) {
    let mut copied = BytesMut::new();
    for frame in batch.drain(..) {
        // `Cluster::send_all` lets no longer frame through.
        copied.put_u32(u32::try_from(frame.len()).expect("a frame's length fits 32 bits"));
        if frame.len() <= COPIED_BYTES_MAX {
            copied.put_slice(&frame);
        } else {
            chunks.push(copied.split().freeze());
            chunks.push(frame);
        }
    }
    if !copied.is_empty() {
        chunks.push(copied.freeze());
    }
}

/// How a peer broke the rules of lanes. The session is over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LaneFault {
    #[error("a stream of no known lane ({0:#04x})")]
    Tag(u8),
    #[error("a second stream of lane {0:?}")]
    Second(Lane),
    #[error("a frame of {0} bytes, more than {FRAME_BYTES_MAX}")]
    Long(u32),
    #[error("the end of a lane's stream")]
    Ended,
}

/// The receiving end of a lane.
pub(crate) struct LaneReader {
    stream: RecvStream,
    rest: Bytes,
}

/// Why a read gave nothing.
#[derive(Debug)]
pub(crate) enum LaneEnd {
    /// The session is over already.
    Lost,
    Fault(LaneFault),
}

impl From<LaneFault> for LaneEnd {
    fn from(fault: LaneFault) -> Self {
        LaneEnd::Fault(fault)
    }
}

impl LaneReader {
    /// Reads which lane a new stream is.
    pub(crate) async fn open(stream: RecvStream) -> Result<(Lane, Self), LaneEnd> {
        let mut reader = Self { stream, rest: Bytes::new() };
        reader.fill().await?;
        let tag = reader.rest.get_u8();
        let lane = Lane::from_tag(tag).ok_or(LaneFault::Tag(tag))?;
        Ok((lane, reader))
    }

    /// The next frame, or why there is none.
    pub(crate) async fn next(&mut self) -> Result<Bytes, LaneEnd> {
        let len = self.length().await?;
        if self.rest.len() >= len {
            // Copied, so that a short frame does not hold the whole datagram that it came in.
            return Ok(Bytes::copy_from_slice(&self.rest.split_to(len)));
        }
        let mut frame = BytesMut::with_capacity(len.min(TRUSTED_BYTES));
        while frame.len() < len {
            if self.rest.is_empty() {
                self.fill().await?;
            }
            let part = self.rest.split_to(self.rest.len().min(len - frame.len()));
            frame.extend_from_slice(&part);
        }
        Ok(frame.freeze())
    }

    async fn length(&mut self) -> Result<usize, LaneEnd> {
        let mut bytes = [0; 4];
        for byte in &mut bytes {
            if self.rest.is_empty() {
                self.fill().await?;
            }
            *byte = self.rest.get_u8();
        }
        let claimed = u32::from_be_bytes(bytes);
        match usize::try_from(claimed) {
            Ok(len) if len <= FRAME_BYTES_MAX => Ok(len),
            Ok(_) | Err(_) => Err(LaneFault::Long(claimed).into()),
        }
    }

    /// Reads at least one byte into `rest`, which is empty.
    async fn fill(&mut self) -> Result<(), LaneEnd> {
        loop {
            match self.stream.read_chunk(CHUNK_BYTES, true).await {
                Ok(Some(chunk)) if chunk.bytes.is_empty() => {}
                Ok(Some(chunk)) => {
                    self.rest = chunk.bytes;
                    return Ok(());
                }
                // Lanes live as long as the session; only its end ends them.
                Ok(None) | Err(ReadError::Reset(_)) => return Err(LaneFault::Ended.into()),
                Err(_) => return Err(LaneEnd::Lost),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_bounded_also_by_empty_frames() {
        let queue = LaneQueue::default();
        let mut pushed = 0;
        while queue.push(Bytes::new()).is_ok() {
            pushed += 1;
        }
        assert_eq!(pushed, LANE_BYTES_MAX / FRAME_OVERHEAD);
        let mut batch = Vec::new();
        queue.try_take(&mut batch);
        assert_eq!((batch.len(), queue.lock().cost), (pushed, 0));
        assert_eq!(queue.push(Bytes::from(vec![0; LANE_BYTES_MAX])), Err(Full));
        assert_eq!(queue.push(Bytes::from(vec![0; LANE_BYTES_MAX - FRAME_OVERHEAD])), Ok(()));
    }

    #[test]
    fn long_frames_are_taken_alone_and_handed_on_uncopied() {
        let queue = LaneQueue::default();
        let long = Bytes::from(vec![7; BATCH_BYTES + 1]);
        for frame in [Bytes::from_static(b"ab"), Bytes::from_static(b""), long.clone(), Bytes::from_static(b"c")] {
            queue.push(frame).expect("there is room");
        }
        let (mut batch, mut chunks) = (Vec::new(), Vec::new());
        queue.try_take(&mut batch);
        join(&mut batch, &mut chunks);
        assert_eq!(chunks, [Bytes::from_static(b"\0\0\0\x02ab\0\0\0\0")]);
        chunks.clear();
        queue.try_take(&mut batch);
        join(&mut batch, &mut chunks);
        assert_eq!(chunks, [Bytes::from_static(b"\0\x04\0\x01"), long]);
        queue.try_take(&mut batch);
        assert_eq!(batch, [Bytes::from_static(b"c")]);
    }
}
