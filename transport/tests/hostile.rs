//! Strangers and liars: nothing that a peer sends changes who is a member, or ends a node.
#![cfg(feature = "runtime")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real nodes in real time")]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::peer::{client, greet};
use common::{Node, Start, group, name, runtime, settle, start};
use ordu_transport::core::{FRAME_BYTES_MAX, Lane, NodeId, Status};
use ordu_transport::tls::{ALPN, SERVER_NAME};
use ordu_transport::{CertificateAuthority, ClusterEvent, LANE_BYTES_MAX};

fn ca() -> CertificateAuthority {
    CertificateAuthority::generate().expect("a CA")
}

fn members(node: &Node) -> usize {
    node.cluster.view().living().count()
}

#[test]
fn strangers_are_turned_away() {
    let ca = ca();
    let mut nodes = group(&ca, 2);
    let trusted = ca.issue(&name("x")).expect("a certificate");
    let foreign = self::ca().issue(&name("x")).expect("a certificate");
    let addr = nodes[0].cluster.local_addr();
    let runtime = runtime();
    runtime.block_on(async {
        let cases = [
            ("a certificate of another CA", client(Some(&foreign), &trusted, ALPN)),
            ("no certificate", client(None, &trusted, ALPN)),
            ("another protocol", client(Some(&trusted), &trusted, b"ordu/0")),
        ];
        for (what, endpoint) in cases {
            assert!(greet(&endpoint, addr, &NodeId::new(name("x"), 1, 1)).await.is_none(), "{what}");
        }
        // And we do not talk to a node whose CA is not ours.
        assert!(client(Some(&foreign), &foreign, ALPN).connect(addr, SERVER_NAME).expect("dialled").await.is_err());
    });
    nodes[0].until(|node| node.cluster.metrics().handshakes_failed >= 3);
    assert_eq!(members(&nodes[0]), 2);
    settle(&mut nodes);
}

#[test]
fn a_node_of_another_ca_never_gets_in_by_itself() {
    let mut nodes = group(&ca(), 2);
    let join = vec![nodes[0].addr()];
    let mut stranger = start(&ca(), Start { name: "n3", join, ..Start::default() });
    stranger.drain(Duration::from_millis(1500));
    nodes[0].drain(Duration::from_millis(10));
    assert_eq!((members(&nodes[0]), members(&stranger)), (2, 1));
}

#[test]
fn who_shows_another_certificate_than_its_name_is_turned_away() {
    let ca = ca();
    let mut nodes = group(&ca, 2);
    let own = ca.issue(&name("x")).expect("a certificate");
    let (addr, victim) = (nodes[0].cluster.local_addr(), nodes[1].id());
    let runtime = runtime();
    runtime.block_on(async {
        let endpoint = client(Some(&own), &own, ALPN);
        let pretended = NodeId::new(victim.name.clone(), victim.boot + 1, 5);
        assert!(greet(&endpoint, addr, &pretended).await.is_none());
        assert!(greet(&endpoint, addr, &NodeId::new(name("x"), 1, 5)).await.is_some());
    });
    assert_eq!(nodes[0].status(&victim), Some(Status::Up));
    settle(&mut nodes);
}

/// What a peer with a good certificate does wrong, and whether that ends its session.
#[test]
fn a_peer_that_breaks_the_rules_loses_its_session_and_nothing_else_happens() {
    let ca = ca();
    let mut nodes = group(&ca, 2);
    let own = ca.issue(&name("x")).expect("a certificate");
    let addr = nodes[0].cluster.local_addr();
    let runtime = runtime();
    let long = u32::try_from(FRAME_BYTES_MAX + 1).expect("it fits").to_be_bytes();
    let tag = [Lane::Delta as u8];
    let cases: [(&str, Vec<Vec<u8>>); 4] = [
        ("an unknown lane", vec![vec![b'?']]),
        ("a frame that is too long", vec![[&tag[..], &long].concat()]),
        ("a lane twice", vec![tag.to_vec(), tag.to_vec()]),
        ("the longest length there is", vec![[&tag[..], &[0xff; 4]].concat()]),
    ];
    for (boot, (what, streams)) in cases.into_iter().enumerate() {
        let id = NodeId::new(name("x"), boot as u64 + 1, 5);
        runtime.block_on(async {
            let endpoint = client(Some(&own), &own, ALPN);
            let (connection, _send) = greet(&endpoint, addr, &id).await.expect("a good certificate");
            let mut open = Vec::new();
            for bytes in streams {
                let mut stream = connection.open_uni().await.expect("a stream");
                stream.write_all(&bytes).await.expect("written");
                open.push(stream);
            }
            let closed = tokio::time::timeout(common::PATIENCE, connection.closed()).await;
            let closed = closed.unwrap_or_else(|_| panic!("{what}: still there"));
            assert!(
                matches!(&closed, quinn::ConnectionError::ApplicationClosed(c) if c.error_code == 3u32.into()),
                "{what}: {closed}"
            );
        });
    }
    assert_eq!(nodes[0].cluster.metrics().protocol_errors, 4);
    settle(&mut nodes);
}

