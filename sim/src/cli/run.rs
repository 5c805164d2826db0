//! `ordu-sim run`: many seeds; the first that fails is shortened and saved.

#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "tells how long things take, for people only")]

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::value_parser;
use ordu_sim::draw::Options;
use ordu_sim::file;
use ordu_sim::plan::SEED_MAX;
use ordu_sim::report::{self, Report};
use ordu_sim::script::Script;
use ordu_sim::shrink::shrink;
use ordu_sim::sweep::{Watch, watched};
use ordu_sim::world::{self, Outcome};

use super::shape::Shape;
use super::{bar, clock, complain, inform, interrupt, outputs, spinner, tell};

/// A sweep ends after so many seeds that break something: whoever mends the first is likely to mend more of them.
const BROKEN_MAX: usize = 20;

#[derive(clap::Args)]
pub(super) struct Args {
    /// How many seeds.
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first seed, up to 2^63 - 1; drawn and printed by default.
    #[arg(long, value_parser = value_parser!(u64).range(..=SEED_MAX))]
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
    if first.checked_add(seeds - 1).is_none_or(|last| last > SEED_MAX) {
        bail!("{seeds} seeds from {first} end above {SEED_MAX}, the highest that a scenario file can hold");
    }
    if seed.is_none() && !shape.json {
        inform(format_args!("seed {first}"));
    }
    let jobs = match jobs {
        Some(jobs) => usize::try_from(jobs)?,
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    let watch = Arc::new(Watch { broken_max: Some(BROKEN_MAX), ..Watch::default() });
    interrupt::stops(&watch);
    let bar = if seeds == 1 {
        clock(&Script::draw(first, &options), &watch.now_us, !shape.json)
    } else {
        bar(seeds, "{bar:40} {pos}/{len} seeds, {per_sec}, {eta} left{msg}", !shape.json)
    };
    let (begun, broken) = (Instant::now(), AtomicUsize::new(0));
    let ran = watched(first, seeds, &options, jobs, shape.twice, &watch, |one| {
        bar.inc(1);
        // A long sweep says what it finds when it finds it.
        if one.is_broken() && seeds > 1 {
            let many = broken.fetch_add(1, Ordering::Relaxed) + 1;
            bar.set_message(format!(", {many} violated"));
            if !shape.json {
                bar.suspend(|| report::lines(one).into_iter().for_each(inform));
            }
        }
    });
    bar.finish_and_clear();
    let mut report = Report::new(first, &options, &ran, begun.elapsed());
    if (ran.len() as u64) < seeds {
        let interrupted = watch.stop.load(Ordering::Relaxed);
        let why =
            if interrupted { "interrupted".into() } else { format!("stopped after {BROKEN_MAX} that break something") };
        report.stopped(format!("{why}; {seeds} were asked for"));
    }
    let broken = ran.into_iter().map(|one| one.outcome).find(|outcome| outcome.violation.is_some());
    if let Some(outcome) = broken.filter(|_| !shrink_for.is_zero()) {
        shorten(&mut report, outcome, &options, shrink_for, shape.json, &watch);
    }
    tell(&report, shape.json)
}

/// Shortens the script of a failing seed and saves what comes of it.
fn shorten(report: &mut Report, failed: Outcome, options: &Options, most: Duration, json: bool, watch: &Watch) {
    let seed = failed.seed;
    let bar = spinner(!json);
    let begun = Instant::now();
    let go_on = |left: usize| {
        bar.set_message(format!("shortening seed {seed}: {left} steps left, {:.0?} of {most:.0?}", begun.elapsed()));
        bar.tick();
        begun.elapsed() < most && !watch.stop.load(Ordering::Relaxed)
    };
    let (short, outcome) = shrink(Script::draw(seed, options), failed, |script| world::run(script, None).0, go_on);
    bar.finish_and_clear();
    let what = outcome.violation.map(|found| format!("{}: {}", found.invariant, found.what)).unwrap_or_default();
    let saved = save(&short, &what);
    if let Err(error) = &saved {
        complain(format_args!("the shortened script is not saved: {error:#}"));
    }
    report.shortened(seed, &short, saved.ok());
}

/// Saves a script that breaks something, beside those that were saved before; returns where.
fn save(short: &Script, what: &str) -> anyhow::Result<String> {
    let stem = format!("ordu-sim-seed-{}", short.plan.seed);
    let (path, mut file) = outputs::create_new(&stem, "toml").with_context(|| format!("cannot write {stem}.toml"))?;
    let text = file::write(short, &format!("Breaks {what}\nReplay with `ordu-sim replay {path}`."))?;
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write {path}"))?;
    Ok(path)
}

/// A seed that nobody chose.
fn drawn_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id()) >> 16
}
