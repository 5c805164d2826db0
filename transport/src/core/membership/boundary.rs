//! What goes into the membership core and what comes out of it.

use std::time::Duration;

use bytes::Bytes;

use super::Timings;
use crate::core::id::{NodeId, NodeName};
use crate::core::message::{Hello, Refusal};
use crate::core::overlay::Mesh;
use crate::core::time::Hlc;
use crate::core::view::{Addr, Member};

/// Who we are and how to find others.
#[derive(Debug, Clone)]
pub struct MembershipConfig {
    /// Who we are.
    pub id: NodeId,
    /// Where others dial us.
    pub addr: Addr,
    /// When we started.
    pub started: Hlc,
    /// The cluster's name.
    pub cluster: String,
    /// Addresses to dial until a session with them exists, for ever. Our own may be among them.
    pub seeds: Vec<Addr>,
    /// Seeds all randomness.
    pub seed: u64,
    /// How long to wait for what.
    pub timings: Timings,
    /// Among how many members not all have sessions with all.
    pub mesh: Mesh,
}

/// What happens to the core.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Input {
    /// A session exists: both sides accepted the other's hello. An older session with an earlier incarnation of the same
    /// name is to be closed by the driver.
    Connected {
        /// The peer's.
        hello: Hello,
        /// The address that we dialled; `None` if the peer dialled us.
        dialled: Option<Addr>,
    },
    /// A session is gone.
    Disconnected {
        /// With whom it was.
        peer: NodeId,
    },
    /// A membership datagram came over a session.
    Datagram {
        /// The session's peer.
        from: NodeId,
        /// As sent.
        bytes: Bytes,
    },
    /// A dial came to nothing; or a peer refused us or closed a session with a refusal, whoever dialled (after
    /// [`Input::Disconnected`] if there was a session).
    DialFailed {
        /// The dialled address, or the refusing peer's.
        addr: Addr,
        /// What the peer said, if it said something.
        refusal: Option<Refusal>,
    },
    /// A hint from the kernel: nobody listens at the peer's address. It is suspected at once, and others are asked.
    Unreachable {
        /// With whom we have or had a session.
        peer: NodeId,
        /// How long a round trip to it took, when it answered.
        rtt: Duration,
    },
    /// We leave for good. Effects tell the members; afterwards the core does nothing any more.
    Leave,
    /// An operator says that a member that is down will not return. Ignored of others.
    Remove {
        /// Which.
        name: NodeName,
    },
}

/// What the driver is to do, in order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Send a datagram over the session with this peer.
    Datagram {
        /// To whom.
        to: NodeId,
        /// What, at most [`DATAGRAM_BYTES_MAX`](super::DATAGRAM_BYTES_MAX) bytes, and 18 more
        /// where others pass it on.
        bytes: Bytes,
    },
    /// Send something that nobody reads to this peer's port, if there is a session: if the kernel says that it is closed,
    /// that is [`Input::Unreachable`].
    CheckPort {
        /// Whose.
        peer: NodeId,
    },
    /// Dial, unless a session with that address exists or is being dialled. Failing is cheap; it is said again.
    Dial {
        /// Where.
        addr: Addr,
    },
    /// The view changed. Ourselves first, once, as up.
    Member(Member),
    /// Our name has, or had, a later incarnation: we go on as this one, above it. The driver closes all sessions.
    Reborn {
        /// Our new identity.
        id: NodeId,
    },
    /// Another living node holds our name and started before us: the process should end.
    NameTaken {
        /// Where it is.
        holder: Addr,
    },
    /// Close the session with this peer and tell it why.
    Close {
        /// Whose.
        peer: NodeId,
        /// Why; the peer's core gets it as [`Input::DialFailed`].
        refusal: Refusal,
    },
    /// [`Membership::ways`](super::Membership::ways) changed.
    Ways,
    /// This member is within reach from now on, by [`Membership::ways`](super::Membership::ways). A session that begins
    /// later takes their place, without [`Effect::Lost`].
    Reached {
        /// Which.
        peer: NodeId,
    },
    /// It is not any more.
    Lost {
        /// Which.
        peer: NodeId,
    },
}
