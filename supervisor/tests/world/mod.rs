//! Supervisor cores that talk over a perfect network in virtual time, which tests may bend: cut links, slow stops, wrong
//! wall clocks.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ordu_registry::core::{Fence, RankPolicy};
use ordu_supervisor::core::{
    Call, ChildId, ChildSpec, ChildStatus, Config, Control, Effect, Escalation, Event, Exit, Expect, Input, Message,
    Preference, Reply, StartedInfo, Supervisor,
};
use ordu_transport::core::{Instant, Member, NodeId, NodeName, Now, Pid, Status};

pub(crate) struct Node {
    pub(crate) core: Supervisor,
    pub(crate) alive: bool,
    pub(crate) running: BTreeMap<Pid, ChildSpec>,
    pub(crate) stopping: bool,
}

pub(crate) struct World {
    pub(crate) now_us: u64,
    pub(crate) nodes: BTreeMap<NodeName, Node>,
    pub(crate) messages: VecDeque<(NodeId, NodeId, Message)>,
    pub(crate) replies: BTreeMap<u64, Reply>,
    pub(crate) events: Vec<(NodeName, Event)>,
    /// Children whose init fails, and children that finish by themselves as soon as they run.
    pub(crate) failing: Vec<String>,
    /// Children whose init does not end.
    pub(crate) hanging: Vec<String>,
    pub(crate) escalations: Vec<(NodeName, Escalation)>,
    /// What each process was given of its predecessor.
    pub(crate) given: BTreeMap<Pid, Option<Bytes>>,
    /// What processes were given of those that lost to them, and of which.
    pub(crate) merged: Vec<(Pid, Pid, Bytes)>,
    /// Which checkpoints processes were told of, and how many nodes have each.
    pub(crate) checkpointed: Vec<(Pid, u64, usize)>,
    /// What children leave is lost on its way.
    pub(crate) loses_states: bool,
    /// Nodes take all messages that have come, and not one at a time.
    pub(crate) takes_all: bool,
    pub(crate) next_request: u64,
    pub(crate) doubles: Vec<String>,
    /// Children that do not stop before [`World::finish`].
    pub(crate) slow: Vec<String>,
    /// Links on which messages are lost, from whom to whom.
    pub(crate) cut: BTreeSet<(String, String)>,
    /// How far ahead of the true time a node's wall clock is.
    pub(crate) ahead_ms: BTreeMap<NodeName, u64>,
    /// Every start, in order: which child, where, with which fence.
    pub(crate) starts: Vec<(String, String, Fence)>,
}

pub(crate) fn name(text: &str) -> NodeName {
    NodeName::new(text).unwrap()
}

pub(crate) fn id(text: &str) -> ChildId {
    ChildId::new(text).unwrap()
}

pub(crate) fn spec(text: &str) -> ChildSpec {
    ChildSpec::new(id(text), "work", "")
}

impl World {
    pub(crate) fn new(names: &[&str]) -> Self {
        let mut world = World {
            now_us: 1_000_000,
            nodes: BTreeMap::new(),
            messages: VecDeque::new(),
            replies: BTreeMap::new(),
            events: Vec::new(),
            failing: Vec::new(),
            hanging: Vec::new(),
            escalations: Vec::new(),
            given: BTreeMap::new(),
            checkpointed: Vec::new(),
            merged: Vec::new(),
            loses_states: false,
            takes_all: false,
            next_request: 1,
            doubles: Vec::new(),
            slow: Vec::new(),
            cut: BTreeSet::new(),
            ahead_ms: BTreeMap::new(),
            starts: Vec::new(),
        };
        names.iter().for_each(|name| world.join(name, 1));
        world.run(Duration::from_secs(3));
        world
    }

    pub(crate) fn now(&self) -> Now {
        Now { at: Instant::from_micros(self.now_us), wall_ms: 1_700_000_000_000 + self.now_us / 1000 }
    }

    /// What time a node has.
    pub(crate) fn now_of(&self, node: &NodeName) -> Now {
        let (now, ahead) = (self.now(), self.ahead_ms.get(node).copied().unwrap_or(0));
        Now { wall_ms: now.wall_ms + ahead, ..now }
    }

    /// A node that begins to run and has met nobody.
    pub(crate) fn boot(&mut self, text: &str, boot: u64, kinds: &[&str]) {
        let kinds = kinds.iter().map(|&kind| Arc::from(kind)).collect();
        self.boot_as(text, boot, |config| config.kinds = kinds);
    }

