//! Registries with names, and what they say to one another: for the stopwatch and for the count of instructions.
#![allow(dead_code, reason = "each benchmark uses its part")]
#![allow(unreachable_pub, reason = "shared between benchmarks")]

/// The index is no part of the crate's face: its source is compiled into each benchmark.
#[path = "../../src/index.rs"]
mod index;

use bytes::Bytes;
use foldhash::fast::FixedState;
use ordu_registry::core::names::{Effect, Input, Message, Registry};
use ordu_registry::core::sync::Limits;
use ordu_registry::core::{Name, RankPolicy};
use ordu_transport::core::codec;
use ordu_transport::core::{Instant, Member, NodeId, NodeName, Now, Status};

/// It hashes alike in every run.
pub type Index = index::Index<FixedState>;

pub fn now(us: u64) -> Now {
    Now { at: Instant::from_micros(us), wall_ms: 1_800_000_000_000 + us / 1_000 }
}

pub fn node(name: &str) -> NodeId {
    NodeId::new(NodeName::new(name).expect("a name"), 1, 7)
}

pub fn names(count: usize) -> Vec<Name> {
    (0..count).map(|number| Name::new(&format!("name{number:06}")).expect("a name")).collect()
}

/// Each name once, far from the one before.
pub fn scattered(names: &[Name]) -> impl Iterator<Item = &Name> {
    (0..names.len()).map(|at| &names[at * 7919 % names.len()])
}

pub fn registry(name: &str) -> Registry {
    Registry::new(node(name), RankPolicy::LongestRunning, 1)
}

/// One name by a process of its own.
pub fn register(registry: &mut Registry, name: &Name, effects: &mut Vec<Effect>) {
    let pid = registry.activate(now(1));
    registry.register(now(1), &pid, name.clone(), Bytes::new(), effects).expect("a new name");
}

/// Each name by a process of its own.
pub fn fill(registry: &mut Registry, names: &[Name]) -> Vec<Effect> {
    let mut effects = Vec::new();
    names.iter().for_each(|name| register(registry, name, &mut effects));
    effects
}

/// What lookups of a running node read, with what the core shows.
pub fn index(registry: &Registry) -> Index {
    let index = Index::default();
    for entry in registry.unsorted_entries() {
        index.set(&entry.name().clone(), Some(entry));
    }
    assert_eq!(index.len(), registry.len());
    index
}

/// A session with a member begins. Returns what is said in it at once.
pub fn meet(registry: &mut Registry, peer: &str) -> Vec<Effect> {
    let member = Member { id: node(peer), addr: "127.0.0.1:1".into(), status: Status::Up };
    let mut effects = Vec::new();
    registry.handle(now(0), Input::Member(member), &mut effects);
    registry.handle(now(0), Input::Connected(node(peer)), &mut effects);
    effects
}

/// What is to be sent.
pub fn sent(effects: impl IntoIterator<Item = Effect>) -> impl Iterator<Item = Message> {
    effects.into_iter().filter_map(|effect| match effect {
        Effect::Send { message, .. } => Some(*message),
        _ => None,
    })
}

/// As it travels.
pub fn encode(message: &Message) -> Bytes {
    codec::encode(codec::Kind::Replication, message)
}

/// Takes a frame of a peer.
pub fn take(registry: &mut Registry, from: &NodeId, frame: &[u8], effects: &mut Vec<Effect>) {
    let message = codec::decode(codec::Kind::Replication, frame).expect("it decodes");
    registry.handle(now(3), Input::Message { from: from.clone(), message }, effects);
}

/// The messages that bring all names of one to another.
pub fn messages(count: usize) -> Vec<Message> {
    let mut a = registry("a");
    fill(&mut a, &names(count));
    meet(&mut a, "b");
    let pull = Message::Pull { number: 0, context: Default::default(), retired: Default::default(), sum: 0 };
    let mut effects = Vec::new();
    a.handle(now(2), Input::Message { from: node("b"), message: pull }, &mut effects);
    sent(effects).filter(|message| matches!(message, Message::Delta { .. })).collect()
}

/// Two that had the same `count` names, of which the first has given up `gone` and taken as many others since then, and can
/// tell nobody any more which are gone.
pub fn apart(count: usize, gone: usize) -> [Registry; 2] {
    let names = names(count + gone);
    let [mut a, mut b] = ["a", "b"].map(registry);
    a.set_limits(Limits { removals: 0, ..Limits::default() });
    fill(&mut a, &names[..count]);
    reconcile(&mut a, &mut b);
    a.handle(now(3), Input::Disconnected(node("b")), &mut Vec::new());
    b.handle(now(3), Input::Disconnected(node("a")), &mut Vec::new());
    for name in scattered(&names[..count]).take(gone) {
        let pid = a.lookup(name).expect("it was registered").pid().clone();
        a.ended(now(4), &pid, &mut Vec::new());
    }
    fill(&mut a, &names[count..]);
    let later = a.poll_timeout().expect("it repairs").as_micros();
    a.handle_timeout(now(later), &mut Vec::new());
    [a, b]
}

/// Two meet and talk, in frames, until neither has anything to say.
pub fn reconcile(a: &mut Registry, b: &mut Registry) {
    let ids = [a.id().clone(), b.id().clone()];
    let mut said = [meet(a, "b"), meet(b, "a")];
    while said.iter().any(|effects| !effects.is_empty()) {
        let [by_a, by_b] = said.map(|effects| sent(effects).map(|message| encode(&message)).collect::<Vec<_>>());
        said = Default::default();
        by_b.iter().for_each(|frame| take(a, &ids[1], frame, &mut said[0]));
        by_a.iter().for_each(|frame| take(b, &ids[0], frame, &mut said[1]));
    }
}
