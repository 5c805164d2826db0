//! How far a claim has travelled: which members have acknowledged it. Pure; whoever waits asks again after each call of
//! the core.
//!
//! A member acknowledges what it has applied, so one that has acknowledged a claim shows it in its lookups, unless it holds
//! our node as down or knows a better-ranked claim.

use std::collections::BTreeSet;

use ordu_transport::core::{NodeId, Pid, Status};

use super::claim::Name;
use super::clock::{Clock, Dot};
use super::names::{Effect, Registry};

/// Who must have acknowledged a claim, its own node included, which always has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Every member that is not down.
    All,
    /// More than half of all members that have not left, those that are down included: of two sides of a partition at most
    /// one has them. A member counts until it has left, was removed, or came back as another incarnation.
    Majority,
}

/// Why waiting for acknowledgements of a claim is in vain.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Vain {
    /// The process does not hold the name: it gave it up, has ended, or never had it.
    #[error("the process does not hold the name")]
    Gone,
    /// The process lost a conflict, on this name or another, and was told to stop.
    #[error("the process lost a conflict to {winner}")]
    Lost {
        /// The process that stays.
        winner: Pid,
    },
}

/// A claim whose acknowledgements somebody waits for.
///
/// The event that counts is the one that was there when it was first looked at: a value that changes meanwhile takes
/// nothing back.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Awaited {
    pid: Pid,
    name: Name,
    scope: Scope,
    /// Whether a better-ranked claim that was seen stands in the way.
    alone: bool,
    dot: Option<Dot>,
    /// Who was seen to have acknowledged it: of many members it is forgotten again.
    having: BTreeSet<NodeId>,
}

impl Awaited {
    /// Waits for acknowledgements alone.
    pub fn new(pid: Pid, name: Name, scope: Scope) -> Self {
        Self { pid, name, scope, alone: false, dot: None, having: BTreeSet::new() }
    }

    /// Waits for a majority, and for that no better-ranked claim to the name is in sight.
    pub fn quorum(pid: Pid, name: Name) -> Self {
        Self { alone: true, ..Self::new(pid, name, Scope::Majority) }
    }

    /// Whether it came true. Ask again after the next call of the core.
    ///
    /// # Errors
    /// When it never will.
    pub fn check(&mut self, registry: &Registry) -> Result<bool, Vain> {
        let Some(process) = registry.processes.get(&self.pid).filter(|process| process.names.contains(&self.name))
        else {
            return Err(Vain::Gone);
        };
        if let Some(winner) = process.lost_to.clone() {
            return Err(Vain::Lost { winner });
        }
        // Under another identity the claim was written anew.
        if self.dot.as_ref().is_none_or(|dot| dot.actor != registry.id) {
            self.dot = registry.own_dot(&self.name);
            self.having.clear();
        }
        let Some(dot) = &self.dot else { return Ok(false) };
        let clock = Clock::from(dot.clone());
        if registry.names.has_relays() {
            let missing = registry.others(true).filter(|id| !self.having.contains(*id));
            let having: Vec<NodeId> = missing.filter(|id| registry.names.has_acked(id, &clock)).cloned().collect();
            self.having.extend(having);
        }
        let has = |id: &&NodeId| self.having.contains(*id) || registry.names.has_acked(id, &clock);
        let enough = match self.scope {
            Scope::All => registry.others(false).all(|id| has(&id)),
            Scope::Majority => {
                let (others, having) = (registry.others(true).count(), registry.others(true).filter(has).count());
                2 * (having + 1) > others + 1
            }
        };
        Ok(enough && !(self.alone && registry.is_beaten(&self.pid, &self.name)))
    }

    /// Asks those that have not acknowledged it what they have, where relays tell them of it: they acknowledge to relays
    /// only. To be asked now and then while somebody waits.
    pub fn ask(&self, registry: &mut Registry, effects: &mut Vec<Effect>) {
        if registry.names.has_relays() {
            let (missing, mut out) = (self.missing(registry), Vec::new());
            registry.names.ask(missing, &mut out);
            registry.finish(out, effects);
        }
    }

    /// The event that counts, once it was looked at.
    pub fn dot(&self) -> Option<&Dot> {
        self.dot.as_ref()
    }

    /// The members in question that have not acknowledged it, by name.
    pub fn missing(&self, registry: &Registry) -> Vec<NodeId> {
        let clock = self.dot.clone().map(Clock::from);
        let acked = |id: &NodeId| clock.as_ref().is_some_and(|clock| registry.names.has_acked(id, clock));
        let has = |id: &NodeId| self.having.contains(id) || acked(id);
        registry.others(self.scope == Scope::Majority).filter(|id| !has(id)).cloned().collect()
    }
}

impl Registry {
    /// The event by which this node claims a name.
    fn own_dot(&self, name: &Name) -> Option<Dot> {
        let mut events = self.names.table().events_of(name);
        events.find(|event| event.dot.actor == self.id && !event.is_remove()).map(|event| event.dot.clone())
    }

    /// The other members that are not down, or all that have not left.
    fn others(&self, down_too: bool) -> impl Iterator<Item = &NodeId> {
        let counts = move |status: Status| status.is_living() || (down_too && status != Status::Left);
        let others = self.view().members().filter(|member| member.id.name != self.id.name);
        others.filter(move |member| counts(member.status)).map(|member| &member.id)
    }

    /// Whether a visible claim to the name, of a process that has not lost itself, ranks better than that of this process.
    fn is_beaten(&self, pid: &Pid, name: &Name) -> bool {
        let Some((rank, _)) = self.standing(pid) else { return false };
        let rivals = self.visible(name).filter(|(_, claim)| claim.losing.is_none() && claim.pid != *pid);
        rivals.map(|(_, claim)| claim.order()).any(|order| order < (rank, pid))
    }
}
