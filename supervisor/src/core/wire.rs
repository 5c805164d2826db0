//! How what should run and what runs travel in the rows of events: what nearly every child has in the same way is left out.
//!
//! Each is taken apart by its fields, so that one that is added is missed here, on both sides.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ordu_registry::core::clock::Dot;
use ordu_registry::core::wire::{Malformed, Near, Reader, Writer};
use ordu_registry::core::{Fence, Rank};
use ordu_transport::core::{Hlc, NodeId, NodeName, Pid};

use super::spec::{Affinity, Apart, ChildId, ChildSpec, Handover, Intensity, Over, Placement, Restart};
use super::tables::{Actual, Desired, State};
use super::wishes::Wishes;

/// Which of the parts are there that most do without. A set of them is written as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Parts(u64);

impl Parts {
    fn of<const N: usize>(parts: [(u64, bool); N]) -> Self {
        Self(parts.into_iter().filter(|(_, is_there)| *is_there).fold(0, |all, (part, _)| all | part))
    }

    fn read(from: &mut Reader<'_>, known: u64, what: &str) -> Result<Self, Malformed> {
        match from.number()? {
            parts if parts & !known == 0 => Ok(Self(parts)),
            parts => Err(Malformed::new(format_args!("{what} of unknown parts {parts:#x}"))),
        }
    }

    fn has(self, part: u64) -> bool {
        self.0 & part != 0
    }

    /// Reads a part, if it is there.
    fn then<T>(self, part: u64, read: impl FnOnce() -> Result<T, Malformed>) -> Result<Option<T>, Malformed> {
        if self.has(part) { read().map(Some) } else { Ok(None) }
    }
}

fn unknown(what: &str, tag: u8) -> Malformed {
    Malformed::new(format_args!("an unknown {what} {tag:#04x}"))
}

// ---- cells

pub(super) fn write_id(id: &ChildId, to: &mut Writer<'_>) {
    to.bytes(id.as_str().as_bytes());
}

pub(super) fn read_id(from: &mut Reader<'_>) -> Result<ChildId, Malformed> {
    ChildId::new(from.text()?).map_err(Malformed::new)
}

fn write_text(text: &str, to: &mut Writer<'_>) {
    to.bytes(text.as_bytes());
}

fn read_text(from: &mut Reader<'_>) -> Result<Arc<str>, Malformed> {
    from.text().map(Arc::from)
}

fn read_u32(from: &mut Reader<'_>) -> Result<u32, Malformed> {
    u32::try_from(from.number()?).map_err(Malformed::new)
}

fn write_duration(duration: Duration, to: &mut Writer<'_>) {
    to.number(duration.as_secs());
    to.number(u64::from(duration.subsec_nanos()));
}

fn read_duration(from: &mut Reader<'_>) -> Result<Duration, Malformed> {
    let (secs, nanos) = (from.number()?, read_u32(from)?);
    if Duration::from_secs(1) <= Duration::from_nanos(u64::from(nanos)) {
        return Err(Malformed::new("a second has fewer nanoseconds"));
    }
    Ok(Duration::new(secs, nanos))
}

fn write_dot<'a>(dot: &'a Dot, to: &mut Writer<'a>) {
    let Dot { actor, counter } = dot;
    to.node(actor);
    to.near(Near::Other, *counter);
}

fn read_dot(from: &mut Reader<'_>) -> Result<Dot, Malformed> {
    Ok(Dot::new(from.node()?.clone(), from.near(Near::Other)?))
}

/// Text pairs, in their order.
fn write_pairs(pairs: &BTreeMap<String, String>, to: &mut Writer<'_>) {
    to.number(pairs.len() as u64);
    for (key, value) in pairs {
        write_text(key, to);
        write_text(value, to);
    }
}

fn read_pairs(from: &mut Reader<'_>) -> Result<BTreeMap<String, String>, Malformed> {
    let mut pairs = BTreeMap::new();
    // Whatever the number says, each pair takes bytes.
    for _ in 0..from.number()? {
        let (key, value) = (from.text()?, from.text()?);
        if pairs.last_key_value().is_some_and(|(last, _): (&String, _)| last.as_str() >= key) {
            return Err(Malformed::new("labels are out of order"));
        }
        pairs.insert(key.to_owned(), value.to_owned());
    }
    Ok(pairs)
}

