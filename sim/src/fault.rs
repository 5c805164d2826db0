//! Faults as small rules that compose and undo themselves: each begins, lasts for a while and ends; the heal ends all at
//! once. Cuts are counted, so a direction that two faults cut opens with the end of the second.

use std::collections::BTreeMap;

use ordu_supervisor::core::Input;
use ordu_transport::core::membership;
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::world::{Happening, World};

/// How long a node that leaves tries to give its children away, in microseconds.
const DRAIN_US_MAX: u64 = 5_000_000;
/// How long a node may still hear of a namesake that is over: what was said of it may have been on its way.
const NAMESAKE_HEARD_US: u64 = 2_000_000;
/// A flapping or stuttering fault changes at most this often, in microseconds.
pub const PERIOD_US_MIN: u64 = 10_000;
/// Most times that everything takes longer.
pub const FACTOR_MAX: u64 = 100;

/// What a killed node finds when it starts again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disk {
    /// What it had written.
    Kept,
    /// Nothing: it begins with boot 1.
    Lost,
    /// An older state: it begins with a boot number that it had before.
    Old,
}

/// Something that breaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// These nodes are cut off from the rest.
    Split {
        /// Which.
        side: Vec<usize>,
    },
    /// One node is cut off from all others.
    Isolate {
        /// Which.
        node: usize,
    },
    /// Packets from one node do not reach another, but do the other way.
    OneWay {
        /// Who is not heard.
        from: usize,
        /// By whom.
        to: usize,
    },
    /// One node hears nobody, and is heard by all.
    Deaf {
        /// Which.
        node: usize,
    },
    /// Each node reaches the two beside it only.
    Ring {},
    /// Two sides that only one node reaches both of.
    Bridge {
        /// That node.
        over: usize,
        /// One of the sides.
        side: Vec<usize>,
    },
    /// A split that comes and goes.
    Flapping {
        /// One of the sides.
        side: Vec<usize>,
        /// How long it is there, and then not, in microseconds.
        period_us: u64,
    },
    /// Frames from one node to another wait, though both live and hear each other: a reader that does not read.
    Stall {
        /// Who writes.
        from: usize,
        /// Who does not read.
        to: usize,
    },
    /// Much is lost.
    Loss {
        /// How many of a thousand packets.
        permille: u32,
    },
    /// Datagrams arrive twice.
    Doubling {
        /// How many of a thousand.
        permille: u32,
    },
    /// Datagrams arrive late, behind later ones.
    Reordering {
        /// How many of a thousand.
        permille: u32,
    },
    /// Everything takes longer.
    Delay {
        /// How many times.
        factor: u64,
    },
    /// The sessions of a pair break, with a lost tail.
    Reset {
        /// One of the pair.
        one: usize,
        /// The other.
        other: usize,
    },
    /// A node is killed, and started again at the end.
    Crash {
        /// Which.
        node: usize,
        /// What it finds then.
        disk: Disk,
    },
    /// A node leaves in order, and joins again at the end.
    Leave {
        /// Which.
        node: usize,
    },
    /// Many nodes go at once, and come back at once.
    Storm {
        /// Which.
        nodes: Vec<usize>,
        /// Whether they leave in order; otherwise they are killed.
        leave: bool,
    },
    /// A node stops, and goes on as if nothing had been.
    Pause {
        /// Which.
        node: usize,
    },
    /// A slow node: it stops and goes on, again and again.
    Stutter {
        /// Which.
        node: usize,
        /// How long it stands still, and then goes on for a fifth of that, in microseconds.
        period_us: u64,
    },
    /// A wall clock jumps, and stays there.
    Skew {
        /// Whose.
        node: usize,
        /// By how much, in milliseconds.
        by_ms: i64,
    },
    /// A view is wrong: a living peer is shown as down. Only where an oracle gives the views.
    Lie {
        /// Whose view.
        node: usize,
        /// Who is shown as down.
        peer: usize,
    },
    /// A second node starts under the name of another, at an address of its own; it is taken away at the end. Only where
    /// the membership core gives the views.
    Namesake {
        /// Whose name.
        of: usize,
    },
}

