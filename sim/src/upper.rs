//! What runs on a node above membership: the registry core alone, or the supervisor core with the registry inside, as
//! the two drivers of production have it.

use ordu_registry::core as registry;
use ordu_registry::core::Registry;
use ordu_registry::core::delta::{Key, Payload};
use ordu_registry::core::sync::Limits;
use ordu_registry::core::table::Table;
use ordu_supervisor::core::tables::Desired;
use ordu_supervisor::core::{self as supervisor, ChildId, Input, Supervisor};
use ordu_transport::core::{Instant, Now};

use crate::twin::{Model, Twin, Wrote};

/// The layer above membership.
#[derive(Clone)]
pub(crate) enum Upper {
    /// The registry core alone.
    Names(Box<Registry>),
    /// The supervisor core.
    Children(Box<Supervisor>),
}

/// What either layer wants done.
pub(crate) enum Wanted {
    /// By the registry core.
    Names(Vec<registry::Effect>),
    /// By the supervisor core.
    Children(Vec<supervisor::Effect>),
}

impl Wanted {
    pub(crate) fn len(&self) -> usize {
        match self {
            Wanted::Names(effects) => effects.len(),
            Wanted::Children(effects) => effects.len(),
        }
    }
}

/// How far a node had written in one table.
#[derive(Clone, Copy, Default)]
struct Until {
    revision: u64,
    /// Whose counter it is: the node may go on as another incarnation.
    incarnation: (u64, u64),
    counter: u64,
}

impl Until {
    fn of<K: Key, V: Payload>(table: &Table<K, V>) -> Self {
        let origin = table.origin();
        let counter = table.context().clock().get(origin);
        Self { revision: table.revision(), incarnation: (origin.boot, origin.nonce), counter }
    }

    /// The counter from which on to look; `None` if the table is as it was.
    fn since<K: Key, V: Payload>(self, table: &Table<K, V>) -> Option<u64> {
        let origin = table.origin();
        let counter = if self.incarnation == (origin.boot, origin.nonce) { self.counter } else { 0 };
        (self.revision != table.revision()).then_some(counter)
    }
}

/// How far the node had written in each table: names, desired, actual, marks, facts.
#[derive(Clone, Copy, Default)]
pub(crate) struct Written([Until; 5]);

impl Upper {
    /// Sends no more at once than this.
    pub(crate) fn set_limits(&mut self, limits: Limits) {
        match self {
            Upper::Names(names) => names.set_limits(limits),
            Upper::Children(supervisor) => supervisor.set_limits(limits),
        }
    }

    /// The registry.
    pub(crate) fn names(&self) -> &Registry {
        match self {
            Upper::Names(names) => names,
            Upper::Children(supervisor) => supervisor.registry(),
        }
    }

    /// The supervisor, where there is one.
    pub(crate) fn children(&self) -> Option<&Supervisor> {
        match self {
            Upper::Names(_) => None,
            Upper::Children(supervisor) => Some(supervisor),
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Upper::Names(names) => names.poll_timeout(),
            Upper::Children(supervisor) => supervisor.poll_timeout(),
        }
    }

    pub(crate) fn is_converged(&self, now: Now) -> bool {
        match self {
            Upper::Names(names) => names.is_converged(now),
            Upper::Children(supervisor) => supervisor.is_converged(now),
        }
    }

    /// Counts the changes of every table, and of what lookups show: where it is the same as before, so is what is shown
    /// and replicated.
    pub(crate) fn revisions(&self) -> [u64; 6] {
        let names = (self.names().names().table().revision(), self.names().shown_revision());
        let Some(children) = self.children() else { return [names.0, names.1, 0, 0, 0, 0] };
        [
            names.0,
            names.1,
            children.desired().table().revision(),
            children.actual().table().revision(),
            children.marks().table().revision(),
            children.facts().table().revision(),
        ]
    }

