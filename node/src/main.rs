//! The binary `ordu`; everything it does is in the library.

use std::process::ExitCode;

/// A node's memory is many small things, which come from all threads.
#[global_allocator]
static HEAP: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ordu_node::main()
}
