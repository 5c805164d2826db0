//! Collects notes of a run where somebody asked for them. Where nobody did, each hook is one look at an `Option`.
//!
//! The hooks tell what happens as it happens; [`notes`] is what they come to, `words` how it reads.

pub mod notes;
mod words;

use std::collections::{BTreeMap, VecDeque};

use ordu_registry::core::{Fence, Name, RegisterError};
use ordu_supervisor::core::{Call, ChildSpec, Exit, Reply};
use ordu_transport::core::{Member, NodeId, Pid};

use crate::fault::Fault;
use crate::link::Wire;
use notes::{
    ChildNote, Cut, FaultNote, Held, Lane, LifeNote, MessageNote, Notes, Operation, ProcessNote, Span, ToldNote,
    ViewNote, ViolationNote,
};

/// Most messages that are kept: the last ones, since a run ends where its promise was broken.
pub const MESSAGES_MAX: usize = 50_000;
/// Where a span that has not ended yet ends.
const OPEN: u64 = u64::MAX;
/// The lane number of datagrams.
const DATAGRAMS: usize = 3;

/// The notes of a run, if somebody wants them.
#[derive(Debug, Default)]
pub(crate) struct Record {
    log: Option<Box<Log>>,
    /// The notes up to the violation, and its time. What a world does after it counts for nothing.
    closed: Option<(Box<Log>, u64)>,
}

#[derive(Debug, Default)]
struct Log {
    notes: Notes,
    messages: VecDeque<MessageNote>,
    texts: BTreeMap<String, usize>,
    /// Frames under way, by session, side and lane, as numbers of messages.
    under_way: BTreeMap<(u64, usize, usize), VecDeque<u64>>,
    /// Datagrams under way, by session, side and the time when they come.
    datagrams: BTreeMap<(u64, usize, u64), Vec<u64>>,
    /// Whether frames are a supervisor's.
    has_children: bool,
    /// Every incarnation's node: two nodes may have one name.
    ids: BTreeMap<NodeId, usize>,
    pids: BTreeMap<Pid, Place>,
    requests: BTreeMap<u64, usize>,
    cuts: BTreeMap<(usize, usize), usize>,
    views: BTreeMap<(usize, usize), usize>,
}

/// Where a process is noted.
#[derive(Debug, Clone, Copy)]
enum Place {
    Child(usize),
    Process(usize),
}

impl Record {
    /// A record that keeps notes.
    pub(crate) fn asked_for(nodes: usize, has_children: bool) -> Self {
        let mut log = Log { has_children, ..Log::default() };
        log.notes.lanes = (0..nodes).map(|node| Lane { name: format!("n{node}"), ..Lane::default() }).collect();
        Self { log: Some(Box::new(log)), closed: None }
    }

    /// The notes, with everything that is still open ended now.
    pub(crate) fn finish(self, now: u64) -> Option<Notes> {
        let (log, now) = self.closed.or_else(|| Some((self.log?, now)))?;
        let Log { mut notes, messages, texts, .. } = *log;
        notes.end_us = now;
        notes.messages = messages.into();
        let mut texts: Vec<(String, usize)> = texts.into_iter().collect();
        texts.sort_by_key(|(_, number)| *number);
        notes.texts = texts.into_iter().map(|(text, _)| text).collect();
        let lanes = notes.lanes.iter_mut().flat_map(|lane| {
            lane.lives.iter_mut().map(|life| &mut life.at).chain(&mut lane.paused).chain(&mut lane.leaving)
        });
        lanes
            .chain(notes.cuts.iter_mut().map(|cut| &mut cut.at))
            .chain(notes.faults.iter_mut().map(|fault| &mut fault.at))
            .chain(notes.children.iter_mut().map(|child| &mut child.at))
            .chain(notes.processes.iter_mut().flat_map(|process| {
                std::iter::once(&mut process.at).chain(process.names.iter_mut().map(|held| &mut held.at))
            }))
            .chain(notes.views.iter_mut().map(|view| &mut view.at))
            .for_each(|span| span.until = span.until.min(now));
        Some(notes)
    }

    // ---- nodes

    pub(crate) fn node_up(&mut self, now: u64, node: usize, id: &NodeId) {
        let Some(log) = &mut self.log else { return };
        let life = LifeNote { id: format!("{id:?}"), boot: id.boot, at: open(now), ended: None };
        log.notes.lanes[node].lives.push(life);
        log.ids.insert(id.clone(), node);
    }

