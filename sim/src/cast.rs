//! The cast of a run: the user's code that plays in it, behind a face that the world can hold without knowing its types.
//!
//! The world lends itself to the cast for the time of one call. Meanwhile the cast is not in the world; all that a call
//! leads to therefore goes through the heap.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ordu_registry::core::Fence;
use ordu_supervisor::core::{ChildSpec, Exit, Input, StartedInfo};
use ordu_transport::core::Pid;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::behaviour::{Behaviour, Caller, Context, External, Init};
use crate::invariants::{Broken, Moment, Violation};
use crate::lab::Play;
use crate::node::Arrival;
use crate::observe::Observation;
use crate::plan::{Stream, stream};
use crate::world::{Happening, World};

/// What a child is told, or does.
#[derive(Debug, Clone)]
pub(crate) enum Word {
    /// Its process begins.
    Begins(Arc<ChildSpec>),
    /// Its init is over.
    Ready,
    /// A timer of it has come.
    Woken(u64),
    /// The reply of this number has come.
    Answered(u64),
    /// It shall stop.
    Stop,
    /// It leaves this for its next process.
    HandsOff(Bytes),
    /// It says what it would need to go on.
    Checkpoints(Bytes),
    /// It gets what this process left, which lost to it.
    Merged(Pid, Bytes),
    /// It ends.
    Ends(Exit),
}

/// A request under way.
pub(crate) struct Asked<E: External> {
    pub(crate) caller: Caller,
    pub(crate) request: E::Request,
}

/// The cast, as the world knows it.
pub(crate) trait AnyCast {
    /// Tells a child something.
    fn tell(&mut self, world: &mut World, node: usize, pid: &Pid, word: Word);
    /// A child is gone.
    fn forget(&mut self, pid: &Pid);
    /// A request reaches the external world.
    fn request(&mut self, world: &mut World, number: u64);
    /// The first of the user's invariants that does not hold.
    fn check(&self, world: &World, moment: Moment) -> Option<Violation>;
}

/// A living child.
pub(crate) struct Member<E: External> {
    behaviour: Option<Box<dyn Behaviour<E>>>,
    pub(crate) spec: Arc<ChildSpec>,
    pub(crate) since_us: u64,
    pub(crate) runs: bool,
}

/// The cast of one run.
pub(crate) struct Cast<E: External> {
    play: Arc<Play<E>>,
    external: E,
    external_delay_us: Range<u64>,
    pub(crate) rng: ChaCha8Rng,
    members: BTreeMap<Pid, Member<E>>,
    next: u64,
    asked: BTreeMap<u64, Asked<E>>,
    replies: BTreeMap<u64, E::Reply>,
}

impl<E: External> Cast<E> {
    pub(crate) fn new(play: Arc<Play<E>>, external_delay_us: Range<u64>, seed: u64) -> Self {
        Self {
            external: (play.external)(),
            play,
            external_delay_us,
            rng: stream(seed, Stream::Cast),
            members: BTreeMap::new(),
            next: 0,
            asked: BTreeMap::new(),
            replies: BTreeMap::new(),
        }
    }

    pub(crate) fn external(&self) -> &E {
        &self.external
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = (&Pid, &Member<E>)> {
        self.members.iter()
    }

    /// Sends a request on its way.
    pub(crate) fn send(&mut self, world: &mut World, asked: Asked<E>) {
        self.next += 1;
        self.asked.insert(self.next, asked);
        let at = world.now + self.delay();
        world.schedule(at, Happening::Request { number: self.next });
    }

    fn delay(&mut self) -> u64 {
        let range = self.external_delay_us.clone();
        if range.is_empty() { range.start } else { self.rng.random_range(range) }
    }
}

impl<E: External> AnyCast for Cast<E> {
    fn tell(&mut self, world: &mut World, node: usize, pid: &Pid, word: Word) {
        if let Word::Begins(spec) = &word {
            let behaviour = Some((self.play.children)(spec));
            let member = Member { behaviour, spec: spec.clone(), since_us: world.now, runs: false };
            self.members.insert(pid.clone(), member);
        }
        let Some(member) = self.members.get_mut(pid) else { return };
        member.runs |= matches!(word, Word::Ready);
        let (spec, Some(mut behaviour)) = (member.spec.clone(), member.behaviour.take()) else { return };
        let mut context = Context { world, cast: self, node, spec: &spec, pid };
        match word {
            Word::Begins(_) => match behaviour.init(&mut context) {
                Init::Ready { after_us } => context.world.tell_child(node, pid, after_us, Word::Ready),
                Init::Fails { after_us, how } => context.exit_in(after_us, Exit::Abnormal(how)),
                Init::Hangs => {}
            },
            Word::Ready => behaviour.started(&mut context),
            Word::Woken(timer) => behaviour.woken(&mut context, timer),
            Word::Answered(number) => {
                if let Some(reply) = context.cast.replies.remove(&number) {
                    behaviour.answered(&mut context, reply);
                }
            }
            Word::Stop => behaviour.stop(&mut context),
            Word::Merged(loser, state) => behaviour.merged(&mut context, &loser, state),
            // The world sees to that.
            Word::HandsOff(_) | Word::Checkpoints(_) | Word::Ends(_) => {}
        }
        if let Some(member) = self.members.get_mut(pid) {
            member.behaviour = Some(behaviour);
        }
    }

