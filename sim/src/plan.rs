//! What a seed decides before anything happens: the make-up of the cluster, the network's manners, and which kinds of
//! operations and faults this run has at all.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::fault::FaultKind;
use crate::scenario::{Layer, Scenario};
use crate::workload::OpKind;

/// Most nodes of a run.
pub const NODES_MAX: usize = 64;
/// Most operations of a run.
pub const OPS_MAX: usize = 100_000;

/// What the caller chose.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How many nodes, 1 to [`NODES_MAX`].
    pub nodes: usize,
    /// How many operations, up to [`OPS_MAX`].
    pub ops: usize,
    /// Which scenario.
    pub scenario: &'static Scenario,
}

/// The independent streams of randomness of one seed. A change in what one draws does not disturb the others.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "each is the room of its name")]
pub enum Stream {
    Plan = 1,
    World = 2,
    Workload = 3,
    Faults = 4,
    Nodes = 5,
}

/// The randomness of one stream of a seed.
pub fn stream(seed: u64, stream: Stream) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream as u64);
    rng
}

/// What one seed decides.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// How many nodes.
    pub nodes: usize,
    /// How many operations.
    pub ops: usize,
    /// Whether views come from the membership core; otherwise from an oracle, which can also lie.
    pub swim: bool,
    /// Whether frames between nodes pass through the codec.
    pub codec: bool,
    /// How long a packet takes one way, shortest and longest.
    pub latency_us: (u64, u64),
    /// Share of packets that are lost without any storm.
    pub loss: f64,
    /// Share of datagrams that arrive twice.
    pub doubled: f64,
    /// A session ends when nothing was heard for this long.
    pub idle_us: u64,
    /// Most frames that wait on one lane of a session; one more breaks the session.
    pub lane_frames_max: usize,
    /// How many ids of children there are; none: the registry core runs alone.
    pub children_ids: usize,
    /// How many registry names there are to fight for.
    pub names: usize,
    /// How slowly everything happens.
    pub pace_percent: u64,
    /// Mean time between two operations.
    pub op_gap_us: u64,
    /// Mean time between two faults.
    pub fault_gap_us: u64,
    /// How far each wall clock is off at most.
    pub skew_ms_max: i64,
    /// Weights of the operations that this run has.
    pub op_weights: Vec<(OpKind, u32)>,
    /// Weights of the faults that this run has.
    pub fault_weights: Vec<(FaultKind, u32)>,
    /// Whether nodes start all at once or one by one.
    pub start_apart_us: u64,
}

impl Plan {
    /// Draws the plan of a seed.
    pub fn draw(seed: u64, options: Options) -> Self {
        let mut rng = stream(seed, Stream::Plan);
        let swim = rng.random_bool(0.7);
        let slow = rng.random_bool(0.2);
        let latency_us =
            if slow { (5_000, rng.random_range(20_000..120_000)) } else { (100, rng.random_range(500..10_000)) };
        let scenario = options.scenario;
        let children = rng.random_bool(0.7) && scenario.layer == Layer::Either;
        let ops: Vec<_> =
            scenario.ops.iter().copied().filter(|(kind, _)| children || !kind.is_about_children()).collect();
        let op_weights = switch_off(&mut rng, &ops, 0.15);
        let mut fault_weights = switch_off(&mut rng, scenario.faults, 0.35);
        fault_weights.retain(|(kind, _)| !swim || *kind != FaultKind::Lie);
        let pace_percent = if rng.random_bool(0.1) { scenario.pace_percent.max(400) } else { scenario.pace_percent };
        let skews: [i64; 4] = [0, 50, 5_000, 240_000];
        Self {
            seed,
            nodes: options.nodes,
            ops: options.ops,
            swim,
            codec: rng.random_bool(0.5),
            latency_us,
            loss: [0.0, 0.0, 0.005, 0.03][rng.random_range(0..4)],
            doubled: [0.0, 0.01, 0.1][rng.random_range(0..3)],
            idle_us: rng.random_range(1_500_000..6_000_000),
            lane_frames_max: if rng.random_bool(0.1) { 24 } else { 4096 },
            children_ids: if children { rng.random_range(1..=16) } else { 0 },
            names: rng.random_range(2..=24),
            pace_percent,
            op_gap_us: rng.random_range(30_000..150_000) * pace_percent / 100,
            fault_gap_us: rng.random_range(400_000..4_000_000) * scenario.fault_gap_percent / 100 * pace_percent / 100,
            skew_ms_max: skews[rng.random_range(0..4)],
            op_weights,
            fault_weights,
            start_apart_us: if rng.random_bool(0.7) { 0 } else { rng.random_range(1..2_000_000) },
        }
    }
}

/// Switches each kind off with this probability; if none is left, all are.
fn switch_off<K: Copy>(rng: &mut ChaCha8Rng, kinds: &[(K, u32)], probability: f64) -> Vec<(K, u32)> {
    let kept: Vec<_> = kinds.iter().copied().filter(|_| !rng.random_bool(probability)).collect();
    if kept.is_empty() { kinds.to_vec() } else { kept }
}

/// Draws one kind by weight; `None` of an empty list.
pub fn draw_weighted<K: Copy>(rng: &mut ChaCha8Rng, kinds: &[(K, u32)]) -> Option<K> {
    let total: u32 = kinds.iter().map(|(_, weight)| weight).sum();
    let mut ticket = if total == 0 { return None } else { rng.random_range(0..total) };
    kinds
        .iter()
        .find(|(_, weight)| {
            let here = ticket < *weight;
            ticket = ticket.saturating_sub(*weight);
            here
        })
        .map(|(kind, _)| *kind)
}
