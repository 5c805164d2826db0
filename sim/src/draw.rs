//! From a seed to a script: the make-up of the cluster, which kinds of operations and faults this run has at all, and then
//! each of them with its time and parameters.

use ordu_registry::core::sync::PUSH_EVENTS_MAX;
use ordu_supervisor::core::Restart;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::children::Character;
use crate::fault::{Disk, Fault};
use crate::node::ZONES;
use crate::plan::{DISK_US, Plan, Stream, stream};
use crate::scenario::{Layer, Scenario};
use crate::script::{Act, Allowed, Op, Script, Spec, Step};

/// Most faults that are there at a time.
pub const FAULTS_MAX: usize = 3;
/// Longest pause of a node, in microseconds, at the ordinary pace.
pub const PAUSE_US_MAX: u64 = 35_000_000;

/// Most groups that processes join.
const GROUPS_MAX: usize = 5;
/// One child of so many is restarted twice a minute at most.
const LIMITED_EACH: usize = 5;
/// One child of so many is given little time for its init.
const HURRIED_EACH: usize = 4;
/// Of so many children one may run in one zone only.
const ZONED_EACH: usize = 6;

/// What the caller chose.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many nodes, 1 to [`crate::plan::NODES_MAX`].
    pub nodes: usize,
    /// How many operations, up to [`crate::plan::OPS_MAX`].
    pub ops: usize,
    /// Which scenario.
    pub scenario: Scenario,
}

impl Default for Options {
    /// Five nodes, 200 operations, every kind of fault and operation.
    fn default() -> Self {
        Self { nodes: 5, ops: 200, scenario: Scenario::default() }
    }
}

/// The kinds of operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "each is the operation of its name in `script::Op`")]
pub enum OpKind {
    Register,
    RegisterMany,
    RegisterMore,
    Unregister,
    UpdateValue,
    EndProcess,
    Read,
    Start,
    Ensure,
    StartMany,
    Retry,
    Terminate,
    Restart,
    Drain,
    RegisterQuorum,
    Join,
    Leave,
    Cordon,
}

impl OpKind {
    /// Whether it needs the supervisor core.
    pub fn is_about_children(self) -> bool {
        use OpKind as O;
        match self {
            O::Start | O::Ensure | O::StartMany | O::Retry | O::Terminate | O::Restart => true,
            O::Drain | O::Cordon => true,
            O::Register | O::RegisterMany | O::RegisterMore | O::Unregister | O::UpdateValue => false,
            O::EndProcess | O::Read | O::RegisterQuorum | O::Join | O::Leave => false,
        }
    }

    /// Whether it came later and is drawn in place of others, so that these are as they were without it.
    fn came_later(self) -> bool {
        matches!(self, OpKind::RegisterQuorum | OpKind::Join | OpKind::Leave | OpKind::Cordon)
    }
}

/// The kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "each is the fault of its name in `fault::Fault`, crashes by what the disk holds then")]
pub enum FaultKind {
    Split,
    Isolate,
    OneWay,
    Deaf,
    Ring,
    Bridge,
    Flapping,
    Stall,
    Loss,
    Doubling,
    Reordering,
    Delay,
    Reset,
    CrashKeepDisk,
    CrashLoseDisk,
    CrashOldDisk,
    Leave,
    Storm,
    Pause,
    Stutter,
    Skew,
    Lie,
    Namesake,
}

/// How a run is drawn; gone once its script is written.
struct Manners {
    ops: Vec<(OpKind, u32)>,
    /// Those that take the place of some of the others.
    later_ops: Vec<(OpKind, u32)>,
    faults: Vec<(FaultKind, u32)>,
    /// How many registry names there are to fight for.
    names: usize,
    /// How many ids of children there are.
    children: usize,
    pace_percent: u64,
    op_gap_us: u64,
    fault_gap_us: u64,
}

