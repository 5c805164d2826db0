//! What is noted, in words: kinds of faults, operations, replies and messages as a person reads them.

use bytes::Bytes;
use ordu_registry::core::delta;
use ordu_registry::core::delta::{Key, Payload};
use ordu_registry::core::table::Shared;
use ordu_supervisor::core::checkpoint::Word;
use ordu_supervisor::core::{Apart, Call, CallError, ChildSpec, Control, Exit, Message, Placement, Reply};
use ordu_transport::core::Status;
use ordu_transport::core::codec::{self, Kind};

use crate::children::Character;
use crate::fault::Fault;
use crate::link::Wire;

/// Most keys of a message that its text names.
const KEYS_MAX: usize = 8;

/// What kind of fault it is.
pub(super) fn kind(fault: &Fault) -> &'static str {
    match fault {
        Fault::Split { .. } | Fault::Flapping { .. } | Fault::Bridge { .. } | Fault::Ring {} => "partition",
        Fault::Isolate { .. } => "isolation",
        Fault::OneWay { .. } | Fault::Deaf { .. } => "one-way cut",
        Fault::Stall { .. } => "stall",
        Fault::Loss { .. } => "loss",
        Fault::Doubling { .. } => "doubling",
        Fault::Reordering { .. } => "reordering",
        Fault::Delay { .. } => "delay",
        Fault::Reset { .. } => "reset",
        Fault::Crash { .. } | Fault::Storm { leave: false, .. } => "crash",
        Fault::Leave { .. } | Fault::Storm { leave: true, .. } => "leave",
        Fault::Pause { .. } | Fault::Stutter { .. } => "pause",
        Fault::Skew { .. } => "skew",
        Fault::Lie { .. } => "lie",
        Fault::Namesake { .. } => "namesake",
    }
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
        Call::Cordon { node, on: true } => ("cordon", node.to_string(), String::new()),
        Call::Cordon { node, on: false } => ("uncordon", node.to_string(), String::new()),
    }
}

/// What a spec says beyond its id.
pub(super) fn about(spec: &ChildSpec) -> String {
    let character = format!("{:?}", Character::of(spec)).to_lowercase();
    let restart = format!("{:?}", spec.restart).to_lowercase();
    let pinned = match &spec.placement {
        Placement::Pinned(node) => format!(", pinned to {node}"),
        Placement::Uniform => String::new(),
        Placement::LeastLoaded => ", where fewest are".to_owned(),
        Placement::Apart(Apart { group: (key, value), required, .. }) => {
            format!(", {} {key}={value}", if *required { "apart from" } else { "spread with" })
        }
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
        Exit::Fenced(seen) => format!("was refused under the fence {seen}"),
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
        Message::Digests(_) => "digests".into(),
        Message::Control(Control::Drain { on: true }) => "control: drain".into(),
        Message::Control(Control::Drain { on: false }) => "control: undrain".into(),
        Message::Control(Control::State { child, state, .. }) => {
            format!("control: {} bytes that {child} left", state.len())
        }
        Message::Control(Control::Cordon { on: true }) => "control: cordon".into(),
        Message::Control(Control::Cordon { on: false }) => "control: uncordon".into(),
        Message::Control(Control::Merge(left)) => format!("merge: {} bytes that {} left", left.state.len(), left.loser),
        Message::Control(Control::Merged { loser, .. }) => format!("merge: what {loser} left is here"),
        Message::Control(Control::Checkpoint(word)) => checkpoint(word),
        Message::Control(Control::Quorum(word)) => format!("quorum: {word:?}"),
        Message::Control(Control::Rebalance { children }) => format!("control: rebalance {} children", children.len()),
    }
}

fn checkpoint(word: &Word) -> String {
    match word {
        Word::Keep { child, checkpoint } => format!("checkpoint: keep {} bytes of {child}", checkpoint.state.len()),
        Word::Kept { child, taken: true, .. } => format!("checkpoint: that of {child} is kept"),
        Word::Kept { child, taken: false, .. } => format!("checkpoint: no room for that of {child}"),
        Word::Fetch { child, .. } => format!("checkpoint: is there one of {child}"),
        Word::Fetched { child, checkpoint: Some(found), .. } => {
            format!("checkpoint: {} bytes of {child}", found.state.len())
        }
        Word::Fetched { child, checkpoint: None, .. } => format!("checkpoint: no later one of {child}"),
    }
}

fn replication<K: Key, V: Payload>(table: &str, message: &delta::Message<K, V>, text: impl Fn(&K) -> String) -> String {
    let keys = |events: &[Shared<K, V>]| {
        let signed =
            |event: &Shared<K, V>| format!("{}{}", if event.value.is_some() { '+' } else { '−' }, text(&event.key));
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
        delta::Message::State { answer, .. } if !answer.found.is_empty() => {
            format!("{table} found in {} spans, and {}", answer.found.len(), keys(&answer.events))
        }
        delta::Message::State { answer, .. } => {
            format!("{table} state{}: {}", if answer.upto.is_none() { ", last part" } else { "" }, keys(&answer.events))
        }
        delta::Message::More(ask) => match &ask.after {
            Some((origin, counter)) => format!("{table} more after {origin}.{counter}"),
            None if ask.spans.is_empty() => format!("{table} more"),
            None => format!("{table} more of {} spans", ask.spans.values().map(Vec::len).sum::<usize>()),
        },
        delta::Message::Had { had: delta::Had::All, .. } => format!("{table} had by all"),
        delta::Message::Had { had: delta::Had::Branch { .. }, .. } => format!("{table} had by a branch"),
        delta::Message::Had { had: delta::Had::Asked, .. } => format!("{table} had by your branch?"),
        delta::Message::Had { had: delta::Had::Turned, .. } => format!("{table}: you are above me"),
        delta::Message::Goal { .. } => format!("{table}: who has it up to here?"),
    }
}
