//! What a node keeps on its disk, and what waits for that: what should run, the marks beside it, and how far its clock
//! has come. One save is under way at a time and the next one has all that changed meanwhile, so that one write does for
//! many callers.
//!
//! ```text
//!   call      desired or marks change, the caller's answer waits   -> Save{number}
//!             more changes, more answers wait                         (the disk is busy)
//!   Saved     the answers that waited for this one go out          -> Save{number + 1}
//! ```
//!
//! What comes back from a disk is merged like a replica that was away: nothing that was terminated comes back, wherever
//! somebody in the group has seen the termination.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ordu_registry::core::Fence;
use ordu_registry::core::clock::Context;
use ordu_registry::core::saved::Saved;
use ordu_registry::core::sync::wait;
use ordu_transport::core::defects::{Defect, is_present};
use ordu_transport::core::{Hlc, Instant, Now, Pid};

use super::calls::{CallError, Reply, Waited, Waiting};
use super::spec::{ChildId, ChildSpec, Restart};
use super::supervisor::Supervisor;
use super::tables::{Desired, Mark, MarkKey};
use super::words::Effect;

/// How far ahead of its clock a node saves it: after a restart its fences come after all that it gave, whatever became of
/// the wall clock meanwhile.
pub const CLOCK_LEAD: Duration = Duration::from_secs(10);

/// What a disk holds of a node, or what is to change on it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Stored {
    /// What should run; `None`: as it was.
    pub desired: Option<Saved<ChildId, Desired>>,
    /// The marks beside that; `None`: as they were.
    pub marks: Option<Saved<MarkKey, Mark>>,
    /// No stamp that the node gave comes after this.
    pub clock: Hlc,
}

impl Stored {
    /// Takes later changes up, as a disk does.
    pub fn apply(&mut self, later: Stored) {
        let Stored { desired, marks, clock } = later;
        if let Some(desired) = desired {
            self.desired.get_or_insert_default().apply(desired);
        }
        if let Some(marks) = marks {
            self.marks.get_or_insert_default().apply(marks);
        }
        self.clock = clock;
    }
}

/// An answer that is true once a save is done.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Held {
    /// What he waited for, if he did.
    call: Option<Waited>,
    reply: Reply,
    /// Until when its caller waits.
    deadline: Instant,
    /// Which save; `None`: the one that has what is not saved now.
    after: Option<u64>,
}

/// The start of a child that runs once at most: it waits until the disk knows that it has begun.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Begun {
    pid: Pid,
    spec: Arc<ChildSpec>,
    state: Option<Bytes>,
    /// As of [`Held`].
    after: Option<u64>,
}

/// What a node that keeps data knows of its disk.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Disk {
    /// The save that is under way.
    saving: Option<u64>,
    /// The latest save.
    last: u64,
    /// The answers that wait, by request.
    held: BTreeMap<u64, Held>,
    begun: Vec<Begun>,
    /// How far the clock may have come, as the disk knows.
    clock: Hlc,
    /// A child was activated since the clock was saved, or soon is.
    activated: bool,
    /// Whether something may have come to an end: an answer or a start that waits is new, or a save is done.
    look: bool,
}

impl Disk {
    fn new(clock: Hlc) -> Self {
        Self { saving: None, last: 0, held: BTreeMap::new(), begun: Vec::new(), clock, activated: false, look: true }
    }

    pub(super) fn held_len(&self) -> usize {
        self.held.len()
    }

    /// As [`Supervisor::fingerprint`].
    pub(super) fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        let Self { saving, last, held, begun, clock, activated, look: _ } = self;
        (saving.map(|number| last - number), begun, clock, activated).hash(hasher);
        for (request, Held { call, reply, deadline, after }) in held {
            (request, call, reply, wait(now, *deadline), after.map(|after| last.abs_diff(after))).hash(hasher);
        }
    }
}

impl Supervisor {
    /// Whether a process of ours, which runs once at most, begins once the disk knows of it.
    pub fn awaits_disk(&self, pid: &Pid) -> bool {
        self.disk.as_ref().is_some_and(|disk| disk.begun.iter().any(|begun| begun.pid == *pid))
    }

