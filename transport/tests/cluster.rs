//! Nodes that find, lose and find one another over real QUIC.
#![cfg(feature = "runtime")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real nodes in real time")]

mod common;

use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{Node, PATIENCE, Start, config, group, name, settle, start, try_start};
use ordu_transport::core::{Lane, Member, NodeId, Status};
use ordu_transport::{CertificateAuthority, ClusterEvent, LANE_BYTES_MAX};

fn ca() -> CertificateAuthority {
    CertificateAuthority::generate().expect("a CA")
}

#[test]
fn three_form_and_each_shows_itself_first() {
    let mut nodes = group(&ca(), 3);
    for node in &mut nodes {
        let own = Member { id: node.id(), addr: node.cluster.addr(), status: Status::Up };
        node.until_seen(&ClusterEvent::Member(own.clone()));
        assert_eq!(node.seen.first(), Some(&ClusterEvent::Member(own)));
        assert_eq!(node.cluster.view().living().count(), 3);
    }
    let (first, second) = (&nodes[0], nodes[1].id());
    assert!(first.cluster.rtt(&second).is_some_and(|rtt| rtt < Duration::from_secs(1)));
    assert_eq!(first.cluster.rtt(&first.id()), None);
    let metrics = first.cluster.metrics();
    assert_eq!((metrics.sessions, metrics.protocol_errors), (2, 0));
    assert!(metrics.bytes_sent > 1000 && metrics.bytes_received > 1000);
}

#[test]
fn frames_arrive_in_order_per_lane() {
    let mut nodes = group(&ca(), 2);
    let [one, other] = &mut nodes[..] else { unreachable!() };
    const FRAMES: u32 = 2000;
    for n in 0..FRAMES {
        for lane in Lane::ALL {
            let mut frame = vec![lane as u8];
            frame.extend_from_slice(&n.to_be_bytes());
            // Some are longer than a packet, some longer than a read.
            frame.resize(5 + (n as usize % 10) * (n as usize % 100) * 30, 7);
            one.cluster.send(&other.id(), lane, frame.into());
        }
    }
    let mut next = [0; 3];
    let start = Instant::now();
    while next != [FRAMES; 3] {
        assert!(start.elapsed() < PATIENCE, "{next:?}");
        let Some(ClusterEvent::Frame { from, frame }) = other.event(PATIENCE) else { continue };
        assert_eq!(from, one.id());
        let lane = Lane::ALL.iter().position(|lane| *lane as u8 == frame[0]).expect("a lane");
        let n = u32::from_be_bytes(frame[1..5].try_into().expect("four bytes"));
        assert_eq!(n, next[lane]);
        assert_eq!(frame.len(), 5 + (n as usize % 10) * (n as usize % 100) * 30);
        next[lane] += 1;
    }
    assert_eq!(one.cluster.metrics().frames_dropped, 0);
}

#[test]
fn the_longest_frame_arrives() {
    let mut nodes = group(&ca(), 2);
    let [one, other] = &mut nodes[..] else { unreachable!() };
    let frame = Bytes::from(vec![9; ordu_transport::core::FRAME_BYTES_MAX]);
    one.cluster.send(&other.id(), Lane::Bulk, frame.clone());
    let event = other.until_event(|event| matches!(event, ClusterEvent::Frame { .. }));
    assert_eq!(event, ClusterEvent::Frame { from: one.id(), frame });
}

#[test]
fn all_dial_all_at_once_and_one_session_a_pair_remains() {
    let ca = ca();
    let ports: Vec<_> = (0..4).map(|_| std::net::UdpSocket::bind("127.0.0.1:0").expect("a port")).collect();
    let addrs: Vec<_> = ports.iter().map(|port| port.local_addr().expect("bound").to_string()).collect();
    drop(ports);
    let mut nodes: Vec<Node> = addrs
        .iter()
        .enumerate()
        .map(|(n, addr)| {
            start(&ca, Start { name: &format!("n{n}"), listen: addr, join: addrs.clone(), ..Start::default() })
        })
        .collect();
    settle(&mut nodes);
    // What is superfluous is closed soon; then nothing moves any more.
    for node in &mut nodes {
        node.drain(Duration::from_millis(700));
    }
    let made: Vec<_> = nodes.iter().map(|node| node.cluster.metrics().sessions_made).collect();
    for node in &mut nodes {
        node.drain(Duration::from_millis(1500));
        assert_eq!(node.cluster.metrics().sessions, 3);
    }
    assert_eq!(nodes.iter().map(|node| node.cluster.metrics().sessions_made).collect::<Vec<_>>(), made);
    let ids: Vec<NodeId> = nodes.iter().map(Node::id).collect();
    for node in &nodes {
        ids.iter().for_each(|id| node.assert_alternating(id));
        assert!(!node.seen.iter().any(|event| matches!(event, ClusterEvent::Member(row) if !row.status.is_living())));
    }
}

