//! Several cores, a network with a delay, and a driver as small as can be, in virtual time.

use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt;

use super::super::*;
use crate::core::overlay::Mesh;
use crate::core::ways::Step;

/// One way through the network.
const DELAY: Duration = Duration::from_millis(1);
/// How long nobody answers until a dial has failed.
const DIAL_TIMEOUT: Duration = Duration::from_secs(2);
/// After this silence a session is gone.
const IDLE: Duration = Duration::from_secs(3);

pub(super) fn ms(ms: u64) -> Instant {
    Instant::from_micros(ms * 1000)
}

pub(super) fn id(name: &str, boot: u64, nonce: u64) -> NodeId {
    NodeId::new(NodeName::new(name).expect("a valid name"), boot, nonce)
}

struct Node {
    core: Membership,
    addr: Addr,
    alive: bool,
    paused_until: Instant,
    left: bool,
    downs: usize,
    /// Whom it was told to reach by way of others.
    reached: BTreeSet<NodeId>,
    name_taken: Option<Addr>,
}

#[derive(Debug)]
enum Event {
    Input {
        node: usize,
        input: Input,
    },
    /// The hello of `from` reaches the node at an address, who judges it.
    Dialled {
        from: usize,
        addr: Addr,
    },
    Broken {
        session: (usize, usize),
        serial: u64,
    },
}

struct Session {
    serial: u64,
    /// Whose hellos were said.
    ids: (NodeId, NodeId),
    heard_at: Instant,
}

pub(super) struct World {
    now: Instant,
    serial: u64,
    nodes: Vec<Node>,
    events: BTreeMap<(Instant, u64), Event>,
    sessions: BTreeMap<(usize, usize), Session>,
    cut: BTreeSet<(usize, usize)>,
    seed: u64,
    mesh: Mesh,
    /// Of a hundred datagrams so many are lost.
    pub(super) loss_percent: u32,
    /// Whether the hosts of killed nodes still answer.
    pub(super) hosts_answer: bool,
    /// Whether cut links say so, as a firewall does.
    pub(super) cuts_refuse: bool,
    rng: ChaCha8Rng,
    pub(super) dials: usize,
    pub(super) sessions_made: usize,
    pub(super) doubles: usize,
}

fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

impl World {
    /// Nodes `n0`, `n1`, ..., each of which is told of all the others.
    pub(super) fn new(seed: u64, nodes: usize) -> Self {
        Self::among(seed, nodes, nodes, Mesh::default())
    }

    /// The same, each told of the first few only, and not all with sessions with all.
    pub(super) fn among(seed: u64, nodes: usize, seeds: usize, mesh: Mesh) -> Self {
        let mut world = Self {
            now: ms(0),
            serial: 0,
            nodes: Vec::new(),
            events: BTreeMap::new(),
            sessions: BTreeMap::new(),
            cut: BTreeSet::new(),
            seed,
            mesh,
            loss_percent: 0,
            hosts_answer: false,
            cuts_refuse: false,
            rng: ChaCha8Rng::seed_from_u64(seed),
            dials: 0,
            sessions_made: 0,
            doubles: 0,
        };
        let all: Vec<_> = (0..seeds).collect();
        for node in 0..nodes {
            world.start(&format!("n{node}"), 1, &format!("n{node}:1"), &all);
        }
        world
    }

    /// A further node, told of some others.
    pub(super) fn start(&mut self, name: &str, boot: u64, addr: &str, seeds: &[usize]) -> usize {
        let serial = self.nodes.len() as u64 + 1;
        let nonce = self.seed.wrapping_mul(1_000_003).wrapping_add(serial);
        let seeds =
            seeds.iter().map(|seed| self.nodes.get(*seed).map_or(format!("n{seed}:1").into(), |n| n.addr.clone()));
        let core = Membership::new(MembershipConfig {
            id: id(name, boot, nonce),
            addr: addr.into(),
            started: Hlc::from_wall_ms(self.now.as_micros() / 1000 + serial),
            cluster: "test".into(),
            seeds: seeds.collect(),
            seed: nonce,
            timings: Timings::default(),
            mesh: self.mesh,
        });
        self.nodes.push(Node {
            core,
            addr: addr.into(),
            alive: true,
            paused_until: self.now,
            left: false,
            downs: 0,
            reached: BTreeSet::new(),
            name_taken: None,
        });
        self.nodes.len() - 1
    }

