//! Making a session: dial or accept, then both sides say [`Hello`] and judge the other's.
//!
//! ```text
//!   dialler                      acceptor
//!      ├── TLS 1.3, mutual ─────────┤
//!      ├── hello ──────────────────▶│  certificate and hello agree? judge
//!      │◀────────────────── hello ──┤
//!  certificate and hello agree? judge
//!      ├── "accepted" ─────────────▶│  both have a session
//! ```
//!
//! Either side says no by closing with a [`Refusal`]. The round trip of hellos also makes sure that the datagrams that
//! follow find a reader.

use std::net::SocketAddr;

use bytes::Bytes;
use quinn::{Connection, ConnectionError, RecvStream, SendStream, VarInt};
use rustls_pki_types::CertificateDer;

use crate::core::codec::{decode, encode};
use crate::core::message::{Hello, Refusal};
use crate::core::{Addr, Kind, NodeId, NodeName};
use crate::greet::{Judge, Verdict};
use crate::tls::{SERVER_NAME, peer_name};

/// Longest hello, in bytes.
const HELLO_BYTES_MAX: u32 = 4096;
/// What the dialler says last.
const ACCEPTED: u8 = 1;

/// Why a session was closed, as both sides can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum CloseCode {
    /// The node stops or leaves.
    Bye = 0,
    /// Followed by a [`Refusal`].
    Refused = 1,
    /// There is another session between the two.
    Duplicate = 2,
    /// The other side broke the protocol.
    Protocol = 3,
    /// A lane was full; what was in it is lost, so all is begun anew.
    Overflow = 4,
    /// The closing side is another incarnation now, or the closed one was replaced by a later.
    Reborn = 5,
    /// The closing side has as many sessions as it takes.
    Crowded = 6,
}

/// Closes a connection at once.
pub(crate) fn close(connection: &Connection, code: CloseCode) {
    connection.close(VarInt::from_u32(code as u32), b"");
}

/// Closes a connection and says why in the peer's terms.
pub(crate) fn refuse(connection: &Connection, refusal: &Refusal) {
    connection.close(VarInt::from_u32(CloseCode::Refused as u32), &encode(Kind::Hello, refusal));
}

/// The refusal that a peer closed with, if that is how it ended.
pub(crate) fn refusal_of(error: &ConnectionError) -> Option<Refusal> {
    match error {
        ConnectionError::ApplicationClosed(closed)
            if closed.error_code == VarInt::from_u32(CloseCode::Refused as u32) =>
        {
            decode(Kind::Hello, &closed.reason).ok()
        }
        _ => None,
    }
}

/// Whether a peer closed because there is another session between the two.
pub(crate) fn is_duplicate(error: &ConnectionError) -> bool {
    matches!(error, ConnectionError::ApplicationClosed(closed)
        if closed.error_code == VarInt::from_u32(CloseCode::Duplicate as u32))
}

