//! `ordu-sim walk`: every order of events of a small world, to a depth.

#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "tells how long things take, for people only")]

use std::io::Write;
use std::time::Instant;

use anyhow::bail;
use clap::value_parser;
use ordu_sim::walk::{self, Progress, STATES_MAX, WORLDS, World};
use serde_json::json;

use super::spinner;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Which world [default: all, one after the other].
    #[arg(long, value_name = "NAME")]
    world: Option<String>,
    /// How deep, in actions [default: the depth of the world].
    #[arg(long, value_parser = value_parser!(u64).range(1..=1_000))]
    depth: Option<u64>,
    /// End after this many distinct states.
    #[arg(long, default_value_t = 1_000_000, value_parser = value_parser!(u64).range(1..=STATES_MAX as u64))]
    states: u64,
    /// Print the result as JSON, a line a world.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> anyhow::Result<u8> {
    let worlds: Vec<&'static World> = match &args.world {
        None => WORLDS.iter().collect(),
        Some(name) => match walk::find(name) {
            Some(world) => vec![world],
            None => bail!("there is no world {name}; `ordu-sim list` shows those that are"),
        },
    };
    let mut code = 0;
    for world in worlds {
        let depth = match args.depth {
            Some(depth) => usize::try_from(depth)?,
            None => world.depth,
        };
        let (bar, begun) = (spinner(!args.json), Instant::now());
        let most = usize::try_from(args.states)?;
        let walked = walk::walk_within(world, depth, most, |Progress { depth: deep, states, frontier }| {
            bar.set_message(format!("{}: depth {deep} of {depth}, {states} states, {frontier} new", world.name));
            bar.tick();
        });
        bar.finish_and_clear();
        let took = begun.elapsed();
        let mut out = std::io::stdout().lock();
        let (states, transitions) = (walked.states, walked.transitions);
        if args.json {
            let violation =
                walked.violation.as_ref().map(|trace| json!({"what": trace.what, "actions": trace.actions}));
            let line = json!({
                "world": world.name, "depth": walked.depth, "complete": walked.complete, "stopped": walked.stopped,
                "states": states, "transitions": transitions, "violation": violation,
            });
            writeln!(out, "{line}")?;
        } else {
            let whole = match () {
                () if walked.complete => ", nothing lies deeper".to_owned(),
                () if walked.stopped => format!(", stopped at {states} states"),
                () => String::new(),
            };
            let verdict = if walked.violation.is_some() { "violated" } else { "all hold" };
            writeln!(
                out,
                "{}: {states} distinct states, {transitions} transitions, depth {}{whole}: {verdict}; {:.1}s",
                world.name,
                walked.depth,
                took.as_secs_f64()
            )?;
            if let Some(trace) = &walked.violation {
                write!(out, "{trace}")?;
            }
        }
        if walked.violation.is_some() {
            code = 10;
        }
    }
    Ok(code)
}
