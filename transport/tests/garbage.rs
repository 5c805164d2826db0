//! Garbage on a node's port changes nothing. Alone in its process: it counts the files that are open there.
#![cfg(feature = "runtime")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real nodes in real time")]

mod common;

use std::net::UdpSocket;
use std::time::Duration;

use common::{group, settle};
use ordu_transport::{CertificateAuthority, ClusterEvent};

#[test]
fn garbage_on_the_port_changes_nothing() {
    let mut nodes = group(&CertificateAuthority::generate().expect("a CA"), 2);
    let addr = nodes[0].cluster.local_addr();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let files = open_files();
    for n in 0..20_000usize {
        let mut bytes = vec![0; n % 1400];
        for byte in &mut bytes {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = state as u8;
        }
        // Every other one looks like a first packet of QUIC.
        if n % 2 == 0 && bytes.len() > 6 {
            bytes[..5].copy_from_slice(&[0xc0, 0, 0, 0, 1]);
        }
        let _ = socket.send_to(&bytes, addr);
    }
    for node in &mut nodes {
        node.drain(Duration::from_millis(1500));
        assert!(!node.seen.iter().any(|event| matches!(event, ClusterEvent::Disconnected(_))), "{:?}", node.seen);
        assert_eq!(node.cluster.view().living().count(), 2);
    }
    assert!(open_files() <= files + 2, "{files} files before, {} after", open_files());
    settle(&mut nodes);
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}