impl Fault {
    /// The directions that it cuts.
    pub fn cuts(&self, nodes: usize) -> Vec<(usize, usize)> {
        let apart = |side: &[usize], from: usize, to: usize| side.contains(&from) != side.contains(&to);
        match self {
            Fault::Split { side } | Fault::Flapping { side, .. } => pairs(nodes, |from, to| apart(side, from, to)),
            Fault::Isolate { node } => pairs(nodes, |from, to| from == *node || to == *node),
            Fault::OneWay { from, to } => vec![(*from, *to)],
            Fault::Deaf { node } => pairs(nodes, |_, to| to == *node),
            Fault::Ring {} => pairs(nodes, |from, to| (from + 1) % nodes != to && (to + 1) % nodes != from),
            Fault::Bridge { over, side } => {
                pairs(nodes, |from, to| from != *over && to != *over && apart(side, from, to))
            }
            Fault::Stall { .. } | Fault::Loss { .. } | Fault::Doubling { .. } | Fault::Reordering { .. } => Vec::new(),
            Fault::Delay { .. } | Fault::Reset { .. } | Fault::Crash { .. } | Fault::Leave { .. } => Vec::new(),
            Fault::Storm { .. } | Fault::Pause { .. } | Fault::Stutter { .. } | Fault::Skew { .. } => Vec::new(),
            Fault::Lie { .. } | Fault::Namesake { .. } => Vec::new(),
        }
    }

    /// The nodes that it names.
    pub fn nodes(&self) -> Vec<usize> {
        self.clone().nodes_mut().into_iter().map(|node| *node).collect()
    }

    /// The same, to be changed.
    pub fn nodes_mut(&mut self) -> Vec<&mut usize> {
        match self {
            Fault::Split { side } | Fault::Flapping { side, .. } => side.iter_mut().collect(),
            Fault::Bridge { over, side } => side.iter_mut().chain([over]).collect(),
            Fault::Storm { nodes, .. } => nodes.iter_mut().collect(),
            Fault::OneWay { from, to } | Fault::Stall { from, to } => vec![from, to],
            Fault::Reset { one, other } => vec![one, other],
            Fault::Lie { node, peer } => vec![node, peer],
            Fault::Namesake { of } => vec![of],
            Fault::Isolate { node } | Fault::Deaf { node } | Fault::Crash { node, .. } => vec![node],
            Fault::Leave { node } | Fault::Pause { node } | Fault::Stutter { node, .. } => vec![node],
            Fault::Skew { node, .. } => vec![node],
            Fault::Ring {} | Fault::Loss { .. } | Fault::Doubling { .. } | Fault::Reordering { .. } => Vec::new(),
            Fault::Delay { .. } => Vec::new(),
        }
    }

    /// The nodes whose lives it touches; no two such faults at a time touch one node.
    fn lives(&self) -> &[usize] {
        match self {
            Fault::Crash { node, .. } | Fault::Leave { node } | Fault::Pause { node } | Fault::Stutter { node, .. } => {
                std::slice::from_ref(node)
            }
            Fault::Storm { nodes, .. } => nodes,
            Fault::Split { .. } | Fault::Isolate { .. } | Fault::OneWay { .. } | Fault::Deaf { .. } => &[],
            Fault::Ring {} | Fault::Bridge { .. } | Fault::Flapping { .. } | Fault::Stall { .. } => &[],
            Fault::Loss { .. } | Fault::Doubling { .. } | Fault::Reordering { .. } | Fault::Delay { .. } => &[],
            Fault::Reset { .. } | Fault::Skew { .. } | Fault::Lie { .. } | Fault::Namesake { .. } => &[],
        }
    }

