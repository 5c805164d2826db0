//! The registry's state machine: local processes, their claims, and what every lookup shows.
//!
//! Claims are written by the node that runs the process and by nobody else. A member that is down is hidden, not
//! deleted. Conflicts compare processes, not claims: a process has one rank, carried in all its claims, so there is one
//! total order and no cycle in which everybody loses.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ordu_transport::core::defects::{Defect, is_present};
use ordu_transport::core::overlay::OVERLAY_DELAY;
use ordu_transport::core::{Hlc, HlcClock, Instant, Lane, Member, NodeId, NodeName, Now, Overlay, Pid, Status, View};

use super::claim::{Claim, Entry, Fence, Name, VALUE_BYTES_MAX};
use super::delta;
use super::delta::Key;
use super::gone::Gone;
use super::groups::GroupEntry;
use super::held::Held;
use super::processes::{Process, Processes};
use super::rank::{Activation, Rank, RankPolicy};
use super::retire::Retired;
use super::sync::{Limits, Outgoing, PUSH_EVENTS_MAX, REPAIR_INTERVAL, Replica, wait};
use super::table::Kind;
use super::unheard::Unheard;

/// How long a member that is down is waited for with removals; after that it is healed by state.
pub const FORGET_AFTER: Duration = Duration::from_secs(24 * 3600);
/// For how long claims of a member that came up are shown without being believed in conflicts, while we have not heard
/// what it holds now: what we remember of it may be old.
pub const HEAR_MAX: Duration = Duration::from_secs(2);
/// Most effects for which room is kept between two calls: more than a part of a push comes to, events and all.
pub const EFFECTS_KEPT_MAX: usize = 4 * PUSH_EVENTS_MAX;
/// Most names that one process may hold.
pub const NAMES_PER_PROCESS_MAX: usize = 100_000;

/// What registries say to one another.
pub type Message = delta::Message<Name, Claim>;

/// What happens to a registry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Input {
    /// The view changed.
    Member(Member),
    /// A session with a peer began.
    Connected(NodeId),
    /// A session with a peer ended.
    Disconnected(NodeId),
    /// A peer said something.
    Message {
        /// Who.
        from: NodeId,
        /// What.
        message: Message,
    },
    /// This node goes on under a new identity.
    Reborn(NodeId),
}

/// What a registry wants done.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Send a message.
    Send {
        /// The receivers.
        to: Vec<NodeId>,
        /// The lane.
        lane: Lane,
        /// The message; an effect is small without, and most are none.
        message: Box<Message>,
    },
    /// Lookups of the name show this now; `None`: nothing.
    Visible {
        /// The name.
        name: Name,
        /// What they show.
        entry: Option<Entry>,
        /// The process that they showed before.
        was: Option<Pid>,
        /// Why they do not show that process any more, if so.
        gone: Option<Gone>,
    },
    /// Reads of a group show another member, one less, or another value of one.
    Member {
        /// What they show now.
        entry: Option<GroupEntry>,
        /// What they showed before of the same process.
        was: Option<GroupEntry>,
        /// Why they do not show it any more, if so.
        gone: Option<Gone>,
    },
    /// Make this local process exit: it lost a conflict. Never repeated for a process.
    Exit {
        /// The process.
        pid: Pid,
        /// Why.
        conflict: Box<NameConflict>,
    },
    /// The fence of this local process rose.
    Fence {
        /// The process.
        pid: Pid,
        /// Its fence now.
        fence: Fence,
    },
    /// Tell whoever listens that a local process lost a conflict.
    Conflict {
        /// The loser.
        loser: Pid,
        /// Against whom.
        conflict: Box<NameConflict>,
    },
    /// A later incarnation of our own name is known to the cluster: membership shall give us a new one above it.
    Superseded(NodeId),
}

/// Why a process lost.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NameConflict {
    /// The name that both held.
    pub name: Name,
    /// The process that keeps it.
    pub winner: Pid,
    /// The winner's value under the name.
    pub winner_value: Bytes,
    /// Since when the winner runs.
    pub winner_since: Hlc,
}

