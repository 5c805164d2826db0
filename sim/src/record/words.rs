//! What is noted, in words: faults, operations, replies and messages as a person reads them.

use bytes::Bytes;
use ordu_registry::core::delta;
use ordu_registry::core::delta::{Key, Payload};
use ordu_supervisor::core::{Call, CallError, ChildSpec, Control, Exit, Message, Placement, Reply};
use ordu_transport::core::Status;
use ordu_transport::core::codec::{self, Kind};

use crate::children::Character;
use crate::fault::{Disk, Fault};
use crate::link::Wire;

/// Most keys of a message that its text names.
const KEYS_MAX: usize = 8;

/// A fault's kind, and what it does.
pub(super) fn fault(fault: &Fault, nodes: usize) -> (&'static str, String) {
    let storm = |permille: &u32| format!("{:.1} %", f64::from(*permille) / 10.0);
    match fault {
        Fault::Split { side } => ("partition", sides(side, nodes)),
        Fault::Flapping { side, period_us } => {
            ("flapping partition", format!("{}, every {} ms", sides(side, nodes), period_us / 1_000))
        }
        Fault::Isolate { node } => ("isolation", sides(&[*node], nodes)),
        Fault::OneWay { from, to } => ("one-way cut", format!("n{to} does not hear n{from}")),
        Fault::Deaf { node } => ("deafness", format!("n{node} hears nobody and is heard")),
        Fault::Ring {} => ("ring", "each node reaches the two beside it only".into()),
        Fault::Bridge { over, side } => ("bridge", format!("{}, both reach n{over}", sides(side, nodes))),
        Fault::Stall { from, to } => ("stall", format!("n{to} does not read what n{from} writes")),
        Fault::Loss { permille } => ("loss", format!("{} of all packets are lost", storm(permille))),
        Fault::Doubling { permille } => ("doubling", format!("{} of all datagrams come twice", storm(permille))),
        Fault::Reordering { permille } => ("reordering", format!("{} of all datagrams come late", storm(permille))),
        Fault::Delay { factor } => ("delay", format!("everything takes {factor} times as long")),
        Fault::Reset { one, other } => ("reset", format!("the session of n{one} and n{other} breaks")),
        Fault::Crash { node, disk: Disk::Kept } => ("crash", format!("n{node} is killed")),
        Fault::Crash { node, disk: Disk::Lost } => ("crash", format!("n{node} is killed and loses its disk")),
        Fault::Crash { node, disk: Disk::Old } => ("crash", format!("n{node} is killed and finds an older disk")),
        Fault::Leave { node } => ("leave", format!("n{node} leaves in order")),
        Fault::Storm { nodes, leave: true } => ("leave", format!("{} leave at once", list(nodes))),
        Fault::Storm { nodes, leave: false } => ("crash", format!("{} are killed at once", list(nodes))),
        Fault::Pause { node } => ("pause", format!("n{node} stands still")),
        Fault::Stutter { node, period_us } => {
            ("stutter", format!("n{node} stands still for {} ms again and again", period_us / 1_000))
        }
        Fault::Skew { node, by_ms } => {
            ("skew", format!("the wall clock of n{node} jumps by {:.3} s", *by_ms as f64 / 1_000.0))
        }
        Fault::Lie { node, peer } => ("lie", format!("n{node} is told that n{peer} is down")),
        Fault::Namesake { of } => ("namesake", format!("another node starts under the name of n{of}")),
    }
}

fn list(nodes: &[usize]) -> String {
    nodes.iter().map(|node| format!("n{node}")).collect::<Vec<_>>().join(" ")
}

/// One side and the rest.
fn sides(side: &[usize], nodes: usize) -> String {
    let rest: Vec<usize> = (0..nodes).filter(|node| !side.contains(node)).collect();
    format!("{} | {}", list(side), list(&rest))
}

/// An operation: what, about which child or node, and the rest.
pub(super) fn call(call: &Call) -> (&'static str, String, String) {
    match call {
        Call::Start { spec, ensure: false } => ("start", spec.id.to_string(), about(spec)),
        Call::Start { spec, ensure: true } => ("ensure", spec.id.to_string(), about(spec)),
        Call::Terminate(id) => ("terminate", id.to_string(), String::new()),
        Call::Restart(id) => ("restart", id.to_string(), String::new()),
        Call::Drain { node, on: true } => ("drain", node.to_string(), String::new()),
        Call::Drain { node, on: false } => ("undrain", node.to_string(), String::new()),
    }
}

