//! The make-up of a cluster and the manners of its network: what holds for a whole run. And where a run's randomness
//! comes from.

use std::time::Duration;

use ordu_registry::core::sync::PUSH_EVENTS_MAX;
use ordu_supervisor::core::quorum::QUORUM_MAX;
use ordu_supervisor::core::{Partition, Quorum};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::musts::Must;

/// Most nodes of a run.
pub const NODES_MAX: usize = 1_000;
/// Most operations of a run.
pub const OPS_MAX: usize = 100_000;
/// Highest seed that is taken: scenario files can hold no higher number.
pub const SEED_MAX: u64 = i64::MAX as u64;
/// A wall clock is off by at most this, in milliseconds: two of them then by no more than nodes follow each other's
/// stamps.
pub const SKEW_MS_MAX: i64 = 300_000;
/// Longest time that a packet takes one way, in microseconds: with more a probe's answer comes late as a rule, and
/// nodes that nothing ails hold each other as down.
pub const LATENCY_US_MAX: u64 = 400_000;
/// How long a write to a disk takes as a rule, in microseconds.
pub const DISK_US: (u64, u64) = (200, 8_000);
/// Longest time that a write to a disk takes, in microseconds.
pub const DISK_US_MAX: u64 = 10_000_000;
/// Longest time between two checkpoints of a child, in milliseconds.
pub const CHECKPOINT_MS_MAX: u64 = 600_000;
/// Longest time that a child may take to stop where children need a quorum.
const QUORUM_STOP_MAX: Duration = Duration::from_secs(4);
/// Fewest frames that a lane must take: with less an ordinary answer breaks its session, again and again.
pub const LANE_FRAMES_MIN: usize = 16;

/// The independent streams of randomness of one seed. A change in what one draws does not disturb the others.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "each is the room of its name")]
pub enum Stream {
    Plan = 1,
    World = 2,
    Workload = 3,
    Faults = 4,
    Nodes = 5,
    Stage = 6,
    Cast = 7,
    Later = 8,
    Disks = 9,
    Keep = 10,
}

/// The randomness of one stream of a seed.
pub fn stream(seed: u64, stream: Stream) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream as u64);
    rng
}

/// What holds for a whole run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Decides all that the script leaves to chance.
    pub seed: u64,
    /// How many nodes, 1 to [`NODES_MAX`].
    pub nodes: usize,
    /// Whether views come from the membership core; otherwise from an oracle, which can also lie.
    pub swim: bool,
    /// Whether frames between nodes pass through the codec.
    pub codec: bool,
    /// Whether the supervisor core runs; otherwise the registry core alone, as the registry's own driver runs it.
    pub children: bool,
    /// How long a packet takes one way, shortest and longest, in microseconds; up to [`LATENCY_US_MAX`].
    pub latency_us: (u64, u64),
    /// How many of a thousand packets are lost without any storm, up to 600.
    pub loss_permille: u32,
    /// How many of a thousand datagrams arrive twice, up to 1000.
    pub doubled_permille: u32,
    /// A session ends when nothing was heard for this long, in microseconds: 100,000 to 600,000,000.
    pub idle_us: u64,
    /// Most frames that wait on one lane of a session; one more breaks the session. At least [`LANE_FRAMES_MIN`].
    pub lane_frames_max: usize,
    /// Most events that one push carries, and about as little of everything else that is sent in parts, 1 to
    /// [`PUSH_EVENTS_MAX`].
    #[serde(default = "push_events_max")]
    pub push_events_max: usize,
    /// How far each wall clock is off at most, in milliseconds, up to [`SKEW_MS_MAX`].
    pub skew_ms_max: i64,
    /// Nodes start within this time, in microseconds, up to 600,000,000; 0: all at once.
    pub start_apart_us: u64,
    /// How long after the last step everything heals, in microseconds, up to 600,000,000.
    pub settle_us: u64,
    /// Whether one of the nodes that are down at the heal stays down for good.
    pub one_stays_down: bool,
    /// Whether what is cut says that ports are closed, as a firewall does; otherwise it swallows everything.
    #[serde(default)]
    pub cuts_refuse: bool,
    /// Whether nodes keep on their disks what should run.
    #[serde(default)]
    pub durable: bool,
    /// How long a write to a disk takes, shortest and longest, in microseconds; up to [`DISK_US_MAX`].
    #[serde(default = "disk_us")]
    pub disk_us: (u64, u64),
    /// A node takes no children before it has met so many members, itself included; 0 and 1: at once.
    #[serde(default)]
    pub expect: usize,
    /// Children run only where this many nodes are, see [`ordu_supervisor::core::quorum`]; 0: on each side of a cut.
    #[serde(default)]
    pub quorum: usize,
    /// Most children that a node holds at once; 0: as many as there are.
    #[serde(default)]
    pub max_children: u32,
    /// About every how many milliseconds a running child makes a checkpoint; 0: never.
    #[serde(default)]
    pub checkpoint_ms: u64,
    /// What must hold beside the promises.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub musts: Vec<Must>,
}

