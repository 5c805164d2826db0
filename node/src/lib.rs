//! The Ordu node: the binary `ordu` and what it is made of.
//!
//! [`exec`] runs children that are OS processes. The binary's `main` calls [`main`] and nothing else.
#![warn(missing_docs)]

pub mod exec;
pub mod text;

use std::process::ExitCode;

/// The whole program, from its arguments to its exit code.
pub fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|argument| argument == exec::SUBCOMMAND) {
        let remove = arguments.nth(1).map(std::path::PathBuf::from);
        return match exec::run_keeper(std::io::stdin().lock(), std::io::stdout(), remove.as_deref()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("ordu keeper: {error}");
                ExitCode::FAILURE
            }
        };
    }
    ExitCode::from(2)
}
