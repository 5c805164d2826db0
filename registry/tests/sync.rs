//! Replicas with their cursors, over sessions that are cut wherever it hurts.
#![allow(
    clippy::disallowed_methods,
    reason = "the bans are for the cores; how many cases are tried comes from outside"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use common::{K, Message, V, boot, node};
use ordu_registry::core::clock::{Clock, Dot};
use ordu_registry::core::delta::{self, Payload};
use ordu_registry::core::reconcile::Progress;
use ordu_registry::core::retire::Retired;
use ordu_registry::core::sync::{
    ACK_DELAY, DELTA_BYTES_MAX, Limits, Outgoing, PART_BYTES_MAX, PULL_PATIENCE, PUSH_BYTES_MAX, PUSH_EVENTS_MAX,
    PUSH_WINDOW_EVENTS, PUSHES_IN_FLIGHT_MAX, REPAIR_INTERVAL, Replica, SMALL_PUSH_BYTES, SMALL_PUSH_EVENTS,
    SMALL_PUSHES_MAX, SMALL_PUSHES_WEIGH,
};
use ordu_registry::core::table::{Kind, LEFT_OUT_MAX};
use ordu_transport::core::codec::{self, FRAME_BYTES_MAX};
use ordu_transport::core::{Instant, Lane, NodeId};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

/// Replicas, and the frames on their way between them: in order per pair and lane, lost only with their session.
struct Pump<Key: delta::Key, Value: Payload> {
    replicas: Vec<Replica<Key, Value>>,
    ids: Vec<NodeId>,
    now: Instant,
    wires: BTreeMap<(usize, usize, Lane), VecDeque<delta::Message<Key, Value>>>,
    up: BTreeSet<(usize, usize)>,
    delivered: usize,
}

impl<Key: delta::Key, Value: Payload> Pump<Key, Value> {
    fn new(kind: Kind, names: &[&str]) -> Self {
        let ids: Vec<NodeId> = names.iter().map(|name| node(name)).collect();
        let replicas = ids.iter().zip(0..).map(|(id, seed)| Replica::new(kind, id.clone(), seed)).collect();
        let (wires, up) = Default::default();
        let mut pump = Self { replicas, ids, now: Instant::from_micros(1), wires, up, delivered: 0 };
        for (at, replica) in pump.replicas.iter_mut().enumerate() {
            replica
                .set_counted(std::sync::Arc::new(pump.ids.iter().filter(|id| **id != pump.ids[at]).cloned().collect()));
        }
        pump
    }

    fn send(&mut self, from: usize, out: Vec<Outgoing<Key, Value>>) {
        for Outgoing { to, lane, message } in out {
            let length = codec::encode(codec::Kind::Replication, &message).len();
            assert!(length <= FRAME_BYTES_MAX / 2, "a frame of {length} bytes");
            for to in to {
                let to = self.ids.iter().position(|id| *id == to).expect("a known peer");
                assert!(self.up.contains(&(from.min(to), from.max(to))), "sent without a session");
                self.wires.entry((from, to, lane)).or_default().push_back(message.clone());
            }
        }
    }

    fn connect(&mut self, a: usize, b: usize) {
        if a == b || !self.up.insert((a.min(b), a.max(b))) {
            return;
        }
        for (me, peer) in [(a, b), (b, a)] {
            let mut out = Vec::new();
            self.replicas[me].connected(&self.ids[peer], &mut out);
            self.replicas[me].flush(&mut out);
            self.send(me, out);
        }
    }

    fn cut(&mut self, a: usize, b: usize) {
        if self.up.remove(&(a.min(b), a.max(b))) {
            self.wires.retain(|(from, to, _), _| (*from, *to) != (a, b) && (*from, *to) != (b, a));
            self.replicas[a].disconnected(&self.ids[b]);
            self.replicas[b].disconnected(&self.ids[a]);
        }
    }

    /// Delivers one frame of the wire that `which` picks. Returns false if none is on its way.
    fn deliver(&mut self, which: usize) -> bool {
        self.wires.retain(|_, wire| !wire.is_empty());
        let Some(at) = which.checked_rem(self.wires.len()) else { return false };
        let (&(from, to, _), wire) = self.wires.iter_mut().nth(at).expect("within the wires");
        let message = wire.pop_front().expect("not empty");
        self.delivered += 1;
        let mut out = Vec::new();
        self.replicas[to].handle(self.now, &self.ids[from], message, &mut out);
        self.replicas[to].flush(&mut out);
        self.send(to, out);
        true
    }

