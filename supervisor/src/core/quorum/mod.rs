//! Running children only where most of the cluster agrees: no child ever runs twice, whatever is cut off, and who is in the
//! minority stops.
//!
//! ```text
//!   a node                                              each other member
//!     ├── beat, twice a second ───────────────────────────▶│
//!     │◀────────────────────────────── I vouch for you ────┤  notes when
//!     │   counts for LEASE from when the beat was sent     │
//!     ├── may I run these children? ──────────────────────▶│
//!     │◀──────────────────── yes: to nobody else ──────────┤  until they are released, or for as long after it last
//!     │   starts what Q members granted, itself included   │  vouched for the node as anything may run by that
//!     ├── I run these no more ────────────────────────────▶│
//! ```
//!
//! A child may run while Q members that granted it vouch for its node. When they do so no more it is stopped after a
//! grace, and is gone `stop_max` later. Two quorums of at most 2Q − 1 members have a member in common, and that one grants
//! the child to somebody else only when it has been gone for certain: [`Quorum::void_after`]. What counts is when a beat
//! was *sent*, so that no clock is compared with another; clocks must run at about the same pace.
//!
//! A member that begins anew does not know what it granted in an earlier life, and takes no part for as long; or until it
//! has heard of all 2Q − 1 that they never knew that life.
//!
//! The members are counted by name, those that are down included, until they leave or are removed, and for as long after that
//! as anything may run by their grants. A newcomer that would be one more than 2Q − 1 is nobody's member. Where more begin
//! together they may take each other for members of different clusters: who finds that one of its members takes it for none
//! has no quorum, and vouches for nobody, until that has changed.
//!
//! Source of the leases: Gray and Cheriton, "Leases: An Efficient Fault-Tolerant Mechanism for Distributed File Cache
//! Consistency", 1989.

mod grants;
mod leases;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ordu_transport::core::defects::{Defect, is_present};
use ordu_transport::core::{Instant, Lane, NodeId, NodeName, Now, Status};
use rand::RngExt;

use self::grants::{Answered, Grants};
use self::leases::{Asks, Leases};
pub use self::words::{Terms, Word};
use super::child::{Phase, Then};
use super::row::EventKind;
use super::spec::ChildId;
use super::supervisor::Supervisor;
use super::words::{Control, Effect, Message};

/// How often a node asks the others to vouch for it.
pub const BEAT_EVERY: Duration = Duration::from_millis(500);
/// How long it counts that somebody vouched for a node, from when he was asked.
pub const LEASE: Duration = Duration::from_secs(2);
/// How long a node that lost its quorum goes on with its children, unless it is told otherwise.
pub const GRACE: Duration = Duration::from_secs(3);
/// Longest time that a child may take to stop in a cluster with a quorum, unless it is told otherwise.
pub const STOP_MAX: Duration = Duration::from_secs(10);
/// How much longer others wait: for a child that is given a little more time than it was told, for a kill to be done, and for
/// clocks that do not run at the same pace.
pub const MARGIN: Duration = Duration::from_secs(4);
/// How long after a child should be gone whoever enforces that kills it.
const KILL_AFTER: Duration = Duration::from_millis(500);
/// Longest grace, and longest time to stop.
pub const TIME_MAX: Duration = Duration::from_secs(3_600);
/// Most members of a quorum.
pub const QUORUM_MAX: usize = 16;
/// Most children that one message asks for, grants or releases.
const ASK_CHILDREN_MAX: usize = 1_024;
/// How long a child that is not granted yet waits until that is looked at again.
const GRANT_PAUSE: Duration = Duration::from_millis(100);

/// What a node does when it is cut off from most others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Partition {
    /// It goes on, and starts what it misses: on each side of a cut every child runs.
    #[default]
    KeepRunning,
    /// It stops its children, and the others take them over then.
    Quorum(Quorum),
}

/// Of how many members most is. The same on every node of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Quorum {
    /// So many, oneself included: 1 to [`QUORUM_MAX`]. The cluster has at most twice as many less one.
    pub members: usize,
    /// How long children run on when the quorum is lost.
    pub grace: Duration,
    /// Longest time that a child may take to stop when asked; specs that allow more get this.
    pub stop_max: Duration,
}

