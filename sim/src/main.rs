//! `ordu-sim`: run seeds, replay one, list the scenarios, walk small worlds, measure what a change costs. Exit codes: 0 all
//! hold, 10 safety violated, 11 liveness, 12 not deterministic, 2 usage.

mod cli;

use std::process::ExitCode;

use clap::Parser;

/// A run allocates and frees small things all the time; this allocator is a good deal faster at it than the system's.
#[global_allocator]
static HEAP: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let asked = match cli::Cli::try_parse() {
        Ok(asked) => asked,
        Err(error) => return cli::explain(&error),
    };
    match cli::run(asked) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            cli::complain(format_args!("{error:#}"));
            ExitCode::from(2)
        }
    }
}