#[test]
fn a_killed_node_is_down_soon_and_back_at_once() {
    let ca = ca();
    let mut nodes = group(&ca, 3);
    let killed = nodes.pop().expect("three");
    let dead = killed.id();
    let addr = killed.kill().to_string();
    let mut down = Vec::new();
    for node in &mut nodes {
        down.push(node.until(|node| node.status(&dead) == Some(Status::Down)));
        node.until(|node| !node.cluster.is_connected(&dead));
    }
    println!("down after {down:?}");
    let join = vec![nodes[0].addr()];
    nodes.push(start(&ca, Start { name: "n3", boot: 2, listen: &addr, join, ..Start::default() }));
    let begun = Instant::now();
    settle(&mut nodes);
    println!("back after {:?}", begun.elapsed());
    for node in &mut nodes[..2] {
        assert_eq!(node.status(&dead), None);
        node.until_seen(&ClusterEvent::Disconnected(dead.clone()));
        node.assert_alternating(&dead);
    }
}

#[test]
fn a_node_that_restarts_faster_than_it_is_missed_is_taken_for_the_new_one() {
    let ca = ca();
    let mut nodes = group(&ca, 3);
    let killed = nodes.pop().expect("three");
    let dead = killed.id();
    let addr = killed.kill().to_string();
    nodes.push(start(&ca, Start { name: "n3", boot: 2, listen: &addr, ..Start::default() }));
    // It joins nobody: the others find it, for they know the address.
    settle(&mut nodes);
    for node in &mut nodes[..2] {
        node.until_seen(&ClusterEvent::Disconnected(dead.clone()));
    }
}

#[test]
fn who_leaves_has_left_and_frees_its_port() {
    let ca = ca();
    let mut nodes = group(&ca, 3);
    let mut leaver = nodes.pop().expect("three");
    let (id, addr) = (leaver.id(), leaver.addr());
    let begun = Instant::now();
    leaver.block_on(leaver.cluster.leave());
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    println!("left within {:?}", begun.elapsed());
    leaver.until(|node| {
        node.seen.iter().any(|event| matches!(event, ClusterEvent::Member(row) if row.status == Status::Left))
    });
    while let Some(event) = leaver.event(PATIENCE) {
        leaver.seen.push(event);
    }
    for node in &mut nodes {
        node.until(|node| node.status(&id) == Some(Status::Left));
        assert!(
            !node
                .seen
                .iter()
                .any(|event| matches!(event, ClusterEvent::Member(row) if row.id == id && row.status == Status::Down))
        );
    }
    // The socket goes with the last of its tasks.
    let begun = Instant::now();
    while let Err(error) = std::net::UdpSocket::bind(&*addr) {
        assert!(begun.elapsed() < PATIENCE, "{addr}: {error}");
        std::thread::sleep(Duration::from_millis(10));
    }
    let join = vec![nodes[0].addr()];
    nodes.push(start(&ca, Start { name: "n3", boot: 2, listen: &addr, join, ..Start::default() }));
    settle(&mut nodes);
}

#[test]
fn the_newcomer_of_two_of_one_name_learns_who_holds_it() {
    let ca = ca();
    let mut nodes = group(&ca, 3);
    let holder = nodes[2].cluster.addr();
    let join = vec![nodes[0].addr()];
    let mut second = start(&ca, Start { name: "n3", boot: 9, join, ..Start::default() });
    let begun = Instant::now();
    second.until_event(|event| *event == ClusterEvent::NameTaken { holder: holder.clone() });
    println!("name taken after {:?}", begun.elapsed());
    second.kill();
    for node in &mut nodes {
        node.drain(Duration::from_millis(1500));
    }
    settle(&mut nodes);
}

#[test]
fn a_lost_disk_is_found_out_and_survived() {
    let ca = ca();
    let mut nodes = group(&ca, 2);
    let join = vec![nodes[0].addr()];
    let first = start(&ca, Start { name: "n3", boot: 7, join: join.clone(), ..Start::default() });
    nodes.push(first);
    settle(&mut nodes);
    let addr = nodes.pop().expect("three").kill().to_string();
    let mut again = start(&ca, Start { name: "n3", boot: 1, listen: &addr, join, ..Start::default() });
    let event = again.until_event(|event| matches!(event, ClusterEvent::Reborn(_)));
    assert_eq!(event, ClusterEvent::Reborn(again.id()));
    assert_eq!(again.id().boot, 8);
    nodes.push(again);
    settle(&mut nodes);
}

