//! One node's supervisor: its inputs and effects, and how a change travels through it.
//!
//! ```text
//!   message, view, completion, call
//!        |   tables change: their keys become dirty
//!        v
//!   settle: for each dirty child, compare desired and actual under our view (reconcile), show the row that changed
//!           (rows), tell the callers that waited for it (calls)
//!        |   our own writes make keys dirty again; each settles after a bounded number of steps
//!        v
//!   flush: push what we wrote, names before claims before facts; claims before what should run, so that how a child
//!          ended is known before that it should run no more
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ordu_registry::core::clock::Clock;
use ordu_registry::core::names::{self, EFFECTS_KEPT_MAX, HEAR_MAX, NameConflict};
use ordu_registry::core::sync::{Limits, Replica};
use ordu_registry::core::table::Kind;
use ordu_registry::core::unheard::Unheard;
use ordu_registry::core::{Name, Registry};
use ordu_transport::core::{Instant, Member, NodeId, NodeName, Now, Overlay, Pid, Status};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::by_child::ByChild;
use super::calls::Waiting;
use super::checkpoint::Checkpoints;
use super::child::{Exit, Local};
use super::counts::{Counts, Group};
use super::durable::Disk;
use super::expect::Waits;
use super::handoff::{Handed, HandedKey};
use super::merge::Merges;
use super::moves::Redistribution;
use super::placement::Preference;
use super::quorum::{Partition, Votes};
use super::room::Room;
use super::row::{ChildStatus, EventKind};
use super::spec::ChildId;
use super::tables::{Actual, Desired, Facts, FactsKey, Mark, MarkKey};
use super::words::{Config, Effect, Input, Message};

/// Most steps in which one child settles after one input; more would be a loop of ours.
const SETTLE_STEPS_MAX: u32 = 64;

/// One node's supervisor, its registry inside.
#[derive(Debug, Clone)]
pub struct Supervisor {
    pub(super) registry: Registry,
    pub(super) desired: Replica<ChildId, Desired>,
    pub(super) actual: Replica<ChildId, Actual>,
    pub(super) marks: Replica<MarkKey, Mark>,
    pub(super) facts: Replica<FactsKey, Facts>,
    pub(super) own_facts: Facts,
    pub(super) preference: Preference,
    pub(super) redistribution: Redistribution,
    /// The places that this node has for children.
    pub(super) room: Room,
    /// Most children that should run in the cluster when a start is asked for here.
    pub(super) cluster_max: Option<u32>,
    pub(super) keep_done: Duration,
    pub(super) local: ByChild<Local>,
    pub(super) children_by_pid: BTreeMap<Pid, ChildId>,
    pub(super) timers: BTreeSet<(Instant, ChildId)>,
    pub(super) dirty: BTreeSet<ChildId>,
    /// Children that are ours to start once we know what the others hold, and until when each waits for that.
    pub(super) deferred: BTreeMap<ChildId, Instant>,
    pub(super) connected: BTreeSet<NodeId>,
    pub(super) up_since: BTreeMap<NodeId, Instant>,
    /// Members that came up and were not heard yet, and until when we wait for that.
    pub(super) unheard: Unheard,
    pub(super) move_queue: BTreeSet<ChildId>,
    pub(super) next_move_at: Option<Instant>,
    /// Those of the queue that somebody wants to be spread more evenly.
    pub(super) to_even: BTreeSet<ChildId>,
    /// Where children are, once one asks for it.
    pub(super) counts: Option<Counts>,
    /// Groups of which a child has come or gone, and that others keep away from.
    pub(super) crowded: BTreeSet<Group>,
    pub(super) shown: ByChild<(ChildStatus, Option<Pid>)>,
    pub(super) shown_draining: BTreeSet<NodeName>,
    /// Children whose callers wait until somebody else knows what we wrote, and what that is.
    pub(super) unacked: BTreeSet<(ChildId, NodeId, u64)>,
    /// Children with marks beside starts that are not live.
    pub(super) void_marks: BTreeSet<ChildId>,
    /// Marks that are void, and what we knew of what is desired when we saw that.
    pub(super) void_since: Option<(Clock, Vec<MarkKey>)>,
    pub(super) waiting: BTreeMap<u64, Waiting>,
    pub(super) waiting_for: BTreeMap<ChildId, BTreeSet<u64>>,
    /// Those of the calls that wait which are about a node.
    pub(super) waiting_for_nodes: BTreeSet<u64>,
    pub(super) deadlines: BTreeSet<(Instant, u64)>,
    /// What is known of the disk, where there is one.
    pub(super) disk: Option<Disk>,
    /// Whom it waits for before it takes anything.
    pub(super) waits: Option<Waits>,
    /// Whether it came back with what a disk says of a cluster with others, and has met nobody yet.
    pub(super) returns: bool,
    /// Until when it waits for one of them, once it knows what time it is.
    pub(super) returns_until: Option<Instant>,
    /// States of children that come to us.
    pub(super) handed: BTreeMap<HandedKey, Handed>,
    /// Checkpoints of others' children, and what is under way.
    pub(super) checkpoints: Checkpoints,
    /// What losers of conflicts left.
    pub(super) merges: Merges,
    /// Processes that were stopped before they began.
    pub(super) never_begun: Vec<Pid>,
    pub(super) partition: Partition,
    /// Its part in the quorum, once it knows what time it is.
    pub(super) votes: Option<Votes>,
    /// Whether it needs no quorum among members that do.
    pub(super) is_mixed: bool,
    pub(super) shutting_down: bool,
    /// The revisions of all tables when their retirements were last compared.
    pub(super) shared_at: [u64; 5],
    /// Who speaks to whom, as all tables know it.
    pub(super) overlay: Option<std::sync::Arc<Overlay>>,
    drained: bool,
    /// Empty between calls: memory for what the registry wants done.
    absorbing: Vec<names::Effect>,
    pub(super) rng: ChaCha8Rng,
}

