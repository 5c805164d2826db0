//! The world: one seeded heap of what will happen, the nodes, the network between them, and the run's three phases.
//!
//! *Safety*: operations and faults, invariants sampled all along. *Heal*: every fault is undone, operations stop.
//! *Liveness*: within a stated simulated time everything that must become true becomes true, and stays so. All
//! randomness comes from the seed; two happenings at one time follow the order in which they were planned.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ordu_supervisor::core::{Call, Stored};
use ordu_transport::core::{NodeName, Pid};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::behaviour::External;
use crate::cast::{AnyCast, Cast, Word};
use crate::fault::{ActiveFaults, Fault};
use crate::invariants::{self, Moment, Violation};
use crate::lab::{Choices, Lab};
use crate::last::LastLook;
use crate::link::Network;
use crate::node::{Arrival, Node};
use crate::oracle::Oracle;
use crate::plan::{Plan, Stream, stream};
use crate::record::Record;
use crate::record::notes::Notes;
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
    /// Somebody has waited long enough for a majority.
    QuorumDue { node: usize, life: u64, number: u64 },
    /// The children of a node have to be gone, unless it has said otherwise since.
    LeaseOver { node: usize, life: u64, at_us: u64 },
    /// A child is told something, or ends.
    Child { node: usize, life: u64, pid: Pid, word: Word },
    /// What a node wanted on its disk is there.
    DiskWrites { node: usize, life: u64, number: u64, stored: Box<Stored> },
    /// A request reaches the external world.
    Request { number: u64 },
    /// A node that leaves is gone.
    Leaves { node: usize, life: u64 },
    /// Look at the safety invariants.
    Sample,
}

/// What will happen, by time, then in the order in which it was planned. The heap holds places only: happenings are long
/// and would be moved at every step.
#[derive(Debug, Default)]
struct Agenda {
    /// Time, order, place.
    heap: BinaryHeap<Reverse<(u64, u64, usize)>>,
    order: u64,
    happenings: Vec<Option<Happening>>,
    free: Vec<usize>,
}

impl Agenda {
    fn push(&mut self, at: u64, what: Happening) {
        self.order += 1;
        let place = match self.free.pop() {
            Some(place) => place,
            None => {
                self.happenings.push(None);
                self.happenings.len() - 1
            }
        };
        self.happenings[place] = Some(what);
        self.heap.push(Reverse((at, self.order, place)));
    }

    fn pop(&mut self) -> Option<(u64, Happening)> {
        let Reverse((at, _, place)) = self.heap.pop()?;
        self.free.push(place);
        Some((at, self.happenings[place].take()?))
    }

    fn next_at(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((at, _, _))| *at)
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
    agenda: Agenda,
    pub(crate) rng: ChaCha8Rng,
    pub(crate) nodes: Vec<Node>,
    pub(crate) net: Network,
    pub(crate) faults: ActiveFaults,
    pub(crate) workload: Workload,
    pub(crate) choices: Choices,
    /// Away while it is being called.
    pub(crate) cast: Option<Box<dyn AnyCast>>,
    pub(crate) oracle: Oracle,
    pub(crate) twin: Twin,
    pub(crate) remembered: invariants::Remembered,
    /// What the last look saw.
    pub(crate) last: RefCell<LastLook>,
    pub(crate) trace: Trace,
    pub(crate) record: Record,
    pub(crate) violation: Option<Violation>,
    same_instant: u64,
    /// The caller's wish that is being handled.
    pub(crate) cause: Option<Call>,
    /// When the network or a node last changed.
    pub(crate) disturbed_us: u64,
    /// The nodes that gave way to another of their name, since it came.
    pub(crate) gave_way: BTreeSet<usize>,
    /// The name that the namesake had before, and when that ended.
    pub(crate) former_namesake: Option<(NodeName, u64)>,
    /// Where others see what time it is; nothing here reads it.
    shown_us: Option<Arc<AtomicU64>>,
}

/// Plays a script in the lab of the binary; the text of the run goes to `out`, if there is one.
pub fn run(script: &Script, out: Option<Box<dyn Write + Send>>) -> (Outcome, std::io::Result<()>) {
    let (outcome, written, _) = play(&Lab::default(), script, RunOutputs { trace: out, record: false });
    (outcome, written)
}

/// What is wanted of a run beside its outcome.
#[derive(Default)]
pub struct RunOutputs {
    /// Where its text goes.
    pub trace: Option<Box<dyn Write + Send>>,
    /// Whether notes are kept.
    pub record: bool,
}

/// Plays a script as [`run`] does, and returns the notes of it, if they were wanted.
pub fn run_recorded(script: &Script, outputs: RunOutputs) -> (Outcome, std::io::Result<()>, Option<Notes>) {
    play(&Lab::default(), script, outputs)
}

/// Plays a script as [`run_recorded`] does; `now_us` shows others how far it is, in simulated microseconds.
pub fn run_watched(
    script: &Script,
    outputs: RunOutputs,
    now_us: &Arc<AtomicU64>,
) -> (Outcome, std::io::Result<()>, Option<Notes>) {
    play_watched(&Lab::default(), script, outputs, Some(now_us.clone()))
}

