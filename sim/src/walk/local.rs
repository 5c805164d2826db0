//! One node of a walk: its core, its clock and its processes; and the one function by which it changes.
//!
//! A step's outcome depends on nothing but the node and the step, so a walk takes each step of each distinct node once
//! (see [`Book`](super::book::Book)), in however many worlds that node stands.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use bytes::Bytes;
use ordu_registry::core::clock::Dot;
use ordu_registry::core::sync::Limits;
use ordu_registry::core::{self as registry, Claim, Name, NameConflict, RankPolicy, Registry, delta};
use ordu_supervisor::core::placement::Preference;
use ordu_supervisor::core::{
    self as supervisor, Call, ChildId, ChildSpec, Config, EventKind, Exit, Expect, Input, Message, Reply, StartedInfo,
    Supervisor,
};
use ordu_transport::core::hash::StableHasher;
use ordu_transport::core::{Instant, Lane, Member, NodeId, NodeName, Now, Pid, Status};

use super::worlds::{Op, World};
use crate::upper::{Upper, Wanted};

/// How far a beat moves a node's clock: past every repair interval, and twice past what anything waits for a member.
const BEAT: Duration = Duration::from_millis(1300);
/// Most timeouts within one beat; more would be a timer that does not advance.
const TIMEOUTS_MAX: usize = 200;
/// How long callers wait.
const CALL: Duration = Duration::from_secs(5);
/// What the one child of a walk is called; its process holds this as a name too.
pub(super) const CHILD: &str = "c";

/// One life of a node: which, and the how-manieth.
pub(super) type Peer = (u8, u8);

/// The identity of a life.
pub(super) fn id_of((node, boot): Peer) -> NodeId {
    let name = NodeName::new(&format!("n{node}")).expect("a short name is valid");
    NodeId::new(name, u64::from(boot), u64::from(boot) * 100 + u64::from(node))
}

/// Which life an identity is of.
pub(super) fn peer_of(id: &NodeId) -> Peer {
    let node = id.name.as_str().strip_prefix('n').and_then(|index| index.parse().ok());
    (node.unwrap_or(u8::MAX), u8::try_from(id.boot).unwrap_or(u8::MAX))
}

pub(super) fn child() -> ChildId {
    ChildId::new(CHILD).expect("a short id is valid")
}

fn spec() -> ChildSpec {
    ChildSpec::new(child(), "work", "")
}

/// What happens to one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// A peer's message comes; by its number in the book.
    Message(Peer, u32),
    /// A session with a peer begins, in place of one with an earlier life of it.
    Met(Peer, Option<Peer>),
    /// A session ended and the peer is held as down.
    Lost(Peer),
    /// A session ended, no more.
    Broke(Peer),
    /// A peer without a session is held as down.
    Gone(Peer),
    /// The world's operation of this number.
    Op(u8),
    /// The init of a child's process is over; by its serial.
    Started(u64),
    /// A process has ended; by its serial.
    Ended(u64),
    /// Time passes.
    Beat,
}

/// A process that lives on a node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Process {
    pub(super) child: bool,
    /// Its init is over.
    pub(super) runs: bool,
    /// It was asked to stop or told to exit, and will end.
    pub(super) asked: bool,
    /// It was told that it lost a name.
    told: bool,
}

/// What of a step concerns the whole world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fact {
    /// A start was written by the operation of this number.
    Wished(u8, Dot),
    /// A termination removed these starts, by this event of its own.
    Removed(Vec<Dot>, Dot),
    /// A call was answered; whether with success.
    Replied(u8, bool),
}

/// What comes of a step.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) sends: Vec<(Vec<NodeId>, Lane, Message)>,
    pub(super) facts: Vec<Fact>,
    /// A promise that this step broke by itself.
    pub(super) fault: Option<String>,
}

impl Outcome {
    /// Notes the first promise that the step broke.
    fn break_promise(&mut self, what: String) {
        self.fault.get_or_insert(what);
    }