    fn flush(&mut self, at: usize) {
        let mut out = Vec::new();
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
    }

    fn settle(&mut self) {
        let before = self.delivered;
        while self.deliver(self.delivered) {
            assert!(self.delivered - before < 3_000, "the replicas never fall silent");
        }
    }

    /// A replica that learned that it is over takes a new identity; its sessions end with the old one.
    fn reborn(&mut self, at: usize) {
        let old = self.ids[at].clone();
        if !self.replicas[at].table().retired().contains(&old) {
            return;
        }
        (0..self.ids.len()).for_each(|peer| self.cut(at, peer));
        let id = boot(old.name.as_str(), old.boot + 1);
        self.replicas[at].reborn(id.clone());
        self.ids[at] = id;
        for (me, replica) in self.replicas.iter_mut().enumerate() {
            replica
                .set_counted(std::sync::Arc::new(self.ids.iter().filter(|id| **id != self.ids[me]).cloned().collect()));
        }
    }

    /// Everyone is connected, and nothing more happens. Returns after how many repair intervals all were equal.
    fn quiet(&mut self, rounds_max: usize) -> usize {
        for round in 0..rounds_max {
            for a in 0..self.replicas.len() {
                self.reborn(a);
                (0..a).for_each(|b| self.connect(a, b));
            }
            self.settle();
            if self.replicas.windows(2).all(|pair| pair[0].table() == pair[1].table()) {
                return round;
            }
            self.pass(REPAIR_INTERVAL.mul_f64(1.3));
        }
        panic!("not equal after {rounds_max} repair intervals");
    }
}

fn sent_to<'a>(out: &'a [Outgoing<K, V>], id: &NodeId) -> Vec<&'a Message> {
    out.iter().filter(|out| out.to.contains(id)).map(|out| &out.message).collect()
}

#[derive(Debug, Clone)]
enum Step {
    Put(usize, u8),
    Remove(usize, u8),
    Burst(usize, u8),
    Flush(usize),
    Connect(usize, usize),
    Cut(usize, usize),
    Deliver(usize, usize),
    Pass(u64),
    Retire(usize, usize),
    Reborn(usize),
}

const REPLICAS: usize = 3;

fn step() -> impl Strategy<Value = Step> {
    let (at, key) = (0..REPLICAS, 0..20u8);
    let pair = (at.clone(), at.clone());
    prop_oneof![
        4 => (at.clone(), key.clone()).prop_map(|(at, key)| Step::Put(at, key)),
        4 => (at.clone(), key.clone()).prop_map(|(at, key)| Step::Remove(at, key)),
        1 => (at.clone(), key).prop_map(|(at, many)| Step::Burst(at, many)),
        3 => at.clone().prop_map(Step::Flush),
        3 => pair.clone().prop_map(|(a, b)| Step::Connect(a, b)),
        1 => pair.clone().prop_map(|(a, b)| Step::Cut(a, b)),
        8 => (any::<usize>(), 1..9usize).prop_map(|(which, many)| Step::Deliver(which, many)),
        2 => (1..6000u64).prop_map(Step::Pass),
        1 => pair.prop_map(|(a, b)| Step::Retire(a, b)),
        2 => at.prop_map(Step::Reborn),
    ]
}

/// In two of three runs so little at once that much goes in parts.
fn limits() -> impl Strategy<Value = Limits> {
    prop_oneof![1 => Just(Limits::default()), 2 => (1..5usize).prop_map(Limits::of_events)]
}

