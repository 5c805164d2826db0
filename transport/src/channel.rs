//! Lanes over QUIC: one unidirectional stream per lane and direction.
//!
//! A stream begins with its lane's tag byte; then come frames, each behind its length as a big-endian `u32`. If the highest
//! bit of the length is set, a [`Passed`] stands between the two: the frame is passed on. The sending end of a lane has a
//! queue bounded in bytes; whoever overruns it with frames of its own loses the session, never single frames.

use std::collections::VecDeque;
use std::sync::Mutex;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use quinn::{ReadError, RecvStream};
use tokio::sync::Notify;

use crate::core::ways::{PASSED_BYTES, Passed};
use crate::core::{FRAME_BYTES_MAX, Lane};

/// Most bytes of frames that wait in one lane of one session.
pub const LANE_BYTES_MAX: usize = 4 * FRAME_BYTES_MAX;
/// What may wait there already when a frame of others is taken: it must not cost us the session.
const PASSED_BYTES_MAX: usize = LANE_BYTES_MAX / 2;
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

/// Set in the length of a frame that is passed on.
const PASSED_BIT: u32 = 1 << 31;

/// A frame in a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Framed {
    /// Between whom it is passed on, if it is.
    pub(crate) passed: Option<Passed>,
    pub(crate) frame: Bytes,
}

impl From<Bytes> for Framed {
    fn from(frame: Bytes) -> Self {
        Self { passed: None, frame }
    }
}

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
    frames: VecDeque<Framed>,
    cost: usize,
}

impl LaneQueue {
    /// Never waits. The frame is written after [`Self::wake`] at the latest.
    pub(crate) fn push(&self, framed: Framed) -> Result<(), Full> {
        let most = if framed.passed.is_some() { PASSED_BYTES_MAX } else { LANE_BYTES_MAX };
        let mut waiting = self.lock();
        let cost = waiting.cost + framed.frame.len() + FRAME_OVERHEAD;
        if cost > most {
            return Err(Full);
        }
        waiting.cost = cost;
        waiting.frames.push_back(framed);
        Ok(())
    }

    /// What was pushed is written from now on.
    pub(crate) fn wake(&self) {
        self.woken.notify_one();
    }

    /// Takes what waits, a batch at most; waits until there is something.
    async fn take(&self, batch: &mut Vec<Framed>) {
        loop {
            self.try_take(batch);
            if !batch.is_empty() {
                return;
            }
            self.woken.notified().await;
        }
    }

    fn try_take(&self, batch: &mut Vec<Framed>) {
        let mut waiting = self.lock();
        let mut bytes = 0;
        while let Some(framed) = waiting.frames.front() {
            bytes += framed.frame.len();
            if bytes > BATCH_BYTES && !batch.is_empty() {
                break;
            }
            batch.extend(waiting.frames.pop_front());
        }
        waiting.cost -= batch.iter().map(|framed| framed.frame.len() + FRAME_OVERHEAD).sum::<usize>();
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
fn join(batch: &mut Vec<Framed>, chunks: &mut Vec<Bytes>) {
    let mut copied = BytesMut::new();
    for Framed { passed, frame } in batch.drain(..) {
        // `Cluster::send_all` lets no longer frame through.
        let len = u32::try_from(frame.len()).expect("a frame's length fits 31 bits");
        copied.put_u32(if passed.is_some() { len | PASSED_BIT } else { len });
        if let Some(passed) = passed {
            copied.put_slice(&passed.to_bytes());
        }
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
    pub(crate) async fn next(&mut self) -> Result<Framed, LaneEnd> {
        let claimed = u32::from_be_bytes(self.array().await?);
        let len = match usize::try_from(claimed & !PASSED_BIT) {
            Ok(len) if len <= FRAME_BYTES_MAX => len,
            Ok(_) | Err(_) => return Err(LaneFault::Long(claimed & !PASSED_BIT).into()),
        };
        let passed = match claimed & PASSED_BIT {
            0 => None,
            _ => Some(Passed::from_bytes(self.array::<PASSED_BYTES>().await?)),
        };
        Ok(Framed { passed, frame: self.frame(len).await? })
    }

    async fn frame(&mut self, len: usize) -> Result<Bytes, LaneEnd> {
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

    async fn array<const N: usize>(&mut self) -> Result<[u8; N], LaneEnd> {
        let mut bytes = [0; N];
        for byte in &mut bytes {
            if self.rest.is_empty() {
                self.fill().await?;
            }
            *byte = self.rest.get_u8();
        }
        Ok(bytes)
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
        while queue.push(Bytes::new().into()).is_ok() {
            pushed += 1;
        }
        assert_eq!(pushed, LANE_BYTES_MAX / FRAME_OVERHEAD);
        let mut batch = Vec::new();
        queue.try_take(&mut batch);
        assert_eq!((batch.len(), queue.lock().cost), (pushed, 0));
        assert_eq!(queue.push(Bytes::from(vec![0; LANE_BYTES_MAX]).into()), Err(Full));
        assert_eq!(queue.push(Bytes::from(vec![0; LANE_BYTES_MAX - FRAME_OVERHEAD]).into()), Ok(()));
    }

    #[test]
    fn long_frames_are_taken_alone_and_handed_on_uncopied() {
        let queue = LaneQueue::default();
        let long = Bytes::from(vec![7; BATCH_BYTES + 1]);
        for frame in [Bytes::from_static(b"ab"), Bytes::from_static(b""), long.clone(), Bytes::from_static(b"c")] {
            queue.push(frame.into()).expect("there is room");
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
        assert_eq!(batch, [Framed::from(Bytes::from_static(b"c"))]);
    }

    #[test]
    fn who_passes_a_frame_on_says_so_before_it() {
        let passed = Passed { to: 1, from: 2, hops: 3 };
        let mut batch = vec![Framed { passed: Some(passed), frame: Bytes::from_static(b"ab") }];
        let mut chunks = Vec::new();
        join(&mut batch, &mut chunks);
        assert_eq!(chunks, [Bytes::from_static(b"\x80\0\0\x02\x03\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02ab")]);
    }
}