    /// The same fault in the words that say it most shortly: a cut by the smaller of its sides.
    fn told(&self, nodes: usize) -> String {
        let mut shorter = self.clone();
        if let Fault::Split { side } | Fault::Flapping { side, .. } = &mut shorter
            && side.len() * 2 > nodes
        {
            *side = (0..nodes).filter(|node| !side.contains(node)).collect();
        }
        // Who cuts all nodes off from nobody has them all named.
        if shorter.nodes().is_empty() { self.to_string() } else { shorter.to_string() }
    }

    /// How long until it changes by itself, in microseconds, and whether it is on then.
    fn period_us(&self, on: bool) -> Option<u64> {
        match self {
            Fault::Flapping { period_us, .. } => Some((*period_us).max(PERIOD_US_MIN)),
            Fault::Stutter { period_us, .. } => Some((*period_us / if on { 1 } else { 5 }).max(PERIOD_US_MIN)),
            _ => None,
        }
    }
}

fn pairs(nodes: usize, cut: impl Fn(usize, usize) -> bool) -> Vec<(usize, usize)> {
    let all = (0..nodes).flat_map(|from| (0..nodes).map(move |to| (from, to)));
    all.filter(|&(from, to)| from != to && cut(from, to)).collect()
}

/// A fault that is there now.
#[derive(Debug, Clone)]
struct Active {
    fault: Fault,
    /// Whether it works now: those that come and go do not always.
    on: bool,
    until_us: u64,
}

/// The faults that are there now.
#[derive(Debug, Default)]
pub(crate) struct ActiveFaults {
    active: BTreeMap<u64, Active>,
    paused_since: BTreeMap<usize, u64>,
    next: u64,
    healed: bool,
}

impl ActiveFaults {
    pub(crate) fn active(&self) -> Vec<u64> {
        self.active.keys().copied().collect()
    }

    pub(crate) fn heal(&mut self) {
        self.healed = true;
    }

    /// Whether the run is past its heal.
    pub(crate) fn are_over(&self) -> bool {
        self.healed
    }

    /// Whether it is so bad that no time can be promised.
    pub(crate) fn is_stormy(&self) -> bool {
        self.active.values().any(|active| {
            matches!(
                active.fault,
                Fault::Loss { .. }
                    | Fault::Delay { .. }
                    | Fault::Lie { .. }
                    | Fault::Stall { .. }
                    | Fault::Stutter { .. }
                    | Fault::Namesake { .. }
            )
        })
    }

    pub(crate) fn paused_since(&self, node: usize) -> Option<u64> {
        self.paused_since.get(&node).copied()
    }

    fn touches_life(&self, node: usize) -> bool {
        self.active.values().any(|active| active.fault.lives().contains(&node))
    }

    fn permille(&self, of: impl Fn(&Fault) -> Option<u32>) -> f64 {
        f64::from(self.active.values().filter_map(|active| of(&active.fault)).sum::<u32>().min(1_000)) / 1_000.0
    }
}

impl World {
    /// Begins a fault, unless it makes no sense now, and plans its end.
    pub(crate) fn begin_fault(&mut self, fault: Fault, lasts_us: u64) {
        let busy =
            |node: &usize| self.life(*node).is_none() || self.nodes[*node].paused || self.faults.touches_life(*node);
        let wrong_views = match &fault {
            Fault::Lie { .. } => self.plan.swim,
            Fault::Namesake { of } => !self.plan.swim || self.life(*of).is_none() || self.has_namesake(),
            _ => false,
        };
        if self.faults.healed || wrong_views || fault.lives().iter().any(busy) {
            return;
        }
        self.trace.world(self.now, &fault);
        self.faults.next += 1;
        let (number, until_us) = (self.faults.next, self.now.saturating_add(lasts_us));
        self.faults.active.insert(number, Active { fault: fault.clone(), on: true, until_us });
        self.record.fault_begins(self.now, number, &fault, &fault.told(self.plan.nodes));
        self.apply_fault(&fault, until_us);
        self.schedule(until_us, Happening::FaultEnds { number });
        if let Some(period) = fault.period_us(true) {
            self.schedule(self.now.saturating_add(period), Happening::FaultTurns { number });
        }
    }

