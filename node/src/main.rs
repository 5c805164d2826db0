//! The binary `ordu`; everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    ordu_node::main()
}
