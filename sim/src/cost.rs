//! What a registration costs, and a heal: bytes, frames and inputs of each node of a calm cluster, by its size.
//!
//! A calm cluster chatters. What it sends in a window without operations is taken from what it sends in an equal window
//! with some; the rest, divided by their number, is the cost of one. The chatter of both windows is jittered, so the
//! difference is good to a few bytes for each node only. Every frame passes through the codec; what sessions add
//! (encryption, acknowledgements, retransmissions) is not counted.

use std::fmt::Write;

use crate::lab::Lab;
use crate::link::Sent;
use crate::plan::Plan;
use crate::script::{Op, Script};
use crate::workload::NAMES_AT_ONCE_MAX;
use crate::world::World;

/// How long a cluster is given to settle before it is measured, in simulated microseconds.
const SETTLE_US: u64 = 30_000_000;
/// How long each window is.
const WINDOW_US: u64 = 20_000_000;
/// How many registrations fall into a window.
const REGISTRATIONS: usize = 50;
/// How long a partition lasts.
const CUT_US: u64 = 20_000_000;
/// Most names of a heal, and most that are held before it: one process registers them at once.
pub const NAMES_MAX: usize = NAMES_AT_ONCE_MAX;
/// How often it is looked whether a heal is over.
const LOOK_US: u64 = 50_000;
/// How long a heal may take.
const HEAL_US_MAX: u64 = 60_000_000;

/// What was counted of one node in a window.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Flow {
    /// Bytes of frames and datagrams sent.
    pub bytes: f64,
    /// Frames sent.
    pub frames: f64,
    /// Membership datagrams sent.
    pub datagrams: f64,
    /// Inputs handled.
    pub inputs: f64,
}

impl Flow {
    fn map2(self, other: Flow, with: impl Fn(f64, f64) -> f64) -> Flow {
        Flow {
            bytes: with(self.bytes, other.bytes),
            frames: with(self.frames, other.frames),
            datagrams: with(self.datagrams, other.datagrams),
            inputs: with(self.inputs, other.inputs),
        }
    }
}

/// The cost of one size of cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Cost {
    /// How many nodes.
    pub nodes: usize,
    /// What an average node sends and handles in a second without any operation.
    pub idle_per_s: Flow,
    /// What one registration adds at an average node.
    pub mean: Flow,
    /// And at the node that it is asked of.
    pub asked: Flow,
    /// And in all nodes together.
    pub total: Flow,
    /// Heals of this size of cluster, if any were measured.
    pub heals: Vec<Heal>,
}

/// The cost of one heal.
#[derive(Debug, Clone, PartialEq)]
pub struct Heal {
    /// How many names everybody held before.
    pub held: usize,
    /// How many names were registered on one side while the cluster was cut in two.
    pub names: usize,
    /// Bytes sent by all nodes from the heal until their tables were equal, less what they send without any.
    pub bytes: f64,
    /// [`Self::bytes`] of a heal of as long a cut without any names.
    pub bytes_of_none: f64,
    /// How long that took, in simulated microseconds; `None`: longer than a minute.
    pub took_us: Option<u64>,
    /// The promise that broke and ended the run, if one did; the other numbers then say nothing.
    pub broken: Option<String>,
}

/// Measures a cluster of this size, and a heal for each of these numbers of names, of a cluster that holds others
/// already; each of them up to [`NAMES_MAX`].
pub fn measure(nodes: usize, seed: u64, held: usize, heals: &[usize]) -> Cost {
    let mut world = calm(nodes, seed);
    let before = counts(&world);
    let end = world.now + WINDOW_US;
    world.run_until(end);
    let idle = since(&world, &before);
    let before = counts(&world);
    for number in 0..REGISTRATIONS {
        world.operate(0, Op::RegisterMany { first: number, count: 1 });
        let next = world.now + WINDOW_US / REGISTRATIONS as u64;
        world.run_until(next);
    }
    let busy = since(&world, &before);
    let each = |busy: f64, idle: f64| (busy - idle) / REGISTRATIONS as f64;
    let add = |flows: &[Flow]| flows.iter().fold(Flow::default(), |all, flow| all.map2(*flow, |a, b| a + b));
    let by = |flow: Flow, by: f64| flow.map2(flow, |value, _| value / by);
    let total = add(&busy).map2(add(&idle), each);
    let window_s = WINDOW_US as f64 / 1e6;
    let idle_bytes_per_us = add(&idle).bytes / WINDOW_US as f64;
    let none = if heals.is_empty() { 0.0 } else { heal(nodes, seed, held, 0, idle_bytes_per_us).bytes };
    let heal = |&names| Heal { bytes_of_none: none, ..heal(nodes, seed, held, names, idle_bytes_per_us) };
    Cost {
        nodes,
        idle_per_s: by(add(&idle), nodes as f64 * window_s),
        mean: by(total, nodes as f64),
        asked: busy[0].map2(idle[0], each),
        total,
        heals: heals.iter().map(heal).collect(),
    }
}

