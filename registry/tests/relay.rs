//! Many replicas: what one writes is passed on by relays, and comes also where one of them is gone.

mod common;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use common::{K, Message, V, node};
use ordu_registry::core::delta::Purpose;
use ordu_registry::core::digest::turn_of_all;
use ordu_registry::core::relay::OTHER_RELAYS;
use ordu_registry::core::sync::{Limits, Outgoing, REPAIR_INTERVAL, Replica};
use ordu_registry::core::table::Kind;
use ordu_transport::core::overlay::RINGS;
use ordu_transport::core::{Instant, NodeId, Overlay};

/// Replicas, all with sessions to all, of which each speaks to its neighbours. Frames between a pair stay in order.
struct Mesh {
    replicas: Vec<Replica<K, V>>,
    ids: Vec<NodeId>,
    limits: Limits,
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
            replica.set_counted(std::sync::Arc::new(ids.iter().filter(|id| *id != own).cloned().collect()));
        }
        let (wires, dead, deltas, sent) = Default::default();
        let mut mesh = Self { replicas, ids, limits, now: Instant::from_micros(1), wires, dead, deltas, sent };
        for at in 0..nodes {
            for peer in (0..nodes).filter(|peer| *peer != at) {
                mesh.connect(at, peer);
            }
        }
        mesh.look();
        mesh.settle();
        mesh
    }

    /// All see who lives, and decide to whom they speak.
    fn look(&mut self) {
        let living = (0..self.ids.len()).filter(|at| !self.dead.contains(at));
        let living: Vec<NodeId> = living.map(|at| self.ids[at].clone()).collect();
        for at in 0..self.ids.len() {
            let replica = &self.replicas[at];
            let reach = |id: &NodeId| replica.has_session(id);
            let large = living.len() > self.limits.mesh.direct_peers + 1;
            let overlay = large.then(|| Overlay::new(&self.ids[at], living.clone(), self.limits.mesh.rings, reach));
            let mut out = Vec::new();
            self.replicas[at].set_overlay(overlay.map(Arc::new), &mut out);
            self.send(at, out);
        }
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

fn overlay(ids: &[NodeId], at: usize, rings: usize) -> Overlay {
    Overlay::new(&ids[at], ids.to_vec(), rings, |_| true)
}

fn limits(direct_peers: usize, rings: usize) -> Limits {
    Limits { mesh: ordu_transport::core::overlay::Mesh { direct_peers, rings }, ..Limits::default() }
}

#[test]
fn an_event_costs_its_origin_a_few_messages_and_everybody_one() {
    for kind in [Kind::OwnerWritten, Kind::Shared] {
        let mut mesh = Mesh::new(kind, 100, Limits::default());
        (mesh.deltas, mesh.sent) = Default::default();
        mesh.write(17, 1, 1);
        mesh.settle();
        assert_eq!(mesh.behind(), []);
        let told: usize = mesh.deltas.values().sum();
        assert!((99..=99 + 2 * OTHER_RELAYS).contains(&told), "{told}: hardly anybody is told twice");
        assert!(mesh.deltas.values().all(|deltas| *deltas <= 2 * RINGS), "{:?}", mesh.deltas);
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
        // The root of the tree is beside many.
        let root = |at: &usize| overlay(&mesh.ids, *at, 3).parent().is_none();
        let first = (0..60).find(root).expect("a root");
        mesh.write(0, 0, 0);
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
        mesh.look();
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
        mesh.look();
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
fn removals_leave_all_logs_soon_however_many_nodes_there_are() {
    for nodes in [40, 200] {
        let mut mesh = Mesh::new(Kind::OwnerWritten, nodes, Limits::default());
        mesh.write(0, 1, 1);
        mesh.remove(0, 1);
        mesh.settle();
        for _ in 0..3 {
            mesh.pass(REPAIR_INTERVAL.mul_f64(1.25));
        }
        assert!(mesh.replicas.iter().all(|replica| replica.table().removals_len() == 0), "they stay");
    }
}

/// That all are alike is known within a turn of the few that each speaks to, and not before all are.
#[test]
fn all_know_that_all_are_alike() {
    let mut mesh = Mesh::new(Kind::Shared, 60, Limits::default());
    let since = mesh.now;
    mesh.write(0, 1, 1);
    let last = mesh.wires.iter().map(|(_, to, _)| *to).next_back().expect("a relay");
    // One that has not heard is enough.
    mesh.dead.insert(last);
    mesh.settle();
    let is_alike = |mesh: &Mesh, at: usize| mesh.replicas[at].is_alike(mesh.ids.iter(), since);
    for _ in 0..4 {
        mesh.pass(REPAIR_INTERVAL.mul_f64(1.25));
        assert!((0..60).all(|at| !is_alike(&mesh, at)), "one has not heard");
    }
    mesh.dead.clear();
    let mut waited = Duration::ZERO;
    while !(0..60).all(|at| is_alike(&mesh, at)) {
        assert!(waited <= turn_of_all(2 * RINGS) + 3 * REPAIR_INTERVAL, "they do not know");
        mesh.pass(REPAIR_INTERVAL.mul_f64(1.25));
        waited += REPAIR_INTERVAL.mul_f64(1.25);
    }
    assert_eq!(mesh.behind(), []);
}

/// Where somebody writes all the time states never meet: the root asks about its clock instead.
#[test]
fn removals_leave_the_logs_while_others_write() {
    let mut mesh = Mesh::new(Kind::OwnerWritten, 60, limits(8, 3));
    mesh.write(0, 1, 1);
    mesh.remove(0, 1);
    for round in 0..45_u32 {
        for at in (1..60).step_by(7) {
            mesh.write(at, at as u8, round);
        }
        mesh.pass(REPAIR_INTERVAL.mul_f64(0.6));
    }
    let left: Vec<usize> = (0..60).filter(|at| mesh.replicas[*at].table().removals_len() > 0).collect();
    assert_eq!(left, []);
}

/// Some that cannot speak to each other, though all others can to both, and stand next to each other in the tree.
#[test]
fn pairs_that_are_cut_off_from_each_other_hold_nobody_up() {
    for writes in [false, true] {
        let mut mesh = Mesh::new(Kind::Shared, 60, limits(8, 3));
        let at_of = |id: &NodeId, mesh: &Mesh| mesh.ids.iter().position(|other| other == id).expect("a member");
        // The root and two of its children, and one further down that has children of its own.
        let root = (0..60).find(|at| overlay(&mesh.ids, *at, 3).parent().is_none()).expect("a root");
        let mut cut: Vec<(usize, usize)> =
            overlay(&mesh.ids, root, 3).children().iter().take(2).map(|id| (at_of(id, &mesh), root)).collect();
        cut.extend((0..60).find_map(|at| {
            let overlay = overlay(&mesh.ids, at, 3);
            let parent = at_of(overlay.parent().filter(|_| !overlay.children().is_empty())?, &mesh);
            (parent != root).then_some((at, parent))
        }));
        assert_eq!(cut.len(), 3);
        cut.iter().for_each(|&(one, other)| mesh.disconnect(one, other));
        mesh.look();
        mesh.write(5, 1, 1);
        mesh.remove(5, 1);
        mesh.write(6, 2, 1);
        let since = mesh.now;
        for round in 0..30 {
            mesh.pass(REPAIR_INTERVAL.mul_f64(1.25));
            if writes {
                mesh.write(7 + round, 3, round as u32);
            }
        }
        let left: Vec<usize> = (0..60).filter(|at| mesh.replicas[*at].table().removals_len() > 0).collect();
        assert_eq!(left, [], "they stay, {writes}");
        mesh.settle();
        for _ in 0..8 {
            mesh.pass(REPAIR_INTERVAL.mul_f64(1.25));
        }
        assert_eq!(mesh.behind(), []);
        assert!(mesh.replicas.iter().all(|replica| replica.is_alike(mesh.ids.iter(), since)), "they do not know");
    }
}

/// Two that see different members may each hold the other for the one above; neither answers the other for ever.
#[test]
fn where_views_differ_questions_come_to_an_end() {
    let mut mesh = Mesh::new(Kind::Shared, 40, limits(8, 2));
    for at in 0..40 {
        let (unseen, mut out) = ((at + 1 + at % 5) % 40, Vec::new());
        let members = mesh.ids.iter().enumerate().filter(|(of, _)| *of != unseen).map(|(_, id)| id.clone()).collect();
        let overlay = Overlay::new(&mesh.ids[at], members, 2, |_| true);
        mesh.replicas[at].set_overlay(Some(Arc::new(overlay)), &mut out);
        mesh.send(at, out);
    }
    mesh.settle();
    mesh.write(3, 1, 1);
    for _ in 0..20 {
        mesh.sent.clear();
        mesh.pass(REPAIR_INTERVAL.mul_f64(1.25));
    }
    let sent = mesh.sent.values().max().expect("some");
    assert!(*sent < 60, "{sent} messages in an interval");
    assert_eq!(mesh.behind(), []);
}

/// Once all are known to have had the same, everybody has been heard, those too to whom one does not speak.
#[test]
fn who_had_what_all_had_was_heard() {
    let mut mesh = Mesh::new(Kind::OwnerWritten, 60, Limits::default());
    mesh.write(0, 1, 1);
    for _ in 0..3 {
        mesh.pass(REPAIR_INTERVAL.mul_f64(1.25));
    }
    let others = |at: usize| (0..60).filter(move |other| *other != at);
    assert!((0..60).all(|at| others(at).all(|other| mesh.replicas[at].has_heard(&mesh.ids[other]))));
    let away = mesh.ids[59].clone();
    // Who was down in between is heard for itself, whether one speaks to it or not.
    mesh.replicas[0].unhear(&away);
    assert!(!mesh.replicas[0].has_heard(&away));
    for _ in 0..3 {
        mesh.pass(REPAIR_INTERVAL.mul_f64(1.25));
    }
    assert!(mesh.replicas[0].has_heard(&away));
}

/// Where states never meet, newcomers are asked one after the other.
#[test]
fn newcomers_are_heard_while_others_write() {
    let mut mesh = Mesh::new(Kind::OwnerWritten, 60, limits(8, 3));
    let ids = mesh.ids.clone();
    ids.iter().for_each(|id| mesh.replicas[0].unhear(id));
    for round in 0..24_u32 {
        for at in (1..60).step_by(7) {
            mesh.write(at, at as u8, round);
        }
        mesh.pass(REPAIR_INTERVAL.mul_f64(0.6));
    }
    let unheard = (1..60).filter(|at| !mesh.replicas[0].has_heard(&mesh.ids[*at]));
    assert_eq!(unheard.collect::<Vec<_>>(), []);
}

/// Whoever was among those that are known to have had something, and is away, had it.
#[test]
fn who_is_away_keeps_removals_of_later_and_not_of_before() {
    let mut mesh = Mesh::new(Kind::OwnerWritten, 40, Limits::default());
    mesh.write(0, 1, 1);
    mesh.write(0, 2, 1);
    for _ in 0..3 {
        mesh.pass(REPAIR_INTERVAL.mul_f64(1.25));
    }
    mesh.dead.insert(39);
    mesh.look();
    mesh.remove(0, 1);
    for _ in 0..6 {
        mesh.pass(REPAIR_INTERVAL.mul_f64(1.25));
    }
    assert!((0..39).all(|at| mesh.replicas[at].table().removals_len() == 1), "it went, and one does not know of it");
    mesh.dead.clear();
    mesh.look();
    for _ in 0..6 {
        mesh.pass(REPAIR_INTERVAL.mul_f64(1.25));
    }
    assert!(mesh.replicas.iter().all(|replica| replica.table().removals_len() == 0), "it stays");
    assert_eq!(mesh.behind(), []);
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
        for _ in 0..3 {
            mesh.pass(REPAIR_INTERVAL * 2);
        }
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
    let purposes: Vec<Purpose> = purposes.collect();
    assert!(!purposes.is_empty() && purposes.iter().all(|purpose| *purpose == Purpose::Relay));
}