impl Quorum {
    /// So many members, with [`GRACE`] and [`STOP_MAX`].
    pub fn of(members: usize) -> Self {
        Self { members: members.clamp(1, QUORUM_MAX), grace: GRACE, stop_max: STOP_MAX }
    }

    /// Most members of the cluster.
    pub fn members_max(&self) -> usize {
        2 * self.members - 1
    }

    fn terms(&self) -> Terms {
        let void_after_ms = u64::try_from(self.void_after().as_millis()).unwrap_or(u64::MAX);
        Terms { members: self.members as u64, void_after_ms }
    }

    /// How long after a member last vouched for a node nothing can run there any more by its grants.
    pub fn void_after(&self) -> Duration {
        let margin = if is_present(Defect::TakesOverEarly) { Duration::ZERO } else { self.stop_max + MARGIN };
        LEASE + self.grace + margin
    }
}

/// How it stands with a node's quorum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct QuorumStatus {
    /// How many members it takes.
    pub needed: usize,
    /// How many vouch for the node now, itself included.
    pub vouching: usize,
    /// How many members there are.
    pub members: usize,
    /// Whether the node may run children.
    pub is_held: bool,
    /// For how long it takes no part yet, at most, because it has just begun.
    pub waits: Duration,
}

/// One node's part in it.
#[derive(Debug, Clone)]
pub(super) struct Votes {
    config: Quorum,
    life: u64,
    members: BTreeSet<NodeName>,
    /// The life of each member, and whether it is the first that we know.
    lives: BTreeMap<NodeName, (u64, bool)>,
    /// The members that know no earlier life of ours.
    strangers: BTreeSet<NodeName>,
    grants: Grants,
    leases: Leases,
    own_epoch: u64,
    next_beat: Instant,
    /// The earliest moment at which a child has to stop.
    next_stop: Option<Instant>,
    /// Whether it has waited for as long as earlier grants of it may count.
    takes_part: bool,
    is_held: bool,
    /// Whether it ever was.
    was_held: bool,
    /// Children that this node would start.
    asking: BTreeSet<ChildId>,
    /// When those have to be gone that were told to stop because the quorum was lost.
    stopping: BTreeMap<ChildId, Instant>,
    /// What others have to be told.
    releases: BTreeSet<ChildId>,
    /// What the driver was told last.
    lease: Option<Instant>,
    /// Whether it was told that there are too many members.
    is_left_out: bool,
    /// Members that do not take this node for one.
    at_odds: BTreeSet<NodeName>,
    /// Members that have left, and until when they count.
    leaving: BTreeMap<NodeName, Instant>,
    /// The last rules of others that are not ours.
    is_told_of_terms: Option<Terms>,
}

impl Supervisor {
    // ---- reading

    /// How it stands with this node's quorum, where it needs one.
    pub fn quorum(&self, now: Now) -> Option<QuorumStatus> {
        let votes = self.votes.as_ref()?;
        let (needed, vouching) = (votes.config.members, votes.leases.supporters(now.at));
        let (is_held, waits) = (votes.is_held, votes.grants.from().saturating_since(now.at));
        Some(QuorumStatus { needed, vouching, members: votes.members.len(), is_held, waits })
    }

    /// Why a child that this node would start is not started.
    pub(super) fn why_not_granted(&self, id: &ChildId) -> Option<String> {
        let votes = self.votes.as_ref().filter(|votes| votes.asking.contains(id))?;
        let needed = votes.config.members;
        Some(format!("waiting until {needed} members agree that it runs nowhere else"))
    }

    /// When the quorum is to be looked at.
    pub(super) fn next_vote(&self) -> Option<Instant> {
        let Some(votes) = &self.votes else {
            return self.needs_quorum().then(Instant::default);
        };
        let begins = Some(votes.grants.from()).filter(|_| !votes.takes_part);
        [Some(votes.next_beat), votes.next_stop, votes.leases.next_again(), begins].into_iter().flatten().min()
    }

