//! The world: one seeded heap of what will happen, the nodes, the network between them, and the run's three phases.
//!
//! *Safety*: operations and faults, invariants sampled all along. *Heal*: every fault is undone, operations stop.
//! *Liveness*: within a stated simulated time everything that must become true becomes true, and stays so. All
//! randomness comes from the seed; two happenings at one time follow the order in which they were planned.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::io::Write;

use ordu_supervisor::core::{Call, Exit};
use ordu_transport::core::Pid;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::fault::{ActiveFaults, Fault};
use crate::invariants::{self, Moment, Violation};
use crate::last::LastLook;
use crate::link::Network;
use crate::node::{Arrival, Node};
use crate::oracle::Oracle;
use crate::plan::{Plan, Stream, stream};
use crate::script::{Act, Script, Step};
use crate::trace::Trace;
use crate::twin::Twin;
use crate::workload::Workload;

/// How often the safety invariants are sampled.
pub const SAMPLE_US: u64 = 250_000;
/// After the heal everything must have come true within this simulated time.
pub const LIVENESS_MAX_US: u64 = 60_000_000;
/// And must then stay true for this long.
pub const STEADY_US: u64 = 3_000_000;
/// Most happenings at one instant; more means that a core spins.
pub const SAME_INSTANT_MAX: u64 = 200_000;

/// Something that will happen.
#[derive(Debug)]
pub(crate) enum Happening {
    /// The node's first life begins.
    Start { node: usize },
    /// A core wants to be called.
    Timer { node: usize, life: u64 },
    /// The oracle of views looks around.
    Look { node: usize, life: u64 },
    /// Something comes to a node from outside.
    Arrive { node: usize, life: u64, arrival: Arrival },
    /// The front frame of a lane is due.
    LaneDue { session: u64, side: usize, lane: usize },
    /// A datagram is due.
    Datagram { session: u64, side: usize, bytes: bytes::Bytes },
    /// A side of a session learns that it is over.
    SideDown { session: u64, side: usize },
    /// A side may have heard nothing for too long.
    IdleCheck { session: u64, side: usize, silent_since: u64 },
    /// The dialled node sees the first words.
    DialArrives { dial: u64 },
    /// The dialler sees the answer, or gives up.
    DialAnswered { dial: u64 },
    /// The dialled side of a new session begins.
    SessionUp { session: u64 },
    /// A step of the script.
    Step { number: usize },
    /// A fault that comes and goes does so.
    FaultTurns { number: u64 },
    /// A fault undoes itself.
    FaultEnds { number: u64 },
    /// A local process ends.
    ProcessEnds { node: usize, life: u64, pid: Pid },
    /// A child's init is over.
    ChildStarted { node: usize, life: u64, pid: Pid },
    /// A child ends.
    ChildEnds { node: usize, life: u64, pid: Pid, exit: Exit },
    /// A node that leaves is gone.
    Leaves { node: usize, life: u64 },
    /// Look at the safety invariants.
    Sample,
}

