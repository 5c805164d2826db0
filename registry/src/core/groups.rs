//! Groups: names of which many processes are members at a time, without conflict.
//!
//! A membership is a claim like any other, in the same table, under a key of its own: the group's name and what tells its
//! process from all others. The character that sets such keys apart is in no name that a caller can make, so a group and a
//! name of the same text do not meet, and lookups, counts and lists of names know nothing of groups. Keys of one group
//! share their place in the table: that is how a group is read. A join or a leave moves what lies behind it there, sixteen
//! bytes a member: little, up to some tens of thousands in one group.
//!
//! Everything else is as with names: memberships are written by the node that runs the process and by nobody else, hidden
//! while that node is down, gone when the process ends, and kept over a rebirth.

use std::fmt;

use bytes::Bytes;
use compact_str::format_compact;
use ordu_transport::core::id::validate_name;
use ordu_transport::core::{Hlc, InvalidName, NodeId, Now, Pid};

use super::claim::{Claim, Entry, Fence, Name, VALUE_BYTES_MAX};
use super::delta::{Key, place_of};
use super::names::{Effect, NAMES_PER_PROCESS_MAX, Registry};

/// Sets keys of memberships apart from names, and the group's name from what follows.
const MARK: char = '*';
/// Longest part of a key that tells one process from all others: two numbers in hex.
const TAG_BYTES_MAX: usize = 33;

/// Why a process did not join a group. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum JoinError {
    /// It is a member already.
    #[error("the process is a member already")]
    AlreadyMember,
    /// The process that asked has ended.
    #[error("the process has ended")]
    NoProcess,
    /// The value is longer than [`VALUE_BYTES_MAX`].
    #[error("the value is longer than {VALUE_BYTES_MAX} bytes")]
    ValueTooLong,
    /// The process holds [`NAMES_PER_PROCESS_MAX`] names and memberships already.
    #[error("the process holds {NAMES_PER_PROCESS_MAX} names already")]
    TooManyNames,
}

/// A process that is a member of a group, as reads of the group show it. Clones share it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct GroupEntry(Entry);

impl GroupEntry {
    /// The group.
    pub fn group(&self) -> &str {
        self.0.name().group().unwrap_or_default()
    }

    /// The node whose claim it is.
    pub fn node(&self) -> &NodeId {
        self.0.node()
    }

    /// The process.
    pub fn pid(&self) -> &Pid {
        self.0.pid()
    }

    /// Its activation's fence.
    pub fn fence(&self) -> Fence {
        self.0.fence()
    }

    /// When it was activated.
    pub fn since(&self) -> Hlc {
        self.0.since()
    }

    /// What it says of itself in this group.
    pub fn value(&self) -> &Bytes {
        self.0.value()
    }
}

impl fmt::Debug for GroupEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// ---- keys

impl Name {
    /// The key of a process's membership of a group.
    fn membership(group: &Name, pid: &Pid) -> Self {
        // A serial is given once by each start of a node, and each start of a node has a random nonce.
        Self::of_text(format_compact!("{MARK}{group}{MARK}{:x}.{:x}", pid.serial, pid.node.nonce))
    }

    /// Whether this is the key of a membership, and no name.
    pub fn is_membership(&self) -> bool {
        self.as_str().as_bytes().first() == Some(&(MARK as u8))
    }

    /// The group, if this is the key of a membership.
    pub fn group(&self) -> Option<&str> {
        self.as_str().strip_prefix(MARK)?.split_once(MARK).map(|(group, _)| group)
    }
}

/// What comes from another node and is no name may be a well-formed key of a membership.
pub(super) fn check(text: &str) -> Result<(), InvalidName> {
    let Some((group, tag)) = text.strip_prefix(MARK).and_then(|rest| rest.split_once(MARK)) else {
        return validate_name(text, true);
    };
    validate_name(group, true)?;
    if tag.len() > TAG_BYTES_MAX {
        return Err(InvalidName::TooLong(text.len()));
    }
    match tag.chars().find(|c| !matches!(c, '0'..='9' | 'a'..='f' | '.')) {
        Some(c) => Err(InvalidName::Character(c, "")),
        None => Ok(()),
    }
}

/// Where all memberships of a group are; apart from the name of the same text.
pub(super) fn place_of_group(group: &str) -> u64 {
    place_of(&(MARK, group))
}

// ---- the registry's part

