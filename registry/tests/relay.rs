//! Many replicas: what one writes is passed on by relays, and comes also where one of them is gone.

mod common;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use common::{K, Message, V, node};
use ordu_registry::core::delta::Purpose;
use ordu_registry::core::digest::turn_of_all;
use ordu_registry::core::relay::FAN_OUT;
use ordu_registry::core::sync::{Limits, Outgoing, REPAIR_INTERVAL, Replica};
use ordu_registry::core::table::Kind;
use ordu_transport::core::{Instant, NodeId};

/// Replicas, all with sessions to all. Frames between a pair stay in order.
struct Mesh {
    replicas: Vec<Replica<K, V>>,
    ids: Vec<NodeId>,
    now: Instant,
    wires: VecDeque<(usize, usize, Message)>,
    /// Who neither hears nor is heard, though sessions live.
    dead: BTreeSet<usize>,
    /// Deltas that each has sent.
    deltas: BTreeMap<usize, usize>,
    /// Messages that each has sent.
    sent: BTreeMap<usize, usize>,
}

impl Mesh {
    fn new(kind: Kind, nodes: usize, limits: Limits) -> Self {
        let ids: Vec<NodeId> = (0..nodes).map(|at| node(&format!("n{at}"))).collect();
        let mut replicas: Vec<Replica<K, V>> =
            ids.iter().zip(0..).map(|(id, seed)| Replica::new(kind, id.clone(), seed)).collect();
        for (replica, own) in replicas.iter_mut().zip(&ids) {
            replica.set_limits(limits);
            replica.set_counted(ids.iter().filter(|id| *id != own).cloned().collect());
        }
        let (wires, dead, deltas, sent) = Default::default();
        let mut mesh = Self { replicas, ids, now: Instant::from_micros(1), wires, dead, deltas, sent };
        for at in 0..nodes {
            for peer in (0..nodes).filter(|peer| *peer != at) {
                mesh.connect(at, peer);
            }
        }
        mesh.settle();
        mesh
    }

    /// One end of a session begins.
    fn connect(&mut self, at: usize, peer: usize) {
        let mut out = Vec::new();
        self.replicas[at].connected(&self.ids[peer], &mut out);
        self.send(at, out);
    }

    fn disconnect(&mut self, one: usize, other: usize) {
        for (at, peer) in [(one, other), (other, one)] {
            self.wires.retain(|(from, to, _)| (*from, *to) != (at, peer));
            self.replicas[at].disconnected(&self.ids[peer]);
        }
    }

    fn send(&mut self, from: usize, out: Vec<Outgoing<K, V>>) {
        for Outgoing { to, message, .. } in out {
            for to in to {
                let to = self.ids.iter().position(|id| *id == to).expect("a known peer");
                *self.sent.entry(from).or_default() += 1;
                *self.deltas.entry(from).or_default() += usize::from(matches!(message, Message::Delta { .. }));
                self.wires.push_back((from, to, message.clone()));
            }
        }
    }

    fn settle(&mut self) {
        while let Some((from, to, message)) = self.wires.pop_front() {
            if self.dead.contains(&from) || self.dead.contains(&to) {
                continue;
            }
            let mut out = Vec::new();
            self.replicas[to].handle(self.now, &self.ids[from], message, &mut out);
            self.replicas[to].flush(&mut out);
            self.send(to, out);
        }
    }

    fn write(&mut self, at: usize, key: u8, value: u32) {
        let mut out = Vec::new();
        self.replicas[at].put(K(key), V(value));
        self.replicas[at].flush(&mut out);
        self.send(at, out);
    }

    fn remove(&mut self, at: usize, key: u8) {
        let mut out = Vec::new();
        assert!(self.replicas[at].remove(&K(key)), "it is there");
        self.replicas[at].flush(&mut out);
        self.send(at, out);
    }

    fn pass(&mut self, by: Duration) {
        self.now = self.now + by;
        for at in 0..self.replicas.len() {
            let mut out = Vec::new();
            self.replicas[at].handle_timeout(self.now, &mut out);
            self.replicas[at].flush(&mut out);
            self.send(at, out);
        }
        self.settle();
    }

    /// Who of the living does not hold what the first does.
    fn behind(&self) -> Vec<usize> {
        let living = (0..self.replicas.len()).filter(|at| !self.dead.contains(at));
        living.filter(|&at| self.replicas[at].table() != self.replicas[0].table()).collect()
    }
}

fn limits(direct_peers: usize, fan_out: usize) -> Limits {
    Limits { direct_peers, fan_out, ..Limits::default() }
}

#[test]
fn an_event_costs_its_origin_a_few_messages_and_everybody_one() {
    for kind in [Kind::OwnerWritten, Kind::Shared] {
        let mut mesh = Mesh::new(kind, 100, Limits::default());
        (mesh.deltas, mesh.sent) = Default::default();
        mesh.write(17, 1, 1);
        mesh.settle();
        assert_eq!(mesh.behind(), []);
        assert_eq!(mesh.deltas.values().sum::<usize>(), 99, "nobody is told twice");
        assert_eq!(mesh.deltas.values().max(), Some(&FAN_OUT));
        assert_eq!(mesh.deltas[&17], FAN_OUT);
    }
}

