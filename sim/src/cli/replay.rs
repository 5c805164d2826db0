//! `ordu-sim replay`: one seed or one scenario file again, written down or drawn.

#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "tells how long things take, for people only")]

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail};
use ordu_sim::draw::Options;
use ordu_sim::page::{self, Header};
use ordu_sim::report::Report;
use ordu_sim::script::Script;
use ordu_sim::sweep::Ran;
use ordu_sim::world::{self, RunOutputs};

use super::shape::{Shape, read};
use super::{program, tell};

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
