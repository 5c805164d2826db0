//! The replication of a supervisor's tables: the registry's and its own four go to the same peers, at the same times, and
//! a retirement that one of them heard of holds for all.
//!
//! Pushes go out names before claims before facts; claims before what should run, so that how a child ended is known
//! before that it should run no more.

use ordu_registry::core::Name;
use ordu_registry::core::clock::Dot;
use ordu_registry::core::delta;
use ordu_registry::core::names::{self, alike_window};
use ordu_registry::core::reconcile::Progress;
use ordu_registry::core::retire::Retired;
use ordu_registry::core::sync::{Outgoing, Replica};
use ordu_transport::core::{Hlc, Instant, NodeId, Now};

use super::digests::join_digests;
use super::spec::ChildId;
use super::supervisor::Supervisor;
use super::tables::{Desired, Mark};
use super::words::{Control, Effect, Message};

impl Supervisor {
    /// Whether every connected peer has acknowledged all that this node wrote.
    pub fn is_acknowledged(&self) -> bool {
        self.registry.names().is_acknowledged()
            && self.desired.is_acknowledged()
            && self.actual.is_acknowledged()
            && self.marks.is_acknowledged()
            && self.facts.is_acknowledged()
    }

    /// How far this node is with what it lacks, all tables together, while it takes that from others.
    pub fn progress(&self, now: Now) -> Option<Progress> {
        let tables = [
            self.registry.names().progress(now.at),
            self.desired.progress(now.at),
            self.actual.progress(now.at),
            self.marks.progress(now.at),
            self.facts.progress(now.at),
        ];
        tables.into_iter().flatten().reduce(Progress::and)
    }

    /// Whether every living member showed our own digests of all tables within the last two repair intervals; or, where they
    /// are too many for that, those did that we speak to, and all are known to have had the same.
    pub fn is_converged(&self, now: Now) -> bool {
        let since = alike_since(now);
        let others = || self.registry.view().living().map(|member| &member.id).filter(|id| *id != self.id());
        self.registry.is_converged(now)
            && self.desired.is_alike(others(), since)
            && self.actual.is_alike(others(), since)
            && self.marks.is_alike(others(), since)
            && self.facts.is_alike(others(), since)
    }

    // ---- with the peers

    /// What each table wants done now and then: digests to some peers, and removals that nobody needs dropped.
    pub(super) fn repair(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let before = effects.len();
        let counted = self.registry.counted(now);
        let due = self.registry.names().is_repair_due(now.at)
            || self.desired.is_repair_due(now.at)
            || self.actual.is_repair_due(now.at)
            || self.marks.is_repair_due(now.at)
            || self.facts.is_repair_due(now.at);
        self.with_registry_raw(now, effects, |registry, out| {
            registry.handle_timeout(now, out);
            if due {
                registry.repair_along(now, out);
            }
        });
        macro_rules! repair {
            ($($table:ident => $wrap:expr),*) => {$(
                let mut out = Vec::new();
                if !std::sync::Arc::ptr_eq(self.$table.counted(), &counted) {
                    self.$table.set_counted(counted.clone());
                }
                self.$table.handle_timeout(now.at, &mut out);
                if due {
                    self.$table.repair_along(now.at, &mut out);
                }
                send_all(out, $wrap, effects);
            )*};
        }
        repair!(desired => Message::Desired, actual => Message::Actual, marks => Message::Marks, facts => Message::Facts);
        join_digests(effects, before);
    }

    /// All tables speak to the same.
    pub(super) fn share_overlay(&mut self, effects: &mut Vec<Effect>) {
        let overlay = self.registry.overlay();
        if self.overlay.as_ref() == overlay {
            return;
        }
        self.overlay = overlay.cloned();
        macro_rules! share {
            ($($table:ident => $wrap:expr),*) => {$(
                let mut out = Vec::new();
                self.$table.set_overlay(self.overlay.clone(), &mut out);
                send_all(out, $wrap, effects);
            )*};
        }
        share!(desired => Message::Desired, actual => Message::Actual, marks => Message::Marks, facts => Message::Facts);
    }

    /// Retirements that one table heard of hold for all.
    pub(super) fn share_retired(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let kin = [self.actual.table().kin(), self.facts.table().kin()].map(Option::<&NodeId>::cloned);
        for kin in kin.into_iter().flatten() {
            self.with_registry_raw(now, effects, |registry, out| registry.meet_kin(kin, out));
        }
        let revisions = [
            self.registry.names().table().revision(),
            self.desired.table().revision(),
            self.actual.table().revision(),
            self.marks.table().revision(),
            self.facts.table().revision(),
        ];
        if std::mem::replace(&mut self.shared_at, revisions) == revisions {
            return;
        }
        let mut all = Retired::default();
        let tables = [
            self.registry.names().table().retired(),
            self.desired.table().retired(),
            self.actual.table().retired(),
            self.marks.table().retired(),
            self.facts.table().retired(),
        ];
        if tables.iter().all(|retired| *retired == tables[0]) {
            return;
        }
        for retired in tables {
            all.merge(retired);
        }
        self.with_registry_raw(now, effects, |registry, out| registry.retire(now, &all, out));
        self.desired.retire(&all);
        self.actual.retire(&all);
        self.marks.retire(&all);
        self.facts.retire(&all);
        self.dirty_all();
    }