/// Why a name was not registered. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RegisterError {
    /// A process holds the name, as far as this node sees.
    #[error("already registered by {pid}")]
    AlreadyRegistered {
        /// The process that holds it.
        pid: Pid,
    },
    /// The process that asked has ended.
    #[error("the process has ended")]
    NoProcess,
    /// The value is longer than [`VALUE_BYTES_MAX`].
    #[error("the value is longer than {VALUE_BYTES_MAX} bytes")]
    ValueTooLong,
    /// The process holds [`NAMES_PER_PROCESS_MAX`] names already.
    #[error("the process holds {NAMES_PER_PROCESS_MAX} names already")]
    TooManyNames,
}

/// One node's registry.
#[derive(Debug, Clone)]
pub struct Registry {
    pub(super) id: NodeId,
    view: View,
    down_since: BTreeMap<NodeId, Instant>,
    /// See [`Self::counted`].
    counted: Arc<BTreeSet<NodeId>>,
    /// When that is no longer true.
    counted_until: Instant,
    /// Members that came up and were not heard yet, and until when we wait for that.
    pub(super) unheard: Unheard,
    /// Who speaks to whom; `None` where all speak to all.
    overlay: Option<Arc<Overlay>>,
    /// When that is looked at anew.
    overlay_at: Option<Instant>,
    pub(super) names: Replica<Name, Claim>,
    pub(super) clock: HlcClock,
    policy: RankPolicy,
    pub(super) processes: Processes,
    next_serial: u64,
    /// By name, the processes of which a layer above knows that they lost, whatever their claims say yet.
    pub(super) losers: BTreeMap<Name, BTreeSet<Pid>>,
    pub(super) shown_len: usize,
    pub(super) shown_revision: u64,
    pub(super) conflicts_total: u64,
    /// Local processes that are to lose to one on another node, on purpose, and which node that is.
    pub(super) successors: BTreeMap<Pid, NodeId>,
    pub(super) skews_refused: u64,
    superseded: bool,
}

impl Registry {
    /// A registry without names. `seed` decides its jitter.
    pub fn new(id: NodeId, policy: RankPolicy, seed: u64) -> Self {
        Self {
            names: Replica::new(Kind::OwnerWritten, id.clone(), seed),
            id,
            view: View::default(),
            down_since: BTreeMap::new(),
            counted: Arc::default(),
            counted_until: Instant::default(),
            unheard: Unheard::default(),
            overlay: None,
            overlay_at: None,
            clock: HlcClock::default(),
            policy,
            processes: Processes::default(),
            next_serial: 1,
            losers: BTreeMap::new(),
            shown_len: 0,
            shown_revision: 0,
            conflicts_total: 0,
            successors: BTreeMap::new(),
            skews_refused: 0,
            superseded: false,
        }
    }

    /// Sends no more at once than this.
    pub fn set_limits(&mut self, limits: Limits) {
        self.names.set_limits(limits);
    }

    // ---- reading

    /// Who this node is.
    pub fn id(&self) -> &NodeId {
        &self.id
    }

    /// What this node believes of the members.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The replicated claims.
    pub fn names(&self) -> &Replica<Name, Claim> {
        &self.names
    }

    /// Counts the changes of what lookups show.
    pub fn shown_revision(&self) -> u64 {
        self.shown_revision
    }

    /// What a lookup of the name shows.
    pub fn lookup(&self, name: &Name) -> Option<Entry> {
        self.names.table().shown(name).and_then(Entry::of)
    }

    /// What lookups show, in no order that means anything, but in the same one on every machine.
    pub fn unsorted_entries(&self) -> impl Iterator<Item = Entry> {
        self.names.table().all_shown().filter(|event| !event.key.is_membership()).filter_map(Entry::of)
    }

