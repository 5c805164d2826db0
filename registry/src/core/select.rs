//! Reading many names, a few at each look, so that whoever writes never waits for whoever lists.

use ordu_transport::core::Pid;

use super::claim::{Entry, Name};
use super::names::Registry;

/// Most names that one look takes: for so long writers wait at most.
pub const SELECT_LOOK_MAX: usize = 1024;

/// What one look found, and where the next one begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// What was found, in no order that means anything.
    pub entries: Vec<Entry>,
    /// Where to go on; `None` at the end.
    pub next: Option<u64>,
}

impl Registry {
    /// What lookups show of the next [`SELECT_LOOK_MAX`] names from `place` on, of those that begin with `prefix`. A name
    /// that is shown from the first look to the last is found, once; of others some are.
    pub fn look_from(&self, place: u64, prefix: &str) -> Look {
        let (mut entries, mut last) = (Vec::new(), place);
        for (seen, (place, event)) in self.names.table().shown_from(place).enumerate() {
            // Names of one place are taken together.
            if seen >= SELECT_LOOK_MAX && place != last {
                return Look { entries, next: Some(place) };
            }
            last = place;
            if !event.key.is_membership() && event.key.as_str().starts_with(prefix) {
                entries.extend(Entry::of(event));
            }
        }
        Look { entries, next: None }
    }

    /// The names that a process claims, wherever it runs, in order; none while its node is down. Costs a look at all
    /// claims of its node, unless that is this one.
    pub fn keys(&self, pid: &Pid) -> Vec<Name> {
        if self.processes.get(pid).is_some() {
            return self.names_of(pid).cloned().collect();
        }
        // It may have begun under an earlier incarnation of its node.
        let Some(member) = self.view().get(&pid.node.name).filter(|member| self.is_shown(&member.id)) else {
            return Vec::new();
        };
        let table = self.names.table();
        let theirs = |name: &&Name| table.live_of(name, &member.id).is_some_and(|claim| claim.pid == *pid);
        let mut names: Vec<Name> =
            table.keys_of(&member.id).filter(|name| !name.is_membership()).filter(theirs).cloned().collect();
        names.sort_unstable();
        names
    }
}