#[derive(Debug)]
struct Planned {
    at: u64,
    order: u64,
    what: Happening,
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl Eq for Planned {}
impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Planned {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// What came of one seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// How many inputs were handled by cores.
    pub events: u64,
    /// The digest of the run.
    pub digest: u64,
    /// The first violation.
    pub violation: Option<Violation>,
    /// Simulated time from the heal until everything was true, in microseconds.
    pub healed_us: u64,
}

/// One run.
pub struct World {
    pub(crate) plan: Plan,
    steps: Vec<Step>,
    pub(crate) now: u64,
    heap: BinaryHeap<Reverse<Planned>>,
    order: u64,
    pub(crate) rng: ChaCha8Rng,
    pub(crate) nodes: Vec<Node>,
    pub(crate) net: Network,
    pub(crate) faults: ActiveFaults,
    pub(crate) workload: Workload,
    pub(crate) oracle: Oracle,
    pub(crate) twin: Twin,
    pub(crate) trace: Trace,
    pub(crate) violation: Option<Violation>,
    same_instant: u64,
    /// The caller's wish that is being handled.
    pub(crate) cause: Option<Call>,
    /// What the last look saw.
    pub(crate) last: LastLook,
    /// When the network or a node last changed.
    pub(crate) disturbed_us: u64,
    /// The nodes that gave way to another of their name, since it came.
    pub(crate) gave_way: BTreeSet<usize>,
}

/// Plays a script; the text of the run goes to `out`, if there is one.
pub fn run(script: &Script, out: Option<Box<dyn Write + Send>>) -> (Outcome, std::io::Result<()>) {
    let seed = script.plan.seed;
    let mut world = World::new(script, out);
    let healed_us = world.play();
    let outcome = Outcome {
        seed,
        events: world.trace.events(),
        digest: world.trace.digest(),
        violation: world.violation.take(),
        healed_us,
    };
    (outcome, world.trace.finish())
}

impl World {
    fn new(script: &Script, out: Option<Box<dyn Write + Send>>) -> Self {
        let Script { plan, steps } = script.clone();
        let is_namesake = |step: &Step| matches!(step.act, Act::Fault { fault: Fault::Namesake { .. }, .. });
        let places = plan.nodes + usize::from(steps.iter().any(is_namesake));
        let mut node_rng = stream(plan.seed, Stream::Nodes);
        let nodes = (0..places).map(|index| Node::new(index, &plan, &mut node_rng)).collect();
        let mut world = Self {
            steps,
            now: 0,
            heap: BinaryHeap::new(),
            order: 0,
            rng: stream(plan.seed, Stream::World),
            nodes,
            net: Network::new(places),
            faults: ActiveFaults::default(),
            workload: Workload::default(),
            oracle: Oracle::default(),
            twin: Twin::default(),
            trace: Trace::new(out),
            violation: None,
            same_instant: 0,
            cause: None,
            last: LastLook::default(),
            disturbed_us: 0,
            gave_way: BTreeSet::new(),
            plan,
        };
        world.trace.world(0, &world.plan);
        for node in 0..world.plan.nodes {
            let at =
                if world.plan.start_apart_us == 0 { 0 } else { world.rng.random_range(0..world.plan.start_apart_us) };
            world.schedule(at, Happening::Start { node });
        }
        world
    }

    /// Plans something for `at`, or for now if that is past.
    pub(crate) fn schedule(&mut self, at: u64, what: Happening) {
        self.order += 1;
        self.heap.push(Reverse(Planned { at: at.max(self.now), order: self.order, what }));
    }

    /// Records the first violation; the run ends with it.
    pub(crate) fn violate(&mut self, invariant: &'static str, liveness: bool, what: String) {
        if self.violation.is_none() {
            self.trace.world(self.now, &format_args!("VIOLATED {invariant}: {what}"));
            self.violation = Some(Violation { invariant, at_us: self.now, what, liveness });
        }
    }

    /// All three phases. Returns how long after the heal everything was true.
    fn play(&mut self) -> u64 {
        self.schedule(SAMPLE_US, Happening::Sample);
        self.plan_step(0);
        let ends_us = self.steps.last().map_or(0, |step| step.at_us);
        self.run_until(ends_us + self.plan.settle_us);
        self.heal();
        let healed_at = self.now;
        let mut true_since: Option<u64> = None;
        while self.violation.is_none() {
            self.run_until(self.now + SAMPLE_US);
            self.watch_children();
            match invariants::check(self, Moment::Quiet) {
                None => {
                    let since = *true_since.get_or_insert(self.now);
                    if self.now >= since + STEADY_US {
                        return since - healed_at;
                    }
                }
                Some(violation) => {
                    if !violation.liveness || self.now > healed_at + LIVENESS_MAX_US {
                        self.violate(violation.invariant, violation.liveness, violation.what);
                        break;
                    }
                    true_since = None;
                }
            }
        }
        self.now.saturating_sub(healed_at)
    }

