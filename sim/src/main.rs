//! `ordu-sim`: run seeds, replay one, list the scenarios. Exit codes: 0 all hold, 10 safety violated, 11 liveness, 12 not
//! deterministic, 2 usage.

#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "tells how long a sweep took, for people only")]

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand, value_parser};
use indicatif::{ProgressBar, ProgressStyle};
use ordu_sim::draw::Options;
use ordu_sim::plan::{NODES_MAX, OPS_MAX};
use ordu_sim::report::Report;
use ordu_sim::scenario::{self, SCENARIOS, Scenario};
use ordu_sim::script::Script;
use ordu_sim::sweep::{Ran, sweep};
use ordu_sim::world;

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
        #[command(flatten)]
        shape: Shape,
    },
    /// Run one seed again.
    Replay {
        /// The seed.
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
    /// Which scenario; see `ordu-sim list`.
    #[arg(long, default_value = &*SCENARIOS[0].name)]
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
        let nodes = usize::try_from(self.nodes)?;
        Ok(Options { nodes, ops: usize::try_from(self.ops)?, scenario: find(&self.scenario)?.clone() })
    }
}

fn find(name: &str) -> anyhow::Result<&'static Scenario> {
    match scenario::find(name) {
        Some(scenario) => Ok(scenario),
        None if Path::new(name).exists() => bail!("scenario files: not yet"),
        None => bail!("there is no scenario {name}; `ordu-sim list` shows those that are"),
    }
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
        Command::Run { seeds, seed, jobs, shape } => {
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
            tell(&Report::new(first, &options, &ran, begun.elapsed()), shape.json)
        }
        Command::Replay { what, trace, html, shape } => {
            let options = shape.options()?;
            if html.is_some() {
                bail!("--html: not yet");
            }
            let seed: u64 = match what.parse() {
                Ok(seed) => seed,
                Err(_) if Path::new(&what).exists() => bail!("replaying files: not yet"),
                Err(_) => bail!("{what} is not a seed"),
            };
            let script = Script::draw(seed, &options);
            let begun = Instant::now();
            let (outcome, written) = match &trace {
                None => world::run(&script, None),
                Some(path) => {
                    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
                    world::run(&script, Some(Box::new(BufWriter::new(file))))
                }
            };
            written.with_context(|| format!("cannot write {}", trace.unwrap_or_default().display()))?;
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
        let program = std::env::args().next().unwrap_or_else(|| "ordu-sim".into());
        write!(out, "{}", report.text(&program))?;
    }
    Ok(report.exit_code())
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