impl Supervisor {
    /// A supervisor without children, but for those that the disk says should run.
    pub fn new(config: Config) -> Self {
        let Config {
            id,
            policy,
            kinds,
            version,
            weight,
            labels,
            preference,
            redistribution,
            bounds,
            keep_done,
            disk,
            expect,
            partition,
            copies,
            seed,
        } = config;
        let waits = Waits::new(expect, &id.name);
        let passive = redistribution == Redistribution::Passive;
        let (draining, waiting, cordoned) = (false, waits.is_some(), false);
        let powerless = matches!(partition, Partition::Quorum(_));
        let terms = if let Partition::Quorum(quorum) = partition { Some(quorum.terms()) } else { None };
        let (max_children, full, crowded) = (bounds.node, false, false);
        let own_facts = Facts {
            draining,
            waiting,
            cordoned,
            passive,
            powerless,
            max_children,
            full,
            crowded,
            terms,
            weight,
            labels,
            kinds,
            version,
        };
        // All tables draw the same, so that their digests go out together.
        let mut facts = Replica::new(Kind::OwnerWritten, id.clone(), seed);
        facts.put(FactsKey(id.name.clone()), own_facts.clone());
        let mut supervisor = Self {
            registry: Registry::new(id.clone(), policy, seed),
            desired: Replica::new(Kind::Shared, id.clone(), seed),
            actual: Replica::new(Kind::OwnerWritten, id.clone(), seed),
            marks: Replica::new(Kind::Shared, id, seed),
            facts,
            own_facts,
            preference,
            redistribution,
            room: Room::new(bounds.node),
            cluster_max: bounds.cluster,
            keep_done,
            local: ByChild::default(),
            children_by_pid: BTreeMap::new(),
            timers: BTreeSet::new(),
            dirty: BTreeSet::new(),
            deferred: BTreeMap::new(),
            connected: BTreeSet::new(),
            up_since: BTreeMap::new(),
            unheard: Unheard::default(),
            move_queue: BTreeSet::new(),
            next_move_at: None,
            to_even: BTreeSet::new(),
            counts: None,
            crowded: BTreeSet::new(),
            shown: ByChild::default(),
            shown_draining: BTreeSet::new(),
            unacked: BTreeSet::new(),
            void_marks: BTreeSet::new(),
            void_since: None,
            waiting: BTreeMap::new(),
            waiting_for: BTreeMap::new(),
            waiting_for_nodes: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            disk: None,
            waits,
            returns: false,
            returns_until: None,
            handed: BTreeMap::new(),
            checkpoints: Checkpoints::new(copies),
            merges: Merges::default(),
            never_begun: Vec::new(),
            partition,
            votes: None,
            is_mixed: false,
            shutting_down: false,
            shared_at: [0; 5],
            overlay: None,
            drained: false,
            absorbing: Vec::new(),
            rng: ChaCha8Rng::seed_from_u64(seed ^ 5),
        };
        disk.into_iter().for_each(|stored| supervisor.restore(stored));
        supervisor
    }

