//! `ordu-sim`: run seeds, replay one, list the scenarios. Exit codes: 0 all hold, 10 safety violated, 11 liveness, 12 not
//! deterministic, 2 usage.

#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "tells how long a sweep took, for people only")]

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand, value_parser};
use indicatif::{ProgressBar, ProgressStyle};
use ordu_sim::draw::Options;
use ordu_sim::file;
use ordu_sim::page::{self, Header};
use ordu_sim::plan::{NODES_MAX, OPS_MAX};
use ordu_sim::report::Report;
use ordu_sim::scenario::{self, SCENARIOS, Scenario};
use ordu_sim::script::Script;
use ordu_sim::shrink::shrink;
use ordu_sim::sweep::{Ran, sweep};
use ordu_sim::world::{self, Outcome, RunOutputs};

/// Runs Ordu's cores on a simulated network that misbehaves, and checks its promises.
#[derive(Parser)]
#[command(name = "ordu-sim", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run seeds and say which promises do not hold.
    Run {
        /// How many seeds.
        #[arg(long, default_value_t = 1, value_parser = value_parser!(u64).range(1..))]
        seeds: u64,
        /// The first seed; drawn and printed by default.
        #[arg(long)]
        seed: Option<u64>,
        /// How many threads [default: one a core].
        #[arg(long, value_parser = value_parser!(u64).range(1..=1024))]
        jobs: Option<u64>,
        /// How long the first failing seed is shortened, 0s for not at all.
        #[arg(long, value_name = "D", default_value = "60s", value_parser = humantime::parse_duration)]
        shrink_for: Duration,
        #[command(flatten)]
        shape: Shape,
    },
    /// Run one seed, or one scenario file, again.
    Replay {
        /// The seed, or the file.
        #[arg(value_name = "SEED|FILE")]
        what: String,
        /// Write everything that happens, in order, to this file.
        #[arg(long, value_name = "FILE")]
        trace: Option<PathBuf>,
        /// Draw what happens as a page.
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
        #[command(flatten)]
        shape: Shape,
    },
    /// List the scenarios.
    List,
}

