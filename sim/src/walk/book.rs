//! Every distinct node, message, queue and ghost of a walk, once, by number; and every step of a node that was taken.
//!
//! A world is then a few numbers, and what one node does is worked out once for all the worlds it stands in.

use std::collections::BTreeMap;
use std::rc::Rc;

use ordu_supervisor::core::Message;
use ordu_transport::core::Lane;
use ordu_transport::core::hash::stable_hash;

use super::local::{Fact, Local, Peer, Step, peer_of};
use super::state::Ghost;
use super::worlds::{Op, World};

const PURPOSE_MESSAGE: u64 = 0x3e55a;

/// What comes of a step, by number.
#[derive(Debug)]
pub(super) struct Taken {
    /// The node afterwards.
    pub(super) local: u32,
    /// To whom, on which lane, which message.
    pub(super) sends: Vec<(Peer, usize, u32)>,
    pub(super) facts: Vec<Fact>,
    pub(super) fault: Option<String>,
}

/// Everything that a walk has met.
pub(super) struct Book {
    pub(super) world: &'static World,
    /// All operations, by number: those before the walk, then those in it.
    pub(super) ops: Vec<Op>,
    locals: Vec<Local>,
    locals_by_print: BTreeMap<u64, u32>,
    messages: Vec<Message>,
    messages_by_hash: BTreeMap<u64, u32>,
    queues: Vec<Vec<u32>>,
    queues_by_content: BTreeMap<Vec<u32>, u32>,
    ghosts: Vec<Ghost>,
    ghosts_by_content: BTreeMap<Ghost, u32>,
    taken: BTreeMap<(u32, Step), Rc<Taken>>,
}

impl Book {
    pub(super) fn new(world: &'static World) -> Self {
        let mut book = Self {
            world,
            ops: [world.before, world.ops].concat(),
            locals: Vec::new(),
            locals_by_print: BTreeMap::new(),
            messages: Vec::new(),
            messages_by_hash: BTreeMap::new(),
            queues: Vec::new(),
            queues_by_content: BTreeMap::new(),
            ghosts: Vec::new(),
            ghosts_by_content: BTreeMap::new(),
            taken: BTreeMap::new(),
        };
        // The empty queue and the empty ghost are number 0.
        book.queue(Vec::new());
        book.ghost(Ghost::default());
        book
    }

    /// How many distinct nodes, and steps of them, there were.
    pub(super) fn len(&self) -> (usize, usize) {
        (self.locals.len(), self.taken.len())
    }

    /// The number of a node, 1 or above: 0 is for a node that is not there.
    pub(super) fn add_local(&mut self, local: Local) -> u32 {
        let print = local.fingerprint();
        let next = number(self.locals.len()) + 1;
        let number = *self.locals_by_print.entry(print).or_insert(next);
        if number == next {
            self.locals.push(local);
        }
        number
    }

    pub(super) fn local(&self, number: u32) -> &Local {
        &self.locals[number as usize - 1]
    }

    fn add_message(&mut self, message: Message) -> u32 {
        let hash = stable_hash(PURPOSE_MESSAGE, &message);
        let next = number(self.messages.len());
        let number = *self.messages_by_hash.entry(hash).or_insert(next);
        if number == next {
            self.messages.push(message);
        }
        number
    }

    pub(super) fn message(&self, number: u32) -> &Message {
        &self.messages[number as usize]
    }

    /// The number of a queue; 0 is the empty one.
    pub(super) fn queue(&mut self, content: Vec<u32>) -> u32 {
        if let Some(known) = self.queues_by_content.get(&content) {
            return *known;
        }
        let next = number(self.queues.len());
        self.queues.push(content.clone());
        self.queues_by_content.insert(content, next);
        next
    }

    pub(super) fn queue_of(&self, number: u32) -> &[u32] {
        &self.queues[number as usize]
    }

    pub(super) fn ghost(&mut self, content: Ghost) -> u32 {
        if let Some(known) = self.ghosts_by_content.get(&content) {
            return *known;
        }
        let next = number(self.ghosts.len());
        self.ghosts.push(content.clone());
        self.ghosts_by_content.insert(content, next);
        next
    }

    pub(super) fn ghost_of(&self, number: u32) -> &Ghost {
        &self.ghosts[number as usize]
    }

    /// What comes of a step of a node.
    pub(super) fn take(&mut self, of: u32, step: Step) -> Rc<Taken> {
        if let Some(known) = self.taken.get(&(of, step)) {
            return known.clone();
        }
        let mut local = self.local(of).clone();
        let message = match step {
            Step::Message(_, message) => Some(self.message(message)),
            _ => None,
        };
        let outcome = local.step(step, message, &self.ops);
        let mut sends = Vec::new();
        for (to, lane, message) in outcome.sends {
            let message = self.add_message(message);
            let lane = Lane::ALL.iter().position(|other| *other == lane).unwrap_or(0);
            sends.extend(to.iter().map(|to| (peer_of(to), lane, message)));
        }
        let local = self.add_local(local);
        let taken = Rc::new(Taken { local, sends, facts: outcome.facts, fault: outcome.fault });
        self.taken.insert((of, step), taken.clone());
        taken
    }
}

fn number(len: usize) -> u32 {
    u32::try_from(len).expect("a walk ends before it has met so much")
}
