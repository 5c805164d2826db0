//! The command line: one file per family of commands.

mod apply;
mod bench;
mod ca;
mod children;
mod client;
mod cluster;
mod explain;
mod logs;
mod settings;
mod table;
mod top;
mod up;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;

pub(crate) use children::parse_id;
pub(crate) use client::{NodeClient, parse_address, read_token};
pub(crate) use table::{Table, print, print_line};

use crate::failure::{Failure, USAGE, one_line};

/// Runs programs exactly once somewhere in a cluster of equal nodes.
#[derive(Debug, Parser)]
#[command(name = "ordu", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node in the foreground
    Up(Box<up::Up>),
    /// Run a throw-away local cluster of real node processes
    Dev(up::Dev),
    /// Make a private CA and certificates for nodes
    Ca(ca::Ca),
    /// Start a program somewhere in the cluster; returns when it runs
    Start(Box<children::Start>),
    /// Stop a child for good; returns when it has ended
    Stop(children::OneChild),
    /// Stop a child and start it again
    Restart(children::OneChild),
    /// Show one child
    Show(children::OneChild),
    /// Tell why a child is where it is, and where it would go
    Explain(children::OneChild),
    /// List the children
    Ps(Listing),
    /// List the members of the cluster
    Members(Listing),
    /// Show the cluster as one node sees it
    Status(Listing),
    /// List the registered names
    Names(cluster::Names),
    /// Show who holds a name
    Lookup(cluster::Lookup),
    /// Tell what happened lately, as the asked node has seen it, or follow it
    Events(cluster::Events),
    /// Begin to move a node's children away, but those pinned to it, and give it no more
    Drain(cluster::OneNode),
    /// Give a drained node children again
    Undrain(cluster::OneNode),
    /// Give a node no more children; it keeps those that it has. Lasts until uncordon, or as long as its process
    Cordon(cluster::OneNode),
    /// Give a cordoned node children again
    Uncordon(cluster::OneNode),
    /// Measure what this machine can do: registering, looking up, failing over, healing and more
    Bench(bench::Bench),
    /// Show what a child printed, from whichever node runs it
    Logs(logs::Logs),
    /// Start, replace and stop children as a file declares them
    Apply(apply::Apply),
    /// Watch the cluster in the terminal: members, children and events, again each second
    Top(top::Top),
    /// Move children that run elsewhere than they belong
    Rebalance(cluster::Rebalance),
    /// Forget a member that is down and will not return
    Remove(cluster::Remove),
    /// Print completions for a shell: bash, zsh, fish, elvish, powershell
    Completions(Completions),
}

#[derive(Debug, Args)]
struct Listing {
    #[command(flatten)]
    connect: client::Connect,
}

#[derive(Debug, Args)]
struct Completions {
    /// For which
    shell: Shell,
}

impl Completions {
    fn run(&self) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "ordu", &mut script);
        table::print_bytes(&script)
    }
}

/// The program behind the command line, from its arguments to its exit code.
pub(crate) fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let matches = match Cli::command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => return complain_of(&error),
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => return complain_of(&error),
    };
    let given = matches.subcommand().map(|(_, matches)| matches);
    match run(cli.command, given) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&failure.to_string());
            failure.exit_code()
        }
    }
}

fn run(command: Command, given: Option<&clap::ArgMatches>) -> Result<(), Failure> {
    match command {
        Command::Up(up) => up.run(given),
        Command::Dev(dev) => dev.run(),
        Command::Ca(ca) => ca.run(),
        Command::Start(start) => start.run(),
        Command::Stop(child) => child.stop(),
        Command::Restart(child) => child.restart(),
        Command::Show(child) => child.show(),
        Command::Explain(child) => child.explain(),
        Command::Ps(Listing { connect }) => children::ps(&connect),
        Command::Members(Listing { connect }) => cluster::members(&connect),
        Command::Status(Listing { connect }) => cluster::status(&connect),
        Command::Names(names) => names.run(),
        Command::Lookup(lookup) => lookup.run(),
        Command::Events(events) => events.run(),
        Command::Drain(node) => node.run("drain", "is draining; `ordu ps` tells what is still to move"),
        Command::Undrain(node) => node.run("undrain", "takes children again"),
        Command::Cordon(node) => node.run("cordon", "takes no more children, and keeps those that it has"),
        Command::Uncordon(node) => node.run("uncordon", "takes children again"),
        Command::Logs(logs) => logs.run(),
        Command::Apply(apply) => apply.run(),
        Command::Top(top) => top.run(),
        Command::Bench(bench) => bench.run(),
        Command::Rebalance(rebalance) => rebalance.run(),
        Command::Remove(remove) => remove.run(),
        Command::Completions(completions) => completions.run(),
    }
}

/// Says on standard error what is wrong. Where that is full or gone, the exit code alone says it.
fn complain(what: &str) {
    let _ = writeln!(std::io::stderr(), "ordu: {what}");
}

/// Says what is wrong with the arguments in one line; help and version are no errors.
fn complain_of(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = error.print();
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            ExitCode::from(USAGE)
        }
        _ => {
            let text = error.render().to_string();
            // The first paragraph says what is wrong; the rest is usage.
            let paragraph = text.split("\n\n").next().unwrap_or_default();
            let what = one_line(paragraph);
            complain(&format!("{}; see --help", what.strip_prefix("error: ").unwrap_or(&what)));
            ExitCode::from(USAGE)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn bad_usage_does_not_parse() {
        for line in [
            "ordu start web",
            "ordu start a/b -- true",
            "ordu start web --env novalue -- true",
            "ordu start web --restart sometimes -- true",
            "ordu start web --timeout 5 -- true",
            "ordu ps --http nowhere",
            "ordu lookup a%b",
            "ordu frobnicate",
            "ordu bench --only nonsense",
            "ordu bench --nodes 1",
            "ordu bench --runs 0",
            "ordu bench --idle 10ms",
            "ordu stop",
            "ordu completions",
            "ordu completions tcsh",
            "ordu logs a/b",
            "ordu logs web -n many",
            "ordu logs web -n 1000001",
            "ordu top --interval 99ms",
            "ordu top --interval 61s",
            "ordu top web",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
        assert!(Cli::try_parse_from(["ordu", "start", "a\u{7}b", "--", "true"]).is_err());
        assert!(Cli::try_parse_from(["ordu", "lookup", "a/b:c.d_e-f"]).is_ok());
    }
}
