//! The pure half under a stopwatch: what a registration, a delta and a lookup cost one core, without any driver.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a benchmark")]

mod common;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use ordu_registry::core;
use ordu_registry::core::claim::{Claim, Name};
use ordu_registry::core::names::{Input, Message};
use ordu_registry::core::table::{Kind, Shared, Table};

use common::{apart, fill, index, meet, messages, names, node, now, registry, scattered};

fn main() {
    divan::main();
}

const SIZES: [usize; 2] = [10_000, 100_000];
const SIZES_APPLIED: [usize; 2] = [10_000, 30_000];
const LOOKUPS: usize = 1_000;

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

#[divan::bench(args = SIZES_APPLIED, sample_count = 5, sample_size = 1)]
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

#[divan::bench(args = SIZES_APPLIED, sample_count = 5, sample_size = 1)]
fn encode(bencher: Bencher, count: usize) {
    let messages = messages(count);
    bencher.counter(ItemsCount::new(count)).bench_local(|| {
        messages.iter().map(|message| rmp_serde::to_vec(message).expect("it encodes").len()).sum::<usize>()
    });
}

#[divan::bench(args = SIZES_APPLIED, sample_count = 5, sample_size = 1)]
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
    bencher.counter(ItemsCount::new(LOOKUPS)).bench_local(|| {
        for name in scattered(&names).take(LOOKUPS) {
            black_box(registry.lookup(name));
        }
    });
}

/// As a running node looks names up, beside its core.
#[divan::bench(args = SIZES, sample_count = 20, sample_size = 1)]
fn lookup_in_index(bencher: Bencher, count: usize) {
    let names = names(count);
    let mut registry = registry("a");
    fill(&mut registry, &names);
    let index = index(&registry);
    bencher.counter(ItemsCount::new(LOOKUPS)).bench_local(|| {
        for name in scattered(&names).take(LOOKUPS) {
            black_box(index.lookup(name.as_str()));
        }
    });
}

/// Events of one origin.
fn events(count: usize) -> Vec<Shared<Name, Claim>> {
    let events_of = |message| match message {
        Message::Delta { events, .. } => events.into(),
        _ => Vec::new(),
    };
    messages(count).into_iter().flat_map(events_of).collect()
}

fn table(origin: &str) -> Table<Name, Claim> {
    Table::new(Kind::OwnerWritten, node(origin))
}

/// The table alone, without any rule of names.
#[divan::bench(args = SIZES_APPLIED, sample_count = 5, sample_size = 1)]
fn table_put(bencher: Bencher, count: usize) {
    let events = events(count);
    bencher.counter(ItemsCount::new(count)).with_inputs(|| table("a")).bench_local_values(|mut table| {
        for event in &events {
            table.put(event.key.clone(), event.value.clone().expect("a claim"));
        }
        table
    });
}

#[divan::bench(args = SIZES_APPLIED, sample_count = 5, sample_size = 1)]
fn table_apply(bencher: Bencher, count: usize) {
    let events = events(count);
    bencher.counter(ItemsCount::new(count)).with_inputs(|| (table("b"), events.clone())).bench_local_values(
        |(mut table, events)| {
            for event in events {
                assert!(table.apply(event));
            }
            table
        },
    );
}

/// Two that differ in a hundred names, until they are equal.
#[divan::bench(args = SIZES_APPLIED, sample_count = 5, sample_size = 1)]
fn reconcile(bencher: Bencher, count: usize) {
    let apart = apart(count, 50);
    bencher.with_inputs(|| apart.clone()).bench_local_values(|[mut a, mut b]| {
        common::reconcile(&mut a, &mut b);
        assert_eq!(a.len(), b.len());
        [a, b]
    });
}
