//! The command line: what can be asked, and who does it.

mod cost;
mod interrupt;
mod list;
mod outputs;
mod replay;
mod run;
mod shape;
mod walk;

use std::fmt::{self, Display};
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use ordu_sim::report::Report;
use ordu_sim::script::Script;

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

/// Prints a report; returns its exit code. A verdict stands even where it cannot be printed; without one that is an
/// error.
fn tell(report: &Report, json: bool) -> anyhow::Result<u8> {
    let text = if json { serde_json::to_string(report)? + "\n" } else { report.text(&program()) };
    let mut out = std::io::stdout().lock();
    let code = report.exit_code();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(code),
        Err(error) if code == 0 => Err(error).context("cannot write the report"),
        Err(error) => {
            complain(format_args!("cannot write the report: {error}"));
            Ok(code)
        }
    }
}

/// Says what is wrong with the arguments in one line; help and version are no errors.
pub(crate) fn explain(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        error.exit();
    }
    let text = error.render().to_string();
    // The first paragraph says what is wrong; the rest is usage.
    let what: Vec<&str> = text.split("\n\n").next().unwrap_or_default().split_whitespace().collect();
    let what = what.join(" ");
    complain(format_args!("{}; see --help", what.strip_prefix("error: ").unwrap_or(&what)));
    ExitCode::from(2)
}

/// Says what went wrong, where somebody can be told.
pub(crate) fn complain(what: impl Display) {
    inform(format_args!("ordu-sim: {what}"));
}

/// One line on stderr. That nobody can read it is no reason to end.
fn inform(what: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{what}");
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

/// Tells how far one run is, where somebody sees it.
fn clock(script: &Script, now_us: &Arc<AtomicU64>, shown: bool) -> ProgressBar {
    let bar = spinner(shown);
    let (now_us, heal_us) = (now_us.clone(), script.ends_us().saturating_add(script.plan.settle_us));
    let simulated = move |_: &ProgressState, out: &mut dyn fmt::Write| {
        let _ = write!(out, "{:.1}", now_us.load(Ordering::Relaxed) as f64 / 1e6);
    };
    let template =
        format!("{{spinner}} {{elapsed}}: {{simulated}} s simulated; the heal is at {:.1} s", heal_us as f64 / 1e6);
    let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_spinner());
    bar.set_style(style.with_key("simulated", simulated));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