    /// Sends no more at once than this. Shared tables keep their removals all the same: what was written after one that has
    /// left the log does not say what that removed.
    pub fn set_limits(&mut self, limits: Limits) {
        self.registry.set_limits(limits);
        self.actual.set_limits(limits);
        self.facts.set_limits(limits);
        let limits = Limits { removals: Limits::default().removals, ..limits };
        self.desired.set_limits(limits);
        self.marks.set_limits(limits);
    }

    // ---- reading

    /// Who this node is.
    pub fn id(&self) -> &NodeId {
        self.registry.id()
    }

    /// The registry.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// What should run, as replicated.
    pub fn desired(&self) -> &Replica<ChildId, Desired> {
        &self.desired
    }

    /// What runs, as replicated.
    pub fn actual(&self) -> &Replica<ChildId, Actual> {
        &self.actual
    }

    /// The marks, as replicated.
    pub fn marks(&self) -> &Replica<MarkKey, Mark> {
        &self.marks
    }

    /// The facts about nodes, as replicated.
    pub fn facts(&self) -> &Replica<FactsKey, Facts> {
        &self.facts
    }

    /// The processes of the children that this node holds.
    pub fn child_pids(&self) -> impl Iterator<Item = (&Pid, &ChildId)> {
        self.children_by_pid.iter()
    }

    /// How many calls wait.
    pub fn calls_len(&self) -> usize {
        self.waiting.len() + self.disk.as_ref().map_or(0, Disk::held_len)
    }