    /// The same, made as the test wants it.
    pub(crate) fn boot_as(&mut self, text: &str, boot: u64, make: impl FnOnce(&mut Config)) {
        let id = NodeId::new(name(text), boot, boot * 1000 + text.as_bytes()[0] as u64);
        let mut config = Config {
            id: id.clone(),
            policy: RankPolicy::LongestRunning,
            kinds: vec!["work".into()],
            version: "1".into(),
            weight: 1,
            labels: Default::default(),
            preference: Preference::default(),
            redistribution: Default::default(),
            bounds: Default::default(),
            keep_done: Duration::from_secs(60),
            disk: None,
            expect: Expect::default(),
            partition: Default::default(),
            copies: 2,
            seed: boot,
        };
        make(&mut config);
        let node = Node { core: Supervisor::new(config), alive: true, running: BTreeMap::new(), stopping: false };
        self.nodes.insert(name(text), node);
        self.see(text, text, Status::Up);
    }

    pub(crate) fn join(&mut self, text: &str, boot: u64) {
        self.boot(text, boot, &["work"]);
        for other in self.alive_names() {
            if other.as_str() != text {
                self.meet(text, other.as_str());
            }
        }
    }

    pub(crate) fn id_of(&self, text: &str) -> NodeId {
        self.nodes[&name(text)].core.id().clone()
    }

    /// A node learns of another.
    pub(crate) fn see(&mut self, at: &str, other: &str, status: Status) {
        let member = Member { id: self.id_of(other), addr: "x:1".into(), status };
        self.input(at, Input::Member(member));
    }

    /// Two nodes learn of one another and have a session.
    pub(crate) fn meet(&mut self, a: &str, b: &str) {
        self.see(a, b, Status::Up);
        self.see(b, a, Status::Up);
        self.input(a, Input::Connected(self.id_of(b)));
        self.input(b, Input::Connected(self.id_of(a)));
    }

    /// A node goes on under a new identity; its sessions end and begin anew a while later.
    pub(crate) fn rebirth(&mut self, text: &str, boot: u64, gap: Duration) {
        let old = self.id_of(text);
        let others: Vec<NodeName> = self.alive_names().into_iter().filter(|other| other.as_str() != text).collect();
        self.input(text, Input::Reborn(NodeId::new(name(text), boot, boot * 1000)));
        self.see(text, text, Status::Up);
        for other in &others {
            self.input(other.as_str(), Input::Disconnected(old.clone()));
            self.input(text, Input::Disconnected(self.id_of(other.as_str())));
            self.see(other.as_str(), text, Status::Up);
        }
        self.run(gap);
        for other in &others {
            self.meet(text, other.as_str());
        }
    }

    /// An id of which this node is the seat among those that are alive.
    pub(crate) fn id_on(&mut self, at: &str) -> String {
        for number in 0..200 {
            let text = format!("probe{number}");
            self.start("a", spec(&text));
            self.run(Duration::from_millis(500));
            let found = self.copies(&text) == [at];
            self.call("a", Call::Terminate(id(&text)));
            self.run(Duration::from_secs(5));
            if found {
                self.starts.clear();
                return text;
            }
        }
        panic!("no child's seat is {at}");
    }

    /// A child ends by itself, or at last.
    pub(crate) fn finish(&mut self, at: &str, text: &str, exit: Exit) {
        let node = self.nodes.get_mut(&name(at)).unwrap();
        let pid = node.running.iter().find(|(_, spec)| spec.id.as_str() == text).map(|(pid, _)| pid.clone()).unwrap();
        node.running.remove(&pid);
        self.input(at, Input::Exited { pid, exit });
    }

    /// A process that is not a child begins to run.
    pub(crate) fn activate(&mut self, at: &str) -> Pid {
        let now = self.now_of(&name(at));
        let core = &mut self.nodes.get_mut(&name(at)).unwrap().core;
        core.with_registry(now, &mut Vec::new(), |registry, _| registry.activate(now))
    }

    pub(crate) fn register(&mut self, at: &str, pid: &Pid, text: &str) -> bool {
        let (now, mut effects) = (self.now_of(&name(at)), Vec::new());
        let core = &mut self.nodes.get_mut(&name(at)).unwrap().core;
        let name_of = ordu_registry::core::Name::new(text).unwrap();
        let registered = core.with_registry(now, &mut effects, |registry, out| {
            registry.register(now, pid, name_of, "".into(), out).is_ok()
        });
        self.execute(&name(at), effects);
        registered
    }

    /// Which process a lookup on this node shows.
    pub(crate) fn lookup(&self, at: &str, text: &str) -> Option<Pid> {
        let name_of = ordu_registry::core::Name::new(text).unwrap();
        self.nodes[&name(at)].core.registry().lookup(&name_of).map(|entry| entry.pid().clone())
    }