    /// A fault that comes and goes does so.
    pub(crate) fn on_fault_turns(&mut self, number: u64) {
        let Some(active) = self.faults.active.get_mut(&number) else { return };
        active.on = !active.on;
        let Active { fault, on, until_us } = active.clone();
        if on {
            self.apply_fault(&fault, until_us)
        } else {
            self.undo_fault(&fault)
        }
        if let Some(period) = fault.period_us(on) {
            self.schedule(self.now.saturating_add(period), Happening::FaultTurns { number });
        }
    }

    /// Undoes a fault, if it is still there.
    pub(crate) fn end_fault(&mut self, number: u64) {
        let Some(active) = self.faults.active.remove(&number) else { return };
        self.trace.world(self.now, &format_args!("ends: {:?}", active.fault));
        self.record.fault_ends(self.now, number);
        if active.on {
            self.undo_fault(&active.fault);
        }
    }

    fn apply_fault(&mut self, fault: &Fault, until_us: u64) {
        self.disturbed_us = self.now;
        fault.cuts(self.nodes.len()).into_iter().for_each(|(from, to)| self.cut(from, to));
        match fault {
            Fault::Split { .. } | Fault::Isolate { .. } | Fault::OneWay { .. } | Fault::Deaf { .. } => {}
            Fault::Ring {} | Fault::Bridge { .. } | Fault::Flapping { .. } => {}
            Fault::Stall { from, to } => self.net.stalls.push((*from, *to)),
            Fault::Loss { .. } | Fault::Doubling { .. } | Fault::Reordering { .. } | Fault::Delay { .. } => {
                self.weather();
            }
            Fault::Reset { one, other } => self.break_sessions(*one, *other),
            Fault::Crash { node, .. } => self.take_down(*node, false),
            Fault::Leave { node } => self.take_down(*node, true),
            Fault::Storm { nodes, leave } => nodes.iter().for_each(|node| self.take_down(*node, *leave)),
            Fault::Pause { node } | Fault::Stutter { node, .. } => {
                self.nodes[*node].paused = true;
                self.record.node_paused(self.now, *node);
                self.faults.paused_since.insert(*node, self.now);
                self.silence(*node);
            }
            Fault::Skew { node, by_ms } => {
                let skew_ms = &mut self.nodes[*node].skew_ms;
                *skew_ms = skew_ms.saturating_add(*by_ms);
            }
            Fault::Lie { node, peer } => self.views_lie(*node, *peer, until_us),
            Fault::Namesake { of } => self.start_namesake(*of),
        }
    }

    fn undo_fault(&mut self, fault: &Fault) {
        self.disturbed_us = self.now;
        fault.cuts(self.nodes.len()).into_iter().for_each(|(from, to)| self.uncut(from, to));
        match fault {
            Fault::Split { .. } | Fault::Isolate { .. } | Fault::OneWay { .. } | Fault::Deaf { .. } => {}
            Fault::Ring {} | Fault::Bridge { .. } | Fault::Flapping { .. } => {}
            Fault::Stall { from, to } => {
                let stalls = &mut self.net.stalls;
                stalls.iter().position(|stall| stall == &(*from, *to)).map(|at| stalls.swap_remove(at));
                self.unstall(*from, *to);
            }
            Fault::Loss { .. } | Fault::Doubling { .. } | Fault::Reordering { .. } | Fault::Delay { .. } => {
                self.weather();
            }
            Fault::Crash { node, disk } => self.bring_back(*node, *disk),
            Fault::Leave { node } => self.bring_back(*node, Disk::Kept),
            Fault::Storm { nodes, .. } => nodes.iter().for_each(|node| self.bring_back(*node, Disk::Kept)),
            Fault::Pause { node } | Fault::Stutter { node, .. } => {
                self.faults.paused_since.remove(node);
                self.resume(*node);
            }
            Fault::Namesake { of } => self.end_namesake(*of),
            Fault::Reset { .. } | Fault::Skew { .. } | Fault::Lie { .. } => {}
        }
    }