impl Script {
    /// The script of a seed.
    pub fn draw(seed: u64, options: &Options) -> Self {
        let scenario = &options.scenario;
        let nodes = scenario.nodes().unwrap_or(options.nodes);
        let (mut plan, manners) = manners(&mut stream(seed, Stream::Plan), seed, nodes, scenario);
        // A file whose plan is refused is refused where it is read.
        let _ = scenario.fix_plan(&mut plan);
        if let Some(steps) = scenario.fixed_steps() {
            let mut script = Script { plan, steps: steps.to_vec() };
            script.sort();
            return script;
        }
        let mut script = Script { plan, steps: Vec::new() };
        draw_ops(&mut stream(seed, Stream::Workload), &manners, options.ops, &mut script);
        draw_later_ops(&mut stream(seed, Stream::Later), &manners, &mut script);
        let until_us = script.ends_us();
        draw_faults(&mut stream(seed, Stream::Faults), &manners, until_us, &mut script);
        if let Some(stage) = scenario.stage {
            stage(&mut stream(seed, Stream::Stage), &mut script);
        }
        script.sort();
        script
    }
}

fn manners(rng: &mut ChaCha8Rng, seed: u64, nodes: usize, scenario: &Scenario) -> (Plan, Manners) {
    let swim = rng.random_bool(0.7);
    let slow = rng.random_bool(0.2);
    let latency_us =
        if slow { (5_000, rng.random_range(20_000..120_000)) } else { (100, rng.random_range(500..10_000)) };
    let children = match scenario.layer {
        Layer::Either => rng.random_bool(0.7),
        Layer::Children => true,
        Layer::Names => false,
    };
    let ops: Vec<_> = scenario.ops.iter().copied().filter(|(kind, _)| children || !kind.is_about_children()).collect();
    let (later_ops, ops): (Vec<_>, Vec<_>) = ops.into_iter().partition(|(kind, _)| kind.came_later());
    let ops = if ops.is_empty() { later_ops.clone() } else { switch_off(rng, &ops, 0.15) };
    let mut faults = switch_off(rng, &scenario.faults, 0.35);
    faults.retain(|(kind, _)| match kind {
        FaultKind::Lie => !swim,
        FaultKind::Namesake => swim,
        _ => true,
    });
    let pace_percent = if rng.random_bool(0.1) { scenario.pace_percent.max(400) } else { scenario.pace_percent };
    let mut keep = stream(seed, Stream::Keep);
    let plan = Plan {
        seed,
        nodes,
        swim,
        codec: rng.random_bool(0.5),
        children,
        latency_us,
        loss_permille: [0, 0, 5, 30][rng.random_range(0..4)],
        doubled_permille: [0, 10, 100][rng.random_range(0..3)],
        idle_us: rng.random_range(1_500_000..6_000_000),
        lane_frames_max: if rng.random_bool(0.1) { 24 } else { 4096 },
        skew_ms_max: [0, 50, 5_000, 240_000][rng.random_range(0..4)],
        start_apart_us: if rng.random_bool(0.7) { 0 } else { rng.random_range(1..2_000_000) },
        settle_us: rng.random_range(0..3_000_000),
        one_stays_down: rng.random_bool(0.15),
        push_events_max: if rng.random_bool(0.25) { rng.random_range(3..=12) } else { PUSH_EVENTS_MAX },
        cuts_refuse: rng.random_bool(0.3),
        durable: children && keep.random_bool(0.35),
        disk_us: if keep.random_bool(0.25) { (1_000, 300_000) } else { DISK_US },
        expect: 0,
        quorum: 0,
        max_children: 0,
        checkpoint_ms: 0,
        musts: Vec::new(),
    };
    let manners = Manners {
        ops,
        later_ops,
        faults,
        names: rng.random_range(2..=24),
        children: rng.random_range(1..=16),
        pace_percent,
        op_gap_us: rng.random_range(30_000..150_000) * pace_percent / 100,
        fault_gap_us: rng.random_range(400_000..4_000_000) * scenario.fault_gap_percent / 100 * pace_percent / 100,
    };
    (plan, manners)
}

// ---- what users do

fn draw_ops(rng: &mut ChaCha8Rng, manners: &Manners, ops: usize, script: &mut Script) {
    let mut at_us = manners.op_gap_us;
    for _ in 0..ops {
        let Some(kind) = draw_weighted(rng, &manners.ops) else { return };
        let node = rng.random_range(0..script.plan.nodes);
        let ask = draw_op(rng, manners, kind, script.plan.nodes);
        script.steps.push(Step { at_us, act: Act::Op { node, ask } });
        at_us += rng.random_range(0..=manners.op_gap_us * 2);
    }
}

