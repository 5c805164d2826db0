//! Waiting for company: a node of a cluster that starts anew takes nothing before it has met as many members as it is told
//! to expect. Otherwise the first one takes every child, and gives most away again.

use std::collections::BTreeSet;
use std::time::Duration;

use ordu_transport::core::defects::{Defect, is_present};
use ordu_transport::core::{Instant, NodeName, Now};

use super::supervisor::Supervisor;

/// How long a node that has met its company waits until all of that say that they have too: two of them may have to find
/// each other still.
pub const TOGETHER_MAX: Duration = Duration::from_secs(10);
/// How long a node that comes back waits for a member of the cluster that its disk tells of.
pub const RETURN_MAX: Duration = Duration::from_secs(2);

/// How many members a node waits for, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Expect {
    /// So many, itself included.
    pub members: usize,
    /// At most for so long.
    pub timeout: Duration,
}

impl Default for Expect {
    /// Nobody but itself.
    fn default() -> Self {
        Self { members: 1, timeout: Duration::ZERO }
    }
}

/// A node that waits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Waits {
    expect: Expect,
    /// Whom it has met, itself included.
    met: BTreeSet<NodeName>,
    /// Until when it waits, once it knows what time it is.
    pub(super) until: Option<Instant>,
    /// It has met them, and waits for them to say the same: who is the first to know must not take what is theirs.
    complete: bool,
}

impl Waits {
    /// `None` if there is nothing to wait for.
    pub(super) fn new(expect: Expect, own: &NodeName) -> Option<Self> {
        let waits = expect.members > 1 && !is_present(Defect::ExpectsNobody);
        waits.then(|| Self { expect, met: BTreeSet::from([own.clone()]), until: None, complete: false })
    }
}

impl Supervisor {
    /// Whether this node takes nothing yet because it waits for more members.
    pub fn is_waiting(&self) -> bool {
        self.waits.is_some()
    }

    /// Waits no more once it has met as many members as it expects, or has waited for long enough.
    pub(super) fn look_for_company(&mut self, now: Now) {
        let Some(waits) = &mut self.waits else { return };
        let until = *waits.until.get_or_insert(now.at + waits.expect.timeout);
        let living = self.registry.view().living().map(|member| &member.id.name);
        let new: Vec<NodeName> = living.filter(|name| !waits.met.contains(name)).cloned().collect();
        waits.met.extend(new);
        let over = until <= now.at;
        if !waits.complete && (over || waits.met.len() >= waits.expect.members) {
            (waits.complete, waits.until) = (true, Some(now.at + TOGETHER_MAX));
            return self.set_waiting(false);
        }
        if over || (waits.complete && self.is_company_complete()) {
            self.waits = None;
            self.dirty_all();
        }
    }

    /// A node that comes back with what its disk says waits for a member that may know what runs. What follows from there
    /// is as with any node that joins.
    pub(super) fn look_for_others(&mut self, now: Now) {
        if !self.returns {
            return;
        }
        let until = *self.returns_until.get_or_insert(now.at + RETURN_MAX);
        let alone = self.registry.view().living().all(|member| member.id == *self.id());
        if !alone || until <= now.at {
            self.returns = false;
            self.dirty_all();
        }
    }

    /// Whether all that live say that they wait for nobody.
    fn is_company_complete(&self) -> bool {
        let mut living = self.registry.view().living().filter(|member| member.id != *self.id());
        living.all(|member| self.facts_of(&member.id).is_some_and(|facts| !facts.waiting))
    }
}
