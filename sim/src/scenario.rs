//! Named scenarios: which kinds of faults and operations a run may draw from.
//!
//! A scenario sets the weights; the seed then draws from them, and switches whole kinds off at random (see `plan`).

use std::borrow::Cow;
use std::sync::Arc;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::draw::{FaultKind, OpKind};
use crate::file::Fixed;
use crate::musts::Must;
use crate::scenarios;
use crate::script::{Act, Op, Script};

/// What runs on every node above membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// The registry core alone, as the registry's own driver runs it.
    Names,
    /// The supervisor core with the registry inside.
    Children,
    /// Drawn from the seed.
    Either,
}

/// A named scenario.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: Cow<'static, str>,
    /// What it is about, in one line.
    pub about: Cow<'static, str>,
    /// What runs.
    pub layer: Layer,
    /// The kinds of faults and their weights.
    pub faults: Cow<'static, [(FaultKind, u32)]>,
    /// How far faults are apart, in percent of the default.
    pub fault_gap_percent: u64,
    /// How slowly everything happens, in percent of the default: operations and faults come later, and faults last
    /// longer. Slow runs leave groups undisturbed for long enough to be held to the times of the promises.
    pub pace_percent: u64,
    /// The kinds of operations and their weights.
    pub ops: Cow<'static, [(OpKind, u32)]>,
    /// Changes the script that was drawn, with randomness of its own: tells a story. Steps may be out of order.
    pub stage: Option<fn(&mut ChaCha8Rng, &mut Script)>,
    /// What a scenario file lays down.
    pub fixed: Option<Arc<Fixed>>,
}

use FaultKind as F;
use OpKind as O;

const EVERY_OP: &[(OpKind, u32)] = &[
    (O::Register, 10),
    (O::RegisterMore, 5),
    (O::Unregister, 3),
    (O::UpdateValue, 4),
    (O::EndProcess, 4),
    (O::Start, 16),
    (O::Ensure, 4),
    (O::Terminate, 7),
    (O::Restart, 3),
    (O::Drain, 1),
    (O::RegisterMany, 1),
    (O::Read, 6),
    (O::StartMany, 1),
    (O::Retry, 3),
    (O::RegisterQuorum, 3),
    (O::Join, 4),
    (O::Leave, 2),
    (O::Cordon, 2),
];

const EVERY_FAULT: &[(FaultKind, u32)] = &[
    (F::Split, 3),
    (F::Isolate, 3),
    (F::OneWay, 3),
    (F::CrashKeepDisk, 3),
    (F::CrashLoseDisk, 1),
    (F::Leave, 1),
    (F::Pause, 2),
    (F::Loss, 2),
    (F::Delay, 2),
    (F::Reset, 3),
    (F::Skew, 1),
    (F::Lie, 1),
    (F::Deaf, 1),
    (F::Ring, 1),
    (F::Bridge, 1),
    (F::Flapping, 1),
    (F::Stall, 1),
    (F::Doubling, 1),
    (F::Reordering, 1),
    (F::CrashOldDisk, 1),
    (F::Storm, 1),
    (F::Stutter, 1),
    (F::Namesake, 1),
];

/// All but two nodes of one name: those are two members that others take for one.
const MINORITY_FAULTS: &[(FaultKind, u32)] = &[
    (F::Split, 4),
    (F::Isolate, 4),
    (F::OneWay, 3),
    (F::CrashKeepDisk, 3),
    (F::CrashLoseDisk, 1),
    (F::Leave, 1),
    (F::Pause, 4),
    (F::Loss, 1),
    (F::Delay, 1),
    (F::Reset, 3),
    (F::Skew, 1),
    (F::Lie, 2),
    (F::Deaf, 1),
    (F::Ring, 1),
    (F::Bridge, 1),
    (F::Flapping, 2),
    (F::Stall, 1),
    (F::Doubling, 1),
    (F::Reordering, 1),
    (F::CrashOldDisk, 1),
    (F::Stutter, 2),
];

/// Most of the nodes are a quorum.
fn with_quorum(_: &mut ChaCha8Rng, script: &mut Script) {
    script.plan.quorum = script.plan.nodes / 2 + 1;
    script.plan.musts.push(Must::NeverTwo);
}

/// Children make checkpoints.
fn with_checkpoints(rng: &mut ChaCha8Rng, script: &mut Script) {
    script.plan.checkpoint_ms = rng.random_range(100..2_000);
    for step in &mut script.steps {
        if let Act::Op { ask: Op::Start { spec, .. }, .. } = &mut step.act {
            spec.start_first = spec.child % 3 == 0;
        }
    }
}