/// Plays a script in a lab.
pub(crate) fn play<E: External>(
    lab: &Lab<E>,
    script: &Script,
    outputs: RunOutputs,
) -> (Outcome, std::io::Result<()>, Option<Notes>) {
    play_watched(lab, script, outputs, None)
}

/// Tells which seed it was if the code of a run panics: a behaviour's or an invariant's, as a rule.
struct SeedOfPanic(u64);

impl Drop for SeedOfPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr().lock(), "the panic was in a run of seed {}", self.0);
        }
    }
}

fn play_watched<E: External>(
    lab: &Lab<E>,
    script: &Script,
    outputs: RunOutputs,
    now_us: Option<Arc<AtomicU64>>,
) -> (Outcome, std::io::Result<()>, Option<Notes>) {
    let seed = script.plan.seed;
    let _told = SeedOfPanic(seed);
    let mut world = World::of(lab, script, outputs.trace);
    world.shown_us = now_us;
    if outputs.record {
        world.record = Record::asked_for(world.nodes.len(), world.plan.children);
    }
    let healed_us = world.play();
    let outcome = Outcome {
        seed,
        events: world.trace.events(),
        digest: world.trace.digest(),
        violation: world.violation.take(),
        healed_us,
    };
    (outcome, world.trace.finish(), world.record.finish(world.now))
}

impl World {
    /// The world of a script in a lab, before anything happens.
    pub(crate) fn of<E: External>(lab: &Lab<E>, script: &Script, out: Option<Box<dyn Write + Send>>) -> Self {
        let cast = Cast::new(lab.play.clone(), lab.choices.external_delay_us.clone(), script.plan.seed);
        Self::new(script, lab.choices.clone(), Box::new(cast), out)
    }

    fn new(script: &Script, choices: Choices, cast: Box<dyn AnyCast>, out: Option<Box<dyn Write + Send>>) -> Self {
        let Script { plan, steps } = script.clone();
        let is_namesake = |step: &Step| matches!(step.act, Act::Fault { fault: Fault::Namesake { .. }, .. });
        let places = plan.nodes + usize::from(steps.iter().any(is_namesake));
        let mut node_rng = stream(plan.seed, Stream::Nodes);
        let mut disks = stream(plan.seed, Stream::Disks);
        let nodes = (0..places).map(|index| Node::new(index, &plan, &mut node_rng, &mut disks)).collect();
        let mut world = Self {
            steps,
            now: 0,
            agenda: Agenda::default(),
            rng: stream(plan.seed, Stream::World),
            nodes,
            net: Network::new(places),
            faults: ActiveFaults::default(),
            workload: Workload::default(),
            choices,
            cast: Some(cast),
            oracle: Oracle::default(),
            twin: Twin::default(),
            remembered: invariants::Remembered::default(),
            last: RefCell::default(),
            trace: Trace::new(out),
            record: Record::default(),
            violation: None,
            same_instant: 0,
            cause: None,
            disturbed_us: 0,
            gave_way: BTreeSet::new(),
            former_namesake: None,
            shown_us: None,
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
        self.agenda.push(at.max(self.now), what);
    }

    /// Records the first violation; the run ends with it.
    pub(crate) fn violate(&mut self, invariant: &'static str, liveness: bool, what: String) {
        if self.violation.is_none() {
            self.trace.world(self.now, &format_args!("VIOLATED {invariant}: {what}"));
            self.record.violated(self.now, invariant, &what);
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
                        if let Some(violation) = invariants::look_anew(self) {
                            self.violate(violation.invariant, violation.liveness, violation.what);
                        }
                        return since - healed_at;
                    }
                }
                Some(violation) => {
                    if !violation.liveness || self.now > healed_at + LIVENESS_MAX_US + self.plan.void_us() {
                        self.violate(violation.invariant, violation.liveness, violation.what);
                        break;
                    }
                    true_since = None;
                }
            }
        }
        self.now.saturating_sub(healed_at)
    }

    pub(crate) fn run_until(&mut self, until: u64) {
        while self.violation.is_none() && self.agenda.next_at().is_some_and(|at| at <= until) {
            self.step();
        }
        self.now = self.now.max(until);
    }

    fn heal(&mut self) {
        self.trace.world(self.now, &"HEAL");
        self.record.healed(self.now);
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
        let Some((at, what)) = self.agenda.pop() else { return };
        self.same_instant = if at == self.now { self.same_instant + 1 } else { 0 };
        self.now = at;
        if let Some(shown) = &self.shown_us {
            shown.store(at, Ordering::Relaxed);
        }
        if self.same_instant > SAME_INSTANT_MAX {
            let what = format!("{SAME_INSTANT_MAX} happenings at one instant, the last {what:?}");
            return self.violate(invariants::bounded::NAME, false, what);
        }
        self.happen(what);
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
            Happening::QuorumDue { node, life, number } => self.quorum_due(node, life, number),
            Happening::LeaseOver { node, life, at_us } => self.lease_over(node, life, at_us),
            Happening::Child { node, life, pid, word } => self.on_child(node, life, pid, word),
            Happening::DiskWrites { node, life, number, stored } => self.disk_writes(node, life, number, *stored),
            Happening::Request { number } => self.with_cast(|cast, world| cast.request(world, number)),
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
