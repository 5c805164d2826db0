//! What a user plugs in: how a child behaves, and the world outside of all nodes that children talk to.
//!
//! All of it is simulated: time and chance come from the [`Context`], so that a seed decides a user's code as it decides
//! the rest. Behaviours run one call at a time; what they ask for happens after the call.

use std::fmt::Debug;
use std::ops::Range;

use bytes::Bytes;
use ordu_registry::core::{Entry, Fence, Name, RegisterError};
use ordu_supervisor::core::{ChildId, ChildSpec, Exit};
use ordu_transport::core::{NodeName, Pid};
use rand::RngExt;

use crate::cast::{Asked, Cast, Word};
use crate::world::World;

/// Longest time that an ordinary init takes, in microseconds.
const INIT_US_MAX: u64 = 100_000;
/// Longest time that an ordinary child takes to stop, in microseconds.
const STOP_US_MAX: u64 = 200_000;

/// How a child of one run behaves: a state machine that is told what happens to it.
///
/// It lives from a start of its child to the end of that process; the next start makes another one. While its node is
/// paused it hears nothing, and then all of it, in order. When its node crashes it is gone without a word.
pub trait Behaviour<E: External = ()> {
    /// Its process begins: how its init goes. It may set timers and ask already. By default the init is over within
    /// 100 ms.
    fn init(&mut self, context: &mut Context<'_, E>) -> Init {
        Init::Ready { after_us: context.draw(1_000..INIT_US_MAX) }
    }

    /// Its init is over: from now on it runs, and shows so.
    fn started(&mut self, context: &mut Context<'_, E>) {
        let _ = context;
    }

    /// A timer that it set has come, see [`Context::wake_in`].
    fn woken(&mut self, context: &mut Context<'_, E>, timer: u64) {
        let _ = (context, timer);
    }

    /// The external world has answered, see [`Context::ask`]. Answers may overtake one another.
    fn answered(&mut self, context: &mut Context<'_, E>, reply: E::Reply) {
        let _ = (context, reply);
    }

    /// What another process of its child left that lost to it in a conflict, or to one before it.
    fn merged(&mut self, context: &mut Context<'_, E>, loser: &Pid, state: Bytes) {
        let _ = (context, loser, state);
    }

    /// It shall stop. It does so by [`Context::exit`], at once or later; when its spec's `stop_timeout` is over it is
    /// killed. By default it ends well within 200 ms.
    fn stop(&mut self, context: &mut Context<'_, E>) {
        let after_us = context.draw(0..STOP_US_MAX);
        context.exit_in(after_us, Exit::Normal);
    }
}

/// How an init goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Init {
    /// It succeeds.
    Ready {
        /// After how long, in microseconds.
        after_us: u64,
    },
    /// It fails, and the process ends.
    Fails {
        /// After how long, in microseconds.
        after_us: u64,
        /// How.
        how: String,
    },
    /// It never ends.
    Hangs,
}

/// The world outside of all nodes that the children of a run share: a database, a queue, a bank.
///
/// Requests and replies take the lab's external delay each way and may overtake one another. None is lost, and no fault
/// of the cluster holds them up: a child that is cut off, and even one that is dead by now, is still heard. So a run asks
/// what a fence is for.
pub trait External: 'static {
    /// What children ask.
    type Request: Debug;
    /// What they are answered.
    type Reply: Debug;

    /// A request arrives, at this simulated time in microseconds.
    fn handle(&mut self, now_us: u64, from: &Caller, request: Self::Request) -> Self::Reply;
}

/// No world outside.
impl External for () {
    type Request = ();
    type Reply = ();

    fn handle(&mut self, _: u64, _: &Caller, (): ()) {}
}

/// Who sent a request, as it was when it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The child.
    pub id: ChildId,
    /// Its process.
    pub pid: Pid,
    /// Its node, by number.
    pub node: usize,
    /// Its fence.
    pub fence: Fence,
}

/// What a behaviour may know and do: the simulated time, chance, timers, the registry of its node, the external world.
pub struct Context<'a, E: External = ()> {
    pub(crate) world: &'a mut World,
    pub(crate) cast: &'a mut Cast<E>,
    pub(crate) node: usize,
    pub(crate) spec: &'a ChildSpec,
    pub(crate) pid: &'a Pid,
}

