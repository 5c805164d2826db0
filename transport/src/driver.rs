//! The driver of the membership core: turns its effects into sessions, and sessions into its inputs.
//!
//! One task owns the core and all bookkeeping of sessions; dials, handshakes and sessions are tasks of their own that
//! report to it. It never waits for any of them, nor for the upper layer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::core::membership::{Effect, Input, Membership};
use crate::core::message::{Hello, Refusal};
use crate::core::{Addr, NodeId, NodeName};
use crate::events::{Behind, ClusterEvent, ControlSink, FrameSink};
use crate::greet::{self, Verdict};
use crate::handshake::{CloseCode, Greeted, close, refusal_of, refuse};
use crate::session::{self, Ended, Session, Surroundings};
use crate::shared::Shared;

/// Most commands that wait for the driver.
pub(crate) const COMMANDS_MAX: usize = 4096;
/// Most sessions of a node.
pub(crate) const SESSIONS_MAX: usize = 1024;
/// Most dials that are under way at a time; the core asks again for what is skipped.
pub(crate) const DIALS_MAX: usize = 64;
/// Most addresses of which we remember which node answers there.
const ALIASES_MAX: usize = 4096;
/// Most commands that are taken while a timer is due.
const BURST_MAX: usize = 256;
/// How often a leaving node says so to those who still hold a session.
const LEAVE_REPEAT: Duration = Duration::from_millis(100);
/// How long a leaving node waits for the others to hang up.
const LEAVE_MAX: Duration = Duration::from_millis(500);

/// What other tasks want of the driver.
#[derive(Debug)]
pub(crate) enum Command {
    /// About a peer's hello; from a dial with the address that was dialled.
    Judge {
        hello: Box<Hello>,
        dialled: Option<Addr>,
        verdict: oneshot::Sender<Verdict>,
    },
    Greeted {
        greeted: Box<Greeted>,
        addr: Option<Addr>,
    },
    /// A dial came to nothing.
    DialFailed {
        addr: Addr,
        refusal: Option<Refusal>,
    },
    /// There is no need to dial this address: it is the node's own, or a session with that node exists.
    Alias {
        addr: Addr,
        node: NodeId,
    },
    /// A peer that dialled us refused us.
    Refused {
        addr: Addr,
        refusal: Refusal,
    },
    Datagram {
        from: NodeId,
        bytes: Bytes,
    },
    Unreachable {
        peer: NodeId,
        rtt: Duration,
    },
    Ended(Ended),
    Remove {
        name: NodeName,
    },
    Leave {
        done: oneshot::Sender<()>,
    },
}

/// A peer's place: one session, and perhaps the one that replaces it once it has ended.
struct Slot {
    session: Arc<Session>,
    next: Option<Arc<Session>>,
}

/// The task's state.
pub(crate) struct Driver {
    core: Membership,
    shared: Arc<Shared>,
    endpoint: quinn::Endpoint,
    commands: mpsc::Receiver<Command>,
    control: ControlSink,
    surroundings: Surroundings,
    slots: BTreeMap<NodeId, Slot>,
    /// The dials that are under way, and who answered, once somebody did.
    dialling: BTreeMap<Addr, Option<NodeId>>,
    /// Which node answered at an address that is not the one it goes by.
    aliases: BTreeMap<Addr, NodeId>,
    serial: u64,
    /// The upper layer is dead.
    behind: bool,
}

impl Driver {
    pub(crate) fn new(
        core: Membership,
        shared: Arc<Shared>,
        endpoint: quinn::Endpoint,
        (sender, commands): (mpsc::Sender<Command>, mpsc::Receiver<Command>),
        control: ControlSink,
        frames: FrameSink,
    ) -> Self {
        let surroundings = Surroundings {
            commands: sender,
            frames,
            counters: shared.counters.clone(),
            faults: Arc::default(),
            shared: shared.clone(),
        };
        Self {
            core,
            shared,
            endpoint,
            commands,
            control,
            surroundings,
            slots: BTreeMap::new(),
            dialling: BTreeMap::new(),
            aliases: BTreeMap::new(),
            serial: 0,
            behind: false,
        }
    }