#[test]
fn who_does_not_read_is_reset_and_delays_nobody() {
    let mut nodes = group(&ca(), 3);
    let [one, deaf, other] = &mut nodes[..] else { unreachable!() };
    let frame = Bytes::from(vec![1; 64 * 1024]);
    let mut sent = 0;
    let begun = Instant::now();
    // The deaf one takes no event, so its queue, its windows and then our lane fill up.
    while one.cluster.metrics().lanes_overflowed == 0 {
        one.cluster.send(&deaf.id(), Lane::Bulk, frame.clone());
        sent += frame.len();
        one.cluster.send(&other.id(), Lane::Delta, Bytes::from_static(b"ping"));
        other.until_event(|event| matches!(event, ClusterEvent::Frame { .. }));
        assert!(begun.elapsed() < PATIENCE);
    }
    println!("reset after {} MiB in {:?}", sent >> 20, begun.elapsed());
    assert!((LANE_BYTES_MAX..8 * LANE_BYTES_MAX).contains(&sent));
    let id = deaf.id();
    one.until_seen(&ClusterEvent::Disconnected(id.clone()));
    one.until(|node| node.cluster.is_connected(&id));
    // It reads again: what was delivered is whole, and the new session works.
    let from = one.id();
    deaf.until_event(|event| *event == ClusterEvent::Disconnected(from.clone()));
    deaf.until(|node| node.cluster.is_connected(&from));
    one.cluster.send(&id, Lane::Bulk, Bytes::from_static(b"again"));
    deaf.until_event(|event| *event == ClusterEvent::Frame { from: from.clone(), frame: Bytes::from_static(b"again") });
    deaf.assert_alternating(&from);
    one.assert_alternating(&id);
    assert!(!other.seen.contains(&ClusterEvent::Disconnected(from)), "{:?}", other.seen);
}

#[test]
fn what_keeps_a_node_from_starting_is_one_clear_line() {
    let ca = ca();
    let first = start(&ca, Start::default());
    let cases = [
        (config(&ca, Start { listen: &first.addr(), ..Start::default() }), "cannot listen on 127.0.0.1:"),
        (config(&ca, Start { listen: "0.0.0.0:0", ..Start::default() }), "others cannot dial this node: \"0.0.0.0:"),
        (
            config(&ca, Start { join: vec!["nowhere".into()], ..Start::default() }),
            "cannot join: \"nowhere\" is not HOST:PORT",
        ),
        (
            ordu_transport::ClusterConfig { name: name("n2"), ..config(&ca, Start::default()) },
            "is the certificate of node n1, not of n2",
        ),
    ];
    for (config, expected) in cases {
        let error = try_start(config).err().expect("it cannot start").to_string();
        assert!(error.contains(expected) && !error.contains('\n'), "{error}");
    }
}

#[test]
fn nodes_of_another_cluster_are_refused() {
    let ca = ca();
    let mut nodes = group(&ca, 2);
    let join = vec![nodes[0].addr()];
    let mut stranger = start(&ca, Start { name: "n3", cluster: "other", join, ..Start::default() });
    stranger.until(|node| node.cluster.metrics().sessions_refused > 0);
    nodes[0].drain(Duration::from_millis(300));
    assert_eq!((nodes[0].cluster.view().members().count(), stranger.cluster.view().members().count()), (2, 1));
}

#[test]
fn a_seed_may_be_the_node_itself_or_an_alias() {
    let ca = ca();
    let mut first = start(&ca, Start::default());
    let port = first.cluster.local_addr().port();
    let join = vec![format!("localhost:{port}"), format!("127.0.0.1:{port}")];
    let second = start(&ca, Start { name: "n2", join: join.clone(), ..Start::default() });
    first.until(|node| node.cluster.is_connected(&second.id()));
    let mut nodes = vec![first, second];
    settle(&mut nodes);
    nodes[1].drain(Duration::from_millis(2500));
    assert_eq!(nodes[1].cluster.metrics().sessions_made, 1);
    assert_eq!(nodes[0].cluster.metrics().sessions_made, 1);
    assert_eq!(nodes[0].cluster.metrics().handshakes_failed, 0);
}
