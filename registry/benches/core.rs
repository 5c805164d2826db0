//! The pure half under a stopwatch: what a registration, a delta and a lookup cost one core, without any driver.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a benchmark")]

use bytes::Bytes;
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use ordu_registry::core::names::{Effect, Input, Message, Registry};
use ordu_registry::core::{Name, RankPolicy};
use ordu_transport::core::{Instant, Member, NodeId, NodeName, Now, Status};

fn main() {
    divan::main();
}

const SIZES: [usize; 2] = [10_000, 100_000];

fn now(us: u64) -> Now {
    Now { at: Instant::from_micros(us), wall_ms: 1_800_000_000_000 + us / 1_000 }
}

fn node(name: &str) -> NodeId {
    NodeId::new(NodeName::new(name).expect("a name"), 1, 7)
}

fn names(count: usize) -> Vec<Name> {
    (0..count).map(|number| Name::new(&format!("name{number:06}")).expect("a name")).collect()
}

fn registry(name: &str) -> Registry {
    Registry::new(node(name), RankPolicy::LongestRunning, 1)
}

/// Each name by a process of its own.
fn fill(registry: &mut Registry, names: &[Name]) -> Vec<Effect> {
    let mut effects = Vec::new();
    for name in names {
        let pid = registry.activate(now(1));
        registry.register(now(1), &pid, name.clone(), Bytes::new(), &mut effects).expect("a new name");
    }
    effects
}

fn meet(registry: &mut Registry, peer: &str) {
    let member = Member { id: node(peer), addr: "127.0.0.1:1".into(), status: Status::Up };
    registry.handle(now(0), Input::Member(member), &mut Vec::new());
    registry.handle(now(0), Input::Connected(node(peer)), &mut Vec::new());
}

#[divan::bench(args = SIZES, sample_count = 5, sample_size = 1)]
fn register(bencher: Bencher, count: usize) {
    let names = names(count);
    bencher
        .counter(ItemsCount::new(count))
        .with_inputs(|| registry("a"))
        .bench_local_values(|mut registry| (fill(&mut registry, &names), registry));
}

#[divan::bench(args = SIZES, sample_count = 5, sample_size = 1)]
fn register_with_a_peer(bencher: Bencher, count: usize) {
    let names = names(count);
    bencher
        .counter(ItemsCount::new(count))
        .with_inputs(|| {
            let mut registry = registry("a");
            meet(&mut registry, "b");
            registry
        })
        .bench_local_values(|mut registry| (fill(&mut registry, &names), registry));
}

/// The messages that bring all names of one to another.
fn messages(count: usize) -> Vec<Message> {
    let mut a = registry("a");
    fill(&mut a, &names(count));
    meet(&mut a, "b");
    let pull = Message::Pull { number: 0, context: Default::default(), retired: Default::default(), sum: 0 };
    let mut effects = Vec::new();
    a.handle(now(2), Input::Message { from: node("b"), message: pull }, &mut effects);
    let messages = effects.into_iter().filter_map(|effect| match effect {
        Effect::Send { message: message @ Message::Delta { .. }, .. } => Some(message),
        _ => None,
    });
    messages.collect()
}

#[divan::bench(args = [10_000, 30_000], sample_count = 5, sample_size = 1)]
fn apply(bencher: Bencher, count: usize) {
    let messages = messages(count);
    assert!(!messages.is_empty());
    bencher
        .counter(ItemsCount::new(count))
        .with_inputs(|| {
            let mut b = registry("b");
            meet(&mut b, "a");
            (b, messages.clone())
        })
        .bench_local_values(|(mut b, messages)| {
            let mut effects = Vec::new();
            for message in messages {
                b.handle(now(3), Input::Message { from: node("a"), message }, &mut effects);
            }
            assert_eq!(b.len(), count);
            (b, effects)
        });
}

#[divan::bench(args = [10_000, 30_000], sample_count = 5, sample_size = 1)]
fn encode(bencher: Bencher, count: usize) {
    let messages = messages(count);
    bencher.counter(ItemsCount::new(count)).bench_local(|| {
        messages.iter().map(|message| rmp_serde::to_vec(message).expect("it encodes").len()).sum::<usize>()
    });
}

#[divan::bench(args = [10_000, 30_000], sample_count = 5, sample_size = 1)]
fn decode(bencher: Bencher, count: usize) {
    let frames: Vec<Vec<u8>> =
        messages(count).iter().map(|message| rmp_serde::to_vec(message).expect("it encodes")).collect();
    println!("{} bytes a name", frames.iter().map(Vec::len).sum::<usize>() / count);
    bencher.counter(ItemsCount::new(count)).bench_local(|| {
        frames.iter().map(|frame| rmp_serde::from_slice::<Message>(frame).expect("it decodes")).collect::<Vec<_>>()
    });
}

#[divan::bench(args = SIZES, sample_count = 20, sample_size = 1)]
fn lookup(bencher: Bencher, count: usize) {
    let names = names(count);
    let mut registry = registry("a");
    fill(&mut registry, &names);
    bencher.counter(ItemsCount::new(1000_usize)).bench_local(|| {
        for at in 0..1000 {
            black_box(registry.lookup(&names[at * 7919 % count]));
        }
    });
}
