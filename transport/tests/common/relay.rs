//! A relay in front of a node, which can go silent: a partition without any hook in the node.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;
use tokio::runtime::Runtime;

/// Forwards whatever comes to its own address, except for whom it is cut off from.
pub struct Relay {
    pub addr: SocketAddr,
    target: Arc<Mutex<Option<SocketAddr>>>,
    cut: Arc<Mutex<BTreeSet<SocketAddr>>>,
}

impl Relay {
    pub fn start(runtime: &Runtime) -> Self {
        runtime.block_on(async {
            let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.expect("a port"));
            let relay = Self { addr: socket.local_addr().expect("bound"), target: Arc::default(), cut: Arc::default() };
            tokio::spawn(forward(socket, relay.target.clone(), relay.cut.clone()));
            relay
        })
    }

    pub fn set_target(&self, target: SocketAddr) {
        *self.target.lock().expect("whole") = Some(target);
    }

    /// Drops everything from and to this one.
    pub fn cut(&self, from: SocketAddr) {
        self.cut.lock().expect("whole").insert(from);
    }

    pub fn heal(&self) {
        self.cut.lock().expect("whole").clear();
    }
}

async fn forward(
    socket: Arc<UdpSocket>,
    target: Arc<Mutex<Option<SocketAddr>>>,
    cut: Arc<Mutex<BTreeSet<SocketAddr>>>,
) {
    let mut upstreams: BTreeMap<SocketAddr, Arc<UdpSocket>> = BTreeMap::new();
    let mut bytes = vec![0; 65536];
    loop {
        // An error here is about an earlier packet, whose receiver is gone.
        let Ok((len, from)) = socket.recv_from(&mut bytes).await else { continue };
        let Some(to) = *target.lock().expect("whole") else { continue };
        if cut.lock().expect("whole").contains(&from) {
            continue;
        }
        let upstream = match upstreams.get(&from) {
            Some(upstream) => upstream.clone(),
            None => {
                let upstream = Arc::new(UdpSocket::bind("127.0.0.1:0").await.expect("a port"));
                upstreams.insert(from, upstream.clone());
                tokio::spawn(back(upstream.clone(), socket.clone(), from, cut.clone()));
                upstream
            }
        };
        let _ = upstream.send_to(&bytes[..len], to).await;
    }
}

async fn back(upstream: Arc<UdpSocket>, socket: Arc<UdpSocket>, to: SocketAddr, cut: Arc<Mutex<BTreeSet<SocketAddr>>>) {
    let mut bytes = vec![0; 65536];
    loop {
        let Ok((len, _)) = upstream.recv_from(&mut bytes).await else { continue };
        if !cut.lock().expect("whole").contains(&to) {
            let _ = socket.send_to(&bytes[..len], to).await;
        }
    }
}
