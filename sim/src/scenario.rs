//! Named scenarios: which kinds of faults and operations a run may draw from.
//!
//! A scenario sets the weights; the seed then draws from them, and switches whole kinds off at random (see `plan`).

use crate::fault::FaultKind;
use crate::workload::OpKind;

/// What runs on every node above membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// The registry core alone, as the registry's own driver runs it.
    Names,
    /// Drawn from the seed.
    Either,
}

/// A named scenario.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is about, in one line.
    pub about: &'static str,
    /// What runs.
    pub layer: Layer,
    /// The kinds of faults and their weights.
    pub faults: &'static [(FaultKind, u32)],
    /// How far faults are apart, in percent of the default.
    pub fault_gap_percent: u64,
    /// How slowly everything happens, in percent of the default: operations and faults come later, and faults last
    /// longer. Slow runs leave groups undisturbed for long enough to be held to the times of the promises.
    pub pace_percent: u64,
    /// The kinds of operations and their weights.
    pub ops: &'static [(OpKind, u32)],
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
];

/// Every scenario, the default one first.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "all",
        about: "every kind of fault and operation, each switched off in a part of the seeds",
        layer: Layer::Either,
        faults: EVERY_FAULT,
        fault_gap_percent: 100,
        pace_percent: 100,
        ops: EVERY_OP,
    },
    Scenario {
        name: "calm",
        about: "no faults at all: what must hold without any",
        layer: Layer::Either,
        faults: &[],
        fault_gap_percent: 100,
        pace_percent: 100,
        ops: EVERY_OP,
    },
    Scenario {
        name: "split-heal",
        about: "partitions in two that heal, with the same names and children on both sides",
        layer: Layer::Either,
        faults: &[(F::Split, 3), (F::Isolate, 2)],
        fault_gap_percent: 150,
        pace_percent: 100,
        ops: EVERY_OP,
    },
    Scenario {
        name: "long-cuts",
        about: "partitions, isolations, one-way cuts and crashes that last for long",
        layer: Layer::Either,
        faults: &[(F::Split, 2), (F::Isolate, 2), (F::OneWay, 2), (F::CrashKeepDisk, 1)],
        fault_gap_percent: 250,
        pace_percent: 400,
        ops: EVERY_OP,
    },
    Scenario {
        name: "one-way",
        about: "A hears B, B does not hear A",
        layer: Layer::Either,
        faults: &[(F::OneWay, 1)],
        fault_gap_percent: 100,
        pace_percent: 100,
        ops: EVERY_OP,
    },
    Scenario {
        name: "crash-restart",
        about: "nodes are killed and come back, with their disk and without",
        layer: Layer::Either,
        faults: &[(F::CrashKeepDisk, 2), (F::CrashLoseDisk, 1)],
        fault_gap_percent: 60,
        pace_percent: 100,
        ops: EVERY_OP,
    },
    Scenario {
        name: "lossy",
        about: "storms of loss, delay, doubling and broken sessions, nobody dies",
        layer: Layer::Either,
        faults: &[(F::Loss, 2), (F::Delay, 2), (F::Reset, 4)],
        fault_gap_percent: 50,
        pace_percent: 100,
        ops: EVERY_OP,
    },
    Scenario {
        name: "pauses",
        about: "nodes stop for seconds and go on as if nothing had been",
        layer: Layer::Either,
        faults: &[(F::Pause, 1)],
        fault_gap_percent: 60,
        pace_percent: 100,
        ops: EVERY_OP,
    },
    Scenario {
        name: "churn",
        about: "nodes leave, die and return all the time",
        layer: Layer::Either,
        faults: &[(F::CrashKeepDisk, 3), (F::CrashLoseDisk, 1), (F::Leave, 3), (F::Split, 1)],
        fault_gap_percent: 40,
        pace_percent: 100,
        ops: EVERY_OP,
    },
    Scenario {
        name: "skew",
        about: "wall clocks that differ by minutes and jump, under partitions",
        layer: Layer::Either,
        faults: &[(F::Skew, 3), (F::Split, 2), (F::CrashKeepDisk, 1)],
        fault_gap_percent: 80,
        pace_percent: 100,
        ops: EVERY_OP,
    },
    Scenario {
        name: "names-only",
        about: "every kind of fault, the registry core alone",
        layer: Layer::Names,
        faults: EVERY_FAULT,
        fault_gap_percent: 100,
        pace_percent: 100,
        ops: EVERY_OP,
    },
];

/// The scenario of this name.
pub fn find(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.name == name)
}