    pub(super) fn on_connected(&mut self, now: Now, peer: NodeId, effects: &mut Vec<Effect>) {
        let before = effects.len();
        self.connected.insert(peer.clone());
        let input = names::Input::Connected(peer.clone());
        self.with_registry_raw(now, effects, |registry, out| registry.handle(now, input, out));
        macro_rules! connect {
            ($($table:ident => $wrap:expr),*) => {$(
                let mut out = Vec::new();
                self.$table.connected(&peer, &mut out);
                send_all(out, $wrap, effects);
            )*};
        }
        connect!(desired => Message::Desired, actual => Message::Actual, marks => Message::Marks, facts => Message::Facts);
        join_digests(effects, before);
        self.send_states(&peer, effects);
        self.keep_again(&peer);
        self.merge_again(&peer);
    }

    pub(super) fn on_disconnected(&mut self, now: Now, peer: &NodeId, effects: &mut Vec<Effect>) {
        self.connected.remove(peer);
        let input = names::Input::Disconnected(peer.clone());
        self.with_registry_raw(now, effects, |registry, out| registry.handle(now, input, out));
        self.desired.disconnected(peer);
        self.look_at_acked();
        self.actual.disconnected(peer);
        self.marks.disconnected(peer);
        self.facts.disconnected(peer);
    }

    pub(super) fn on_message(&mut self, now: Now, from: &NodeId, message: Message, effects: &mut Vec<Effect>) {
        let before = effects.len();
        match message {
            Message::Digests(digests) => self.on_digests(now, from, digests, effects),
            Message::Control(Control::Drain { on }) if !self.shutting_down => self.set_draining(on),
            Message::Control(Control::Drain { .. }) => {}
            Message::Control(Control::State { child, token, state }) => self.on_state(now, from, child, token, state),
            Message::Control(Control::Checkpoint(word)) => self.on_checkpoint_word(now, from, word, effects),
            Message::Control(Control::Merge(left)) => self.on_left(now, from, left, effects),
            Message::Control(Control::Merged { child, loser }) => self.on_left_taken(now, from, child, loser),
            Message::Control(Control::Cordon { on }) => self.set_cordoned(on),
            Message::Control(Control::Quorum(word)) => self.on_word(now, from, word, effects),
            Message::Control(Control::Rebalance { children }) => self.move_misplaced(now, children),
            message => self.on_table_message(now, from, message, effects),
        }
        join_digests(effects, before);
        self.share_retired(now, effects);
    }

    pub(super) fn on_table_message(&mut self, now: Now, from: &NodeId, message: Message, effects: &mut Vec<Effect>) {
        macro_rules! pass {
            ($table:ident, $message:ident, $wrap:expr) => {{
                let mut out = Vec::new();
                self.$table.handle(now.at, from, $message, &mut out);
                send_all(out, $wrap, effects);
            }};
        }
        match message {
            Message::Names(message) => {
                let input = names::Input::Message { from: from.clone(), message };
                self.with_registry_raw(now, effects, |registry, out| registry.handle(now, input, out));
            }
            Message::Desired(message) if !is_sound(&message) => {
                tracing::warn!(peer = %from, "a start under another child's name is not taken");
            }
            Message::Desired(message) => {
                pass!(desired, message, Message::Desired);
                self.look_at_acked();
            }
            Message::Actual(message) => pass!(actual, message, Message::Actual),
            Message::Marks(message) => pass!(marks, message, Message::Marks),
            Message::Facts(message) => pass!(facts, message, Message::Facts),
            Message::Digests(_) | Message::Control(_) => {}
        }
    }

    /// Looks again at the children of which somebody else knows by now what we wrote.
    fn look_at_acked(&mut self) {
        let is_acked = |actor: &NodeId, counter| self.desired.is_kept_elsewhere(&Dot::new(actor.clone(), counter));
        let acked = self.unacked.extract_if(.., |(_, actor, counter)| is_acked(actor, *counter));
        self.dirty.extend(acked.map(|(id, ..)| id));
    }

    pub(super) fn on_reborn(&mut self, now: Now, id: NodeId, effects: &mut Vec<Effect>) {
        if id == *self.id() {
            return;
        }
        let input = names::Input::Reborn(id.clone());
        self.with_registry_raw(now, effects, |registry, out| registry.handle(now, input, out));
        self.desired.reborn(id.clone());
        self.actual.reborn(id.clone());
        self.marks.reborn(id.clone());
        self.facts.reborn(id);
        // The one run of a temporary child goes on under the new identity.
        let held = self.local.iter().filter(|(_, local)| !local.is_done());
        let held: Vec<_> = held.map(|(id, local)| (id.clone(), local.dot.clone(), local.spec.clone())).collect();
        for (id, dot, spec) in held {
            self.mark_started(&id, &dot, &spec);
        }
        self.share_retired(now, effects);
        self.counts = None;
        self.dirty_all();
    }

