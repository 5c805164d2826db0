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
/// Longest inside of a pair of braces, in bytes, that the text of a violation shows whole.
const INSIDE_BYTES_MAX: usize = 40;

/// What a sweep came to.
#[derive(Debug, Serialize)]
pub struct Report {
    seeds: usize,
    first_seed: u64,
    /// Of the largest cluster that was played.
    nodes: usize,
    /// Of the longest script that was played.
    ops: usize,
    events: u64,
    events_per_s: u64,
    violations: Vec<Row>,
    digest: String,
    scenario: String,
    /// The longest that a run took from its heal until everything was true.
    healed_us: u64,
    /// Why not all seeds were run.
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<String>,
    #[serde(skip)]
    options: Options,
    /// The nodes, and the operations, of the smallest run.
    #[serde(skip)]
    least: (usize, usize),
    #[serde(skip)]
    took: Duration,
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
    /// Its steps in words.
    #[serde(rename = "steps", skip_serializing_if = "Vec::is_empty")]
    short: Vec<String>,
    #[serde(skip)]
    exit: u8,
}

impl Report {
    /// Sums up a sweep that took this long.
    pub fn new(first_seed: u64, options: &Options, ran: &[Ran], took: Duration) -> Self {
        let events: u64 = ran.iter().map(|one| one.outcome.events).sum();
        let asked = (options.scenario.nodes().unwrap_or(options.nodes), options.scenario.ops().unwrap_or(options.ops));
        let (nodes, ops) = (|| ran.iter().map(|one| one.nodes), || ran.iter().map(|one| one.ops));
        Self {
            seeds: ran.len(),
            first_seed,
            nodes: nodes().max().unwrap_or(asked.0),
            ops: ops().max().unwrap_or(asked.1),
            events,
            events_per_s: (events as f64 / took.as_secs_f64().max(1e-9)) as u64,
            violations: ran.iter().flat_map(rows).collect(),
            digest: format!("{:016x}", digest_of(ran)),
            scenario: options.scenario.name.to_string(),
            healed_us: ran.iter().map(|one| one.outcome.healed_us).max().unwrap_or(0),
            stopped: None,
            options: options.clone(),
            least: (nodes().min().unwrap_or(asked.0), ops().min().unwrap_or(asked.1)),
            took,
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

    /// Notes why not all seeds were run.
    pub fn stopped(&mut self, why: String) {
        self.stopped = Some(why);
    }

    /// For people. `program` is how the simulator was called.
    pub fn text(&self, program: &str) -> String {
        let mut text = String::new();
        // Writing into a string does not fail.
        for row in self.violations.iter().take(SHOWN_MAX) {
            let _ = writeln!(text, "{}", row.line());
            let twice = if row.exit == 12 { " --twice" } else { "" };
            let (seed, command) = (row.seed, command(program, row.seed, &self.options));
            let _ = writeln!(text, "  {command}{twice} --trace seed-{seed}.txt --html seed-{seed}.html");
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
                let _ = writeln!(text, "  {} replay {}", quoted(program), quoted(file));
            }
        }
        if self.violations.len() > SHOWN_MAX {
            let _ = writeln!(text, "… and {} more", self.violations.len() - SHOWN_MAX);
        }
        let verdict = match self.violations.len() {
            0 => "all hold".to_owned(),
            some => counted(some, "violation"),
        };
        let stopped = self.stopped.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
        let _ = writeln!(
            text,
            "{} from {}{stopped}, {}, {}, scenario {}: {verdict}; {} in {:.1}s ({}/s), healed within {}, digest {}",
            counted(self.seeds, "seed"),
            self.first_seed,
            range(self.least.0, self.nodes, "node"),
            range(self.least.1, self.ops, "op"),
            self.scenario,
            counted(self.events, "event"),
            self.took.as_secs_f64(),
            self.events_per_s,
            seconds(self.healed_us),
            self.digest
        );
        text
    }
}

/// What there is to tell of one seed.
fn rows(one: &Ran) -> Vec<Row> {
    let row = |invariant, at_us, what, exit| {
        let (seed, file, short) = (one.outcome.seed, None, Vec::new());
        Row { seed, invariant, at: seconds(at_us), what, file, short, exit }
    };
    let broken = one.outcome.violation.as_ref().map(|found| {
        let exit = if found.liveness { 11 } else { 10 };
        row(found.invariant, found.at_us, found.what.clone(), exit)
    });
    let differs = one.again.filter(|again| *again != one.outcome.digest).map(|again| {
        let what = format!("two runs differ: {:016x} and {again:016x}", one.outcome.digest);
        row(DETERMINISTIC, 0, what, 12)
    });
    broken.into_iter().chain(differs).collect()
}

impl Row {
    fn line(&self) -> String {
        let Row { seed, invariant, at, what, .. } = self;
        let source = invariants::ALL.iter().find(|one| one.name == *invariant).map(|one| format!(" ({})", one.source));
        format!("seed {seed} violates {invariant}{} at {at}: {}", source.unwrap_or_default(), shortly(what))
    }
}

/// One line for each thing that is to be told of a seed; none if all holds.
pub fn lines(one: &Ran) -> Vec<String> {
    rows(one).iter().map(Row::line).collect()
}

/// The command that runs a seed again.
pub fn command(program: &str, seed: u64, options: &Options) -> String {
    let Options { nodes, ops, scenario } = options;
    let (program, name) = (quoted(program), quoted(&scenario.name));
    if scenario.fixed.is_none() {
        return format!("{program} replay {seed} --nodes {nodes} --ops {ops} --scenario {name}");
    }
    // What a file says itself need not be said again.
    let nodes = if scenario.nodes().is_none() { format!(" --nodes {nodes}") } else { String::new() };
    let ops = if scenario.ops().is_none() { format!(" --ops {ops}") } else { String::new() };
    if scenario.seed() == Some(seed) {
        format!("{program} replay {name}{nodes}{ops}")
    } else {
        format!("{program} replay {seed}{nodes}{ops} --scenario {name}")
    }
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:@%+=,".contains(&byte) || !byte.is_ascii();
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// A violation without what is inside of long values, but for the id of a child.
fn shortly(what: &str) -> String {
    let mut short = String::new();
    let (mut depth, mut begun) = (0_usize, 0);
    for (at, sign) in what.char_indices() {
        match sign {
            '{' if depth == 0 => (depth, begun) = (1, at),
            '{' => depth += 1,
            '}' if depth == 1 => {
                depth = 0;
                let inside = &what[begun + 1..at];
                let id = inside.split_once(" id: ").and_then(|(_, rest)| rest.split(',').next());
                match id {
                    _ if inside.len() <= INSIDE_BYTES_MAX => short.push_str(&what[begun..=at]),
                    Some(id) => short.push_str(&format!("{{ id: {}, … }}", id.trim())),
                    None => short.push_str("{ … }"),
                }
            }
            '}' => depth = depth.saturating_sub(1),
            _ if depth == 0 => short.push(sign),
            _ => {}
        }
    }
    if depth > 0 {
        short.push_str(&what[begun..]);
    }
    short
}

/// A number of things, in words.
fn counted(many: impl ToString, thing: &str) -> String {
    let many = many.to_string();
    format!("{many} {thing}{}", if many == "1" { "" } else { "s" })
}

fn range(least: usize, most: usize, thing: &str) -> String {
    if least == most { counted(most, thing) } else { format!("{least} to {}", counted(most, thing)) }
}

fn seconds(us: u64) -> String {
    format!("{}.{:06}s", us / 1_000_000, us % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{file, scenario};

    #[test]
    fn violations_are_told_without_the_inside_of_values() {
        let row =
            "ChildRow { id: child-4, kind: \"sim\", fence: Some(Fence { at: 1800000006074+0, node: 1 }), log: None }";
        let what = format!("n4 answers 5 with Child(Ok({row})), but [0, 1] {{ few }} stands");
        assert_eq!(
            shortly(&what),
            "n4 answers 5 with Child(Ok(ChildRow { id: child-4, … })), but [0, 1] { few } stands"
        );
        assert_eq!(shortly("a { b"), "a { b");
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!((counted(1, "seed"), counted(0, "seed")), ("1 seed".into(), "0 seeds".into()));
        assert_eq!((range(2, 2, "op"), range(1, 3, "op")), ("2 ops".into(), "1 to 3 ops".into()));
    }

    #[test]
    fn commands_say_what_is_needed_and_are_fit_for_a_shell() {
        let of = |path: &str, text: &str| Options { nodes: 4, ops: 9, scenario: file::read(path, text).expect("fine") };
        let whole = "plan.seed = 7\nplan.nodes = 3\nsteps = []";
        assert_eq!(command("ordu-sim", 7, &of("a b's.toml", whole)), r"ordu-sim replay 'a b'\''s.toml'");
        assert_eq!(command("ordu-sim", 8, &of("x.toml", whole)), "ordu-sim replay 8 --scenario x.toml");
        let part = of("x.toml", "plan.seed = 7");
        assert_eq!(command("ordu-sim", 7, &part), "ordu-sim replay x.toml --nodes 4 --ops 9");
        let named = Options { nodes: 4, ops: 9, scenario: scenario::default() };
        assert_eq!(command("./ordu-sim", 1, &named), "./ordu-sim replay 1 --nodes 4 --ops 9 --scenario all");
    }
}
