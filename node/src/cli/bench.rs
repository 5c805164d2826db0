//! `ordu bench`.

use std::time::Duration;

use clap::Args;

use crate::bench::{self, NAMES_MAX, NODES_MAX, Settings, Work};
use crate::failure::Failure;
use crate::text::{format_duration, parse_duration};

/// Most children: as many calls wait on a node at once.
const CHILDREN_MAX: i64 = 100_000;
/// Most single measurements of a kind.
const SAMPLES_MAX: i64 = 1_000_000;
/// Most runs.
const RUNS_MAX: i64 = 10_000;
/// The shortest idling: a node has something to do about every second.
const IDLE_MIN: Duration = Duration::from_secs(1);

/// Starts its own nodes on loopback, and leaves none
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// How many nodes
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(2..=i64::from(NODES_MAX)))]
    nodes: u16,
    /// How many names; `heal` takes 10,000 on either side whatever this says
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=i64::from(NAMES_MAX)))]
    names: u32,
    /// How many children
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=CHILDREN_MAX))]
    children: u32,
    /// How many round trips and single starts
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=SAMPLES_MAX))]
    samples: u32,
    /// How often everything is done, each time with new nodes
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=RUNS_MAX))]
    runs: u32,
    /// How long nothing is done, to see what that costs
    #[arg(long, value_name = "D", default_value = "60s", value_parser = parse_idle)]
    idle: Duration,
    /// Only these pieces of work
    #[arg(long, value_name = "WORK", value_enum, value_delimiter = ',')]
    only: Vec<Work>,
    /// Nodes keep on the disk what should run
    #[arg(long)]
    durable: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Bench {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let mut works = self.only;
        works.sort();
        works.dedup();
        if works.is_empty() {
            works = Work::ALL.to_vec();
        }
        let settings = Settings {
            nodes: self.nodes.into(),
            names: self.names,
            children: self.children,
            samples: self.samples,
            runs: self.runs,
            idle: self.idle,
            works,
            durable: self.durable,
            json: self.json,
        };
        bench::run(&settings).map_err(|failure| failure.context("bench"))
    }
}

fn parse_idle(text: &str) -> Result<Duration, String> {
    let idle = parse_duration(text)?;
    if idle < IDLE_MIN {
        return Err(format!("{text:?} is shorter than {}", format_duration(IDLE_MIN)));
    }
    Ok(idle)
}