    pub(crate) fn pid_of(&self, at: &str, text: &str) -> Option<Pid> {
        let running = &self.nodes[&name(at)].running;
        running.iter().find(|(_, spec)| spec.id.as_str() == text).map(|(pid, _)| pid.clone())
    }

    pub(crate) fn starts_of(&self, text: &str) -> usize {
        self.starts.iter().filter(|(child, _, _)| child == text).count()
    }

    pub(crate) fn kill(&mut self, text: &str) {
        let node = self.nodes.get_mut(&name(text)).unwrap();
        (node.alive, node.running) = (false, BTreeMap::new());
        let gone = node.core.id().clone();
        for other in self.alive_names() {
            self.input(other.as_str(), Input::Disconnected(gone.clone()));
            let member = Member { id: gone.clone(), addr: "x:1".into(), status: Status::Down };
            self.input(other.as_str(), Input::Member(member));
        }
    }

    pub(crate) fn split(&mut self, left: &[&str], status: Status) {
        for a in self.alive_names() {
            for b in self.alive_names() {
                if left.contains(&a.as_str()) != left.contains(&b.as_str()) {
                    let theirs = self.nodes[&b].core.id().clone();
                    let cut = status == Status::Down;
                    let member = Member { id: theirs.clone(), addr: "x:1".into(), status };
                    if cut {
                        self.input(a.as_str(), Input::Disconnected(theirs.clone()));
                    }
                    self.input(a.as_str(), Input::Member(member));
                    if !cut {
                        self.input(a.as_str(), Input::Connected(theirs));
                    }
                }
            }
        }
        let left: Vec<NodeName> = left.iter().map(|text| name(text)).collect();
        if status == Status::Down {
            self.messages.retain(|(from, to, _)| left.contains(&from.name) == left.contains(&to.name));
        }
    }

    pub(crate) fn alive_names(&self) -> Vec<NodeName> {
        self.nodes.iter().filter(|(_, node)| node.alive).map(|(name, _)| name.clone()).collect()
    }

    pub(crate) fn input(&mut self, text: &str, input: Input) {
        let (now, mut effects) = (self.now_of(&name(text)), Vec::new());
        self.nodes.get_mut(&name(text)).unwrap().core.handle(now, input, &mut effects);
        self.execute(&name(text), effects);
    }

    pub(crate) fn call(&mut self, text: &str, call: Call) -> u64 {
        let (now, mut effects, request) = (self.now_of(&name(text)), Vec::new(), self.next_request);
        self.next_request += 1;
        self.nodes.get_mut(&name(text)).unwrap().core.call(now, request, call, Duration::from_secs(10), &mut effects);
        self.execute(&name(text), effects);
        request
    }

