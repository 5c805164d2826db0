//! What runs on a node above membership: the registry core alone, or the supervisor core with the registry inside, as
//! the two drivers of production have it.

use ordu_registry::core as registry;
use ordu_registry::core::Registry;
use ordu_registry::core::clock::Clock;
use ordu_supervisor::core::tables::Desired;
use ordu_supervisor::core::{self as supervisor, ChildId, Input, Supervisor};
use ordu_transport::core::{Instant, Now};

use crate::twin::{Twin, Wrote};

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

/// How far the node had written in each table.
pub(crate) struct Written {
    names: Clock,
    /// Desired, actual, marks, facts.
    children: Option<[Clock; 4]>,
}

impl Upper {
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

    /// The digests of every table.
    pub(crate) fn digests(&self) -> Vec<u64> {
        let mut digests = vec![self.names().names().table().digest()];
        if let Some(children) = self.children() {
            digests.extend([
                children.desired().table().digest(),
                children.actual().table().digest(),
                children.marks().table().digest(),
                children.facts().table().digest(),
            ]);
        }
        digests
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
                    Input::Message { .. } | Input::Started { .. } | Input::Exited { .. } => None,
                    Input::Shutdown | Input::StopAll => None,
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
        Written {
            names: self.names().names().table().context().clock().clone(),
            children: self.children().map(|children| {
                [
                    children.desired().table().context().clock().clone(),
                    children.actual().table().context().clock().clone(),
                    children.marks().table().context().clock().clone(),
                    children.facts().table().context().clock().clone(),
                ]
            }),
        }
    }

    /// The beginning of everything.
    pub(crate) fn nothing_written() -> Written {
        Written { names: Clock::default(), children: Some(Default::default()) }
    }

    /// Tells the twins what this node wrote since. Returns what it wrote about what should run.
    pub(crate) fn record(&self, since: &Written, twin: &mut Twin) -> Vec<Wrote<ChildId, Desired>> {
        twin.names.record(&since.names, self.names().names().table());
        let mut wrote = Vec::new();
        if let (Some(children), Some([desired, actual, marks, facts])) = (self.children(), &since.children) {
            wrote = twin.desired.record(desired, children.desired().table());
            twin.actual.record(actual, children.actual().table());
            twin.marks.record(marks, children.marks().table());
            twin.facts.record(facts, children.facts().table());
        }
        wrote
    }
}
