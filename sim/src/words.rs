//! Steps in words, for people who read a failing run.

use std::fmt;

use crate::fault::{Disk, Fault};
use crate::script::{Act, Op, Step};

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s ", Seconds(self.at_us))?;
        match &self.act {
            Act::Op { node, ask } => write!(f, "n{node}: {ask}"),
            Act::Fault { fault, lasts_us: 0 } => write!(f, "{fault}"),
            Act::Fault { fault, lasts_us } => write!(f, "for {}s {fault}", Seconds(*lasts_us)),
        }
    }
}

struct Seconds(u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1_000_000, self.0 / 1_000 % 1_000)
    }
}

/// Nodes, one after the other.
struct Nodes<'a>(&'a [usize]);

impl fmt::Display for Nodes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(at, node)| {
            let between = if at == 0 { "" } else { " " };
            write!(f, "{between}n{node}")
        })
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::Register { names, .. } => {
                write!(f, "a new process registers")?;
                names.iter().try_for_each(|name| write!(f, " name/{name}"))
            }
            Op::RegisterMany { count, .. } => write!(f, "a new process registers {count} names of its own"),
            Op::RegisterMore { which, name, .. } => write!(f, "process {which} registers name/{name}"),
            Op::Unregister { which, name } => write!(f, "process {which} gives up its name {name}"),
            Op::UpdateValue { which, name, .. } => write!(f, "process {which} changes the value of its name {name}"),
            Op::RegisterQuorum { name, wait_ms, .. } => {
                write!(f, "a new process registers name/{name} with a majority, {wait_ms} ms")
            }
            Op::Join { which, group, .. } => write!(f, "process {which} joins group/{group}"),
            Op::Leave { which, group } => write!(f, "process {which} leaves its group {group}"),
            Op::EndProcess { which } => write!(f, "process {which} ends"),
            Op::Read => write!(f, "everything is read"),
            Op::Start { spec, ensure, wait_ms } => {
                let verb = if *ensure { "ensure" } else { "start" };
                let (child, character, restart) = (spec.child, spec.character, spec.restart);
                write!(f, "{verb} child-{child} ({character:?}, {restart:?}")?;
                if let Some(node) = spec.pinned {
                    write!(f, ", on n{node} only")?;
                }
                write!(f, "), {wait_ms} ms")
            }
            Op::StartMany { first, count, wait_ms } => {
                write!(f, "start child-{first} and the next {}, {wait_ms} ms", count.saturating_sub(1))
            }
            Op::Retry { which, .. } => write!(f, "ask again for unknown start {which}"),
            Op::Terminate { child, wait_ms } => write!(f, "terminate child-{child}, {wait_ms} ms"),
            Op::Restart { child, wait_ms } => write!(f, "restart child-{child}, {wait_ms} ms"),
            Op::Drain { of, on: true, .. } => write!(f, "drain n{of}"),
            Op::Drain { of, on: false, .. } => write!(f, "undrain n{of}"),
            Op::Cordon { of, on: true, .. } => write!(f, "cordon n{of}"),
            Op::Cordon { of, on: false, .. } => write!(f, "uncordon n{of}"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Split { side } => write!(f, "{} cut off from the rest", Nodes(side)),
            Fault::Isolate { node } => write!(f, "n{node} cut off from all"),
            Fault::OneWay { from, to } => write!(f, "n{to} does not hear n{from}"),
            Fault::Deaf { node } => write!(f, "n{node} hears nobody"),
            Fault::Ring {} => write!(f, "each node reaches only the two beside it"),
            Fault::Bridge { over, side } => write!(f, "{} reach the rest over n{over} only", Nodes(side)),
            Fault::Flapping { side, period_us } => {
                write!(f, "{} cut off and not, every {}s", Nodes(side), Seconds(*period_us))
            }
            Fault::Stall { from, to } => write!(f, "n{to} reads no frames of n{from}"),
            Fault::Loss { permille } => write!(f, "{permille} of 1000 packets lost"),
            Fault::Doubling { permille } => write!(f, "{permille} of 1000 datagrams doubled"),
            Fault::Reordering { permille } => write!(f, "{permille} of 1000 datagrams late"),
            Fault::Delay { factor } => write!(f, "everything {factor} times slower"),
            Fault::Reset { one, other } => write!(f, "the sessions of n{one} and n{other} break"),
            Fault::Crash { node, disk: Disk::Kept } => write!(f, "n{node} killed"),
            Fault::Crash { node, disk: Disk::Lost } => write!(f, "n{node} killed, its disk lost"),
            Fault::Crash { node, disk: Disk::Old } => write!(f, "n{node} killed, back with an older disk"),
            Fault::Leave { node } => write!(f, "n{node} leaves"),
            Fault::Storm { nodes, leave: true } => write!(f, "{} leave at once", Nodes(nodes)),
            Fault::Storm { nodes, leave: false } => write!(f, "{} killed at once", Nodes(nodes)),
            Fault::Pause { node } => write!(f, "n{node} stopped"),
            Fault::Stutter { node, period_us } => write!(f, "n{node} slow, standing {}s", Seconds(*period_us)),
            Fault::Skew { node, by_ms } => write!(f, "the wall clock of n{node} jumps by {by_ms} ms"),
            Fault::Lie { node, peer } => write!(f, "n{node} takes n{peer} for down"),
            Fault::Namesake { of } => write!(f, "a second node under the name of n{of}"),
        }
    }
}
