//! A simulated node: what outlives a crash (name, address, clocks, disk) and one life of its cores.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use ordu_registry::core::Registry;
use ordu_registry::core::sync::Limits;
use ordu_supervisor::core::checkpoint::COPIES;
use ordu_supervisor::core::{Bounds, Config, Expect, Supervisor};
use ordu_transport::core::membership::{Membership, MembershipConfig, Timings};
use ordu_transport::core::message::{Hello, Refusal};
use ordu_transport::core::ways::Passed;
use ordu_transport::core::{Addr, Hlc, Instant, NodeId, NodeName, Now, Pid};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::cast::Word;
use crate::detector::{Detector, Views};
use crate::disk::NodeDisk;
use crate::link::Wire;
use crate::plan::Plan;
use crate::upper::Upper;
use crate::world::{Happening, World};

/// The wall clock at the beginning of every run.
pub(crate) const WALL_MS: u64 = 1_800_000_000_000;
/// The kind of every simulated child.
pub(crate) const KIND: &str = "sim";
/// How long a child that ended for good keeps its row.
const KEEP_DONE: Duration = Duration::from_secs(5);
/// How long a node waits for the members that it expects.
const EXPECT_MAX: Duration = Duration::from_secs(20);
/// The name of every simulated cluster.
pub(crate) const CLUSTER: &str = "sim";
/// Most datagrams that wait at a paused node.
pub(crate) const INBOX_DATAGRAMS_MAX: usize = 256;

/// What comes to a node from outside.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// A session began.
    Connected { hello: Hello, dialled: Option<Addr> },
    /// A session ended.
    Disconnected { peer: NodeId },
    /// A frame came, perhaps to be passed on.
    Frame { from: NodeId, lane: usize, passed: Option<Passed>, wire: Wire },
    /// A membership datagram came.
    Datagram { from: NodeId, bytes: Bytes },
    /// A dial came to nothing.
    DialFailed { addr: Addr, refusal: Option<Refusal> },
    /// Nobody listens at the peer's address.
    Unreachable { peer: NodeId, rtt: Duration },
    /// A child is told something, or ends.
    Child { pid: Pid, word: Word },
    /// A child was killed because its node was not heard of.
    Killed { pid: Pid },
    /// The disk holds what was to be saved.
    Saved { number: u64 },
}

/// One node.
pub(crate) struct Node {
    pub(crate) name: NodeName,
    pub(crate) addr: Addr,
    /// Its life, unless it is down.
    pub(crate) life: Option<Life>,
    lives: u64,
    /// The boot number on its disk.
    pub(crate) disk_boot: u64,
    /// What else is there, where nodes keep data.
    pub(crate) disk: NodeDisk,
    origin_us: u64,
    pub(crate) skew_ms: i64,
    pub(crate) paused: bool,
    /// When its last life ended.
    pub(crate) died_us: u64,
    /// While it is down its host says that its port is closed.
    pub(crate) host_answers: bool,
    /// It will not come back.
    pub(crate) gone: bool,
    inbox: VecDeque<Arrival>,
    rng: ChaCha8Rng,
}

/// One life: from a start to a crash or a leave.
pub(crate) struct Life {
    pub(crate) number: u64,
    pub(crate) id: NodeId,
    pub(crate) started: Hlc,
    pub(crate) detector: Detector,
    pub(crate) upper: Upper,
    /// The sessions that are up on this side.
    pub(crate) sessions: BTreeMap<NodeId, u64>,
    /// Whom it reaches, as the layers above were told, by a session or not.
    pub(crate) in_reach: BTreeSet<NodeId>,
    /// Whom it reaches by way of others.
    pub(crate) reached: BTreeSet<NodeId>,
    pub(crate) dialling: BTreeSet<usize>,
    /// It leaves, and gives its children away before.
    pub(crate) leaving: bool,
    /// When its children have to be gone.
    pub(crate) lease_us: Option<u64>,
    timer_at: Option<u64>,
}