    // ---- being driven

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let tables = [
            self.desired.poll_timeout(),
            self.actual.poll_timeout(),
            self.marks.poll_timeout(),
            self.facts.poll_timeout(),
        ];
        let child = self.timers.first().map(|(at, _)| *at);
        let call = self.deadlines.first().map(|(at, _)| *at);
        let waits = self.waits.as_ref().map(|waits| waits.until.unwrap_or_default());
        let returns = self.returns.then(|| self.returns_until.unwrap_or_default());
        let (moves, hears, votes) = (self.next_move_at, self.unheard.first(), self.next_vote());
        let own = [
            self.registry.poll_timeout(),
            child,
            call,
            waits,
            returns,
            moves,
            hears,
            votes,
            self.room_due(),
            self.checkpoints.next(),
            self.merges.next(),
        ];
        let crowded = (!self.crowded.is_empty()).then(Instant::default);
        own.into_iter().flatten().chain(tables).chain(crowded).min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.begin_votes(now);
        self.repair(now, effects);
        self.remove_void_marks();
        self.forget_states(now.at);
        self.tend_checkpoints(now);
        self.tend_merges(now);
        while let Some((at, id)) = self.timers.first().filter(|(at, _)| *at <= now.at).cloned() {
            self.timers.remove(&(at, id.clone()));
            if let Some(local) = self.local.get_mut(&id) {
                local.timer = None;
            }
            self.dirty.insert(id);
        }
        self.begin_moves(now, effects);
        self.settle(now, effects);
        self.expire_calls(now, effects);
        self.check_drained(effects);
        self.save(now, effects);
    }

    /// Something happened.
    pub fn handle(&mut self, now: Now, input: Input, effects: &mut Vec<Effect>) {
        self.begin_votes(now);
        match input {
            Input::Member(member) => self.on_member(now, member, effects),
            Input::Connected(peer) => self.on_connected(now, peer, effects),
            Input::Disconnected(peer) => self.on_disconnected(now, &peer, effects),
            Input::Message { from, message } => self.on_message(now, &from, message, effects),
            Input::Reborn(id) => self.on_reborn(now, id, effects),
            Input::Started { pid, info } => self.on_started(now, &pid, info, effects),
            Input::HandedOff { pid, state } => self.on_handed_off(&pid, state),
            Input::Checkpoint { pid, number, state } => self.on_checkpoint(&pid, number, state),
            Input::Exited { pid, exit } => self.on_exited(now, &pid, exit, effects),
            Input::Shutdown => {
                self.shutting_down = true;
                self.set_draining(true);
            }
            Input::StopAll => {
                self.shutting_down = true;
                self.set_draining(true);
                self.stop_all(now, effects);
            }
            Input::Saved { number } => self.on_saved(number),
        }
        self.follow(now, effects);
    }

    /// Peers said something, one after the other: as if each had been handled by itself, but what changes is looked at once.
    pub fn handle_messages(
        &mut self,
        now: Now,
        messages: impl IntoIterator<Item = (NodeId, Message)>,
        effects: &mut Vec<Effect>,
    ) {
        self.begin_votes(now);
        messages.into_iter().for_each(|(from, message)| self.on_message(now, &from, message, effects));
        self.follow(now, effects);
    }

    /// Follows what an input has changed.
    fn follow(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.settle(now, effects);
        self.check_drains(effects);
        self.check_drained(effects);
        self.save(now, effects);
    }

    /// Says once that no child is left.
    fn check_drained(&mut self, effects: &mut Vec<Effect>) {
        if self.shutting_down && !self.drained && self.local.values().all(Local::is_done) {
            self.drained = true;
            effects.push(Effect::Drained);
        }
    }

    /// Runs something on the registry, for local processes that are not children, and follows what comes of it.
    pub fn with_registry<T>(
        &mut self,
        now: Now,
        effects: &mut Vec<Effect>,
        run: impl FnOnce(&mut Registry, &mut Vec<names::Effect>) -> T,
    ) -> T {
        let value = self.with_registry_raw(now, effects, run);
        self.settle(now, effects);
        self.save(now, effects);
        value
    }

    pub(super) fn with_registry_raw<T>(
        &mut self,
        now: Now,
        effects: &mut Vec<Effect>,
        run: impl FnOnce(&mut Registry, &mut Vec<names::Effect>) -> T,
    ) -> T {
        let mut out = std::mem::take(&mut self.absorbing);
        let value = run(&mut self.registry, &mut out);
        effects.reserve(out.len());
        for effect in out.drain(..) {
            self.absorb(now, effect, effects);
        }
        if out.capacity() <= EFFECTS_KEPT_MAX {
            self.absorbing = out;
        }
        self.share_overlay(effects);
        value
    }

    fn absorb(&mut self, now: Now, effect: names::Effect, effects: &mut Vec<Effect>) {
        match effect {
            names::Effect::Send { to, lane, message } => {
                effects.push(Effect::Send { to, lane, message: Box::new(Message::Names(*message)) });
            }
            names::Effect::Visible { name, entry, was, gone } => {
                self.dirty.extend(self.child_of(&name));
                self.tell_name(now, &name, entry.as_ref(), was, effects);
                effects.push(Effect::Visible { name, entry, gone });
            }
            names::Effect::Member { entry, was, gone } => effects.push(Effect::Member { entry, was, gone }),
            names::Effect::Exit { pid, conflict } => match self.children_by_pid.get(&pid).cloned() {
                Some(id) => self.on_lost(&id, &conflict, effects),
                None => effects.push(Effect::Exit { pid, conflict: *conflict }),
            },
            names::Effect::Fence { pid, fence } => {
                if let Some(id) = self.children_by_pid.get(&pid).cloned() {
                    self.raise_checkpoint(&id, fence);
                    self.dirty.insert(id);
                }
                effects.push(Effect::Fence { pid, fence });
            }
            names::Effect::Conflict { loser, conflict } => {
                let NameConflict { name, winner, winner_since, .. } = *conflict;
                let (policy, since_ms) = (self.registry.policy().name(), winner_since.wall_ms());
                self.tell(now, EventKind::NameConflict { name, winner, loser, policy, since_ms }, effects);
            }
            names::Effect::Superseded(by) => effects.push(Effect::Superseded(by)),
        }
    }

    /// The child that a name is about, if we know of one: most names are about none.
    fn child_of(&self, name: &Name) -> Option<ChildId> {
        let tables = self.desired.table().is_empty() && self.actual.table().is_empty() && self.marks.table().is_empty();
        if tables && self.local.is_empty() && self.shown.is_empty() && self.waiting_for.is_empty() {
            return None;
        }
        let id = ChildId::new(name.as_str()).ok()?;
        let known = self.desired.table().events_of(&id).next().is_some()
            || self.actual.table().events_of(&id).next().is_some()
            || self.local.contains_key(&id)
            || self.shown.contains_key(&id)
            || self.waiting_for.contains_key(&id);
        known.then_some(id)
    }

    fn on_member(&mut self, now: Now, member: Member, effects: &mut Vec<Effect>) {
        let before = self.registry.view().get(&member.id.name).cloned();
        let input = names::Input::Member(member.clone());
        self.with_registry_raw(now, effects, |registry, out| registry.handle(now, input, out));
        let after = self.registry.view().get(&member.id.name).cloned();
        if before == after {
            return;
        }
        self.tell_member(now, &member, effects);
        if member.status == Status::Left {
            self.forget_voter(now, &member.id.name);
        }
        if member.status.is_living() {
            self.up_since.entry(member.id.clone()).or_insert(now.at);
            let lived = before.as_ref().is_some_and(|before| before.id == member.id && before.status.is_living());
            if !lived && member.id != *self.id() && !self.has_heard(&member.id) {
                self.unheard.insert(&member.id, now.at + HEAR_MAX);
            }
        } else {
            self.up_since.remove(&member.id);
            self.unheard.remove(&member.id);
            self.desired.unhear(&member.id);
            self.actual.unhear(&member.id);
            self.marks.unhear(&member.id);
            self.facts.unhear(&member.id);
        }
        if let Some(before) = before.filter(|before| before.id != member.id) {
            self.up_since.remove(&before.id);
            self.unheard.remove(&before.id);
        }
        self.share_retired(now, effects);
        self.counts = None;
        self.look_at_terms();
        self.dirty_all();
    }

    pub(super) fn set_draining(&mut self, draining: bool) {
        self.set_facts(Facts { draining, ..self.own_facts.clone() });
    }

    pub(super) fn set_cordoned(&mut self, cordoned: bool) {
        self.set_facts(Facts { cordoned, ..self.own_facts.clone() });
    }

    pub(super) fn set_waiting(&mut self, waiting: bool) {
        self.set_facts(Facts { waiting, ..self.own_facts.clone() });
    }

    pub(super) fn set_powerless(&mut self, powerless: bool) {
        self.set_facts(Facts { powerless, ..self.own_facts.clone() });
    }

    pub(super) fn set_facts(&mut self, facts: Facts) {
        if self.own_facts != facts {
            self.own_facts = facts;
            self.facts.put(FactsKey(self.id().name.clone()), self.own_facts.clone());
        }
        self.dirty_all();
    }

    /// What a node says of itself, where this very incarnation said it.
    pub(super) fn facts_of(&self, id: &NodeId) -> Option<&Facts> {
        self.facts.table().live_of(&FactsKey(id.name.clone()), id)
    }

    pub(super) fn dirty_all(&mut self) {
        self.dirty.extend(self.desired.table().keys().cloned());
        self.dirty.extend(self.actual.table().keys().cloned());
        self.dirty.extend(self.local.unsorted().map(|(id, _)| id.clone()));
        self.dirty.extend(self.shown.unsorted().map(|(id, _)| id.clone()));
        self.dirty.extend(self.marks.table().keys().map(|key| key.child.clone()));
    }

    /// Looks again at every child that may have to change, until none has to, and pushes what was written.
    pub(super) fn settle(&mut self, now: Now, effects: &mut Vec<Effect>) {
        // Only of children that come again before their turn: those that follow one another come to an end.
        let mut steps: BTreeMap<ChildId, u32> = BTreeMap::new();
        let mut last: Option<ChildId> = None;
        // Before anything is started that was to start long ago: this node may have stood still.
        self.vote(now, effects);
        self.hear(now);
        self.gather_dirty(now, effects);
        self.look_at_crowded();
        loop {
            self.gather_dirty(now, effects);
            self.look_for_company(now);
            self.look_for_others(now);
            while let Some(pid) = self.never_begun.pop() {
                self.on_exited(now, &pid, Exit::Abnormal("it was stopped before it began".to_owned()), effects);
            }
            let Some(id) = self.dirty.pop_first() else {
                if self.tell_room(now) || self.ask_members(now, effects) {
                    continue;
                }
                break;
            };
            let step = match last.replace(id.clone()) {
                Some(last) if id <= last => steps.entry(id.clone()).or_default(),
                _ => &mut 0,
            };
            *step += 1;
            if *step > SETTLE_STEPS_MAX {
                debug_assert!(false, "child {id} does not settle");
                tracing::error!(child = %id, "a child does not settle; leaving it for the next change");
                continue;
            }
            self.reconcile(now, &id, effects);
            self.show(now, &id, effects);
            self.check_waiting(&id, effects);
        }
        self.flush(effects);
    }

    /// Whether the member is up, not merely not yet down.
    pub(super) fn is_up(&self, id: &NodeId) -> bool {
        self.registry.view().of(id).is_some_and(|member| member.status == Status::Up)
    }
}
