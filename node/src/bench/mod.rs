//! `ordu bench`: pieces of work on nodes of its own, the same that anyone can repeat.
//!
//! This is the control room: it goes through the pieces of work and gathers their figures, in a process that does nothing
//! itself while something is measured. Each piece of work has a file, with what the control room does for it at the top
//! and what its nodes do for it below. The nodes are OS processes of their own ([`worker`]) with default settings, on
//! loopback, over QUIC with mutual TLS; they talk to one another as nodes do, and with the control room over a pipe
//! ([`protocol`]). Every piece of work of every run begins with new nodes, so none depends on what was before.

mod clock;
mod failover;
mod figures;
mod fleet;
mod heal;
mod idle;
mod join;
mod lookup;
mod machine;
mod memory;
mod names;
mod propagate;
mod protocol;
mod raw;
mod register;
mod relay;
mod report;
mod start;
mod worker;

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::signal::unix::{SignalKind, signal};

use self::fleet::Ground;
use crate::ca;
use crate::failure::Failure;

use self::figures::{Figures, Results};

/// The hidden subcommand that runs a node of the bench.
pub(crate) const SUBCOMMAND: &str = "__bench-node";
/// Most names: each has ten bytes, nine of them digits.
pub(crate) const NAMES_MAX: u32 = 100_000_000;
/// Most nodes.
pub(crate) const NODES_MAX: u16 = 50;
/// Where everything listens; the system chooses the port.
const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// Exit code of a process that was interrupted, as shells have it.
const INTERRUPTED: u8 = 130;

/// A piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Work {
    /// What bare QUIC and a plain HashMap do here
    Raw,
    /// Looking names up
    Lookup,
    /// Registering names as fast as it goes
    Register,
    /// One name at a time, from node to node and back
    Propagate,
    /// Starting children
    Start,
    /// Killing a node
    Failover,
    /// Cutting a node off and restoring the link
    Heal,
    /// Joining a cluster that has the names
    Join,
    /// Doing nothing
    Idle,
    /// What a name takes
    Memory,
}

/// What is to be measured, and how much of it.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// How many nodes; at least two.
    pub(crate) nodes: usize,
    /// How many names they know; at least one.
    pub(crate) names: u32,
    /// How many children they run; at least one.
    pub(crate) children: u32,
    /// How many single measurements; at least one.
    pub(crate) samples: u32,
    /// How often everything is done; at least once.
    pub(crate) runs: u32,
    /// How long nothing is done.
    pub(crate) idle: Duration,
    /// The pieces of work.
    pub(crate) works: Vec<Work>,
    /// Whether nodes keep on the disk what should run.
    pub(crate) durable: bool,
    /// Whether JSON is printed.
    pub(crate) json: bool,
}

impl Work {
    /// All of them, in the order in which they are done.
    pub(crate) const ALL: &'static [Work] = &[
        Work::Raw,
        Work::Lookup,
        Work::Register,
        Work::Propagate,
        Work::Start,
        Work::Failover,
        Work::Heal,
        Work::Join,
        Work::Idle,
        Work::Memory,
    ];

    fn name(self) -> &'static str {
        match self {
            Work::Raw => "raw",
            Work::Lookup => "lookup",
            Work::Register => "register",
            Work::Propagate => "propagate",
            Work::Start => "start",
            Work::Failover => "failover",
            Work::Heal => "heal",
            Work::Join => "join",
            Work::Idle => "idle",
            Work::Memory => "memory",
        }
    }

    async fn run(self, ground: &Ground, settings: &Settings) -> Result<Figures, Failure> {
        match self {
            Work::Raw => raw::run(ground, settings).await,
            Work::Lookup => lookup::run(ground, settings).await,
            Work::Register => register::run(ground, settings).await,
            Work::Propagate => propagate::run(ground, settings).await,
            Work::Start => start::run(ground, settings).await,
            Work::Failover => failover::run(ground, settings).await,
            Work::Heal => heal::run(ground, settings).await,
            Work::Join => join::run(ground, settings).await,
            Work::Idle => idle::run(ground, settings).await,
            Work::Memory => memory::run(ground, settings).await,
        }
    }
}

/// Measures, and prints what came of it.
///
/// # Errors
/// If a node fails or is too slow, or if this process is told to stop. No node is left behind.
pub(crate) fn run(settings: &Settings) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::usage(format!("no threads can be started: {error}")))?;
    let results = runtime.block_on(async {
        let listen = |kind| signal(kind).map_err(|error| Failure::usage(format!("signals cannot be taken: {error}")));
        let (mut interrupt, mut terminate, mut hangup) =
            (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?);
        let interrupted = || Err(Failure { code: INTERRUPTED, message: "interrupted; its nodes are ended".into() });
        // Whatever ends first, the nodes end with the work that had them.
        tokio::select! {
            results = measure(settings) => results,
            _ = interrupt.recv() => interrupted(),
            _ = terminate.recv() => interrupted(),
            _ = hangup.recv() => interrupted(),
        }
    })?;
    report::print_results(settings, &results)
}

async fn measure(settings: &Settings) -> Result<Results, Failure> {
    let directory = certificates(settings.nodes)?;
    let ground = Ground { directory: directory.path().to_owned(), durable: settings.durable };
    let bar = progress(settings);
    let mut results = Results::default();
    for run in 1..=settings.runs {
        for &work in &settings.works {
            bar.set_message(format!("{}, run {run} of {}", work.name(), settings.runs));
            bar.tick();
            let figures = work.run(&ground, settings).await.map_err(|failure| failure.context(work.name()))?;
            results.record(work.name(), figures);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    Ok(results)
}

/// A throw-away CA in a directory of its own, with certificates for all nodes and for one that joins.
fn certificates(nodes: usize) -> Result<tempfile::TempDir, Failure> {
    let directory = tempfile::Builder::new().prefix("ordu-bench-").tempdir();
    let directory = directory.map_err(|error| Failure::usage(format!("no temporary directory: {error}")))?;
    let authority = directory.path().join("ca");
    let issue = || {
        ca::init(&authority)?;
        (0..=nodes).try_for_each(|index| ca::issue(&authority, &fleet::node_name(index)).map(drop))
    };
    issue().map_err(|error: ca::CaError| Failure::usage(format!("the nodes' CA: {error}")))?;
    Ok(directory)
}

/// A bar over all pieces of work, where somebody sees it. It moves between them only: nothing runs beside what is measured.
fn progress(settings: &Settings) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}");
    let steps = u64::from(settings.runs) * settings.works.len() as u64;
    ProgressBar::new(steps).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Runs a node of the bench: its name, and the directory of its certificates.
pub(crate) fn run_node(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let (name, tls_dir) = (arguments.next().unwrap_or_default(), arguments.next().unwrap_or_default());
    match worker::run(&name.to_string_lossy(), Path::new(&tls_dir)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "{why}");
            ExitCode::FAILURE
        }
    }
}
