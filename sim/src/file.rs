//! Scenario files: a script, or a part of one, as TOML that people write and `replay` takes.
//!
//! ```toml
//! about = "a name on both sides of a cut"   # every part may be left out
//! plan.nodes = 3                            # fields of the plan; the others are drawn from the seed
//! plan.swim = true
//! steps = [                                 # exactly these, and nothing is drawn
//!   { at_us = 1000000, act = { op = { node = 0, ask = { register = { names = [1], value = "a" } } } } },
//!   { at_us = 2000000, act = { fault = { fault = { split = { side = [0] } }, lasts_us = 5000000 } } },
//! ]
//! ```
//!
//! In place of `steps` there may be what to draw them from: `faults = { split = 3 }` and `ops = { register = 5 }`,
//! kinds and weights instead of the default scenario's.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use serde::Deserialize;

use crate::draw::{FaultKind, OpKind};
use crate::fault::{FACTOR_MAX, Fault, PERIOD_US_MIN};
use crate::plan::{OPS_MAX, Plan, SKEW_MS_MAX};
use crate::scenario::{self, Layer, Scenario};
use crate::script::{Act, Op, Script, Spec, Step};
use crate::workload::NAMES_AT_ONCE_MAX;

/// Longest scenario file, in bytes.
pub const FILE_BYTES_MAX: usize = 64 << 20;
/// Latest time of a step, and longest time that a fault lasts, in microseconds.
pub const AT_US_MAX: u64 = 86_400_000_000;
/// Longest time that a caller waits, or that a child may take to stop, in milliseconds.
pub const WAIT_MS_MAX: u64 = AT_US_MAX / 1_000;
/// Most characters of a file's line that are shown with an error.
const SHOWN_CHARS_MAX: usize = 80;

/// Why a text is no scenario. Nothing was run.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It is no TOML, or not of this shape.
    #[error("{0}")]
    Shape(String),
    /// It cannot be played.
    #[error("{0}")]
    Content(String),
}

/// What a file lays down for every seed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fixed {
    /// Fields of the plan.
    plan: toml::Table,
    /// All steps.
    steps: Option<Vec<Step>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    about: Option<String>,
    fault_gap_percent: Option<u64>,
    pace_percent: Option<u64>,
    faults: Option<BTreeMap<FaultKind, u32>>,
    ops: Option<BTreeMap<OpKind, u32>>,
    #[serde(default)]
    plan: toml::Table,
    steps: Option<Vec<Step>>,
}

impl Document {
    /// What says how to draw the steps that the file has already.
    fn mixture(&self) -> Option<&'static str> {
        let drawn = [
            ("faults", self.faults.is_some()),
            ("ops", self.ops.is_some()),
            ("pace_percent", self.pace_percent.is_some()),
            ("fault_gap_percent", self.fault_gap_percent.is_some()),
        ];
        let (field, _) = drawn.into_iter().find(|(_, given)| *given && self.steps.is_some())?;
        Some(field)
    }
}

/// Where in the text an error is, in one line, and the part of that line around it: a script's lines are long.
fn told(error: &toml::de::Error, text: &str) -> String {
    let Some(at) = error.span().map(|span| span.start.min(text.len())) else { return error.message().to_owned() };
    let begin = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let number = text[..at].matches('\n').count() + 1;
    let line: Vec<char> = text[begin..].lines().next().unwrap_or("").chars().collect();
    let column = text[begin..at].chars().count();
    let first = column.saturating_sub(SHOWN_CHARS_MAX / 2).min(line.len());
    let last = (first + SHOWN_CHARS_MAX).min(line.len());
    let before = if first > 0 { "… " } else { "" };
    let after = if last < line.len() { " …" } else { "" };
    let shown: String = line[first..last].iter().collect();
    format!("line {number}, column {}: {}\n  {before}{shown}{after}", column + 1, error.message().trim_end())
}