    /// What lookups show of the names that begin with `prefix`, in order. Costs a look at all names.
    pub fn entries(&self, prefix: &str) -> std::vec::IntoIter<Entry> {
        let mut entries: Vec<Entry> =
            self.unsorted_entries().filter(|entry| entry.name().as_str().starts_with(prefix)).collect();
        entries.sort_unstable_by(|one, other| one.name().cmp(other.name()));
        entries.into_iter()
    }

    /// How many names lookups show.
    pub fn len(&self) -> usize {
        self.shown_len
    }

    /// Whether lookups show nothing.
    pub fn is_empty(&self) -> bool {
        self.shown_len == 0
    }

    /// The names that a local process holds.
    pub fn names_of(&self, pid: &Pid) -> impl Iterator<Item = &Name> {
        self.holdings(pid).filter(|name| !name.is_membership())
    }

    /// All that is claimed for a local process: its names, and the keys of its memberships.
    pub fn holdings(&self, pid: &Pid) -> impl Iterator<Item = &Name> {
        self.processes.get(pid).into_iter().flat_map(|process| process.names.iter())
    }

    /// The rank and fence of a local process, while it lives.
    pub fn standing(&self, pid: &Pid) -> Option<(&Rank, Fence)> {
        self.processes.get(pid).map(|process| (&process.rank, process.fence))
    }

    /// The process that a local one lost to, if it was told so.
    pub fn lost_to(&self, pid: &Pid) -> Option<&Pid> {
        self.processes.get(pid)?.lost_to.as_ref()
    }

    /// A local process is to lose to one on this node, on purpose, or to nobody: then that is no conflict, and not told as
    /// one.
    pub fn set_successor(&mut self, pid: &Pid, node: Option<NodeId>) {
        match node {
            Some(node) => self.successors.insert(pid.clone(), node),
            None => self.successors.remove(pid),
        };
    }

    /// The local processes that live, by pid.
    pub fn processes(&self) -> impl Iterator<Item = &Pid> {
        self.processes.iter().map(|process| &process.pid)
    }

    /// How many local processes lost a conflict so far.
    pub fn conflicts_total(&self) -> u64 {
        self.conflicts_total
    }

    /// How many stamps of others lay too far ahead of our clock to be followed.
    pub fn skews_refused(&self) -> u64 {
        self.skews_refused
    }

    /// The policy of conflicts.
    pub fn policy(&self) -> RankPolicy {
        self.policy
    }