    fn run_until(&mut self, until: u64) {
        while self.violation.is_none() && self.heap.peek().is_some_and(|Reverse(planned)| planned.at <= until) {
            self.step();
        }
        self.now = self.now.max(until);
    }

    fn heal(&mut self) {
        self.trace.world(self.now, &"HEAL");
        self.faults.heal();
        if self.plan.one_stays_down {
            let down = self.nodes[..self.plan.nodes].iter().position(|node| node.life.is_none());
            down.into_iter().for_each(|node| self.nodes[node].gone = true);
        }
        for number in self.faults.active() {
            self.end_fault(number);
        }
        for node in 0..self.plan.nodes {
            if self.nodes[node].life.is_none() && !self.nodes[node].gone {
                self.start(node);
            }
        }
    }

    fn step(&mut self) {
        let Some(Reverse(planned)) = self.heap.pop() else { return };
        self.same_instant = if planned.at == self.now { self.same_instant + 1 } else { 0 };
        self.now = planned.at;
        if self.same_instant > SAME_INSTANT_MAX {
            let what = format!("{SAME_INSTANT_MAX} happenings at one instant, the last {:?}", planned.what);
            return self.violate(invariants::bounded::NAME, false, what);
        }
        self.happen(planned.what);
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Start { node } => self.start(node),
            Happening::Timer { node, life } => self.on_timer(node, life),
            Happening::Look { node, life } => self.on_look(node, life),
            Happening::Arrive { node, life, arrival } => {
                if self.is_life(node, life) {
                    self.arrive(node, arrival);
                }
            }
            Happening::LaneDue { session, side, lane } => self.on_lane_due(session, side, lane),
            Happening::Datagram { session, side, bytes } => self.on_datagram(session, side, bytes),
            Happening::SideDown { session, side } => self.side_down(session, side),
            Happening::IdleCheck { session, side, silent_since } => self.on_idle_check(session, side, silent_since),
            Happening::DialArrives { dial } => self.on_dial_arrives(dial),
            Happening::DialAnswered { dial } => self.on_dial_answered(dial),
            Happening::SessionUp { session } => self.on_session_up(session),
            Happening::Step { number } => self.on_step(number),
            Happening::FaultTurns { number } => self.on_fault_turns(number),
            Happening::FaultEnds { number } => self.end_fault(number),
            Happening::ProcessEnds { node, life, pid } => self.on_process_ends(node, life, &pid),
            Happening::ChildStarted { node, life, pid } => self.on_child_started(node, life, pid),
            Happening::ChildEnds { node, life, pid, exit } => self.on_child_ends(node, life, pid, exit),
            Happening::Leaves { node, life } => self.on_leaves(node, life),
            Happening::Sample => {
                self.watch_children();
                if let Some(violation) = invariants::check(self, Moment::Any) {
                    self.violate(violation.invariant, violation.liveness, violation.what);
                }
                self.schedule(self.now + SAMPLE_US, Happening::Sample);
            }
        }
    }

    /// Whether the node still lives this life.
    pub(crate) fn is_life(&self, node: usize, life: u64) -> bool {
        self.nodes[node].life.as_ref().is_some_and(|now| now.number == life)
    }

    /// A step of the script happens; the next one is planned.
    fn on_step(&mut self, number: usize) {
        self.plan_step(number + 1);
        let Some(Step { act, .. }) = self.steps.get(number).cloned() else { return };
        match act {
            Act::Op { node, ask } => self.operate(node, ask),
            Act::Fault { fault, lasts_us } => self.begin_fault(fault, lasts_us),
        }
    }

    fn plan_step(&mut self, number: usize) {
        if let Some(at) = self.steps.get(number).map(|step| step.at_us) {
            self.schedule(at, Happening::Step { number });
        }
    }
}