fn run(kind: Kind, limits: Limits, retire: bool, steps: &[Step]) {
    let mut pump = Pump::<K, V>::new(kind, &["a", "b", "c"][..REPLICAS]);
    pump.replicas.iter_mut().for_each(|replica| replica.set_limits(limits));
    let mut value = 0;
    for step in steps {
        value += 1;
        match *step {
            Step::Put(at, key) => drop(pump.replicas[at].put(K(key), V(value))),
            Step::Remove(at, key) => {
                pump.replicas[at].remove(&K(key));
            }
            Step::Burst(at, many) => {
                for key in 0..many {
                    pump.replicas[at].put(K(key), V(value));
                    pump.flush(at);
                }
            }
            Step::Flush(at) => pump.flush(at),
            Step::Connect(a, b) => pump.connect(a, b),
            Step::Cut(a, b) => pump.cut(a, b),
            Step::Deliver(which, many) => {
                for _ in 0..many {
                    pump.deliver(which);
                }
            }
            Step::Pass(ms) => pump.pass(Duration::from_millis(ms)),
            Step::Retire(by, whom) if retire && by != whom => {
                let mut over = Retired::default();
                over.insert(pump.replicas[whom].table().origin());
                pump.replicas[by].retire(&over);
            }
            Step::Retire(..) => {}
            Step::Reborn(at) => pump.reborn(at),
        }
    }
    pump.quiet(20);
    for replica in &pump.replicas {
        assert_eq!(replica.alarms(), 0, "equal clocks met unequal contents");
        assert_eq!(replica.table().digest(), pump.replicas[0].table().digest());
    }
    // Nothing is sent any more but digests, and removals have left the logs.
    (0..3).for_each(|_| {
        pump.pass(REPAIR_INTERVAL.mul_f64(1.3));
        pump.settle();
    });
    for replica in &pump.replicas {
        let mut others = pump.ids.iter().filter(|id| *id != replica.table().origin());
        assert!(others.all(|peer| replica.has_heard(peer)));
    }
    let before = pump.delivered;
    pump.pass(REPAIR_INTERVAL.mul_f64(1.3));
    pump.settle();
    assert_eq!(pump.delivered - before, REPLICAS * (REPLICAS - 1));
    assert!(pump.replicas.iter().all(|replica| replica.table().removals_len() == 0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(150), max_shrink_iters: 5_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn shared_replicas_converge_after_quiet(steps in proptest::collection::vec(step(), 1..120), limits in limits()) {
        run(Kind::Shared, limits, false, &steps);
    }

    #[test]
    fn owner_written_replicas_converge_after_quiet(
        steps in proptest::collection::vec(step(), 1..120),
        limits in limits(),
    ) {
        run(Kind::OwnerWritten, limits, true, &steps);
    }
}

fn cases(usual: u32) -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(usual)
}

// ---- one rule each

fn two() -> Pump<K, V> {
    let mut pump = Pump::new(Kind::OwnerWritten, &["a", "b"]);
    pump.connect(0, 1);
    pump.settle();
    pump
}

#[test]
fn a_write_is_pushed_at_once_and_acknowledged() {
    let mut pump = two();
    pump.replicas[0].put(K(1), V(1));
    let mut out = Vec::new();
    pump.replicas[0].flush(&mut out);
    let [Outgoing { to, lane: Lane::Delta, message: Message::Delta { events, closing: Some(closing), .. } }] = &out[..]
    else {
        panic!("{out:?}")
    };
    assert_eq!((to, events.len(), closing.intervals[0].to), (&vec![node("b")], 1, 1));
    out.clear();
    pump.replicas[0].flush(&mut out);
    assert_eq!(out, [], "sent moves on send");
}

#[test]
fn peers_at_one_position_share_one_encoding() {
    let mut pump = Pump::<K, V>::new(Kind::OwnerWritten, &["a", "b", "c"]);
    (1..3).for_each(|b| pump.connect(0, b));
    pump.settle();
    pump.replicas[0].put(K(1), V(1));
    let mut out = Vec::new();
    pump.replicas[0].flush(&mut out);
    assert_eq!(out.iter().map(|out| &out.to).collect::<Vec<_>>(), [&vec![node("b"), node("c")]]);
}

#[test]
fn a_reconnect_starts_at_what_was_acknowledged() {
    let mut pump = two();
    pump.replicas[0].hurry();
    pump.replicas[0].put(K(1), V(1));
    pump.flush(0);
    pump.settle();
    pump.replicas[0].put(K(2), V(2));
    pump.flush(0);
    pump.cut(0, 1);
    assert_eq!(pump.replicas[1].table().live_len(), 1, "the push was lost with its session");
    let mut out = Vec::new();
    pump.up.insert((0, 1));
    pump.replicas[0].connected(&node("b"), &mut out);
    pump.replicas[0].flush(&mut out);
    let sent = sent_to(&out, &node("b"));
    let [Message::Digest { .. }, Message::Delta { events, closing: Some(closing), .. }] = &sent[..] else {
        panic!("{sent:?}")
    };
    assert_eq!((events.len(), closing.intervals[0].from, closing.intervals[0].to), (1, 1, 2));
}

#[test]
fn a_peer_that_acknowledges_nothing_is_sent_no_more_than_a_window() {
    let mut pump = two();
    let mut sent = 0;
    for value in 0..2 * PUSH_WINDOW_EVENTS {
        let mut out = Vec::new();
        pump.replicas[0].put(K((value % 256) as u8), V(value as u32));
        pump.replicas[0].flush(&mut out);
        sent += out.iter().filter(|out| matches!(out.message, Message::Delta { .. })).count();
    }
    assert_eq!(sent, PUSHES_IN_FLIGHT_MAX * SMALL_PUSHES_WEIGH);
    // One acknowledgement opens the window; what waited goes as one, less what was superseded meanwhile.
    let mut out = Vec::new();
    let clock = Clock::from(Dot::new(node("a"), sent as u64));
    pump.replicas[0].handle(pump.now, &node("b"), Message::Ack { clock }, &mut out);
    pump.replicas[0].put(K(0), V(0));
    pump.replicas[0].flush(&mut out);
    let sent = sent_to(&out, &node("b"));
    let [Message::Delta { events, closing: Some(closing), .. }] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((events.len(), closing.intervals[0].to), (256, 2 * PUSH_WINDOW_EVENTS + 1));
    pump.quiet(3);
}

/// Two that have met, and all is said.
fn acquainted(kind: Kind) -> Pump<K, V> {
    let mut pump = Pump::<K, V>::new(kind, &["a", "b"]);
    pump.quiet(3);
    pump.pass(REPAIR_INTERVAL.mul_f64(1.3));
    pump.settle();
    pump
}

/// The first writes so many events and pushes them as one; says whether the other acknowledges that at once.
fn acknowledged_at_once(pump: &mut Pump<K, V>, events: usize) -> bool {
    (0..events).for_each(|at| drop(pump.replicas[0].put(K(at as u8), V(1))));
    pump.flush(0);
    assert!(pump.deliver(0));
    let acks = pump.wires.values().flatten().filter(|message| matches!(message, Message::Ack { .. })).count();
    pump.settle();
    assert!(acks <= 1);
    acks == 1
}

#[test]
fn small_pushes_share_an_acknowledgement() {
    let mut pump = acquainted(Kind::OwnerWritten);
    let at_once: Vec<bool> =
        (0..2 * SMALL_PUSHES_MAX).map(|_| acknowledged_at_once(&mut pump, SMALL_PUSH_EVENTS)).collect();
    let each = (1..=SMALL_PUSHES_MAX).map(|at| at == SMALL_PUSHES_MAX);
    assert!(at_once.into_iter().eq(each.clone().chain(each)));
    assert!(pump.replicas[0].is_acknowledged());
    // What waits goes by itself, soon and once.
    assert!(!acknowledged_at_once(&mut pump, 1));
    assert_eq!(pump.replicas[1].poll_timeout(), pump.now + ACK_DELAY);
    for waiting in [true, false] {
        let mut out = Vec::new();
        pump.replicas[1].handle_timeout(pump.now + ACK_DELAY, &mut out);
        assert_eq!(out.iter().any(|out| matches!(out.message, Message::Ack { .. })), waiting);
        pump.send(1, out);
    }
    assert!(pump.replicas[1].poll_timeout() > pump.now + ACK_DELAY);
    assert!(!pump.replicas[0].is_acknowledged());
    pump.settle();
    assert!(pump.replicas[0].is_acknowledged());
}

#[test]
fn who_may_be_waited_for_acknowledges_at_once() {
    let mut pump = acquainted(Kind::OwnerWritten);
    assert!(acknowledged_at_once(&mut pump, SMALL_PUSH_EVENTS + 1), "there may be more");
    pump.replicas[0].hurry();
    assert!(acknowledged_at_once(&mut pump, 1), "somebody waits");
    assert!(!acknowledged_at_once(&mut pump, 1), "nobody waits for the next");
    let mut pump = acquainted(Kind::Shared);
    assert!(acknowledged_at_once(&mut pump, 1), "a caller waits for what a shared table takes");
}

/// Few events may be many bytes: then a window holds no more of them than of any others.
#[test]
fn a_push_of_many_bytes_is_not_small() {
    for kind in [Kind::OwnerWritten, Kind::Shared] {
        let mut pump = Pump::<Number, Blob>::new(kind, &["a", "b"]);
        pump.connect(0, 1);
        pump.settle();
        let mut sent = 0;
        for at in 0..100 {
            let mut out = Vec::new();
            pump.replicas[0].put(Number(at), Blob::new(SMALL_PUSH_BYTES + 1));
            pump.replicas[0].flush(&mut out);
            sent += out.iter().filter(|out| matches!(out.message, delta::Message::Delta { .. })).count();
            pump.send(0, out);
        }
        assert_eq!(sent, PUSHES_IN_FLIGHT_MAX, "{kind:?}");
        pump.settle();
        assert!(pump.replicas[0].is_acknowledged(), "{kind:?}: none of them waited");
    }
}

#[test]
fn a_piece_of_a_backlog_is_not_small() {
    let mut pump = Pump::<K, V>::new(Kind::OwnerWritten, &["a", "b"]);
    pump.replicas[0].set_limits(Limits::of_events(3));
    (0..100).for_each(|at| drop(pump.replicas[0].put(K(at), V(1))));
    pump.connect(0, 1);
    let pushes = pump.wires.values().flatten().filter(|message| matches!(message, Message::Delta { .. })).count();
    assert_eq!(pushes, PUSHES_IN_FLIGHT_MAX);
    pump.quiet(9);
}

/// What was dropped before its acknowledgement went is not acknowledged any more.
#[test]
fn nothing_of_an_origin_that_is_over_is_acknowledged_late() {
    let mut pump = acquainted(Kind::OwnerWritten);
    assert!(!acknowledged_at_once(&mut pump, 1));
    let mut retired = Retired::default();
    retired.insert_below(&boot("a", 2));
    pump.replicas[1].retire(&retired);
    let mut out = Vec::new();
    pump.replicas[1].handle_timeout(pump.now + ACK_DELAY, &mut out);
    assert!(!out.iter().any(|out| matches!(out.message, Message::Ack { .. })), "{out:?}");
}

/// Acknowledgements do not bring repairs forward.
#[test]
fn a_waiting_acknowledgement_repairs_nothing() {
    let mut pump = acquainted(Kind::OwnerWritten);
    let repair_at = pump.replicas[1].poll_timeout();
    assert!(!acknowledged_at_once(&mut pump, 1));
    let almost = Instant::from_micros(repair_at.as_micros() - 1);
    let mut out = Vec::new();
    pump.replicas[1].handle_timeout(almost, &mut out);
    assert!(matches!(out[..], [Outgoing { message: Message::Ack { .. }, .. }]), "{out:?}");
    assert!(!pump.replicas[1].is_repair_due(almost) && pump.replicas[1].poll_timeout() == repair_at);
    pump.replicas[1].repair_along(almost, &mut out);
    assert!(matches!(out[1..], [Outgoing { message: Message::Digest { .. }, .. }]), "another table repairs: {out:?}");
}

/// Who was brought up to date by another is not taking anything any more.
#[test]
fn what_was_begun_and_came_from_elsewhere_is_no_progress() {
    let mut pump = Pump::<Number, Blob>::new(Kind::Shared, &["a", "b", "c"]);
    let count = DELTA_BYTES_MAX / 10_000 * 2;
    (0..count).for_each(|at| drop(pump.replicas[0].put(Number(at as u32), Blob::new(10_000))));
    pump.connect(0, 2);
    pump.settle();
    pump.connect(0, 1);
    while pump.replicas[1].progress(pump.now).is_none_or(|progress| progress.taken == 0) {
        assert!(pump.deliver(0));
    }
    // The rest of it does not come, and is not waited for any longer.
    pump.wires.clear();
    pump.now = pump.now + PULL_PATIENCE;
    assert_eq!(pump.replicas[1].progress(pump.now), None);
    pump.connect(1, 2);
    pump.quiet(8);
    (0..3).for_each(|at| assert_eq!(pump.replicas[at].progress(pump.now), None, "{at}"));
}

/// What is owed ends with the session.
#[test]
fn a_new_session_owes_no_acknowledgement() {
    let mut pump = acquainted(Kind::OwnerWritten);
    assert!(!acknowledged_at_once(&mut pump, 1));
    pump.cut(0, 1);
    pump.pass(ACK_DELAY);
    assert!(pump.wires.values().all(VecDeque::is_empty));
    pump.quiet(3);
    assert!(pump.replicas[0].is_acknowledged());
}

#[test]
fn what_a_push_does_not_carry_goes_with_the_next() {
    for (count, bytes) in [(PUSH_EVENTS_MAX, 1), (3 * PUSH_EVENTS_MAX + 1, 1), (60, 60_000)] {
        let mut pump = Pump::<Number, Blob>::new(Kind::OwnerWritten, &["a", "b"]);
        (0..count).for_each(|at| drop(pump.replicas[0].put(Number(at as u32), Blob::new(bytes))));
        pump.connect(0, 1);
        let mut pushes: BTreeMap<u64, (usize, usize)> = BTreeMap::new();
        for message in pump.wires.values().flatten() {
            let delta::Message::Delta { number, events, .. } = message else { continue };
            let push = pushes.entry(*number).or_default();
            push.0 += events.len();
            push.1 += events.iter().map(|event| event.size_bytes()).sum::<usize>();
        }
        let most = pushes.values().fold((0, 0), |(count, bytes), push| (push.0.max(count), push.1.max(bytes)));
        assert!(most.0 <= PUSH_EVENTS_MAX && most.1 <= PUSH_BYTES_MAX, "{count} of {bytes} bytes: {most:?}");
        let least = count.div_ceil(PUSH_EVENTS_MAX).max(count * bytes / PUSH_BYTES_MAX).min(PUSHES_IN_FLIGHT_MAX);
        assert!(pushes.len() >= least, "{count} of {bytes} bytes: {} pushes", pushes.len());
        pump.settle();
        assert_eq!(pump.replicas[1].table().live_len(), count, "nobody had to pull");
    }
}

/// In a shared table others may have superseded what a part would leave out.
#[test]
fn who_lacks_more_than_a_push_of_a_shared_table_must_pull() {
    for (count, pushed) in [(PUSH_EVENTS_MAX, true), (PUSH_EVENTS_MAX + 1, false)] {
        let mut pump = Pump::<Number, Blob>::new(Kind::Shared, &["a", "b"]);
        (0..count).for_each(|at| drop(pump.replicas[0].put(Number(at as u32), Blob::new(1))));
        pump.connect(0, 1);
        let deltas = pump.wires.values().flatten().any(|message| matches!(message, delta::Message::Delta { .. }));
        assert_eq!(deltas, pushed, "{count}");
        pump.quiet(3);
        assert_eq!(pump.replicas[1].table().live_len(), count);
    }
}

/// A part that ends before what superseded some of it brings that along: the receiver's clock never covers a value that it
/// has neither seen nor seen superseded.
#[test]
fn a_part_brings_along_what_superseded_what_it_leaves_out() {
    let mut pump = two();
    pump.replicas[0].set_limits(Limits::of_events(2));
    for (key, value) in [(1, 1), (2, 2), (3, 3), (1, 4), (4, 5), (5, 6), (6, 7)] {
        pump.replicas[0].put(K(key), V(value));
    }
    let mut out = Vec::new();
    pump.replicas[0].flush(&mut out);
    let sent = sent_to(&out, &node("b"));
    let Message::Delta { events, closing: Some(closing), .. } = sent[0] else { panic!("{sent:?}") };
    let dots: Vec<u64> = events.iter().map(|event| event.dot.counter).collect();
    assert_eq!((dots, closing.intervals[0].to), (vec![2, 3, 4], 3));
    pump.send(0, out);
    pump.settle();
    assert_eq!(pump.quiet(1), 0);
}

/// More than one answer carries: it goes part by part, each asked for when the one before was taken.
#[test]
fn what_does_not_fit_one_answer_goes_part_by_part() {
    let mut pump = Pump::<Number, Blob>::new(Kind::Shared, &["a", "b"]);
    let count = DELTA_BYTES_MAX / 10_000 * 2;
    (0..count).for_each(|at| drop(pump.replicas[0].put(Number(at as u32), Blob::new(10_000))));
    pump.connect(0, 1);
    let mut parts = 0;
    while pump.deliver(0) {
        let waiting: Vec<_> = pump.wires.values().flatten().collect();
        let state = waiting.iter().filter(|message| matches!(message, delta::Message::State { .. })).count();
        assert!(state <= 1, "parts are asked for one by one");
        parts += state;
        let bytes: usize = waiting.iter().map(|message| codec::encode(codec::Kind::Replication, message).len()).sum();
        assert!(bytes < 2 * PART_BYTES_MAX, "{bytes} bytes are on their way");
    }
    assert!(parts > 10);
    assert_eq!(pump.quiet(1), 0);
}

/// A reconciliation that is cut off goes on where it ended.
#[test]
fn what_came_before_a_cut_does_not_come_again() {
    let mut pump = Pump::<Number, Blob>::new(Kind::Shared, &["a", "b"]);
    let count = DELTA_BYTES_MAX / 10_000 * 2;
    (0..count).for_each(|at| drop(pump.replicas[0].put(Number(at as u32), Blob::new(10_000))));
    let mut came = 0;
    for cut in [true, false] {
        pump.connect(0, 1);
        let before = pump.replicas[1].table().live_len();
        assert_eq!(pump.replicas[1].progress(pump.now), None);
        let mut far = Progress::default();
        while pump.deliver(0) {
            let live = pump.replicas[1].table().live_len();
            if let Some(progress) = pump.replicas[1].progress(pump.now) {
                assert!(progress.taken <= progress.expected && progress.taken >= far.taken, "{progress:?}, {far:?}");
                far = progress;
            }
            let events = pump.wires.values().flatten().map(|message| match message {
                delta::Message::State { answer, .. } => answer.events.len(),
                _ => 0,
            });
            came += events.sum::<usize>();
            if cut && live > before + count / 2 {
                break;
            }
        }
        if cut {
            assert!(far.taken > (count / 3) as u64 && far.expected >= count as u64, "{far:?} of {count}");
            pump.cut(0, 1);
        }
    }
    assert_eq!(pump.replicas[1].progress(pump.now), None);
    assert_eq!(pump.quiet(1), 0);
    assert!(came < count + 2 * PART_BYTES_MAX / 10_000, "{came} events for {count}");
}

/// Below the horizon, what is gone is found by hashes: what travels follows the difference and not what is shared.
#[test]
fn below_the_horizon_bytes_follow_the_difference() {
    const SHARED: u32 = 200_000;
    for gone in [1, 10, 1_000] {
        let mut pump = Pump::<Number, Blob>::new(Kind::OwnerWritten, &["a", "b"]);
        (0..SHARED).for_each(|at| drop(pump.replicas[0].put(Number(at), Blob::new(1))));
        pump.connect(0, 1);
        pump.settle();
        pump.quiet(3);
        pump.cut(0, 1);
        for at in 0..gone {
            assert!(pump.replicas[0].remove(&Number(at * (SHARED / gone))));
            pump.replicas[1].put(Number(SHARED + at), Blob::new(1));
        }
        // Nobody waits for b.
        pump.replicas[0].set_counted(std::sync::Arc::default());
        pump.pass(REPAIR_INTERVAL.mul_f64(1.3));
        assert_eq!(pump.replicas[0].table().removals_len(), 0);
        pump.connect(0, 1);
        let (mut bytes, mut states) = (0, 0);
        loop {
            for message in pump.wires.values().flatten() {
                bytes += codec::encode(codec::Kind::Replication, message).len();
                states += usize::from(matches!(message, delta::Message::State { .. }));
            }
            // All that was counted is delivered before more is.
            let waiting: usize = pump.wires.values().map(VecDeque::len).sum();
            (0..waiting).for_each(|_| assert!(pump.deliver(0)));
            if pump.wires.values().all(VecDeque::is_empty) {
                break;
            }
        }
        assert!(states > 0, "it was below the horizon");
        assert!(pump.replicas[0].table() == pump.replicas[1].table(), "{gone} gone");
        let most = 100 * gone as usize + 50_000;
        println!("{gone} gone and as many new of {SHARED}: {bytes} bytes in {states} answers");
        assert!(bytes <= most, "{bytes} bytes for {gone}, over {most}");
    }
}

/// A peer that begins to send part by part and then says nothing keeps nobody from asking the others.
#[test]
fn a_backlog_that_stalls_is_taken_from_another() {
    let mut pump = Pump::<Number, Blob>::new(Kind::Shared, &["a", "b", "c"]);
    let count = DELTA_BYTES_MAX / 10_000 * 2;
    (0..count).for_each(|at| drop(pump.replicas[0].put(Number(at as u32), Blob::new(10_000))));
    pump.connect(0, 1);
    pump.settle();
    pump.connect(0, 2);
    while pump.replicas[2].table().live_len() < count / 4 {
        assert!(pump.deliver(0));
    }
    // From here on nothing of a's reaches c, and the session stays.
    let stalls = |pump: &mut Pump<Number, Blob>| pump.wires.retain(|(from, to, _), _| (*from, *to) != (0, 2));
    stalls(&mut pump);
    pump.connect(1, 2);
    for _ in 0..8 {
        pump.pass(PULL_PATIENCE / 4);
        stalls(&mut pump);
        while pump.deliver(0) {
            stalls(&mut pump);
        }
    }
    assert_eq!(pump.replicas[2].table().live_len(), count);
}

#[test]
fn an_unanswered_pull_is_not_repeated_before_its_patience_is_over() {
    let mut pump = two();
    let other = Message::Digest { hash: 1, ask: false };
    let ask = |pump: &mut Pump<K, V>, at: Instant| {
        let mut out = Vec::new();
        pump.replicas[0].handle(at, &node("b"), other.clone(), &mut out);
        out.len()
    };
    let now = pump.now;
    assert_eq!(ask(&mut pump, now), 1);
    assert_eq!(ask(&mut pump, now + PULL_PATIENCE.mul_f64(0.99)), 0);
    assert_eq!(ask(&mut pump, now + PULL_PATIENCE), 1);
}

#[test]
fn a_delta_that_lost_a_part_closes_nothing() {
    let mut pump = two();
    let (mut a, mut out) = (common::owned("a"), Vec::new());
    let (_, second) = (common::put(&mut a, K(1), 1), common::put(&mut a, K(2), 2));
    let intervals = vec![delta::Interval { origin: node("a"), from: 0, to: 2 }];
    let closing = Some(delta::Closing { events: 2, intervals, purpose: delta::Purpose::Push });
    let lone = Message::Delta { number: 9, retired: None, events: vec![second].into(), closing };
    pump.replicas[1].handle(pump.now, &node("a"), lone, &mut out);
    assert_eq!((out.len(), pump.replicas[1].table().context().clock().get(&node("a"))), (0, 0));
    assert_eq!(pump.replicas[1].table().live_len(), 1, "its event counts all the same");
}

#[test]
fn a_slow_peer_costs_a_cursor() {
    let mut pump = two();
    let size = |pump: &Pump<K, V>| format!("{:?}", pump.replicas[0]).len();
    let fill = |pump: &mut Pump<K, V>, rounds: u32| {
        for value in 0..rounds {
            pump.replicas[0].put(K((value % 10) as u8), V(value));
            let mut out = Vec::new();
            pump.replicas[0].take_touched();
            pump.replicas[0].flush(&mut out);
        }
    };
    // And, whoever is slow, the keys of so many superseded events.
    fill(&mut pump, 2 * LEFT_OUT_MAX as u32);
    let before = size(&pump);
    fill(&mut pump, 40_000);
    assert!(size(&pump) < before + 1000, "{} after {before}", size(&pump));
}

#[test]
fn messages_without_a_session_are_not_heard() {
    let mut pump = two();
    pump.cut(0, 1);
    let mut out = Vec::new();
    pump.replicas[0].handle(pump.now, &node("b"), Message::Digest { hash: 1, ask: false }, &mut out);
    pump.replicas[0].handle(pump.now, &node("x"), Message::Digest { hash: 1, ask: false }, &mut out);
    assert_eq!(out, []);
}

/// Both know that they are over, but have no new identities yet.
#[test]
fn two_that_have_retired_each_other_do_not_pull_without_a_pause() {
    let mut pump = two();
    for (by, whom) in [(0, "b"), (1, "a")] {
        pump.replicas[by].put(K(by as u8), V(1));
        let mut over = Retired::default();
        over.insert(&node(whom));
        pump.replicas[by].retire(&over);
    }
    for _ in 0..5 {
        let before = pump.delivered;
        pump.pass(REPAIR_INTERVAL.mul_f64(1.3));
        pump.settle();
        assert!(pump.delivered - before < 20, "{} frames in one repair interval", pump.delivered - before);
    }
}

#[test]
fn equal_clocks_with_unequal_contents_are_an_alarm_and_heal() {
    let mut pump = Pump::<K, V>::new(Kind::OwnerWritten, &["a", "b", "c"]);
    pump.replicas[0].put(K(1), V(1));
    pump.replicas[0].put(K(2), V(1));
    pump.connect(0, 1);
    pump.settle();
    pump.cut(0, 1);
    // c is told that it has everything, and given half of it.
    pump.connect(1, 2);
    pump.wires.clear();
    let intervals = vec![delta::Interval { origin: node("a"), from: 0, to: 2 }];
    let closing = Some(delta::Closing { events: 0, intervals, purpose: delta::Purpose::Push });
    let lie = Message::Delta { number: 0, retired: None, events: vec![].into(), closing };
    pump.replicas[2].handle(pump.now, &node("b"), lie, &mut Vec::new());
    pump.pass(REPAIR_INTERVAL.mul_f64(1.3));
    pump.settle();
    assert!(pump.replicas[1].alarms() + pump.replicas[2].alarms() > 0);
    assert_eq!(pump.replicas[1].table(), pump.replicas[2].table());
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Number(u32);

impl delta::Key for Number {}

impl Payload for Number {
    fn size_bytes(&self) -> usize {
        5
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Blob(String);

impl Blob {
    fn new(bytes: usize) -> Self {
        Self("x".repeat(bytes))
    }
}

impl Payload for Blob {
    fn size_bytes(&self) -> usize {
        self.0.len() + 3
    }
}