    pub(super) fn restart(&mut self, node: usize, boot: u64) -> usize {
        let (name, addr) = (self.nodes[node].core.id().name.clone(), self.nodes[node].addr.clone());
        self.start(name.as_str(), boot, &addr, &[0, 1])
    }

    pub(super) fn kill(&mut self, node: usize) {
        self.nodes[node].alive = false;
    }

    /// The kernel of a node says, wrongly perhaps, that nobody listens at another one's port.
    pub(super) fn unreachable(&mut self, node: usize, other: usize) {
        let peer = self.id(other);
        self.input(node, Input::Unreachable { peer, rtt: DELAY * 2 });
    }

    pub(super) fn pause(&mut self, node: usize, by: Duration) {
        self.nodes[node].paused_until = self.now + by;
    }

    pub(super) fn leave(&mut self, node: usize) {
        self.input(node, Input::Leave);
        self.nodes[node].left = true;
    }

    pub(super) fn cut(&mut self, one: &[usize], other: &[usize]) {
        self.cut.extend(one.iter().flat_map(|a| other.iter().map(|b| pair(*a, *b))));
    }

    pub(super) fn heal(&mut self) {
        self.cut.clear();
    }

    pub(super) fn id(&self, node: usize) -> NodeId {
        self.nodes[node].core.id().clone()
    }

    /// What a node believes of exactly this incarnation of another.
    pub(super) fn status(&self, node: usize, of: usize) -> Option<Status> {
        self.nodes[node].core.view().of(&self.id(of)).map(|row| row.status)
    }

    /// How many sessions a node has.
    pub(super) fn sessions_of(&self, node: usize) -> usize {
        self.sessions.keys().filter(|key| key.0 == node || key.1 == node).count()
    }

    /// Whether two nodes have a session.
    pub(super) fn has_session(&self, one: usize, other: usize) -> bool {
        self.sessions.contains_key(&pair(one, other))
    }

    /// Whether what a node sends to another one arrives, over a session or by way of others.
    pub(super) fn gets_through(&self, from: usize, to: usize) -> bool {
        let target = self.id(to);
        if self.session_of(from, &target).is_some() {
            return self.hears(to, from);
        }
        let Some((mut hop, mut passed)) = self.nodes[from].core.ways().begin(&target) else { return false };
        let mut at = from;
        loop {
            let Some((next, _)) = self.session_of(at, &hop).filter(|(next, _)| self.hears(*next, at)) else {
                return false;
            };
            let peer = self.id(at);
            at = next;
            match self.nodes[at].core.ways().step(&peer, passed) {
                Step::Here(whose) => return at == to && whose == self.id(from),
                Step::On(next, further) => (hop, passed) = (next, further),
                Step::Nowhere => return false,
            }
        }
    }

    pub(super) fn downs(&self, node: usize) -> usize {
        self.nodes[node].downs
    }

    pub(super) fn name_taken(&self, node: usize) -> Option<Addr> {
        self.nodes[node].name_taken.clone()
    }

    pub(super) fn all_up(&self, nodes: &[usize]) -> bool {
        nodes.iter().all(|a| nodes.iter().all(|b| self.status(*a, *b) == Some(Status::Up)))
    }

    pub(super) fn assert_all_up(&self, nodes: &[usize]) {
        for node in nodes {
            let view: Vec<_> = self.nodes[*node].core.view().members().collect();
            assert!(self.all_up(nodes), "{:?} sees {view:?}", self.id(*node));
        }
    }

