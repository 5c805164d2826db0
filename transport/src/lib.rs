//! Identities, membership and encrypted sessions of an Ordu cluster.
//!
//! Two halves. [`core`] is pure: it names nodes and processes, keeps one node's view of the members (SWIM) and turns
//! frames into bytes and back; it reads no clock, does no I/O and draws no randomness of its own. The runtime half,
//! behind the default feature `runtime`, carries those bytes over QUIC: [`Cluster`] is its handle.
#![warn(missing_docs)]

pub mod core;

#[cfg(feature = "runtime")]
mod channel;
#[cfg(feature = "runtime")]
#[allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "the clock of the runtime half")]
mod clock;
#[cfg(feature = "runtime")]
#[allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "the runtime half draws the seeds")]
mod cluster;
#[cfg(feature = "runtime")]
mod discovery;
#[cfg(feature = "runtime")]
mod driver;
#[cfg(feature = "runtime")]
mod endpoint;
#[cfg(feature = "runtime")]
mod events;
#[cfg(feature = "runtime")]
mod greet;
#[cfg(feature = "runtime")]
mod handshake;
#[cfg(feature = "runtime")]
mod metrics;
#[cfg(feature = "runtime")]
mod request;
#[cfg(feature = "runtime")]
mod session;
#[cfg(feature = "runtime")]
mod shared;
#[cfg(feature = "runtime")]
#[allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "quinn's timers have the system's clock")]
mod socket;
#[cfg(feature = "runtime")]
pub mod tls;

#[cfg(feature = "runtime")]
pub use self::{
    channel::LANE_BYTES_MAX,
    cluster::{Cluster, ClusterConfig, StartError},
    core::Lane,
    discovery::InvalidAddr,
    endpoint::bare_endpoint,
    events::{CONTROL_EVENTS_MAX, ClusterEvent, ClusterEvents, EVENT_BYTES_MAX, EVENTS_MAX},
    metrics::Metrics,
    request::{
        Gone, REQUEST_BYTES_MAX, REQUESTS_MAX, RESPONSE_WINDOW, Request, RequestError, Requests, Responder, Response,
    },
    tls::{CertificateAuthority, TlsError, TlsMaterial},
};