    // ---- the part that every node has in it

    /// Takes its part, once it knows what time it is.
    pub(super) fn begin_votes(&mut self, now: Now) {
        let Partition::Quorum(Quorum { members, grace, stop_max }) = self.partition else { return };
        if self.votes.is_some() {
            return;
        }
        let (grace, stop_max) = (grace.min(TIME_MAX), stop_max.min(TIME_MAX));
        let config = Quorum { members: members.clamp(1, QUORUM_MAX), grace, stop_max };
        // Alone it granted to nobody else.
        let forgets = config.members_max() > 1 && !is_present(Defect::ForgetsGrants);
        let from = now.at + if forgets { config.void_after() } else { Duration::ZERO };
        self.votes = Some(Votes {
            config,
            life: self.rng.random(),
            members: BTreeSet::from([self.id().name.clone()]),
            lives: BTreeMap::new(),
            strangers: BTreeSet::new(),
            grants: Grants::new(config.void_after(), from),
            leases: Leases::new(config.members),
            own_epoch: 0,
            next_beat: now.at,
            next_stop: None,
            takes_part: false,
            is_held: false,
            was_held: false,
            asking: BTreeSet::new(),
            stopping: BTreeMap::new(),
            releases: BTreeSet::new(),
            lease: None,
            is_left_out: false,
            at_odds: BTreeSet::new(),
            leaving: BTreeMap::new(),
            is_told_of_terms: None,
        });
    }