    pub(crate) fn execute(&mut self, at: &NodeName, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send { to, message, .. } => {
                    let from = self.nodes[at].core.id().clone();
                    self.messages.extend(to.into_iter().map(|to| (from.clone(), to, (*message).clone())));
                }
                Effect::Start { pid, spec, fence, state } => {
                    self.given.insert(pid.clone(), state);
                    self.starts.push((spec.id.to_string(), at.to_string(), fence));
                    if self.failing.contains(&spec.id.to_string()) {
                        self.input(at.as_str(), Input::Exited { pid, exit: Exit::Abnormal("no such thing".into()) });
                    } else {
                        let others = self.nodes.values().flat_map(|node| node.running.values());
                        if others.filter(|running| running.id == spec.id).count() > 0 {
                            self.doubles.push(spec.id.to_string());
                        }
                        let node = self.nodes.get_mut(at).unwrap();
                        node.running.insert(pid.clone(), ChildSpec::clone(&spec));
                        if !self.hanging.contains(&spec.id.to_string()) {
                            self.input(at.as_str(), Input::Started { pid, info: StartedInfo::default() });
                        }
                    }
                }
                Effect::Stop { pid, .. } => {
                    let running = &mut self.nodes.get_mut(at).unwrap().running;
                    if running.get(&pid).is_some_and(|spec| self.slow.contains(&spec.id.to_string())) {
                        continue;
                    }
                    running.remove(&pid);
                    let state = Bytes::from(pid.to_string());
                    self.input(at.as_str(), Input::HandedOff { pid: pid.clone(), state });
                    self.input(at.as_str(), Input::Exited { pid, exit: Exit::Normal });
                }
                Effect::Reply { request, reply } => drop(self.replies.insert(request, reply)),
                Effect::Event(event) => self.events.push((at.clone(), event)),
                Effect::Drained => self.nodes.get_mut(at).unwrap().stopping = true,
                Effect::Fence { .. } | Effect::Exit { .. } | Effect::Visible { .. } | Effect::Member { .. } => {}
                Effect::Merge { pid, loser, state } => self.merged.push((pid, loser, state)),
                Effect::Checkpointed { pid, number, keepers } => self.checkpointed.push((pid, number, keepers)),
                // Nobody stands still here.
                Effect::Lease { .. } => {}
                Effect::Escalate(escalation) => self.escalations.push((at.clone(), escalation)),
                Effect::Save { .. } => unreachable!("nothing is kept here"),
                Effect::Superseded(by) => panic!("superseded by {by}"),
            }
        }
    }

    pub(crate) fn deliver(&mut self) {
        while let Some((from, to, message)) = self.messages.pop_front() {
            let is_state = matches!(message, Message::Control(Control::State { .. }));
            if self.cut.contains(&(from.name.to_string(), to.name.to_string())) || is_state && self.loses_states {
                continue;
            }
            if self.nodes.get(&to.name).is_none_or(|node| !node.alive || *node.core.id() != to) {
                continue;
            }
            if self.takes_all {
                let queued = std::mem::take(&mut self.messages).into_iter();
                let (more, left): (VecDeque<_>, VecDeque<_>) = queued.partition(|(_, receiver, _)| *receiver == to);
                self.messages = left;
                let all: Vec<_> =
                    [(from, message)].into_iter().chain(more.into_iter().map(|(from, _, it)| (from, it))).collect();
                let (now, mut effects) = (self.now_of(&to.name), Vec::new());
                self.nodes.get_mut(&to.name).unwrap().core.handle_messages(now, all, &mut effects);
                self.execute(&to.name, effects);
            } else {
                self.input(to.name.clone().as_str(), Input::Message { from, message });
            }
        }
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now_us + time.as_micros() as u64;
        loop {
            self.deliver();
            let next = |node: &Node| node.core.poll_timeout().map(Instant::as_micros);
            let due =
                self.nodes.iter().filter(|(_, node)| node.alive).filter_map(|(name, node)| Some((next(node)?, name)));
            let Some((at, due)) = due.min().map(|(at, name)| (at, name.clone())) else { break };
            if at > end {
                break;
            }
            self.now_us = self.now_us.max(at);
            let (now, mut effects) = (self.now_of(&due), Vec::new());
            self.nodes.get_mut(&due).unwrap().core.handle_timeout(now, &mut effects);
            self.execute(&due, effects);
        }
        self.now_us = end;
    }

    pub(crate) fn start(&mut self, at: &str, spec: ChildSpec) -> u64 {
        self.call(at, Call::Start { spec, ensure: false })
    }

    /// Asks for all of them at once.
    pub(crate) fn start_all(&mut self, at: &str, specs: impl IntoIterator<Item = ChildSpec>) -> Vec<u64> {
        let (now, mut effects, first) = (self.now_of(&name(at)), Vec::new(), self.next_request);
        let calls: Vec<_> = (first..).zip(specs.into_iter().map(|spec| Call::Start { spec, ensure: false })).collect();
        self.next_request += calls.len() as u64;
        let requests = calls.iter().map(|(request, _)| *request).collect();
        let core = &mut self.nodes.get_mut(&name(at)).unwrap().core;
        core.call_many(now, calls, Duration::from_secs(10), &mut effects);
        self.execute(&name(at), effects);
        requests
    }

    pub(crate) fn copies(&self, text: &str) -> Vec<String> {
        let copies = |node: &Node| node.running.values().filter(|spec| spec.id.as_str() == text).count();
        self.nodes.iter().flat_map(|(name, node)| std::iter::repeat_n(name.to_string(), copies(node))).collect()
    }

    pub(crate) fn counts(&self) -> Vec<usize> {
        self.nodes.values().filter(|node| node.alive).map(|node| node.running.len()).collect()
    }

    pub(crate) fn assert_alike(&self) {
        let digests: Vec<u64> = self.nodes.values().filter(|node| node.alive).map(|node| node.core.digest()).collect();
        assert!(digests.windows(2).all(|pair| pair[0] == pair[1]), "{digests:?}");
        for node in self.nodes.values().filter(|node| node.alive) {
            assert!(node.core.is_converged(self.now()));
        }
    }

    pub(crate) fn status(&self, at: &str, text: &str) -> Option<ChildStatus> {
        self.nodes[&name(at)].core.row(&id(text)).map(|row| row.status)
    }

    pub(crate) fn started(&self, request: u64) -> bool {
        matches!(self.replies.get(&request), Some(Reply::Child(Ok(row))) if row.status == ChildStatus::Running)
    }
}