    /// Whether both hold equal digests of every table.
    pub(crate) fn is_alike(&self, other: &Upper) -> bool {
        let names = self.names().names().table().digest() == other.names().names().table().digest();
        let children = match (self.children(), other.children()) {
            (Some(one), Some(two)) => {
                one.desired().table().digest() == two.desired().table().digest()
                    && one.actual().table().digest() == two.actual().table().digest()
                    && one.marks().table().digest() == two.marks().table().digest()
                    && one.facts().table().digest() == two.facts().table().digest()
            }
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        names && children
    }

    /// Handles an input; the registry's driver has no use for those that are about children.
    pub(crate) fn handle(&mut self, now: Now, input: Input) -> Wanted {
        match self {
            Upper::Children(supervisor) => {
                let mut effects = Vec::new();
                supervisor.handle(now, input, &mut effects);
                Wanted::Children(effects)
            }
            Upper::Names(names) => {
                let mut effects = Vec::new();
                let input = match input {
                    Input::Member(member) => Some(registry::Input::Member(member)),
                    Input::Connected(peer) => Some(registry::Input::Connected(peer)),
                    Input::Disconnected(peer) => Some(registry::Input::Disconnected(peer)),
                    Input::Message { from, message: supervisor::Message::Names(message) } => {
                        Some(registry::Input::Message { from, message })
                    }
                    Input::Reborn(id) => Some(registry::Input::Reborn(id)),
                    Input::Message { .. } | Input::Started { .. } | Input::Exited { .. } | Input::Saved { .. } => None,
                    Input::HandedOff { .. } | Input::Checkpoint { .. } | Input::Shutdown | Input::StopAll => None,
                };
                input.into_iter().for_each(|input| names.handle(now, input, &mut effects));
                Wanted::Names(effects)
            }
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Now) -> Wanted {
        match self {
            Upper::Names(names) => {
                let mut effects = Vec::new();
                names.handle_timeout(now, &mut effects);
                Wanted::Names(effects)
            }
            Upper::Children(supervisor) => {
                let mut effects = Vec::new();
                supervisor.handle_timeout(now, &mut effects);
                Wanted::Children(effects)
            }
        }
    }

    /// Runs something on the registry for the node's own code.
    pub(crate) fn with_names<R>(
        &mut self,
        now: Now,
        call: impl FnOnce(&mut Registry, &mut Vec<registry::Effect>) -> R,
    ) -> (R, Wanted) {
        match self {
            Upper::Names(names) => {
                let mut effects = Vec::new();
                let result = call(names, &mut effects);
                (result, Wanted::Names(effects))
            }
            Upper::Children(supervisor) => {
                let mut effects = Vec::new();
                let result = supervisor.with_registry(now, &mut effects, call);
                (result, Wanted::Children(effects))
            }
        }
    }

    /// How far this node has written.
    pub(crate) fn written(&self) -> Written {
        let names = Until::of(self.names().names().table());
        let Some(children) = self.children() else {
            return Written([names, Until::default(), Until::default(), Until::default(), Until::default()]);
        };
        Written([
            names,
            Until::of(children.desired().table()),
            Until::of(children.actual().table()),
            Until::of(children.marks().table()),
            Until::of(children.facts().table()),
        ])
    }

    /// The beginning of everything.
    pub(crate) fn nothing_written() -> Written {
        Written::default()
    }

    /// Tells the twins what this node wrote since. Returns what it wrote about what should run.
    pub(crate) fn record(&self, since: &Written, twin: &mut Twin) -> Vec<Wrote<ChildId, Desired>> {
        fn record<K: Key, V: Payload>(until: Until, table: &Table<K, V>, model: &mut Model<K, V>) -> Vec<Wrote<K, V>> {
            until.since(table).map_or(Vec::new(), |since| model.record(since, table))
        }
        let Written([names, desired, actual, marks, facts]) = *since;
        record(names, self.names().names().table(), &mut twin.names);
        let Some(children) = self.children() else { return Vec::new() };
        record(actual, children.actual().table(), &mut twin.actual);
        record(marks, children.marks().table(), &mut twin.marks);
        record(facts, children.facts().table(), &mut twin.facts);
        record(desired, children.desired().table(), &mut twin.desired)
    }
}
