//! What a node does for its own children: it asks to be vouched for and to be granted them, starts what it was granted, stops
//! what it is not granted any more, and says what it has no more.

use std::time::Duration;

use ordu_transport::core::defects::{Defect, is_present};
use ordu_transport::core::{Instant, NodeId, NodeName, Now};
use rand::RngExt;

use super::grants::Answered;
use super::leases::Asks;
use super::words::Word;
use super::{ASK_CHILDREN_MAX, BEAT_EVERY, GRANT_PAUSE, KILL_AFTER, Partition, Votes, say};
use crate::core::child::{Phase, Then};
use crate::core::row::EventKind;
use crate::core::spec::ChildId;
use crate::core::supervisor::Supervisor;
use crate::core::words::Effect;

impl Supervisor {
    /// Beats, asks again, and sees what has to stop.
    pub(in crate::core) fn vote(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.votes.is_none() || self.next_vote().is_none_or(|at| now.at < at) {
            return;
        }
        let own = self.id().clone();
        let Some(votes) = &mut self.votes else { return };
        if let Some(epoch) = votes.grants.vouch(now.at, votes.life, &own) {
            votes.leases.own_vouch(now.at, std::mem::replace(&mut votes.own_epoch, epoch) == epoch);
        }
        let Votes { leaving, members, lives, .. } = votes;
        leaving.retain(|name, until| {
            let counts = *until > now.at;
            if !counts {
                members.remove(name);
                lives.remove(name);
            }
            counts
        });
        let is_due = votes.next_beat <= now.at;
        votes.leases.ask_again(now.at, is_due);
        if is_due {
            votes.next_beat = now.at + BEAT_EVERY;
            let number = votes.leases.beat(now.at);
            let terms = votes.config.terms();
            let beat = Word::Beat { life: votes.life, number, terms, members: votes.members() };
            say(self.connected.iter().cloned().collect(), beat, effects);
        }
        self.look_at_power(now, effects);
        self.look_at_leases(now, effects);
    }

    /// Notes whether this node is one of a quorum, and says so.
    pub(super) fn look_at_power(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let Some(votes) = &mut self.votes else { return };
        votes.takes_part = votes.grants.from() <= now.at;
        let is_held = votes.takes_part
            && votes.at_odds.is_empty()
            && votes.leases.holds_until().is_some_and(|until| until > now.at);
        if std::mem::replace(&mut votes.is_held, is_held) == is_held {
            return;
        }
        let (vouching, needed) = (votes.leases.supporters(now.at), votes.config.members);
        let regained = std::mem::replace(&mut votes.was_held, true);
        if !is_held {
            tracing::warn!(vouching, needed, "the quorum is lost: children stop after a grace, and none is started");
            self.tell(now, EventKind::QuorumLost, effects);
        } else {
            tracing::info!(vouching, needed, "there is a quorum: this node runs children");
            if regained {
                self.tell(now, EventKind::QuorumRegained, effects);
            }
        }
        self.set_powerless(!is_held);
    }

    /// Sees which children have to stop, and until when the others may run though nobody hears of this node any more.
    fn look_at_leases(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let Some(votes) = &mut self.votes else { return };
        let (mut next_stop, mut lease) = (None::<Instant>, None::<Instant>);
        let earlier = |of: &mut Option<Instant>, at: Instant| *of = Some(of.map_or(at, |known| known.min(at)));
        for (id, until) in votes.leases.all_until() {
            let Some(local) = self.local.get(id) else { continue };
            let mut until = until.unwrap_or_default() + votes.config.grace;
            if until > now.at {
                earlier(&mut next_stop, until);
            } else if let Some(gone) = votes.stopping.get(id) {
                until = *gone;
            } else {
                // It is about to be told to stop.
                self.dirty.insert(id.clone());
                until = now.at + votes.config.stop_max;
            }
            if local.pid.is_some() {
                earlier(&mut lease, until);
            }
        }
        let lease = lease.map(|at| at + KILL_AFTER);
        votes.next_stop = next_stop;
        if std::mem::replace(&mut votes.lease, lease) != lease && !is_present(Defect::RunsWithoutQuorum) {
            effects.push(Effect::Lease { within: lease.map(|at| at.saturating_since(now.at)) });
        }
    }

