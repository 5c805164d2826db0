//! The command line: what can be asked, and who does it.

mod cost;
mod list;
mod replay;
mod run;
mod shape;
mod walk;

use std::io::{IsTerminal, Write};

use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use ordu_sim::report::Report;

/// Runs Ordu's cores on a simulated network that misbehaves, and checks its promises.
#[derive(Parser)]
#[command(name = "ordu-sim", version, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run seeds and say which promises do not hold.
    Run(run::Args),
    /// Run one seed, or one scenario file, again.
    Replay(replay::Args),
    /// List the scenarios and the small worlds.
    List,
    /// Walk through every order of events of a small world.
    Walk(walk::Args),
    /// Measure what one registration, and a heal, costs in clusters of several sizes.
    Cost(cost::Args),
}

/// Does what was asked; returns the exit code.
pub(crate) fn run(cli: Cli) -> anyhow::Result<u8> {
    match cli.command {
        Command::Run(args) => run::run(args),
        Command::Replay(args) => replay::run(args),
        Command::List => list::run(),
        Command::Walk(args) => walk::run(args),
        Command::Cost(args) => cost::run(args),
    }
}

/// Prints a report; returns its exit code.
fn tell(report: &Report, json: bool) -> anyhow::Result<u8> {
    let mut out = std::io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string(report)?)?;
    } else {
        write!(out, "{}", report.text(&program()))?;
    }
    Ok(report.exit_code())
}

/// How we were called.
fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "ordu-sim".into())
}

/// A bar over many things of one kind, where somebody sees it.
fn bar(many: u64, template: &str, shown: bool) -> ProgressBar {
    if !shown || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(template);
    ProgressBar::new(many).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Something that turns while we work, where somebody sees it.
fn spinner(shown: bool) -> ProgressBar {
    if shown && std::io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() }
}