/// Every scenario, the default one first.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: Cow::Borrowed("all"),
        about: Cow::Borrowed("every kind of fault and operation, each switched off in a part of the seeds"),
        layer: Layer::Either,
        faults: Cow::Borrowed(EVERY_FAULT),
        fault_gap_percent: 100,
        pace_percent: 100,
        ops: Cow::Borrowed(EVERY_OP),
        stage: None,
        fixed: None,
    },
    Scenario {
        name: Cow::Borrowed("calm"),
        about: Cow::Borrowed("no faults at all: what must hold without any"),
        layer: Layer::Either,
        faults: Cow::Borrowed(&[]),
        fault_gap_percent: 100,
        pace_percent: 100,
        ops: Cow::Borrowed(EVERY_OP),
        stage: None,
        fixed: None,
    },
    Scenario {
        name: Cow::Borrowed("split-heal"),
        about: Cow::Borrowed("partitions in two that heal, with the same names and children on both sides"),
        layer: Layer::Either,
        faults: Cow::Borrowed(&[(F::Split, 3), (F::Isolate, 2)]),
        fault_gap_percent: 150,
        pace_percent: 100,
        ops: Cow::Borrowed(EVERY_OP),
        stage: None,
        fixed: None,
    },
    Scenario {
        name: Cow::Borrowed("minorities"),
        about: Cow::Borrowed("children run where most nodes are, and never twice, whatever happens"),
        layer: Layer::Children,
        faults: Cow::Borrowed(MINORITY_FAULTS),
        fault_gap_percent: 200,
        pace_percent: 300,
        ops: Cow::Borrowed(EVERY_OP),
        stage: Some(with_quorum),
        fixed: None,
    },
    Scenario {
        name: Cow::Borrowed("long-cuts"),
        about: Cow::Borrowed("partitions, isolations, one-way cuts and crashes that last for long"),
        layer: Layer::Either,
        faults: Cow::Borrowed(&[(F::Split, 2), (F::Isolate, 2), (F::OneWay, 2), (F::CrashKeepDisk, 1)]),
        fault_gap_percent: 250,
        pace_percent: 400,
        ops: Cow::Borrowed(EVERY_OP),
        stage: None,
        fixed: None,
    },
    Scenario {
        name: Cow::Borrowed("one-way"),
        about: Cow::Borrowed("A hears B, B does not hear A"),
        layer: Layer::Either,
        faults: Cow::Borrowed(&[(F::OneWay, 1)]),
        fault_gap_percent: 100,
        pace_percent: 100,
        ops: Cow::Borrowed(EVERY_OP),
        stage: None,
        fixed: None,
    },
    Scenario {
        name: Cow::Borrowed("crash-restart"),
        about: Cow::Borrowed("nodes are killed and come back, with their disk and without"),
        layer: Layer::Either,
        faults: Cow::Borrowed(&[(F::CrashKeepDisk, 2), (F::CrashLoseDisk, 1)]),
        fault_gap_percent: 60,
        pace_percent: 100,
        ops: Cow::Borrowed(EVERY_OP),
        stage: None,
        fixed: None,
    },
    Scenario {
        name: Cow::Borrowed("lossy"),
        about: Cow::Borrowed("storms of loss, delay, doubling and broken sessions, nobody dies"),
        layer: Layer::Either,
        faults: Cow::Borrowed(&[(F::Loss, 2), (F::Delay, 2), (F::Reset, 4)]),
        fault_gap_percent: 50,
        pace_percent: 100,
        ops: Cow::Borrowed(EVERY_OP),
        stage: None,
        fixed: None,
    },
    Scenario {
        name: Cow::Borrowed("pauses"),
        about: Cow::Borrowed("nodes stop for seconds and go on as if nothing had been"),
        layer: Layer::Either,
        faults: Cow::Borrowed(&[(F::Pause, 1)]),
        fault_gap_percent: 60,
        pace_percent: 100,
        ops: Cow::Borrowed(EVERY_OP),
        stage: None,
        fixed: None,
    },
    Scenario {
        name: Cow::Borrowed("churn"),
        about: Cow::Borrowed("nodes leave, die and return all the time"),
        layer: Layer::Either,
        faults: Cow::Borrowed(&[(F::CrashKeepDisk, 3), (F::CrashLoseDisk, 1), (F::Leave, 3), (F::Split, 1)]),
        fault_gap_percent: 40,
        pace_percent: 100,
        ops: Cow::Borrowed(EVERY_OP),
        stage: None,
        fixed: None,
    },
    Scenario {
        name: Cow::Borrowed("skew"),
        about: Cow::Borrowed("wall clocks that differ by minutes and jump, under partitions"),
        layer: Layer::Either,
        faults: Cow::Borrowed(&[(F::Skew, 3), (F::Split, 2), (F::CrashKeepDisk, 1)]),
        fault_gap_percent: 80,
        pace_percent: 100,
        ops: Cow::Borrowed(EVERY_OP),
        stage: None,
        fixed: None,
    },
    Scenario {
        name: Cow::Borrowed("names-only"),
        about: Cow::Borrowed("every kind of fault, the registry core alone"),
        layer: Layer::Names,
        faults: Cow::Borrowed(EVERY_FAULT),
        fault_gap_percent: 100,
        pace_percent: 100,
        ops: Cow::Borrowed(EVERY_OP),
        stage: None,
        fixed: None,
    },
    Scenario {
        name: Cow::Borrowed("placed"),
        about: Cow::Borrowed("every kind of fault and operation, and children that go where fewest are or keep apart"),
        layer: Layer::Children,
        faults: Cow::Borrowed(EVERY_FAULT),
        fault_gap_percent: 100,
        pace_percent: 100,
        ops: Cow::Borrowed(EVERY_OP),
        stage: Some(scenarios::kept_apart::place_some),
        fixed: None,
    },
    Scenario {
        name: Cow::Borrowed("checkpointed"),
        about: Cow::Borrowed(
            "every kind of fault and operation, and children that make checkpoints, or start before they stop",
        ),
        layer: Layer::Children,
        faults: Cow::Borrowed(EVERY_FAULT),
        fault_gap_percent: 100,
        pace_percent: 100,
        ops: Cow::Borrowed(EVERY_OP),
        stage: Some(with_checkpoints),
        fixed: None,
    },
    scenarios::split_sync::SCENARIO,
    scenarios::foreign_superseder::SCENARIO,
    scenarios::omitted_superseder::SCENARIO,
    scenarios::slow_answer::SCENARIO,
    scenarios::dead_relay::SCENARIO,
    scenarios::chain_of_conflicts::SCENARIO,
    scenarios::two_names::SCENARIO,
    scenarios::removed_and_added::SCENARIO,
    scenarios::restarted_twice::SCENARIO,
    scenarios::conflict_budget::SCENARIO,
    scenarios::nameless_duplicate::SCENARIO,
    scenarios::slow_init::SCENARIO,
    scenarios::crash_loop::SCENARIO,
    scenarios::early_handoff::SCENARIO,
    scenarios::empty_handed::SCENARIO,
    scenarios::checkpoints::SCENARIO,
    scenarios::merged::SCENARIO,
    scenarios::start_first::SCENARIO,
    scenarios::minority::SCENARIO,
    scenarios::kept_apart::SCENARIO,
    scenarios::least_loaded::SCENARIO,
    scenarios::back_from_down::SCENARIO,
    scenarios::paused::SCENARIO,
    scenarios::failed_starts::SCENARIO,
    scenarios::killed_after_ok::SCENARIO,
    scenarios::blackout::SCENARIO,
    scenarios::first_back::SCENARIO,
    scenarios::full_nodes::SCENARIO,
    scenarios::one_run::SCENARIO,
    scenarios::short_runs::SCENARIO,
    scenarios::brief_beside_lasting::SCENARIO,
    scenarios::one_way::SCENARIO,
    scenarios::blinks::SCENARIO,
    scenarios::killed_or_starved::SCENARIO,
    scenarios::refusing_firewall::SCENARIO,
    scenarios::stale_snapshot::SCENARIO,
    scenarios::full_log::SCENARIO,
    scenarios::ended_meanwhile::SCENARIO,
    scenarios::old_disk::SCENARIO,
    scenarios::many_lives::SCENARIO,
    scenarios::typed_at::SCENARIO,
    scenarios::fresh_copies::SCENARIO,
    scenarios::older_fence::SCENARIO,
    scenarios::clock_skew::SCENARIO,
    scenarios::namesake::SCENARIO,
    scenarios::halves::SCENARIO,
];

/// The scenario that is run where none is named.
pub fn default() -> Scenario {
    SCENARIOS[0].clone()
}

impl Default for Scenario {
    /// The scenario that is run where none is named.
    fn default() -> Self {
        default()
    }
}

/// The scenario of this name.
pub fn find(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.name == name)
}
