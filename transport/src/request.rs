//! Requests from one member to another, each on a QUIC stream of its own beside the lanes.
//!
//! ```text
//!   who asks                                who answers
//!      ├── topic and body, FRAME ────────────▶│  for whoever took `Cluster::requests`
//!      │◀──────────── accepted or refused ────┤  a head, FRAME
//!      │◀─────────────────── bytes, to FIN ───┤  at most as many as were granted
//!      ├── a byte for GRANT_BYTES more ──────▶│  as the reader takes what came
//! ```
//!
//! A FRAME is a length as a big-endian `u32` and an envelope of [`codec`](crate::core::codec). Such streams stand behind
//! every lane: whatever else a session has to send goes first. And since nothing is sent that was not granted, a reader
//! that is slow, or has stopped, holds up its own stream and never fills the session's window; a peer that sends more fills
//! the window of its own session with us. Who drops its end, or loses
//! the session, ends the stream on both sides.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quinn::{ReadError, RecvStream, SendStream, VarInt, WriteError};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::core::NodeId;
use crate::core::codec::{Kind, decode, encode};
use crate::metrics::Counters;
use crate::session::{Session, Surroundings};

/// Most requests that two members have open at a time, in either direction.
pub const REQUESTS_MAX: usize = 16;
/// Longest request, and longest head of an answer, in bytes on the wire.
pub const REQUEST_BYTES_MAX: usize = 4096;
/// Most bytes of one answer that are under way or wait for their reader.
pub const RESPONSE_WINDOW: usize = 64 << 10;
/// Requests that wait for whoever took them to look; a further one is refused.
const REQUESTS_WAITING_MAX: usize = 64;
/// How much a reader grants at once.
const GRANT_BYTES: usize = 16 << 10;
/// How long a peer may take to say what it wants.
const HEAD_MAX: Duration = Duration::from_secs(5);
/// Below every lane.
const PRIORITY: i32 = -1;
/// A grant: which byte does not matter.
const GRANT: [u8; 1] = [1];

/// Why a stream was reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum ResetCode {
    /// The answer was given up halfway.
    Broken = 1,
    /// Nobody takes requests there.
    Unserved = 2,
    /// Too many wait there.
    Busy = 3,
    /// What was sent is no request.
    Malformed = 4,
}

/// Why a request has no answer, or its answer no end. Nothing else of the session is touched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// There is no session with that member: it is down, or among many members not a neighbour.
    #[error("there is no session with it")]
    NoSession,
    /// [`REQUESTS_MAX`] are open, or it has too many.
    #[error("too many requests wait")]
    Busy,
    /// The answer did not begin in time.
    #[error("it did not answer in time")]
    Late,
    /// It takes no requests.
    #[error("it takes no requests")]
    Unserved,
    /// It said no, for a reason in the terms of the request's topic.
    #[error("it refused")]
    Refused(Bytes),
    /// The session ended, or the other side gave up.
    #[error("the stream broke off")]
    Broken,
    /// What came is no answer.
    #[error("its answer is not understood: {0}")]
    Malformed(String),
}

/// The side that asked is gone; whatever is still sent is for nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody waits for the answer any more")]
pub struct Gone;

#[derive(Serialize, Deserialize)]
struct RequestHead {
    topic: String,
    body: Bytes,
}

#[derive(Serialize, Deserialize)]
enum ResponseHead {
    Accepted(Bytes),
    Refused(Bytes),
}

// ---- asking

/// An answer that has begun. Dropping it ends it on both sides.
#[derive(Debug)]
pub struct Response {
    head: Bytes,
    grants: SendStream,
    bytes: RecvStream,
    /// Bytes taken and not granted anew.
    taken: usize,
    _place: OwnedSemaphorePermit,
}

/// Asks over a session; see [`Cluster::request`](crate::Cluster::request).
pub(crate) async fn ask(
    session: &Session,
    topic: &str,
    body: Bytes,
    deadline: Duration,
) -> Result<Response, RequestError> {
    let place = session.requests.clone().try_acquire_owned().map_err(|_| RequestError::Busy)?;
    let head = encode(Kind::Request, &RequestHead { topic: topic.to_owned(), body });
    assert!(head.len() <= REQUEST_BYTES_MAX, "a request of {} bytes is too long", head.len());
    let answered = timeout(deadline, async {
        let (mut send, mut recv) = session.connection.open_bi().await.map_err(|_| RequestError::Broken)?;
        let _ = send.set_priority(PRIORITY);
        // Who does not want the request stops reading it; why is said on the other half.
        let _ = write_frame(&mut send, &head).await;
        let frame = read_frame(&mut recv).await?;
        let head = decode::<ResponseHead>(Kind::Response, &frame);
        match head.map_err(|error| RequestError::Malformed(error.to_string()))? {
            ResponseHead::Accepted(head) => Ok((head, send, recv)),
            ResponseHead::Refused(reason) => Err(RequestError::Refused(reason)),
        }
    });
    let (head, grants, bytes) = answered.await.map_err(|_| RequestError::Late)??;
    Ok(Response { head, grants, bytes, taken: 0, _place: place })
}

