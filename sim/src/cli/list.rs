//! `ordu-sim list`.

use std::io::Write;

use ordu_sim::scenario::SCENARIOS;
use ordu_sim::walk::WORLDS;

pub(super) fn run() -> anyhow::Result<u8> {
    let mut out = std::io::stdout().lock();
    for scenario in SCENARIOS {
        writeln!(out, "{:18} {}", scenario.name, scenario.about)?;
    }
    writeln!(out, "\nsmall worlds, for `ordu-sim walk --world NAME`:\n")?;
    for world in WORLDS {
        writeln!(out, "{:18} {}", world.name, world.about)?;
    }
    Ok(0)
}