    /// Whether a repair falls once or twice into a beat, and which table's comes first, is jitter: the digests of a beat
    /// are sent once each and in the order of the tables, where nothing else is sent.
    fn without_jitter(&mut self) {
        let table = |message: &Message| match message {
            Message::Names(delta::Message::Digest { .. }) => Some(0),
            Message::Desired(delta::Message::Digest { .. }) => Some(1),
            Message::Actual(delta::Message::Digest { .. }) => Some(2),
            Message::Marks(delta::Message::Digest { .. }) => Some(3),
            Message::Facts(delta::Message::Digest { .. }) => Some(4),
            Message::Digests(_) => Some(5),
            _ => None,
        };
        if self.sends.iter().all(|(_, _, message)| table(message).is_some()) {
            self.sends.sort_by_key(|(_, _, message)| table(message));
            self.sends.dedup();
        }
    }
}

/// One life of a node.
#[derive(Clone)]
pub(super) struct Local {
    pub(super) peer: Peer,
    pub(super) upper: Upper,
    now: Instant,
    wall_ms: u64,
    pub(super) processes: BTreeMap<u64, Process>,
    /// The serials of the processes that the world's operations speak of.
    pub(super) own: BTreeMap<u8, u64>,
    /// The calls that were answered.
    answered: u32,
}

impl Local {
    /// A node that has just begun, alone.
    pub(super) fn new(peer: Peer, world: &World) -> Self {
        let id = id_of(peer);
        let seed = u64::from(peer.0) * 1000 + u64::from(peer.1);
        let policy = RankPolicy::LongestRunning;
        let mut upper = if world.children {
            let (version, preference, keep_done) = ("1".into(), Preference::default(), Duration::from_secs(10));
            let config = Config {
                id: id.clone(),
                policy,
                kinds: vec!["work".into()],
                version,
                weight: 1,
                labels: Default::default(),
                preference,
                redistribution: Default::default(),
                bounds: Default::default(),
                keep_done,
                disk: None,
                expect: Expect::default(),
                partition: Default::default(),
                copies: 0,
                seed,
            };
            Upper::Children(Box::new(Supervisor::new(config)))
        } else {
            Upper::Names(Box::new(Registry::new(id.clone(), policy, seed)))
        };
        // An acknowledgement that may wait for another push is one more branch at every push: walks of the same size would
        // see less of all else. Waiting ones are left to runs with seeds.
        upper.set_limits(Limits { ack_delay: Duration::ZERO, ..Limits::default() });
        let (processes, own) = Default::default();
        let wall_ms = 1_700_000_000_000 + world.ahead_ms[usize::from(peer.0)];
        let now = Instant::from_micros(1_000_000);
        let mut local = Self { peer, upper, now, wall_ms, processes, own, answered: 0 };
        let mut out = Outcome::default();
        let member = Member { id, addr: "x:1".into(), status: Status::Up };
        local.feed(Input::Member(member), &mut out);
        local.beat(&mut out);
        local
    }

    /// All that decides what this node does next.
    pub(super) fn fingerprint(&self) -> u64 {
        const PURPOSE: u64 = 0x10ca1;
        let mut hasher = StableHasher::new(PURPOSE);
        (self.peer, &self.processes, &self.own, self.answered).hash(&mut hasher);
        match &self.upper {
            Upper::Names(names) => names.fingerprint(self.now, &mut hasher),
            Upper::Children(children) => children.fingerprint(self.now, &mut hasher),
        }
        Hasher::finish(&hasher)
    }

    fn now(&self) -> Now {
        Now { at: self.now, wall_ms: self.wall_ms }
    }

    fn pid(&self, serial: u64) -> Pid {
        Pid::new(id_of(self.peer), serial)
    }