// ---- what should run

const CALLER: u64 = 1;
const RESTART: u64 = 1 << 1;
const INTENSITY: u64 = 1 << 2;
const PLACEMENT: u64 = 1 << 3;
const AFFINITY: u64 = 1 << 4;
const LABELS: u64 = 1 << 5;
const STARTS_FIRST: u64 = 1 << 6;
const DESIRED_PARTS: u64 = (1 << 7) - 1;

/// Parts; when it was asked for; for how long the caller waits; his request; id, kind and arguments; the time to start and
/// to stop; and where it is not as usual, who asked, when it is started again, how often, where it may run, on nodes of
/// which labels, and its own.
pub(super) fn write_desired<'a>(desired: &'a Desired, origin: &NodeId, to: &mut Writer<'a>) {
    let Desired { spec, at, caller, wait_ms, request } = desired;
    let ChildSpec {
        id,
        kind,
        args,
        restart,
        intensity,
        placement,
        affinity,
        init_timeout,
        stop_timeout,
        labels,
        handover,
    } = &**spec;
    let parts = Parts::of([
        (CALLER, caller != origin),
        (RESTART, *restart != Restart::default()),
        (INTENSITY, intensity.is_some()),
        (PLACEMENT, *placement != Placement::default()),
        (AFFINITY, !affinity.is_empty()),
        (LABELS, !labels.is_empty()),
        (STARTS_FIRST, *handover == Handover::StartFirst),
    ]);
    to.number(parts.0);
    to.near(Near::Stamp, at.as_u64());
    to.number(*wait_ms);
    to.number(*request);
    write_id(id, to);
    write_text(kind, to);
    to.bytes(args);
    write_duration(*init_timeout, to);
    write_duration(*stop_timeout, to);
    if parts.has(CALLER) {
        to.node(caller);
    }
    if parts.has(RESTART) {
        to.byte(match restart {
            Restart::Permanent => 0,
            Restart::Transient => 1,
            Restart::Temporary => 2,
        });
    }
    if let Some(Intensity { restarts, within, escalates }) = intensity {
        to.number(u64::from(*restarts));
        write_duration(*within, to);
        to.byte(u8::from(*escalates));
    }
    if parts.has(PLACEMENT) {
        write_placement(placement, to);
    }
    if parts.has(AFFINITY) {
        let Affinity { require, avoid, prefer } = affinity;
        [require, avoid, prefer].into_iter().for_each(|pairs| write_pairs(pairs, to));
    }
    if parts.has(LABELS) {
        write_pairs(labels, to);
    }
}

pub(super) fn read_desired(from: &mut Reader<'_>, origin: &NodeId) -> Result<Desired, Malformed> {
    let parts = Parts::read(from, DESIRED_PARTS, "a start")?;
    let (at, wait_ms, request) = (Hlc::from_u64(from.near(Near::Stamp)?), from.number()?, from.number()?);
    let (id, kind, args) = (read_id(from)?, read_text(from)?, Bytes::copy_from_slice(from.bytes()?));
    let (init_timeout, stop_timeout) = (read_duration(from)?, read_duration(from)?);
    let caller = parts.then(CALLER, || from.node().cloned())?.unwrap_or_else(|| origin.clone());
    let restart = parts.then(RESTART, || match from.byte()? {
        0 => Ok(Restart::Permanent),
        1 => Ok(Restart::Transient),
        2 => Ok(Restart::Temporary),
        tag => Err(unknown("way to restart", tag)),
    })?;
    let intensity = parts.then(INTENSITY, || {
        Ok(Intensity { restarts: read_u32(from)?, within: read_duration(from)?, escalates: read_bool(from)? })
    })?;
    let placement = parts.then(PLACEMENT, || read_placement(from))?;
    let affinity = parts.then(AFFINITY, || {
        Ok(Affinity { require: read_pairs(from)?, avoid: read_pairs(from)?, prefer: read_pairs(from)? })
    })?;
    let labels = parts.then(LABELS, || read_pairs(from))?;
    let spec = ChildSpec {
        id,
        kind,
        args,
        restart: restart.unwrap_or_default(),
        intensity,
        placement: placement.unwrap_or_default(),
        affinity: affinity.unwrap_or_default(),
        init_timeout,
        stop_timeout,
        labels: labels.unwrap_or_default(),
        handover: if parts.has(STARTS_FIRST) { Handover::StartFirst } else { Handover::StopFirst },
    };
    Ok(Desired { spec: Arc::new(spec), at, caller, wait_ms, request })
}