#[test]
fn few_are_told_directly() {
    let mut mesh = Mesh::new(Kind::OwnerWritten, 32, Limits::default());
    mesh.deltas.clear();
    mesh.write(3, 1, 1);
    mesh.settle();
    assert_eq!((mesh.behind(), mesh.deltas[&3], mesh.deltas.values().sum()), (vec![], 31, 31));
}

#[test]
fn the_branch_of_a_dead_relay_hears_by_repair() {
    for kind in [Kind::OwnerWritten, Kind::Shared] {
        let mut mesh = Mesh::new(kind, 60, limits(8, 3));
        // The first relay of n0 passes on to three branches.
        let mut out = Vec::new();
        mesh.replicas[0].put(K(0), V(0));
        mesh.replicas[0].flush(&mut out);
        let first = mesh.ids.iter().position(|id| *id == out[0].to[0]).expect("a peer");
        mesh.send(0, out);
        mesh.dead.insert(first);
        mesh.settle();
        assert!(!mesh.behind().is_empty(), "its branch has not heard");
        for _ in 0..3 {
            mesh.pass(REPAIR_INTERVAL.mul_f64(1.25));
        }
        assert_eq!(mesh.behind(), []);
        // It is noticed that the relay is dead: the tree is another one. Whoever is told of the next event by one who knows of
        // the last asks for that at once.
        mesh.write(0, 1, 1);
        mesh.settle();
        let lacked = mesh.behind().len();
        for at in (0..60).filter(|at| *at != first) {
            mesh.disconnect(at, first);
        }
        mesh.write(0, 2, 2);
        mesh.settle();
        assert!(mesh.behind().len() < lacked, "{:?} of {lacked}", mesh.behind());
        for _ in 0..3 {
            mesh.pass(REPAIR_INTERVAL.mul_f64(1.25));
        }
        assert_eq!(mesh.behind(), []);
    }
}

/// What was written is superseded and removed by others while views differ; all the same everybody ends with the same.
#[test]
fn where_views_differ_nothing_is_lost() {
    for kind in [Kind::OwnerWritten, Kind::Shared] {
        let mut mesh = Mesh::new(kind, 12, limits(3, 2));
        for (one, other) in [(0, 5), (3, 4), (7, 2), (1, 11)] {
            mesh.disconnect(one, other);
        }
        for round in 0..40_u8 {
            let at = usize::from(round) * 7 % 12;
            mesh.write(at, round % 5, u32::from(round));
            if round % 3 == 0 {
                mesh.remove(at, round % 5);
            }
            if round % 4 == 0 {
                mesh.settle();
            }
        }
        mesh.settle();
        for _ in 0..8 {
            mesh.pass(REPAIR_INTERVAL.mul_f64(1.25));
        }
        assert_eq!(mesh.behind(), []);
    }
}

#[test]
fn removals_leave_all_logs_within_a_turn_of_all() {
    let mut mesh = Mesh::new(Kind::OwnerWritten, 40, Limits::default());
    mesh.write(0, 1, 1);
    mesh.remove(0, 1);
    mesh.settle();
    let mut waited = Duration::ZERO;
    while mesh.replicas.iter().any(|replica| replica.table().removals_len() > 0) {
        assert!(waited <= turn_of_all(39) + 2 * REPAIR_INTERVAL, "they stay");
        mesh.pass(REPAIR_INTERVAL.mul_f64(1.25));
        waited += REPAIR_INTERVAL.mul_f64(1.25);
    }
}

/// At rest nothing is sent but digests, as many by each in a large cluster as in a small one.
#[test]
fn at_rest_the_size_of_the_cluster_costs_nothing() {
    for nodes in [4, 20, 60] {
        let mut mesh = Mesh::new(Kind::OwnerWritten, nodes, Limits::default());
        for at in 0..nodes {
            mesh.write(at, at as u8, 1);
        }
        mesh.settle();
        mesh.pass(REPAIR_INTERVAL * 2);
        assert_eq!(mesh.behind(), []);
        (mesh.deltas, mesh.sent) = Default::default();
        mesh.pass(REPAIR_INTERVAL * 2);
        assert!(mesh.sent.values().all(|sent| *sent == 2), "{nodes}: {:?}", mesh.sent);
    }
}

#[test]
fn a_relay_says_so() {
    let mut mesh = Mesh::new(Kind::OwnerWritten, 40, Limits::default());
    mesh.write(0, 1, 1);
    let purposes = mesh.wires.iter().filter_map(|(_, _, message)| match message {
        Message::Delta { closing: Some(closing), .. } => Some(closing.purpose),
        _ => None,
    });
    assert!(purposes.eq([Purpose::Relay; FAN_OUT]));
}
