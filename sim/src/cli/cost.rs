//! `ordu-sim cost`: bytes and inputs of one registration, and of heals, by the size of the cluster; or what it costs to find
//! the seats of many children.

use std::io::Write;

use clap::value_parser;
use ordu_sim::cost::{NAMES_MAX, head, heal_table, measure, row};
use ordu_sim::plan::{NODES_MAX, SEED_MAX};
use ordu_sim::seats::{SEATS_MAX, seat_table};

use super::bar;

#[derive(clap::Args)]
pub(super) struct Args {
    /// How many nodes; several sizes, with commas between.
    #[arg(long, value_delimiter = ',', default_value = "3,10,30,100",
        value_parser = value_parser!(u64).range(2..=NODES_MAX as u64))]
    nodes: Vec<u64>,
    /// Names registered on one side of a cut that heals; several, with commas between. Measured up to ten nodes.
    #[arg(long, value_delimiter = ',', default_value = "10,100,1000",
        value_parser = value_parser!(u64).range(1..=NAMES_MAX as u64))]
    heals: Vec<u64>,
    /// Names that everybody holds before the cut.
    #[arg(long, default_value_t = 0, value_parser = value_parser!(u64).range(..=NAMES_MAX as u64))]
    held: u64,
    /// Measure instead what the change of one member costs where so many children are placed, on each of these sizes.
    #[arg(long, value_parser = value_parser!(u64).range(1..=SEATS_MAX))]
    seats: Option<u64>,
    /// The seed.
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u64).range(..=SEED_MAX))]
    seed: u64,
}

/// Larger clusters are not cut in two: it takes too long to be of use.
const HEAL_NODES_MAX: usize = 10;

pub(super) fn run(args: Args) -> anyhow::Result<u8> {
    let heals = args.heals.into_iter().map(usize::try_from).collect::<Result<Vec<_>, _>>()?;
    if let Some(children) = args.seats {
        let children = usize::try_from(children)?;
        for nodes in args.nodes {
            println!("{}", seat_table(children, usize::try_from(nodes)?));
        }
        return Ok(0);
    }
    let held = usize::try_from(args.held)?;
    let bar = bar(args.nodes.len() as u64, "{bar:40} {pos}/{len} sizes, {elapsed}", true);
    let mut out = std::io::stdout().lock();
    // Large clusters take minutes: each row is shown as soon as it is there.
    let mut show = |text: &str| bar.suspend(|| out.write_all(text.as_bytes()).and_then(|()| out.flush()));
    show(&head())?;
    let mut costs = Vec::new();
    for nodes in args.nodes {
        let nodes = usize::try_from(nodes)?;
        let cost = measure(nodes, args.seed, held, if nodes <= HEAL_NODES_MAX { &heals } else { &[] });
        bar.inc(1);
        show(&row(&cost))?;
        costs.push(cost);
    }
    show(&heal_table(&costs))?;
    bar.finish_and_clear();
    Ok(0)
}
