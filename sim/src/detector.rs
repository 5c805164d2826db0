//! Where a node's view comes from: the real membership core, or an oracle that sees the network as it is.
//!
//! The oracle is cheaper, and it can lie: it shows the cores above views that membership would hardly ever give.

use std::collections::BTreeMap;

use ordu_transport::core::membership::Membership;
use ordu_transport::core::message::{Hello, Refusal};
use ordu_transport::core::{Instant, Member, NodeId, Now, Status};
use rand::RngExt;

use crate::node::{addr_of, name_of};
use crate::world::{Happening, World};

/// How often the oracle looks, on average.
const LOOK_US: u64 = 300_000;
/// How long the oracle needs to see that a node is gone, on average.
const DETECT_US: u64 = 1_000_000;

/// A source of views.
pub(crate) enum Detector {
    /// The membership core.
    Swim(Box<Membership>),
    /// The oracle.
    Views(Views),
}

impl Detector {
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Detector::Swim(membership) => membership.poll_timeout(),
            Detector::Views(_) => None,
        }
    }
}

/// What the oracle told one node.
#[derive(Debug, Default)]
pub(crate) struct Views {
    known: BTreeMap<usize, Known>,
}

#[derive(Debug, Clone)]
struct Known {
    id: NodeId,
    status: Status,
    lost_since: Option<u64>,
    /// Told as down though it lives, until then.
    lied_until: u64,
}

impl Views {
    /// Judges a newcomer as membership does: an incarnation below a known one shall come back above it.
    pub(crate) fn judge(&self, peer: usize, hello: &Hello) -> Result<(), Refusal> {
        match self.known.get(&peer) {
            Some(known) if known.id > hello.id => Err(Refusal::Superseded(known.id.clone())),
            Some(known) if known.id == hello.id && known.status == Status::Left => {
                Err(Refusal::Superseded(known.id.clone()))
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl World {
    /// A session with this peer began: the oracle shows it as up.
    pub(crate) fn views_met(&mut self, node: usize, peer: usize, id: &NodeId) {
        let known = Known { id: id.clone(), status: Status::Up, lost_since: None, lied_until: 0 };
        if let Some(Detector::Views(views)) = self.life_mut(node).map(|life| &mut life.detector) {
            views.known.insert(peer, known);
        }
        self.show(node, peer, id, Status::Up);
    }

    /// This peer said that it leaves.
    pub(crate) fn views_left(&mut self, node: usize, peer: usize, id: &NodeId) {
        let Some(Detector::Views(views)) = self.life_mut(node).map(|life| &mut life.detector) else { return };
        match views.known.get_mut(&peer) {
            Some(known) if known.id == *id && known.status != Status::Left => known.status = Status::Left,
            _ => return,
        }
        self.show(node, peer, id, Status::Left);
    }

    /// Has the oracle tell `node` for a while that `peer` is down, though it lives.
    pub(crate) fn views_lie(&mut self, node: usize, peer: usize, until: u64) {
        let Some(Detector::Views(views)) = self.life_mut(node).map(|life| &mut life.detector) else { return };
        let Some(known) = views.known.get_mut(&peer).filter(|known| known.status == Status::Up) else { return };
        (known.status, known.lied_until) = (Status::Down, until);
        let id = known.id.clone();
        self.show(node, peer, &id, Status::Down);
    }

    fn show(&mut self, node: usize, peer: usize, id: &NodeId, status: Status) {
        self.member(node, Member { id: id.clone(), addr: addr_of(peer), status });
        self.plan_timer(node);
    }

    /// The oracle looks around for one node, and dials for it.
    pub(crate) fn on_look(&mut self, node: usize, life: u64) {
        if !self.is_life(node, life) {
            return;
        }
        let again = self.now + self.rng.random_range(LOOK_US / 2..LOOK_US * 3 / 2);
        self.schedule(again, Happening::Look { node, life });
        if self.nodes[node].paused {
            return;
        }
        for peer in (0..self.nodes.len()).filter(|&peer| peer != node) {
            self.look_at(node, peer);
            if !self.is_life(node, life) {
                return;
            }
        }
    }

    fn look_at(&mut self, node: usize, peer: usize) {
        let now = self.now;
        let reachable = self.nodes[peer].life.is_some()
            && !self.nodes[peer].paused
            && self.net.is_open(node, peer)
            && self.net.is_open(peer, node);
        let patience = self.rng.random_range(DETECT_US / 2..DETECT_US * 3 / 2);
        let Some(life) = self.life_mut(node) else { return };
        let session = life.has_session_with(&name_of(peer));
        let Detector::Views(views) = &mut life.detector else { return };
        let mut told = None;
        if let Some(known) = views.known.get_mut(&peer) {
            if session && reachable {
                known.lost_since = None;
                if known.status == Status::Down && now >= known.lied_until {
                    known.status = Status::Up;
                    told = Some((known.id.clone(), Status::Up));
                }
            } else {
                let since = *known.lost_since.get_or_insert(now);
                if known.status == Status::Up && now >= since + patience {
                    known.status = Status::Down;
                    told = Some((known.id.clone(), Status::Down));
                }
            }
        }
        if let Some((id, status)) = told {
            self.show(node, peer, &id, status);
        }
        if !session && (node < peer || self.rng.random_bool(0.3)) {
            self.dial(node, peer);
        }
    }

    /// Ourselves, first of all, as up; and the first look.
    pub(crate) fn began(&mut self, node: usize) {
        let Some(life) = self.life(node) else { return };
        let (number, id) = (life.number, life.id.clone());
        if let Detector::Views(_) = life.detector {
            self.member(node, Member { id, addr: addr_of(node), status: Status::Up });
            let first = self.now + self.rng.random_range(0..LOOK_US);
            self.schedule(first, Happening::Look { node, life: number });
        }
    }

    /// How many times longer than usual a node takes for its verdicts now.
    pub(crate) fn stretch(&self, node: usize) -> u32 {
        match self.life(node).map(|life| &life.detector) {
            Some(Detector::Swim(membership)) => membership.stretch(),
            Some(Detector::Views(_)) | None => 1,
        }
    }

    /// What the node says first in every session.
    pub(crate) fn hello(&self, node: usize) -> Option<Hello> {
        let life = self.life(node)?;
        Some(match &life.detector {
            Detector::Swim(membership) => membership.hello(),
            Detector::Views(_) => Hello {
                cluster: crate::node::CLUSTER.into(),
                id: life.id.clone(),
                addr: addr_of(node),
                started: life.started,
            },
        })
    }

    /// Asks one side about the other's hello.
    pub(crate) fn judge(&mut self, node: usize, peer: usize, hello: &Hello) -> Result<(), Refusal> {
        let now: Now = self.now_of(node);
        let Some(life) = self.life_mut(node) else { return Err(Refusal::Checking) };
        let verdict = match &mut life.detector {
            Detector::Swim(membership) => membership.judge(now, hello),
            Detector::Views(views) => views.judge(peer, hello),
        };
        self.trace.input(self.now, node, "judge", hello);
        self.trace.effects(&[&verdict]);
        self.plan_timer(node);
        verdict
    }
}