/// Puts operations that came later in the place of some that are there, and leaves the rest as it is.
fn draw_later_ops(rng: &mut ChaCha8Rng, manners: &Manners, script: &mut Script) {
    let weight = |ops: &[(OpKind, u32)]| f64::from(ops.iter().map(|(_, weight)| weight).sum::<u32>());
    let later = switch_off(rng, &manners.later_ops, 0.15);
    let share = weight(&later) / (weight(&later) + weight(&manners.ops));
    if later.is_empty() {
        return;
    }
    let nodes = script.plan.nodes;
    let ops = script.steps.iter_mut().filter_map(|step| match &mut step.act {
        Act::Op { ask, .. } => Some(ask),
        Act::Fault { .. } => None,
    });
    for ask in ops {
        if rng.random_bool(share)
            && let Some(kind) = draw_weighted(rng, &later)
        {
            *ask = draw_op(rng, manners, kind, nodes);
        }
    }
}

fn draw_op(rng: &mut ChaCha8Rng, manners: &Manners, kind: OpKind, nodes: usize) -> Op {
    let which = rng.random_range(0..64);
    let name = rng.random_range(0..manners.names);
    let child = rng.random_range(0..manners.children);
    let wait_ms = rng.random_range(200..8_000);
    match kind {
        OpKind::Register => {
            let more = rng.random_range(0..3);
            let names = [name].into_iter().chain((0..more).map(|_| rng.random_range(0..manners.names))).collect();
            Op::Register { names, value: value(rng) }
        }
        OpKind::RegisterMany => {
            Op::RegisterMany { first: rng.random_range(0..1_000), count: rng.random_range(20..120) }
        }
        OpKind::RegisterMore => Op::RegisterMore { which, name, value: value(rng) },
        OpKind::Unregister => Op::Unregister { which, name },
        OpKind::UpdateValue => Op::UpdateValue { which, name, value: value(rng) },
        OpKind::EndProcess => Op::EndProcess { which },
        OpKind::Read => Op::Read,
        OpKind::Start | OpKind::Ensure => {
            let ensure = kind == OpKind::Ensure;
            Op::Start { spec: spec(rng, child, nodes), ensure, wait_ms }
        }
        OpKind::StartMany => Op::StartMany { first: child, count: rng.random_range(2..16), wait_ms },
        OpKind::Retry => Op::Retry { which, wait_ms },
        OpKind::Terminate => Op::Terminate { child, wait_ms },
        OpKind::Restart => Op::Restart { child, wait_ms },
        OpKind::RegisterQuorum => Op::RegisterQuorum { name, value: value(rng), wait_ms },
        OpKind::Join => Op::Join { which, group: name % GROUPS_MAX, value: value(rng) },
        OpKind::Leave => Op::Leave { which, group: name },
        OpKind::Drain => Op::Drain { of: rng.random_range(0..nodes), on: rng.random_bool(0.5), wait_ms },
        OpKind::Cordon => Op::Cordon { of: rng.random_range(0..nodes), on: rng.random_bool(0.5), wait_ms },
    }
}

fn value(rng: &mut ChaCha8Rng) -> String {
    let length = rng.random_range(0..24);
    (0..length).map(|_| char::from(rng.random_range(b'a'..=b'z'))).collect()
}

fn spec(rng: &mut ChaCha8Rng, child: usize, nodes: usize) -> Spec {
    let restarts = [(Restart::Permanent, 6), (Restart::Transient, 3), (Restart::Temporary, 1)];
    let character = draw_weighted(rng, &Character::ALL).unwrap_or(Character::Steady);
    let restart = draw_weighted(rng, &restarts).unwrap_or_default();
    // Not drawn: what else a seed comes to stays as it was.
    let is_limited = child % LIMITED_EACH == 3 && restart != Restart::Temporary;
    Spec {
        start_first: false,
        child,
        character,
        restart,
        pinned: rng.random_bool(0.1).then(|| rng.random_range(0..nodes)),
        placed: None,
        zone: (child % ZONED_EACH == 4).then_some(child % ZONES),
        intensity: is_limited.then_some(Allowed { restarts: 2, within_ms: 60_000 }),
        // Some of those whose init takes seconds have too little.
        init_timeout_ms: (child % HURRIED_EACH == 2).then_some(1_500),
        stop_timeout_ms: [300, 1_000, 10_000][rng.random_range(0..3)],
    }
}