impl Response {
    /// What the other side said before its first byte.
    pub fn head(&self) -> &Bytes {
        &self.head
    }

    /// The next bytes; `None` at the end. Safe to cancel.
    ///
    /// # Errors
    /// [`RequestError::Broken`], if it ends before its end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, RequestError> {
        while self.taken >= GRANT_BYTES {
            // Fails once the other side has said everything, which is still to be read.
            let _ = self.grants.write(&GRANT).await;
            self.taken -= GRANT_BYTES;
        }
        loop {
            match self.bytes.read_chunk(GRANT_BYTES, true).await {
                Ok(Some(chunk)) if chunk.bytes.is_empty() => {}
                Ok(Some(chunk)) => {
                    self.taken += chunk.bytes.len();
                    return Ok(Some(chunk.bytes));
                }
                Ok(None) => return Ok(None),
                Err(_) => return Err(RequestError::Broken),
            }
        }
    }
}

// ---- answering

/// The requests of other members, for whoever answers them.
#[derive(Debug)]
pub struct Requests {
    queue: mpsc::Receiver<Request>,
}

impl Requests {
    pub(crate) fn channel() -> (mpsc::Sender<Request>, Self) {
        let (sender, queue) = mpsc::channel(REQUESTS_WAITING_MAX);
        (sender, Self { queue })
    }

    /// The next request; `None` once the cluster is closed, or somebody else takes the requests. Safe to cancel.
    pub async fn recv(&mut self) -> Option<Request> {
        self.queue.recv().await
    }
}

/// A request of another member. Nothing in it is to be trusted. Dropping it refuses it without a reason.
#[derive(Debug)]
pub struct Request {
    from: NodeId,
    topic: String,
    body: Bytes,
    responder: Responder,
}

impl Request {
    /// Who asks.
    pub fn from(&self) -> &NodeId {
        &self.from
    }

    /// What it is about.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// What is asked, in the terms of the topic.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Begins the answer; `head` is what [`Response::head`] shows.
    ///
    /// # Errors
    /// If nobody waits for it any more.
    ///
    /// # Panics
    /// If the head is longer than about [`REQUEST_BYTES_MAX`].
    pub async fn accept(mut self, head: Bytes) -> Result<Responder, Gone> {
        self.responder.say(&ResponseHead::Accepted(head)).await?;
        self.responder.counters.requests_served.add(1);
        Ok(self.responder)
    }

    /// Says no. Where nobody waits for that, nobody hears it.
    ///
    /// # Panics
    /// If the reason is longer than about [`REQUEST_BYTES_MAX`].
    pub async fn refuse(mut self, reason: Bytes) {
        self.responder.counters.requests_refused.add(1);
        if self.responder.say(&ResponseHead::Refused(reason)).await.is_ok() {
            self.responder.finish();
        }
    }
}

/// The answering end of a request. Dropping it without [`Responder::finish`] tells the other side that it broke off.
#[derive(Debug)]
pub struct Responder {
    bytes: SendStream,
    grants: RecvStream,
    /// Bytes that may be sent.
    granted: usize,
    is_finished: bool,
    counters: Arc<Counters>,
}

impl Responder {
    async fn say(&mut self, head: &ResponseHead) -> Result<(), Gone> {
        let frame = encode(Kind::Response, head);
        assert!(frame.len() <= REQUEST_BYTES_MAX, "a head of {} bytes is too long", frame.len());
        write_frame(&mut self.bytes, &frame).await.map_err(|_| Gone)
    }

    /// Sends, as the other side reads.
    ///
    /// # Errors
    /// If nobody reads any more.
    pub async fn send(&mut self, mut bytes: Bytes) -> Result<(), Gone> {
        while !bytes.is_empty() {
            if self.granted == 0 {
                self.take_grants().await?;
                continue;
            }
            let part = bytes.split_to(bytes.len().min(self.granted));
            self.granted -= part.len();
            self.bytes.write_chunk(part).await.map_err(|_| Gone)?;
        }
        Ok(())
    }

    /// Resolves once nobody reads any more. Safe to cancel.
    pub async fn gone(&mut self) {
        while self.take_grants().await.is_ok() {}
    }

    /// Says that this was all. What was sent still arrives.
    pub fn finish(mut self) {
        let _ = self.bytes.finish();
        self.is_finished = true;
    }

