//! Making a failing script shorter: a proptest value tree whose values are scripts.
//!
//! Rounds of passes, until a whole round finds nothing: steps are removed in chunks that halve (delta debugging: Zeller
//! and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002), then nodes, then what makes the network and
//! the cluster bad, then single steps are made plainer, then the time between them. A candidate counts if the run still
//! breaks the same promise. What is left to chance falls differently in a shorter script, so the shortest that is found is
//! not always the shortest there is.

use proptest::strategy::{NewTree, Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use rand::RngExt as _;

use crate::children::Character;
use crate::draw::Options;
use crate::fault::{Disk, Fault};
use crate::file;
use crate::plan::Plan;
use crate::script::{Act, Op, Script, Step};
use crate::world::Outcome;

/// Most runs that the shortening of one script takes, where nobody says otherwise.
pub const SHRINK_RUNS_MAX: usize = 2_000;
/// Seeds that proptest draws are below this, so that files can hold them.
const SEED_END: u64 = 1 << 48;

/// One candidate: how the script is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// Steps from here on are left out.
    Without { first: usize, count: usize },
    /// The last node is left out, and the one before it does what it did.
    FewerNodes,
    /// One thing of the plan becomes plain.
    Plain(usize),
    /// One step becomes plainer, in one of several ways.
    Easier { step: usize, way: usize },
    /// Everything from this step on happens earlier.
    Sooner { step: usize },
}

/// How many ways [`easier`] knows.
const WAYS: usize = 6;
/// What [`plainer`] can change.
const PLAINS: usize = 16;

/// A script and the shorter ones behind it.
#[derive(Debug, Clone)]
pub struct ScriptTree {
    /// The shortest that failed so far.
    kept: Script,
    /// The candidate that is tried now.
    tried: Option<Script>,
    next: Change,
    /// Whether this round has found something.
    progress: bool,
    over: bool,
}

impl ScriptTree {
    /// A tree over this script.
    pub fn new(script: Script) -> Self {
        let count = script.steps.len().div_ceil(2).max(1);
        let next = Change::Without { first: 0, count };
        Self { kept: script, tried: None, next, progress: false, over: false }
    }

    /// Makes the next candidate that differs and can be played.
    fn advance(&mut self) -> bool {
        while !self.over {
            let candidate = self.next.of(&self.kept);
            if let Some(candidate) = candidate.filter(|candidate| file::refuse(candidate).is_none()) {
                self.tried = Some(candidate);
                return true;
            }
            self.next = self.after(self.next, false);
        }
        false
    }

    /// What comes after a change, which was taken or not.
    fn after(&mut self, change: Change, taken: bool) -> Change {
        let steps = self.kept.steps.len();
        match change {
            Change::Without { first, count } if taken && first < steps => Change::Without { first, count },
            Change::Without { first, count } if !taken && first + count < steps => {
                Change::Without { first: first + count, count }
            }
            Change::Without { count, .. } if count > 1 => Change::Without { first: 0, count: count / 2 },
            Change::Without { .. } => Change::FewerNodes,
            Change::FewerNodes if taken => Change::FewerNodes,
            Change::FewerNodes => Change::Plain(0),
            Change::Plain(which) if which + 1 < PLAINS => Change::Plain(which + 1),
            Change::Plain(_) => Change::Easier { step: 0, way: 0 },
            Change::Easier { step, way } if taken => Change::Easier { step, way },
            Change::Easier { step, way } if way + 1 < WAYS => Change::Easier { step, way: way + 1 },
            Change::Easier { step, .. } if step + 1 < steps => Change::Easier { step: step + 1, way: 0 },
            Change::Easier { .. } => Change::Sooner { step: 0 },
            Change::Sooner { step } if taken => Change::Sooner { step },
            Change::Sooner { step } if step + 1 < steps => Change::Sooner { step: step + 1 },
            Change::Sooner { .. } => {
                self.over = !std::mem::take(&mut self.progress);
                Change::Without { first: 0, count: 1 }
            }
        }
    }
}

impl ValueTree for ScriptTree {
    type Value = Script;

    fn current(&self) -> Script {
        self.tried.as_ref().unwrap_or(&self.kept).clone()
    }

    /// The present candidate fails too: on to a shorter one.
    fn simplify(&mut self) -> bool {
        if let Some(tried) = self.tried.take() {
            self.progress = true;
            self.kept = tried;
            self.next = self.after(self.next, true);
        }
        self.advance()
    }