    /// Whether the disk, where there is one, holds all that this node knows of what should run.
    pub fn is_saved(&self) -> bool {
        let writes = self.disk.as_ref().is_some_and(|disk| disk.saving.is_some());
        !writes && !self.desired.is_unsaved() && !self.marks.is_unsaved()
    }

    /// Goes on with what the disk holds, and keeps it up to date from now on.
    pub(super) fn restore(&mut self, stored: Stored) {
        let Stored { desired, marks, clock } = stored;
        self.registry.stamp_after(clock);
        let (desired, marks) = (desired.unwrap_or_default(), marks.unwrap_or_default());
        let ours = &self.id().name;
        let others = |context: &Context| context.origins().any(|origin| origin.name != *ours);
        // What it knows may run elsewhere.
        self.returns = others(&desired.context) || others(&marks.context);
        self.desired.restore(desired);
        self.marks.restore(marks);
        self.disk = Some(Disk::new(clock));
    }

    /// Answers a caller, at once or when what the answer says is on the disk. Returns whether it waits for that.
    pub(super) fn tell_caller(
        &mut self,
        request: u64,
        Waiting { call, deadline }: Waiting,
        reply: Reply,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let waits = !matches!(call, Waited::Drained { .. } | Waited::Cordoned { .. }) && says_done(&reply);
        let held = Held { call: Some(call), reply, deadline, after: None };
        self.hold_if(waits, request, held, effects)
    }

    /// Refuses a caller before he waits for anything. That a child is there already, or gone, may be so in memory only: then
    /// he is told when the disk has it. He may be asking because an earlier answer did not come.
    pub(super) fn refuse_caller(&mut self, request: u64, deadline: Instant, reply: Reply, effects: &mut Vec<Effect>) {
        let says = matches!(
            reply,
            Reply::Child(Err(CallError::AlreadyStarted(_) | CallError::NotFound))
                | Reply::Done(Err(CallError::NotFound))
        );
        if self.hold_if(says, request, Held { call: None, reply, deadline, after: None }, effects) {
            self.deadlines.insert((deadline, request));
        }
    }

    fn hold_if(&mut self, waits: bool, request: u64, held: Held, effects: &mut Vec<Effect>) -> bool {
        match &mut self.disk {
            Some(disk) if waits && !is_present(Defect::AnswersBeforeDisk) => {
                disk.held.insert(request, held);
                disk.look = true;
                true
            }
            _ => {
                effects.push(Effect::Reply { request, reply: held.reply });
                false
            }
        }
    }

    /// Tells a caller what the disk knows by now. That a child is gone may not be so any more: somebody came back.
    fn let_go(&mut self, request: u64, held: Held, effects: &mut Vec<Effect>) {
        let Held { call, reply, deadline, .. } = held;
        if let Some(call @ Waited::Terminated { .. }) = call
            && self.answer(&call).is_none()
        {
            return self.wait_for(request, Waiting { call, deadline });
        }
        self.deadlines.remove(&(deadline, request));
        effects.push(Effect::Reply { request, reply });
    }

    /// Takes back the answer to a caller whose deadline passes: the disk is too slow.
    pub(super) fn take_held(&mut self, request: u64) -> Option<Reply> {
        let held = self.disk.as_mut()?.held.remove(&request)?;
        Some(match held.reply {
            Reply::Child(_) => Reply::Child(Err(CallError::Timeout)),
            Reply::Done(_) => Reply::Done(Err(CallError::Timeout)),
        })
    }

    /// Starts a child that was activated: one that runs once at most when the disk knows of it.
    pub(super) fn start_process(
        &mut self,
        pid: Pid,
        spec: Arc<ChildSpec>,
        fence: Fence,
        state: Option<Bytes>,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(disk) = &mut self.disk {
            disk.activated = true;
            if spec.restart == Restart::Temporary {
                disk.look = true;
                return disk.begun.push(Begun { pid, spec, state, after: None });
            }
        }
        effects.push(Effect::Start { pid, spec, fence, state });
    }