// ---- what breaks

fn draw_faults(rng: &mut ChaCha8Rng, manners: &Manners, until_us: u64, script: &mut Script) {
    let nodes = script.plan.nodes;
    let mut ends: Vec<u64> = Vec::new();
    let mut at_us = manners.fault_gap_us;
    while at_us < until_us {
        let Some(kind) = draw_weighted(rng, &manners.faults) else { return };
        let drawn = draw_fault(rng, kind, nodes, manners.pace_percent);
        ends.retain(|end| *end > at_us);
        if let Some((fault, lasts_us)) = drawn.filter(|_| ends.len() < FAULTS_MAX) {
            ends.push(at_us + lasts_us);
            script.steps.push(Step { at_us, act: Act::Fault { fault, lasts_us } });
        }
        at_us += rng.random_range(manners.fault_gap_us / 4..=manners.fault_gap_us * 7 / 4).max(1);
    }
}

/// A fault of this kind, and how long it lasts; `None` where there are too few nodes for it.
fn draw_fault(rng: &mut ChaCha8Rng, kind: FaultKind, nodes: usize, pace_percent: u64) -> Option<(Fault, u64)> {
    use FaultKind as K;
    let longest = if rng.random_bool(0.3) { 12_000_000 } else { 4_000_000 };
    let lasts_us = rng.random_range(200_000..longest) * pace_percent / 100;
    let node = rng.random_range(0..nodes);
    let other = (node + rng.random_range(1..nodes.max(2))) % nodes;
    let alone = matches!(kind, K::CrashKeepDisk | K::CrashLoseDisk | K::CrashOldDisk | K::Pause | K::Stutter);
    if nodes < 2 && !alone {
        return None;
    }
    let side = |rng: &mut ChaCha8Rng| -> Vec<usize> {
        (0..nodes).filter(|&n| n == node || (n != other && rng.random_bool(0.5))).collect()
    };
    let fault = match kind {
        K::Split => Fault::Split { side: side(rng) },
        K::Isolate => Fault::Isolate { node },
        K::OneWay => Fault::OneWay { from: node, to: other },
        K::Deaf => Fault::Deaf { node },
        K::Ring if nodes < 4 => return None,
        K::Ring => Fault::Ring {},
        K::Bridge if nodes < 3 => return None,
        K::Bridge => Fault::Bridge { over: rng.random_range(0..nodes), side: side(rng) },
        K::Flapping => Fault::Flapping { side: side(rng), period_us: rng.random_range(50_000..2_000_000) },
        K::Stall => Fault::Stall { from: node, to: other },
        K::Loss => Fault::Loss { permille: rng.random_range(50..500) },
        K::Doubling => Fault::Doubling { permille: rng.random_range(50..800) },
        K::Reordering => Fault::Reordering { permille: rng.random_range(50..800) },
        K::Delay => Fault::Delay { factor: rng.random_range(2..40) },
        K::Reset => return Some((Fault::Reset { one: node, other }, 0)),
        K::CrashKeepDisk => Fault::Crash { node, disk: Disk::Kept },
        K::CrashLoseDisk => Fault::Crash { node, disk: Disk::Lost },
        K::CrashOldDisk => Fault::Crash { node, disk: Disk::Old },
        K::Leave => Fault::Leave { node },
        K::Storm => {
            let (nodes, leave) = (side(rng), rng.random_bool(0.5));
            Fault::Storm { nodes, leave }
        }
        K::Pause => {
            let longest = if rng.random_bool(0.15) { PAUSE_US_MAX } else { 5_000_000 };
            return Some((Fault::Pause { node }, rng.random_range(200_000..longest)));
        }
        K::Stutter => Fault::Stutter { node, period_us: rng.random_range(50_000..800_000) },
        K::Skew => Fault::Skew { node, by_ms: rng.random_range(-120_000..120_000) },
        K::Lie => Fault::Lie { node, peer: other },
        K::Namesake => Fault::Namesake { of: node },
    };
    Some((fault, lasts_us))
}

// ---- weights

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