fn read_bool(from: &mut Reader<'_>) -> Result<bool, Malformed> {
    match from.byte()? {
        0 => Ok(false),
        1 => Ok(true),
        tag => Err(unknown("truth value", tag)),
    }
}

fn write_placement(placement: &Placement, to: &mut Writer<'_>) {
    match placement {
        Placement::Uniform => to.byte(0),
        Placement::Pinned(name) => {
            to.byte(1);
            write_text(name.as_str(), to);
        }
        Placement::LeastLoaded => to.byte(2),
        Placement::Apart(Apart { group: (key, value), over, required }) => {
            to.byte(3);
            write_text(key, to);
            write_text(value, to);
            to.byte(u8::from(*required));
            match over {
                Over::Node => to.byte(0),
                Over::Label(label) => {
                    to.byte(1);
                    write_text(label, to);
                }
            }
        }
    }
}

fn read_placement(from: &mut Reader<'_>) -> Result<Placement, Malformed> {
    Ok(match from.byte()? {
        0 => Placement::Uniform,
        1 => Placement::Pinned(NodeName::new(from.text()?).map_err(Malformed::new)?),
        2 => Placement::LeastLoaded,
        3 => {
            let group = (from.text()?.to_owned(), from.text()?.to_owned());
            let required = read_bool(from)?;
            let over = match from.byte()? {
                0 => Over::Node,
                1 => Over::Label(from.text()?.to_owned()),
                tag => return Err(unknown("way to keep apart", tag)),
            };
            Placement::Apart(Apart { group, over, required })
        }
        tag => return Err(unknown("placement", tag)),
    })
}

// ---- what runs

const RAN: u64 = 1;
const FENCE: u64 = 1 << 1;
const PID: u64 = 1 << 2;
const BEGUN: u64 = 1 << 3;
const TOKEN: u64 = 1 << 4;
const RESTARTS: u64 = 1 << 5;
const LOSING: u64 = 1 << 6;
const FOLLOWED: u64 = 1 << 7;
const OS_PID: u64 = 1 << 8;
const LOG: u64 = 1 << 9;
const REASON: u64 = 1 << 10;
/// The process began under another identity of its node.
const PID_NODE: u64 = 1 << 11;
/// The rank is not that of a process of this fence where the longest-running stays.
const RANK: u64 = 1 << 12;
/// The fence was not given by who says so.
const FENCE_NODE: u64 = 1 << 13;
const ACTUAL_PARTS: u64 = (1 << 14) - 1;

/// The rank that most have.
fn usual_rank(fence: Option<&Fence>) -> Rank {
    fence.map(|fence| Rank::longest_running(fence.at())).unwrap_or_default()
}