impl Node {
    pub(crate) fn new(index: usize, plan: &Plan, rng: &mut ChaCha8Rng, disks: &mut ChaCha8Rng) -> Self {
        let skew = plan.skew_ms_max;
        Self {
            name: name_of(index),
            addr: addr_of(index),
            life: None,
            lives: 0,
            disk_boot: 0,
            disk: NodeDisk::new(disks.next_u64()),
            origin_us: rng.random_range(1..1_000_000_000_000),
            skew_ms: if skew == 0 { 0 } else { rng.random_range(-skew..=skew) },
            paused: false,
            died_us: 0,
            host_answers: false,
            gone: false,
            inbox: VecDeque::new(),
            rng: ChaCha8Rng::seed_from_u64(rng.next_u64()),
        }
    }

    pub(crate) fn now(&self, world_us: u64) -> Now {
        let wall_ms = (WALL_MS + world_us / 1000).saturating_add_signed(self.skew_ms);
        Now { at: Instant::from_micros(world_us + self.origin_us), wall_ms }
    }

    fn world_us(&self, at: Instant) -> u64 {
        at.as_micros().saturating_sub(self.origin_us)
    }
}

impl Life {
    /// Whether there is a session with an incarnation of this name.
    pub(crate) fn has_session_with(&self, name: &NodeName) -> bool {
        let ends = [(0, 0), (u64::MAX, u64::MAX)].map(|(boot, nonce)| NodeId::new(name.clone(), boot, nonce));
        let [first, last] = ends;
        self.sessions.range(first..=last).next().is_some()
    }
}

/// The label that says in which zone a node is.
pub(crate) const ZONE: &str = "zone";
/// How many zones there are.
pub(crate) const ZONES: usize = 2;

/// The zone of a node.
pub(crate) fn zone_of(index: usize) -> String {
    format!("z{}", index % ZONES)
}

/// The name of a node.
pub(crate) fn name_of(index: usize) -> NodeName {
    NodeName::new(&format!("n{index}")).expect("a valid name")
}

/// The address of a node.
pub(crate) fn addr_of(index: usize) -> Addr {
    format!("10.0.{}.{}:7600", index / 256, index % 256).into()
}

/// The node of an address.
pub(crate) fn index_of(addr: &str) -> Option<usize> {
    let mut parts = addr.strip_suffix(":7600")?.split('.').skip(2);
    let (high, low): (usize, usize) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some(high * 256 + low)
}

impl World {
    /// The life of a node that is up.
    pub(crate) fn life(&self, node: usize) -> Option<&Life> {
        self.nodes[node].life.as_ref()
    }

    pub(crate) fn life_mut(&mut self, node: usize) -> Option<&mut Life> {
        self.nodes[node].life.as_mut()
    }

    pub(crate) fn now_of(&self, node: usize) -> Now {
        self.nodes[node].now(self.now)
    }

    /// The nodes that are up.
    pub(crate) fn up(&self) -> impl Iterator<Item = (usize, &Life)> {
        self.nodes.iter().enumerate().filter_map(|(index, node)| Some((index, node.life.as_ref()?)))
    }

    /// Begins a life, with the boot number that the disk gives.
    pub(crate) fn start(&mut self, index: usize) {
        let now = self.now_of(index);
        let seeds: Vec<Addr> = (0..self.nodes.len().min(3)).map(addr_of).collect();
        let expect = Expect { members: self.plan.expect, timeout: EXPECT_MAX };
        let (swim, children, durable) = (self.plan.swim, self.plan.children, self.plan.durable);
        let bounds = Bounds { node: Some(self.plan.max_children).filter(|most| *most > 0), cluster: None };
        let limits = Limits::of_events(self.plan.push_events_max);
        let node = &mut self.nodes[index];
        if node.life.is_some() {
            return;
        }
        node.disk_boot += 1;
        node.lives += 1;
        let id = NodeId::new(node.name.clone(), node.disk_boot, node.rng.next_u64());
        let started = Hlc::from_wall_ms(now.wall_ms);
        let detector = if swim {
            Detector::Swim(Box::new(Membership::new(MembershipConfig {
                id: id.clone(),
                addr: node.addr.clone(),
                started,
                cluster: CLUSTER.into(),
                seeds,
                seed: node.rng.next_u64(),
                timings: Timings::default(),
                mesh: limits.mesh,
            })))
        } else {
            Detector::Views(Views::default())
        };
        let seed = node.rng.next_u64();
        let disk = durable.then(|| node.disk.read());
        let mut upper = if children {
            Upper::Children(Box::new(Supervisor::new(Config {
                id: id.clone(),
                policy: self.choices.rank,
                kinds: vec![KIND.into()],
                version: "0".into(),
                weight: 1,
                labels: BTreeMap::from([(ZONE.to_owned(), zone_of(index))]),
                preference: self.choices.preference.clone(),
                redistribution: Default::default(),
                bounds,
                keep_done: KEEP_DONE,
                disk,
                expect,
                partition: self.plan.partition(),
                copies: COPIES,
                seed,
            })))
        } else {
            Upper::Names(Box::new(Registry::new(id.clone(), self.choices.rank, seed)))
        };
        upper.set_limits(limits);
        let life = Life {
            number: node.lives,
            id,
            started,
            detector,
            upper,
            sessions: BTreeMap::new(),
            in_reach: BTreeSet::new(),
            reached: BTreeSet::new(),
            dialling: BTreeSet::new(),
            leaving: false,
            lease_us: None,
            timer_at: None,
        };
        self.disturbed_us = self.now;
        self.trace.world(self.now, &format_args!("START n{index} as {:?}", life.id));
        self.record.node_up(self.now, index, &life.id);
        // What a supervisor says of its node it wrote before anybody could watch.
        life.upper.record(&Upper::nothing_written(), &mut self.twin);
        node.life = Some(life);
        self.began(index);
        self.plan_timer(index);
    }

