//! A few registries and what they say to one another, delivered when the test says so.

use std::collections::VecDeque;

use bytes::Bytes;
use ordu_registry::core::names::{Effect, Input, Message};
use ordu_registry::core::{Name, RankPolicy, RegisterError, Registry};
use ordu_transport::core::{Instant, Member, NodeId, NodeName, Now, Pid, Status};

/// Registries that have met, and the messages on their way.
pub struct Trio {
    pub nodes: Vec<Registry>,
    /// Sender, receiver, message.
    pub wires: VecDeque<(usize, usize, Message)>,
    /// What each wanted done since it was last taken, less what it sent.
    pub effects: Vec<Vec<Effect>>,
    ms: u64,
}

pub fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

pub fn id(which: usize) -> NodeId {
    let name = ["a", "b", "c", "d", "e"][which];
    NodeId::new(NodeName::new(name).expect("a name"), 1, which as u64 + 1)
}

impl Trio {
    /// So many nodes that have not met.
    pub fn strangers(count: usize, policy: RankPolicy) -> Self {
        let nodes = (0..count).map(|which| Registry::new(id(which), policy, which as u64)).collect();
        Self { nodes, wires: VecDeque::new(), effects: vec![Vec::new(); count], ms: 0 }
    }

    /// So many nodes that have met and heard one another.
    pub fn of(count: usize) -> Self {
        let mut trio = Self::strangers(count, RankPolicy::LongestRunning);
        trio.meet();
        trio
    }

    /// Everybody sees everybody as up, and has a session.
    pub fn meet(&mut self) {
        let count = self.nodes.len();
        for (one, other) in (0..count).flat_map(|one| (0..count).map(move |other| (one, other))) {
            self.sees(one, other, Status::Up);
        }
        for (one, other) in (0..count).flat_map(|one| (0..count).map(move |other| (one, other))) {
            if one != other {
                self.handle(one, Input::Connected(id(other)));
            }
        }
        self.deliver();
    }

    /// The time goes on with each call.
    pub fn now(&mut self) -> Now {
        self.ms += 1;
        Now { at: Instant::from_micros(self.ms * 1000), wall_ms: 1_800_000_000_000 + self.ms }
    }

    pub fn sees(&mut self, node: usize, other: usize, status: Status) {
        self.handle(node, Input::Member(Member { id: id(other), addr: "10.0.0.1:1".into(), status }));
    }

    pub fn handle(&mut self, node: usize, input: Input) {
        self.with(node, |registry, now, effects| registry.handle(now, input, effects));
    }

    /// One call of a core.
    pub fn with<T>(&mut self, node: usize, run: impl FnOnce(&mut Registry, Now, &mut Vec<Effect>) -> T) -> T {
        let (now, mut effects) = (self.now(), Vec::new());
        let value = run(&mut self.nodes[node], now, &mut effects);
        for effect in effects {
            match effect {
                Effect::Send { to, message, .. } => {
                    let at = |to: &NodeId| (0..self.nodes.len()).find(|which| id(*which) == *to).expect("a node");
                    self.wires.extend(to.iter().map(|to| (node, at(to), (*message).clone())));
                }
                other => self.effects[node].push(other),
            }
        }
        value
    }

    /// Delivers everything, and what comes of it.
    pub fn deliver(&mut self) {
        while let Some((from, to, message)) = self.wires.pop_front() {
            self.handle(to, Input::Message { from: id(from), message });
        }
    }

    pub fn take_effects(&mut self, node: usize) -> Vec<Effect> {
        std::mem::take(&mut self.effects[node])
    }

    pub fn activate(&mut self, node: usize) -> Pid {
        self.with(node, |registry, now, _| registry.activate(now))
    }

    pub fn register(&mut self, node: usize, pid: &Pid, text: &str) -> Result<(), RegisterError> {
        self.with(node, |registry, now, effects| registry.register(now, pid, name(text), Bytes::new(), effects))
    }
}
