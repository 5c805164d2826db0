//! How foca, the SWIM implementation, is fitted in: who a member is to it, its configuration, and where its wishes go.

use std::num::{NonZeroU8, NonZeroUsize};
use std::time::Duration;

use foca::{Config, Foca, NoCustomBroadcast, Notification, PeriodicParams, Runtime, Timer};
use rand_chacha::ChaCha8Rng;

use super::packet::{PACKET_BYTES_MAX, PacketCodec};
use super::timings::Timings;
use crate::core::defects::{Defect, is_present};
use crate::core::hash::StableHasher;
use crate::core::id::NodeId;
use crate::core::view::Addr;

/// foca with our types in it.
pub(super) type Swim = Foca<Identity, PacketCodec, ChaCha8Rng, NoCustomBroadcast>;

/// The renewal of an identity that left for good. It beats every other renewal of its NodeId, is only ever down, and so
/// tells by foca's own gossip who left from who died.
pub(super) const LEFT: u32 = u32::MAX;

/// Who a member is to foca: one row a name; of two identities of a name the later NodeId wins, then the later renewal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    pub(super) id: NodeId,
    pub(super) addr: Addr,
    /// Counts how often this incarnation was wrongly declared down and came back.
    pub(super) renewal: u32,
    /// A hash of the name: foca compares names again and again.
    pub(super) name_hash: u64,
    /// A hash of the NodeId, to compare rows by.
    pub(super) id_hash: u64,
}

const PURPOSE_NAME: u64 = 0x6e_616d_6500;
const PURPOSE_ID: u64 = 0x6964_0000;

pub(super) fn name_hash(name: &[u8]) -> u64 {
    StableHasher::new(PURPOSE_NAME).bytes(name).finish()
}

pub(super) fn id_hash(id: &NodeId) -> u64 {
    StableHasher::new(PURPOSE_ID).node(id).finish()
}

impl Identity {
    pub(super) fn new(id: NodeId, addr: Addr, renewal: u32) -> Self {
        let name_hash = name_hash(id.name.as_str().as_bytes());
        let id_hash = id_hash(&id);
        Self { id, addr, renewal, name_hash, id_hash }
    }
}

impl foca::Identity for Identity {
    type Addr = u64;

    fn renew(&self) -> Option<Self> {
        let renewal = self.renewal.saturating_add(1);
        (renewal < LEFT).then(|| Self { renewal, ..self.clone() })
    }

    #[inline]
    fn addr(&self) -> u64 {
        self.name_hash
    }

    fn win_addr_conflict(&self, other: &Self) -> bool {
        (&self.id, self.renewal, &self.addr) > (&other.id, other.renewal, &other.addr)
    }
}

/// What foca wished for during one call.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    pub(super) packets: Vec<(Identity, Vec<u8>)>,
    pub(super) timers: Vec<(Duration, Timer<Identity>)>,
    /// We were declared down and came back under a new renewal.
    pub(super) rejoined: bool,
}

impl Runtime<Identity> for Wishes {
    fn notify(&mut self, notification: Notification<'_, Identity>) {
        // Changes of members are found by comparing foca's rows with the view, suspicion included.
        self.rejoined |= matches!(notification, Notification::Rejoin(_));
    }

    fn send_to(&mut self, to: Identity, data: &[u8]) {
        self.packets.push((to, data.to_vec()));
    }

    fn submit_after(&mut self, event: Timer<Identity>, after: Duration) {
        self.timers.push((after, event));
    }
}

/// foca's configuration.
pub(super) fn config(timings: &Timings) -> Config {
    let every = |frequency: Duration, members: usize| {
        Some(PeriodicParams { frequency, num_members: NonZeroUsize::new(members).unwrap_or(NonZeroUsize::MIN) })
    };
    // What it was before a starved node was thought of.
    let hasty = Duration::from_millis(300);
    let suspect_to_down = if is_present(Defect::StarvedIsDead) { hasty } else { timings.suspect_to_down };
    Config {
        probe_period: timings.probe_period,
        probe_rtt: timings.probe_rtt,
        num_indirect_probes: NonZeroUsize::new(3).unwrap_or(NonZeroUsize::MIN),
        max_transmissions: NonZeroU8::new(10).unwrap_or(NonZeroU8::MIN),
        suspect_to_down_after: suspect_to_down,
        // A row is kept for ever: a name that was forgotten could be brought back by an old replica. There are at most
        // `MEMBERS_MAX` rows.
        remove_down_after: None,
        max_packet_size: NonZeroUsize::new(PACKET_BYTES_MAX).unwrap_or(NonZeroUsize::MIN),
        notify_down_members: true,
        periodic_announce: every(timings.announce, 1),
        // The core does this itself: foca stops as soon as it holds everybody as down.
        periodic_announce_to_down_members: None,
        periodic_gossip: every(timings.gossip, 3),
    }
}