/// Reads a scenario. `name` is what it is called in reports, the file's path as a rule.
///
/// # Errors
/// If the text is no scenario, with the line or the step at fault.
pub fn read(name: &str, text: &str) -> Result<Scenario, Refused> {
    if text.len() > FILE_BYTES_MAX {
        return Err(Refused::Content(format!("it is longer than {FILE_BYTES_MAX} bytes")));
    }
    let document: Document = toml::from_str(text).map_err(|error| Refused::Shape(told(&error, text)))?;
    if let Some(field) = document.mixture() {
        return Err(Refused::Content(format!("it has steps and {field}: where steps are given nothing is drawn")));
    }
    let default = scenario::default();
    let layer = match document.plan.get("children").and_then(toml::Value::as_bool) {
        Some(true) => Layer::Children,
        Some(false) => Layer::Names,
        None => default.layer,
    };
    let percent = |given: Option<u64>, field: &str| match given.unwrap_or(100) {
        percent @ 1..=100_000 => Ok(percent),
        other => Err(Refused::Content(format!("{field} is {other}, not 1 to 100000"))),
    };
    let fixed = Fixed { plan: document.plan, steps: document.steps };
    let scenario = Scenario {
        name: Cow::Owned(name.to_owned()),
        about: document.about.map_or(Cow::Borrowed("a scenario file"), Cow::Owned),
        layer,
        faults: document.faults.map_or(default.faults, |faults| faults.into_iter().collect()),
        fault_gap_percent: percent(document.fault_gap_percent, "fault_gap_percent")?,
        pace_percent: percent(document.pace_percent, "pace_percent")?,
        ops: document.ops.map_or(default.ops, |ops| ops.into_iter().collect()),
        stage: None,
        fixed: Some(Arc::new(fixed)),
    };
    // Whatever the seed, the same fields decide whether it can be played.
    let mut plan = Plan::calm(0, 1);
    scenario.fix_plan(&mut plan)?;
    let script = Script { plan, steps: scenario.fixed_steps().unwrap_or_default().to_vec() };
    match refuse(&script) {
        None => Ok(scenario),
        Some(why) => Err(Refused::Content(why)),
    }
}

impl Scenario {
    /// The seed that the file gives.
    pub fn seed(&self) -> Option<u64> {
        self.fixed.as_ref().and_then(|fixed| fixed.plan.get("seed")).and_then(toml::Value::as_integer)?.try_into().ok()
    }

    /// The number of nodes that the file gives.
    pub fn nodes(&self) -> Option<usize> {
        self.fixed.as_ref().and_then(|fixed| fixed.plan.get("nodes")).and_then(toml::Value::as_integer)?.try_into().ok()
    }

    /// The number of operations in the steps that the file gives.
    pub fn ops(&self) -> Option<usize> {
        Some(self.fixed_steps()?.iter().filter(|step| matches!(step.act, Act::Op { .. })).count())
    }

    /// The steps that the file gives.
    pub(crate) fn fixed_steps(&self) -> Option<&[Step]> {
        self.fixed.as_ref()?.steps.as_deref()
    }

    /// Lays down what the file says of the plan; the seed stays.
    pub(crate) fn fix_plan(&self, plan: &mut Plan) -> Result<(), Refused> {
        let Some(fixed) = self.fixed.as_ref().filter(|fixed| !fixed.plan.is_empty()) else { return Ok(()) };
        let seed = plan.seed;
        plan.seed = 0;
        let mut table = toml::Table::try_from(&*plan).map_err(|error| Refused::Content(error.to_string()))?;
        // One by one: an error of the whole would not say which field it is about.
        for (field, value) in &fixed.plan {
            table.insert(field.clone(), value.clone());
            *plan = table
                .clone()
                .try_into()
                .map_err(|error: toml::de::Error| Refused::Shape(format!("plan.{field}: {}", error.message())))?;
        }
        plan.seed = seed;
        Ok(())
    }
}

/// Why a script cannot be played, in one sentence.
pub fn refuse(script: &Script) -> Option<String> {
    let nodes = script.plan.nodes;
    if let Some(why) = script.plan.refuse() {
        return Some(why);
    }
    if script.ops() > OPS_MAX || script.steps.len() > 2 * OPS_MAX {
        return Some(format!("{} operations, more than {OPS_MAX}", script.ops()));
    }
    script.steps.iter().enumerate().find_map(|(at, step)| {
        let (named, lasts_us) = match &step.act {
            Act::Op { node, ask } => (ask.node().into_iter().chain([*node]).collect::<Vec<_>>(), 0),
            Act::Fault { fault, lasts_us } => (fault.nodes(), *lasts_us),
        };
        let stranger = named.into_iter().find(|node| *node >= nodes);
        if let Some(node) = stranger {
            return Some(format!("step {} names node {node}, but there are 0 to {}", at + 1, nodes - 1));
        }
        if step.at_us.max(lasts_us) > AT_US_MAX {
            return Some(format!("step {} is later, or lasts longer, than {AT_US_MAX} microseconds", at + 1));
        }
        let why = match &step.act {
            Act::Op { ask, .. } => refuse_op(ask),
            Act::Fault { fault, .. } => refuse_fault(fault),
        };
        why.map(|why| format!("step {}: {why}", at + 1))
    })
}

