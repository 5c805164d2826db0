//! What is remembered from one look at the world to the next, for the invariants that compare the two.

use std::collections::BTreeMap;

use ordu_registry::core::clock::Context;
use ordu_registry::core::retire::Retired;
use ordu_registry::core::{Fence, Name};
use ordu_transport::core::Pid;

use crate::invariants::tables;
use crate::world::World;

/// For how long after its end it is watched who hears of a loser.
const HEARD_LATE_US_MAX: u64 = 10_000_000;

/// What a table showed.
#[derive(Debug)]
pub(crate) struct TableThen {
    pub(crate) revision: u64,
    pub(crate) context: Context,
    pub(crate) retired: Retired,
}

/// What the last look saw.
#[derive(Debug, Default)]
pub(crate) struct LastLook {
    /// Of each node, which life that was, and its tables.
    tables: BTreeMap<usize, (u64, Vec<TableThen>)>,
    /// Since when the packets of two nodes have reached each other.
    near_since: BTreeMap<(usize, usize), u64>,
    /// Who was up, and how often directions had been cut or opened, when that was looked at.
    near_of: Option<(Vec<usize>, u64)>,
    /// The highest fence of each loser that each life of a node held in its replica, in a claim to a name that it lost.
    heard: BTreeMap<(Pid, usize, u64), Fence>,
}

impl LastLook {
    /// The tables of this life, if it was there.
    pub(crate) fn tables(&self, node: usize, life: u64) -> Option<&[TableThen]> {
        self.tables.get(&node).filter(|(then, _)| *then == life).map(|(_, tables)| tables.as_slice())
    }

    /// The highest fence that a life's replica was seen to hold in a claim of this loser to a name that it lost.
    pub(crate) fn heard(&self, node: usize, life: u64, loser: &Pid) -> Option<Fence> {
        self.heard.get(&(loser.clone(), node, life)).copied()
    }

    /// Since when two nodes have been able to hear each other, as far as was seen; the lesser first.
    pub(crate) fn near_since(&self, one: usize, other: usize) -> Option<u64> {
        self.near_since.get(&(one.min(other), one.max(other))).copied()
    }
}

impl World {
    /// Remembers what the next look is compared with.
    pub(crate) fn remember(&self) {
        let mut last = self.last.take();
        last.tables.retain(|node, (life, _)| self.is_life(*node, *life));
        for (node, life) in self.up() {
            let (_, then) = last.tables.entry(node).or_insert_with(|| (life.number, Vec::new()));
            for (at, now) in tables(&life.upper).enumerate() {
                let seen =
                    || TableThen { revision: now.revision, context: now.context.clone(), retired: now.retired.clone() };
                match then.get_mut(at) {
                    None => then.push(seen()),
                    Some(then) if then.revision != now.revision => *then = seen(),
                    Some(_) => {}
                }
            }
        }
        self.remember_who_is_near(&mut last);
        self.remember_who_is_heard(&mut last);
        self.last.replace(last);
    }

    fn remember_who_is_near(&self, last: &mut LastLook) {
        if self.faults.is_stormy() {
            last.near_of = None;
            return last.near_since.clear();
        }
        let up: Vec<usize> = self.up().map(|(node, _)| node).filter(|&node| !self.nodes[node].paused).collect();
        // A look at all pairs: only where it can come to something else.
        let of = Some((up.clone(), self.net.turns));
        if last.near_of == of {
            return;
        }
        last.near_of = of;
        let is_up = |node: &usize| up.binary_search(node).is_ok();
        let pairs = || up.iter().flat_map(|one| up.iter().map(move |other| (*one, *other))).filter(|(a, b)| a < b);
        let is_near = |(one, other): &(usize, usize)| self.net.is_open(*one, *other) && self.net.is_open(*other, *one);
        last.near_since.retain(|pair, _| is_up(&pair.0) && is_up(&pair.1) && is_near(pair));
        for pair in pairs().filter(is_near) {
            last.near_since.entry(pair).or_insert(self.now);
        }
    }

    fn remember_who_is_heard(&self, last: &mut LastLook) {
        for pid in &self.oracle.losers {
            let Some(process) = self.oracle.processes.get(pid) else { continue };
            if process.ended_us.is_some_and(|ended| ended + HEARD_LATE_US_MAX < self.now) {
                continue;
            }
            let lost: Vec<Name> = process.told.iter().filter_map(|told| Name::new(&told.name).ok()).collect();
            for (node, life) in self.up() {
                let table = life.upper.names().names().table();
                let claims = lost.iter().flat_map(|name| table.live(name)).map(|(_, _, claim)| claim);
                if let Some(fence) = claims.filter(|claim| claim.pid == *pid).map(|claim| claim.fence).max() {
                    let highest = last.heard.entry((pid.clone(), node, life.number)).or_insert(fence);
                    *highest = fence.max(*highest);
                }
            }
        }
    }
}