/// Parts; kind; the start that it runs; its state and since when; and where they are there, or not as usual, the rest.
pub(super) fn write_actual<'a>(actual: &'a Actual, origin: &NodeId, to: &mut Writer<'a>) {
    let Actual {
        kind,
        dot,
        begun,
        pid,
        rank,
        fence,
        state,
        token,
        losing,
        ran,
        restarts,
        followed,
        since_ms,
        os_pid,
        log,
        reason,
    } = actual;
    let parts = Parts::of([
        (RAN, *ran),
        (FENCE, fence.is_some()),
        (PID, pid.is_some()),
        (BEGUN, begun.is_some()),
        (TOKEN, token.is_some()),
        (RESTARTS, *restarts != 0),
        (LOSING, *losing),
        (FOLLOWED, *followed != Wishes::default()),
        (OS_PID, os_pid.is_some()),
        (LOG, log.is_some()),
        (REASON, reason.is_some()),
        (PID_NODE, pid.as_ref().is_some_and(|pid| pid.node != *origin)),
        (RANK, *rank != usual_rank(fence.as_ref())),
        (FENCE_NODE, fence.is_some_and(|fence| fence != Fence::new(fence.at(), origin))),
    ]);
    to.number(parts.0);
    write_text(kind, to);
    write_dot(dot, to);
    write_state(state, to);
    to.near(Near::Time, *since_ms);
    if let Some(fence) = fence {
        match parts.has(FENCE_NODE) {
            true => to.message_pack(fence),
            false => to.near(Near::Stamp, fence.at().as_u64()),
        }
    }
    if let Some(Pid { node, serial }) = pid {
        if parts.has(PID_NODE) {
            to.node(node);
        }
        to.near(Near::Serial, *serial);
    }
    begun.iter().for_each(|begun| write_dot(begun, to));
    token.iter().for_each(|token| to.number(*token));
    if parts.has(RESTARTS) {
        to.number(*restarts);
    }
    if parts.has(FOLLOWED) {
        to.message_pack(followed);
    }
    os_pid.iter().for_each(|os_pid| to.number(u64::from(*os_pid)));
    log.iter().chain(reason).for_each(|text| write_text(text, to));
    if parts.has(RANK) {
        to.bytes(rank.as_bytes());
    }
}

pub(super) fn read_actual(from: &mut Reader<'_>, origin: &NodeId) -> Result<Actual, Malformed> {
    let parts = Parts::read(from, ACTUAL_PARTS, "a claim to a child")?;
    let (kind, dot, state, since_ms) = (read_text(from)?, read_dot(from)?, read_state(from)?, from.near(Near::Time)?);
    let fence = parts.then(FENCE, || match parts.has(FENCE_NODE) {
        true => from.message_pack(),
        false => Ok(Fence::new(Hlc::from_u64(from.near(Near::Stamp)?), origin)),
    })?;
    let pid = parts.then(PID, || {
        let node = parts.then(PID_NODE, || from.node())?.unwrap_or(origin);
        Ok(Pid::new(node.clone(), from.near(Near::Serial)?))
    })?;
    Ok(Actual {
        kind,
        dot,
        begun: parts.then(BEGUN, || read_dot(from))?,
        pid,
        state,
        token: parts.then(TOKEN, || from.number())?,
        losing: parts.has(LOSING),
        ran: parts.has(RAN),
        restarts: parts.then(RESTARTS, || from.number())?.unwrap_or_default(),
        followed: parts.then(FOLLOWED, || from.message_pack())?.unwrap_or_default(),
        since_ms,
        os_pid: parts.then(OS_PID, || read_u32(from))?,
        log: parts.then(LOG, || read_text(from))?,
        reason: parts.then(REASON, || read_text(from))?,
        rank: parts.then(RANK, || from.bytes().map(Rank::new))?.unwrap_or_else(|| usual_rank(fence.as_ref())),
        fence,
    })
}

fn write_state<'a>(state: &'a State, to: &mut Writer<'a>) {
    to.byte(match state {
        State::Starting => 0,
        State::Running => 1,
        State::Stopping => 2,
        State::Moving { .. } => 3,
        State::Backoff => 4,
        State::Quarantined => 5,
        State::Failed => 6,
        State::Done => 7,
    });
    if let State::Moving { to: node, token, released, carries, ahead } = state {
        to.node(node);
        to.number(*token);
        to.byte(u8::from(*released));
        to.byte(u8::from(*carries));
        to.byte(u8::from(*ahead));
    }
}

fn read_state(from: &mut Reader<'_>) -> Result<State, Malformed> {
    Ok(match from.byte()? {
        0 => State::Starting,
        1 => State::Running,
        2 => State::Stopping,
        3 => State::Moving {
            to: from.node()?.clone(),
            token: from.number()?,
            released: read_bool(from)?,
            carries: read_bool(from)?,
            ahead: read_bool(from)?,
        },
        4 => State::Backoff,
        5 => State::Quarantined,
        6 => State::Failed,
        7 => State::Done,
        tag => return Err(unknown("state", tag)),
    })
}

#[cfg(test)]
mod tests;