    /// The claims to a name whose nodes are not held as down, ourselves included.
    pub fn visible<'a>(&'a self, name: &Name) -> impl Iterator<Item = (&'a NodeId, &'a Claim)> + 'a + use<'a> {
        let live = self.names.table().live(name);
        live.filter(move |(node, _, _)| self.is_shown(node)).map(|(node, _, claim)| (node, claim))
    }

    /// Whether claims of a node are visible: it is not held as down.
    pub(super) fn is_shown(&self, node: &NodeId) -> bool {
        let hidden = || is_present(Defect::HiddenIsGone) && self.down_since.contains_key(node);
        *node == self.id || (self.view.is_living(node) && !hidden())
    }

    /// The members whose acknowledgements removals wait for.
    pub fn counted(&mut self, now: Now) -> Arc<BTreeSet<NodeId>> {
        if now.at >= self.counted_until {
            let Self { id, view, down_since, .. } = &*self;
            let forgotten_at = |member: &Member| down_since.get(&member.id).map(|since| *since + FORGET_AFTER);
            let counts = |member: &&Member| match member.status {
                Status::Up | Status::Suspect => true,
                Status::Down => forgotten_at(member).is_some_and(|at| now.at < at),
                Status::Left => false,
            };
            let counted: Vec<&Member> =
                view.members().filter(|member| member.id.name != id.name).filter(counts).collect();
            let down = counted.iter().filter(|member| member.status == Status::Down);
            let until = down.filter_map(|member| forgotten_at(member)).min();
            let counted = counted.into_iter().map(|member| member.id.clone()).collect();
            self.counted = Arc::new(counted);
            self.counted_until = until.unwrap_or(Instant::from_micros(u64::MAX));
        }
        self.counted.clone()
    }

    /// Takes into `hasher` all that decides what this registry will do, as it is at `now`. Two that give the same do the
    /// same from here on, up to jitter; see [`Replica::fingerprint`]. What only counts is left out.
    pub fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        let Self { id, view, unheard, names, clock, policy, processes, next_serial, losers, superseded, .. } = self;
        self.overlay_at.map(|at| wait(now, at)).hash(hasher);
        (id, view, clock, policy, processes, next_serial, losers, superseded, self.shown_len).hash(hasher);
        self.names.table().all_shown().filter_map(Entry::of).for_each(|entry| entry.hash(hasher));
        unheard.fingerprint(now, hasher);
        names.fingerprint(now, hasher);
    }

    /// Whether every living member showed our own digest of the names within the last two repair intervals; or, where they
    /// are too many for that, those did that we speak to, and all are known to have had it.
    pub fn is_converged(&self, now: Now) -> bool {
        let since = Instant::from_micros(now.at.as_micros().saturating_sub(alike_window().as_micros() as u64));
        let others = self.view.living().filter(|member| member.id != self.id);
        self.overlay_at.is_none() && self.names.is_alike(others.map(|member| &member.id), since)
    }

    /// Who speaks to whom, where the members are too many for all to speak to all.
    pub fn overlay(&self) -> Option<&Arc<Overlay>> {
        self.overlay.as_ref()
    }

    // ---- being driven

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.unheard.first(), self.overlay_at, Some(self.names.poll_timeout())].into_iter().flatten().min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let mut out = Vec::new();
        self.settle_overlay(now, &mut out);
        let counted = self.counted(now);
        self.names.set_counted(counted);
        self.names.handle_timeout(now.at, &mut out);
        self.settle(now, BTreeSet::new(), effects);
        self.finish(out, effects);
    }

    /// Another table of this node repairs now; see [`Replica::repair_along`].
    pub fn repair_along(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let mut out = Vec::new();
        self.names.repair_along(now.at, &mut out);
        self.finish(out, effects);
    }

    /// Something happened.
    pub fn handle(&mut self, now: Now, input: Input, effects: &mut Vec<Effect>) {
        let (mut out, mut stale) = (Vec::new(), BTreeSet::new());
        match input {
            Input::Member(member) => stale = self.on_member(now, member, effects),
            Input::Connected(peer) => {
                self.names.connected(&peer, &mut out);
                self.reach_changes(now, &peer);
            }
            Input::Disconnected(peer) => {
                self.names.disconnected(&peer);
                self.reach_changes(now, &peer);
            }
            Input::Message { from, message } => self.names.handle(now.at, &from, message, &mut out),
            // We may have begun under it: news of it wait for whoever begins to listen.
            Input::Reborn(id) if id == self.id => {}
            Input::Reborn(id) => {
                self.id = id.clone();
                self.superseded = false;
                self.counted_until = Instant::default();
                self.names.reborn(id);
                self.overlay_changes(now);
            }
        }
        self.settle_overlay(now, &mut out);
        self.settle(now, stale, effects);
        self.finish(out, effects);
    }

    /// A member came within reach, or went out of it.
    fn reach_changes(&mut self, now: Now, peer: &NodeId) {
        let matters = |overlay: &Arc<Overlay>| {
            overlay.is_neighbour(peer) || overlay.neighbours().iter().any(|id| !self.names.has_session(id))
        };
        if self.overlay.as_ref().is_none_or(matters) {
            self.overlay_changes(now);
        }
    }

    /// Others may be to be spoken to from now on.
    fn overlay_changes(&mut self, now: Now) {
        if self.overlay.is_some() {
            self.overlay_at.get_or_insert(now.at + OVERLAY_DELAY);
        } else if self.is_large() {
            // At once: otherwise all would speak to all until then.
            self.overlay_at = Some(now.at);
        }
    }

    /// Whether the members are too many for all to speak to all.
    fn is_large(&self) -> bool {
        let direct = self.names.limits.mesh.direct_peers;
        self.view.living().filter(|member| member.id != self.id).nth(direct).is_some()
    }

    fn settle_overlay(&mut self, now: Now, out: &mut Vec<Outgoing<Name, Claim>>) {
        if self.overlay_at.take_if(|at| *at <= now.at).is_none() {
            return;
        }
        let overlay = self.is_large().then(|| {
            let members = self.view.living().map(|member| member.id.clone()).chain([self.id.clone()]).collect();
            Overlay::new(&self.id, members, self.names.limits.mesh.rings, |id| self.names.has_session(id))
        });
        if self.overlay.as_deref() != overlay.as_ref() {
            self.overlay = overlay.map(Arc::new);
            self.names.set_overlay(self.overlay.clone(), out);
        }
    }

    fn on_member(&mut self, now: Now, member: Member, effects: &mut Vec<Effect>) -> BTreeSet<Name> {
        let mut stale = BTreeSet::new();
        if member.id.supersedes(&self.id) {
            self.supersede(member.id, effects);
            return stale;
        }
        let Some(before) = self.view.apply(member.clone()) else { return stale };
        self.counted_until = Instant::default();
        stale.extend(self.names.table().keys_of(&member.id).cloned());
        let living = |member: &Member| Some(member.id.clone()).filter(|_| member.status.is_living());
        if before.as_ref().and_then(living) != living(&member) {
            self.overlay_changes(now);
        }
        let lived = before.as_ref().is_some_and(|before| before.id == member.id && before.status.is_living());
        let mut retired = Retired::default();
        if let Some(before) = before.filter(|before| before.id != member.id) {
            stale.extend(self.names.table().keys_of(&before.id).cloned());
            self.down_since.remove(&before.id);
            self.unheard.remove(&before.id);
            if !is_present(Defect::OriginsPileUp) {
                retired.insert_below(&member.id);
            }
        }
        if member.status == Status::Left && member.id != self.id {
            retired.insert(&member.id);
        }
        if member.status.is_living() {
            if !is_present(Defect::HiddenIsGone) {
                self.down_since.remove(&member.id);
            }
            if !lived && member.id != self.id && !self.names.has_heard(&member.id) {
                self.unheard.insert(&member.id, now.at + HEAR_MAX);
            }
        } else {
            self.down_since.entry(member.id.clone()).or_insert(now.at);
            self.unheard.remove(&member.id);
            self.names.unhear(&member.id);
        }
        self.names.retire(&retired);
        stale
    }

    /// Meets what another incarnation of our own name wrote: an earlier one is over, also where nobody who is left has
    /// met it; a later one says that our disk is lost or old.
    pub fn meet_kin(&mut self, kin: NodeId, effects: &mut Vec<Effect>) {
        if kin > self.id {
            return self.supersede(kin, effects);
        }
        let mut retired = Retired::default();
        if !is_present(Defect::OriginsPileUp) {
            retired.insert_below(&self.id);
        }
        self.names.retire(&retired);
    }

    /// Takes these incarnations as over.
    pub fn retire(&mut self, now: Now, retired: &Retired, effects: &mut Vec<Effect>) {
        self.names.retire(retired);
        self.settle(now, BTreeSet::new(), effects);
        self.finish(Vec::new(), effects);
    }

    fn supersede(&mut self, by: NodeId, effects: &mut Vec<Effect>) {
        if !std::mem::replace(&mut self.superseded, true) {
            effects.push(Effect::Superseded(by));
        }
    }

    /// Looks again at every name that may show something else now.
    pub(super) fn settle(&mut self, now: Now, mut stale: BTreeSet<Name>, effects: &mut Vec<Effect>) {
        if let Some(kin) = self.names.table().kin().cloned() {
            self.meet_kin(kin, effects);
        }
        let names = &self.names;
        for id in self.unheard.take_heard(now.at, names.hearings(), |id| names.has_heard(id)) {
            stale.extend(names.table().keys_of(&id).cloned());
        }
        // Marking claims as losing and raising fences touches names again; each happens a bounded number of times.
        loop {
            let touched = self.names.take_touched_list();
            if stale.is_empty() {
                if touched.is_empty() {
                    break;
                }
                touched.iter().for_each(|name| self.settle_name(now, name, effects));
            } else {
                stale.extend(touched);
                std::mem::take(&mut stale).iter().for_each(|name| self.settle_name(now, name, effects));
            }
        }
        if let Some(by) = self.names.table().retired().latest_of(&self.id.name).filter(|by| *by >= self.id) {
            self.supersede(by, effects);
        }
    }

    pub(super) fn finish(&mut self, mut out: Vec<Outgoing<Name, Claim>>, effects: &mut Vec<Effect>) {
        self.names.flush(&mut out);
        let sends = out.into_iter().map(|Outgoing { to, lane, message }| (to, lane, Box::new(message)));
        effects.extend(sends.map(|(to, lane, message)| Effect::Send { to, lane, message }));
    }

    // ---- local processes

    /// A stamp above every earlier one of this node and every one it heard of.
    pub fn tick(&mut self, now: Now) -> Hlc {
        self.clock.tick(now)
    }

    /// The latest stamp that was given or observed.
    pub fn last_stamp(&self) -> Hlc {
        self.clock.last()
    }

    /// Gives only stamps after this one from now on.
    pub fn stamp_after(&mut self, last: Hlc) {
        self.clock = HlcClock::after(self.clock.last().max(last));
    }

    /// Follows a stamp of another node. Returns false, and changes nothing but the count, if it lies too far ahead.
    pub fn observe(&mut self, now: Now, seen: Hlc) -> bool {
        let follows = self.clock.observe(now, seen);
        self.skews_refused += u64::from(!follows);
        follows
    }

    /// Activates a process: gives it a pid, a rank and a fence.
    pub fn activate(&mut self, now: Now) -> Pid {
        self.activate_with(now, Activation::default())
    }

    /// The same, with what its rank may depend on.
    pub fn activate_with(&mut self, now: Now, activation: Activation<'_>) -> Pid {
        let pid = Pid::new(self.id.clone(), self.next_serial);
        self.next_serial += 1;
        let since = self.clock.tick(now);
        let (rank, fence) = (self.policy.rank(&pid, since, activation), Fence::new(since, &self.id));
        let names = Held::default();
        self.processes.insert(Process { pid: pid.clone(), rank, fence, since, names, lost_to: None });
        pid
    }

    /// Registers a name for a local process. On `Ok` this node's lookups show it.
    pub fn register(
        &mut self,
        now: Now,
        pid: &Pid,
        name: Name,
        value: Bytes,
        effects: &mut Vec<Effect>,
    ) -> Result<(), RegisterError> {
        let mut others = self.names.table().events_at(name.place(), &name).peekable();
        let first = others.peek().is_none();
        let visible = others.filter(|event| self.is_shown(&event.dot.actor)).filter_map(|event| event.value.as_ref());
        if let Some(holder) = visible.min_by_key(|claim| (claim.losing.is_some(), claim.order())) {
            return Err(RegisterError::AlreadyRegistered { pid: holder.pid.clone() });
        }
        self.claim(now, pid, name, value, first, effects)
    }

    /// The same beside whoever else holds the name: of both the one with the better rank keeps it, see
    /// [`Activation::takes_place_of`].
    pub fn succeed(
        &mut self,
        now: Now,
        pid: &Pid,
        name: Name,
        value: Bytes,
        effects: &mut Vec<Effect>,
    ) -> Result<(), RegisterError> {
        let first = self.names.table().events_at(name.place(), &name).next().is_none();
        self.claim(now, pid, name, value, first, effects)
    }

    /// `first`: nobody else is heard of that ever held the name.
    fn claim(
        &mut self,
        now: Now,
        pid: &Pid,
        name: Name,
        value: Bytes,
        first: bool,
        effects: &mut Vec<Effect>,
    ) -> Result<(), RegisterError> {
        let place = name.place();
        let Some(process) = self.processes.get_mut(pid) else { return Err(RegisterError::NoProcess) };
        if value.len() > VALUE_BYTES_MAX {
            return Err(RegisterError::ValueTooLong);
        }
        if process.names.len() >= NAMES_PER_PROCESS_MAX {
            return Err(RegisterError::TooManyNames);
        }
        self.policy.fix(&mut process.rank, pid, &name);
        process.names.insert(name.clone());
        let Process { rank, fence, since, lost_to, .. } = &*process;
        let (mut rank, fence, since, losing) = (rank.clone(), *fence, *since, lost_to.clone());
        if is_present(Defect::RankPerName) {
            rank = self.policy.rank(pid, self.clock.tick(now), Activation::default());
        }
        let losing = losing.map(Box::new);
        let claim = Claim { pid: pid.clone(), rank, fence, since, value: value.into(), losing };
        if first {
            // Nobody else is heard of: nothing is to be settled, and this is what lookups show.
            let event = self.names.put_first(place, name.clone(), claim);
            self.show(place, &name, Entry::of(&event), effects);
        } else {
            self.names.put(name, claim);
            self.settle(now, BTreeSet::new(), effects);
        }
        self.finish(Vec::new(), effects);
        Ok(())
    }

    /// Wants what is registered next acknowledged at once, where somebody waits for that: otherwise an acknowledgement may
    /// come [`super::sync::ACK_DELAY`] late.
    pub fn hurry(&mut self) {
        self.names.hurry();
    }

    /// Gives up one name of a local process. Returns false, and changes nothing, if it does not hold it.
    pub fn unregister(&mut self, now: Now, pid: &Pid, name: &Name, effects: &mut Vec<Effect>) -> bool {
        let held = self.processes.get_mut(pid).is_some_and(|process| process.names.remove(name));
        if held {
            self.names.remove(name);
            self.settle(now, BTreeSet::new(), effects);
            self.finish(Vec::new(), effects);
        }
        held
    }

    /// Replaces the value that a local process keeps under one of its names. Returns false, and changes nothing, if it
    /// does not hold the name or the value is longer than [`VALUE_BYTES_MAX`].
    pub fn update_value(&mut self, now: Now, pid: &Pid, name: &Name, value: Bytes, effects: &mut Vec<Effect>) -> bool {
        let held = self.processes.get(pid).is_some_and(|process| process.names.contains(name));
        let Some(claim) = self.names.table().live_of(name, &self.id).filter(|_| held && value.len() <= VALUE_BYTES_MAX)
        else {
            return false;
        };
        let claim = Claim { value: value.into(), ..claim.clone() };
        self.names.put(name.clone(), claim);
        self.settle(now, BTreeSet::new(), effects);
        self.finish(Vec::new(), effects);
        true
    }

    /// A local process ended: all its names are given up.
    pub fn ended(&mut self, now: Now, pid: &Pid, effects: &mut Vec<Effect>) {
        let Some(process) = self.processes.remove(pid) else { return };
        self.successors.remove(pid);
        for name in process.names.iter() {
            self.names.remove(name);
        }
        self.settle(now, BTreeSet::new(), effects);
        self.finish(Vec::new(), effects);
    }

    /// The name of this node.
    pub fn node_name(&self) -> &NodeName {
        &self.id.name
    }
}

/// For how long a digest that a peer showed counts as its present state: two repair intervals, jitter and a moment.
pub fn alike_window() -> Duration {
    REPAIR_INTERVAL.mul_f64(2.75)
}
