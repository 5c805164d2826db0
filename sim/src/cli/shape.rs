//! What `run` and `replay` both ask: the cluster, the operations, the scenario.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail};
use clap::{Args, value_parser};
use ordu_sim::draw::Options;
use ordu_sim::file;
use ordu_sim::plan::{NODES_MAX, OPS_MAX};
use ordu_sim::scenario::{self, Scenario};

#[derive(Args)]
pub(super) struct Shape {
    /// How many nodes, unless the scenario says so itself [default: 5].
    #[arg(long, value_parser = value_parser!(u64).range(1..=NODES_MAX as u64))]
    pub(super) nodes: Option<u64>,
    /// How many operations, unless the scenario has its own [default: 200].
    #[arg(long, value_parser = value_parser!(u64).range(0..=OPS_MAX as u64))]
    pub(super) ops: Option<u64>,
    /// Which scenario: a name of `ordu-sim list`, or a scenario file [default: all].
    #[arg(long, value_name = "NAME|FILE")]
    pub(super) scenario: Option<String>,
    /// Run each seed again and compare the digests.
    #[arg(long)]
    pub(super) twice: bool,
    /// Print the result as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

impl Shape {
    /// What was asked for.
    pub(super) fn options(&self) -> anyhow::Result<Options> {
        let scenario = self.scenario.as_deref().map_or_else(|| Ok(scenario::default()), find)?;
        self.options_of(scenario)
    }

    /// What was asked for beside a scenario.
    pub(super) fn options_of(&self, scenario: Scenario) -> anyhow::Result<Options> {
        let (nodes, ops) = (self.nodes.map(usize::try_from).transpose()?, self.ops.map(usize::try_from).transpose()?);
        let default = Options::default();
        Ok(Options { nodes: nodes.unwrap_or(default.nodes), ops: ops.unwrap_or(default.ops), scenario })
    }
}

fn find(name: &str) -> anyhow::Result<Scenario> {
    match scenario::find(name) {
        Some(scenario) => Ok(scenario.clone()),
        None if Path::new(name).exists() => read(name),
        None => bail!("there is no scenario and no file {name:?}; `ordu-sim list` shows the scenarios"),
    }
}

pub(super) fn read(path: &str) -> anyhow::Result<Scenario> {
    let cannot = || format!("cannot read {path}");
    // Asked before it is opened: to open a pipe would wait for its other end.
    if !std::fs::metadata(path).with_context(cannot)?.is_file() {
        bail!("{path} is no ordinary file");
    }
    let (mut text, most) = (String::new(), file::FILE_BYTES_MAX as u64);
    File::open(path).with_context(cannot)?.take(most + 1).read_to_string(&mut text).with_context(cannot)?;
    if text.len() as u64 > most {
        bail!("{path} is longer than {most} bytes");
    }
    file::read(path, &text).with_context(|| format!("{path} is no scenario"))
}