    /// Takes a step; `message` is the one that a [`Step::Message`] means.
    pub(super) fn step(&mut self, step: Step, message: Option<&Message>, ops: &[Op]) -> Outcome {
        let mut out = Outcome::default();
        let (wished, alarms, starts) = (self.wishes(), self.alarms(), self.starts());
        match step {
            Step::Message(from, _) => {
                let message = message.cloned();
                message
                    .into_iter()
                    .for_each(|message| self.feed(Input::Message { from: id_of(from), message }, &mut out));
            }
            Step::Met(peer, ended) => {
                ended.into_iter().for_each(|ended| self.feed(Input::Disconnected(id_of(ended)), &mut out));
                let id = id_of(peer);
                self.feed(Input::Member(Member { id: id.clone(), addr: "x:1".into(), status: Status::Up }), &mut out);
                self.feed(Input::Connected(id), &mut out);
            }
            Step::Lost(peer) => {
                let id = id_of(peer);
                self.feed(Input::Disconnected(id.clone()), &mut out);
                self.feed(Input::Member(Member { id, addr: "x:1".into(), status: Status::Down }), &mut out);
            }
            Step::Gone(peer) => {
                self.feed(
                    Input::Member(Member { id: id_of(peer), addr: "x:1".into(), status: Status::Down }),
                    &mut out,
                );
            }
            Step::Broke(peer) => self.feed(Input::Disconnected(id_of(peer)), &mut out),
            Step::Op(number) => self.operate(number, &ops[usize::from(number)], &mut out),
            Step::Started(serial) => {
                if let Some(process) = self.processes.get_mut(&serial) {
                    process.runs = true;
                    let (pid, info) = (self.pid(serial), StartedInfo::default());
                    self.feed(Input::Started { pid, info }, &mut out);
                }
            }
            Step::Ended(serial) => self.end(serial, &mut out),
            Step::Beat => {
                self.beat(&mut out);
                out.without_jitter();
            }
        }
        if !matches!(step, Step::Op(_)) && self.wishes() != wished {
            // A caller who is refused has its own start taken back.
            let refused = out.facts.iter().any(|fact| matches!(fact, Fact::Replied(_, false)));
            let taken_back: Vec<Dot> = starts.into_iter().filter(|dot| !self.starts().contains(dot)).collect();
            if refused && taken_back.iter().all(|dot| dot.actor == id_of(self.peer)) && !taken_back.is_empty() {
                out.facts.push(Fact::Removed(taken_back, self.last_wish()));
            } else {
                out.break_promise("what should run was changed by nobody's wish".to_owned());
            }
        }
        if self.alarms() > alarms {
            out.break_promise("equal contexts came with unequal contents".to_owned());
        }
        out
    }

    /// How often equal contexts came with unequal contents.
    fn alarms(&self) -> u64 {
        let children = self.upper.children().map_or(0, |children| {
            children.desired().alarms()
                + children.actual().alarms()
                + children.marks().alarms()
                + children.facts().alarms()
        });
        self.upper.names().names().alarms() + children
    }

    /// How many events this node wrote of what should run.
    fn wishes(&self) -> u64 {
        let desired = self.upper.children().map(|children| children.desired().table());
        desired.map_or(0, |table| table.context().clock().get(table.origin()))
    }

    /// The starts of the child that are live here.
    fn starts(&self) -> Vec<Dot> {
        let live = self.upper.children().into_iter().flat_map(|children| children.desired().table().live(&child()));
        live.map(|(origin, counter, _)| Dot::new(origin.clone(), counter)).collect()
    }

    fn feed(&mut self, input: Input, out: &mut Outcome) {
        let wanted = self.upper.handle(self.now(), input);
        self.carry_out(wanted, out);
    }