#[test]
fn streams_datagrams_and_hellos_of_a_peer_are_bounded() {
    let ca = ca();
    let mut nodes = group(&ca, 2);
    let own = ca.issue(&name("x")).expect("a certificate");
    let addr = nodes[0].cluster.local_addr();
    let runtime = runtime();
    runtime.block_on(async {
        let endpoint = client(Some(&own), &own, ALPN);
        // A hello that is none, and one that never ends.
        for bytes in [&b"\0\0\0\x05hello"[..], b"\xff\xff\xff\xff"] {
            let connection = endpoint.connect(addr, SERVER_NAME).expect("dialled").await.expect("a good certificate");
            let (mut send, _recv) = connection.open_bi().await.expect("a stream");
            send.write_all(bytes).await.expect("written");
            tokio::time::timeout(common::PATIENCE, connection.closed()).await.expect("it is closed");
        }
        let id = NodeId::new(name("x"), 1, 5);
        let (connection, _send) = greet(&endpoint, addr, &id).await.expect("a good certificate");
        let mut open = Vec::new();
        for lane in Lane::ALL {
            let mut stream = connection.open_uni().await.expect("a stream");
            stream.write_all(&[lane as u8]).await.expect("written");
            open.push(stream);
        }
        let fourth = tokio::time::timeout(Duration::from_millis(500), connection.open_uni()).await;
        assert!(fourth.is_err(), "no more than three streams");
        for n in 0..5000u32 {
            let _ = connection.send_datagram(vec![n as u8; n as usize % 1100].into());
        }
        // Garbage is merely dropped; but who never answers a probe is down, and a silent session is hung up.
        let closed = tokio::time::timeout(common::PATIENCE, connection.closed()).await.expect("it is closed");
        assert!(
            matches!(&closed, quinn::ConnectionError::ApplicationClosed(c) if c.error_code == 1u32.into()),
            "{closed}"
        );
    });
    nodes[1].drain(Duration::from_millis(200));
    let [one, other] = [&nodes[0], &nodes[1]].map(|node| node.id());
    assert_eq!((nodes[1].status(&one), nodes[0].status(&other)), (Some(Status::Up), Some(Status::Up)));
    assert_eq!(nodes[0].cluster.metrics().protocol_errors, 0);
    assert_eq!(nodes[0].status(&NodeId::new(name("x"), 1, 5)), Some(Status::Down));
    settle(&mut nodes);
}

/// What this process has in memory, in bytes.
fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("there is one");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it tells");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}

/// Who takes a byte now and then, time after time: each session costs a lane at most, and leaves nothing.
#[test]
fn who_reads_a_byte_at_a_time_costs_a_lane_and_delays_nobody() {
    const ROUNDS: u64 = 6;
    let ca = ca();
    let mut nodes = group(&ca, 2);
    let own = ca.issue(&name("x")).expect("a certificate");
    let addr = nodes[0].cluster.local_addr();
    let runtime = runtime();
    let endpoint = runtime.block_on(async { client(Some(&own), &own, ALPN) });
    let frame = Bytes::from(vec![1; 256 * 1024]);
    let mut resident = Vec::new();
    for boot in 1..=ROUNDS {
        let id = NodeId::new(name("x"), boot, 5);
        let (connection, _send) = runtime.block_on(greet(&endpoint, addr, &id)).expect("a good certificate");
        nodes[0].until(|node| node.cluster.is_connected(&id));
        let mut lane = runtime.block_on(connection.accept_uni()).expect("a lane");
        let other = nodes[1].id();
        while nodes[0].cluster.is_connected(&id) {
            nodes[0].cluster.send(&id, Lane::Bulk, frame.clone());
            nodes[0].cluster.send(&other, Lane::Delta, Bytes::from_static(b"ping"));
            nodes[1].until_event(|event| matches!(event, ClusterEvent::Frame { .. }));
            runtime.block_on(async {
                let one = &mut [0];
                // Of a lane that carries nothing there is no second byte.
                let _ = tokio::time::timeout(Duration::from_millis(1), lane.read(one)).await;
            });
        }
        assert_eq!(nodes[0].cluster.metrics().lanes_overflowed, boot);
        runtime.block_on(connection.closed());
        nodes[0].until_seen(&ClusterEvent::Disconnected(id));
        resident.push(resident_bytes());
    }
    println!("resident after each: {:?} MiB", resident.iter().map(|bytes| bytes >> 20).collect::<Vec<_>>());
    let (first, last) = (resident[0], resident[resident.len() - 1]);
    assert!(last < first + 2 * LANE_BYTES_MAX, "{resident:?}");
    settle(&mut nodes);
}