    /// The present candidate holds: on to another one.
    fn complicate(&mut self) -> bool {
        if self.tried.take().is_some() {
            self.next = self.after(self.next, false);
        }
        self.advance()
    }
}

impl Change {
    /// The changed script; `None` if it would be the same.
    fn of(self, script: &Script) -> Option<Script> {
        let mut new = script.clone();
        match self {
            Change::Without { first, count } => {
                let last = (first + count).min(new.steps.len());
                new.steps.drain(first.min(last)..last);
            }
            Change::FewerNodes => {
                let last = new.plan.nodes.checked_sub(1).filter(|last| *last > 0)?;
                new.plan.nodes = last;
                new.steps.iter_mut().for_each(|step| forget_node(step, last));
            }
            Change::Plain(which) => plainer(&mut new.plan, which),
            Change::Easier { step, way } => {
                let Step { act, .. } = new.steps.get_mut(step)?;
                match act {
                    Act::Op { ask, .. } => easier(ask, way),
                    Act::Fault { fault, lasts_us } => easier_fault(fault, lasts_us, way),
                }
            }
            Change::Sooner { step } => {
                let before = if step == 0 { 0 } else { new.steps.get(step - 1)?.at_us };
                let gap = new.steps.get(step)?.at_us.checked_sub(before).filter(|gap| *gap >= 200_000)?;
                // To round numbers, which are easier to read.
                let less = gap - gap / 2 / 100_000 * 100_000;
                new.steps[step..].iter_mut().for_each(|step| step.at_us -= gap - less);
            }
        }
        (new != *script).then_some(new)
    }
}

/// Has the node before it stand for a node that is left out.
fn forget_node(step: &mut Step, gone: usize) {
    let stand_in = |node: &mut usize| {
        if *node == gone {
            *node -= 1;
        }
    };
    match &mut step.act {
        Act::Op { node, ask } => [Some(node), ask.node_mut()].into_iter().flatten().for_each(stand_in),
        Act::Fault { fault, .. } => fault.nodes_mut().into_iter().for_each(stand_in),
    }
}

fn plainer(plan: &mut Plan, which: usize) {
    let plain = Plan { swim: plan.swim, children: plan.children, ..Plan::calm(plan.seed, plan.nodes) };
    match which {
        0 => plan.loss_permille = plain.loss_permille,
        1 => plan.doubled_permille = plain.doubled_permille,
        2 => plan.skew_ms_max = plain.skew_ms_max,
        3 => plan.start_apart_us = plain.start_apart_us,
        4 => plan.lane_frames_max = plain.lane_frames_max,
        5 => plan.one_stays_down = plain.one_stays_down,
        6 => plan.codec = plain.codec,
        7 => plan.latency_us = plain.latency_us,
        8 => plan.idle_us = plain.idle_us,
        9 => plan.push_events_max = plain.push_events_max,
        10 => plan.cuts_refuse = plain.cuts_refuse,
        11 => plan.durable = plain.durable,
        12 => plan.expect = plain.expect,
        13 => plan.disk_us = plain.disk_us,
        14 => plan.max_children = plain.max_children,
        15 => plan.checkpoint_ms = plain.checkpoint_ms,
        _ => plan.settle_us = plain.settle_us,
    }
}

/// Makes an operation plainer.
fn easier(op: &mut Op, way: usize) {
    match (op, way) {
        (Op::Register { names, .. }, 0) => names.truncate(1),
        (Op::RegisterMany { count, .. } | Op::StartMany { count, .. }, 0) => *count = (*count / 2).max(1),
        (Op::Register { value, .. } | Op::RegisterMore { value, .. } | Op::UpdateValue { value, .. }, 1) => {
            value.clear();
        }
        (Op::Start { spec, .. }, 0) => spec.character = Character::Steady,
        (Op::Start { spec, .. }, 1) => spec.restart = ordu_supervisor::core::Restart::Permanent,
        (Op::Start { spec, .. }, 2) => spec.pinned = None,
        (Op::Start { ensure, .. }, 3) => *ensure = false,
        (Op::Start { spec, .. }, 4) => spec.intensity = None,
        (Op::Start { spec, .. }, 5) => spec.zone = None,
        _ => {}
    }
}

