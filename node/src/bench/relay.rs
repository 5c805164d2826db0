//! Relays between nodes: each stands before one node, at the address that the others dial, and passes on what comes. A
//! node can be cut off from all others, without any hook in the nodes; what passes is counted.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use super::LOOPBACK;

/// Longest packet, in bytes.
const PACKET_BYTES_MAX: usize = 1 << 16;

/// The relays before all nodes, in their order. They end with it.
pub(super) struct Relays {
    network: Arc<Network>,
    relays: Vec<Relay>,
}

struct Relay {
    address: SocketAddr,
    forwarding: JoinHandle<()>,
}

/// What all relays know.
#[derive(Default)]
struct Network {
    state: Mutex<State>,
    bytes: AtomicU64,
}

#[derive(Default)]
struct State {
    /// Where each node listens.
    targets: BTreeMap<usize, SocketAddr>,
    /// The one that is cut off.
    cut: Option<SocketAddr>,
}

impl Relays {
    /// Relays for so many nodes.
    ///
    /// # Errors
    /// If a socket cannot be bound.
    pub(super) async fn start(count: usize) -> std::io::Result<Self> {
        let network = Arc::new(Network::default());
        let mut relays = Vec::new();
        for index in 0..count {
            let socket = Arc::new(UdpSocket::bind(LOOPBACK).await?);
            let address = socket.local_addr()?;
            let forwarding = tokio::spawn(forward(index, socket, network.clone()));
            relays.push(Relay { address, forwarding });
        }
        Ok(Self { network, relays })
    }

    /// What others dial to reach this node.
    pub(super) fn address(&self, index: usize) -> Option<SocketAddr> {
        self.relays.get(index).map(|relay| relay.address)
    }

    /// Says where a node listens; until then what is meant for it is lost.
    pub(super) fn set_target(&self, index: usize, target: SocketAddr) {
        self.network.state().targets.insert(index, target);
    }

    /// From now on everything from and to this node is lost.
    pub(super) fn cut_off(&self, index: usize) {
        let mut state = self.network.state();
        state.cut = state.targets.get(&index).copied();
    }

    /// From now on everything passes.
    pub(super) fn restore(&self) {
        self.network.state().cut = None;
    }

    /// UDP payload that has passed so far, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.network.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Relays {
    fn drop(&mut self) {
        for relay in &self.relays {
            relay.forwarding.abort();
        }
    }
}

impl Network {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a packet to node `index` goes; nowhere if the link is cut.
    fn route(&self, from: SocketAddr, index: usize) -> Option<SocketAddr> {
        let state = self.state();
        let to = state.targets.get(&index).copied()?;
        (state.cut != Some(from) && state.cut != Some(to)).then_some(to)
    }

    fn count(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// Passes packets on to one node. It sees each sender at an address of its own, as behind a NAT.
async fn forward(index: usize, relay: Arc<UdpSocket>, network: Arc<Network>) {
    let mut upstreams: BTreeMap<SocketAddr, Upstream> = BTreeMap::new();
    let mut packet = vec![0; PACKET_BYTES_MAX];
    loop {
        // An error here is about an earlier packet, whose receiver is gone.
        let Ok((len, from)) = relay.recv_from(&mut packet).await else { continue };
        let Some(to) = network.route(from, index) else { continue };
        let upstream = match upstreams.entry(from) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let Ok(socket) = UdpSocket::bind(LOOPBACK).await.map(Arc::new) else { continue };
                let back = tokio::spawn(back(index, socket.clone(), relay.clone(), from, network.clone()));
                new.insert(Upstream { socket, back })
            }
        };
        if upstream.socket.send_to(&packet[..len], to).await.is_ok() {
            network.count(len);
        }
    }
}

/// A sender as its receiver sees it.
struct Upstream {
    socket: Arc<UdpSocket>,
    back: JoinHandle<()>,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.back.abort();
    }
}

/// Passes back what node `index` answers to one sender.
async fn back(index: usize, upstream: Arc<UdpSocket>, relay: Arc<UdpSocket>, to: SocketAddr, network: Arc<Network>) {
    let mut packet = vec![0; PACKET_BYTES_MAX];
    loop {
        let Ok((len, _)) = upstream.recv_from(&mut packet).await else { continue };
        // The same link, the other way.
        if network.route(to, index).is_some() && relay.send_to(&packet[..len], to).await.is_ok() {
            network.count(len);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn packets_pass_both_ways_until_a_node_is_cut_off() {
        let relays = Relays::start(2).await.unwrap();
        let nodes = [UdpSocket::bind(LOOPBACK).await.unwrap(), UdpSocket::bind(LOOPBACK).await.unwrap()];
        for (index, node) in nodes.iter().enumerate() {
            relays.set_target(index, node.local_addr().unwrap());
        }
        let mut packet = [0; 16];
        nodes[0].send_to(b"ping", relays.address(1).unwrap()).await.unwrap();
        let (len, from) = nodes[1].recv_from(&mut packet).await.unwrap();
        assert_eq!(&packet[..len], b"ping");
        nodes[1].send_to(b"pong!", from).await.unwrap();
        let (len, _) = nodes[0].recv_from(&mut packet).await.unwrap();
        assert_eq!((&packet[..len], relays.bytes()), (&b"pong!"[..], 9));

        relays.cut_off(0);
        nodes[0].send_to(b"ping", relays.address(1).unwrap()).await.unwrap();
        nodes[1].send_to(b"pong", from).await.unwrap();
        for node in &nodes {
            let came = timeout(Duration::from_millis(50), node.recv_from(&mut packet)).await;
            assert!(came.is_err(), "{came:?}");
        }
        relays.restore();
        nodes[0].send_to(b"back", relays.address(1).unwrap()).await.unwrap();
        let (len, _) = nodes[1].recv_from(&mut packet).await.unwrap();
        assert_eq!((&packet[..len], relays.bytes()), (&b"back"[..], 13));
    }
}