/// What of an operation is out of bounds.
fn refuse_op(op: &Op) -> Option<String> {
    let (many, wait_ms) = match op {
        Op::Register { names, .. } => (names.len(), 0),
        Op::RegisterMany { count, .. } => (*count, 0),
        Op::StartMany { count, wait_ms, .. } => (*count, *wait_ms),
        Op::Start { spec, wait_ms, .. } => {
            (0, (*wait_ms).max(spec.stop_timeout_ms).max(spec.init_timeout_ms.unwrap_or(0)))
        }
        Op::Retry { wait_ms, .. } | Op::Terminate { wait_ms, .. } => (0, *wait_ms),
        Op::Restart { wait_ms, .. } | Op::Drain { wait_ms, .. } | Op::Cordon { wait_ms, .. } => (0, *wait_ms),
        Op::RegisterMore { .. } | Op::Unregister { .. } | Op::UpdateValue { .. } => (0, 0),
        Op::RegisterQuorum { wait_ms, .. } => (0, *wait_ms),
        Op::Join { .. } | Op::Leave { .. } | Op::EndProcess { .. } | Op::Read => (0, 0),
    };
    if let Op::Start { spec: Spec { intensity: Some(allowed), restart, .. }, .. } = op
        && let Err(why) = allowed.intensity().check(*restart)
    {
        return Some(format!("intensity: {why}"));
    }
    if many > NAMES_AT_ONCE_MAX {
        return Some(format!("{many} at once, more than {NAMES_AT_ONCE_MAX}"));
    }
    (wait_ms > WAIT_MS_MAX).then(|| format!("{wait_ms} ms is longer than {WAIT_MS_MAX} ms"))
}

/// What of a fault is out of bounds.
fn refuse_fault(fault: &Fault) -> Option<String> {
    match fault {
        Fault::Loss { permille } | Fault::Doubling { permille } | Fault::Reordering { permille } => {
            (*permille > 1_000).then(|| format!("permille is {permille}, not 0 to 1000"))
        }
        Fault::Delay { factor } if !(1..=FACTOR_MAX).contains(factor) => {
            Some(format!("factor is {factor}, not 1 to {FACTOR_MAX}"))
        }
        Fault::Flapping { period_us, .. } | Fault::Stutter { period_us, .. }
            if !(PERIOD_US_MIN..=AT_US_MAX).contains(period_us) =>
        {
            Some(format!("period_us is {period_us}, not {PERIOD_US_MIN} to {AT_US_MAX}"))
        }
        Fault::Skew { by_ms, .. } if !(-SKEW_MS_MAX..=SKEW_MS_MAX).contains(by_ms) => {
            Some(format!("by_ms is {by_ms}, not -{SKEW_MS_MAX} to {SKEW_MS_MAX}"))
        }
        _ => None,
    }
}