    /// Shows ourselves in the view, and dials for the first time.
    pub(crate) fn begin(&mut self) {
        let mut effects = Vec::new();
        self.core.handle_timeout(self.shared.clock.now(), &mut effects);
        self.execute(effects);
    }

    /// Drives until told to leave or to stop, or until the upper layer is dead.
    pub(crate) async fn run(mut self, stop: oneshot::Receiver<()>) {
        let accepting =
            tokio::spawn(greet::accept(self.endpoint.clone(), self.shared.clone(), self.surroundings.commands.clone()));
        let left = tokio::select! {
            left = self.drive() => left,
            _ = stop => None,
        };
        accepting.abort();
        if let Some(done) = left {
            self.leave().await;
            self.hang_up();
            let _ = tokio::time::timeout(LEAVE_MAX, self.endpoint.wait_idle()).await;
            let _ = done.send(());
        } else {
            self.hang_up();
        }
        let _ = accepting.await;
    }

    fn hang_up(&mut self) {
        self.endpoint.close(quinn::VarInt::from_u32(CloseCode::Bye as u32), b"");
        self.shared.clear_sessions();
        self.shared.close_requests();
    }

    /// Returns whom to tell once we have left.
    async fn drive(&mut self) -> Option<oneshot::Sender<()>> {
        let mut burst = 0;
        loop {
            if self.behind {
                tracing::error!("the events are not taken: this node stops");
                return None;
            }
            let now = self.shared.clock.now();
            let due = self.core.poll_timeout();
            if due.is_some_and(|due| due <= now.at) && (self.commands.is_empty() || burst >= BURST_MAX) {
                burst = 0;
                let mut effects = Vec::new();
                self.core.handle_timeout(now, &mut effects);
                self.shared.counters.stretch.set(u64::from(self.core.stretch()));
                self.execute(effects);
                continue;
            }
            let timer = async {
                match due {
                    Some(due) => tokio::time::sleep_until(self.shared.clock.at(due)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(Command::Leave { done }) => return Some(done),
                    Some(command) => {
                        burst += 1;
                        self.on_command(command);
                    }
                    // We hold a sender ourselves.
                    None => return None,
                },
                () = timer => {}
            }
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Judge { hello, dialled, verdict } => {
                let judged = self.judge(&hello, dialled);
                let _ = verdict.send(judged);
            }
            Command::Greeted { greeted, addr } => {
                self.on_greeted(*greeted, addr.as_ref());
                self.dialling_is_over(addr.as_ref());
            }
            Command::DialFailed { addr, refusal } => {
                self.dialling_is_over(Some(&addr));
                if refusal.is_some() {
                    self.shared.counters.sessions_refused.add(1);
                }
                self.input(Input::DialFailed { addr, refusal });
            }
            Command::Alias { addr, node } => {
                self.dialling_is_over(Some(&addr));
                self.add_alias(addr, node);
            }
            Command::Refused { addr, refusal } => {
                self.shared.counters.sessions_refused.add(1);
                self.input(Input::DialFailed { addr, refusal: Some(refusal) });
            }
            Command::Datagram { from, bytes } => self.input(Input::Datagram { from, bytes }),
            Command::Unreachable { peer, rtt } => self.input(Input::Unreachable { peer, rtt }),
            Command::Ended(ended) => self.on_ended(ended),
            Command::Remove { name } => self.input(Input::Remove { name }),
            // Taken by `drive`; a second one waits for the first.
            Command::Leave { done } => drop(done),
        }
    }

    fn judge(&mut self, hello: &Hello, dialled: Option<Addr>) -> Verdict {
        if let Err(refusal) = self.core.judge(self.shared.clock.now(), hello) {
            self.shared.counters.sessions_refused.add(1);
            return Verdict::Refused(refusal);
        }
        if let Some(addr) = dialled {
            let there = self.slots.get(&hello.id).is_some_and(|slot| slot.session.connection.close_reason().is_none());
            if there || self.dialling.values().any(|node| node.as_ref() == Some(&hello.id)) {
                return Verdict::Duplicate;
            }
            if let Some(node) = self.dialling.get_mut(&addr) {
                *node = Some(hello.id.clone());
            }
        }
        Verdict::Welcome
    }

    fn input(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.core.handle(self.shared.clock.now(), input, &mut effects);
        self.execute(effects);
    }

    fn execute(&mut self, effects: Vec<Effect>) {
        let mut refused = Vec::new();
        for effect in effects {
            match effect {
                Effect::Datagram { to, bytes } => {
                    if let Some(slot) = self.slots.get(&to) {
                        slot.session.send_datagram(bytes);
                    }
                }
                Effect::CheckPort { peer } => {
                    if let Some(slot) = self.slots.get(&peer)
                        && slot.session.check_port()
                    {
                        let rtt = slot.session.connection.rtt();
                        refused.push(Input::Unreachable { peer, rtt });
                    }
                }
                Effect::Dial { addr } => self.dial(addr),
                Effect::Member(member) => {
                    tracing::info!(node = %member.id, addr = %member.addr, status = ?member.status, "member");
                    self.shared.set_view(self.core.view().clone());
                    self.tell(ClusterEvent::Member(member), None);
                }
                Effect::Reborn { id } => {
                    tracing::warn!(node = %id, "a later incarnation of this node was known: going on above it");
                    self.shared.set_hello(self.core.hello());
                    self.tell(ClusterEvent::Reborn(id), None);
                    self.slots.values().for_each(|slot| slot.close(CloseCode::Reborn));
                }
                Effect::NameTaken { holder } => {
                    tracing::error!(%holder, "the name of this node is held by another living node");
                    self.tell(ClusterEvent::NameTaken { holder }, None);
                }
                Effect::Ways => self.shared.set_ways(self.core.ways().clone()),
                Effect::Reached { peer } => self.begin_reaching(peer),
                Effect::Lost { peer } => self.end_reaching(peer),
                Effect::Close { peer, refusal } => {
                    if let Some(slot) = self.slots.get(&peer) {
                        tracing::debug!(%peer, %refusal, "session closed");
                        refuse(&slot.session.connection, &refusal);
                    }
                }
            }
        }
        refused.into_iter().for_each(|input| self.input(input));
    }

    fn tell(&mut self, event: ClusterEvent, told: Option<oneshot::Sender<()>>) {
        if self.control.send(event, told) == Err(Behind) {
            self.behind = true;
        }
    }

    fn dial(&mut self, addr: Addr) {
        let known = self.aliases.get(&addr);
        let there = known.is_some_and(|node| node == self.core.id() || self.slots.contains_key(node))
            || self.slots.values().any(|slot| slot.session.hello.addr == addr);
        if there || self.dialling.len() >= DIALS_MAX || self.dialling.contains_key(&addr) {
            return;
        }
        self.dialling.insert(addr.clone(), None);
        tokio::spawn(greet::dial(addr, self.endpoint.clone(), self.shared.clone(), self.surroundings.commands.clone()));
    }

    fn dialling_is_over(&mut self, addr: Option<&Addr>) {
        if let Some(addr) = addr {
            self.dialling.remove(addr);
        }
    }

    fn add_alias(&mut self, addr: Addr, node: NodeId) {
        if self.aliases.len() < ALIASES_MAX || self.aliases.contains_key(&addr) {
            self.aliases.insert(addr, node);
        }
    }

    fn on_greeted(&mut self, greeted: Greeted, addr: Option<&Addr>) {
        let Greeted { connection, peer, own, dialled } = greeted;
        if own.id != *self.core.id() {
            return close(&connection, CloseCode::Reborn);
        }
        if let Some(addr) = addr.filter(|addr| **addr != peer.addr) {
            self.add_alias(addr.clone(), peer.id.clone());
        }
        if self.slots.len() >= SESSIONS_MAX && !self.slots.contains_key(&peer.id) {
            return close(&connection, CloseCode::Crowded);
        }
        for (other, slot) in &self.slots {
            if peer.id.supersedes(other) {
                slot.close(CloseCode::Reborn);
            }
        }
        self.serial += 1;
        let dialled = dialled.then(|| addr.unwrap_or(&peer.addr).clone());
        let session = Session::new(self.serial, peer, dialled, connection, self.shared.counters.clone());
        let Some(slot) = self.slots.get_mut(&session.hello.id) else { return self.begin_session(session) };
        // Of two connections of a pair both ends keep the one that the lower NodeId dialled; of two of one direction the
        // later, because the dialler knew of no other.
        let lower = |session: &Session| (own.id < session.hello.id) == session.dialled.is_some();
        if !lower(&session) && lower(&slot.session) && slot.session.connection.close_reason().is_none() {
            return close(&session.connection, CloseCode::Duplicate);
        }
        close(&slot.session.connection, CloseCode::Duplicate);
        if let Some(replaced) = slot.next.replace(session) {
            close(&replaced.connection, CloseCode::Duplicate);
        }
    }

    /// To the layer above a member that others pass frames to is as one with a session.
    fn begin_reaching(&mut self, peer: NodeId) {
        if self.slots.contains_key(&peer) {
            // A session of an earlier incarnation of ours, which is about to end.
            return;
        }
        self.serial += 1;
        let serial = self.serial;
        self.shared.add_reached(peer.clone(), serial);
        let (told, is_told) = oneshot::channel();
        self.tell(ClusterEvent::Connected(peer.clone()), Some(told));
        let shared = self.shared.clone();
        tokio::spawn(async move {
            if is_told.await.is_ok() {
                shared.reached_is_told(&peer, serial);
            }
        });
    }

    fn end_reaching(&mut self, peer: NodeId) {
        if self.shared.remove_reached(&peer) {
            self.tell(ClusterEvent::Disconnected(peer), None);
        }
    }

    fn begin_session(&mut self, session: Arc<Session>) {
        let peer = session.hello.id.clone();
        self.end_reaching(peer.clone());
        self.shared.counters.sessions_made.add(1);
        self.shared.add_session(session.clone());
        self.slots.insert(peer.clone(), Slot { session: session.clone(), next: None });
        let (told, reading) = oneshot::channel();
        tracing::debug!(%peer, dialled = session.dialled.is_some(), "session made");
        self.tell(ClusterEvent::Connected(peer), Some(told));
        let (hello, dialled) = (session.hello.clone(), session.dialled.clone());
        tokio::spawn(session::run(session, reading, self.surroundings.clone()));
        self.input(Input::Connected { hello, dialled });
    }

    fn on_ended(&mut self, ended: Ended) {
        let Ended { serial, peer, error } = ended;
        if self.slots.get(&peer).is_none_or(|slot| slot.session.serial != serial) {
            return;
        }
        let Some(slot) = self.slots.remove(&peer) else { return };
        self.shared.remove_session(&peer);
        tracing::debug!(%peer, %error, "session ended");
        self.tell(ClusterEvent::Disconnected(peer.clone()), None);
        self.input(Input::Disconnected { peer: peer.clone() });
        if self.core.is_reached(&peer) && !self.shared.is_reached(&peer) {
            self.begin_reaching(peer);
        }
        if let Some(refusal) = refusal_of(&error) {
            self.shared.counters.sessions_refused.add(1);
            self.input(Input::DialFailed { addr: slot.session.hello.addr.clone(), refusal: Some(refusal) });
        }
        if let Some(next) = slot.next
            && next.connection.close_reason().is_none()
        {
            self.begin_session(next);
        }
    }

    /// Tells everybody, several times, until they have hung up.
    async fn leave(&mut self) {
        let mut effects = Vec::new();
        self.core.handle(self.shared.clock.now(), Input::Leave, &mut effects);
        let farewell: Vec<_> =
            effects.iter().filter(|effect| matches!(effect, Effect::Datagram { .. })).cloned().collect();
        self.execute(effects);
        let end = Instant::now() + LEAVE_MAX;
        let mut again = Instant::now() + LEAVE_REPEAT;
        while !self.slots.is_empty() && Instant::now() < end {
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(Command::Ended(ended)) => {
                        self.slots.remove(&ended.peer);
                        self.tell(ClusterEvent::Disconnected(ended.peer), None);
                    }
                    Some(_) => {}
                    None => return,
                },
                () = tokio::time::sleep_until(again) => {
                    again += LEAVE_REPEAT;
                    self.execute(farewell.clone());
                }
            }
        }
    }
}

impl Slot {
    fn close(&self, code: CloseCode) {
        close(&self.session.connection, code);
        if let Some(next) = &self.next {
            close(&next.connection, code);
        }
    }
}