    // ---- children

    /// Whether this node may start a child now; if not, the members are asked.
    pub(in crate::core) fn is_granted(&mut self, now: Now, id: &ChildId) -> bool {
        let Some(votes) = &mut self.votes else { return true };
        if is_present(Defect::StartsUngranted) && votes.is_held {
            return true;
        }
        votes.leases.want(id);
        let is_ours = votes.leases.ours_until(id).is_some_and(|until| until > now.at);
        if !is_ours {
            votes.asking.insert(id.clone());
        }
        is_ours
    }

    /// A child of ours is about to be started: whoever enforces that it stops has to know until when it may run before.
    pub(in crate::core) fn lease_before_start(&mut self, now: Now, id: &ChildId, effects: &mut Vec<Effect>) {
        let Some(votes) = &mut self.votes else { return };
        let until = votes.runs_until(id).unwrap_or_default() + votes.config.grace + KILL_AFTER;
        if votes.lease.is_none_or(|lease| until < lease || lease <= now.at) && !is_present(Defect::RunsWithoutQuorum) {
            votes.lease = Some(until);
            effects.push(Effect::Lease { within: Some(until.saturating_since(now.at)) });
        }
    }

    /// Whether this node is one of a quorum, where it needs one.
    pub(in crate::core) fn has_power(&self) -> bool {
        self.votes.as_ref().map_or(!self.needs_quorum() && !self.is_mixed, |votes| votes.is_held)
    }

    /// Looks whether this node, which needs no quorum, is among members that do: then it runs no children, for they would run
    /// twice. Those leave it out as well.
    pub(in crate::core) fn look_at_terms(&mut self) {
        if self.needs_quorum() {
            return;
        }
        let theirs = |id: &NodeId| self.facts_of(id).is_some_and(|facts| facts.terms.is_some());
        let other = self.registry.view().living().map(|member| &member.id).find(|id| theirs(id)).cloned();
        let is_mixed = other.is_some();
        if is_mixed == self.is_mixed {
            return;
        }
        if let Some(other) = other {
            tracing::error!(%other, "members of this cluster run children by a quorum, and this node was started without: it \
                runs none; start it with the same --partition, --quorum-grace and --quorum-stop-timeout");
        }
        self.is_mixed = is_mixed;
        self.set_powerless(is_mixed);
    }

    pub(in crate::core) fn needs_quorum(&self) -> bool {
        matches!(self.partition, Partition::Quorum(_))
    }

    /// In a cluster that needs a quorum: the node that is down and had a child, which may run there yet.
    pub(in crate::core) fn may_run_on_yet(&self, id: &ChildId) -> Option<&NodeName> {
        let mut had = self.actual.table().live(id).filter(|(_, _, claim)| self.needs_quorum() && claim.has_process());
        had.find(|(node, ..)| !self.registry.view().is_living(node)).map(|(node, ..)| &node.name)
    }

    /// What a child of ours that must not be started yet does meanwhile: it waits where this node may have it, and is
    /// left to others otherwise.
    pub(in crate::core) fn wait_for_grant(&mut self, now: Now, id: &ChildId) {
        if !self.has_power() {
            return self.drop_local(id);
        }
        if let Some(local) = self.local.get_mut(id) {
            (local.phase, local.since_ms) = (Phase::Backoff { until: now.at + GRANT_PAUSE }, now.wall_ms);
        }
    }

    /// Before a child is looked at: whether it is asked for is found anew.
    pub(in crate::core) fn forget_asking(&mut self, id: &ChildId) {
        if let Some(votes) = &mut self.votes {
            votes.asking.remove(id);
        }
    }

    /// Stops a child that we hold if too few members vouch for us, or for our having it.
    pub(in crate::core) fn heed_quorum(&mut self, now: Now, id: &ChildId, effects: &mut Vec<Effect>) {
        let (Some(votes), Some(local)) = (&mut self.votes, self.local.get_mut(id)) else { return };
        if !is_under_grant(&local.phase) || is_present(Defect::RunsWithoutQuorum) {
            return;
        }
        let until = votes.runs_until(id).unwrap_or_default() + votes.config.grace;
        if until > now.at {
            return;
        }
        votes.stopping.entry(id.clone()).or_insert(now.at + votes.config.stop_max);
        match local.phase {
            Phase::Starting { .. } | Phase::Running { .. } => {
                local.reason = Some("its node lost the quorum".into());
                self.stop(id, Then::Gone, effects);
            }
            Phase::Backoff { .. } | Phase::Failed { .. } => self.drop_local(id),
            Phase::Stopping(_) | Phase::Released { .. } | Phase::Quarantined | Phase::Done { .. } => {}
        }
    }

