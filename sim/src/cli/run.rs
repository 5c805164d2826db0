//! `ordu-sim run`: many seeds; the first that fails is shortened and saved.

#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "tells how long things take, for people only")]

use std::time::{Duration, Instant};

use anyhow::Context;
use clap::value_parser;
use ordu_sim::draw::Options;
use ordu_sim::file;
use ordu_sim::report::Report;
use ordu_sim::script::Script;
use ordu_sim::shrink::shrink;
use ordu_sim::sweep::sweep;
use ordu_sim::world::{self, Outcome};

use super::shape::Shape;
use super::{bar, spinner, tell};

#[derive(clap::Args)]
pub(super) struct Args {
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
}

pub(super) fn run(args: Args) -> anyhow::Result<u8> {
    let Args { seeds, seed, jobs, shrink_for, shape } = args;
    let options = shape.options()?;
    let first = seed.unwrap_or_else(drawn_seed);
    if seed.is_none() && !shape.json {
        eprintln!("seed {first}");
    }
    let jobs = match jobs {
        Some(jobs) => usize::try_from(jobs)?,
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    let bar = bar(seeds, "{bar:40} {pos}/{len} seeds, {per_sec}, {eta} left", !shape.json && seeds > 1);
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

/// Shortens the script of a failing seed and saves what comes of it.
fn shorten(report: &mut Report, failed: Outcome, options: &Options, most: Duration, json: bool) {
    let seed = failed.seed;
    let bar = spinner(!json);
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