    pub(crate) fn node_reborn(&mut self, now: u64, node: usize, id: &NodeId) {
        self.life_ends(now, node, "reborn");
        self.node_up(now, node, id);
    }

    pub(crate) fn node_down(&mut self, now: u64, node: usize, left: bool) {
        self.life_ends(now, node, if left { "left" } else { "killed" });
        let Some(log) = &mut self.log else { return };
        let lane = &mut log.notes.lanes[node];
        lane.paused.iter_mut().chain(&mut lane.leaving).for_each(|span| close(span, now));
        let how = if left { "its node left" } else { "its node was killed" };
        for child in log.notes.children.iter_mut().filter(|child| child.node == node && child.at.until == OPEN) {
            close(&mut child.at, now);
            child.exit = Some(how.into());
        }
        for process in log.notes.processes.iter_mut().filter(|process| process.node == node) {
            end_process(process, now, how);
        }
        for view in log.notes.views.iter_mut().filter(|view| view.node == node) {
            close(&mut view.at, now);
        }
        log.views.retain(|(viewer, _), _| *viewer != node);
    }

    fn life_ends(&mut self, now: u64, node: usize, how: &'static str) {
        let Some(log) = &mut self.log else { return };
        if let Some(life) = log.notes.lanes[node].lives.last_mut().filter(|life| life.at.until == OPEN) {
            close(&mut life.at, now);
            life.ended = Some(how);
        }
    }

    pub(crate) fn node_paused(&mut self, now: u64, node: usize) {
        let Some(log) = &mut self.log else { return };
        log.notes.lanes[node].paused.push(open(now));
    }

    pub(crate) fn node_resumed(&mut self, now: u64, node: usize) {
        let Some(log) = &mut self.log else { return };
        log.notes.lanes[node].paused.iter_mut().for_each(|span| close(span, now));
    }

    pub(crate) fn node_leaves(&mut self, now: u64, node: usize) {
        let Some(log) = &mut self.log else { return };
        log.notes.lanes[node].leaving.push(open(now));
    }

    pub(crate) fn view(&mut self, now: u64, node: usize, member: &Member) {
        let Some(log) = &mut self.log else { return };
        let Some(peer) = crate::node::index_of(&member.addr) else { return };
        let (id, status) = (format!("{:?}", member.id), words::status(member.status));
        if let Some(&before) = log.views.get(&(node, peer)) {
            let before = &mut log.notes.views[before];
            if before.peer == id && before.status == status {
                return;
            }
            close(&mut before.at, now);
        }
        log.views.insert((node, peer), log.notes.views.len());
        log.notes.views.push(ViewNote { node, peer: id, peer_node: peer, status, at: open(now) });
    }

    // ---- what breaks

    pub(crate) fn cut(&mut self, now: u64, from: usize, to: usize) {
        let Some(log) = &mut self.log else { return };
        log.cuts.insert((from, to), log.notes.cuts.len());
        log.notes.cuts.push(Cut { from, to, at: open(now) });
    }

    pub(crate) fn uncut(&mut self, now: u64, from: usize, to: usize) {
        let Some(log) = &mut self.log else { return };
        if let Some(number) = log.cuts.remove(&(from, to)) {
            close(&mut log.notes.cuts[number].at, now);
        }
    }

    pub(crate) fn fault_begins(&mut self, now: u64, number: u64, fault: &Fault, text: &str) {
        let Some(log) = &mut self.log else { return };
        let (kind, text) = (words::kind(fault), text.to_owned());
        log.notes.faults.push(FaultNote { number, kind, text, nodes: fault.nodes(), at: open(now) });
    }

    pub(crate) fn fault_ends(&mut self, now: u64, number: u64) {
        let Some(log) = &mut self.log else { return };
        let ended = log.notes.faults.iter_mut().filter(|fault| fault.number == number);
        ended.for_each(|fault| close(&mut fault.at, now));
    }

    pub(crate) fn healed(&mut self, now: u64) {
        let Some(log) = &mut self.log else { return };
        log.notes.heal_us = Some(now);
    }