fn calm(nodes: usize, seed: u64) -> World {
    let plan = Plan { codec: true, ..Plan::calm(seed, nodes) };
    let mut world = World::of(&Lab::default(), &Script { plan, steps: Vec::new() }, None);
    world.run_until(SETTLE_US);
    world
}

fn heal(nodes: usize, seed: u64, held: usize, names: usize, idle_bytes_per_us: f64) -> Heal {
    let mut world = calm(nodes, seed);
    world.operate(nodes - 1, Op::RegisterMany { first: 0, count: held });
    let spread = world.now + SETTLE_US;
    world.run_until(spread);
    let half = nodes / 2;
    let across = |node: usize, other: usize| (node < half) != (other < half);
    let pairs = (0..nodes).flat_map(|node| (0..nodes).map(move |other| (node, other)));
    let pairs: Vec<_> = pairs.filter(|&(node, other)| across(node, other)).collect();
    pairs.iter().for_each(|&(from, to)| world.cut(from, to));
    let middle = world.now + CUT_US / 2;
    world.run_until(middle);
    world.operate(0, Op::RegisterMany { first: 0, count: names });
    let end = middle + CUT_US / 2;
    world.run_until(end);
    let before = counts(&world);
    pairs.iter().for_each(|&(from, to)| world.uncut(from, to));
    let took_us = loop {
        let next = world.now + LOOK_US;
        world.run_until(next);
        let took = world.now - end;
        if is_whole(&world) {
            break Some(took);
        }
        if took > HEAL_US_MAX {
            break None;
        }
    };
    let sent: f64 = since(&world, &before).iter().map(|flow| flow.bytes).sum();
    Heal {
        held,
        names,
        bytes: sent - idle_bytes_per_us * (world.now - end) as f64,
        bytes_of_none: 0.0,
        took_us,
        broken: world.violation.map(|violation| violation.what),
    }
}

/// Whether everybody sees everybody, and all tables are equal.
fn is_whole(world: &World) -> bool {
    let mut lives = world.up().map(|(_, life)| life);
    let Some(first) = lives.next() else { return true };
    let sees_all = || world.up().all(|(_, life)| life.upper.names().view().living().count() == world.plan.nodes);
    lives.all(|life| first.upper.is_alike(&life.upper)) && sees_all()
}

fn counts(world: &World) -> Vec<(Sent, u64)> {
    let sent = world.net.sent.iter().enumerate();
    sent.map(|(node, sent)| (*sent, world.trace.events_of(node))).collect()
}

fn since(world: &World, before: &[(Sent, u64)]) -> Vec<Flow> {
    let flow = |((now, inputs), (then, inputs_then)): (&(Sent, u64), &(Sent, u64))| Flow {
        bytes: (now.frame_bytes + now.datagram_bytes - then.frame_bytes - then.datagram_bytes) as f64,
        frames: (now.frames - then.frames) as f64,
        datagrams: (now.datagrams - then.datagrams) as f64,
        inputs: (inputs - inputs_then) as f64,
    };
    counts(world).iter().zip(before).map(flow).collect()
}

/// The costs as text: one table of registrations by size, one of heals by the number of names.
pub fn table(costs: &[Cost]) -> String {
    head() + &costs.iter().map(row).collect::<String>() + &heal_table(costs)
}

/// The head of the table of registrations.
pub fn head() -> String {
    "        a second of rest, a node | one registration, mean node | the node asked | all nodes\n\
     nodes     bytes frames   inputs |   bytes  frames   inputs   | bytes   frames |   bytes\n"
        .to_owned()
}

/// The line of one size of cluster in the table of registrations.
pub fn row(cost: &Cost) -> String {
    let Cost { nodes, idle_per_s: idle, mean, asked, total, .. } = cost;
    format!(
        "{nodes:>5} {:>9.0} {:>6.1} {:>8.1} | {:>7.0} {:>7.2} {:>8.2}   | {:>7.0} {:>6.1} | {:>8.0}\n",
        idle.bytes,
        idle.frames,
        idle.inputs,
        mean.bytes,
        mean.frames,
        mean.inputs,
        asked.bytes,
        asked.frames,
        total.bytes
    )
}

/// The table of heals; nothing if none was measured.
pub fn heal_table(costs: &[Cost]) -> String {
    let mut text = String::new();
    // Writing into a string does not fail.
    if costs.iter().any(|cost| !cost.heals.is_empty()) {
        let _ =
            writeln!(text, "nodes   held  names  bytes of the heal  over one without names  a name and node  seconds");
    }
    for Cost { nodes, heals, .. } in costs {
        for Heal { held, names, bytes, bytes_of_none, took_us, broken } in heals {
            if let Some(what) = broken {
                let _ = writeln!(text, "{nodes:>5} {held:>6} {names:>6} {what}");
                continue;
            }
            let over = bytes - bytes_of_none;
            let each = over / (*names * *nodes).max(1) as f64;
            let took = took_us.map_or("over 60".into(), |us| format!("{:.2}", us as f64 / 1e6));
            let _ = writeln!(text, "{nodes:>5} {held:>6} {names:>6} {bytes:>18.0} {over:>23.0} {each:>16.1} {took:>8}");
        }
    }
    text
}