    fn forget(&mut self, pid: &Pid) {
        self.members.remove(pid);
    }

    fn request(&mut self, world: &mut World, number: u64) {
        let Some(Asked { caller, request }) = self.asked.remove(&number) else { return };
        let reply = self.external.handle(world.now, &caller, request);
        world.trace.world(world.now, &format_args!("{} at n{} is answered {reply:?}", caller.id, caller.node));
        if !world.oracle.is_alive(&caller.pid) {
            return;
        }
        self.replies.insert(number, reply);
        let after_us = self.delay();
        world.tell_child(caller.node, &caller.pid, after_us, Word::Answered(number));
    }

    fn check(&self, world: &World, moment: Moment) -> Option<Violation> {
        let seen = Observation { world, cast: self, moment };
        self.play.invariants.iter().find_map(|(name, holds)| {
            let (what, liveness) = match holds(&seen)? {
                Broken::Safety(what) => (what, false),
                Broken::NotYet(_) if moment == Moment::Any => return None,
                Broken::NotYet(what) => (what, true),
            };
            Some(Violation { invariant: name, at_us: world.now, what, liveness })
        })
    }
}

impl World {
    /// A core wants a child run.
    pub(crate) fn start_child(
        &mut self,
        node: usize,
        pid: Pid,
        spec: Arc<ChildSpec>,
        fence: Fence,
        state: Option<Bytes>,
    ) {
        let Some(life) = self.life(node) else { return };
        let number = life.number;
        let rank = life.upper.names().standing(&pid).map(|(rank, _)| rank.clone()).unwrap_or_default();
        self.oracle.activated(self.now, &pid, (node, number), (rank, fence));
        self.oracle.child_starts(self.now, &pid, &spec);
        self.watch_state(&pid, state);
        self.watch_places(node, &pid);
        self.record.child_starts(self.now, node, &pid, &spec, fence);
        self.tell_child(node, &pid, 0, Word::Begins(spec));
    }

    /// A core wants a child stopped.
    pub(crate) fn stop_child(&mut self, node: usize, pid: Pid, timeout: Duration) {
        self.watch_stop(&pid);
        self.oracle.stopped(self.now, &pid);
        self.record.child_stops(self.now, &pid);
        let timeout_us = u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX);
        self.tell_child(node, &pid, 0, Word::Stop);
        self.tell_child(node, &pid, timeout_us, Word::Ends(Exit::Abnormal("killed".into())));
    }

    /// Plans to tell a child something, in its present life.
    pub(crate) fn tell_child(&mut self, node: usize, pid: &Pid, after_us: u64, word: Word) {
        let Some(life) = self.life(node).map(|life| life.number) else { return };
        let at = self.now.saturating_add(after_us);
        self.schedule(at, Happening::Child { node, life, pid: pid.clone(), word });
    }

    /// A child is told something now; its node goes on.
    pub(crate) fn child_hears(&mut self, node: usize, pid: Pid, word: Word) {
        if !self.oracle.is_alive(&pid) {
            return;
        }
        match &word {
            Word::Ends(exit) => return self.child_ends(node, pid, exit.clone()),
            Word::HandsOff(state) => {
                self.oracle.child_leaves(self.now, &pid, state);
                return self.feed(node, Input::HandedOff { pid, state: state.clone() });
            }
            Word::Checkpoints(state) => {
                self.oracle.child_checkpoints(self.now, &pid, state);
                return self.feed(node, Input::Checkpoint { pid, number: self.now, state: state.clone() });
            }
            Word::Ready => {
                self.oracle.child_runs(self.now, &pid);
                self.record.child_runs(self.now, &pid);
                self.feed(node, Input::Started { pid: pid.clone(), info: StartedInfo::default() });
            }
            Word::Merged(loser, state) => self.oracle.child_merges(&pid, loser, state),
            Word::Begins(_) | Word::Woken(_) | Word::Answered(_) | Word::Stop => {}
        }
        self.with_cast(|cast, world| cast.tell(world, node, &pid, word));
    }

    fn child_ends(&mut self, node: usize, pid: Pid, exit: Exit) {
        if exit != Exit::Normal {
            self.oracle.ended_badly(&pid);
        }
        self.oracle.ended(self.now, &pid);
        self.record.child_ends(self.now, &pid, &exit);
        if let Some(cast) = &mut self.cast {
            cast.forget(&pid);
        }
        self.feed(node, Input::Exited { pid, exit });
    }

    pub(crate) fn on_child(&mut self, node: usize, life: u64, pid: Pid, word: Word) {
        if self.is_life(node, life) {
            self.arrive(node, Arrival::Child { pid, word });
        }
    }

    pub(crate) fn with_cast(&mut self, call: impl FnOnce(&mut dyn AnyCast, &mut World)) {
        let mut cast = self.cast.take().expect("nobody calls the cast from within");
        call(&mut *cast, self);
        self.cast = Some(cast);
    }
}
