//! What a sweep came to, for people and for programs.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use crate::draw::Options;
use crate::invariants;
use crate::script::Script;
use crate::sweep::{Ran, digest_of};

/// The name under which a seed is reported whose two runs differ.
pub const DETERMINISTIC: &str = "deterministic";
/// Most violations that the text shows one by one.
const SHOWN_MAX: usize = 20;
/// Most steps of a shortened script that the text shows.
const STEPS_SHOWN_MAX: usize = 40;

/// What a sweep came to.
#[derive(Debug, Serialize)]
pub struct Report {
    seeds: usize,
    first_seed: u64,
    nodes: usize,
    ops: usize,
    events: u64,
    events_per_s: u64,
    violations: Vec<Row>,
    digest: String,
    #[serde(skip)]
    scenario: String,
    #[serde(skip)]
    took: Duration,
    #[serde(skip)]
    healed_us: u64,
}

/// A broken promise.
#[derive(Debug, Serialize)]
struct Row {
    seed: u64,
    invariant: &'static str,
    /// In simulated time.
    at: String,
    what: String,
    /// The file that holds the shortest script found.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip)]
    short: Vec<String>,
    #[serde(skip)]
    exit: u8,
}

impl Report {
    /// Sums up a sweep that took this long.
    pub fn new(first_seed: u64, options: &Options, ran: &[Ran], took: Duration) -> Self {
        let events: u64 = ran.iter().map(|one| one.outcome.events).sum();
        let mut violations = Vec::new();
        for one in ran {
            let seed = one.outcome.seed;
            if let Some(found) = &one.outcome.violation {
                let (invariant, what) = (found.invariant, found.what.clone());
                let exit = if found.liveness { 11 } else { 10 };
                let (file, short) = (None, Vec::new());
                violations.push(Row { seed, invariant, at: seconds(found.at_us), what, file, short, exit });
            }
            if let Some(again) = one.again.filter(|again| *again != one.outcome.digest) {
                let what = format!("two runs differ: {:016x} and {again:016x}", one.outcome.digest);
                let (at, file, short) = (seconds(0), None, Vec::new());
                violations.push(Row { seed, invariant: DETERMINISTIC, at, what, file, short, exit: 12 });
            }
        }
        Self {
            seeds: ran.len(),
            first_seed,
            nodes: options.scenario.nodes().unwrap_or(options.nodes),
            ops: options.scenario.ops().unwrap_or(options.ops),
            events,
            events_per_s: (events as f64 / took.as_secs_f64().max(1e-9)) as u64,
            violations,
            digest: format!("{:016x}", digest_of(ran)),
            scenario: options.scenario.name.to_string(),
            took,
            healed_us: ran.iter().map(|one| one.outcome.healed_us).max().unwrap_or(0),
        }
    }

    /// 0 if all holds, 12 if something is not deterministic, else 10 if safety was violated, else 11.
    pub fn exit_code(&self) -> u8 {
        let exits = || self.violations.iter().map(|row| row.exit);
        exits().find(|&exit| exit == 12).or_else(|| exits().min()).unwrap_or(0)
    }

    /// Notes the shortest script that was found for this seed, and where it was saved.
    pub fn shortened(&mut self, seed: u64, script: &Script, file: Option<String>) {
        if let Some(row) = self.violations.iter_mut().find(|row| row.seed == seed && row.exit != 12) {
            row.short = script.steps.iter().map(ToString::to_string).collect();
            row.file = file;
        }
    }

    /// For people. `program` is how the simulator was called.
    pub fn text(&self, program: &str) -> String {
        let mut text = String::new();
        for row in self.violations.iter().take(SHOWN_MAX) {
            let source = invariants::ALL.iter().find(|one| one.name == row.invariant).map_or("", |one| one.source);
            let Row { seed, invariant, at, what, .. } = row;
            // Writing into a string does not fail.
            let _ = writeln!(text, "seed {seed} violates {invariant} ({source}) at {at}: {what}");
            let twice = if row.exit == 12 { " --twice" } else { "" };
            let (nodes, ops, scenario) = (self.nodes, self.ops, &self.scenario);
            let _ = writeln!(
                text,
                "  {program} replay {seed} --nodes {nodes} --ops {ops} --scenario {scenario}{twice} --trace seed-{seed}.txt"
            );
            if !row.short.is_empty() {
                let _ = writeln!(text, "  the shortest script found that breaks the same promise:");
            }
            for step in row.short.iter().take(STEPS_SHOWN_MAX) {
                let _ = writeln!(text, "    {step}");
            }
            if row.short.len() > STEPS_SHOWN_MAX {
                let _ = writeln!(text, "    … and {} more", row.short.len() - STEPS_SHOWN_MAX);
            }
            if let Some(file) = &row.file {
                let _ = writeln!(text, "  {program} replay {file}");
            }
        }
        if self.violations.len() > SHOWN_MAX {
            let _ = writeln!(text, "… and {} more", self.violations.len() - SHOWN_MAX);
        }
        let verdict = match self.violations.len() {
            0 => "all hold".to_owned(),
            some => format!("{some} violations"),
        };
        let _ = writeln!(
            text,
            "{} seeds from {}, {} nodes, {} ops, scenario {}: {verdict}; {} events in {:.1}s ({}/s), healed within {}, \
             digest {}",
            self.seeds,
            self.first_seed,
            self.nodes,
            self.ops,
            self.scenario,
            self.events,
            self.took.as_secs_f64(),
            self.events_per_s,
            seconds(self.healed_us),
            self.digest
        );
        text
    }
}

fn seconds(us: u64) -> String {
    format!("{}.{:06}s", us / 1_000_000, us % 1_000_000)
}
