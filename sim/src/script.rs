//! A script: everything that a run does on purpose, written down before it begins. What users do, what breaks, and
//! when; and the make-up of the cluster that it happens to.
//!
//! A seed draws a script (`draw`), a file holds one (`file`), a failing one is made shorter step by step (`shrink`), and
//! the world plays it (`world`). What is left to chance while it plays (delays, losses, how long an init takes) comes from
//! the plan's seed.

use std::time::Duration;

use ordu_supervisor::core::{Apart, ChildSpec, Intensity, Over, Placement, Restart};
use serde::{Deserialize, Serialize};

use crate::children::Character;
use crate::fault::Fault;
use crate::node::ZONE;
use crate::plan::Plan;

/// Everything that a run does on purpose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// The cluster and its network.
    pub plan: Plan,
    /// What happens to it, in the order of time.
    pub steps: Vec<Step>,
}

/// One thing that happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// When, in simulated microseconds.
    pub at_us: u64,
    /// What.
    pub act: Act,
}

/// What a step is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Act {
    /// Somebody does something.
    Op {
        /// The node that is asked; where it is down or paused nothing happens.
        node: usize,
        /// What is asked.
        ask: Op,
    },
    /// Something breaks.
    Fault {
        /// What.
        fault: Fault,
        /// For how long, in microseconds; the heal ends it earlier.
        lasts_us: u64,
    },
}

/// What somebody asks of a node. Names and children are numbers out of small sets, so that they meet; `which` is one of
/// the node's own processes or claims, counted round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Op {
    /// A new process registers these names.
    Register {
        /// The names.
        names: Vec<usize>,
        /// The value of each.
        value: String,
    },
    /// A new process registers many names of its own.
    RegisterMany {
        /// The first of them.
        first: usize,
        /// How many.
        count: usize,
    },
    /// A living process registers one more name.
    RegisterMore {
        /// The process.
        which: usize,
        /// The name.
        name: usize,
        /// Its value.
        value: String,
    },
    /// A process gives up a name.
    Unregister {
        /// The process.
        which: usize,
        /// Which of its names.
        name: usize,
    },
    /// A process changes the value of a name.
    UpdateValue {
        /// The process.
        which: usize,
        /// Which of its names.
        name: usize,
        /// The value.
        value: String,
    },
    /// A new process registers a name, and is told Ok only once a majority has acknowledged it.
    RegisterQuorum {
        /// The name.
        name: usize,
        /// Its value.
        value: String,
        /// How long it waits, in milliseconds.
        wait_ms: u64,
    },
    /// A process, a new one where there is none, joins a group.
    Join {
        /// The process.
        which: usize,
        /// The group.
        group: usize,
        /// Its value there.
        value: String,
    },
    /// A process leaves a group.
    Leave {
        /// The process.
        which: usize,
        /// Which of its groups.
        group: usize,
    },
    /// A process ends.
    EndProcess {
        /// The process.
        which: usize,
    },
    /// Everything that can be read is read and compared: lookups, prefixes, counts, the names of a process, rows of
    /// children, members and the node.
    Read,
    /// A child shall run.
    Start {
        /// What.
        spec: Spec,
        /// If it should run already, that is fine.
        ensure: bool,
        /// How long the caller waits, in milliseconds.
        wait_ms: u64,
    },
    /// Many children shall run, each asked for by itself.
    StartMany {
        /// The first id.
        first: usize,
        /// How many.
        count: usize,
        /// How long the callers wait, in milliseconds.
        wait_ms: u64,
    },
    /// A start of this node that ended with "unknown" is asked for again, as the same request.
    Retry {
        /// Which of them.
        which: usize,
        /// How long the caller waits, in milliseconds.
        wait_ms: u64,
    },
    /// A child shall not run any more.
    Terminate {
        /// The id.
        child: usize,
        /// How long the caller waits, in milliseconds.
        wait_ms: u64,
    },
    /// A child shall be stopped and started again.
    Restart {
        /// The id.
        child: usize,
        /// How long the caller waits, in milliseconds.
        wait_ms: u64,
    },
    /// A node shall give its children away, or take some again.
    Drain {
        /// Which.
        of: usize,
        /// Which of both.
        on: bool,
        /// How long the caller waits, in milliseconds.
        wait_ms: u64,
    },
    /// A node shall take no children and keep its own, or take some again.
    Cordon {
        /// Which.
        of: usize,
        /// Which of both.
        on: bool,
        /// How long the caller waits, in milliseconds.
        wait_ms: u64,
    },
}

