//! The digests of all tables in one message: they are due at the same times and go to the same peers.

use ordu_registry::core::delta;
use ordu_transport::core::{Lane, NodeId, Now};
use serde::{Deserialize, Serialize};

use super::supervisor::Supervisor;
use super::words::{Effect, Message};

/// Hashes of tables; see [`delta::Message::Digest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Digests {
    /// Of what runs under which name.
    pub names: Option<u64>,
    /// Of what should run.
    pub desired: Option<u64>,
    /// Of what runs.
    pub actual: Option<u64>,
    /// Of marks.
    pub marks: Option<u64>,
    /// Of facts about nodes.
    pub facts: Option<u64>,
    /// Whether the receiver shall show its own of these tables.
    pub ask: bool,
}

impl Digests {
    /// The one digest of a message, if it is that.
    fn of(message: &Message) -> Option<Self> {
        fn hash<K: delta::Key, V: delta::Payload>(message: &delta::Message<K, V>) -> Option<(u64, bool)> {
            if let delta::Message::Digest { hash, ask } = message { Some((*hash, *ask)) } else { None }
        }
        let mut digests = Digests::default();
        let (of, (hash, ask)) = match message {
            Message::Names(message) => (&mut digests.names, hash(message)?),
            Message::Desired(message) => (&mut digests.desired, hash(message)?),
            Message::Actual(message) => (&mut digests.actual, hash(message)?),
            Message::Marks(message) => (&mut digests.marks, hash(message)?),
            Message::Facts(message) => (&mut digests.facts, hash(message)?),
            Message::Digests(_) | Message::Control(_) => return None,
        };
        *of = Some(hash);
        Some(Digests { ask, ..digests })
    }

    /// Takes those of `other` that there are.
    fn join(&mut self, other: Digests) {
        let Digests { names, desired, actual, marks, facts, ask: _ } = other;
        self.names = names.or(self.names);
        self.desired = desired.or(self.desired);
        self.actual = actual.or(self.actual);
        self.marks = marks.or(self.marks);
        self.facts = facts.or(self.facts);
    }

    /// A message for each table.
    fn messages(self) -> impl Iterator<Item = Message> {
        fn digest<K: delta::Key, V: delta::Payload>(hash: u64, ask: bool) -> delta::Message<K, V> {
            delta::Message::Digest { hash, ask }
        }
        let Digests { names, desired, actual, marks, facts, ask } = self;
        let each = [
            names.map(|hash| Message::Names(digest(hash, ask))),
            desired.map(|hash| Message::Desired(digest(hash, ask))),
            actual.map(|hash| Message::Actual(digest(hash, ask))),
            marks.map(|hash| Message::Marks(digest(hash, ask))),
            facts.map(|hash| Message::Facts(digest(hash, ask))),
        ];
        each.into_iter().flatten()
    }
}

impl Supervisor {
    pub(super) fn on_digests(&mut self, now: Now, from: &NodeId, digests: Digests, effects: &mut Vec<Effect>) {
        for message in digests.messages() {
            self.on_table_message(now, from, message, effects);
        }
    }
}

/// Makes one message of all digests for the same receivers, from this effect on.
pub(super) fn join_digests(effects: &mut Vec<Effect>, from: usize) {
    let digest = |effect: &&Effect| matches!(effect, Effect::Send { message, .. } if Digests::of(message).is_some());
    if effects[from..].iter().filter(digest).nth(1).is_none() {
        return;
    }
    let mut joined: Vec<(Vec<NodeId>, Digests)> = Vec::new();
    let kept = effects.split_off(from).into_iter().filter_map(|effect| {
        let Effect::Send { to, message, .. } = &effect else { return Some(effect) };
        let Some(digest) = Digests::of(message) else { return Some(effect) };
        match joined.iter_mut().find(|(of, digests)| of == to && digests.ask == digest.ask) {
            Some((_, digests)) => digests.join(digest),
            None => joined.push((to.clone(), digest)),
        }
        None
    });
    let kept: Vec<Effect> = kept.collect();
    effects.extend(joined.into_iter().map(|(to, digests)| Effect::Send {
        to,
        lane: Lane::Delta,
        message: Box::new(Message::Digests(digests)),
    }));
    effects.extend(kept);
}