    pub(crate) fn violated(&mut self, now: u64, invariant: &str, what: &str) {
        let Some(mut log) = self.log.take() else { return };
        log.notes.violation = Some(ViolationNote { invariant: invariant.into(), at: now, what: what.into() });
        self.closed = Some((log, now));
    }

    // ---- operations

    pub(crate) fn asked(&mut self, now: u64, node: usize, request: u64, call: &Call) {
        let Some(log) = &mut self.log else { return };
        let (what, about, detail) = words::call(call);
        log.requests.insert(request, log.notes.operations.len());
        let (reply, reply_at) = (None, None);
        log.notes.operations.push(Operation { at: now, node, what, about, detail, reply, ok: false, reply_at });
    }

    pub(crate) fn replied(&mut self, now: u64, request: u64, reply: &Reply) {
        let Some(log) = &mut self.log else { return };
        let Some(operation) = log.requests.get(&request).and_then(|&at| log.notes.operations.get_mut(at)) else {
            return;
        };
        let (text, ok) = words::reply(reply);
        (operation.reply, operation.ok, operation.reply_at) = (Some(text), ok, Some(now));
    }

    /// A local process did something about a name, and was told this.
    pub(crate) fn named(&mut self, now: u64, node: usize, what: &'static str, pid: &Pid, name: &Name, reply: &str) {
        let Some(log) = &mut self.log else { return };
        let (about, detail) = (name.to_string(), format!("by {pid:?}"));
        let (reply, reply_at, ok) = (Some(reply.to_owned()), Some(now), reply == "ok");
        log.notes.operations.push(Operation { at: now, node, what, about, detail, reply, ok, reply_at });
    }

    pub(crate) fn registered(
        &mut self,
        now: u64,
        node: usize,
        pid: &Pid,
        name: &Name,
        result: &Option<Result<(), RegisterError>>,
    ) {
        match result {
            None => {}
            Some(Err(error)) => self.named(now, node, "register", pid, name, &error.to_string()),
            Some(Ok(())) => {
                self.named(now, node, "register", pid, name, "ok");
                if let Some(process) = self.process(pid) {
                    let held = |held: &Held| held.name == name.as_str() && held.at.until == OPEN;
                    if !process.names.iter().any(held) {
                        process.names.push(Held { name: name.to_string(), at: open(now) });
                    }
                }
            }
        }
    }

    pub(crate) fn unregistered(&mut self, now: u64, node: usize, pid: &Pid, name: &Name) {
        self.named(now, node, "unregister", pid, name, "ok");
        if let Some(process) = self.process(pid) {
            let theirs = process.names.iter_mut().filter(|held| held.name == name.as_str());
            theirs.for_each(|held| close(&mut held.at, now));
        }
    }

    // ---- processes

    pub(crate) fn process_begins(&mut self, now: u64, node: usize, pid: &Pid) {
        let Some(log) = &mut self.log else { return };
        log.pids.insert(pid.clone(), Place::Process(log.notes.processes.len()));
        let (told, exit, names) = (None, None, Vec::new());
        log.notes.processes.push(ProcessNote { pid: format!("{pid:?}"), node, at: open(now), told, exit, names });
    }

    pub(crate) fn process_ends(&mut self, now: u64, pid: &Pid) {
        if let Some(process) = self.process(pid) {
            let how = if process.told.is_some() { "exited, as it was told" } else { "ended" };
            end_process(process, now, how);
        }
    }

    pub(crate) fn child_starts(&mut self, now: u64, node: usize, pid: &Pid, spec: &ChildSpec, fence: Fence) {
        let Some(log) = &mut self.log else { return };
        log.pids.insert(pid.clone(), Place::Child(log.notes.children.len()));
        log.notes.children.push(ChildNote {
            id: spec.id.to_string(),
            pid: format!("{pid:?}"),
            node,
            spec: format!("{}; fence {fence}", words::about(spec)),
            at: open(now),
            runs: None,
            stop: None,
            told: None,
            exit: None,
        });
    }

    pub(crate) fn child_runs(&mut self, now: u64, pid: &Pid) {
        if let Some(child) = self.child(pid) {
            child.runs = Some(now);
        }
    }

    pub(crate) fn child_stops(&mut self, now: u64, pid: &Pid) {
        if let Some(child) = self.child(pid) {
            child.stop.get_or_insert(now);
        }
    }

