//! Faults as small rules that undo themselves: each begins, lasts for a while and ends; the heal ends all at once.

use std::collections::BTreeMap;

use ordu_supervisor::core::Input;
use ordu_transport::core::membership;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::plan::{Plan, Stream, draw_weighted, stream};
use crate::world::{Happening, World};

/// Most faults that are there at a time.
pub const FAULTS_MAX: usize = 3;
/// How long a node that leaves tries to give its children away.
const DRAIN_US_MAX: u64 = 5_000_000;
/// Longest pause of a node.
pub const PAUSE_US_MAX: u64 = 5_000_000;

/// The kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The nodes fall into two groups.
    Split,
    /// One node is cut off from all others.
    Isolate,
    /// Packets from one node do not reach another, but do the other way.
    OneWay,
    /// A node is killed; it comes back with its disk.
    CrashKeepDisk,
    /// A node is killed; it comes back without its disk, as boot 1.
    CrashLoseDisk,
    /// A node leaves in order, and comes back later.
    Leave,
    /// A node stops for up to [`PAUSE_US_MAX`] and goes on.
    Pause,
    /// Much is lost.
    Loss,
    /// Everything is slow.
    Delay,
    /// A session breaks.
    Reset,
    /// A wall clock jumps.
    Skew,
    /// A view is wrong (only where an oracle gives the views).
    Lie,
}

/// A fault that began.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    Cut { directions: Vec<(usize, usize)> },
    Down { node: usize, keep_disk: bool, leave: bool },
    Pause { node: usize },
    Loss { share: f64 },
    Delay { factor: u64 },
    Reset { one: usize, other: usize },
    Skew { node: usize, by_ms: i64 },
    Lie { node: usize, peer: usize, until: u64 },
}

/// The faults that are there now.
pub(crate) struct ActiveFaults {
    rng: ChaCha8Rng,
    active: BTreeMap<u64, Fault>,
    paused_since: BTreeMap<usize, u64>,
    next: u64,
    stopped: bool,
    pace_percent: u64,
}

impl ActiveFaults {
    pub(crate) fn new(plan: &Plan) -> Self {
        let (rng, pace_percent) = (stream(plan.seed, Stream::Faults), plan.pace_percent);
        Self { rng, active: BTreeMap::new(), paused_since: BTreeMap::new(), next: 0, stopped: false, pace_percent }
    }

    pub(crate) fn insert(&mut self, fault: Fault) -> u64 {
        self.next += 1;
        self.active.insert(self.next, fault);
        self.next
    }

    pub(crate) fn active(&self) -> Vec<u64> {
        self.active.keys().copied().collect()
    }

    pub(crate) fn stop(&mut self) {
        self.stopped = true;
    }

    /// Whether the run is past its heal.
    pub(crate) fn are_over(&self) -> bool {
        self.stopped
    }

    /// Whether the network is so bad that no time can be promised.
    pub(crate) fn is_stormy(&self) -> bool {
        self.active.values().any(|fault| matches!(fault, Fault::Loss { .. } | Fault::Delay { .. } | Fault::Lie { .. }))
    }

    pub(crate) fn paused_since(&self, node: usize) -> Option<u64> {
        self.paused_since.get(&node).copied()
    }

    fn is_down(&self, node: usize) -> bool {
        self.active.values().any(|fault| matches!(fault, Fault::Down { node: down, .. } if *down == node))
    }

    /// A fault of this kind, and how long it lasts; `None` where it makes no sense now.
    fn draw(&mut self, kind: FaultKind, nodes: usize, now: u64) -> Option<(Fault, u64)> {
        let longest = if self.rng.random_bool(0.3) { 12_000_000 } else { 4_000_000 };
        let lasts = self.rng.random_range(200_000..longest) * self.pace_percent / 100;
        let node = self.rng.random_range(0..nodes);
        let apart = self.rng.random_range(1..nodes.max(2));
        let other = (node + apart) % nodes;
        if nodes < 2 && !matches!(kind, FaultKind::CrashKeepDisk | FaultKind::CrashLoseDisk | FaultKind::Pause) {
            return None;
        }
        let down = |keep_disk, leave| Fault::Down { node, keep_disk, leave };
        let fault = match kind {
            FaultKind::Split => {
                let side: Vec<bool> =
                    (0..nodes).map(|n| n == node || (n != other && self.rng.random_bool(0.5))).collect();
                Fault::Cut { directions: pairs(nodes, |from, to| side[from] != side[to]) }
            }
            FaultKind::Isolate => Fault::Cut { directions: pairs(nodes, |from, to| from == node || to == node) },
            FaultKind::OneWay => Fault::Cut { directions: vec![(node, other)] },
            FaultKind::CrashKeepDisk => down(true, false),
            FaultKind::CrashLoseDisk => down(false, false),
            FaultKind::Leave => down(true, true),
            FaultKind::Pause => return Some((Fault::Pause { node }, lasts.min(PAUSE_US_MAX))),
            FaultKind::Loss => Fault::Loss { share: self.rng.random_range(0.05..0.5) },
            FaultKind::Delay => Fault::Delay { factor: self.rng.random_range(2..40) },
            FaultKind::Reset => return Some((Fault::Reset { one: node, other }, 0)),
            FaultKind::Skew => {
                let by_ms = self.rng.random_range(-120_000..120_000);
                Fault::Skew { node, by_ms }
            }
            FaultKind::Lie => Fault::Lie { node, peer: other, until: now + lasts },
        };
        Some((fault, lasts))
    }
}