    /// Beats, asks again, and sees what has to stop.
    pub(super) fn vote(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.votes.is_none() || self.next_vote().is_none_or(|at| now.at < at) {
            return;
        }
        let own = self.id().clone();
        let Some(votes) = &mut self.votes else { return };
        if let Some(epoch) = votes.grants.vouch(now.at, votes.life, &own) {
            votes.leases.own_vouch(now.at, std::mem::replace(&mut votes.own_epoch, epoch) == epoch);
        }
        let Votes { leaving, members, .. } = votes;
        leaving.retain(|name, until| {
            let counts = *until > now.at;
            if !counts {
                members.remove(name);
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
    fn look_at_power(&mut self, now: Now, effects: &mut Vec<Effect>) {
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
    pub(super) fn is_granted(&mut self, now: Now, id: &ChildId) -> bool {
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
    pub(super) fn lease_before_start(&mut self, now: Now, id: &ChildId, effects: &mut Vec<Effect>) {
        let Some(votes) = &mut self.votes else { return };
        let until = votes.runs_until(id).unwrap_or_default() + votes.config.grace + KILL_AFTER;
        if votes.lease.is_none_or(|lease| until < lease || lease <= now.at) && !is_present(Defect::RunsWithoutQuorum) {
            votes.lease = Some(until);
            effects.push(Effect::Lease { within: Some(until.saturating_since(now.at)) });
        }
    }

    /// Whether this node is one of a quorum, where it needs one.
    pub(super) fn has_power(&self) -> bool {
        self.votes.as_ref().map_or(!self.needs_quorum(), |votes| votes.is_held)
    }

    pub(super) fn needs_quorum(&self) -> bool {
        matches!(self.partition, Partition::Quorum(_))
    }

    /// What a child of ours that must not be started yet does meanwhile: it waits where this node may have it, and is
    /// left to others otherwise.
    pub(super) fn wait_for_grant(&mut self, now: Now, id: &ChildId) {
        if !self.has_power() {
            return self.drop_local(id);
        }
        if let Some(local) = self.local.get_mut(id) {
            (local.phase, local.since_ms) = (Phase::Backoff { until: now.at + GRANT_PAUSE }, now.wall_ms);
        }
    }

    /// Before a child is looked at: whether it is asked for is found anew.
    pub(super) fn forget_asking(&mut self, id: &ChildId) {
        if let Some(votes) = &mut self.votes {
            votes.asking.remove(id);
        }
    }

    /// Stops a child that we hold if too few members vouch for us, or for our having it.
    pub(super) fn heed_quorum(&mut self, now: Now, id: &ChildId, effects: &mut Vec<Effect>) {
        let Some(votes) = &mut self.votes else { return };
        let Some(local) = self.local.get_mut(id) else { return };
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
    pub(super) fn stop_timeout(&self, asked: Duration) -> Duration {
        self.votes.as_ref().map_or(asked, |votes| asked.min(votes.config.stop_max))
    }

    /// After a child was looked at: what this node neither has nor would start is released.
    pub(super) fn release_unless_held(&mut self, id: &ChildId) {
        let Some(votes) = &mut self.votes else { return };
        let local = self.local.get(id);
        if local.is_none_or(|local| local.pid.is_none()) {
            votes.stopping.remove(id);
        }
        if !votes.asking.contains(id)
            && !local.is_some_and(|local| is_under_grant(&local.phase))
            && votes.leases.wants(id)
        {
            votes.leases.give_up(id);
            votes.releases.insert(id.clone());
        }
    }

    /// Says what is released and asks for what is wanted. Returns whether this node's own word decided anything.
    pub(super) fn ask_members(&mut self, now: Now, effects: &mut Vec<Effect>) -> bool {
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
    fn look_at_words(&mut self, now: Now, children: impl Iterator<Item = ChildId>, jitter: f64) {
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

    // ---- what others say

    pub(super) fn on_word(&mut self, now: Now, from: &NodeId, word: Word, effects: &mut Vec<Effect>) {
        let jitter = self.votes.as_ref().map(|_| self.rng.random::<f64>()).unwrap_or_default();
        // Who needs no quorum vouches for nobody.
        if self.votes.is_none() {
            return;
        }
        match word {
            Word::Beat { life, number, terms, members } => {
                let answer = if !self.has_terms(from, terms) {
                    None
                } else if self.admit(from, members) {
                    self.vouch(now, from, life, number)
                } else {
                    self.note_odds(now, &from.name, effects);
                    self.votes.as_ref().map(|votes| Word::Full { members: votes.members() })
                };
                answer.into_iter().for_each(|answer| say(vec![from.clone()], answer, effects));
            }
            Word::Vouch { life, epoch, number, is_first, members } => {
                if self.admit(from, members)
                    && let Some(votes) = &mut self.votes
                {
                    votes.is_first(&from.name, life);
                    votes.meet(now, &from.name, is_first);
                    if votes.leases.vouched(number, from, life, epoch) {
                        votes.leases.ask_again(now.at, true);
                    }
                }
                self.look_at_power(now, effects);
            }
            Word::Full { members } => {
                if !members.contains(&self.id().name) {
                    self.note_odds(now, &from.name, effects);
                }
                let Some(votes) = self.votes.as_mut().filter(|votes| !votes.is_left_out) else { return };
                votes.is_left_out = true;
                let (most, members) = (votes.config.members_max(), names(&members));
                tracing::error!(by = %from, %members, most, "the cluster has all the members that its quorum allows; \
                    remove one that will not return, or start every node with a larger quorum");
            }
            Word::Ask { life, number, children } => {
                let Some(votes) = &mut self.votes else { return };
                let Some(epoch) = votes.grants.epoch_of(life) else { return };
                let Answered { yes, no, held } = votes.grants.ask(now.at, life, number, children);
                say(vec![from.clone()], Word::Grant { life: votes.life, epoch, number, yes, no }, effects);
                for (to, children) in held.into_iter().filter(|(to, _)| to != from) {
                    say(vec![to], Word::Held { children }, effects);
                }
            }
            Word::Grant { life, epoch, number, yes, no } => {
                let Some(votes) = &mut self.votes else { return };
                let (changed, unwanted) = votes.leases.answered(from, (life, epoch, number), yes, no);
                votes.releases.extend(unwanted);
                self.look_at_words(now, changed.into_iter(), jitter);
            }
            Word::Release { life, number, children } => {
                if let Some(votes) = &mut self.votes {
                    votes.grants.release(life, number, &children);
                }
            }
            Word::Held { children } => {
                if let Some(votes) = &mut self.votes {
                    votes.releases.extend(children.into_iter().filter(|id| !votes.leases.wants(id)));
                }
            }
        }
    }

    /// Whether another goes by the rules that this node goes by.
    fn has_terms(&mut self, from: &NodeId, theirs: Terms) -> bool {
        let Some(votes) = &mut self.votes else { return false };
        let ours = votes.config.terms();
        if theirs != ours && votes.is_told_of_terms != Some(theirs) {
            votes.is_told_of_terms = Some(theirs);
            tracing::error!(by = %from, ?theirs, ?ours, "another quorum, grace or stop timeout is asked for there: neither \
                vouches for the other; start all nodes with the same");
        }
        theirs == ours
    }

    /// A member says whom it knows as members. Whether it is one of ours: together there must not be too many.
    fn admit(&mut self, from: &NodeId, theirs: Vec<NodeName>) -> bool {
        let view = self.registry.view();
        let Some(votes) = &mut self.votes else { return false };
        let has_left = |name: &NodeName| view.get(name).is_some_and(|member| member.status == Status::Left);
        let mut members = votes.members.clone();
        members.extend(theirs.into_iter().filter(|name| !has_left(name)));
        members.insert(from.name.clone());
        if members.len() > votes.config.members_max() {
            return false;
        }
        (votes.members, votes.is_left_out) = (members, false);
        votes.at_odds.remove(&from.name);
        votes.leaving.remove(&from.name);
        true
    }

    /// A member does not take this node for one, or has others for members than fit with ours.
    fn note_odds(&mut self, now: Now, name: &NodeName, effects: &mut Vec<Effect>) {
        let Some(votes) = self.votes.as_mut().filter(|votes| votes.members.contains(name)) else { return };
        if votes.at_odds.insert(name.clone()) {
            let most = votes.config.members_max();
            tracing::error!(by = %name, most, "there are more members than the quorum allows, and they do not agree who is \
                one: this node runs nothing until they do; stop those that are too many");
        }
        self.look_at_power(now, effects);
    }

    fn vouch(&mut self, now: Now, from: &NodeId, life: u64, number: u64) -> Option<Word> {
        let votes = self.votes.as_mut().filter(|votes| votes.at_odds.is_empty())?;
        let epoch = votes.grants.vouch(now.at, life, from)?;
        let is_first = votes.is_first(&from.name, life);
        Some(Word::Vouch { life: votes.life, epoch, number, is_first, members: votes.members() })
    }

    /// A member has left, or was removed.
    pub(super) fn forget_voter(&mut self, now: Now, name: &NodeName) {
        let own = self.id().name.clone();
        if let Some(votes) = self.votes.as_mut().filter(|votes| *name != own && votes.members.contains(name)) {
            votes.leaving.insert(name.clone(), now.at + votes.config.void_after());
            votes.strangers.remove(name);
            votes.at_odds.remove(name);
            votes.leases.forget(name);
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

    /// Whether this life of a member is the first that we know.
    fn is_first(&mut self, name: &NodeName, life: u64) -> bool {
        let known = self.lives.entry(name.clone()).or_insert((life, true));
        if known.0 != life {
            *known = (life, false);
        }
        known.1
    }

    /// A member knows an earlier life of ours, or none. Once none of all that there may be does, nothing can run by what
    /// such a life granted: who began anew himself runs nothing from before either.
    fn meet(&mut self, now: Now, name: &NodeName, is_first: bool) {
        if is_first {
            self.strangers.insert(name.clone());
        } else {
            self.strangers.remove(name);
        }
        if self.strangers.len() + 1 >= self.config.members_max() {
            self.grants.begin(now.at);
        }
    }

    fn members(&self) -> Vec<NodeName> {
        self.members.iter().cloned().collect()
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

fn say(to: Vec<NodeId>, word: Word, effects: &mut Vec<Effect>) {
    if !to.is_empty() {
        let message = Box::new(Message::Control(Control::Quorum(word)));
        effects.push(Effect::Send { to, lane: Lane::Control, message });
    }
}

fn names(members: &[NodeName]) -> String {
    members.iter().map(NodeName::as_str).collect::<Vec<_>>().join(", ")
}
