//! What callers are shown: rows composed from the tables, and events when they change.

use ordu_registry::core::clock::Dot;
use ordu_registry::core::{Entry, Name};
use ordu_transport::core::hash::StableHasher;
use ordu_transport::core::{Member, NodeId, NodeName, Now, Pid, Status};

use super::row::{ChildRow, ChildStatus, Event, EventKind, MemberRow, MemberStatus, StatusRow};
use super::spec::{ChildId, ChildSpec, Restart};
use super::supervisor::Supervisor;
use super::tables::{Actual, Facts, FactsKey, Quarantine, State};
use super::words::Effect;

const PURPOSE_STATUS: u64 = 4;

impl Supervisor {
    // ---- rows

    /// The rows of all children, by id.
    pub fn rows(&self) -> Vec<ChildRow> {
        let mut ids: Vec<&ChildId> = self.desired.table().keys().chain(self.actual.table().keys()).collect();
        ids.sort();
        ids.dedup();
        ids.into_iter().filter_map(|id| self.row(id)).collect()
    }

    /// The row of a child that is desired, held or done.
    pub fn row(&self, id: &ChildId) -> Option<ChildRow> {
        let winner = self.winner(id).map(|(dot, desired)| (dot, desired.spec.clone()));
        let over = winner.as_ref().is_none_or(|(dot, _)| self.is_over(id, dot));
        match (self.shown_claim(id), winner.map(|(_, spec)| spec)) {
            (Some((node, claim)), spec) if claim.is_held() || over => Some(held_row(id, node, claim, spec.as_deref())),
            (_, Some(spec)) => Some(self.pending_row(id, &spec)),
            (_, None) => None,
        }
    }

    /// Of several claims the one that is shown: who holds before who has done, then the better process.
    pub(super) fn shown_claim(&self, id: &ChildId) -> Option<(&NodeId, &Actual)> {
        self.claims(id).min_by_key(|(node, claim)| {
            (!claim.is_held(), claim.losing, !claim.has_process(), &claim.rank, &claim.pid, *node)
        })
    }

    /// Status and process of its row.
    fn shown_as(&self, id: &ChildId) -> Option<(ChildStatus, Option<&Pid>)> {
        let winner = self.winner(id);
        let over = winner.as_ref().is_none_or(|(dot, _)| self.is_over(id, dot));
        match (self.shown_claim(id), winner) {
            (Some((_, claim)), _) if claim.is_held() || over => Some((held_status(&claim.state), claim.pid.as_ref())),
            (_, Some((dot, desired))) => Some((self.pending_status(id, &dot, &desired.spec).0, None)),
            (_, None) => None,
        }
    }

    /// The status of a child that runs nowhere, and the word by which it is in quarantine.
    fn pending_status(&self, id: &ChildId, dot: &Dot, spec: &ChildSpec) -> (ChildStatus, Option<Quarantine>) {
        let quarantine = self.quarantine_of(id, dot);
        if spec.restart == Restart::Temporary && self.mark_of(id, dot).started.is_some() {
            (ChildStatus::Suspended, quarantine)
        } else if quarantine.is_some() {
            (ChildStatus::Quarantined, quarantine)
        } else {
            (ChildStatus::Pending, None)
        }
    }

    fn pending_row(&self, id: &ChildId, spec: &ChildSpec) -> ChildRow {
        let (mut status, mut since_ms, mut quarantine) = (ChildStatus::Pending, 0, None);
        if let Some((dot, desired)) = self.winner(id) {
            (status, quarantine) = self.pending_status(id, &dot, spec);
            since_ms = quarantine.as_ref().map_or(desired.at, |word| word.at).wall_ms();
        }
        let holder = Name::new(id.as_str()).ok().and_then(|name| self.registry.lookup(&name));
        let reason = match (status, holder, self.seat(spec)) {
            (ChildStatus::Quarantined, _, _) => {
                quarantine.and_then(|quarantine| quarantine.reason).as_deref().unwrap_or_default().to_owned()
            }
            (ChildStatus::Suspended, _, _) => "the node that ran it is down, and it runs once at most".to_owned(),
            (_, Some(entry), _) => format!("the name is held by {}", entry.pid()),
            (_, None, None) => self.why_nowhere(spec),
            (_, None, Some(seat)) if seat == self.id() && self.why_not_granted(id).is_some() => {
                self.why_not_granted(id).unwrap_or_default()
            }
            (_, None, Some(seat)) if spec.placement.chooses() => {
                self.why_apart(spec).unwrap_or_else(|| format!("waiting for {} to choose a node for it", seat.name))
            }
            (_, None, Some(seat)) => match self.may_run_on_yet(id) {
                Some(node) => format!("waiting until it cannot run on {node} any more, which does not answer"),
                None => format!("waiting for {} to take it", seat.name),
            },
        };
        ChildRow {
            id: id.clone(),
            kind: spec.kind.clone(),
            node: None,
            pid: None,
            os_pid: None,
            status,
            restarts: self.actual.table().live(id).map(|(_, _, claim)| claim.restarts).max().unwrap_or(0),
            since_ms,
            fence: None,
            reason: Some(reason),
            labels: spec.labels.clone(),
            log: None,
        }
    }