    pub(super) fn run(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    /// Runs until something holds, at most so long. Returns how long it took.
    pub(super) fn run_until(&mut self, at_most: Duration, holds: impl Fn(&World) -> bool) -> Option<Duration> {
        let (start, end) = (self.now, self.now + at_most);
        loop {
            if holds(self) {
                return Some(self.now.saturating_since(start));
            }
            let event = self.events.first_key_value().map(|((at, _), _)| *at);
            let timer = (0..self.nodes.len()).filter_map(|node| self.timer(node)).min();
            let next = [event, timer.map(|(at, _)| at)].into_iter().flatten().min().filter(|at| *at <= end);
            let Some(next) = next else {
                self.now = end;
                return None;
            };
            self.now = self.now.max(next);
            if event.is_some_and(|at| at <= self.now) {
                let (_, event) = self.events.pop_first().expect("one is there");
                self.on_event(event);
            } else if let Some((_, node)) = timer {
                let mut effects = Vec::new();
                let now = self.time();
                self.nodes[node].core.handle_timeout(now, &mut effects);
                self.execute(node, effects);
            }
        }
    }

    fn time(&self) -> Now {
        Now { at: self.now, wall_ms: self.now.as_micros() / 1000 }
    }

    fn timer(&self, node: usize) -> Option<(Instant, usize)> {
        let n = &self.nodes[node];
        if !n.alive {
            return None;
        }
        n.core.poll_timeout().map(|at| (at.max(n.paused_until).max(self.now), node))
    }

    fn push(&mut self, at: Instant, event: Event) {
        self.serial += 1;
        self.events.insert((at, self.serial), event);
    }

    fn input(&mut self, node: usize, input: Input) {
        let mut effects = Vec::new();
        let now = self.time();
        self.nodes[node].core.handle(now, input, &mut effects);
        self.execute(node, effects);
    }

    /// Whether a kernel, or a firewall, says that the port of one end of a session is closed.
    fn refuses(&self, key: (usize, usize), end: usize) -> bool {
        let is_cut = self.cut.contains(&key);
        if is_cut { self.cuts_refuse } else { !self.nodes[end].alive && self.hosts_answer }
    }

    fn hears(&self, to: usize, from: usize) -> bool {
        self.nodes[to].alive && self.nodes[from].alive && !self.cut.contains(&pair(from, to))
    }

    fn on_event(&mut self, event: Event) {
        let node = match &event {
            Event::Input { node, .. } => Some(*node),
            Event::Dialled { addr, .. } => self.nodes.iter().rposition(|node| node.alive && node.addr == *addr),
            Event::Broken { .. } => None,
        };
        // Who is paused finds its inputs when it wakes.
        if let Some(node) = node
            && self.nodes[node].paused_until > self.now
        {
            let wakes = self.nodes[node].paused_until;
            return self.push(wakes, event);
        }
        match event {
            Event::Input { node, input } => {
                if self.nodes[node].alive {
                    self.input(node, input);
                }
            }
            Event::Dialled { from, addr } => {
                if let Some(node) = node {
                    self.on_dialled(from, node);
                } else {
                    self.input_later(from, Input::DialFailed { addr, refusal: None });
                }
            }
            Event::Broken { session, serial } => self.on_broken(session, serial),
        }
    }

    fn input_later(&mut self, node: usize, input: Input) {
        self.push(self.now + DELAY, Event::Input { node, input });
    }

    fn on_dialled(&mut self, from: usize, to: usize) {
        if !self.hears(to, from) || from == to {
            let addr = self.nodes[to].addr.clone();
            let gave_up = Event::Input { node: from, input: Input::DialFailed { addr, refusal: None } };
            return self.push(self.now + DIAL_TIMEOUT, gave_up);
        }
        if let Some(session) = self.sessions.get(&pair(from, to))
            && session.ids == (self.id(pair(from, to).0), self.id(pair(from, to).1))
        {
            self.doubles += 1;
            return;
        }
        let now = self.time();
        let (ours, theirs) = (self.nodes[to].core.hello(), self.nodes[from].core.hello());
        if let Err(refusal) = self.nodes[to].core.judge(now, &theirs) {
            return self.input_later(from, Input::DialFailed { addr: ours.addr, refusal: Some(refusal) });
        }
        if let Err(refusal) = self.nodes[from].core.judge(now, &ours) {
            return self.input_later(to, Input::DialFailed { addr: theirs.addr, refusal: Some(refusal) });
        }
        self.sessions_made += 1;
        self.disconnect(pair(from, to), None);
        // The driver closes the session with an earlier incarnation of the same name.
        let earlier: Vec<_> = self
            .sessions
            .keys()
            .filter(|key| key.0 == to || key.1 == to)
            .copied()
            .filter(|key| {
                let other = if key.0 == to { key.1 } else { key.0 };
                theirs.id.supersedes(&self.id(other))
            })
            .collect();
        for key in earlier {
            self.disconnect(key, None);
        }
        let key = pair(from, to);
        self.serial += 1;
        let ids = (self.id(key.0), self.id(key.1));
        self.sessions.insert(key, Session { serial: self.serial, ids, heard_at: self.now });
        self.push(self.now + IDLE, Event::Broken { session: key, serial: self.serial });
        for (node, peer) in [(to, &theirs.id), (from, &ours.id)] {
            self.nodes[node].reached.remove(peer);
        }
        let dialled = Some(ours.addr.clone());
        self.input(to, Input::Connected { hello: theirs, dialled: None });
        self.input(from, Input::Connected { hello: ours, dialled });
    }

    fn on_broken(&mut self, key: (usize, usize), serial: u64) {
        let Some(session) = self.sessions.get_mut(&key).filter(|session| session.serial == serial) else { return };
        let (a, b) = (&self.nodes[key.0], &self.nodes[key.1]);
        let fine =
            a.alive && b.alive && !self.cut.contains(&key) && a.paused_until <= self.now && b.paused_until <= self.now;
        if fine {
            // Keep-alives.
            session.heard_at = self.now;
        }
        let at = session.heard_at + IDLE;
        if at <= self.now {
            self.disconnect(key, None);
        } else {
            self.push(at, Event::Broken { session: key, serial });
        }
    }

    fn disconnect(&mut self, key: (usize, usize), refused: Option<(usize, Refusal)>) {
        let Some(session) = self.sessions.remove(&key) else { return };
        let ends = [(key.0, session.ids.1.clone()), (key.1, session.ids.0.clone())];
        for (node, peer) in ends {
            self.push(self.now, Event::Input { node, input: Input::Disconnected { peer } });
        }
        if let Some((node, refusal)) = refused {
            let by = if key.0 == node { key.1 } else { key.0 };
            let addr = self.nodes[by].addr.clone();
            self.input_later(node, Input::DialFailed { addr, refusal: Some(refusal) });
        }
    }

    fn session_of(&self, node: usize, peer: &NodeId) -> Option<(usize, (usize, usize))> {
        self.sessions.iter().find_map(|(key, session)| match *key {
            (a, b) if a == node && session.ids.1 == *peer => Some((b, *key)),
            (a, b) if b == node && session.ids.0 == *peer => Some((a, *key)),
            _ => None,
        })
    }

    fn execute(&mut self, node: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Datagram { to, bytes } => {
                    if let Some((other, key)) = self.session_of(node, &to)
                        && self.hears(other, node)
                    {
                        if let Some(session) = self.sessions.get_mut(&key) {
                            session.heard_at = self.now;
                        }
                        let from = if key.0 == node {
                            self.sessions[&key].ids.0.clone()
                        } else {
                            self.sessions[&key].ids.1.clone()
                        };
                        if self.rng.random_range(0..100) >= self.loss_percent {
                            self.input_later(other, Input::Datagram { from, bytes });
                        }
                    }
                }
                Effect::CheckPort { peer } => {
                    if let Some((other, key)) = self.session_of(node, &peer)
                        && (self.refuses(key, other))
                    {
                        let refused = Event::Input { node, input: Input::Unreachable { peer, rtt: DELAY * 2 } };
                        self.push(self.now + DELAY * 2, refused);
                    }
                }
                Effect::Dial { addr } => {
                    self.dials += 1;
                    self.push(self.now + DELAY, Event::Dialled { from: node, addr });
                }
                Effect::Member(row) => {
                    self.nodes[node].downs += usize::from(row.status == Status::Down);
                }
                Effect::Reborn { .. } => {
                    let keys: Vec<_> =
                        self.sessions.keys().filter(|key| key.0 == node || key.1 == node).copied().collect();
                    for key in keys {
                        self.disconnect(key, None);
                    }
                }
                Effect::Ways => {}
                Effect::Reached { peer } => {
                    assert!(self.session_of(node, &peer).is_none(), "there is a session");
                    assert!(self.nodes[node].reached.insert(peer), "it was told already");
                }
                Effect::Lost { peer } => assert!(self.nodes[node].reached.remove(&peer), "it was never told"),
                Effect::NameTaken { holder } => self.nodes[node].name_taken = Some(holder),
                Effect::Close { peer, refusal } => {
                    if let Some((other, key)) = self.session_of(node, &peer) {
                        self.disconnect(key, Some((other, refusal)));
                    }
                }
            }
        }
    }
}