/// What a spec says beyond its id.
pub(super) fn about(spec: &ChildSpec) -> String {
    let character = format!("{:?}", Character::of(spec)).to_lowercase();
    let restart = format!("{:?}", spec.restart).to_lowercase();
    let pinned = match &spec.placement {
        Placement::Pinned(node) => format!(", pinned to {node}"),
        Placement::Uniform => String::new(),
    };
    format!("{character}, {restart}{pinned}, {} ms to stop", spec.stop_timeout.as_millis())
}

/// What a caller was told, and whether it was a yes.
pub(super) fn reply(reply: &Reply) -> (String, bool) {
    match reply {
        Reply::Child(Ok(row)) => match &row.node {
            Some(node) => (format!("ok, on {node}"), true),
            None => ("ok".into(), true),
        },
        Reply::Done(Ok(())) => ("ok".into(), true),
        Reply::Child(Err(CallError::AlreadyStarted(_))) => ("already started".into(), false),
        Reply::Child(Err(error)) | Reply::Done(Err(error)) => (error.to_string(), false),
    }
}

/// How a child ended.
pub(super) fn exit(exit: &Exit) -> String {
    match exit {
        Exit::Normal => "exited normally".into(),
        Exit::Abnormal(how) => how.clone(),
    }
}

/// A member's status.
pub(super) fn status(status: Status) -> &'static str {
    match status {
        Status::Up => "up",
        Status::Suspect => "suspect",
        Status::Down => "down",
        Status::Left => "left",
    }
}

/// A frame's text and length in bytes.
pub(super) fn wire(wire: &Wire, children: bool) -> (String, usize) {
    match wire {
        Wire::Message(message) => (self::message(message), codec::encode(Kind::Replication, message.as_ref()).len()),
        Wire::Bytes(bytes) => (read(bytes, children).unwrap_or_else(|| "cannot be read".into()), bytes.len()),
    }
}

fn read(bytes: &Bytes, children: bool) -> Option<String> {
    let message = match children {
        true => codec::decode(Kind::Replication, bytes).ok()?,
        false => Message::Names(codec::decode(Kind::Replication, bytes).ok()?),
    };
    Some(self::message(&message))
}

fn message(message: &Message) -> String {
    match message {
        Message::Names(table) => replication("names", table, |name| name.to_string()),
        Message::Desired(table) => replication("desired", table, |id| id.to_string()),
        Message::Actual(table) => replication("actual", table, |id| id.to_string()),
        Message::Marks(table) => replication("marks", table, |key| key.child.to_string()),
        Message::Facts(table) => replication("facts", table, |key| key.0.to_string()),
        Message::Control(Control::Drain { on: true }) => "control: drain".into(),
        Message::Control(Control::Drain { on: false }) => "control: undrain".into(),
    }
}

fn replication<K: Key, V: Payload>(table: &str, message: &delta::Message<K, V>, text: impl Fn(&K) -> String) -> String {
    let keys = |events: &[std::sync::Arc<delta::Event<K, V>>]| {
        let signed = |event: &std::sync::Arc<delta::Event<K, V>>| {
            format!("{}{}", if event.value.is_some() { '+' } else { '−' }, text(&event.key))
        };
        let mut keys: Vec<String> = events.iter().take(KEYS_MAX).map(signed).collect();
        if events.len() > KEYS_MAX {
            keys.push(format!("… {} in all", events.len()));
        }
        keys.join(" ")
    };
    match message {
        delta::Message::Digest { .. } => format!("{table} digest"),
        delta::Message::Pull { .. } => format!("{table} pull"),
        delta::Message::Delta { events, closing: Some(_), .. } => format!("{table} delta, closing: {}", keys(events)),
        delta::Message::Delta { events, closing: None, .. } => format!("{table} delta: {}", keys(events)),
        delta::Message::Ack { .. } => format!("{table} ack"),
        delta::Message::State { events, upto, .. } => {
            format!("{table} state{}: {}", if upto.is_none() { ", last range" } else { "" }, keys(events))
        }
        delta::Message::More { after, .. } => format!("{table} more after {}", text(after)),
    }
}
