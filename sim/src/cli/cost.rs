//! `ordu-sim cost`: bytes and inputs of one registration, and of heals, by the size of the cluster.

use std::io::Write;

use clap::value_parser;
use ordu_sim::cost::{measure, table};
use ordu_sim::plan::NODES_MAX;

use super::bar;

#[derive(clap::Args)]
pub(super) struct Args {
    /// How many nodes; several sizes, with commas between.
    #[arg(long, value_delimiter = ',', default_value = "3,10,30,100",
        value_parser = value_parser!(u64).range(2..=NODES_MAX as u64))]
    nodes: Vec<u64>,
    /// Names registered on one side of a cut that heals; several, with commas between. Measured up to ten nodes.
    #[arg(long, value_delimiter = ',', default_value = "10,100,1000", value_parser = value_parser!(u64).range(1..=100_000))]
    heals: Vec<u64>,
    /// Names that everybody holds before the cut.
    #[arg(long, default_value_t = 0, value_parser = value_parser!(u64).range(..=100_000))]
    held: u64,
    /// The seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Larger clusters are not cut in two: it takes too long to be of use.
const HEAL_NODES_MAX: usize = 10;

pub(super) fn run(args: Args) -> anyhow::Result<u8> {
    let heals = args.heals.into_iter().map(usize::try_from).collect::<Result<Vec<_>, _>>()?;
    let held = usize::try_from(args.held)?;
    let bar = bar(args.nodes.len() as u64, "{bar:40} {pos}/{len} sizes, {elapsed}", true);
    let mut costs = Vec::new();
    for nodes in args.nodes {
        let nodes = usize::try_from(nodes)?;
        costs.push(measure(nodes, args.seed, held, if nodes <= HEAL_NODES_MAX { &heals } else { &[] }));
        bar.inc(1);
    }
    bar.finish_and_clear();
    write!(std::io::stdout().lock(), "{}", table(&costs))?;
    Ok(0)
}
