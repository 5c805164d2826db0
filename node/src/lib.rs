//! The Ordu node: the binary `ordu` and what it is made of.
//!
//! [`exec`] runs children that are OS processes, [`http`] serves the interface over a [`backend`], [`node`] puts the two on
//! top of a supervisor (`ordu up`), [`dev`] runs a throw-away cluster of such nodes, [`ca`] makes certificates, and `bench`
//! measures. The binary's `main` calls [`main`] and nothing else.
#![warn(missing_docs)]
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "those are banned from the cores only")]

mod adapter;
pub mod backend;
mod bench;
pub mod ca;
mod cli;
pub mod data;
pub mod dev;
pub mod exec;
mod explain;
pub mod failure;
pub mod http;
pub mod logs;
pub mod node;
mod placed;
pub mod rows;
mod store;
pub mod text;
pub mod wish;

use std::io::Write;
use std::process::ExitCode;

/// The whole program, from its arguments to its exit code.
pub fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|argument| argument == exec::SUBCOMMAND) {
        return match exec::run_keeper(std::io::stdin().lock(), std::io::stdout()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                let _ = writeln!(std::io::stderr(), "ordu keeper: {error}");
                ExitCode::FAILURE
            }
        };
    }
    if std::env::args_os().nth(1).is_some_and(|argument| argument == exec::LAUNCH_SUBCOMMAND) {
        // Comes back only where there is no program; the keeper was told why.
        let _ = exec::run_launch(std::env::args_os().skip(2));
        return ExitCode::FAILURE;
    }
    if std::env::args_os().nth(1).is_some_and(|argument| argument == bench::SUBCOMMAND) {
        return bench::run_node(std::env::args_os().skip(2));
    }
    cli::main(std::env::args_os())
}