impl<E: External> Context<'_, E> {
    // ---- who and when

    /// The simulated time, in microseconds since the run began.
    pub fn now_us(&self) -> u64 {
        self.world.now
    }

    /// The child.
    pub fn id(&self) -> &ChildId {
        &self.spec.id
    }

    /// What it was started with.
    pub fn spec(&self) -> &ChildSpec {
        self.spec
    }

    /// Its process.
    pub fn pid(&self) -> &Pid {
        self.pid
    }

    /// The node that it runs on.
    pub fn node(&self) -> &NodeName {
        &self.world.nodes[self.node].name
    }

    /// Its fence. It rises while the process runs, when it wins a conflict: ask again for each use.
    pub fn fence(&self) -> Fence {
        self.world.oracle.fence_of(self.pid).expect("a child has a fence")
    }

    /// Whether all faults are over for good. Code that fails by chance must not do so any more, or the run never comes to
    /// rest.
    pub fn is_calm(&self) -> bool {
        self.world.faults.are_over()
    }

    // ---- chance

    /// A number of this range, at random; its beginning, if the range is empty.
    pub fn draw(&mut self, range: Range<u64>) -> u64 {
        if range.is_empty() { range.start } else { self.cast.rng.random_range(range) }
    }

    /// True in so many of a thousand cases.
    pub fn chance(&mut self, permille: u32) -> bool {
        self.cast.rng.random_range(0..1_000) < permille
    }

    // ---- doing

    /// Sets a timer of any number; several of one number all come.
    pub fn wake_in(&mut self, after_us: u64, timer: u64) {
        self.later(after_us, Word::Woken(timer));
    }

    /// Ends the process at once. During its init an abnormal exit is a failed init.
    pub fn exit(&mut self, exit: Exit) {
        self.exit_in(0, exit);
    }

    /// Ends the process after a while, unless it ends before.
    pub fn exit_in(&mut self, after_us: u64, exit: Exit) {
        self.later(after_us, Word::Ends(exit));
    }

    /// Sends a request to the external world, under the fence that the process has now; [`Behaviour::answered`] has the
    /// reply.
    pub fn ask(&mut self, request: E::Request) {
        self.ask_under(self.fence(), request);
    }

    /// Sends a request under an earlier fence of the process. What was computed from something read belongs under the
    /// fence that it was read under: the process may have lost and won its name meanwhile.
    pub fn ask_under(&mut self, fence: Fence, request: E::Request) {
        let caller = Caller { id: self.spec.id.clone(), pid: self.pid.clone(), node: self.node, fence };
        self.world.trace.world(self.world.now, &format_args!("{} at n{} asks {request:?}", caller.id, caller.node));
        self.cast.send(self.world, Asked { caller, request });
    }

    /// Leaves something for the next process of the child, which finds it as [`Context::handed_off`]: once it shall stop,
    /// before it ends.
    pub fn hand_off(&mut self, state: impl Into<Bytes>) {
        self.later(0, Word::HandsOff(state.into()));
    }

    /// Says what the next process of the child would need to go on if this one failed: it finds that as
    /// [`Context::handed_off`], unless this one hands something off. Of several the last counts.
    pub fn checkpoint(&mut self, state: impl Into<Bytes>) {
        self.later(0, Word::Checkpoints(state.into()));
    }

    /// About every how many microseconds the run wants a child to make a checkpoint; `None`: never.
    pub(crate) fn checkpoint_every_us(&self) -> Option<u64> {
        Some(self.world.plan.checkpoint_ms * 1_000).filter(|every| *every > 0)
    }

    /// What the process before this one left for it: what it handed off, or else its last checkpoint.
    pub fn handed_off(&self) -> Option<&Bytes> {
        self.world.oracle.given_to(self.pid)
    }

    // ---- names

    /// Registers one more name for the process. A process that loses such a name to another is stopped, and its restart
    /// policy decides. Its own id it holds anyhow.
    ///
    /// # Errors
    /// As the registry's own `register`; nothing is changed then.
    pub fn register(&mut self, name: &Name, value: impl Into<Bytes>) -> Result<(), RegisterError> {
        let (pid, value) = (self.pid.clone(), value.into());
        let registered = self.world.with_names(self.node, &("register", &pid, name, &value), |names, now, effects| {
            names.register(now, &pid, name.clone(), value.clone(), effects)
        });
        registered.unwrap_or(Err(RegisterError::NoProcess))
    }

    /// Gives up a name. False if the process does not hold it.
    pub fn unregister(&mut self, name: &Name) -> bool {
        let pid = self.pid.clone();
        let held = self.world.with_names(self.node, &("unregister", &pid, name), |names, now, effects| {
            names.unregister(now, &pid, name, effects)
        });
        held.unwrap_or(false)
    }

    /// What its node shows under a name.
    pub fn lookup(&self, name: &Name) -> Option<Entry> {
        self.world.life(self.node)?.upper.names().lookup(name)
    }

    fn later(&mut self, after_us: u64, word: Word) {
        self.world.tell_child(self.node, self.pid, after_us, word);
    }
}