    /// The clock may have come further than the disk knows, and a child is about to be activated by it.
    pub(super) fn note_clock(&mut self) {
        self.disk.iter_mut().for_each(|disk| disk.activated = true);
    }

    /// Gives up the start of a child that waits for the disk. Returns whether there was one: it never begins.
    pub(super) fn give_up_start(&mut self, pid: &Pid) -> bool {
        let begun = self.disk.iter_mut().flat_map(|disk| disk.begun.extract_if(.., |begun| begun.pid == *pid));
        begun.count() > 0
    }

    pub(super) fn on_saved(&mut self, number: u64) {
        if let Some(disk) = self.disk.as_mut().filter(|disk| disk.saving == Some(number)) {
            (disk.saving, disk.look) = (None, true);
        }
    }

    /// Saves what changed, unless a save is under way, and lets the answers go that wait for none.
    pub(super) fn save(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let Some(disk) = &mut self.disk else { return };
        let lead = |lead: Duration| Hlc::from_wall_ms(u64::try_from(lead.as_millis()).unwrap_or(u64::MAX)).as_u64();
        let reaches = |lead: u64| Hlc::from_u64(self.registry.last_stamp().as_u64().saturating_add(lead));
        let clock_due = disk.activated && reaches(lead(CLOCK_LEAD / 2)) > disk.clock;
        let is_due = clock_due || self.desired.is_unsaved() || self.marks.is_unsaved();
        if is_due && disk.saving.is_none() {
            disk.last += 1;
            (disk.saving, disk.activated) = (Some(disk.last), false);
            // Not ever further ahead of the wall clock with each restart.
            let ahead = Hlc::from_wall_ms(now.wall_ms).as_u64().saturating_add(lead(CLOCK_LEAD));
            disk.clock = disk.clock.max(reaches(lead(CLOCK_LEAD / 100))).max(Hlc::from_u64(ahead));
            let (desired, marks) = (self.desired.take_unsaved(), self.marks.take_unsaved());
            let stored = Box::new(Stored { desired, marks, clock: disk.clock });
            effects.push(Effect::Save { number: disk.last, stored });
        }
        if !std::mem::take(&mut disk.look) {
            return;
        }
        let waits_for = match (disk.saving, self.desired.is_unsaved() || self.marks.is_unsaved()) {
            (Some(number), unsaved) => number + u64::from(unsaved),
            (None, _) => 0,
        };
        let unsaid = disk.held.values_mut().map(|held| &mut held.after);
        let unsaid = unsaid.chain(disk.begun.iter_mut().map(|begun| &mut begun.after));
        unsaid.filter(|after| after.is_none()).for_each(|after| *after = Some(waits_for));
        let done = match disk.saving {
            Some(number) => number - 1,
            None => u64::MAX,
        };
        for Begun { pid, spec, state, .. } in disk.begun.extract_if(.., |begun| begun.after <= Some(done)) {
            // It may have risen while it waited.
            if let Some((_, fence)) = self.registry.standing(&pid) {
                effects.push(Effect::Start { pid, spec, fence, state });
            }
        }
        let released: Vec<(u64, Held)> = disk.held.extract_if(.., |_, held| held.after <= Some(done)).collect();
        for (request, held) in released {
            self.let_go(request, held, effects);
        }
    }
}

/// Whether an answer tells of a change that must outlive this node's process.
fn says_done(reply: &Reply) -> bool {
    use CallError::{Busy, Invalid, NoEligibleNode, NotFound, Timeout, Unreachable};
    let unchanged =
        |error: &CallError| matches!(error, Busy | Invalid(_) | NoEligibleNode(_) | NotFound | Timeout | Unreachable);
    match reply {
        Reply::Child(Err(error)) | Reply::Done(Err(error)) => !unchanged(error),
        Reply::Child(Ok(_)) | Reply::Done(Ok(())) => true,
    }
}