/// Why a handshake came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    /// The connection failed or was closed: no answer, a stranger's certificate, another protocol, a refusal.
    #[error("{0}")]
    Connection(#[from] ConnectionError),
    #[error("cannot dial: {0}")]
    Connect(#[from] quinn::ConnectError),
    #[error("it took too long")]
    Late,
    /// What the peer said is not the protocol.
    #[error("the peer's hello is no hello: {0}")]
    Malformed(String),
    /// The peer says that it is another node than its certificate says.
    #[error("the certificate of node {certificate} was shown by a node that calls itself {hello}")]
    Name { certificate: NodeName, hello: NodeName },
    /// We said no.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// The peer, whom others dial at this address, said no.
    #[error("the node at {addr} refused: {refusal}")]
    RefusedUs { refusal: Refusal, addr: Addr },
    /// There is a session with this node already.
    #[error("there is a session with {0} already")]
    Duplicate(NodeId),
    /// We dialled ourselves.
    #[error("it is this node itself")]
    Ourselves,
    /// Our driver is gone.
    #[error("this node stops")]
    Stopped,
}

/// What a handshake gives.
#[derive(Debug)]
pub(crate) struct Greeted {
    pub(crate) connection: Connection,
    /// The peer's.
    pub(crate) peer: Hello,
    /// What we said.
    pub(crate) own: Hello,
    /// Whether we dialled.
    pub(crate) dialled: bool,
}

/// Dials one address.
pub(crate) async fn dial(
    endpoint: &quinn::Endpoint,
    addr: SocketAddr,
    own: Hello,
    judge: &Judge,
) -> Result<Greeted, HandshakeError> {
    let connection = endpoint.connect(addr, SERVER_NAME)?.await?;
    let name = certificate_name(&connection)?;
    let (mut send, mut recv) = connection.open_bi().await?;
    say(&connection, &mut send, &encode(Kind::Hello, &own)).await?;
    let peer = hear(&connection, &mut recv).await?;
    judge_hello(&connection, name, &own, &peer, judge).await?;
    say(&connection, &mut send, &[ACCEPTED]).await?;
    let _ = send.finish();
    Ok(Greeted { connection, peer, own, dialled: true })
}

/// Answers a dial.
pub(crate) async fn accept(incoming: quinn::Incoming, own: Hello, judge: &Judge) -> Result<Greeted, HandshakeError> {
    let connection = incoming.await?;
    let name = certificate_name(&connection)?;
    let (mut send, mut recv) = connection.accept_bi().await?;
    let peer = hear(&connection, &mut recv).await?;
    judge_hello(&connection, name, &own, &peer, judge).await?;
    say(&connection, &mut send, &encode(Kind::Hello, &own)).await?;
    match hear_bytes(&connection, &mut recv).await {
        Ok(bytes) if bytes == [ACCEPTED] => {}
        Ok(_) => return Err(malformed(&connection, "it did not accept")),
        Err(HandshakeError::Connection(error)) => {
            return Err(match refusal_of(&error) {
                Some(refusal) => HandshakeError::RefusedUs { refusal, addr: peer.addr },
                None => error.into(),
            });
        }
        Err(error) => return Err(error),
    }
    let _ = send.finish();
    Ok(Greeted { connection, peer, own, dialled: false })
}

fn certificate_name(connection: &Connection) -> Result<NodeName, HandshakeError> {
    let identity = connection.peer_identity().and_then(|identity| identity.downcast::<Vec<CertificateDer<'_>>>().ok());
    let name = match identity.as_deref().and_then(|chain| chain.first()) {
        Some(certificate) => peer_name(certificate),
        None => Err("it shows no certificate".to_owned()),
    };
    name.map_err(|error| malformed(connection, &error))
}

async fn judge_hello(
    connection: &Connection,
    certificate: NodeName,
    own: &Hello,
    peer: &Hello,
    judge: &Judge,
) -> Result<(), HandshakeError> {
    if certificate != peer.id.name {
        close(connection, CloseCode::Protocol);
        return Err(HandshakeError::Name { certificate, hello: peer.id.name.clone() });
    }
    if peer.id == own.id {
        close(connection, CloseCode::Duplicate);
        return Err(HandshakeError::Ourselves);
    }
    match judge.ask(peer.clone()).await {
        Some(Verdict::Welcome) => Ok(()),
        Some(Verdict::Duplicate) => {
            close(connection, CloseCode::Duplicate);
            Err(HandshakeError::Duplicate(peer.id.clone()))
        }
        Some(Verdict::Refused(refusal)) => {
            refuse(connection, &refusal);
            Err(HandshakeError::Refused(refusal))
        }
        None => Err(HandshakeError::Stopped),
    }
}

async fn say(connection: &Connection, send: &mut SendStream, bytes: &[u8]) -> Result<(), HandshakeError> {
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut chunks = [Bytes::copy_from_slice(&len.to_be_bytes()), Bytes::copy_from_slice(bytes)];
    match send.write_all_chunks(&mut chunks).await {
        Ok(()) => Ok(()),
        Err(error) => Err(lost(connection, &error)),
    }
}

async fn hear(connection: &Connection, recv: &mut RecvStream) -> Result<Hello, HandshakeError> {
    let bytes = hear_bytes(connection, recv).await?;
    let hello: Hello = decode(Kind::Hello, &bytes).map_err(|error| malformed(connection, &error.to_string()))?;
    match crate::discovery::parse_addr(&hello.addr) {
        Ok(_) => Ok(hello),
        Err(error) => Err(malformed(connection, &error.to_string())),
    }
}

async fn hear_bytes(connection: &Connection, recv: &mut RecvStream) -> Result<Vec<u8>, HandshakeError> {
    let mut len = [0; 4];
    recv.read_exact(&mut len).await.map_err(|error| lost(connection, &error))?;
    let len = u32::from_be_bytes(len);
    if len > HELLO_BYTES_MAX {
        return Err(malformed(connection, "it is too long"));
    }
    let mut bytes = vec![0; len as usize];
    recv.read_exact(&mut bytes).await.map_err(|error| lost(connection, &error))?;
    Ok(bytes)
}

fn malformed(connection: &Connection, reason: &str) -> HandshakeError {
    close(connection, CloseCode::Protocol);
    HandshakeError::Malformed(reason.to_owned())
}

/// A stream failed: mostly because the connection did, which knows better why.
fn lost(connection: &Connection, error: &dyn std::fmt::Display) -> HandshakeError {
    match connection.close_reason() {
        Some(reason) => HandshakeError::Connection(reason),
        None => malformed(connection, &error.to_string()),
    }
}