fn pairs(nodes: usize, cut: impl Fn(usize, usize) -> bool) -> Vec<(usize, usize)> {
    let all = (0..nodes).flat_map(|from| (0..nodes).map(move |to| (from, to)));
    all.filter(|&(from, to)| from != to && cut(from, to)).collect()
}

impl World {
    /// Draws the next fault.
    pub(crate) fn on_fault_begins(&mut self) {
        if self.faults.stopped || self.plan.fault_weights.is_empty() {
            return;
        }
        let (faults, now, nodes) = (&mut self.faults, self.now, self.nodes.len());
        let gap = faults.rng.random_range(self.plan.fault_gap_us / 4..=self.plan.fault_gap_us * 7 / 4);
        let kind = draw_weighted(&mut faults.rng, &self.plan.fault_weights);
        let drawn = kind.and_then(|kind| faults.draw(kind, nodes, now));
        if let Some((fault, lasts)) = drawn.filter(|_| self.faults.active.len() < FAULTS_MAX) {
            let touched = match &fault {
                Fault::Down { node, .. } | Fault::Pause { node } => {
                    self.life(*node).is_none() || self.nodes[*node].paused || self.faults.is_down(*node)
                }
                Fault::Cut { .. } | Fault::Loss { .. } | Fault::Delay { .. } => false,
                Fault::Reset { .. } | Fault::Skew { .. } | Fault::Lie { .. } => false,
            };
            if !touched {
                self.begin_fault(fault, lasts);
            }
        }
        self.schedule(now + gap, Happening::FaultBegins);
    }

    pub(crate) fn apply_fault(&mut self, fault: &Fault) {
        match fault {
            Fault::Cut { directions } => directions.iter().for_each(|&(from, to)| self.cut(from, to)),
            Fault::Down { node, leave, .. } => self.take_down(*node, *leave),
            Fault::Pause { node } => {
                self.nodes[*node].paused = true;
                self.record.node_paused(self.now, *node);
                self.faults.paused_since.insert(*node, self.now);
                self.silence(*node);
            }
            Fault::Loss { share } => self.net.storm_loss += share,
            Fault::Delay { factor } => self.net.storm_delay = self.net.storm_delay.max(*factor),
            Fault::Reset { one, other } => self.break_sessions(*one, *other),
            Fault::Skew { node, by_ms } => self.nodes[*node].skew_ms += by_ms,
            Fault::Lie { node, peer, until } => self.views_lie(*node, *peer, *until),
        }
    }

    fn take_down(&mut self, node: usize, leave: bool) {
        let latest = self.now + DRAIN_US_MAX;
        let Some(life) = self.life_mut(node) else { return };
        if !leave {
            let id = life.id.clone();
            self.crash(node);
            if self.rng.random_bool(0.5) {
                self.hint_unreachable(node, &id);
            }
            return;
        }
        life.leaving = true;
        let number = life.number;
        self.record.node_leaves(self.now, node);
        let Some(life) = self.life(node) else { return };
        match life.upper.children() {
            Some(_) => {
                self.schedule(latest, Happening::Leaves { node, life: number });
                self.feed(node, Input::Shutdown);
                self.plan_timer(node);
            }
            None => self.on_leaves(node, number),
        }
    }

    /// A node that leaves has given its children away, or has waited for long enough.
    pub(crate) fn on_leaves(&mut self, node: usize, life: u64) {
        if !self.is_life(node, life) {
            return;
        }
        let Some(id) = self.life(node).map(|life| life.id.clone()) else { return };
        self.feed_membership(node, membership::Input::Leave);
        for peer in (0..self.nodes.len()).filter(|&peer| peer != node) {
            if self.net.is_open(node, peer) && !self.nodes[peer].paused {
                self.views_left(peer, node, &id);
            }
        }
        self.crash(node);
    }

    /// Undoes a fault, if it is still there.
    pub(crate) fn end_fault(&mut self, number: u64) {
        let Some(fault) = self.faults.active.remove(&number) else { return };
        self.disturbed_us = self.now;
        self.trace.world(self.now, &format_args!("ends: {fault:?}"));
        self.record.fault_ends(self.now, number);
        match fault {
            Fault::Cut { directions } => directions.iter().for_each(|&(from, to)| self.uncut(from, to)),
            Fault::Down { node, keep_disk, .. } => {
                if let Some(life) = self.life(node).filter(|life| life.leaving).map(|life| life.number) {
                    self.on_leaves(node, life);
                }
                if !keep_disk {
                    self.nodes[node].disk_boot = 0;
                }
                if !self.nodes[node].gone {
                    self.start(node);
                }
            }
            Fault::Pause { node } => {
                self.faults.paused_since.remove(&node);
                self.resume(node);
            }
            Fault::Loss { share } => self.net.storm_loss = (self.net.storm_loss - share).max(0.0),
            Fault::Delay { .. } => {
                let factor = |fault: &Fault| if let Fault::Delay { factor } = fault { Some(*factor) } else { None };
                self.net.storm_delay = self.faults.active.values().filter_map(factor).max().unwrap_or(1);
            }
            Fault::Reset { .. } | Fault::Skew { .. } | Fault::Lie { .. } => {}
        }
    }
}