impl Registry {
    /// Joins a local process to a group. On `Ok` this node's reads of the group show it.
    pub fn join(
        &mut self,
        now: Now,
        pid: &Pid,
        group: &Name,
        value: Bytes,
        effects: &mut Vec<Effect>,
    ) -> Result<(), JoinError> {
        let key = Name::membership(group, pid);
        let Some(process) = self.processes.get_mut(pid) else { return Err(JoinError::NoProcess) };
        if process.names.contains(&key) {
            return Err(JoinError::AlreadyMember);
        }
        if value.len() > VALUE_BYTES_MAX {
            return Err(JoinError::ValueTooLong);
        }
        if process.names.len() >= NAMES_PER_PROCESS_MAX {
            return Err(JoinError::TooManyNames);
        }
        process.names.insert(key.clone());
        let (rank, fence, since, losing) =
            (process.rank.clone(), process.fence, process.since, process.lost_to.clone());
        let (value, losing) = (value.into(), losing.map(Box::new));
        self.names.put(key, Claim { pid: pid.clone(), rank, fence, since, value, losing });
        self.settle(now, Default::default(), effects);
        self.finish(Vec::new(), effects);
        Ok(())
    }

    /// Takes a local process out of a group. Returns false, and changes nothing, if it is no member.
    pub fn leave(&mut self, now: Now, pid: &Pid, group: &Name, effects: &mut Vec<Effect>) -> bool {
        self.unregister(now, pid, &Name::membership(group, pid), effects)
    }

    /// Replaces the value that a local process keeps in a group. Returns false, and changes nothing, if it is no member or
    /// the value is longer than [`VALUE_BYTES_MAX`].
    pub fn update_member(
        &mut self,
        now: Now,
        pid: &Pid,
        group: &Name,
        value: Bytes,
        effects: &mut Vec<Effect>,
    ) -> bool {
        self.update_value(now, pid, &Name::membership(group, pid), value, effects)
    }

    /// The members of a group whose nodes are not down, in an order that is the same on every node.
    pub fn members<'a>(&'a self, group: &'a str) -> impl Iterator<Item = GroupEntry> + 'a {
        let alike = self.names.table().shown_at(place_of_group(group)).filter_map(Entry::of);
        alike.filter(move |entry| entry.name().group() == Some(group)).map(GroupEntry)
    }

    /// All members of all groups, in an order that means nothing, but is the same on every machine.
    pub fn all_members(&self) -> impl Iterator<Item = GroupEntry> {
        let shown = self.names.table().all_shown().filter(|event| event.key.is_membership());
        shown.filter_map(Entry::of).map(GroupEntry)
    }

    /// The groups that a local process is a member of, in order.
    pub fn groups_of(&self, pid: &Pid) -> impl Iterator<Item = &str> {
        self.holdings(pid).filter_map(Name::group)
    }

    /// Looks at a membership: what reads of its group show. There are no conflicts about it.
    pub(super) fn settle_membership(&mut self, now: Now, key: &Name, effects: &mut Vec<Effect>) {
        let place = key.place();
        let events: Vec<_> =
            self.names.table().events_at(place, key).filter(|event| !event.is_remove()).cloned().collect();
        for claim in events.iter().filter_map(|event| event.value.as_ref()) {
            self.observe(now, claim.fence.at());
        }
        // A node and its earlier incarnation may both have it for a moment.
        let shown = events.iter().filter(|event| self.is_shown(&event.dot.actor));
        let entry = shown.max_by_key(|event| &event.dot.actor).and_then(Entry::of);
        let was =
            self.names.show(place, key, entry.as_ref().map(|entry| &**entry.event())).as_ref().and_then(Entry::of);
        if was == entry {
            return;
        }
        self.shown_revision += 1;
        let gone = was.as_ref().filter(|_| entry.is_none()).map(|was| self.why_gone(was));
        let (entry, was) = (entry.map(GroupEntry), was.map(GroupEntry));
        effects.push(Effect::Member { entry, was, gone });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ordu_transport::core::NodeName;

    #[test]
    fn keys_of_memberships_are_no_names_and_travel() {
        let node = NodeId::new(NodeName::new("n").unwrap(), 1, u64::MAX);
        let (group, pid) = (Name::new("a/b").unwrap(), Pid::new(node, u64::MAX));
        let key = Name::membership(&group, &pid);
        assert_eq!(key.as_str(), "*a/b*ffffffffffffffff.ffffffffffffffff");
        assert_eq!((key.is_membership(), key.group()), (true, Some("a/b")));
        assert_eq!((group.is_membership(), group.group()), (false, None));
        assert!(Name::new(key.as_str()).is_err());
        let bytes = rmp_serde::to_vec(&key).unwrap();
        assert_eq!(rmp_serde::from_slice::<Name>(&bytes).unwrap(), key);
        assert_eq!((key.place(), group.place() == key.place()), (place_of_group("a/b"), false));
    }

    #[test]
    fn keys_that_no_node_of_ours_makes_are_refused() {
        let too_long = format!("*a*{}", "0".repeat(TAG_BYTES_MAX + 1));
        for text in ["*", "**", "*a", "*a*A", "*a*1*2", "* *1", "**1", "*a*é", "a*1", &too_long] {
            let bytes = rmp_serde::to_vec(text).unwrap();
            assert!(rmp_serde::from_slice::<Name>(&bytes).is_err(), "{text}");
        }
    }
}
