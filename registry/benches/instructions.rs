//! How many instructions the pure half takes: a count is the same on a busy machine, where a stopwatch is not.
//!
//! `.ci/instructions` runs each item under callgrind and compares with `instructions.txt`. Nothing in here depends on
//! the time, the environment or a random seed.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a benchmark")]

mod common;

use std::hint::black_box;

use bytes::Bytes;
use ordu_registry::core;
use ordu_registry::core::clock::{Clock, Dot};
use ordu_registry::core::names::{Effect, Input, Message, Registry};

use common::{apart, encode, fill, index, meet, names, node, now, registry, scattered, sent, take};

const COUNT: usize = 10_000;
/// How many names differ, half of them on either side.
const DIFFERING: usize = 100;

const ITEMS: [(&str, fn()); 8] = [
    ("register", register),
    ("register_with_a_peer", register_with_a_peer),
    ("encode", encode_pushes),
    ("apply", apply),
    ("apply_one_by_one", apply_one_by_one),
    ("lookup", lookup),
    ("lookup_in_index", lookup_in_index),
    ("reconcile", reconcile),
];

/// Runs the item that is named, or says which there are.
fn main() {
    // Cargo adds options of its own.
    let Some(name) = std::env::args().skip(1).find(|arg| !arg.starts_with('-')) else {
        return ITEMS.iter().for_each(|(name, _)| println!("{name}"));
    };
    let (_, item) = ITEMS.iter().find(|(item, _)| *item == name).expect("one of the items");
    item();
}

/// Callgrind knows this function by its name, and counts what happens in it and nowhere else.
#[inline(never)]
fn measured(work: &mut dyn FnMut()) {
    work();
    // Otherwise the call of the work could take the place of this one.
    black_box(());
}

fn register() {
    let (names, mut registry, mut effects) = (names(COUNT), registry("a"), Vec::new());
    measured(&mut || effects = fill(&mut registry, &names));
    assert_eq!(registry.len(), COUNT);
}

/// Registers each name, and returns the frames that tell a peer, which has acknowledged all before: so each goes at once.
fn push_each(a: &mut Registry, acks: Vec<Input>) -> Vec<Bytes> {
    let (names, mut effects) = (names(acks.len()), Vec::new());
    let mut frames = Vec::with_capacity(names.len());
    for (name, ack) in names.iter().zip(acks) {
        common::register(a, name, &mut effects);
        frames.extend(sent(effects.drain(..)).map(|message| encode(&message)));
        a.handle(now(1), ack, &mut effects);
    }
    frames
}

fn with_a_peer() -> (Registry, Vec<Input>) {
    let mut a = registry("a");
    meet(&mut a, "b");
    let ack = |counter| Message::Ack { clock: Clock::from(Dot::new(node("a"), counter)) };
    let acks = (1..=COUNT as u64).map(|counter| Input::Message { from: node("b"), message: ack(counter) });
    (a, acks.collect())
}

fn register_with_a_peer() {
    let (mut a, mut acks) = with_a_peer();
    let mut frames = Vec::new();
    measured(&mut || frames = push_each(&mut a, std::mem::take(&mut acks)));
    assert_eq!(frames.len(), COUNT);
}

/// The pushes that a peer is sent which appears when all names are there.
fn pushes() -> Vec<Message> {
    let mut a = registry("a");
    fill(&mut a, &names(COUNT));
    let pushes: Vec<Message> =
        sent(meet(&mut a, "b")).filter(|message| matches!(message, Message::Delta { .. })).collect();
    assert!(pushes.len() < COUNT / 1_000);
    pushes
}

fn encode_pushes() {
    let (pushes, mut frames) = (pushes(), Vec::new());
    measured(&mut || frames.extend(pushes.iter().map(encode)));
    assert_eq!(frames.len(), pushes.len());
}

fn apply_frames(frames: &[Bytes]) {
    let (mut b, mut effects) = (registry("b"), Vec::<Effect>::new());
    meet(&mut b, "a");
    let a = node("a");
    measured(&mut || frames.iter().for_each(|frame| take(&mut b, &a, frame, &mut effects)));
    assert_eq!(b.len(), COUNT);
}

fn apply() {
    apply_frames(&pushes().iter().map(encode).collect::<Vec<_>>());
}

fn apply_one_by_one() {
    let (mut a, acks) = with_a_peer();
    apply_frames(&push_each(&mut a, acks));
}

fn lookup() {
    let (names, mut registry) = (names(COUNT), registry("a"));
    fill(&mut registry, &names);
    measured(&mut || scattered(&names).for_each(|name| drop(black_box(registry.lookup(name)))));
}

fn lookup_in_index() {
    let (names, mut registry) = (names(COUNT), registry("a"));
    fill(&mut registry, &names);
    let index = index(&registry);
    measured(&mut || scattered(&names).for_each(|name| drop(black_box(index.lookup(name.as_str())))));
}

fn reconcile() {
    let [mut a, mut b] = apart(COUNT, DIFFERING / 2);
    measured(&mut || common::reconcile(&mut a, &mut b));
    assert_eq!(a.names().table(), b.names().table());
}
