//! The QUIC endpoint: its socket, its limits, its patience.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Endpoint, EndpointConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt};

use crate::cluster::StartError;
use crate::core::{Lane, NodeName};
use crate::request::REQUESTS_MAX;
use crate::socket::QuietRuntime;
use crate::tls::TlsMaterial;

/// Most incoming handshakes that are under way at a time; further ones are refused.
pub(crate) const HANDSHAKES_MAX: usize = 64;
/// From this many on, a stranger must first prove its address.
pub(crate) const HANDSHAKES_UNPROVEN_MAX: usize = 16;
/// A session that is silent for this long is gone.
pub(crate) const IDLE_MAX: Duration = Duration::from_secs(3);
/// How long making a session may take, TLS and hellos.
pub(crate) const HANDSHAKE_MAX: Duration = Duration::from_millis(2500);
/// A session with nothing to say says so this often.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// What a round trip is guessed to take before it is measured; a lost first packet is sent again after three times it.
const RTT_GUESS: Duration = Duration::from_millis(100);
/// Most bytes in flight towards us, per lane and per session, that our upper layer has not taken.
const STREAM_WINDOW: u32 = 4 << 20;
pub(crate) const SESSION_WINDOW: u32 = 8 << 20;
/// Most bytes of ours that a session keeps because they are not acknowledged.
const SEND_WINDOW: u64 = 8 << 20;
/// Membership's datagrams that wait, either way; when full the oldest go.
const DATAGRAM_BYTES: usize = 256 << 10;
/// Most bytes of strangers' first packets that wait to be looked at.
const INCOMING_BYTES_MAX: u64 = 1 << 20;

/// How many streams to allow for so many to be open at a time: quinn says that some have ended once more than an eighth
/// of those allowed have, so that the other side may believe so many to be open that are not.
const fn streams_for(open: usize) -> usize {
    (open * 8).div_ceil(7)
}

fn transport() -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    let lanes = u32::try_from(Lane::ALL.len()).unwrap_or(u32::MAX);
    let hellos_and_requests = u32::try_from(streams_for(1 + REQUESTS_MAX)).unwrap_or(u32::MAX);
    transport
        .max_idle_timeout(IdleTimeout::try_from(IDLE_MAX).ok())
        .keep_alive_interval(Some(KEEP_ALIVE))
        .initial_rtt(RTT_GUESS)
        .max_concurrent_bidi_streams(VarInt::from_u32(hellos_and_requests))
        .max_concurrent_uni_streams(VarInt::from_u32(lanes))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(SESSION_WINDOW))
        .send_window(SEND_WINDOW)
        .datagram_receive_buffer_size(Some(DATAGRAM_BYTES))
        .datagram_send_buffer_size(DATAGRAM_BYTES);
    Arc::new(transport)
}

/// A QUIC endpoint such as a node's own, with the same socket, settings and certificates, and nothing of Ordu on it: to
/// find out what the network alone can do. It dials [`SERVER_NAME`](crate::tls::SERVER_NAME).
///
/// # Errors
/// If the certificates are not usable, or the socket cannot be bound.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn bare_endpoint(listen: SocketAddr, name: &NodeName, tls: &TlsMaterial) -> Result<Endpoint, StartError> {
    let (server, client) = tls.quic(name)?;
    bind(listen, server, client).map_err(|error| StartError::Listen { addr: listen, error })
}

/// Binds the socket and starts the endpoint on the current tokio runtime.
pub(crate) fn bind(listen: SocketAddr, server: QuicServerConfig, client: QuicClientConfig) -> io::Result<Endpoint> {
    let socket = UdpSocket::bind(listen)?;
    let transport = transport();
    let mut server = ServerConfig::with_crypto(Arc::new(server));
    server
        .transport_config(transport.clone())
        .migration(false)
        .max_incoming(HANDSHAKES_MAX)
        .incoming_buffer_size(INCOMING_BYTES_MAX / HANDSHAKES_MAX as u64)
        .incoming_buffer_size_total(INCOMING_BYTES_MAX);
    let mut endpoint = Endpoint::new(EndpointConfig::default(), Some(server), socket, Arc::new(QuietRuntime))?;
    let mut client = ClientConfig::new(Arc::new(client));
    client.transport_config(transport);
    endpoint.set_default_client_config(client);
    Ok(endpoint)
}