    /// Adds up what the storms do.
    fn weather(&mut self) {
        let faults = &self.faults;
        self.net.storm_loss = faults.permille(|fault| match fault {
            Fault::Loss { permille } => Some(*permille),
            _ => None,
        });
        self.net.storm_doubled = faults.permille(|fault| match fault {
            Fault::Doubling { permille } => Some(*permille),
            _ => None,
        });
        self.net.storm_late = faults.permille(|fault| match fault {
            Fault::Reordering { permille } => Some(*permille),
            _ => None,
        });
        let factors = faults.active.values().filter_map(|active| match active.fault {
            Fault::Delay { factor } => Some(factor.clamp(1, FACTOR_MAX)),
            _ => None,
        });
        self.net.storm_delay = factors.max().unwrap_or(1);
    }

    // ---- nodes that go

    fn take_down(&mut self, node: usize, leave: bool) {
        let latest = self.now + DRAIN_US_MAX;
        let Some(life) = self.life_mut(node) else { return };
        if !leave {
            let id = life.id.clone();
            self.nodes[node].host_answers = self.rng.random_bool(0.5);
            self.crash(node);
            return self.oracle.killed(id, self.now, self.nodes[node].host_answers);
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
        self.nodes[node].host_answers = false;
        self.feed_membership(node, membership::Input::Leave);
        for peer in (0..self.nodes.len()).filter(|&peer| peer != node) {
            if self.net.is_open(node, peer) && !self.nodes[peer].paused {
                self.views_left(peer, node, &id);
            }
        }
        self.crash(node);
    }

    fn bring_back(&mut self, node: usize, disk: Disk) {
        if let Some(life) = self.life(node).filter(|life| life.leaving).map(|life| life.number) {
            self.on_leaves(node, life);
        }
        self.nodes[node].disk.suffer(disk);
        let boot = &mut self.nodes[node].disk_boot;
        *boot = match disk {
            Disk::Kept => *boot,
            Disk::Lost => 0,
            Disk::Old => boot.saturating_sub(1),
        };
        if !self.nodes[node].gone {
            self.start(node);
        }
    }

    // ---- two nodes of one name

    /// Where the namesake lives: behind the nodes of the plan.
    fn namesake(&self) -> Option<usize> {
        (self.nodes.len() > self.plan.nodes).then_some(self.plan.nodes)
    }

    fn has_namesake(&self) -> bool {
        self.namesake().is_some_and(|node| self.nodes[node].life.is_some())
    }

    fn start_namesake(&mut self, of: usize) {
        let Some(node) = self.namesake() else { return };
        self.nodes[node].host_answers = false;
        let name = self.nodes[of].name.clone();
        let before = std::mem::replace(&mut self.nodes[node].name, name);
        self.former_namesake = Some((before, self.now));
        self.nodes[node].disk_boot = self.rng.random_range(0..3);
        self.gave_way.clear();
        self.start(node);
    }

    fn end_namesake(&mut self, of: usize) {
        let Some(node) = self.namesake() else { return };
        if self.life(node).is_some() {
            self.crash(node);
        }
        if self.life(of).is_none() && !self.faults.touches_life(of) && !self.nodes[of].gone {
            self.start(of);
        }
    }

    /// A node was told that another one lives under its name, and stops for good.
    pub(crate) fn gives_way(&mut self, node: usize, holder: &str) {
        let (name, namesake) = (self.nodes[node].name.clone(), self.namesake());
        let before = self.former_namesake.as_ref().filter(|(_, until)| self.now < until + NAMESAKE_HEARD_US);
        let shared = namesake.is_some_and(|namesake| self.nodes[namesake].name == name)
            || before.is_some_and(|(before, _)| *before == name);
        self.gave_way.insert(node);
        self.crash(node);
        if !shared {
            let what = format!("n{node} gave way to {holder}, though nobody else had its name");
            self.violate(crate::invariants::one_owner::NAME, false, what);
        } else if self.gave_way.len() > 1 {
            self.violate(crate::invariants::one_owner::NAME, false, format!("both nodes of the name {name} gave way"));
        }
    }
}