    pub(crate) fn child_ends(&mut self, now: u64, pid: &Pid, exit: &Exit) {
        if let Some(child) = self.child(pid) {
            close(&mut child.at, now);
            child.exit = Some(words::exit(exit));
        }
    }

    /// A process was told that it lost a name.
    pub(crate) fn told(&mut self, now: u64, pid: &Pid, by: &Pid, name: &str) {
        let told = || Some(ToldNote { at: now, by: format!("{by:?}"), name: name.to_owned() });
        if let Some(child) = self.child(pid) {
            child.told = told();
        } else if let Some(process) = self.process(pid) {
            process.told = told();
        }
    }

    fn child(&mut self, pid: &Pid) -> Option<&mut ChildNote> {
        let log = self.log.as_mut()?;
        match log.pids.get(pid)? {
            Place::Child(at) => log.notes.children.get_mut(*at),
            Place::Process(_) => None,
        }
    }

    fn process(&mut self, pid: &Pid) -> Option<&mut ProcessNote> {
        let log = self.log.as_mut()?;
        match log.pids.get(pid)? {
            Place::Process(at) => log.notes.processes.get_mut(*at),
            Place::Child(_) => None,
        }
    }

    // ---- messages

    /// A frame was handed to a lane that leads to this side of the session.
    pub(crate) fn sent(&mut self, now: u64, way: (u64, usize, usize), from: usize, to: &NodeId, wire: &Wire) {
        let Some(log) = &mut self.log else { return };
        let to = log.lane_of(to);
        let (text, bytes) = words::wire(wire, log.has_children);
        let number =
            log.note_message(MessageNote { from, to, lane: way.2, text: 0, bytes, sent: now, received: None }, text);
        log.under_way.entry(way).or_default().push_back(number);
    }

    /// The front frame of a lane came.
    pub(crate) fn received(&mut self, now: u64, way: (u64, usize, usize)) {
        let Some(log) = &mut self.log else { return };
        if let Some(number) = log.under_way.get_mut(&way).and_then(VecDeque::pop_front) {
            log.came(number, now);
        }
    }

    /// A datagram was sent, and will come at `at` unless it is lost on its way.
    pub(crate) fn datagram_sent(
        &mut self,
        now: u64,
        way: (u64, usize),
        from: usize,
        to: &NodeId,
        bytes: usize,
        at: Option<u64>,
    ) {
        let Some(log) = &mut self.log else { return };
        let to = log.lane_of(to);
        let note = MessageNote { from, to, lane: DATAGRAMS, text: 0, bytes, sent: now, received: None };
        let number = log.note_message(note, "membership datagram".into());
        if let Some(at) = at {
            log.datagrams.entry((way.0, way.1, at)).or_default().push(number);
        }
    }

    /// The datagrams came that were to come now.
    pub(crate) fn datagram_received(&mut self, now: u64, way: (u64, usize)) {
        let Some(log) = &mut self.log else { return };
        for number in log.datagrams.remove(&(way.0, way.1, now)).unwrap_or_default() {
            log.came(number, now);
        }
    }
}

impl Log {
    fn lane_of(&self, node: &NodeId) -> usize {
        self.ids.get(node).copied().unwrap_or(0)
    }

    fn note_message(&mut self, mut note: MessageNote, text: String) -> u64 {
        let next = self.texts.len();
        note.text = *self.texts.entry(text).or_insert(next);
        if self.messages.len() >= MESSAGES_MAX {
            self.messages.pop_front();
            self.notes.messages_forgotten += 1;
        }
        self.messages.push_back(note);
        self.notes.messages_forgotten + self.messages.len() as u64 - 1
    }

    fn came(&mut self, number: u64, now: u64) {
        let place = number.checked_sub(self.notes.messages_forgotten).and_then(|place| usize::try_from(place).ok());
        if let Some(message) = place.and_then(|place| self.messages.get_mut(place)) {
            message.received = Some(now);
        }
    }
}

fn open(now: u64) -> Span {
    Span { from: now, until: OPEN }
}

fn close(span: &mut Span, now: u64) {
    span.until = span.until.min(now);
}

fn end_process(process: &mut ProcessNote, now: u64, how: &str) {
    if process.at.until == OPEN {
        close(&mut process.at, now);
        process.exit = Some(how.to_owned());
        process.names.iter_mut().for_each(|held| close(&mut held.at, now));
    }
}