#[derive(Args)]
struct Shape {
    /// How many nodes.
    #[arg(long, default_value_t = 5, value_parser = value_parser!(u64).range(1..=NODES_MAX as u64))]
    nodes: u64,
    /// How many operations.
    #[arg(long, default_value_t = 200, value_parser = value_parser!(u64).range(0..=OPS_MAX as u64))]
    ops: u64,
    /// Which scenario: a name of `ordu-sim list`, or a scenario file.
    #[arg(long, value_name = "NAME|FILE", default_value = &*SCENARIOS[0].name)]
    scenario: String,
    /// Run each seed again and compare the digests.
    #[arg(long)]
    twice: bool,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

impl Shape {
    fn options(&self) -> anyhow::Result<Options> {
        let scenario = find(&self.scenario)?;
        Ok(Options { nodes: usize::try_from(self.nodes)?, ops: usize::try_from(self.ops)?, scenario })
    }
}

fn find(name: &str) -> anyhow::Result<Scenario> {
    match scenario::find(name) {
        Some(scenario) => Ok(scenario.clone()),
        None if Path::new(name).exists() => read(name),
        None => bail!("there is no scenario and no file {name}; `ordu-sim list` shows the scenarios"),
    }
}

fn read(path: &str) -> anyhow::Result<Scenario> {
    let size = std::fs::metadata(path).with_context(|| format!("cannot read {path}"))?.len();
    if size > file::FILE_BYTES_MAX as u64 {
        bail!("{path} is longer than {} bytes", file::FILE_BYTES_MAX);
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    file::read(path, &text).with_context(|| format!("{path} is no scenario"))
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("ordu-sim: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> anyhow::Result<u8> {
    match command {
        Command::List => {
            let mut out = std::io::stdout().lock();
            for scenario in SCENARIOS {
                writeln!(out, "{:14} {}", scenario.name, scenario.about)?;
            }
            Ok(0)
        }
        Command::Run { seeds, seed, jobs, shrink_for, shape } => {
            let options = shape.options()?;
            let first = seed.unwrap_or_else(drawn_seed);
            if seed.is_none() && !shape.json {
                eprintln!("seed {first}");
            }
            let jobs = match jobs {
                Some(jobs) => usize::try_from(jobs)?,
                None => std::thread::available_parallelism().map_or(1, usize::from),
            };
            let bar = progress(seeds, shape.json);
            let begun = Instant::now();
            let ran = sweep(first, seeds, &options, jobs, shape.twice, |_| bar.inc(1));
            bar.finish_and_clear();
            let mut report = Report::new(first, &options, &ran, begun.elapsed());
            let broken = ran.into_iter().map(|one| one.outcome).find(|outcome| outcome.violation.is_some());
            if let Some(outcome) = broken.filter(|_| !shrink_for.is_zero()) {
                shorten(&mut report, outcome, &options, shrink_for, shape.json);
            }
            tell(&report, shape.json)
        }
        Command::Replay { what, trace, html, shape } => {
            let options = shape.options()?;
            let (seed, options) = match what.parse() {
                Ok(seed) => (seed, options),
                Err(_) if Path::new(&what).exists() => {
                    let scenario = read(&what)?;
                    let Some(seed) = scenario.seed() else {
                        bail!("{what} has no plan.seed; `ordu-sim run --scenario {what}` draws seeds for it")
                    };
                    (seed, Options { scenario, ..options })
                }
                Err(_) => bail!("{what} is neither a seed nor a file"),
            };
            let script = Script::draw(seed, &options);
            let begun = Instant::now();
            let mut outputs = RunOutputs { trace: None, record: html.is_some() };
            if let Some(path) = &trace {
                let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
                outputs.trace = Some(Box::new(BufWriter::new(file)));
            }
            let (outcome, written, notes) = world::run_recorded(&script, outputs);
            written.with_context(|| format!("cannot write {}", trace.unwrap_or_default().display()))?;
            if let (Some(path), Some(notes)) = (&html, &notes) {
                let Shape { nodes, ops, scenario, .. } = &shape;
                let command = match what.parse::<u64>() {
                    Ok(_) => format!("{} replay {what} --nodes {nodes} --ops {ops} --scenario {scenario}", program()),
                    Err(_) => format!("{} replay {what}", program()),
                };
                let page = page::render(&Header::new(&outcome, &script, &options.scenario.name, &command), notes);
                std::fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))?;
            }
            let again = shape.twice.then(|| world::run(&script, None).0.digest);
            tell(&Report::new(seed, &options, &[Ran { outcome, again }], begun.elapsed()), shape.json)
        }
    }
}

fn tell(report: &Report, json: bool) -> anyhow::Result<u8> {
    let mut out = std::io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string(report)?)?;
    } else {
        write!(out, "{}", report.text(&program()))?;
    }
    Ok(report.exit_code())
}

/// How we were called.
fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "ordu-sim".into())
}

/// Shortens the script of a failing seed and saves what comes of it.
fn shorten(report: &mut Report, failed: Outcome, options: &Options, most: Duration, json: bool) {
    let seed = failed.seed;
    let bar = if json || !std::io::stderr().is_terminal() { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
    let begun = Instant::now();
    let go_on = |left: usize| {
        bar.set_message(format!("shortening seed {seed}: {left} steps left, {:.0?} of {most:.0?}", begun.elapsed()));
        bar.tick();
        begun.elapsed() < most
    };
    let (short, outcome) = shrink(Script::draw(seed, options), failed, |script| world::run(script, None).0, go_on);
    bar.finish_and_clear();
    let what = outcome.violation.map(|found| format!("{}: {}", found.invariant, found.what)).unwrap_or_default();
    let path = format!("ordu-sim-seed-{seed}.toml");
    let saved = file::write(&short, &format!("Breaks {what}\nReplay with `ordu-sim replay {path}`."))
        .map_err(anyhow::Error::from)
        .and_then(|text| std::fs::write(&path, text).with_context(|| format!("cannot write {path}")));
    if let Err(error) = &saved {
        eprintln!("ordu-sim: the shortened script is not saved: {error:#}");
    }
    report.shortened(seed, &short, saved.is_ok().then_some(path));
}

/// A seed that nobody chose.
fn drawn_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id()) >> 16
}

fn progress(seeds: u64, json: bool) -> ProgressBar {
    if json || seeds < 2 || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} seeds, {per_sec}, {eta} left");
    ProgressBar::new(seeds).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
