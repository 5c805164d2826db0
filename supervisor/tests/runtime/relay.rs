//! A network that can be cut: every node is dialled at a relay's address, and the relays drop what crosses the cut.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;

const PACKET_BYTES_MAX: usize = 65_536;

/// The side of the cut on which each node is, by the address from which it sends. Nodes that are not named are on side 0.
#[derive(Clone, Default)]
pub struct Network {
    sides: Arc<Mutex<BTreeMap<SocketAddr, u8>>>,
}

impl Network {
    pub fn set_side(&self, node: SocketAddr, side: u8) {
        self.sides.lock().unwrap().insert(node, side);
    }

    fn passes(&self, one: SocketAddr, other: SocketAddr) -> bool {
        let sides = self.sides.lock().unwrap();
        sides.get(&one).unwrap_or(&0) == sides.get(&other).unwrap_or(&0)
    }
}

/// The address at which others dial one node.
pub struct Relay {
    socket: Arc<UdpSocket>,
}

impl Relay {
    pub async fn bind() -> Self {
        Self { socket: Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap()) }
    }

    pub fn addr(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    /// Relays between everybody who sends here and `node`, until the runtime ends.
    pub async fn run(self, node: SocketAddr, network: Network) {
        // The node sees each sender at an address of its own, as behind a NAT.
        let mut upstreams: BTreeMap<SocketAddr, Arc<UdpSocket>> = BTreeMap::new();
        let mut packet = vec![0; PACKET_BYTES_MAX];
        loop {
            let Ok((len, from)) = self.socket.recv_from(&mut packet).await else { continue };
            if !network.passes(from, node) {
                continue;
            }
            let upstream = match upstreams.entry(from) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    let upstream = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
                    tokio::spawn(back(upstream.clone(), self.socket.clone(), from, node, network.clone()));
                    new.insert(upstream)
                }
            };
            // A node that is gone refuses packets; that is its matter.
            let _ = upstream.send_to(&packet[..len], node).await;
        }
    }
}

async fn back(upstream: Arc<UdpSocket>, relay: Arc<UdpSocket>, to: SocketAddr, node: SocketAddr, network: Network) {
    let mut packet = vec![0; PACKET_BYTES_MAX];
    loop {
        let Ok((len, _)) = upstream.recv_from(&mut packet).await else { continue };
        if network.passes(to, node) {
            let _ = relay.send_to(&packet[..len], to).await;
        }
    }
}