    fn beat(&mut self, out: &mut Outcome) {
        let end = self.now + BEAT;
        let mut timeouts = 0;
        while let Some(at) = self.upper.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            let wanted = self.upper.handle_timeout(self.now());
            self.carry_out(wanted, out);
            timeouts += 1;
            if timeouts > TIMEOUTS_MAX {
                out.break_promise("a timer does not advance".to_owned());
                break;
            }
        }
        self.now = end;
    }

    fn end(&mut self, serial: u64, out: &mut Outcome) {
        if self.processes.remove(&serial).is_none() {
            return;
        }
        self.own.retain(|_, own| *own != serial);
        let pid = self.pid(serial);
        match &self.upper {
            Upper::Children(_) => self.feed(Input::Exited { pid, exit: Exit::Normal }, out),
            Upper::Names(_) => {
                let now = self.now();
                let ((), wanted) = self.upper.with_names(now, |names, effects| names.ended(now, &pid, effects));
                self.carry_out(wanted, out);
            }
        }
    }

    // ---- what users do

    fn operate(&mut self, number: u8, op: &Op, out: &mut Outcome) {
        match *op {
            Op::Register { process, name, .. } => self.register(process, name, out),
            Op::Unregister { process, name, .. } => {
                let (now, name) = (self.now(), name_of(name));
                let Some(pid) = self.own.get(&process).map(|serial| self.pid(*serial)) else { return };
                let (_, wanted) =
                    self.upper.with_names(now, |names, effects| names.unregister(now, &pid, &name, effects));
                self.carry_out(wanted, out);
            }
            Op::End { process, .. } => {
                if let Some(serial) = self.own.get(&process).copied() {
                    self.end(serial, out);
                }
            }
            Op::Start { .. } => {
                let before = self.wishes();
                self.call(number, Call::Start { spec: spec(), ensure: false }, out);
                if self.wishes() > before {
                    out.facts.insert(0, Fact::Wished(number, self.last_wish()));
                }
            }
            Op::Terminate { .. } => {
                // A start can be known by its claim alone.
                let claimed =
                    self.upper.children().into_iter().flat_map(|children| children.actual().table().live(&child()));
                let mut held: Vec<Dot> = claimed.map(|(_, _, claim)| claim.dot.clone()).collect();
                held.extend(self.starts());
                let before = self.wishes();
                self.call(number, Call::Terminate(child()), out);
                if self.wishes() > before {
                    out.facts.insert(0, Fact::Removed(held, self.last_wish()));
                }
            }
            Op::Restart { .. } => self.call(number, Call::Restart(child()), out),
        }
    }

    fn last_wish(&self) -> Dot {
        Dot::new(id_of(self.peer), self.wishes())
    }

    fn call(&mut self, number: u8, call: Call, out: &mut Outcome) {
        let (now, mut effects) = (self.now(), Vec::new());
        if let Upper::Children(children) = &mut self.upper {
            children.call(now, u64::from(number), call, CALL, &mut effects);
        }
        self.carry_out(Wanted::Children(effects), out);
    }

    fn register(&mut self, process: u8, name: &str, out: &mut Outcome) {
        let (now, name) = (self.now(), name_of(name));
        let pid = match self.own.get(&process) {
            Some(serial) => self.pid(*serial),
            None => {
                let (pid, wanted) = self.upper.with_names(now, |names, _| names.activate(now));
                self.carry_out(wanted, out);
                let begun = Process { child: false, runs: true, asked: false, told: false };
                self.processes.insert(pid.serial, begun);
                self.own.insert(process, pid.serial);
                pid
            }
        };
        let (registered, wanted) =
            self.upper.with_names(now, |names, effects| names.register(now, &pid, name.clone(), Bytes::new(), effects));
        self.carry_out(wanted, out);
        let shown = self.upper.names().lookup(&name).map(|entry| entry.pid().clone());
        if registered.is_ok() && shown.as_ref() != Some(&pid) {
            out.break_promise(format!("{pid:?} registered {name:?}, but a lookup there shows {shown:?}"));
        }
    }

    // ---- what the core wants

    fn carry_out(&mut self, wanted: Wanted, out: &mut Outcome) {
        match wanted {
            Wanted::Names(effects) => {
                for effect in effects {
                    match effect {
                        registry::Effect::Send { to, lane, message } => {
                            out.sends.push((to, lane, Message::Names(unnumbered(*message))));
                        }
                        registry::Effect::Exit { pid, conflict } => self.on_exit(&pid, &conflict, out),
                        registry::Effect::Superseded(by) => superseded(&by, out),
                        registry::Effect::Visible { .. }
                        | registry::Effect::Member { .. }
                        | registry::Effect::Fence { .. }
                        | registry::Effect::Conflict { .. } => {}
                    }
                }
            }
            Wanted::Children(effects) => effects.into_iter().for_each(|effect| self.carry_out_one(effect, out)),
        }
    }

    fn carry_out_one(&mut self, effect: supervisor::Effect, out: &mut Outcome) {
        match effect {
            supervisor::Effect::Send { to, lane, message } => {
                let message = match *message {
                    Message::Names(message) => Message::Names(unnumbered(message)),
                    Message::Desired(message) => Message::Desired(unnumbered(message)),
                    Message::Actual(message) => Message::Actual(unnumbered(message)),
                    Message::Marks(message) => Message::Marks(unnumbered(message)),
                    Message::Facts(message) => Message::Facts(unnumbered(message)),
                    other @ (Message::Digests(_) | Message::Control(_)) => other,
                };
                out.sends.push((to, lane, message));
            }
            supervisor::Effect::Start { pid, .. } => {
                let others = self.processes.values().filter(|process| process.child).count();
                if others > 0 {
                    out.break_promise(format!("{pid:?} is started beside another copy on its own node"));
                }
                let begun = Process { child: true, runs: false, asked: false, told: false };
                self.processes.insert(pid.serial, begun);
            }
            supervisor::Effect::Stop { pid, .. } => match self.processes.get_mut(&pid.serial) {
                Some(process) if !process.asked => process.asked = true,
                Some(_) => out.break_promise(format!("{pid:?} is asked to stop twice")),
                None => out.break_promise(format!("{pid:?} is asked to stop and is not there")),
            },
            supervisor::Effect::Exit { pid, conflict } => self.on_exit(&pid, &conflict, out),
            supervisor::Effect::Reply { request, reply } => self.on_reply(request, &reply, out),
            supervisor::Effect::Event(event) => {
                if let EventKind::NameConflict { loser, winner, .. } = event.what
                    && self.processes.get(&loser.serial).is_some_and(|process| process.child)
                {
                    self.told(&loser, &winner, out);
                }
            }
            supervisor::Effect::Superseded(by) => superseded(&by, out),
            supervisor::Effect::Fence { .. } | supervisor::Effect::Visible { .. } => {}
            supervisor::Effect::Member { .. } | supervisor::Effect::Drained | supervisor::Effect::Escalate(_) => {}
            supervisor::Effect::Checkpointed { .. } | supervisor::Effect::Merge { .. } => {}
            supervisor::Effect::Save { .. } => unreachable!("nothing is kept here"),
            supervisor::Effect::Lease { .. } => unreachable!("nobody needs a quorum here"),
        }
    }

    fn on_exit(&mut self, pid: &Pid, conflict: &NameConflict, out: &mut Outcome) {
        if let Some(process) = self.processes.get_mut(&pid.serial) {
            process.asked = true;
        }
        self.told(pid, &conflict.winner, out);
    }

    /// A process was told that it lost to another: once, and to a better one.
    fn told(&mut self, loser: &Pid, winner: &Pid, out: &mut Outcome) {
        match self.processes.get_mut(&loser.serial) {
            Some(process) if process.told => {
                out.break_promise(format!("{loser:?} is told twice that it lost"));
            }
            Some(process) => process.told = true,
            None => out.break_promise(format!("{loser:?}, which is not there, is told that it lost")),
        }
        if let (Some(lost), Some(won)) = (self.order_of(loser), self.order_of(winner))
            && won >= lost
        {
            out.break_promise(format!("{loser:?} is told that it lost to {winner:?}, which ranks lower"));
        }
    }

    /// The place in conflicts of a process that some name is claimed for.
    fn order_of(&self, pid: &Pid) -> Option<(registry::Rank, Pid)> {
        let table = self.upper.names().names().table();
        let claims = table.keys().flat_map(|name| table.live(name)).map(|(_, _, claim): (_, _, &Claim)| claim);
        let named = claims.filter(|claim| claim.pid == *pid).map(|claim| claim.rank.clone()).next();
        let held = || {
            let actual = self.upper.children()?.actual().table();
            let mut claims = actual.live(&child()).map(|(_, _, claim)| claim);
            claims.find(|claim| claim.pid.as_ref() == Some(pid)).map(|claim| claim.rank.clone())
        };
        named.or_else(held).map(|rank| (rank, pid.clone()))
    }

    fn on_reply(&mut self, request: u64, reply: &Reply, out: &mut Outcome) {
        let (bit, number) = (1u32 << (request % 32), u8::try_from(request).unwrap_or(u8::MAX));
        if self.answered & bit != 0 {
            out.break_promise(format!("call {request} is answered twice"));
        }
        self.answered |= bit;
        let done = matches!(reply, Reply::Child(Ok(_)) | Reply::Done(Ok(())));
        out.facts.push(Fact::Replied(number, done));
    }
}

fn superseded(by: &NodeId, out: &mut Outcome) {
    out.break_promise(format!("the node believes that {by:?} is a later life of its own"));
}

pub(super) fn name_of(text: &str) -> Name {
    Name::new(text).expect("the names of the worlds are valid")
}

/// A delta without its number, which only tells the parts of one delta from those of another: here each has one part.
fn unnumbered<K: delta::Key, V: delta::Payload>(message: delta::Message<K, V>) -> delta::Message<K, V> {
    match message {
        delta::Message::Delta { retired, events, closing, .. } => {
            assert!(closing.is_some(), "deltas in small worlds have one part");
            delta::Message::Delta { number: 0, retired, events, closing }
        }
        other => other,
    }
}