/// Makes a fault plainer.
fn easier_fault(fault: &mut Fault, lasts_us: &mut u64, way: usize) {
    match (fault, way) {
        (_, 0) if *lasts_us >= 400_000 => *lasts_us = *lasts_us / 2 / 100_000 * 100_000,
        (Fault::Crash { disk, .. }, 1) => *disk = Disk::Kept,
        (Fault::Storm { nodes, .. }, 1) if nodes.len() > 1 => drop(nodes.pop()),
        (fault @ Fault::Flapping { .. }, 2) => {
            if let Fault::Flapping { side, .. } = fault {
                *fault = Fault::Split { side: std::mem::take(side) };
            }
        }
        (fault @ Fault::Split { .. }, 2) => {
            if let Fault::Split { side } = fault
                && let [node] = side[..]
            {
                *fault = Fault::Isolate { node };
            }
        }
        _ => {}
    }
}

/// Shortens a failing script. `run` plays one; `go_on` is asked before each run, and is told how many steps are left.
/// Returns the shortest that broke the same promise, and its outcome.
pub fn shrink(
    script: Script,
    failed: Outcome,
    mut run: impl FnMut(&Script) -> Outcome,
    mut go_on: impl FnMut(usize) -> bool,
) -> (Script, Outcome) {
    let broken = failed.violation.as_ref().map(|violation| violation.invariant);
    let mut tree = ScriptTree::new(script);
    let mut best = failed;
    let mut more = tree.simplify();
    for _ in 0..SHRINK_RUNS_MAX {
        if !more || !go_on(tree.kept.steps.len()) {
            break;
        }
        let outcome = run(&tree.current());
        let same = broken.is_some() && outcome.violation.as_ref().map(|violation| violation.invariant) == broken;
        more = if same {
            best = outcome;
            tree.simplify()
        } else {
            tree.complicate()
        };
    }
    (tree.kept, best)
}

/// Scripts for `proptest!`, drawn as a sweep draws them.
#[derive(Debug, Clone)]
pub struct Scripts(Options);

/// Scripts of this kind, for use under proptest: a failing one is shortened.
pub fn scripts(options: Options) -> Scripts {
    Scripts(options)
}

impl Strategy for Scripts {
    type Tree = ScriptTree;
    type Value = Script;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        let seed = runner.rng().random_range(0..SEED_END);
        Ok(ScriptTree::new(Script::draw(seed, &self.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::Violation;
    use crate::scenario;

    fn outcome(fails: bool) -> Outcome {
        let what = String::new();
        let violation = fails.then_some(Violation { invariant: "x", at_us: 0, what, liveness: false });
        Outcome { seed: 0, events: 0, digest: 0, violation, healed_us: 0 }
    }

    /// A failure that needs a split and two starts of one child.
    fn fails(script: &Script) -> bool {
        let splits = script.steps.iter().any(|step| matches!(step.act, Act::Fault { fault: Fault::Split { .. }, .. }));
        let mut starts = script.steps.iter().filter_map(|step| match &step.act {
            Act::Op { ask: Op::Start { spec, .. }, .. } => Some(spec.child),
            _ => None,
        });
        splits && starts.next().is_some_and(|first| starts.any(|other| other == first))
    }

    #[test]
    fn nothing_is_left_but_what_is_needed() {
        let mut shrunk = 0;
        for seed in 0..120 {
            let script = Script::draw(seed, &Options { nodes: 5, ops: 120, scenario: scenario::default() });
            if !fails(&script) {
                continue;
            }
            let (short, _) = shrink(script, outcome(true), |script| outcome(fails(script)), |_| true);
            assert!(fails(&short));
            assert_eq!(short.steps.len(), 3, "{:#?}", short.steps);
            assert!(short.plan.nodes <= 4 && short.plan.loss_permille == 0 && !short.plan.codec, "{:?}", short.plan);
            shrunk += 1;
        }
        assert!(shrunk > 3, "too few scripts failed to say anything: {shrunk}");
    }

    #[test]
    fn what_never_fails_again_stays_as_it_was() {
        let script = Script::draw(3, &Options { nodes: 3, ops: 20, scenario: scenario::default() });
        let (same, _) = shrink(script.clone(), outcome(true), |_| outcome(false), |_| true);
        assert_eq!(same, script);
    }

    #[test]
    fn every_candidate_can_be_played() {
        let script = Script::draw(9, &Options { nodes: 6, ops: 60, scenario: scenario::default() });
        let mut tree = ScriptTree::new(script);
        let mut more = tree.simplify();
        let mut turn = 0;
        while more && turn < 20_000 {
            turn += 1;
            assert_eq!(file::refuse(&tree.current()), None);
            more = if turn % 3 == 0 { tree.simplify() } else { tree.complicate() };
        }
        assert!(!more, "it does not end");
    }
}