    /// How long a child may take to stop.
    pub(in crate::core) fn stop_timeout(&self, asked: Duration) -> Duration {
        self.votes.as_ref().map_or(asked, |votes| asked.min(votes.config.stop_max))
    }

    /// After a child was looked at: what this node neither has nor would start is released.
    pub(in crate::core) fn release_unless_held(&mut self, id: &ChildId) {
        let is_fetching = self.is_fetching(id);
        let Some(votes) = &mut self.votes else { return };
        let local = self.local.get(id);
        if local.is_none_or(|local| local.pid.is_none()) {
            votes.stopping.remove(id);
        }
        if !votes.asking.contains(id)
            && !is_fetching
            && !local.is_some_and(|local| is_under_grant(&local.phase))
            && votes.leases.wants(id)
        {
            votes.leases.give_up(id);
            votes.releases.insert(id.clone());
        }
    }

    /// Says what is released and asks for what is wanted. Returns whether this node's own word decided anything.
    pub(in crate::core) fn ask_members(&mut self, now: Now, effects: &mut Vec<Effect>) -> bool {
        let jitter = self.votes.as_ref().map(|_| self.rng.random::<f64>()).unwrap_or_default();
        let Some(votes) = &mut self.votes else { return false };
        if !votes.releases.is_empty() {
            let (life, number) = (votes.life, votes.leases.next_number());
            let released: Vec<ChildId> = std::mem::take(&mut votes.releases).into_iter().collect();
            votes.grants.release(life, number, &released);
            for children in released.chunks(ASK_CHILDREN_MAX) {
                say(votes.leases.nodes(), Word::Release { life, number, children: children.to_vec() }, effects);
            }
        }
        let Some(Asks { number, own, others }) = votes.leases.take_unasked(now.at) else { return false };
        let Answered { yes, no, held } = votes.grants.ask(now.at, votes.life, number, own);
        for (to, batches) in others {
            for children in batches {
                say(vec![to.clone()], Word::Ask { life: votes.life, number, children }, effects);
            }
        }
        for (to, children) in held {
            say(vec![to], Word::Held { children }, effects);
        }
        yes.iter().for_each(|id| votes.leases.own_word(id, true));
        no.iter().for_each(|id| votes.leases.own_word(id, false));
        let before = self.dirty.len();
        self.look_at_words(now, yes.into_iter().chain(no), jitter);
        self.dirty.len() > before || self.votes.as_ref().is_some_and(|votes| !votes.releases.is_empty())
    }

    /// Looks at children about which somebody has said yes or no.
    pub(super) fn look_at_words(&mut self, now: Now, children: impl Iterator<Item = ChildId>, jitter: f64) {
        let Some(votes) = &mut self.votes else { return };
        for id in children {
            if votes.leases.ours_until(&id).is_some_and(|until| until > now.at) {
                self.dirty.insert(id);
            } else if self.local.get(&id).is_none_or(|local| local.pid.is_none())
                && votes.leases.is_refused(&id, votes.members.len())
            {
                votes.leases.pause(now.at, &id, jitter);
                votes.releases.insert(id);
            }
        }
    }
}

impl Votes {
    /// Until when a child may run that this node has.
    fn runs_until(&self, id: &ChildId) -> Option<Instant> {
        match is_present(Defect::StartsUngranted) {
            true => self.leases.holds_until(),
            false => self.leases.ours_until(id),
        }
    }
}

/// Whether nobody else may start a child that is in this phase here.
fn is_under_grant(phase: &Phase) -> bool {
    match phase {
        Phase::Starting { .. } | Phase::Running { .. } | Phase::Stopping(_) => true,
        Phase::Backoff { .. } | Phase::Failed { .. } => true,
        Phase::Released { .. } | Phase::Quarantined | Phase::Done { .. } => false,
    }
}
