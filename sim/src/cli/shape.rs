//! What `run` and `replay` both ask: the cluster, the operations, the scenario.

use std::path::Path;

use anyhow::{Context, bail};
use clap::{Args, value_parser};
use ordu_sim::draw::Options;
use ordu_sim::file;
use ordu_sim::plan::{NODES_MAX, OPS_MAX};
use ordu_sim::scenario::{self, SCENARIOS, Scenario};

#[derive(Args)]
pub(super) struct Shape {
    /// How many nodes.
    #[arg(long, default_value_t = 5, value_parser = value_parser!(u64).range(1..=NODES_MAX as u64))]
    pub(super) nodes: u64,
    /// How many operations.
    #[arg(long, default_value_t = 200, value_parser = value_parser!(u64).range(0..=OPS_MAX as u64))]
    pub(super) ops: u64,
    /// Which scenario: a name of `ordu-sim list`, or a scenario file.
    #[arg(long, value_name = "NAME|FILE", default_value = &*SCENARIOS[0].name)]
    pub(super) scenario: String,
    /// Run each seed again and compare the digests.
    #[arg(long)]
    pub(super) twice: bool,
    /// Print the result as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

impl Shape {
    pub(super) fn options(&self) -> anyhow::Result<Options> {
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

pub(super) fn read(path: &str) -> anyhow::Result<Scenario> {
    let size = std::fs::metadata(path).with_context(|| format!("cannot read {path}"))?.len();
    if size > file::FILE_BYTES_MAX as u64 {
        bail!("{path} is longer than {} bytes", file::FILE_BYTES_MAX);
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    file::read(path, &text).with_context(|| format!("{path} is no scenario"))
}
