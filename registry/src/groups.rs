//! The public face of groups, and what reading them costs.

use std::sync::Arc;

use bytes::Bytes;
use ordu_transport::core::Pid;
use scc::HashIndex;

use crate::core::Name;
use crate::core::groups::{GroupEntry, JoinError};
use crate::process::Process;
use crate::registry::Registry;

/// The groups that were read since they changed last. Written under the core's lock alone, so that what is in here is what
/// the core shows.
#[derive(Debug, Default)]
pub(crate) struct GroupCache(HashIndex<Arc<str>, Arc<[GroupEntry]>>);

impl GroupCache {
    fn get(&self, group: &str) -> Option<Arc<[GroupEntry]>> {
        self.0.peek_with(group, |_, members| members.clone())
    }

    fn put(&self, group: &str, members: Arc<[GroupEntry]>) {
        // Another reader may have been first, with the same.
        let _ = self.0.insert_sync(group.into(), members);
    }

    /// The group changed.
    pub(crate) fn forget(&self, group: &str) {
        self.0.remove_sync(group);
    }
}

impl Registry {
    /// Joins a process of this node to a group: a name of which any number of processes, on any nodes, are members at a
    /// time, without conflict. On `Ok` this node's reads of the group show it; others follow. The process leaves with
    /// [`Registry::leave`] or when it ends, and is hidden while its node is down.
    ///
    /// Groups and names are apart: a group may have the text of a name that some process holds.
    ///
    /// ```no_run
    /// # use ordu_registry::{Registry, core::Name};
    /// # fn example(registry: &Registry) -> Result<(), Box<dyn std::error::Error>> {
    /// let listener = registry.process();
    /// listener.join(&Name::new("orders/changed")?, "queue 7")?;
    ///
    /// // On any node:
    /// for member in registry.members("orders/changed").iter() {
    ///     println!("tell {} at {:?}", member.pid(), member.value());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`JoinError`]; nothing changed.
    pub fn join(&self, pid: &Pid, group: &Name, value: impl Into<Bytes>) -> Result<(), JoinError> {
        let value = value.into();
        self.call(|registry, now, out| registry.join(now, pid, group, value.clone(), out))
    }

    /// Takes a process out of a group. Returns false, and changes nothing, if it is no member.
    pub fn leave(&self, pid: &Pid, group: &Name) -> bool {
        self.call(|registry, now, out| registry.leave(now, pid, group, out))
    }

    /// Replaces the value that a process of this node keeps in a group. Returns false, and changes nothing, if it is no
    /// member or the value is too long.
    pub fn update_member(&self, pid: &Pid, group: &Name, value: impl Into<Bytes>) -> bool {
        let value = value.into();
        self.call(|registry, now, out| registry.update_member(now, pid, group, value.clone(), out))
    }

    /// The members of a group whose nodes are not down, in an order that is the same on every node.
    ///
    /// Local. A group that did not change since it was read last is read without waiting for anybody; otherwise writers
    /// wait while it is read, which costs a step for each member.
    pub fn members(&self, group: &str) -> Arc<[GroupEntry]> {
        if let Some(members) = self.local().groups.get(group) {
            return members;
        }
        self.look(|registry, _| {
            let members: Arc<[GroupEntry]> = registry.members(group).collect();
            if !members.is_empty() {
                self.local().groups.put(group, members.clone());
            }
            members
        })
    }

    /// The members of a group that run on this node, as [`Registry::members`] shows them.
    pub fn local_members(&self, group: &str) -> Vec<GroupEntry> {
        let node = self.node();
        self.members(group).iter().filter(|member| *member.node() == node).cloned().collect()
    }

    /// Calls `tell` for each member of a group; nobody waits meanwhile. Returns how many there were.
    pub fn dispatch(&self, group: &str, tell: impl FnMut(&GroupEntry)) -> usize {
        let members = self.members(group);
        members.iter().for_each(tell);
        members.len()
    }

    /// The groups that a process of this node is a member of, in order.
    pub fn groups_of(&self, pid: &Pid) -> Vec<String> {
        self.look(|registry, _| registry.groups_of(pid).map(str::to_owned).collect())
    }
}

impl Process {
    /// See [`Registry::join`].
    ///
    /// # Errors
    /// See [`JoinError`]; nothing changed.
    pub fn join(&self, group: &Name, value: impl Into<Bytes>) -> Result<(), JoinError> {
        self.registry().join(self.pid(), group, value)
    }

    /// See [`Registry::leave`].
    pub fn leave(&self, group: &Name) -> bool {
        self.registry().leave(self.pid(), group)
    }

    /// See [`Registry::update_member`].
    pub fn update_member(&self, group: &Name, value: impl Into<Bytes>) -> bool {
        self.registry().update_member(self.pid(), group, value)
    }
}
