//! Members that came up and were not heard yet, and until when that is waited for.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use ordu_transport::core::{Instant, NodeId};

use super::sync::wait;

/// Members that are waited for.
#[derive(Debug, Clone, Default)]
pub struct Unheard {
    until: BTreeMap<NodeId, Instant>,
    first: Option<Instant>,
    /// How many hearings there had been when it was last looked who was heard.
    hearings: u64,
}

impl Unheard {
    /// Waits for this one, unless it is waited for already.
    pub fn insert(&mut self, id: &NodeId, until: Instant) {
        let until = *self.until.entry(id.clone()).or_insert(until);
        self.first = Some(self.first.map_or(until, |first| first.min(until)));
    }

    /// Does not wait for it any more.
    pub fn remove(&mut self, id: &NodeId) {
        if self.until.remove(id).is_some() {
            self.first = self.until.values().copied().min();
        }
    }

    /// Whether it is waited for.
    pub fn contains(&self, id: &NodeId) -> bool {
        self.until.contains_key(id)
    }

    /// Whether nobody is.
    pub fn is_empty(&self) -> bool {
        self.until.is_empty()
    }

    /// When the first was waited for long enough.
    pub fn first(&self) -> Option<Instant> {
        self.first
    }

    /// Those who have been heard by now, or were waited for long enough, in order. Costs nothing unless the time has come
    /// or the count of hearings has changed.
    pub fn take_heard(&mut self, now: Instant, hearings: u64, heard: impl Fn(&NodeId) -> bool) -> Vec<NodeId> {
        let is_due = self.first.is_some_and(|at| at <= now);
        let is_same = std::mem::replace(&mut self.hearings, hearings) == hearings;
        if self.until.is_empty() || (is_same && !is_due) {
            return Vec::new();
        }
        let heard = self.until.extract_if(.., |id, until| *until <= now || heard(id));
        let heard: Vec<NodeId> = heard.map(|(id, _)| id).collect();
        if !heard.is_empty() {
            self.first = self.until.values().copied().min();
        }
        heard
    }

    /// Takes into `hasher` who is waited for, and for how long yet.
    pub fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        self.until.iter().for_each(|(id, until)| (id, wait(now, *until)).hash(hasher));
    }
}