    /// Ends a life at once. Nothing is said to anybody.
    pub(crate) fn crash(&mut self, index: usize) {
        self.disturbed_us = self.now;
        self.trace.world(self.now, &format_args!("CRASH n{index}"));
        let Some(life) = self.nodes[index].life.take() else { return };
        self.record.node_down(self.now, index, life.leaving);
        self.nodes[index].died_us = self.now;
        self.nodes[index].inbox.clear();
        self.nodes[index].paused = false;
        self.oracle.life_over(self.now, index, life.number);
        self.drop_sides(index, &life);
    }

    /// Something comes to a node: at once, or once it goes on.
    pub(crate) fn arrive(&mut self, index: usize, arrival: Arrival) {
        let node = &mut self.nodes[index];
        if node.life.is_none() {
            return;
        }
        if node.paused {
            let datagram = |arrival: &Arrival| matches!(arrival, Arrival::Datagram { .. });
            if datagram(&arrival) && node.inbox.iter().filter(|a| datagram(a)).count() >= INBOX_DATAGRAMS_MAX {
                return;
            }
            return node.inbox.push_back(arrival);
        }
        self.take(index, arrival);
        self.plan_timer(index);
    }

    /// A paused node goes on: what waited is handled now, before or after its timers.
    pub(crate) fn resume(&mut self, index: usize) {
        self.nodes[index].paused = false;
        self.record.node_resumed(self.now, index);
        let Some(life) = self.life(index) else { return };
        let number = life.number;
        if self.rng.random_bool(0.5) {
            self.fire(index);
        }
        while self.is_life(index, number)
            && let Some(arrival) = self.nodes[index].inbox.pop_front()
        {
            self.take(index, arrival);
        }
        self.plan_timer(index);
    }

    pub(crate) fn on_timer(&mut self, index: usize, life: u64) {
        let now = self.now;
        if !self.is_life(index, life) || self.nodes[index].paused {
            return;
        }
        match self.life_mut(index) {
            Some(life) if life.timer_at == Some(now) => life.timer_at = None,
            _ => return,
        }
        self.fire(index);
        self.plan_timer(index);
    }

    /// Plans the next call of the cores' timers.
    pub(crate) fn plan_timer(&mut self, index: usize) {
        let now = self.now;
        let node = &mut self.nodes[index];
        let Some(life) = &node.life else { return };
        let polls = [life.upper.poll_timeout(), life.detector.poll_timeout()];
        let Some(next) = polls.into_iter().flatten().min() else { return };
        let next = node.world_us(next).max(now);
        if node.life.as_ref().and_then(|life| life.timer_at).is_some_and(|at| at <= next && at >= now) {
            return;
        }
        let Some(life) = &mut node.life else { return };
        life.timer_at = Some(next);
        let number = life.number;
        self.schedule(next, Happening::Timer { node: index, life: number });
    }
}
