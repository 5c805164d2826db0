//! The supervisor's core with everything that executes its effects, as the registry crate's driver runs it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;

use ordu_registry::core as registry;
use ordu_registry::core::names;
use ordu_registry::driver::{self, Input, Local, Outgoing, RegistryCall};
use ordu_transport::core::{Instant, Now};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tokio::sync::{broadcast, oneshot, watch};

use crate::children::Children;
use crate::core::{self, Call, Effect, Escalation, Event, Message, Reply};
use crate::kinds::Kinds;
use crate::store::Saves;
use crate::supervisor::{Inner, Supervisor, Watchdog};

/// Most events that a slow listener may be behind; beyond, it is told how many it missed.
pub const EVENTS_BEHIND_MAX: usize = 4096;
/// How many of the latest events are kept for those who come later.
pub const EVENTS_KEPT_MAX: usize = 1000;

/// A supervisor's core and its surroundings. All of it lives under the driver's lock.
pub(crate) struct Machine {
    pub(crate) core: core::Supervisor,
    pub(crate) kinds: Kinds,
    pub(crate) children: Children,
    pub(crate) recent: VecDeque<Event>,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) drained: watch::Sender<bool>,
    pub(crate) escalated: watch::Sender<Option<Escalation>>,
    pub(crate) watchdog: Option<Watchdog>,
    local: Arc<Local>,
    replies: BTreeMap<u64, oneshot::Sender<Reply>>,
    /// Where what is to be kept goes, if anything is.
    saves: Option<Saves>,
    /// Makes the numbers of requests, which must differ between the nodes of a cluster too.
    rng: ChaCha8Rng,
    /// What children are given; set once the handle exists.
    handle: Weak<Inner>,
    is_closed: bool,
}

impl Machine {
    pub(crate) fn new(
        core: core::Supervisor,
        kinds: Kinds,
        children: Children,
        local: Arc<Local>,
        rng: ChaCha8Rng,
    ) -> Self {
        Self {
            core,
            kinds,
            children,
            recent: VecDeque::new(),
            events: broadcast::Sender::new(EVENTS_BEHIND_MAX),
            drained: watch::Sender::new(false),
            escalated: watch::Sender::new(None),
            watchdog: None,
            local,
            replies: BTreeMap::new(),
            saves: None,
            rng,
            handle: Weak::new(),
            is_closed: false,
        }
    }

    pub(crate) fn set_handle(&mut self, handle: Weak<Inner>) {
        self.handle = handle;
    }

    pub(crate) fn set_saves(&mut self, saves: Saves) {
        self.saves = Some(saves);
    }

    /// Makes calls, at once. What is returned of each resolves to its answer; to an error if this node is closed, or
    /// becomes so before there is one.
    pub(crate) fn call_many(
        &mut self,
        now: Now,
        calls: Vec<Call>,
        wait: Duration,
        effects: &mut Vec<Effect>,
    ) -> Vec<oneshot::Receiver<Reply>> {
        let mut replied = Vec::with_capacity(calls.len());
        let mut numbered = Vec::with_capacity(calls.len());
        for call in calls {
            let (reply, receiver) = oneshot::channel();
            replied.push(receiver);
            // Otherwise what would send the answer is dropped.
            if !self.is_closed {
                let request = self.rng.random();
                self.replies.insert(request, reply);
                numbered.push((request, call));
            }
        }
        if !numbered.is_empty() {
            self.core.call_many(now, numbered, wait, effects);
        }
        replied
    }

    fn tell(&mut self, event: Event) {
        if self.recent.len() >= EVENTS_KEPT_MAX {
            self.recent.pop_front();
        }
        if self.events.receiver_count() > 0 {
            // Nobody listening any more is no error.
            let _ = self.events.send(event.clone());
        }
        self.recent.push_back(event);
    }
}

impl driver::Core for Machine {
    type Message = Message;
    type Effect = Effect;

    fn handle(&mut self, now: Now, input: Input<Message>, effects: &mut Vec<Effect>) {
        let input = match input {
            Input::Member(member) => core::Input::Member(member),
            Input::Connected(peer) => core::Input::Connected(peer),
            Input::Disconnected(peer) => core::Input::Disconnected(peer),
            Input::Message { from, message } => core::Input::Message { from, message },
            Input::Reborn(id) => core::Input::Reborn(id),
        };
        self.core.handle(now, input, effects);
    }

    fn handle_timeout(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.core.handle_timeout(now, effects);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.core.poll_timeout()
    }

    fn registry(&self) -> &registry::Registry {
        self.core.registry()
    }

    fn with_registry(&mut self, now: Now, effects: &mut Vec<Effect>, run: &mut RegistryCall<'_>) {
        self.core.with_registry(now, effects, |registry, out: &mut Vec<names::Effect>| run(registry, now, out));
    }

    fn execute(&mut self, effect: Effect) -> Option<Outgoing<Message>> {
        match effect {
            Effect::Send { to, lane, message } => return Some(Outgoing { to, lane, message: *message }),
            Effect::Start { pid, spec, fence, state } => match self.handle.upgrade() {
                Some(handle) => {
                    let kind = self.kinds.get(&spec.kind);
                    self.children.start(Supervisor::from(handle), kind, pid, spec, fence, state);
                }
                None => tracing::error!(child = %spec.id, "a child was to start before its supervisor"),
            },
            Effect::Stop { pid, timeout } => self.children.stop(&pid, timeout),
            Effect::Fence { pid, fence } => {
                if !self.local.raise_fence(&pid, fence) {
                    self.children.raise_fence(&pid, fence);
                }
            }
            Effect::Checkpointed { pid, number, keepers } => self.children.checkpointed(&pid, number, keepers),
            Effect::Merge { pid, loser, state } => self.children.merge(&pid, loser, state),
            Effect::Exit { pid, conflict } => drop(self.local.exit(&pid, conflict)),
            Effect::Visible { name, entry, gone } => self.local.show(&name, entry, gone),
            Effect::Member { entry, was, gone } => self.local.show_member(entry, was, gone),
            Effect::Reply { request, reply } => {
                // A caller that went away is told nothing.
                let _ = self.replies.remove(&request).map(|caller| caller.send(reply));
            }
            Effect::Event(event) => self.tell(event),
            Effect::Save { number, stored } => {
                // The core waits for each, so there is room. Without it the node is on its way out.
                let saves = self.saves.as_ref();
                if saves.is_none_or(|saves| saves.try_send((number, stored)).is_err()) {
                    tracing::error!("what should run is not saved any more");
                }
            }
            Effect::Lease { within } => self.watchdog.iter().for_each(|watchdog| watchdog.tell(within)),
            Effect::Escalate(escalation) => {
                let Escalation { child, reason } = &escalation;
                tracing::error!(%child, reason = &**reason, "a child failed too often, which tells of this node");
                self.escalated.send_if_modified(|first| {
                    let is_first = first.is_none();
                    first.get_or_insert(escalation);
                    is_first
                });
            }
            Effect::Drained => drop(self.drained.send_replace(true)),
            Effect::Superseded(by) => tracing::warn!(%by, "a later incarnation of this node's name is known"),
        }
        None
    }

    fn close(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if !std::mem::replace(&mut self.is_closed, true) {
            self.local.stop_all();
            self.core.handle(now, core::Input::StopAll, effects);
            self.replies.clear();
        }
    }
}