/// A child to start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The id.
    pub child: usize,
    /// What it is like.
    pub character: Character,
    /// When it is started again.
    pub restart: Restart,
    /// The only node that it may run on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<usize>,
    /// The only zone that it may run in; every second node is in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<usize>,
    /// Where it goes by where others are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placed: Option<Placed>,
    /// How often it may be restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intensity: Option<Allowed>,
    /// How long its init may take, in milliseconds; as long as is usual, if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_timeout_ms: Option<u64>,
    /// Where it is moved, whether it starts there before it stops here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub start_first: bool,
    /// How long it may take to stop, in milliseconds.
    pub stop_timeout_ms: u64,
}

/// Where a child goes by where others are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Placed {
    /// Where fewest children are.
    LeastLoaded,
    /// Where none of its kind is, of those that want to be alone.
    Alone,
    /// Into the zone where fewest of its kind are.
    SpreadOverZones,
    /// Into a zone where none of its kind is.
    OneAZone,
}

impl Placed {
    /// The label of those that keep apart from one another.
    fn group(self) -> Option<(String, String)> {
        let kind = match self {
            Placed::LeastLoaded => return None,
            Placed::Alone => "alone",
            Placed::SpreadOverZones => "spread",
            Placed::OneAZone => "zoned",
        };
        Some(("apart".to_owned(), kind.to_owned()))
    }

    /// As a spec says it.
    pub(crate) fn place(self, spec: &mut ChildSpec) {
        let Some(group) = self.group() else {
            spec.placement = Placement::LeastLoaded;
            return;
        };
        let over = if self == Placed::Alone { Over::Node } else { Over::Label(ZONE.to_owned()) };
        spec.labels.extend([group.clone()]);
        spec.placement = Placement::Apart(Apart { group, over, required: self != Placed::SpreadOverZones });
    }
}

/// How often a child may be restarted after failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allowed {
    /// So often,
    pub restarts: u32,
    /// within so many milliseconds.
    pub within_ms: u64,
}

impl Allowed {
    /// As a spec says it.
    pub fn intensity(self) -> Intensity {
        Intensity::new(self.restarts, Duration::from_millis(self.within_ms))
    }
}

impl Op {
    /// The node that it names, beside the one that is asked.
    pub fn node(&self) -> Option<usize> {
        match self {
            Op::Start { spec, .. } => spec.pinned,
            Op::Drain { of, .. } | Op::Cordon { of, .. } => Some(*of),
            _ => None,
        }
    }

    /// The same, to be changed.
    pub fn node_mut(&mut self) -> Option<&mut usize> {
        match self {
            Op::Start { spec, .. } => spec.pinned.as_mut(),
            Op::Drain { of, .. } | Op::Cordon { of, .. } => Some(of),
            _ => None,
        }
    }
}

impl Script {
    /// When the last step happens, in microseconds.
    pub fn ends_us(&self) -> u64 {
        self.steps.last().map_or(0, |step| step.at_us)
    }

    /// How many of the steps are operations.
    pub fn ops(&self) -> usize {
        self.steps.iter().filter(|step| matches!(step.act, Act::Op { .. })).count()
    }

    /// Puts the steps into the order of time; steps of one time stay as they are.
    pub fn sort(&mut self) {
        self.steps.sort_by_key(|step| step.at_us);
    }
}