    // ---- what was written

    pub(super) fn gather_dirty(&mut self, now: Now, effects: &mut Vec<Effect>) {
        for (id, desired) in touched_values(&mut self.desired) {
            self.recount(&id);
            for at in desired {
                self.registry.observe(now, at);
            }
            self.dirty.insert(id);
        }
        for id in self.actual.take_touched() {
            self.recount(&id);
            for fence in self.actual.table().live(&id).filter_map(|(_, _, claim)| claim.fence) {
                self.registry.observe(now, fence.at());
            }
            self.tell_losers(&id);
            self.dirty.insert(id);
        }
        for key in self.marks.take_touched() {
            let stamps = |mark: &Mark| [mark.wished.latest(), mark.quarantine.as_ref().map(|word| word.at)];
            for at in self.marks.table().live(&key).flat_map(|(_, _, mark)| stamps(mark)).flatten() {
                self.registry.observe(now, at);
            }
            self.dirty.insert(key.child);
        }
        let facts = self.facts.take_touched();
        if !facts.is_empty() {
            self.tell_draining(now, facts, effects);
            self.look_at_terms();
            self.dirty_all();
        }
    }

    /// A loss that children's claims tell of first holds for names too.
    fn tell_losers(&mut self, id: &ChildId) {
        let mut losing = self.actual.table().live(id).filter(|(_, _, claim)| claim.losing).peekable();
        if losing.peek().is_none() && !self.registry.has_losers() {
            return;
        }
        let Ok(name) = Name::new(id.as_str()) else { return };
        let losers = losing.filter_map(|(_, _, claim)| claim.pid.clone()).collect();
        self.registry.set_losers(&name, losers);
    }

    pub(super) fn flush(&mut self, effects: &mut Vec<Effect>) {
        macro_rules! flush {
            ($($table:ident => $wrap:expr),*) => {$(
                let mut out = Vec::new();
                self.$table.flush(&mut out);
                send_all(out, $wrap, effects);
            )*};
        }
        flush!(marks => Message::Marks, actual => Message::Actual, desired => Message::Desired, facts => Message::Facts);
    }

    // ---- what we know of the others

    /// Looks whether members that came up have been heard by now, or were waited for long enough.
    pub(super) fn hear(&mut self, now: Now) {
        let hearings = self.registry.names().hearings()
            + self.desired.hearings()
            + self.actual.hearings()
            + self.marks.hearings()
            + self.facts.hearings();
        let mut unheard = std::mem::take(&mut self.unheard);
        for id in unheard.take_heard(now.at, hearings, |id| self.has_heard(id)) {
            self.dirty.extend(self.actual.table().keys_of(&id).cloned());
        }
        self.unheard = unheard;
        if self.is_settled() {
            self.dirty.extend(self.deferred.keys().cloned());
        }
    }

    /// Whether we know what every living member holds, or have waited long enough for it.
    pub(super) fn is_settled(&self) -> bool {
        self.unheard.is_empty()
    }

    /// Whether, since the member last came up, we had everything that it had at some moment.
    pub(super) fn has_heard(&self, id: &NodeId) -> bool {
        self.registry.names().has_heard(id)
            && self.desired.has_heard(id)
            && self.actual.has_heard(id)
            && self.marks.has_heard(id)
            && self.facts.has_heard(id)
    }
}

/// Since when a digest must have been seen that is to count.
fn alike_since(now: Now) -> Instant {
    let window = u64::try_from(alike_window().as_micros()).unwrap_or(u64::MAX);
    Instant::from_micros(now.at.as_micros().saturating_sub(window))
}

/// Whether each start stands under the name of the child that it is about.
fn is_sound(message: &delta::Message<ChildId, Desired>) -> bool {
    let events = match message {
        delta::Message::Delta { events, .. } => &events[..],
        delta::Message::State { answer, .. } => &answer.events[..],
        _ => &[],
    };
    events.iter().all(|event| event.value.as_ref().is_none_or(|desired| desired.spec.id == event.key))
}

fn touched_values(desired: &mut Replica<ChildId, Desired>) -> Vec<(ChildId, Vec<Hlc>)> {
    let touched = desired.take_touched();
    let stamps = |id: &ChildId| desired.table().live(id).map(|(_, _, desired)| desired.at).collect();
    touched.into_iter().map(|id| (id.clone(), stamps(&id))).collect()
}

fn send_all<K: delta::Key, V: delta::Payload>(
    out: Vec<Outgoing<K, V>>,
    wrap: impl Fn(delta::Message<K, V>) -> Message,
    effects: &mut Vec<Effect>,
) {
    effects.extend(out.into_iter().map(|Outgoing { to, lane, message }| Effect::Send {
        to,
        lane,
        message: Box::new(wrap(message)),
    }));
}