    /// The rows of all members, by name.
    pub fn member_rows(&self) -> Vec<MemberRow> {
        let members = self.registry.view().members();
        members.map(|member| self.member_row(member)).collect()
    }

    fn member_row(&self, member: &Member) -> MemberRow {
        let facts = self.facts_of(&member.id);
        let living = member.status.is_living();
        let held = self
            .actual
            .table()
            .keys_of(&member.id)
            .filter(|id| self.actual.table().live_of(id, &member.id).is_some_and(Actual::is_held));
        MemberRow {
            name: member.id.name.clone(),
            boot: member.id.boot,
            addr: member.addr.clone(),
            status: member_status(member, facts),
            children: if living { held.count() } else { 0 },
            labels: facts.map(|facts| facts.labels.clone()).unwrap_or_default(),
            kinds: facts.map(|facts| facts.kinds.clone()).unwrap_or_default(),
            version: facts.map_or_else(|| "".into(), |facts| facts.version.clone()),
            cordoned: living && facts.is_some_and(|facts| facts.cordoned),
            max_children: facts.and_then(|facts| facts.max_children),
            full: living && facts.is_some_and(|facts| facts.full),
        }
    }

    /// The cluster as this node sees it.
    pub fn status_row(&self, now: Now) -> StatusRow {
        let rows = self.rows();
        StatusRow {
            members_up: self.registry.view().living().count(),
            members: self.registry.view().members().count(),
            children: self.desired.table().unsorted_keys().count(),
            running: rows.iter().filter(|row| row.status == ChildStatus::Running).count(),
            names: self.registry.len(),
            conflicts_total: self.registry.conflicts_total(),
            checkpoints: self.copies_len(),
            clock_hash: self.digest(),
            converged: self.is_converged(now),
            progress: self.progress(now),
            quorum: self.quorum(now),
        }
    }

    /// A digest over every table.
    pub fn digest(&self) -> u64 {
        let digests = [
            self.registry.names().table().digest(),
            self.desired.table().digest(),
            self.actual.table().digest(),
            self.marks.table().digest(),
            self.facts.table().digest(),
        ];
        digests.into_iter().fold(StableHasher::new(PURPOSE_STATUS), StableHasher::number).finish()
    }

    pub(super) fn is_draining(&self) -> bool {
        self.facts_of(self.id()).is_some_and(|facts| facts.draining)
    }

    // ---- events

    pub(super) fn tell(&self, now: Now, what: EventKind, effects: &mut Vec<Effect>) {
        self.tell_of(now, &self.id().name, what, effects);
    }

    fn tell_of(&self, now: Now, node: &NodeName, what: EventKind, effects: &mut Vec<Effect>) {
        effects.push(Effect::Event(Event { at_ms: now.wall_ms, node: node.clone(), what }));
    }