/// A script as a scenario file; each line of `about` becomes a comment at its head.
///
/// # Errors
/// If a number of it is above what TOML holds, 2^63 - 1.
pub fn write(script: &Script, about: &str) -> Result<String, toml::ser::Error> {
    let mut text = String::new();
    // Writing into a string does not fail.
    for line in about.lines() {
        let _ = writeln!(text, "# {}", line.trim_end());
    }
    for (field, value) in toml::Table::try_from(&script.plan)? {
        let _ = writeln!(text, "plan.{field} = {value}");
    }
    let _ = writeln!(text, "steps = [");
    for step in &script.steps {
        let _ = writeln!(text, "  {}, # {step}", toml::Value::try_from(step)?);
    }
    let _ = writeln!(text, "]");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Options;
    use crate::plan::NODES_MAX;

    fn refused(text: &str) -> String {
        read("x", text).expect_err("it is refused").to_string()
    }

    #[test]
    fn what_is_written_is_read_again() {
        for seed in 0..40 {
            let script = Script::draw(seed, &Options { nodes: 5, ops: 60, scenario: scenario::default() });
            let text = write(&script, "a test\nof two lines").expect("it can be written");
            let again = read("x", &text).expect("it can be read");
            assert_eq!(again.seed(), Some(seed));
            let options = Options { nodes: 1, ops: 3, scenario: again };
            assert_eq!(Script::draw(seed, &options), script, "{text}");
        }
    }

    #[test]
    fn parts_may_be_left_out() {
        let scenario = read("x", "faults = { split = 1 }\nplan.nodes = 3\nplan.children = false").expect("it is fine");
        let script = Script::draw(7, &Options { nodes: 9, ops: 50, scenario });
        assert_eq!((script.plan.nodes, script.plan.children, script.plan.seed, script.ops()), (3, false, 7, 50));
        let faults =
            |act: &Act| matches!(act, Act::Fault { fault, .. } if !matches!(fault, crate::fault::Fault::Split { .. }));
        assert!(!script.steps.iter().any(|step| faults(&step.act)));
    }

    #[test]
    fn what_cannot_be_played_is_refused_with_its_place() {
        assert!(refused("plan.nodez = 3").contains("nodez"));
        assert!(refused("faults = { splat = 3 }").contains("splat"));
        assert!(refused("plan.nodes = 0").contains(&format!("1 to {NODES_MAX}")));
        assert!(refused("plan.latency_us = [9, 3]").contains("latency_us"));
        assert!(refused("plan.latency_us = [0, 10_000_000]").contains("up to"));
        assert!(refused("plan.lane_frames_max = 1").contains("lane_frames_max"));
        assert!(refused("plan.skew_ms_max = 600_000").contains("skew_ms_max"));
        assert!(refused("pace_percent = 0").contains("pace_percent"));
        assert!(refused("ops = { read = 1 }\nsteps = []").contains("steps and ops"));
        let step = "{ at_us = 5, act = { op = { node = 3, ask = \"read\" } } }";
        assert!(refused(&format!("plan.nodes = 3\nsteps = [{step}]")).contains("step 1 names node 3"));
        assert!(refused("steps = [{ at_us = 5, act = { op = { node = 0, ask = \"reed\" } } }]").contains("reed"));
    }

    #[test]
    fn numbers_beyond_all_measure_are_refused_with_their_step() {
        let most = i64::MAX;
        for ask in [
            format!("register_many = {{ first = 0, count = {most} }}"),
            format!("start_many = {{ first = 0, count = 1, wait_ms = {most} }}"),
            format!("terminate = {{ child = 0, wait_ms = {most} }}"),
            format!(
                "start = {{ ensure = false, wait_ms = 1, spec = {{ child = 0, character = \"steady\", \
                 restart = \"permanent\", stop_timeout_ms = {most} }} }}"
            ),
            "start = { ensure = false, wait_ms = 1, spec = { child = 0, character = \"steady\", restart = \"permanent\", \
             stop_timeout_ms = 1, intensity = { restarts = 1001, within_ms = 1 } } }"
                .to_owned(),
        ] {
            let step = format!("steps = [{{ at_us = 5, act = {{ op = {{ node = 0, ask = {{ {ask} }} }} }} }}]");
            assert!(refused(&step).starts_with("step 1: "), "{step}: {}", refused(&step));
        }
        for fault in [
            "loss = { permille = 1001 }".to_owned(),
            format!("delay = {{ factor = {most} }}"),
            format!("stutter = {{ node = 0, period_us = {most} }}"),
            "flapping = { side = [0], period_us = 0 }".to_owned(),
            format!("skew = {{ node = 0, by_ms = {most} }}"),
            format!("skew = {{ node = 0, by_ms = {} }}", i64::MIN),
        ] {
            let step =
                format!("steps = [{{ at_us = 5, act = {{ fault = {{ lasts_us = 1, fault = {{ {fault} }} }} }} }}]");
            assert!(refused(&step).starts_with("step 1: "), "{step}: {}", refused(&step));
        }
    }

    #[test]
    fn errors_name_their_place_once_and_stay_short() {
        assert_eq!(refused("plan.swim = 3"), "plan.swim: invalid type: integer `3`, expected a boolean");
        let long = format!("about = \"{}\" = 3", "x".repeat(5_000));
        let why = refused(&long);
        assert!(why.starts_with("line 1, column 5012: ") && why.chars().count() < 300, "{why}");
        let why = refused("about = \"ü\"\nnodes = 3\n");
        assert!(why.starts_with("line 2, column 1: ") && why.matches("nodes = 3").count() == 1, "{why}");
    }
}