    async fn take_grants(&mut self) -> Result<(), Gone> {
        match self.grants.read_chunk(RESPONSE_WINDOW / GRANT_BYTES, true).await {
            Ok(Some(chunk)) => {
                let granted = self.granted + chunk.bytes.len() * GRANT_BYTES;
                // More than that can only be granted by one that has not counted.
                self.granted = granted.min(RESPONSE_WINDOW);
                Ok(())
            }
            Ok(None) | Err(_) => Err(Gone),
        }
    }

    fn reset(&mut self, code: ResetCode) {
        // Fails where it was reset before.
        let _ = self.bytes.reset(VarInt::from_u32(code as u32));
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        // After a finish it would take back what is still on its way.
        if !self.is_finished {
            self.reset(ResetCode::Broken);
        }
    }
}

/// Takes a session's requests until it ends. How many are here at a time is bounded by QUIC.
pub(crate) async fn serve(session: Arc<Session>, around: Surroundings) {
    let mut hearing = JoinSet::new();
    loop {
        tokio::select! {
            stream = session.connection.accept_bi() => {
                let Ok((send, recv)) = stream else { return };
                hearing.spawn(hear(session.hello.id.clone(), send, recv, around.clone()));
            }
            Some(_) = hearing.join_next() => {}
        }
    }
}

/// Hears what is wanted, and hands it on.
async fn hear(from: NodeId, send: SendStream, mut recv: RecvStream, around: Surroundings) {
    let _ = send.set_priority(PRIORITY);
    let head = timeout(HEAD_MAX, read_frame(&mut recv)).await;
    let counters = around.counters.clone();
    let mut responder = Responder { bytes: send, grants: recv, granted: RESPONSE_WINDOW, is_finished: false, counters };
    let head = head.unwrap_or(Err(RequestError::Late));
    let head = head.ok().and_then(|frame| decode::<RequestHead>(Kind::Request, &frame).ok());
    let refused = match (head, around.shared.request_sink()) {
        (None, _) => ResetCode::Malformed,
        (Some(_), None) => ResetCode::Unserved,
        (Some(RequestHead { topic, body }), Some(sink)) => {
            match sink.try_send(Request { from, topic, body, responder }) {
                Ok(()) => return,
                Err(mpsc::error::TrySendError::Full(back)) => {
                    responder = back.responder;
                    ResetCode::Busy
                }
                Err(mpsc::error::TrySendError::Closed(back)) => {
                    responder = back.responder;
                    ResetCode::Unserved
                }
            }
        }
    };
    around.counters.requests_refused.add(1);
    responder.reset(refused);
}

// ---- frames

async fn write_frame(send: &mut SendStream, frame: &Bytes) -> Result<(), WriteError> {
    let len = u32::try_from(frame.len()).unwrap_or(u32::MAX);
    let mut chunks = [Bytes::copy_from_slice(&len.to_be_bytes()), frame.clone()];
    send.write_all_chunks(&mut chunks).await
}

async fn read_frame(recv: &mut RecvStream) -> Result<Vec<u8>, RequestError> {
    let mut len = [0; 4];
    recv.read_exact(&mut len).await.map_err(|error| broken(&error))?;
    let len = usize::try_from(u32::from_be_bytes(len)).unwrap_or(usize::MAX);
    if len > REQUEST_BYTES_MAX {
        return Err(RequestError::Malformed(format!("a head of {len} bytes is longer than {REQUEST_BYTES_MAX}")));
    }
    let mut frame = vec![0; len];
    recv.read_exact(&mut frame).await.map_err(|error| broken(&error))?;
    Ok(frame)
}

fn broken(error: &quinn::ReadExactError) -> RequestError {
    match error {
        quinn::ReadExactError::ReadError(ReadError::Reset(code))
            if *code == VarInt::from_u32(ResetCode::Unserved as u32) =>
        {
            RequestError::Unserved
        }
        quinn::ReadExactError::ReadError(ReadError::Reset(code))
            if *code == VarInt::from_u32(ResetCode::Busy as u32) =>
        {
            RequestError::Busy
        }
        quinn::ReadExactError::ReadError(_) | quinn::ReadExactError::FinishedEarly(_) => RequestError::Broken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        let head = RequestHead { topic: "logs".to_owned(), body: Bytes::from_static(b"web") };
        assert_eq!(&encode(Kind::Request, &head)[..], b"Q\x03\0\0\0\x92\xa4logs\xc4\x03web");
        let head = ResponseHead::Refused(Bytes::from_static(b"no"));
        assert_eq!(&encode(Kind::Response, &head)[..], b"A\x03\0\0\0\x81\xa7Refused\xc4\x02no");
    }

    #[test]
    fn what_is_open_between_two_members_leaves_the_lanes_their_window() {
        assert!(REQUESTS_MAX * RESPONSE_WINDOW * 4 <= crate::endpoint::SESSION_WINDOW as usize);
        assert_eq!(RESPONSE_WINDOW % GRANT_BYTES, 0);
    }
}
