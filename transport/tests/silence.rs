//! Silence of all kinds: cut links, frozen nodes, starved machines.
#![cfg(feature = "runtime")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real nodes in real time")]

mod common;

use std::time::{Duration, Instant};

use common::relay::Relay;
use common::{Node, Start, config, group, runtime, settle, try_start};
use ordu_transport::core::Status;
use ordu_transport::{CertificateAuthority, ClusterEvent};

fn ca() -> CertificateAuthority {
    CertificateAuthority::generate().expect("a CA")
}

fn downs(node: &Node) -> usize {
    let down = |event: &&ClusterEvent| matches!(event, ClusterEvent::Member(row) if row.status == Status::Down);
    node.seen.iter().filter(down).count()
}

#[test]
fn a_cut_is_found_out_by_silence_and_healed_soon_after_the_link_returns() {
    let ca = ca();
    let runtime = runtime();
    let relays: Vec<_> = (0..3).map(|_| Relay::start(&runtime)).collect();
    let mut nodes: Vec<Node> = Vec::new();
    for (n, relay) in relays.iter().enumerate() {
        let join = vec![relays[0].addr.to_string()];
        let mut config = config(&ca, Start { name: &format!("n{n}"), join, ..Start::default() });
        config.advertise = Some(relay.addr.to_string());
        let node = try_start(config).expect("it starts");
        relay.set_target(node.cluster.local_addr());
        nodes.push(node);
    }
    settle(&mut nodes);
    let ids: Vec<_> = nodes.iter().map(Node::id).collect();
    for cut in [Duration::from_millis(2200), Duration::from_secs(5)] {
        let begun = Instant::now();
        for node in &nodes[..2] {
            relays[2].cut(node.cluster.local_addr());
        }
        for relay in &relays[..2] {
            relay.cut(nodes[2].cluster.local_addr());
        }
        for (node, lost) in [(0, 2), (1, 2), (2, 0), (2, 1)] {
            nodes[node].until(|node| node.status(&ids[lost]) == Some(Status::Down));
        }
        println!("down by silence within {:?}", begun.elapsed());
        for node in &mut nodes {
            node.drain((begun + cut).saturating_duration_since(Instant::now()) / 3);
        }
        relays.iter().for_each(Relay::heal);
        let healed = Instant::now();
        settle(&mut nodes);
        println!("after {:?} of silence healed within {:?}", healed - begun, healed.elapsed());
        assert!(healed.elapsed() < Duration::from_secs(5));
    }
    for node in &nodes {
        ids.iter().for_each(|id| node.assert_alternating(id));
    }
}

#[test]
fn a_frozen_node_is_down_and_holds_nobody_as_down_when_it_wakes() {
    let mut nodes = group(&ca(), 3);
    nodes[0].drain(Duration::from_secs(1));
    let ids: Vec<_> = nodes.iter().map(Node::id).collect();
    let freeze = Duration::from_secs(6);
    let begun = Instant::now();
    nodes[2].freeze(freeze);
    let mut taken = Vec::new();
    for node in &mut nodes[..2] {
        node.until(|node| node.status(&ids[2]) == Some(Status::Down));
        taken.push(begun.elapsed());
    }
    println!("down after {taken:?}");
    // It wakes, and all is as it was.
    nodes[0].drain((begun + freeze).saturating_duration_since(Instant::now()));
    settle(&mut nodes);
    println!("up {:?} after it woke", begun.elapsed().saturating_sub(freeze));
    for node in &mut nodes {
        node.drain(Duration::from_millis(1000));
    }
    assert_eq!(downs(&nodes[2]), 0, "{:?}", nodes[2].seen);
    settle(&mut nodes);
}

#[test]
fn a_starved_machine_does_not_flap() {
    let mut nodes = group(&ca(), 3);
    let end = Instant::now() + Duration::from_secs(8);
    // Far more threads that never rest than this machine has cores.
    let hogs: Vec<_> = (0..16)
        .map(|_| {
            std::thread::spawn(move || {
                let mut n = 0u64;
                while Instant::now() < end {
                    n = std::hint::black_box(n.wrapping_mul(31).wrapping_add(1));
                }
            })
        })
        .collect();
    hogs.into_iter().for_each(|hog| hog.join().expect("it ends"));
    for node in &mut nodes {
        node.drain(Duration::from_millis(50));
        assert_eq!(downs(node), 0, "{:?}", node.seen);
        println!("stretch {}", node.cluster.metrics().stretch);
    }
    settle(&mut nodes);
}
