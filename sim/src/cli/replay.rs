//! `ordu-sim replay`: one seed or one scenario file again, written down or drawn.

#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "tells how long things take, for people only")]

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use anyhow::{Context, bail};
use ordu_sim::draw::Options;
use ordu_sim::page::{self, Header};
use ordu_sim::plan::SEED_MAX;
use ordu_sim::report::{self, Report};
use ordu_sim::script::Script;
use ordu_sim::sweep::Ran;
use ordu_sim::world::{self, RunOutputs};

use super::shape::{Shape, read};
use super::{clock, complain, inform, outputs, program, tell};

#[derive(clap::Args)]
pub(super) struct Args {
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
}

pub(super) fn run(args: Args) -> anyhow::Result<u8> {
    let Args { what, trace, html, shape } = args;
    let (seed, options) = asked(&what, &shape)?;
    let input = options.scenario.fixed.as_ref().map(|_| Path::new(&*options.scenario.name));
    let [trace, html] = outputs::open(input, [trace, html])?;
    let (trace_path, trace_file) = trace.map(|output| (output.path, output.file)).unzip();
    let script = Script::draw(seed, &options);
    let begun = Instant::now();
    let now_us = Arc::new(AtomicU64::new(0));
    let bar = clock(&script, &now_us, !shape.json);
    let wanted = RunOutputs {
        trace: trace_file.map(|file| Box::new(BufWriter::new(file)) as Box<dyn Write + Send>),
        record: html.is_some(),
    };
    let (outcome, traced, notes) = world::run_watched(&script, wanted, &now_us);
    bar.finish_and_clear();
    let mut written = Vec::new();
    if let Some(path) = trace_path {
        written.push((traced, path));
    }
    if let (Some(mut html), Some(notes)) = (html, &notes) {
        let command = report::command(&program(), seed, &options);
        let page = page::render(&Header::new(&outcome, &script, &options.scenario.name, &command), notes);
        written.push((html.file.write_all(page.as_bytes()), html.path));
    }
    let again = shape.twice.then(|| world::run(&script, None).0.digest);
    let report = Report::new(seed, &options, &[Ran::of(&script, outcome, again)], begun.elapsed());
    let code = tell(&report, shape.json)?;
    // What came of the run stands, whatever became of the files: it is told first, and decides the exit code.
    let mut failed = false;
    for (result, path) in written {
        match result {
            Ok(()) if !shape.json => inform(format_args!("{}: {}", path.display(), size_of(&path))),
            Ok(()) => {}
            Err(error) => {
                failed = true;
                complain(format_args!("cannot write {}: {error}", path.display()));
            }
        }
    }
    Ok(if failed && code == 0 { 2 } else { code })
}

/// The seed and the options that somebody asks for.
fn asked(what: &str, shape: &Shape) -> anyhow::Result<(u64, Options)> {
    if let Ok(seed) = what.parse::<u64>() {
        if seed > SEED_MAX {
            bail!("the seed {seed} is above {SEED_MAX}, the highest that a scenario file can hold");
        }
        return Ok((seed, shape.options()?));
    }
    if !Path::new(what).exists() {
        bail!("{what:?} is neither a seed nor a file");
    }
    if shape.scenario.is_some() {
        bail!("{what} is a scenario itself: leave out --scenario, or give a seed in its place");
    }
    let scenario = read(what)?;
    let Some(seed) = scenario.seed() else {
        bail!("{what} has no plan.seed: `replay SEED --scenario {what}` plays one, `run --scenario {what}` draws some")
    };
    let said = [("--nodes", shape.nodes, scenario.nodes()), ("--ops", shape.ops, scenario.ops())];
    if let Some((option, ..)) = said.into_iter().find(|(_, given, said)| given.is_some() && said.is_some()) {
        bail!("{what} says itself how many: leave out {option}");
    }
    Ok((seed, shape.options_of(scenario).context("the options do not fit")?))
}

/// How large a file has become, in words.
fn size_of(path: &Path) -> String {
    match std::fs::metadata(path).map(|metadata| metadata.len()) {
        Ok(bytes @ 0..1_000) => format!("{bytes} bytes"),
        Ok(bytes @ 1_000..1_000_000) => format!("{:.1} kB", bytes as f64 / 1e3),
        Ok(bytes) => format!("{:.1} MB", bytes as f64 / 1e6),
        Err(_) => "written".to_owned(),
    }
}