fn disk_us() -> (u64, u64) {
    DISK_US
}

fn push_events_max() -> usize {
    PUSH_EVENTS_MAX
}

impl Plan {
    /// A calm cluster on a good network.
    pub fn calm(seed: u64, nodes: usize) -> Self {
        Self {
            seed,
            nodes,
            swim: true,
            codec: false,
            children: true,
            latency_us: (100, 2_000),
            loss_permille: 0,
            doubled_permille: 0,
            idle_us: 3_000_000,
            lane_frames_max: 4096,
            push_events_max: PUSH_EVENTS_MAX,
            skew_ms_max: 0,
            start_apart_us: 0,
            settle_us: 1_000_000,
            one_stays_down: false,
            cuts_refuse: false,
            durable: false,
            disk_us: DISK_US,
            expect: 0,
            quorum: 0,
            max_children: 0,
            checkpoint_ms: 0,
            musts: Vec::new(),
        }
    }

    /// What a node does that is cut off from most.
    pub(crate) fn partition(&self) -> Partition {
        match self.quorum {
            0 => Partition::KeepRunning,
            members => Partition::Quorum(Quorum { stop_max: QUORUM_STOP_MAX, ..Quorum::of(members) }),
        }
    }

    /// How much longer a takeover takes for that, in microseconds.
    pub(crate) fn void_us(&self) -> u64 {
        match self.partition() {
            Partition::KeepRunning => 0,
            Partition::Quorum(quorum) => u64::try_from(quorum.void_after().as_micros()).unwrap_or(u64::MAX),
        }
    }

    /// What cannot be played, in one sentence.
    pub fn refuse(&self) -> Option<String> {
        let (least, most) = self.latency_us;
        if self.nodes == 0 || self.nodes > NODES_MAX {
            return Some(format!("plan.nodes is {}, not 1 to {NODES_MAX}", self.nodes));
        }
        if least > most || most > LATENCY_US_MAX {
            return Some(format!("plan.latency_us is {least} to {most}, not a rising pair up to {LATENCY_US_MAX}"));
        }
        if self.loss_permille > 600 || self.doubled_permille > 1_000 {
            return Some("plan.loss_permille is over 600 or plan.doubled_permille over 1000".into());
        }
        if !(100_000..=600_000_000).contains(&self.idle_us) || self.lane_frames_max < LANE_FRAMES_MIN {
            let least = LANE_FRAMES_MIN;
            return Some(format!("plan.idle_us is not 100000 to 600000000, or plan.lane_frames_max is below {least}"));
        }
        if !(1..=PUSH_EVENTS_MAX).contains(&self.push_events_max) {
            return Some(format!("plan.push_events_max is {}, not 1 to {PUSH_EVENTS_MAX}", self.push_events_max));
        }
        if !(0..=SKEW_MS_MAX).contains(&self.skew_ms_max) {
            return Some(format!("plan.skew_ms_max is {}, not 0 to {SKEW_MS_MAX}", self.skew_ms_max));
        }
        let (least, most) = self.disk_us;
        if least > most || most > DISK_US_MAX {
            return Some(format!("plan.disk_us is {least} to {most}, not a rising pair up to {DISK_US_MAX}"));
        }
        if self.expect > NODES_MAX {
            return Some(format!("plan.expect is {}, not up to {NODES_MAX}", self.expect));
        }
        if self.quorum > QUORUM_MAX {
            return Some(format!("plan.quorum is {}, not up to {QUORUM_MAX}", self.quorum));
        }
        if self.checkpoint_ms > CHECKPOINT_MS_MAX {
            return Some(format!("plan.checkpoint_ms is {}, not up to {CHECKPOINT_MS_MAX}", self.checkpoint_ms));
        }
        if self.start_apart_us > 600_000_000 || self.settle_us > 600_000_000 {
            return Some("plan.start_apart_us or plan.settle_us is over 600000000".into());
        }
        None
    }
}