    /// Tells what changed in a child's row since it was last looked at.
    pub(super) fn show(&mut self, now: Now, id: &ChildId, effects: &mut Vec<Effect>) {
        // Most looks at a child change nothing of it, and a whole row is much.
        let before = self.shown.get(id).map(|(status, pid)| (*status, pid.as_ref()));
        match self.shown_as(id) {
            None => {
                self.shown.remove(id);
                return;
            }
            shown if shown == before => return,
            Some(_) => {}
        }
        let Some(row) = self.row(id) else { return };
        let child = id.clone();
        let node = row.node.clone().unwrap_or_else(|| self.id().name.clone());
        self.shown.insert(id.clone(), (row.status, row.pid.clone()));
        let what = match row.status {
            ChildStatus::Starting => EventKind::ChildStarting { child, fence: row.fence },
            ChildStatus::Running => EventKind::ChildRunning { child, fence: row.fence },
            ChildStatus::Pending => EventKind::ChildPending { child, reason: row.reason.unwrap_or_default() },
            ChildStatus::Quarantined => EventKind::ChildQuarantined { child },
            ChildStatus::Done => EventKind::ChildDone { child },
            ChildStatus::Moving | ChildStatus::Stopping | ChildStatus::Backoff | ChildStatus::Suspended => return,
        };
        if row.status == ChildStatus::Starting && self.shown_claim(id).is_some_and(|(_, claim)| claim.token.is_some()) {
            let moved = EventKind::ChildMoved { child: id.clone(), to: node.clone() };
            self.tell_of(now, &node, moved, effects);
        }
        self.tell_of(now, &node, what, effects);
    }

    pub(super) fn tell_name(
        &self,
        now: Now,
        name: &Name,
        entry: Option<&Entry>,
        was: Option<Pid>,
        effects: &mut Vec<Effect>,
    ) {
        if entry.map(Entry::pid) == was.as_ref() {
            return;
        }
        if let Some(pid) = was {
            let node = pid.node.name.clone();
            self.tell_of(now, &node, EventKind::NameReleased { name: name.clone(), pid }, effects);
        }
        if let Some(entry) = entry {
            let what = EventKind::NameRegistered { name: name.clone(), pid: entry.pid().clone() };
            self.tell_of(now, &entry.node().name, what, effects);
        }
    }

    /// Tells which nodes began to drain.
    pub(super) fn tell_draining(&mut self, now: Now, touched: Vec<FactsKey>, effects: &mut Vec<Effect>) {
        for key in touched {
            let drains = self.facts.table().live(&key).any(|(_, _, facts)| facts.draining);
            if !drains {
                self.shown_draining.remove(&key.0);
            } else if self.shown_draining.insert(key.0.clone()) {
                self.tell_of(now, &key.0, EventKind::Draining { member: key.0.clone() }, effects);
            }
        }
    }

    pub(super) fn tell_member(&self, now: Now, member: &Member, effects: &mut Vec<Effect>) {
        let name = member.id.name.clone();
        let what = match member.status {
            Status::Up => EventKind::MemberUp { member: name },
            Status::Suspect => EventKind::MemberSuspect { member: name },
            Status::Down => EventKind::MemberDown { member: name },
            Status::Left => EventKind::MemberLeft { member: name },
        };
        self.tell(now, what, effects);
    }
}

/// What is believed of a member that says this of itself.
pub(super) fn member_status(member: &Member, facts: Option<&Facts>) -> MemberStatus {
    match member.status {
        Status::Up if facts.is_some_and(|facts| facts.draining) => MemberStatus::Draining,
        Status::Up => MemberStatus::Up,
        Status::Suspect => MemberStatus::Suspect,
        Status::Down => MemberStatus::Down,
        Status::Left => MemberStatus::Left,
    }
}

/// The status of a child in this state.
fn held_status(state: &State) -> ChildStatus {
    match state {
        State::Starting => ChildStatus::Starting,
        State::Running => ChildStatus::Running,
        State::Stopping => ChildStatus::Stopping,
        State::Moving { .. } => ChildStatus::Moving,
        State::Backoff | State::Failed => ChildStatus::Backoff,
        State::Quarantined => ChildStatus::Quarantined,
        State::Done => ChildStatus::Done,
    }
}

/// What a node says of a child, as a row.
pub(super) fn held_row(id: &ChildId, node: &NodeId, claim: &Actual, spec: Option<&ChildSpec>) -> ChildRow {
    ChildRow {
        id: id.clone(),
        kind: claim.kind.clone(),
        node: Some(node.name.clone()),
        pid: claim.pid.clone(),
        os_pid: claim.os_pid,
        status: held_status(&claim.state),
        restarts: claim.restarts,
        since_ms: claim.since_ms,
        fence: claim.fence,
        reason: claim.reason.as_deref().map(str::to_owned),
        labels: spec.map(|spec| spec.labels.clone()).unwrap_or_default(),
        log: claim.log.as_deref().map(str::to_owned),
    }
}
